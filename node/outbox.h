/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* outbox.h - results of one run, kept until the master has them
 *
 * A stream of pieces, first in, first out. Each is offered (its size goes to
 * the master), pushed when the master's credit covers it whole, and kept until
 * CREDIT says that it was received, because a PUSH socket loses what lay in
 * a connection that breaks. Counters are cumulative bytes of the
 * stream, so a repeated or late message changes nothing:
 *
 *     received <= pushed <= granted,  pushed <= offered <= added
 *
 * Small results were copied; several of them leave in one message (proto/piece.h).
 * Other payloads are sent from where they lie (zmq_msg_init_data); a segment is
 * given back when its piece was received and ZeroMQ has let go of it.
 * A piece of an attempt that is dead leaves the stream if it was not offered
 * yet; else an EMPTY piece of the same position and size takes its place and
 * its memory is given back at once.
 *
 * Owned by the agent's thread. The I/O thread of ZeroMQ touches one atomic
 * counter of a piece, nothing else.
 */
#ifndef NODE_OUTBOX_H
#define NODE_OUTBOX_H

#include "proto/msg.h"
#include "proto/piece.h"
#include "proto/seal.h"
#include "proto/trace.h"

typedef struct outbox outbox_t;

/* Called once for each piece that was added, when its memory is free. */
typedef void (outbox_release_fn) (void *arg, uint32_t segment);

/* The stream of this run; `largest` is the size of a segment, in bytes. */
outbox_t *outbox_new (const uint8_t run[RUN_BYTES], uint64_t token, uint32_t largest,
                      outbox_release_fn *release, void *arg, sluice_error_t *err);
/* Only when outbox_quiet, or after the ZeroMQ context is gone. Does not call
 * `release` any more. */
void outbox_destroy (outbox_t **self_p);

/* Record the headers of pieces as sent to `peer`; both borrowed. */
void outbox_set_trace (outbox_t *self, trace_t *trace, const char *peer);

enum { OUTBOX_SMALL = UINT32_MAX };

/* Add a piece, its payload in `segment`, or (OUTBOX_SMALL) to be copied. -1 (out of
 * memory, malformed, larger than a segment): the segment remains the caller's. */
int outbox_add (outbox_t *self, const piece_t *piece, const void *payload,
                uint32_t segment, sluice_error_t *err);

/* The master has the segment of the piece that was added last: only its handle is pushed
 * (proto/segments.h), and the segment is the master's until it says "received". */
void outbox_refer (outbox_t *self);

/* All pieces leave sealed (proto/seal.h), their headers under this key, which nobody else
 * seals with. Before the first is added. */
int outbox_seal (outbox_t *self, const uint8_t key[KEY_BYTES], sluice_error_t *err);
/* So the payload of the piece that was added last is sealed. */
void outbox_sealed (outbox_t *self, const seal_t *seal);

/* The next OFFER, of pieces not offered yet: at most `max` sizes are written.
 * Returns how many; 0: nothing new. */
size_t outbox_offer (outbox_t *self, uint64_t *from, uint32_t *sizes, size_t max);
/* Offer all that was not received again (repeats do no harm). */
void outbox_offer_again (outbox_t *self);

/* CREDIT of the present epoch; another epoch is ignored. -1: counters that
 * cannot be (received what was never pushed). */
int outbox_credit (outbox_t *self, const msg_credit_t *credit, sluice_error_t *err);

/* Push what is granted and offered. Returns false when the socket took no more
 * (poll it for output and call again). */
bool outbox_push (outbox_t *self, void *socket);

/* A new socket and epoch: push again what comes after byte `received`. -1: an
 * older epoch, or bytes that are gone or never were. */
int outbox_resync (outbox_t *self, const msg_credit_t *resync, sluice_error_t *err);

/* This attempt is dead: nothing of it shall cost memory any more. */
void outbox_drop (outbox_t *self, uint64_t task, uint32_t attempt);
void outbox_drop_all (outbox_t *self);

/* Give segments back that ZeroMQ has let go of in the meantime. True while
 * there are some left to be looked at. Cheap when there are none. */
bool outbox_reap (outbox_t *self);
/* ZeroMQ holds nothing of it. */
bool outbox_quiet (const outbox_t *self);

uint32_t outbox_epoch (const outbox_t *self);   /* begins with 1 */
uint64_t outbox_held (const outbox_t *self);    /* bytes of payloads kept */
uint64_t outbox_offered (const outbox_t *self); /* cumulative bytes */
uint64_t outbox_granted (const outbox_t *self);
uint64_t outbox_pushed (const outbox_t *self);
uint64_t outbox_received (const outbox_t *self);
/* Pieces whose payload was copied, and bytes of those. */
size_t outbox_small (const outbox_t *self, uint64_t *bytes);
/* Pieces wait that were offered and not granted. */
bool outbox_starved (const outbox_t *self);

#endif
