/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/push.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

struct push {
    host_t *host;
    void *socket;
    guard_t *guard;    /* NULL: ipc */
    curve_pair_t pair; /* zeros: no CURVE */
    bool password;     /* that is what it asks for */
    uint64_t counted;  /* strangers that the host knows of */
    char domain[64];
    char endpoint[160];
};

int bind_tcp (void *socket, const char *address, unsigned from, unsigned to,
              unsigned *port, sluice_error_t *err)
{
    bool v6 = strchr (address, ':') != NULL;
    /* Both families, where the system has IPv6. */
    int both = v6 || (*address == '*' && access ("/proc/net/if_inet6", F_OK) == 0);
    char endpoint[160];
    int rc = -1;
    for (; rc == -1 && both >= v6; both--) {
        zmq_setsockopt (socket, ZMQ_IPV6, &both, sizeof both);
        for (unsigned p = from; rc == -1 && p <= to; p++) {
            snprintf (endpoint, sizeof endpoint, v6 ? "tcp://[%s]:%u" : "tcp://%s:%u",
                      address, p);
            rc = zmq_bind (socket, endpoint);
            if (rc == -1 && zmq_errno () != EADDRINUSE)
                break;
        }
    }
    if (rc == -1 && from != to)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot bind to %s, ports %u-%u: %s",
                            address, from, to, zmq_strerror (zmq_errno ()));
    if (rc == -1)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot bind to %s: %s", endpoint,
                            zmq_strerror (zmq_errno ()));
    size_t size = sizeof endpoint;
    zmq_getsockopt (socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    const char *colon = strrchr (endpoint, ':');
    *port = colon ? (unsigned) strtoul (colon + 1, NULL, 10) : 0;
    return 0;
}

static int bind_ipc (push_t *self, sluice_error_t *err)
{
    /* beside the control socket, in the same private folder */
    snprintf (self->endpoint, sizeof self->endpoint, "%s.%llu", self->host->endpoint,
              (unsigned long long) ++self->host->sockets);
    if (zmq_bind (self->socket, self->endpoint) == -1)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot bind to %s: %s", self->endpoint,
                            zmq_strerror (zmq_errno ()));
    return 0;
}

static int open_socket (push_t *self, sluice_error_t *err)
{
    const host_t *host = self->host;
    self->socket = zmq_socket (host->context, ZMQ_PUSH);
    if (!self->socket)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot open a socket: %s",
                            zmq_strerror (zmq_errno ()));
    int linger = 0;
    int64_t nothing = 1024; /* nobody has anything to say to a PUSH */
    zmq_setsockopt (self->socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt (self->socket, ZMQ_MAXMSGSIZE, &nothing, sizeof nothing);
    if (!host->zap)
        return bind_ipc (self, err);
    unsigned port;
    self->guard = guard_new (host->context, self->socket, err);
    if (!self->guard)
        return -1;
    int rc = self->password ? password_serve (self->socket, self->domain, err)
                            : curve_serve (self->socket, &self->pair, self->domain, err);
    if (rc == -1 || bind_tcp (self->socket, host->address, host->port_from, host->port_to,
                              &port, err) == -1)
        return -1;
    snprintf (self->endpoint, sizeof self->endpoint, "tcp://*:%u", port);
    return 0;
}

static void close_socket (push_t *self)
{
    if (self->guard)
        self->host->strangers += guard_strangers (self->guard) - self->counted;
    self->counted = 0;
    guard_destroy (&self->guard);
    if (self->socket)
        zmq_close (self->socket);
    self->socket = NULL;
}

/* Whom the socket is to admit. */
static int admit (push_t *self, const msg_t *hello, const uint8_t *password,
                  sluice_error_t *err)
{
    zap_t *zap = self->host->zap;
    if (password)
        return zap_allow_password (zap, self->domain, password, err);
    return curve_pair_random (&self->pair, err) == -1
               ? -1
               : zap_allow (zap, self->domain, hello->hello.data_key, err);
}

push_t *push_new (host_t *host, const msg_t *hello, const uint8_t *password,
                  sluice_error_t *err)
{
    push_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a socket");
        return NULL;
    }
    self->host = host;
    if (host->zap) {
        char run[2 * RUN_BYTES + 1];
        run_text (hello->run, run);
        snprintf (self->domain, sizeof self->domain, "%s-%llu", run,
                  (unsigned long long) ++host->sockets);
        self->password = password != NULL;
        if (admit (self, hello, password, err) == -1) {
            push_destroy (&self);
            return NULL;
        }
    }
    if (open_socket (self, err) == -1)
        push_destroy (&self);
    return self;
}

void push_destroy (push_t **self_p)
{
    push_t *self = *self_p;
    if (!self)
        return;
    close_socket (self);
    if (self->domain[0])
        zap_allow (self->host->zap, self->domain, NULL, NULL);
    curve_pair_wipe (&self->pair);
    free (self);
    *self_p = NULL;
}

int push_renew (push_t *self, sluice_error_t *err)
{
    close_socket (self);
    return open_socket (self, err);
}

void push_turn (push_t *self, int64_t now)
{
    if (!self->guard)
        return;
    guard_turn (self->guard, now);
    uint64_t strangers = guard_strangers (self->guard);
    self->host->strangers += strangers - self->counted;
    self->counted = strangers;
}

void *push_socket (const push_t *self)
{
    return self->socket;
}
const char *push_endpoint (const push_t *self)
{
    return self->endpoint;
}
const uint8_t *push_key (const push_t *self)
{
    return self->pair.public_key;
}
