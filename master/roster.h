/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* roster.h - which nodes are there
 *
 * A thread of its own listens for beacons on every interface and reads
 * SHARE/.sluice/nodes every two seconds, since a share that hangs must not stop the
 * control loop. What verifies under the cluster's key is passed on over a socket
 * pair; a beacon is a hint only, and who is there is who answers HELLO. The thread
 * shares with its owner the cluster, and that only until a flag under a mutex says
 * stop: so it can be left behind while the share holds it.
 *
 * Listening is a plain UDP socket and not zbeacon: zbeacon listens on the one
 * interface it chose, and a master on a host with several wants them all.
 */
#ifndef MASTER_ROSTER_H
#define MASTER_ROSTER_H

#include "proto/beacon.h"

typedef struct roster roster_t;

typedef struct {
    uint8_t uuid[16];
    uint64_t boot;
    uint32_t slots;
    char host[BEACON_HOST];
    char endpoint[80]; /* tcp://ADDRESS:PORT */
    bool by_beacon;    /* else from the share's folder */
} found_t;

/* Begin to look. The cluster is borrowed until roster_destroy. */
roster_t *roster_new (const share_t *share, const cluster_t *cluster,
                      sluice_error_t *err);
/* Waits two seconds for the share at most (then the thread is left behind). */
void roster_destroy (roster_t **self_p);

/* To be polled for input. */
int roster_fd (const roster_t *self);
/* The next node seen (again and again while it is there), without waiting. */
bool roster_next (roster_t *self, found_t *found);

/* Records dropped because they did not verify. */
uint64_t roster_refused (const roster_t *self);

#endif
