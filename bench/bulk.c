/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The kernel of the benches: an item is a number of bytes of rows that cost nothing.
 *
 *   items       how many
 *   item_bytes  of each, in rows of 32; 0: no rows, so that an item does nothing
 *   spin_us     microseconds that each takes, to the microsecond
 */

#include <stdlib.h>
#include <time.h>

#include "sluice/kernel.h"

typedef struct {
    uint64_t item, k;
    double x, y;
} row_t;

enum { AT_ONCE = (1 << 20) / sizeof (row_t) };

typedef struct {
    uint64_t each; /* rows of an item */
    uint64_t spin; /* us */
    row_t rows[AT_ONCE];
} state_t;

static int plan (sluice_plan_t *p, sluice_error_t *err)
{
    uint64_t items = 1, bytes = 0;
    const sluice_params_t *params = sluice_plan_params (p);
    if (sluice_params_u64 (params, "items", &items, err) ||
        sluice_params_u64 (params, "item_bytes", &bytes, err))
        return -1;
    if (bytes % sizeof (row_t))
        return sluice_params_fail (params, "item_bytes", err, "not a multiple of %zu",
                                   sizeof (row_t));
    if (sluice_plan_items (p, items, err))
        return -1;
    return sluice_plan_table (p, "bulk", "{item:<u8, k:<u8, x:<f8, y:<f8}", err);
}

static int open_rows (sluice_inputs_t *inputs, void **state, sluice_error_t *err)
{
    uint64_t bytes = 0, spin = 0;
    const sluice_params_t *params = sluice_inputs_params (inputs);
    if (sluice_params_u64 (params, "item_bytes", &bytes, err) ||
        sluice_params_u64 (params, "spin_us", &spin, err))
        return -1;
    state_t *self = malloc (sizeof *self);
    if (!self)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    self->each = bytes / sizeof (row_t);
    self->spin = spin;
    for (uint64_t k = 0; k < AT_ONCE; k++)
        self->rows[k] = (row_t){0, k, (double) k * 0.5, (double) k * 0.25};
    *state = self;
    return 0;
}

static uint64_t now_us (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    state_t *self = state;
    (void) err;
    for (uint64_t i = first; i < stop && !sluice_yield (task, i); i++) {
        for (uint64_t until = self->spin ? now_us () + self->spin : 0;
             until && now_us () < until;)
            ;
        self->rows[0].item = i;
        for (uint64_t left = self->each; left > 0;) {
            size_t n = left < AT_ONCE ? (size_t) left : AT_ONCE;
            if (sluice_emit (task, i, 0, self->rows, n))
                return -1;
            left -= n;
        }
    }
    return 0;
}

static void close_rows (void *state)
{
    free (state);
}

const sluice_kernel_t sluice_kernel = {.abi = SLUICE_KERNEL_ABI,
                                       .name = "bulk",
                                       .plan = plan,
                                       .open = open_rows,
                                       .run = run,
                                       .close = close_rows};
