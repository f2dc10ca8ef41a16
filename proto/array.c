/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "sluice/dtype.h"

#include <stdlib.h>
#include <string.h>

size_t sluice_array_bytes (const sluice_array_t *array, bool *overflow)
{
    size_t bytes = 0;
    bool too_large = !array->dtype || array->ndim > SLUICE_MAX_DIMS;
    if (!too_large) {
        bytes = sluice_dtype_size (array->dtype);
        bool empty = false;
        for (unsigned i = 0; i < array->ndim; i++) {
            empty |= array->shape[i] == 0;
            too_large |= __builtin_mul_overflow (bytes, array->shape[i], &bytes);
        }
        too_large = !empty && (too_large || bytes > PTRDIFF_MAX);
        if (empty || too_large)
            bytes = 0;
    }
    if (overflow)
        *overflow = too_large;
    return bytes;
}

int sluice_array_make (sluice_array_t *array, const char *dtype, unsigned ndim,
                       const uint64_t *shape, sluice_error_t *err)
{
    memset (array, 0, sizeof *array);
    if (ndim > SLUICE_MAX_DIMS)
        return sluice_fail (err, SLUICE_EINPUT, "an array of %u dimensions: at most %d",
                            ndim, SLUICE_MAX_DIMS);
    array->dtype = sluice_dtype_parse (dtype, strlen (dtype), err);
    if (!array->dtype)
        return -1;
    array->ndim = ndim;
    for (unsigned i = 0; i < ndim; i++)
        array->shape[i] = shape[i];
    bool overflow;
    size_t bytes = sluice_array_bytes (array, &overflow);
    if (overflow)
        sluice_fail (err, SLUICE_EINPUT,
                     "an array of '%.200s' that is larger than any memory", dtype);
    else if (!(array->data = calloc (1, bytes ? bytes : 1)))
        sluice_fail (err, SLUICE_ESYSTEM,
                     "no memory for an array of %zu bytes of '%.200s'", bytes, dtype);
    else
        return 0;
    sluice_array_clear (array);
    return -1;
}

void sluice_array_clear (sluice_array_t *array)
{
    sluice_dtype_destroy (&array->dtype);
    free (array->data);
    memset (array, 0, sizeof *array);
}
