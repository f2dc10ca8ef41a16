/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/wthread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/within.h"

/* Results wait for others, so that many small ones are one write, but not long. */
enum { MOST_UNPUBLISHED = 64 };
/* Closing a file whose disk answers takes no longer. */
enum { STOP_MS = 5000 };
enum { OPENED_ALIGN = 4096 };

typedef enum {
    ORDER_PIECE,
    ORDER_DROP,
    ORDER_NODE,
    ORDER_FAILURE,
    ORDER_FINISH
} order_type_t;

typedef struct order {
    struct order *next;
    order_type_t type;
    unsigned node;
    uint64_t cost;
    uint64_t task; /* ORDER_DROP; ORDER_FAILURE: first */
    uint64_t stop;
    uint32_t attempt;
    bool final;
    zmq_msg_t header, payload; /* ORDER_PIECE */
    bool sealed;
    seal_t seal;
    char *text[4]; /* host, isa; or reason, stderr; or status */
    msg_welcome_t welcome;
    msg_failed_t failed;
} order_t;

typedef struct event {
    struct event *next;
    wthread_event_t event;
} event_t;

struct wthread {
    writer_t *writer;
    double patience;
    int fd;
    pthread_t thread;
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t wake;
    order_t *orders, **orders_end;
    event_t *events, **events_end;
    bool stop;
    writer_totals_t totals, durable;
    /* the thread's own: */
    opener_t *opener; /* made with the first sealed piece */
    uint8_t *opened;  /* memory for what was in it, aligned as a disk likes it */
    size_t opened_bytes;
};

static void order_free (order_t *o)
{
    if (o->type == ORDER_PIECE) {
        zmq_msg_close (&o->header);
        zmq_msg_close (&o->payload);
    }
    for (size_t i = 0; i < sizeof o->text / sizeof *o->text; i++)
        free (o->text[i]);
    free (o);
}

/* ---- in the thread -------------------------------------------------------- */

/* An event that cannot be told would leave the loop waiting: try for ever,
 * memory comes back as orders are freed. */
static void tell (wthread_t *self, const wthread_event_t *event)
{
    event_t *e;
    while (!(e = calloc (1, sizeof *e)))
        nanosleep (&(struct timespec){.tv_nsec = 10000000}, NULL);
    e->event = *event;
    pthread_mutex_lock (&self->lock);
    *self->events_end = e;
    self->events_end = &e->next;
    writer_totals (self->writer, &self->totals);
    writer_durable (self->writer, &self->durable);
    pthread_mutex_unlock (&self->lock);
    uint64_t one = 1;
    while (write (self->fd, &one, sizeof one) < 0)
        ; /* EINTR only: the counter cannot be full */
}

