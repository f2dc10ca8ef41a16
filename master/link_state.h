/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* link_state.h - what link.c, link_heard.c and link_tick.c share
 *
 * link.c begins and ends links and speaks to nodes, link_heard.c takes what they say,
 * link_tick.c does what goes by time. For these three alone.
 */
#ifndef MASTER_LINK_STATE_H
#define MASTER_LINK_STATE_H

#include "master/handed.h"
#include "master/link.h"
#include "proto/seal.h"

enum { TOLD_LACKS = 64 };
/* Tokens and routes have the number of their link from this bit on. */
enum { LINK_NUMBER_AT = 52 };

struct links {
    const job_t *job;
    gate_t *gate;
    sched_t *sched;
    wthread_t *writer;
    plane_t local, net;
    char *inputs;
    opener_t *opener; /* of sealed headers */
    handed_t *handed; /* of the node on this machine */
    int handover;     /* its socket; -1: it has none */
    link_t *links;
    unsigned nlinks;
    links_counts_t counts;
    links_failed_fn *failed;
    void *failed_arg;
    trace_t *trace;                  /* NULL: none */
    uint64_t told_lacks[TOLD_LACKS]; /* hashes of what was said already */
    unsigned ntold;
    links_news_fn *news;
    void *news_arg;
    bool stopped, paused;
    int64_t copied;     /* when a copy was last looked for */
    unsigned copy_next; /* for which node next */
    int64_t began;      /* ms */
    unsigned room;      /* nodes that there are descriptors for */
    bool told_room;
};

/* ---- link.c */

void link_send (links_t *self, const link_t *l, msg_t *msg);
/* How far its stream has come, as it is told: what the node on this machine handed over
 * is the master's until it is written. */
uint64_t link_received (const links_t *self, const link_t *l);
void link_send_credit (links_t *self, link_t *l, unsigned node);
/* Send a message about one task, now and with the next PINGs: it does no harm when it
 * comes twice, and its loss would cost as much as the task takes. */
void link_send_task (links_t *self, link_t *l, msg_type_t type, const task_t *task);
/* Send those again that are to be. */
void link_remind (links_t *self, link_t *l);
/* A line for the person. */
void link_tell (links_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
/* The node is gone, or has shown that it cannot be relied on. What it was
 * computing is pending again; what it still sends counts for nothing. */
void link_lose (links_t *self, link_t *l, const char *why);
/* What it did no node does: broken, or another's program. */
void link_cut_off (links_t *self, link_t *l, const char *why);
/* Nothing of this attempt is wanted any more. */
void link_revoke (links_t *self, unsigned node, const task_t *task);

/* ---- link_heard.c */

/* Its stream of results is to be begun anew from where it came to. */
void link_resync (links_t *self, link_t *l);
void link_send_resync (links_t *self, const link_t *l);
/* The attempt failed: tried again, or its item is failed for good. */
void link_fail_task (links_t *self, link_t *l, const msg_failed_t *f);

#endif
