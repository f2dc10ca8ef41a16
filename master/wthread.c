/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/wthread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/faults.h"
#include "proto/within.h"

/* Results wait for others, so that many small ones are one write, but not long. */
enum { MOST_UNPUBLISHED = 64 };
/* Pieces are in the file for no more than so many others before that is told. */
enum { MOST_UNTOLD = 256, UNTOLD_BYTES = 128 << 10 };
/* Closing a file whose disk answers takes no longer. */
enum { STOP_MS = 5000 };
enum { OPENED_ALIGN = 4096 };

typedef enum {
    ORDER_PIECE,
    ORDER_BATCH,
    ORDER_DROP,
    ORDER_NODE,
    ORDER_FAILURE,
    ORDER_FINISH
} order_type_t;

/* Where a piece of a batch begins, in the order's frame. */
typedef struct {
    uint32_t at;
    unsigned node;
    uint64_t cost;
} place_t;

struct wthread_batch {
    size_t n, room;
    place_t places[];
};

typedef struct order {
    struct order *next;
    order_type_t type;
    unsigned node;
    uint64_t cost;
    uint64_t task; /* ORDER_DROP; ORDER_FAILURE: first */
    uint64_t stop;
    uint32_t attempt;
    bool final;
    zmq_msg_t header, payload; /* ORDER_PIECE; ORDER_BATCH: header only */
    bool sealed;
    seal_t seal;
    wthread_batch_t *batch;
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
    atomic_bool stop;
    /* of the thread alone */
    order_t *mine;                 /* orders that it has taken, and not carried out */
    event_t *untold, **untold_end; /* what it will tell */
    unsigned nuntold;
    uint64_t untold_bytes; /* that have left memory */
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
    if (o->type == ORDER_BATCH)
        zmq_msg_close (&o->header);
    free (o->batch);
    for (size_t i = 0; i < sizeof o->text / sizeof *o->text; i++)
        free (o->text[i]);
    free (o);
}

/* ---- in the thread -------------------------------------------------------- */

/* The texts of most events are empty, and long. */
static void copy_event (wthread_event_t *to, const wthread_event_t *from)
{
    memcpy (to, from, offsetof (wthread_event_t, error));
    to->error.code = from->error.code;
    if (from->error.code == SLUICE_OK)
        to->error.text[0] = '\0';
    else
        to->error = from->error;
}

/* An event that cannot be told would leave the loop waiting: try for ever,
 * memory comes back as orders are freed. */
static void tell_later (wthread_t *self, const wthread_event_t *event)
{
    event_t *e;
    while (!(e = malloc (sizeof *e)))
        nanosleep (&(struct timespec){.tv_nsec = 10000000}, NULL);
    copy_event (&e->event, event);
    e->next = NULL;
    *self->untold_end = e;
    self->untold_end = &e->next;
    self->nuntold++;
    self->untold_bytes += event->cost;
}

/* Tell all that is to be told. */
static void tell_now (wthread_t *self)
{
    if (!self->untold)
        return;
    pthread_mutex_lock (&self->lock);
    *self->events_end = self->untold;
    self->events_end = self->untold_end;
    self->untold = NULL;
    self->untold_end = &self->untold;
    self->nuntold = 0;
    self->untold_bytes = 0;
    writer_totals (self->writer, &self->totals);
    writer_durable (self->writer, &self->durable);
    pthread_mutex_unlock (&self->lock);
    uint64_t one = 1;
    while (write (self->fd, &one, sizeof one) < 0)
        ; /* EINTR only: the counter cannot be full */
}

