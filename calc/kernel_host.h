/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* kernel_host.h - the side of kernel.h that Sluice itself stands on
 *
 * Loading a kernel, running its plan, storing and reading what sluice_share_put
 * gave, and giving `run` its task. Used by the master (plan, --serial) and by
 * the zygote and workers (open, run).
 */
#ifndef CALC_KERNEL_HOST_H
#define CALC_KERNEL_HOST_H

#include "calc/emitter.h"
#include "proto/msg.h"
#include "proto/share.h"
#include "sluice/kernel.h"

/* ---- loading ------------------------------------------------------------ */

typedef struct kernel kernel_t;

/* A kernel that is part of Sluice ("scenario"). The error names all. */
kernel_t *kernel_builtin (const char *name, sluice_error_t *err);

/* Load the shared object open at `fd`: it is copied into a sealed memfd,
 * hashed there, and loaded from there, so that what was hashed is what runs
 * (invariant I8). `hash` (may be NULL) is what its BLAKE2b-256 must be. */
kernel_t *kernel_load (int fd, const char *name, const uint8_t *hash,
                       sluice_error_t *err);
void kernel_destroy (kernel_t **self_p);

const sluice_kernel_t *kernel_api (const kernel_t *self);
const uint8_t *kernel_hash (const kernel_t *self); /* zeros if built in */

/* ---- plan ---------------------------------------------------------------- */

/* The key of a shared array that the plan itself adds when it has inputs: for each
 * the path that the kernel gave and the one in the share, since a node knows
 * neither the job's folder nor what its links led to. */
#define INPUT_NAMES_KEY ".inputs"

/* One named array: an output as it is, or a shared input. Owned. */
typedef struct {
    char *name;
    sluice_array_t array;
} named_array_t;

struct sluice_plan {               /* read these after plan_run */
    const sluice_params_t *params; /* borrowed */
    const share_t *share;          /* borrowed */
    const void *context;           /* of plan_run */
    char *folder;
    uint64_t seed;
    uint64_t items;
    size_t ntables;
    bool longer; /* plan_lengthen */
    table_t *tables;
    size_t noutputs;
    named_array_t *outputs;
    size_t nshared;
    named_array_t *shared;
    size_t nfiles;
    input_t *files; /* paths relative to the share */
    size_t nnames;  /* of INPUT_NAMES_KEY, while plan runs */
    char **names;   /* two each */
};

/* Call the kernel's plan and check the outcome (items > 0, all names distinct
 * and usable as HDF5 paths outside /sluice, rows not too large). Paths of inputs are
 * resolved against `folder` and must lie inside the share, if it is confined. */
sluice_plan_t *plan_run (const kernel_t *kernel, const sluice_params_t *params,
                         const char *folder, const share_t *share, uint64_t seed,
                         sluice_error_t *err);
/* The same with what a built-in kernel's plan needs and no parameter can hold: it
 * finds it as plan->context. */
sluice_plan_t *plan_run_with (const kernel_t *kernel, const sluice_params_t *params,
                              const char *folder, const share_t *share, uint64_t seed,
                              const void *context, sluice_error_t *err);
void plan_destroy (sluice_plan_t **self_p);

/* A chunk of more than a MiB is not kept in HDF5's cache of chunks, so that who reads
 * some rows reads those, and not a chunk: twice as fast for one event, by h5py as it is
 * (bench/layout.py). So chunks of content have a row more than fits a MiB, if `longer`;
 * those that are compressed are to be kept, as they are read whole anyway. */
void plan_lengthen (sluice_plan_t *plan, bool longer);
/* Is this one of its tables whose chunks have a row more now? */
bool plan_is_lengthened (const sluice_plan_t *plan, const table_t *table);

/* In plan, of a built-in kernel: declare a table of the record of a run, named
 * sluice/..., which is not content (table_is_content). */
int plan_record (sluice_plan_t *plan, const char *name, const char *dtype,
                 sluice_error_t *err);

/* Write the shared arrays to a new HDF5 file, closed and durable on return. */
int plan_write_shared (const sluice_plan_t *plan, const char *path, sluice_error_t *err);

/* ---- open ---------------------------------------------------------------- */

/* What a zygote hands to the kernel's open. Reads every shared array into
 * memory and closes the file (path relative to the share; "" none). Checks
 * each of `files` (input_open). All arguments are borrowed until
 * inputs_destroy. */
sluice_inputs_t *inputs_new (const share_t *share, const sluice_params_t *params,
                             uint64_t seed, uint64_t items, const char *shared,
                             const input_t *files, size_t nfiles, sluice_error_t *err);
void inputs_destroy (sluice_inputs_t **self_p);

/* Where the share lies on this machine. */
const share_t *inputs_share (const sluice_inputs_t *inputs);

/* The name of an HDF5 file that is still open in this process, "" if none:
 * nobody forks while there is one, since parent and child would share its offset. */
const char *h5_still_open (void);

/* ---- run ----------------------------------------------------------------- */

/* What `run` gets; one per worker. Strings are borrowed. */
sluice_task_t *task_new (emitter_t *emitter, uint64_t seed, const char *scratch);
void task_destroy (sluice_task_t **self_p);

/* Run one task on a loaded and opened kernel: emitter_begin, run, and either
 * emitter_done or emitter_abort. Times and memory are measured here. -1 with
 * the kernel's error. *stopped is set when the sink ended the task. */
int task_run (sluice_task_t *self, const kernel_t *kernel, void *state,
              const task_t *task, bool *stopped, sluice_error_t *err);

/* In run, of a built-in kernel: sluice_emit without a copy. Room for at least one and at
 * most *n rows, whose number replaces *n; all of them are written and committed before
 * anything else is done with the task. NULL and -1 are the -1 of sluice_emit. */
void *task_reserve (sluice_task_t *task, uint64_t item, unsigned table, size_t *n);
int task_commit (sluice_task_t *task, unsigned table, size_t n);

/* In run, of a kernel whose work is done by other processes: what they took, instead
 * of this process (seconds of CPU, peak bytes). */
void task_set_usage (sluice_task_t *self, double cpu, uint64_t rss);
/* In run that fails: how the process ended whose failure it is. */
void task_set_end (sluice_task_t *self, int exit_code, int sig);
/* After a task_run that failed: the same; -1 and 0 if nothing was said. */
void task_get_end (const sluice_task_t *self, int *exit_code, int *sig);
/* Seconds that the present task has waited for room so far: its clock stands still. */
double task_waited (const sluice_task_t *self);

#endif
