/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* former.h - the state in which a run left its file
 *
 * What the writer needs to go on from it: the ledger and the tasks as far as they are
 * whole (salvage.h), the records, and where the file's content ends. Read with HDF5's
 * own driver, as anybody opens the file; nothing is changed but the file's size, which
 * is made at least what the superblock says, so that a file that was cut opens if what
 * HDF5 needs is still there.
 */
#ifndef MASTER_FORMER_H
#define MASTER_FORMER_H

#include "master/identity.h"
#include "master/salvage.h"

/* A table that was met late. */
typedef struct {
    char *name, *dtype;
    uint64_t row_bytes;
} former_table_t;

typedef struct {
    salvage_rows_t rows;
    salvage_damage_t damage;
    node_row_t *nodes;
    size_t nnodes;
    failure_row_t *failures;
    size_t nfailures;
    former_table_t late[PIECE_MAX_LATE];
    size_t nlate;
    char *started;
    double seconds;
    uint64_t resumed; /* how often it was gone on with before */
    uint64_t end;     /* nothing that the superblock refers to lies after it */
} former_t;

/* Read and check the file at `path`, open as `fd` for writing, too; `size` is how long it
 * was. What is checked is told as writer_options_t.checking has it. SLUICE_EINPUT: it is
 * no output, made by another run than `identity`'s, or complete. SLUICE_EOUTPUT: it is
 * damaged beyond what the ledger can heal. */
int former_read (const char *path, int fd, const identity_t *identity,
                 const writer_options_t *options, former_t *former, uint64_t *size,
                 sluice_error_t *err);
void former_clear (former_t *former);

#endif
