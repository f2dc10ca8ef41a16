/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I3: no item is lost or computed for two places. */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "master/sched.h"

static sched_t *make (uint64_t items, uint64_t per_task)
{
    sched_t *s =
        sched_new (&(sched_options_t){.items = items, .items_per_task = per_task});
    cr_assert_not_null (s);
    return s;
}

/* The only attempt of it. */
static void deliver (sched_t *s, unsigned node, uint64_t task, uint32_t attempt)
{
    task_t late;
    cr_assert_eq (sched_delivered (s, node, task, attempt, &late), SCHED_NOBODY);
}

Test (sched, tiles_the_items)
{
    sched_t *s = make (10, 4);
    task_t t;
    uint64_t next = 0;
    sched_join (s, 0, 2);
    while (sched_next (s, 0, 0, &t)) {
        cr_assert_eq (t.first, next);
        cr_assert_eq (t.attempt, 1);
        next = t.stop;
        cr_assert_not_null (sched_running (s, 0, t.task, 1));
        cr_assert (sched_done (s, 0, t.task, 1, t.stop, 0.1));
        cr_assert_not (sched_done (s, 0, t.task, 1, t.stop, 0.1), "only once");
    }
    cr_assert_eq (next, 10);
    cr_assert (sched_finished (s));
    sched_destroy (&s);
}

Test (sched, guided_sizes_grow_with_speed_and_shrink_at_the_end)
{
    sched_t *s = make (1000000, 0);
    task_t t;
    uint64_t largest = 0, last = 0;
    double now = 0;
    sched_join (s, 0, 4);
    while (sched_next (s, 0, now, &t)) {
        uint64_t n = t.stop - t.first;
        largest = n > largest ? n : largest;
        last = n;
        now += (double) n * 1e-5;
        cr_assert (sched_done (s, 0, t.task, t.attempt, t.stop, (double) n * 1e-5));
    }
    cr_assert_gt (largest, 50000);
    cr_assert_leq (largest, 200000, "2 s at 10 us an item");
    cr_assert_leq (last, 10);
    cr_assert (sched_finished (s));
    sched_destroy (&s);
}

static void count_drop (void *arg, const task_t *task)
{
    (void) task;
    ++*(int *) arg;
}

Test (sched, a_lost_node_gives_its_items_back)
{
    sched_t *s = make (6, 2);
    task_t a, b, c, again;
    int dropped = 0;
    sched_join (s, 0, 2);
    sched_join (s, 1, 2);
    cr_assert (sched_next (s, 0, 0, &a));
    cr_assert (sched_next (s, 0, 0, &b));
    cr_assert (sched_next (s, 1, 0, &c));
    deliver (s, 0, b.task, b.attempt);
    cr_assert_null (sched_running (s, 0, b.task, b.attempt), "delivered: no more pieces");
    sched_leave (s, 0, count_drop, &dropped);
    cr_assert_eq (dropped, 1, "what the writer has is not dropped");
    cr_assert_null (sched_running (s, 0, a.task, a.attempt));
    cr_assert_not (sched_done (s, 0, a.task, a.attempt, a.stop, 1), "late: stale");
    cr_assert (sched_next (s, 1, 0, &again));
    cr_assert_eq (again.first, a.first);
    cr_assert_eq (again.task, a.task);
    cr_assert_eq (again.attempt, 2);
    cr_assert (sched_done (s, 1, again.task, 2, again.stop, 1));
    cr_assert (sched_done (s, 1, c.task, c.attempt, c.stop, 1));
    cr_assert_not (sched_finished (s), "the delivered one is not in the ledger yet");
    cr_assert (sched_done (s, 0, b.task, b.attempt, b.stop, 1));
    cr_assert (sched_finished (s));
    sched_destroy (&s);
}

/* One bad item among many: it alone fails, whatever the kernel can say about
 * where it was. */
