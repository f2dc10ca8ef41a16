/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdio.h>

#include "node/duty.h"
#include "tests/unit/fake_nursery.h"

static char dir[] = "/tmp/sluice-test-duty-XXXXXX";
static sluice_error_t err;

static void make_dir (void)
{
    cr_assert_not_null (mkdtemp (dir));
    setenv ("SLUICE_SLOTS_DIR", dir, 1);
}

static void remove_dir (void)
{
    char path[100];
    snprintf (path, sizeof path, "%s/sluice-slots", dir);
    unlink (path);
    rmdir (dir);
}

TestSuite (duty, .init = make_dir, .fini = remove_dir);

typedef struct {
    slots_t *slots;
    crew_t *crew;
    duty_t *duty;
} set_t;

static set_t make (unsigned workers, unsigned cores, unsigned host_cores)
{
    set_t set;
    msg_hello_t hello = {.segment = 64};
    crew_options_t options = {.hello = &hello, .slots = workers, .segments = 2};
    set.slots = slots_new (host_cores, host_cores, &err);
    cr_assert_not_null (set.slots, "%s", err.text);
    slots_working (set.slots, true);
    set.crew = crew_start (NULL, &options, &err);
    set.duty = duty_new (set.crew, set.slots, workers, cores, &err);
    cr_assert_not_null (set.duty);
    return set;
}

static void destroy (set_t *set)
{
    duty_destroy (&set->duty);
    cr_assert_eq (slots_held (set->slots), 0);
    crew_destroy (&set->crew);
    slots_destroy (&set->slots);
}

static bool share (set_t *set, unsigned cores, int64_t now)
{
    sluice_error_t broken = {0};
    bool wanting = duty_share (set->duty, cores, now, &broken);
    cr_assert_eq (broken.code, SLUICE_OK, "%s", broken.text);
    return wanting;
}

/* Tasks `from` to `to`, as the whole of an ASSIGN. Items decide what they do. */
static int assign (set_t *set, uint64_t before, uint64_t from, uint64_t to, uint64_t item,
                   int64_t now)
{
    task_t tasks[16];
    msg_tasks_t assign = {.before = before, .tasks = tasks};
    for (uint64_t t = from; t <= to; t++)
        tasks[assign.ntasks++] =
            (task_t){.task = t, .attempt = 1, .first = item, .stop = item + 2};
    return duty_assign (set->duty, &assign, now, &err);
}

Test (duty, credit_for_each_core_and_more_as_tasks_end)
{
    set_t set = make (2, 1, 2);
    cr_assert_eq (duty_claim (set.duty, 1), 2);
    cr_assert_not (share (&set, 2, 1));
    cr_assert_eq (duty_credit (set.duty), 2);
    cr_assert_eq (duty_cores (set.duty), 2);
    cr_assert_eq (assign (&set, 0, 1, 2, 2000, 2), 0);
    cr_assert_not (share (&set, 2, 2));
    cr_assert_eq (set.crew->assigned, 2);
    cr_assert_eq (duty_running (set.duty), 2);
    cr_assert_eq (duty_credit (set.duty), 2);
    cr_assert_eq (duty_task (set.duty, 0)->task, 1);
    duty_free (set.duty, 0, 3000);
    cr_assert_null (duty_task (set.duty, 0));
    share (&set, 2, 3000);
    cr_assert_eq (duty_credit (set.duty), 3);
    destroy (&set);
}

Test (duty, repeated_assignments_count_once_and_lost_ones_are_noticed)
{
    set_t set = make (4, 1, 4);
    share (&set, 4, 1);
    cr_assert_eq (assign (&set, 0, 1, 2, 2000, 1), 0);
    cr_assert_eq (assign (&set, 0, 1, 2, 2000, 1), 0);
    cr_assert_eq (assign (&set, 0, 1, 3, 2000, 1), 0);
    cr_assert_eq (duty_seen (set.duty), 3);
    cr_assert_eq (assign (&set, 4, 5, 5, 2000, 1), -1);
    cr_assert (strstr (err.text, "lost assignments"));
    cr_assert_eq (assign (&set, 3, 4, 5, 2000, 1), -1, "more than there was credit for");
    destroy (&set);
}

