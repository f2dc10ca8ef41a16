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

typedef struct query query_t;

/* Bind it and register the run. `folder` is the run's private one. */
query_t *query_new (void *context, const job_t *job, const char *folder,
                    sluice_error_t *err);
void query_destroy (query_t **self_p);

/* Sockets to poll (at most 2, one being the ZAP handler's). */
size_t query_sockets (const query_t *self, void **sockets);

typedef struct {
    bool cancel;  /* somebody asked for it... */
    char by[128]; /* ...and who, as they say */
} query_wish_t;

/* Answer what waits. `status` writes the JSON that answers STATUS and EXPLAIN
 * (malloc'd). Never blocks. */
void query_answer (query_t *self, char *(*status) (void *arg, const char *question),
                   void *arg, query_wish_t *wish);

#endif
