/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/emitter.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "calc/tables.h"
#include "proto/clock.h"
#include "proto/codec.h"
#include "proto/faults.h"
#include "proto/xxh3.h"

enum {
    /* Counts of rows wait here, so that a small task needs no segment for them. */
    STAGE_ROWS = 256,
    PAGE = 4096,
    ERROR_TEXT = 400,
    /* Chunks in a row that are not tried since others did not get smaller; 2^n - 1. */
    MOST_SKIPPED = 15
};

/* What is known of one table: of the job's, of the counts of rows, and of one that
 * was met late. */
typedef struct {
    char *name, *dtype; /* the dtype's canonical text */
    uint64_t row_bytes;
    uint64_t chunk_bytes;
    uint64_t sent;   /* rows that left in this attempt */
    uint8_t *data;   /* of the segment that its rows are gathered in, or NULL */
    uint64_t filled; /* bytes of it */
    uint32_t handle;
    bool in_item; /* `hash` is in the midst of `item` */
    uint64_t item;
    uint64_t item_rows;
    item_hash_t *hash; /* NULL: its rows are not content */
    item_rows_t run;   /* items of equal rows so far; none while stop is 0 */
    /* of one that was met late, in this attempt: */
    bool met;            /* it was asked for, or has rows */
    bool rows;           /* it has rows */
    bool due;            /* and no piece has named it yet */
    uint64_t first_item; /* that has rows of it */
    /* chunks that are not to be compressed, as many as were not for the last one that
     * it was not worth it for */
    unsigned skip, skipped;
} stream_t;

struct emitter {
    size_t ntables;
    size_t nstreams;   /* of the job's tables, the counts of rows, those met late */
    stream_t *streams; /* by table number; there is room for all that can be */
    size_t late_bytes; /* of names and dtypes of those met late */
    bool due;          /* some of these are to be named */
    uint64_t segment;
    codec_t *codec; /* NULL: nothing is compressed */
    emitter_sink_t sink;
    item_rows_t stage[STAGE_ROWS];
    size_t nstage;
    task_t task;
    uint64_t item; /* the last one that was named */
    uint64_t stop; /* first item that must not be emitted */
    bool any;      /* rows were emitted */
    bool yielded;
    bool ended; /* the sink or an error ended the task */
    double waited;
    uint8_t digest[DIGEST_BYTES];
    piece_t piece; /* its fixed fields are filled by emitter_begin */
    char error[ERROR_TEXT];
};

/* Bytes of a row and of a chunk of each table. */
static int measure (const table_t *table, uint64_t *row, uint64_t *chunk,
                    sluice_error_t *err)
{
    sluice_dtype_t *dtype = sluice_dtype_parse (table->dtype, strlen (table->dtype), err);
    if (!dtype)
        return sluice_fail_at (err, "table %s", table->name);
    *row = sluice_dtype_size (dtype);
    sluice_dtype_destroy (&dtype);
    if (*row == 0 || *row > ROW_MAX_BYTES)
        return sluice_fail (err, SLUICE_EINPUT,
                            "table %s: rows of %llu bytes: at most %d", table->name,
                            (unsigned long long) *row, ROW_MAX_BYTES);
    if (__builtin_mul_overflow (*row, table->chunk_rows, chunk) || *chunk == 0 ||
        *chunk > UINT32_MAX)
        return sluice_fail (err, SLUICE_EINPUT,
                            "table %s: a chunk of %llu rows of %llu bytes is not "
                            "between 1 byte and 4 GiB",
                            table->name, (unsigned long long) table->chunk_rows,
                            (unsigned long long) *row);
    return 0;
}

static uint64_t items_chunk (void)
{
    return chunk_rows_for (sizeof (item_rows_t)) * sizeof (item_rows_t);
}

