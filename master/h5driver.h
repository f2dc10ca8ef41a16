/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* h5driver.h - an HDF5 file driver that lays metadata over what is there
 *
 * A snapshot of the output is made by creating an "HDF5 file" through this
 * driver. When HDF5 asks for the space of a chunk, it is given the address of
 * the extent where the chunk already lies, and HDF5's writing of it is
 * swallowed. Metadata is kept in memory, in arenas that have their place in
 * the file, and written by h5driver_write, each arena in one go. The
 * superblock is kept apart: who has it decides when the snapshot exists
 * (invariant I5). HDF5 itself so never meets a full disk.
 *
 * Single-threaded, as HDF5 is; owned by the writer.
 */
#ifndef MASTER_H5DRIVER_H
#define MASTER_H5DRIVER_H

#include <hdf5.h>
#include "master/outfile.h"
#include "master/space.h"

typedef struct h5driver h5driver_t;

/* One driver per snapshot. `space` is borrowed. NULL with an error. */
h5driver_t *h5driver_new (space_t *space, sluice_error_t *err);
/* Does not give the arenas' space back: see h5driver_free and _retire. The
 * HDF5 file must be closed. */
void h5driver_destroy (h5driver_t **self_p);

/* The new HDF5 file: make everything in it, then H5Fclose it. Once. */
hid_t h5driver_create (h5driver_t *self, sluice_error_t *err);

/* The next raw data that HDF5 asks space for, `bytes` long, lies at
 * `address` already. What HDF5 "writes" there from now on is dropped. */
void h5driver_adopt (h5driver_t *self, uint64_t address, uint64_t bytes);
/* True when the last adopted extent was taken. */
bool h5driver_adopted (const h5driver_t *self);

/* Write the arenas (after H5Fclose). May be called again when it failed. */
int h5driver_write (h5driver_t *self, outfile_t *file, sluice_error_t *err);
/* The superblock, to be written at address 0 when all else is durable. */
const void *h5driver_super (const h5driver_t *self, size_t *n);
/* The end of the file as the superblock has it. */
uint64_t h5driver_end (const h5driver_t *self);
uint64_t h5driver_bytes (const h5driver_t *self);

/* Give the arenas' space back: nothing in the file refers to it. */
void h5driver_free (h5driver_t *self);
/* The next snapshot replaces this one. */
void h5driver_retire (h5driver_t *self);
/* Forget the content, which is in the file now; keep the addresses. */
void h5driver_forget (h5driver_t *self);

#endif
