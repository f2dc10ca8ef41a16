/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* A node in a child process, with workers that are none (fake_nursery.h), and
 * a master by hand here: message by message. Invariants I9 and I10: silence. */

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zmq.h>

#include "node/agent.h"
#include "node/session.h"
#include "proto/beacon.h"
#include "tests/unit/fake_nursery.h"

/* Of the address sanitizer, if there is one: the node ends without the usual check,
 * since what Criterion left in it would count. */
extern int __lsan_do_recoverable_leak_check (void) __attribute__ ((weak));

enum { SEGMENT = 4096, PATIENCE_MS = 5000 };

static char dir[] = "/tmp/sluice-test-agent-XXXXXX";
static sluice_error_t err;
static agent_options_t options;
static pid_t node;
static int lifetime = -1;
static void *context, *control, *pull;
static char endpoint[200], data_endpoint[200];
static cluster_t *cluster;
static curve_pair_t data_pair;
static const char name[] = "n1"; /* our name for the node */
static uint8_t run[RUN_BYTES] = {7};
static uint64_t token = 1000, arrived;
static msg_t last;          /* what expect () got */
static uint64_t tasks_told; /* by the last SLOTS */

/* ---- node and master ---------------------------------------------------- */

static void start_node (void)
{
    int ready[2], life[2];
    cr_assert_eq (pipe (ready), 0);
    cr_assert_eq (pipe (life), 0);
    node = fork ();
    if (node == 0) {
        close (ready[0]);
        close (life[1]);
        options.ready_fd = ready[1];
        options.lifetime_fd = life[0];
        options.quiet = true;
        sluice_error_t error = {0};
        int rc = agent_run (&options, &error);
        if (rc == -1)
            fprintf (stderr, "%s\n", error.text);
        fflush (NULL);
        if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check ())
            _exit (8);
        _exit (rc == 0 ? 0 : 9);
    }
    close (ready[1]);
    close (life[0]);
    lifetime = life[1];
    char text[7] = "";
    cr_assert_eq (read (ready[0], text, 6), 6, "the node did not start");
    cr_assert_str_eq (text, "ready\n");
    close (ready[0]);
}

static void *connect_control (const char *id, const curve_pair_t *as,
                              const uint8_t *server)
{
    int zero = 0;
    void *router = zmq_socket (context, ZMQ_ROUTER);
    zmq_setsockopt (router, ZMQ_LINGER, &zero, sizeof zero);
    if (as)
        cr_assert_eq (curve_connect_as (router, as, server, &err), 0);
    zmq_setsockopt (router, ZMQ_CONNECT_ROUTING_ID, id, strlen (id));
    cr_assert_eq (zmq_connect (router, endpoint), 0);
    return router;
}

