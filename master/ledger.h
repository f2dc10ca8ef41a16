/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* ledger.h - rows of /sluice/index, settled and not
 *
 * A piece that was packed into the open chunk of its table has its address,
 * but no place in the table yet: full extents may still come before the open
 * chunk. Its ledger row is kept here until the chunk is full; each snapshot
 * has such rows last, with the places that are right in it. So that they
 * stay few, a table with many of them is *pinned*: its open chunk gets its
 * place, and the next full extent is packed, not placed before it.
 *
 * Single-threaded; owned by the writer.
 */
#ifndef MASTER_LEDGER_H
#define MASTER_LEDGER_H

#include "master/chunks.h"
#include "master/writer.h"

typedef struct ledger ledger_t;

/* For `ntables` tables; `index` (borrowed) takes the settled rows. */
ledger_t *ledger_new (chunks_t *index, size_t ntables, sluice_error_t *err);
void ledger_destroy (ledger_t **self_p);

/* A piece in an extent of its own: row->start is its place. */
int ledger_add_full (ledger_t *self, const index_row_t *row, sluice_error_t *err);
/* A piece in the open chunk: row->start counts from the chunk's start, and
 * `place` is where that would be if no full extent came before it. */
int ledger_add_packed (ledger_t *self, const index_row_t *row, uint64_t place,
                       sluice_error_t *err);
/* The rows of the open chunk, none of which may be settled yet, lie elsewhere now. */
void ledger_move (ledger_t *self, uint32_t table, uint64_t address, uint64_t stored);
/* The open chunk of the table is full and lies at `place`. */
int ledger_fill (ledger_t *self, uint32_t table, uint64_t place, sluice_error_t *err);
/* True when full extents of this table are to be packed. */
bool ledger_pinned (const ledger_t *self, uint32_t table);
/* Pin a table whose open chunk lies at `place`. */
int ledger_pin (ledger_t *self, uint32_t table, uint64_t place, sluice_error_t *err);

/* The rows that are not settled, with the places of open chunks as given (one
 * per table). *rows is malloc'd, NULL when there are none. */
int ledger_unsettled (const ledger_t *self, const uint64_t *places, index_row_t **rows,
                      size_t *n, sluice_error_t *err);

/* As those of chunks_t, which these call for the index. */
void ledger_mark (ledger_t *self);
void ledger_commit (ledger_t *self);
void ledger_rollback (ledger_t *self);

#endif
