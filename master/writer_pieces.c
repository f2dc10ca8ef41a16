/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/writer.h"

#include <stdlib.h>
#include <string.h>
#include "master/salvage.h"
#include "master/writer_state.h"
#include "proto/clock.h"
#include "proto/xxh3.h"

enum { PACKED_LEVEL = 1 }; /* one process does it, whatever workers take their time for */

/* ---- is it right? ------------------------------------------------------------- */

static int refuse (const piece_t *piece, sluice_error_t *err, const char *why)
{
    return sluice_fail (err, SLUICE_EPROTO, "task %llu, attempt %u: %s",
                        (unsigned long long) piece->task, piece->attempt, why);
}

/* Follow the row counts of one part of the items table. */
static int count_items (writer_t *self, const piece_t *piece, const part_t *part,
                        const uint8_t *rows, sluice_error_t *err)
{
    for (uint64_t i = 0; i < part->rows; i++) {
        item_rows_t row;
        memcpy (&row, rows + i * sizeof row, sizeof row);
        if (row.table == self->ntables || !late_row_bytes (self, row.table) ||
            row.first >= row.stop || !row.rows)
            return refuse (piece, err, "row counts that cannot be right");
        stream_t *stream = self->streams + row.table;
        uint64_t items = row.stop - row.first, sum;
        if (row.first < piece->first || row.stop > piece->stop ||
            row.first < stream->next || __builtin_mul_overflow (items, row.rows, &sum) ||
            __builtin_add_overflow (stream->counted, sum, &stream->counted))
            return refuse (piece, err, "row counts of items that are not next");
        stream->next = row.stop;
    }
    return 0;
}

/* Rows of a chunk of a table of the attempt. */
static uint64_t chunk_rows (const writer_t *self, uint32_t table)
{
    return table <= self->ntables ? chunks_chunk_rows (self->tables[table].chunks)
                                  : chunk_rows_for (late_row_bytes (self, table));
}

/* Exactly a chunk of a table whose chunks may be compressed. */
static bool is_chunk (const writer_t *self, const piece_t *piece, const part_t *part)
{
    return piece->kind == PIECE_DATA && piece->nparts == 1 &&
           part->deflated < part->bytes && part->rows == chunk_rows (self, part->table) &&
           (part->table > self->ntables ? self->deflate > 0
                                        : writer_deflates (self, part->table));
}

/* Take a copy of the attempt's streams and let the piece's parts go on from it. */
static int follow (writer_t *self, const attempt_t *attempt, const piece_t *piece,
                   const uint8_t *payload, sluice_error_t *err)
{
    size_t n = self->ntables + 1u + PIECE_MAX_LATE;
    if (attempt)
        memcpy (self->streams, attempt->streams, n * sizeof *self->streams);
    else
        memset (self->streams, 0, n * sizeof *self->streams);
    if (piece->first > piece->stop)
        return refuse (piece, err, "items that end before they begin");
    if (late_follow (self, attempt, piece, err) < 0)
        return -1;
    uint64_t left = piece->payload;
    for (size_t i = 0; i < piece->nparts; i++) {
        const part_t *part = piece->parts + i;
        uint64_t bytes, row_bytes = late_row_bytes (self, part->table);
        if (!row_bytes)
            return refuse (piece, err, "a table that the job has not");
        if (!part->rows || __builtin_mul_overflow (part->rows, row_bytes, &bytes) ||
            bytes != part->bytes)
            return refuse (piece, err, "a part of a wrong size");
        stream_t *stream = self->streams + part->table;
        if (part->row != stream->rows)
            return refuse (piece, err, "rows that do not continue its stream");
        if (part->deflated && !is_chunk (self, piece, part))
            return refuse (piece, err, "a part that must not be compressed");
        uint64_t came = part_payload (part);
        if (came > left)
            return refuse (piece, err, "a part of a wrong size");
        if (!self->unchecked && XXH3_64bits (payload, came) !=
                                    (part->deflated ? part->deflated_xxh3 : part->xxh3))
            return refuse (piece, err, "rows that changed on the way");
        stream->rows += part->rows;
        if (part->table == self->ntables &&
            count_items (self, piece, part, payload, err) < 0)
            return -1;
        payload += came;
        left -= came;
    }
    return 0;
}

