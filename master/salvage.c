/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/salvage.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "calc/emitter.h"
#include "master/space.h"
#include "proto/codec.h"
#include "proto/xxh3.h"

/* A task's number beyond this is damage: there must be others after it. */
#define MOST_TASK (UINT64_C (1) << 62)

/* Tasks that are next to each other have their ends in the same chunks as a rule. */
enum { CHUNKS = 8 };

/* A decompressed chunk. */
typedef struct {
    uint64_t address; /* 0: none */
    uint64_t stored;
    uint32_t table;
    uint8_t *rows;
    size_t room;
} chunk_t;

typedef struct {
    const salvage_source_t *source;
    salvage_rows_t *rows;
    bool *bad; /* by task, as they are sorted by number */
    uint8_t *buffer;
    size_t buffer_bytes;
    uint8_t *stored; /* a compressed chunk, as it lies in the file */
    size_t stored_bytes;
    codec_t *codec;         /* NULL: none was met */
    chunk_t chunks[CHUNKS]; /* decompressed ones of many pieces, met last */
    size_t next_chunk;      /* the one to be replaced */
    item_hash_t *hash;
    uint64_t looked; /* bytes */
    /* of the task in hand */
    item_rows_t *counts;
    size_t ncounts, counts_room;
} work_t;

uint64_t task_row_check (const task_row_t *row)
{
    return XXH3_64bits (row, offsetof (task_row_t, check));
}

/* ---- orders ------------------------------------------------------------------- */

