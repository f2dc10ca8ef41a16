/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* feed.h - the program that started this master, and hears of its results
 *
 * `sluice serve` is what include/sluice/client.h starts for each map. The feed is its
 * side of the socket: first the program says what is to be run; then it is told of
 * every finished and every failed item, once, and of the progress; and it may cancel.
 * Rows do not come this way: the program reads them from the output.
 *
 * What the program does not take waits here. feed_full says that it is time to begin
 * no more tasks; progress is not queued at all. When the program is gone, closed or
 * killed, the run is to end: feed_turn says so.
 *
 * Single-threaded, but for the guard.
 */
#ifndef MASTER_FEED_H
#define MASTER_FEED_H

#include "master/progress.h"
#include "master/run.h"
#include "proto/talk.h"

typedef struct feed feed_t;

/* Take the socket over and wait for what is to be run (10 s): `map` is then a
 * MSG_MAP, the caller's to clear. */
feed_t *feed_new (int fd, msg_t *map, sluice_error_t *err);
void feed_destroy (feed_t **self_p);

/* The output is there; `reader` is a descriptor to read it by, closed here. */
int feed_begun (feed_t *self, const job_t *job, int reader, sluice_error_t *err);
/* A task is finished; `result` is cleared. */
void feed_result (feed_t *self, msg_result_t *result);
/* Items have failed for good. `host` may be NULL. */
void feed_lost (feed_t *self, const msg_failed_t *failed, const char *host,
                uint64_t first, uint64_t stop);
/* How it goes; sent some times a second, and never queued. */
void feed_progress (feed_t *self, const progress_state_t *state);
/* It is over. `result` may be NULL: nothing was begun. */
void feed_over (feed_t *self, const run_result_t *result, const sluice_error_t *err);
/* At the end: wait until the program has taken all, or is gone. */
void feed_drain (feed_t *self);

/* So much waits that no more should be made. */
bool feed_full (const feed_t *self);
/* Could not tell the program something (out of memory): it must not go on. */
bool feed_broken (const feed_t *self);

/* What to poll for: fills at most 2. */
size_t feed_poll (const feed_t *self, int *fds, short *events);

/* Wait until feed_turn has something to do. Returns at once when the program is gone. */
void feed_wait (const feed_t *self);

typedef struct {
    bool gone;       /* nobody is there any more */
    bool cancel;     /* end the run */
    msg_tasks_t cut; /* cancel these items; with msg_tasks_t.ntasks 0: none */
} feed_wish_t;

/* Send what waits, and read the next wish. False: there is none. */
bool feed_turn (feed_t *self, feed_wish_t *wish);
void feed_wish_clear (feed_wish_t *wish);

/* While this process cannot look (a kernel's plan, or its run in one process), a
 * thread does: when the program is gone it sends us SIGTERM, and after a while calls
 * `abandon` (may be NULL) and ends the process. */
int feed_guard (feed_t *self, void (*abandon) (void *arg), void *arg);
void feed_unguard (feed_t *self);

#endif
