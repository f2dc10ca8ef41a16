/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/npy.h"

enum {
    BLOCK_BYTES = 256 << 10, /* converted or read at once, unless a row is larger */
    MAX_DEPTH = 8,
    NAME_BYTES = 256 /* tables' names are shorter */
};

typedef struct {
    sluice_task_t *task;
    uint64_t item, row_most;
    sluice_error_t *err;
} collector_t;

/* Rows of a .npy file, in blocks. */
static int emit_rows (const collector_t *self, const npy_t *npy, const char *table)
{
    size_t row = npy_row_bytes (npy);
    if (row > self->row_most)
        return sluice_fail (
            self->err, SLUICE_EINPUT,
            "rows of %zu bytes, more than %llu: use --max-row %zuM (a row "
            "is all that lies behind the first axis)",
            row, (unsigned long long) self->row_most, (row >> 20) + 1);
    int number = sluice_table (self->task, table, npy_dtype (npy), self->err);
    if (number < 0)
        return -1;
    uint64_t rows = npy_rows (npy), block = row < BLOCK_BYTES ? BLOCK_BYTES / row : 1;
    void *buffer = malloc (block * row);
    if (!buffer)
        return sluice_fail (self->err, SLUICE_ESYSTEM, "out of memory");
    int rc = 0;
    for (uint64_t i = 0; i < rows && rc == 0; i += block) {
        uint64_t n = rows - i < block ? rows - i : block;
        rc = npy_read (npy, i, n, buffer, self->err);
        if (rc == 0)
            rc = sluice_emit (self->task, self->item, (unsigned) number, buffer, n);
    }
    free (buffer);
    return rc;
}

static int take_npy (const collector_t *self, int fd, const char *table)
{
    npy_t *npy = npy_open (fd, self->err);
    int rc = npy ? emit_rows (self, npy, table) : -1;
    npy_destroy (&npy);
    return rc;
}

static int take_bytes (const collector_t *self, int fd, const char *table)
{
    int number = sluice_table (self->task, table, "|u1", self->err), rc = 0;
    if (number < 0)
        return -1;
    char *buffer = malloc (BLOCK_BYTES);
    if (!buffer)
        return sluice_fail (self->err, SLUICE_ESYSTEM, "out of memory");
    for (;;) {
        ssize_t n = read (fd, buffer, BLOCK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = sluice_fail (self->err, SLUICE_ESYSTEM, "cannot be read: %s",
                              strerror (errno));
        if (n <= 0 || rc)
            break;
        rc = sluice_emit (self->task, self->item, (unsigned) number, buffer, (size_t) n);
        if (rc)
            break;
    }
    free (buffer);
    return rc;
}

static int by_name (const struct dirent **a, const struct dirent **b)
{
    return strcmp ((*a)->d_name, (*b)->d_name);
}

static int seen (const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int take_folder (const collector_t *self, int at, const char *path,
                        const char *prefix, unsigned depth);

/* One file or folder; `name` is its name with those of folders before it. */
static int take_entry (const collector_t *self, int at, const char *file,
                       const char *name, unsigned depth)
{
    char table[NAME_BYTES];
    struct stat st;
    int fd = openat (at, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return sluice_fail (self->err, SLUICE_EINPUT, "%s: %s", name, strerror (errno));
    int rc = 0;
    size_t n = strlen (name);
    snprintf (table, sizeof table, "%.255s", name);
    if (fstat (fd, &st) < 0 || n + 1 > sizeof table)
        rc = sluice_fail (self->err, SLUICE_EINPUT, "%.100s: its name is too long", name);
    else if (S_ISDIR (st.st_mode)) {
        if (depth == MAX_DEPTH)
            rc = sluice_fail (self->err, SLUICE_EINPUT, "%.100s: folders too deep", name);
        else
            rc = take_folder (self, at, file, name, depth + 1);
        close (fd);
        return rc;
    } else if (S_ISREG (st.st_mode) && n > 4 && strcmp (name + n - 4, ".npy") == 0) {
        table[n - 4] = '\0';
        rc = take_npy (self, fd, table);
    } else if (S_ISREG (st.st_mode))
        rc = take_bytes (self, fd, table);
    close (fd);
    if (rc && self->err->code != SLUICE_OK)
        sluice_fail_at (self->err, "%.100s", name);
    return rc;
}

static int take_folder (const collector_t *self, int at, const char *path,
                        const char *prefix, unsigned depth)
{
    struct dirent **entries = NULL;
    int n = scandirat (at, path, &entries, seen, by_name), rc = 0;
    int fd = openat (at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (n < 0 || fd < 0)
        rc = sluice_fail (self->err, SLUICE_EINPUT, "%s: %s", *prefix ? prefix : path,
                          strerror (errno));
    for (int i = 0; i < n; i++) {
        char name[NAME_BYTES + 256];
        snprintf (name, sizeof name, "%.255s%s%s", prefix, *prefix ? "/" : "",
                  entries[i]->d_name);
        if (rc == 0)
            rc = take_entry (self, fd, entries[i]->d_name, name, depth);
        free (entries[i]);
    }
    free (entries);
    if (fd >= 0)
        close (fd);
    return rc;
}

int collect (sluice_task_t *task, uint64_t item, const char *folder, uint64_t row_most,
             sluice_error_t *err)
{
    collector_t self = {.task = task, .item = item, .row_most = row_most, .err = err};
    return take_folder (&self, AT_FDCWD, folder, "", 0);
}
