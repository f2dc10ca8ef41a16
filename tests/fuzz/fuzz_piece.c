/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any header: refused, or decoded to parts that tile the payload and to what
 * encodes to the same bytes. */

#include <stdlib.h>
#include <string.h>

#include "proto/piece.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

/* The payload's length as the last bytes announce it, so that most headers pass
 * that check; some are tried with another one. */
static uint64_t announced (const uint8_t *data, size_t n)
{
    if (n >= 5 && data[n - 5] == 0xc6)
        return (uint64_t) data[n - 4] << 24 | (uint64_t) data[n - 3] << 16 |
               (uint64_t) data[n - 2] << 8 | data[n - 1];
    if (n >= 3 && data[n - 3] == 0xc5)
        return (uint64_t) data[n - 2] << 8 | data[n - 1];
    return n ? data[n - 1] : 0;
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    piece_t piece;
    sluice_error_t err;
    uint8_t again[PIECE_MAX_HEADER];
    uint64_t payload = announced (data, n);
    if (piece_decode (data, n, payload, &piece, &err) == -1)
        return 0;
    if (piece_encode (&piece, again) != n || memcmp (data, again, n) != 0)
        abort ();
    uint64_t sum = 0;
    for (size_t i = 0; i < piece.nparts; i++)
        sum += part_payload (&piece.parts[i]);
    if (piece.nparts > PIECE_MAX_PARTS || (piece.kind != PIECE_EMPTY && sum != payload))
        abort ();
    if (piece.kind != PIECE_EMPTY &&
        piece_decode (data, n, payload + 1, &piece, &err) == 0)
        abort ();
    return 0;
}
