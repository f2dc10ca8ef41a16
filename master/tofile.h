/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* tofile.h - files that `-o` of get and plot names
 *
 * What was there stays until what replaces it is whole, and an HDF5 file, which may be
 * results, is never replaced. What is no plain file (/dev/null, a FIFO) is written to as
 * it stands.
 */
#ifndef MASTER_TOFILE_H
#define MASTER_TOFILE_H

#include <stdbool.h>
#include <stdio.h>
#include "sluice/error.h"

typedef struct {
    FILE *out;
    char *path, *temporary; /* NULL: no plain file */
} tofile_t;

/* -1: `path` is an HDF5 file (SLUICE_EINPUT). */
int tofile_spare (const char *path, sluice_error_t *err);

/* 0, and self->out to write to; -1: SLUICE_EINPUT or SLUICE_EOUTPUT. */
int tofile_open (tofile_t *self, const char *path, sluice_error_t *err);
/* Put it in its place if `good`; else leave all as it was. Frees what open made. */
int tofile_close (tofile_t *self, bool good, sluice_error_t *err);

/* Do both name one file, which is there? */
bool tofile_same (const char *one, const char *other);

#endif
