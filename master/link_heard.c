/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* What nodes say to a run: control messages and pieces of results. */

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "master/link_state.h"
#include "master/run.h"
#include "proto/clock.h"
#include "proto/faults.h"
#include "proto/segments.h"
#include "proto/text.h"
#include "proto/xxh3.h"

enum {
    RECEIVE_AT_ONCE = 64,
    MOST_CORES = 4096,   /* of one node, as it may claim */
    MOST_MALFORMED = 64, /* messages of a node, until it is cut off */
    MOST_RESYNCS = 6     /* without a piece: after ten minutes if it is silence */
};

/* The data endpoint as seen from here: a wildcard host is the one we reached
 * the node by. */
static bool data_endpoint (const link_t *l, const char *told, char *out, size_t size)
{
    if (l->local)
        return strncmp (told, "ipc://", 6) == 0 &&
               snprintf (out, size, "%s", told) < (int) size;
    uint64_t number = 0;
    const char *port = strrchr (told, ':'), *colon = strrchr (l->endpoint, ':');
    if (strncmp (told, "tcp://", 6) || !port || !colon ||
        text_number (port + 1, strlen (port + 1), UINT16_MAX, &number) !=
            strlen (port + 1) ||
        number == 0)
        return false;
    return snprintf (out, size, "%.*s%s", (int) (colon - l->endpoint), l->endpoint,
                     port) < (int) size;
}

static void add_isa (links_t *self, const char *isa)
{
    char *all = self->counts.isa;
    size_t used = strlen (all), room = sizeof self->counts.isa;
    if (*isa && !strstr (all, isa) && used + strlen (isa) + 2 < room)
        snprintf (all + used, room - used, "%s%s", used ? "," : "", isa);
}

/* A node cannot take part: say so once, though it is asked again and again. */
static void tell_lacks (links_t *self)
{
    uint64_t is = XXH3_64bits (self->counts.lacks, strlen (self->counts.lacks));
    for (unsigned i = 0; i < self->ntold; i++)
        if (self->told_lacks[i] == is)
            return;
    if (self->ntold == TOLD_LACKS)
        return;
    self->told_lacks[self->ntold++] = is;
    if (self->job->cluster) /* else it is the only one, and the run ends with this */
        link_tell (self, "%.400s; this node takes no part", self->counts.lacks);
}

/* Set the PULL up to be admitted by the node: as one that knows the password of sealed
 * results, or by CURVE. */
static int identify (link_t *l, const msg_welcome_t *w, sluice_error_t *err)
{
    static const uint8_t zeros[KEY_BYTES];
    uint8_t password[KEY_BYTES];
    l->sealed = memcmp (w->salt, zeros, sizeof zeros) != 0;
    if (!l->sealed)
        return curve_connect_as (l->plane->pull, &l->plane->data_pair, w->data_key, err);
    seal_derive (l->secret, w->salt, SEAL_HEADERS, l->header_key);
    seal_derive (l->secret, w->salt, SEAL_PASSWORD, password);
    int rc = password_connect_as (l->plane->pull, password, err);
    sodium_memzero (password, sizeof password);
    return rc;
}

