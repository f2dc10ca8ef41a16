/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* progress.h - what a person sees while a run goes on
 *
 * On a terminal one line that is written over five times a second; otherwise
 * a plain line every ten seconds. Everything goes to stderr: stdout belongs
 * to --json.
 */
#ifndef MASTER_PROGRESS_H
#define MASTER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t items, done, failed, running; /* items */
    uint64_t bytes;
    unsigned nodes, cores;
    double seconds;
    const char *waiting; /* what it waits for, if for anything; else NULL */
} progress_state_t;

typedef struct {
    bool quiet, terminal, shown;
    double last, last_bytes_at;
    uint64_t last_bytes;
    double rate;      /* bytes per second, smoothed */
    double part, end; /* when so much of all was first done, and the end as of then */
    double before;    /* so much of all was done at the start */
} progress_t;

void progress_init (progress_t *self, bool quiet);
/* So much of all was done before it began. */
void progress_from (progress_t *self, uint64_t items, uint64_t done, uint64_t bytes);
/* Show if it is time. */
void progress_show (progress_t *self, const progress_state_t *state);
/* End the line, so that other text may follow. */
void progress_end (progress_t *self);

/* "1.5 GiB" in powers of 1024; `out` of 16 bytes. */
const char *human_bytes (double bytes, char out[16]);

#endif
