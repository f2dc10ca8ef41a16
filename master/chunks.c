/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/chunks.h"

#include <stdlib.h>
#include <string.h>

/* The open chunk: an extent and the rows of it that wait in memory. */
typedef struct {
    bool there;
    uint64_t address;
    uint64_t rows;
    uint64_t base;    /* rows before these are only in the file */
    uint64_t flushed; /* rows that are in the file; >= base */
    uint8_t *buffer;  /* of rows base <= i < chunk_rows, or NULL */
} open_chunk_t;

struct chunks {
    outfile_t *file;
    space_t *space;
    uint64_t row_bytes, chunk_rows, chunk_bytes;
    chunk_place_t *full;
    size_t nfull, room;
    uint64_t saved; /* bytes, by compression */
    open_chunk_t open;
    bool marked;
    open_chunk_t old; /* as it was at the mark */
    size_t old_full;
    uint64_t old_saved;
    bool old_left;      /* its extent is not needed any more */
    chunk_place_t *own; /* full ones of ours since the mark */
    size_t nown, own_room;
    uint8_t *spare; /* a buffer of chunk_bytes, recycled */
};

chunks_t *chunks_new (outfile_t *file, space_t *space, uint64_t row_bytes,
                      uint64_t chunk_rows, sluice_error_t *err)
{
    chunks_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->file = file;
    self->space = space;
    self->row_bytes = row_bytes;
    self->chunk_rows = chunk_rows;
    self->chunk_bytes = row_bytes * chunk_rows;
    return self;
}

void chunks_destroy (chunks_t **self_p)
{
    chunks_t *self = *self_p;
    if (!self)
        return;
    if (self->marked && self->old.buffer != self->open.buffer)
        free (self->old.buffer);
    free (self->open.buffer);
    free (self->spare);
    free (self->full);
    free (self->own);
    free (self);
    *self_p = NULL;
}

static uint64_t place_bytes (const chunks_t *self, chunk_place_t place)
{
    return place.deflated ? place.deflated : self->chunk_bytes;
}

void chunks_clear (chunks_t *self)
{
    for (size_t i = 0; i < self->nfull; i++)
        space_free (self->space, self->full[i].address,
                    place_bytes (self, self->full[i]));
    if (self->open.there)
        space_free (self->space, self->open.address, self->chunk_bytes);
    free (self->open.buffer);
    self->open = (open_chunk_t){0};
    self->nfull = 0;
    self->saved = 0;
}

uint64_t chunks_row_bytes (const chunks_t *self)
{
    return self->row_bytes;
}
uint64_t chunks_chunk_rows (const chunks_t *self)
{
    return self->chunk_rows;
}
uint64_t chunks_chunk_bytes (const chunks_t *self)
{
    return self->chunk_bytes;
}
size_t chunks_full (const chunks_t *self)
{
    return self->nfull;
}
const chunk_place_t *chunks_places (const chunks_t *self)
{
    return self->full;
}
uint64_t chunks_stored (const chunks_t *self)
{
    return self->nfull * self->chunk_bytes - self->saved +
           self->open.rows * self->row_bytes;
}
bool chunks_deflated (const chunks_t *self)
{
    return self->saved > 0;
}
uint64_t chunks_open_rows (const chunks_t *self)
{
    return self->open.rows;
}
uint64_t chunks_open_address (const chunks_t *self)
{
    return self->open.address;
}

uint64_t chunks_rows (const chunks_t *self)
{
    return self->nfull * self->chunk_rows + self->open.rows;
}

uint64_t chunks_waiting (const chunks_t *self)
{
    uint64_t bytes = self->spare ? self->chunk_bytes : 0;
    return self->open.buffer
               ? bytes + (self->open.rows - self->open.base) * self->row_bytes
               : bytes;
}

/* Make room for one more in a list of places. */
static int reserve (chunk_place_t **list, size_t n, size_t *room, sluice_error_t *err)
{
    if (n < *room)
        return 0;
    size_t more = *room ? 2 * *room : 64;
    chunk_place_t *at = realloc (*list, more * sizeof *at);
    if (!at)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    *list = at;
    *room = more;
    return 0;
}

int chunks_place (chunks_t *self, chunk_place_t place, sluice_error_t *err)
{
    if (reserve (&self->full, self->nfull, &self->room, err) < 0)
        return -1;
    self->full[self->nfull++] = place;
    self->saved += self->chunk_bytes - place_bytes (self, place);
    return 0;
}

