/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/guard.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

/* Events per turn: a flood must not keep its owner from other work. */
enum {
    EVENTS = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED,
    EVENTS_PER_TURN = 4096,
    SLACK_MS = 1000
};

/* A connection that is shaking hands. */
typedef struct {
    int fd;
    int64_t since;
    uint8_t address[16];
} shaking_t;

struct guard {
    void *socket, *monitor;
    char name[48];
    shaking_t *shaking; /* oldest first */
    size_t n, room;
    uint64_t accepted, members;
};

guard_t *guard_new (void *context, void *socket, sluice_error_t *err)
{
    int all = 0, limit = GUARD_SHAKE_MS;
    guard_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a guard");
        return NULL;
    }
    snprintf (self->name, sizeof self->name, "inproc://guard-%p", (void *) self);
    self->monitor = zmq_socket (context, ZMQ_PAIR);
    /* Events must never wait: it is the I/O thread that sends them. */
    if (self->monitor &&
        zmq_setsockopt (socket, ZMQ_HANDSHAKE_IVL, &limit, sizeof limit) == 0 &&
        zmq_setsockopt (self->monitor, ZMQ_RCVHWM, &all, sizeof all) == 0 &&
        zmq_socket_monitor (socket, self->name, EVENTS) == 0) {
        self->socket = socket;
        if (zmq_connect (self->monitor, self->name) == 0)
            return self;
    }
    sluice_fail (err, SLUICE_ESYSTEM, "cannot watch a socket: %s",
                 zmq_strerror (zmq_errno ()));
    guard_destroy (&self);
    return NULL;
}

void guard_destroy (guard_t **self_p)
{
    guard_t *self = *self_p;
    if (!self)
        return;
    if (self->socket)
        zmq_socket_monitor (self->socket, NULL, 0);
    if (self->monitor)
        zmq_close (self->monitor);
    free (self->shaking);
    free (self);
    *self_p = NULL;
}

void *guard_socket (const guard_t *self)
{
    return self->monitor;
}

uint64_t guard_strangers (const guard_t *self)
{
    return self->accepted - self->members - self->n;
}

/* ---- the list ------------------------------------------------------------- */

static void take_out (guard_t *self, size_t i)
{
    self->n--;
    memmove (self->shaking + i, self->shaking + i + 1,
             (self->n - i) * sizeof *self->shaking);
}

/* The address of the other end; all zeros if it is gone already. */
static void peer_of (int fd, uint8_t address[16])
{
    struct sockaddr_storage peer;
    socklen_t n = sizeof peer;
    memset (address, 0, 16);
    if (getpeername (fd, (struct sockaddr *) &peer, &n))
        return;
    if (peer.ss_family == AF_INET)
        memcpy (address, &((struct sockaddr_in *) &peer)->sin_addr, 4);
    else if (peer.ss_family == AF_INET6)
        memcpy (address, &((struct sockaddr_in6 *) &peer)->sin6_addr, 16);
}

static size_t count_like (const guard_t *self, size_t i)
{
    size_t n = 0;
    for (size_t k = i; k < self->n; k++)
        n += memcmp (self->shaking[k].address, self->shaking[i].address, 16) == 0;
    return n;
}

/* End one connection: the oldest of the address that has most. Its number may be
 * another's by now, whose address then is another. */
static void end_one (guard_t *self, size_t limit_of_one)
{
    size_t worst = 0, most = 0;
    for (size_t i = 0; i < self->n; i++) {
        size_t like = count_like (self, i);
        if (like > most) {
            most = like;
            worst = i;
        }
    }
    if (self->n <= GUARD_SHAKING && most <= limit_of_one)
        return;
    uint8_t address[16];
    peer_of (self->shaking[worst].fd, address);
    if (memcmp (address, self->shaking[worst].address, 16) == 0)
        shutdown (self->shaking[worst].fd, SHUT_RDWR);
    take_out (self, worst);
}

static void on_accepted (guard_t *self, int fd, int64_t now)
{
    self->accepted++;
    for (size_t i = 0; i < self->n; i++)
        if (self->shaking[i].fd == fd) { /* its end passed us by */
            take_out (self, i);
            break;
        }
    if (self->n == self->room) {
        size_t room = self->room ? 2 * self->room : 2 * GUARD_OF_ONE;
        shaking_t *grown = realloc (self->shaking, room * sizeof *grown);
        if (!grown)
            return; /* not watched; libzmq ends it in time */
        self->shaking = grown;
        self->room = room;
    }
    shaking_t *s = &self->shaking[self->n++];
    s->fd = fd;
    s->since = now;
    peer_of (fd, s->address);
    end_one (self, GUARD_OF_ONE);
}

static void on_member (guard_t *self)
{
    self->members++;
    if (self->n > 0)
        self->n--;
}

static void on_end (guard_t *self, int fd)
{
    for (size_t i = 0; i < self->n; i++)
        if (self->shaking[i].fd == fd) {
            take_out (self, i);
            return;
        }
}

/* ---- events ----------------------------------------------------------------- */

/* One event: a frame of type (2 bytes) and value (4 bytes), and one of the endpoint. */
static bool next_event (guard_t *self, uint16_t *type, uint32_t *value)
{
    uint8_t event[6];
    char endpoint[1];
    int n = zmq_recv (self->monitor, event, sizeof event, ZMQ_DONTWAIT);
    if (n < 0)
        return false;
    zmq_recv (self->monitor, endpoint, sizeof endpoint, ZMQ_DONTWAIT);
    memcpy (type, event, sizeof *type);
    memcpy (value, event + sizeof *type, sizeof *value);
    return true;
}

void guard_turn (guard_t *self, int64_t now)
{
    uint16_t type;
    uint32_t value;
    for (int i = 0; i < EVENTS_PER_TURN && next_event (self, &type, &value); i++) {
        if (type == ZMQ_EVENT_ACCEPTED)
            on_accepted (self, (int) value, now);
        else if (type == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            on_member (self);
        else
            on_end (self, (int) value);
    }
    while (self->n > 0 && now - self->shaking[0].since > GUARD_SHAKE_MS + SLACK_MS)
        take_out (self, 0);
}
