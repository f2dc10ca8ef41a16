/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I7. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "proto/zap.h"

/* One context as a process has it, a server of two domains, and clients. */
static void *context, *clients;
static zap_t *zap;
static curve_pair_t server_pair, right, wrong;
static sluice_error_t err;

static void start (void)
{
    context = zmq_ctx_new ();
    clients = zmq_ctx_new ();
    zap = zap_new (context, &err);
    cr_assert (zap, "%s", err.text);
    curve_pair_random (&server_pair, &err);
    curve_pair_random (&right, &err);
    curve_pair_random (&wrong, &err);
}

static void stop (void)
{
    zap_destroy (&zap);
    zmq_ctx_term (clients);
    zmq_ctx_term (context);
}

TestSuite (zap, .init = start, .fini = stop);

static void *make (void *in, int type)
{
    int linger = 0;
    void *socket = zmq_socket (in, type);
    cr_assert (socket);
    zmq_setsockopt (socket, ZMQ_LINGER, &linger, sizeof linger);
    return socket;
}

/* A PULL on a free port that serves `domain`; NULL domain: without CURVE. */
static void *serve (const char *domain, char endpoint[100])
{
    void *socket = make (context, ZMQ_PULL);
    if (domain)
        cr_assert_eq (curve_serve (socket, &server_pair, domain, &err), 0, "%s",
                      err.text);
    else
        zmq_setsockopt (socket, ZMQ_ZAP_DOMAIN, "plain", 5);
    cr_assert_eq (zmq_bind (socket, "tcp://127.0.0.1:*"), 0);
    size_t n = 100;
    zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, endpoint, &n);
    return socket;
}

static void *join (const char *endpoint, const curve_pair_t *as,
                   const uint8_t *server_key)
{
    void *socket = make (clients, ZMQ_PUSH);
    int wait = 20; /* so that a refused one tries again at once */
    zmq_setsockopt (socket, ZMQ_RECONNECT_IVL, &wait, sizeof wait);
    if (as)
        cr_assert_eq (curve_connect_as (socket, as, server_key, &err), 0, "%s", err.text);
    cr_assert_eq (zmq_connect (socket, endpoint), 0);
    return socket;
}

/* Answer handshakes until `server` has a message, or for `ms`. */
static bool gets_message (void *server, long ms)
{
    struct timespec start_time, now;
    clock_gettime (CLOCK_MONOTONIC, &start_time);
    for (;;) {
        zmq_pollitem_t items[] = {{zap_socket (zap), 0, ZMQ_POLLIN, 0},
                                  {server, 0, ZMQ_POLLIN, 0}};
        zmq_poll (items, 2, 20);
        if (items[0].revents)
            zap_answer (zap);
        char byte;
        if (items[1].revents && zmq_recv (server, &byte, 1, ZMQ_DONTWAIT) == 1)
            return true;
        clock_gettime (CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - start_time.tv_sec) * 1000 +
                (now.tv_nsec - start_time.tv_nsec) / 1000000 >
            ms)
            return false;
    }
}

static bool is_admitted (const char *domain, const curve_pair_t *as,
                         const uint8_t *server_key, long ms)
{
    char endpoint[100];
    void *server = serve (domain, endpoint);
    void *client = join (endpoint, as, server_key);
    zmq_send (client, "x", 1, ZMQ_DONTWAIT);
    bool got = gets_message (server, ms);
    zmq_close (client);
    zmq_close (server);
    return got;
}

enum { SOON = 10000, NEVER = 600 };

Test (zap, the_right_key_is_admitted)
{
    cr_assert_eq (zap_allow (zap, "run 1", right.public_key, &err), 0);
    cr_expect (is_admitted ("run 1", &right, server_pair.public_key, SOON));
    cr_expect_eq (zap_refused (zap), 0);
}

Test (zap, a_wrong_key_is_refused_and_counted)
{
    zap_allow (zap, "run 1", right.public_key, &err);
    cr_expect_not (is_admitted ("run 1", &wrong, server_pair.public_key, NEVER));
    cr_expect_geq (zap_refused (zap), 1);
}

Test (zap, a_key_of_another_domain_is_refused)
{
    zap_allow (zap, "run 1", right.public_key, &err);
    zap_allow (zap, "run 2", wrong.public_key, &err);
    cr_expect_not (is_admitted ("run 2", &right, server_pair.public_key, NEVER));
    cr_expect (is_admitted ("run 2", &wrong, server_pair.public_key, SOON));
    cr_expect_geq (zap_refused (zap), 1);
}

Test (zap, nobody_is_admitted_where_nothing_was_said)
{
    cr_expect_not (is_admitted ("run 1", &right, server_pair.public_key, NEVER));
    zap_allow (zap, "run 1", right.public_key, &err);
    zap_allow (zap, "run 1", NULL, &err);
    zap_allow (zap, "run 7", NULL, &err); /* never was */
    cr_expect_not (is_admitted ("run 1", &right, server_pair.public_key, NEVER));
    zap_allow (zap, "run 1", wrong.public_key, &err);
    zap_allow (zap, "run 1", right.public_key, &err); /* replaces */
    cr_expect_not (is_admitted ("run 1", &wrong, server_pair.public_key, NEVER));
    cr_expect (is_admitted ("run 1", &right, server_pair.public_key, SOON));
}

