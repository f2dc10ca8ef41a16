/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* fake_nursery.h - workers without processes, for tests of the agent
 *
 * Defines the functions of node/nursery.h, so that they are taken instead of
 * the real ones. A task is "computed" at once, in crew_next; its first item
 * says what happens:
 *
 *   < 1000     one DONE piece with an u64 per item
 *   1000..1999 `first - 1000` DATA pieces that fill their segments, then DONE
 *   2000..2999 never ends, until revoked or shed
 *   3000..3999 FAILED
 *   4000..4999 DONE, 100 ms later
 *
 * A piece's bytes are the low byte of the task's number. Workers wait for free
 * segments as real ones do. A run whose seed is 13 lacks something, and 14
 * dies as soon as it gets a task.
 */
#ifndef TESTS_FAKE_NURSERY_H
#define TESTS_FAKE_NURSERY_H

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "node/nursery.h"

struct nursery {
    int fd;
};

typedef struct {
    bool busy, done_sent, shed, revoked, paused;
    task_t task;
    uint64_t sent;
    int64_t started;
} fake_worker_t;

struct crew {
    unsigned slots, segments;
    uint32_t segment;
    uint64_t seed;
    bool ready, killed;
    int event;
    fake_worker_t *workers;
    uint8_t *memory;
    bool *used;
    unsigned assigned, revoked, paused, shed, expired; /* calls, for the test to see */
    const char *why;                                   /* of the last that expired */
    uint64_t item; /* that all workers say they are at; 0: the task's first */
};

