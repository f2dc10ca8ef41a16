/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* sched.h - which items go to whom, and what is done
 *
 * Items 0 <= i < n are pending, running, done or failed; all of it is kept
 * as ranges, so ten million items cost nothing until they are cut. A task is
 * a range cut for one node when it has a free slot: guided self-scheduling
 * towards `target` seconds each, smaller at the end.
 *
 * A failed range of several items is cut around the item where it failed and
 * tried again; an item that failed alone too often is failed for good: after
 * `crash_limit` times if its worker died the last time, else after `failure_limit`. A
 * node's loss puts its ranges back without blame.
 *
 * At the end, when slots are idle, what runs slowly is taken back in part (SHED), and
 * what cannot be cut gets a copy: a second attempt at another node. Whichever delivers
 * first counts, the other is ended.
 *
 * Single-threaded; owned by the control loop. Nodes are small numbers.
 */
#ifndef MASTER_SCHED_H
#define MASTER_SCHED_H

#include <stdbool.h>
#include <stdint.h>
#include "proto/msg.h"

typedef struct {
    uint64_t items;
    uint64_t items_per_task; /* 0: guided */
    uint64_t first_task;     /* the number of the first one; 0: 1 */
    double target;           /* seconds a task should take; 0: 2.0 */
    unsigned crash_limit;    /* 0: 3 */
    bool no_copies;
    unsigned failure_limit; /* 0: as crash_limit */
} sched_options_t;

typedef struct sched sched_t;

sched_t *sched_new (const sched_options_t *options);
void sched_destroy (sched_t **self_p);

/* Items first <= i < stop were done before: they are not cut any more. Before the first
 * node joins; fastest when later ranges come first. -1: out of memory. */
int sched_take_done (sched_t *self, uint64_t first, uint64_t stop);

/* A node takes part with `slots` slots (for the size of the last tasks). */
int sched_join (sched_t *self, unsigned node, unsigned slots);

/* Tasks that this node has been given and that are not done. */
size_t sched_load (const sched_t *self, unsigned node);

typedef void (sched_task_fn) (void *arg, const task_t *task);
/* A node is gone: its tasks are pending again; `dropped` hears of each. */
void sched_leave (sched_t *self, unsigned node, sched_task_fn *dropped, void *arg);

/* Cut the next task for this node. False: nothing is pending. */
bool sched_next (sched_t *self, unsigned node, double now, task_t *task);

/* The task, if this attempt of it runs at this node and its result is not yet
 * delivered; else NULL. Valid until the next call. */
const task_t *sched_running (const sched_t *self, unsigned node, uint64_t task,
                             uint32_t attempt);

/* Its last piece was handed to the writer: whatever becomes of the node, the
 * ledger will have it (sched_done) or the writer refuse it (sched_failed).
 * Until then it counts as running, and sched_leave leaves it alone. Returns the node
 * that runs the other attempt of it, `late`, which is not wanted any more;
 * SCHED_NOBODY as a rule. */
unsigned sched_delivered (sched_t *self, unsigned node, uint64_t task, uint32_t attempt,
                          task_t *late);

/* The ledger has items task.first <= i < stop of this attempt, which took
 * `seconds`. What is left of its range is pending again. False: stale. */
bool sched_done (sched_t *self, unsigned node, uint64_t task, uint32_t attempt,
                 uint64_t stop, double seconds);

/* The attempt ended without a result, at `item`, whose worker `crashed`, or was told
 * that it cannot be computed. Fills the range it had.
 * Returns 1 when its items are failed for good (one item), 0 when they are
 * tried again or another attempt of them still runs, -1 when it is stale. */
int sched_failed (sched_t *self, unsigned node, uint64_t task, uint32_t attempt,
                  uint64_t item, bool crashed, uint64_t *first, uint64_t *stop);

/* The running task that is worth taking a part of, when slots are idle and
 * nothing is pending: the one with the most work left by its node's pace,
 * started at least `target`/2 ago, asked only once. False: none. */
bool sched_shed (sched_t *self, double now, unsigned *node, task_t *task);

/* A copy for this node, which has a free slot, when nothing is pending: of the task at
 * another node that this one would finish soonest before it, at most one of each task
 * and none of what has failed before. False: none is worth it, or no task is done yet
 * to judge by. */
bool sched_copy (sched_t *self, unsigned node, double now, task_t *task);
/* Results of this node wait for credit (invariant I2): how long its tasks have taken up
 * to now says nothing. */
void sched_hindered (sched_t *self, unsigned node, double now);

enum { SCHED_NOBODY = INT32_MAX };
typedef struct {
    task_t task;
    bool delivered;    /* the writer has all of it */
    unsigned node;     /* that it runs at, or did; SCHED_NOBODY: gone since */
    unsigned failures; /* attempts before, by its own fault */
    double started;    /* as `now` of sched_next */
    double expected;   /* seconds in all by its node's pace; 0: not known */
    unsigned other;    /* node that another attempt of it runs at, or SCHED_NOBODY */
    uint32_t other_attempt;
} sched_task_t;

typedef enum {
    SCHED_UNKNOWN, /* done, failed for good, or cut anew under other numbers */
    SCHED_UNCUT,   /* no task has this number yet */
    SCHED_PENDING, /* it is to be tried again */
    SCHED_RUNNING,
    SCHED_DELIVERED
} sched_where_t;

/* Where this task is; `out` is filled as far as it applies. */
sched_where_t sched_find (const sched_t *self, uint64_t task, sched_task_t *out);
/* The same, and if it is PENDING or RUNNING its items are failed for good, and all
 * attempts of it over. */
sched_where_t sched_cancel (sched_t *self, uint64_t task, sched_task_t *out);

/* Items first <= i < stop are not wanted any more: those that are pending or running
 * are failed for good. `cut` hears of each such range, and of the task that was to
 * compute it; one that runs (its `node` is not SCHED_NOBODY) ends with it, and the
 * rest of its items is pending again. */
typedef void (sched_cut_fn) (void *arg, const sched_task_t *task, uint64_t first,
                             uint64_t stop);
void sched_cancel_items (sched_t *self, uint64_t first, uint64_t stop, sched_cut_fn *cut,
                         void *arg);

/* Call `each` for every task that runs or was delivered. */
typedef void (sched_each_fn) (void *arg, const sched_task_t *task);
void sched_each (const sched_t *self, sched_each_fn *each, void *arg);
/* Ranges that wait to be cut, the next one first: the first `max` are stored, the
 * number of all is returned. */
size_t sched_pending (const sched_t *self, task_t *ranges, size_t max);

typedef struct {
    uint64_t items, pending, running, done, failed; /* items */
    uint64_t tasks_running, tasks_done, retried;    /* tasks */
    uint64_t copies;                                /* made in all */
} sched_counts_t;
void sched_counts (const sched_t *self, sched_counts_t *counts);

/* Nothing pending and nothing running. */
bool sched_finished (const sched_t *self);
/* No more tasks are cut from now on (cancel, --fail-fast). */
void sched_stop (sched_t *self);

#endif
