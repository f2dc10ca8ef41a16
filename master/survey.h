/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* survey.h - which runs there are: asked of all masters and nodes at once
 *
 * A run is known from its record (registry.h), or from a node that has it; its
 * master may be dead, and its nodes may not have noticed yet. So commands ask
 * both, all of them at the same time: nobody's silence delays another's answer.
 *
 * Single-threaded, but for the roster's thread. A number is a run's index in
 * order of its finding.
 */
#ifndef MASTER_SURVEY_H
#define MASTER_SURVEY_H

#include <time.h>
#include "master/registry.h"
#include "master/roster.h"

typedef struct survey survey_t;

typedef struct {
    registered_t record; /* of a run that only nodes know: what they say */
    bool registered;     /* there is a record */
    char *answer;        /* its master's last one; NULL: none yet */
    unsigned nodes;      /* that have it... */
    unsigned ended;      /* ...and have ended it */
    char at[200];        /* their hosts, as far as there is room */
} known_run_t;

typedef struct {
    found_t found;
    char *answer;            /* to STATUS; NULL: none yet */
    int64_t asked, answered; /* ms */
    time_t clock;            /* of this machine, at its answer */
} surveyed_node_t;

/* The share and its cluster are borrowed, and may both be NULL: then only runs of
 * this machine are known. The runs with a record are in it at once. */
survey_t *survey_new (const share_t *share, const cluster_t *cluster,
                      sluice_error_t *err);
void survey_destroy (survey_t **self_p);

/* The share did not answer in time: only runs of this machine are known. */
bool survey_share_hangs (const survey_t *self);

size_t survey_size (const survey_t *self);
/* Valid until the next survey_wait. */
const known_run_t *survey_at (const survey_t *self, size_t run);

/* Ask the master of a run. -1: it cannot be asked from here. */
int survey_ask (survey_t *self, size_t run, const msg_t *question);
/* Begin to look for nodes, and ask each what it has. -1: there is no cluster, or
 * no way to listen. */
int survey_nodes (survey_t *self, sluice_error_t *err);
/* Those found so far; valid until the next survey_wait. */
size_t survey_node_count (const survey_t *self);
const surveyed_node_t *survey_node (const survey_t *self, size_t node);
/* End the run at every node that has it, and at those found to have it later. */
void survey_end (survey_t *self, size_t run);

/* Wait for answers for so long; with `early` only until all that were asked have
 * given one. */
void survey_wait (survey_t *self, unsigned ms, bool early);

#endif