static void one_bad_item (uint64_t items, uint64_t bad, bool knows)
{
    sched_t *s = make (items, items);
    sched_counts_t c;
    task_t t;
    unsigned rounds = 0;
    char *done = calloc (items, 1);
    sched_join (s, 0, 1);
    while (sched_next (s, 0, 0, &t)) {
        uint64_t first, stop;
        cr_assert_lt (rounds++, 200);
        if (t.first <= bad && bad < t.stop) {
            sched_failed (s, 0, t.task, t.attempt, knows ? bad : t.first, true, &first,
                          &stop);
            cr_assert (first == t.first && stop == t.stop);
            continue;
        }
        for (uint64_t i = t.first; i < t.stop; i++)
            cr_assert_eq (done[i]++, 0, "item %lu twice", i);
        cr_assert (sched_done (s, 0, t.task, t.attempt, t.stop, 0.01));
    }
    sched_counts (s, &c);
    cr_assert_eq (c.failed, 1);
    cr_assert_eq (c.done, items - 1);
    cr_assert_eq (done[bad], 0);
    cr_assert (sched_finished (s));
    free (done);
    sched_destroy (&s);
}

Test (sched, one_bad_item_fails_alone)
{
    for (uint64_t bad = 0; bad < 100; bad += 33) {
        one_bad_item (100, bad, true);
        one_bad_item (100, bad, false);
    }
    one_bad_item (2, 1, false);
    one_bad_item (1, 0, false);
}

Test (sched, what_is_shed_goes_to_others)
{
    sched_t *s = make (100, 0);
    task_t t, slow, rest;
    unsigned node;
    sched_join (s, 0, 1);
    sched_join (s, 1, 1);
    cr_assert (sched_next (s, 0, 0, &t));
    cr_assert (sched_done (s, 0, t.task, 1, t.stop, 1e-3)); /* 1 ms an item, it seems */
    cr_assert (sched_next (s, 0, 0, &slow));
    while (sched_next (s, 1, 0, &t))
        sched_done (s, 1, t.task, t.attempt, t.stop, 1e-3 * (double) (t.stop - t.first));
    cr_assert_not (sched_shed (s, 0.1, &node, &t), "too young");
    cr_assert (sched_shed (s, 30, &node, &t));
    cr_assert_eq (node, 0);
    cr_assert_eq (t.task, slow.task);
    cr_assert_not (sched_shed (s, 31, &node, &t), "asked once");
    cr_assert (sched_done (s, 0, slow.task, 1, slow.first + 1, 30));
    cr_assert (sched_next (s, 1, 31, &rest));
    cr_assert_eq (rest.first, slow.first + 1);
    sched_destroy (&s);
}

Test (sched, stop_ends_it)
{
    sched_t *s = make (100, 10);
    task_t t;
    sched_join (s, 0, 1);
    cr_assert (sched_next (s, 0, 0, &t));
    sched_stop (s);
    cr_assert_not (sched_next (s, 0, 0, &t));
    cr_assert_not (sched_finished (s), "one still runs");
    sched_leave (s, 0, NULL, NULL);
    cr_assert (sched_finished (s));
    sched_destroy (&s);
}

Test (sched, cancelling_a_running_task_fails_its_items_for_good)
{
    sched_t *s = make (10, 4);
    task_t a, b;
    sched_task_t t;
    sched_counts_t c;
    uint64_t first, stop;
    sched_join (s, 3, 2);
    cr_assert (sched_next (s, 3, 1.5, &a));
    cr_assert (sched_next (s, 3, 1.5, &b));
    cr_assert_eq (sched_find (s, a.task, &t), SCHED_RUNNING);
    cr_assert_eq (t.node, 3);
    cr_assert_float_eq (t.started, 1.5, 1e-9);
    cr_assert_eq (sched_cancel (s, a.task, &t), SCHED_RUNNING);
    cr_assert_eq (t.task.first, 0);
    cr_assert_eq (t.task.stop, 4);
    cr_assert_eq (t.node, 3);
    sched_counts (s, &c);
    cr_assert_eq (c.failed, 4);
    cr_assert_eq (c.running, 4);
    cr_assert_eq (c.pending, 2);
    cr_assert_eq (c.tasks_running, 1);
    /* what still comes of it is stale */
    cr_assert_null (sched_running (s, 3, a.task, a.attempt));
    cr_assert_not (sched_done (s, 3, a.task, a.attempt, a.stop, 1));
    cr_assert_eq (sched_failed (s, 3, a.task, a.attempt, 0, true, &first, &stop), -1);
    cr_assert_eq (sched_cancel (s, a.task, &t), SCHED_UNKNOWN, "only once");
    /* the others go on */
    cr_assert (sched_done (s, 3, b.task, b.attempt, b.stop, 1));
    cr_assert (sched_next (s, 3, 2, &a));
    cr_assert_eq (a.first, 8);
    cr_assert (sched_done (s, 3, a.task, a.attempt, a.stop, 1));
    cr_assert (sched_finished (s));
    sched_counts (s, &c);
    cr_assert_eq (c.done + c.failed, 10);
    sched_destroy (&s);
}

