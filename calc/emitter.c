/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/emitter.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* What is being gathered of one table. */
typedef struct {
    const char *name;
    size_t row_bytes;
    uint64_t chunk_rows;
    uint8_t *segment; /* NULL: none open */
    uint32_t handle;
    uint64_t rows; /* in the segment */
    uint64_t sent; /* rows of this task that left */
    /* the item being hashed, and its rows so far */
    bool hashing;
    uint64_t item, item_rows;
    item_hash_t *hash;
    item_rows_t run; /* items with equally many rows; first == stop: none */
} column_t;

struct emitter {
    emitter_sink_t sink;
    uint32_t segment;
    size_t ntables; /* of the job; columns[ntables] is the items table */
    column_t *columns;
    task_t task;
    uint64_t item; /* the last seen */
    bool any;      /* an item was seen */
    uint8_t digest[DIGEST_BYTES];
    const char *error;
};

/* ---- making one ------------------------------------------------------------ */

static int row_bytes_of (const table_t *table, size_t *bytes, sluice_error_t *err)
{
    sluice_dtype_t *dtype = sluice_dtype_parse (table->dtype, strlen (table->dtype), err);
    if (!dtype)
        return sluice_fail_at (err, "table %s", table->name);
    *bytes = sluice_dtype_size (dtype);
    sluice_dtype_destroy (&dtype);
    if (*bytes == 0 || *bytes > ROW_MAX_BYTES || table->chunk_rows == 0 ||
        table->chunk_rows > UINT32_MAX / *bytes)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "table %s: rows of %zu bytes in chunks of %llu cannot be sent", table->name,
            *bytes, (unsigned long long) table->chunk_rows);
    return 0;
}

/* The items table is one of ours: its chunks are small, its rows few. */
static table_t items_table (void)
{
    return (table_t){.name = (char *) ITEMS_TABLE_NAME,
                     .dtype = (char *) ITEMS_TABLE_DTYPE,
                     .chunk_rows = chunk_rows_for (sizeof (item_rows_t))};
}

uint32_t segment_for (const table_t *tables, size_t ntables, sluice_error_t *err)
{
    uint64_t most = 0;
    for (size_t i = 0; i <= ntables; i++) {
        table_t table = i < ntables ? tables[i] : items_table ();
        size_t bytes;
        if (row_bytes_of (&table, &bytes, err))
            return 0;
        if (bytes * table.chunk_rows > most)
            most = bytes * table.chunk_rows;
    }
    /* Whole pages, since a segment is mapped. */
    most = (most + 4095) & ~UINT64_C (4095);
    if (most > UINT32_MAX - 4096) {
        sluice_fail (err, SLUICE_EINPUT, "a chunk would take more than 4 GiB");
        return 0;
    }
    return (uint32_t) most;
}

emitter_t *emitter_new (const table_t *tables, size_t ntables, uint32_t segment,
                        const emitter_sink_t *sink, sluice_error_t *err)
{
    emitter_t *self = calloc (1, sizeof *self);
    if (self)
        self->columns = calloc (ntables + 1, sizeof *self->columns);
    if (!self || !self->columns) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        emitter_destroy (&self);
        return NULL;
    }
    self->sink = *sink;
    self->segment = segment;
    self->ntables = ntables;
    self->error = "";
    for (size_t i = 0; i <= ntables; i++) {
        table_t table = i < ntables ? tables[i] : items_table ();
        column_t *c = &self->columns[i];
        c->name = table.name;
        c->chunk_rows = table.chunk_rows;
        c->hash = item_hash_new ();
        if (!c->hash || row_bytes_of (&table, &c->row_bytes, err) ||
            c->row_bytes * c->chunk_rows > segment) {
            if (!err || err->code == SLUICE_OK)
                sluice_fail (err, SLUICE_EINPUT, "a segment of %u bytes is too small",
                             segment);
            emitter_destroy (&self);
            return NULL;
        }
    }
    return self;
}

void emitter_destroy (emitter_t **self_p)
{
    emitter_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; self->columns && i <= self->ntables; i++)
        item_hash_destroy (&self->columns[i].hash);
    free (self->columns);
    free (self);
    *self_p = NULL;
}

