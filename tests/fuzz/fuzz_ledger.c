/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any bytes as an output: rows of the ledger and of tasks, and the rows of tables that
 * they speak of. What salvage keeps is consistent, and it needs no memory to speak of.
 *
 *   items <u8, number of tables met late u1, of tasks u1, of ledger rows u1, flags u1;
 *   then tasks, ledger rows, and the file from its first page on
 *
 * Flag 1: the checksums of tasks are put right first, so that more is looked at; 2: those
 * of pieces, too. */

#include <stdlib.h>
#include <string.h>

#include "calc/emitter.h"
#include "master/salvage.h"
#include "master/space.h"
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
        size_t k = 0;
        while (k < rows->ntasks && rows->tasks[k].task != row->task)
            k++;
        if (k == rows->ntasks || !row->rows || row->address % SPACE_PAGE ||
            row->address + row->offset + bytes > file_bytes)
            abort ();
        for (size_t j = 0; j < i; j++) {
            const index_row_t *other = rows->index + j;
            uint64_t theirs = other->rows * tables[other->table].row_bytes;
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
    return 0;
}
