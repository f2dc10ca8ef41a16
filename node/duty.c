/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/duty.h"

#include <stdlib.h>
#include <string.h>

#include "node/wire.h"

enum {
    MOST_AHEAD = 256, /* tasks per worker */
    /* Credit that is not used for so long frees its cores: well above a round
     * trip and the master's turn, well below what a person notices. */
    IDLE_MS = 300,
    /* A worker that waits for room so long lends its core. */
    LEND_MS = 100,
    /* The agent looks at its runs more often than this. */
    TURN_MS = 500,
    /* Below this a round trip per task would cost more than a per cent or two. */
    SHORT_MS = 50,
    /* So much work is asked for ahead for a worker, of short tasks: a few turns of the
     * agent and the master on a busy machine. */
    AHEAD_MS = 50,
    /* And so much of it is put in its hand: longer than until the agent comes to it. */
    HAND_MS = 5,
    /* A task in hand waits for no longer than this while another worker has none. */
    STUCK_MS = 2
};

typedef struct {
    task_t task;
    bool shed;
} queued_t;

typedef enum {
    FREE,
    BUSY,
    DYING /* revoked; its successor is not there yet */
} state_t;

typedef struct {
    state_t state;
    task_t task;
    queued_t hand[HAND_MAX]; /* a ring: what it does next, and has been told of */
    unsigned first, nhand;
    double took; /* ms that its task took; 0: not told */
    int64_t started;
    int64_t waiting; /* since when it waits for room; 0: it does not */
    bool lent;       /* BUSY without locks */
    bool paused;     /* stopped until it has them again */
    bool expired;    /* it took too long, and is being ended */
    uint64_t item;   /* that it is at */
    int64_t used;    /* by that item */
} worker_t;

struct duty {
    crew_t *crew;
    slots_t *slots;
    unsigned cores; /* per worker */
    unsigned nworkers, nfree;
    unsigned locked; /* workers that have locks, and credit that has */
    unsigned spare;  /* of these, for credit */
    worker_t *workers;
    queued_t *queue;
    size_t qfirst, nqueue, room; /* a ring */
    unsigned ahead;              /* tasks at most, per worker */
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
    /* Credit is for one task per worker, and for some ahead; what comes back from a
     * worker's hand was on the queue before. */
    size_t ahead = MSG_TASKS_AHEAD / (size_t) workers, room;
    ahead = ahead < 1 ? 1 : ahead < MOST_AHEAD ? ahead : MOST_AHEAD;
    room = (2 + ahead) * (size_t) workers;
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
    self->ahead = (unsigned) ahead;
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

static queued_t *queued (const duty_t *self, size_t i)
{
    return self->queue + (self->qfirst + i) % self->room;
}

/* Put a task that was on the queue before at its head again. */
static void requeue (duty_t *self, const queued_t *task)
{
    self->qfirst = (self->qfirst + self->room - 1) % self->room;
    self->nqueue++;
    *queued (self, 0) = *task;
}

/* The last `n` in the worker's hand are not begun. */
static void requeue_hand (duty_t *self, worker_t *worker, unsigned n)
{
    for (; n > 0 && worker->nhand > 0; n--)
        requeue (self, &worker->hand[(worker->first + --worker->nhand) % HAND_MAX]);
}

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
        *queued (self, self->nqueue++) = (queued_t){.task = tasks->tasks[i]};
        self->seen++;
        self->credited = now;
    }
    return 0;
}

/* A task of this worker ended. A long one among short ones counts for more: what is
 * asked for ahead waits behind it. */
static void measure (duty_t *self, const worker_t *worker, int64_t now)
{
    double ms = worker->took > 0 ? worker->took : (double) (now - worker->started);
    self->mean_ms += (ms > self->mean_ms ? 0.5 : 0.2) * (ms - self->mean_ms);
}

void duty_took (duty_t *self, unsigned slot, double seconds)
{
    if (slot < self->nworkers)
        self->workers[slot].took = seconds * 1e3;
}

void duty_next (duty_t *self, unsigned slot, double seconds, int64_t now)
{
    worker_t *worker = slot < self->nworkers ? &self->workers[slot] : NULL;
    if (!worker || worker->state != BUSY || worker->nhand == 0)
        return;
    worker->took = seconds * 1e3;
    measure (self, worker, now);
    worker->task = worker->hand[worker->first].task;
    worker->first = (worker->first + 1) % HAND_MAX;
    worker->nhand--;
    worker->started = self->started = now;
    worker->item = worker->task.first;
    worker->used = 0;
    worker->took = 0;
    worker->expired = false;
}

