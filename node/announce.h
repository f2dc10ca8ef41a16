/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* announce.h - saying that this node is there
 *
 * The node's record (proto/beacon.h) is broadcast each second by zbeacon, and
 * written to SHARE/.sluice/nodes/UUID every five seconds, for masters that no
 * broadcast reaches. A share may hang for minutes, so a thread writes there,
 * and nothing in the agent waits for it. That thread owns a copy of the record
 * and shares nothing else but a stop flag under a mutex.
 */
#ifndef NODE_ANNOUNCE_H
#define NODE_ANNOUNCE_H

#include "proto/beacon.h"

typedef struct announce announce_t;

/* Begin to announce `record` (n bytes, made by beacon_encode). Written to
 * `share` as `.sluice/nodes/NAME` (NULL: not; borrowed until announce_stop).
 * Broadcast on `interface` ("": not). A broadcast that cannot be had is an error
 * only in `warning`: the share does as well. */
announce_t *announce_start (const uint8_t *record, size_t n, const share_t *share,
                            const char *name, const char *interface, char warning[200],
                            sluice_error_t *err);

/* End; the record is removed from the share. Waits two seconds for the share
 * at most (then the thread is left behind, and its copy with it). */
void announce_stop (announce_t **self_p);

/* Why the record cannot be written to the share: true, with `text` filled,
 * once per new reason. */
bool announce_trouble (announce_t *self, char text[200]);

/* Milliseconds since the record was last written to the share (or since the start). */
int64_t announce_age (announce_t *self);

/* Write `n` bytes as `.sluice/nodes/NAME`, whole or not at all. */
int announce_write (const share_t *share, const char *name, const void *data, size_t n,
                    sluice_error_t *err);

#endif
