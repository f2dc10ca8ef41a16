/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* agent.h - the node: one process that offers a machine to masters
 *
 * One thread with one poll loop over the control socket, the ZAP handler, the
 * workers of all runs and signals; nothing in it waits, so that heartbeats are
 * answered whatever goes on. Writing to the share is another thread's
 * (announce.h). Any number of masters may use it at once; their runs share
 * cores by priority (a step of one is twice the share) and, within that,
 * evenly.
 *
 * A master that is silent for eight seconds is gone: its run ends here. So does
 * every run when the agent itself did not run for that long (stopped, or the
 * machine slept): whatever it held then belongs to the past.
 */
#ifndef NODE_AGENT_H
#define NODE_AGENT_H

#include "proto/key.h"
#include "proto/share.h"

enum { AGENT_MAX_SESSIONS = 64 };

typedef struct {
    const share_t *share;        /* share_new_open's, if any path will do */
    const cluster_t *cluster;    /* NULL: no encryption, only with an ipc endpoint */
    const char *endpoint;        /* "ipc://PATH"; NULL: tcp */
    const char *interface;       /* to bind to and announce on; NULL: all, and the one
                                    that leads to the share's peers */
    unsigned port_from, port_to; /* tcp: of all its sockets; 0: any */
    unsigned slots;              /* 0: the cores it may use */
    uint64_t outbox;             /* bytes; 0: an eighth of the memory that is free, at
                                    least 64 MiB, at most 1 GiB */
    uint64_t memory;             /* bytes, the most that a worker may have; 0: available
                                    memory / slots unless the run says */
    const char *scratch;         /* folder for workers' files; NULL: $TMPDIR or /tmp */
    bool announce;               /* broadcast; the share gets its record anyway */
    bool confine;                /* Landlock */
    const char *trace;           /* file to record messages in; NULL: none */
    int lifetime_fd;             /* end when this is at its end; -1: none. Of an embedded
                                    node a socket, by which its master gets the
                                    segments (proto/segments.h) */
    int ready_fd;                /* gets a line when masters may connect; -1: none */
    bool quiet;                  /* no line on standard output */
} agent_options_t;

/* Run a node until SIGINT or SIGTERM, or the end of lifetime_fd. To be called
 * when no other thread and no ZeroMQ context exists: it forks first. 0: ended
 * in order, with nothing left behind. */
int agent_run (const agent_options_t *options, sluice_error_t *err);

/* Cores that this process may use, 1 at least. */
unsigned agent_cores (void);

#endif