static int open_buffer (chunks_t *self, sluice_error_t *err)
{
    open_chunk_t *open = &self->open;
    if (!open->buffer) {
        open->base = open->flushed = open->rows;
        if (!open->base && self->spare) {
            open->buffer = self->spare;
            self->spare = NULL;
        } else
            open->buffer = malloc ((self->chunk_rows - open->base) * self->row_bytes);
        if (!open->buffer)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    if (!open->there) {
        open->address = space_alloc (self->space, self->chunk_bytes);
        open->there = true;
    }
    return 0;
}

int chunks_flush (chunks_t *self, sluice_error_t *err)
{
    open_chunk_t *open = &self->open;
    if (open->flushed == open->rows)
        return 0;
    uint64_t from = open->flushed * self->row_bytes;
    if (outfile_write (self->file, open->buffer + from - open->base * self->row_bytes,
                       open->rows * self->row_bytes - from, open->address + from,
                       err) < 0)
        return -1;
    open->flushed = open->rows;
    return 0;
}

/* A buffer that holds a whole chunk is kept for the next one. */
static void drop_buffer (chunks_t *self, uint8_t *buffer, uint64_t base)
{
    if (!base && !self->spare)
        self->spare = buffer;
    else
        free (buffer);
}

int chunks_spill (chunks_t *self, sluice_error_t *err)
{
    if (chunks_flush (self, err) < 0)
        return -1;
    free (self->open.buffer);
    free (self->spare);
    self->open.buffer = self->spare = NULL;
    return 0;
}

/* The open chunk is full: write it to an extent of its own, compressed. 0: it cannot be,
 * or is not worth it. */
static int deflate (chunks_t *self, codec_t *codec, chunk_place_t *place,
                    sluice_error_t *err)
{
    open_chunk_t *open = &self->open;
    if (!codec || open->base > 0)
        return 0;
    uint8_t *copy = malloc (self->chunk_bytes);
    if (!copy)
        return 0;
    memcpy (copy, open->buffer, self->chunk_bytes);
    size_t n = codec_deflate (codec, copy, self->chunk_bytes, self->row_bytes);
    int rc = n > 0;
    if (rc) {
        *place = (chunk_place_t){space_alloc (self->space, n), n};
        if (outfile_write (self->file, copy, n, place->address, err) < 0) {
            space_free (self->space, place->address, n);
            rc = -1;
        }
    }
    free (copy);
    return rc;
}

/* The extent that the open chunk has had is not needed any more. What a snapshot may
 * refer to is kept for it, and for a rollback. */
static void leave (chunks_t *self, uint64_t address)
{
    if (self->marked && self->old.there && self->old.address == address)
        self->old_left = true;
    else
        space_free (self->space, address, self->chunk_bytes);
}

int chunks_pack (chunks_t *self, const void *rows, uint64_t n, codec_t *codec,
                 uint64_t *done, chunk_place_t *place, uint64_t *before,
                 sluice_error_t *err)
{
    open_chunk_t *open = &self->open;
    if (open_buffer (self, err) < 0)
        return -1;
    uint64_t room = self->chunk_rows - open->rows;
    *done = n < room ? n : room;
    *place = (chunk_place_t){.address = open->address};
    *before = open->rows;
    memcpy (open->buffer + (open->rows - open->base) * self->row_bytes, rows,
            *done * self->row_bytes);
    if (*done < room) {
        open->rows += *done;
        return 0;
    }
    if (reserve (&self->full, self->nfull, &self->room, err) < 0 ||
        reserve (&self->own, self->nown, &self->own_room, err) < 0)
        return -1;
    uint64_t rows_before = open->rows;
    open->rows = self->chunk_rows;
    int rc = deflate (self, codec, place, err);
    if (rc < 0 || (rc == 0 && chunks_flush (self, err) < 0)) {
        open->rows = rows_before;
        return -1;
    }
    if (rc > 0)
        leave (self, open->address);
    self->full[self->nfull++] = *place;
    self->saved += self->chunk_bytes - place_bytes (self, *place);
    if (self->marked)
        self->own[self->nown++] = *place;
    if (!self->marked || open->buffer != self->old.buffer)
        drop_buffer (self, open->buffer, open->base);
    *open = (open_chunk_t){0};
    return 0;
}

int chunks_append (chunks_t *self, const void *rows, uint64_t n, sluice_error_t *err)
{
    const uint8_t *from = rows;
    while (n > 0) {
        uint64_t done, before;
        chunk_place_t place;
        if (chunks_pack (self, from, n, NULL, &done, &place, &before, err) < 0)
            return -1;
        from += done * self->row_bytes;
        n -= done;
    }
    return 0;
}

int chunks_read (const chunks_t *self, uint64_t row, uint64_t n, void *out,
                 sluice_error_t *err)
{
    const open_chunk_t *open = &self->open;
    uint8_t *to = out;
    while (n > 0) {
        uint64_t k = row / self->chunk_rows, in = row % self->chunk_rows;
        uint64_t part = self->chunk_rows - in;
        uint64_t address = k < self->nfull ? self->full[k].address : open->address;
        const uint8_t *memory = NULL;
        if (k >= self->nfull && open->buffer) {
            if (in >= open->base)
                memory = open->buffer + (in - open->base) * self->row_bytes;
            else if (in + part > open->base)
                part = open->base - in;
        }
        if (part > n)
            part = n;
        size_t bytes = part * self->row_bytes;
        if (memory)
            memcpy (to, memory, bytes);
        else if (outfile_read (self->file, to, bytes, address + in * self->row_bytes,
                               err) < 0)
            return -1;
        to += bytes;
        row += part;
        n -= part;
    }
    return 0;
}

void chunks_mark (chunks_t *self)
{
    self->marked = true;
    self->old_left = false;
    self->old = self->open;
    self->old_full = self->nfull;
    self->old_saved = self->saved;
    self->nown = 0;
}

void chunks_commit (chunks_t *self)
{
    if (!self->marked)
        return;
    self->marked = false;
    if (self->old_left && self->old.flushed > 0)
        space_retire (self->space, self->old.address, self->chunk_bytes);
    else if (self->old_left) /* no snapshot can refer to it */
        space_free (self->space, self->old.address, self->chunk_bytes);
    if (self->old.buffer && self->old.buffer != self->open.buffer)
        drop_buffer (self, self->old.buffer, self->old.base);
}

void chunks_rollback (chunks_t *self)
{
    if (!self->marked)
        return;
    self->marked = false;
    for (size_t i = 0; i < self->nown; i++)
        if (!self->old.there || self->own[i].address != self->old.address)
            space_free (self->space, self->own[i].address,
                        place_bytes (self, self->own[i]));
    bool same =
        self->open.there && self->old.there && self->open.address == self->old.address;
    if (self->open.there && !same)
        space_free (self->space, self->open.address, self->chunk_bytes);
    if (self->open.buffer && self->open.buffer != self->old.buffer)
        drop_buffer (self, self->open.buffer, self->open.base);
    self->open = self->old;
    self->nfull = self->old_full;
    self->saved = self->old_saved;
}