uint32_t segment_for (const table_t *tables, size_t ntables, sluice_error_t *err)
{
    uint64_t most = items_chunk ();
    for (size_t i = 0; i < ntables; i++) {
        uint64_t row, chunk;
        if (measure (&tables[i], &row, &chunk, err) == -1)
            return 0;
        if (chunk > most)
            most = chunk;
    }
    most = (most + PAGE - 1) & ~(uint64_t) (PAGE - 1); /* it will be mapped */
    if (most > UINT32_MAX) {
        sluice_fail (err, SLUICE_EINPUT, "a chunk would take 4 GiB");
        return 0;
    }
    return (uint32_t) most;
}

/* ---- making ------------------------------------------------------------- */

/* The canonical text of a dtype; free () it. */
static char *canonical (const char *dtype, sluice_error_t *err)
{
    sluice_dtype_t *type = sluice_dtype_parse (dtype, strlen (dtype), err);
    char *text = type ? sluice_dtype_text (type) : NULL;
    if (type && !text)
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    sluice_dtype_destroy (&type);
    return text;
}

static int make_streams (emitter_t *self, const table_t *tables, sluice_error_t *err)
{
    for (size_t i = 0; i < self->ntables; i++) {
        stream_t *stream = &self->streams[i];
        if (measure (&tables[i], &stream->row_bytes, &stream->chunk_bytes, err) == -1)
            return -1;
        if (stream->chunk_bytes > self->segment)
            return sluice_fail (
                err, SLUICE_EINPUT,
                "table %s: a chunk of %llu bytes in segments of %llu bytes",
                tables[i].name, (unsigned long long) stream->chunk_bytes,
                (unsigned long long) self->segment);
        stream->name = strdup (tables[i].name);
        stream->dtype = canonical (tables[i].dtype, err);
        bool content = stream->name && table_is_content (stream->name);
        stream->hash = content ? item_hash_new () : NULL;
        if (!stream->name || !stream->dtype || (content && !stream->hash))
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the emitter");
    }
    stream_t *items = &self->streams[self->ntables];
    items->row_bytes = sizeof (item_rows_t);
    items->chunk_bytes = items_chunk ();
    if (items->chunk_bytes > self->segment)
        return sluice_fail (
            err, SLUICE_EINPUT, "segments of %llu bytes: at least %llu are needed",
            (unsigned long long) self->segment, (unsigned long long) items->chunk_bytes);
    return 0;
}

emitter_t *emitter_new (const table_t *tables, size_t ntables, uint32_t segment,
                        const emitter_sink_t *sink, sluice_error_t *err)
{
    if (ntables > MSG_MAX_TABLES) {
        sluice_fail (err, SLUICE_EINPUT, "%zu tables: at most %d", ntables,
                     MSG_MAX_TABLES);
        return NULL;
    }
    emitter_t *self = calloc (1, sizeof *self);
    if (self)
        self->streams = calloc (ntables + 1 + PIECE_MAX_LATE, sizeof *self->streams);
    if (!self || !self->streams) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the emitter");
        free (self);
        return NULL;
    }
    self->ntables = ntables;
    self->nstreams = ntables + 1;
    self->segment = segment;
    self->sink = *sink;
    self->ended = true; /* no task has begun */
    if (make_streams (self, tables, err) == -1)
        emitter_destroy (&self);
    return self;
}

void emitter_destroy (emitter_t **self_p)
{
    emitter_t *self = *self_p;
    if (!self)
        return;
    emitter_abort (self);
    for (size_t i = 0; i < self->nstreams; i++) {
        free (self->streams[i].name);
        free (self->streams[i].dtype);
        item_hash_destroy (&self->streams[i].hash);
    }
    free (self->streams);
    codec_destroy (&self->codec);
    free (self);
    *self_p = NULL;
}

int emitter_deflate (emitter_t *self, uint32_t level, sluice_error_t *err)
{
    codec_destroy (&self->codec);
    if (level && !(self->codec = codec_new (level, (size_t) self->segment, err)))
        return -1;
    return 0;
}

/* ---- pieces ------------------------------------------------------------- */

static int end (emitter_t *self)
{
    self->ended = true;
    return -1;
}

