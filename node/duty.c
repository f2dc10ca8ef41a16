/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/duty.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* Credit that is not used for so long frees its cores: well above a round
     * trip and the master's turn, well below what a person notices. */
    IDLE_MS = 300,
    /* A worker that waits for room so long lends its core. */
    LEND_MS = 100,
    /* The agent looks at its runs more often than this. */
    TURN_MS = 500,
    /* Below this a round trip per task would cost more than a per cent or two. */
    SHORT_MS = 50
};

typedef enum {
    FREE,
    BUSY,
    DYING /* revoked; its successor is not there yet */
} state_t;

typedef struct {
    state_t state;
    task_t task;
    int64_t started;
    int64_t waiting; /* since when it waits for room; 0: it does not */
    bool lent;       /* BUSY without locks */
    bool paused;     /* stopped until it has them again */
    bool expired;    /* it took too long, and is being ended */
    uint64_t item;   /* that it is at */
    int64_t used;    /* by that item */
} worker_t;

typedef struct {
    task_t task;
    bool shed;
} queued_t;

struct duty {
    crew_t *crew;
    slots_t *slots;
    unsigned cores; /* per worker */
    unsigned nworkers, nfree;
    unsigned locked; /* workers that have locks, and credit that has */
    unsigned spare;  /* of these, for credit */
    worker_t *workers;
    queued_t *queue;
    size_t nqueue, room;
    uint64_t credit, seen;
    int64_t credited; /* when credit was last given or used */
    int64_t started;
    double mean_ms; /* of tasks, recent ones weigh more */
    int64_t limit;  /* for an item; 0: none */
    const char *limit_reason;
    int64_t looked; /* when tasks were last held against it */
};

duty_t *duty_new (crew_t *crew, slots_t *slots, unsigned workers, unsigned cores,
                  sluice_error_t *err)
{
    duty_t *self = calloc (1, sizeof *self);
    /* Credit is for one task per worker, and one ahead. */
    size_t room = 2 * (size_t) workers;
    if (self) {
        self->workers = calloc (workers, sizeof *self->workers);
        self->queue = calloc (room, sizeof *self->queue);
    }
    if (!self || !self->workers || !self->queue) {
        duty_destroy (&self);
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for %u workers", workers);
        return NULL;
    }
    self->crew = crew;
    self->slots = slots;
    self->cores = cores;
    self->nworkers = self->nfree = workers;
    self->room = room;
    self->mean_ms = 1000;
    return self;
}

void duty_destroy (duty_t **self_p)
{
    duty_t *self = *self_p;
    if (!self)
        return;
    if (self->locked > 0)
        slots_give (self->slots, self->locked * self->cores);
    free (self->workers);
    free (self->queue);
    free (self);
    *self_p = NULL;
}

void duty_limit (duty_t *self, int64_t ms, const char *reason)
{
    self->limit = ms;
    self->limit_reason = reason;
}

static bool take (duty_t *self)
{
    if (!slots_take (self->slots, self->cores))
        return false;
    self->locked++;
    return true;
}

static void give (duty_t *self)
{
    slots_give (self->slots, self->cores);
    self->locked--;
}

/* ---- tasks come and go -------------------------------------------------- */

int duty_assign (duty_t *self, const msg_tasks_t *tasks, int64_t now, sluice_error_t *err)
{
    if (tasks->before > self->seen)
        return sluice_fail (err, SLUICE_EPROTO, "lost assignments: %llu of %llu came",
                            (unsigned long long) self->seen,
                            (unsigned long long) tasks->before);
    uint64_t known = self->seen - tasks->before;
    for (size_t i = 0; i < tasks->ntasks; i++) {
        if (i < known)
            continue;
        if (self->seen == self->credit || self->nqueue == self->room)
            return sluice_fail (err, SLUICE_EPROTO,
                                "more tasks came than there was credit");
        self->queue[self->nqueue++] = (queued_t){.task = tasks->tasks[i]};
        self->seen++;
        self->credited = now;
    }
    return 0;
}

void duty_free (duty_t *self, unsigned slot, int64_t now)
{
    if (slot >= self->nworkers || self->workers[slot].state == FREE)
        return;
    worker_t *worker = &self->workers[slot];
    if (worker->paused)
        crew_pause (self->crew, slot, false);
    if (worker->state == BUSY)
        self->mean_ms += 0.2 * ((double) (now - worker->started) - self->mean_ms);
    if (!worker->lent)
        give (self); /* so that somebody else may have it */
    memset (worker, 0, sizeof *worker);
    self->nfree++;
}

const task_t *duty_task (const duty_t *self, unsigned slot)
{
    return slot < self->nworkers && self->workers[slot].state == BUSY
               ? &self->workers[slot].task
               : NULL;
}

static bool is_same (const task_t *a, const task_t *b)
{
    return a->task == b->task && a->attempt == b->attempt;
}

void duty_shed (duty_t *self, const task_t *task)
{
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        if (self->workers[slot].state == BUSY &&
            is_same (&self->workers[slot].task, task))
            crew_shed (self->crew, slot);
    for (size_t i = 0; i < self->nqueue; i++)
        if (is_same (&self->queue[i].task, task))
            self->queue[i].shed = true;
}

static void stop (duty_t *self, unsigned slot)
{
    worker_t *worker = &self->workers[slot];
    if (worker->state != BUSY)
        return;
    if (worker->paused)
        crew_pause (self->crew, slot, false);
    worker->paused = false;
    worker->state = DYING;
    crew_revoke (self->crew, slot);
}

