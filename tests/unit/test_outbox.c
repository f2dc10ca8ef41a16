/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I2. */

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "node/outbox.h"

enum { SEGMENT = 1 << 20, SEGMENTS = 8 };

static const uint8_t run[RUN_BYTES] = {1, 2, 3};
static sluice_error_t err;
static unsigned released[SEGMENTS];
static uint8_t memory[SEGMENTS][SEGMENT];
static void *context;

static void release (void *arg, uint32_t segment)
{
    (void) arg;
    released[segment]++;
}

static outbox_t *make (void)
{
    outbox_t *outbox = outbox_new (run, 77, SEGMENT, release, NULL, &err);
    cr_assert_not_null (outbox);
    context = zmq_ctx_new ();
    return outbox;
}

static void *bind_push (const char *endpoint)
{
    int linger = 0;
    void *push = zmq_socket (context, ZMQ_PUSH);
    zmq_setsockopt (push, ZMQ_LINGER, &linger, sizeof linger);
    cr_assert_eq (zmq_bind (push, endpoint), 0);
    return push;
}

static void *connect_pull (const char *endpoint)
{
    void *pull = zmq_socket (context, ZMQ_PULL);
    int patience = 5000;
    zmq_setsockopt (pull, ZMQ_RCVTIMEO, &patience, sizeof patience);
    cr_assert_eq (zmq_connect (pull, endpoint), 0);
    return pull;
}

/* A DATA piece of one table with `bytes` rows of one byte, all of value
 * `segment` + 1; its cost. */
static uint32_t add (outbox_t *outbox, uint64_t task, uint32_t segment, uint32_t bytes)
{
    piece_t piece = {.kind = PIECE_DATA,
                     .task = task,
                     .attempt = 1,
                     .first = 0,
                     .stop = 9,
                     .nparts = 1,
                     .payload = bytes};
    piece.parts[0] = (part_t){.rows = bytes, .bytes = bytes, .xxh3 = 12345};
    memset (memory[segment], (int) segment + 1, bytes);
    cr_assert_eq (outbox_add (outbox, &piece, memory[segment], segment, &err), 0, "%s",
                  err.text);
    uint8_t header[PIECE_MAX_HEADER];
    return (uint32_t) (piece_encode (&piece, header) + bytes);
}

static void credit (outbox_t *outbox, uint64_t granted, uint64_t received)
{
    msg_credit_t c = {outbox_epoch (outbox), granted, received};
    cr_assert_eq (outbox_credit (outbox, &c, &err), 0, "%s", err.text);
}

/* Push with patience: the peer may still be connecting. */
static void push_all (outbox_t *outbox, void *socket)
{
    for (int i = 0; i < 5000 && !outbox_push (outbox, socket); i++) {
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLOUT};
        zmq_poll (&item, 1, 1);
    }
}

/* Receive a piece; its payload's first byte is returned, its frames' length
 * added to *bytes. */
static int receive (void *pull, piece_t *piece, uint64_t *bytes)
{
    zmq_msg_t header, payload;
    zmq_msg_init (&header);
    zmq_msg_init (&payload);
    cr_assert_geq (zmq_msg_recv (&header, pull, 0), 0);
    cr_assert (zmq_msg_more (&header));
    cr_assert_geq (zmq_msg_recv (&payload, pull, 0), 0);
    cr_assert_not (zmq_msg_more (&payload));
    size_t n = zmq_msg_size (&payload);
    cr_assert_eq (
        piece_decode (zmq_msg_data (&header), zmq_msg_size (&header), n, piece, &err), 0,
        "%s", err.text);
    cr_assert_eq (piece->position, *bytes);
    *bytes += zmq_msg_size (&header) + n;
    const uint8_t *data = zmq_msg_data (&payload);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq (data[i], data[0]);
    int first = n ? data[0] : -1;
    zmq_msg_close (&header);
    zmq_msg_close (&payload);
    return first;
}