Test (duty, unused_credit_frees_its_cores_and_stays_good)
{
    set_t set = make (2, 1, 2);
    share (&set, 2, 1000);
    cr_assert_eq (duty_cores (set.duty), 2);
    cr_assert_not (share (&set, 2, 2000));
    cr_assert_eq (duty_cores (set.duty), 0);
    cr_assert_eq (duty_claim (set.duty, 2000), 0);
    cr_assert_eq (duty_credit (set.duty), 2);
    assign (&set, 0, 1, 1, 2000, 2000);
    cr_assert_geq (duty_claim (set.duty, 2000), 1);
    cr_assert (share (&set, 0, 2000), "it waits in the queue for a core");
    cr_assert_eq (set.crew->assigned, 0);
    cr_assert_eq (duty_running (set.duty), 1);
    share (&set, 1, 2000);
    cr_assert_eq (set.crew->assigned, 1);
    destroy (&set);
}

Test (duty, no_more_than_its_share)
{
    set_t set = make (4, 1, 4);
    cr_assert (share (&set, 3, 1));
    cr_assert_eq (duty_credit (set.duty), 3);
    cr_assert (share (&set, 1, 2));
    cr_assert_eq (duty_cores (set.duty), 1, "cores of mere credit go back at once");
    assign (&set, 0, 1, 3, 2000, 3);
    share (&set, 1, 3);
    cr_assert_eq (set.crew->assigned, 1);
    share (&set, 2, 3);
    cr_assert_eq (set.crew->assigned, 2);
    share (&set, 1, 3);
    cr_assert_eq (duty_cores (set.duty), 2, "what runs keeps its core to its end");
    duty_free (set.duty, 0, 4);
    share (&set, 1, 4);
    cr_assert_eq (duty_cores (set.duty), 1);
    destroy (&set);
}

Test (duty, tasks_of_several_cores)
{
    set_t set = make (2, 2, 5);
    share (&set, 5, 1);
    cr_assert_eq (duty_credit (set.duty), 2);
    cr_assert_eq (duty_cores (set.duty), 4);
    cr_assert_eq (slots_held (set.slots), 4);
    destroy (&set);
}

Test (duty, revoked_tasks_stop_and_queued_ones_go)
{
    set_t set = make (3, 1, 3);
    share (&set, 3, 1);
    assign (&set, 0, 1, 3, 2000, 1);
    share (&set, 2, 1);
    task_t running = {.task = 1, .attempt = 1}, queued = {.task = 3, .attempt = 1},
           other = {.task = 2, .attempt = 2};
    duty_revoke (set.duty, &running);
    duty_revoke (set.duty, &queued);
    duty_revoke (set.duty, &other);
    duty_revoke (set.duty, &running);
    cr_assert_eq (set.crew->revoked, 1);
    cr_assert_null (duty_task (set.duty, 0), "its pieces count no more");
    cr_assert_eq (duty_running (set.duty), 2, "one, and one that dies");
    cr_assert_eq (duty_cores (set.duty), 2, "it keeps its core until it is dead");
    duty_free (set.duty, 0, 2);
    cr_assert_eq (duty_running (set.duty), 1);
    duty_revoke_all (set.duty);
    cr_assert_eq (set.crew->revoked, 2);
    destroy (&set);
}

Test (duty, the_core_of_a_task_revoked_in_the_queue_is_offered_again)
{
    set_t set = make (2, 1, 2);
    share (&set, 2, 1);
    assign (&set, 0, 1, 2, 2000, 1);
    duty_revoke (set.duty, &(task_t){.task = 2, .attempt = 1});
    share (&set, 2, 1);
    cr_assert_eq (duty_running (set.duty), 1);
    cr_assert_eq (duty_credit (set.duty), 3);
    cr_assert_eq (duty_cores (set.duty), 2);
    destroy (&set);
}

