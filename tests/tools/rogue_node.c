/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* rogue_node.c - a node that has the key and breaks a rule
 *
 *   rogue_node KEY SHARE BEHAVIOUR [TIMES [FILE]]
 *
 * Announces itself in the share as a node of 127.0.0.1, takes part in the first run that
 * asks, and does what BEHAVIOUR says: see `behaviours`. Prints `hello` for each HELLO,
 * `task` when it has one, `cut: WHY` for each BYE of a master, and ends after TIMES of
 * them (1; 0: never). With FILE it keeps its task until that file is there.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "proto/beacon.h"
#include "proto/clock.h"
#include "proto/piece.h"
#include "rogue.h"

enum { BIG = 60000, WAIT_MS = 50 };

typedef struct {
    cluster_t *cluster;
    void *context, *router, *push;
    char endpoint[100], record[4096];
    uint8_t uuid[16], run[RUN_BYTES], route[255];
    size_t route_n;
    uint64_t token, seen, position, credits;
    task_t task;
    bool welcomed, has_task, offered, granted, done;
    random_t random;
    void *payload;
} rogue_t;

/* ---- saying things ---------------------------------------------------------- */

static void say_bytes (rogue_t *self, const void *data, size_t n)
{
    zmq_send (self->router, self->route, self->route_n, ZMQ_SNDMORE);
    zmq_send (self->router, data, n, 0);
}

static void say (rogue_t *self, msg_t *msg)
{
    size_t n;
    memcpy (msg->run, self->run, RUN_BYTES);
    void *data = encode (msg, &n);
    say_bytes (self, data, n);
    free (data);
}

static void offer (rogue_t *self, uint64_t from, uint32_t size, size_t n)
{
    uint32_t sizes[MSG_MAX_SIZES];
    for (size_t i = 0; i < n; i++)
        sizes[i] = size;
    say (self,
         &(msg_t){.type = MSG_OFFER,
                  .offer = {.epoch = 1, .from = from, .nsizes = n, .sizes = sizes}});
}

/* A piece with everything in it that is right for this stream. */
static piece_t right_piece (const rogue_t *self)
{
    piece_t piece = {.token = self->token,
                     .epoch = 1,
                     .position = self->position,
                     .kind = PIECE_DONE,
                     .task = self->task.task,
                     .attempt = self->task.attempt,
                     .first = self->task.first,
                     .stop = self->task.stop};
    memcpy (piece.run, self->run, RUN_BYTES);
    return piece;
}

/* Push it, with a payload of `bytes`. */
static void push (rogue_t *self, const piece_t *piece, size_t bytes)
{
    uint8_t header[PIECE_MAX_HEADER];
    size_t n = piece_encode (piece, header);
    if (n == 0)
        die ("piece", "cannot be encoded");
    if (zmq_send (self->push, header, n, ZMQ_SNDMORE) < 0 ||
        zmq_send (self->push, self->payload, bytes, 0) < 0)
        return;
    self->position += n + bytes;
}

/* One part of `rows` rows of `bytes` in all. */
static void push_rows (rogue_t *self, uint32_t table, uint64_t rows, size_t bytes)
{
    piece_t piece = right_piece (self);
    piece.nparts = 1;
    piece.parts[0] = (part_t){.table = table, .rows = rows, .bytes = bytes};
    piece.payload = bytes;
    push (self, &piece, bytes);
}

/* What the master has to answer with an end, whatever came before. */
static void push_unasked (rogue_t *self)
{
    for (int i = 0; i < 16; i++)
        push_rows (self, 0, BIG / 28, BIG / 28 * 28);
}

/* ---- what it does: once, when the master has ... ------------------------------- */

