/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* plane.h - the sockets by which a run reaches its nodes
 *
 * One ROUTER for messages and one PULL for results, with the limits that keep what a
 * peer can cost small: short receive queues, and no frame larger than one can be. A
 * run has up to two planes: ipc for the node on this machine, tcp with CURVE for the
 * others. A ZeroMQ socket cannot connect both ways.
 *
 * Owned by the links, and with them by the control loop.
 */
#ifndef MASTER_PLANE_H
#define MASTER_PLANE_H

#include <stdbool.h>
#include <zmq.h>
#include "master/job.h"
#include "proto/key.h"

typedef struct {
    void *router, *pull;    /* NULL: this way is not used */
    curve_pair_t data_pair; /* our side of data sockets; net only */
} plane_t;

/* Open both sockets for pieces of this job; with `curve` results come encrypted. On
 * failure plane_close undoes what there is. */
int plane_open (plane_t *plane, void *context, const job_t *job, bool curve,
                sluice_error_t *err);
/* Takes one that was never opened, too. */
void plane_close (plane_t *plane);

/* Receive a message of exactly two frames, into frames that are initialised, without
 * waiting. False: nothing is there. *whole false: it was something else, and has been
 * read off. */
bool plane_receive (void *socket, zmq_msg_t frame[2], bool *whole);

#endif