static int compare (uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int tasks_by_number (const void *a, const void *b)
{
    const task_row_t *one = a, *other = b;
    return compare (one->task, other->task);
}

static int by_address (const void *a, const void *b)
{
    const index_row_t *one = a, *other = b;
    int order = compare (one->address, other->address);
    return order ? order : compare (one->offset, other->offset);
}

static int by_task_and_row (const void *a, const void *b)
{
    const index_row_t *one = a, *other = b;
    int order = compare (one->task, other->task);
    if (!order)
        order = compare (one->table, other->table);
    return order ? order : compare (one->row, other->row);
}

static int by_place (const void *a, const void *b)
{
    const index_row_t *one = a, *other = b;
    int order = compare (one->table, other->table);
    if (!order)
        order = compare (one->start, other->start);
    if (!order)
        order = compare (one->address, other->address);
    return order ? order : compare (one->offset, other->offset);
}

static void sort_index (salvage_rows_t *rows, int (*order) (const void *, const void *))
{
    if (rows->nindex)
        qsort (rows->index, rows->nindex, sizeof *rows->index, order);
}

/* ---- tasks ---------------------------------------------------------------------- */

/* The place of a task; ntasks: there is none. */
static size_t find_task (const salvage_rows_t *rows, uint64_t number)
{
    task_row_t key = {.task = number};
    const task_row_t *found = rows->ntasks ? bsearch (&key, rows->tasks, rows->ntasks,
                                                      sizeof key, tasks_by_number)
                                           : NULL;
    return found ? (size_t) (found - rows->tasks) : rows->ntasks;
}

/* Where a task's items begin, and which it is. */
typedef struct {
    uint64_t first;
    size_t task;
} begin_t;

static int by_first (const void *a, const void *b)
{
    const begin_t *one = a, *other = b;
    int order = compare (one->first, other->first);
    return order ? order : compare (one->task, other->task);
}

/* No item belongs to two tasks: of those that share one none is believed. */
static int check_overlap (work_t *work, sluice_error_t *err)
{
    const salvage_rows_t *rows = work->rows;
    begin_t *begins = malloc ((rows->ntasks + 1) * sizeof *begins);
    if (!begins)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    size_t n = 0, last = 0;
    for (size_t i = 0; i < rows->ntasks; i++)
        if (!work->bad[i] && rows->tasks[i].first < rows->tasks[i].stop)
            begins[n++] = (begin_t){rows->tasks[i].first, i};
    if (n)
        qsort (begins, n, sizeof *begins, by_first);
    for (size_t i = 0; i < n; i++) {
        size_t task = begins[i].task;
        if (i && begins[i].first < rows->tasks[last].stop)
            work->bad[task] = work->bad[last] = true;
        if (!i || rows->tasks[task].stop > rows->tasks[last].stop)
            last = task;
    }
    free (begins);
    return 0;
}

static int check_tasks (work_t *work, sluice_error_t *err)
{
    salvage_rows_t *rows = work->rows;
    if (rows->ntasks)
        qsort (rows->tasks, rows->ntasks, sizeof *rows->tasks, tasks_by_number);
    for (size_t i = 0; i < rows->ntasks; i++) {
        const task_row_t *task = rows->tasks + i;
        work->bad[i] = task->check != task_row_check (task) || task->first > task->stop ||
                       task->stop > work->source->items || task->task >= MOST_TASK;
        if (i && task[-1].task == task->task)
            work->bad[i] = work->bad[i - 1] = true;
    }
    return check_overlap (work, err);
}

/* ---- pieces ----------------------------------------------------------------------- */

static uint64_t piece_bytes (const salvage_source_t *source, const index_row_t *row)
{
    return row->rows * source->tables[row->table].row_bytes;
}

/* Does it lie in a chunk that was compressed? */
static bool is_deflated (const salvage_source_t *source, const index_row_t *row)
{
    const salvage_table_t *table = source->tables + row->table;
    return row->stored < table->chunk_rows * table->row_bytes;
}

/* A piece that could be: in the file, in one chunk of its table, of its task. */
static bool piece_possible (const salvage_source_t *source, const index_row_t *row,
                            const task_row_t *task)
{
    if (row->table >= source->nall || !row->rows || row->attempt != task->attempt ||
        row->first != task->first || row->stop != task->stop)
        return false;
    const salvage_table_t *table = source->tables + row->table;
    uint64_t chunk = table->chunk_rows * table->row_bytes;
    if (row->rows > table->chunk_rows || row->stored > chunk || !row->stored)
        return false;
    uint64_t bytes = piece_bytes (source, row), end = row->offset + bytes;
    if (row->offset % table->row_bytes != 0 || row->offset > chunk - bytes)
        return false;
    if (is_deflated (source, row)) {
        end = row->stored;
        if (row->table == source->ntables || !table_is_content (table->name) ||
            !codec_possible (row->stored, chunk) ||
            (row->rows != table->chunk_rows && chunk > PACKED_DEFLATE_MOST))
            return false;
    }
    return row->address >= SPACE_PAGE && row->address % SPACE_PAGE == 0 &&
           source->file_bytes >= end && row->address <= source->file_bytes - end;
}

/* Take out pieces of no task, and those of bad ones. Which tasks have pieces that cannot
 * be is noted before. */
static void drop_bad (work_t *work)
{
    salvage_rows_t *rows = work->rows;
    size_t kept = 0;
    for (size_t i = 0; i < rows->nindex; i++) {
        size_t task = find_task (rows, rows->index[i].task);
        if (task < rows->ntasks && !work->bad[task])
            rows->index[kept++] = rows->index[i];
    }
    rows->nindex = kept;
}

static void check_possible (work_t *work)
{
    salvage_rows_t *rows = work->rows;
    for (size_t i = 0; i < rows->nindex; i++) {
        size_t task = find_task (rows, rows->index[i].task);
        if (task < rows->ntasks &&
            !piece_possible (work->source, rows->index + i, rows->tasks + task))
            work->bad[task] = true;
    }
    drop_bad (work);
}

/* No two chunks share a byte of the file, and no two pieces of a chunk: of tasks that do
 * none is believed. */
static void check_places (work_t *work)
{
    salvage_rows_t *rows = work->rows;
    sort_index (rows, by_address);
    size_t last = 0; /* the piece that reaches furthest */
    for (size_t i = 1; i < rows->nindex; i++) {
        const index_row_t *row = rows->index + i, *other = rows->index + last;
        bool same = row->address == other->address;
        bool wrong =
            same ? row->table != other->table || other->stored != row->stored ||
                       other->offset + piece_bytes (work->source, other) > row->offset
                 : other->address + other->stored > row->address;
        if (wrong)
            work->bad[find_task (rows, row->task)] =
                work->bad[find_task (rows, other->task)] = true;
        uint64_t ours = same ? row->offset + piece_bytes (work->source, row)
                             : row->address + row->stored;
        uint64_t theirs = same ? other->offset + piece_bytes (work->source, other)
                               : other->address + other->stored;
        if (ours >= theirs)
            last = i;
    }
    drop_bad (work);
}

/* ---- content ------------------------------------------------------------------------
 */

static int make_room (uint8_t **buffer, size_t *room, size_t bytes, sluice_error_t *err)
{
    if (bytes <= *room)
        return 0;
    uint8_t *grown = realloc (*buffer, bytes);
    if (!grown)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    *buffer = grown;
    *room = bytes;
    return 0;
}

/* Read and decompress the chunk in which a piece lies. 1: it is none. */
static int read_chunk (work_t *work, const index_row_t *row, uint8_t *rows,
                       sluice_error_t *err)
{
    const salvage_source_t *source = work->source;
    const salvage_table_t *table = source->tables + row->table;
    sluice_error_t why = {0};
    size_t n = (size_t) row->stored;
    if (make_room (&work->stored, &work->stored_bytes, n, err) < 0 ||
        (!work->codec && !(work->codec = codec_new (0, 0, err))))
        return -1;
    int rc = source->read (source->arg, work->stored, n, row->address, err);
    if (rc)
        return rc;
    rc = codec_inflate (work->codec, work->stored, n, rows,
                        (size_t) (table->chunk_rows * table->row_bytes),
                        (size_t) table->row_bytes, &why);
    if (rc < 0 && why.code == SLUICE_EPROTO)
        return 1;
    if (rc < 0 && err)
        *err = why;
    return rc;
}

/* Read a piece of `bytes` of a compressed chunk into the buffer. 1: there is none. */
static int read_deflated (work_t *work, const index_row_t *row, size_t bytes,
                          sluice_error_t *err)
{
    const salvage_table_t *table = work->source->tables + row->table;
    if (row->rows == table->chunk_rows)
        return read_chunk (work, row, work->buffer, err);
    chunk_t *chunk = NULL;
    for (size_t i = 0; i < CHUNKS && !chunk; i++)
        if (work->chunks[i].address == row->address &&
            work->chunks[i].stored == row->stored && work->chunks[i].table == row->table)
            chunk = work->chunks + i;
    if (!chunk) {
        chunk = work->chunks + work->next_chunk++ % CHUNKS;
        chunk->address = 0;
        if (make_room (&chunk->rows, &chunk->room,
                       (size_t) (table->chunk_rows * table->row_bytes), err) < 0)
            return -1;
        int rc = read_chunk (work, row, chunk->rows, err);
        if (rc)
            return rc;
        chunk->address = row->address;
        chunk->stored = row->stored;
        chunk->table = row->table;
    }
    memcpy (work->buffer, chunk->rows + row->offset, bytes);
    return 0;
}

/* Read a piece into the buffer. 1: it is not what was written. */
static int read_piece (work_t *work, const index_row_t *row, sluice_error_t *err)
{
    size_t bytes = piece_bytes (work->source, row);
    if (make_room (&work->buffer, &work->buffer_bytes, bytes, err) < 0)
        return -1;
    const salvage_source_t *source = work->source;
    int rc = is_deflated (source, row) ? read_deflated (work, row, bytes, err)
                                       : source->read (source->arg, work->buffer, bytes,
                                                       row->address + row->offset, err);
    work->looked += bytes;
    if (rc == 0 && source->progress)
        rc = source->progress (source->arg, work->looked, err);
    if (rc)
        return rc;
    return XXH3_64bits (work->buffer, bytes) == row->xxh3 ? 0 : 1;
}

/* The pieces of one table of a task follow each other from its first row on. */
static bool is_stream (const index_row_t *rows, size_t n)
{
    uint64_t next = 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].row != next)
            return false;
        next += rows[i].rows; /* of a file: no overflow */
    }
    return true;
}

