/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* push.h - the socket that a run's results leave by
 *
 * A bound PUSH, with linger 0. Over tcp it is in a ZAP domain of its own, which admits
 * the run's master only: by the password of results that are sealed (proto/seal.h), or
 * else as a CURVE server with a random pair, by the data key that came in HELLO. Over
 * ipc, beside an unencrypted control socket, it is as open as the folder it lies in.
 * Owned by the session, used by the agent's thread.
 */
#ifndef NODE_PUSH_H
#define NODE_PUSH_H

#include "node/session.h"

typedef struct push push_t;

/* With a `password` it admits whoever says that; NULL: by CURVE, where there is a key. */
push_t *push_new (host_t *host, const msg_t *hello, const uint8_t *password,
                  sluice_error_t *err);
void push_destroy (push_t **self_p);

/* Close the socket with all it holds, and bind a new one elsewhere. -1: there
 * is none now. */
int push_renew (push_t *self, sluice_error_t *err);

/* Look after the strangers at the socket; now and then. */
void push_turn (push_t *self, int64_t now);

void *push_socket (const push_t *self);
/* As WELCOME says it. */
const char *push_endpoint (const push_t *self);
const uint8_t *push_key (const push_t *self); /* public; zeros: no CURVE */

/* Bind to `address` ("*" or numeric) at a port from `from` to `to`, or any if
 * both are 0. */
int bind_tcp (void *socket, const char *address, unsigned from, unsigned to,
              unsigned *port, sluice_error_t *err);

#endif
