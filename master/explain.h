/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* explain.h - how a run is going, and what everything in it waits for
 *
 * What a master answers to STATUS and EXPLAIN, as JSON of at most MSG_MAX_TEXT
 * bytes: of many tasks and nodes those that matter most come first, and how
 * many were left out is said. It only looks: nothing changes, nothing blocks,
 * and its time is that of one walk over running tasks and nodes.
 */
#ifndef MASTER_EXPLAIN_H
#define MASTER_EXPLAIN_H

#include <time.h>
#include "master/link.h"
#include "proto/json.h"

/* The run as its control loop sees it. All borrowed. */
typedef struct {
    const job_t *job;
    const sched_t *sched;
    const links_t *links;
    const gate_t *gate;
    const writer_totals_t *totals;
    const char *waiting; /* "" or what all of it waits for */
    bool finishing, disk_full;
    int64_t now, started; /* ms, the clock of links_tick */
    time_t since;
    double rate; /* bytes per second, of late */
} view_t;

/* {"run", "owner", "job", "host", "since" (seconds since 1970), "seconds", "items",
 * "done", "failed", "running", "pending" (items), "bytes", "mb_per_s", "nodes",
 * "waiting"}. NULL: out of memory. */
char *explain_status (const view_t *view);

/* `question`: "" the whole run, or the number of a task.
 *
 * The whole run: as STATUS, and
 *   "waits"   sentences: what waits, for what
 *   "tasks"   that run or were delivered, those first that run longest:
 *             as explain_place, "task", "seconds", "expected" (0: not known)
 *   "node_states"  "host", "endpoint", "state" (ready, opening, silent, lacks, no
 *             answer yet), "slots", "free" (tasks it would take), "held" (result
 *             bytes), "silent" (seconds), "waits"
 *   "tasks_left_out", "nodes_left_out"
 * A task: "task", as explain_place, "seconds", "expected", "waits" (a list). */
char *explain_run (const view_t *view, const char *question);

/* "where" (running, delivered, pending, not cut yet, over) and, as far as known,
 * "first", "stop", "attempt", "host": members of an object that is open. */
void explain_place (json_out_t *out, const links_t *links, sched_where_t where,
                    const sched_task_t *task);

#endif
