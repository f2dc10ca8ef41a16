/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I7. */

#include <criterion/criterion.h>
#include <string.h>

#include "proto/seal.h"

static const uint8_t key[KEY_BYTES] = {1, 2, 3};
static sluice_error_t err;

/* NIST's vectors for GCM (gcmEncryptExtIV256.rsp) have other nonces than ours; this is
 * what the algorithm gives for key 0, nonce 0 and sixteen zero bytes: McGrew and Viega,
 * The Galois/Counter Mode of Operation, test case 14. */
Test (seal, it_is_aes_256_gcm)
{
    static const uint8_t zeros[KEY_BYTES],
        cipher[16] = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e,
                      0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18},
        tag[16] = {0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0,
                   0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
    uint8_t data[16] = {0};
    seal_t seal;
    sealer_t *sealer = sealer_new (zeros, &err);
    cr_assert_not_null (sealer, "%s", err.text);
    cr_assert_eq (sealer_seal (sealer, NULL, 0, data, sizeof data, &seal, &err), 0);
    cr_expect_arr_eq (data, cipher, sizeof cipher);
    cr_expect_arr_eq (seal.tag, tag, sizeof tag);
    sealer_destroy (&sealer);
}

Test (seal, what_was_sealed_is_opened_and_nothing_else)
{
    enum { BYTES = 100000 };
    static uint8_t data[BYTES], out[BYTES];
    seal_t seal;
    sealer_t *sealer = sealer_new (key, &err);
    opener_t *opener = opener_new (&err);
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t) i;
    cr_assert_eq (sealer_seal (sealer, "ab", 2, data, BYTES, &seal, &err), 0);
    cr_assert (opener_open (opener, &seal, "ab", 2, data, BYTES, out));
    for (size_t i = 0; i < BYTES; i++)
        cr_assert_eq (out[i], (uint8_t) i);
    cr_expect_not (opener_open (opener, &seal, "ac", 2, data, BYTES, out));
    cr_expect_not (opener_open (opener, &seal, NULL, 0, data, BYTES, out));
    cr_expect_not (opener_open (opener, &seal, "ab", 2, data, BYTES - 1, out));
    for (unsigned bit = 0; bit < 64; bit++) {
        size_t at = bit * 1009 % BYTES;
        data[at] ^= (uint8_t) (1 << bit % 8);
        cr_expect_not (opener_open (opener, &seal, "ab", 2, data, BYTES, out));
        data[at] ^= (uint8_t) (1 << bit % 8);
    }
    seal_t other = seal;
    other.nonce++;
    cr_expect_not (opener_open (opener, &other, "ab", 2, data, BYTES, out));
    other = seal;
    other.key[31] ^= 1;
    cr_expect_not (opener_open (opener, &other, "ab", 2, data, BYTES, out));
    other = seal;
    other.tag[0] ^= 1;
    cr_expect_not (opener_open (opener, &other, "ab", 2, data, BYTES, out));
    cr_expect (opener_open (opener, &seal, "ab", 2, data, BYTES, data), "in place");
    cr_expect_eq (data[77], 77);
    sealer_destroy (&sealer);
    opener_destroy (&opener);
}

Test (seal, no_nonce_is_used_twice)
{
    seal_t seal, before = {0};
    uint8_t data[1] = {0};
    sealer_t *sealer = sealer_new (key, &err);
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert_eq (sealer_seal (sealer, NULL, 0, data, i % 2, &seal, &err), 0);
        cr_assert_eq (seal.nonce, i ? before.nonce + 1 : 0);
        before = seal;
    }
    sealer_destroy (&sealer);
}

Test (seal, nothing_can_be_sealed_too)
{
    seal_t seal;
    uint8_t data[1];
    sealer_t *sealer = sealer_new (key, &err);
    opener_t *opener = opener_new (&err);
    cr_assert_eq (sealer_seal (sealer, NULL, 0, data, 0, &seal, &err), 0);
    cr_expect (opener_open (opener, &seal, NULL, 0, data, 0, data));
    seal.tag[3] ^= 4;
    cr_expect_not (opener_open (opener, &seal, NULL, 0, data, 0, data));
    sealer_destroy (&sealer);
    opener_destroy (&opener);
}

Test (seal, keys_differ_by_all_that_they_derive_from)
{
    uint8_t salt[KEY_BYTES] = {9}, a[KEY_BYTES], b[KEY_BYTES];
    seal_derive (key, salt, SEAL_HEADERS, a);
    seal_derive (key, salt, SEAL_PASSWORD, b);
    cr_expect_arr_neq (a, b, KEY_BYTES);
    salt[31] = 1;
    seal_derive (key, salt, SEAL_HEADERS, b);
    cr_expect_arr_neq (a, b, KEY_BYTES);
    seal_derive (salt, salt, SEAL_HEADERS, a);
    cr_expect_arr_neq (a, b, KEY_BYTES);
}

Test (seal, a_header_comes_back_with_what_its_payload_needs)
{
    static const uint8_t header[] = "a header of some length";
    enum { N = sizeof header, SEALED = N + SEAL_OVERHEAD };
    uint8_t sealed[SEALED], buffer[SEALED];
    seal_t payload = {.key = {5, 6}, .nonce = 0x0102030405060708, .tag = {7, 8}}, got;
    uint64_t token = 0;
    sealer_t *sealer = sealer_new (key, &err);
    opener_t *opener = opener_new (&err);
    cr_assert_eq (
        seal_header (sealer, 0xf1f2f3f4f5f6f7f8, &payload, header, N, sealed, &err), 0);
    cr_assert (seal_token (sealed, SEALED, &token));
    cr_expect_eq (token, 0xf1f2f3f4f5f6f7f8);
    const uint8_t *opened = seal_open_header (opener, key, sealed, SEALED, &got, buffer);
    cr_assert_not_null (opened);
    cr_expect_arr_eq (opened, header, N);
    cr_expect_arr_eq (got.key, payload.key, KEY_BYTES);
    cr_expect_arr_eq (got.tag, payload.tag, SEAL_TAG_BYTES);
    cr_expect_eq (got.nonce, payload.nonce);
    for (size_t i = 0; i < SEALED; i++) {
        sealed[i] ^= 0x10;
        cr_expect_null (seal_open_header (opener, key, sealed, SEALED, &got, buffer),
                        "byte %zu", i);
        sealed[i] ^= 0x10;
    }
    for (size_t n = 0; n < SEALED; n++)
        cr_expect_null (seal_open_header (opener, key, sealed, n, &got, buffer));
    cr_expect_not (seal_token (sealed, SEAL_OVERHEAD - 1, &token));
    sealer_destroy (&sealer);
    opener_destroy (&opener);
}
