/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Ruptures from bytes that anybody may have written: XML, or CSV if the first byte
 * is '#'. */

#include <stddef.h>
#include <stdint.h>

#include "calc/nrml.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    sluice_error_t err;
    const char *text = (const char *) data;
    rupture_t *rupture = size && *data == '#'
                             ? rupture_from_csv (text, size, "fuzz", &err)
                             : rupture_from_xml (text, size, "fuzz", 5, &err);
    rupture_destroy (&rupture);
    return 0;
}
