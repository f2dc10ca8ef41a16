/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Values of parameters, as a job file, a command line or a peer gives them: refused in
 * a line, or a number. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/params.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    sluice_error_t err = {0};
    uint64_t whole = 7, size = 7;
    double real = 7;
    sluice_params_t *params = sluice_params_new ();
    char *value = strndup ((const char *) data, n);
    if (!params || !value || sluice_params_set (params, "a name", value, 3, &err))
        abort ();
    if (sluice_params_u64 (params, "a name", &whole, &err) && !err.text[0])
        abort ();
    if (sluice_params_size (params, "a name", &size, &err) && !err.text[0])
        abort ();
    if (sluice_params_f64 (params, "a name", &real, &err) == 0 && !isfinite (real))
        abort ();
    if (sluice_params_set (params, value, value, 4, &err) == 0 &&
        !sluice_params_get (params, value))
        abort ();
    free (value);
    sluice_params_destroy (&params);
    return 0;
}
