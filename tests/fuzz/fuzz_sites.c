/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Sites from bytes that anybody may have written: a site model, or after a byte
 * '@' a list of places, or after '%' a region. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "calc/sites.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void from_params (const char *name, const uint8_t *data, size_t size)
{
    sluice_error_t err;
    sluice_params_t *params = sluice_params_new ();
    char *text = strndup ((const char *) data, size);
    if (params && text && sluice_params_set (params, name, text, 1, &err) == 0 &&
        sluice_params_set (params, "region_grid_spacing", "100", 2, &err) == 0) {
        sites_t *sites = sites_from_params (params, NULL, false, &err);
        sites_destroy (&sites);
    }
    free (text);
    sluice_params_destroy (&params);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    sluice_error_t err;
    if (size && (*data == '@' || *data == '%')) {
        from_params (*data == '@' ? "sites" : "region", data + 1, size - 1);
        return 0;
    }
    csv_t *csv = csv_from_text ((const char *) data, size, "fuzz", &err);
    if (csv) {
        sites_t *sites = sites_from_csv (csv, NULL, true, &err);
        sites_destroy (&sites);
    }
    csv_destroy (&csv);
    return 0;
}
