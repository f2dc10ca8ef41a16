/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* dump.h - rows written as .npy or CSV
 *
 * CSV has a line for each row and a column for each number or text: fields of records
 * are named a.b, elements of sub-arrays a_0, a_1, ... Floating-point numbers have as many
 * digits as bring the same bits back; times are ISO 8601 where they have a unit of a
 * week or less, else numbers; not-a-time is empty.
 */
#ifndef MASTER_DUMP_H
#define MASTER_DUMP_H

#include <stdio.h>
#include "sluice/dtype.h"

/* The header of a .npy file for `rows` rows of this dtype, or, with a NULL `shape`, a
 * scalar's. Data follows as it lies in memory. */
int dump_npy_header (FILE *out, const sluice_dtype_t *dtype, unsigned ndim,
                     const uint64_t *shape, sluice_error_t *err);

int dump_csv_header (FILE *out, const sluice_dtype_t *dtype, sluice_error_t *err);
int dump_csv_row (FILE *out, const sluice_dtype_t *dtype, const void *row,
                  sluice_error_t *err);

#endif