static void *new_pull (void)
{
    int zero = 0, hwm = 4;
    void *socket = zmq_socket (context, ZMQ_PULL);
    zmq_setsockopt (socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt (socket, ZMQ_RCVHWM, &hwm, sizeof hwm);
    return socket;
}

static void begin_ipc (unsigned slots, uint64_t outbox)
{
    cr_assert_not_null (mkdtemp (dir));
    setenv ("SLUICE_SLOTS_DIR", dir, 1);
    snprintf (endpoint, sizeof endpoint, "ipc://%s/control", dir);
    options = (agent_options_t){.share = share_new_open (&err),
                                .endpoint = endpoint,
                                .slots = slots,
                                .outbox = outbox};
    start_node ();
    context = zmq_ctx_new ();
    control = connect_control (name, NULL, NULL);
    pull = new_pull ();
}

/* The node ends in order: as it does when its master has ended. */
static void finish (void)
{
    int status = -1;
    msg_clear (&last);
    close (lifetime);
    for (int i = 0; i < 10000 && waitpid (node, &status, WNOHANG) == 0; i++)
        usleep (1000);
    cr_assert (WIFEXITED (status) && WEXITSTATUS (status) == 0, "status %x", status);
    if (pull)
        zmq_close (pull);
    if (control)
        zmq_close (control);
    zmq_ctx_term (context);
    cluster_destroy (&cluster);
    share_destroy ((share_t **) &options.share);
    char command[200];
    snprintf (command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq (system (command), 0);
}

static void send_by (void *socket, const char *to, msg_t *msg)
{
    void *data;
    size_t n;
    cr_assert_eq (msg_encode (msg, &data, &n, &err), 0, "%s", err.text);
    for (int i = 0; i < PATIENCE_MS; i++, usleep (1000)) {
        /* a ROUTER takes nothing for a peer that is not connected yet */
        int mandatory = 1;
        zmq_setsockopt (socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
        if (zmq_send (socket, to, strlen (to), ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
            break;
    }
    zmq_send (socket, data, n, ZMQ_DONTWAIT);
    free (data);
}

static void say (msg_t *msg)
{
    memcpy (msg->run, run, RUN_BYTES);
    send_by (control, name, msg);
}

static bool readable (void *socket, int ms)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    return zmq_poll (&item, 1, ms) > 0;
}

static bool hear_by (void *socket, int ms)
{
    msg_clear (&last);
    if (!readable (socket, ms))
        return false;
    zmq_msg_t frame[2];
    zmq_msg_init (&frame[0]);
    zmq_msg_init (&frame[1]);
    zmq_msg_recv (&frame[0], socket, 0);
    cr_assert (zmq_msg_more (&frame[0]));
    zmq_msg_recv (&frame[1], socket, 0);
    cr_assert_not (zmq_msg_more (&frame[1]));
    int rc = msg_decode (zmq_msg_data (&frame[1]), zmq_msg_size (&frame[1]), &last, &err);
    zmq_msg_close (&frame[0]);
    zmq_msg_close (&frame[1]);
    cr_assert_eq (rc, 0, "%s", err.text);
    if (last.type == MSG_SLOTS)
        tasks_told = last.slots.tasks;
    return true;
}

/* The next message of this type, others are skipped. */
static void expect_by (void *socket, msg_type_t type)
{
    do
        cr_assert (hear_by (socket, PATIENCE_MS), "no %s came", msg_type_name (type));
    while (last.type != type);
}

static void expect (msg_type_t type)
{
    expect_by (control, type);
}

/* A HELLO with one table; texts are of this test. */
static msg_t hello (uint64_t seed)
{
    static table_t table = {.name = "t", .dtype = "<u8", .chunk_rows = 100};
    static sluice_params_t *params;
    if (!params)
        params = sluice_params_new ();
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.token = token,
                           .owner = "me@here",
                           .job = "a \"job\"",
                           .kernel = "builtin:fake",
                           .inputs = "",
                           .seed = seed,
                           .items = 100000,
                           .segment = SEGMENT,
                           .cores_per_task = 1,
                           .ntables = 1,
                           .tables = &table,
                           .params = params}};
    memcpy (msg.hello.data_key, data_pair.public_key, KEY_BYTES);
    return msg;
}

static void connect_data (void)
{
    snprintf (data_endpoint, sizeof data_endpoint, "%s", last.welcome.endpoint);
    if (cluster) {
        const char *port = strrchr (last.welcome.endpoint, ':');
        snprintf (data_endpoint, sizeof data_endpoint, "tcp://127.0.0.1%s", port);
        cr_assert_eq (curve_connect_as (pull, &data_pair, last.welcome.data_key, &err),
                      0);
    }
    cr_assert_eq (zmq_connect (pull, data_endpoint), 0);
}

static void meet (uint64_t seed)
{
    msg_t msg = hello (seed);
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert_str_empty (last.welcome.lacks);
    cr_assert_eq (last.welcome.token, token);
    connect_data ();
}

static void assign (uint64_t before, uint64_t task, uint64_t first)
{
    task_t one = {.task = task, .attempt = 1, .first = first, .stop = first + 2};
    say (&(msg_t){.type = MSG_ASSIGN,
                  .tasks = {.before = before, .ntasks = 1, .tasks = &one}});
}

static void credit (uint32_t epoch, uint64_t granted)
{
    say (&(msg_t){.type = MSG_CREDIT, .credit = {epoch, granted, arrived}});
}

/* Wait for an offer that reaches at least to byte `to`; where it ends. */
static uint64_t offered (uint64_t to)
{
    uint64_t end;
    do {
        expect (MSG_OFFER);
        end = last.offer.from;
        for (size_t i = 0; i < last.offer.nsizes; i++)
            end += last.offer.sizes[i];
    } while (end < to);
    return end;
}

static void receive_piece (piece_t *piece, int value)
{
    cr_assert (readable (pull, PATIENCE_MS), "no piece came");
    zmq_msg_t header, payload;
    zmq_msg_init (&header);
    zmq_msg_init (&payload);
    zmq_msg_recv (&header, pull, 0);
    cr_assert (zmq_msg_more (&header));
    zmq_msg_recv (&payload, pull, 0);
    size_t n = zmq_msg_size (&payload);
    cr_assert_eq (
        piece_decode (zmq_msg_data (&header), zmq_msg_size (&header), n, piece, &err), 0,
        "%s", err.text);
    cr_assert_eq (memcmp (piece->run, run, RUN_BYTES), 0);
    cr_assert_eq (piece->token, token);
    cr_assert_eq (piece->position, arrived);
    arrived += zmq_msg_size (&header) + n;
    for (size_t i = 0; i < n; i++)
        cr_assert_eq (((uint8_t *) zmq_msg_data (&payload))[i], value);
    zmq_msg_close (&header);
    zmq_msg_close (&payload);
}

/* ---- over ipc ----------------------------------------------------------- */

Test (agent, a_run_from_hello_to_bye)
{
    begin_ipc (2, 1 << 20);
    meet (1);
    cr_assert_eq (last.welcome.slots, 2);
    cr_assert_eq (last.welcome.epoch, 1);
    cr_assert_leq (last.welcome.outbox, 1 << 20);
    expect (MSG_SLOTS);
    cr_assert_eq (last.slots.tasks, 2);
    assign (0, 65, 10);
    uint64_t end = offered (1);
    cr_assert_eq (last.offer.from, 0);
    cr_assert_not (readable (pull, 200), "nothing comes without credit");
    credit (1, end);
    piece_t piece;
    receive_piece (&piece, 65);
    cr_assert (piece.kind == PIECE_DONE && piece.task == 65 && piece.attempt == 1);
    cr_assert (piece.first == 10 && piece.stop == 12 && piece.epoch == 1);
    cr_assert_eq (arrived, end);
    credit (1, end);
    say (&(msg_t){.type = MSG_PING, .ping = {.seq = 5, .assigned = 1}});
    do
        expect (MSG_PONG);
    while (last.ping.seq != 5);
    cr_assert_eq (last.ping.assigned, 1);
    cr_assert_eq (last.ping.running, 0);
    cr_assert_eq (last.ping.held, 0, "received, so forgotten");
    say (&(msg_t){.type = MSG_BYE, .text = {.text = "done"}});
    /* the run is gone, and what is said about it finds nobody */
    assign (1, 66, 10);
    say (&(msg_t){.type = MSG_CANCEL});
    expect (MSG_REPLY);
    cr_assert_str_eq (last.text.text, "this run is not here");
    finish ();
}

Test (agent, hello_again_repeats_the_welcome_and_another_token_starts_anew)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    msg_t again = hello (1);
    say (&again);
    expect (MSG_WELCOME);
    cr_assert_eq (last.welcome.token, token);
    cr_assert_str_eq (last.welcome.endpoint, data_endpoint);
    assign (0, 65, 10);
    offered (1);
    token++;
    again = hello (1);
    say (&again);
    expect (MSG_WELCOME);
    cr_assert_eq (last.welcome.token, token);
    cr_assert_str_neq (last.welcome.endpoint, data_endpoint);
    cr_assert_eq (zmq_disconnect (pull, data_endpoint), 0);
    connect_data ();
    expect (MSG_SLOTS);
    cr_assert_eq (last.slots.tasks, 1, "counters begin anew");
    assign (0, 80, 20);
    uint64_t end = offered (1);
    cr_assert_eq (last.offer.from, 0);
    credit (1, end);
    piece_t piece;
    receive_piece (&piece, 80);
    finish ();
}

Test (agent, what_it_lacks_is_said)
{
    begin_ipc (1, 1 << 20);
    msg_t msg = hello (13);
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert_str_eq (last.welcome.lacks, "cannot load kernel: bad luck");
    msg = hello (1);
    msg.hello.cores_per_task = 2;
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert (strstr (last.welcome.lacks, "2 cores"), "%s", last.welcome.lacks);
    msg = hello (1);
    msg.hello.segment = 1 << 20;
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert (strstr (last.welcome.lacks, "--outbox"), "%s", last.welcome.lacks);
    msg = hello (1);
    memset (msg.hello.data_key, 1, KEY_BYTES);
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert (strstr (last.welcome.lacks, "no key"), "%s", last.welcome.lacks);
    msg = hello (1); /* and then it works */
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert_str_empty (last.welcome.lacks);
    finish ();
}

Test (agent, fewer_workers_when_the_outbox_is_small)
{
    begin_ipc (4, 5 * SEGMENT);
    meet (1);
    cr_assert_eq (last.welcome.slots, 2, "each has room for two pieces");
    cr_assert_eq (last.welcome.outbox, 4 * SEGMENT);
    finish ();
}

Test (agent, a_large_result_passes_through_a_small_outbox)
{
    begin_ipc (1, 2 * SEGMENT);
    meet (1);
    assign (0, 9, 1020);
    piece_t piece = {0};
    uint64_t most = 0;
    for (int i = 0; i < 21; i++) {
        uint64_t end = offered (arrived + 1);
        most = end - arrived > most ? end - arrived : most;
        credit (1, end);
        while (arrived < end) {
            receive_piece (&piece, 9);
            i++;
        }
        i--;
        credit (1, end);
    }
    cr_assert_eq (piece.kind, PIECE_DONE);
    cr_assert_gt (arrived, 20 * SEGMENT);
    cr_assert_leq (most, 2 * (SEGMENT + 200), "never more than the outbox has room for");
    finish ();
}

Test (agent, resync_brings_everything_after_the_last_byte_received)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    assign (0, 9, 1004);
    uint64_t end = offered (4 * SEGMENT);
    credit (1, end);
    piece_t piece;
    receive_piece (&piece, 9);
    receive_piece (&piece, 9);
    zmq_close (pull); /* three pieces are lost with it */
    pull = new_pull ();
    say (&(msg_t){.type = MSG_RESYNC, .credit = {2, 0, arrived}});
    expect (MSG_WELCOME);
    cr_assert_eq (last.welcome.epoch, 2);
    cr_assert_str_neq (last.welcome.endpoint, data_endpoint);
    connect_data ();
    expect (MSG_OFFER);
    cr_assert (last.offer.epoch == 2 && last.offer.from == arrived);
    for (int i = 2; i < 5; i++) {
        receive_piece (&piece, 9);
        cr_assert_eq (piece.epoch, 2);
    }
    cr_assert_eq (piece.kind, PIECE_DONE);
    cr_assert_eq (arrived, end);
    say (&(msg_t){.type = MSG_RESYNC, .credit = {2, 0, 0}});
    expect (MSG_WELCOME); /* the same again: only an answer */
    cr_assert_eq (last.welcome.epoch, 2);
    finish ();
}

