/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The kernel of runs with many simulated nodes (tests/tools/swarm.c): each item has
 * `item_kib` rows of 1 KiB, all alike, so that whoever plays a node needs no memory
 * for them. A real node makes the same rows.
 *
 *   items     how many
 *   item_kib  rows of an item
 */

#include "sluice/kernel.h"

enum { WORDS = 128, AT_ONCE = 64 };

static int plan (sluice_plan_t *p, sluice_error_t *err)
{
    uint64_t items = 0;
    if (sluice_params_u64 (sluice_plan_params (p), "items", &items, err) ||
        sluice_plan_items (p, items, err))
        return -1;
    return sluice_plan_table (p, "load", "(128)<u8", err);
}

static int open_inputs (sluice_inputs_t *inputs, void **state, sluice_error_t *err)
{
    static uint64_t kib;
    *state = &kib;
    return sluice_params_u64 (sluice_inputs_params (inputs), "item_kib", &kib, err);
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    static uint64_t rows[AT_ONCE][WORDS];
    (void) err;
    for (int k = 0; k < AT_ONCE; k++)
        for (int i = 0; i < WORDS; i++)
            rows[k][i] = (uint64_t) i * 0x9e3779b97f4a7c15u;
    for (uint64_t item = first; item < stop; item++)
        for (uint64_t left = *(uint64_t *) state; left > 0;) {
            size_t n = left < AT_ONCE ? (size_t) left : AT_ONCE;
            if (sluice_emit (task, item, 0, rows, n))
                return -1;
            left -= n;
        }
    return 0;
}

const sluice_kernel_t sluice_kernel = {.abi = SLUICE_KERNEL_ABI,
                                       .name = "swarm",
                                       .plan = plan,
                                       .open = open_inputs,
                                       .run = run};