static int wrong (emitter_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

/* The kernel did something wrong: say what, end the task. */
static int wrong (emitter_t *self, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    vsnprintf (self->error, sizeof self->error, format, args);
    va_end (args);
    return end (self);
}

static part_t describe (const emitter_t *self, size_t table, const void *data,
                        uint64_t bytes)
{
    const stream_t *stream = &self->streams[table];
    return (part_t){.table = (uint32_t) table,
                    .row = stream->sent,
                    .rows = bytes / stream->row_bytes,
                    .bytes = bytes,
                    .xxh3 = faults_without (WITHOUT_DIGESTS)
                                ? 0
                                : XXH3_64bits (data, (size_t) bytes)};
}

/* Name in the piece the late tables that have rows and were not named yet. */
static void name_late (emitter_t *self)
{
    piece_t *piece = &self->piece;
    piece->nlate = 0;
    for (size_t i = self->ntables + 1; self->due && i < self->nstreams; i++) {
        stream_t *stream = &self->streams[i];
        if (stream->due)
            piece->late[piece->nlate++] = (late_t){.table = (uint32_t) i,
                                                   .item = stream->first_item,
                                                   .name = stream->name,
                                                   .dtype = stream->dtype};
        stream->due = false;
    }
    self->due = false;
}

/* Compress a whole chunk where it lies, if that makes it smaller. Each one that it does
 * not doubles how many are left as they are before the next try. */
static void deflate (emitter_t *self, stream_t *stream, part_t *part)
{
    if (!self->codec || !stream->hash || stream->filled != stream->chunk_bytes)
        return;
    if (stream->skip > 0) {
        stream->skip--;
        return;
    }
    part->deflated = codec_deflate (self->codec, stream->data, (size_t) part->bytes,
                                    (size_t) stream->row_bytes);
    if (part->deflated)
        part->deflated_xxh3 = XXH3_64bits (stream->data, (size_t) part->deflated);
    stream->skipped = part->deflated ? 0 : (2 * stream->skipped + 1) & MOST_SKIPPED;
    stream->skip = stream->skipped;
}

/* Send what a table has gathered as a piece of its own. */
static int put_data (emitter_t *self, size_t table)
{
    stream_t *stream = &self->streams[table];
    piece_t *piece = &self->piece;
    piece->kind = PIECE_DATA;
    piece->nparts = 1;
    piece->parts[0] = describe (self, table, stream->data, stream->filled);
    deflate (self, stream, &piece->parts[0]);
    piece->payload = part_payload (&piece->parts[0]);
    name_late (self);
    stream->sent += piece->parts[0].rows;
    stream->data = NULL;
    stream->filled = 0;
    if (self->sink.put (self->sink.arg, stream->handle, piece) == -1)
        return end (self);
    return 0;
}

/* The open segment that holds most; NULL if none is open. */
static stream_t *fullest (emitter_t *self)
{
    stream_t *most = NULL;
    for (size_t i = 0; i < self->nstreams; i++) {
        stream_t *stream = &self->streams[i];
        if (stream->data && (!most || stream->filled > most->filled))
            most = stream;
    }
    return most;
}

/* A segment, whatever it takes. NULL: the task has ended. */
static uint8_t *get_segment (emitter_t *self, uint32_t *handle)
{
    void *data = self->sink.get (self->sink.arg, false, handle);
    if (data)
        return data;
    stream_t *most = fullest (self);
    if (most && put_data (self, (size_t) (most - self->streams)) == -1)
        return NULL;
    double before = clock_seconds ();
    data = self->sink.get (self->sink.arg, true, handle);
    self->waited += clock_seconds () - before;
    if (!data)
        end (self);
    return data;
}

/* Where a table's next rows go, and how many bytes of them; NULL: the task has ended. */
static uint8_t *room (emitter_t *self, size_t table, uint64_t *bytes)
{
    stream_t *stream = &self->streams[table];
    if (!stream->data) {
        uint32_t handle = 0;
        uint8_t *data = get_segment (self, &handle);
        if (!data)
            return NULL;
        stream->data = data;
        stream->handle = handle;
        stream->filled = 0;
    }
    *bytes = stream->chunk_bytes - stream->filled;
    return stream->data + stream->filled;
}

/* Whole rows have been put there. They are hashed while they are in the cache; a full
 * segment leaves. */
static int filled (emitter_t *self, size_t table, uint64_t bytes)
{
    stream_t *stream = &self->streams[table];
    if (stream->hash)
        item_hash_rows (stream->hash, stream->data + stream->filled, (size_t) bytes);
    stream->filled += bytes;
    return stream->filled == stream->chunk_bytes ? put_data (self, table) : 0;
}

/* Copy whole rows to a table's segments. */
static int append (emitter_t *self, size_t table, const uint8_t *rows, uint64_t bytes)
{
    while (bytes > 0) {
        uint64_t now = 0;
        uint8_t *to = room (self, table, &now);
        if (!to)
            return -1;
        now = bytes < now ? bytes : now;
        memcpy (to, rows, (size_t) now);
        if (filled (self, table, now) == -1)
            return -1;
        rows += now;
        bytes -= now;
    }
    return 0;
}

/* ---- rows of each item -------------------------------------------------- */

static int count (emitter_t *self, const item_rows_t *run)
{
    if (self->nstage == STAGE_ROWS) {
        self->nstage = 0;
        if (append (self, self->ntables, (const uint8_t *) self->stage,
                    sizeof self->stage) == -1)
            return -1;
    }
    self->stage[self->nstage++] = *run;
    return 0;
}

/* The present item of a table has all its rows. */
static int close_item (emitter_t *self, size_t table)
{
    stream_t *stream = &self->streams[table];
    if (!stream->in_item)
        return 0;
    if (stream->hash) {
        uint8_t digest[DIGEST_BYTES];
        item_hash_end (stream->hash, digest);
        digest_add (self->digest, digest);
    }
    stream->in_item = false;
    item_rows_t *run = &stream->run;
    if (run->stop == stream->item && run->rows == stream->item_rows &&
        run->stop > run->first) {
        run->stop++;
        return 0;
    }
    if (run->stop > run->first && count (self, run) == -1)
        return -1;
    *run = (item_rows_t){.table = (uint32_t) table,
                         .first = stream->item,
                         .stop = stream->item + 1,
                         .rows = stream->item_rows};
    return 0;
}

static int close_items (emitter_t *self)
{
    for (size_t i = 0; i < self->nstreams; i++) {
        if (i == self->ntables)
            continue;
        if (close_item (self, i) == -1)
            return -1;
        item_rows_t *run = &self->streams[i].run;
        if (run->stop > run->first && count (self, run) == -1)
            return -1;
        *run = (item_rows_t){0};
    }
    /* Where a segment of counts is open already, the staged ones go into it;
     * any beyond its end stay and ride with the tails. */
    stream_t *items = &self->streams[self->ntables];
    if (!items->data || self->nstage == 0)
        return 0;
    size_t room = (size_t) (items->chunk_bytes - items->filled) / sizeof *self->stage;
    size_t now = self->nstage < room ? self->nstage : room;
    self->nstage -= now;
    if (append (self, self->ntables, (const uint8_t *) self->stage,
                now * sizeof *self->stage) == -1)
        return -1;
    memmove (self->stage, self->stage + now, self->nstage * sizeof *self->stage);
    return 0;
}

/* ---- a task ------------------------------------------------------------- */

static void forget (emitter_t *self)
{
    for (size_t i = 0; i < self->nstreams; i++) {
        stream_t *stream = &self->streams[i];
        if (stream->data)
            self->sink.give_back (self->sink.arg, stream->handle);
        stream->data = NULL;
        stream->filled = 0;
        stream->sent = 0;
        stream->in_item = false;
        stream->run = (item_rows_t){0};
        stream->met = stream->rows = stream->due = false;
    }
    self->due = false;
    self->nstage = 0;
}

void emitter_abort (emitter_t *self)
{
    forget (self);
    self->ended = true;
}

void emitter_begin (emitter_t *self, const task_t *task)
{
    forget (self);
    self->task = *task;
    self->item = task->first;
    self->stop = task->stop;
    self->any = self->yielded = self->ended = false;
    self->waited = 0;
    self->error[0] = 0;
    memset (self->digest, 0, sizeof self->digest);
    memset (&self->piece, 0, sizeof self->piece);
    self->piece.task = task->task;
    self->piece.attempt = task->attempt;
    self->piece.first = task->first;
    self->piece.stop = task->stop;
}

static int refuse_item (emitter_t *self, uint64_t item)
{
    unsigned long long i = item, first = self->task.first, stop = self->stop;
    if (item < self->task.first || item >= self->task.stop)
        return wrong (self,
                      "it emitted item %llu, which is not of the task's %llu to %llu", i,
                      first, (unsigned long long) self->task.stop - 1);
    if (item >= self->stop)
        return wrong (self,
                      "it emitted item %llu after sluice_yield took back %llu and on", i,
                      stop);
    return wrong (self, "it emitted item %llu after item %llu: items must not decrease",
                  i, (unsigned long long) self->item);
}

/* ---- tables that are met late -------------------------------------------- */

/* Another table, of a dtype whose canonical text is taken over. */
static int add_stream (emitter_t *self, const char *name, char *dtype, uint64_t row_bytes,
                       sluice_error_t *err)
{
    stream_t stream = {.name = strdup (name),
                       .dtype = dtype,
                       .row_bytes = row_bytes,
                       .chunk_bytes = chunk_rows_for (row_bytes) * row_bytes,
                       .hash = item_hash_new ()};
    if (!stream.name || !stream.hash) {
        free (stream.name);
        free (stream.dtype);
        item_hash_destroy (&stream.hash);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a table");
    }
    self->late_bytes += strlen (name) + strlen (dtype) + 2;
    self->streams[self->nstreams] = stream;
    return (int) self->nstreams++;
}

/* Check a name and dtype that were not met before. Returns the table's number. */
static int make_late (emitter_t *self, const char *name, const char *text,
                      sluice_error_t *err)
{
    if (name_check (name, true, err))
        return -1;
    for (size_t i = 0; i < self->ntables; i++)
        if (name_check_beside (name, true, self->streams[i].name, true, err))
            return -1;
    if (self->nstreams - self->ntables > PIECE_MAX_LATE ||
        self->late_bytes + strlen (name) + strlen (text) + 2 > PIECE_LATE_BYTES)
        return sluice_fail (err, SLUICE_EINPUT,
                            "table %s: without a declaration in plan there can be %d "
                            "tables with %d bytes of names and dtypes",
                            name, PIECE_MAX_LATE, PIECE_LATE_BYTES);
    sluice_dtype_t *dtype = rows_dtype (text, err);
    if (!dtype)
        return sluice_fail_at (err, "table %s", name);
    uint64_t row_bytes = sluice_dtype_size (dtype);
    char *copy = sluice_dtype_text (dtype);
    sluice_dtype_destroy (&dtype);
    if (!copy)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a table");
    if (chunk_rows_for (row_bytes) * row_bytes > self->segment) {
        free (copy);
        return sluice_fail (err, SLUICE_EINPUT,
                            "table %s: rows of %llu bytes in segments of %llu bytes: a "
                            "table of such rows must be declared in plan",
                            name, (unsigned long long) row_bytes,
                            (unsigned long long) self->segment);
    }
    return add_stream (self, name, copy, row_bytes, err);
}

/* The table with this name and dtype. 0 if there is none, but could be; -1 if the
 * plan declares another one of this name. */
static int find_table (const emitter_t *self, const char *name, const char *dtype,
                       size_t *table, sluice_error_t *err)
{
    for (size_t i = 0; i < self->nstreams; i++) {
        const stream_t *stream = &self->streams[i];
        if (i == self->ntables || strcmp (stream->name, name) != 0)
            continue;
        if (strcmp (stream->dtype, dtype) == 0) {
            *table = i;
            return 1;
        }
        if (i < self->ntables)
            return sluice_fail (err, SLUICE_EINPUT,
                                "table %s cannot be of dtype %s: the plan declares it "
                                "of dtype %s",
                                name, dtype, stream->dtype);
    }
    return 0;
}

/* From now on this attempt has the table: can it be beside those that it has? */
static int meet (emitter_t *self, size_t table, sluice_error_t *err)
{
    stream_t *stream = &self->streams[table];
    for (size_t i = self->ntables + 1; i < self->nstreams; i++) {
        const stream_t *other = &self->streams[i];
        if (!other->met || other == stream)
            continue;
        if (strcmp (other->name, stream->name) == 0)
            return sluice_fail (err, SLUICE_EINPUT,
                                "table %s cannot be of dtype %s: it is of dtype %s",
                                stream->name, stream->dtype, other->dtype);
        if (name_check_beside (stream->name, true, other->name, true, err))
            return -1;
    }
    stream->met = true;
    return 0;
}

static int table_of (emitter_t *self, const char *name, const char *dtype,
                     sluice_error_t *err)
{
    size_t table = 0;
    if (!name || !dtype)
        return sluice_fail (err, SLUICE_EINPUT, "a table without a name or dtype");
    char *text = canonical (dtype, err);
    if (!text)
        return sluice_fail_at (err, "table %.200s", name);
    int rc = find_table (self, name, text, &table, err);
    if (rc == 0) {
        rc = make_late (self, name, text, err);
        table = (size_t) rc;
    }
    free (text);
    if (rc == -1 ||
        (table > self->ntables && !self->streams[table].met && meet (self, table, err)))
        return -1;
    return (int) table;
}

int emitter_table (emitter_t *self, const char *name, const char *dtype,
                   sluice_error_t *err)
{
    sluice_error_t why = {0};
    if (self->ended)
        return sluice_fail (err, SLUICE_EFAILED, "the task has ended");
    int table = table_of (self, name, dtype, &why);
    if (table >= 0)
        return table;
    wrong (self, "%s", why.text);
    return sluice_fail (err, SLUICE_EFAILED, "%s", why.text);
}

/* The first rows of a late table in this attempt. */
static int first_rows (emitter_t *self, size_t table, uint64_t item)
{
    stream_t *stream = &self->streams[table];
    sluice_error_t why;
    if (!stream->met && meet (self, table, &why))
        return wrong (self, "%s", why.text);
    stream->first_item = item;
    stream->due = self->due = true;
    return 0;
}

/* May rows of this item and table come now? */
static int check_place (emitter_t *self, uint64_t item, unsigned table)
{
    if (self->ended)
        return -1;
    if (table >= self->nstreams || table == self->ntables)
        return wrong (self, "it emitted rows of table %u, of which nothing is known",
                      table);
    if (item < self->item || item >= self->stop)
        return refuse_item (self, item);
    self->item = item;
    self->any = true;
    return 0;
}

/* Rows of this item and table come now. */
static int open_item (emitter_t *self, uint64_t item, unsigned table)
{
    stream_t *stream = &self->streams[table];
    if (table > self->ntables && !stream->rows && first_rows (self, table, item))
        return -1;
    stream->rows = true;
    if (stream->in_item && stream->item == item)
        return 0;
    if (close_item (self, table) == -1)
        return -1;
    stream->in_item = true;
    stream->item = item;
    stream->item_rows = 0;
    if (stream->hash)
        item_hash_begin (stream->hash, stream->name, item);
    return 0;
}

int emitter_rows (emitter_t *self, uint64_t item, unsigned table, const void *rows,
                  size_t n)
{
    if (check_place (self, item, table) == -1)
        return -1;
    if (n == 0)
        return 0;
    stream_t *stream = &self->streams[table];
    uint64_t bytes;
    if (!rows || __builtin_mul_overflow (stream->row_bytes, n, &bytes))
        return wrong (self, "it emitted %zu rows of table %s that cannot be", n,
                      stream->name);
    if (open_item (self, item, table) == -1)
        return -1;
    stream->item_rows += n;
    return append (self, table, rows, bytes);
}

void *emitter_reserve (emitter_t *self, uint64_t item, unsigned table, size_t *n)
{
    uint64_t bytes;
    if (check_place (self, item, table) == -1 || open_item (self, item, table) == -1)
        return NULL;
    uint8_t *to = room (self, table, &bytes);
    uint64_t rows = to ? bytes / self->streams[table].row_bytes : 0;
    *n = rows < *n ? (size_t) rows : *n;
    return to;
}

int emitter_commit (emitter_t *self, unsigned table, size_t n)
{
    stream_t *stream = &self->streams[table];
    stream->item_rows += n;
    return filled (self, table, n * stream->row_bytes);
}

bool emitter_yield (emitter_t *self, uint64_t next)
{
    if (self->ended || self->yielded)
        return true;
    if (next < self->item || (next == self->item && self->any)) {
        wrong (self, "it called sluice_yield for item %llu after rows of item %llu",
               (unsigned long long) next, (unsigned long long) self->item);
        return true;
    }
    /* The first item is always done, so that every attempt gets on. */
    if (next == self->task.first || next >= self->task.stop)
        return false;
    self->item = next;
    self->any = false;
    if (!self->sink.yield || !self->sink.yield (self->sink.arg, next))
        return false;
    self->stop = next;
    self->yielded = true;
    return true;
}

/* Bytes of all tails, staged counts with them. */
static uint64_t tails (const emitter_t *self)
{
    uint64_t sum = self->nstage * sizeof *self->stage;
    for (size_t i = 0; i < self->nstreams; i++)
        sum += self->streams[i].data ? self->streams[i].filled : 0;
    return sum;
}

/* Put `bytes` of a table behind what the last piece's payload holds so far. */
static void add_part (piece_t *piece, const emitter_t *self, size_t table, uint8_t *base,
                      const void *data, uint64_t bytes)
{
    if (base + piece->payload != data)
        memcpy (base + piece->payload, data, (size_t) bytes);
    piece->parts[piece->nparts++] = describe (self, table, base + piece->payload, bytes);
    piece->payload += bytes;
}

static int put_done (emitter_t *self)
{
    while (tails (self) > self->segment)
        if (put_data (self, (size_t) (fullest (self) - self->streams)) == -1)
            return -1;
    piece_t *piece = &self->piece;
    piece->kind = PIECE_DONE;
    piece->nparts = 0;
    piece->payload = 0;
    piece->stop = self->stop;
    memcpy (piece->digest, self->digest, sizeof piece->digest);
    name_late (self);

    stream_t *first = fullest (self);
    uint32_t handle = 0;
    uint8_t *base;
    if (first) {
        base = first->data;
        handle = first->handle;
        add_part (piece, self, (size_t) (first - self->streams), base, base,
                  first->filled);
        first->data = NULL;
    } else if (!(base = get_segment (self, &handle)))
        return -1;
    for (size_t i = 0; i < self->nstreams; i++) {
        stream_t *stream = &self->streams[i];
        if (!stream->data)
            continue;
        add_part (piece, self, i, base, stream->data, stream->filled);
        self->sink.give_back (self->sink.arg, stream->handle);
        stream->data = NULL;
    }
    if (self->nstage > 0)
        add_part (piece, self, self->ntables, base, self->stage,
                  self->nstage * sizeof *self->stage);
    return self->sink.put (self->sink.arg, handle, piece);
}

int emitter_done (emitter_t *self, double seconds, double cpu, uint64_t rss)
{
    if (self->ended)
        return -1;
    self->piece.seconds = seconds;
    self->piece.cpu = cpu;
    self->piece.rss = rss;
    int rc = close_items (self) == 0 ? put_done (self) : -1;
    emitter_abort (self); /* what an error left behind */
    return rc == 0 ? 0 : -1;
}

uint64_t emitter_item (const emitter_t *self)
{
    return self->item;
}

double emitter_waited (const emitter_t *self)
{
    return self->waited;
}

const char *emitter_error (const emitter_t *self)
{
    return self->error;
}
