/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/outbox.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zmq.h>

#include "proto/faults.h"
#include "proto/segments.h"

typedef struct item {
    struct item *next;
    uint64_t task;
    uint32_t attempt;
    const void *payload;
    uint32_t payload_bytes;
    uint32_t segment;
    uint32_t cost;     /* bytes of header and payload */
    uint64_t position; /* valid once offered */
    bool held;         /* its segment is still ours */
    bool small;        /* there is none: the payload lies behind the header */
    bool dead;         /* pushed as EMPTY from now on */
    bool lingers;      /* dead, but ZeroMQ has its segment still */
    bool handed;       /* only its handle is pushed */
    bool referred;     /* and was: the master may be reading the segment */
    atomic_uint lent;  /* messages of ZeroMQ that point to it */
    seal_t seal;       /* of its payload, where there is one */
    size_t header_bytes;
    uint8_t header[]; /* encoded; epoch, position and kind are set on pushing */
} item_t;

struct outbox {
    uint8_t run[RUN_BYTES];
    uint64_t token;
    uint32_t epoch;
    uint32_t largest;
    sealer_t *sealer; /* of headers; NULL: nothing is sealed */
    outbox_release_fn *release;
    void *arg;
    item_t *head, **tail; /* not received yet, in order of the stream */
    item_t *unoffered;    /* the first that was not offered; NULL: none */
    item_t *unpushed;     /* the first that was not pushed */
    item_t *past;         /* received, but ZeroMQ has not let go yet */
    item_t *again;        /* offered, and to be offered again from here; NULL: none */
    unsigned lingering;   /* how many of the stream do so */
    void *zeros;          /* `largest` bytes of the zero page */
    size_t small;         /* pieces, and bytes of their payloads */
    uint64_t small_bytes;
    uint8_t *together; /* PIECE_MAX_BATCH bytes: those of a message; NULL: not yet */
    uint64_t held, offered, granted, pushed, received;
    trace_t *trace; /* NULL: none */
    const char *peer;
};

outbox_t *outbox_new (const uint8_t run[RUN_BYTES], uint64_t token, uint32_t largest,
                      outbox_release_fn *release, void *arg, sluice_error_t *err)
{
    outbox_t *self = calloc (1, sizeof *self);
    if (self && largest > 0) {
        /* Read only and never written: costs address space, no memory. */
        self->zeros = mmap (NULL, largest, PROT_READ,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (self->zeros == MAP_FAILED) {
            free (self);
            self = NULL;
        }
    }
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for an outbox");
        return NULL;
    }
    memcpy (self->run, run, RUN_BYTES);
    self->token = token;
    self->epoch = 1;
    self->largest = largest;
    self->release = release;
    self->arg = arg;
    self->tail = &self->head;
    return self;
}

static void free_item (outbox_t *self, item_t *item)
{
    if (item->small) {
        self->small--;
        self->small_bytes -= item->payload_bytes;
    }
    free (item);
}

static void destroy_list (item_t *item)
{
    while (item) {
        item_t *next = item->next;
        free (item);
        item = next;
    }
}

void outbox_destroy (outbox_t **self_p)
{
    outbox_t *self = *self_p;
    if (!self)
        return;
    faults_push_end (self);
    destroy_list (self->head);
    destroy_list (self->past);
    sealer_destroy (&self->sealer);
    if (self->zeros)
        munmap (self->zeros, self->largest);
    free (self->together);
    free (self);
    *self_p = NULL;
}

static bool in_zeromq (const item_t *item)
{
    return atomic_load_explicit (&item->lent, memory_order_acquire) > 0;
}

/* Does somebody read its segment still? */
static bool is_lent (const item_t *item)
{
    return item->referred || in_zeromq (item);
}

/* Give the segment back if nobody reads it any more. */
static void let_go (outbox_t *self, item_t *item)
{
    if (!item->held || is_lent (item))
        return;
    item->held = false;
    self->held -= item->payload_bytes;
    if (!item->small)
        self->release (self->arg, item->segment);
}

void outbox_set_trace (outbox_t *self, trace_t *trace, const char *peer)
{
    self->trace = trace;
    self->peer = peer;
}