static void on_welcome (links_t *self, link_t *l, const msg_welcome_t *w)
{
    unsigned node = (unsigned) (l - self->links);
    sluice_error_t err = {0};
    if (w->token != l->token || l->state == LINK_LACKS)
        return;
    snprintf (l->host, sizeof l->host, "%s", w->host);
    text_make_utf8 (l->host);
    text_make_plain (l->host);
    text_make_plain (w->lacks);
    if (*w->lacks) {
        l->state = LINK_LACKS;
        l->since = clock_ms ();
        snprintf (self->counts.lacks, sizeof self->counts.lacks, "%s: %s", l->host,
                  w->lacks);
        tell_lacks (self);
        return;
    }
    if (l->state == LINK_HELLO) {
        for (unsigned i = 0; i < self->nlinks; i++) {
            const link_t *o = &self->links[i];
            if (o != l && o->state && o->has_uuid && memcmp (o->uuid, w->uuid, 16) == 0) {
                link_lose (self, l, "linked already under another address");
                return;
            }
        }
        if (w->slots == 0 || w->slots > MOST_CORES || w->cores > MOST_CORES) {
            link_cut_off (self, l, "its WELCOME cannot be right");
            return;
        }
        memcpy (l->uuid, w->uuid, 16);
        l->has_uuid = true;
        snprintf (l->isa, sizeof l->isa, "%s", w->isa);
        l->cores = w->cores;
        l->slots = w->slots;
        if (gate_join (self->gate, node) || sched_join (self->sched, node, w->slots)) {
            link_lose (self, l, "out of memory");
            return;
        }
        l->state = LINK_READY;
        l->was_ready = true;
        l->moved = clock_ms ();
        self->counts.ever++;
        self->counts.cores += w->slots;
        self->counts.used_net |= !l->local;
        self->counts.used_local |= l->local;
        add_isa (self, w->isa);
        wthread_node (self->writer, node, w);
    }
    if (w->epoch != l->epoch || l->streaming)
        return; /* an answer to an older RESYNC */
    if (!data_endpoint (l, w->endpoint, l->data_endpoint, sizeof l->data_endpoint) ||
        (!l->local && identify (l, w, &err)) ||
        zmq_connect (l->plane->pull, l->data_endpoint)) {
        link_cut_off (self, l, "its data endpoint cannot be used");
        return;
    }
    self->counts.used_sealed |= l->sealed;
    self->counts.used_curve |= !l->local && !l->sealed;
    l->streaming = true;
}

void link_send_resync (links_t *self, const link_t *l)
{
    link_send (
        self, l,
        &(msg_t){.type = MSG_RESYNC, .credit = {l->epoch, 0, link_received (self, l)}});
}

void link_resync (links_t *self, link_t *l)
{
    if (++l->resyncs > MOST_RESYNCS) {
        link_cut_off (self, l, "no results arrive from it, though it has some");
        return;
    }
    if (l->streaming)
        zmq_disconnect (l->plane->pull, l->data_endpoint);
    l->streaming = false;
    l->epoch++;
    l->moved = clock_ms ();
    self->counts.resyncs++;
    link_send_resync (self, l);
}

void link_fail_task (links_t *self, link_t *l, const msg_failed_t *f)
{
    unsigned node = (unsigned) (l - self->links);
    uint64_t first, stop;
    int final = sched_failed (self->sched, node, f->task, f->attempt, f->item, f->crashed,
                              &first, &stop);
    if (final < 0)
        return;
    wthread_drop (self->writer, f->task, f->attempt);
    wthread_failure (self->writer, node, f, first, stop, final == 1);
    if (self->failed)
        self->failed (self->failed_arg, l, f, first, stop, final == 1);
}

static void on_failed (links_t *self, link_t *l, const msg_failed_t *f)
{
    unsigned node = (unsigned) (l - self->links);
    text_make_plain (f->reason);
    /* Else it is late: its result is with the writer, or it was dropped. */
    if (sched_running (self->sched, node, f->task, f->attempt))
        link_fail_task (self, l, f);
}

/* Count what cannot be what a node says, and tell of the first. `l` may not be known. */
static void count_malformed (links_t *self, const link_t *l, const char *what)
{
    if (self->counts.malformed++ == 0)
        link_tell (self, "dropped from %s (%s): %s (said once; --json counts them)",
                   l && *l->host ? l->host : "a node", l ? l->endpoint : "results", what);
}

static void on_malformed (links_t *self, link_t *l, const char *what)
{
    count_malformed (self, l, what);
    if (++l->malformed > MOST_MALFORMED)
        link_cut_off (self, l, "it does not say what a node says");
}

