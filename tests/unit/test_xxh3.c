/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <stdlib.h>
#include <xxhash.h>

/* The functions for any CPU, before xxh3.h gives their names to others. */
static XXH64_hash_t plain_64 (const void *data, size_t n)
{
    return XXH3_64bits (data, n);
}

static XXH128_hash_t plain_128 (const void *data, size_t n)
{
    return XXH3_128bits (data, n);
}

#include "proto/xxh3.h"

Test (xxh3, has_the_values_of_the_plain_functions)
{
    enum { MOST = 300000 };
    uint8_t *data = malloc (MOST);
    XXH3_state_t *state = XXH3_createState ();
    cr_assert (data && state);
    for (size_t i = 0; i < MOST; i++)
        data[i] = (uint8_t) (i * i * 2654435761u >> 13);
    for (size_t n = 0; n < MOST - 64; n += n < 1100 ? 1 : n / 3) {
        const uint8_t *from = data + n % 61;
        cr_assert_eq (XXH3_64bits (from, n), plain_64 (from, n), "%zu bytes", n);
        XXH128_hash_t want = plain_128 (from, n);
        cr_assert (XXH128_isEqual (XXH3_128bits (from, n), want), "%zu bytes", n);
        /* and in strokes */
        XXH3_128bits_reset (state);
        for (size_t at = 0, now; at < n; at += now) {
            now = 1 + at * 7 % 5000;
            now = now < n - at ? now : n - at;
            XXH3_128bits_update (state, from + at, now);
        }
        cr_assert (XXH128_isEqual (XXH3_128bits_digest (state), want), "%zu bytes", n);
        XXH3_64bits_reset (state);
        for (size_t at = 0, now; at < n; at += now) {
            now = 1 + at * 11 % 7000;
            now = now < n - at ? now : n - at;
            XXH3_64bits_update (state, from + at, now);
        }
        cr_assert_eq (XXH3_64bits_digest (state), plain_64 (from, n), "%zu bytes", n);
    }
    XXH3_freeState (state);
    free (data);
}
