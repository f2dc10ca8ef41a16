/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/handed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/segments.h"

enum {
    MOST_HANDLES = 1 << 20, /* more segments than any node has */
    KEPT_BYTES = 16 << 20   /* pages of segments that are not in use */
};

/* Shared by the table and the messages that point into it. */
typedef struct {
    handed_t *of; /* NULL: it is no more */
    const void *map;
    uint32_t bytes;
    unsigned users; /* the table, and messages */
    bool touched;   /* not in use, and its pages are counted in `kept` */
} segment_t;

typedef struct {
    uint64_t cost;
    bool written;
} piece_t;

struct handed {
    uint32_t segment_bytes;
    int sock;
    segment_t **segments; /* by handle */
    size_t nsegments;
    piece_t *pieces; /* not done with: a ring */
    size_t first, n, room;
    uint64_t done;
    uint64_t kept; /* under `lock` */
};

/* Over users, touched, of and kept: messages are closed by the writer's thread. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

handed_t *handed_new (uint32_t segment_bytes)
{
    handed_t *self = calloc (1, sizeof *self);
    if (self) {
        self->segment_bytes = segment_bytes;
        self->sock = -1;
    }
    return self;
}

/* ---- mappings ------------------------------------------------------------- */

static void leave (segment_t *segment)
{
    pthread_mutex_lock (&lock);
    bool last = --segment->users == 0;
    handed_t *of = segment->of;
    if (!last && of && segment->users == 1) { /* the table's: it is idle now */
        segment->touched = of->kept + segment->bytes <= KEPT_BYTES;
        if (segment->touched)
            of->kept += segment->bytes;
        else
            madvise ((void *) (uintptr_t) segment->map, segment->bytes, MADV_DONTNEED);
    }
    pthread_mutex_unlock (&lock);
    if (last) {
        segment_unmap (segment->map, segment->bytes);
        free (segment);
    }
}

static void untouch (segment_t *segment)
{
    if (segment->touched)
        segment->of->kept -= segment->bytes;
    segment->touched = false;
}

/* The table has it no more. */
static void forget (handed_t *self, size_t handle)
{
    segment_t *segment = self->segments[handle];
    if (!segment)
        return;
    self->segments[handle] = NULL;
    pthread_mutex_lock (&lock);
    untouch (segment);
    segment->of = NULL;
    pthread_mutex_unlock (&lock);
    leave (segment);
}

static void adopt (handed_t *self, uint32_t handle, int fd)
{
    segment_t *segment = calloc (1, sizeof *segment);
    const void *map = segment_map (fd, self->segment_bytes, NULL);
    if (handle >= self->nsegments && handle < MOST_HANDLES) {
        size_t n = 2 * (size_t) handle + 64;
        segment_t **grown = realloc (self->segments, n * sizeof *grown);
        if (grown) {
            memset (grown + self->nsegments, 0, (n - self->nsegments) * sizeof *grown);
            self->segments = grown;
            self->nsegments = n;
        }
    }
    if (!segment || !map || handle >= self->nsegments) {
        segment_unmap (map, self->segment_bytes);
        free (segment);
        return;
    }
    forget (self, handle);
    *segment =
        (segment_t){.of = self, .map = map, .bytes = self->segment_bytes, .users = 1};
    self->segments[handle] = segment;
}

static void listen (handed_t *self)
{
    uint32_t handle;
    int fd;
    while (self->sock >= 0 && segment_take_over (self->sock, &handle, &fd))
        adopt (self, handle, fd);
}

static void forget_all (handed_t *self)
{
    for (size_t i = 0; i < self->nsegments; i++)
        forget (self, i);
}

void handed_destroy (handed_t **self_p)
{
    handed_t *self = *self_p;
    if (!self)
        return;
    forget_all (self);
    free (self->segments);
    free (self->pieces);
    free (self);
    *self_p = NULL;
}

void handed_begin (handed_t *self, int sock)
{
    forget_all (self);
    self->sock = sock;
    self->first = self->n = 0;
    self->done = 0;
}

/* ---- references ------------------------------------------------------------ */

bool handed_is_reference (const zmq_msg_t *frame, uint64_t payload)
{
    return zmq_msg_size (frame) == SEGMENT_REF_BYTES && payload >= SEGMENT_REF_LEAST;
}

static void closed (void *data, void *hint)
{
    (void) data;
    leave (hint);
}

int handed_resolve (handed_t *self, zmq_msg_t *frame, uint64_t payload)
{
    uint32_t handle;
    memcpy (&handle, zmq_msg_data (frame), sizeof handle);
    listen (self); /* it was handed over before it was referred to */
    segment_t *segment = handle < self->nsegments ? self->segments[handle] : NULL;
    zmq_msg_t whole;
    if (!segment || payload > segment->bytes)
        return -1;
    pthread_mutex_lock (&lock);
    untouch (segment);
    segment->users++;
    pthread_mutex_unlock (&lock);
    if (zmq_msg_init_data (&whole, (void *) (uintptr_t) segment->map, (size_t) payload,
                           closed, segment)) {
        leave (segment);
        return -1;
    }
    zmq_msg_move (frame, &whole);
    zmq_msg_close (&whole);
    return 0;
}

/* ---- how far ------------------------------------------------------------- */

static void pop_written (handed_t *self)
{
    while (self->n > 0 && self->pieces[self->first].written) {
        self->done += self->pieces[self->first].cost;
        self->first = (self->first + 1) % self->room;
        self->n--;
    }
}

static bool grow (handed_t *self)
{
    size_t room = self->room ? 2 * self->room : 64;
    piece_t *pieces = malloc (room * sizeof *pieces);
    if (!pieces)
        return false;
    for (size_t i = 0; i < self->n; i++)
        pieces[i] = self->pieces[(self->first + i) % self->room];
    free (self->pieces);
    self->pieces = pieces;
    self->first = 0;
    self->room = room;
    return true;
}

int handed_came (handed_t *self, uint64_t cost, bool written)
{
    if (self->n == self->room && !grow (self))
        return -1;
    self->pieces[(self->first + self->n++) % self->room] = (piece_t){cost, written};
    pop_written (self);
    return 0;
}

void handed_written (handed_t *self)
{
    for (size_t i = 0; i < self->n; i++) {
        piece_t *piece = &self->pieces[(self->first + i) % self->room];
        if (piece->written)
            continue;
        piece->written = true;
        break;
    }
    pop_written (self);
}

uint64_t handed_done (const handed_t *self)
{
    return self->done;
}
