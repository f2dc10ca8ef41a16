/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* zap.h - who may connect: the ZAP handler of a process
 *
 * libzmq asks inproc://zeromq.zap.01 about every CURVE or PLAIN handshake; with no
 * handler running it admits everybody. This one lives in the owner's
 * poll loop and knows, for each domain, the one client key or password that is admitted.
 * czmq's zauth admits any certificate in any domain; here a run's data socket
 * admits that run's master only.
 *
 * Bind it before any socket that relies on it. Not thread-safe: one owner.
 */
#ifndef PROTO_ZAP_H
#define PROTO_ZAP_H

#include <stddef.h>
#include <stdint.h>
#include "proto/key.h"

typedef struct zap zap_t;

/* Bind the handler in ZeroMQ context `context`. */
zap_t *zap_new (void *context, sluice_error_t *err);
void zap_destroy (zap_t **self_p);

/* Its socket, to be polled for input; then call zap_answer, which answers all
 * waiting requests and never blocks. */
void *zap_socket (const zap_t *self);
void zap_answer (zap_t *self);

/* Admit this client key (and no other) in `domain`, or (NULL) nobody any more;
 * connections that are open stay so. A socket's domain must not be empty:
 * libzmq does not ask about those that have no mechanism. */
int zap_allow (zap_t *self, const char *domain, const uint8_t client_key[KEY_BYTES],
               sluice_error_t *err);

/* Admit whoever knows this password (mechanism PLAIN) in `domain`, as long as it comes
 * from the address that the first who did came from: what is said in clear may be
 * overheard. */
int zap_allow_password (zap_t *self, const char *domain,
                        const uint8_t password[KEY_BYTES], sluice_error_t *err);

/* Set a ZeroMQ socket up to ask for a password (with ZAP domain), or to say it. */
int password_serve (void *socket, const char *domain, sluice_error_t *err);
int password_connect_as (void *socket, const uint8_t password[KEY_BYTES],
                         sluice_error_t *err);

/* Handshakes refused so far. Peers that do not speak CURVE at all fail in
 * libzmq before anybody is asked, and are not among them. */
uint64_t zap_refused (const zap_t *self);

#endif
