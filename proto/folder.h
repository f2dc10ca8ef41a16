/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* folder.h - scratch folders, and what people's programs leave in them
 */
#ifndef PROTO_FOLDER_H
#define PROTO_FOLDER_H

/* Remove a folder and all that is in it; links are not followed, and other
 * file systems not entered. 0 also if it is not there. */
int folder_remove (const char *path);

#endif
