/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* play.h - tasks with results that anybody can compute, for tests of the writer
 *
 * Cuts rows into pieces as a worker would. Item i has play_rows (i, table)
 * rows in each table; row k of it is
 *
 *   table 0  {item:<u8, k:<u4, v:<f4}    v = item / 2 + k
 *   table 1  {item:<u4, b:(3)<u2}        b = k, item, item + k
 *   table 2  {n:<u8}                     rows for few items; n = item * 1000 + k
 */
#ifndef TESTS_PLAY_H
#define TESTS_PLAY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "master/writer.h"
#include "proto/codec.h"
#include "proto/xxh3.h"

enum { PLAY_TABLES = 3, PLAY_ROW_MOST = 16 };

static table_t play_tables[PLAY_TABLES] = {
    {(char *) "play/rows", (char *) "{item:<u8, k:<u4, v:<f4}", 500},
    {(char *) "small", (char *) "{item:<u4, b:(3)<u2}", 300},
    {(char *) "rare", (char *) "{n:<u8}", 1000},
};
static const uint64_t play_row_bytes[PLAY_TABLES + 1] = {16, 10, 8, sizeof (item_rows_t)};

static const uint8_t play_run[RUN_BYTES] = {0xab, 1, 2, 3, 4, 5, 6, 7};

static inline uint64_t play_rows (uint64_t item, unsigned table)
{
    switch (table) {
    case 0:
        return item % 13 == 0 ? 0 : 5 + item / 16 % 5 * 30;
    case 1:
        return item % 7;
    default:
        return item % 10 == 3 ? 2 : 0;
    }
}

static inline void play_row (uint64_t item, unsigned table, uint64_t k, uint8_t *out)
{
    uint32_t k32 = (uint32_t) k, item32 = (uint32_t) item;
    if (table == 0) {
        float v = (float) ((double) item / 2 + (double) k);
        memcpy (out, &item, 8);
        memcpy (out + 8, &k32, 4);
        memcpy (out + 12, &v, 4);
    } else if (table == 1) {
        uint16_t b[3] = {(uint16_t) k, (uint16_t) item, (uint16_t) (item + k)};
        memcpy (out, &item32, 4);
        memcpy (out + 4, b, 6);
    } else {
        uint64_t n = item * 1000 + k;
        memcpy (out, &n, 8);
    }
}

typedef struct {
    int (*put) (void *arg, const piece_t *piece, const void *payload,
                sluice_error_t *err);
    void *arg;
    unsigned short_every; /* send a short piece each so many items; 0: never */
    bool no_done;         /* the worker dies before its last piece */
    codec_t *codec;       /* whole chunks are compressed by it; NULL: they are not */
    /* own */
    piece_t piece;
    uint8_t *rows[PLAY_TABLES + 1];
    uint64_t n[PLAY_TABLES + 1], room[PLAY_TABLES + 1], sent[PLAY_TABLES + 1];
} player_t;

/* Rows of a chunk of the table of row counts. */
static inline uint64_t play_chunk_rows (unsigned table)
{
    return table < PLAY_TABLES ? play_tables[table].chunk_rows
                               : chunk_rows_for (sizeof (item_rows_t));
}

static inline int play_send (player_t *self, unsigned table, sluice_error_t *err)
{
    uint64_t bytes = self->n[table] * play_row_bytes[table];
    self->piece.kind = PIECE_DATA;
    self->piece.nparts = 1;
    self->piece.parts[0] = (part_t){.table = table,
                                    .row = self->sent[table],
                                    .rows = self->n[table],
                                    .bytes = bytes,
                                    .xxh3 = XXH3_64bits (self->rows[table], bytes)};
    part_t *part = &self->piece.parts[0];
    if (self->codec && table < PLAY_TABLES && self->n[table] == play_chunk_rows (table))
        part->deflated =
            codec_deflate (self->codec, self->rows[table], bytes, play_row_bytes[table]);
    if (part->deflated)
        part->deflated_xxh3 = XXH3_64bits (self->rows[table], part->deflated);
    self->piece.payload = part_payload (part);
    self->sent[table] += self->n[table];
    self->n[table] = 0;
    return self->put (self->arg, &self->piece, self->rows[table], err);
}

static inline int play_add (player_t *self, unsigned table, const void *row,
                            sluice_error_t *err)
{
    uint64_t bytes = play_row_bytes[table];
    if (self->n[table] == self->room[table]) {
        self->room[table] = self->room[table] ? 2 * self->room[table] : 64;
        self->rows[table] = realloc (self->rows[table], self->room[table] * bytes);
    }
    memcpy (self->rows[table] + self->n[table]++ * bytes, row, bytes);
    return self->n[table] == play_chunk_rows (table) ? play_send (self, table, err) : 0;
}