static void claim_slots (rogue_t *self)
{
    say (self, &(msg_t){.type = MSG_SLOTS, .slots = {.tasks = UINT64_MAX / 2}});
}
static void offer_absurd (rogue_t *self)
{
    offer (self, 0, UINT32_MAX, MSG_MAX_SIZES);
}
static void offer_nothing (rogue_t *self)
{
    offer (self, 0, 0, 1);
}
static void offer_many (rogue_t *self)
{
    for (unsigned i = 0; i < 64; i++)
        offer (self, i * 1000ull * MSG_MAX_SIZES, 1000, MSG_MAX_SIZES);
}
static void speak_nonsense (rogue_t *self)
{
    size_t n;
    for (int i = 0; i < 100; i++) {
        void *data = nonsense (&self->random, &n);
        say_bytes (self, data, n);
        free (data);
    }
}
static void speak_as_master (rogue_t *self)
{
    for (int i = 0; i < 100; i++)
        say (self, &(msg_t){.type = MSG_CANCEL, .tasks = {.all = true}});
}
static void beyond (rogue_t *self)
{
    push_rows (self, 0, BIG / 28, BIG / 28 * 28);
}
static void uncut (rogue_t *self)
{
    piece_t piece = right_piece (self);
    piece.task = 1ull << 40;
    push (self, &piece, 0);
}
static void others (rogue_t *self)
{
    for (uint64_t task = 1; task < self->task.task + 100; task++) {
        piece_t piece = right_piece (self);
        piece.task = task;
        if (task != self->task.task)
            push (self, &piece, 0);
    }
}
static void range (rogue_t *self)
{
    piece_t piece = right_piece (self);
    piece.stop += 1000;
    push (self, &piece, 0);
}
static void table (rogue_t *self)
{
    push_rows (self, 50, 1, 8);
}
static void rows (rogue_t *self)
{
    push_rows (self, 0, 1, 7);
}
static void many_rows (rogue_t *self)
{
    push_rows (self, 0, 2, 28); /* as if one had half the size */
}
static void deflated (rogue_t *self)
{
    piece_t piece = right_piece (self); /* a chunk, of a run that is not compressed */
    piece.kind = PIECE_DATA;
    piece.nparts = 1;
    piece.parts[0] = (part_t){.rows = CHUNK_BYTES / 28,
                              .bytes = CHUNK_BYTES / 28 * 28,
                              .deflated = 2000,
                              .deflated_xxh3 = 1};
    piece.payload = 2000;
    push (self, &piece, 2000);
}
static void changed (rogue_t *self)
{
    push_rows (self, 0, 1, 28); /* the xxh3 is not theirs */
}
static void length (rogue_t *self)
{
    piece_t piece = right_piece (self);
    piece.nparts = 1;
    piece.parts[0] = (part_t){.table = 0, .rows = 10, .bytes = 280};
    piece.payload = 280;
    push (self, &piece, 279);
    piece.position = self->position = 0;
    push_unasked (self);
}
static void stale (rogue_t *self)
{
    piece_t piece = right_piece (self);
    piece.run[0] ^= 1;
    push (self, &piece, 0);
    piece = right_piece (self);
    piece.token++;
    push (self, &piece, 0);
    piece = right_piece (self);
    piece.epoch++;
    push (self, &piece, 0);
    self->position = 0;
    push_unasked (self);
}
static void garbage (rogue_t *self)
{
    size_t n;
    for (int i = 0; i < 100; i++) {
        void *data = nonsense (&self->random, &n);
        zmq_send (self->push, data, n, i % 3 ? ZMQ_SNDMORE : 0);
        if (i % 3)
            zmq_send (self->push, data, n / 2, i % 3 == 2 ? ZMQ_SNDMORE : 0);
        if (i % 3 == 2)
            zmq_send (self->push, data, n / 3, 0);
        free (data);
    }
    push_unasked (self);
}
/* More than a frame may have, on both ways. */
static void huge (rogue_t *self)
{
    enum { HUGE_BYTES = 64 << 20 };
    void *data = calloc (1, HUGE_BYTES);
    zmq_send (self->push, data, HUGE_BYTES, ZMQ_DONTWAIT);
    free (data);
    offer_absurd (self);
}
static void nothing (rogue_t *self)
{
    (void) self;
}

typedef enum { WELCOMED, ASSIGNED, GRANTED } when_t;

static const struct {
    const char *name;
    when_t when;
    void (*act) (rogue_t *self);
} behaviours[] = {
    {"welcome", WELCOMED, nothing}, /* in WELCOME itself */
    {"endpoint", WELCOMED, nothing},
    {"slots", WELCOMED, claim_slots},
    {"offer-absurd", ASSIGNED, offer_absurd},
    {"offer-nothing", ASSIGNED, offer_nothing},
    {"offer-many", ASSIGNED, offer_many},
    {"nonsense", ASSIGNED, speak_nonsense},
    {"as-master", ASSIGNED, speak_as_master},
    {"unasked", ASSIGNED, push_unasked},
    {"beyond", GRANTED, beyond},
    {"uncut", GRANTED, uncut},
    {"others", GRANTED, others},
    {"range", GRANTED, range},
    {"table", GRANTED, table},
    {"rows", GRANTED, rows},
    {"many-rows", GRANTED, many_rows},
    {"changed", GRANTED, changed},
    {"deflated", GRANTED, deflated},
    {"length", GRANTED, length},
    {"stale", GRANTED, stale},
    {"garbage", GRANTED, garbage},
    {"huge", ASSIGNED, huge},
};

