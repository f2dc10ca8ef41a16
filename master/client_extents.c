/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/client_extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "proto/codec.h"

/* A row of the table of row counts. */
typedef struct {
    uint32_t table;
    uint64_t first, stop, rows;
} __attribute__ ((packed)) count_t;

enum {
    COUNTS_AT_ONCE = 64,
    NEAR_BYTES = 16 << 10 /* read at once, for those who take item by item */
};

typedef struct {
    uint64_t row; /* of the task: the first one in it */
    uint64_t address;
    uint64_t deflated; /* bytes; 0: it is not compressed */
} extent_at_t;

typedef struct {
    size_t row_bytes; /* 0: there is no such table */
    extent_at_t *extents;
    size_t n, room;
    uint64_t rows; /* in all extents */
    /* bytes of the file that were read last; they never change */
    uint8_t *near;
    uint64_t near_at, near_bytes;
    /* the rows of the compressed extent that was read last, at `chunk_at` */
    uint8_t *chunk;
    size_t chunk_room;
    uint64_t chunk_at; /* 0: of none */
    /* rows of the items looked at */
    uint64_t at, count;
    /* the row counts of this table: read up to `next`, of which some wait */
    uint64_t next;
    count_t waiting[COUNTS_AT_ONCE];
    unsigned nwaiting, used;
    count_t now;
    bool has_now, ended;
} table_at_t;

struct extents {
    int fd;
    codec_t *codec; /* NULL: nothing was compressed so far */
    uint32_t counts;
    table_at_t *tables; /* by number */
    size_t ntables;
};

extents_t *extents_new (int fd, uint32_t counts)
{
    extents_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->fd = fd;
    self->counts = counts;
    if (extents_table (self, counts, sizeof (count_t), NULL) < 0)
        extents_destroy (&self);
    return self;
}

void extents_destroy (extents_t **self_p)
{
    extents_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->ntables; i++) {
        free (self->tables[i].extents);
        free (self->tables[i].near);
        free (self->tables[i].chunk);
    }
    codec_destroy (&self->codec);
    free (self->tables);
    free (self);
    *self_p = NULL;
}

int extents_table (extents_t *self, uint32_t table, size_t row_bytes, sluice_error_t *err)
{
    if (table >= self->ntables) {
        size_t n = table + 8u;
        table_at_t *grown = realloc (self->tables, n * sizeof *grown);
        if (!grown)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        memset (grown + self->ntables, 0, (n - self->ntables) * sizeof *grown);
        self->tables = grown;
        self->ntables = n;
    }
    self->tables[table].row_bytes = row_bytes;
    return 0;
}

static table_at_t *find (const extents_t *self, uint32_t table)
{
    return table < self->ntables && self->tables[table].row_bytes ? self->tables + table
                                                                  : NULL;
}

void extents_clear (extents_t *self)
{
    for (size_t i = 0; i < self->ntables; i++) {
        table_at_t *t = self->tables + i;
        t->n = 0;
        t->rows = t->at = t->count = t->next = 0;
        t->nwaiting = t->used = 0;
        t->has_now = t->ended = false;
    }
}

int extents_add (extents_t *self, uint32_t table, uint64_t n, uint64_t address,
                 uint64_t deflated, sluice_error_t *err)
{
    table_at_t *t = find (self, table);
    uint64_t bytes, sum;
    if (!t || __builtin_mul_overflow (n, t->row_bytes, &bytes) ||
        __builtin_add_overflow (bytes, address, &sum) || sum > INT64_MAX ||
        __builtin_add_overflow (t->rows, n, &sum) ||
        (deflated && (table == self->counts || !codec_possible (deflated, bytes))))
        return sluice_fail (err, SLUICE_EPROTO,
                            "rows that cannot be where they are said "
                            "to be");
    if (t->n == t->room) {
        size_t room = t->room ? 2 * t->room : 4;
        extent_at_t *grown = realloc (t->extents, room * sizeof *grown);
        if (!grown)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        t->extents = grown;
        t->room = room;
    }
    t->extents[t->n++] = (extent_at_t){t->rows, address, deflated};
    t->rows = sum;
    return 0;
}

/* ---- reading ------------------------------------------------------------------- */

static int read_fully (int fd, void *out, size_t n, uint64_t address, sluice_error_t *err)
{
    uint8_t *to = out;
    while (n > 0) {
        ssize_t got = pread (fd, to, n, (off_t) address);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return sluice_fail (err, SLUICE_EOUTPUT, "cannot read the output: %s",
                                got < 0 ? strerror (errno) : "somebody cut it");
        to += got;
        n -= (size_t) got;
        address += (uint64_t) got;
    }
    return 0;
}

/* Few bytes are taken from those read last, or with those behind them, up to `end`. */
static int read_near (const extents_t *self, table_at_t *t, void *out, size_t n,
                      uint64_t address, uint64_t end, sluice_error_t *err)
{
    if (n > NEAR_BYTES / 4 || (!t->near && !(t->near = malloc (NEAR_BYTES))))
        return read_fully (self->fd, out, n, address, err);
    if (address < t->near_at || address + n > t->near_at + t->near_bytes) {
        size_t more = end - address < NEAR_BYTES ? (size_t) (end - address) : NEAR_BYTES;
        t->near_bytes = 0;
        if (read_fully (self->fd, t->near, more, address, err) < 0)
            return -1;
        t->near_at = address;
        t->near_bytes = more;
    }
    memcpy (out, t->near + (address - t->near_at), n);
    return 0;
}

