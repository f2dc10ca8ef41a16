/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The kernel of the flow tests: rows that a reader can work out anew from the
 * item alone, results as large as asked for, and all that can go wrong.
 *
 *   items     how many
 *   rows      of table `samples` for an item: so many, or with vary = 1 from
 *             none to so many, as ((item * 0x9e3779b97f4a7c15) >> 40) says
 *   bulk_kib  rows of 1 KiB of table `bulk` for an item
 *   sleep_us  that an item takes
 *   mode, at  what happens in the middle of item `at`; with `first` in front of
 *             it only when the file `marker` is not there yet (it is made);
 *             `wait` goes on when `marker` is there; `slow` makes it and the nine behind
 *             it take 100 ms more each; `plan exits` and `open fails` happen before any
 *             item
 *   yield     0: never give work back
 *   fails     in so many of 1,000 items, as fails_at () says, an error
 *   flood_mib that mode `flood` prints on stderr (20)
 *   log       a file that each item that was computed is appended to: its number and
 *             the time (CLOCK_MONOTONIC, ns), both <u8
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "sluice/kernel.h"

typedef struct {
    uint64_t item;
    uint32_t k;
    double x, u;
} __attribute__ ((packed)) sample_t;

typedef struct {
    uint64_t item, fill[127];
} bulk_t;

enum { BULK_AT_ONCE = 64 };

typedef struct {
    uint64_t rows, vary, bulk_kib, sleep_us, at, yield, fails, flood_mib;
    char mode[32], marker[512];
    bool first, escaped;
    int log; /* or -1 */
    bulk_t bulk[BULK_AT_ONCE];
} state_t;

static int plan (sluice_plan_t *p, sluice_error_t *err)
{
    uint64_t items = 0, bulk_kib = 0;
    const sluice_params_t *params = sluice_plan_params (p);
    const char *mode = sluice_params_get (params, "mode");
    if (mode && strcmp (mode, "plan exits") == 0)
        exit (0);
    if (sluice_params_u64 (params, "items", &items, err) ||
        sluice_params_u64 (params, "bulk_kib", &bulk_kib, err) ||
        sluice_plan_items (p, items, err) ||
        sluice_plan_table (p, "samples", "{item:<u8, k:<u4, x:<f8, u:<f8}", err) ||
        sluice_plan_table (p, "notes", "{item:<u8, what:|S8}", err))
        return -1;
    return bulk_kib ? sluice_plan_table (p, "bulk", "{item:<u8, fill:(127)<u8}", err) : 0;
}