static void unqueue (duty_t *self, size_t i)
{
    self->nqueue--;
    memmove (self->queue + i, self->queue + i + 1,
             (self->nqueue - i) * sizeof *self->queue);
}

void duty_revoke (duty_t *self, const task_t *task)
{
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        if (is_same (&self->workers[slot].task, task))
            stop (self, slot);
    for (size_t i = self->nqueue; i-- > 0;)
        if (is_same (&self->queue[i].task, task))
            unqueue (self, i);
}

void duty_revoke_all (duty_t *self)
{
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        stop (self, slot);
    self->nqueue = 0;
}

/* ---- cores -------------------------------------------------------------- */

/* Tasks that the master may send and did not. */
static uint64_t outstanding (const duty_t *self)
{
    return self->credit - self->seen;
}

static bool is_idle (const duty_t *self, int64_t now)
{
    return outstanding (self) > 0 && now - self->credited > IDLE_MS;
}

unsigned duty_claim (const duty_t *self, int64_t now)
{
    unsigned n = self->nworkers - self->nfree;
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        if (self->workers[slot].lent && self->workers[slot].waiting)
            n--;
    unsigned more = is_idle (self, now) && self->nqueue < self->nfree
                        ? (unsigned) self->nqueue
                        : self->nfree;
    return (n + more) * self->cores;
}

/* Lend the cores of workers that wait for room; get them back for those that
 * do not any more. True: some are missing. */
static bool lend (duty_t *self, int64_t now)
{
    bool missing = false;
    for (unsigned slot = 0; slot < self->nworkers; slot++) {
        worker_t *worker = &self->workers[slot];
        if (worker->state != BUSY)
            continue;
        if (!worker->paused) {
            if (!crew_waiting (self->crew, slot))
                worker->waiting = 0;
            else if (!worker->waiting)
                worker->waiting = now;
        }
        if (worker->waiting && !worker->lent && now - worker->waiting >= LEND_MS) {
            worker->lent = true;
            give (self);
        } else if (!worker->waiting && worker->lent) {
            if (take (self)) {
                worker->lent = false;
                if (worker->paused)
                    crew_pause (self->crew, slot, false);
                worker->paused = false;
            } else {
                missing = true;
                if (!worker->paused)
                    crew_pause (self->crew, slot, true);
                worker->paused = true;
            }
        }
    }
    return missing;
}

/* End tasks that take too long. */
static void check_time (duty_t *self, int64_t now)
{
    /* A longer turn is time that this process, and so perhaps the host, stood still. */
    int64_t passed = now - self->looked < TURN_MS ? now - self->looked : TURN_MS;
    self->looked = now;
    for (unsigned slot = 0; self->limit > 0 && slot < self->nworkers; slot++) {
        worker_t *worker = &self->workers[slot];
        if (worker->state != BUSY || worker->expired || worker->started == now)
            continue;
        uint64_t item = crew_item (self->crew, slot);
        if (item != worker->item)
            worker->used = 0;
        else if (!worker->waiting && !worker->paused)
            worker->used += passed;
        worker->item = item;
        if (worker->used < self->limit)
            continue;
        worker->expired = true;
        crew_expire (self->crew, slot, self->limit_reason);
    }
}

static int start (duty_t *self, int64_t now, sluice_error_t *err)
{
    unsigned slot = 0;
    while (self->workers[slot].state != FREE)
        slot++;
    queued_t first = self->queue[0];
    unqueue (self, 0);
    self->workers[slot] = (worker_t){
        .state = BUSY, .task = first.task, .started = now, .item = first.task.first};
    self->nfree--;
    self->started = now;
    if (crew_assign (self->crew, slot, &first.task, err) == -1)
        return -1;
    if (first.shed)
        crew_shed (self->crew, slot);
    return 0;
}

bool duty_share (duty_t *self, unsigned cores, int64_t now, sluice_error_t *broken)
{
    unsigned allowed = cores / self->cores;
    bool wanting = lend (self, now);
    check_time (self, now);
    while (self->spare > 0 && (self->locked > allowed || is_idle (self, now))) {
        self->spare--;
        give (self);
    }
    while (self->nqueue > 0 && self->nfree > 0) {
        if (self->spare > 0) {
            self->spare--;
        } else if (self->locked >= allowed || !take (self)) {
            wanting = true;
            break;
        }
        if (start (self, now, broken) == -1)
            return false;
    }
    while (!wanting && outstanding (self) + self->nqueue < self->nfree) {
        /* Cores of queued tasks that were revoked are spare, too. */
        if (self->spare <= outstanding (self)) {
            if (self->locked >= allowed || !take (self)) {
                wanting = !is_idle (self, now);
                break;
            }
            self->spare++;
        }
        self->credit++;
        self->credited = now;
    }
    unsigned busy = self->nworkers - self->nfree;
    if (self->mean_ms < SHORT_MS && !wanting)
        while (outstanding (self) + self->nqueue < self->nfree + busy)
            self->credit++;
    return wanting;
}

unsigned duty_cores (const duty_t *self)
{
    return self->locked * self->cores;
}

unsigned duty_running (const duty_t *self)
{
    return self->nworkers - self->nfree + (unsigned) self->nqueue;
}

uint64_t duty_credit (const duty_t *self)
{
    return self->credit;
}
uint64_t duty_seen (const duty_t *self)
{
    return self->seen;
}
int64_t duty_started (const duty_t *self)
{
    return self->started;
}
