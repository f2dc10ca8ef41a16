/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/feed.h"

static sluice_error_t err;
static talk_t *program;

/* A feed whose program is `program`, and this process's parent. */
static feed_t *make (void)
{
    int pair[2];
    msg_t map = {.type = MSG_MAP}, got;
    map.map.pid = (uint32_t) getppid ();
    cr_assert_eq (socketpair (AF_UNIX, SOCK_STREAM, 0, pair), 0);
    program = talk_new (pair[0], &err);
    cr_assert_eq (talk_send (program, &map, -1, &err), 0);
    feed_t *feed = feed_new (pair[1], &got, &err);
    cr_assert_not_null (feed, "%s", err.text);
    cr_expect_eq (got.type, MSG_MAP);
    msg_clear (&got);
    return feed;
}

static void send_result (feed_t *feed, uint64_t task, size_t extents)
{
    msg_result_t result = {.task = task, .attempt = 1, .first = task, .stop = task + 1};
    result.nextents = extents;
    result.extents = calloc (extents + 1, sizeof *result.extents);
    for (size_t i = 0; i < extents; i++)
        result.extents[i] = (extent_t){0, 1 + i, 1 << 20, 0};
    feed_result (feed, &result);
}

Test (feed, results_of_any_size_come_in_parts)
{
    feed_t *feed = make ();
    const size_t n = 2 * MSG_MAX_EXTENTS + 7;
    send_result (feed, 1, n);
    send_result (feed, 2, 0);
    msg_t msg;
    size_t came = 0;
    bool more = true;
    while (more) {
        int got = talk_receive (program, &msg, NULL, &err);
        cr_assert_geq (got, 0);
        feed_wish_t wish;
        if (!got) {
            cr_expect_not (feed_turn (feed, &wish)); /* flushes */
            continue;
        }
        cr_assert_eq (msg.type, MSG_RESULT);
        cr_assert_eq (msg.result.task, 1);
        for (size_t i = 0; i < msg.result.nextents; i++)
            cr_assert_eq (msg.result.extents[i].rows, 1 + came++);
        more = msg.result.more;
        msg_clear (&msg);
    }
    cr_expect_eq (came, n);
    cr_assert_eq (talk_receive (program, &msg, NULL, &err), 1);
    cr_expect (msg.result.task == 2 && !msg.result.more);
    msg_clear (&msg);
    feed_destroy (&feed);
    talk_destroy (&program);
}

Test (feed, is_full_when_nobody_reads_and_goes_on_when_somebody_does)
{
    feed_t *feed = make ();
    feed_wish_t wish;
    uint64_t sent = 0, came = 0;
    while (!feed_full (feed)) {
        send_result (feed, ++sent, 3);
        cr_assert_lt (sent, 10000000);
        cr_assert_not (feed_turn (feed, &wish));
    }
    cr_expect_gt (sent, 10000, "not before many wait");
    feed_progress (feed, &(progress_state_t){.items = 1}); /* is not queued */
    msg_t msg;
    while (came < sent) {
        int got = talk_receive (program, &msg, NULL, &err);
        cr_assert_geq (got, 0);
        if (got == 0) {
            feed_turn (feed, &wish);
            continue;
        }
        cr_assert_eq (msg.type, MSG_RESULT);
        cr_assert_eq (msg.result.task, ++came);
        msg_clear (&msg);
    }
    cr_expect_not (feed_full (feed));
    cr_expect_not (feed_broken (feed));
    feed_destroy (&feed);
    talk_destroy (&program);
}

Test (feed, hears_wishes)
{
    feed_t *feed = make ();
    feed_wish_t wish;
    task_t items = {.first = 3, .stop = 5};
    msg_t cut = {.type = MSG_CANCEL, .tasks = {.ntasks = 1, .tasks = &items}};
    msg_t all = {.type = MSG_CANCEL, .tasks = {.all = true}};
    msg_t odd = {.type = MSG_SLOTS};
    talk_send (program, &cut, -1, &err);
    talk_send (program, &odd, -1, &err); /* of no use here, and no harm */
    talk_send (program, &all, -1, &err);
    talk_end (program);
    cr_assert (feed_turn (feed, &wish));
    cr_assert_eq (wish.cut.ntasks, 1);
    cr_expect (wish.cut.tasks[0].first == 3 && wish.cut.tasks[0].stop == 5);
    feed_wish_clear (&wish);
    cr_assert (feed_turn (feed, &wish));
    cr_expect (!wish.cancel && !wish.gone && wish.cut.ntasks == 0);
    cr_assert (feed_turn (feed, &wish));
    cr_expect (wish.cancel);
    cr_assert (feed_turn (feed, &wish));
    cr_expect (wish.gone);
    cr_expect_not (feed_turn (feed, &wish), "said once");
    send_result (feed, 1, 1); /* goes nowhere */
    feed_drain (feed);
    feed_destroy (&feed);
    talk_destroy (&program);
}

Test (feed, a_program_that_is_not_our_parent_is_gone)
{
    int pair[2];
    msg_t map = {.type = MSG_MAP, .map = {.pid = 1u << 30}}, got;
    feed_wish_t wish;
    cr_assert_eq (socketpair (AF_UNIX, SOCK_STREAM, 0, pair), 0);
    program = talk_new (pair[0], &err);
    talk_send (program, &map, -1, &err);
    feed_t *feed = feed_new (pair[1], &got, &err);
    cr_assert_not_null (feed);
    cr_assert (feed_turn (feed, &wish));
    cr_expect (wish.gone);
    msg_clear (&got);
    feed_destroy (&feed);
    talk_destroy (&program);
}

Test (feed, who_says_nothing_right_is_refused)
{
    int pair[2];
    msg_t other = {.type = MSG_SLOTS}, got;
    cr_assert_eq (socketpair (AF_UNIX, SOCK_STREAM, 0, pair), 0);
    program = talk_new (pair[0], &err);
    talk_send (program, &other, -1, &err);
    cr_expect_null (feed_new (pair[1], &got, &err));
    cr_expect_eq (err.code, SLUICE_EPROTO);
    talk_destroy (&program);
}
