/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* itemwalk.h - over the items of a table, in order, with their digests
 *
 * Joins the ledger, the rows of items and the table itself. On the way it
 * checks what it walks over: that the pieces tile the table, that every
 * piece has the rows that were written, that pieces and row counts of each
 * task agree, and (when the output is finished) that `<table>_index` says the
 * same. Needs 48 bytes of memory for each piece of the table and of the
 * table of row counts, and a chunk.
 */
#ifndef MASTER_ITEMWALK_H
#define MASTER_ITEMWALK_H

#include "master/outread.h"

typedef struct itemwalk itemwalk_t;

/* Over the job's table number `table`; `output` is borrowed. */
itemwalk_t *itemwalk_new (output_t *output, uint32_t table, sluice_error_t *err);
void itemwalk_destroy (itemwalk_t **self_p);

/* The next item that has rows, and the task it belongs to. 1; 0 past the last
 * one; -1 with SLUICE_EOUTPUT when the table is damaged. */
int itemwalk_next (itemwalk_t *self, uint64_t *item, uint64_t *task,
                   uint8_t digest[DIGEST_BYTES], sluice_error_t *err);

#endif
