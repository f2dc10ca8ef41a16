/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* link.h - the run's side of its connections to nodes
 *
 * A link is one node as this run knows it: where it is, what it was sent, how
 * far its stream of results has come. Links live in a table; a link's index
 * is the node's number for gate, scheduler and file. A node that comes back
 * gets a new link with a new token, so that nothing of the old one counts.
 *
 * There are two planes (plane.h), one for the node on this machine (ipc, no
 * encryption: the folder is private) and one for the network (tcp, CURVE).
 */
#ifndef MASTER_LINK_H
#define MASTER_LINK_H

#include "master/gate.h"
#include "master/job.h"
#include "master/plane.h"
#include "master/sched.h"
#include "master/wthread.h"
#include "proto/trace.h"
#include "proto/zap.h"

typedef enum {
    LINK_FREE = 0,
    LINK_HELLO, /* HELLO sent; it may be there, and opening its inputs */
    LINK_READY, /* WELCOME came: it computes */
    LINK_LACKS  /* it cannot take part; asked again after a while */
} link_state_t;

/* What was said once and is said again with the next PINGs, for it may be lost. */
typedef struct {
    msg_type_t type; /* REVOKE, SHED; 0: none */
    task_t task;
    unsigned times;
} reminder_t;
enum { LINK_REMINDERS = 16 };

typedef struct {
    link_state_t state;
    plane_t *plane;
    char endpoint[128];
    uint64_t route; /* our ROUTER's name for it */
    uint64_t token;
    uint8_t secret[KEY_BYTES]; /* seal.h; zeros: results come by CURVE, or ipc */
    uint8_t header_key[KEY_BYTES];
    bool sealed;          /* its pieces are */
    bool local, answered; /* answered: a message came from it */
    uint8_t uuid[16];
    bool has_uuid;
    char host[65], isa[16];
    bool was_ready; /* its number names it in the file */
    bool told;      /* that it does not answer */
    bool misbehaved;
    unsigned malformed;
    unsigned resyncs; /* since a piece arrived */
    unsigned cores, slots;
    uint64_t credit, assigned;        /* tasks, cumulative */
    uint64_t ping_seq, ping_assigned; /* of the last PING */
    int64_t since, heard, pinged;     /* ms, monotonic */
    /* the stream of results */
    char data_endpoint[160];
    uint32_t epoch;
    bool streaming;                       /* the PULL is connected for this epoch */
    uint64_t position;                    /* bytes that arrived, in order */
    uint64_t told_granted, told_position; /* what the last CREDIT said */
    int64_t moved; /* when the stream last went on, or a grant began */
    int64_t stall_ms;
    uint64_t held;                        /* as of its last PONG */
    reminder_t reminders[LINK_REMINDERS]; /* a ring */
    unsigned nreminders;                  /* so far */
} link_t;

typedef struct links links_t;

/* Opens the planes: local when there is an embedded node, net when there is a
 * cluster. Everything borrowed. */
links_t *links_new (void *context, const job_t *job, gate_t *gate, sched_t *sched,
                    wthread_t *writer, bool local, sluice_error_t *err);
/* Says BYE to every node and closes; `why` for their logs. */
void links_destroy (links_t **self_p, const char *why);

/* Where to read `shared` arrays: relative to the share; "" none. Before the
 * first links_add. */
void links_set_inputs (links_t *self, const char *inputs);

/* By which socket the embedded node hands its segments over (handed.h); before
 * links_add of it. */
void links_set_handover (links_t *self, int sock);

/* Record what is sent and received; borrowed. */
void links_set_trace (links_t *self, trace_t *trace);

/* Begin with a node, unless it is known. `uuid` may be NULL (not known yet).
 * -1: refused (too many nodes, bad endpoint). */
int links_add (links_t *self, const char *endpoint, bool local, const uint8_t *uuid,
               sluice_error_t *err);

/* The sockets to poll (at most 4), and what to do when they are readable. */
size_t links_sockets (const links_t *self, void **sockets);
void links_receive (links_t *self);

/* Everything that goes by time or by what others changed: assign, grant,
 * ping, give up, resync. Call after every turn of the loop. */
void links_tick (links_t *self, int64_t now);

/* We did nothing for `ms`: what was to have come meanwhile has as long again. */
void links_slept (links_t *self, int64_t ms);

/* A piece left memory (WTHREAD_WROTE), or the writer refused it. */
void links_written (links_t *self, const wthread_event_t *event);

/* The embedded node has died: what it was computing is pending again. */
void links_lose_local (links_t *self, const char *why);

/* Give this task up, wherever it is: its node stops it, what came of it is dropped,
 * and its items are failed for good, with the reason "cancelled". As
 * sched_cancel. */
sched_where_t links_cancel (links_t *self, uint64_t task, sched_task_t *out);

/* Items first <= i < stop are not wanted any more: as sched_cancel_items, with the same
 * consequences. `cut` (may be NULL) hears of each range. */
void links_cancel_items (links_t *self, uint64_t first, uint64_t stop, sched_cut_fn *cut,
                         void *arg);

/* No task is begun while this is set. */
void links_pause (links_t *self, bool pause);

/* The run is over for every node: they stop all of it at once, while the writer may
 * still need a while for the last state. Nothing more is taken from them. */
void links_stop (links_t *self);

typedef struct {
    unsigned ready, opening, lacking, ever; /* nodes; opening: those that answered */
    unsigned cores;                         /* of all that ever took part */
    unsigned ready_cores;                   /* of those that are ready */
    uint64_t stale_frames, malformed, lost, resyncs;
    uint64_t unwanted; /* pieces of attempts that their node does not run (any more) */
    uint64_t cut_off;  /* nodes that broke the rules */
    char isa[64];
    char lacks[1000]; /* the last refusal, "" if none */
    bool used_net, used_local;
    bool used_handed, used_sealed, used_curve; /* how results came */
} links_counts_t;
void links_counts (const links_t *self, links_counts_t *counts);

/* Is this the uuid of a node we are linked to? */
bool links_know (const links_t *self, const uint8_t *uuid);
/* Bytes of its results that came, and are its memory still: those of the node on this
 * machine until they are written. */
uint64_t links_unwritten (const links_t *self, const link_t *l);
const link_t *links_at (const links_t *self, unsigned node); /* NULL: free */
unsigned links_size (const links_t *self);

/* A first failed item, for the person: set by the owner. */
typedef void (links_failed_fn) (void *arg, const link_t *link, const msg_failed_t *failed,
                                uint64_t first, uint64_t stop, bool final);
void links_on_failed (links_t *self, links_failed_fn *fn, void *arg);

/* A line for the person: a node that was lost, or that never answered. */
typedef void (links_news_fn) (void *arg, const char *line);
void links_on_news (links_t *self, links_news_fn *fn, void *arg);

#endif
