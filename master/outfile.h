/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* outfile.h - the one way to the bytes of the output file
 *
 * Every byte of results, ledger and HDF5 metadata goes through outfile_write,
 * so that a slow or full disk is met in one place. The superblock, which
 * the sync thread writes, is the only exception (syncer.h).
 *
 * Single-threaded; owned by the writer.
 */
#ifndef MASTER_OUTFILE_H
#define MASTER_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

typedef struct outfile outfile_t;

/* Takes the descriptor over. At most `rate` bytes per second are written
 * (0: as fast as it goes). NULL if out of memory; `fd` is closed then. */
outfile_t *outfile_new (int fd, uint64_t rate);
void outfile_destroy (outfile_t **self_p);
int outfile_fd (const outfile_t *self);

/* Has nobody cut the file short behind our back? What was in it would be zeros. Also
 * checked whenever it gets longer. */
int outfile_whole (outfile_t *self, sluice_error_t *err);

/* Write all of it, or fail with SLUICE_EOUTPUT. Waits as the rate wants it. */
int outfile_write (outfile_t *self, const void *data, size_t n, uint64_t address,
                   sluice_error_t *err);
/* The same for an extent, behind which nothing is up to the next page: zeros may be
 * written there. */
int outfile_write_extent (outfile_t *self, const void *data, size_t n, uint64_t address,
                          sluice_error_t *err);
/* Did anything go past the page cache? */
bool outfile_direct (const outfile_t *self);
int outfile_read (outfile_t *self, void *data, size_t n, uint64_t address,
                  sluice_error_t *err);

/* Make the file at least `least` bytes long, better `wanted`. */
int outfile_grow (outfile_t *self, uint64_t least, uint64_t wanted, sluice_error_t *err);
/* Cut it to `size`. */
int outfile_cut (outfile_t *self, uint64_t size, sluice_error_t *err);
/* Give the blocks of a range back to the file system, where it can do so. */
void outfile_punch (outfile_t *self, uint64_t address, uint64_t bytes);

/* The last failure was for want of space (disk, quota, or limit on file
 * size). Cleared by the next write that works, or by outfile_clear. */
bool outfile_full (const outfile_t *self);
void outfile_clear (outfile_t *self);

/* pwrite until all is written; errno on failure. For the sync thread. */
bool write_fully (int fd, const void *data, size_t n, uint64_t address);

#endif
