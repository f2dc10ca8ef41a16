/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* skips.h - items that are not wanted any more, for a run in one process
 *
 * The scheduler of a run on nodes knows this by itself (sched.h). Single-threaded.
 */
#ifndef MASTER_SKIPS_H
#define MASTER_SKIPS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct skips skips_t;

/* NULL if out of memory. */
skips_t *skips_new (void);
void skips_destroy (skips_t **self_p);

/* Items first <= i < stop are not wanted. -1: out of memory. */
int skips_add (skips_t *self, uint64_t first, uint64_t stop);

/* Of the *n items from `next` on take only as many as are all wanted, or all not:
 * true. */
bool skips_next (const skips_t *self, uint64_t next, uint64_t *n);

#endif