static void tell (wthread_t *self, const wthread_event_t *event)
{
    tell_later (self, event);
    tell_now (self);
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
    if (!o->sealed || faults_without (WITHOUT_SEALS))
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

static int carry_out (wthread_t *self, const order_t *o, unsigned node,
                      const piece_t *piece, const void *payload, sluice_error_t *err)
{
    switch (o->type) {
    case ORDER_PIECE:
    case ORDER_BATCH:
        return writer_piece (self->writer, node, piece, payload, err);
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

/* Carry out one order, or one piece of it, waiting while the disk is full. Returns
 * false when the writer cannot go on (told already). */
static bool handle_one (wthread_t *self, order_t *o, unsigned node, uint64_t cost,
                        const piece_t *piece, const void *payload)
{
    static const double step = 1.0; /* seconds between tries on a full disk */
    wthread_event_t event;
    sluice_error_t err;
    memset (&event, 0, offsetof (wthread_event_t, error) + sizeof event.error.code);
    event.error.text[0] = '\0';
    event.type = WTHREAD_WROTE;
    event.node = node;
    event.cost = cost;
    err.code = SLUICE_OK;
    err.text[0] = '\0';
    bool full = false;
    for (double waited = 0; carry_out (self, o, node, piece, payload, &err) != 0;
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
    if (piece) {
        event.task = piece->task;
        event.attempt = piece->attempt;
        event.stop = piece->stop;
        event.seconds = piece->seconds;
        event.done = piece->kind == PIECE_DONE && event.type == WTHREAD_WROTE;
    }
    if (piece || o->type == ORDER_FINISH)
        tell_later (self, &event);
    if (self->nuntold >= MOST_UNTOLD || self->untold_bytes >= UNTOLD_BYTES)
        tell_now (self);
    return true;
}

/* It was decoded once before: cannot happen. */
static bool refuse (wthread_t *self, unsigned node, uint64_t cost,
                    const sluice_error_t *err)
{
    tell (self, &(wthread_event_t){
                    .type = WTHREAD_REFUSED, .node = node, .cost = cost, .error = *err});
    return true;
}

static bool handle_batch (wthread_t *self, order_t *o)
{
    piece_t piece;
    sluice_error_t err = {0};
    const uint8_t *data = zmq_msg_data (&o->header);
    size_t n = zmq_msg_size (&o->header);
    for (size_t i = 0; i < o->batch->n; i++) {
        const place_t *place = &o->batch->places[i];
        size_t header =
            piece_decode_first (data + place->at, n - place->at, &piece, &err);
        if (header == 0)
            return refuse (self, place->node, place->cost, &err);
        if (!handle_one (self, o, place->node, place->cost, &piece,
                         data + place->at + header))
            return false;
    }
    return true;
}

static bool handle (wthread_t *self, order_t *o)
{
    piece_t piece;
    sluice_error_t err = {0};
    if (o->type == ORDER_BATCH)
        return handle_batch (self, o);
    if (o->type != ORDER_PIECE)
        return handle_one (self, o, o->node, o->cost, NULL, NULL);
    if (piece_decode (zmq_msg_data (&o->header), zmq_msg_size (&o->header),
                      zmq_msg_size (&o->payload), &piece, &err))
        return refuse (self, o->node, o->cost, &err);
    const void *payload = payload_of (self, o, &err);
    if (payload)
        return handle_one (self, o, o->node, o->cost, &piece, payload);
    wthread_event_t event = {
        .node = o->node, .cost = o->cost, .task = piece.task, .attempt = piece.attempt};
    event.type = err.code == SLUICE_EPROTO ? WTHREAD_REFUSED : WTHREAD_BROKEN;
    event.error = err;
    tell (self, &event);
    return event.type == WTHREAD_REFUSED;
}

/* The next order, and whether there are more; NULL after a while without one or when told
 * to stop. */
static order_t *take (wthread_t *self, bool *stop, bool *more)
{
    struct timespec until;
    order_t *o = self->mine;
    *stop = self->stop;
    if (o || *stop) {
        self->mine = o && !*stop ? o->next : o;
        *more = self->mine != NULL;
        return *stop ? NULL : o;
    }
    tell_now (self);
    clock_gettime (CLOCK_MONOTONIC, &until);
    until.tv_nsec += 100000000; /* snapshots are due every 0.2 s at most */
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock (&self->lock);
    while (!self->orders && !self->stop &&
           pthread_cond_timedwait (&self->wake, &self->lock, &until) == 0)
        ;
    o = self->stop ? NULL : self->orders;
    if (o) {
        self->mine = o->next;
        self->orders = NULL;
        self->orders_end = &self->orders;
    }
    *stop = self->stop;
    writer_durable (self->writer, &self->durable);
    *more = self->mine != NULL;
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
        if (!more)
            tell_now (self);
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
    self->untold_end = &self->untold;
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

static void free_orders (order_t *o)
{
    for (order_t *next; o; o = next) {
        next = o->next;
        order_free (o);
    }
}

static void free_events (event_t *e)
{
    for (event_t *next; e; e = next) {
        next = e->next;
        msg_clear (&(msg_t){.type = MSG_RESULT, .result = e->event.result});
        free (e);
    }
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
    free_orders (self->mine);
    free_orders (self->orders);
    free_events (self->untold);
    free_events (self->events);
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

int wthread_batch_add (wthread_batch_t **batch, size_t most, unsigned node, size_t at,
                       uint64_t cost)
{
    wthread_batch_t *self = *batch;
    if (!self || self->n == self->room) {
        size_t room = self ? 2 * self->room : most + 1;
        wthread_batch_t *grown =
            realloc (self, sizeof *grown + room * sizeof *grown->places);
        if (!grown)
            return -1;
        if (!self)
            grown->n = 0;
        grown->room = room;
        *batch = self = grown;
    }
    self->places[self->n++] = (place_t){.at = (uint32_t) at, .node = node, .cost = cost};
    return 0;
}

void wthread_pieces (wthread_t *self, wthread_batch_t *batch, zmq_msg_t *frame)
{
    order_t *o;
    /* Its pieces were judged and count as delivered. */
    while (!(o = calloc (1, sizeof *o)))
        nanosleep (&(struct timespec){.tv_nsec = 10000000}, NULL);
    o->type = ORDER_BATCH;
    o->batch = batch;
    zmq_msg_init (&o->header);
    zmq_msg_move (&o->header, frame);
    queue (self, o);
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
    copy_event (event, &e->event);
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