/* ZeroMQ lets go of messages a little later. */
static void reap (outbox_t *outbox)
{
    const struct timespec step = {.tv_nsec = 1000000};
    for (int i = 0; i < 5000 && outbox_reap (outbox); i++)
        nanosleep (&step, NULL);
}

static void finish (outbox_t **outbox)
{
    zmq_ctx_term (context);
    cr_assert (outbox_quiet (*outbox));
    outbox_destroy (outbox);
    cr_assert_null (*outbox);
    outbox_destroy (outbox);
}

Test (outbox, offers_in_order_each_once)
{
    outbox_t *outbox = make ();
    uint32_t a = add (outbox, 1, 0, 100), b = add (outbox, 1, 1, 5000);
    uint64_t from = 99;
    uint32_t sizes[4];
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 4), 2);
    cr_assert (from == 0 && sizes[0] == a && sizes[1] == b);
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 4), 0);
    uint32_t c = add (outbox, 2, 2, 7);
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 4), 1);
    cr_assert (from == (uint64_t) a + b && sizes[0] == c);
    cr_assert_eq (outbox_offered (outbox), (uint64_t) a + b + c);
    cr_assert_eq (outbox_held (outbox), 5107);
    finish (&outbox);
}

Test (outbox, offers_again_piecemeal)
{
    outbox_t *outbox = make ();
    uint64_t from;
    uint32_t sizes[4], cost[5];
    for (uint32_t i = 0; i < 4; i++)
        cost[i] = add (outbox, 1, i, 10 + i);
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 4), 4);
    outbox_offer_again (outbox);
    cost[4] = add (outbox, 1, 4, 3);
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 3), 3);
    cr_assert (from == 0 && sizes[2] == cost[2]);
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 3), 2, "the rest, and the new one");
    cr_assert (from == (uint64_t) cost[0] + cost[1] + cost[2]);
    cr_assert (sizes[0] == cost[3] && sizes[1] == cost[4]);
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 3), 0);
    finish (&outbox);
}

Test (outbox, pushes_whole_pieces_within_the_grant_and_keeps_them)
{
    outbox_t *outbox = make ();
    void *push = bind_push ("inproc://a"), *pull = connect_pull ("inproc://a");
    uint32_t a = add (outbox, 1, 0, 70000), b = add (outbox, 1, 1, 80000);
    uint64_t from, bytes = 0;
    uint32_t sizes[4];
    piece_t piece;
    credit (outbox, a + b - 1, 0);
    push_all (outbox, push);
    cr_assert_eq (outbox_pushed (outbox), 0, "not before it was offered");
    outbox_offer (outbox, &from, sizes, 4);
    push_all (outbox, push);
    cr_assert_eq (outbox_pushed (outbox), a, "the second one is not granted whole");
    cr_assert (outbox_starved (outbox));
    cr_assert_eq (receive (pull, &piece, &bytes), 1);
    cr_assert (piece.token == 77 && piece.epoch == 1 && piece.task == 1);
    cr_assert_eq (memcmp (piece.run, run, RUN_BYTES), 0);
    reap (outbox);
    cr_assert_eq (released[0], 0, "kept until the master says that it has it");
    credit (outbox, a + b, a);
    reap (outbox);
    cr_assert_eq (released[0], 1);
    push_all (outbox, push);
    cr_assert_eq (receive (pull, &piece, &bytes), 2);
    credit (outbox, a + b, a + b);
    credit (outbox, a, a); /* late: nothing happens */
    reap (outbox);
    cr_assert (released[0] == 1 && released[1] == 1);
    cr_assert_eq (outbox_held (outbox), 0);
    cr_assert_eq (outbox_granted (outbox), a + b);
    zmq_close (pull);
    zmq_close (push);
    finish (&outbox);
}

