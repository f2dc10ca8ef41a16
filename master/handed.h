/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* handed.h - results of the embedded node, where its workers wrote them
 *
 * What would be copied twice through a socket need not move at all on one machine: the
 * node hands the segments of its workers over once (proto/segments.h), and a piece of its
 * stream is a reference. The writer writes it to the file from there. So a segment is the
 * master's until its piece is written, and only then does CREDIT say "received": this
 * module knows how far that is.
 *
 * A mapping that was read counts as memory of this process (I1), and there are as many
 * as the node's outbox holds. Those that are not in use keep their pages up to a few MiB
 * together, which is all that a writer who keeps up needs; the others let go of them.
 *
 * Owned by the control loop. Messages that were made here may be closed by any thread,
 * also after handed_destroy.
 */
#ifndef MASTER_HANDED_H
#define MASTER_HANDED_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

typedef struct handed handed_t;

/* For segments of so many bytes. NULL: out of memory. */
handed_t *handed_new (uint32_t segment_bytes);
void handed_destroy (handed_t **self_p);

/* A node begins, which hands over through `sock` (borrowed): nothing of an earlier one
 * counts any more. */
void handed_begin (handed_t *self, int sock);

/* Is this payload frame of a piece of `payload` bytes a reference? */
bool handed_is_reference (const zmq_msg_t *frame, uint64_t payload);
/* Make it the payload itself, where it lies. -1: it refers to nothing. */
int handed_resolve (handed_t *self, zmq_msg_t *frame, uint64_t payload);

/* A piece that takes `cost` bytes of the stream came. `written`: it does not go to the
 * writer. -1: out of memory. */
int handed_came (handed_t *self, uint64_t cost, bool written);
/* The writer is done with the oldest that went to it. */
void handed_written (handed_t *self);
/* So many bytes of the stream are done with. */
uint64_t handed_done (const handed_t *self);

#endif