/* Wait up to `seconds` or until told to stop; true: stop. */
static bool pause_for (wthread_t *self, double seconds)
{
    struct timespec until;
    clock_gettime (CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long) (seconds * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock (&self->lock);
    while (!self->stop && pthread_cond_timedwait (&self->wake, &self->lock, &until) == 0)
        ;
    bool stop = self->stop;
    pthread_mutex_unlock (&self->lock);
    return stop;
}

/* Make finished tasks readable and tell of them. */
static int publish (wthread_t *self, sluice_error_t *err)
{
    wthread_event_t event = {.type = WTHREAD_RESULT};
    if (writer_publish (self->writer, err))
        return -1;
    while (writer_told (self->writer, &event.result))
        tell (self, &event);
    return 0;
}

/* The payload of a piece, opened if it is sealed. NULL: it cannot be. */
static const void *payload_of (wthread_t *self, order_t *o, sluice_error_t *err)
{
    const void *data = zmq_msg_data (&o->payload);
    size_t n = zmq_msg_size (&o->payload);
    if (!o->sealed)
        return data;
    if (!self->opener && !(self->opener = opener_new (err)))
        return NULL;
    if (n >= self->opened_bytes) {
        size_t room = (n / OPENED_ALIGN + 1) * OPENED_ALIGN;
        free (self->opened);
        self->opened = aligned_alloc (OPENED_ALIGN, room);
        self->opened_bytes = self->opened ? room : 0;
        if (!self->opened) {
            sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
            return NULL;
        }
    }
    if (opener_open (self->opener, &o->seal, NULL, 0, data, n, self->opened))
        return self->opened;
    sluice_fail (err, SLUICE_EPROTO, "results that were changed on the way");
    return NULL;
}

static int carry_out (wthread_t *self, const order_t *o, const piece_t *piece,
                      const void *payload, sluice_error_t *err)
{
    switch (o->type) {
    case ORDER_PIECE:
        return writer_piece (self->writer, o->node, piece, payload, err);
    case ORDER_DROP:
        writer_drop (self->writer, o->task, o->attempt);
        return 0;
    case ORDER_NODE:
        return writer_node (self->writer, o->node, &o->welcome, err);
    case ORDER_FAILURE:
        return writer_failure (self->writer, o->node, &o->failed, o->task, o->stop,
                               o->final, err);
    case ORDER_FINISH:
        return publish (self, err) ? -1 : writer_finish (self->writer, o->text[0], err);
    }
    return 0;
}

/* Carry out one order, waiting while the disk is full. Returns false when
 * the writer cannot go on (told already). */
static bool handle (wthread_t *self, order_t *o)
{
    static const double step = 1.0; /* seconds between tries on a full disk */
    wthread_event_t event = {.type = WTHREAD_WROTE, .node = o->node, .cost = o->cost};
    piece_t piece;
    sluice_error_t err = {0};
    if (o->type == ORDER_PIECE &&
        piece_decode (zmq_msg_data (&o->header), zmq_msg_size (&o->header),
                      zmq_msg_size (&o->payload), &piece, &err)) {
        event.type = WTHREAD_REFUSED; /* decoded once before: cannot happen */
        event.error = err;
        tell (self, &event);
        return true;
    }
    const void *payload = NULL;
    if (o->type == ORDER_PIECE && !(payload = payload_of (self, o, &err))) {
        bool refused = err.code == SLUICE_EPROTO;
        event.type = refused ? WTHREAD_REFUSED : WTHREAD_BROKEN;
        event.task = piece.task;
        event.attempt = piece.attempt;
        event.error = err;
        tell (self, &event);
        return refused;
    }
    bool full = false;
    for (double waited = 0; carry_out (self, o, &piece, payload, &err) != 0;
         waited += step) {
        if (err.code == SLUICE_EPROTO || err.code == SLUICE_EFAILED) {
            event.type = err.code == SLUICE_EPROTO ? WTHREAD_REFUSED : WTHREAD_FAILED;
            event.item = writer_blamed (self->writer);
            event.error = err;
            break;
        }
        if (!writer_disk_full (self->writer) || waited >= self->patience) {
            event.type = WTHREAD_BROKEN;
            event.error = err;
            tell (self, &event);
            return false;
        }
        if (!full)
            tell (self, &(wthread_event_t){.type = WTHREAD_FULL, .error = err});
        full = true;
        if (pause_for (self, step))
            return false;
    }
    if (full)
        tell (self, &(wthread_event_t){.type = WTHREAD_SPACE});
    if (o->type == ORDER_FINISH)
        event.type = WTHREAD_FINISHED;
    if (o->type == ORDER_PIECE) {
        event.task = piece.task;
        event.attempt = piece.attempt;
        event.stop = piece.stop;
        event.seconds = piece.seconds;
        event.done = piece.kind == PIECE_DONE && event.type == WTHREAD_WROTE;
    }
    if (o->type == ORDER_PIECE || o->type == ORDER_FINISH)
        tell (self, &event);
    return true;
}

/* The next order, and whether there are more; NULL after a while without one or when told
 * to stop. */
static order_t *take (wthread_t *self, bool *stop, bool *more)
{
    struct timespec until;
    clock_gettime (CLOCK_MONOTONIC, &until);
    until.tv_nsec += 100000000; /* snapshots are due every 0.2 s at most */
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock (&self->lock);
    while (!self->orders && !self->stop &&
           pthread_cond_timedwait (&self->wake, &self->lock, &until) == 0)
        ;
    order_t *o = self->stop ? NULL : self->orders;
    if (o) {
        self->orders = o->next;
        if (!self->orders)
            self->orders_end = &self->orders;
    }
    *stop = self->stop;
    writer_durable (self->writer, &self->durable);
    *more = self->orders != NULL;
    pthread_mutex_unlock (&self->lock);
    return o;
}

static void *thread_main (void *arg)
{
    wthread_t *self = arg;
    bool stop = false, sound = true, full = false, more = false;
    while (!stop && sound) {
        order_t *o = take (self, &stop, &more);
        bool finish = o && o->type == ORDER_FINISH;
        if (o) {
            sound = handle (self, o);
            order_free (o);
        }
        sluice_error_t err = {0};
        if (stop || !sound || finish)
            continue;
        bool wait = more && writer_unpublished (self->writer) < MOST_UNPUBLISHED;
        if ((wait || publish (self, &err) == 0) &&
            writer_tick (self->writer, &err) == 0) {
            if (full)
                tell (self, &(wthread_event_t){.type = WTHREAD_SPACE});
            full = false;
        } else if (!writer_disk_full (self->writer)) {
            tell (self, &(wthread_event_t){.type = WTHREAD_BROKEN, .error = err});
            sound = false;
        } else if (!full) {
            /* The snapshot waits; the next piece finds out how long. */
            tell (self, &(wthread_event_t){.type = WTHREAD_FULL, .error = err});
            full = true;
        }
    }
    order_t *o;
    while (!stop) /* it is broken; what it counted may still be asked for */
        if ((o = take (self, &stop, &more)))
            order_free (o);
    opener_destroy (&self->opener);
    free (self->opened);
    writer_destroy (&self->writer);
    return NULL;
}

/* ---- the control loop's side ---------------------------------------------- */

wthread_t *wthread_new (writer_t *writer, double patience, sluice_error_t *err)
{
    wthread_t *self = calloc (1, sizeof *self);
    if (!self)
        goto error;
    self->writer = writer;
    self->patience = patience;
    self->orders_end = &self->orders;
    self->events_end = &self->events;
    writer_totals (writer, &self->totals);
    writer_durable (writer, &self->durable);
    self->fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->fd < 0)
        goto error;
    pthread_condattr_t attr;
    pthread_condattr_init (&attr);
    pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
    pthread_cond_init (&self->wake, &attr);
    pthread_condattr_destroy (&attr);
    pthread_mutex_init (&self->lock, NULL);
    if (pthread_create (&self->thread, NULL, thread_main, self) == 0)
        return self;
    pthread_mutex_destroy (&self->lock);
    pthread_cond_destroy (&self->wake);
error:
    sluice_fail (err, SLUICE_ESYSTEM, "cannot start the writer's thread");
    if (self && self->fd >= 0)
        close (self->fd);
    free (self);
    writer_destroy (&writer);
    return NULL;
}

