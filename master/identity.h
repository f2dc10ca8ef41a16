/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* identity.h - what a run computes, said in its file
 *
 * A run may go on from a file only if it would compute the same: the same version,
 * kernel, seed, parameters, inputs and plan. Each is an attribute of /sluice (its digest,
 * where it is long), so that who finds another one can say which. What has no part in
 * the content may change: where output, kernel and share lie, items_per_task,
 * crash_limit, retries, memory and timeout, and the environment of commands.
 *
 *   kernel_hash     BLAKE2b-256 of the kernel's file; "built in" of one of Sluice's
 *   inputs          how many
 *   inputs_digest   of the paths, sizes and contents of all
 *   input_I         "DIGEST PATH" of the first IDENTITY_INPUTS of them
 *   plan_digest     items and tables
 *   outputs_digest  what the plan itself put into the file
 *   given_digest    command and arguments of `sluice map`; else of nothing
 */
#ifndef MASTER_IDENTITY_H
#define MASTER_IDENTITY_H

#include <hdf5.h>
#include "calc/kernel_host.h"

enum { IDENTITY_INPUTS = 32 };

typedef struct identity identity_t;

/* `kernel_hash` NULL or zeros: built in. All arguments are borrowed for its life. */
identity_t *identity_new (const sluice_plan_t *plan, const char *kernel,
                          const uint8_t *kernel_hash, const char *parameters,
                          sluice_error_t *err);
void identity_destroy (identity_t **self_p);

/* Write what snapshot.h does not write. */
int identity_write (const identity_t *self, hid_t group, sluice_error_t *err);
/* Was the file whose group /sluice this is made by the same? If not, SLUICE_EINPUT and
 * the text says what is another. */
int identity_check (const identity_t *self, hid_t group, sluice_error_t *err);

#endif
