/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* gate.h - how many result bytes each node may push
 *
 * Results pile up in the master when nodes push faster than the writer
 * writes. The gate hands out byte credit so that always
 *
 *     sum over nodes (granted - received) + bytes held <= window
 *
 * (invariant I1). A grant ends at the boundary of a piece, and nodes are
 * served in turn, one piece each, going on where it stopped: grants cut in
 * bytes leave everybody short of a piece, and nothing ever moves. Counters
 * are cumulative: a repeated or late message changes nothing.
 *
 * Nodes are small numbers, given by the caller. Single-threaded; owned by
 * the control loop.
 */
#ifndef MASTER_GATE_H
#define MASTER_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

enum { GATE_MAX_OFFERED = 16384 }; /* pieces of one node that are remembered */

typedef struct gate gate_t;

/* Make a gate over `window` bytes (> 0). NULL if out of memory. */
gate_t *gate_new (uint64_t window);
void gate_destroy (gate_t **self_p);

/* A node begins, with all its counters at zero. -1: out of memory. */
int gate_join (gate_t *self, unsigned node);
/* A node is gone: what it was granted and did not deliver is free again. */
void gate_leave (gate_t *self, unsigned node);

/* So many nodes in all are about to share the window (0: whoever is there; it may be said
 * again and again). Until each has offered something, the window is open only as far as
 * the even parts of those that have, lest the first ones fill it. */
void gate_expect (gate_t *self, unsigned nodes);

/* The node has pieces of these sizes ready, the first of them beginning at
 * byte `from` of its stream. What is known already is skipped, and so is all of it
 * when it leaves a gap: an offer before it was lost, and the node will repeat that.
 * -1: a piece larger than the window, or too many pieces: it is to be cut off. */
int gate_offer (gate_t *self, unsigned node, uint64_t from, const uint32_t *sizes,
                size_t n, sluice_error_t *err);

/* The next node to be told of new credit, and its new cumulative value; as
 * much as fits the window is granted, then each node that got some is
 * returned once. False when there is none. */
bool gate_next (gate_t *self, unsigned *node, uint64_t *granted);

/* A piece arrived. False: it is beyond the grant; drop it, cut the node off. */
bool gate_received (gate_t *self, unsigned node, uint64_t bytes);
/* So many bytes left the master's memory. */
void gate_written (gate_t *self, uint64_t bytes);

uint64_t gate_granted (const gate_t *self, unsigned node); /* cumulative */
uint64_t gate_arrived (const gate_t *self, unsigned node); /* cumulative, received */
bool gate_wants (const gate_t *self, unsigned node);       /* offered, not yet granted */

uint64_t gate_window (const gate_t *self);
uint64_t gate_in_use (const gate_t *self); /* granted, not received, and held */
uint64_t gate_held (const gate_t *self);
uint64_t gate_peak (const gate_t *self); /* the maximum of gate_in_use */

#endif