static inline int play_item (player_t *self, uint64_t item, item_rows_t *last,
                             item_hash_t *hash, sluice_error_t *err)
{
    for (unsigned t = 0; t < PLAY_TABLES; t++) {
        uint64_t n = play_rows (item, t);
        if (!n)
            continue;
        if (last[t].rows == n && last[t].stop == item)
            last[t].stop++;
        else {
            if (last[t].rows && play_add (self, PLAY_TABLES, last + t, err) < 0)
                return -1;
            last[t] = (item_rows_t){t, item, item + 1, n};
        }
        uint8_t digest[DIGEST_BYTES];
        item_hash_begin (hash, play_tables[t].name, item);
        for (uint64_t k = 0; k < n; k++) {
            uint8_t row[PLAY_ROW_MOST];
            play_row (item, t, k, row);
            item_hash_rows (hash, row, play_row_bytes[t]);
            if (play_add (self, t, row, err) < 0)
                return -1;
        }
        item_hash_end (hash, digest);
        digest_add (self->piece.digest, digest);
        if (self->short_every && item % self->short_every == t && self->n[t] &&
            play_send (self, t, err) < 0)
            return -1;
    }
    return 0;
}

static inline int play_done (player_t *self, sluice_error_t *err)
{
    uint8_t *payload = NULL;
    uint64_t bytes = 0;
    self->piece.kind = PIECE_DONE;
    self->piece.nparts = 0;
    for (unsigned t = 0; t <= PLAY_TABLES; t++) {
        uint64_t n = self->n[t] * play_row_bytes[t];
        if (!n)
            continue;
        payload = realloc (payload, bytes + n);
        memcpy (payload + bytes, self->rows[t], n);
        self->piece.parts[self->piece.nparts++] =
            (part_t){.table = t,
                     .row = self->sent[t],
                     .rows = self->n[t],
                     .bytes = n,
                     .xxh3 = XXH3_64bits (self->rows[t], n)};
        bytes += n;
    }
    self->piece.payload = bytes;
    int rc = self->put (self->arg, &self->piece, payload, err);
    free (payload);
    return rc;
}

/* Compute items first <= i < stop and put the pieces. -1 as put said. */
static inline int play_task (player_t *self, uint64_t task, uint32_t attempt,
                             uint64_t first, uint64_t stop, sluice_error_t *err)
{
    item_hash_t *hash = item_hash_new ();
    item_rows_t last[PLAY_TABLES] = {0};
    self->piece = (piece_t){.task = task,
                            .attempt = attempt,
                            .first = first,
                            .stop = stop,
                            .seconds = 0.5,
                            .cpu = 0.25,
                            .rss = 1 << 20};
    memcpy (self->piece.run, play_run, RUN_BYTES);
    memset (self->n, 0, sizeof self->n);
    memset (self->sent, 0, sizeof self->sent);
    int rc = 0;
    for (uint64_t item = first; item < stop && rc == 0; item++)
        rc = play_item (self, item, last, hash, err);
    for (unsigned t = 0; t < PLAY_TABLES && rc == 0; t++)
        if (last[t].rows)
            rc = play_add (self, PLAY_TABLES, last + t, err);
    if (rc == 0 && !self->no_done)
        rc = play_done (self, err);
    item_hash_destroy (&hash);
    return rc;
}

static inline void play_clear (player_t *self)
{
    for (unsigned t = 0; t <= PLAY_TABLES; t++) {
        free (self->rows[t]);
        self->rows[t] = NULL;
        self->room[t] = 0;
    }
}

/* The digest that a run over these items must have (without outputs). */
static inline void play_digest (uint64_t items, uint8_t digest[DIGEST_BYTES])
{
    item_hash_t *hash = item_hash_new ();
    uint8_t one[DIGEST_BYTES], row[PLAY_ROW_MOST];
    memset (digest, 0, DIGEST_BYTES);
    for (unsigned t = 0; t < PLAY_TABLES; t++) {
        table_digest (play_tables[t].name, play_tables[t].dtype, one);
        digest_add (digest, one);
        for (uint64_t item = 0; item < items; item++) {
            if (!play_rows (item, t))
                continue;
            item_hash_begin (hash, play_tables[t].name, item);
            for (uint64_t k = 0; k < play_rows (item, t); k++) {
                play_row (item, t, k, row);
                item_hash_rows (hash, row, play_row_bytes[t]);
            }
            item_hash_end (hash, one);
            digest_add (digest, one);
        }
    }
    item_hash_destroy (&hash);
}

#endif