Test (agent, revoked_pieces_become_empty_and_the_worker_goes_on)
{
    begin_ipc (2, 1 << 20);
    meet (1);
    assign (0, 9, 1003);
    uint64_t end = offered (3 * SEGMENT + 1);
    assign (1, 10, 2000);
    say (&(msg_t){.type = MSG_PING, .ping = {.seq = 3, .assigned = 2}});
    do
        expect (MSG_PONG);
    while (last.ping.seq != 3);
    cr_assert_eq (last.ping.running, 1);
    task_t dead[2] = {{.task = 9, .attempt = 1}, {.task = 10, .attempt = 1}};
    say (&(msg_t){.type = MSG_REVOKE, .tasks = {.ntasks = 2, .tasks = dead}});
    credit (1, end);
    piece_t piece;
    while (arrived < end) {
        receive_piece (&piece, 0);
        cr_assert_eq (piece.kind, PIECE_EMPTY);
    }
    credit (1, end);
    for (uint64_t task = 11; task <= 12; task++) {
        while (tasks_told < task - 8) /* unused credit may have to do for a while */
            cr_assert (hear_by (control, PATIENCE_MS));
        assign (task - 9, task, task == 11 ? 2000 : 5);
    }
    end = offered (arrived + 1);
    credit (1, end);
    receive_piece (&piece, 12);
    say (&(msg_t){.type = MSG_REVOKE, .tasks = {.all = true}});
    do {
        say (&(msg_t){.type = MSG_PING, .ping = {.seq = 4, .assigned = 4}});
        expect (MSG_PONG);
    } while (last.ping.running > 0);
    finish ();
}