static size_t table_end (const index_row_t *rows, size_t n)
{
    size_t end = 0;
    while (end < n && rows[end].table == rows[0].table)
        end++;
    return end;
}

/* The row counts of the task. 1: damaged. */
static int read_counts (work_t *work, const index_row_t *rows, size_t n,
                        sluice_error_t *err)
{
    work->ncounts = 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].table != work->source->ntables)
            continue;
        int rc = read_piece (work, rows + i, err);
        if (rc)
            return rc;
        size_t all = work->ncounts + (size_t) rows[i].rows;
        if (all > work->counts_room) {
            item_rows_t *counts = realloc (work->counts, all * sizeof *counts);
            if (!counts)
                return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
            work->counts = counts;
            work->counts_room = all;
        }
        memcpy (work->counts + work->ncounts, work->buffer,
                rows[i].rows * sizeof *work->counts);
        work->ncounts = all;
    }
    return 0;
}

/* The walk over the rows of one table of a task. */
typedef struct {
    const index_row_t *piece, *end;
    uint64_t used, there; /* rows of the piece in the buffer */
} walk_t;

/* Hash the next `n` rows of the stream. 1: damaged. */
static int take_rows (work_t *work, walk_t *walk, uint64_t row_bytes, uint64_t n,
                      sluice_error_t *err)
{
    while (n > 0) {
        if (walk->used == walk->there) {
            int rc = walk->piece == walk->end ? 1 : read_piece (work, walk->piece, err);
            if (rc)
                return rc;
            walk->used = 0;
            walk->there = (walk->piece++)->rows;
        }
        uint64_t part = walk->there - walk->used;
        if (part > n)
            part = n;
        item_hash_rows (work->hash, work->buffer + walk->used * row_bytes,
                        part * row_bytes);
        walk->used += part;
        n -= part;
    }
    return 0;
}