/* Of a task that is done the rows that came are those that its items have. */
static int agrees (writer_t *self, const piece_t *piece, sluice_error_t *err)
{
    for (uint32_t i = 0; i <= self->ntables + PIECE_MAX_LATE; i++)
        if (i != self->ntables && (self->streams[i].rows != self->streams[i].counted ||
                                   self->streams[i].next > piece->stop))
            return refuse (piece, err, "its rows are not those of its items");
    return 0;
}

/* ---- DATA --------------------------------------------------------------------- */

static int take_data (writer_t *self, attempt_t *attempt, const piece_t *piece,
                      const uint8_t *payload, sluice_error_t *err)
{
    if (piece->nparts != 1)
        return refuse (piece, err, "a DATA piece has one part");
    if (!attempt)
        attempt = attempts_add (self->attempts, piece->task, piece->attempt);
    if (!attempt || !attempt_reserve (attempt) || !attempt_keep_met (attempt, self->met))
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    const part_t *part = piece->parts;
    held_t held = {
        .table = part->table,
        .full = part->rows == chunk_rows (self, part->table),
        .row = part->row,
        .rows = part->rows,
        .address = space_alloc (self->space, part_payload (part)),
        .xxh3 = part->xxh3,
        .bytes = part->bytes,
        .deflated = part->deflated,
    };
    if (outfile_write_extent (self->file, payload, part_payload (part), held.address,
                              err) < 0) {
        space_free (self->space, held.address, part_payload (part));
        return -1;
    }
    attempt->held[attempt->nheld++] = held;
    memcpy (attempt->streams, self->streams,
            (self->ntables + 1u + PIECE_MAX_LATE) * sizeof *self->streams);
    return 0;
}

/* ---- DONE --------------------------------------------------------------------- */

/* What a full chunk of packed rows is compressed with. Not once some of them have their
 * place in the ledger, or somebody reads them where they are. */
static codec_t *packing_codec (writer_t *self, uint32_t table)
{
    uint64_t most = chunks_chunk_bytes (self->tables[table].chunks);
    if (!writer_deflates (self, table) || self->telling || most > PACKED_DEFLATE_MOST ||
        ledger_pinned (self->ledger, table))
        return NULL;
    if (!self->packer)
        self->packer = codec_new (PACKED_LEVEL, PACKED_DEFLATE_MOST, NULL);
    return self->packer; /* none if memory is short: then it stays as it is */
}

int writer_pack (writer_t *self, index_row_t entry, const uint8_t *rows,
                 sluice_error_t *err)
{
    chunks_t *chunks = self->tables[entry.table].chunks;
    uint64_t row_bytes = chunks_row_bytes (chunks), full = chunks_chunk_rows (chunks);
    uint64_t left = entry.rows;
    bool whole = true;
    while (left > 0) {
        uint64_t place = chunks_full (chunks) * full, done, before;
        chunk_place_t at;
        codec_t *codec = packing_codec (self, entry.table);
        if (chunks_pack (chunks, rows, left, codec, &done, &at, &before, err) < 0)
            return -1;
        whole = whole && done == left;
        entry.rows = done;
        entry.start = before;
        entry.address = at.address;
        entry.stored = at.deflated ? at.deflated : chunks_chunk_bytes (chunks);
        entry.offset = before * row_bytes;
        if (!whole)
            entry.xxh3 = XXH3_64bits (rows, done * row_bytes);
        if (at.deflated)
            ledger_move (self->ledger, entry.table, at.address, at.deflated);
        else
            at.address += entry.offset;
        if (ledger_add_packed (self->ledger, &entry, place, err) < 0 ||
            told_extent (self, entry.table, done, at, err) < 0)
            return -1;
        if (before + done == full &&
            ledger_fill (self->ledger, entry.table, place, err) < 0)
            return -1;
        entry.row += done;
        rows += done * row_bytes;
        left -= done;
    }
    return 0;
}

/* Give row counts the file's numbers of their tables. */
static void renumber (const writer_t *self, uint8_t *rows, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        item_rows_t row;
        memcpy (&row, rows + i * sizeof row, sizeof row);
        row.table = late_number (self, row.table);
        memcpy (rows + i * sizeof row, &row, sizeof row);
    }
}

/* Pack rows that came as those of the attempt's table `table`. */
static int pack_part (writer_t *self, index_row_t entry, uint32_t table,
                      const uint8_t *rows, uint64_t bytes, sluice_error_t *err)
{
    entry.table = late_number (self, table);
    if (table != self->ntables || !late_renumbers (self))
        return writer_pack (self, entry, rows, err);
    uint8_t *copy = malloc (bytes);
    if (!copy)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    memcpy (copy, rows, bytes);
    renumber (self, copy, entry.rows);
    entry.xxh3 = XXH3_64bits (copy, bytes);
    int rc = writer_pack (self, entry, copy, err);
    free (copy);
    return rc;
}