Test (agent, shed_ends_a_task_early)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    task_t task = {.task = 10, .attempt = 1, .first = 2000, .stop = 2100};
    say (&(msg_t){.type = MSG_ASSIGN, .tasks = {.ntasks = 1, .tasks = &task}});
    say (&(msg_t){.type = MSG_SHED, .tasks = {.ntasks = 1, .tasks = &task}});
    uint64_t end = offered (1);
    credit (1, end);
    piece_t piece;
    receive_piece (&piece, 10);
    cr_assert (piece.first == 2000 && piece.stop == 2001);
    finish ();
}

Test (agent, a_failure_is_told_and_the_worker_goes_on)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    assign (0, 9, 3000);
    expect (MSG_FAILED);
    cr_assert (last.failed.task == 9 && last.failed.attempt == 1 &&
               last.failed.sig == 11);
    cr_assert_eq (last.failed.item, 3000);
    cr_assert_str_eq (last.failed.reason, "killed by signal 11 (SIGSEGV)");
    cr_assert_str_eq (last.failed.stderr_tail, "ouch?\n");
    expect (MSG_SLOTS);
    cr_assert_geq (last.slots.tasks, 2);
    assign (1, 10, 0);
    offered (1);
    finish ();
}

Test (agent, a_run_whose_zygote_dies_ends)
{
    begin_ipc (1, 1 << 20);
    meet (14);
    assign (0, 9, 0);
    expect (MSG_BYE);
    cr_assert_str_eq (last.text.text, "the zygote died");
    finish ();
}

