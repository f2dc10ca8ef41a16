/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* A kernel that emits what a file holds: rows of any dtype, so many for each item as
 * its writer likes (tests/flow/emit_property.py).
 *
 *   file   its path, from the job's folder; numbers in it are <u8:
 *          items, datasets, and of each dataset
 *            kind      0: a table that the plan declares
 *                      1: one that is met with its first rows
 *                      2: an output, of all rows
 *                      3: an output without dimensions, of the only row
 *            name, dtype: a length, and as many bytes, the last of which is NUL
 *            bytes of a row
 *            rows of each item
 *            the rows, of one item after the other
 *
 * Odd items emit their rows one by one, even ones all at once.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "sluice/kernel.h"

enum { MOST = 64 };
enum { DECLARED = 0, LATE = 1, OUTPUT = 2, SCALAR = 3 };

typedef struct {
    uint64_t kind, row_bytes, total;
    const char *name, *dtype;
    const uint8_t *counts, *rows;
} dataset_t;

typedef struct {
    uint8_t *data;
    size_t bytes, at;
    uint64_t items, n;
    dataset_t sets[MOST];
    const uint8_t *next[MOST]; /* rows of the next item of this call of run */
} state_t;

static uint64_t number_at (const uint8_t *p)
{
    uint64_t value;
    memcpy (&value, p, sizeof value);
    return value;
}

/* The next `n` bytes of the file, NULL if it has no more. */
static const uint8_t *take (state_t *s, uint64_t n)
{
    if (n > s->bytes - s->at)
        return NULL;
    s->at += (size_t) n;
    return s->data + s->at - n;
}

static bool number (state_t *s, uint64_t *value)
{
    const uint8_t *p = take (s, sizeof *value);
    if (p)
        *value = number_at (p);
    return p != NULL;
}

static bool text (state_t *s, const char **value)
{
    uint64_t n;
    if (!number (s, &n))
        return false;
    *value = (const char *) take (s, n);
    return *value && n && !(*value)[n - 1];
}

static bool dataset (state_t *s, dataset_t *set)
{
    if (!number (s, &set->kind) || !text (s, &set->name) || !text (s, &set->dtype) ||
        !number (s, &set->row_bytes) || !(set->counts = take (s, 8 * s->items)))
        return false;
    for (uint64_t i = 0; i < s->items; i++)
        set->total += number_at (set->counts + 8 * i);
    return (set->rows = take (s, set->total * set->row_bytes)) != NULL;
}

static void free_state (void *state)
{
    state_t *s = state;
    if (s)
        free (s->data);
    free (s);
}

/* All of the file behind `fd`, which it closes. */
static state_t *read_file (int fd, sluice_error_t *err)
{
    struct stat info;
    state_t *s = calloc (1, sizeof *s);
    bool good = s && fd >= 0 && fstat (fd, &info) == 0 &&
                (s->data = malloc ((size_t) info.st_size + 1)) != NULL;
    while (good && s->bytes < (size_t) info.st_size) {
        ssize_t n = read (fd, s->data + s->bytes, (size_t) info.st_size - s->bytes);
        good = n > 0;
        s->bytes += n > 0 ? (size_t) n : 0;
    }
    if (fd >= 0)
        close (fd);
    good = good && number (s, &s->items) && number (s, &s->n) && s->n <= MOST;
    for (uint64_t t = 0; good && t < s->n; t++)
        good = dataset (s, &s->sets[t]);
    if (good && s->at == s->bytes)
        return s;
    free_state (s);
    sluice_fail (err, SLUICE_EINPUT, "the file of rows cannot be read");
    return NULL;
}

/* ---- plan ---------------------------------------------------------------------- */

static int output (sluice_plan_t *p, const dataset_t *set, sluice_error_t *err)
{
    sluice_array_t array;
    if (sluice_array_make (&array, set->dtype, set->kind == OUTPUT, &set->total, err))
        return -1;
    bool overflow;
    int rc = -1;
    if (sluice_array_bytes (&array, &overflow) != set->total * set->row_bytes)
        sluice_fail (err, SLUICE_EINPUT, "%s: rows of another size", set->name);
    else {
        if (set->total)
            memcpy (array.data, set->rows, (size_t) (set->total * set->row_bytes));
        rc = sluice_plan_output (p, set->name, &array, err);
    }
    sluice_array_clear (&array);
    return rc;
}

static int plan (sluice_plan_t *p, sluice_error_t *err)
{
    const char *file = sluice_params_get (sluice_plan_params (p), "file");
    char path[4096];
    if (!file)
        return sluice_fail (err, SLUICE_EINPUT, "file is missing");
    snprintf (path, sizeof path, "%s/%s", sluice_plan_folder (p), file);
    state_t *s = read_file (open (path, O_RDONLY | O_CLOEXEC), err);
    if (!s)
        return -1;
    int rc = sluice_plan_items (p, s->items, err) || sluice_plan_input (p, file, err);
    for (uint64_t t = 0; rc == 0 && t < s->n; t++) {
        const dataset_t *set = &s->sets[t];
        if (set->kind == DECLARED)
            rc = sluice_plan_table (p, set->name, set->dtype, err);
        else if (set->kind != LATE)
            rc = output (p, set, err);
    }
    free_state (s);
    return rc ? -1 : 0;
}

/* ---- run ----------------------------------------------------------------------- */

static int open_inputs (sluice_inputs_t *inputs, void **out, sluice_error_t *err)
{
    const char *file = sluice_params_get (sluice_inputs_params (inputs), "file");
    int fd = sluice_inputs_file (inputs, file, err);
    if (fd < 0)
        return -1;
    return (*out = read_file (fd, err)) ? 0 : -1;
}

static int emit (sluice_task_t *task, uint64_t item, unsigned table, const uint8_t *rows,
                 uint64_t n, uint64_t row_bytes)
{
    if (item % 2 == 0)
        return sluice_emit (task, item, table, rows, (size_t) n);
    for (uint64_t k = 0; k < n; k++)
        if (sluice_emit (task, item, table, rows + k * row_bytes, 1))
            return -1;
    return 0;
}

static int one_item (sluice_task_t *task, state_t *s, uint64_t item, sluice_error_t *err)
{
    unsigned declared = 0;
    for (uint64_t t = 0; t < s->n; t++) {
        const dataset_t *set = &s->sets[t];
        if (set->kind > LATE)
            continue;
        uint64_t n = number_at (set->counts + 8 * item);
        int table = set->kind == DECLARED
                        ? (int) declared++
                        : sluice_table (task, set->name, set->dtype, err);
        if (table < 0 ||
            emit (task, item, (unsigned) table, s->next[t], n, set->row_bytes))
            return -1;
        s->next[t] += n * set->row_bytes;
    }
    return 0;
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    state_t *s = state;
    for (uint64_t t = 0; t < s->n; t++) {
        s->next[t] = s->sets[t].rows;
        for (uint64_t i = 0; i < first; i++)
            s->next[t] += number_at (s->sets[t].counts + 8 * i) * s->sets[t].row_bytes;
    }
    for (uint64_t item = first; item < stop; item++)
        if (one_item (task, s, item, err))
            return -1;
    return 0;
}

const sluice_kernel_t sluice_kernel = {.abi = SLUICE_KERNEL_ABI,
                                       .name = "rows",
                                       .plan = plan,
                                       .open = open_inputs,
                                       .run = run,
                                       .close = free_state};
