/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* faults.h - messages that get lost, come twice or come late, on purpose
 *
 * For tests, in builds made with `configure --enable-faults` only: elsewhere each
 * function below does what its name says and nothing else, inline. Such a build reads
 * $SLUICE_FAULTS, a list with commas between:
 *
 *   ACTION:[WHO.]TYPE:N[:MS]   what happens to the N-th message of that type
 *   seed=S  rate=R             each message meets a fault with probability R: it is
 *                              dropped, doubled or delayed, as S (1) decides
 *   once=FILE                  a fault strikes only if FILE is not there yet, and makes
 * it speed=F                    all deadlines of the protocol (run.h, session.h) and of
 *                              these faults are F times shorter
 *
 * WHO is `master` or `node`, without it either. TYPE is a name from the table in msg.h
 * (HELLO, OFFER, ...), or PIECE for a piece of results. Messages are counted where they
 * are sent, in each process, from 1. ACTION is one of
 *
 *   drop    it is not sent
 *   double  it is sent twice
 *   delay   it is sent MS milliseconds later (15000); later ones overtake it
 *   die     kill -9 of the process that is about to send it, or has just received it
 *   stop    SIGSTOP of that process
 *
 * For measuring what they cost (bench/safety.py, bench/sealed.py) such a build also reads
 * $SLUICE_WITHOUT, a list of `digests` (pieces and items are not hashed, so the run's
 * digest is that of no rows, and `verify` refuses the file), `snapshots` (only the last
 * one is made) and `seals` (large pieces cross the network in clear; of master and node).
 *
 * Each fault that strikes is told in a line on stderr, so that a test can see that it
 * did. A list that cannot be understood ends the process with status 2.
 *
 * One thread of a process sends and receives: the control loop or the agent.
 */
#ifndef PROTO_FAULTS_H
#define PROTO_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

typedef enum { WITHOUT_DIGESTS = 1, WITHOUT_SNAPSHOTS = 2, WITHOUT_SEALS = 4 } without_t;

#ifdef ENABLE_FAULTS

/* Read $SLUICE_FAULTS, as `who`. Before anything is sent. */
void faults_begin (const char *who);
/* Send what was delayed until now. Once per turn of the loop. */
void faults_turn (void);
/* Drop what is delayed. Before the sockets are closed. */
void faults_end (void);

/* Send a message of msg.h to a peer of a ROUTER, without waiting. */
void faults_send (void *socket, const void *route, size_t nroute, const void *data,
                  size_t n);
/* A message of msg.h came. */
void faults_received (const void *data, size_t n);

/* Send a piece, without waiting. -1: the socket takes no more, and `payload` is still
 * the caller's. `owner` names the stream. */
int faults_push (const void *owner, void *socket, const void *header, size_t n,
                 zmq_msg_t *payload);
/* Send pieces of this stream that were delayed until now, through this socket. */
void faults_push_late (const void *owner, void *socket);
/* The stream ends. */
void faults_push_end (const void *owner);

/* A deadline, in milliseconds. */
int64_t faults_ms (int64_t ms);

/* Is this left out? Any thread may ask. */
bool faults_without (without_t what);

#else

static inline void faults_begin (const char *who)
{
    (void) who;
}
static inline void faults_turn (void) {}
static inline void faults_end (void) {}

static inline void faults_send (void *socket, const void *route, size_t nroute,
                                const void *data, size_t n)
{
    if (zmq_send (socket, route, nroute, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_send (socket, data, n, ZMQ_DONTWAIT);
}
static inline void faults_received (const void *data, size_t n)
{
    (void) data;
    (void) n;
}

static inline int faults_push (const void *owner, void *socket, const void *header,
                               size_t n, zmq_msg_t *payload)
{
    (void) owner;
    if (zmq_send (socket, header, n, ZMQ_SNDMORE | ZMQ_DONTWAIT) == -1)
        return -1;
    return zmq_msg_send (payload, socket, ZMQ_DONTWAIT) == -1 ? -1 : 0;
}
static inline void faults_push_late (const void *owner, void *socket)
{
    (void) owner;
    (void) socket;
}
static inline void faults_push_end (const void *owner)
{
    (void) owner;
}

static inline int64_t faults_ms (int64_t ms)
{
    return ms;
}

static inline bool faults_without (without_t what)
{
    (void) what;
    return false;
}

#endif

#endif