Test (sched, cancelling_what_waits_to_be_tried_again)
{
    sched_t *s = make (3, 1);
    task_t a, b;
    sched_task_t t;
    sched_counts_t c;
    uint64_t first, stop;
    sched_join (s, 0, 2);
    cr_assert (sched_next (s, 0, 0, &a));
    cr_assert_eq (sched_failed (s, 0, a.task, 1, a.first, true, &first, &stop), 0);
    cr_assert_eq (sched_find (s, a.task, &t), SCHED_PENDING);
    cr_assert_eq (t.failures, 1);
    cr_assert_eq (sched_cancel (s, a.task, &t), SCHED_PENDING);
    cr_assert_eq (t.node, SCHED_NOBODY);
    cr_assert_eq (t.task.first, a.first);
    sched_counts (s, &c);
    cr_assert_eq (c.failed, 1);
    cr_assert_eq (c.pending, 2);
    cr_assert_eq (sched_find (s, a.task, &t), SCHED_UNKNOWN);
    cr_assert (sched_next (s, 0, 0, &b));
    cr_assert_neq (b.first, a.first, "it does not come again");
    sched_destroy (&s);
}

Test (sched, what_is_delivered_or_unknown_is_not_cancelled)
{
    sched_t *s = make (2, 1);
    task_t a;
    sched_task_t t;
    sched_counts_t c;
    sched_join (s, 0, 1);
    cr_assert (sched_next (s, 0, 0, &a));
    deliver (s, 0, a.task, a.attempt);
    cr_assert_eq (sched_cancel (s, a.task, &t), SCHED_DELIVERED);
    sched_leave (s, 0, NULL, NULL);
    cr_assert_eq (sched_cancel (s, a.task, &t), SCHED_DELIVERED, "its node is gone");
    cr_assert_eq (t.node, SCHED_NOBODY);
    cr_assert (sched_done (s, 0, a.task, a.attempt, a.stop, 1));
    cr_assert_eq (sched_cancel (s, a.task, &t), SCHED_UNKNOWN, "done");
    cr_assert_eq (sched_cancel (s, 2, &t), SCHED_UNCUT);
    cr_assert_eq (sched_cancel (s, 0, &t), SCHED_UNKNOWN, "tasks count from 1");
    cr_assert_eq (sched_cancel (s, UINT64_MAX, &t), SCHED_UNCUT);
    sched_counts (s, &c);
    cr_assert_eq (c.failed, 0);
    cr_assert_eq (c.done, 1);
    sched_destroy (&s);
}

static void count_task (void *arg, const sched_task_t *task)
{
    sched_task_t *sum = arg;
    sum->task.task++;
    sum->task.stop += task->task.stop - task->task.first;
    sum->delivered |= task->delivered;
    sum->expected += task->expected;
}

Test (sched, each_running_task_is_seen_with_what_its_pace_promises)
{
    sched_t *s = make (100, 5);
    task_t a, b, ranges[2];
    sched_task_t sum = {0};
    sched_join (s, 0, 2);
    sched_join (s, 1, 2);
    cr_assert (sched_next (s, 0, 0, &a));
    cr_assert (sched_done (s, 0, a.task, 1, a.stop, 10)); /* 2 s an item */
    cr_assert (sched_next (s, 0, 0, &a));
    cr_assert (sched_next (s, 1, 0, &b));
    deliver (s, 1, b.task, 1);
    sched_each (s, count_task, &sum);
    cr_assert_eq (sum.task.task, 2);
    cr_assert_eq (sum.task.stop, 10);
    cr_assert (sum.delivered);
    cr_assert_float_eq (sum.expected, 20, 1e-6);
    cr_assert_eq (sched_pending (s, ranges, 2), 1);
    cr_assert_eq (ranges[0].first, 15);
    cr_assert_eq (ranges[0].stop, 100);
    sched_destroy (&s);
}

/* ---- cancelling items ------------------------------------------------------- */

