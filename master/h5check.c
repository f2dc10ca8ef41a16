/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/h5check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "calc/h5array.h"
#include "master/itemwalk.h"
#include "master/outread.h"
#include "master/salvage.h"
#include "proto/xxh3.h"

enum { BLOCK_ROWS = 744 }; /* rows of ledger and tasks read at once: 64 KiB */

/* ---- tasks ---------------------------------------------------------------------- */

/* What is compared of a finished task. */
typedef struct {
    uint64_t first, stop, task;
    uint8_t said[DIGEST_BYTES], found[DIGEST_BYTES];
} task_sum_t;

typedef struct {
    task_sum_t *at;
    size_t n;
} tasks_t;

static int by_first (const void *a, const void *b)
{
    const task_sum_t *one = a, *other = b;
    if (one->first != other->first)
        return one->first < other->first ? -1 : 1;
    return one->stop < other->stop ? -1 : one->stop > other->stop;
}

static int by_number (const void *a, const void *b)
{
    const task_sum_t *one = a, *other = b;
    return one->task < other->task ? -1 : one->task > other->task;
}

static int read_tasks (const output_t *output, tasks_t *tasks, check_report_t *report,
                       sluice_error_t *err)
{
    task_row_t *rows = malloc (BLOCK_ROWS * sizeof *rows);
    tasks->n = (size_t) output->tasks.rows;
    tasks->at = calloc (tasks->n + 1, sizeof *tasks->at);
    int rc = rows && tasks->at ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (uint64_t i = 0; i < tasks->n && rc == 0; i += BLOCK_ROWS) {
        uint64_t n = tasks->n - i < BLOCK_ROWS ? tasks->n - i : BLOCK_ROWS;
        rc = rows_read (&output->tasks, i, n, rows, err);
        for (uint64_t j = 0; j < n && rc == 0; j++) {
            task_sum_t *task = tasks->at + i + j;
            *task = (task_sum_t){rows[j].first, rows[j].stop, rows[j].task, {0}, {0}};
            memcpy (task->said, rows[j].digest, DIGEST_BYTES);
            report->items += rows[j].stop - rows[j].first;
            if (rows[j].check != task_row_check (rows + j))
                rc = sluice_fail (err, SLUICE_EOUTPUT,
                                  "%s: sluice/tasks: the row of task %llu is not what "
                                  "was written",
                                  output->path, (unsigned long long) rows[j].task);
        }
    }
    free (rows);
    report->tasks = tasks->n;
    return rc;
}

/* No task twice, no item in two tasks; then sort them by number. */
static int check_tasks (const output_t *output, tasks_t *tasks, sluice_error_t *err)
{
    if (tasks->n)
        qsort (tasks->at, tasks->n, sizeof *tasks->at, by_first);
    uint64_t next = 0;
    for (size_t i = 0; i < tasks->n; i++) {
        const task_sum_t *task = tasks->at + i;
        if (task->first > task->stop || task->stop > output->items || task->first < next)
            return sluice_fail (
                err, SLUICE_EOUTPUT,
                "%s: sluice/tasks: task %llu has items %llu to %llu, which "
                "another one has or the job has not",
                output->path, (unsigned long long) task->task,
                (unsigned long long) task->first, (unsigned long long) task->stop);
        next = task->stop;
    }
    if (tasks->n)
        qsort (tasks->at, tasks->n, sizeof *tasks->at, by_number);
    for (size_t i = 1; i < tasks->n; i++)
        if (tasks->at[i].task == tasks->at[i - 1].task)
            return sluice_fail (err, SLUICE_EOUTPUT,
                                "%s: sluice/tasks: task %llu is there "
                                "twice",
                                output->path, (unsigned long long) tasks->at[i].task);
    return 0;
}

static task_sum_t *task_find (const tasks_t *tasks, uint64_t number)
{
    task_sum_t key = {.task = number};
    return tasks->n ? bsearch (&key, tasks->at, tasks->n, sizeof key, by_number) : NULL;
}

/* ---- ledger --------------------------------------------------------------------- */

typedef struct {
    uint64_t address, stored, offset, bytes;
    uint64_t chunk; /* bytes of rows in its chunk, compressed or not */
} place_t;

