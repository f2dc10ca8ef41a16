/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/piece.h"

#include <stdlib.h>
#include <string.h>

#include "proto/faults.h"
#include "proto/text.h"
#include "proto/xxh3.h"

static void put_u64 (uint8_t out[8], uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t) (value >> (8 * i));
}

static uint64_t get_u64 (const uint8_t in[8])
{
    uint64_t value = 0;
    for (unsigned i = 8; i-- > 0;)
        value = value << 8 | in[i];
    return value;
}

void digest_add (uint8_t sum[DIGEST_BYTES], const uint8_t value[DIGEST_BYTES])
{
    uint64_t low = get_u64 (sum) + get_u64 (value);
    uint64_t carry = low < get_u64 (value);
    put_u64 (sum + 8, get_u64 (sum + 8) + get_u64 (value + 8) + carry);
    put_u64 (sum, low);
}

bool table_is_content (const char *name)
{
    return strncmp (name, "sluice/", 7) != 0;
}

void digest_text (const uint8_t digest[DIGEST_BYTES], char text[2 * DIGEST_BYTES + 1])
{
    uint8_t number[DIGEST_BYTES];
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        number[i] = digest[DIGEST_BYTES - 1 - i];
    text_hex (number, DIGEST_BYTES, text);
}

struct item_hash {
    XXH3_state_t *state;
};

item_hash_t *item_hash_new (void)
{
    item_hash_t *self = malloc (sizeof *self);
    if (!self)
        return NULL;
    self->state = XXH3_createState ();
    if (!self->state)
        item_hash_destroy (&self);
    return self;
}

void item_hash_destroy (item_hash_t **self_p)
{
    item_hash_t *self = *self_p;
    if (!self)
        return;
    XXH3_freeState (self->state);
    free (self);
    *self_p = NULL;
}

void item_hash_begin (item_hash_t *self, const char *table, uint64_t item)
{
    uint8_t number[8];
    put_u64 (number, item);
    /* These fail only without a state. */
    (void) XXH3_128bits_reset (self->state);
    (void) XXH3_128bits_update (self->state, table, strlen (table) + 1);
    (void) XXH3_128bits_update (self->state, number, sizeof number);
}

void item_hash_rows (item_hash_t *self, const void *rows, size_t bytes)
{
    if (bytes > 0 && !faults_without (WITHOUT_DIGESTS))
        (void) XXH3_128bits_update (self->state, rows, bytes);
}

static void put_hash (uint8_t out[DIGEST_BYTES], XXH128_hash_t hash)
{
    put_u64 (out, hash.low64);
    put_u64 (out + 8, hash.high64);
}

void item_hash_end (item_hash_t *self, uint8_t digest[DIGEST_BYTES])
{
    put_hash (digest, XXH3_128bits_digest (self->state));
}

/* What a declaration's digest is made of; see piece.h. */
typedef struct {
    uint8_t bytes[7 + 3 * DIGEST_BYTES + 8 * (1 + SLUICE_MAX_DIMS)];
    size_t n;
} words_t;

static void add_hash (words_t *words, const void *data, size_t n)
{
    put_hash (words->bytes + words->n, XXH3_128bits (data, n));
    words->n += DIGEST_BYTES;
}

static void add_u64 (words_t *words, uint64_t value)
{
    put_u64 (words->bytes + words->n, value);
    words->n += 8;
}

static void begin (words_t *words, const char what[5], const char *name,
                   const char *dtype)
{
    memset (words, 0, sizeof *words);
    memcpy (words->bytes + 1, what, 5);
    words->n = 7;
    add_hash (words, name, strlen (name));
    add_hash (words, dtype, strlen (dtype));
}

void table_digest (const char *name, const char *dtype, uint8_t digest[DIGEST_BYTES])
{
    words_t words;
    begin (&words, "table", name, dtype);
    put_hash (digest, XXH3_128bits (words.bytes, words.n));
}

int array_digest (const char *name, const sluice_array_t *array,
                  uint8_t digest[DIGEST_BYTES], sluice_error_t *err)
{
    bool overflow;
    size_t bytes = sluice_array_bytes (array, &overflow);
    if (overflow || (bytes > 0 && !array->data))
        return sluice_fail (err, SLUICE_EINPUT, "array '%s' has no data of its shape",
                            name);
    char *dtype = sluice_dtype_text (array->dtype);
    if (!dtype)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the digest of '%s'",
                            name);
    words_t words;
    begin (&words, "array", name, dtype);
    free (dtype);
    add_u64 (&words, array->ndim);
    for (unsigned i = 0; i < array->ndim; i++)
        add_u64 (&words, array->shape[i]);
    add_hash (&words, bytes ? array->data : "", bytes);
    put_hash (digest, XXH3_128bits (words.bytes, words.n));
    return 0;
}