static void on_message (links_t *self, link_t *l, const msg_t *msg)
{
    unsigned node = (unsigned) (l - self->links);
    sluice_error_t err = {0};
    l->heard = clock_ms ();
    l->answered = true;
    switch (msg->type) {
    case MSG_WELCOME:
        on_welcome (self, l, &msg->welcome);
        break;
    case MSG_SLOTS:
        if (msg->slots.tasks > l->credit)
            l->credit = msg->slots.tasks;
        break;
    case MSG_OFFER:
        if (l->state == LINK_READY &&
            gate_offer (self->gate, node, msg->offer.from, msg->offer.sizes,
                        msg->offer.nsizes, &err))
            link_cut_off (self, l, err.text);
        break;
    case MSG_FAILED:
        if (l->state == LINK_READY)
            on_failed (self, l, &msg->failed);
        break;
    case MSG_PING:
        link_send (self, l, &(msg_t){.type = MSG_PONG, .ping = {.seq = msg->ping.seq}});
        break;
    case MSG_PONG:
        l->held = msg->ping.held;
        /* An ASSIGN sent before the PING that this answers was lost. */
        if (l->state == LINK_READY && msg->ping.seq == l->ping_seq &&
            msg->ping.assigned < l->ping_assigned)
            link_lose (self, l, "a message to it was lost");
        break;
    case MSG_BYE:
        link_lose (self, l, msg->text.text);
        break;
    default:
        on_malformed (self, l, "a message that is not for a master");
    }
}

static link_t *by_route (links_t *self, const zmq_msg_t *route)
{
    uint64_t name;
    if (zmq_msg_size (route) != sizeof name)
        return NULL;
    memcpy (&name, zmq_msg_data ((zmq_msg_t *) route), sizeof name);
    size_t i = name >> LINK_NUMBER_AT;
    return i < self->nlinks && self->links[i].state && self->links[i].route == name
               ? &self->links[i]
               : NULL;
}

static link_t *by_token (links_t *self, uint64_t token)
{
    size_t i = token >> LINK_NUMBER_AT;
    return i < self->nlinks && self->links[i].state == LINK_READY &&
                   self->links[i].token == token
               ? &self->links[i]
               : NULL;
}

static void receive_control (links_t *self, plane_t *plane)
{
    for (int i = 0; plane->router && i < RECEIVE_AT_ONCE; i++) {
        zmq_msg_t frame[2];
        zmq_msg_init (&frame[0]);
        zmq_msg_init (&frame[1]);
        bool whole, there = plane_receive (plane->router, frame, &whole);
        link_t *l = there && whole ? by_route (self, &frame[0]) : NULL;
        msg_t msg;
        sluice_error_t err = {0};
        if (l && self->trace)
            trace_message (self->trace, TRACE_IN, l->endpoint, zmq_msg_data (&frame[1]),
                           zmq_msg_size (&frame[1]));
        if (l)
            faults_received (zmq_msg_data (&frame[1]), zmq_msg_size (&frame[1]));
        if (l && msg_decode (zmq_msg_data (&frame[1]), zmq_msg_size (&frame[1]), &msg,
                             &err) == 0) {
            if (memcmp (msg.run, self->job->run, RUN_BYTES) == 0)
                on_message (self, l, &msg);
            else
                self->counts.stale_frames++;
            msg_clear (&msg);
        } else if (l) {
            on_malformed (self, l, err.text);
        }
        zmq_msg_close (&frame[0]);
        zmq_msg_close (&frame[1]);
        if (!there)
            break;
    }
}

/* Can this attempt not be one that the node had? What it had may be late. */
static bool never_had (const links_t *self, unsigned node, const piece_t *piece)
{
    sched_task_t t;
    sched_where_t where = sched_find (self->sched, piece->task, &t);
    return where == SCHED_UNCUT ||
           (where == SCHED_RUNNING &&
            ((t.node != node && t.task.attempt == piece->attempt) ||
             (t.other != SCHED_NOBODY && t.other != node &&
              t.other_attempt == piece->attempt)));
}

/* Decode the header of a piece. *bytes are those of its payload, which may be a reference
 * where there can be one. */
static int decode (const links_t *self, const plane_t *plane, zmq_msg_t frame[2],
                   piece_t *piece, uint64_t *bytes)
{
    *bytes = zmq_msg_size (&frame[1]);
    bool may_refer = plane == &self->local && *bytes == SEGMENT_REF_BYTES;
    if (piece_decode (zmq_msg_data (&frame[0]), zmq_msg_size (&frame[0]),
                      may_refer ? PIECE_ANY_PAYLOAD : *bytes, piece, NULL))
        return -1;
    if (piece->kind == PIECE_EMPTY || piece->payload == *bytes)
        return 0;
    *bytes = piece->payload;
    return handed_is_reference (&frame[1], *bytes) ? 0 : -1;
}

