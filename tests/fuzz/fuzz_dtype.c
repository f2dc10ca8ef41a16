/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any text: refused, or a type whose canonical text is that of an equal type. */

#include <stdlib.h>
#include <string.h>

#include "sluice/dtype.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    sluice_error_t err;
    sluice_dtype_t *dtype = sluice_dtype_parse ((const char *) data, n, &err);
    if (!dtype)
        return 0;
    char *text = sluice_dtype_text (dtype);
    sluice_dtype_t *again = sluice_dtype_parse (text, strlen (text), &err);
    char *fixed = again ? sluice_dtype_text (again) : NULL;
    if (!again || !sluice_dtype_equal (dtype, again) || strcmp (text, fixed) != 0 ||
        sluice_dtype_size (dtype) == 0 || sluice_dtype_size (dtype) > 1 << 30)
        abort ();
    free (text);
    free (fixed);
    sluice_dtype_destroy (&dtype);
    sluice_dtype_destroy (&again);
    return 0;
}
