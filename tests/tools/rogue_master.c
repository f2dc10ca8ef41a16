/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* rogue_master.c - a master that has the key and breaks a rule
 *
 *   rogue_master KEY SHARE ENDPOINT BEHAVIOUR [ARG]
 *
 * Asks the node at ENDPOINT to take part in a run of kernel.so in SHARE, and
 *
 *   kernel PATH   names PATH as the kernel       file PATH    as an input file
 *   inputs PATH   as the file of shared arrays   hash         another hash
 *   assign        sends more tasks than the node asked for
 *   credit        says that it received what was never pushed
 *   resync        wants to go on after bytes that never were
 *   nonsense N    sends N malformed messages, and then asks how the node is
 *   flood N       begins N runs, and lets all of them go
 *   knock N       with the key of another cluster: opens N connections of two kinds
 *   data          asks for the results of its run with the keys of others
 *
 * Prints `lacks: WHY`, `ready PORT`, `bye: WHY`, `status: JSON` and so on.
 */
#include <fcntl.h>
#include <unistd.h>

#include "proto/clock.h"
#include "rogue.h"

enum { PATIENCE_MS = 60000 };

static cluster_t *cluster;
static share_t *share;
static void *context, *socket_;
static uint8_t run[RUN_BYTES];
static curve_pair_t data_pair;

static void connect_to (const char *endpoint)
{
    sluice_error_t err = {0};
    int linger = 2000;
    context = zmq_ctx_new ();
    socket_ = zmq_socket (context, ZMQ_DEALER);
    zmq_setsockopt (socket_, ZMQ_LINGER, &linger, sizeof linger);
    if (curve_connect_as (socket_, cluster_member_pair (cluster),
                          cluster_node_pair (cluster)->public_key, &err) ||
        zmq_connect (socket_, endpoint))
        die (endpoint, zmq_strerror (zmq_errno ()));
}

static void say (msg_t *msg)
{
    size_t n;
    memcpy (msg->run, run, RUN_BYTES);
    void *data = encode (msg, &n);
    if (zmq_send (socket_, data, n, 0) < 0)
        die ("send", zmq_strerror (zmq_errno ()));
    free (data);
}

/* The next message that is not PING or PONG (PINGs are answered). */
static void next (msg_t *msg)
{
    for (int64_t end = clock_ms () + PATIENCE_MS; clock_ms () < end;) {
        zmq_pollitem_t item = {.socket = socket_, .events = ZMQ_POLLIN};
        say (&(msg_t){.type = MSG_PING});
        zmq_poll (&item, 1, 500);
        zmq_msg_t frame;
        zmq_msg_init (&frame);
        while (zmq_msg_recv (&frame, socket_, ZMQ_DONTWAIT) >= 0) {
            if (msg_decode (zmq_msg_data (&frame), zmq_msg_size (&frame), msg, NULL))
                die ("receive", "a malformed message");
            if (msg->type != MSG_PONG && msg->type != MSG_PING) {
                zmq_msg_close (&frame);
                return;
            }
            msg_clear (msg);
        }
        zmq_msg_close (&frame);
    }
    die ("receive", "no answer");
}

static void hash_kernel (uint8_t hash[FILE_HASH_BYTES])
{
    sluice_error_t err = {0};
    input_t input = {0};
    int fd = share_openat (share, "kernel.so", O_RDONLY, 0, &err);
    if (fd < 0 || input_measure (fd, &input, &err))
        die ("kernel.so", err.text);
    close (fd);
    memcpy (hash, input.digest, FILE_HASH_BYTES);
}

static void hello (const char *kernel, const char *file, const char *inputs,
                   bool right_hash)
{
    sluice_error_t err = {0};
    table_t tables[] = {{(char *) (uintptr_t) "samples",
                         (char *) (uintptr_t) "{item:<u8, k:<u4, x:<f8, u:<f8}", 1000},
                        {(char *) (uintptr_t) "notes",
                         (char *) (uintptr_t) "{item:<u8, what:|S8}", 1000}};
    input_t input = {.path = (char *) (uintptr_t) file, .size = 1};
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.token = 1,
                           .owner = (char *) (uintptr_t) "rogue@nowhere",
                           .job = (char *) (uintptr_t) "rogue.ini",
                           .kernel = (char *) (uintptr_t) kernel,
                           .inputs = (char *) (uintptr_t) inputs,
                           .items = 1000000,
                           .segment = 1 << 20,
                           .cores_per_task = 1,
                           .ntables = 2,
                           .tables = tables,
                           .nfiles = *file != 0,
                           .files = &input}};
    memcpy (msg.hello.share, share_id (share), SHARE_ID_BYTES);
    memcpy (msg.hello.data_key, data_pair.public_key, KEY_BYTES);
    hash_kernel (msg.hello.kernel_hash);
    msg.hello.kernel_hash[0] ^= !right_hash;
    msg.hello.params = sluice_params_new ();
    sluice_params_set (msg.hello.params, "sleep_us", "1000", 1, &err);
    say (&msg);
    sluice_params_destroy (&msg.hello.params);
}

