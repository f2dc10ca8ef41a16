/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* h5array.h - arrays and dtypes in HDF5 files
 *
 * The one place that knows how a NumPy dtype is written as an HDF5 type, so
 * that h5py reads back what NumPy would have: b1 as the enum h5py uses for
 * bool, complex as a compound of r and i, S as fixed-length NUL-padded strings
 * of UTF-8, M and m opaque with the tag h5py knows them by, sub-arrays as array
 * types. U has none, because rows go to the file as they lie in memory and HDF5
 * has no strings of 4-byte characters: S takes its place.
 */
#ifndef CALC_H5ARRAY_H
#define CALC_H5ARRAY_H

#include <hdf5.h>
#include "sluice/dtype.h"

/* The HDF5 type of this dtype in a file, which is also its type in memory;
 * H5Tclose it. Negative with an error if it has none. */
hid_t h5_type (const sluice_dtype_t *dtype, sluice_error_t *err);
/* The dtype of an HDF5 type. */
sluice_dtype_t *h5_dtype (hid_t type, sluice_error_t *err);

/* Write `array` as dataset `name` (groups are made as needed). */
int h5_write_array (hid_t file, const char *name, const sluice_array_t *array,
                    sluice_error_t *err);
/* Read a whole dataset into an owned array (sluice_array_clear). */
int h5_read_array (hid_t file, const char *name, sluice_array_t *array,
                   sluice_error_t *err);

/* Attributes: UTF-8 text (variable length, as h5py reads str), u64, f64. */
int h5_write_text (hid_t object, const char *name, const char *text, sluice_error_t *err);
int h5_write_u64 (hid_t object, const char *name, uint64_t value, sluice_error_t *err);
int h5_write_f64 (hid_t object, const char *name, double value, sluice_error_t *err);
char *h5_read_text (hid_t object, const char *name, sluice_error_t *err);   /* free () */
int h5_read_u64 (hid_t object, const char *name, uint64_t *value, sluice_error_t *err);
int h5_read_f64 (hid_t object, const char *name, double *value, sluice_error_t *err);

/* Turn off HDF5's own printing of errors in this thread (the functions above do
 * so too); put the innermost HDF5 message into an error instead. */
void h5_quiet (void);
int h5_fail (sluice_error_t *err, sluice_code_t code, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

#endif
