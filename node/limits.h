/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* limits.h - what a worker may use, and where it may write
 *
 * People's code runs in workers, on desktops that others work at. These are
 * fences against accidents and, for C kernels, against a descriptor that asks
 * for what it should not get (invariant I8).
 */
#ifndef NODE_LIMITS_H
#define NODE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include "sluice/error.h"

/* Close all descriptors but these `n`, and 0, 1 and 2. */
void limits_close_others (const int *keep, unsigned n);

/* Default handlers and an empty mask, as a program expects to find them. */
void limits_reset_signals (void);

/* Tell numerical libraries to use so many threads. To be called before they
 * are loaded: most look once. */
void limits_threads (unsigned cores);

/* The memory that a worker may add to what it was born with (bytes; 0 any
 * amount), no core dumps, no new privileges, and first to go when the system
 * runs out of memory. The inputs it shares with the others do not count, nor
 * do segments of results. Not limited under the address sanitizer, which
 * needs more for itself. */
int limits_apply (uint64_t memory, sluice_error_t *err);

/* Landlock: write to `scratch` only, read `root` and the system only (`root`
 * "/": everything), signal only its own. 1: done. 0: this system has no
 * Landlock. -1: it has, but refused. */
int limits_confine (const char *scratch, const char *root, sluice_error_t *err);

#endif
