/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* client_process.h - the process that is the master of a map
 *
 * Started and waited for so that the program around us does not notice: its signal
 * handlers and masks stay as they are, none of its descriptors is inherited, its
 * terminal is out of reach, and when it has waited for our child itself, that is
 * taken as its end.
 */
#ifndef MASTER_CLIENT_PROCESS_H
#define MASTER_CLIENT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "sluice/error.h"

typedef struct {
    pid_t pid;  /* 0: none, or it has ended */
    int handle; /* pidfd, or -1 */
    int status; /* as of waitpid, once ended; -1: somebody else has it */
} process_t;

/* Start `command serve WHAT`; its descriptor 3 is `socket`, and messages go to the end
 * of `log` (NULL: nowhere). */
int process_start (process_t *self, const char *command, const char *what, int socket,
                   const char *log, sluice_error_t *err);

/* Has it ended? Waits up to `seconds`. */
bool process_ended (process_t *self, double seconds);
/* Kill it, and wait. */
void process_kill (process_t *self);
/* "was killed by signal 9 (Killed)", "ended with status 1". */
void process_describe (const process_t *self, char *out, size_t size);
/* Free what is left, once it has ended. */
void process_clear (process_t *self);

/* The command to start: `wanted`, $SLUICE, the one in the build tree or beside this
 * library, the one where this library was to be installed, or "sluice" on the path.
 * malloc'd. SLUICE_EINPUT: the first two are not programs. */
char *process_find (const char *wanted, sluice_error_t *err);

#endif