/* The rows of a held piece, from the file. */
static int read_held (writer_t *self, const held_t *held, uint8_t *rows,
                      sluice_error_t *err)
{
    if (!held->deflated)
        return outfile_read (self->file, rows, held->bytes, held->address, err);
    if (!self->codec && !(self->codec = codec_new (0, 0, err)))
        return -1;
    uint8_t *stored = malloc (held->deflated);
    if (!stored)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    int rc = outfile_read (self->file, stored, held->deflated, held->address, err);
    if (rc == 0)
        rc = codec_inflate (self->codec, stored, held->deflated, rows, held->bytes,
                            held->bytes / held->rows, err);
    free (stored);
    return rc;
}

/* Put one held piece into its table. *kept is set when its extent became part of
 * the table. */
static int put_held (writer_t *self, index_row_t entry, const held_t *held, bool *kept,
                     sluice_error_t *err)
{
    entry.table = late_number (self, held->table);
    chunks_t *chunks = self->tables[entry.table].chunks;
    entry.row = held->row;
    entry.rows = held->rows;
    entry.xxh3 = held->xxh3;
    *kept = held->full && !ledger_pinned (self->ledger, entry.table) &&
            (held->table != self->ntables || !late_renumbers (self));
    if (*kept) {
        entry.start = chunks_full (chunks) * chunks_chunk_rows (chunks);
        entry.address = held->address;
        entry.stored = held_stored (held);
        chunk_place_t place = {held->address, held->deflated};
        if (chunks_place (chunks, place, err) < 0 ||
            told_extent (self, entry.table, held->rows, place, err) < 0)
            return -1;
        return ledger_add_full (self->ledger, &entry, err);
    }
    uint8_t *rows = malloc (held->bytes);
    if (!rows)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    int rc = read_held (self, held, rows, err);
    if (rc == 0)
        rc = pack_part (self, entry, held->table, rows, held->bytes, err);
    free (rows);
    return rc;
}

/* The number of a node in the file, where earlier runs have theirs. */
static uint32_t node_number (const writer_t *self, uint32_t node)
{
    return node < self->nnodes && self->nodes[node] ? self->nodes[node] - 1
                                                    : self->first_node + node;
}

static int put_task (writer_t *self, uint32_t node, const attempt_t *attempt, bool *kept,
                     const piece_t *piece, const uint8_t *payload, uint64_t bytes,
                     sluice_error_t *err)
{
    index_row_t entry = {.task = piece->task,
                         .attempt = piece->attempt,
                         .first = piece->first,
                         .stop = piece->stop};
    for (size_t i = 0; attempt && i < attempt->nheld; i++)
        if (put_held (self, entry, attempt->held + i, kept + i, err) < 0)
            return -1;
    for (size_t i = 0; i < piece->nparts; i++) {
        const part_t *part = piece->parts + i;
        entry.row = part->row;
        entry.rows = part->rows;
        entry.xxh3 = part->xxh3;
        if (pack_part (self, entry, part->table, payload, part->bytes, err) < 0)
            return -1;
        payload += part->bytes;
    }
    task_row_t task = {
        .task = piece->task,
        .attempt = piece->attempt,
        .node = node_number (self, node),
        .first = piece->first,
        .stop = piece->stop,
        .bytes = bytes,
        .seconds = piece->seconds,
        .cpu = piece->cpu,
        .rss = piece->rss,
        .received = clock_seconds () - self->began,
    };
    memcpy (task.digest, piece->digest, DIGEST_BYTES);
    task.check = task_row_check (&task);
    return chunks_append (self->system[TASKS].chunks, &task, 1, err);
}

static void mark (writer_t *self)
{
    for (uint32_t i = 0; i < self->nall; i++)
        chunks_mark (self->tables[i].chunks);
    chunks_mark (self->system[TASKS].chunks);
    ledger_mark (self->ledger);
}

static void commit (writer_t *self)
{
    for (uint32_t i = 0; i < self->nall; i++)
        chunks_commit (self->tables[i].chunks);
    chunks_commit (self->system[TASKS].chunks);
    ledger_commit (self->ledger);
}