static int by_address (const void *a, const void *b)
{
    const place_t *one = a, *other = b;
    if (one->address != other->address)
        return one->address < other->address ? -1 : 1;
    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

/* Extents do not overlap, nor do pieces inside one. */
static int check_places (const output_t *output, place_t *places, size_t n,
                         check_report_t *report, sluice_error_t *err)
{
    if (n)
        qsort (places, n, sizeof *places, by_address);
    for (size_t i = 0; i < n; i++) {
        const place_t *place = places + i, *last = i ? place - 1 : NULL;
        bool same = last && last->address == place->address;
        report->extents += same ? 0 : 1;
        uint64_t end =
            place->stored < place->chunk ? place->stored : place->offset + place->bytes;
        if (place->bytes > place->chunk || place->offset > place->chunk - place->bytes ||
            place->address + end > output->file_bytes ||
            (same && (last->stored != place->stored ||
                      last->offset + last->bytes > place->offset)) ||
            (last && !same && last->address + last->stored > place->address))
            return sluice_fail (
                err, SLUICE_EOUTPUT,
                "%s: sluice/index: the extent at byte %llu overlaps another "
                "one or the end of the file",
                output->path, (unsigned long long) place->address);
    }
    return 0;
}

static int check_entry (const output_t *output, const tasks_t *tasks,
                        const index_row_t *row, sluice_error_t *err)
{
    const task_sum_t *task = task_find (tasks, row->task);
    if (row->table >= output->nall || !task || task->first != row->first ||
        task->stop != row->stop)
        return sluice_fail (
            err, SLUICE_EOUTPUT,
            "%s: sluice/index: a piece of task %llu, which is not among the "
            "finished ones or has other items",
            output->path, (unsigned long long) row->task);
    return 0;
}

/* Pieces of row counts are as they were written. */
static int check_counts (const output_t *output, const index_row_t *row,
                         sluice_error_t *err)
{
    const rows_t *counts = output->tables + output->ntables;
    /* more rows than there are would be an error of rows_read */
    uint64_t most = row->rows < counts->rows ? row->rows : counts->rows;
    item_rows_t *rows = malloc ((most + 1) * sizeof *rows);
    if (!rows)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    int rc = rows_read (counts, row->start, row->rows, rows, err);
    if (rc == 0 && XXH3_64bits (rows, row->rows * sizeof *rows) != row->xxh3)
        rc =
            sluice_fail (err, SLUICE_EOUTPUT,
                         "%s: table %s, task %llu, item %llu: the rows of this piece are "
                         "not those that were written",
                         output->path, ITEMS_TABLE_NAME, (unsigned long long) row->task,
                         (unsigned long long) row->first);
    free (rows);
    return rc;
}

static int check_ledger (const output_t *output, const tasks_t *tasks,
                         check_report_t *report, sluice_error_t *err)
{
    size_t all = (size_t) output->index.rows;
    index_row_t *rows = malloc (BLOCK_ROWS * sizeof *rows);
    place_t *places = malloc ((all + 1) * sizeof *places);
    int rc = rows && places ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (uint64_t i = 0; i < all && rc == 0; i += BLOCK_ROWS) {
        uint64_t n = all - i < BLOCK_ROWS ? all - i : BLOCK_ROWS;
        rc = rows_read (&output->index, i, n, rows, err);
        for (uint64_t j = 0; j < n && rc == 0; j++) {
            const index_row_t *row = rows + j;
            rc = check_entry (output, tasks, row, err);
            if (rc < 0)
                break;
            uint64_t bytes;
            if (__builtin_mul_overflow (row->rows, output->tables[row->table].row_bytes,
                                        &bytes))
                bytes = UINT64_MAX; /* which no extent holds */
            const rows_t *table = output->tables + row->table;
            bool deflated = table->filtered && row->stored < table->chunk_bytes;
            places[i + j] = (place_t){row->address, row->stored, row->offset, bytes,
                                      deflated ? table->chunk_bytes : row->stored};
            if (row->table == output->ntables)
                rc = check_counts (output, row, err);
        }
    }
    if (rc == 0)
        rc = check_places (output, places, all, report, err);
    free (places);
    free (rows);
    return rc;
}

/* ---- content -------------------------------------------------------------------- */

static int outputs_digest (const output_t *output, size_t i, uint8_t digest[DIGEST_BYTES],
                           sluice_error_t *err)
{
    sluice_array_t array = {0};
    if (h5_read_array (output->file, output->outputs[i], &array, err) < 0) {
        if (err && err->code == SLUICE_EINPUT)
            err->code = SLUICE_EOUTPUT;
        return sluice_fail_at (err, "%s", output->path);
    }
    int rc = array_digest (output->outputs[i], &array, digest, err);
    sluice_array_clear (&array);
    return rc;
}

static int walk_table (output_t *output, uint32_t table, const tasks_t *tasks,
                       sluice_error_t *err)
{
    itemwalk_t *walk = itemwalk_new (output, table, err);
    if (!walk)
        return -1;
    uint64_t item, number;
    uint8_t digest[DIGEST_BYTES];
    int rc;
    bool content = table_is_content (output->tables[table].name);
    task_sum_t *task = NULL;
    while ((rc = itemwalk_next (walk, &item, &number, digest, err)) > 0) {
        if (!task || task->task != number)
            task = task_find (tasks, number);
        if (!task || item < task->first || item >= task->stop) {
            rc = sluice_fail (err, SLUICE_EOUTPUT,
                              "%s: table %s: item %llu is not one of task %llu",
                              output->path, output->tables[table].name,
                              (unsigned long long) item, (unsigned long long) number);
            break;
        }
        if (content)
            digest_add (task->found, digest);
    }
    itemwalk_destroy (&walk);
    return rc;
}

static int check_digests (const output_t *output, const tasks_t *tasks,
                          check_report_t *report, sluice_error_t *err)
{
    for (size_t i = 0; i < tasks->n; i++) {
        const task_sum_t *task = tasks->at + i;
        if (memcmp (task->said, task->found, DIGEST_BYTES) != 0)
            return sluice_fail (
                err, SLUICE_EOUTPUT,
                "%s: task %llu, items %llu to %llu: the rows have another "
                "digest than what was computed",
                output->path, (unsigned long long) task->task,
                (unsigned long long) task->first, (unsigned long long) task->stop);
        digest_add (report->digest, task->found);
    }
    char found[2 * DIGEST_BYTES + 1];
    digest_text (report->digest, found);
    if (*output->digest && strcmp (found, output->digest) != 0)
        return sluice_fail (err, SLUICE_EOUTPUT,
                            "%s: the content has digest %s, the file says %s",
                            output->path, found, output->digest);
    return 0;
}

static int check_declared (const output_t *output, check_report_t *report,
                           sluice_error_t *err)
{
    uint8_t digest[DIGEST_BYTES];
    for (size_t i = 0; i < output->nall; i++) {
        const rows_t *table = output->tables + i;
        if (i == output->ntables)
            continue;
        sluice_dtype_t *dtype = h5_dtype (table->type, err);
        char *text = dtype ? sluice_dtype_text (dtype) : NULL;
        bool same = text && strcmp (text, table->dtype) == 0;
        free (text);
        sluice_dtype_destroy (&dtype);
        if (!same)
            return sluice_fail (err, SLUICE_EOUTPUT, "%s: table %s is not of dtype %s",
                                output->path, table->name, table->dtype);
        table_digest (table->name, table->dtype, digest);
        if (table_is_content (table->name))
            digest_add (report->digest, digest);
        report->rows += table->rows;
        report->bytes += table->rows * table->row_bytes;
    }
    for (size_t i = 0; i < output->noutputs; i++) {
        if (outputs_digest (output, i, digest, err) < 0)
            return -1;
        digest_add (report->digest, digest);
    }
    return 0;
}

static int check_all (output_t *output, tasks_t *tasks, check_report_t *report,
                      sluice_error_t *err)
{
    if (read_tasks (output, tasks, report, err) < 0 ||
        check_tasks (output, tasks, err) < 0 ||
        check_declared (output, report, err) < 0 ||
        check_ledger (output, tasks, report, err) < 0)
        return -1;
    for (uint32_t i = 0; i < output->nall; i++)
        if (i != output->ntables && walk_table (output, i, tasks, err) < 0)
            return -1;
    if (check_digests (output, tasks, report, err) < 0)
        return -1;
    if (strcmp (output->status, "complete") == 0 && report->items != output->items)
        return sluice_fail (err, SLUICE_EOUTPUT,
                            "%s: says it is complete, but has %llu of %llu items",
                            output->path, (unsigned long long) report->items,
                            (unsigned long long) output->items);
    return 0;
}

int check_file (const char *path, check_report_t *report, sluice_error_t *err)
{
    *report = (check_report_t){0};
    output_t *output = output_open (path, err);
    if (!output)
        return -1;
    snprintf (report->run, sizeof report->run, "%s", output->run);
    snprintf (report->status, sizeof report->status, "%s", output->status);
    snprintf (report->stored, sizeof report->stored, "%s", output->digest);
    tasks_t tasks = {0};
    int rc = check_all (output, &tasks, report, err);
    free (tasks.at);
    output_close (&output);
    return rc;
}

/* ---- diff ----------------------------------------------------------------------- */

static void differ (bool *equal, char why[500], const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));
static void differ (bool *equal, char why[500], const char *format, ...)
{
    va_list args;
    va_start (args, format);
    vsnprintf (why, 500, format, args);
    va_end (args);
    *equal = false;
}