typedef struct {
    unsigned ranges, running;
    uint64_t items;
} cut_t;

static void count_cut (void *arg, const sched_task_t *task, uint64_t first, uint64_t stop)
{
    cut_t *cut = arg;
    cr_assert (task->task.first <= first && first < stop && stop <= task->task.stop);
    cut->ranges++;
    cut->running += task->node != SCHED_NOBODY;
    cut->items += stop - first;
}

Test (sched, cancels_items_of_running_and_pending_tasks)
{
    sched_t *s = make (100, 10);
    task_t a, b, t;
    cut_t cut = {0};
    sched_counts_t c;
    sched_join (s, 0, 4);
    cr_assert (sched_next (s, 0, 0, &a)); /* 0 to 9 */
    cr_assert (sched_next (s, 0, 0, &b)); /* 10 to 19 */
    deliver (s, 0, a.task, 1);
    sched_cancel_items (s, 5, 25, count_cut, &cut);
    cr_expect_eq (cut.ranges, 2);
    cr_expect_eq (cut.running, 1, "what is delivered is too late");
    cr_expect_eq (cut.items, 15);
    sched_counts (s, &c);
    cr_expect_eq (c.failed, 15);
    cr_expect_eq (c.pending, 75);
    cr_expect_eq (c.running, 10);
    cr_expect_null (sched_running (s, 0, b.task, 1));
    cr_expect (sched_done (s, 0, a.task, 1, 10, 0.1));
    sched_cancel_items (s, 5, 25, count_cut, &cut);
    cr_expect_eq (cut.ranges, 2, "nothing is left of them");
    bool seen[100] = {false};
    while (sched_next (s, 0, 0, &t)) {
        for (uint64_t i = t.first; i < t.stop; i++) {
            cr_assert (i >= 25 && !seen[i]);
            seen[i] = true;
        }
        cr_assert (sched_done (s, 0, t.task, t.attempt, t.stop, 0.1));
    }
    sched_counts (s, &c);
    cr_expect_eq (c.done, 85);
    cr_expect_eq (c.failed, 15);
    cr_expect (sched_finished (s));
    sched_destroy (&s);
}

Test (sched, cancels_a_hole_in_the_middle)
{
    sched_t *s = make (100, 100);
    task_t t;
    cut_t cut = {0};
    uint64_t items = 0;
    sched_join (s, 0, 1);
    cr_assert (sched_next (s, 0, 0, &t));
    sched_cancel_items (s, 40, 41, count_cut, &cut);
    cr_expect_eq (cut.items, 1);
    while (sched_next (s, 0, 0, &t)) {
        cr_assert (t.stop <= 40 || t.first >= 41);
        items += t.stop - t.first;
        cr_assert (sched_done (s, 0, t.task, t.attempt, t.stop, 0.1));
    }
    cr_expect_eq (items, 99);
    cr_expect (sched_finished (s));
    sched_destroy (&s);
}

/* Two nodes of a slot each; items 0 and 1 took the nodes `a` and `b` seconds. */
static sched_t *two_nodes (uint64_t items, double a, double b)
{
    sched_t *s = make (items, 1);
    task_t t;
    sched_join (s, 0, 1);
    sched_join (s, 1, 1);
    for (unsigned node = 0; node < 2; node++) {
        cr_assert (sched_next (s, node, 0, &t));
        deliver (s, node, t.task, 1);
        cr_assert (sched_done (s, node, t.task, 1, t.stop, node ? b : a));
    }
    return s;
}

static void count_all (void *arg, const sched_task_t *task)
{
    (void) task;
    ++*(int *) arg;
}

