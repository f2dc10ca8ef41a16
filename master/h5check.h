/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* h5check.h - reading finished and unfinished outputs: verify, diff, show
 *
 * Each opens the file plainly and read-only, with HDF5's own driver.
 */
#ifndef MASTER_H5CHECK_H
#define MASTER_H5CHECK_H

#include <stdio.h>
#include "proto/piece.h"

typedef struct {
    char run[2 * RUN_BYTES + 1];
    char status[16];
    uint64_t tasks, items, rows, bytes, extents;
    uint8_t digest[DIGEST_BYTES];      /* recomputed from the rows */
    char stored[2 * DIGEST_BYTES + 1]; /* what the file says; "" if unfinished */
} check_report_t;

/* Recompute every digest from the rows; check that the ledger tiles each
 * table, that no item is there twice, that no two extents overlap, that the
 * index tiles (when finished), and that the counts agree. Works in bounded
 * memory (16 bytes per item and table with varying counts, plus a chunk). The
 * first thing that is wrong is the error (SLUICE_EOUTPUT). Error SLUICE_EINPUT:
 * not such a file. */
int check_file (const char *path, check_report_t *report, sluice_error_t *err);

/* Are the contents equal, whatever the order? *equal; when not, `why` is one
 * line that names the first table and item that differ. */
int check_diff (const char *a, const char *b, bool *equal, char why[500],
                sluice_error_t *err);

/* Print the performance record for a person: status, totals, per node,
 * slowest tasks, failures. `limit` rows each. */
int check_show (const char *path, FILE *out, unsigned limit, sluice_error_t *err);
/* The same facts as one JSON object. */
int check_show_json (const char *path, FILE *out, sluice_error_t *err);

#endif