static int64_t fake_now (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

nursery_t *nursery_start (sluice_error_t *err)
{
    (void) err;
    nursery_t *self = calloc (1, sizeof *self);
    self->fd = eventfd (0, EFD_CLOEXEC);
    return self;
}

void nursery_destroy (nursery_t **self_p)
{
    if (*self_p)
        close ((*self_p)->fd);
    free (*self_p);
    *self_p = NULL;
}

int nursery_fd (const nursery_t *self)
{
    return self->fd;
}

static void fake_wake (crew_t *self)
{
    uint64_t one = 1;
    (void) !write (self->event, &one, sizeof one);
}

crew_t *crew_start (nursery_t *nursery, const crew_options_t *options,
                    sluice_error_t *err)
{
    (void) nursery, (void) err;
    crew_t *self = calloc (1, sizeof *self);
    self->slots = options->slots;
    self->segments = options->segments;
    self->segment = options->hello->segment;
    self->seed = options->hello->seed;
    self->event = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->workers = calloc (self->slots, sizeof *self->workers);
    self->memory = calloc ((size_t) self->slots * self->segments, self->segment);
    self->used = calloc ((size_t) self->slots * self->segments, 1);
    fake_wake (self);
    return self;
}

void crew_kill (crew_t *self)
{
    self->killed = true;
}
bool crew_gone (crew_t *self)
{
    return self->killed;
}

void crew_destroy (crew_t **self_p)
{
    crew_t *self = *self_p;
    if (!self)
        return;
    close (self->event);
    free (self->workers);
    free (self->memory);
    free (self->used);
    free (self);
    *self_p = NULL;
}

size_t crew_fds (const crew_t *self, int *fds, size_t max)
{
    if (max > 0)
        fds[0] = self->event;
    return max > 0;
}

/* A free segment of this slot; -1: none. */
static int fake_segment (crew_t *self, unsigned slot)
{
    for (unsigned i = 0; i < self->segments; i++)
        if (!self->used[slot * self->segments + i])
            return (int) (slot * self->segments + i);
    return -1;
}

static uint64_t fake_pieces (const fake_worker_t *w)
{
    return w->task.first >= 1000 && w->task.first < 2000 ? w->task.first - 1000 : 0;
}

static bool fake_ended (const fake_worker_t *w)
{
    uint64_t kind = w->task.first / 1000;
    return kind < 2 || (kind == 2 && w->shed) ||
           (kind == 4 && fake_now () - w->started >= 100);
}

static bool fake_next (crew_t *self, unsigned slot, crew_event_t *event)
{
    fake_worker_t *w = &self->workers[slot];
    event->slot = slot;
    if (w->revoked || w->done_sent) {
        memset (w, 0, sizeof *w);
        event->type = CREW_IDLE;
        return true;
    }
    if (!w->busy || w->paused)
        return false;
    if (w->task.first / 1000 == 3) {
        event->type = CREW_FAILED;
        event->failed = (msg_failed_t){.task = w->task.task,
                                       .attempt = w->task.attempt,
                                       .item = w->task.first,
                                       .reason = "killed by signal 11 (SIGSEGV)",
                                       .sig = 11,
                                       .exit_code = -1,
                                       .stderr_tail = "ouch\xff\n"};
        memset (w, 0, sizeof *w);
        return true;
    }
    int segment = fake_segment (self, slot);
    bool data = w->sent < fake_pieces (w);
    if (segment < 0 || (!data && !fake_ended (w)))
        return false;
    self->used[segment] = true;
    uint8_t *payload = self->memory + (size_t) segment * self->segment;
    uint64_t stop = w->shed ? w->task.first + 1 : w->task.stop;
    uint64_t bytes = data ? self->segment : 8 * (stop - w->task.first);
    memset (payload, (int) (w->task.task & 0xff), bytes);
    event->type = CREW_PIECE;
    event->segment = (uint32_t) segment;
    event->payload = payload;
    event->piece = (piece_t){.kind = data ? PIECE_DATA : PIECE_DONE,
                             .task = w->task.task,
                             .attempt = w->task.attempt,
                             .first = w->task.first,
                             .stop = data ? w->task.stop : stop,
                             .nparts = 1,
                             .payload = bytes};
    event->piece.parts[0] = (part_t){.rows = bytes / 8, .bytes = bytes, .xxh3 = 1};
    w->sent++;
    w->done_sent = !data;
    return true;
}

void crew_next (crew_t *self, crew_event_t *event)
{
    memset (event, 0, sizeof *event);
    uint64_t count;
    if (self->killed)
        return;
    if (!self->ready) {
        self->ready = true;
        event->type = self->seed == 13 ? CREW_LACKS : CREW_READY;
        strcpy (event->text, self->seed == 13 ? "cannot load kernel: bad luck" : "");
        return;
    }
    if (self->seed == 14 && self->assigned > 0) {
        event->type = CREW_DIED;
        strcpy (event->text, "the zygote died");
        return;
    }
    for (unsigned slot = 0; slot < self->slots; slot++)
        if (fake_next (self, slot, event))
            return;
    (void) !read (self->event, &count, sizeof count);
}

int crew_assign (crew_t *self, unsigned slot, const task_t *task, sluice_error_t *err)
{
    if (self->workers[slot].busy)
        return sluice_fail (err, SLUICE_ESYSTEM, "worker %u is busy", slot);
    self->workers[slot] =
        (fake_worker_t){.busy = true, .task = *task, .started = fake_now ()};
    self->assigned++;
    fake_wake (self);
    return 0;
}

bool crew_hand (crew_t *self, unsigned slot, const task_t *task)
{
    (void) self, (void) slot, (void) task;
    return false;
}

unsigned crew_take_back (crew_t *self, unsigned slot)
{
    (void) self, (void) slot;
    return 0;
}

void crew_hold_back (crew_t *self, bool hold)
{
    (void) self, (void) hold;
}

void crew_shed (crew_t *self, unsigned slot)
{
    self->workers[slot].shed = true;
    self->shed++;
    fake_wake (self);
}

void crew_revoke (crew_t *self, unsigned slot)
{
    self->workers[slot].revoked = true;
    self->revoked++;
    fake_wake (self);
}

void crew_expire (crew_t *self, unsigned slot, const char *reason)
{
    self->expired++;
    self->why = reason;
    if (self->workers[slot].busy)
        self->workers[slot].task.first = 3000; /* it fails */
    fake_wake (self);
}

uint64_t crew_item (const crew_t *self, unsigned slot)
{
    return self->item ? self->item : self->workers[slot].task.first;
}

void crew_pause (crew_t *self, unsigned slot, bool pause_it)
{
    self->workers[slot].paused = pause_it;
    self->paused += pause_it;
    fake_wake (self);
}

void crew_release (crew_t *self, uint32_t segment)
{
    self->used[segment] = false;
    fake_wake (self);
}

bool crew_waiting (const crew_t *self, unsigned slot)
{
    return self->workers[slot].busy && !self->workers[slot].done_sent &&
           self->workers[slot].task.first / 1000 != 2 &&
           fake_segment ((crew_t *) self, slot) < 0;
}

#endif
