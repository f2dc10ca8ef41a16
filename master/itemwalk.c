/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/itemwalk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "master/tableindex.h"
#include "proto/xxh3.h"

enum {
    BLOCK_ROWS = 744, /* ledger rows read at once: 64 KiB */
    COUNT_ROWS = 512, /* row counts read at once */
    SPAN_ROWS = 1024  /* rows of an index read at once */
};

typedef struct {
    uint64_t first, task, row, start, rows, xxh3;
} ref_t;

typedef struct {
    ref_t *at;
    size_t n, room;
} refs_t;

struct itemwalk {
    output_t *output;
    uint32_t table;
    const rows_t *rows;
    refs_t pieces, counts;
    item_hash_t *hash;
    XXH3_state_t *piece_hash;
    uint8_t *buffer; /* rows of the table */
    uint64_t buffer_rows;
    /* where the walk is */
    size_t piece, piece_end; /* of the task in hand */
    uint64_t used;           /* rows of the piece that were given out */
    size_t count, count_end; /* pieces of row counts of the task */
    uint64_t count_used;
    item_rows_t block[COUNT_ROWS];
    uint64_t block_n, block_i;
    item_rows_t range; /* items in hand */
    /* the finished index, if there is one */
    rows_t index;
    bool indexed;
    table_index_row_t spans[SPAN_ROWS], span; /* span: not compared yet */
    uint64_t spans_n, spans_i, spans_read;
};

static int damage (const itemwalk_t *self, uint64_t task, uint64_t item,
                   sluice_error_t *err, const char *what)
{
    return sluice_fail (err, SLUICE_EOUTPUT, "%s: table %s, task %llu, item %llu: %s",
                        self->output->path, self->rows->name, (unsigned long long) task,
                        (unsigned long long) item, what);
}

static int refs_add (refs_t *refs, const index_row_t *row, sluice_error_t *err)
{
    if (refs->n == refs->room) {
        size_t room = refs->room ? 2 * refs->room : 1024;
        ref_t *at = realloc (refs->at, room * sizeof *at);
        if (!at)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        refs->at = at;
        refs->room = room;
    }
    refs->at[refs->n++] =
        (ref_t){row->first, row->task, row->row, row->start, row->rows, row->xxh3};
    return 0;
}

static int by_start (const void *a, const void *b)
{
    const ref_t *one = a, *other = b;
    return one->start < other->start ? -1 : one->start > other->start;
}

static int by_task_and_row (const void *a, const void *b)
{
    const ref_t *one = a, *other = b;
    if (one->first != other->first)
        return one->first < other->first ? -1 : 1;
    if (one->task != other->task)
        return one->task < other->task ? -1 : 1;
    return one->row < other->row ? -1 : one->row > other->row;
}

static int collect (itemwalk_t *self, sluice_error_t *err)
{
    const rows_t *index = &self->output->index;
    index_row_t *rows = malloc (BLOCK_ROWS * sizeof *rows);
    if (!rows)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    int rc = 0;
    for (uint64_t i = 0; i < index->rows && rc == 0; i += BLOCK_ROWS) {
        uint64_t n = index->rows - i < BLOCK_ROWS ? index->rows - i : BLOCK_ROWS;
        rc = rows_read (index, i, n, rows, err);
        for (uint64_t j = 0; j < n && rc == 0; j++)
            if (rows[j].table == self->table)
                rc = refs_add (&self->pieces, rows + j, err);
            else if (rows[j].table == self->output->ntables)
                rc = refs_add (&self->counts, rows + j, err);
    }
    free (rows);
    return rc;
}

/* The pieces lie behind each other, from the first row of the table to its last. */
static int check_tiles (const itemwalk_t *self, refs_t *refs, const rows_t *rows,
                        sluice_error_t *err)
{
    if (refs->n)
        qsort (refs->at, refs->n, sizeof *refs->at, by_start);
    uint64_t next = 0;
    for (size_t i = 0; i < refs->n; i++) {
        const ref_t *ref = refs->at + i;
        if (ref->start != next || !ref->rows || ref->rows > rows->rows - next)
            return damage (self, ref->task, ref->first, err,
                           "the ledger does not tile the table");
        next += ref->rows;
    }
    if (next != rows->rows)
        return sluice_fail (err, SLUICE_EOUTPUT,
                            "%s: table %s: the ledger knows %llu of %llu rows",
                            self->output->path, rows->name, (unsigned long long) next,
                            (unsigned long long) rows->rows);
    if (refs->n)
        qsort (refs->at, refs->n, sizeof *refs->at, by_task_and_row);
    return 0;
}

