/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* outread.h - an output, open for reading
 *
 * With HDF5's own driver, as anybody opens it. What cannot be read of a file
 * that is an output is damage: SLUICE_EOUTPUT.
 */
#ifndef MASTER_OUTREAD_H
#define MASTER_OUTREAD_H

#include <hdf5.h>
#include "master/writer.h"

/* A table of rows, all of one size. */
typedef struct {
    char *name, *dtype;
    hid_t set, type;
    uint64_t rows, row_bytes;
    uint64_t chunk_bytes; /* of a whole chunk, of rows */
    bool filtered;        /* some of its chunks may be compressed */
} rows_t;

typedef struct {
    char *path;
    hid_t file, group;
    uint64_t file_bytes;
    char *run, *job, *kernel, *status, *started, *digest; /* "" where not said */
    double seconds;
    uint64_t seed, items, resumed;
    bool longer;              /* plan_lengthen */
    size_t ntables, noutputs; /* declared */
    size_t nall;              /* tables: declared, of row counts, met late */
    rows_t *tables;           /* by number; that of row counts is `ntables` */
    char **outputs;           /* names */
    rows_t index, tasks, nodes, failures;
} output_t;

/* Open an output. SLUICE_EINPUT: no such file, not HDF5, not Sluice's. */
output_t *output_open (const char *path, sluice_error_t *err);
void output_close (output_t **self_p);
/* True if it was finished, with whatever outcome. */
bool output_finished (const output_t *self);

/* An attribute of /sluice that is text; the caller's to free (). NULL: it has none. */
char *output_text (const output_t *output, const char *name);

/* Open a table by name. `row_bytes` 0: any. */
int rows_open (rows_t *rows, const output_t *output, const char *name, uint64_t row_bytes,
               sluice_error_t *err);
void rows_close (rows_t *rows);
/* Read rows start <= i < start + n. */
int rows_read (const rows_t *rows, uint64_t start, uint64_t n, void *out,
               sluice_error_t *err);

#endif