static void rollback (writer_t *self)
{
    for (uint32_t i = 0; i < self->nall; i++)
        chunks_rollback (self->tables[i].chunks);
    chunks_rollback (self->system[TASKS].chunks);
    ledger_rollback (self->ledger);
}

/* Open chunks may take so much memory together: put the largest on the disk. */
static void limit_packed (writer_t *self)
{
    for (;;) {
        uint64_t sum = 0, most = 0;
        chunks_t *largest = NULL;
        for (uint32_t i = 0; i < self->nall; i++) {
            uint64_t bytes = chunks_waiting (self->tables[i].chunks);
            sum += bytes;
            if (bytes > most) {
                most = bytes;
                largest = self->tables[i].chunks;
            }
        }
        /* When the disk is full the next piece says so: here nothing is lost. */
        if (sum <= self->packed_max || chunks_spill (largest, NULL) < 0)
            return;
    }
}

static void free_held (writer_t *self, const attempt_t *attempt, const bool *kept)
{
    for (size_t i = 0; i < attempt->nheld; i++)
        if (!kept || !kept[i])
            space_free (self->space, attempt->held[i].address,
                        held_stored (attempt->held + i));
}

static int take_done (writer_t *self, uint32_t node, const attempt_t *attempt,
                      const piece_t *piece, const uint8_t *payload, sluice_error_t *err)
{
    if (agrees (self, piece, err) < 0)
        return -1;
    uint64_t rows = 0, bytes = 0;
    for (uint32_t i = 0; i <= self->ntables + PIECE_MAX_LATE; i++) {
        if (i == self->ntables || !self->streams[i].rows)
            continue;
        rows += self->streams[i].rows;
        bytes += self->streams[i].rows * late_row_bytes (self, i);
    }
    bool *kept = calloc (attempt ? attempt->nheld + 1 : 1, sizeof *kept);
    if (!kept || !attempts_reserve_finished (self->attempts, piece->task)) {
        free (kept);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    uint32_t before = self->nall;
    told_t *told = NULL;
    told_begin (self);
    mark (self);
    if (late_make (self, err) < 0 ||
        put_task (self, node, attempt, kept, piece, payload, bytes, err) < 0 ||
        (self->telling && !(told = told_make (self, piece, before, err)))) {
        rollback (self);
        late_undo (self, before);
        free (kept);
        return -1;
    }
    commit (self);
    if (told)
        told_add (self, told);
    for (const attempt_t *a = attempts_of (self->attempts, piece->task); a; a = a->next)
        free_held (self, a, a == attempt ? kept : NULL);
    free (kept);
    attempts_forget (self->attempts, piece->task);
    attempts_add_finished (self->attempts, piece->task);
    self->ntasks++;
    self->nitems += piece->stop - piece->first;
    self->nrows += rows;
    self->nbytes += bytes;
    digest_add (self->digest, piece->digest);
    for (uint32_t i = before; i < self->nall; i++) {
        uint8_t digest[DIGEST_BYTES];
        table_digest (self->tables[i].name, self->tables[i].dtype, digest);
        digest_add (self->digest, digest);
    }
    self->changed = true;
    limit_packed (self);
    return 0;
}

/* ---- what the master calls ------------------------------------------------------ */

static int begin (writer_t *self, sluice_error_t *err)
{
    outfile_clear (self->file);
    self->full = false;
    if (self->finished || self->indexed)
        return sluice_fail (err, SLUICE_EOUTPUT, "the output is finished already");
    /* A superblock that found no space is laid again by the next tick. */
    if (writer_poll (self, false, err) < 0 && self->broken)
        return -1;
    self->full = false;
    return 0;
}

int writer_piece (writer_t *self, uint32_t node, const piece_t *piece,
                  const void *payload, sluice_error_t *err)
{
    if (begin (self, err) < 0)
        return -1;
    if (memcmp (piece->run, self->run, RUN_BYTES) != 0)
        return refuse (piece, err, "of another run");
    if (piece->kind == PIECE_EMPTY)
        return 0;
    if (attempts_finished (self->attempts, piece->task))
        return refuse (piece, err, "the task is finished");
    attempt_t *attempt = attempts_find (self->attempts, piece->task, piece->attempt);
    if (attempt && attempt->dropped)
        return refuse (piece, err, "the attempt was dropped");
    if (follow (self, attempt, piece, payload, err) < 0)
        return -1;
    int rc = piece->kind == PIECE_DATA
                 ? take_data (self, attempt, piece, payload, err)
                 : take_done (self, node, attempt, piece, payload, err);
    return rc < 0 ? writer_failed (self) : 0;
}

void writer_drop (writer_t *self, uint64_t task, uint32_t number)
{
    if (attempts_finished (self->attempts, task))
        return;
    attempt_t *attempt = attempts_find (self->attempts, task, number);
    if (!attempt)
        attempt = attempts_add (self->attempts, task, number);
    if (!attempt)
        return;
    free_held (self, attempt, NULL);
    attempt_drop (attempt);
}

/* Append one row to a system table. */
static int record (writer_t *self, chunks_t *chunks, const void *row, sluice_error_t *err)
{
    chunks_mark (chunks);
    if (chunks_append (chunks, row, 1, err) < 0) {
        chunks_rollback (chunks);
        return writer_failed (self);
    }
    chunks_commit (chunks);
    self->changed = true;
    return 0;
}

/* Fixed-length text: cut before a character that does not fit, filled with NUL. */
static void put_text (char *to, size_t n, const char *text)
{
    size_t length = text ? strlen (text) : 0;
    if (length > n) {
        length = n;
        while (length > 0 && ((unsigned char) text[length] & 0xc0) == 0x80)
            length--;
    }
    memset (to, 0, n);
    if (length)
        memcpy (to, text, length);
}

/* A node of an earlier run that was the same in all that is told of nodes but the uuid,
 * which an embedded one has anew each time: nothing more is to be said of it. */
static bool node_known (writer_t *self, uint32_t node, const node_row_t *row)
{
    for (size_t i = 0; i < self->taken.nnodes; i++) {
        node_row_t *other = self->taken.nodes + i;
        if (other->node == UINT32_MAX || other->cores != row->cores ||
            other->slots != row->slots ||
            memcmp (other->host, row->host, sizeof row->host) != 0 ||
            memcmp (other->isa, row->isa, sizeof row->isa) != 0)
            continue;
        self->nodes[node] = other->node + 1;
        other->node = UINT32_MAX;
        return true;
    }
    return false;
}

int writer_node (writer_t *self, uint32_t node, const msg_welcome_t *welcome,
                 sluice_error_t *err)
{
    if (begin (self, err) < 0)
        return -1;
    if (node < self->nnodes && self->nodes[node])
        return 0; /* a WELCOME after RESYNC says nothing new */
    if (node >= self->nnodes) {
        size_t n = node + 64u;
        uint32_t *nodes = realloc (self->nodes, n * sizeof *nodes);
        if (!nodes)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        memset (nodes + self->nnodes, 0, (n - self->nnodes) * sizeof *nodes);
        self->nodes = nodes;
        self->nnodes = n;
    }
    node_row_t row = {.node = node_number (self, node),
                      .cores = welcome->cores,
                      .slots = welcome->slots};
    char uuid[33];
    run_text (welcome->uuid, uuid);
    memcpy (row.uuid, uuid, sizeof row.uuid);
    put_text (row.host, sizeof row.host, welcome->host);
    put_text (row.isa, sizeof row.isa, welcome->isa);
    if (node_known (self, node, &row))
        return 0;
    if (record (self, self->system[NODES].chunks, &row, err) < 0)
        return -1;
    self->nodes[node] = row.node + 1;
    return 0;
}

int writer_failure (writer_t *self, uint32_t node, const msg_failed_t *failure,
                    uint64_t first, uint64_t stop, bool final, sluice_error_t *err)
{
    if (begin (self, err) < 0)
        return -1;
    failure_row_t row = {
        .task = failure->task,
        .attempt = failure->attempt,
        .first = first,
        .stop = stop,
        .node = node_number (self, node),
        .final = final,
        .sig = failure->sig,
        .exit_code = failure->exit_code,
    };
    put_text (row.reason, sizeof row.reason, failure->reason);
    /* of the last lines the very last matter most */
    const char *tail = failure->stderr_tail ? failure->stderr_tail : "";
    size_t n = strlen (tail);
    if (n > sizeof row.stderr_tail) {
        tail += n - sizeof row.stderr_tail;
        while (((unsigned char) *tail & 0xc0) == 0x80)
            tail++;
    }
    put_text (row.stderr_tail, sizeof row.stderr_tail, tail);
    return record (self, self->system[FAILURES].chunks, &row, err);
}
