/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* npy.h - NumPy's .npy files as rows of a table
 *
 * Format versions 1.0 to 3.0 (numpy.lib.format). The first axis counts rows: an array
 * of shape (n, 3) is n rows of (3)<f8; a 0-d array is one row. What HDF5 has the same
 * bytes for is passed on as it lies in the file, and these are changed:
 *
 *   records with gaps (align=True)   packed: what lies between fields is not content
 *   U strings                        S strings of UTF-8, 4 bytes for each character
 *   raw void V8                      (8)|u1
 *   Fortran order                    C order
 *
 * Python objects (dtype object) are refused by name: they are pickles, and to read
 * one is to run what is in it.
 */
#ifndef CALC_NPY_H
#define CALC_NPY_H

#include "sluice/dtype.h"

/* What a header says. Owned. */
typedef struct {
    sluice_dtype_t *dtype; /* of an element as it lies in the file */
    unsigned ndim;
    uint64_t shape[32];
    bool fortran;
    size_t bytes; /* of the header: where the data begins */
} npy_header_t;

/* Read the header at the start of `data`. -1 with SLUICE_EINPUT. */
int npy_header (const uint8_t *data, size_t n, npy_header_t *header, sluice_error_t *err);
void npy_header_clear (npy_header_t *header);

typedef struct npy npy_t;

/* Open the file at `fd` (mapped; the descriptor stays the caller's). The file must not
 * be changed meanwhile. */
npy_t *npy_open (int fd, sluice_error_t *err);
void npy_destroy (npy_t **self_p);

/* Rows, their dtype as they are read, and their bytes. */
uint64_t npy_rows (const npy_t *self);
const char *npy_dtype (const npy_t *self);
size_t npy_row_bytes (const npy_t *self);
/* Rows first <= i < first + n, into `out`. -1: a string holds no characters. */
int npy_read (const npy_t *self, uint64_t first, uint64_t n, void *out,
              sluice_error_t *err);

#endif
