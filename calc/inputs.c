/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/kernel_host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/h5array.h"

struct sluice_inputs {
    const share_t *share;
    const sluice_params_t *params;
    uint64_t seed, items;
    const input_t *files;
    size_t nfiles;
    named_array_t *arrays;
    size_t narrays;
};

enum { STALE_PATIENCE_MS = 60000 }; /* NFS attribute caches last up to a minute */

const char *h5_still_open (void)
{
    static char name[500];
    /* A file is open, too, while anything in it is. */
    static const unsigned kinds =
        H5F_OBJ_FILE | H5F_OBJ_DATASET | H5F_OBJ_GROUP | H5F_OBJ_ATTR;
    hid_t object;
    name[0] = '\0';
    if (H5Fget_obj_count ((hid_t) H5F_OBJ_ALL, kinds) > 0 &&
        H5Fget_obj_ids ((hid_t) H5F_OBJ_ALL, kinds, 1, &object) > 0 &&
        H5Fget_name (object, name, sizeof name) <= 0)
        snprintf (name, sizeof name, "(unnamed)");
    return name;
}

/* Read every dataset of the file of shared arrays. */
static herr_t read_one (hid_t group, const char *name, const H5L_info_t *info, void *arg)
{
    sluice_inputs_t *self = ((void **) arg)[0];
    sluice_error_t *err = ((void **) arg)[1];
    (void) info;
    named_array_t *grown = realloc (self->arrays, (self->narrays + 1) * sizeof *grown);
    if (!grown)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    self->arrays = grown;
    named_array_t *entry = &self->arrays[self->narrays];
    if (h5_read_array (group, name, &entry->array, err))
        return -1;
    entry->name = strdup (name);
    self->narrays++;
    return entry->name ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
}

static int read_shared (sluice_inputs_t *self, const char *path, sluice_error_t *err)
{
    char via[64];
    void *arg[] = {self, err};
    int fd = share_openat (self->share, path, O_RDONLY, 0, err);
    if (fd < 0)
        return -1;
    h5_quiet ();
    /* By descriptor: the path was resolved inside the share, once. */
    snprintf (via, sizeof via, "/proc/self/fd/%d", fd);
    /* It was closed before its name travelled: no lock, which NFS may not have. */
    hid_t access = H5Pcreate (H5P_FILE_ACCESS);
    H5Pset_file_locking (access, false, true);
    hid_t file = H5Fopen (via, H5F_ACC_RDONLY, access);
    H5Pclose (access);
    int rc = 0;
    if (file < 0)
        rc = h5_fail (err, SLUICE_EINPUT, "%s cannot be read", path);
    else if (H5Literate (file, H5_INDEX_NAME, H5_ITER_INC, NULL, read_one, arg) < 0)
        rc = sluice_fail_at (err, "%s", path);
    if (file >= 0)
        H5Fclose (file);
    close (fd);
    return rc;
}

sluice_inputs_t *inputs_new (const share_t *share, const sluice_params_t *params,
                             uint64_t seed, uint64_t items, const char *shared,
                             const input_t *files, size_t nfiles, sluice_error_t *err)
{
    sluice_inputs_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->share = share;
    self->params = params;
    self->seed = seed;
    self->items = items;
    self->files = files;
    self->nfiles = nfiles;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < nfiles; i++) {
        int fd = input_open (share, &files[i], STALE_PATIENCE_MS, err);
        rc = fd < 0 ? -1 : 0;
        if (fd >= 0)
            close (fd);
    }
    if (rc == 0 && *shared)
        rc = read_shared (self, shared, err);
    if (rc)
        inputs_destroy (&self);
    return self;
}

void inputs_destroy (sluice_inputs_t **self_p)
{
    sluice_inputs_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->narrays; i++) {
        free (self->arrays[i].name);
        sluice_array_clear (&self->arrays[i].array);
    }
    free (self->arrays);
    free (self);
    *self_p = NULL;
}

const share_t *inputs_share (const sluice_inputs_t *inputs)
{
    return inputs->share;
}

const sluice_params_t *sluice_inputs_params (const sluice_inputs_t *inputs)
{
    return inputs->params;
}

uint64_t sluice_inputs_seed (const sluice_inputs_t *inputs)
{
    return inputs->seed;
}

uint64_t sluice_inputs_items (const sluice_inputs_t *inputs)
{
    return inputs->items;
}

const sluice_array_t *sluice_inputs_get (const sluice_inputs_t *inputs, const char *key,
                                         sluice_error_t *err)
{
    for (size_t i = 0; i < inputs->narrays; i++)
        if (strcmp (inputs->arrays[i].name, key) == 0)
            return &inputs->arrays[i].array;
    sluice_fail (err, SLUICE_EINPUT, "nothing was put under the key '%s'", key);
    return NULL;
}

/* The path in the share of the input that plan called `name`. */
static const char *path_of (const sluice_inputs_t *inputs, const char *name)
{
    const sluice_array_t *names = sluice_inputs_get (inputs, INPUT_NAMES_KEY, NULL);
    if (!names || names->dtype->kind != 'S' || names->ndim != 2 || names->shape[1] != 2)
        return NULL;
    size_t size = names->dtype->itemsize; /* a NUL with it */
    for (uint64_t i = 0; i < names->shape[0]; i++) {
        const char *pair = (const char *) names->data + 2 * i * size;
        if (pair[size - 1] == 0 && pair[2 * size - 1] == 0 && strcmp (pair, name) == 0)
            return pair + size;
    }
    return NULL;
}

int sluice_inputs_file (sluice_inputs_t *inputs, const char *path, sluice_error_t *err)
{
    const char *inside = path_of (inputs, path);
    for (size_t i = 0; inside && i < inputs->nfiles; i++)
        if (strcmp (inputs->files[i].path, inside) == 0)
            return input_open (inputs->share, &inputs->files[i], STALE_PATIENCE_MS, err);
    return sluice_fail (err, SLUICE_EINPUT,
                        "%s: plan did not name it by sluice_plan_input", path);
}
