/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* beacon.h - the record by which a node says that it is there
 *
 * Broadcast each second by UDP and written to
 * `.sluice/nodes/UUID`, the same bytes. At most 255 bytes, as zbeacon allows:
 *
 *   "SLU" 1                     4   magic and version
 *   flags                       1   0
 *   uuid                       16   of this agent process
 *   boot                        8   counter, higher is newer, of this host
 *   share                      16   share id
 *   port                        2   control port
 *   slots                       4
 *   hostname                    1 + n (n <= 64)
 *   addresses                   1 + 4 or 16 each: 1 + k, each 1 family byte (4, 6) first
 *   mac                        32   keyed BLAKE2b over all before
 *
 * Numbers are big-endian. Decoding checks every length before use.
 */
#ifndef PROTO_BEACON_H
#define PROTO_BEACON_H

#include <stddef.h>
#include <stdint.h>
#include "proto/key.h"
#include "proto/share.h"

enum { BEACON_MAX = 255, BEACON_PORT = 5677, BEACON_ADDRESSES = 4, BEACON_HOST = 65 };

typedef struct {
    uint8_t uuid[16];
    uint64_t boot;
    uint8_t share[SHARE_ID_BYTES];
    uint16_t port;
    uint32_t slots;
    char host[BEACON_HOST];
    unsigned naddresses;
    char address[BEACON_ADDRESSES][46];   /* numeric text, as inet_ntop writes it */
} beacon_t;

/* Write the record; returns its length, 0 if it cannot be said in 255 bytes. */
size_t beacon_encode (const beacon_t *beacon, const cluster_t *cluster,
                      uint8_t out[BEACON_MAX]);

typedef enum {
    BEACON_OK = 0,
    BEACON_FOREIGN,      /* not ours: other magic, version or share */
    BEACON_FORGED,       /* the MAC is wrong */
    BEACON_MALFORMED     /* cannot be a record */
} beacon_verdict_t;

/* Read a record; `share` (may be NULL: any) is the one we are looking for. */
beacon_verdict_t beacon_decode (const uint8_t *data, size_t n, const cluster_t *cluster,
                                const uint8_t *share, beacon_t *beacon);

#endif
