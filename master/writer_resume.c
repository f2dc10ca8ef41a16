/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "master/former.h"
#include "master/writer_state.h"
#include "proto/clock.h"

/* How a run goes on from the state that an earlier one left.
 *
 * Full chunks of whole tasks stay where they are. All else is made anew behind the
 * file's content, which costs little: the open chunks, ledger, records, constant outputs.
 * What lies between the chunks that stay is what the old state may refer to, so
 * it is retired, as anything that a newer snapshot does not need. */

/* Extents that stay. */
typedef struct {
    uint64_t address, bytes;
} kept_t;

typedef struct {
    writer_t *writer;
    const former_t *former;
    kept_t *kept;
    size_t nkept;
    uint8_t *rows;     /* of one piece */
    uint8_t *chunk;    /* decompressed; NULL: none was */
    uint64_t chunk_at; /* its address */
} work_t;

static int by_address (const void *a, const void *b)
{
    const kept_t *one = a, *other = b;
    return one->address < other->address ? -1 : one->address > other->address;
}

/* ---- tables -------------------------------------------------------------------------
 */

/* The pieces from `rows` on that lie in one chunk. */
static size_t chunk_end (const index_row_t *rows, size_t n)
{
    size_t end = 0;
    while (end < n && rows[end].table == rows[0].table &&
           rows[end].address == rows[0].address)
        end++;
    return end;
}

/* Do these pieces fill their chunk? */
static bool is_full (const writer_t *self, const index_row_t *rows, size_t n)
{
    const chunks_t *chunks = self->tables[rows[0].table].chunks;
    uint64_t next = 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].offset != next)
            return false;
        next += rows[i].rows * chunks_row_bytes (chunks);
    }
    return next == chunks_chunk_bytes (chunks);
}