Test (agent, lost_assignments_end_the_run)
{
    begin_ipc (2, 1 << 20);
    meet (1);
    expect (MSG_SLOTS);
    assign (1, 9, 0);
    expect (MSG_BYE);
    cr_assert (strstr (last.text.text, "lost assignments"));
    meet (1);
    say (&(msg_t){.type = MSG_PING, .ping = {.seq = 1, .assigned = 1}});
    expect (MSG_BYE);
    cr_assert (strstr (last.text.text, "lost assignments"));
    finish ();
}

Test (agent, two_masters_share_the_slots)
{
    begin_ipc (4, 1 << 20);
    meet (1);
    expect (MSG_SLOTS);
    for (uint64_t i = 0; i < 4; i++)
        assign (i, i, 4000);
    uint8_t first[RUN_BYTES];
    memcpy (first, run, RUN_BYTES);
    void *control2 = connect_control (name, NULL, NULL);
    msg_t msg = hello (1);
    msg.run[0] = 8;
    send_by (control2, name, &msg);
    expect_by (control2, MSG_WELCOME);
    uint64_t mine = 4, theirs = 0, my_credit = 4, their_credit = 0, at_once = 0;
    int64_t until = fake_now () + 3000;
    while (fake_now () < until) {
        while (hear_by (control, 0)) {
            if (last.type == MSG_SLOTS)
                my_credit = last.slots.tasks;
            if (last.type == MSG_OFFER)
                credit (1, last.offer.from + 1000000);
        }
        while (hear_by (control2, 5))
            if (last.type == MSG_SLOTS)
                their_credit = last.slots.tasks;
        for (; mine < my_credit; mine++)
            assign (mine, mine, 4000);
        for (; theirs < their_credit; theirs++) {
            task_t task = {.task = theirs, .attempt = 1, .first = 2000, .stop = 2001};
            msg = (msg_t){.type = MSG_ASSIGN,
                          .tasks = {.before = theirs, .ntasks = 1, .tasks = &task}};
            msg.run[0] = 8;
            send_by (control2, name, &msg);
            at_once = theirs + 1;
        }
        arrived = 0;
        /* our results are read, so that we go on */
        while (readable (pull, 0)) {
            zmq_msg_t frame;
            zmq_msg_init (&frame);
            zmq_msg_recv (&frame, pull, 0);
            zmq_msg_close (&frame);
        }
    }
    cr_assert_eq (at_once, 2, "half of them, for tasks that do not end: %d",
                  (int) at_once);
    cr_assert_gt (mine, 10, "and the other half goes on: %d", (int) mine);
    zmq_close (control2);
    finish ();
}

