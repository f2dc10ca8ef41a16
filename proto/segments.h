/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* segments.h - memory that a worker fills and others read
 *
 * A segment is a memfd of fixed size. The worker makes it, seals it against
 * any change of size (a later ftruncate would kill the reader with
 * SIGBUS) and maps it; the agent gets the descriptor once, checks seals and
 * size, and maps it for reading. It lives as long as any mapping does, so
 * results outlive the worker that made them.
 *
 * The embedded node hands its segments on to its master, once each, under a
 * number of its own (its *handle*). A piece on their stream then carries no bytes
 * but a reference: the handle. A handle that is handed over anew stands for the new
 * segment from then on.
 */
#ifndef PROTO_SEGMENTS_H
#define PROTO_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

/* Worker: make a segment and map it for writing. Returns its descriptor (to
 * be sent, then closed), or -1. */
int segment_make (uint32_t bytes, void **map, sluice_error_t *err);

/* Agent: check a descriptor that a worker sent and map it for reading. Takes
 * the descriptor over, whatever the outcome. NULL if it is not a segment of
 * this size. */
const void *segment_map (int fd, uint32_t bytes, sluice_error_t *err);

void segment_unmap (const void *map, uint32_t bytes);

/* Pieces of fewer bytes travel as they are: to copy them costs less than a reference. */
enum { SEGMENT_REF_LEAST = 32 << 10, SEGMENT_REF_BYTES = sizeof (uint32_t) };

/* Hand a segment over through a Unix socket of type SEQPACKET, without waiting. `fd`
 * stays the caller's. False: it did not go, and the other end knows nothing of it. */
bool segment_hand_over (int sock, uint32_t handle, int fd);
/* The next segment that was handed over; *fd is the caller's. False: there is none
 * now, or the other end is gone. */
bool segment_take_over (int sock, uint32_t *handle, int *fd);

#endif
