/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* session.h - one run at this node
 *
 * Begins with a master's HELLO, ends with its BYE or its silence. Holds the
 * run's crew (nursery.h), its duties (duty.h), its outbox, and the PUSH socket
 * that results leave by: a CURVE server with a pair of its own that admits
 * this master's data key only, gone with the run.
 *
 * Owned by the agent's thread, as are its sockets. Nothing here blocks. Times
 * are in milliseconds of the agent's clock.
 */
#ifndef NODE_SESSION_H
#define NODE_SESSION_H

#include <stdio.h>
#include "node/nursery.h"
#include "node/slots.h"
#include "proto/guard.h"
#include "proto/trace.h"
#include "proto/zap.h"

enum {
    SILENCE_MS = 8000, /* a master not heard for so long is gone: all of its run is to
                          be gone within 10 s (I9) */
    PING_MS = 2000     /* not heard for so long: ask */
};

/* The agent, as its sessions see it. All borrowed. */
typedef struct {
    void *context;  /* ZeroMQ */
    void *control;  /* the ROUTER */
    zap_t *zap;     /* NULL: no CURVE here, ipc only */
    guard_t *guard; /* of `control`; NULL: ipc */
    trace_t *trace; /* NULL: messages are not recorded */
    nursery_t *nursery;
    const share_t *share;
    slots_t *slots;
    const char *name; /* of this host */
    uint8_t uuid[16];
    unsigned cores, nslots;
    uint64_t memory;     /* bytes of a worker, if the run names none; 0: any */
    bool memory_is_most; /* and no run may have more */
    uint64_t outbox;     /* bytes, for all runs together */
    uint64_t outbox_used;
    const char *scratch;
    const char *endpoint; /* of the control socket, as it was bound */
    const char *address;  /* to bind to: "*" or a numeric address */
    unsigned port_from, port_to;
    bool confine;
    int handover;       /* to the master on this machine: crew_options_t; 0: none */
    uint64_t sockets;   /* made so far: names those of ipc */
    uint64_t strangers; /* at the data sockets, so far */
    struct announce *announce; /* NULL: nobody is told of this node */
} host_t;

/* Where a ROUTER sends to reach a peer. */
typedef struct {
    size_t n;
    uint8_t id[255];
} route_t;

bool route_is (const route_t *a, const route_t *b);
/* How a peer is called in a trace. */
enum { ROUTE_TEXT = 24 };
const char *route_text (const route_t *route, char text[ROUTE_TEXT]);

/* Send `msg` to a peer, without waiting; dropped if it is gone or does not
 * read. */
void host_send (const host_t *host, const route_t *route, msg_t *msg);
/* Answer a HELLO with what is in the way. */
void host_refuse (const host_t *host, const route_t *route, const msg_t *hello,
                  const char *lacks);

typedef struct session session_t;

/* Begin with `hello`, which is taken over (and emptied). NULL: out of memory.
 * `patient`: memory of the outbox is about to come back from ended sessions;
 * wait for it rather than refuse. */
session_t *session_new (host_t *host, const route_t *route, msg_t *hello, bool patient,
                        int64_t now);
void session_destroy (session_t **self_p);

const uint8_t *session_run (const session_t *self);
uint64_t session_token (const session_t *self);
const route_t *session_route (const session_t *self);

/* A message of the run's master came by `route`. */
void session_hear (session_t *self, const route_t *route, const msg_t *msg, int64_t now);

/* Descriptors to poll for input; at most `max`. */
size_t session_fds (const session_t *self, int *fds, size_t max);
/* The PUSH socket if it is to be polled for output, else NULL. */
void *session_blocked (const session_t *self);
/* See to workers and time. `patient` as above. */
void session_turn (session_t *self, bool patient, int64_t now);

/* Cores it could use; of its share `cores` it makes use. True: it lacks some. */
unsigned session_claim (const session_t *self, int64_t now);
unsigned session_unit (const session_t *self); /* cores of one task */
int32_t session_priority (const session_t *self);
int64_t session_started (const session_t *self); /* its latest task */
bool session_share (session_t *self, unsigned cores, int64_t now);

/* Send what the turn brought: credit, offers, pieces. */
void session_flush (session_t *self, int64_t now);
/* Something must be looked at again within milliseconds. */
bool session_hurried (const session_t *self);

/* End it: workers are killed, sockets closed. With `why` the master is told. */
void session_end (session_t *self, const char *why, int64_t now);
bool session_ended (const session_t *self);
/* Ended, and nothing is left of it: destroy it. */
bool session_over (session_t *self, int64_t now);

typedef struct {
    const char *owner, *job;
    unsigned running, cores; /* tasks; cores held */
    uint64_t held;           /* bytes of results */
    bool ready;
} session_status_t;
void session_status (const session_t *self, session_status_t *status);

/* A line on how the run stands: tasks and outbox. */
void session_write_state (const session_t *self, FILE *out);

#endif