static int find_table (const output_t *output, const char *name)
{
    for (size_t i = 0; i < output->nall; i++)
        if (i != output->ntables && strcmp (output->tables[i].name, name) == 0)
            return (int) i;
    return -1;
}

/* Every table and output of `a` is there in `b`. */
static void diff_names (const output_t *a, const output_t *b, bool *equal, char why[500])
{
    for (size_t i = 0; i < a->nall && *equal; i++) {
        const rows_t *table = a->tables + i;
        if (i == a->ntables || !table_is_content (table->name))
            continue;
        int j = find_table (b, table->name);
        if (j < 0)
            differ (equal, why, "table %s is only in %s", table->name, a->path);
        else if (strcmp (table->dtype, b->tables[j].dtype) != 0)
            differ (equal, why, "table %s is of dtype %s in %s, %s in %s", table->name,
                    table->dtype, a->path, b->tables[j].dtype, b->path);
    }
    for (size_t i = 0; i < a->noutputs && *equal; i++) {
        size_t j = 0;
        while (j < b->noutputs && strcmp (a->outputs[i], b->outputs[j]) != 0)
            j++;
        if (j == b->noutputs)
            differ (equal, why, "output %s is only in %s", a->outputs[i], a->path);
    }
}

static int diff_outputs (const output_t *a, const output_t *b, bool *equal, char why[500],
                         sluice_error_t *err)
{
    for (size_t i = 0; i < a->noutputs && *equal; i++) {
        size_t j = 0;
        while (strcmp (a->outputs[i], b->outputs[j]) != 0)
            j++; /* diff_names has found it */
        uint8_t one[DIGEST_BYTES], other[DIGEST_BYTES];
        if (outputs_digest (a, i, one, err) < 0 || outputs_digest (b, j, other, err) < 0)
            return -1;
        if (memcmp (one, other, DIGEST_BYTES) != 0)
            differ (equal, why, "output %s is another", a->outputs[i]);
    }
    return 0;
}