Test (outbox, resync_sends_again_what_was_not_received)
{
    outbox_t *outbox = make ();
    void *push = bind_push ("inproc://a"), *pull = connect_pull ("inproc://a");
    uint32_t cost[4];
    uint64_t from, bytes = 0;
    uint32_t sizes[4];
    piece_t piece;
    for (uint32_t i = 0; i < 4; i++)
        cost[i] = add (outbox, 1, i, 1000 * (i + 1));
    outbox_offer (outbox, &from, sizes, 4);
    credit (outbox, cost[0] + cost[1] + cost[2], 0);
    push_all (outbox, push);
    cr_assert_eq (receive (pull, &piece, &bytes), 1);
    zmq_close (pull); /* what lay in it is lost */
    zmq_close (push);
    push = bind_push ("inproc://b");
    pull = connect_pull ("inproc://b");
    msg_credit_t wrong = {1, 0, cost[0]};
    cr_assert_eq (outbox_resync (outbox, &wrong, &err), -1, "the same epoch");
    wrong = (msg_credit_t){2, 0, cost[0] + cost[1] + cost[2] + 1};
    cr_assert_eq (outbox_resync (outbox, &wrong, &err), -1, "more than was pushed");
    msg_credit_t resync = {2, 0, cost[0]};
    cr_assert_eq (outbox_resync (outbox, &resync, &err), 0, "%s", err.text);
    cr_assert_eq (outbox_epoch (outbox), 2);
    cr_assert_eq (outbox_pushed (outbox), cost[0]);
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 4), 3, "offered again");
    cr_assert_eq (from, cost[0]);
    push_all (outbox, push);
    for (int i = 2; i <= 3; i++) {
        cr_assert_eq (receive (pull, &piece, &bytes), i);
        cr_assert_eq (piece.epoch, 2);
    }
    cr_assert_eq (outbox_pushed (outbox), bytes, "the old grant holds");
    msg_credit_t old = {1, UINT64_MAX, bytes};
    cr_assert_eq (outbox_credit (outbox, &old, &err), 0);
    cr_assert_lt (outbox_granted (outbox), UINT64_MAX, "credit of the old epoch");
    credit (outbox, bytes + cost[3], bytes);
    push_all (outbox, push);
    cr_assert_eq (receive (pull, &piece, &bytes), 4);
    credit (outbox, bytes, bytes);
    reap (outbox);
    for (int i = 0; i < 4; i++)
        cr_assert_eq (released[i], 1);
    wrong = (msg_credit_t){3, 0, 5};
    cr_assert_eq (outbox_resync (outbox, &wrong, &err), -1, "bytes that are gone");
    zmq_close (pull);
    zmq_close (push);
    finish (&outbox);
}

Test (outbox, a_dead_attempt_leaves_empty_pieces_of_the_same_size)
{
    outbox_t *outbox = make ();
    void *push = bind_push ("inproc://a"), *pull = connect_pull ("inproc://a");
    uint64_t from, bytes = 0;
    uint32_t sizes[4];
    piece_t piece;
    uint32_t a = add (outbox, 1, 0, 1000), b = add (outbox, 2, 1, 2000);
    outbox_offer (outbox, &from, sizes, 4);
    uint32_t c = add (outbox, 1, 2, 3000), d = add (outbox, 2, 3, 4000);
    (void) c;
    outbox_drop (outbox, 1, 1);
    cr_assert (released[0] == 1 && released[2] == 1, "their memory is free at once");
    cr_assert (released[1] == 0 && released[3] == 0);
    cr_assert_eq (outbox_held (outbox), 6000);
    outbox_drop (outbox, 1, 1);
    outbox_drop (outbox, 2, 2); /* another attempt */
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 4), 1);
    cr_assert (from == (uint64_t) a + b && sizes[0] == d,
               "never offered: not in the stream");
    credit (outbox, a + b + d, 0);
    push_all (outbox, push);
    cr_assert_eq (receive (pull, &piece, &bytes), 0, "zeros");
    cr_assert (piece.kind == PIECE_EMPTY && bytes == a);
    cr_assert_eq (receive (pull, &piece, &bytes), 2);
    cr_assert (piece.kind == PIECE_DATA && bytes == a + b);
    cr_assert_eq (receive (pull, &piece, &bytes), 4);
    credit (outbox, bytes, bytes);
    reap (outbox);
    for (int i = 0; i < 4; i++)
        cr_assert_eq (released[i], 1);
    zmq_close (pull);
    zmq_close (push);
    finish (&outbox);
}

