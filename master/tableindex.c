/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/tableindex.h"

#include <stdlib.h>

enum { BLOCK_ROWS = 744 }; /* ledger rows read at once: 64 KiB */

/* A piece: the items of its task begin at `first`, which names the task. */
typedef struct {
    uint64_t first, row, start, rows;
} piece_ref_t;

typedef struct {
    piece_ref_t *at;
    size_t n, room;
} refs_t;

static int refs_add (refs_t *refs, const index_row_t *row, sluice_error_t *err)
{
    if (refs->n == refs->room) {
        size_t room = refs->room ? 2 * refs->room : 1024;
        piece_ref_t *at = realloc (refs->at, room * sizeof *at);
        if (!at)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        refs->at = at;
        refs->room = room;
    }
    refs->at[refs->n++] = (piece_ref_t){row->first, row->row, row->start, row->rows};
    return 0;
}

static int by_task_and_row (const void *a, const void *b)
{
    const piece_ref_t *one = a, *other = b;
    if (one->first != other->first)
        return one->first < other->first ? -1 : 1;
    return one->row < other->row ? -1 : one->row > other->row;
}

static int collect (const chunks_t *index, uint32_t table, refs_t *refs,
                    sluice_error_t *err)
{
    index_row_t *rows = malloc (BLOCK_ROWS * sizeof *rows);
    if (!rows)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    uint64_t all = chunks_rows (index);
    int rc = 0;
    for (uint64_t i = 0; i < all && rc == 0; i += BLOCK_ROWS) {
        uint64_t n = all - i < BLOCK_ROWS ? all - i : BLOCK_ROWS;
        rc = chunks_read (index, i, n, rows, err);
        for (uint64_t j = 0; j < n && rc == 0; j++)
            if (rows[j].table == table)
                rc = refs_add (refs, rows + j, err);
    }
    free (rows);
    if (rc == 0 && refs->n)
        qsort (refs->at, refs->n, sizeof *refs->at, by_task_and_row);
    return rc;
}

/* The walk over one task's pieces of the table. */
typedef struct {
    const piece_ref_t *piece, *end;
    uint64_t used;          /* rows of `piece` that are given away */
    table_index_row_t last; /* not written yet, if it has rows */
    chunks_t *out;
} walk_t;

static int put (walk_t *walk, sluice_error_t *err)
{
    if (walk->last.start == walk->last.stop)
        return 0;
    return chunks_append (walk->out, &walk->last, 1, err);
}

/* The next `rows` rows of the stream belong to `item`. */
static int give (walk_t *walk, uint64_t item, uint64_t rows, sluice_error_t *err)
{
    while (rows > 0) {
        while (walk->piece < walk->end && walk->used == walk->piece->rows) {
            walk->piece++;
            walk->used = 0;
        }
        if (walk->piece == walk->end)
            return sluice_fail (err, SLUICE_EOUTPUT, "the ledger lacks rows of item %llu",
                                (unsigned long long) item);
        uint64_t n = walk->piece->rows - walk->used;
        if (n > rows)
            n = rows;
        uint64_t start = walk->piece->start + walk->used;
        if (walk->last.item == item && walk->last.stop == start)
            walk->last.stop += n;
        else {
            if (put (walk, err) < 0)
                return -1;
            walk->last = (table_index_row_t){item, start, start + n};
        }
        walk->used += n;
        rows -= n;
    }
    return 0;
}

/* Walk over the row counts of one task: `refs` are its pieces of them. */
static int walk_items (walk_t *walk, const chunks_t *items, uint32_t table,
                       const piece_ref_t *refs, size_t nrefs, sluice_error_t *err)
{
    item_rows_t rows[512];
    for (size_t i = 0; i < nrefs; i++)
        for (uint64_t done = 0; done < refs[i].rows;) {
            uint64_t n = refs[i].rows - done;
            if (n > sizeof rows / sizeof rows[0])
                n = sizeof rows / sizeof rows[0];
            if (chunks_read (items, refs[i].start + done, n, rows, err) < 0)
                return -1;
            for (uint64_t j = 0; j < n; j++) {
                if (rows[j].table != table)
                    continue;
                for (uint64_t item = rows[j].first; item < rows[j].stop; item++)
                    if (give (walk, item, rows[j].rows, err) < 0)
                        return -1;
            }
            done += n;
        }
    return 0;
}

static int join (const refs_t *pieces, const refs_t *counts, const chunks_t *items,
                 uint32_t table, chunks_t *out, sluice_error_t *err)
{
    walk_t walk = {.out = out};
    size_t c = 0;
    for (size_t i = 0; i < pieces->n;) {
        uint64_t first = pieces->at[i].first;
        size_t end = i, c_end;
        while (end < pieces->n && pieces->at[end].first == first)
            end++;
        while (c < counts->n && counts->at[c].first < first)
            c++;
        for (c_end = c; c_end < counts->n && counts->at[c_end].first == first;)
            c_end++;
        walk.piece = pieces->at + i;
        walk.end = pieces->at + end;
        walk.used = 0;
        if (walk_items (&walk, items, table, counts->at + c, c_end - c, err) < 0)
            return -1;
        i = end;
        c = c_end;
    }
    return put (&walk, err);
}

int tableindex_make (const chunks_t *index, const chunks_t *items, uint32_t items_table,
                     uint32_t table, chunks_t *out, sluice_error_t *err)
{
    refs_t pieces = {0}, counts = {0};
    int rc = collect (index, table, &pieces, err);
    if (rc == 0)
        rc = collect (index, items_table, &counts, err);
    if (rc == 0)
        rc = join (&pieces, &counts, items, table, out, err);
    free (pieces.at);
    free (counts.at);
    return rc;
}
