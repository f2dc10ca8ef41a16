/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* wthread.h - the writer in a thread of its own
 *
 * A slow disk must not stop heartbeats (invariant I10), so the control loop
 * hands pieces over and hears later that they are in the file. This is the
 * one queue that two threads share (master's documented one): both ways
 * linked lists under one mutex, and an eventfd that the control loop polls.
 *
 * What the thread has to tell it tells at once when nothing else waits for it, and
 * else of many pieces together: a lock and a wake-up each would cost more than they.
 *
 * Everything queued is bounded by the gate's window. The thread owns the
 * writer, and with it all of HDF5, until wthread_destroy.
 */
#ifndef MASTER_WTHREAD_H
#define MASTER_WTHREAD_H

#include <zmq.h>
#include "master/writer.h"
#include "proto/seal.h"

typedef struct wthread wthread_t;

/* Start the thread; it takes the writer over (also on failure). When the
 * disk is full it tries again each second for `patience` seconds. A writer that tells
 * (writer_tell) makes results readable as soon as nothing else waits. */
wthread_t *wthread_new (writer_t *writer, double patience, sluice_error_t *err);

/* Stop at once (what is queued is thrown away) and close the writer; the file
 * stays at its last snapshot unless wthread_finish was heard to be done. A disk that
 * does not answer is waited for some seconds; then false: the thread is left behind and
 * still uses HDF5, so the process must end by _exit. */
bool wthread_destroy (wthread_t **self_p);

int wthread_fd (const wthread_t *self);

/* Hand over a piece: both frames are taken (moved). `seal`: how the payload is sealed
 * (the header is not), to be opened in the thread; NULL: it is not. `cost` comes back in
 * WTHREAD_WROTE. 0 or -1 (out of memory; the frames are still the caller's). */
int wthread_piece (wthread_t *self, unsigned node, zmq_msg_t *header, zmq_msg_t *payload,
                   const seal_t *seal, uint64_t cost);
/* The same of several small pieces that came in one frame, laid end to end: each is
 * added with where it begins and what it cost, and then all are handed over with the
 * frame, which is taken. The batch is made by the first (with room for `most`, and grown
 * if need be). */
typedef struct wthread_batch wthread_batch_t;
int wthread_batch_add (wthread_batch_t **batch, size_t most, unsigned node, size_t at,
                       uint64_t cost);
void wthread_pieces (wthread_t *self, wthread_batch_t *batch, zmq_msg_t *frame);
void wthread_drop (wthread_t *self, uint64_t task, uint32_t attempt);
int wthread_node (wthread_t *self, unsigned node, const msg_welcome_t *welcome);
int wthread_failure (wthread_t *self, unsigned node, const msg_failed_t *failed,
                     uint64_t first, uint64_t stop, bool final);
void wthread_finish (wthread_t *self, const char *status);

typedef enum {
    WTHREAD_NOTHING = 0,
    WTHREAD_WROTE,    /* `cost` bytes left memory; if `done`, the ledger has the task */
    WTHREAD_REFUSED,  /* as WROTE, but the piece was not accepted: `error` */
    WTHREAD_FAILED,   /* as WROTE, but the task has failed: `error`, at `item` */
    WTHREAD_RESULT,   /* the rows of a finished task can be read: `result` */
    WTHREAD_FULL,     /* the disk is full, waiting: `error` */
    WTHREAD_SPACE,    /* there is space again */
    WTHREAD_FINISHED, /* wthread_finish is done */
    WTHREAD_BROKEN    /* the writer cannot go on: `error` */
} wthread_event_type_t;

typedef struct {
    wthread_event_type_t type;
    unsigned node;
    uint64_t cost;
    bool done;
    uint64_t task;
    uint32_t attempt;
    uint64_t stop;
    uint64_t item;
    double seconds;
    msg_result_t result; /* owned: msg_clear */
    sluice_error_t error;
} wthread_event_t;

bool wthread_next (wthread_t *self, wthread_event_t *event);

/* The writer's totals as of its last action. */
void wthread_totals (wthread_t *self, writer_totals_t *totals);
/* The same as of the last durable state that it knows of: all that is left when there
 * is no last one. */
void wthread_durable (wthread_t *self, writer_totals_t *totals);

#endif
