/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/kernel_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/h5array.h"
#include "calc/tables.h"
#include "proto/text.h"

const sluice_params_t *sluice_plan_params (const sluice_plan_t *plan)
{
    return plan->params;
}

const char *sluice_plan_folder (const sluice_plan_t *plan)
{
    return plan->folder;
}

uint64_t sluice_plan_seed (const sluice_plan_t *plan)
{
    return plan->seed;
}

int sluice_plan_items (sluice_plan_t *plan, uint64_t items, sluice_error_t *err)
{
    if (items == 0 || items > INT64_MAX)
        return sluice_fail (err, SLUICE_EINPUT, "there are %llu items to compute",
                            (unsigned long long) items);
    plan->items = items;
    return 0;
}

/* Can this be the path of a dataset, beside those that are there? */
static int check_name (const sluice_plan_t *plan, const char *name, bool table,
                       sluice_error_t *err)
{
    if (name_check (name, table, err))
        return -1;
    for (size_t i = 0; i < plan->ntables; i++)
        if (name_check_beside (name, table, plan->tables[i].name, true, err))
            return -1;
    for (size_t i = 0; i < plan->noutputs; i++)
        if (name_check_beside (name, table, plan->outputs[i].name, false, err))
            return -1;
    return 0;
}

static int add_table (sluice_plan_t *plan, const char *name, const char *dtype,
                      sluice_error_t *err)
{
    if (plan->ntables >= MSG_MAX_TABLES)
        return sluice_fail (err, SLUICE_EINPUT, "more than %d tables", MSG_MAX_TABLES);
    sluice_dtype_t *type = rows_dtype (dtype, err);
    if (!type)
        return sluice_fail_at (err, "table %s", name);
    char *text = sluice_dtype_text (type), *copy = strdup (name);
    table_t *grown = realloc (plan->tables, (plan->ntables + 1) * sizeof *grown);
    uint64_t rows = chunk_rows_for (sluice_dtype_size (type));
    sluice_dtype_destroy (&type);
    if (grown)
        plan->tables = grown;
    if (!text || !copy || !grown || strlen (text) >= MSG_MAX_TEXT) {
        int rc = text && strlen (text) >= MSG_MAX_TEXT
                     ? sluice_fail (err, SLUICE_EINPUT, "table %s: its dtype is too long",
                                    name)
                     : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        free (text);
        free (copy);
        return rc;
    }
    plan->tables[plan->ntables++] = (table_t){copy, text, rows};
    return 0;
}

int sluice_plan_table (sluice_plan_t *plan, const char *name, const char *dtype,
                       sluice_error_t *err)
{
    return check_name (plan, name, true, err) ? -1 : add_table (plan, name, dtype, err);
}

int plan_record (sluice_plan_t *plan, const char *name, const char *dtype,
                 sluice_error_t *err)
{
    return add_table (plan, name, dtype, err);
}

/* A copy of `array`, which may come from anybody's code. */
static int copy_array (const sluice_array_t *array, sluice_array_t *copy,
                       sluice_error_t *err)
{
    bool overflow;
    size_t bytes = sluice_array_bytes (array, &overflow);
    if (overflow || (bytes > 0 && !array->data))
        return sluice_fail (err, SLUICE_EINPUT, "an array without data of its shape");
    if (dtype_try_to_store (array->dtype, err))
        return -1;
    char *text = sluice_dtype_text (array->dtype);
    if (!text)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    int rc = sluice_array_make (copy, text, array->ndim, array->shape, err);
    free (text);
    if (rc == 0 && bytes)
        memcpy (copy->data, array->data, bytes);
    return rc;
}

static int add_array (named_array_t **list, size_t *n, const char *name,
                      const sluice_array_t *array, sluice_error_t *err)
{
    named_array_t entry = {0};
    if (copy_array (array, &entry.array, err))
        return sluice_fail_at (err, "%s", name);
    named_array_t *grown = realloc (*list, (*n + 1) * sizeof *grown);
    if (grown)
        *list = grown;
    entry.name = strdup (name);
    if (!grown || !entry.name) {
        sluice_array_clear (&entry.array);
        free (entry.name);
        return sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", name);
    }
    (*list)[(*n)++] = entry;
    return 0;
}

