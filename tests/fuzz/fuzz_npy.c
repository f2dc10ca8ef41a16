/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any bytes as a .npy file: refused, or rows of a dtype that can be read back, and each
 * row can be had. */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calc/npy.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    sluice_error_t err = {0};
    npy_header_t header;
    if (npy_header (data, n, &header, &err)) {
        if (err.code == SLUICE_OK || !err.text[0])
            abort ();
        return 0;
    }
    npy_header_clear (&header);
    int fd = memfd_create ("npy", MFD_CLOEXEC);
    if (fd < 0 || write (fd, data, n) != (ssize_t) n)
        abort ();
    npy_t *npy = npy_open (fd, &err);
    close (fd);
    if (!npy)
        return 0;
    const char *text = npy_dtype (npy);
    sluice_dtype_t *dtype = sluice_dtype_parse (text, strlen (text), &err);
    if (!dtype || sluice_dtype_size (dtype) != npy_row_bytes (npy))
        abort ();
    sluice_dtype_destroy (&dtype);
    uint8_t *row = malloc (npy_row_bytes (npy));
    for (uint64_t i = 0; row && i < npy_rows (npy) && i < 100; i++)
        (void) npy_read (npy, i, 1, row, &err);
    free (row);
    npy_destroy (&npy);
    return 0;
}
