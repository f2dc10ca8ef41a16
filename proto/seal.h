/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* seal.h - results on the network, encrypted and authenticated where they are made
 *
 * CURVE encrypts what passes a socket in the one I/O thread at either end, at a tenth of
 * what a core can do with AES. So the payload of a piece is sealed by the worker that
 * made it, in place, and opened by the writer; the agent seals the header, which is small
 * and has the payload's key, nonce and tag in it, so that the two belong together. All of
 * it with AES-256-GCM (NIST SP 800-38D) of OpenSSL, 4 GB/s here, where libsodium's
 * does 1.1.
 *
 * Keys: the master draws 32 random bytes for each link and says them in HELLO, over
 * CURVE; the node draws a salt for each session and says it in WELCOME. From both derive
 * (BLAKE2b) the key of headers and the password of the data socket, which admits
 * nobody else (zap.h). Each worker process draws its own key for payloads. Every key has
 * one sealer in one process, whose nonce counts from 0 and is never resumed: no nonce
 * is used twice. A piece that is pushed again is the same ciphertext under a new header.
 *
 * A sealed header is
 *
 *   token (8 bytes, in clear: whose it is)  nonce (8)  tag (16)
 *   ciphertext of: worker's key (32), nonce (8), tag (16), header as of piece.h
 *
 * with the token as associated data; numbers big-endian. EMPTY pieces have a payload
 * that nobody opens.
 */
#ifndef PROTO_SEAL_H
#define PROTO_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/key.h"

enum {
    SEAL_TAG_BYTES = 16,
    /* What a sealed header is longer than the header. */
    SEAL_OVERHEAD = 8 + 8 + SEAL_TAG_BYTES + KEY_BYTES + 8 + SEAL_TAG_BYTES
};

/* How a payload was sealed. */
typedef struct {
    uint8_t key[KEY_BYTES];
    uint64_t nonce;
    uint8_t tag[SEAL_TAG_BYTES];
} seal_t;

/* ---- one key ------------------------------------------------------------- */

typedef struct sealer sealer_t;

/* The only one for this key, ever. NULL: out of memory, no OpenSSL. */
sealer_t *sealer_new (const uint8_t key[KEY_BYTES], sluice_error_t *err);
void sealer_destroy (sealer_t **self_p);
/* Encrypt in place, and say in *seal how. -1: it could not be done. */
int sealer_seal (sealer_t *self, const void *clear, size_t nclear, void *data, size_t n,
                 seal_t *seal, sluice_error_t *err);

typedef struct opener opener_t;

/* For any keys, one after the other. */
opener_t *opener_new (sluice_error_t *err);
void opener_destroy (opener_t **self_p);
/* Decrypt n bytes to `out` (may be `data`). False: they are not what was sealed, and
 * `out` is not to be used. */
bool opener_open (opener_t *self, const seal_t *seal, const void *clear, size_t nclear,
                  const void *data, size_t n, void *out);

/* ---- headers --------------------------------------------------------------- */

/* What derives from the secret of a link and the salt of a session. */
void seal_derive (const uint8_t secret[KEY_BYTES], const uint8_t salt[KEY_BYTES],
                  const char *what, uint8_t key[KEY_BYTES]);
#define SEAL_HEADERS "sluice headers"
#define SEAL_PASSWORD "sluice password"

/* Seal a header of n bytes, which belongs to a payload sealed so, into `out` (of n +
 * SEAL_OVERHEAD bytes). */
int seal_header (sealer_t *self, uint64_t token, const seal_t *payload,
                 const uint8_t *header, size_t n, uint8_t *out, sluice_error_t *err);
/* The token that a sealed header begins with; false if it is too short for one. */
bool seal_token (const uint8_t *sealed, size_t n, uint64_t *token);
/* Open one that has n bytes, under the key of headers. Its header has n - SEAL_OVERHEAD
 * bytes and lies in `buffer`, which has room for n; NULL: it is not what was sealed. */
const uint8_t *seal_open_header (opener_t *self, const uint8_t key[KEY_BYTES],
                                 const uint8_t *sealed, size_t n, seal_t *payload,
                                 uint8_t *buffer);

#endif