bool wthread_destroy (wthread_t **self_p)
{
    wthread_t *self = *self_p;
    if (!self)
        return true;
    *self_p = NULL;
    pthread_mutex_lock (&self->lock);
    self->stop = true;
    pthread_cond_signal (&self->wake);
    pthread_mutex_unlock (&self->lock);
    if (!join_within (self->thread, STOP_MS))
        return false;
    for (order_t *o = self->orders, *next; o; o = next) {
        next = o->next;
        order_free (o);
    }
    for (event_t *e = self->events, *next; e; e = next) {
        next = e->next;
        msg_clear (&(msg_t){.type = MSG_RESULT, .result = e->event.result});
        free (e);
    }
    pthread_mutex_destroy (&self->lock);
    pthread_cond_destroy (&self->wake);
    close (self->fd);
    free (self);
    return true;
}

int wthread_fd (const wthread_t *self)
{
    return self->fd;
}

static void queue (wthread_t *self, order_t *o)
{
    pthread_mutex_lock (&self->lock);
    *self->orders_end = o;
    self->orders_end = &o->next;
    pthread_cond_signal (&self->wake);
    pthread_mutex_unlock (&self->lock);
}

int wthread_piece (wthread_t *self, unsigned node, zmq_msg_t *header, zmq_msg_t *payload,
                   const seal_t *seal, uint64_t cost)
{
    order_t *o = calloc (1, sizeof *o);
    if (!o)
        return -1;
    o->type = ORDER_PIECE;
    o->node = node;
    o->cost = cost;
    o->sealed = seal != NULL;
    if (seal)
        o->seal = *seal;
    zmq_msg_init (&o->header);
    zmq_msg_init (&o->payload);
    zmq_msg_move (&o->header, header);
    zmq_msg_move (&o->payload, payload);
    queue (self, o);
    return 0;
}

