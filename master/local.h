/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* local.h - the embedded node: this machine's own agent, for one run
 *
 * `sluice run` starts `sluice node` from the same binary as a child, to be
 * reached over ipc:// in a private folder. It is the same agent and the same
 * workers as on any other host; it ends when the pipe to it closes, however
 * the master ended.
 */
#ifndef MASTER_LOCAL_H
#define MASTER_LOCAL_H

#include <stdbool.h>
#include "master/job.h"

typedef struct local local_t;

/* A private folder (mode 0700) for sockets and inputs of this run. Those that masters
 * of this user left when they were killed are removed on the occasion. */
char *local_folder (sluice_error_t *err);
/* Remove it with all that is in it; frees the path. */
void local_folder_remove (char **folder_p);

/* Start the node and wait until it is ready (10 s at most). Call before any
 * thread exists: it forks. */
local_t *local_start (const job_t *job, const char *folder, sluice_error_t *err);
/* Has it died? Then `how`, for a person. Said once. */
bool local_ended (local_t *self, char *how, size_t size);
/* Start it again after that, at another endpoint; does not wait until it is
 * ready. `useful`: something was done since the last time. -1: it died too often (4
 * times in a row with nothing done), or the system refused. */
int local_again (local_t *self, bool useful, sluice_error_t *err);
/* Its endpoint. */
const char *local_endpoint (const local_t *self);
/* The socket by which it hands its segments over (proto/segments.h). */
int local_handover (const local_t *self);
/* Ends the node with all its workers; waits for it (10 s at most). */
void local_stop (local_t **self_p);

#endif
