/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Shape and dtype of an array, as a peer or a file may name them: the dtype's text
 * behind a byte of dimensions and 8 bytes for each. Bytes that cannot be counted are
 * found, and a dtype that HDF5 has comes back from it as it was. */

#include <stdlib.h>
#include <string.h>

#include "calc/h5array.h"
#include "sluice/dtype.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

static void check_size (const sluice_array_t *array)
{
    bool overflow;
    size_t bytes = sluice_array_bytes (array, &overflow);
    long double product = (long double) sluice_dtype_size (array->dtype);
    bool empty = false;
    for (unsigned i = 0; i < array->ndim; i++) {
        empty |= array->shape[i] == 0;
        product *= (long double) array->shape[i];
    }
    if (empty ? overflow || bytes : overflow != (product > (long double) PTRDIFF_MAX))
        abort ();
    if (!empty && !overflow && (long double) bytes != product)
        abort ();
}

static void check_hdf5 (const sluice_dtype_t *dtype)
{
    sluice_error_t err = {0};
    h5_quiet ();
    hid_t type = h5_type (dtype, &err);
    if (type < 0) {
        if (!err.text[0])
            abort ();
        return;
    }
    sluice_dtype_t *back = h5_dtype (type, &err);
    if (back && sluice_dtype_size (back) != sluice_dtype_size (dtype))
        abort ();
    if (!back && !err.text[0])
        abort ();
    sluice_dtype_destroy (&back);
    H5Tclose (type);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    sluice_error_t err;
    sluice_array_t array = {0};
    if (n < 1)
        return 0;
    array.ndim = data[0] % (SLUICE_MAX_DIMS + 1);
    if (n < 1 + 8 * (size_t) array.ndim)
        return 0;
    for (unsigned i = 0; i < array.ndim; i++)
        memcpy (&array.shape[i], data + 1 + 8 * i, 8);
    size_t at = 1 + 8 * (size_t) array.ndim;
    array.dtype = sluice_dtype_parse ((const char *) data + at, n - at, &err);
    if (!array.dtype)
        return 0;
    check_size (&array);
    check_hdf5 (array.dtype);
    sluice_dtype_destroy (&array.dtype);
    return 0;
}
