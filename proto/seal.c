/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/seal.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE_BYTES = 12 };

struct sealer {
    EVP_CIPHER_CTX *context;
    uint8_t key[KEY_BYTES];
    uint64_t next;
};

struct opener {
    EVP_CIPHER_CTX *context;
};

static void put_number (uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t) (value >> (56 - 8 * i));
}

static uint64_t get_number (const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return value;
}

/* 4 zero bytes and the counter. */
static void make_nonce (uint64_t number, uint8_t nonce[NONCE_BYTES])
{
    memset (nonce, 0, NONCE_BYTES);
    put_number (nonce + NONCE_BYTES - 8, number);
}

static EVP_CIPHER_CTX *new_context (void)
{
    /* A configuration file of the system's is not ours to obey or to wait for. */
    OPENSSL_init_crypto (OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    return EVP_CIPHER_CTX_new ();
}

/* ---- one key ------------------------------------------------------------- */

sealer_t *sealer_new (const uint8_t key[KEY_BYTES], sluice_error_t *err)
{
    sealer_t *self = calloc (1, sizeof *self);
    if (self)
        self->context = new_context ();
    if (!self || !self->context ||
        EVP_EncryptInit_ex (self->context, EVP_aes_256_gcm (), NULL, key, NULL) != 1) {
        sealer_destroy (&self);
        sluice_fail (err, SLUICE_ESYSTEM, "cannot set up AES-256-GCM");
        return NULL;
    }
    memcpy (self->key, key, KEY_BYTES);
    return self;
}

void sealer_destroy (sealer_t **self_p)
{
    sealer_t *self = *self_p;
    if (!self)
        return;
    EVP_CIPHER_CTX_free (self->context);
    sodium_memzero (self, sizeof *self);
    free (self);
    *self_p = NULL;
}

int sealer_seal (sealer_t *self, const void *clear, size_t nclear, void *data, size_t n,
                 seal_t *seal, sluice_error_t *err)
{
    uint8_t nonce[NONCE_BYTES];
    int done = 0;
    memcpy (seal->key, self->key, KEY_BYTES);
    seal->nonce = self->next++;
    make_nonce (seal->nonce, nonce);
    if (n > INT_MAX || nclear > INT_MAX ||
        EVP_EncryptInit_ex (self->context, NULL, NULL, NULL, nonce) != 1 ||
        (nclear &&
         EVP_EncryptUpdate (self->context, NULL, &done, clear, (int) nclear) != 1) ||
        EVP_EncryptUpdate (self->context, data, &done, data, (int) n) != 1 ||
        EVP_EncryptFinal_ex (self->context, (uint8_t *) data + done, &done) != 1 ||
        EVP_CIPHER_CTX_ctrl (self->context, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_BYTES,
                             seal->tag) != 1)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot encrypt a piece of results");
    return 0;
}

opener_t *opener_new (sluice_error_t *err)
{
    opener_t *self = calloc (1, sizeof *self);
    if (self)
        self->context = new_context ();
    if (!self || !self->context ||
        EVP_DecryptInit_ex (self->context, EVP_aes_256_gcm (), NULL, NULL, NULL) != 1) {
        opener_destroy (&self);
        sluice_fail (err, SLUICE_ESYSTEM, "cannot set up AES-256-GCM");
        return NULL;
    }
    return self;
}

void opener_destroy (opener_t **self_p)
{
    opener_t *self = *self_p;
    if (!self)
        return;
    EVP_CIPHER_CTX_free (self->context);
    free (self);
    *self_p = NULL;
}

bool opener_open (opener_t *self, const seal_t *seal, const void *clear, size_t nclear,
                  const void *data, size_t n, void *out)
{
    uint8_t nonce[NONCE_BYTES];
    int done = 0;
    make_nonce (seal->nonce, nonce);
    return n <= INT_MAX && nclear <= INT_MAX &&
           EVP_DecryptInit_ex (self->context, NULL, NULL, seal->key, nonce) == 1 &&
           (!nclear ||
            EVP_DecryptUpdate (self->context, NULL, &done, clear, (int) nclear) == 1) &&
           EVP_DecryptUpdate (self->context, out, &done, data, (int) n) == 1 &&
           EVP_CIPHER_CTX_ctrl (self->context, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_BYTES,
                                (void *) (uintptr_t) seal->tag) == 1 &&
           EVP_DecryptFinal_ex (self->context, (uint8_t *) out + done, &done) == 1;
}

/* ---- headers --------------------------------------------------------------- */

enum {
    TOKEN_BYTES = 8,
    TAG_AT = TOKEN_BYTES + 8,
    INNER_AT = TAG_AT + SEAL_TAG_BYTES,
    INNER_BYTES = KEY_BYTES + 8 + SEAL_TAG_BYTES
};
_Static_assert(INNER_AT + INNER_BYTES == SEAL_OVERHEAD, "the layout in seal.h");

void seal_derive (const uint8_t secret[KEY_BYTES], const uint8_t salt[KEY_BYTES],
                  const char *what, uint8_t key[KEY_BYTES])
{
    crypto_generichash_state state;
    crypto_generichash_init (&state, secret, KEY_BYTES, KEY_BYTES);
    crypto_generichash_update (&state, (const uint8_t *) what, strlen (what) + 1);
    crypto_generichash_update (&state, salt, KEY_BYTES);
    crypto_generichash_final (&state, key, KEY_BYTES);
}

int seal_header (sealer_t *self, uint64_t token, const seal_t *payload,
                 const uint8_t *header, size_t n, uint8_t *out, sluice_error_t *err)
{
    seal_t seal;
    uint8_t *inner = out + INNER_AT;
    put_number (out, token);
    memcpy (inner, payload->key, KEY_BYTES);
    put_number (inner + KEY_BYTES, payload->nonce);
    memcpy (inner + KEY_BYTES + 8, payload->tag, SEAL_TAG_BYTES);
    memmove (inner + INNER_BYTES, header, n);
    if (sealer_seal (self, out, TOKEN_BYTES, inner, INNER_BYTES + n, &seal, err) == -1)
        return -1;
    put_number (out + TOKEN_BYTES, seal.nonce);
    memcpy (out + TAG_AT, seal.tag, SEAL_TAG_BYTES);
    sodium_memzero (&seal, sizeof seal);
    return 0;
}

bool seal_token (const uint8_t *sealed, size_t n, uint64_t *token)
{
    if (n < SEAL_OVERHEAD)
        return false;
    *token = get_number (sealed);
    return true;
}

const uint8_t *seal_open_header (opener_t *self, const uint8_t key[KEY_BYTES],
                                 const uint8_t *sealed, size_t n, seal_t *payload,
                                 uint8_t *buffer)
{
    seal_t seal;
    if (n < SEAL_OVERHEAD)
        return NULL;
    memcpy (seal.key, key, KEY_BYTES);
    seal.nonce = get_number (sealed + TOKEN_BYTES);
    memcpy (seal.tag, sealed + TAG_AT, SEAL_TAG_BYTES);
    bool whole = opener_open (self, &seal, sealed, TOKEN_BYTES, sealed + INNER_AT,
                              n - INNER_AT, buffer);
    sodium_memzero (&seal, sizeof seal);
    if (!whole)
        return NULL;
    memcpy (payload->key, buffer, KEY_BYTES);
    payload->nonce = get_number (buffer + KEY_BYTES);
    memcpy (payload->tag, buffer + KEY_BYTES + 8, SEAL_TAG_BYTES);
    return buffer + INNER_BYTES;
}
