/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* follow.h - what tasks print, shown in the order of items while a run goes on
 *
 * For `sluice map --tee`. A process of its own reads the output as any reader may, from
 * snapshot to snapshot: so it shows what is in the ledger and nothing else, each item
 * once, and a terminal or pipe that does not take it holds up nobody. Its memory is 32
 * bytes for each item that is done before an earlier one.
 */
#ifndef MASTER_FOLLOW_H
#define MASTER_FOLLOW_H

#include <sys/types.h>
#include "sluice/error.h"

typedef struct {
    pid_t pid; /* 0: none */
    int alive; /* closed when the run is over */
} follow_t;

/* Start it on the output `path`, to write to descriptor `out`. There may be threads. */
int follow_start (follow_t *self, const char *path, int out, sluice_error_t *err);
/* The output is as it stays: wait until the rest is shown. */
void follow_end (follow_t *self);

/* That process: show what is there until `alive` is closed, then the rest. */
int follow_show (const char *path, int alive, sluice_error_t *err);

#endif