static int open_inputs (sluice_inputs_t *inputs, void **out, sluice_error_t *err)
{
    const sluice_params_t *params = sluice_inputs_params (inputs);
    const char *mode = sluice_params_get (params, "mode");
    const char *marker = sluice_params_get (params, "marker");
    if (mode && strcmp (mode, "open fails") == 0)
        return sluice_fail (err, SLUICE_EINPUT, "no index was found");
    state_t *s = calloc (1, sizeof *s);
    if (!s)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    s->rows = s->yield = 1;
    s->flood_mib = 20;
    s->at = UINT64_MAX;
    if (sluice_params_u64 (params, "rows", &s->rows, err) ||
        sluice_params_u64 (params, "vary", &s->vary, err) ||
        sluice_params_u64 (params, "bulk_kib", &s->bulk_kib, err) ||
        sluice_params_u64 (params, "sleep_us", &s->sleep_us, err) ||
        sluice_params_u64 (params, "at", &s->at, err) ||
        sluice_params_u64 (params, "fails", &s->fails, err) ||
        sluice_params_u64 (params, "flood_mib", &s->flood_mib, err) ||
        sluice_params_u64 (params, "yield", &s->yield, err)) {
        free (s);
        return -1;
    }
    const char *log = sluice_params_get (params, "log");
    s->log = log ? open (log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
    s->first = mode && strncmp (mode, "first ", 6) == 0;
    snprintf (s->mode, sizeof s->mode, "%s", mode ? mode + (s->first ? 6 : 0) : "");
    snprintf (s->marker, sizeof s->marker, "%s", marker ? marker : "");
    *out = s;
    return 0;
}

static void close_inputs (void *state)
{
    state_t *s = state;
    if (s->log >= 0)
        close (s->log);
    free (state);
}

/* Children that leave the worker's session, and theirs that are orphans. */
static void escape (state_t *s)
{
    if (s->escaped)
        return;
    s->escaped = true;
    if (fork () != 0)
        return;
    setsid ();
    signal (SIGTERM, SIG_IGN);
    signal (SIGHUP, SIG_IGN);
    if (fork () == 0)
        setsid ();
    for (;;)
        pause ();
}

/* All the memory that it can get, up to 4 GiB. */
static int eat (sluice_error_t *err)
{
    for (int i = 0; i < 256; i++) {
        void *block = malloc (16u << 20);
        if (!block)
            return sluice_fail (err, SLUICE_EFAILED, "no memory after %d MiB", 16 * i);
        memset (block, i, 16u << 20);
    }
    return sluice_fail (err, SLUICE_EFAILED, "4 GiB of memory and no limit");
}

/* Write to the scratch folder until that is full. */
static int fill (const sluice_task_t *task, sluice_error_t *err)
{
    static const char block[1 << 16] = "x";
    char path[4096];
    snprintf (path, sizeof path, "%s/filler", sluice_scratch (task));
    int fd = open (path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    uint64_t bytes = 0;
    while (fd >= 0 && bytes < UINT64_C (1) << 30) {
        ssize_t n = write (fd, block, sizeof block);
        if (n < 0)
            break;
        bytes += (uint64_t) n;
    }
    int why = errno;
    if (fd >= 0)
        close (fd);
    return sluice_fail (err, SLUICE_EFAILED, "%s: %s after %llu KiB", path,
                        strerror (why), (unsigned long long) bytes >> 10);
}

static bool fails_at (const state_t *s, uint64_t item)
{
    return ((item * 0x9e3779b97f4a7c15u) >> 33) % 1000 < s->fails;
}

static int misbehave (state_t *s, const sluice_task_t *task, uint64_t item,
                      sluice_error_t *err)
{
    if (strcmp (s->mode, "wait") == 0) {
        while (access (s->marker, F_OK))
            usleep (20000);
        return 0;
    }
    if (s->first) {
        int fd = open (s->marker, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
        if (fd < 0 && errno == EEXIST)
            return 0;
        close (fd);
    }
    if (strcmp (s->mode, "slow") == 0)
        return 0;
    if (strcmp (s->mode, "abort") == 0) {
        fprintf (stderr, "about to abort\n");
        abort ();
    }
    if (strcmp (s->mode, "segv") == 0) {
        signal (SIGSEGV, SIG_DFL);
        raise (SIGSEGV);
    }
    if (strcmp (s->mode, "kill") == 0)
        raise (SIGKILL);
    if (strcmp (s->mode, "exit") == 0)
        _exit (0);
    if (strcmp (s->mode, "memory") == 0)
        return eat (err);
    if (strcmp (s->mode, "flood") == 0) {
        static const char line[] = "this line is printed again and again and again\n";
        char block[1 << 16];
        size_t n = 0;
        for (; n + sizeof line <= sizeof block; n += sizeof line - 1)
            memcpy (block + n, line, sizeof line - 1);
        for (uint64_t done = 0; done < s->flood_mib << 20; done += n)
            fwrite (block, 1, n, stderr);
        fputs ("the last line\n", stderr);
    }
    if (strcmp (s->mode, "stop") == 0) {
        raise (SIGSTOP);
        return 0; /* somebody woke us: all is well */
    }
    if (strcmp (s->mode, "spin") == 0)
        for (volatile uint64_t i = 0;; i++)
            ;
    if (strcmp (s->mode, "fill") == 0)
        return fill (task, err);
    if (strcmp (s->mode, "hang") == 0)
        for (;;)
            pause ();
    return sluice_fail (err, SLUICE_EFAILED, "item %llu cannot be computed",
                        (unsigned long long) item);
}

static int emit_bulk (sluice_task_t *task, state_t *s, uint64_t item)
{
    uint64_t x = (item + 1) * 0x9e3779b97f4a7c15u;
    for (uint64_t k = 0; k < s->bulk_kib;) {
        size_t n = s->bulk_kib - k < BULK_AT_ONCE ? s->bulk_kib - k : BULK_AT_ONCE;
        for (size_t i = 0; i < n; i++) {
            s->bulk[i].item = item;
            for (size_t j = 0; j < 127; j++)
                s->bulk[i].fill[j] = x += 0x632be59bd9b4e019u;
        }
        if (sluice_emit (task, item, 2, s->bulk, n))
            return -1;
        k += n;
    }
    return 0;
}

static int one_item (sluice_task_t *task, state_t *s, uint64_t item, sluice_error_t *err)
{
    uint64_t n = s->rows;
    if (s->vary)
        n = ((item * 0x9e3779b97f4a7c15u) >> 40) % (s->rows + 1);
    for (uint64_t k = 0; k < n; k++) {
        sample_t row = {item, (uint32_t) k, (double) item * 0.5 + (double) k, 0};
        double u;
        sluice_random (task, item, 1, k, &u, 1);
        row.u = u;
        if (sluice_emit (task, item, 0, &row, 1))
            return -1;
        if (item == s->at && k == n / 2 && misbehave (s, task, item, err))
            return -1;
    }
    if (s->fails && fails_at (s, item))
        return sluice_fail (err, SLUICE_EFAILED, "item %llu has bad luck",
                            (unsigned long long) item);
    if (n == 0 && item == s->at && misbehave (s, task, item, err))
        return -1;
    if (item % 3 == 0) {
        char bytes[16] = {0};
        memcpy (bytes, &item, sizeof item);
        snprintf (bytes + 8, 8, "%u", (unsigned) (item % 1000));
        if (sluice_emit (task, item, 1, bytes, 1))
            return -1;
    }
    return s->bulk_kib ? emit_bulk (task, s, item) : 0;
}

static int note (const state_t *s, uint64_t item, sluice_error_t *err)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    const uint64_t line[2] = {item, (uint64_t) now.tv_sec * 1000000000 +
                                        (uint64_t) now.tv_nsec};
    return write (s->log, line, sizeof line) == (ssize_t) sizeof line
               ? 0
               : sluice_fail (err, SLUICE_EFAILED, "log: %s", strerror (errno));
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    state_t *s = state;
    const struct timespec nap = {(time_t) (s->sleep_us / 1000000),
                                 (long) (s->sleep_us % 1000000) * 1000};
    for (uint64_t item = first; item < stop; item++) {
        if (s->yield && sluice_yield (task, item))
            return 0;
        if (strcmp (s->mode, "escape") == 0)
            escape (s);
        if (s->sleep_us)
            nanosleep (&nap, NULL);
        if (strcmp (s->mode, "slow") == 0 && item >= s->at && item < s->at + 10)
            nanosleep (&(struct timespec){.tv_nsec = 100000000}, NULL);
        if (one_item (task, s, item, err) || (s->log >= 0 && note (s, item, err)))
            return -1;
    }
    return 0;
}

const sluice_kernel_t sluice_kernel = {.abi = SLUICE_KERNEL_ABI,
                                       .name = "flow",
                                       .plan = plan,
                                       .open = open_inputs,
                                       .run = run,
                                       .close = close_inputs};