Test (zap, a_client_without_curve_is_refused)
{
    zap_allow (zap, "run 1", right.public_key, &err);
    cr_expect_not (is_admitted ("run 1", NULL, NULL, NEVER));
    /* A socket without CURVE whose domain asks all the same: refused, counted. */
    uint64_t before = zap_refused (zap);
    zap_allow (zap, "plain", right.public_key, &err);
    cr_expect_not (is_admitted (NULL, NULL, NULL, NEVER));
    cr_expect_gt (zap_refused (zap), before);
}

Test (zap, a_client_with_the_wrong_server_key_gets_nothing)
{
    zap_allow (zap, "run 1", right.public_key, &err);
    cr_expect_not (is_admitted ("run 1", &right, wrong.public_key, NEVER));
}

Test (zap, many_domains)
{
    char name[20];
    for (int i = 0; i < 100; i++) {
        snprintf (name, sizeof name, "run %d", i);
        cr_assert_eq (
            zap_allow (zap, name, i == 42 ? right.public_key : wrong.public_key, &err),
            0);
    }
    for (int i = 0; i < 100; i += 2) {
        snprintf (name, sizeof name, "run %d", i);
        if (i != 42)
            zap_allow (zap, name, NULL, &err);
    }
    cr_expect (is_admitted ("run 42", &right, server_pair.public_key, SOON));
}

/* Requests that libzmq would not send: answered with 400 or dropped, no crash. */
Test (zap, malformed_requests)
{
    void *asker = make (context, ZMQ_DEALER);
    cr_assert_eq (zmq_connect (asker, "inproc://zeromq.zap.01"), 0);
    zap_allow (zap, "d", right.public_key, &err);
    for (int frames = 1; frames < 40; frames++) {
        for (int i = 0; i < frames; i++)
            zmq_send (asker, i == 0 ? "" : "1.0", i == 0 ? 0 : 3,
                      i + 1 < frames ? ZMQ_SNDMORE : 0);
        zap_answer (zap);
    }
    cr_expect_eq (zap_refused (zap), 39);
    zmq_close (asker);
}

Test (zap, only_one_handler_in_a_context)
{
    cr_expect_null (zap_new (context, &err));
    cr_expect (err.text[0]);
}

/* ---- passwords ------------------------------------------------------------ */

/* Is a client that says this password admitted in domain "data", at this address? */
static bool knows_password (const char *host, const uint8_t *password, int ms)
{
    char endpoint[100], at[100];
    size_t n = sizeof endpoint;
    void *server = make (context, ZMQ_PULL), *client = make (clients, ZMQ_PUSH);
    cr_assert_eq (password_serve (server, "data", &err), 0, "%s", err.text);
    cr_assert_eq (zmq_bind (server, "tcp://0.0.0.0:*"), 0);
    zmq_getsockopt (server, ZMQ_LAST_ENDPOINT, endpoint, &n);
    if (password)
        cr_assert_eq (password_connect_as (client, password, &err), 0, "%s", err.text);
    snprintf (at, sizeof at, "tcp://%s:0;%s:%s", host, host, strrchr (endpoint, ':') + 1);
    cr_assert_eq (zmq_connect (client, at), 0, "%s", at);
    zmq_send (client, "x", 1, ZMQ_DONTWAIT);
    bool got = gets_message (server, ms);
    zmq_close (client);
    zmq_close (server);
    return got;
}

Test (zap, the_password_is_asked_for)
{
    static const uint8_t password[KEY_BYTES] = {0, 1, 2}, other[KEY_BYTES] = {0, 1, 3};
    cr_expect_not (knows_password ("127.0.0.1", password, NEVER));
    cr_assert_eq (zap_allow_password (zap, "data", password, &err), 0);
    cr_expect_not (knows_password ("127.0.0.1", other, NEVER));
    cr_expect_not (knows_password ("127.0.0.1", NULL, NEVER));
    uint64_t refused = zap_refused (zap);
    cr_expect_geq (refused, 2);
    cr_expect (knows_password ("127.0.0.1", password, SOON));
    cr_expect_eq (zap_refused (zap), refused);
}

Test (zap, an_overheard_password_is_of_no_use_elsewhere)
{
    static const uint8_t password[KEY_BYTES] = {0, 1, 2};
    cr_assert_eq (zap_allow_password (zap, "data", password, &err), 0);
    cr_expect (knows_password ("127.0.0.1", password, SOON));
    cr_expect_not (knows_password ("127.0.0.2", password, NEVER));
    cr_expect (knows_password ("127.0.0.1", password, SOON), "who was first may again");
    cr_assert_eq (zap_allow_password (zap, "data", password, &err), 0);
    cr_expect (knows_password ("127.0.0.2", password, SOON), "a new run");
}