/* ---- its life ------------------------------------------------------------------- */

static void bind_push (rogue_t *self, char port[16])
{
    curve_pair_t pair;
    char endpoint[100];
    size_t n = sizeof endpoint;
    int linger = 0, patience = 1000; /* a master that has cut us off reads no more */
    sluice_error_t err = {0};
    if (self->push)
        zmq_close (self->push);
    self->push = zmq_socket (self->context, ZMQ_PUSH);
    zmq_setsockopt (self->push, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt (self->push, ZMQ_SNDTIMEO, &patience, sizeof patience);
    /* One pair for all sockets: the node's own is as good as any. */
    pair = *cluster_node_pair (self->cluster);
    if (curve_serve (self->push, &pair, "rogue", &err) ||
        zmq_bind (self->push, "tcp://127.0.0.1:*") ||
        zmq_getsockopt (self->push, ZMQ_LAST_ENDPOINT, endpoint, &n))
        die ("push", zmq_strerror (zmq_errno ()));
    snprintf (port, 16, "%s", strrchr (endpoint, ':') + 1);
}

static void on_hello (rogue_t *self, const msg_t *msg, const char *behaviour)
{
    char port[16], endpoint[100];
    print ("hello");
    memcpy (self->run, msg->run, RUN_BYTES);
    self->token = msg->hello.token;
    self->welcomed = self->has_task = self->offered = self->granted = self->done = false;
    self->seen = self->position = 0;
    bind_push (self, port);
    snprintf (endpoint, sizeof endpoint, "tcp://*:%s", port);
    msg_t welcome = {.type = MSG_WELCOME,
                     .welcome = {.token = self->token,
                                 .host = (char *) (uintptr_t) "rogue",
                                 .cores = 1,
                                 .slots = 1,
                                 .epoch = 1,
                                 .endpoint = endpoint,
                                 .isa = (char *) (uintptr_t) "avx2",
                                 .lacks = (char *) (uintptr_t) ""}};
    if (strcmp (behaviour, "welcome") == 0) {
        welcome.welcome.slots = welcome.welcome.cores = UINT32_MAX;
        welcome.welcome.memory = welcome.welcome.outbox = UINT64_MAX;
    }
    if (strcmp (behaviour, "range") == 0) { /* its name will be on the screen */
        welcome.welcome.host =
            (char *) (uintptr_t) "evil\033[2J\nsluice run: all is well\302\205";
    }
    if (strcmp (behaviour, "endpoint") == 0)
        welcome.welcome.endpoint = (char *) (uintptr_t) "tcp://*:99999";
    memcpy (welcome.welcome.uuid, self->uuid, sizeof self->uuid);
    memcpy (welcome.welcome.data_key, cluster_node_pair (self->cluster)->public_key,
            KEY_BYTES);
    say (self, &welcome);
    say (self, &(msg_t){.type = MSG_SLOTS, .slots = {.tasks = 1}});
    self->welcomed = true;
}

static void hear (rogue_t *self, const msg_t *msg, const char *behaviour, int *cuts)
{
    switch (msg->type) {
    case MSG_HELLO:
        on_hello (self, msg, behaviour);
        break;
    case MSG_PING:
        say (self, &(msg_t){.type = MSG_PONG,
                            .ping = {.seq = msg->ping.seq, .assigned = self->seen}});
        break;
    case MSG_ASSIGN:
        self->seen = msg->tasks.before + msg->tasks.ntasks;
        self->task = msg->tasks.tasks[0];
        if (!self->has_task)
            print ("task");
        self->has_task = true;
        break;
    case MSG_CREDIT:
        self->granted |= msg->credit.granted > 0;
        break;
    case MSG_BYE:
        if (self->welcomed) {
            print ("cut: %s", msg->text.text);
            ++*cuts;
        }
        self->welcomed = false;
        break;
    default:
        break;
    }
}

static void receive (rogue_t *self, const char *behaviour, int *cuts)
{
    zmq_msg_t frame;
    msg_t msg;
    int n = zmq_recv (self->router, self->route, sizeof self->route, ZMQ_DONTWAIT);
    if (n < 0)
        return;
    self->route_n = (size_t) n;
    zmq_msg_init (&frame);
    zmq_msg_recv (&frame, self->router, 0);
    if (msg_decode (zmq_msg_data (&frame), zmq_msg_size (&frame), &msg, NULL) == 0) {
        hear (self, &msg, behaviour, cuts);
        msg_clear (&msg);
    }
    zmq_msg_close (&frame);
}

static void open_router (rogue_t *self)
{
    sluice_error_t err = {0};
    size_t n = sizeof self->endpoint;
    self->context = zmq_ctx_new ();
    self->router = zmq_socket (self->context, ZMQ_ROUTER);
    if (curve_serve (self->router, cluster_node_pair (self->cluster), "rogue", &err) ||
        zmq_bind (self->router, "tcp://127.0.0.1:*") ||
        zmq_getsockopt (self->router, ZMQ_LAST_ENDPOINT, self->endpoint, &n))
        die ("router", zmq_strerror (zmq_errno ()));
}

/* As a node's record in the share. */
static void announce (rogue_t *self, const char *folder)
{
    char name[33], temporary[4200];
    uint8_t data[BEACON_MAX];
    sluice_error_t err = {0};
    share_t *share = share_open (folder, &err);
    if (!share)
        die (folder, err.text);
    beacon_t beacon = {.boot = 1, .slots = 1, .host = "rogue", .naddresses = 1};
    strcpy (beacon.address[0], "127.0.0.1");
    beacon.port = (uint16_t) atoi (strrchr (self->endpoint, ':') + 1);
    memcpy (beacon.uuid, self->uuid, sizeof self->uuid);
    memcpy (beacon.share, share_id (share), SHARE_ID_BYTES);
    size_t n = beacon_encode (&beacon, self->cluster, data);
    run_text (self->uuid, name);
    snprintf (self->record, sizeof self->record, "%.3900s/.sluice/nodes/%s", folder,
              name);
    snprintf (temporary, sizeof temporary, "%.3900s/.sluice/nodes/.%s", folder, name);
    int fd = open (temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write (fd, data, n) != (ssize_t) n || close (fd) ||
        rename (temporary, self->record))
        die (temporary, "cannot be written");
    share_destroy (&share);
}

int main (int argc, char **argv)
{
    rogue_t self = {0};
    sluice_error_t err = {0};
    size_t act = 0;
    if (argc < 4)
        die ("usage", "rogue_node KEY SHARE BEHAVIOUR [TIMES [FILE]]");
    const char *behaviour = argv[3], *file = argc > 5 ? argv[5] : NULL;
    int times = argc > 4 ? atoi (argv[4]) : 1, cuts = 0;
    while (act < sizeof behaviours / sizeof *behaviours &&
           strcmp (behaviours[act].name, behaviour))
        act++;
    if (act == sizeof behaviours / sizeof *behaviours)
        die (behaviour, "no such behaviour");
    self.cluster = cluster_new_from_file (argv[1], &err);
    if (!self.cluster)
        die (argv[1], err.text);
    random_bytes (self.uuid, sizeof self.uuid);
    self.random.state = 4711;
    self.payload = calloc (1, BIG);
    open_router (&self);
    announce (&self, argv[2]);
    print ("ready");
    when_t when = behaviours[act].when;
    for (int64_t renewed = clock_ms (); times == 0 || cuts < times;) {
        zmq_pollitem_t item = {.socket = self.router, .events = ZMQ_POLLIN};
        zmq_poll (&item, 1, WAIT_MS);
        receive (&self, behaviour, &cuts);
        if (clock_ms () - renewed > 5000 && access (self.record, F_OK) == 0) {
            unlink (self.record);
            announce (&self, argv[2]);
            renewed = clock_ms ();
        }
        if (!self.welcomed || self.done || (when > WELCOMED && !self.has_task) ||
            (file && access (file, F_OK)))
            continue;
        if (when == GRANTED && !self.offered) {
            offer (&self, 0, 4000, 1);
            self.offered = true;
        }
        if (when == GRANTED && !self.granted)
            continue;
        behaviours[act].act (&self);
        self.done = true;
    }
    unlink (self.record);
    return 0;
}