/* All rows of one table of a task, item by item. 1: damaged. */
static int walk_table (work_t *work, const task_row_t *task, uint32_t number,
                       const index_row_t *rows, size_t n, uint8_t sum[DIGEST_BYTES],
                       sluice_error_t *err)
{
    const salvage_table_t *table = work->source->tables + number;
    walk_t walk = {.piece = rows, .end = rows + n};
    uint64_t next = task->first;
    uint8_t digest[DIGEST_BYTES];
    bool content = table_is_content (table->name);
    for (size_t i = 0; i < work->ncounts; i++) {
        const item_rows_t *count = work->counts + i;
        if (count->table != number)
            continue;
        if (count->first < next || count->first >= count->stop ||
            count->stop > task->stop || !count->rows)
            return 1;
        next = count->stop;
        for (uint64_t item = count->first; item < count->stop; item++) {
            item_hash_begin (work->hash, table->name, item);
            int rc = take_rows (work, &walk, table->row_bytes, count->rows, err);
            item_hash_end (work->hash, digest);
            if (rc)
                return rc;
            if (content)
                digest_add (sum, digest);
        }
    }
    return walk.piece == walk.end && walk.used == walk.there ? 0 : 1;
}

/* Each table that items count rows of has pieces. */
static bool counts_known (const work_t *work, const index_row_t *rows, size_t n)
{
    uint32_t last = UINT32_MAX;
    for (size_t i = 0; i < work->ncounts; i++) {
        uint32_t table = work->counts[i].table;
        if (table == last)
            continue;
        if (table == work->source->ntables || table >= work->source->nall)
            return false;
        size_t k = 0;
        while (k < n && rows[k].table != table)
            k += table_end (rows + k, n - k);
        if (k == n)
            return false;
        last = table;
    }
    return true;
}

/* One task, of which these are the pieces, by table and row. 1: damaged. */
static int check_task (work_t *work, const task_row_t *task, const index_row_t *rows,
                       size_t n, sluice_error_t *err)
{
    uint8_t sum[DIGEST_BYTES] = {0};
    for (size_t i = 0, end; i < n; i += end) {
        end = table_end (rows + i, n - i);
        if (!is_stream (rows + i, end))
            return 1;
    }
    int rc = read_counts (work, rows, n, err);
    if (rc || !counts_known (work, rows, n))
        return rc ? rc : 1;
    for (size_t i = 0, end; i < n; i += end) {
        end = table_end (rows + i, n - i);
        if (rows[i].table == work->source->ntables)
            continue;
        rc = walk_table (work, task, rows[i].table, rows + i, end, sum, err);
        if (rc)
            return rc;
    }
    return memcmp (sum, task->digest, DIGEST_BYTES) == 0 ? 0 : 1;
}

static int check_content (work_t *work, sluice_error_t *err)
{
    salvage_rows_t *rows = work->rows;
    sort_index (rows, by_task_and_row);
    size_t at = 0;
    for (size_t i = 0; i < rows->ntasks; i++) {
        const task_row_t *task = rows->tasks + i;
        size_t end = at;
        if (work->bad[i])
            continue; /* it has no pieces any more */
        while (end < rows->nindex && rows->index[end].task == task->task)
            end++;
        int rc = check_task (work, task, rows->index + at, end - at, err);
        if (rc < 0)
            return -1;
        work->bad[i] = rc > 0;
        at = end;
    }
    drop_bad (work);
    return 0;
}

/* ---- all of it ----------------------------------------------------------------------
 */

static void drop_tasks (work_t *work, salvage_damage_t *damage)
{
    salvage_rows_t *rows = work->rows;
    size_t kept = 0;
    for (size_t i = 0; i < rows->ntasks; i++) {
        const task_row_t *task = rows->tasks + i;
        if (!work->bad[i]) {
            rows->tasks[kept++] = *task;
            continue;
        }
        damage->tasks++;
        if (task->check == task_row_check (task) && task->first < task->stop)
            damage->items += task->stop - task->first;
    }
    rows->ntasks = kept;
}

int salvage (salvage_rows_t *rows, const salvage_source_t *source,
             salvage_damage_t *damage, sluice_error_t *err)
{
    work_t work = {.source = source, .rows = rows};
    *damage = (salvage_damage_t){0};
    work.bad = calloc (rows->ntasks + 1, sizeof *work.bad);
    work.hash = item_hash_new ();
    int rc = -1;
    if (!work.bad || !work.hash)
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    else if (check_tasks (&work, err) == 0) {
        check_possible (&work);
        check_places (&work);
        rc = check_content (&work, err);
    }
    if (rc == 0) {
        drop_tasks (&work, damage);
        sort_index (rows, by_place);
    }
    item_hash_destroy (&work.hash);
    free (work.bad);
    codec_destroy (&work.codec);
    for (size_t i = 0; i < CHUNKS; i++)
        free (work.chunks[i].rows);
    free (work.stored);
    free (work.buffer);
    free (work.counts);
    return rc;
}
