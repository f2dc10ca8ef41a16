/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* duty.h - which worker of a run does which task
 *
 * The tasks of one run at this node: a queue (nearly always empty), a state for
 * each worker, and the task credit that the master gets. A worker computes only
 * while its run holds the locks of its cores (slots.h). Credit is given for
 * cores that are locked; when the master does not use it soon the locks go back,
 * the credit stays, and a task that comes then waits in the queue for a core.
 * Tasks shorter than 50 ms are asked for ahead, so many as take about that long per
 * worker, and some of them are put in the worker's hand, so that it goes on by itself;
 * what it has not begun is taken back when another worker has nothing to do.
 *
 * A worker that waits for room in the outbox lends its core: its locks are
 * given back, and when it could go on it stands still until it has them again.
 *
 * Owned by the agent's thread. Times are in milliseconds of one clock.
 */
#ifndef NODE_DUTY_H
#define NODE_DUTY_H

#include "node/nursery.h"
#include "node/slots.h"

typedef struct duty duty_t;

/* `workers` of `crew`, each using `cores` locks while it computes. */
duty_t *duty_new (crew_t *crew, slots_t *slots, unsigned workers, unsigned cores,
                  sluice_error_t *err);
/* A task that is at one item for `ms` is ended (crew_expire), for this reason, which is
 * borrowed. Time in which its worker waits for room, or has no core, does not count. */
void duty_limit (duty_t *self, int64_t ms, const char *reason);
/* Gives all locks back. The crew is not touched. */
void duty_destroy (duty_t **self_p);

/* ASSIGN: `before` tasks were sent before these. What was seen is skipped.
 * -1: some were lost on the way, or more came than there was credit for. */
int duty_assign (duty_t *self, const msg_tasks_t *tasks, int64_t now,
                 sluice_error_t *err);
/* CREW_NEXT: this worker has ended its task and is at the next one. */
void duty_next (duty_t *self, unsigned slot, double seconds, int64_t now);
/* Its task took so long, which is known better than by `now`. */
void duty_took (duty_t *self, unsigned slot, double seconds);
/* CREW_IDLE or CREW_FAILED: this worker is free. */
void duty_free (duty_t *self, unsigned slot, int64_t now);
/* The attempt that the worker is at; NULL: none that counts (it was revoked). */
const task_t *duty_task (const duty_t *self, unsigned slot);
/* SHED: ask for the rest of this task's range back. */
void duty_shed (duty_t *self, const task_t *task);
/* REVOKE: stop it, wherever it is. */
void duty_revoke (duty_t *self, const task_t *task);
void duty_revoke_all (duty_t *self);

/* Cores that the run could use now, those that it has included. */
unsigned duty_claim (const duty_t *self, int64_t now);
/* Make use of up to `cores` of the host's: start tasks, give credit, give back
 * what is too much or idle. True: it lacks cores for what it has to do. -1 in
 * *broken when a worker could not be given its task. */
bool duty_share (duty_t *self, unsigned cores, int64_t now, sluice_error_t *broken);

unsigned duty_cores (const duty_t *self);   /* locks held */
unsigned duty_running (const duty_t *self); /* tasks being computed, or queued */
uint64_t duty_credit (const duty_t *self);  /* cumulative tasks, for SLOTS */
uint64_t duty_seen (const duty_t *self);    /* cumulative tasks that came */
int64_t duty_started (const duty_t *self);  /* when a task was last started */

#endif
