/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calc/map.h"
#include "master/extract.h"
#include "proto/clock.h"

enum {
    BLOCK_ROWS = 512,    /* of tasks and failures read at once */
    LEAST_WAIT_MS = 200, /* snapshots are not made more often */
    LEISURE = 20         /* a look may take one part in so many of the time */
};

/* ---- starting it ----------------------------------------------------------- */

int follow_start (follow_t *self, const char *path, int out, sluice_error_t *err)
{
    int ends[2];
    char alive[16];
    const char *args[] = {"sluice", "get", path, MAP_STDOUT, "--follow", alive, NULL};
    if (pipe2 (ends, O_CLOEXEC))
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot show output: %s",
                            strerror (errno));
    snprintf (alive, sizeof alive, "%d", ends[0]);
    self->pid = fork ();
    if (self->pid == 0) {
        sigset_t none;
        sigemptyset (&none);
        sigprocmask (SIG_SETMASK, &none, NULL);
        signal (SIGPIPE, SIG_DFL); /* nobody looks any more: no reason to say so */
        setpgid (0, 0); /* Ctrl-C is for the master: what is done is still shown */
        fcntl (ends[0], F_SETFD, 0);
        dup2 (out, STDOUT_FILENO);
        execv ("/proc/self/exe", (char **) (uintptr_t) args);
        _exit (127);
    }
    close (ends[0]);
    if (self->pid < 0) {
        close (ends[1]);
        self->pid = 0;
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot show output: %s",
                            strerror (errno));
    }
    self->alive = ends[1];
    return 0;
}

void follow_end (follow_t *self)
{
    if (!self->pid)
        return;
    close (self->alive);
    while (waitpid (self->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    self->pid = 0;
}

/* ---- showing ---------------------------------------------------------------- */

typedef struct {
    uint64_t next; /* the first item that was not shown */
    bool line;     /* what was shown last ends in the midst of a line */
} shown_t;

typedef struct {
    uint64_t *at;
    size_t n, room;
} items_t;

static int add (items_t *items, uint64_t first, uint64_t stop, uint64_t next,
                sluice_error_t *err)
{
    for (uint64_t i = first > next ? first : next; i < stop; i++) {
        if (items->n == items->room) {
            items->room = items->room ? 2 * items->room : 1024;
            uint64_t *grown = realloc (items->at, items->room * sizeof *grown);
            if (!grown)
                return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
            items->at = grown;
        }
        items->at[items->n++] = i;
    }
    return 0;
}

static int by_number (const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *) a, other = *(const uint64_t *) b;
    return one < other ? -1 : one > other;
}

/* Items from `next` on that are done, or failed for good. */
static int read_items (const output_t *output, uint64_t next, items_t *items,
                       sluice_error_t *err)
{
    static task_row_t tasks[BLOCK_ROWS];
    static failure_row_t failures[BLOCK_ROWS];
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < output->tasks.rows; i += BLOCK_ROWS) {
        uint64_t left = output->tasks.rows - i, n = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        rc = rows_read (&output->tasks, i, n, tasks, err);
        for (uint64_t k = 0; rc == 0 && k < n; k++)
            rc = add (items, tasks[k].first, tasks[k].stop, next, err);
    }
    for (uint64_t i = 0; rc == 0 && i < output->failures.rows; i += BLOCK_ROWS) {
        uint64_t left = output->failures.rows - i,
                 n = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        rc = rows_read (&output->failures, i, n, failures, err);
        for (uint64_t k = 0; rc == 0 && k < n; k++)
            if (failures[k].final)
                rc = add (items, failures[k].first, failures[k].stop, next, err);
    }
    if (rc == 0 && items->n)
        qsort (items->at, items->n, sizeof *items->at, by_number);
    return rc;
}

static int show_rows (void *arg, const void *rows, uint64_t n, sluice_error_t *err)
{
    shown_t *shown = arg;
    shown->line = n > 0 && ((const char *) rows)[n - 1] != '\n';
    if (fwrite (rows, 1, n, stdout) == n)
        return 0;
    return sluice_fail (err, SLUICE_EOUTPUT, "standard output: %s", strerror (errno));
}

/* Show the items from `next` on as far as they follow each other; `all`: whether or
 * not they do. */
static int show_items (const output_t *output, const items_t *items, bool all,
                       shown_t *shown, sluice_error_t *err)
{
    int table = extract_table (output, MAP_STDOUT);
    stretches_t extents = {0};
    size_t at = 0;
    if (table < 0 ||
        (items->n && (all || items->at[0] == shown->next) &&
         extract_pieces (output, (uint32_t) table, shown->next, &extents, err)))
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < items->n; i++) {
        uint64_t item = items->at[i];
        if (item < shown->next)
            continue; /* it is there twice: a failure, and done after all */
        if (item != shown->next && !all)
            break;
        while (at < extents.n && extents.at[at].first < item)
            at++;
        stretches_t own = {.at = extents.at ? extents.at + at : NULL};
        while (at < extents.n && extents.at[at].first == item) {
            at++;
            own.n++;
        }
        rc = extract_rows (&output->tables[table], &own, show_rows, shown, err);
        if (shown->line)
            putchar ('\n');
        shown->line = false;
        shown->next = item + 1;
    }
    stretches_clear (&extents);
    if (rc == 0 && fflush (stdout))
        rc = sluice_fail (err, SLUICE_EOUTPUT, "standard output: %s", strerror (errno));
    return rc;
}

static int look (const char *path, bool all, shown_t *shown, sluice_error_t *err)
{
    items_t items = {0};
    output_t *output = output_open (path, err);
    if (!output)
        return -1;
    int rc = read_items (output, shown->next, &items, err);
    if (rc == 0)
        rc = show_items (output, &items, all, shown, err);
    free (items.at);
    output_close (&output);
    return rc;
}

int follow_show (const char *path, int alive, sluice_error_t *err)
{
    shown_t shown = {0};
    int64_t wait = LEAST_WAIT_MS;
    struct pollfd fd = {.fd = alive, .events = POLLIN};
    for (;;) {
        bool over = poll (&fd, 1, (int) wait) > 0;
        int64_t before = clock_ms ();
        sluice_error_t why = {0};
        int rc = look (path, over, &shown, &why);
        if (over || (rc && why.code == SLUICE_EOUTPUT && ferror (stdout))) {
            if (rc && err)
                *err = why;
            return rc;
        }
        wait = (clock_ms () - before) * LEISURE; /* else: the next state will do */
        if (wait < LEAST_WAIT_MS)
            wait = LEAST_WAIT_MS;
    }
}
