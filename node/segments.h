/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* segments.h - memory that a worker fills and the agent sends from
 *
 * A segment is a memfd of fixed size. The worker makes it, seals it against
 * any change of size (a later ftruncate would kill the reader with
 * SIGBUS) and maps it; the agent gets the descriptor once, checks seals and
 * size, and maps it for reading. It lives as long as either mapping does, so
 * results outlive the worker that made them.
 */
#ifndef NODE_SEGMENTS_H
#define NODE_SEGMENTS_H

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

#endif
