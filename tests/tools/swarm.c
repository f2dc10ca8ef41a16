/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* swarm - many nodes in one process, for runs with more of them than there are machines
 *
 *   swarm KEY ENDPOINTS NODES TASKS [MARK]
 *
 * Plays NODES nodes with the real messages, pieces and CURVE sockets on 127.0.0.1, but
 * without workers: an item of tests/kernels/swarm_kernel.c is known beforehand, so its
 * rows take no memory and each node can offer any number of bytes. It takes TASKS tasks
 * at a time and offers all of their pieces at once. Its endpoints are written to the
 * file ENDPOINTS, a line each, and "listening" to standard output. Items of no bytes
 * (item_kib = 0) have empty results, of which many share a message, as those of a node
 * do.
 *
 * When the masters are gone (BYE at every node that took part), or at the end of
 * standard input, it prints one JSON object: nodes that took part, seconds until the
 * last one did after the first HELLO, bytes that the master received, and the least
 * and most of a node when MARK bytes in all had been received (at the end, without
 * MARK). What the master may never do ends it with a message: credit that ends inside
 * a piece, received bytes that were never pushed, a task twice.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>
#include "calc/emitter.h"
#include "proto/clock.h"
#include "proto/xxh3.h"
#include "proto/zap.h"

enum { ROW_BYTES = 1024, TURN_MS = 5, MOST_MESSAGES = 64 };

/* One task, and where its pieces lie in the node's stream. */
typedef struct {
    task_t task;
    uint64_t start, stop; /* positions of its first piece, and behind its last */
} job_t;

typedef struct {
    void *control, *push;
    char endpoint[64], data_endpoint[64];
    uint8_t uuid[16], route[255];
    size_t nroute;
    bool ready, over, told;
    uint8_t run[RUN_BYTES];
    uint64_t token;
    uint32_t epoch;
    job_t *tasks;
    size_t ntasks, room;
    size_t at;      /* the task whose piece is pushed next... */
    unsigned piece; /* ...and which of its pieces */
    uint64_t credit, offered, granted, pushed, received, marked;
} node_t;

typedef struct {
    void *context;
    zap_t *zap;
    cluster_t *cluster;
    curve_pair_t data_pair;
    node_t *nodes;
    unsigned nnodes, ready, over;
    uint64_t at_once, mark;
    bool marked;
    uint64_t resyncs;
    int64_t first, last; /* ms: the first HELLO, the last that got ready */
    /* of the run */
    char *table;
    uint64_t chunk_rows, pieces, ntables; /* DATA pieces of an item */
    uint8_t *block;                       /* rows of one piece */
    uint64_t block_xxh3;
    item_hash_t *hash;
} swarm_t;

static _Noreturn void die (const char *format, ...)
    __attribute__ ((format (printf, 1, 2)));
static _Noreturn void die (const char *format, ...)
{
    va_list args;
    va_start (args, format);
    fputs ("swarm: ", stderr);
    vfprintf (stderr, format, args);
    fputc ('\n', stderr);
    va_end (args);
    exit (1);
}

/* ---- sockets ------------------------------------------------------------------- */

static void *bind_socket (swarm_t *self, int type, const curve_pair_t *pair,
                          const char *domain, char endpoint[64])
{
    sluice_error_t err = {0};
    int none = 0;
    size_t size = 64;
    void *socket = zmq_socket (self->context, type);
    if (!socket)
        die ("socket: %s", zmq_strerror (zmq_errno ()));
    zmq_setsockopt (socket, ZMQ_LINGER, &none, sizeof none);
    if (curve_serve (socket, pair, domain, &err))
        die ("%s", err.text);
    if (zmq_bind (socket, "tcp://127.0.0.1:*") ||
        zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, endpoint, &size))
        die ("bind: %s", zmq_strerror (zmq_errno ()));
    return socket;
}

static void tell (node_t *node, msg_t *msg)
{
    void *data;
    size_t n;
    memcpy (msg->run, node->run, RUN_BYTES);
    if (msg_encode (msg, &data, &n, NULL))
        die ("out of memory");
    if (zmq_send (node->control, node->route, node->nroute, ZMQ_SNDMORE | ZMQ_DONTWAIT) >=
        0)
        zmq_send (node->control, data, n, ZMQ_DONTWAIT);
    free (data);
}

