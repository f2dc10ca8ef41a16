/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* run.h - a run of a job on the cluster, from the first HELLO to the last byte
 *
 * One thread, the control loop, owns every socket, the gate, the scheduler
 * and the links to nodes; the writer's thread and the roster's thread are the
 * only others. Nothing in the loop blocks: what may block (disk, share) is in
 * those two.
 */
#ifndef MASTER_RUN_H
#define MASTER_RUN_H

#include "master/job.h"
#include "master/writer.h"

enum { RUN_NAMED_FAILURES = 10 }; /* the rest is in the output */

typedef struct {
    const char *status; /* complete, failed, cancelled, stopped */
    uint64_t tasks, done, failed, retried, copies; /* tasks cut; items failed for good */
    uint64_t failed_items[RUN_NAMED_FAILURES];     /* the first that failed for good */
    unsigned nfailed_items;
    uint64_t stale_frames;                 /* of other runs, tokens or epochs */
    uint64_t malformed, unwanted, cut_off; /* as links_counts_t */
    uint64_t forged;                       /* beacons that were not made with the key */
    uint64_t strangers;     /* connections to the query socket without it */
    uint64_t lost, resyncs; /* nodes; streams that were begun anew */
    uint64_t unreceived;    /* bytes that were granted and did not come */
    uint64_t unfinished;    /* tasks that were still waited for */
    double seconds;
    unsigned nodes, cores;
    uint64_t window, peak_held;
    writer_totals_t totals;
    writer_taken_t taken; /* part of the totals: what was there when it began */
    char isa[64];         /* instruction sets that nodes used */
    char data_path[40];   /* how results travelled: memory, memfd, ipc, tcp+aes256gcm,
                             tcp+curve; several with commas */
} run_result_t;

/* Both call job->begun, if there is one, when the output is open. */

/* Run the job on nodes. 0: ended in order (look at result->status); -1: could
 * not (err->code says how: no nodes, output, system). */
int run_cluster (job_t *job, run_result_t *result, sluice_error_t *err);

/* Run it in this process: no fork, no socket, the same digest. */
int run_serial (job_t *job, run_result_t *result, sluice_error_t *err);

/* Call when everything else is done, before the job is destroyed: if the disk did not
 * answer at the end, a thread still waits for it, and the process ends here. */
void run_leave (int status);

/* The writer of this job's output; its feed, if it has one, hears that it is there. */
writer_t *run_open_writer (job_t *job, sluice_error_t *err);

/* After one of the two has failed: a run that could not begin leaves no output, so that
 * the next one may have its name. */
void run_discard (const job_t *job, const run_result_t *result,
                  const sluice_error_t *err);

/* The constants that matter to people: in one place, with their reasons. */
enum {
    PING_MS = 1000,        /* a node is asked each second... */
    SILENCE_MS = 10000,    /* ...and lost after ten without a word (I9) */
    STALL_MS = 10000,      /* granted and nothing came: RESYNC; doubled each time */
    FIRST_NODE_MS = 30000, /* with --node or --no-local: then exit 3 */
    LACKS_MS = 5000,       /* a node that could not take part is asked again */
    TARGET_MS = 2000,      /* a task should take so long, smaller at the end */
    OPEN_MS = 600000       /* a kernel's open may read large inputs */
};

#endif
