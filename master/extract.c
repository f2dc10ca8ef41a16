/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/extract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_ROWS = 744,     /* of the ledger read at once: 64 KiB */
    BLOCK_BYTES = 1 << 20 /* of a table, unless a row is larger */
};

int extract_table (const output_t *output, const char *name)
{
    for (size_t i = 0; i < output->nall; i++)
        if (i != output->ntables && strcmp (output->tables[i].name, name) == 0)
            return (int) i;
    return -1;
}

static int by_item (const void *a, const void *b)
{
    const stretch_t *one = a, *other = b;
    if (one->first != other->first)
        return one->first < other->first ? -1 : 1;
    return one->row < other->row ? -1 : one->row > other->row;
}

static int add (stretches_t *extents, size_t *room, const stretch_t *extent,
                sluice_error_t *err)
{
    if (extents->n == *room) {
        size_t more = *room ? 2 * *room : 256;
        stretch_t *grown = realloc (extents->at, more * sizeof *grown);
        if (!grown)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        extents->at = grown;
        *room = more;
    }
    extents->at[extents->n++] = *extent;
    extents->rows += extent->rows;
    return 0;
}

/* Pieces of tasks with items in first <= i < stop. */
static int pieces (const output_t *output, uint32_t table, uint64_t first, uint64_t stop,
                   stretches_t *extents, sluice_error_t *err)
{
    index_row_t *rows = malloc (BLOCK_ROWS * sizeof *rows);
    size_t room = 0;
    int rc = rows ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    *extents = (stretches_t){0};
    for (uint64_t i = 0; rc == 0 && i < output->index.rows; i += BLOCK_ROWS) {
        uint64_t left = output->index.rows - i, n = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        rc = rows_read (&output->index, i, n, rows, err);
        for (uint64_t k = 0; rc == 0 && k < n; k++)
            if (rows[k].table == table && rows[k].stop > first && rows[k].first < stop)
                rc = add (extents, &room,
                          &(stretch_t){rows[k].first, rows[k].stop, rows[k].row,
                                       rows[k].start, rows[k].rows},
                          err);
    }
    free (rows);
    if (rc)
        stretches_clear (extents);
    else if (extents->n)
        qsort (extents->at, extents->n, sizeof *extents->at, by_item);
    return rc;
}

int extract_pieces (const output_t *output, uint32_t table, uint64_t first,
                    stretches_t *extents, sluice_error_t *err)
{
    return pieces (output, table, first, UINT64_MAX, extents, err);
}

/* From <table>_index, which a finished output has. */
static int from_index (const output_t *output, const char *name, uint64_t item,
                       stretches_t *extents, sluice_error_t *err)
{
    struct {
        uint64_t item, start, stop;
    } row;
    char text[300];
    rows_t index;
    size_t room = 0;
    snprintf (text, sizeof text, "%.250s_index", name);
    if (rows_open (&index, output, text, sizeof row, err) < 0)
        return -1;
    /* Sorted by item: the first row that is not before it. */
    uint64_t low = 0, high = index.rows;
    int rc = 0;
    while (rc == 0 && low < high) {
        uint64_t middle = low + (high - low) / 2;
        rc = rows_read (&index, middle, 1, &row, err);
        if (row.item < item)
            low = middle + 1;
        else
            high = middle;
    }
    for (; rc == 0 && low < index.rows; low++) {
        rc = rows_read (&index, low, 1, &row, err);
        if (rc == 0 && row.item != item)
            break;
        if (rc == 0)
            rc = add (extents, &room,
                      &(stretch_t){item, item + 1, extents->rows, row.start,
                                   row.stop - row.start},
                      err);
    }
    rows_close (&index);
    return rc;
}

int extract_item (const output_t *output, uint32_t table, uint64_t item,
                  stretches_t *extents, sluice_error_t *err)
{
    if (pieces (output, table, item, item + 1, extents, err))
        return -1;
    bool alone = true;
    for (size_t i = 0; i < extents->n; i++)
        alone = alone && extents->at[i].stop - extents->at[i].first == 1;
    if (alone)
        return 0;
    stretches_clear (extents);
    if (!output_finished (output))
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: not finished, and its tasks have several items each: "
                            "what belongs to one cannot be told yet",
                            output->path);
    int rc = from_index (output, output->tables[table].name, item, extents, err);
    if (rc)
        stretches_clear (extents);
    return rc;
}

void stretches_clear (stretches_t *extents)
{
    free (extents->at);
    *extents = (stretches_t){0};
}

int extract_rows (const rows_t *rows, const stretches_t *extents, extract_fn *each,
                  void *arg, sluice_error_t *err)
{
    uint64_t block = rows->row_bytes < BLOCK_BYTES ? BLOCK_BYTES / rows->row_bytes : 1;
    void *buffer = malloc (block * rows->row_bytes);
    int rc = buffer ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    uint64_t held = 0; /* rows in the buffer: many pieces are small */
    for (size_t i = 0; rc == 0 && i < extents->n; i++) {
        const stretch_t *extent = &extents->at[i];
        for (uint64_t at = 0; rc == 0 && at < extent->rows;) {
            uint64_t n = extent->rows - at;
            if (n > block - held)
                n = block - held;
            rc = rows_read (rows, extent->start + at, n,
                            (char *) buffer + held * rows->row_bytes, err);
            held += n;
            at += n;
            if (rc == 0 && held == block) {
                rc = each (arg, buffer, held, err);
                held = 0;
            }
        }
    }
    if (rc == 0 && held)
        rc = each (arg, buffer, held, err);
    free (buffer);
    return rc;
}