static int keep_chunk (work_t *work, const index_row_t *rows, size_t n,
                       sluice_error_t *err)
{
    writer_t *self = work->writer;
    chunks_t *chunks = self->tables[rows[0].table].chunks;
    uint64_t place = chunks_full (chunks) * chunks_chunk_rows (chunks);
    uint64_t stored = rows[0].stored < chunks_chunk_bytes (chunks) ? rows[0].stored : 0;
    if (chunks_place (chunks, (chunk_place_t){rows[0].address, stored}, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        index_row_t row = rows[i];
        row.start = place + row.offset / chunks_row_bytes (chunks);
        if (ledger_add_full (self->ledger, &row, err) < 0)
            return -1;
    }
    work->kept[work->nkept++] = (kept_t){rows[0].address, rows[0].stored};
    return 0;
}

/* Decompress the chunk that a piece lies in, of which some are not taken over. */
static int read_chunk (work_t *work, const index_row_t *row, sluice_error_t *err)
{
    writer_t *self = work->writer;
    const chunks_t *chunks = self->tables[row->table].chunks;
    size_t bytes = chunks_chunk_bytes (chunks);
    if (work->chunk && work->chunk_at == row->address)
        return 0;
    if (!self->codec && !(self->codec = codec_new (0, 0, err)))
        return -1;
    uint8_t *stored = malloc (row->stored);
    free (work->chunk);
    work->chunk = malloc (bytes);
    work->chunk_at = row->address;
    int rc = -1;
    if (!stored || !work->chunk)
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    else if (outfile_read (self->file, stored, row->stored, row->address, err) == 0)
        rc = codec_inflate (self->codec, stored, row->stored, work->chunk, bytes,
                            chunks_row_bytes (chunks), err);
    free (stored);
    return rc;
}

static int repack (work_t *work, const index_row_t *row, sluice_error_t *err)
{
    writer_t *self = work->writer;
    size_t bytes = row->rows * chunks_row_bytes (self->tables[row->table].chunks);
    uint8_t *rows = realloc (work->rows, bytes);
    if (!rows)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    work->rows = rows;
    if (row->stored < chunks_chunk_bytes (self->tables[row->table].chunks)) {
        if (read_chunk (work, row, err) < 0)
            return -1;
        memcpy (rows, work->chunk + row->offset, bytes);
    } else if (outfile_read (self->file, rows, bytes, row->address + row->offset, err) <
               0)
        return -1;
    return writer_pack (self, *row, rows, err);
}

/* Full chunks first: what is packed comes behind them. */
static int take_pieces (work_t *work, bool full, sluice_error_t *err)
{
    const salvage_rows_t *rows = &work->former->rows;
    for (size_t i = 0, n; i < rows->nindex; i += n) {
        n = chunk_end (rows->index + i, rows->nindex - i);
        if (is_full (work->writer, rows->index + i, n) != full)
            continue;
        if (full && keep_chunk (work, rows->index + i, n, err) < 0)
            return -1;
        for (size_t k = i; !full && k < i + n; k++)
            if (repack (work, rows->index + k, err) < 0)
                return -1;
    }
    return 0;
}

static int make_late (writer_t *self, const former_t *former, sluice_error_t *err)
{
    for (size_t i = 0; i < former->nlate; i++) {
        const former_table_t *late = former->late + i;
        wtable_t *table = self->tables + self->nall;
        if (wtable_make (self, table, late->name, late->dtype,
                         chunk_rows_for (late->row_bytes), err) < 0) {
            wtable_clear (table);
            return -1;
        }
        self->nall++;
        uint8_t digest[DIGEST_BYTES];
        table_digest (late->name, late->dtype, digest);
        digest_add (self->digest, digest);
    }
    return 0;
}

/* ---- records -------------------------------------------------------------------------
 */

static int take_nodes (writer_t *self, const former_t *former, sluice_error_t *err)
{
    taken_t *taken = &self->taken;
    taken->nodes = malloc ((former->nnodes + 1) * sizeof *taken->nodes);
    if (!taken->nodes)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (size_t i = 0; i < former->nnodes; i++) {
        uint32_t node = former->nodes[i].node;
        taken->nodes[taken->nnodes++] = former->nodes[i];
        if (node < UINT32_MAX / 2 && node >= self->first_node)
            self->first_node = node + 1;
    }
    return chunks_append (self->system[NODES].chunks, former->nodes, former->nnodes, err);
}

/* What failed for good is tried again. */
static int take_failures (writer_t *self, former_t *former, sluice_error_t *err)
{
    for (size_t i = 0; i < former->nfailures; i++)
        former->failures[i].final = false;
    return chunks_append (self->system[FAILURES].chunks, former->failures,
                          former->nfailures, err);
}

static int by_first (const void *a, const void *b)
{
    const range_t *one = a, *other = b;
    return one->first < other->first ? -1 : one->first > other->first;
}

/* The items of all tasks, as few ranges as can be. */
static int take_ranges (taken_t *taken, const salvage_rows_t *rows, sluice_error_t *err)
{
    range_t *ranges = malloc ((rows->ntasks + 1) * sizeof *ranges);
    if (!ranges)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < rows->ntasks; i++)
        if (rows->tasks[i].first < rows->tasks[i].stop)
            ranges[n++] = (range_t){rows->tasks[i].first, rows->tasks[i].stop};
    if (n)
        qsort (ranges, n, sizeof *ranges, by_first);
    for (size_t i = 0; i < n; i++)
        if (kept && ranges[kept - 1].stop == ranges[i].first)
            ranges[kept - 1].stop = ranges[i].stop;
        else
            ranges[kept++] = ranges[i];
    range_t *fitting = realloc (ranges, (kept + 1) * sizeof *ranges);
    taken->ranges = fitting ? fitting : ranges;
    taken->nranges = kept;
    return 0;
}

static int take_tasks (writer_t *self, const former_t *former, sluice_error_t *err)
{
    const salvage_rows_t *rows = &former->rows;
    writer_taken_t *sums = &self->taken.sums;
    for (size_t i = 0; i < rows->ntasks; i++) {
        const task_row_t *task = rows->tasks + i;
        digest_add (self->digest, task->digest);
        self->nitems += task->stop - task->first;
        if (task->task >= sums->first_task)
            sums->first_task = task->task + 1;
    }
    for (size_t i = 0; i < rows->nindex; i++) {
        const index_row_t *row = rows->index + i;
        if (row->table == self->ntables)
            continue;
        self->nrows += row->rows;
        self->nbytes += row->rows * chunks_row_bytes (self->tables[row->table].chunks);
    }
    self->ntasks = rows->ntasks;
    sums->tasks = self->ntasks;
    sums->items = self->nitems;
    sums->bytes = self->nbytes;
    sums->damaged_tasks = former->damage.tasks;
    sums->damaged_items = former->damage.items;
    self->taken.times = former->resumed + 1;
    if (take_ranges (&self->taken, rows, err) < 0)
        return -1;
    return chunks_append (self->system[TASKS].chunks, rows->tasks, rows->ntasks, err);
}

