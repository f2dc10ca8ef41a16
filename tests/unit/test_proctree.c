/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "proto/proctree.h"

/* Kill until nothing lives, for two seconds at most; reap. */
static bool kill_all (pid_t root, bool with_root, const pid_t *spare, size_t nspare)
{
    for (int i = 0; i < 200; i++) {
        int left = proctree_kill (root, with_root, spare, nspare);
        while (waitpid (-1, NULL, WNOHANG) > 0)
            ;
        if (left == 0)
            return true;
        usleep (10000);
    }
    return false;
}

static pid_t sleeper (void)
{
    pid_t pid = fork ();
    if (pid == 0)
        for (;;)
            pause ();
    return pid;
}

/* A child that makes a child of its own in another session and ends, so that
 * the grandchild is an orphan. Returns when it is one. */
static void make_daemon (void)
{
    pid_t child = fork ();
    if (child == 0) {
        setsid ();
        if (fork () == 0) {
            signal (SIGTERM, SIG_IGN);
            for (;;)
                pause ();
        }
        _exit (0);
    }
    waitpid (child, NULL, 0);
}

static bool lives (pid_t pid)
{
    return kill (pid, 0) == 0;
}

Test (proctree, a_tree_with_a_daemon_dies, .timeout = 20)
{
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    pid_t root = fork ();
    if (root == 0) {
        prctl (PR_SET_CHILD_SUBREAPER, 1);
        make_daemon ();
        sleeper ();
        sleeper ();
        for (;;)
            pause ();
    }
    for (int i = 0; i < 500 && proctree_count (root, NULL, 0) < 3; i++)
        usleep (10000);
    cr_assert_eq (proctree_count (root, NULL, 0), 3);
    cr_assert (kill_all (root, true, NULL, 0));
    cr_assert_not (lives (root));
    /* The killed root's orphans, if any were left, would be ours now. */
    cr_assert (kill_all (getpid (), false, NULL, 0));
    cr_assert_eq (proctree_count (getpid (), NULL, 0), 0);
}

Test (proctree, the_spared_are_left_alone, .timeout = 20)
{
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    pid_t a = sleeper (), b = sleeper ();
    cr_assert_eq (proctree_count (getpid (), NULL, 0), 2);
    cr_assert_eq (proctree_count (getpid (), &b, 1), 1);
    cr_assert (kill_all (getpid (), false, &b, 1));
    cr_assert_not (lives (a));
    cr_assert (lives (b));
    cr_assert (kill_all (getpid (), false, NULL, 0));
    cr_assert_not (lives (b));
}

Test (proctree, stopped_processes_die_too, .timeout = 20)
{
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    pid_t pid = sleeper ();
    kill (pid, SIGSTOP);
    cr_assert (kill_all (getpid (), false, NULL, 0));
    cr_assert_not (lives (pid));
}

/* Forks as fast as it can, each process ending at once: what outruns a killer
 * that goes by a list. */
static void run_away (void)
{
    for (;;) {
        pid_t pid = fork ();
        if (pid > 0)
            _exit (0);
        if (pid < 0)
            usleep (1000);
    }
}

Test (proctree, one_that_runs_away_by_forking_is_caught, .timeout = 30)
{
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    pid_t root = fork ();
    if (root == 0)
        run_away ();
    usleep (50000);
    bool caught = false;
    for (int i = 0; i < 1000 && !caught; i++) {
        proctree_kill (getpid (), false, NULL, 0);
        while (waitpid (-1, NULL, WNOHANG) > 0)
            ;
        caught =
            waitpid (-1, NULL, WNOHANG) < 0 && proctree_count (getpid (), NULL, 0) == 0;
    }
    cr_assert (caught);
}

Test (proctree, children_are_listed)
{
    pid_t a = sleeper (), b = sleeper (), found[4];
    cr_assert_eq (proctree_children (getpid (), found, 4), 2);
    cr_assert ((found[0] == a && found[1] == b) || (found[0] == b && found[1] == a));
    cr_assert_eq (proctree_children (getpid (), found, 1), 1);
    kill (a, SIGKILL);
    kill (b, SIGKILL);
    while (wait (NULL) > 0)
        ;
}