void emitter_begin (emitter_t *self, const task_t *task)
{
    self->task = *task;
    self->item = task->first;
    self->any = false;
    self->error = "";
    memset (self->digest, 0, sizeof self->digest);
    for (size_t i = 0; i <= self->ntables; i++) {
        column_t *c = &self->columns[i];
        c->rows = c->sent = 0;
        c->hashing = false;
        c->run = (item_rows_t){0};
    }
}

/* ---- pieces ------------------------------------------------------------------ */

/* Send what is gathered of table `i` as a DATA piece. */
static int send_data (emitter_t *self, size_t i)
{
    column_t *c = &self->columns[i];
    uint64_t bytes = c->rows * c->row_bytes;
    piece_t piece = {.kind = PIECE_DATA,
                     .task = self->task.task,
                     .attempt = self->task.attempt,
                     .first = self->task.first,
                     .stop = self->task.stop,
                     .nparts = 1,
                     .payload = bytes};
    piece.parts[0] = (part_t){.table = (uint32_t) i,
                              .row = c->sent,
                              .rows = c->rows,
                              .bytes = bytes,
                              .xxh3 = XXH3_64bits (c->segment, bytes)};
    c->segment = NULL;
    c->sent += c->rows;
    c->rows = 0;
    return self->sink.put (self->sink.arg, c->handle, &piece);
}

/* The table whose partial chunk takes the most bytes; -1: there is none. */
static int largest_partial (const emitter_t *self)
{
    int best = -1;
    uint64_t most = 0;
    for (size_t i = 0; i <= self->ntables; i++) {
        const column_t *c = &self->columns[i];
        if (c->segment && c->rows * c->row_bytes > most) {
            most = c->rows * c->row_bytes;
            best = (int) i;
        }
    }
    return best;
}

/* Get a segment for table `i`: if none is free, the largest partial chunk
 * makes room, so that what waits is as little as can be. */
static int open_segment (emitter_t *self, size_t i)
{
    column_t *c = &self->columns[i];
    c->segment = self->sink.get (self->sink.arg, false, &c->handle);
    if (!c->segment) {
        int largest = largest_partial (self);
        if (largest >= 0 && send_data (self, (size_t) largest))
            return -1;
        c->segment = self->sink.get (self->sink.arg, true, &c->handle);
    }
    return c->segment ? 0 : -1;
}

static int gather (emitter_t *self, size_t i, const uint8_t *rows, uint64_t n)
{
    column_t *c = &self->columns[i];
    while (n > 0) {
        if (!c->segment && open_segment (self, i))
            return -1;
        uint64_t room = c->chunk_rows - c->rows, part = n < room ? n : room;
        memcpy (c->segment + c->rows * c->row_bytes, rows, part * c->row_bytes);
        c->rows += part;
        rows += part * c->row_bytes;
        n -= part;
        if (c->rows == c->chunk_rows && send_data (self, i))
            return -1;
    }
    return 0;
}

/* ---- items --------------------------------------------------------------------- */

/* Write down the items of a table that had equally many rows. */
static int flush_run (emitter_t *self, column_t *c)
{
    if (c->run.first == c->run.stop)
        return 0;
    item_rows_t row = c->run;
    c->run.first = c->run.stop = 0;
    return gather (self, self->ntables, (const uint8_t *) &row, 1);
}

/* The item at hand has all its rows in table `i`. */
static int close_item (emitter_t *self, size_t i)
{
    column_t *c = &self->columns[i];
    uint8_t digest[DIGEST_BYTES];
    if (!c->hashing)
        return 0;
    c->hashing = false;
    item_hash_end (c->hash, digest);
    digest_add (self->digest, digest);
    if (c->run.first != c->run.stop && c->run.stop == c->item &&
        c->run.rows == c->item_rows) {
        c->run.stop++;
        return 0;
    }
    if (flush_run (self, c))
        return -1;
    c->run = (item_rows_t){(uint32_t) i, c->item, c->item + 1, c->item_rows};
    return 0;
}

static int refuse (emitter_t *self, const char *why)
{
    self->error = why;
    return -1;
}