Test (agent, status_and_cancel)
{
    begin_ipc (2, 1 << 20);
    meet (1);
    assign (0, 9, 2000);
    send_by (control, name, &(msg_t){.type = MSG_STATUS, .text = {.text = ""}});
    expect (MSG_REPLY);
    cr_assert (strstr (last.text.text, "\"slots\": 2"), "%s", last.text.text);
    cr_assert (
        strstr (last.text.text, "\"owner\": \"me@here\", \"job\": \"a \\\"job\\\"\""),
        "%s", last.text.text);
    cr_assert (strstr (last.text.text, "\"run\": \"07000000000000000000000000000000\""));
    say (&(msg_t){.type = MSG_CANCEL, .tasks = {.all = true}});
    expect (MSG_BYE);
    expect (MSG_REPLY);
    send_by (control, name, &(msg_t){.type = MSG_STATUS, .text = {.text = ""}});
    expect (MSG_REPLY);
    cr_assert (strstr (last.text.text, "\"runs\": []"), "%s", last.text.text);
    /* its master, if it lives after all, cannot begin it again here */
    msg_t again = hello (9);
    say (&again);
    expect (MSG_WELCOME);
    cr_assert_str_eq (last.welcome.lacks, "the run was cancelled");
    finish ();
}

Test (agent, nonsense_is_dropped)
{
    begin_ipc (1, 1 << 20);
    const char *junk[] = {"", "hello", "\xdd\x06\0\0\0", "\x93\x01\x01\xc4"};
    send_by (control, name, &(msg_t){.type = MSG_PING, .ping = {.seq = 1}});
    expect (MSG_PONG);
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
        zmq_send (control, name, strlen (name), ZMQ_SNDMORE);
        zmq_send (control, junk[i], i == 2 ? 5 : strlen (junk[i]), 0);
    }
    zmq_send (control, name, strlen (name), ZMQ_SNDMORE);
    zmq_send (control, "a", 1, ZMQ_SNDMORE);
    zmq_send (control, "b", 1, 0);
    say (&(msg_t){.type = MSG_OFFER, .offer = {.epoch = 1}});
    assign (0, 1, 1);
    say (&(msg_t){.type = MSG_PING, .ping = {.seq = 2}});
    expect (MSG_BYE); /* the run is not known here */
    send_by (control, name, &(msg_t){.type = MSG_STATUS, .text = {.text = ""}});
    expect (MSG_REPLY);
    cr_assert (strstr (last.text.text, "\"malformed\": 5"), "%s", last.text.text);
    meet (1);
    finish ();
}

Test (agent, a_second_link_of_a_run_is_refused_while_the_first_is_alive)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    uint64_t first_token = token;
    void *second = connect_control (name, NULL, NULL);
    token = 2000;
    msg_t msg = hello (1);
    memcpy (msg.run, run, RUN_BYTES);
    send_by (second, name, &msg);
    token = first_token;
    usleep (100000);
    say (&(msg_t){.type = MSG_PING, .ping = {.seq = 1}});
    expect_by (second, MSG_WELCOME);
    cr_assert_eq (last.welcome.token, 2000);
    cr_assert (strstr (last.welcome.lacks, "under another address"));
    /* its heartbeats do not draw the run over */
    msg = (msg_t){.type = MSG_PING, .ping = {.seq = 9}};
    memcpy (msg.run, run, RUN_BYTES);
    send_by (second, name, &msg);
    expect_by (second, MSG_PONG);
    msg = (msg_t){.type = MSG_BYE, .text = {.text = "linked already"}};
    memcpy (msg.run, run, RUN_BYTES);
    send_by (second, name, &msg);
    assign (0, 9, 0);
    offered (1);
    zmq_close (second);
    finish ();
}

Test (agent, a_second_link_takes_over_from_a_silent_first)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    void *second = connect_control (name, NULL, NULL);
    token = 2000;
    msg_t msg = hello (1);
    memcpy (msg.run, run, RUN_BYTES);
    send_by (second, name, &msg);
    expect_by (second, MSG_WELCOME);
    cr_assert_eq (last.welcome.token, 2000);
    cr_assert_str_empty (last.welcome.lacks);
    zmq_close (second);
    finish ();
}

