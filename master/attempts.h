/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* attempts.h - what came of tasks that are not finished, and which are
 *
 * A task may be computed by several nodes at once (copies of stragglers,
 * nodes thought dead). Each such attempt has a stream of pieces, which wait
 * in extents of the file; here is where they lie and how far each stream
 * has come. Of finished tasks only one bit is kept.
 *
 * Single-threaded; owned by the writer.
 */
#ifndef MASTER_ATTEMPTS_H
#define MASTER_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/piece.h"
#include "sluice/error.h"

/* A piece that waits for its task to be done. */
typedef struct {
    uint32_t table;                    /* by the attempt's own numbers */
    bool full;                         /* exactly a chunk of its table */
    uint64_t row, rows, address, xxh3; /* as in the ledger */
    uint64_t bytes;                    /* of the rows */
    uint64_t deflated; /* bytes that they were compressed to; 0: they were not */
} held_t;

/* Bytes of its extent. */
static inline uint64_t held_stored (const held_t *held)
{
    return held->deflated ? held->deflated : held->bytes;
}

/* How far an attempt has come with one table. */
typedef struct {
    uint64_t rows;    /* that came */
    uint64_t counted; /* that its items have, by the items table */
    uint64_t next;    /* the first item that may be mentioned next */
} stream_t;

/* A table that an attempt met late. */
typedef struct {
    char *name, *dtype; /* NULL: the attempt has not named it */
    uint64_t row_bytes;
    uint64_t item;   /* the first one that has rows of it */
    uint32_t number; /* in the file; 0: it is not there, as far as is known */
} met_t;

typedef struct attempt {
    struct attempt *next; /* another one of the same task */
    uint32_t number;
    bool dropped; /* nothing of it is wanted any more */
    size_t nheld, room;
    held_t *held;      /* in the order they came */
    stream_t *streams; /* one per table that it may have, or NULL when dropped */
    met_t *met;        /* PIECE_MAX_LATE, or NULL if it met none */
} attempt_t;

typedef struct attempts attempts_t;

/* Attempts have streams for `nstreams` tables. NULL if out of memory. */
attempts_t *attempts_new (size_t nstreams);
void attempts_destroy (attempts_t **self_p);

/* All attempts of a task that is not finished; NULL if there are none. */
attempt_t *attempts_of (attempts_t *self, uint64_t task);
attempt_t *attempts_find (attempts_t *self, uint64_t task, uint32_t number);
/* A new one, without pieces. NULL if out of memory. */
attempt_t *attempts_add (attempts_t *self, uint64_t task, uint32_t number);
/* Make room for one more held piece, so that adding it cannot fail. */
bool attempt_reserve (attempt_t *attempt);
/* The attempt keeps copies of what is in `met` beyond what it has. False: out of
 * memory. */
bool attempt_keep_met (attempt_t *attempt, const met_t *met);
/* Nothing of it is wanted: forget its pieces (not their extents). */
void attempt_drop (attempt_t *attempt);
/* Forget all attempts of a task. */
void attempts_forget (attempts_t *self, uint64_t task);
/* Finished tasks. Reserve first; then adding cannot fail. */
bool attempts_finished (const attempts_t *self, uint64_t task);
bool attempts_reserve_finished (attempts_t *self, uint64_t task);
void attempts_add_finished (attempts_t *self, uint64_t task);

#endif