Test (sched, what_runs_long_gets_one_copy_elsewhere)
{
    sched_t *s = two_nodes (3, 2, 2);
    sched_counts_t c;
    sched_task_t out;
    task_t slow, copy, late;
    int each = 0;
    cr_assert (sched_next (s, 0, 10, &slow));
    cr_assert_not (sched_copy (s, 1, 12, &copy), "it has taken what it should");
    cr_assert_not (sched_copy (s, 0, 20, &copy), "not where it runs already");
    cr_assert (sched_copy (s, 1, 16.1, &copy));
    cr_assert (copy.task == slow.task && copy.attempt == 2 && copy.first == slow.first);
    cr_assert_not (sched_copy (s, 1, 60, &late), "one copy");
    sched_join (s, 2, 1);
    cr_assert_not (sched_copy (s, 2, 60, &late), "one copy");
    sched_counts (s, &c);
    cr_assert (c.running == 1 && c.tasks_running == 1 && c.copies == 1);
    cr_assert_eq (sched_find (s, slow.task, &out), SCHED_RUNNING);
    cr_assert (out.node == 0 && out.other == 1 && out.other_attempt == 2);
    sched_each (s, count_all, &each);
    cr_assert_eq (each, 2);
    /* The copy is first: the original is ended, and late. */
    cr_assert_eq (sched_delivered (s, 1, copy.task, 2, &late), 0);
    cr_assert (late.task == slow.task && late.attempt == 1);
    cr_assert_null (sched_running (s, 0, slow.task, 1));
    cr_assert_not (sched_done (s, 0, slow.task, 1, slow.stop, 1));
    cr_assert (sched_done (s, 1, copy.task, 2, copy.stop, 1));
    sched_counts (s, &c);
    cr_assert (c.done == 3 && c.running == 0 && c.tasks_running == 0);
    cr_assert (sched_finished (s));
    sched_destroy (&s);
}

Test (sched, a_slow_node_is_helped_early)
{
    sched_t *s = two_nodes (3, 60, 2);
    task_t slow, copy;
    cr_assert (sched_next (s, 0, 10, &slow));
    cr_assert_not (sched_copy (s, 1, 10.5, &copy), "just begun");
    cr_assert (sched_copy (s, 1, 11.5, &copy), "48 s are left there");
    sched_destroy (&s);
}

Test (sched, no_copy_where_none_is_wanted)
{
    sched_t *s = two_nodes (4, 2, 2);
    task_t slow, next, copy;
    cr_assert (sched_next (s, 0, 10, &slow));
    cr_assert_not (sched_copy (s, 1, 100, &copy), "something is pending");
    cr_assert (sched_next (s, 1, 100, &next));
    deliver (s, 1, next.task, 1);
    cr_assert (sched_done (s, 1, next.task, 1, next.stop, 2));
    sched_hindered (s, 0, 99);
    cr_assert_not (sched_copy (s, 1, 100, &copy), "it waited for credit");
    sched_stop (s);
    cr_assert_not (sched_copy (s, 1, 200, &copy), "the run is ending");
    sched_destroy (&s);

    s = sched_new (
        &(sched_options_t){.items = 1, .items_per_task = 1, .no_copies = true});
    sched_join (s, 0, 1);
    sched_join (s, 1, 1);
    cr_assert (sched_next (s, 0, 0, &slow));
    cr_assert_not (sched_copy (s, 1, 1000, &copy));
    sched_destroy (&s);
}

Test (sched, of_two_attempts_one_may_fail_or_be_lost)
{
    uint64_t first, stop;
    sched_counts_t c;
    task_t slow, copy, again;
    int dropped = 0;
    sched_t *s = two_nodes (3, 2, 2);
    cr_assert (sched_next (s, 0, 10, &slow));
    cr_assert (sched_copy (s, 1, 20, &copy));
    cr_assert_eq (sched_failed (s, 0, slow.task, 1, slow.first, true, &first, &stop), 0);
    sched_counts (s, &c);
    cr_assert (c.running == 1 && c.pending == 0, "the copy goes on");
    cr_assert_not (sched_copy (s, 0, 60, &again), "else it might fail for ever");
    sched_leave (s, 1, count_drop, &dropped);
    cr_assert_eq (dropped, 1);
    sched_counts (s, &c);
    cr_assert (c.running == 0 && c.tasks_running == 0 && c.pending == 1);
    cr_assert (sched_next (s, 0, 30, &again));
    cr_assert (again.task == slow.task && again.attempt == 3, "no number twice");
    cr_assert_eq (sched_failed (s, 0, again.task, 3, slow.first, true, &first, &stop), 0);
    cr_assert (sched_next (s, 0, 30, &again));
    cr_assert_eq (again.attempt, 4);
    cr_assert_eq (sched_failed (s, 0, again.task, 4, slow.first, true, &first, &stop), 1,
                  "three failures in all");
    cr_assert (sched_finished (s));
    sched_destroy (&s);
}

