/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* key.h - the cluster key and what derives from it
 *
 * One file of 32 random bytes makes a cluster: who can read it is a member.
 * Everything else is derived with crypto_kdf, so that
 * nobody ever configures a certificate:
 *
 *   subkey 1  seed of the CURVE pair that node control sockets serve with
 *   subkey 2  seed of the CURVE pair that members connect with
 *   subkey 3  the beacon's MAC key
 *   subkey 4  seed of the CURVE pair that a master's query socket serves with
 *   subkey 5  the fingerprint
 *
 * kdf context "sluice_1". Secrets are wiped when a cluster_t is destroyed.
 */
#ifndef PROTO_KEY_H
#define PROTO_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

enum { KEY_BYTES = 32, KEY_MAC_BYTES = 32 };

typedef struct {
    uint8_t public_key[KEY_BYTES];
    uint8_t secret_key[KEY_BYTES];
} curve_pair_t;

typedef struct cluster cluster_t;

/* A fresh random key written to `path` (mode 0600, never over an existing
 * file; durable before the call returns). */
int key_create (const char *path, sluice_error_t *err);

/* Read the key file and derive. Refuses a file of another size, and one that
 * others than its owner can read, saying the chmod that mends it (but a systemd
 * credential, in $CREDENTIALS_DIRECTORY, may show group bits). */
cluster_t *cluster_new_from_file (const char *path, sluice_error_t *err);
/* Derive from 32 bytes. */
cluster_t *cluster_new (const uint8_t key[KEY_BYTES], sluice_error_t *err);
void cluster_destroy (cluster_t **self_p);

const curve_pair_t *cluster_node_pair (const cluster_t *self);
const curve_pair_t *cluster_member_pair (const cluster_t *self);
const curve_pair_t *cluster_master_pair (const cluster_t *self);

/* Keyed BLAKE2b-256 of `n` bytes under the beacon key. */
void cluster_mac (const cluster_t *self, const void *data, size_t n,
                  uint8_t mac[KEY_MAC_BYTES]);

/* 16 hex digits that name the cluster without giving anything away. */
const char *cluster_fingerprint (const cluster_t *self);

/* A random CURVE pair (for a run's data socket). */
int curve_pair_random (curve_pair_t *pair, sluice_error_t *err);
void curve_pair_wipe (curve_pair_t *pair);

/* Set a ZeroMQ socket up as CURVE server (with ZAP domain) or client. */
int curve_serve (void *socket, const curve_pair_t *self, const char *domain,
                 sluice_error_t *err);
int curve_connect_as (void *socket, const curve_pair_t *self,
                      const uint8_t server_key[KEY_BYTES], sluice_error_t *err);

/* Fill with random bytes (libsodium). */
void random_bytes (void *out, size_t n);

#endif
