/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* folder.h - scratch folders, and what people's programs leave in them
 */
#ifndef PROTO_FOLDER_H
#define PROTO_FOLDER_H

/* Make a folder BASE/PREFIXxxxxxx for this user alone; its path, from malloc. It is
 * locked for as long as `*lock`, a descriptor, is open, and those with this prefix that
 * nobody has locked are removed: their owners had no time to. NULL on error, errno. */
char *folder_make (const char *base, const char *prefix, int *lock);

/* Remove a folder and all that is in it; links are not followed, and other
 * file systems not entered. 0 also if it is not there. */
int folder_remove (const char *path);

/* Remove all that is in it, and leave the folder. */
int folder_empty (const char *path);

#endif