int sluice_plan_output (sluice_plan_t *plan, const char *name,
                        const sluice_array_t *array, sluice_error_t *err)
{
    if (check_name (plan, name, false, err))
        return -1;
    return add_array (&plan->outputs, &plan->noutputs, name, array, err);
}

int sluice_share_put (sluice_plan_t *plan, const char *key, const sluice_array_t *array,
                      sluice_error_t *err)
{
    size_t n = key ? strlen (key) : 0;
    if (n == 0 || n > 200 || !text_is_utf8 (key, n) || strpbrk (key, "/") ||
        key[0] == '.')
        return sluice_fail (err, SLUICE_EINPUT, "'%.200s' cannot be a key",
                            key ? key : "");
    for (size_t i = 0; i < plan->nshared; i++)
        if (strcmp (plan->shared[i].name, key) == 0)
            return sluice_fail (err, SLUICE_EINPUT, "the key '%s' was put before", key);
    return add_array (&plan->shared, &plan->nshared, key, array, err);
}

/* What identifies the file `path` of the job's folder. */
static int measure_input (const sluice_plan_t *plan, const char *path, input_t *input,
                          sluice_error_t *err)
{
    char *full;
    bool absolute = path[0] == '/';
    if (asprintf (&full, "%s%s%s", absolute ? "" : plan->folder, absolute ? "" : "/",
                  path) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    input->path = share_relative (plan->share, full, err);
    free (full);
    if (!input->path)
        return -1;
    int fd = share_openat (plan->share, input->path, O_RDONLY | O_NONBLOCK, 0, err);
    if (fd < 0)
        return -1;
    int rc = input_measure (fd, input, err);
    close (fd);
    return rc;
}

/* Keep how the kernel calls the file `inside` the share. */
static int keep_name (sluice_plan_t *plan, const char *name, const char *inside,
                      sluice_error_t *err)
{
    char **grown = realloc (plan->names, 2 * (plan->nnames + 1) * sizeof *grown);
    if (grown)
        plan->names = grown;
    char *first = strdup (name), *second = strdup (inside);
    if (!grown || !first || !second) {
        free (first);
        free (second);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    grown[2 * plan->nnames] = first;
    grown[2 * plan->nnames++ + 1] = second;
    return 0;
}

int sluice_plan_input (sluice_plan_t *plan, const char *path, sluice_error_t *err)
{
    input_t input = {0};
    if (!path || !path[0])
        return sluice_fail (err, SLUICE_EINPUT, "an input without a path");
    for (size_t i = 0; i < plan->nnames; i++)
        if (strcmp (plan->names[2 * i], path) == 0)
            return 0;
    if (plan->nfiles >= MSG_MAX_INPUTS)
        return sluice_fail (err, SLUICE_EINPUT, "more than %d input files",
                            MSG_MAX_INPUTS);
    input_t *grown = realloc (plan->files, (plan->nfiles + 1) * sizeof *grown);
    if (!grown)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    plan->files = grown;
    if (measure_input (plan, path, &input, err) ||
        keep_name (plan, path, input.path, err)) {
        input_clear (&input);
        return -1;
    }
    for (size_t i = 0; i < plan->nfiles; i++)
        if (strcmp (plan->files[i].path, input.path) == 0) {
            input_clear (&input); /* by another name: once is enough */
            return 0;
        }
    plan->files[plan->nfiles++] = input;
    return 0;
}

/* Share the names of the inputs; see INPUT_NAMES_KEY. */
static int share_names (sluice_plan_t *plan, sluice_error_t *err)
{
    size_t longest = 0;
    char dtype[32];
    sluice_array_t names;
    if (plan->nnames == 0)
        return 0;
    for (size_t i = 0; i < 2 * plan->nnames; i++)
        if (strlen (plan->names[i]) > longest)
            longest = strlen (plan->names[i]);
    snprintf (dtype, sizeof dtype, "|S%zu", longest + 1);
    if (sluice_array_make (&names, dtype, 2, (uint64_t[]){plan->nnames, 2}, err))
        return -1;
    for (size_t i = 0; i < 2 * plan->nnames; i++)
        strcpy ((char *) names.data + i * (longest + 1), plan->names[i]);
    int rc = add_array (&plan->shared, &plan->nshared, INPUT_NAMES_KEY, &names, err);
    sluice_array_clear (&names);
    return rc;
}

sluice_plan_t *plan_run (const kernel_t *kernel, const sluice_params_t *params,
                         const char *folder, const share_t *share, uint64_t seed,
                         sluice_error_t *err)
{
    return plan_run_with (kernel, params, folder, share, seed, NULL, err);
}

sluice_plan_t *plan_run_with (const kernel_t *kernel, const sluice_params_t *params,
                              const char *folder, const share_t *share, uint64_t seed,
                              const void *context, sluice_error_t *err)
{
    sluice_plan_t *plan = calloc (1, sizeof *plan);
    if (plan)
        plan->folder = strdup (folder);
    if (!plan || !plan->folder) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        goto error;
    }
    plan->params = params;
    plan->share = share;
    plan->context = context;
    plan->seed = seed;
    sluice_error_t why = {0};
    if (kernel_api (kernel)->plan (plan, &why)) {
        if (why.code == SLUICE_OK)
            sluice_fail (&why, SLUICE_EINPUT,
                         "the kernel's plan failed and did not say why");
        if (why.code == SLUICE_EFAILED)
            why.code = SLUICE_EINPUT; /* nothing was started, so no item failed */
        if (err)
            *err = why;
        goto error;
    }
    if (plan->items == 0) {
        sluice_fail (err, SLUICE_EINPUT,
                     "there is nothing to compute: the plan has no items");
        goto error;
    }
    if (share_names (plan, err))
        goto error;
    return plan;
error:
    plan_destroy (&plan);
    return NULL;
}

static void free_arrays (named_array_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free (list[i].name);
        sluice_array_clear (&list[i].array);
    }
    free (list);
}

