/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* guard.h - who knocks at a port that is open to the network
 *
 * Anybody can open connections to a bound socket, and each costs a descriptor and
 * memory until libzmq gives its handshake up after some seconds: ten thousand of them
 * cost 133 MiB, and a frame of 4 MiB may begin on each. libzmq has no limit for
 * this, and to unbind would cut the members off, too. So the guard listens to the
 * socket's monitor, knows which connections are still shaking hands, and when they are
 * too many shuts the oldest of the address that has most: a member, who is through in
 * milliseconds, gets in while others hold theirs open.
 *
 * Which connection a handshake belonged to the monitor does not say; it counts for the
 * newest. What is older than GUARD_SHAKE_MS is a member's in any case, as libzmq would
 * have closed it.
 *
 * Owned by the thread that owns the socket. `now` is in ms of any steady clock.
 */
#ifndef PROTO_GUARD_H
#define PROTO_GUARD_H

#include <stdint.h>
#include "sluice/error.h"

enum {
    GUARD_SHAKE_MS = 10000, /* ZMQ_HANDSHAKE_IVL of guarded sockets */
    GUARD_SHAKING = 64,     /* connections that may shake hands at a time */
    GUARD_OF_ONE = 16       /* of them from one address */
};

typedef struct guard guard_t;

/* Watch `socket`, which is not bound yet, and set its handshake's time limit. */
guard_t *guard_new (void *context, void *socket, sluice_error_t *err);
/* Before the socket is closed. */
void guard_destroy (guard_t **self_p);

/* To be polled for input; then, and now and then, call guard_turn. */
void *guard_socket (const guard_t *self);
void guard_turn (guard_t *self, int64_t now);

/* Connections that ended, or were ended, without a handshake. */
uint64_t guard_strangers (const guard_t *self);

#endif