int emitter_rows (emitter_t *self, uint64_t item, unsigned table, const void *rows,
                  size_t n)
{
    if (*self->error)
        return -1;
    if (table >= self->ntables)
        return refuse (self, "it emitted rows of a table that its plan did not declare");
    if (item < self->task.first || item >= self->task.stop)
        return refuse (self, "it emitted rows of an item that is not in its range");
    if (self->any && item < self->item)
        return refuse (self, "it emitted rows of an item smaller than the one before");
    if (!rows && n > 0)
        return refuse (self, "it emitted rows from a null pointer");
    self->item = item;
    self->any = true;
    if (n == 0)
        return 0;
    column_t *c = &self->columns[table];
    if (c->hashing && c->item != item && close_item (self, table))
        return -1;
    if (!c->hashing) {
        item_hash_begin (c->hash, c->name, item);
        c->hashing = true;
        c->item = item;
        c->item_rows = 0;
    }
    item_hash_rows (c->hash, rows, n * c->row_bytes);
    c->item_rows += n;
    return gather (self, table, rows, n);
}

bool emitter_yield (emitter_t *self, uint64_t next)
{
    if (*self->error || next < self->task.first || next > self->task.stop)
        return false;
    if (!self->any || next > self->item)
        self->item = next < self->task.stop ? next : self->task.stop - 1;
    self->any = true;
    /* The first item is done in any case: a task must not come back whole. */
    if (next <= self->task.first || !self->sink.yield ||
        !self->sink.yield (self->sink.arg, next))
        return false;
    self->task.stop = next;
    return true;
}

/* ---- the end of a task ------------------------------------------------------------ */

/* Lay the tails of all tables behind each other in one segment, the first
 * open one being kept where it is. */
static int send_done (emitter_t *self, piece_t *done)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= self->ntables; i++)
        total += self->columns[i].rows * self->columns[i].row_bytes;
    while (total > self->segment) {
        column_t *c = &self->columns[largest_partial (self)];
        total -= c->rows * c->row_bytes;
        if (send_data (self, (size_t) (c - self->columns)))
            return -1;
    }
    uint8_t *segment = NULL;
    uint32_t handle = 0;
    for (size_t i = 0; i <= self->ntables; i++) {
        column_t *c = &self->columns[i];
        uint64_t bytes = c->rows * c->row_bytes;
        if (!c->segment)
            continue;
        if (bytes > 0) {
            uint8_t *at = segment ? segment + done->payload : c->segment;
            if (segment)
                memcpy (at, c->segment, bytes);
            done->parts[done->nparts++] =
                (part_t){(uint32_t) i, c->sent, c->rows, bytes, XXH3_64bits (at, bytes)};
            done->payload += bytes;
        }
        if (segment || bytes == 0) {
            self->sink.give_back (self->sink.arg, c->handle);
        } else {
            segment = c->segment;
            handle = c->handle;
        }
        c->segment = NULL;
        c->rows = 0;
    }
    /* A task without any rows still has to say that it is done. */
    if (!segment && !self->sink.get (self->sink.arg, true, &handle))
        return -1;
    return self->sink.put (self->sink.arg, handle, done);
}

int emitter_done (emitter_t *self, double seconds, double cpu, uint64_t rss)
{
    if (*self->error)
        return -1;
    for (size_t i = 0; i < self->ntables; i++)
        if (close_item (self, i) || flush_run (self, &self->columns[i]))
            return -1;
    piece_t done = {.kind = PIECE_DONE,
                    .task = self->task.task,
                    .attempt = self->task.attempt,
                    .first = self->task.first,
                    .stop = self->task.stop,
                    .seconds = seconds,
                    .cpu = cpu,
                    .rss = rss};
    memcpy (done.digest, self->digest, sizeof done.digest);
    return send_done (self, &done);
}

void emitter_abort (emitter_t *self)
{
    for (size_t i = 0; i <= self->ntables; i++) {
        column_t *c = &self->columns[i];
        if (c->segment)
            self->sink.give_back (self->sink.arg, c->handle);
        c->segment = NULL;
        c->rows = 0;
        c->hashing = false;
    }
}

uint64_t emitter_item (const emitter_t *self)
{
    return self->item;
}

const char *emitter_error (const emitter_t *self)
{
    return self->error;
}
