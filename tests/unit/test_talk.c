/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/talk.h"
#include "tests/unit/random_msg.h"

static sluice_error_t err;

static void make_pair (talk_t **a, talk_t **b)
{
    int pair[2];
    cr_assert_eq (socketpair (AF_UNIX, SOCK_STREAM, 0, pair), 0);
    *a = talk_new (pair[0], &err);
    *b = talk_new (pair[1], &err);
    cr_assert (*a && *b);
}

Test (talk, messages_arrive_whole_and_in_order)
{
    talk_t *a, *b;
    make_pair (&a, &b);
    random_t r = {11};
    msg_t in;
    cr_expect_eq (talk_receive (b, &in, NULL, &err), 0, "nothing yet");
    size_t sent = 0, came = 0;
    enum { N = 2000 };
    msg_t out[N];
    for (int i = 0; i < N; i++) {
        random_msg (&r, MSG_MAP + (msg_type_t) (i % (MSG_TYPES - MSG_MAP)), &out[i]);
        cr_assert_eq (talk_send (a, &out[i], -1, &err), 0, "%s", err.text);
        sent++;
    }
    cr_expect_gt (talk_queued (a), 0, "more than a socket holds");
    while (came < N) {
        int got = talk_receive (b, &in, NULL, &err);
        cr_assert_geq (got, 0, "%s", err.text);
        if (got == 0) {
            cr_assert_gt (talk_queued (a), 0, "all was sent, and not all came");
            talk_flush (a);
            continue;
        }
        void *one, *other;
        size_t n, m;
        cr_assert_eq (msg_encode (&in, &one, &n, &err), 0);
        cr_assert_eq (msg_encode (&out[came], &other, &m, &err), 0);
        cr_assert (n == m && memcmp (one, other, n) == 0);
        free (one);
        free (other);
        msg_clear (&in);
        msg_clear (&out[came++]);
    }
    cr_expect_eq (talk_queued (a), 0);
    talk_destroy (&a);
    talk_destroy (&b);
    talk_destroy (&b); /* NULL is fine */
}

Test (talk, a_descriptor_comes_along_with_its_message)
{
    talk_t *a, *b;
    make_pair (&a, &b);
    msg_t begun = {.type = MSG_BEGUN, .begun = {.items = 7}}, in;
    int pipes[2], passed = 99;
    char byte;
    cr_assert_eq (pipe (pipes), 0);
    cr_assert_eq (talk_send (a, &begun, pipes[1], &err), 0);
    cr_assert_eq (talk_send (a, &begun, -1, &err), 0);
    cr_assert_eq (talk_receive (b, &in, &passed, &err), 1);
    cr_assert_geq (passed, 0);
    cr_expect (fcntl (passed, F_GETFD) & FD_CLOEXEC);
    cr_expect_eq (write (passed, "x", 1), 1);
    cr_expect_eq (read (pipes[0], &byte, 1), 1);
    close (passed);
    cr_assert_eq (talk_receive (b, &in, &passed, &err), 1);
    cr_expect_eq (passed, -1);
    talk_destroy (&a);
    talk_destroy (&b);
}

Test (talk, the_end_is_heard_after_what_was_said)
{
    talk_t *a, *b;
    make_pair (&a, &b);
    msg_t all = {.type = MSG_CANCEL, .tasks = {.all = true}}, in;
    cr_assert_eq (talk_send (a, &all, -1, &err), 0);
    talk_end (a);
    cr_assert_eq (talk_send (a, &all, -1, &err), 0, "goes nowhere, and is no error");
    cr_assert_eq (talk_receive (b, &in, NULL, &err), 1);
    err.code = SLUICE_EINPUT;
    cr_assert_eq (talk_receive (b, &in, NULL, &err), -1);
    cr_expect_eq (err.code, SLUICE_OK);
    cr_assert_eq (talk_send (b, &all, -1, &err), 0);
    cr_assert_eq (talk_receive (a, &in, NULL, &err), 1, "the other way is still open");
    talk_destroy (&b);
    cr_assert_eq (talk_receive (a, &in, NULL, &err), -1);
    talk_destroy (&a);
}

Test (talk, nobody_at_the_other_end_is_no_signal)
{
    talk_t *a, *b;
    make_pair (&a, &b);
    msg_t all = {.type = MSG_CANCEL, .tasks = {.all = true}};
    talk_destroy (&b);
    for (int i = 0; i < 3; i++)
        cr_expect_eq (talk_send (a, &all, -1, &err), 0);
    cr_expect_eq (talk_queued (a), 0);
    talk_destroy (&a);
}

Test (talk, what_cannot_be_right_is_refused)
{
    static const uint8_t long_one[] = {0, 0, 0, 0x7f}, garbage[] = {3, 0, 0, 0, 1, 2, 3};
    const struct {
        const uint8_t *bytes;
        size_t n;
    } wrong[] = {{long_one, sizeof long_one}, {garbage, sizeof garbage}};
    for (size_t i = 0; i < 2; i++) {
        int pair[2];
        msg_t in;
        cr_assert_eq (socketpair (AF_UNIX, SOCK_STREAM, 0, pair), 0);
        talk_t *a = talk_new (pair[0], &err);
        cr_assert_eq (write (pair[1], wrong[i].bytes, wrong[i].n), (ssize_t) wrong[i].n);
        cr_expect_eq (talk_receive (a, &in, NULL, &err), -1);
        cr_expect_eq (err.code, SLUICE_EPROTO);
        talk_destroy (&a);
        close (pair[1]);
    }
}
