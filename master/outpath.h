/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* outpath.h - the name of the output, and the right to write it
 *
 * An output is made under another name in the same folder and gets its own
 * when it holds a whole state. Who writes it holds an fcntl lock on
 * `PATH.lock`, never on the output itself, which readers must be able to open.
 */
#ifndef MASTER_OUTPATH_H
#define MASTER_OUTPATH_H

#include <stdbool.h>
#include "calc/kernel_host.h"

typedef struct outpath outpath_t;

/* Check the path, take the lock, and make the file, empty and under another
 * name. *fd is open for reading and writing and belongs to the caller. Errors
 * (SLUICE_EINPUT): no such folder, exists already (unless force), a folder,
 * an input of the plan; (SLUICE_EOUTPUT) written by another run, which is
 * named; not writable. */
outpath_t *outpath_take (const char *path, bool force, const sluice_plan_t *plan,
                         const uint8_t *run, int *fd, sluice_error_t *err);
/* The same for a file that is there, to go on with it: *fd is open on it. There is no
 * such file, or it is not a plain one, or an input: SLUICE_EINPUT. */
outpath_t *outpath_resume (const char *path, const sluice_plan_t *plan,
                           const uint8_t *run, int *fd, sluice_error_t *err);
/* Does anybody hold the lock of this output, which is not locked by this process? 1: yes,
 * 0: no, -1: that cannot be known. */
int outpath_locked (const char *path);
/* Remove a lock that nobody holds: whose master died after its last state. */
void outpath_tidy (const char *path);
/* Give the file its name. */
int outpath_publish (outpath_t *self, sluice_error_t *err);
/* Take its name away again: it lives as long as it is open. */
void outpath_forget (outpath_t *self);
/* Is the file, open as `fd`, still there? `by_name`: under its own name, too. If
 * not (SLUICE_EOUTPUT) the text says what became of it. */
int outpath_still_there (const outpath_t *self, int fd, bool by_name,
                         sluice_error_t *err);
/* Give the lock back and remove its file, and the output if it has no name yet. */
void outpath_release (outpath_t **self_p);

#endif