Test (outbox, dropped_after_it_was_pushed)
{
    outbox_t *outbox = make ();
    void *push = bind_push ("inproc://a"), *pull = connect_pull ("inproc://a");
    uint64_t from, bytes = 0;
    uint32_t sizes[4];
    piece_t piece;
    uint32_t a = add (outbox, 1, 0, 9000), b = add (outbox, 1, 1, 1);
    outbox_offer (outbox, &from, sizes, 4);
    credit (outbox, a, 0);
    push_all (outbox, push);
    outbox_drop_all (outbox);
    cr_assert_eq (released[0], 0, "ZeroMQ has it");
    cr_assert_eq (released[1], 1);
    cr_assert_eq (receive (pull, &piece, &bytes), 1, "it was on its way");
    reap (outbox);
    cr_assert_eq (released[0], 1);
    /* lost, and asked for again */
    msg_credit_t resync = {2, 0, 0};
    cr_assert_eq (outbox_resync (outbox, &resync, &err), 0);
    credit (outbox, a + b, 0);
    outbox_offer (outbox, &from, sizes, 4);
    push_all (outbox, push);
    for (bytes = 0; bytes < a + b;) {
        cr_assert_eq (receive (pull, &piece, &bytes), 0);
        cr_assert_eq (piece.kind, PIECE_EMPTY);
    }
    credit (outbox, bytes, bytes);
    reap (outbox);
    cr_assert (released[0] == 1 && released[1] == 1);
    zmq_close (pull);
    zmq_close (push);
    finish (&outbox);
}

Test (outbox, nothing_is_lost_while_nobody_is_connected)
{
    outbox_t *outbox = make ();
    void *push = bind_push ("tcp://127.0.0.1:*");
    char endpoint[100];
    size_t size = sizeof endpoint;
    zmq_getsockopt (push, ZMQ_LAST_ENDPOINT, endpoint, &size);
    uint64_t from, bytes = 0, sum = 0;
    uint32_t sizes[SEGMENTS];
    piece_t piece;
    for (uint32_t i = 0; i < SEGMENTS; i++)
        sum += add (outbox, i, i, SEGMENT);
    outbox_offer (outbox, &from, sizes, SEGMENTS);
    credit (outbox, sum, 0);
    cr_assert_not (outbox_push (outbox, push));
    cr_assert_eq (outbox_pushed (outbox), 0);
    void *pull = connect_pull (endpoint);
    push_all (outbox, push);
    for (int i = 1; i <= SEGMENTS; i++)
        cr_assert_eq (receive (pull, &piece, &bytes), i);
    cr_assert_eq (bytes, sum);
    credit (outbox, sum, sum);
    reap (outbox);
    for (int i = 0; i < SEGMENTS; i++)
        cr_assert_eq (released[i], 1);
    zmq_close (pull);
    zmq_close (push);
    finish (&outbox);
}

Test (outbox, refuses_what_cannot_be)
{
    outbox_t *outbox = make ();
    piece_t piece = {.kind = PIECE_DONE, .payload = SEGMENT + 1};
    cr_assert_eq (outbox_add (outbox, &piece, memory[0], 0, &err), -1);
    add (outbox, 1, 0, 10);
    uint64_t from;
    uint32_t sizes[1];
    outbox_offer (outbox, &from, sizes, 1);
    msg_credit_t wrong = {1, 1000, 10};
    cr_assert_eq (outbox_credit (outbox, &wrong, &err), -1, "received, and never pushed");
    finish (&outbox);
}

