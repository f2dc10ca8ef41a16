/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* space.h - who owns which bytes of the output file
 *
 * Everything in the file lies in extents of whole pages. What no snapshot ever
 * referred to (a dead attempt's pieces) is free at once. What a snapshot
 * refers to may be reused only after a newer superblock is durable and no
 * reader has the file open (invariant I5): such extents are *retired*, then
 * *sealed* when a snapshot without them has been laid, and *released* when
 * that snapshot is known to be the only one in use.
 *
 * Single-threaded; owned by the writer.
 */
#ifndef MASTER_SPACE_H
#define MASTER_SPACE_H

#include <stddef.h>
#include <stdint.h>

enum { SPACE_PAGE = 4096 };

typedef struct space space_t;

/* All from `start` (rounded up to a page) on is free, without end. NULL if
 * out of memory. */
space_t *space_new (uint64_t start);
void space_destroy (space_t **self_p);

/* The lowest free extent of `bytes` (> 0; whole pages are taken). Cannot fail. */
uint64_t space_alloc (space_t *self, uint64_t bytes);
/* Give an extent (or whole pages of one) back that no snapshot refers to. When
 * memory is short the extent is lost until the run ends, which harms nobody. */
void space_free (space_t *self, uint64_t address, uint64_t bytes);

/* The next snapshot will not refer to this extent any more. */
void space_retire (space_t *self, uint64_t address, uint64_t bytes);
/* A snapshot without the retired extents has been laid. */
void space_seal (space_t *self);
/* That snapshot is durable and nobody reads an older one: what is sealed is
 * free. What was retired since stays. */
void space_release (space_t *self);
/* Bytes that space_release would free. */
uint64_t space_sealed (const space_t *self);

/* The end of the highest extent that is not free. */
uint64_t space_end (const space_t *self);
/* Bytes that are free below that. */
uint64_t space_unused (const space_t *self);
/* The free extents below the end, lowest first; false past the last. */
int space_hole (const space_t *self, size_t i, uint64_t *address, uint64_t *bytes);

#endif