/* The link whose sealed piece this is; NULL: it is no such piece. */
static link_t *sealed_of (links_t *self, const plane_t *plane, zmq_msg_t *header)
{
    uint64_t token;
    link_t *l = plane == &self->net &&
                        seal_token (zmq_msg_data (header), zmq_msg_size (header), &token)
                    ? by_token (self, token)
                    : NULL;
    return l && l->sealed ? l : NULL;
}

/* Put what was sealed in the place of the sealed frame. -1: it is not what was sealed. */
static int unseal (links_t *self, const link_t *l, zmq_msg_t *frame, seal_t *seal)
{
    uint8_t buffer[PIECE_MAX_BATCH + SEAL_OVERHEAD]; /* a header, or a batch */
    size_t n = zmq_msg_size (frame);
    zmq_msg_t plain;
    const uint8_t *inside = n <= sizeof buffer
                                ? seal_open_header (self->opener, l->header_key,
                                                    zmq_msg_data (frame), n, seal, buffer)
                                : NULL;
    if (!inside || zmq_msg_init_size (&plain, n - SEAL_OVERHEAD))
        return -1;
    memcpy (zmq_msg_data (&plain), inside, n - SEAL_OVERHEAD);
    zmq_msg_move (frame, &plain);
    zmq_msg_close (&plain);
    return 0;
}

/* The piece is not for the writer. */
static void piece_ends (links_t *self, const link_t *l, uint64_t cost)
{
    gate_written (self->gate, cost);
    if (l->local)
        handed_came (self->handed, cost, true);
}

/* A piece that came, be it by itself or with others in a message, with its header and
 * the bytes of both; `sealed` is the link that had sealed it. Returns its link if it is
 * to go to the writer, else NULL: what it costs was settled. */
static link_t *judge (links_t *self, const link_t *sealed, const piece_t *piece,
                      const void *header, size_t nheader, uint64_t cost)
{
    link_t *l = memcmp (piece->run, self->job->run, RUN_BYTES) == 0
                    ? by_token (self, piece->token)
                    : NULL;
    if (self->trace)
        trace_piece (self->trace, TRACE_IN, l ? l->endpoint : "?", header, nheader,
                     piece->payload);
    if (!l || l->sealed != (l == sealed) || piece->epoch != l->epoch ||
        piece->position < l->position) {
        self->counts.stale_frames++;
        return NULL;
    }
    if (piece->position > l->position) { /* something was lost on the way */
        link_resync (self, l);
        return NULL;
    }
    unsigned node = (unsigned) (l - self->links);
    if (!gate_received (self->gate, node, cost)) {
        link_cut_off (self, l, "it pushed more than it was granted");
        return NULL;
    }
    l->position += cost;
    l->heard = l->moved = clock_ms ();
    l->stall_ms = faults_ms (STALL_MS);
    l->resyncs = 0;
    const task_t *task = sched_running (self->sched, node, piece->task, piece->attempt);
    if (task && piece->kind == PIECE_DONE &&
        (piece->first != task->first || piece->stop > task->stop ||
         piece->stop < piece->first)) {
        piece_ends (self, l, cost);
        link_cut_off (self, l, "it sent a result for items it was not given");
        return NULL;
    }
    if (!task && piece->kind != PIECE_EMPTY) {
        self->counts.unwanted++;
        if (never_had (self, node, piece)) {
            piece_ends (self, l, cost);
            link_cut_off (self, l, "it sent a result of a task that it was not given");
            return NULL;
        }
    }
    /* The writer is told nothing of an attempt known to be dead. */
    if (piece->kind == PIECE_EMPTY || !task || self->stopped) {
        piece_ends (self, l, cost);
        return NULL;
    }
    return l;
}

/* The writer has this piece, or will. */
static void delivered (links_t *self, link_t *l, const piece_t *piece, uint64_t cost)
{
    task_t late;
    unsigned other = SCHED_NOBODY, node = (unsigned) (l - self->links);
    if (piece->kind == PIECE_DONE)
        other = sched_delivered (self->sched, node, piece->task, piece->attempt, &late);
    if (other != SCHED_NOBODY)
        link_revoke (self, other, &late);
    if (l->local && handed_came (self->handed, cost, false))
        link_lose (self, l, "out of memory");
}

