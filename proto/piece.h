/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* piece.h - what travels from a worker to the file
 *
 * A piece is two ZeroMQ frames: a msgpack header that ends in the `bin`
 * header of the payload, and the payload as it lies in memory. Laid end to
 * end they are one valid msgpack document:
 *
 *   [run, token, epoch, position, kind, task, attempt, first, stop,
 *    parts, late, digest, seconds, cpu, rss, payload]
 *
 * The payload is the rows of the parts, one part behind the other, rows as
 * they lie in memory (packed dtype of the table); or, of a DATA piece that is a whole
 * chunk, what the worker has compressed them to (proto/codec.h).
 *
 * Several small pieces may share one message: they are laid end to end in its first
 * frame, and the second has no bytes. The header of a piece alone ends with its first
 * frame, so these cannot be taken for each other. Each has its own position and cost,
 * as if it came by itself.
 *
 * Two kinds:
 *   DATA   one part: rows of one table, of a task that goes on
 *   DONE   the task's last piece: what is left of each table (parts may be
 *          none), and what is known of the whole task. It says "done".
 *   EMPTY  stands in for a piece that was dropped after it was offered: the
 *          same cost, no payload that counts. The simplest one is the old
 *          header with this kind and a payload frame of no bytes: its `payload`
 *          still says what was offered. It may also have no parts.
 *
 * Tables below `ntables` are those of the plan, and number `ntables` is the table
 * of row counts that the emitter keeps: see calc/emitter.h. Higher numbers are the
 * worker's own for tables that were met late, with their first rows. `late` says
 * what these are; a piece names those that its attempt has rows of by then and
 * that no earlier piece of the attempt has named, so that it comes before all
 * that needs it.
 *
 * `position` is the sum of the costs of all pieces of this node, run and
 * epoch-independent stream before this one; the cost of a piece is the bytes
 * of both frames. position, epoch and token have a fixed width in the header,
 * so that its length is known before they are.
 */
#ifndef PROTO_PIECE_H
#define PROTO_PIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/msg.h"
#include "sluice/dtype.h"
#include "sluice/error.h"

typedef enum { PIECE_DATA = 0, PIECE_DONE = 1, PIECE_EMPTY = 2 } piece_kind_t;

enum {
    PIECE_MAX_LATE = 64,        /* tables met late: of a worker, and of a run */
    PIECE_LATE_BYTES = 8 << 10, /* names and dtypes of those of a worker */
    /* Tails of all tables, and counts of rows in two parts. */
    PIECE_MAX_PARTS = MSG_MAX_TABLES + PIECE_MAX_LATE + 2,
    PIECE_MAX_HEADER = 16 << 10, /* holds all these at once */
    PIECE_MAX_BATCH = 64 << 10,  /* bytes of small pieces in one message */
    CHUNK_BYTES = 1 << 20,       /* aim for one chunk of a table */
    ROW_MAX_BYTES = 64 << 20     /* a larger row is refused at the plan */
};

typedef struct {
    uint32_t table;
    uint64_t row; /* rows of this table that this attempt sent before */
    uint64_t rows;
    uint64_t bytes; /* of these */
    uint64_t xxh3;  /* XXH3-64 of those bytes */
    /* Compressed: bytes in the payload, fewer than `bytes`, and the XXH3-64 of these. 0:
     * as they are. */
    uint64_t deflated, deflated_xxh3;
} part_t;

/* A table that was met late. */
typedef struct {
    uint32_t table;           /* its number in this attempt */
    uint64_t item;            /* the first one that has rows of it */
    const char *name, *dtype; /* decoded: they lie in the header */
} late_t;

typedef struct {
    uint8_t run[RUN_BYTES];
    uint64_t token;
    uint32_t epoch;
    uint64_t position;
    piece_kind_t kind;
    uint64_t task;
    uint32_t attempt;
    uint64_t first, stop; /* DONE: items done (stop may be less than assigned
                             after SHED). DATA: the items assigned */
    size_t nparts;
    part_t parts[PIECE_MAX_PARTS];
    size_t nlate;
    late_t late[PIECE_MAX_LATE];  /* numbers rise */
    uint8_t digest[DIGEST_BYTES]; /* DONE: sum mod 2^128 over its items (invariant I6),
                                     little-endian */
    double seconds, cpu;          /* DONE: of the task */
    uint64_t rss;                 /* DONE: peak bytes of the worker */
    uint64_t payload;             /* bytes of the payload frame */
} piece_t;

