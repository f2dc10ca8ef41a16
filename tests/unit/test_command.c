/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/command.h"
#include "proto/folder.h"
#include "proto/proctree.h"

typedef struct {
    char out[2][4096];
    size_t n[2], most;
} said_t;

static int keep (void *arg, bool is_stderr, const void *data, size_t n)
{
    said_t *self = arg;
    size_t room = sizeof self->out[0] - 1 - self->n[is_stderr];
    memcpy (self->out[is_stderr] + self->n[is_stderr], data, n < room ? n : room);
    self->n[is_stderr] += n < room ? n : room;
    return self->most && self->n[0] >= self->most ? -1 : 0;
}

static command_result_t run (const char *script, double timeout, said_t *said)
{
    sluice_error_t err = {0};
    command_result_t result;
    char *words[] = {(char *) "sh", (char *) "-c", (char *) (uintptr_t) script, NULL};
    command_t command = {.words = words,
                         .environment = environ,
                         .folder = "/",
                         .timeout = timeout,
                         .arg = said,
                         .output = keep};
    cr_assert_eq (command_run (&command, &result, &err), 0, "%s", err.text);
    cr_expect_eq (proctree_count (getpid (), NULL, 0), 0, "%s: left something", script);
    return result;
}

Test (command, ends_and_what_it_says, .timeout = 20)
{
    said_t said = {0};
    command_result_t r = run ("pwd; echo oh >&2; cat; exit 3", 0, &said);
    cr_expect_eq (r.how, COMMAND_ENDED);
    cr_expect_eq (r.exit_code, 3);
    cr_expect_str_eq (said.out[0], "/\n");
    cr_expect_str_eq (said.out[1], "oh\n");
    r = run ("kill -6 $$", 0, &(said_t){.most = 0});
    cr_expect_eq (r.sig, 6);
    cr_expect_eq (r.exit_code, -1);
}

Test (command, time_is_up, .timeout = 20)
{
    command_result_t r = run ("trap '' TERM; setsid sleep 50 & sleep 50; sleep 50", 0.1,
                              &(said_t){.most = 0});
    cr_expect_eq (r.how, COMMAND_TIMEOUT);
}

Test (command, stopped_by_who_takes_its_output, .timeout = 20)
{
    said_t said = {.most = 1000};
    command_result_t r = run ("trap '' TERM PIPE; yes & yes", 0, &said);
    cr_expect_eq (r.how, COMMAND_STOPPED);
}

Test (command, children_left_behind_are_killed, .timeout = 20)
{
    said_t said = {0};
    command_result_t r = run ("echo a; sleep 50 & (setsid sleep 50 &); echo b", 0, &said);
    cr_expect_eq (r.how, COMMAND_ENDED);
    cr_expect_eq (r.exit_code, 0);
    cr_expect_eq (r.left, 2);
    cr_expect_str_eq (said.out[0], "a\nb\n");
}

Test (command, other_children_are_spared, .timeout = 20)
{
    pid_t mine = fork ();
    if (mine == 0) {
        pause ();
        _exit (0);
    }
    sluice_error_t err = {0};
    command_result_t r;
    char *words[] = {(char *) "sh", (char *) "-c", (char *) "sleep 50 & true", NULL};
    command_t command = {.words = words,
                         .environment = environ,
                         .arg = &(said_t){.most = 0},
                         .output = keep};
    cr_assert_eq (command_run (&command, &r, &err), 0);
    cr_expect_eq (proctree_count (getpid (), &mine, 1), 0);
    cr_expect_eq (kill (mine, 0), 0, "it lives");
    kill (mine, SIGKILL);
}

Test (command, what_does_not_begin, .timeout = 20)
{
    sluice_error_t err = {0};
    command_result_t r;
    char *words[] = {(char *) "/no/such", NULL};
    command_t command = {.words = words,
                         .environment = environ,
                         .folder = "/",
                         .arg = &(said_t){.most = 0},
                         .output = keep};
    cr_assert_eq (command_run (&command, &r, &err), 0);
    cr_expect_eq (r.how, COMMAND_NOT_BEGUN);
    cr_expect_eq (r.trouble, ENOENT);
    cr_expect_not (r.in_folder);
    command.folder = "/no/such";
    cr_assert_eq (command_run (&command, &r, &err), 0);
    cr_expect (r.in_folder);
}

static void put (const char *folder, const char *name, const char *text, mode_t mode)
{
    char path[200];
    snprintf (path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen (path, "w");
    fputs (text, f);
    fclose (f);
    chmod (path, mode);
}

Test (command, check)
{
    char folder[] = "/tmp/test-command-XXXXXX";
    sluice_error_t err = {0};
    cr_assert (mkdtemp (folder));
    put (folder, "good", "#!/bin/sh\n", 0755);
    put (folder, "plain", "", 0644);
    put (folder, "lost", "#!/no/such\n", 0755);
    put (folder, "env", "#!/usr/bin/env no-such\n", 0755);
    put (folder, "fine", "#!/usr/bin/env -S sh -e\n", 0755);
    cr_expect_eq (command_check ("./good", "", folder, &err), 0, "%s", err.text);
    cr_expect_eq (command_check ("good", folder, "/", &err), 0, "%s", err.text);
    cr_expect_eq (command_check ("./fine", "/usr/bin:/bin", folder, &err), 0, "%s",
                  err.text);
    cr_expect_eq (command_check ("sh", "/none:/bin:/usr/bin", folder, &err), 0);
    cr_expect_eq (command_check ("good", "/bin", folder, &err), -1);
    cr_expect (strstr (err.text, "not found in PATH"), "%s", err.text);
    cr_expect_eq (command_check ("./plain", "", folder, &err), -1);
    cr_expect (strstr (err.text, "chmod +x"), "%s", err.text);
    cr_expect_eq (command_check ("./lost", "", folder, &err), -1);
    cr_expect (strstr (err.text, "/no/such"), "%s", err.text);
    cr_expect_eq (command_check ("./env", "/bin:/usr/bin", folder, &err), -1);
    cr_expect (strstr (err.text, "no-such"), "%s", err.text);
    cr_expect_eq (command_check ("./", "", folder, &err), -1);
    folder_remove (folder);
}