static bool may_be_longer (const table_t *table)
{
    return table->chunk_rows > 1 && table_is_content (table->name);
}

void plan_lengthen (sluice_plan_t *plan, bool longer)
{
    for (size_t i = 0; longer != plan->longer && i < plan->ntables; i++)
        if (may_be_longer (&plan->tables[i]))
            plan->tables[i].chunk_rows += longer ? 1 : -UINT64_C (1);
    plan->longer = longer;
}

bool plan_is_lengthened (const sluice_plan_t *plan, const table_t *table)
{
    return plan->longer && may_be_longer (table);
}

void plan_destroy (sluice_plan_t **self_p)
{
    sluice_plan_t *plan = *self_p;
    if (!plan)
        return;
    for (size_t i = 0; i < plan->ntables; i++) {
        free (plan->tables[i].name);
        free (plan->tables[i].dtype);
    }
    free (plan->tables);
    free_arrays (plan->outputs, plan->noutputs);
    free_arrays (plan->shared, plan->nshared);
    for (size_t i = 0; i < plan->nfiles; i++)
        input_clear (&plan->files[i]);
    free (plan->files);
    for (size_t i = 0; i < 2 * plan->nnames; i++)
        free (plan->names[i]);
    free (plan->names);
    free (plan->folder);
    free (plan);
    *self_p = NULL;
}

int plan_write_shared (const sluice_plan_t *plan, const char *path, sluice_error_t *err)
{
    h5_quiet ();
    hid_t access = H5Pcreate (H5P_FILE_ACCESS);
    H5Pset_libver_bounds (access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
    hid_t file = H5Fcreate (path, H5F_ACC_EXCL, H5P_DEFAULT, access);
    H5Pclose (access);
    if (file < 0)
        return h5_fail (err, SLUICE_EOUTPUT, "%s cannot be made", path);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < plan->nshared; i++)
        rc = h5_write_array (file, plan->shared[i].name, &plan->shared[i].array, err);
    if (H5Fclose (file) < 0 && rc == 0)
        rc = h5_fail (err, SLUICE_EOUTPUT, "%s cannot be written", path);
    int fd = rc == 0 ? open (path, O_RDONLY | O_CLOEXEC) : -1;
    if (rc == 0 && (fd < 0 || fsync (fd)))
        rc = sluice_fail (err, SLUICE_EOUTPUT, "%s: %s", path, strerror (errno));
    if (fd >= 0)
        close (fd);
    if (rc)
        unlink (path);
    return rc;
}
