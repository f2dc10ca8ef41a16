/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* A kernel whose tables are met with their rows. Which ones an item has, and in
 * what order it asks for them, depends on the item:
 *
 *   pairs     {item:<u8, k:<u4}  of items that 2 divides: item % 5 rows
 *   deep/vec  (3)<f8             of items that 3 divides: item, k, item + k
 *   bytes     |u1                item % 11 bytes of value item % 251
 *   once      <u8                of the item `once` alone
 *   never     <u8                asked for, but without rows
 *   bulk      (128)<u8           `bulk_kib` rows, of items that 4 divides
 *
 *   items, bulk_kib, once
 *   declare  1: the plan declares `bytes` and the output `constant`
 *   mode, at what happens at item `at`, after its rows:
 *            fail       it cannot be computed
 *            dtype      pairs is of another dtype
 *            apart      the same, in an item that asked for no other table
 *            name       a name that cannot be
 *            constant   the name of an output
 *            declared   `bytes` of another dtype
 *            large      rows that fit in no segment
 *            many       a table for each item, from `at` on
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sluice/kernel.h"

enum { BULK_ROW = 128 };

typedef struct {
    uint64_t item;
    uint32_t k;
} __attribute__ ((packed)) pair_t;

typedef struct {
    uint64_t bulk_kib, once, at;
    char mode[32];
} state_t;

static int plan (sluice_plan_t *p, sluice_error_t *err)
{
    uint64_t items = 0, declare = 0, value = 7;
    const sluice_params_t *params = sluice_plan_params (p);
    if (sluice_params_u64 (params, "items", &items, err) ||
        sluice_params_u64 (params, "declare", &declare, err) ||
        sluice_plan_items (p, items, err))
        return -1;
    if (!declare)
        return 0;
    sluice_array_t constant = {0};
    if (sluice_array_make (&constant, "<u8", 0, NULL, err))
        return -1;
    memcpy (constant.data, &value, sizeof value);
    int rc = sluice_plan_output (p, "constant", &constant, err);
    sluice_array_clear (&constant);
    return rc ? rc : sluice_plan_table (p, "bytes", "|u1", err);
}

static int open_inputs (sluice_inputs_t *inputs, void **out, sluice_error_t *err)
{
    const sluice_params_t *params = sluice_inputs_params (inputs);
    const char *mode = sluice_params_get (params, "mode");
    state_t *s = calloc (1, sizeof *s);
    if (!s)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    s->at = s->once = UINT64_MAX;
    snprintf (s->mode, sizeof s->mode, "%s", mode ? mode : "");
    *out = s;
    return sluice_params_u64 (params, "bulk_kib", &s->bulk_kib, err) ||
                   sluice_params_u64 (params, "once", &s->once, err) ||
                   sluice_params_u64 (params, "at", &s->at, err)
               ? -1
               : 0;
}

static int pairs (sluice_task_t *task, uint64_t item, sluice_error_t *err)
{
    int table = sluice_table (task, "pairs", "{item:<u8, k:<u4}", err);
    for (uint32_t k = 0; table >= 0 && k < item % 5; k++) {
        pair_t row = {item, k};
        if (sluice_emit (task, item, (unsigned) table, &row, 1))
            return -1;
    }
    return table < 0 ? -1 : 0;
}

static int vectors (sluice_task_t *task, uint64_t item, sluice_error_t *err)
{
    int table = sluice_table (task, "deep/vec", "(3)f8", err);
    for (uint64_t k = 0; table >= 0 && k < 1 + item % 2; k++) {
        double row[3] = {(double) item, (double) k, (double) (item + k)};
        if (sluice_emit (task, item, (unsigned) table, row, 1))
            return -1;
    }
    return table < 0 ? -1 : 0;
}

static int bytes (sluice_task_t *task, uint64_t item, sluice_error_t *err)
{
    uint8_t row[11];
    int table = sluice_table (task, "bytes", "|u1", err);
    memset (row, (int) (item % 251), sizeof row);
    return table < 0 ? -1 : sluice_emit (task, item, (unsigned) table, row, item % 11);
}

static int bulk (sluice_task_t *task, uint64_t item, uint64_t rows, sluice_error_t *err)
{
    int table = sluice_table (task, "bulk", "(128)<u8", err);
    for (uint64_t k = 0; table >= 0 && k < rows; k++) {
        uint64_t row[BULK_ROW];
        for (uint64_t i = 0; i < BULK_ROW; i++)
            row[i] = item * 1000003 + k * BULK_ROW + i;
        if (sluice_emit (task, item, (unsigned) table, row, 1))
            return -1;
    }
    return table < 0 ? -1 : 0;
}

static int numbers (sluice_task_t *task, const char *name, const char *dtype,
                    uint64_t item, size_t rows, sluice_error_t *err)
{
    int table = sluice_table (task, name, dtype, err);
    return table < 0 ? -1 : sluice_emit (task, item, (unsigned) table, &item, rows);
}

static int misbehave (sluice_task_t *task, const state_t *s, uint64_t item,
                      sluice_error_t *err)
{
    char name[32];
    if (strcmp (s->mode, "many") == 0) {
        snprintf (name, sizeof name, "many%llu", (unsigned long long) item);
        return item < s->at ? 0 : numbers (task, name, "<u8", item, 1, err);
    }
    if (item != s->at)
        return 0;
    if (strcmp (s->mode, "dtype") == 0)
        return numbers (task, "pairs", "<u8", item, 1, err);
    if (strcmp (s->mode, "name") == 0)
        return numbers (task, "sluice/index", "<u8", item, 1, err);
    if (strcmp (s->mode, "constant") == 0)
        return numbers (task, "constant", "<u8", item, 1, err);
    if (strcmp (s->mode, "declared") == 0)
        return numbers (task, "bytes", "<u8", item, 1, err);
    if (strcmp (s->mode, "large") == 0)
        return numbers (task, "large", "(262144)<u8", item, 0, err);
    return strcmp (s->mode, "fail")
               ? 0
               : sluice_fail (err, SLUICE_EFAILED, "item %llu cannot be computed",
                              (unsigned long long) item);
}

static int one_item (sluice_task_t *task, const state_t *s, uint64_t item,
                     sluice_error_t *err)
{
    bool two = item % 2 == 0, three = item % 3 == 0, up = item / 6 % 2;
    if (item == s->at && strcmp (s->mode, "apart") == 0)
        return numbers (task, "pairs", "<u8", item, 1, err);
    if ((up && two && pairs (task, item, err)) || (three && vectors (task, item, err)) ||
        (!up && two && pairs (task, item, err)) || bytes (task, item, err) ||
        numbers (task, "never", "<u8", item, 0, err) ||
        (item == s->once && numbers (task, "once", "<u8", item, 1, err)) ||
        (item % 4 == 0 && s->bulk_kib && bulk (task, item, s->bulk_kib, err)))
        return -1;
    return misbehave (task, s, item, err);
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    for (uint64_t item = first; item < stop; item++)
        if (one_item (task, state, item, err))
            return -1;
    return 0;
}

const sluice_kernel_t sluice_kernel = {.abi = SLUICE_KERNEL_ABI,
                                       .name = "late",
                                       .plan = plan,
                                       .open = open_inputs,
                                       .run = run,
                                       .close = free};
