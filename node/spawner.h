/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* spawner.h - the process that all workers descend from
 *
 * It is small, has no threads and no ZeroMQ, does nothing but fork zygotes,
 * and is a child subreaper, so that whatever was ever started for a run is
 * below it. It ends a run when told to, or all runs when the agent's end of
 * its socket closes, by killing their processes until none is left, and
 * removes their scratch folders.
 *
 * It lives in a session of its own: Ctrl-C at the agent's terminal is the
 * agent's business.
 */
#ifndef NODE_SPAWNER_H
#define NODE_SPAWNER_H

/* Never returns. `control` is the socket to the agent; `lifeline` is only
 * held: the agent sees its other end close when this process ends. */
_Noreturn void spawner_main (int control, int lifeline);

#endif