Test (agent, a_silent_master_is_asked_and_then_forgotten, .timeout = 40)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    assign (0, 9, 2000);
    int64_t begun = fake_now ();
    expect (MSG_PING);
    cr_assert_geq (fake_now () - begun, PING_MS - 200);
    do
        cr_assert (hear_by (control, SILENCE_MS + 2000));
    while (last.type != MSG_BYE);
    cr_assert_geq (fake_now () - begun, SILENCE_MS - 200);
    cr_assert_leq (fake_now () - begun, SILENCE_MS + 1500);
    send_by (control, name, &(msg_t){.type = MSG_STATUS, .text = {.text = ""}});
    expect (MSG_REPLY);
    cr_assert (strstr (last.text.text, "\"runs\": []"), "%s", last.text.text);
    finish ();
}

Test (agent, a_node_that_was_stopped_forgets_its_runs, .timeout = 40)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    assign (0, 9, 0);
    uint64_t end = offered (1);
    kill (node, SIGSTOP);
    credit (1, end); /* it would push now */
    for (int i = 0; i < 11; i++) {
        sleep (1);
        say (&(msg_t){.type = MSG_PING, .ping = {.seq = 100, .assigned = 1}});
    }
    kill (node, SIGCONT);
    expect (MSG_BYE);
    cr_assert_not (readable (pull, 300), "nothing of the past leaves it");
    finish ();
}

Test (agent, ends_on_a_signal)
{
    begin_ipc (1, 1 << 20);
    meet (1);
    kill (node, SIGTERM);
    expect (MSG_BYE);
    finish ();
}

/* ---- over tcp, with keys ------------------------------------------------ */

