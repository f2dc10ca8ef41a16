/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I7 (members only): connections without a handshake are counted, are never
 * many, and keep no member out. */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "proto/clock.h"
#include "proto/guard.h"
#include "proto/key.h"
#include "proto/zap.h"

enum { PATIENCE_MS = 60000, MANY = 300 };

static void *context, *clients, *router;
static zap_t *zap;
static guard_t *guard;
static curve_pair_t server, member;
static char endpoint[100];
static sluice_error_t err;

static void start (void)
{
    size_t n = sizeof endpoint;
    context = zmq_ctx_new ();
    clients = zmq_ctx_new ();
    zap = zap_new (context, &err);
    cr_assert (zap, "%s", err.text);
    curve_pair_random (&server, &err);
    curve_pair_random (&member, &err);
    router = zmq_socket (context, ZMQ_ROUTER);
    guard = guard_new (context, router, &err);
    cr_assert (guard, "%s", err.text);
    cr_assert_eq (zap_allow (zap, "here", member.public_key, &err), 0);
    cr_assert_eq (curve_serve (router, &server, "here", &err), 0);
    cr_assert_eq (zmq_bind (router, "tcp://127.0.0.1:*"), 0);
    zmq_getsockopt (router, ZMQ_LAST_ENDPOINT, endpoint, &n);
}

static void stop (void)
{
    guard_destroy (&guard);
    cr_assert_null (guard);
    zmq_close (router);
    zap_destroy (&zap);
    zmq_ctx_term (clients);
    zmq_ctx_term (context);
}

TestSuite (guard, .init = start, .fini = stop, .timeout = 150);

static void turn (void)
{
    zmq_pollitem_t items[] = {{guard_socket (guard), 0, ZMQ_POLLIN, 0},
                              {zap_socket (zap), 0, ZMQ_POLLIN, 0}};
    zmq_poll (items, 2, 10);
    zap_answer (zap);
    guard_turn (guard, clock_ms ());
}

static void wait_for_strangers (uint64_t n)
{
    int64_t end = clock_ms () + PATIENCE_MS;
    while (guard_strangers (guard) < n && clock_ms () < end)
        turn ();
    cr_assert_eq (guard_strangers (guard), n, "%d", (int) guard_strangers (guard));
}

static int knock (const void *data, size_t n)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl (INADDR_LOOPBACK)};
    at.sin_port = htons ((uint16_t) atoi (strrchr (endpoint, ':') + 1));
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq (connect (fd, (struct sockaddr *) &at, sizeof at), 0);
    if (n)
        cr_assert_eq (send (fd, data, n, MSG_NOSIGNAL), (ssize_t) n);
    return fd;
}

/* A member's message comes through. */
static void *enter (const char *text)
{
    int linger = 0, got = -1;
    void *socket = zmq_socket (clients, ZMQ_DEALER);
    zmq_setsockopt (socket, ZMQ_LINGER, &linger, sizeof linger);
    cr_assert_eq (curve_connect_as (socket, &member, server.public_key, &err), 0);
    cr_assert_eq (zmq_connect (socket, endpoint), 0);
    zmq_send (socket, text, strlen (text), 0);
    for (int64_t end = clock_ms () + PATIENCE_MS; got < 0 && clock_ms () < end;) {
        char route[256];
        turn ();
        got = zmq_recv (router, route, sizeof route, ZMQ_DONTWAIT);
    }
    char body[100] = "";
    cr_assert_geq (zmq_recv (router, body, sizeof body, ZMQ_DONTWAIT), 0);
    cr_assert_str_eq (body, text);
    return socket;
}

Test (guard, a_member_is_no_stranger)
{
    void *socket = enter ("good day");
    cr_assert_eq (guard_strangers (guard), 0);
    zmq_close (socket);
}

Test (guard, whoever_goes_before_the_handshake_is_counted)
{
    static const char plain[64] = "\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL";
    static const char web[] = "GET / HTTP/1.1\r\n\r\n";
    void *socket = enter ("good day");
    close (knock ("", 0));
    wait_for_strangers (1);
    int a = knock (web, sizeof web - 1);
    wait_for_strangers (2);
    int b = knock (plain, sizeof plain);
    wait_for_strangers (3);
    close (a);
    close (b);
    zmq_close (socket);
}

/* Those that wait are ended when there are many of them; a member gets in all the
 * same, and one who was in stays. */
Test (guard, connections_that_wait_are_few)
{
    static int fds[MANY];
    void *first = enter ("before");
    for (int i = 0; i < MANY; i++) {
        fds[i] = knock ("", 0);
        if (i % 10 == 0)
            turn ();
    }
    wait_for_strangers (MANY - GUARD_OF_ONE);
    void *second = enter ("meanwhile");
    int open = 0;
    char greeting[64];
    for (int i = 0; i < MANY; i++) {
        ssize_t n;
        while ((n = recv (fds[i], greeting, sizeof greeting, MSG_DONTWAIT)) > 0)
            ;
        open += n < 0;
        close (fds[i]);
    }
    cr_assert_leq (open, GUARD_OF_ONE);
    wait_for_strangers (MANY);
    zmq_send (first, "after", 5, 0);
    char part[256];
    int got = -1;
    for (int64_t end = clock_ms () + PATIENCE_MS; got < 0 && clock_ms () < end; turn ())
        got = zmq_recv (router, part, sizeof part, ZMQ_DONTWAIT);
    cr_assert_geq (got, 0, "the first member was cut off");
    zmq_close (first);
    zmq_close (second);
}