static void welcome (swarm_t *self, node_t *node)
{
    char host[32];
    /* A node may ask for four tasks a slot. */
    uint32_t slots = (uint32_t) (self->at_once + 3) / 4;
    snprintf (host, sizeof host, "swarm%u", (unsigned) (node - self->nodes));
    msg_t msg = {.type = MSG_WELCOME,
                 .welcome = {.token = node->token,
                             .host = host,
                             .cores = slots,
                             .slots = slots,
                             .outbox = 1 << 30,
                             .epoch = node->epoch,
                             .endpoint = node->data_endpoint,
                             .isa = "",
                             .lacks = ""}};
    memcpy (msg.welcome.uuid, node->uuid, sizeof node->uuid);
    memcpy (msg.welcome.data_key, self->data_pair.public_key, KEY_BYTES);
    tell (node, &msg);
}

/* ---- pieces -------------------------------------------------------------------- */

/* Piece `number` of a task, as far as it is known without its digest. */
static void describe (const swarm_t *self, const node_t *node, const job_t *job,
                      unsigned number, const item_rows_t *counts, piece_t *piece)
{
    uint64_t bytes = self->chunk_rows * ROW_BYTES;
    bool done = number == self->pieces;
    *piece = (piece_t){.token = node->token,
                       .epoch = node->epoch,
                       .kind = done ? PIECE_DONE : PIECE_DATA,
                       .task = job->task.task,
                       .attempt = job->task.attempt,
                       .first = job->task.first,
                       .stop = job->task.stop,
                       .nparts = 1,
                       .payload = done ? sizeof *counts : bytes};
    memcpy (piece->run, node->run, RUN_BYTES);
    if (self->pieces == 0) {
        piece->nparts = 0;
        piece->payload = 0;
    } else if (done)
        piece->parts[0] = (part_t){.table = (uint32_t) self->ntables,
                                   .rows = 1,
                                   .bytes = sizeof *counts,
                                   .xxh3 = XXH3_64bits (counts, sizeof *counts)};
    else
        piece->parts[0] = (part_t){.row = number * self->chunk_rows,
                                   .rows = self->chunk_rows,
                                   .bytes = bytes,
                                   .xxh3 = self->block_xxh3};
}

static item_rows_t counts_of (const swarm_t *self, const job_t *job)
{
    return (item_rows_t){.first = job->task.first,
                         .stop = job->task.stop,
                         .rows = self->pieces * self->chunk_rows};
}

/* How many bytes msgpack takes for a number, as a class. */
static unsigned width (uint64_t number)
{
    return number < 128     ? 0
           : number < 256   ? 1
           : number < 65536 ? 2
           : number >> 32   ? 4
                            : 3;
}

/* Bytes of a piece with its header: the same for all with numbers of these widths, and
 * asked for so often that a swarm would be slow to answer without remembering it. */
static uint32_t cost_of (const swarm_t *self, const node_t *node, const job_t *job,
                         unsigned number)
{
    enum { WIDTHS = 5, KNOWN = 64 };
    static uint32_t known[WIDTHS][WIDTHS][WIDTHS][KNOWN];
    uint8_t header[PIECE_MAX_HEADER];
    piece_t piece;
    const task_t *t = &job->task;
    bool fits = number < KNOWN && t->attempt < 128;
    uint32_t *cost =
        &known[width (t->task)][width (t->first)][width (t->stop)][fits ? number : 0];
    if (fits && *cost)
        return *cost;
    item_rows_t counts = counts_of (self, job);
    describe (self, node, job, number, &counts, &piece);
    uint32_t bytes = (uint32_t) (piece_encode (&piece, header) + piece.payload);
    if (fits)
        *cost = bytes;
    return bytes;
}

static void keep (void *data, void *hint)
{
    (void) data;
    (void) hint;
}