/* Some rows of an extent that is compressed, which has so many in all. */
static int read_deflated (extents_t *self, table_at_t *t, void *out, uint64_t row,
                          uint64_t n, const extent_at_t *extent, uint64_t rows,
                          sluice_error_t *err)
{
    size_t bytes = (size_t) rows * t->row_bytes;
    if (t->chunk_at != extent->address) {
        t->chunk_at = 0;
        if (bytes > t->chunk_room) {
            free (t->chunk);
            t->chunk_room = 0;
            if (!(t->chunk = malloc (bytes)))
                return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
            t->chunk_room = bytes;
        }
        uint8_t *stored = malloc ((size_t) extent->deflated);
        if (!stored || (!self->codec && !(self->codec = codec_new (0, 0, NULL)))) {
            free (stored);
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        }
        int rc = read_fully (self->fd, stored, (size_t) extent->deflated, extent->address,
                             err);
        if (rc == 0)
            rc = codec_inflate (self->codec, stored, (size_t) extent->deflated, t->chunk,
                                bytes, t->row_bytes, err);
        free (stored);
        if (rc < 0)
            return -1;
        t->chunk_at = extent->address;
    }
    memcpy (out, t->chunk + row * t->row_bytes, (size_t) n * t->row_bytes);
    return 0;
}

/* The extent that holds this row of the task. */
static size_t extent_of (const table_at_t *t, uint64_t row)
{
    size_t low = 0, high = t->n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (t->extents[middle].row <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Rows of the task, which are there. */
static int read_rows (extents_t *self, table_at_t *t, uint64_t row, uint64_t n, void *out,
                      sluice_error_t *err)
{
    uint8_t *to = out;
    for (size_t i = extent_of (t, row); n > 0; i++) {
        uint64_t end = i + 1 < t->n ? t->extents[i + 1].row : t->rows;
        uint64_t part = end - row < n ? end - row : n;
        size_t bytes = (size_t) part * t->row_bytes;
        const extent_at_t *extent = t->extents + i;
        uint64_t at = extent->address;
        int rc =
            extent->deflated
                ? read_deflated (self, t, to, row - extent->row, part, extent,
                                 end - extent->row, err)
                : read_near (self, t, to, bytes, at + (row - extent->row) * t->row_bytes,
                             at + (end - extent->row) * t->row_bytes, err);
        if (rc < 0)
            return -1;
        to += bytes;
        row += part;
        n -= part;
    }
    return 0;
}

int extents_read (extents_t *self, uint32_t table, uint64_t from, uint64_t n, void *out,
                  sluice_error_t *err)
{
    table_at_t *t = find (self, table);
    if (!t)
        return sluice_fail (err, SLUICE_EINPUT, "there is no such table");
    if (from > t->count || n > t->count - from)
        return sluice_fail (err, SLUICE_EINPUT, "rows %llu to %llu of %llu are asked for",
                            (unsigned long long) from, (unsigned long long) (from + n),
                            (unsigned long long) t->count);
    return read_rows (self, t, t->at + from, n, out, err);
}

/* ---- row counts ------------------------------------------------------------------ */

/* The next row count of this table into t->now, unless there is none. */
static int next_count (extents_t *self, uint32_t table, table_at_t *t,
                       sluice_error_t *err)
{
    table_at_t *counts = self->tables + self->counts;
    t->has_now = false;
    while (!t->ended) {
        while (t->used < t->nwaiting) {
            t->now = t->waiting[t->used++];
            if (t->now.table != table)
                continue;
            t->has_now = true;
            return 0;
        }
        uint64_t n = counts->rows - t->next;
        n = n < COUNTS_AT_ONCE ? n : COUNTS_AT_ONCE;
        t->ended = n == 0;
        if (read_rows (self, counts, t->next, n, t->waiting, err) < 0)
            return -1;
        t->next += n;
        t->nwaiting = (unsigned) n;
        t->used = 0;
    }
    return 0;
}

/* Count the rows of these items in one table. */
static int count_rows (extents_t *self, uint32_t table, table_at_t *t, uint64_t first,
                       uint64_t stop, sluice_error_t *err)
{
    t->at += t->count;
    t->count = 0;
    for (;;) {
        if (!t->has_now && !t->ended && next_count (self, table, t, err) < 0)
            return -1;
        if (!t->has_now || t->now.first >= stop)
            return 0;
        uint64_t from = t->now.first > first ? t->now.first : first;
        uint64_t to = t->now.stop < stop ? t->now.stop : stop;
        uint64_t rows;
        if (from < to && (__builtin_mul_overflow (to - from, t->now.rows, &rows) ||
                          rows > t->rows - t->at - t->count))
            return sluice_fail (err, SLUICE_EPROTO,
                                "items that have more rows than came");
        if (from < to)
            t->count += rows;
        if (t->now.stop > stop)
            return 0;
        t->has_now = false;
    }
}

int extents_items (extents_t *self, uint64_t first, uint64_t stop, sluice_error_t *err)
{
    for (uint32_t i = 0; i < self->ntables; i++) {
        table_at_t *t = self->tables + i;
        if (t->row_bytes && i != self->counts && t->n > 0 &&
            count_rows (self, i, t, first, stop, err) < 0)
            return -1;
    }
    return 0;
}

uint64_t extents_count (const extents_t *self, uint32_t table)
{
    const table_at_t *t = find (self, table);
    return t ? t->count : 0;
}
