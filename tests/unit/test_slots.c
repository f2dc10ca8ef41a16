/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/slots.h"

static char dir[] = "/tmp/sluice-test-slots-XXXXXX";

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

TestSuite (slots, .init = make_dir, .fini = remove_dir);

/* Every slots_t has a file description of its own, so two in one process are
 * as good as two agents. */
static slots_t *make (unsigned n, unsigned cores)
{
    sluice_error_t err = {0};
    slots_t *slots = slots_new (n, cores, &err);
    cr_assert_not_null (slots, "%s", err.text);
    slots_working (slots, true);
    return slots;
}

static unsigned take_all (slots_t *slots)
{
    while (slots_take (slots, 1))
        ;
    return slots_held (slots);
}

Test (slots, one_agent_has_all_cores_and_no_more)
{
    slots_t *a = make (4, 4);
    cr_assert_eq (take_all (a), 4);
    slots_give (a, 1);
    cr_assert_eq (slots_held (a), 3);
    cr_assert (slots_take (a, 1));
    slots_destroy (&a);
    cr_assert_null (a);
    slots_destroy (&a);
}

Test (slots, fewer_slots_than_cores)
{
    slots_t *a = make (2, 8);
    cr_assert_eq (take_all (a), 2);
    slots_destroy (&a);
}

Test (slots, two_agents_never_hold_the_same_core)
{
    slots_t *a = make (4, 4), *b = make (4, 4);
    cr_assert (slots_take (a, 3));
    cr_assert_eq (take_all (b), 1);
    cr_assert_not (slots_take (a, 1));
    slots_give (b, 1);
    cr_assert (slots_take (a, 1));
    slots_destroy (&a);
    cr_assert_eq (take_all (b), 4, "what a dead agent held is free");
    slots_destroy (&b);
}

Test (slots, several_cores_at_once_or_none)
{
    slots_t *a = make (4, 4), *b = make (4, 4);
    cr_assert (slots_take (a, 3));
    cr_assert_not (slots_take (b, 2));
    cr_assert_eq (slots_held (b), 0);
    cr_assert (slots_take (b, 1), "the try left nothing locked");
    slots_destroy (&a);
    slots_destroy (&b);
}

Test (slots, cores_move_to_who_wants_them_until_shares_are_even)
{
    slots_t *a = make (4, 4), *b = make (4, 4);
    cr_assert_eq (take_all (a), 4);
    slots_wanting (b, true);
    for (int task = 0; task < 20; task++) {
        slots_give (a, 1); /* a task of `a` ends: it would like to go on */
        slots_take (a, 1);
        if (slots_held (b) < 2)
            slots_take (b, 1);
        else
            slots_wanting (b, false);
    }
    cr_assert_eq (slots_held (a), 2);
    cr_assert_eq (slots_held (b), 2);
    slots_give (b, 2);
    slots_working (b, false);
    cr_assert_eq (take_all (a), 4, "alone again");
    slots_destroy (&a);
    slots_destroy (&b);
}

Test (slots, uneven_numbers_leave_no_core_idle)
{
    slots_t *agent[3] = {make (4, 4), make (4, 4), make (4, 4)};
    for (int i = 0; i < 3; i++)
        slots_wanting (agent[i], true);
    for (int round = 0; round < 4; round++)
        for (int i = 0; i < 3; i++)
            slots_take (agent[i], 1);
    unsigned sum = 0;
    for (int i = 0; i < 3; i++) {
        cr_assert_geq (slots_held (agent[i]), 1);
        sum += slots_held (agent[i]);
    }
    cr_assert_eq (sum, 4);
    for (int i = 0; i < 3; i++)
        slots_destroy (&agent[i]);
}

Test (slots, more_slots_than_cores_leave_the_cores_to_others)
{
    slots_t *a = make (6, 2), *b = make (2, 2);
    cr_assert (slots_take (a, 4));
    cr_assert_eq (take_all (b), 2);
    slots_destroy (&a);
    slots_destroy (&b);
}

Test (slots, an_agent_that_was_killed_holds_nothing)
{
    int fds[2];
    cr_assert_eq (pipe (fds), 0);
    pid_t pid = fork ();
    if (pid == 0) {
        slots_t *a = slots_new (3, 3, NULL);
        slots_working (a, true);
        slots_take (a, 3);
        slots_wanting (a, true);
        (void) !write (fds[1], "x", 1);
        pause ();
    }
    char byte;
    cr_assert_eq (read (fds[0], &byte, 1), 1);
    slots_t *b = make (3, 3);
    cr_assert_not (slots_take (b, 1));
    kill (pid, SIGKILL);
    waitpid (pid, NULL, 0);
    cr_assert_eq (take_all (b), 3);
    slots_destroy (&b);
}

Test (slots, the_file_is_open_to_all_and_no_link_is_followed)
{
    slots_t *a = make (1, 1);
    struct stat st;
    cr_assert_eq (stat (slots_path (a), &st), 0);
    cr_assert_eq (st.st_mode & 0777, 0666);
    char target[100], path[100];
    snprintf (path, sizeof path, "%s", slots_path (a));
    slots_destroy (&a);
    unlink (path);
    snprintf (target, sizeof target, "%s/elsewhere", dir);
    cr_assert_eq (symlink (target, path), 0);
    sluice_error_t err = {0};
    cr_assert_null (slots_new (1, 1, &err));
    cr_assert (strstr (err.text, path));
    cr_assert_neq (access (target, F_OK), 0);
}

Test (slots, wrong_numbers)
{
    sluice_error_t err = {0};
    cr_assert_null (slots_new (0, 1, &err));
    cr_assert_eq (err.code, SLUICE_EINPUT);
    cr_assert_null (slots_new (SLOTS_MAX + 1, 1, &err));
    slots_t *a = make (2, 2);
    cr_assert_not (slots_take (a, 0));
    cr_assert_not (slots_take (a, 3));
    slots_give (a, 7);
    cr_assert_eq (slots_held (a), 0);
    slots_destroy (&a);
}
