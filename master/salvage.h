/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* salvage.h - which tasks of an output are whole
 *
 * A run that goes on from a file takes nothing in it on trust (invariant I5): a disk
 * may have lost or changed what was written. Here each finished task is judged by what
 * the ledger says of it: its pieces follow each other, lie where nothing else does,
 * hold the rows that were written (xxh3), as many as its items count, and these have
 * the digest that the worker computed. A task that fails any of it is taken out, with
 * all its rows; what is left is consistent in itself.
 *
 * Any bytes may be given as ledger and tasks. Memory: 9 bytes for each task and each
 * row of the ledger, the row counts of one task, and one piece; never more
 * than the file has bytes, but for what is compressed: that takes thrice its chunk, and
 * chunks of many pieces up to 64 MiB, so that they are not decompressed for each.
 *
 * Needs no HDF5. Single-threaded.
 */
#ifndef MASTER_SALVAGE_H
#define MASTER_SALVAGE_H

#include "master/writer.h"

/* A table by its number in the ledger. */
typedef struct {
    const char *name;
    uint64_t row_bytes, chunk_rows; /* > 0, their product below 4 GiB */
} salvage_table_t;

typedef struct {
    uint64_t items;      /* of the job */
    uint64_t file_bytes; /* no piece ends after this */
    uint32_t ntables;    /* the number of the table of row counts */
    uint32_t nall;
    const salvage_table_t *tables;
    /* Read `n` bytes of the file, all of which lie in it. 1: they cannot be read, which
     * is damage; -1: give up, with the error. */
    int (*read) (void *arg, void *to, size_t n, uint64_t address, sluice_error_t *err);
    /* So many bytes were looked at. May be NULL. -1: give up. */
    int (*progress) (void *arg, uint64_t bytes, sluice_error_t *err);
    void *arg;
} salvage_source_t;

/* As they are in the file, in any order. */
typedef struct {
    index_row_t *index;
    size_t nindex;
    task_row_t *tasks;
    size_t ntasks;
} salvage_rows_t;

typedef struct {
    uint64_t tasks, items; /* that were there and are not whole */
} salvage_damage_t;

/* Take what is not whole out of `rows`. Afterwards the tasks are sorted by number and
 * the pieces by table, then by their place in it (`start`, which nothing vouches for). */
int salvage (salvage_rows_t *rows, const salvage_source_t *source,
             salvage_damage_t *damage, sluice_error_t *err);

/* What task_row_t.check must be. */
uint64_t task_row_check (const task_row_t *row);

#endif