static int open_index (itemwalk_t *self, sluice_error_t *err)
{
    char *name = malloc (strlen (self->rows->name) + 7);
    if (!name)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    sprintf (name, "%s_index", self->rows->name);
    self->indexed = true;
    int rc =
        rows_open (&self->index, self->output, name, sizeof (table_index_row_t), err);
    free (name);
    return rc;
}

itemwalk_t *itemwalk_new (output_t *output, uint32_t table, sluice_error_t *err)
{
    itemwalk_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->output = output;
    self->table = table;
    self->rows = output->tables + table;
    self->index.set = self->index.type = -1;
    self->buffer_rows = CHUNK_BYTES / self->rows->row_bytes;
    if (!self->buffer_rows)
        self->buffer_rows = 1;
    self->buffer = malloc (self->buffer_rows * self->rows->row_bytes);
    self->hash = item_hash_new ();
    self->piece_hash = XXH3_createState ();
    int rc = 0;
    if (!self->buffer || !self->hash || !self->piece_hash)
        rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (rc < 0 || collect (self, err) < 0 ||
        check_tiles (self, &self->pieces, self->rows, err) < 0 ||
        check_tiles (self, &self->counts, output->tables + output->ntables, err) < 0 ||
        (output_finished (output) && open_index (self, err) < 0))
        itemwalk_destroy (&self);
    return self;
}

void itemwalk_destroy (itemwalk_t **self_p)
{
    itemwalk_t *self = *self_p;
    if (!self)
        return;
    rows_close (&self->index);
    XXH3_freeState (self->piece_hash);
    item_hash_destroy (&self->hash);
    free (self->buffer);
    free (self->pieces.at);
    free (self->counts.at);
    free (self);
    *self_p = NULL;
}

/* ---- the finished index ---------------------------------------------------------- */

/* The interval in hand is complete: the index must have it next. */
static int compare_span (itemwalk_t *self, uint64_t task, sluice_error_t *err)
{
    if (!self->indexed || self->span.start == self->span.stop)
        return 0;
    if (self->spans_i == self->spans_n) {
        uint64_t n = self->index.rows - self->spans_read;
        if (n > SPAN_ROWS)
            n = SPAN_ROWS;
        if (!n)
            return damage (self, task, self->span.item, err, "its index lacks the item");
        if (rows_read (&self->index, self->spans_read, n, self->spans, err) < 0)
            return -1;
        self->spans_read += n;
        self->spans_n = n;
        self->spans_i = 0;
    }
    const table_index_row_t *span = self->spans + self->spans_i++;
    if (memcmp (span, &self->span, sizeof *span) != 0)
        return damage (self, task, self->span.item, err,
                       "its index says something else than the ledger");
    return 0;
}

static int add_span (itemwalk_t *self, uint64_t task, uint64_t item, uint64_t start,
                     uint64_t n, sluice_error_t *err)
{
    if (self->span.item == item && self->span.stop == start) {
        self->span.stop += n;
        return 0;
    }
    if (compare_span (self, task, err) < 0)
        return -1;
    self->span = (table_index_row_t){item, start, start + n};
    return 0;
}

/* ---- the walk ---------------------------------------------------------------------- */

/* Hash the next `n` rows of the task's stream into the item's digest. */
static int take_rows (itemwalk_t *self, uint64_t task, uint64_t item, uint64_t n,
                      sluice_error_t *err)
{
    while (n > 0) {
        if (self->piece == self->piece_end)
            return damage (self, task, item, err, "rows of it are missing in the ledger");
        const ref_t *piece = self->pieces.at + self->piece;
        if (!self->used)
            (void) XXH3_64bits_reset (self->piece_hash);
        uint64_t part = piece->rows - self->used;
        if (part > n)
            part = n;
        if (part > self->buffer_rows)
            part = self->buffer_rows;
        if (rows_read (self->rows, piece->start + self->used, part, self->buffer, err) <
            0)
            return -1;
        size_t bytes = part * self->rows->row_bytes;
        item_hash_rows (self->hash, self->buffer, bytes);
        (void) XXH3_64bits_update (self->piece_hash, self->buffer, bytes);
        if (add_span (self, task, item, piece->start + self->used, part, err) < 0)
            return -1;
        self->used += part;
        n -= part;
        if (self->used == piece->rows) {
            if (XXH3_64bits_digest (self->piece_hash) != piece->xxh3)
                return damage (self, task, item, err,
                               "the rows up to this one are not those that were written");
            self->piece++;
            self->used = 0;
        }
    }
    return 0;
}

