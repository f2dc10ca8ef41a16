/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* kernel.h - how to write a calculation for Sluice in C
 *
 * A kernel is a shared object that defines one symbol:
 *
 *   const sluice_kernel_t sluice_kernel = {
 *       .abi = SLUICE_KERNEL_ABI, .name = "mine",
 *       .plan = plan, .open = open_inputs, .run = run, .close = close_inputs };
 *
 * A job file names it (`kernel = ./libmine.so`). Sluice then calls
 *
 *   plan   once, in the master: how many items there are, which tables come
 *          out, and what arrays every node needs (sluice_share_put)
 *   open   once on each node and run: read what plan left, build what `run`
 *          needs; the workers inherit it and must only read it
 *   run    in a worker, many times: compute items first <= i < stop and
 *          emit their rows
 *   close  in each worker before it ends
 *
 * An *item* is the smallest unit of work. Which items one call of `run` gets
 * is Sluice's business and changes from run to run: a result must depend on
 * the item, the parameters and the seed alone. Random numbers therefore come
 * from sluice_random, which is keyed by seed and item.
 *
 * Functions return 0, or -1 with `err` filled. A kernel is built with
 * `cc -shared -fPIC $(pkg-config --cflags libsluice)` and links to nothing of
 * Sluice: the functions below are found in the program that loads it.
 */
#ifndef SLUICE_KERNEL_H
#define SLUICE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/dtype.h"
#include "sluice/error.h"
#include "sluice/params.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_KERNEL_ABI 1

typedef struct sluice_plan sluice_plan_t;      /* what plan fills in */
typedef struct sluice_inputs sluice_inputs_t;  /* what open reads */
typedef struct sluice_task sluice_task_t;      /* what run emits into */

typedef struct {
    uint32_t abi;                              /* SLUICE_KERNEL_ABI */
    const char *name;
    int (*plan) (sluice_plan_t *plan, sluice_error_t *err);
    int (*open) (sluice_inputs_t *inputs, void **state, sluice_error_t *err); /* may be NULL */
    int (*run) (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err);
    void (*close) (void *state);               /* may be NULL */
} sluice_kernel_t;

extern const sluice_kernel_t sluice_kernel;

/* ---- in plan ------------------------------------------------------------ */

/* The job's parameters, and the folder of the job file (absolute) that
 * relative paths start from. */
const sluice_params_t *sluice_plan_params (const sluice_plan_t *plan);
const char *sluice_plan_folder (const sluice_plan_t *plan);
uint64_t sluice_plan_seed (const sluice_plan_t *plan);

/* Say how many items there are; 0 is refused when the plan is complete. */
int sluice_plan_items (sluice_plan_t *plan, uint64_t items, sluice_error_t *err);

/* Declare an output table, of rows of any dtype: a record, or |u1 for bytes,
 * (3)<f8 for vectors. Tables are numbered 0, 1, ... in the order declared. At most
 * 64. Names may hold '/' for groups. What is declared is in the output even if it
 * has no rows; see sluice_table for tables of which that is not known. */
int sluice_plan_table (sluice_plan_t *plan, const char *name, const char *dtype,
                       sluice_error_t *err);

/* Write this array to the output as it is, under `name`: a site collection, a
 * list of events. Copied. */
int sluice_plan_output (sluice_plan_t *plan, const char *name,
                        const sluice_array_t *array, sluice_error_t *err);

/* Give an array to every node: `open` gets it by its key. Copied; it is
 * written to a file on the share before the first task goes out. */
int sluice_share_put (sluice_plan_t *plan, const char *key, const sluice_array_t *array,
                      sluice_error_t *err);

/* A file that the run depends on, and that nodes may open. The path is
 * relative to the job's folder. Its digest is recorded; it cannot be the
 * output. Nodes open it with sluice_inputs_file. */
int sluice_plan_input (sluice_plan_t *plan, const char *path, sluice_error_t *err);

/* ---- in open ------------------------------------------------------------ */

const sluice_params_t *sluice_inputs_params (const sluice_inputs_t *inputs);
uint64_t sluice_inputs_seed (const sluice_inputs_t *inputs);
uint64_t sluice_inputs_items (const sluice_inputs_t *inputs);

/* The array that plan put under `key`. Valid until close; read-only. */
const sluice_array_t *sluice_inputs_get (const sluice_inputs_t *inputs, const char *key,
                                         sluice_error_t *err);

/* A descriptor, open for reading, of a file named by sluice_plan_input under
 * this same path. The caller closes it. -1 on error. */
int sluice_inputs_file (sluice_inputs_t *inputs, const char *path, sluice_error_t *err);

/* ---- in run ------------------------------------------------------------- */

/* Add `n` rows of table `table` that belong to `item`. Items must not
 * decrease within one call of run. Waits while the node's outbox is full.
 * Returns -1 when the task is to end at once (the run was cancelled, or the
 * call was wrong): return -1 from run then. */
int sluice_emit (sluice_task_t *task, uint64_t item, unsigned table, const void *rows,
                 size_t n);

/* The number, for sluice_emit, of the table `name` with rows of `dtype`, which may
 * be any dtype (a record or not). It need not be declared in plan: a table is made
 * with its first rows, and where no item has any there is none. The number is
 * this worker's own and stays. In a run the same name always has the same dtype: a
 * different one fails the task, by name of both. At most 64 tables of a run are met
 * like this. Returns -1 when it cannot be (the reason is kept for the task's
 * failure): return -1 from run then. */
int sluice_table (sluice_task_t *task, const char *name, const char *dtype,
                  sluice_error_t *err);

/* Call before starting item `next`. True: return 0 from run now; the items
 * from `next` on are given to another worker. Calling it is optional, and
 * what lets Sluice move work away from a slow machine. */
bool sluice_yield (sluice_task_t *task, uint64_t next);

/* `n` doubles in (0, 1), uniform, 53 bits: numbers start, start + 1, ... of
 * stream `stream` of this item under the job's seed (Philox 4x32-10; Salmon
 * et al. 2011). The same on every machine. */
void sluice_random (const sluice_task_t *task, uint64_t item, uint32_t stream,
                    uint64_t start, double *out, size_t n);

/* A folder of this worker's own, on local disk; removed with the worker. */
const char *sluice_scratch (const sluice_task_t *task);

#ifdef __cplusplus
}
#endif
#endif