int outbox_add (outbox_t *self, const piece_t *piece, const void *payload,
                uint32_t segment, sluice_error_t *err)
{
    uint8_t header[PIECE_MAX_HEADER];
    piece_t ours = *piece;
    memcpy (ours.run, self->run, RUN_BYTES);
    ours.token = self->token;
    size_t n = piece_encode (&ours, header);
    if (n == 0 || piece->payload > self->largest ||
        n > UINT32_MAX - (uint32_t) piece->payload)
        return sluice_fail (err, SLUICE_EPROTO, "a worker made a piece of %llu bytes",
                            (unsigned long long) piece->payload);
    bool small = segment == OUTBOX_SMALL;
    item_t *item = malloc (sizeof *item + n + (small ? piece->payload : 0));
    if (!item)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a piece");
    *item = (item_t){.small = small};
    memcpy (item->header, header, n);
    if (small && piece->payload > 0)
        memcpy (item->header + n, payload, piece->payload);
    if (small) {
        payload = item->header + n;
        self->small++;
        self->small_bytes += piece->payload;
    }
    item->header_bytes = n;
    item->task = piece->task;
    item->attempt = piece->attempt;
    item->payload = payload;
    item->payload_bytes = (uint32_t) piece->payload;
    item->segment = segment;
    item->cost = (uint32_t) (n + piece->payload) + (self->sealer ? SEAL_OVERHEAD : 0);
    item->held = true;
    *self->tail = item;
    self->tail = &item->next;
    if (!self->unoffered)
        self->unoffered = item;
    if (!self->unpushed)
        self->unpushed = item;
    self->held += piece->payload;
    return 0;
}

/* The piece that was added last; there is one. */
static item_t *last_item (const outbox_t *self)
{
    return (item_t *) (void *) ((char *) self->tail - offsetof (item_t, next));
}

int outbox_seal (outbox_t *self, const uint8_t key[KEY_BYTES], sluice_error_t *err)
{
    self->sealer = sealer_new (key, err);
    return self->sealer ? 0 : -1;
}

void outbox_sealed (outbox_t *self, const seal_t *seal)
{
    last_item (self)->seal = *seal;
}

void outbox_refer (outbox_t *self)
{
    item_t *last = last_item (self);
    last->handed = last->payload_bytes >= SEGMENT_REF_LEAST;
}

size_t outbox_offer (outbox_t *self, uint64_t *from, uint32_t *sizes, size_t max)
{
    item_t *item = self->again ? self->again : self->unoffered;
    size_t n = 0;
    *from = self->again ? item->position : self->offered;
    for (; item && n < max; item = item->next) {
        if (item == self->unoffered) {
            item->position = self->offered;
            self->offered += item->cost;
            self->unoffered = item->next;
        }
        sizes[n++] = item->cost;
    }
    self->again = item == self->unoffered ? NULL : item;
    return n;
}

void outbox_offer_again (outbox_t *self)
{
    self->again = self->head == self->unoffered ? NULL : self->head;
}

/* Everything up to byte `received` has arrived. */
static void forget (outbox_t *self, uint64_t received)
{
    while (self->head && self->head != self->unpushed &&
           self->head->position + self->head->cost <= received) {
        item_t *item = self->head;
        self->head = item->next;
        if (!self->head)
            self->tail = &self->head;
        if (self->again == item)
            self->again = item->next == self->unoffered ? NULL : item->next;
        self->received = item->position + item->cost;
        self->lingering -= item->lingers;
        item->referred = false;
        let_go (self, item);
        if (is_lent (item)) {
            item->next = self->past;
            self->past = item;
        } else {
            free_item (self, item);
        }
    }
}

int outbox_credit (outbox_t *self, const msg_credit_t *credit, sluice_error_t *err)
{
    if (credit->epoch != self->epoch)
        return 0;
    if (credit->received > self->pushed)
        return sluice_fail (
            err, SLUICE_EPROTO,
            "the master has received %llu bytes, of %llu that were pushed",
            (unsigned long long) credit->received, (unsigned long long) self->pushed);
    if (credit->granted > self->granted)
        self->granted = credit->granted;
    forget (self, credit->received);
    return 0;
}

