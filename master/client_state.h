/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* client_state.h - what the parts of a map share
 *
 * A map is one module in two files: client_map.c begins and ends it, client_result.c
 * takes what its master says. Nobody else includes this.
 */
#ifndef MASTER_CLIENT_STATE_H
#define MASTER_CLIENT_STATE_H

#include "master/client_process.h"
#include "master/client_extents.h"
#include "proto/talk.h"
#include "sluice/client.h"

typedef struct {
    char *name, *dtype;
    size_t row_bytes;
    uint32_t number; /* in the file */
} map_table_t;

struct sluice_map {
    talk_t *talk;
    process_t process;
    int output; /* to read rows from */
    extents_t *extents;
    char run[2 * RUN_BYTES + 1];
    uint64_t items;
    map_table_t *tables;
    unsigned ntables;
    sluice_progress_fn *progress;
    void *arg;
    msg_progress_t now; /* as last heard */
    /* the task in hand: items from `next` on were not taken yet */
    uint64_t next, stop;
    bool filling; /* further extents of it are to come */
    msg_lost_t lost;
    bool has_rows; /* the present result */
    void *buffer;  /* of sluice_map_rows */
    size_t room;
    bool ended; /* nothing more comes, and why: */
    msg_over_t over;
    sluice_error_t why; /* code SLUICE_OK: in order */
};

/* The master's first word: the output is there. */
int map_begin (sluice_map_t *self, sluice_error_t *err);

/* Wait for what the master says. 1: something; 0: not within the time, or a signal
 * came; -1: it says nothing more, and self->why says why. */
int map_wait (sluice_map_t *self, double seconds, msg_t *msg, int *passed);

#endif