static size_t task_end (const refs_t *refs, size_t i)
{
    size_t end = i;
    while (end < refs->n && refs->at[end].first == refs->at[i].first &&
           refs->at[end].task == refs->at[i].task)
        end++;
    return end;
}

static int check_stream (const itemwalk_t *self, const refs_t *refs, size_t i, size_t end,
                         sluice_error_t *err)
{
    uint64_t next = 0;
    for (; i < end; i++) {
        if (refs->at[i].row != next)
            return damage (self, refs->at[i].task, refs->at[i].first, err,
                           "its pieces do not follow each other");
        next += refs->at[i].rows;
    }
    return 0;
}

/* Go to the next task that has rows of the table. 0: there is none. */
static int next_task (itemwalk_t *self, sluice_error_t *err)
{
    if (self->piece < self->piece_end)
        return damage (self, self->pieces.at[self->piece].task,
                       self->pieces.at[self->piece].first, err,
                       "it has more rows than its items");
    if (self->piece == self->pieces.n)
        return 0;
    const ref_t *piece = self->pieces.at + self->piece;
    self->piece_end = task_end (&self->pieces, self->piece);
    size_t i = self->count_end;
    while (i < self->counts.n && (self->counts.at[i].first < piece->first ||
                                  (self->counts.at[i].first == piece->first &&
                                   self->counts.at[i].task < piece->task)))
        i++;
    if (i == self->counts.n || self->counts.at[i].task != piece->task)
        return damage (self, piece->task, piece->first, err,
                       "its row counts are missing");
    self->count = i;
    self->count_end = task_end (&self->counts, i);
    self->count_used = self->block_i = self->block_n = 0;
    if (check_stream (self, &self->pieces, self->piece, self->piece_end, err) < 0 ||
        check_stream (self, &self->counts, self->count, self->count_end, err) < 0)
        return -1;
    return 1;
}

/* The next range of items of the task in hand that have rows of the table. 0:
 * there is none. */
static int next_range (itemwalk_t *self, sluice_error_t *err)
{
    for (;;) {
        while (self->block_i < self->block_n) {
            const item_rows_t *row = self->block + self->block_i++;
            if (row->table != self->table)
                continue;
            if (row->first >= row->stop || !row->rows || row->first < self->range.stop)
                return damage (self, self->counts.at[self->count_end - 1].task,
                               row->first, err,
                               "its row counts are out of order, or there twice");
            self->range = *row;
            return 1;
        }
        if (self->count == self->count_end)
            return 0;
        const ref_t *count = self->counts.at + self->count;
        uint64_t n = count->rows - self->count_used;
        if (n > COUNT_ROWS)
            n = COUNT_ROWS;
        if (rows_read (self->output->tables + self->output->ntables,
                       count->start + self->count_used, n, self->block, err) < 0)
            return -1;
        self->block_n = n;
        self->block_i = 0;
        self->count_used += n;
        if (self->count_used == count->rows) {
            self->count++;
            self->count_used = 0;
        }
    }
}

static int past_the_last (itemwalk_t *self, sluice_error_t *err)
{
    if (compare_span (self, 0, err) < 0)
        return -1;
    self->span = (table_index_row_t){0};
    if (self->indexed &&
        self->spans_read - self->spans_n + self->spans_i < self->index.rows)
        return sluice_fail (err, SLUICE_EOUTPUT, "%s: %s has more rows than the ledger",
                            self->output->path, self->index.name);
    return 0;
}

int itemwalk_next (itemwalk_t *self, uint64_t *item, uint64_t *task,
                   uint8_t digest[DIGEST_BYTES], sluice_error_t *err)
{
    while (self->range.first == self->range.stop) {
        int rc = self->count_end ? next_range (self, err) : 0;
        if (rc == 0) {
            rc = next_task (self, err);
            if (rc == 0)
                return past_the_last (self, err);
        }
        if (rc < 0)
            return -1;
    }
    *task = self->counts.at[self->count_end - 1].task;
    *item = self->range.first++;
    item_hash_begin (self->hash, self->rows->name, *item);
    if (take_rows (self, *task, *item, self->range.rows, err) < 0)
        return -1;
    item_hash_end (self->hash, digest);
    return 1;
}