static int diff_walks (itemwalk_t *wa, itemwalk_t *wb, const output_t *a,
                       const output_t *b, const char *table, bool *equal, char why[500],
                       sluice_error_t *err)
{
    for (;;) {
        uint64_t ia = 0, ib = 0, task;
        uint8_t da[DIGEST_BYTES], db[DIGEST_BYTES];
        int ra = itemwalk_next (wa, &ia, &task, da, err);
        int rb = ra < 0 ? -1 : itemwalk_next (wb, &ib, &task, db, err);
        if (ra < 0 || rb < 0)
            return -1;
        if (!ra && !rb)
            return 0;
        if (ra && rb && ia == ib) {
            if (memcmp (da, db, DIGEST_BYTES) == 0)
                continue;
            differ (equal, why, "table %s, item %llu: other rows", table,
                    (unsigned long long) ia);
        } else if (ra && (!rb || ia < ib))
            differ (equal, why, "table %s, item %llu: has rows only in %s", table,
                    (unsigned long long) ia, a->path);
        else
            differ (equal, why, "table %s, item %llu: has rows only in %s", table,
                    (unsigned long long) ib, b->path);
        return 0;
    }
}

static int diff_tables (output_t *a, output_t *b, bool *equal, char why[500],
                        sluice_error_t *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < a->nall && *equal && rc == 0; i++) {
        const char *name = a->tables[i].name;
        if (i == a->ntables || !table_is_content (name))
            continue;
        itemwalk_t *wa = itemwalk_new (a, i, err);
        itemwalk_t *wb =
            wa ? itemwalk_new (b, (uint32_t) find_table (b, name), err) : NULL;
        rc = wb ? diff_walks (wa, wb, a, b, name, equal, why, err) : -1;
        itemwalk_destroy (&wa);
        itemwalk_destroy (&wb);
    }
    return rc;
}

int check_diff (const char *path_a, const char *path_b, bool *equal, char why[500],
                sluice_error_t *err)
{
    *equal = true;
    why[0] = '\0';
    output_t *a = output_open (path_a, err), *b = a ? output_open (path_b, err) : NULL;
    int rc = b ? 0 : -1;
    if (rc == 0) {
        diff_names (a, b, equal, why);
        diff_names (b, a, equal, why);
        if (*equal)
            rc = diff_outputs (a, b, equal, why, err);
        if (rc == 0 && *equal)
            rc = diff_tables (a, b, equal, why, err);
    }
    output_close (&a);
    output_close (&b);
    return rc;
}
