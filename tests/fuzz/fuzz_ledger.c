/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any bytes as an output: rows of the ledger and of tasks, and the rows of tables that
 * they speak of. What salvage keeps is consistent, and it needs no memory to speak of.
 *
 *   items <u8, number of tables met late u1, of tasks u1, of ledger rows u1, flags u1;
 *   then tasks, ledger rows, and the file from its first page on
 *
 * Flag 1: the checksums of tasks are put right first, so that more is looked at; 2: those
 * of pieces, too; 4: what is said to be compressed is, from what lies there. */

#include <stdlib.h>
#include <string.h>

#include "calc/emitter.h"
#include "master/salvage.h"
#include "master/space.h"
#include "proto/codec.h"
#include "proto/xxh3.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

enum { LATE = 2, HEAD = 12 };

static const salvage_table_t tables[] = {
    {"rows", 16, 4},
    {"sluice/stderr", 1, 100},
    {ITEMS_TABLE_NAME, sizeof (item_rows_t), 170},
    {"late/one", 8, 512},
    {"late/two", 4097, 1},
};
enum { NTABLES = 2, NALL = sizeof tables / sizeof *tables };

typedef struct {
    const uint8_t *data;
    size_t n;
} file_t;

static int read_bytes (void *arg, void *to, size_t n, uint64_t address,
                       sluice_error_t *err)
{
    const file_t *file = arg;
    (void) err;
    if (address < SPACE_PAGE || n > file->n || address - SPACE_PAGE > file->n - n)
        abort (); /* it lies in the file: that is checked before */
    memcpy (to, file->data + (address - SPACE_PAGE), n);
    return 0;
}

static uint64_t chunk_of (const index_row_t *row)
{
    return tables[row->table].chunk_rows * tables[row->table].row_bytes;
}

static bool is_deflated (const index_row_t *row)
{
    return row->table < NALL && row->stored < chunk_of (row);
}

/* A chunk that is said to be compressed becomes one, and its pieces get its rows' xxh3.
 */
static void put_deflated (index_row_t *row, uint8_t *file, size_t n)
{
    uint8_t rows[4200] = {0}, few[4200];
    uint64_t at = row->address - SPACE_PAGE, bytes = chunk_of (row);
    sluice_error_t err;
    codec_t *codec = codec_new (1, sizeof few, &err);
    memset (rows, (int) row->task, sizeof rows);
    memcpy (few, rows, sizeof few);
    size_t stored =
        codec ? codec_deflate (codec, few, bytes, tables[row->table].row_bytes) : 0;
    if (stored > 0 && at <= n && stored <= n - at && row->rows <= bytes &&
        row->offset <= bytes) {
        uint64_t own = row->rows * tables[row->table].row_bytes;
        memcpy (file + at, few, stored);
        row->stored = stored;
        if (own <= bytes - row->offset)
            row->xxh3 = XXH3_64bits (rows + row->offset, own);
    }
    codec_destroy (&codec);
}

static void put_right (salvage_rows_t *rows, const file_t *file, unsigned flags)
{
    for (size_t i = 0; flags & 1 && i < rows->ntasks; i++)
        rows->tasks[i].check = task_row_check (rows->tasks + i);
    for (size_t i = 0; flags & 2 && i < rows->nindex; i++) {
        index_row_t *row = rows->index + i;
        uint64_t bytes = row->table < NALL && row->rows <= file->n
                             ? row->rows * tables[row->table].row_bytes
                             : UINT64_MAX;
        uint64_t at = row->address + row->offset - SPACE_PAGE;
        if (is_deflated (row))
            continue;
        if (bytes <= file->n && at <= file->n - bytes)
            row->xxh3 = XXH3_64bits (file->data + at, bytes);
    }
}

static void check (const salvage_rows_t *rows, uint64_t items, uint64_t file_bytes)
{
    for (size_t i = 0; i < rows->ntasks; i++) {
        const task_row_t *task = rows->tasks + i;
        if (task->first > task->stop || task->stop > items ||
            (i && task[-1].task >= task->task))
            abort ();
    }
    for (size_t i = 0; i < rows->nindex; i++) {
        const index_row_t *row = rows->index + i;
        if (row->table >= NALL)
            abort ();
        uint64_t bytes = row->rows * tables[row->table].row_bytes;
        uint64_t end = is_deflated (row) ? row->stored : row->offset + bytes;
        if (row->offset + bytes > chunk_of (row))
            abort ();
        size_t k = 0;
        while (k < rows->ntasks && rows->tasks[k].task != row->task)
            k++;
        if (k == rows->ntasks || !row->rows || row->address % SPACE_PAGE ||
            row->address + end > file_bytes)
            abort ();
        for (size_t j = 0; j < i; j++) {
            const index_row_t *other = rows->index + j;
            uint64_t theirs = other->rows * tables[other->table].row_bytes;
            if ((is_deflated (row) || is_deflated (other)) &&
                row->address != other->address) {
                if (row->address < other->address + other->stored &&
                    other->address < row->address + row->stored)
                    abort (); /* two extents do */
                continue;
            }
            if (row->address + row->offset < other->address + other->offset + theirs &&
                other->address + other->offset < row->address + row->offset + bytes)
                abort (); /* two pieces share bytes */
        }
    }
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    uint64_t items;
    if (n < HEAD)
        return 0;
    memcpy (&items, data, sizeof items);
    unsigned nlate = data[8] % (LATE + 1), flags = data[11];
    salvage_rows_t rows = {.ntasks = data[9], .nindex = data[10]};
    size_t task_bytes = rows.ntasks * sizeof *rows.tasks,
           index_bytes = rows.nindex * sizeof *rows.index;
    if (n - HEAD < task_bytes + index_bytes)
        return 0;
    rows.tasks = malloc (task_bytes + 1);
    rows.index = malloc (index_bytes + 1);
    if (!rows.tasks || !rows.index)
        abort ();
    memcpy (rows.tasks, data + HEAD, task_bytes);
    memcpy (rows.index, data + HEAD + task_bytes, index_bytes);
    file_t file = {data + HEAD + task_bytes + index_bytes,
                   n - HEAD - task_bytes - index_bytes};
    uint8_t *own = NULL;
    if (flags & 4) {
        own = malloc (file.n + 1);
        if (!own)
            abort ();
        memcpy (own, file.data, file.n);
        for (size_t i = 0; i < rows.nindex; i++)
            if (is_deflated (rows.index + i))
                put_deflated (rows.index + i, own, file.n);
        file.data = own;
    }
    put_right (&rows, &file, flags);
    const salvage_source_t source = {.items = items,
                                     .file_bytes = SPACE_PAGE + file.n,
                                     .ntables = NTABLES,
                                     .nall = NTABLES + 1 + nlate,
                                     .tables = tables,
                                     .read = read_bytes,
                                     .arg = &file};
    salvage_damage_t damage;
    sluice_error_t err = {0};
    size_t before = rows.ntasks;
    if (salvage (&rows, &source, &damage, &err))
        abort ();
    if (rows.ntasks + damage.tasks != before)
        abort ();
    check (&rows, items, source.file_bytes);
    /* What is whole is whole when it is looked at again. */
    before = rows.ntasks;
    size_t pieces = rows.nindex;
    if (salvage (&rows, &source, &damage, &err) || damage.tasks ||
        rows.ntasks != before || rows.nindex != pieces)
        abort ();
    free (rows.tasks);
    free (rows.index);
    free (own);
    return 0;
}