void wthread_drop (wthread_t *self, uint64_t task, uint32_t attempt)
{
    order_t *o = calloc (1, sizeof *o);
    if (!o)
        return; /* its space is found free at the end */
    o->type = ORDER_DROP;
    o->task = task;
    o->attempt = attempt;
    queue (self, o);
}

static char *copy_text (const char *text)
{
    return strdup (text ? text : "");
}

/* Queue an order whose texts must all have been copied. */
static int queue_texts (wthread_t *self, order_t *o, size_t texts)
{
    for (size_t i = 0; i < texts; i++) {
        if (!o->text[i]) {
            order_free (o);
            return -1;
        }
    }
    queue (self, o);
    return 0;
}

int wthread_node (wthread_t *self, unsigned node, const msg_welcome_t *welcome)
{
    order_t *o = calloc (1, sizeof *o);
    if (!o)
        return -1;
    o->type = ORDER_NODE;
    o->node = node;
    o->welcome = *welcome;
    o->welcome.host = o->text[0] = copy_text (welcome->host);
    o->welcome.isa = o->text[1] = copy_text (welcome->isa);
    o->welcome.endpoint = o->text[2] = copy_text (welcome->endpoint);
    o->welcome.lacks = o->text[3] = copy_text (welcome->lacks);
    return queue_texts (self, o, 4);
}

int wthread_failure (wthread_t *self, unsigned node, const msg_failed_t *failed,
                     uint64_t first, uint64_t stop, bool final)
{
    order_t *o = calloc (1, sizeof *o);
    if (!o)
        return -1;
    o->type = ORDER_FAILURE;
    o->node = node;
    o->failed = *failed;
    o->failed.reason = o->text[0] = copy_text (failed->reason);
    o->failed.stderr_tail = o->text[1] = copy_text (failed->stderr_tail);
    o->task = first;
    o->stop = stop;
    o->final = final;
    return queue_texts (self, o, 2);
}

void wthread_finish (wthread_t *self, const char *status)
{
    order_t *o;
    while (!(o = calloc (1, sizeof *o)) || !(o->text[0] = strdup (status))) {
        free (o);
        nanosleep (&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    o->type = ORDER_FINISH;
    queue (self, o);
}

bool wthread_next (wthread_t *self, wthread_event_t *event)
{
    uint64_t count;
    pthread_mutex_lock (&self->lock);
    event_t *e = self->events;
    if (e) {
        self->events = e->next;
        if (!self->events)
            self->events_end = &self->events;
    } else {
        /* Only now: an event may have come between the poll and here. */
        if (read (self->fd, &count, sizeof count) < 0)
            count = 0;
    }
    pthread_mutex_unlock (&self->lock);
    event->type = WTHREAD_NOTHING;
    if (!e)
        return false;
    *event = e->event;
    free (e);
    return true;
}

void wthread_durable (wthread_t *self, writer_totals_t *totals)
{
    pthread_mutex_lock (&self->lock);
    *totals = self->durable;
    pthread_mutex_unlock (&self->lock);
}

void wthread_totals (wthread_t *self, writer_totals_t *totals)
{
    pthread_mutex_lock (&self->lock);
    *totals = self->totals;
    pthread_mutex_unlock (&self->lock);
}
