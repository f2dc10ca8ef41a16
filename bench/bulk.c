/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The kernel of bench/stream.py: an item is a MiB of rows that cost nothing. */

#include <stdlib.h>

#include "sluice/kernel.h"

enum { ROWS = (1 << 20) / 32 };

typedef struct {
    uint64_t item, k;
    double x, y;
} row_t;

static int plan (sluice_plan_t *p, sluice_error_t *err)
{
    uint64_t mib = 1;
    if (sluice_params_u64 (sluice_plan_params (p), "mib", &mib, err) ||
        sluice_plan_items (p, mib, err))
        return -1;
    return sluice_plan_table (p, "bulk", "{item:<u8, k:<u8, x:<f8, y:<f8}", err);
}

static int open_rows (sluice_inputs_t *inputs, void **state, sluice_error_t *err)
{
    row_t *rows = malloc (ROWS * sizeof *rows);
    (void) inputs;
    if (!rows)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (uint64_t k = 0; k < ROWS; k++)
        rows[k] = (row_t){0, k, (double) k * 0.5, (double) k * 0.25};
    *state = rows;
    return 0;
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    row_t *rows = state;
    (void) err;
    for (uint64_t i = first; i < stop && !sluice_yield (task, i); i++) {
        rows[0].item = i;
        if (sluice_emit (task, i, 0, rows, ROWS))
            return -1;
    }
    return 0;
}

const sluice_kernel_t sluice_kernel = {.abi = SLUICE_KERNEL_ABI,
                                       .name = "bulk",
                                       .plan = plan,
                                       .open = open_rows,
                                       .run = run};