/* What comes of a run: its WELCOME is printed. True: it is ready. */
static bool welcomed (void)
{
    msg_t msg;
    next (&msg);
    if (msg.type == MSG_BYE)
        print ("bye: %s", msg.text.text);
    else if (msg.type == MSG_WELCOME && *msg.welcome.lacks)
        print ("lacks: %s", msg.welcome.lacks);
    else if (msg.type == MSG_WELCOME)
        print ("ready %s", strrchr (msg.welcome.endpoint, ':') + 1);
    bool ready = msg.type == MSG_WELCOME && !*msg.welcome.lacks;
    msg_clear (&msg);
    return ready;
}

static void wait_for_bye (void)
{
    for (;;) {
        msg_t msg;
        next (&msg);
        bool bye = msg.type == MSG_BYE;
        if (bye)
            print ("bye: %s", msg.text.text);
        msg_clear (&msg);
        if (bye)
            return;
    }
}

static void break_rule (const char *rule)
{
    static task_t tasks[MSG_MAX_TASKS];
    hello ("kernel.so", "", "", true);
    if (!welcomed ())
        return;
    for (size_t i = 0; i < MSG_MAX_TASKS; i++)
        tasks[i] = (task_t){.task = i + 1, .attempt = 1, .first = i, .stop = i + 1};
    if (strcmp (rule, "assign") == 0)
        say (&(msg_t){.type = MSG_ASSIGN,
                      .tasks = {.ntasks = MSG_MAX_TASKS, .tasks = tasks}});
    else if (strcmp (rule, "credit") == 0)
        say (&(msg_t){.type = MSG_CREDIT, .credit = {1, UINT64_MAX, UINT64_MAX}});
    else
        say (&(msg_t){.type = MSG_RESYNC, .credit = {7, 0, 1ull << 60}});
    wait_for_bye ();
}

static void nonsense_and_status (int count)
{
    random_t r = {.state = 42};
    for (int i = 0; i < count; i++) {
        size_t n;
        void *data = nonsense (&r, &n);
        zmq_send (socket_, data, n, 0);
        free (data);
    }
    say (&(msg_t){.type = MSG_STATUS, .text = {.text = (char *) (uintptr_t) ""}});
    msg_t msg;
    next (&msg);
    print ("status: %s", msg.type == MSG_REPLY ? msg.text.text : "");
    msg_clear (&msg);
}

static void flood (int count)
{
    unsigned refused = 0, ready = 0;
    for (int i = 0; i < count; i++) {
        random_bytes (run, sizeof run);
        hello ("kernel.so", "", "", true);
        /* What it said so far; it must not be made to wait for us. */
        zmq_msg_t frame;
        zmq_msg_init (&frame);
        while (zmq_msg_recv (&frame, socket_, ZMQ_DONTWAIT) >= 0) {
            msg_t msg;
            if (msg_decode (zmq_msg_data (&frame), zmq_msg_size (&frame), &msg, NULL))
                continue;
            refused += msg.type == MSG_WELCOME && *msg.welcome.lacks;
            ready += msg.type == MSG_WELCOME && !*msg.welcome.lacks;
            msg_clear (&msg);
        }
        zmq_msg_close (&frame);
    }
    memset (run, 0, sizeof run);
    say (&(msg_t){.type = MSG_STATUS, .text = {.text = (char *) (uintptr_t) ""}});
    for (;;) {
        msg_t msg;
        next (&msg);
        bool reply = msg.type == MSG_REPLY;
        if (reply)
            print ("status: %s", msg.text.text);
        refused += msg.type == MSG_WELCOME && *msg.welcome.lacks;
        ready += msg.type == MSG_WELCOME && !*msg.welcome.lacks;
        msg_clear (&msg);
        if (reply)
            break;
    }
    print ("flood: %u refused, %u begun", refused, ready);
}

static void knock (const char *endpoint, int count)
{
    enum { MOST = 100, KNOCK_MS = 3000 };
    static void *sockets[2 * MOST];
    unsigned frames = 0;
    int none = 0, n = 2 * (count < MOST ? count : MOST);
    sluice_error_t err = {0};
    for (int i = 0; i < n; i++) {
        sockets[i] = zmq_socket (context, i % 2 ? ZMQ_DEALER : ZMQ_PULL);
        zmq_setsockopt (sockets[i], ZMQ_LINGER, &none, sizeof none);
        if (curve_connect_as (sockets[i], cluster_member_pair (cluster),
                              cluster_node_pair (cluster)->public_key, &err) ||
            zmq_connect (sockets[i], endpoint))
            die (endpoint, zmq_strerror (zmq_errno ()));
        if (i % 2)
            zmq_send (sockets[i], "hello", 5, ZMQ_DONTWAIT);
    }
    for (int64_t end = clock_ms () + KNOCK_MS; clock_ms () < end; usleep (10000))
        for (int i = 0; i < n; i++) {
            char byte;
            frames += zmq_recv (sockets[i], &byte, 1, ZMQ_DONTWAIT) >= 0;
        }
    for (int i = 0; i < n; i++)
        zmq_close (sockets[i]);
    print ("frames: %u", frames);
}