/* Bytes of the payload that are this part. */
static inline uint64_t part_payload (const part_t *part)
{
    return part->deflated ? part->deflated : part->bytes;
}

/* Encode the header of a piece into `out` (PIECE_MAX_HEADER bytes); returns
 * its length, which does not depend on token, epoch, position and kind. 0 if it
 * has more parts, late tables or bytes of their names and dtypes (with a NUL each)
 * than there can be, its payload 4 GiB, or several parts and one of them compressed. */
size_t piece_encode (const piece_t *piece, uint8_t *out);

/* Set in an encoded header what is known only when it is pushed. */
void piece_stamp (uint8_t *header, uint32_t epoch, uint64_t position, bool empty);

/* Decode a header that came from anybody; checks it against the length of
 * the payload frame, that parts tile the payload in whole rows, and all
 * bounds. Names and dtypes of late tables are UTF-8 and point into `header`; what
 * they say is for the caller to check. For EMPTY the payload frame may have any length.
 * Whether `row`, `rows` and the table fit the run, and the xxh3 of the bytes, is for the
 * caller to check. */
#define PIECE_ANY_PAYLOAD UINT64_MAX /* not known here: the length is not checked */
int piece_decode (const void *header, size_t n, uint64_t payload_bytes, piece_t *piece,
                  sluice_error_t *err);

/* The same of the first piece of several that are laid end to end, headers and payloads,
 * in `n` bytes. Returns the bytes of its header; behind these come piece->payload bytes,
 * and the next piece. 0: it is malformed. */
size_t piece_decode_first (const uint8_t *data, size_t n, piece_t *piece,
                           sluice_error_t *err);
/* Is this first frame, whose second has no bytes, several small pieces in one message?
 * (Or one with its payload, which is no different.) */
bool piece_is_batch (const uint8_t *data, size_t n);

/* Rows of one chunk for rows of `row_bytes`: about CHUNK_BYTES, at least 1. */
uint64_t chunk_rows_for (uint64_t row_bytes);

/* sum += value, both little-endian 128-bit numbers. */
void digest_add (uint8_t sum[DIGEST_BYTES], const uint8_t value[DIGEST_BYTES]);
/* As a number in hex, highest digit first: as xxhsum -H2 prints it. */
void digest_text (const uint8_t digest[DIGEST_BYTES], char text[2 * DIGEST_BYTES + 1]);

/* Are rows of this table content, which a run's digest covers? Those of tables under
 * sluice/ are not: they are Sluice's record of what happened, such as what commands
 * said on stderr, and may differ from run to run. */
bool table_is_content (const char *name);

/* The digest of one item in one table: XXH3-128 over the table's name with
 * its NUL, the item (8 bytes, little-endian) and its rows (invariant I6). */
typedef struct item_hash item_hash_t;
item_hash_t *item_hash_new (void);
void item_hash_destroy (item_hash_t **self_p);
void item_hash_begin (item_hash_t *self, const char *table, uint64_t item);
void item_hash_rows (item_hash_t *self, const void *rows, size_t bytes);
void item_hash_end (item_hash_t *self, uint8_t digest[DIGEST_BYTES]);

/* The digest of a table's declaration (name, dtype) or of a constant array
 * (name, dtype, shape, data): counted once in a run's digest. XXH3-128 over
 *
 *   NUL "table" NUL H(name) H(dtype)
 *   NUL "array" NUL H(name) H(dtype) ndim shape[0] ... H(data)
 *
 * where H is XXH3-128 of a text without its NUL (of the canonical text of the
 * dtype) or of the data, 16 bytes, and numbers have 8 bytes; all little-endian.
 * No table's name is empty, so that no item's digest covers the same bytes. */
void table_digest (const char *name, const char *dtype, uint8_t digest[DIGEST_BYTES]);
int array_digest (const char *name, const sluice_array_t *array,
                  uint8_t digest[DIGEST_BYTES], sluice_error_t *err);

#endif
