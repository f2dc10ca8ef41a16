/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any bytes as a key file: refused, or 32 bytes with what derives from them. */

#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/key.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    sluice_error_t err = {0};
    char path[40];
    int fd = memfd_create ("key", MFD_CLOEXEC);
    if (fd < 0 || write (fd, data, n) != (ssize_t) n || fchmod (fd, 0600))
        abort ();
    snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
    cluster_t *cluster = cluster_new_from_file (path, &err);
    close (fd);
    if (!cluster != (n != KEY_BYTES) || (!cluster && !err.text[0]))
        abort ();
    if (cluster && strlen (cluster_fingerprint (cluster)) != 16)
        abort ();
    cluster_destroy (&cluster);
    return 0;
}
