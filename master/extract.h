/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* extract.h - rows of a table in the order of items
 *
 * Rows lie in an output in the order in which they came. The ledger says which task
 * each piece belongs to, and within a task rows are in the order of items: so pieces
 * sorted by the task's first item and their place in its stream are in order, in a file
 * that is not finished, too. Needs 32 bytes of memory for each piece of the table.
 */
#ifndef MASTER_EXTRACT_H
#define MASTER_EXTRACT_H

#include "master/outread.h"

typedef struct {
    uint64_t first, stop; /* items of its task */
    uint64_t row;         /* place in the task's stream */
    uint64_t start, rows; /* place in the table */
} stretch_t;

typedef struct {
    stretch_t *at; /* in order */
    size_t n;
    uint64_t rows; /* of all */
} stretches_t;

/* The table's number in this output; -1 if it has none of this name. */
int extract_table (const output_t *output, const char *name);

/* Pieces of table number `table` of tasks whose items are `first` and later. */
int extract_pieces (const output_t *output, uint32_t table, uint64_t first,
                    stretches_t *extents, sluice_error_t *err);
/* The rows of one item, in order. SLUICE_EINPUT if that cannot be told: the task has
 * several items and the output is not finished. */
int extract_item (const output_t *output, uint32_t table, uint64_t item,
                  stretches_t *extents, sluice_error_t *err);
void stretches_clear (stretches_t *extents);

/* Call `each` with rows in order, some at a time. It returns 0 to go on. */
typedef int (extract_fn) (void *arg, const void *rows, uint64_t n, sluice_error_t *err);
int extract_rows (const rows_t *rows, const stretches_t *extents, extract_fn *each,
                  void *arg, sluice_error_t *err);

#endif