/* ZeroMQ is done with a message. Runs in its I/O thread. */
static void returned (void *data, void *hint)
{
    (void) data;
    item_t *item = hint;
    atomic_fetch_sub_explicit (&item->lent, 1, memory_order_release);
}

/* What stands for the payload. */
static int init_payload (const outbox_t *self, item_t *item, zmq_msg_t *payload)
{
    if (item->handed && !item->dead) {
        if (zmq_msg_init_size (payload, sizeof item->segment) == -1)
            return -1;
        memcpy (zmq_msg_data (payload), &item->segment, sizeof item->segment);
        return 0;
    }
    atomic_fetch_add_explicit (&item->lent, 1, memory_order_relaxed);
    int rc =
        zmq_msg_init_data (payload, item->dead ? self->zeros : (void *) item->payload,
                           item->payload_bytes, returned, item);
    if (rc == -1)
        atomic_fetch_sub_explicit (&item->lent, 1, memory_order_relaxed);
    return rc;
}

static bool push_one (outbox_t *self, item_t *item, void *socket)
{
    zmq_msg_t payload;
    uint8_t sealed[PIECE_MAX_HEADER + SEAL_OVERHEAD];
    const uint8_t *header = item->header;
    size_t n = item->header_bytes;
    piece_stamp (item->header, self->epoch, item->position, item->dead);
    if (self->sealer) {
        if (seal_header (self->sealer, self->token, &item->seal, header, n, sealed,
                         NULL) == -1)
            return false;
        header = sealed;
        n += SEAL_OVERHEAD;
    }
    if (init_payload (self, item, &payload) == -1)
        return false;
    if (faults_push (self, socket, header, n, &payload) == -1) {
        zmq_msg_close (&payload); /* which calls `returned`, unless it is a handle */
        return false;
    }
    item->referred = item->referred || (item->handed && !item->dead);
    if (self->trace)
        trace_piece (self->trace, TRACE_OUT, self->peer, item->header, item->header_bytes,
                     item->payload_bytes);
    return true;
}

static bool is_granted (const outbox_t *self, const item_t *item)
{
    return item && item != self->unoffered &&
           item->position + item->cost <= self->granted;
}

/* Small pieces that follow each other, from `item` on, as one message; where results are
 * sealed also one alone, for its payload is not. Returns the piece after them; `item`
 * itself if there are not enough, or the socket takes no more. */
static item_t *push_together (outbox_t *self, item_t *item, void *socket)
{
    item_t *next = item;
    size_t n = 0, count = 0, least = self->sealer ? 1 : 2;
    if (!item->small ||
        (least > 1 && (!is_granted (self, item->next) || !item->next->small)))
        return item;
    if (!self->together && !(self->together = malloc (PIECE_MAX_BATCH + SEAL_OVERHEAD)))
        return item;
    uint8_t *data = self->together + (self->sealer ? SEAL_OVERHEAD : 0);
    for (; is_granted (self, next) && next->small; next = next->next, count++) {
        size_t bytes = next->header_bytes + next->payload_bytes;
        if (n + bytes > PIECE_MAX_BATCH)
            break;
        piece_stamp (next->header, self->epoch, next->position, next->dead);
        memcpy (data + n, next->header, bytes);
        n += bytes;
    }
    static const seal_t none_sealed;
    if (count < least ||
        (self->sealer && seal_header (self->sealer, self->token, &none_sealed, data, n,
                                      self->together, NULL) == -1))
        return item;
    zmq_msg_t none;
    zmq_msg_init (&none);
    if (faults_push (self, socket, self->together, n + (self->sealer ? SEAL_OVERHEAD : 0),
                     &none) == -1) {
        zmq_msg_close (&none);
        return item;
    }
    for (item_t *one = item; one != next; one = one->next) {
        if (self->trace)
            trace_piece (self->trace, TRACE_OUT, self->peer, one->header,
                         one->header_bytes, one->payload_bytes);
        self->pushed = one->position + one->cost;
    }
    return next;
}

