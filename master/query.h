/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* query.h - the socket at which other commands ask a running master
 *
 * `sluice runs`, `explain` and `cancel` find it through the registry. Over the
 * network only members may connect (CURVE and ZAP); on this machine it is an
 * ipc socket in a private folder.
 */
#ifndef MASTER_QUERY_H
#define MASTER_QUERY_H

#include "master/registry.h"
#include "proto/trace.h"

typedef struct query query_t;

/* Bind it and register the run. `folder` is the run's private one. */
query_t *query_new (void *context, const job_t *job, const char *folder,
                    sluice_error_t *err);
void query_destroy (query_t **self_p);
/* Sockets to poll (at most 4: those of the ZAP handler and the guard among them). */
size_t query_sockets (const query_t *self, void **sockets);

/* Record what is asked and answered; borrowed. */
void query_set_trace (query_t *self, trace_t *trace);

typedef struct {
    bool cancel;  /* somebody asked for it... */
    char by[128]; /* ...and who, as they say */
} query_wish_t;

/* The JSON (malloc'd, or NULL) that answers STATUS, EXPLAIN, or CANCEL of tasks. */
typedef char *(query_fn) (void *arg, const msg_t *question);

/* Answer what waits. Never blocks. */
void query_answer (query_t *self, query_fn *fn, void *arg, query_wish_t *wish);

/* Connections that ended without having shown the cluster's key; messages that were not
 * understood. */
uint64_t query_strangers (const query_t *self);
uint64_t query_malformed (const query_t *self);

#endif