/* Push the piece that is next. False: the socket takes no more now. */
static bool push (swarm_t *self, node_t *node)
{
    const job_t *job = &node->tasks[node->at];
    uint8_t header[PIECE_MAX_HEADER];
    piece_t piece;
    item_rows_t counts = counts_of (self, job);
    describe (self, node, job, node->piece, &counts, &piece);
    bool done = piece.kind == PIECE_DONE;
    if (done) {
        item_hash_begin (self->hash, self->table, job->task.first);
        for (unsigned i = 0; i < self->pieces; i++)
            item_hash_rows (self->hash, self->block, self->chunk_rows * ROW_BYTES);
        item_hash_end (self->hash, piece.digest);
    }
    piece.position = node->pushed;
    size_t n = piece_encode (&piece, header);
    if (zmq_send (node->push, header, n, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return false;
    zmq_msg_t payload;
    if (done) {
        zmq_msg_init_size (&payload, sizeof counts);
        memcpy (zmq_msg_data (&payload), &counts, sizeof counts);
    } else {
        zmq_msg_init_data (&payload, self->block, piece.payload, keep, NULL);
    }
    if (zmq_msg_send (&payload, node->push, ZMQ_DONTWAIT) < 0)
        die ("half a piece was sent: %s", zmq_strerror (zmq_errno ()));
    node->pushed += n + piece.payload;
    if (done) {
        node->at++;
        node->piece = 0;
    } else {
        node->piece++;
    }
    return true;
}

/* The same with pieces that are nothing but a header, as many as are granted. */
static bool push_headers (const swarm_t *self, node_t *node)
{
    uint8_t batch[PIECE_MAX_BATCH];
    size_t n = 0, at = node->at;
    piece_t piece;
    item_rows_t none = {0};
    while (at < node->ntasks) {
        uint32_t cost = cost_of (self, node, &node->tasks[at], 0);
        if (node->pushed + n + cost > node->granted ||
            n + PIECE_MAX_HEADER > sizeof batch)
            break;
        describe (self, node, &node->tasks[at++], 0, &none, &piece);
        piece.position = node->pushed + n;
        n += piece_encode (&piece, batch + n);
    }
    if (n == 0 || zmq_send (node->push, batch, n, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return false;
    if (zmq_send (node->push, "", 0, ZMQ_DONTWAIT) < 0)
        die ("half a message was sent: %s", zmq_strerror (zmq_errno ()));
    node->pushed += n;
    node->at = at;
    return true;
}

static void push_all (swarm_t *self, node_t *node)
{
    while (self->pieces == 0 && node->ready && !node->over && push_headers (self, node))
        ;
    while (self->pieces > 0 && node->ready && !node->over && node->at < node->ntasks) {
        uint32_t cost = cost_of (self, node, &node->tasks[node->at], node->piece);
        if (node->pushed + cost > node->granted) {
            if (node->granted > node->pushed)
                die ("a grant ends %llu bytes into a piece",
                     (unsigned long long) (node->granted - node->pushed));
            return;
        }
        if (!push (self, node))
            return;
    }
}

/* ---- what masters say ------------------------------------------------------------- */

static void take_run (swarm_t *self, const msg_hello_t *hello)
{
    sluice_error_t err = {0};
    uint64_t kib = 0;
    if (hello->ntables != 1 || sluice_params_u64 (hello->params, "item_kib", &kib, &err))
        die ("not a job of the swarm's kernel %s", err.text);
    self->table = strdup (hello->tables[0].name);
    self->chunk_rows = hello->tables[0].chunk_rows;
    self->ntables = hello->ntables;
    self->pieces = kib / self->chunk_rows;
    if (kib % self->chunk_rows)
        die ("item_kib must be a multiple of %llu, a chunk's rows",
             (unsigned long long) self->chunk_rows);
    size_t bytes = self->chunk_rows * ROW_BYTES;
    self->block = malloc (bytes);
    if (!self->block || !self->table)
        die ("out of memory");
    uint64_t *words = (uint64_t *) (void *) self->block;
    for (size_t i = 0; i < bytes / 8; i++) /* as the kernel makes them */
        words[i] = (i % (ROW_BYTES / 8)) * 0x9e3779b97f4a7c15u;
    self->block_xxh3 = XXH3_64bits (self->block, bytes);
    self->hash = item_hash_new ();
    if (zap_allow (self->zap, "data", hello->data_key, &err) < 0)
        die ("%s", err.text);
    self->first = clock_ms ();
}

static void hear_hello (swarm_t *self, node_t *node, const msg_t *msg)
{
    if (!self->table)
        take_run (self, &msg->hello);
    if (!node->ready) {
        memcpy (node->run, msg->run, RUN_BYTES);
        node->token = msg->hello.token;
        node->epoch = 1;
        node->push =
            bind_socket (self, ZMQ_PUSH, &self->data_pair, "data", node->data_endpoint);
        node->ready = true;
        node->credit = self->at_once;
        self->ready++;
        self->last = clock_ms ();
    } else if (node->token != msg->hello.token) {
        die ("node %u got a second HELLO: it was given up",
             (unsigned) (node - self->nodes));
    }
    welcome (self, node);
    tell (node, &(msg_t){.type = MSG_SLOTS, .slots = {.tasks = node->credit}});
}

static void offer (swarm_t *self, node_t *node, size_t from)
{
    uint32_t sizes[MSG_MAX_SIZES];
    msg_t msg = {.type = MSG_OFFER,
                 .offer = {.epoch = node->epoch, .from = node->offered, .sizes = sizes}};
    for (size_t i = from; i < node->ntasks; i++)
        for (unsigned k = 0; k <= self->pieces; k++) {
            sizes[msg.offer.nsizes] = cost_of (self, node, &node->tasks[i], k);
            node->offered += sizes[msg.offer.nsizes++];
            bool last = i + 1 == node->ntasks && k == self->pieces;
            if (!last && msg.offer.nsizes < MSG_MAX_SIZES)
                continue;
            tell (node, &msg);
            msg.offer.from = node->offered;
            msg.offer.nsizes = 0;
        }
}

static void hear_assign (swarm_t *self, node_t *node, const msg_tasks_t *tasks)
{
    size_t before = node->ntasks;
    if (tasks->before != before || before + tasks->ntasks > node->credit)
        die ("node %u: %zu tasks after %llu, with %zu seen and a credit of %llu",
             (unsigned) (node - self->nodes), tasks->ntasks,
             (unsigned long long) tasks->before, before,
             (unsigned long long) node->credit);
    for (size_t i = 0; i < tasks->ntasks; i++) {
        if (node->ntasks == node->room) {
            node->room = 2 * node->room + 64;
            node->tasks = realloc (node->tasks, node->room * sizeof *node->tasks);
            if (!node->tasks)
                die ("out of memory");
        }
        const task_t *task = &tasks->tasks[i];
        if (task->stop - task->first != 1)
            die ("a task of several items; set items_per_task = 1");
        job_t *job = &node->tasks[node->ntasks];
        *job = (job_t){.task = *task};
        job->start = job->stop = node->ntasks > 0 ? job[-1].stop : 0;
        for (unsigned k = 0; k <= self->pieces; k++)
            job->stop += cost_of (self, node, job, k);
        node->ntasks++;
    }
    offer (self, node, before);
}

/* Tasks whose last piece was received make room for as many more. */
static void take_more (swarm_t *self, node_t *node)
{
    size_t done = (size_t) (node->credit - self->at_once), before = done;
    while (done < node->ntasks && node->tasks[done].stop <= node->received)
        done++;
    if (done == before)
        return;
    node->credit = self->at_once + done;
    tell (node, &(msg_t){.type = MSG_SLOTS, .slots = {.tasks = node->credit}});
}

static void mark (swarm_t *self)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < self->nnodes; i++)
        all += self->nodes[i].received;
    if (self->marked || (self->mark && all < self->mark))
        return;
    self->marked = true;
    for (unsigned i = 0; i < self->nnodes; i++)
        self->nodes[i].marked = self->nodes[i].received;
}

static void hear_credit (swarm_t *self, node_t *node, const msg_credit_t *credit)
{
    if (credit->epoch != node->epoch)
        return;
    if (credit->received > node->pushed || credit->granted > node->offered)
        die ("node %u: received %llu of %llu pushed, granted %llu of %llu offered",
             (unsigned) (node - self->nodes), (unsigned long long) credit->received,
             (unsigned long long) node->pushed, (unsigned long long) credit->granted,
             (unsigned long long) node->offered);
    if (credit->granted > node->granted)
        node->granted = credit->granted;
    if (credit->received <= node->received)
        return;
    node->received = credit->received;
    take_more (self, node);
    if (self->mark)
        mark (self);
}

/* A new PUSH, which goes on after what was received: that is a piece's end. */
static void hear_resync (swarm_t *self, node_t *node, const msg_credit_t *credit)
{
    if (credit->epoch > node->epoch) {
        self->resyncs++;
        zmq_close (node->push);
        node->epoch = credit->epoch;
        node->push =
            bind_socket (self, ZMQ_PUSH, &self->data_pair, "data", node->data_endpoint);
        node->received = node->pushed = credit->received;
        for (node->at = 0;
             node->at < node->ntasks && node->tasks[node->at].stop <= credit->received;)
            node->at++;
        node->piece = 0;
        if (node->at < node->ntasks)
            for (uint64_t p = node->tasks[node->at].start; p < credit->received;)
                p += cost_of (self, node, &node->tasks[node->at], node->piece++);
    }
    welcome (self, node);
}

static void hear (swarm_t *self, node_t *node, const msg_t *msg)
{
    bool ours = node->ready && memcmp (node->run, msg->run, RUN_BYTES) == 0;
    if (node->over || (!ours && msg->type != MSG_HELLO))
        return;
    switch (msg->type) {
    case MSG_HELLO:
        hear_hello (self, node, msg);
        break;
    case MSG_ASSIGN:
        hear_assign (self, node, &msg->tasks);
        break;
    case MSG_CREDIT:
        hear_credit (self, node, &msg->credit);
        break;
    case MSG_RESYNC:
        hear_resync (self, node, &msg->credit);
        break;
    case MSG_PING:
        tell (node, &(msg_t){.type = MSG_PONG,
                             .ping = {.seq = msg->ping.seq,
                                      .assigned = node->ntasks,
                                      .held = node->offered - node->received,
                                      .running = (uint32_t) (node->ntasks - node->at)}});
        break;
    case MSG_BYE:
        node->over = true;
        self->over++;
        if (strcmp (msg->text.text, "over") != 0)
            die ("node %u was given up: %s", (unsigned) (node - self->nodes),
                 msg->text.text);
        break;
    default:
        break;
    }
}

static void receive (swarm_t *self, node_t *node)
{
    for (int i = 0; i < MOST_MESSAGES; i++) {
        zmq_msg_t frame[2];
        zmq_msg_init (&frame[0]);
        zmq_msg_init (&frame[1]);
        bool there = zmq_msg_recv (&frame[0], node->control, ZMQ_DONTWAIT) >= 0 &&
                     zmq_msg_recv (&frame[1], node->control, ZMQ_DONTWAIT) >= 0;
        msg_t msg;
        if (there && msg_decode (zmq_msg_data (&frame[1]), zmq_msg_size (&frame[1]), &msg,
                                 NULL) == 0) {
            node->nroute = zmq_msg_size (&frame[0]);
            memcpy (node->route, zmq_msg_data (&frame[0]), node->nroute);
            hear (self, node, &msg);
            msg_clear (&msg);
        }
        zmq_msg_close (&frame[0]);
        zmq_msg_close (&frame[1]);
        if (!there)
            return;
    }
}

/* ---- beginning and end --------------------------------------------------------------
 */

static void open_nodes (swarm_t *self, const char *path)
{
    sluice_error_t err = {0};
    FILE *file = fopen (path, "w");
    if (!file)
        die ("%s: %s", path, strerror (errno));
    self->zap = zap_new (self->context, &err);
    if (!self->zap ||
        zap_allow (self->zap, "node", cluster_member_pair (self->cluster)->public_key,
                   &err) ||
        curve_pair_random (&self->data_pair, &err))
        die ("%s", err.text);
    for (unsigned i = 0; i < self->nnodes; i++) {
        node_t *node = &self->nodes[i];
        random_bytes (node->uuid, sizeof node->uuid);
        node->control = bind_socket (self, ZMQ_ROUTER, cluster_node_pair (self->cluster),
                                     "node", node->endpoint);
        fprintf (file, "%s\n", node->endpoint);
    }
    if (fclose (file))
        die ("%s: %s", path, strerror (errno));
    puts ("listening");
    fflush (stdout);
}

static void loop (swarm_t *self)
{
    size_t n = self->nnodes;
    zmq_pollitem_t *items = calloc (n + 2, sizeof *items);
    if (!items)
        die ("out of memory");
    for (size_t i = 0; i < n; i++)
        items[i] =
            (zmq_pollitem_t){.socket = self->nodes[i].control, .events = ZMQ_POLLIN};
    items[n] = (zmq_pollitem_t){.socket = zap_socket (self->zap), .events = ZMQ_POLLIN};
    items[n + 1] = (zmq_pollitem_t){.fd = STDIN_FILENO, .events = ZMQ_POLLIN};
    while (!self->over || self->over < self->ready) {
        zmq_poll (items, (int) n + 2, TURN_MS);
        if (items[n + 1].revents)
            break;
        zap_answer (self->zap);
        for (unsigned i = 0; i < n; i++) {
            if (items[i].revents)
                receive (self, &self->nodes[i]);
            push_all (self, &self->nodes[i]);
        }
    }
    free (items);
}

static void print (swarm_t *self)
{
    uint64_t least = UINT64_MAX, most = 0, all = 0;
    if (!self->marked) {
        self->mark = 0;
        mark (self);
    }
    for (unsigned i = 0; i < self->nnodes; i++) {
        const node_t *node = &self->nodes[i];
        least = node->marked < least ? node->marked : least;
        most = node->marked > most ? node->marked : most;
        all += node->received;
    }
    printf ("{\"nodes\":%u,\"ready_seconds\":%.3f,\"received\":%llu,\"least\":%llu,"
            "\"most\":%llu,\"ratio\":%.3f,\"resyncs\":%llu}\n",
            self->ready, (double) (self->last - self->first) * 1e-3,
            (unsigned long long) all, (unsigned long long) least,
            (unsigned long long) most, least ? (double) most / (double) least : 1e9,
            (unsigned long long) self->resyncs);
}

static void close_nodes (swarm_t *self)
{
    for (unsigned i = 0; i < self->nnodes; i++) {
        zmq_close (self->nodes[i].control);
        if (self->nodes[i].push)
            zmq_close (self->nodes[i].push);
        free (self->nodes[i].tasks);
    }
    zap_destroy (&self->zap);
    zmq_ctx_term (self->context);
    cluster_destroy (&self->cluster);
    item_hash_destroy (&self->hash);
    free (self->nodes);
    free (self->table);
    free (self->block);
}

int main (int argc, char **argv)
{
    swarm_t self = {0};
    sluice_error_t err = {0};
    struct rlimit limit;
    if (argc < 5 || argc > 6)
        die ("usage: swarm KEY ENDPOINTS NODES TASKS [MARK]");
    self.nnodes = (unsigned) strtoul (argv[3], NULL, 10);
    self.at_once = strtoul (argv[4], NULL, 10);
    self.mark = argc > 5 ? strtoull (argv[5], NULL, 10) : 0;
    self.cluster = cluster_new_from_file (argv[1], &err);
    self.nodes = calloc (self.nnodes ? self.nnodes : 1, sizeof *self.nodes);
    self.context = zmq_ctx_new ();
    if (!self.cluster || !self.nodes || !self.context || !self.nnodes || !self.at_once)
        die ("cannot begin: %s", err.text);
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
    zmq_ctx_set (self.context, ZMQ_MAX_SOCKETS, (int) (4 * self.nnodes + 64));
    open_nodes (&self, argv[2]);
    loop (&self);
    print (&self);
    close_nodes (&self);
    return 0;
}