bool outbox_push (outbox_t *self, void *socket)
{
    faults_push_late (self, socket);
    while (self->unpushed && self->unpushed != self->unoffered) {
        item_t *item = self->unpushed;
        if (item->position + item->cost > self->granted)
            break;
        if ((self->unpushed = push_together (self, item, socket)) != item)
            continue;
        if (item->small && self->sealer)
            return false;
        if (!push_one (self, item, socket))
            return false;
        self->pushed = item->position + item->cost;
        self->unpushed = item->next;
    }
    return true;
}

int outbox_resync (outbox_t *self, const msg_credit_t *resync, sluice_error_t *err)
{
    if (resync->epoch <= self->epoch)
        return sluice_fail (err, SLUICE_EPROTO, "epoch %u comes after epoch %u",
                            resync->epoch, self->epoch);
    if (resync->received < self->received || resync->received > self->pushed)
        return sluice_fail (err, SLUICE_EPROTO,
                            "byte %llu of the results is gone or was never pushed",
                            (unsigned long long) resync->received);
    self->epoch = resync->epoch;
    if (resync->granted > self->granted)
        self->granted = resync->granted;
    forget (self, resync->received);
    self->unpushed = self->head;
    self->pushed = self->received;
    outbox_offer_again (self);
    return 0;
}

/* Take those of the attempt out (all if `every`). */
static void drop (outbox_t *self, bool every, uint64_t task, uint32_t attempt)
{
    bool offered = true;
    self->tail = &self->head;
    while (*self->tail) {
        item_t *item = *self->tail;
        offered = offered && item != self->unoffered;
        bool mine = every || (item->task == task && item->attempt == attempt);
        if (mine && !offered) {
            if (self->unoffered == item)
                self->unoffered = item->next;
            if (self->unpushed == item)
                self->unpushed = item->next;
            let_go (self, item); /* never pushed, so never lent */
            *self->tail = item->next;
            free_item (self, item);
            continue;
        }
        if (mine && !item->dead) {
            item->dead = true;
            let_go (self, item);
            item->lingers = item->held && in_zeromq (item);
            self->lingering += item->lingers;
        }
        self->tail = &item->next;
    }
}

void outbox_drop (outbox_t *self, uint64_t task, uint32_t attempt)
{
    drop (self, false, task, attempt);
}

void outbox_drop_all (outbox_t *self)
{
    drop (self, true, 0, 0);
}

bool outbox_reap (outbox_t *self)
{
    for (item_t **at = &self->past; *at;) {
        item_t *item = *at;
        let_go (self, item);
        if (is_lent (item)) {
            at = &item->next;
        } else {
            *at = item->next;
            free_item (self, item);
        }
    }
    if (self->lingering > 0)
        for (item_t *item = self->head; item; item = item->next)
            if (item->lingers && !in_zeromq (item)) {
                let_go (self, item);
                self->lingering--;
                item->lingers = false;
            }
    return self->past || self->lingering > 0;
}

bool outbox_quiet (const outbox_t *self)
{
    for (const item_t *item = self->head; item; item = item->next)
        if (in_zeromq (item))
            return false;
    for (const item_t *item = self->past; item; item = item->next)
        if (in_zeromq (item))
            return false;
    return true;
}

uint32_t outbox_epoch (const outbox_t *self)
{
    return self->epoch;
}
uint64_t outbox_held (const outbox_t *self)
{
    return self->held;
}
uint64_t outbox_offered (const outbox_t *self)
{
    return self->offered;
}
uint64_t outbox_granted (const outbox_t *self)
{
    return self->granted;
}
uint64_t outbox_pushed (const outbox_t *self)
{
    return self->pushed;
}
uint64_t outbox_received (const outbox_t *self)
{
    return self->received;
}

size_t outbox_small (const outbox_t *self, uint64_t *bytes)
{
    *bytes = self->small_bytes;
    return self->small;
}

bool outbox_starved (const outbox_t *self)
{
    return self->unpushed && self->unpushed != self->unoffered &&
           self->unpushed->position + self->unpushed->cost > self->granted;
}