static void on_piece (links_t *self, const plane_t *plane, const link_t *sealed,
                      const seal_t *seal, zmq_msg_t frame[2])
{
    piece_t piece;
    uint64_t bytes;
    if (decode (self, plane, frame, &piece, &bytes)) {
        count_malformed (self, sealed, "a malformed piece");
        return;
    }
    uint64_t cost = zmq_msg_size (&frame[0]) + bytes + (sealed ? SEAL_OVERHEAD : 0);
    link_t *l = judge (self, sealed, &piece, zmq_msg_data (&frame[0]),
                       zmq_msg_size (&frame[0]), cost);
    if (!l)
        return;
    bool handed = bytes != zmq_msg_size (&frame[1]);
    if (handed && handed_resolve (self->handed, &frame[1], bytes)) {
        piece_ends (self, l, cost);
        link_cut_off (self, l, "it refers to memory that it did not hand over");
        return;
    }
    self->counts.used_handed |= handed;
    if (wthread_piece (self->writer, (unsigned) (l - self->links), &frame[0], &frame[1],
                       sealed && bytes > 0 ? seal : NULL, cost))
        piece_ends (self, l, cost);
    else
        delivered (self, l, &piece, cost);
}

/* Small pieces in one message: each is judged by itself, and the writer gets the frame
 * with those that it is to take. */
static void on_batch (links_t *self, const link_t *sealed, zmq_msg_t *frame)
{
    const uint8_t *data = zmq_msg_data (frame);
    size_t n = zmq_msg_size (frame), header, most = 0;
    wthread_batch_t *batch = NULL;
    piece_t piece;
    for (size_t at = 0; at < n; at += header + (size_t) piece.payload) {
        header = piece_decode_first (data + at, n - at, &piece, NULL);
        if (header == 0) { /* what is behind it cannot be found */
            count_malformed (self, sealed, "a malformed piece");
            break;
        }
        uint64_t cost = header + piece.payload + (sealed ? SEAL_OVERHEAD : 0);
        link_t *l = judge (self, sealed, &piece, data + at, header, cost);
        if (!l)
            continue;
        most = n / (header + (size_t) piece.payload) + 16; /* a guess */
        if (wthread_batch_add (&batch, most, (unsigned) (l - self->links), at, cost))
            piece_ends (self, l, cost);
        else
            delivered (self, l, &piece, cost);
    }
    if (batch)
        wthread_pieces (self->writer, batch, frame);
}

/* What came in two frames: a piece, or small ones in the first. */
static void on_frames (links_t *self, const plane_t *plane, zmq_msg_t frame[2])
{
    seal_t seal;
    const link_t *sealed = sealed_of (self, plane, &frame[0]);
    if (sealed && unseal (self, sealed, &frame[0], &seal))
        count_malformed (self, sealed, "a piece that was changed on the way");
    else if (zmq_msg_size (&frame[1]) == 0 &&
             piece_is_batch (zmq_msg_data (&frame[0]), zmq_msg_size (&frame[0])))
        on_batch (self, sealed, &frame[0]);
    else
        on_piece (self, plane, sealed, &seal, frame);
}

static void receive_data (links_t *self, plane_t *plane)
{
    for (int i = 0; plane->pull && i < RECEIVE_AT_ONCE; i++) {
        zmq_msg_t frame[2];
        zmq_msg_init (&frame[0]);
        zmq_msg_init (&frame[1]);
        bool whole, there = plane_receive (plane->pull, frame, &whole);
        if (there && !whole)
            count_malformed (self, NULL, "a piece of a wrong number of frames");
        if (there && whole)
            on_frames (self, plane, frame);
        zmq_msg_close (&frame[0]);
        zmq_msg_close (&frame[1]);
        if (!there)
            break;
    }
}

void links_receive (links_t *self)
{
    receive_control (self, &self->local);
    receive_control (self, &self->net);
    receive_data (self, &self->local);
    receive_data (self, &self->net);
}