void duty_free (duty_t *self, unsigned slot, int64_t now)
{
    if (slot >= self->nworkers || self->workers[slot].state == FREE)
        return;
    worker_t *worker = &self->workers[slot];
    if (worker->paused)
        crew_pause (self->crew, slot, false);
    requeue_hand (self, worker, worker->nhand);
    if (worker->state == BUSY)
        measure (self, worker, now);
    if (worker->lent)
        ;
    else if (slots_wanted (self->slots, now))
        give (self); /* so that somebody else may have it */
    else
        self->spare++;
    worker->state = FREE;
    worker->task = (task_t){0};
    worker->took = 0;
    worker->waiting = 0;
    worker->lent = worker->paused = worker->expired = false;
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

static bool in_hand (const worker_t *worker, const task_t *task)
{
    for (unsigned i = 0; i < worker->nhand; i++)
        if (is_same (&worker->hand[(worker->first + i) % HAND_MAX].task, task))
            return true;
    return false;
}

/* What this worker has not begun is on the queue again. */
static void take_back (duty_t *self, unsigned slot)
{
    if (self->workers[slot].state == BUSY && self->workers[slot].nhand > 0)
        requeue_hand (self, &self->workers[slot], crew_take_back (self->crew, slot));
}

void duty_shed (duty_t *self, const task_t *task)
{
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        if (self->workers[slot].state == BUSY &&
            is_same (&self->workers[slot].task, task))
            crew_shed (self->crew, slot);
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        if (in_hand (&self->workers[slot], task))
            take_back (self, slot);
    for (size_t i = 0; i < self->nqueue; i++)
        if (is_same (&queued (self, i)->task, task))
            queued (self, i)->shed = true;
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
    /* What it is at, or has done and we have not heard of, is done again. */
    requeue_hand (self, worker, worker->nhand);
    crew_revoke (self->crew, slot);
}

static void unqueue (duty_t *self, size_t i)
{
    self->nqueue--;
    if (i == 0)
        self->qfirst = (self->qfirst + 1) % self->room;
    for (; i > 0 && i < self->nqueue; i++)
        *queued (self, i) = *queued (self, i + 1);
}

void duty_revoke (duty_t *self, const task_t *task)
{
    for (unsigned slot = 0; slot < self->nworkers; slot++) {
        worker_t *worker = &self->workers[slot];
        if (is_same (&worker->task, task)) {
            stop (self, slot);
        } else if (in_hand (worker, task)) {
            take_back (self, slot);
            if (in_hand (worker, task)) /* it has begun that */
                stop (self, slot);
        }
    }
    for (size_t i = self->nqueue; i-- > 0;)
        if (is_same (&queued (self, i)->task, task))
            unqueue (self, i);
}

void duty_revoke_all (duty_t *self)
{
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        stop (self, slot);
    self->nqueue = self->qfirst = 0;
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
    queued_t first = *queued (self, 0);
    unqueue (self, 0);
    worker_t *worker = &self->workers[slot];
    worker->state = BUSY;
    worker->task = first.task;
    worker->started = now;
    worker->item = first.task.first;
    worker->used = 0;
    self->nfree--;
    self->started = now;
    if (crew_assign (self->crew, slot, &first.task, err) == -1)
        return -1;
    if (first.shed)
        crew_shed (self->crew, slot);
    return 0;
}

/* How many tasks of the usual length take `ms`: from 1 to `most`; 0: they are long. */
static unsigned fit (const duty_t *self, double ms, unsigned most)
{
    if (self->mean_ms >= SHORT_MS)
        return 0;
    double n = ms / (self->mean_ms > 1e-3 ? self->mean_ms : 1e-3);
    return n < 1 ? 1 : n < most ? (unsigned) n : most;
}

/* Put short tasks in the hands of workers, in turn, so that all have about as many. */
static void hand_out (duty_t *self)
{
    unsigned busy = self->nworkers - self->nfree,
             most = fit (self, HAND_MS, HAND_MAX - 1);
    if (busy == 0 || self->nqueue == 0 || most == 0)
        return;
    unsigned even = (unsigned) ((self->nqueue + busy - 1) / busy);
    for (unsigned slot = 0; slot < self->nworkers; slot++) {
        worker_t *worker = &self->workers[slot];
        if (worker->state != BUSY || worker->paused || worker->waiting || worker->expired)
            continue;
        for (unsigned n = 0; self->nqueue > 0 && n < even && worker->nhand < most; n++) {
            queued_t *first = queued (self, 0);
            if (first->shed || !crew_hand (self->crew, slot, &first->task))
                break;
            worker->hand[(worker->first + worker->nhand++) % HAND_MAX] = *first;
            unqueue (self, 0);
        }
    }
}

/* Some worker has nothing to do: take what others have not begun, and keep waiting. */
static void take_back_stuck (duty_t *self, int64_t now)
{
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        if (now - self->workers[slot].started > STUCK_MS)
            take_back (self, slot);
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
    if (self->nqueue == 0 && self->nfree > 0 && self->nfree < self->nworkers)
        take_back_stuck (self, now);
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
    if (self->nfree == 0)
        hand_out (self);
    unsigned busy = self->nworkers - self->nfree;
    uint64_t most = self->nfree + (uint64_t) busy * fit (self, AHEAD_MS, self->ahead),
             there = outstanding (self) + duty_running (self) - busy;
    /* Not one by one: each time it is a message. */
    if (!wanting && there + most / 8 < most)
        self->credit += most - there;
    return wanting;
}

unsigned duty_cores (const duty_t *self)
{
    return self->locked * self->cores;
}

unsigned duty_running (const duty_t *self)
{
    unsigned n = self->nworkers - self->nfree + (unsigned) self->nqueue;
    for (unsigned slot = 0; slot < self->nworkers; slot++)
        n += self->workers[slot].nhand;
    return n;
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