/* A PULL that knows where the results of our run are to be had, with these keys. */
static void *pull_as (const curve_pair_t *pair, const char *endpoint,
                      const msg_welcome_t *welcome)
{
    char data[200];
    sluice_error_t err = {0};
    int none = 0;
    void *pull = zmq_socket (context, ZMQ_PULL);
    snprintf (data, sizeof data, "%.*s%s", (int) (strrchr (endpoint, ':') - endpoint),
              endpoint, strrchr (welcome->endpoint, ':'));
    zmq_setsockopt (pull, ZMQ_LINGER, &none, sizeof none);
    if (curve_connect_as (pull, pair, welcome->data_key, &err) ||
        zmq_connect (pull, data))
        die (data, zmq_strerror (zmq_errno ()));
    return pull;
}

static unsigned frames_at (void *pull)
{
    char byte;
    unsigned n = 0;
    while (zmq_recv (pull, &byte, 1, ZMQ_DONTWAIT) >= 0)
        n++;
    return n;
}

/* Let a task be computed and its results be granted; the keys of other members, and
 * random ones, get none of it, and then ours do. */
static void read_data (const char *endpoint)
{
    enum { OTHERS = 4, LOOK_MS = 1500 };
    curve_pair_t random;
    msg_t msg, welcome;
    void *pulls[OTHERS];
    unsigned wrong = 0, right = 0;
    sluice_error_t err = {0};
    curve_pair_random (&random, &err);
    const curve_pair_t *pairs[OTHERS] = {cluster_member_pair (cluster), &random,
                                         cluster_node_pair (cluster),
                                         cluster_master_pair (cluster)};
    hello ("kernel.so", "", "", true);
    next (&welcome);
    if (welcome.type != MSG_WELCOME || *welcome.welcome.lacks)
        die ("data", "no WELCOME");
    for (int i = 0; i < OTHERS; i++)
        pulls[i] = pull_as (pairs[i], endpoint, &welcome.welcome);
    for (bool offered = false; !offered;) {
        task_t task = {.task = 1, .attempt = 1, .first = 0, .stop = 10};
        next (&msg);
        if (msg.type == MSG_SLOTS)
            say (&(msg_t){.type = MSG_ASSIGN, .tasks = {.ntasks = 1, .tasks = &task}});
        offered = msg.type == MSG_OFFER;
        msg_clear (&msg);
    }
    say (&(msg_t){.type = MSG_CREDIT, .credit = {1, 1 << 30, 0}});
    for (int64_t end = clock_ms () + LOOK_MS; clock_ms () < end; usleep (100000)) {
        say (&(msg_t){.type = MSG_PING});
        for (int i = 0; i < OTHERS; i++)
            wrong += frames_at (pulls[i]);
    }
    void *ours = pull_as (&data_pair, endpoint, &welcome.welcome);
    for (int64_t end = clock_ms () + PATIENCE_MS; !right && clock_ms () < end;
         usleep (100000)) {
        say (&(msg_t){.type = MSG_PING});
        right += frames_at (ours);
    }
    print ("frames: %u to others, %s to us", wrong, right ? "some" : "none");
    say (&(msg_t){.type = MSG_BYE, .text = {.text = (char *) (uintptr_t) "over"}});
    for (int i = 0; i < OTHERS; i++)
        zmq_close (pulls[i]);
    zmq_close (ours);
    msg_clear (&welcome);
}

int main (int argc, char **argv)
{
    sluice_error_t err = {0};
    if (argc < 5)
        die ("usage", "rogue_master KEY SHARE ENDPOINT BEHAVIOUR [ARG]");
    cluster = cluster_new_from_file (argv[1], &err);
    share = cluster ? share_open (argv[2], &err) : NULL;
    if (!share || curve_pair_random (&data_pair, &err))
        die ("start", err.text);
    random_bytes (run, sizeof run);
    const char *endpoint = argv[3], *what = argv[4], *arg = argc > 5 ? argv[5] : "0";
    connect_to (endpoint);
    if (strcmp (what, "kernel") == 0) {
        hello (arg, "", "", true);
        welcomed ();
    } else if (strcmp (what, "hash") == 0) {
        hello ("kernel.so", "", "", false);
        welcomed ();
    } else if (strcmp (what, "file") == 0) {
        hello ("kernel.so", arg, "", true);
        welcomed ();
    } else if (strcmp (what, "inputs") == 0) {
        hello ("kernel.so", "", arg, true);
        welcomed ();
    } else if (strcmp (what, "nonsense") == 0) {
        nonsense_and_status (atoi (arg));
    } else if (strcmp (what, "flood") == 0) {
        flood (atoi (arg));
    } else if (strcmp (what, "knock") == 0) {
        knock (endpoint, atoi (arg));
    } else if (strcmp (what, "data") == 0) {
        read_data (endpoint);
    } else {
        break_rule (what);
    }
    zmq_close (socket_);
    zmq_ctx_term (context);
    return 0;
}
