/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* A kernel that misbehaves as asked, for test_nursery. An item is
 * 1000000 * what + detail. */

#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "sluice/kernel.h"

enum {
    ROWS,  /* item % 7 rows of table 0, and one of table 1 if item % 3 is 0 */
    CRASH, /* a row for each item, and a crash at the item ending in 5 */
    LEAVE, /* exit (0) */
    HANG,
    FLOOD,  /* detail MiB to stderr, then an error */
    ESCAPE, /* a grandchild that leaves the session, its pid as a row; then hang */
    ESCAPE_CRASH,
    MEMORY, /* allocate until it fails, then an error */
    MEMORY_CRASH,
    ERROR, /* an error, after a line on stderr */
    BIG,   /* detail MiB of rows of table 0 */
    SLOW,  /* items that take a millisecond each, yielding */
    PLACE  /* rows: what writing to scratch and to / gave; parent, group, core limit */
};

static int plan (sluice_plan_t *p, sluice_error_t *err)
{
    if (sluice_plan_items (p, 20000000, err) < 0 ||
        sluice_plan_table (p, "values", "{item:<u8, x:<u8}", err) < 0)
        return -1;
    return sluice_plan_table (p, "thirds", "{item:<u8, x:<u8}", err);
}

static int open_inputs (sluice_inputs_t *inputs, void **state, sluice_error_t *err)
{
    *state = NULL;
    const char *how = sluice_params_get (sluice_inputs_params (inputs), "open");
    if (!how)
        return 0;
    if (strcmp (how, "fail") == 0)
        return sluice_fail (err, SLUICE_EINPUT, "no such site model");
    if (strcmp (how, "crash") == 0) {
        fprintf (stderr, "about to fall\n");
        abort ();
    }
    if (strcmp (how, "hang") == 0)
        for (;;)
            pause ();
    if (strcmp (how, "print") == 0)
        for (int i = 0; i < 200000; i++)
            fprintf (stderr, "reading line %d\n", i);
    if (strncmp (how, "hold ", 5) == 0) {
        int64_t (*create) (const char *, unsigned, int64_t, int64_t);
        *(void **) &create = dlsym (RTLD_DEFAULT, "H5Fcreate");
        if (!create || create (how + 5, 2u, 0, 0) < 0)
            return sluice_fail (err, SLUICE_EINPUT, "no HDF5 file");
    }
    return 0;
}

static int row (sluice_task_t *task, uint64_t item, unsigned table, uint64_t x)
{
    uint64_t values[2] = {item, x};
    return sluice_emit (task, item, table, values, 1);
}

static uint64_t escape (void)
{
    int ends[2];
    uint64_t pid = 0;
    if (pipe (ends) < 0)
        return 0;
    pid_t child = fork ();
    if (child == 0) {
        setsid ();
        pid_t grandchild = fork ();
        if (grandchild == 0) {
            signal (SIGTERM, SIG_IGN);
            signal (SIGHUP, SIG_IGN);
            pid = (uint64_t) getpid ();
            if (write (ends[1], &pid, sizeof pid) < 0)
                _exit (1);
            for (;;)
                pause ();
        }
        _exit (0);
    }
    waitpid (child, NULL, 0);
    if (read (ends[0], &pid, sizeof pid) < 0)
        pid = 0;
    close (ends[0]);
    close (ends[1]);
    return pid;
}

static uint64_t try_to_write (const char *folder)
{
    char path[5000];
    snprintf (path, sizeof path, "%s/sluice_nursery_kernel_was_here", folder);
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return (uint64_t) errno;
    close (fd);
    return 0;
}

static int place (sluice_task_t *task, uint64_t item)
{
    const char *threads = getenv ("OMP_NUM_THREADS");
    return row (task, item, 0, try_to_write (sluice_scratch (task))) ||
                   row (task, item, 0, try_to_write ("/var/tmp")) ||
                   row (task, item, 0, (uint64_t) (getpgrp () == getpid ())) ||
                   row (task, item, 0, threads ? (uint64_t) atoi (threads) : 0) ||
                   row (task, item, 0, (uint64_t) access ("/etc/passwd", R_OK))
               ? -1
               : 0;
}

static int grab (uint64_t item, sluice_error_t *err)
{
    for (int i = 0; i < 64 << 10; i++) {
        char *more = malloc (1 << 20);
        if (!more && item / 1000000 == MEMORY_CRASH) {
            fprintf (stderr, "std::bad_alloc\n");
            abort ();
        }
        if (!more)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        memset (more, i, 1 << 20);
    }
    return 0;
}

static int one (sluice_task_t *task, uint64_t item, sluice_error_t *err)
{
    static char line[1024];
    uint64_t detail = item % 1000000;
    switch (item / 1000000) {
    case ROWS:
        for (uint64_t i = 0; i < item % 7; i++)
            if (row (task, item, 0, i) < 0)
                return -1;
        return item % 3 ? 0 : row (task, item, 1, 3 * item);
    case CRASH:
        if (item % 10 == 5)
            raise (SIGSEGV);
        return row (task, item, 0, 1);
    case LEAVE:
        exit (0);
    case HANG:
        for (;;)
            pause ();
    case FLOOD:
        memset (line, 'x', sizeof line);
        line[sizeof line - 1] = '\n';
        for (uint64_t i = 0; i < detail << 10; i++)
            fwrite (line, sizeof line, 1, stderr);
        fprintf (stderr, "\033[31mthe very last line\n");
        return sluice_fail (err, SLUICE_EFAILED, "flooded");
    case ESCAPE:
    case ESCAPE_CRASH:
        for (unsigned i = 0; i < 70000; i++) /* more than one chunk: it leaves at once */
            if (row (task, item, 0, i) < 0)
                return -1;
        if (row (task, item, 1, escape ()) < 0)
            return -1;
        for (unsigned i = 0; i < 70000; i++)
            if (row (task, item, 1, 0) < 0)
                return -1;
        if (item / 1000000 == ESCAPE_CRASH)
            raise (SIGKILL);
        for (;;)
            pause ();
    case MEMORY:
    case MEMORY_CRASH:
        return grab (item, err);
    case ERROR:
        fprintf (stderr, "before the error %d\n", (int) detail);
        return sluice_fail (err, SLUICE_EFAILED, "item %d is bad", (int) detail);
    case BIG: {
        static uint64_t rows[64 << 10][2]; /* 1 MiB */
        for (uint64_t i = 0; i < detail; i++)
            if (sluice_emit (task, item, 0, rows, 64 << 10) < 0)
                return -1;
        return 0;
    }
    case SLOW:
        nanosleep (&(struct timespec){.tv_nsec = 1000000}, NULL);
        return row (task, item, 0, 0);
    case PLACE:
        return place (task, item);
    default:
        return 0;
    }
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    (void) state;
    for (uint64_t item = first; item < stop; item++) {
        if (item > first && sluice_yield (task, item))
            return 0;
        if (one (task, item, err) < 0)
            return -1;
    }
    return 0;
}

const sluice_kernel_t sluice_kernel = {.abi = SLUICE_KERNEL_ABI,
                                       .name = "nursery_kernel",
                                       .plan = plan,
                                       .open = open_inputs,
                                       .run = run};