Test (duty, shed_reaches_running_and_queued_tasks)
{
    set_t set = make (2, 1, 2);
    share (&set, 2, 1);
    assign (&set, 0, 1, 2, 2000, 1);
    share (&set, 1, 1);
    duty_shed (set.duty, &(task_t){.task = 1, .attempt = 1});
    duty_shed (set.duty, &(task_t){.task = 2, .attempt = 1});
    cr_assert_eq (set.crew->shed, 1);
    share (&set, 2, 1);
    cr_assert_eq (set.crew->shed, 2);
    destroy (&set);
}

Test (duty, a_worker_that_waits_for_room_lends_its_core)
{
    set_t set = make (1, 1, 1);
    slots_t *other = slots_new (1, 1, &err);
    slots_working (other, true);
    share (&set, 1, 1000);
    assign (&set, 0, 1, 1, 1005, 1000); /* five pieces; there are two segments */
    share (&set, 1, 1000);
    crew_event_t event;
    uint32_t segments[2] = {0};
    for (int n = 0; n < 2;) {
        crew_next (set.crew, &event);
        if (event.type == CREW_PIECE)
            segments[n++] = event.segment;
    }
    share (&set, 1, 1010);
    cr_assert_eq (duty_cores (set.duty), 1);
    share (&set, 1, 1200);
    cr_assert_eq (duty_cores (set.duty), 0, "lent");
    cr_assert_eq (duty_claim (set.duty, 1200), 0);
    cr_assert (slots_take (other, 1));
    crew_release (set.crew, segments[0]);
    cr_assert (share (&set, 1, 1210), "it could go on, and has no core");
    cr_assert (set.crew->workers[0].paused);
    slots_give (other, 1);
    cr_assert_not (share (&set, 1, 1220));
    cr_assert_not (set.crew->workers[0].paused);
    cr_assert_eq (duty_cores (set.duty), 1);
    slots_destroy (&other);
    destroy (&set);
}

Test (duty, short_tasks_are_asked_for_ahead)
{
    set_t set = make (1, 1, 1);
    uint64_t sent = 0;
    for (int64_t now = 1; now < 40; now++) {
        share (&set, 1, now);
        while (sent < duty_credit (set.duty)) {
            cr_assert_eq (assign (&set, sent, sent, sent, 2000, now), 0);
            sent++;
        }
        share (&set, 1, now);
        uint64_t due = duty_running (set.duty) + (duty_credit (set.duty) - sent);
        cr_assert_leq (due, 1 + 50, "so many take 50 ms");
        cr_assert (now > 10 || due == 1, "nothing is known yet");
        cr_assert (now < 38 || due > 30, "%d: %d", (int) now, (int) due);
        set.crew->workers[0] = (fake_worker_t){0};
        duty_free (set.duty, 0, now + 1);
    }
    destroy (&set);
}

/* Items 2000 and up never end. Turns of 100 ms, as the agent makes them. */
Test (duty, a_task_that_takes_too_long_is_ended)
{
    crew_event_t event;
    set_t set = make (1, 1, 1);
    duty_limit (set.duty, 2000, "out of time");
    share (&set, 1, 100);
    cr_assert_eq (assign (&set, 0, 1, 1, 2000, 100), 0);
    int64_t now = 100;
    for (; now < 1200; now += 100)
        share (&set, 1, now);
    cr_assert_eq (set.crew->expired, 0, "not yet");
    /* This process slept: the worker's time is not known. */
    share (&set, 1, now += 60000);
    cr_assert_eq (set.crew->expired, 0);
    for (int i = 0; i < 10; i++)
        share (&set, 1, now += 100);
    cr_assert_eq (set.crew->expired, 1, "once");
    cr_assert_str_eq (set.crew->why, "out of time");
    do
        crew_next (set.crew, &event);
    while (event.type != CREW_NOTHING && event.type != CREW_FAILED);
    cr_assert_eq (event.type, CREW_FAILED);
    duty_free (set.duty, 0, now);
    /* An item has its own time, and so has a worker that waits for its core. */
    share (&set, 1, now += 100);
    cr_assert_eq (assign (&set, 1, 2, 2, 2000, now), 0);
    for (uint64_t item = 2000; item < 2010; item++) {
        set.crew->item = item;
        for (int i = 0; i < 15; i++)
            share (&set, 1, now += 100);
    }
    cr_assert_eq (set.crew->expired, 1);
    destroy (&set);
}
