/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* snapshot.h - HDF5 objects over extents that are there
 *
 * What a snapshot of the output is made of: tables and arrays whose data were
 * written before (h5driver.h), and what is said of the run as attributes.
 * `file` is what h5driver_create gave.
 */
#ifndef MASTER_SNAPSHOT_H
#define MASTER_SNAPSHOT_H

#include <stdio.h>
#include "calc/kernel_host.h"
#include "master/chunks.h"
#include "master/h5driver.h"
#include "master/identity.h"

/* A table: rows of `type` in chunks of chunk_rows; the first chunks lie at
 * `full`, the rest at `tail`, the last of which may hold fewer rows. Of one that is
 * compressed, with this level, chunks that are not skip the filters. */
typedef struct {
    const char *name;
    hid_t type;
    uint64_t row_bytes, chunk_rows, rows;
    const chunk_place_t *full;
    size_t nfull;
    const uint64_t *tail;
    size_t ntail;
    uint32_t deflate; /* 0: none is compressed */
} snapshot_table_t;

int snapshot_table (hid_t file, h5driver_t *driver, const snapshot_table_t *table,
                    sluice_error_t *err);
/* The same for chunks whose rows are all flushed. */
int snapshot_chunks (hid_t file, h5driver_t *driver, const char *name, hid_t type,
                     const chunks_t *chunks, uint32_t deflate, sluice_error_t *err);

/* An array that lies at `address`, in one piece. */
int snapshot_array (hid_t file, h5driver_t *driver, const char *name, hid_t type,
                    unsigned ndim, const uint64_t *shape, uint64_t address,
                    uint64_t bytes, sluice_error_t *err);
/* True if snapshot_array can take such an array; scalars and empty ones are
 * written anew in each snapshot (h5_write_array). */
bool snapshot_adopts (const sluice_array_t *array);

/* What is said of the run, as attributes of the group /sluice. */
typedef struct {
    const char *run, *job, *kernel, *parameters, *status, *started;
    const char *digest; /* NULL: not yet */
    double seconds;
    const sluice_plan_t *plan; /* seed, items, tables */
    const table_t *late;       /* tables that were met late */
    size_t nlate;
    uint64_t resumed; /* how often it was gone on with */
    uint32_t deflate; /* how chunks of tables are compressed */
    const identity_t *identity;
} snapshot_about_t;

int snapshot_about (hid_t file, const snapshot_about_t *about, sluice_error_t *err);

/* Write text as a JSON string, in quotes. */
void json_text (FILE *out, const char *text);
/* The parameters as one JSON object; free () it. NULL if out of memory. */
char *parameters_json (const sluice_params_t *params);

#endif
