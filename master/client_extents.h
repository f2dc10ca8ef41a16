/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* client_extents.h - the rows of a finished task, found in the output
 *
 * A master says in which extents of its output the rows of a task lie, table by table
 * in the order of the task's items. How many rows each item has stands in one more
 * table, as rows {table, first, stop, rows} (calc/emitter.h); these are read as the
 * items are taken, each table with a cursor of its own, so that nothing is held that
 * grows with the task: but for a chunk of each table whose chunks are compressed.
 *
 * Single-threaded.
 */
#ifndef MASTER_CLIENT_EXTENTS_H
#define MASTER_CLIENT_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

typedef struct extents extents_t;

/* To read from `fd` (borrowed). `counts` is the number of the table of row counts. NULL
 * if out of memory. */
extents_t *extents_new (int fd, uint32_t counts);
void extents_destroy (extents_t **self_p);

/* There is a table of this number, with rows of so many bytes. Also for `counts`. */
int extents_table (extents_t *self, uint32_t table, size_t row_bytes,
                   sluice_error_t *err);

/* Forget the task before. */
void extents_clear (extents_t *self);
/* The next `n` rows of the table lie at `address`, compressed to `deflated` bytes unless
 * that is 0. SLUICE_EPROTO: no such table. */
int extents_add (extents_t *self, uint32_t table, uint64_t n, uint64_t address,
                 uint64_t deflated, sluice_error_t *err);
/* Items first <= i < stop are the next ones looked at; they follow those before. */
int extents_items (extents_t *self, uint64_t first, uint64_t stop, sluice_error_t *err);

/* Rows of these items in the table. */
uint64_t extents_count (const extents_t *self, uint32_t table);
/* Read rows from <= i < from + n of these. SLUICE_EINPUT: there are fewer. */
int extents_read (extents_t *self, uint32_t table, uint64_t from, uint64_t n, void *out,
                  sluice_error_t *err);

#endif
