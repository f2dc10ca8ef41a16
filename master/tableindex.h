/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* tableindex.h - where each item's rows lie in a table
 *
 * At the end of a run the ledger and the rows of items are joined into
 * `<table>_index`: intervals (item, start, stop) that tile the table, sorted
 * by item, then by place in the item's stream. Adjacent intervals of an
 * item are one. Takes 32 bytes of memory for each piece of the table and of
 * the items table, twice while they are sorted.
 */
#ifndef MASTER_TABLEINDEX_H
#define MASTER_TABLEINDEX_H

#include "master/chunks.h"
#include "master/writer.h"

#define TABLE_INDEX_DTYPE "{item:<u8, start:<u8, stop:<u8}"

typedef struct {
    uint64_t item, start, stop;
} __attribute__ ((packed)) table_index_row_t;

/* Append the index of `table` to `out`. `index` holds the whole ledger,
 * `items` the table of row counts, whose number is `items_table`. */
int tableindex_make (const chunks_t *index, const chunks_t *items, uint32_t items_table,
                     uint32_t table, chunks_t *out, sluice_error_t *err);

#endif
