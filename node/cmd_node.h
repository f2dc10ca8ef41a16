/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* cmd_node.h - `sluice node`: offer this machine */
#ifndef NODE_CMD_NODE_H
#define NODE_CMD_NODE_H

/* Run the command; argv[0] is "node". Returns the exit status: 0 after SIGINT
 * or SIGTERM, 2 for wrong usage, 1 when the system is in the way. */
int cmd_node (int argc, char **argv);

#endif