static void begin_tcp (void)
{
    uint8_t key[KEY_BYTES];
    cr_assert_not_null (mkdtemp (dir));
    setenv ("SLUICE_SLOTS_DIR", dir, 1);
    cr_assert_eq (share_create (dir, &err), 0, "%s", err.text);
    random_bytes (key, sizeof key);
    cluster = cluster_new (key, &err);
    share_t *share = share_open (dir, &err);
    cr_assert_not_null (share, "%s", err.text);
    options = (agent_options_t){.share = share,
                                .cluster = cluster,
                                .slots = 1,
                                .outbox = 1 << 20,
                                .port_from = 41000 + (unsigned) getpid () % 10000,
                                .port_to = 52000};
    /* what is no record must not hold it up */
    char command[300];
    snprintf (command, sizeof command, "%s/.sluice/nodes/pipe", dir);
    cr_assert_eq (mkfifo (command, 0600), 0);
    start_node ();
    context = zmq_ctx_new ();
    /* as masters do: by the record on the share */
    beacon_t record = {0};
    for (int i = 0; i < PATIENCE_MS && record.port == 0; i++, usleep (1000)) {
        snprintf (command, sizeof command, "find %s/.sluice/nodes -type f -exec cat {} +",
                  dir);
        FILE *file = popen (command, "r");
        uint8_t data[BEACON_MAX];
        size_t n = fread (data, 1, sizeof data, file);
        pclose (file);
        if (n > 0)
            beacon_decode (data, n, cluster, share_id (share), &record);
    }
    cr_assert_geq (record.port, options.port_from);
    cr_assert_eq (record.slots, 1);
    snprintf (endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", record.port);
}

static msg_t share_hello (void)
{
    msg_t msg = hello (1);
    memcpy (msg.hello.share, share_id (options.share), SHARE_ID_BYTES);
    return msg;
}

Test (agent, members_only)
{
    begin_tcp ();
    const uint8_t *server = cluster_node_pair (cluster)->public_key;
    curve_pair_t stranger;
    cr_assert_eq (curve_pair_random (&stranger, &err), 0);
    cr_assert_eq (curve_pair_random (&data_pair, &err), 0);
    /* a wrong key, no key, and a member */
    void *wrong = connect_control (name, &stranger, server);
    void *open = connect_control (name, NULL, NULL);
    control = connect_control (name, cluster_member_pair (cluster), server);
    pull = new_pull ();
    msg_t msg = share_hello ();
    zmq_send (wrong, name, strlen (name), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (wrong, "x", 1, ZMQ_DONTWAIT);
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert_str_empty (last.welcome.lacks);
    cr_assert_eq (strncmp (last.welcome.endpoint, "tcp://*:", 8), 0);
    cr_assert_geq (atoi (last.welcome.endpoint + 8), (int) options.port_from);
    static const uint8_t zeros[KEY_BYTES];
    cr_assert (memcmp (last.welcome.data_key, zeros, KEY_BYTES) != 0);
    uint8_t data_key[KEY_BYTES];
    memcpy (data_key, last.welcome.data_key, KEY_BYTES);
    assign (0, 65, 10);
    credit (1, offered (1));
    /* a member that is not this run's master gets nothing, nor does a stranger */
    snprintf (data_endpoint, sizeof data_endpoint, "tcp://127.0.0.1:%s",
              strrchr (endpoint, ':') + 1);
    void *thief = new_pull (), *burglar = new_pull ();
    char *colon = strrchr (data_endpoint, ':');
    send_by (control, name, &(msg_t){.type = MSG_STATUS, .text = {.text = ""}});
    msg = share_hello ();
    say (&msg);
    expect (MSG_WELCOME);
    snprintf (colon, 20, "%s", strrchr (last.welcome.endpoint, ':'));
    cr_assert_eq (curve_connect_as (thief, cluster_member_pair (cluster), data_key, &err),
                  0);
    zmq_connect (thief, data_endpoint);
    zmq_connect (burglar, data_endpoint);
    cr_assert_not (readable (thief, 300));
    cr_assert_not (readable (burglar, 300));
    cr_assert_not (readable (wrong, 0));
    cr_assert_not (readable (open, 0));
    connect_data ();
    piece_t piece;
    receive_piece (&piece, 65);
    send_by (control, name, &(msg_t){.type = MSG_STATUS, .text = {.text = ""}});
    expect (MSG_REPLY);
    cr_assert_null (strstr (last.text.text, "\"refused\": 0"), "%s", last.text.text);
    zmq_close (thief);
    zmq_close (burglar);
    zmq_close (wrong);
    zmq_close (open);
    finish ();
}

Test (agent, another_share_and_open_results_are_refused)
{
    begin_tcp ();
    cr_assert_eq (curve_pair_random (&data_pair, &err), 0);
    control = connect_control (name, cluster_member_pair (cluster),
                               cluster_node_pair (cluster)->public_key);
    msg_t msg = share_hello ();
    msg.hello.share[3] ^= 1;
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert (strstr (last.welcome.lacks, "another share"), "%s", last.welcome.lacks);
    msg = share_hello ();
    memset (msg.hello.data_key, 0, KEY_BYTES);
    say (&msg);
    expect (MSG_WELCOME);
    cr_assert (strstr (last.welcome.lacks, "encrypted"), "%s", last.welcome.lacks);
    finish ();
}

Test (agent, the_record_goes_with_the_node)
{
    begin_tcp ();
    kill (node, SIGINT);
    int status;
    waitpid (node, &status, 0);
    cr_assert (WIFEXITED (status) && WEXITSTATUS (status) == 0, "status %x", status);
    char command[200];
    snprintf (command, sizeof command, "test -z \"$(find %s/.sluice/nodes -type f)\"",
              dir);
    cr_assert_eq (system (command), 0);
    zmq_ctx_term (context);
    cluster_destroy (&cluster);
    snprintf (command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq (system (command), 0);
}

Test (agent, wrong_options)
{
    options = (agent_options_t){.share = share_new_open (&err),
                                .endpoint = "tcp://*:*",
                                .lifetime_fd = -1,
                                .ready_fd = -1,
                                .quiet = true};
    cr_assert_eq (agent_run (&options, &err), -1);
    cr_assert_eq (err.code, SLUICE_EINPUT);
    options.endpoint = "ipc:///no/such/folder/x";
    cr_assert_eq (agent_run (&options, &err), -1);
    cr_assert (strstr (err.text, "/no/such/folder"), "%s", err.text);
    share_destroy ((share_t **) &options.share);
}