/* ---- space
 * ----------------------------------------------------------------------------- */

/* What lies between the extents that stay is needed by the old state alone. */
static void retire_rest (const work_t *work, uint64_t end)
{
    uint64_t next = SPACE_PAGE;
    if (work->nkept)
        qsort (work->kept, work->nkept, sizeof *work->kept, by_address);
    for (size_t i = 0; i <= work->nkept; i++) {
        uint64_t stop = i < work->nkept ? work->kept[i].address : end;
        if (stop > next)
            space_retire (work->writer->space, next, stop - next);
        if (i == work->nkept)
            return;
        next = stop + work->kept[i].bytes;
        next = (next + SPACE_PAGE - 1) / SPACE_PAGE * SPACE_PAGE;
    }
}

/* Where the file is free: behind all that any state refers to which somebody could
 * read. */
static uint64_t content_end (const former_t *former, uint64_t size, bool alone)
{
    uint64_t end = former->end > SPACE_PAGE ? former->end : SPACE_PAGE;
    if (!alone && size > end)
        end = size;
    for (size_t i = 0; i < former->rows.nindex; i++) {
        const index_row_t *row = former->rows.index + i;
        if (row->address + row->stored > end)
            end = row->address + row->stored;
    }
    return (end + SPACE_PAGE - 1) / SPACE_PAGE * SPACE_PAGE;
}

/* ---- all of it
 * ------------------------------------------------------------------------- */

static int take_over (work_t *work, former_t *former, sluice_error_t *err)
{
    writer_t *self = work->writer;
    work->kept = malloc ((former->rows.nindex + 1) * sizeof *work->kept);
    if (!work->kept)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    snprintf (self->started, sizeof self->started, "%s", former->started);
    if (former->seconds > 0 && former->seconds < 1e12)
        self->began -= former->seconds;
    if (make_late (self, former, err) < 0)
        return -1;
    ledger_mark (self->ledger); /* else rows that it settles would stay unsettled, too */
    if (take_pieces (work, true, err) < 0 || take_pieces (work, false, err) < 0)
        return -1;
    ledger_commit (self->ledger);
    if (take_nodes (self, former, err) < 0 || take_failures (self, former, err) < 0 ||
        take_tasks (self, former, err) < 0)
        return -1;
    return writer_constants (self, err);
}

/* Does nobody read the file? */
static bool alone (int fd)
{
    return flock (fd, LOCK_EX | LOCK_NB) == 0 && flock (fd, LOCK_UN) == 0;
}

static int resume (writer_t *self, const writer_options_t *options, former_t *former,
                   sluice_error_t *err)
{
    int fd;
    self->path = outpath_resume (options->path, options->plan, options->run, &fd, err);
    if (!self->path)
        return -1;
    uint64_t size = 0;
    if (former_read (options->path, fd, self->identity, options, former, &size, err) <
        0) {
        close (fd);
        return -1;
    }
    uint64_t end = content_end (former, size, alone (fd));
    work_t work = {.writer = self, .former = former};
    int rc = writer_open (self, options, fd, end, err);
    if (rc == 0)
        rc = take_over (&work, former, err);
    if (rc == 0)
        retire_rest (&work, end);
    free (work.kept);
    free (work.rows);
    free (work.chunk);
    self->largest_end = self->snapshot_end = end;
    self->changed = true;
    return rc == 0 ? writer_snapshot (self, err) : -1;
}

writer_t *writer_resume (const writer_options_t *options, sluice_error_t *err)
{
    former_t former = {0};
    writer_t *self = writer_begin (options, err);
    if (self && resume (self, options, &former, err) < 0)
        writer_destroy (&self);
    former_clear (&former);
    return self;
}