Test (sched, the_node_of_the_original_is_lost)
{
    task_t slow, copy;
    sched_counts_t c;
    int dropped = 0;
    sched_t *s = two_nodes (3, 2, 2);
    cr_assert (sched_next (s, 0, 10, &slow));
    cr_assert (sched_copy (s, 1, 20, &copy));
    sched_leave (s, 0, count_drop, &dropped);
    sched_counts (s, &c);
    cr_assert (dropped == 1 && c.running == 1 && c.pending == 0);
    deliver (s, 1, copy.task, 2);
    cr_assert (sched_done (s, 1, copy.task, 2, copy.stop, 1));
    cr_assert (sched_finished (s));
    sched_destroy (&s);
}

static void note_cut (void *arg, const sched_task_t *task, uint64_t first, uint64_t stop)
{
    cr_assert (task->other != SCHED_NOBODY && first == 2 && stop == 3);
    ++*(int *) arg;
}

Test (sched, cancelling_a_copied_task_ends_both)
{
    task_t slow, copy;
    sched_task_t out;
    sched_counts_t c;
    for (int by_items = 0; by_items < 2; by_items++) {
        int cut = 0;
        sched_t *s = two_nodes (3, 2, 2);
        cr_assert (sched_next (s, 0, 10, &slow));
        cr_assert (sched_copy (s, 1, 20, &copy));
        if (by_items) {
            sched_cancel_items (s, 0, 3, note_cut, &cut);
            cr_assert_eq (cut, 1);
        } else {
            cr_assert_eq (sched_cancel (s, slow.task, &out), SCHED_RUNNING);
            cr_assert (out.node == 0 && out.other == 1 && out.other_attempt == 2);
        }
        sched_counts (s, &c);
        cr_assert (c.failed == 1 && c.running == 0 && c.tasks_running == 0);
        cr_assert_null (sched_running (s, 1, copy.task, 2));
        cr_assert (sched_finished (s));
        sched_destroy (&s);
    }
}

/* Deaths of workers and plain failures have limits of their own. */
Test (sched, limits_of_failures)
{
    for (int crashed = 0; crashed < 2; crashed++) {
        sched_t *s = sched_new (&(sched_options_t){
            .items = 1, .items_per_task = 1, .crash_limit = 4, .failure_limit = 2});
        sched_join (s, 0, 1);
        task_t t;
        unsigned attempts = 0;
        while (sched_next (s, 0, 0, &t)) {
            uint64_t first, stop;
            attempts++;
            int final = sched_failed (s, 0, t.task, t.attempt, 0, crashed, &first, &stop);
            cr_assert_eq (final, attempts == (crashed ? 4 : 2));
        }
        cr_assert_eq (attempts, crashed ? 4 : 2);
        cr_assert (sched_finished (s));
        sched_destroy (&s);
    }
}

/* What was done before is not cut, and numbers go on. */
Test (sched, goes_on_after_what_was_done)
{
    sched_t *sched = sched_new (
        &(sched_options_t){.items = 100, .items_per_task = 10, .first_task = 51});
    static const uint64_t done[][2] = {{90, 100}, {40, 45}, {0, 10}};
    bool seen[100] = {false};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq (sched_take_done (sched, done[i][0], done[i][1]), 0);
    sched_counts_t c;
    sched_counts (sched, &c);
    cr_assert_eq (c.done, 25);
    cr_assert_eq (c.pending, 75);
    cr_assert_eq (sched_join (sched, 0, 1), 0);
    task_t task;
    uint64_t last = 50, next = 0;
    while (sched_next (sched, 0, 0, &task)) {
        cr_assert_eq (task.task, last + 1);
        last = task.task;
        cr_assert_geq (task.first, next); /* in order */
        next = task.stop;
        for (uint64_t item = task.first; item < task.stop; item++)
            seen[item] = true;
        deliver (sched, 0, task.task, task.attempt);
        cr_assert (sched_done (sched, 0, task.task, task.attempt, task.stop, 0.1));
    }
    for (uint64_t item = 0; item < 100; item++)
        cr_assert_eq (seen[item],
                      !(item < 10 || (item >= 40 && item < 45) || item >= 90));
    cr_assert (sched_finished (sched));
    sched_counts (sched, &c);
    cr_assert_eq (c.done, 100);
    sched_destroy (&sched);
}
