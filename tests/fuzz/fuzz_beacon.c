/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any datagram, as it came and with a MAC that is right: what lies behind the
 * MAC must hold, too. */

#include <stdlib.h>
#include <string.h>

#include "proto/beacon.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    static cluster_t *cluster;
    if (!cluster) {
        static const uint8_t key[KEY_BYTES] = {1, 2, 3};
        cluster = cluster_new (key, NULL);
        if (!cluster)
            abort ();
    }
    beacon_t beacon;
    beacon_decode (data, n, cluster, NULL, &beacon);
    if (n < KEY_MAC_BYTES || n > BEACON_MAX)
        return 0;
    uint8_t sealed[BEACON_MAX], again[BEACON_MAX];
    memcpy (sealed, data, n);
    cluster_mac (cluster, sealed, n - KEY_MAC_BYTES, sealed + n - KEY_MAC_BYTES);
    if (beacon_decode (sealed, n, cluster, NULL, &beacon) != BEACON_OK)
        return 0;
    if (beacon_encode (&beacon, cluster, again) != n || memcmp (sealed, again, n) != 0)
        abort ();
    return 0;
}