/* ---- on the same machine, and over the network ------------------------------ */

Test (outbox, what_was_handed_over_is_referred_to_until_it_is_received)
{
    outbox_t *outbox = make ();
    void *push = bind_push ("inproc://handed"), *pull = connect_pull ("inproc://handed");
    uint32_t sizes[4], handle;
    uint64_t from;
    uint32_t cost = add (outbox, 1, 5, 1 << 20);
    outbox_refer (outbox);
    uint32_t small = add (outbox, 2, 6, 100);
    outbox_refer (outbox);
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 4), 2);
    cr_expect_eq (sizes[0], cost, "offered as what it is");
    cr_assert_eq (
        outbox_credit (outbox, &(msg_credit_t){1, (uint64_t) cost + small, 0}, &err), 0);
    cr_assert (outbox_push (outbox, push));
    char header[PIECE_MAX_HEADER];
    cr_assert_gt (zmq_recv (pull, header, sizeof header, 0), 0);
    cr_assert_eq (zmq_recv (pull, &handle, sizeof handle, 0), (int) sizeof handle);
    cr_expect_eq (handle, 5);
    cr_assert_gt (zmq_recv (pull, header, sizeof header, 0), 0);
    cr_expect_eq (zmq_recv (pull, header, sizeof header, 0), 100, "small ones travel");
    outbox_drop (outbox, 1, 1);
    outbox_reap (outbox);
    cr_expect_eq (released[5], 0, "the master may be reading it, though nobody wants it");
    cr_assert_eq (outbox_credit (outbox, &(msg_credit_t){1, 0, cost}, &err), 0);
    cr_expect_eq (released[5], 1);
    zmq_close (push);
    zmq_close (pull);
    zmq_ctx_term (context);
    outbox_destroy (&outbox);
}

Test (outbox, sealed_headers_are_the_headers)
{
    static const uint8_t key[KEY_BYTES] = {3};
    outbox_t *outbox = make ();
    cr_assert_eq (outbox_seal (outbox, key, &err), 0);
    void *push = bind_push ("inproc://sealed"), *pull = connect_pull ("inproc://sealed");
    opener_t *opener = opener_new (&err);
    uint32_t sizes[4];
    uint64_t from, token;
    uint32_t cost = add (outbox, 1, 5, 1000) + SEAL_OVERHEAD;
    outbox_sealed (outbox, &(seal_t){.nonce = 77, .tag = {1}});
    cr_assert_eq (outbox_offer (outbox, &from, sizes, 4), 1);
    cr_expect_eq (sizes[0], cost);
    cr_assert_eq (outbox_credit (outbox, &(msg_credit_t){1, cost, 0}, &err), 0);
    cr_assert (outbox_push (outbox, push));
    uint8_t sealed[PIECE_MAX_HEADER + SEAL_OVERHEAD], buffer[sizeof sealed], data[1000];
    int n = zmq_recv (pull, sealed, sizeof sealed, 0);
    cr_assert_gt (n, SEAL_OVERHEAD);
    cr_assert_eq (zmq_recv (pull, data, sizeof data, 0), 1000);
    cr_expect_eq ((uint32_t) n + 1000, cost);
    cr_assert (seal_token (sealed, (size_t) n, &token));
    cr_expect_eq (token, 77);
    seal_t payload;
    const uint8_t *header =
        seal_open_header (opener, key, sealed, (size_t) n, &payload, buffer);
    cr_assert_not_null (header);
    cr_expect_eq (payload.nonce, 77);
    piece_t piece;
    cr_assert_eq (piece_decode (header, (size_t) n - SEAL_OVERHEAD, 1000, &piece, &err),
                  0, "%s", err.text);
    cr_expect_eq (piece.task, 1);
    opener_destroy (&opener);
    zmq_close (push);
    zmq_close (pull);
    zmq_ctx_term (context);
    outbox_destroy (&outbox);
}
