/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Ragged arrays, in memory and in HDF5; see sluice/store.h. */

#include "calc/store_node.h"

#include <stdlib.h>
#include <string.h>

#include "calc/h5array.h"

int sluice_ragged_make (sluice_ragged_t *ragged, const char *dtype, size_t n,
                        const uint64_t *lengths, sluice_error_t *err)
{
    memset (ragged, 0, sizeof *ragged);
    uint64_t *offsets = n < SIZE_MAX / 8 ? calloc (n + 1, sizeof *offsets) : NULL;
    if (!offsets)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for %zu rows", n);
    for (size_t i = 0; i < n; i++)
        if (__builtin_add_overflow (offsets[i], lengths[i], &offsets[i + 1])) {
            free (offsets);
            return sluice_fail (err, SLUICE_EINPUT, "rows larger than any memory");
        }
    if (sluice_array_make (&ragged->data, dtype, 1, &offsets[n], err)) {
        free (offsets);
        return -1;
    }
    ragged->n = n;
    ragged->offsets = offsets;
    return 0;
}

void sluice_ragged_clear (sluice_ragged_t *ragged)
{
    free (ragged->offsets);
    sluice_array_clear (&ragged->data);
    memset (ragged, 0, sizeof *ragged);
}

/* Bytes of what is counted along the first axis. */
static size_t step_bytes (const sluice_array_t *array)
{
    size_t step = sluice_dtype_size (array->dtype);
    for (unsigned i = 1; i < array->ndim; i++)
        step *= array->shape[i];
    return step;
}

void *sluice_ragged_row (const sluice_ragged_t *ragged, size_t i, uint64_t *length)
{
    *length = ragged->offsets[i + 1] - ragged->offsets[i];
    return (char *) ragged->data.data + ragged->offsets[i] * step_bytes (&ragged->data);
}

static int check_ragged (const char *name, const sluice_ragged_t *ragged,
                         sluice_error_t *err)
{
    const uint64_t *at = ragged->offsets;
    bool good = at && ragged->data.ndim > 0 && at[0] == 0 &&
                at[ragged->n] == ragged->data.shape[0];
    for (size_t i = 0; good && i < ragged->n; i++)
        good = at[i] <= at[i + 1];
    return good ? 0
                : sluice_fail (err, SLUICE_EINPUT,
                               "%s: its offsets do not divide its data into rows", name);
}

int store_put_ragged (hid_t group, const char *name, const sluice_ragged_t *ragged,
                      const char *dtype, sluice_error_t *err)
{
    if (store_check_free (group, name, err) ||
        store_check_array (name, &ragged->data, dtype, err) ||
        check_ragged (name, ragged, err))
        return -1;
    hid_t sub = store_make_group (group, name, err);
    if (sub < 0)
        return -1;
    sluice_dtype_t *u8 = sluice_dtype_parse ("<u8", 3, err);
    sluice_array_t offsets = {u8, 1, {ragged->n + 1}, ragged->offsets};
    int rc = u8 ? h5_write_array (sub, "data", &ragged->data, err) : -1;
    if (rc == 0)
        rc = h5_write_array (sub, "offsets", &offsets, err);
    sluice_dtype_destroy (&u8);
    H5Gclose (sub);
    return rc ? sluice_fail_at (err, "%s", name) : 0;
}

int store_get_ragged (hid_t group, const char *name, const char *dtype,
                      sluice_ragged_t *ragged, sluice_error_t *err)
{
    h5_quiet ();
    memset (ragged, 0, sizeof *ragged);
    sluice_array_t offsets = {0};
    hid_t sub = store_open_group (group, name, err);
    if (sub < 0)
        return -1;
    int rc = store_get_array (sub, "data", dtype, &ragged->data, err);
    if (rc == 0)
        rc = store_get_array (sub, "offsets", "<u8", &offsets, err);
    H5Gclose (sub);
    if (rc)
        sluice_fail_at (err, "%s", name);
    else if (offsets.ndim != 1 || offsets.shape[0] == 0)
        rc = sluice_fail (err, SLUICE_EINPUT,
                          "%s: its offsets are not one more than it has rows", name);
    else {
        ragged->n = (size_t) offsets.shape[0] - 1;
        ragged->offsets = offsets.data;
        offsets.data = NULL;
        rc = check_ragged (name, ragged, err);
    }
    sluice_array_clear (&offsets);
    if (rc)
        sluice_ragged_clear (ragged);
    return rc;
}
