/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "node/limits.h"
#include "proto/folder.h"

static char folder[64];

static void make_folder (void)
{
    strcpy (folder, "/tmp/test_limits_XXXXXX");
    cr_assert_not_null (mkdtemp (folder));
}

static void remove_folder (void)
{
    folder_remove (folder);
}

static char *under (const char *name)
{
    static char path[512];
    snprintf (path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put (const char *name)
{
    int fd = open (under (name), O_WRONLY | O_CREAT, 0600);
    cr_assert (fd >= 0);
    close (fd);
}

TestSuite (limits, .init = make_folder, .fini = remove_folder, .timeout = 60);

Test (limits, a_folder_goes_with_all_that_is_in_it)
{
    mkdir (under ("tree"), 0700);
    mkdir (under ("tree/a"), 0700);
    mkdir (under ("tree/a/b"), 0700);
    put ("tree/a/b/file");
    put ("tree/.hidden");
    cr_assert_eq (mkfifo (under ("tree/fifo"), 0600), 0);
    cr_assert_eq (folder_remove (under ("tree")), 0);
    cr_assert_lt (access (under ("tree"), F_OK), 0);
    cr_assert_eq (folder_remove (under ("tree")), 0, "it is gone already");
}

Test (limits, links_are_not_followed)
{
    mkdir (under ("mine"), 0700);
    mkdir (under ("other"), 0700);
    put ("other/kept");
    char target[512];
    snprintf (target, sizeof target, "%s", under ("other"));
    cr_assert_eq (symlink (target, under ("mine/link")), 0);
    cr_assert_eq (folder_remove (under ("mine")), 0);
    cr_assert_eq (access (under ("other/kept"), F_OK), 0);
}

Test (limits, folders_that_were_closed_go_too)
{
    mkdir (under ("tree"), 0700);
    mkdir (under ("tree/a"), 0700);
    mkdir (under ("tree/a/b"), 0700);
    put ("tree/a/b/file");
    chmod (under ("tree/a/b"), 0);
    chmod (under ("tree/a"), 0500);
    chmod (folder, 0777);
    /* As somebody who is not root, whom no mode stops. */
    pid_t pid = fork ();
    if (pid == 0) {
        if (getuid () == 0 &&
            (chown (under ("tree"), 1000, 1000) < 0 ||
             chown (under ("tree/a"), 1000, 1000) < 0 ||
             chown (under ("tree/a/b"), 1000, 1000) < 0 || setuid (1000) < 0))
            _exit (2);
        _exit (folder_remove (under ("tree")) == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid (pid, &status, 0);
    cr_assert_eq (status, 0);
    cr_assert_lt (access (under ("tree"), F_OK), 0);
}

Test (limits, what_cannot_be_removed_is_said)
{
    cr_assert_lt (folder_remove ("/proc/self/fd"), 0);
}

Test (limits, other_descriptors_are_closed)
{
    pid_t pid = fork ();
    if (pid == 0) {
        int fds[100];
        for (int i = 0; i < 100; i++)
            fds[i] = open ("/dev/null", O_RDONLY);
        limits_close_others ((int[]){fds[7], fds[70]}, 2);
        int open_fds = 0;
        for (int i = 0; i < 100; i++)
            open_fds += fcntl (fds[i], F_GETFD) >= 0;
        _exit (open_fds == 2 && fcntl (fds[7], F_GETFD) >= 0 &&
                       fcntl (fds[70], F_GETFD) >= 0 && fcntl (2, F_GETFD) >= 0
                   ? 0
                   : 1);
    }
    int status = -1;
    waitpid (pid, &status, 0);
    cr_assert_eq (status, 0);
}

Test (limits, signals_are_as_a_program_expects)
{
    signal (SIGPIPE, SIG_IGN);
    sigset_t set;
    sigfillset (&set);
    sigprocmask (SIG_BLOCK, &set, NULL);
    limits_reset_signals ();
    struct sigaction action;
    sigaction (SIGPIPE, NULL, &action);
    cr_assert_eq (action.sa_handler, SIG_DFL);
    sigprocmask (SIG_BLOCK, NULL, &set);
    cr_assert_not (sigismember (&set, SIGTERM));
}

Test (limits, libraries_are_told_of_the_threads)
{
    setenv ("OMP_NUM_THREADS", "64", 1);
    limits_threads (2);
    cr_assert_str_eq (getenv ("OMP_NUM_THREADS"), "2");
    cr_assert_str_eq (getenv ("OPENBLAS_NUM_THREADS"), "2");
    limits_threads (0);
    cr_assert_str_eq (getenv ("OMP_NUM_THREADS"), "1");
}

Test (limits, no_core_and_no_privileges)
{
    sluice_error_t err = {0};
    cr_assert_eq (limits_apply (0, &err), 0, "%s", err.text);
    struct rlimit limit;
    getrlimit (RLIMIT_CORE, &limit);
    cr_assert_eq (limit.rlim_max, 0);
    FILE *file = fopen ("/proc/self/status", "r");
    char line[256];
    int no_new = -1;
    while (fgets (line, sizeof line, file))
        sscanf (line, "NoNewPrivs: %d", &no_new);
    fclose (file);
    cr_assert_eq (no_new, 1);
}

Test (limits, a_confined_process_reads_its_root_and_the_system_only)
{
    mkdir (under ("scratch"), 0700);
    mkdir (under ("share"), 0700);
    mkdir (under ("secret"), 0700);
    put ("share/input");
    put ("secret/file");
    pid_t pid = fork ();
    if (pid == 0) {
        char scratch[512], share[512];
        sluice_error_t err = {0};
        snprintf (scratch, sizeof scratch, "%s", under ("scratch"));
        snprintf (share, sizeof share, "%s", under ("share"));
        limits_apply (0, &err);
        int rc = limits_confine (scratch, share, &err);
        if (rc == 0)
            _exit (0); /* no Landlock here */
        if (rc < 0)
            _exit (1);
        if (open (under ("share/input"), O_RDONLY) < 0 ||
            open ("/etc/passwd", O_RDONLY) < 0 ||
            open (under ("scratch/new"), O_WRONLY | O_CREAT, 0600) < 0 ||
            open ("/dev/null", O_RDWR) < 0)
            _exit (2);
        if (open (under ("secret/file"), O_RDONLY) >= 0 ||
            open (under ("share/new"), O_WRONLY | O_CREAT, 0600) >= 0 ||
            open (under ("share/input"), O_WRONLY) >= 0 ||
            truncate (under ("share/input"), 0) == 0 ||
            unlink (under ("share/input")) == 0 || mkdir (under ("share/d"), 0700) == 0)
            _exit (3);
        _exit (0);
    }
    int status = -1;
    waitpid (pid, &status, 0);
    cr_assert_eq (status, 0, "%d", WEXITSTATUS (status));
}
