/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* syncer.h - the thread that makes a snapshot durable
 *
 * fdatasync of what was written before may take seconds; the writer goes on
 * meanwhile. The thread shares one slot with its owner, guarded by a mutex: a
 * superblock goes in, an outcome comes out. For each it does
 *
 *   fdatasync, write the superblock, fdatasync
 *
 * so that a superblock never gets to the disk before what it refers to, and
 * is there for good when the owner hears of it.
 */
#ifndef MASTER_SYNCER_H
#define MASTER_SYNCER_H

#include <stdbool.h>
#include <stddef.h>
#include "sluice/error.h"

typedef enum {
    SYNC_IDLE,  /* nothing asked for */
    SYNC_BUSY,  /* under way */
    SYNC_DONE,  /* durable; said once, then idle */
    SYNC_FULL,  /* no space for the superblock: the older one holds; then idle */
    SYNC_BROKEN /* the file system lost writes: nothing may be written any more */
} sync_state_t;

typedef struct syncer syncer_t;

/* The descriptor is borrowed. */
syncer_t *syncer_new (int fd, sluice_error_t *err);
/* Waits for what is under way. */
void syncer_destroy (syncer_t **self_p);

/* Hand over a superblock (at most a page), when idle. */
void syncer_give (syncer_t *self, const void *super, size_t n);
/* What has become of it; with `wait` not before it is known. The error is
 * filled for FULL and BROKEN. */
sync_state_t syncer_ask (syncer_t *self, bool wait, sluice_error_t *err);

#endif
