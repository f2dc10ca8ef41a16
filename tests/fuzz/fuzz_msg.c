/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any bytes: refused, or decoded to what encodes to the same bytes. */

#include <stdlib.h>
#include <string.h>

#include "proto/msg.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    msg_t msg;
    sluice_error_t err;
    if (msg_decode (data, n, &msg, &err) == -1) {
        if (msg.type != 0)
            abort ();
        return 0;
    }
    void *again;
    size_t m;
    if (msg_encode (&msg, &again, &m, &err) == -1 || m != n ||
        memcmp (data, again, n) != 0)
        abort ();
    free (again);
    msg_clear (&msg);
    return 0;
}
