/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* desk.h - the agent's dealings with masters and members
 *
 * Reads the control socket, knows which session a message is for, begins and
 * ends sessions, answers STATUS and CANCEL, and divides the cores among
 * sessions. What makes no sense is counted, dropped, and logged once per kind.
 *
 * A node may be met by one master under two addresses. The second HELLO of a
 * run then comes while the first link is alive, and is answered with what it
 * lacks; if the first link proves to be silent it is the one that ends.
 *
 * Owned by the agent's thread.
 */
#ifndef NODE_DESK_H
#define NODE_DESK_H

#include <stdio.h>
#include <zmq.h>
#include "node/session.h"

typedef struct desk desk_t;

desk_t *desk_new (host_t *host, sluice_error_t *err);
/* End all sessions and close their sockets; masters are told `why`. */
void desk_close (desk_t *self, const char *why, int64_t now);
/* After the ZeroMQ context is gone. */
void desk_destroy (desk_t **self_p);

/* What sessions want polled: `*items` has room for `before` of the caller's
 * and then these, whose number is returned. Valid until the next call; NULL
 * when out of memory. */
size_t desk_items (desk_t *self, size_t before, zmq_pollitem_t **items);

typedef enum {
    DESK_IDLE, /* nothing but messages can come */
    DESK_RUNS, /* there are runs */
    DESK_WANT, /* one waits for a core */
    DESK_HURRY /* something is to be looked at at once */
} desk_pace_t;
desk_pace_t desk_pace (const desk_t *self);

/* Everything that can be done now. */
void desk_turn (desk_t *self, int64_t now);

/* What SIGUSR1 makes a node write: lines, each beginning with "sluice node: state: ". */
void desk_write_state (const desk_t *self, FILE *out);

/* End all sessions: what they hold is of the past. */
void desk_forget (desk_t *self, const char *why, int64_t now);

#endif
