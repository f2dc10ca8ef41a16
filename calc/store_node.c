/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* What to_h5, from_h5 and migrate put and get; see sluice/store.h. */

#include "calc/store_node.h"

#include <string.h>

#include "calc/h5array.h"

int sluice_node_put_bool (sluice_node_t *self, const char *name, bool value,
                          sluice_error_t *err)
{
    return store_put_scalar (self->group, name, SLUICE_KIND_BOOL, 1, &value, err);
}

int sluice_node_put_i64 (sluice_node_t *self, const char *name, int64_t value,
                         sluice_error_t *err)
{
    return store_put_scalar (self->group, name, SLUICE_KIND_INT, 8, &value, err);
}

int sluice_node_put_u64 (sluice_node_t *self, const char *name, uint64_t value,
                         sluice_error_t *err)
{
    return store_put_scalar (self->group, name, SLUICE_KIND_UINT, 8, &value, err);
}

int sluice_node_put_f64 (sluice_node_t *self, const char *name, double value,
                         sluice_error_t *err)
{
    return store_put_scalar (self->group, name, SLUICE_KIND_FLOAT, 8, &value, err);
}

int sluice_node_put_text (sluice_node_t *self, const char *name, const char *text,
                          sluice_error_t *err)
{
    return store_put_text (self->group, name, text, err);
}

int sluice_node_put_array (sluice_node_t *self, const char *name,
                           const sluice_array_t *array, sluice_error_t *err)
{
    return store_put_array (self->group, name, array, NULL, err);
}

int sluice_node_put_ragged (sluice_node_t *self, const char *name,
                            const sluice_ragged_t *ragged, sluice_error_t *err)
{
    return store_put_ragged (self->group, name, ragged, NULL, err);
}

int sluice_node_put_object (sluice_node_t *self, const char *name,
                            const sluice_class_t *class, const void *object,
                            sluice_error_t *err)
{
    if (store_check_free (self->group, name, err))
        return -1;
    hid_t group = store_make_group (self->group, name, err);
    if (group < 0)
        return -1;
    int rc = store_write_object (group, class, object, self->depth + 1, err);
    H5Gclose (group);
    return rc ? sluice_fail_at (err, "%s", name) : 0;
}

bool sluice_node_has (sluice_node_t *self, const char *name)
{
    bool attr = false, link = false;
    if (store_check_name (name, NULL))
        return false;
    store_find (self->group, name, true, &attr, NULL);
    store_find (self->group, name, false, &link, NULL);
    return attr || link;
}

int sluice_node_get_bool (sluice_node_t *self, const char *name, bool *value,
                          sluice_error_t *err)
{
    return store_get_scalar (self->group, name, SLUICE_KIND_BOOL, 1, value, err);
}

int sluice_node_get_i64 (sluice_node_t *self, const char *name, int64_t *value,
                         sluice_error_t *err)
{
    return store_get_scalar (self->group, name, SLUICE_KIND_INT, 8, value, err);
}

int sluice_node_get_u64 (sluice_node_t *self, const char *name, uint64_t *value,
                         sluice_error_t *err)
{
    return store_get_scalar (self->group, name, SLUICE_KIND_UINT, 8, value, err);
}

int sluice_node_get_f64 (sluice_node_t *self, const char *name, double *value,
                         sluice_error_t *err)
{
    return store_get_scalar (self->group, name, SLUICE_KIND_FLOAT, 8, value, err);
}

char *sluice_node_get_text (sluice_node_t *self, const char *name, sluice_error_t *err)
{
    return store_get_text (self->group, name, err);
}

int sluice_node_get_array (sluice_node_t *self, const char *name, const char *dtype,
                           sluice_array_t *array, sluice_error_t *err)
{
    memset (array, 0, sizeof *array);
    return store_check_name (name, err)
               ? -1
               : store_get_array (self->group, name, dtype, array, err);
}

int sluice_node_get_ragged (sluice_node_t *self, const char *name, const char *dtype,
                            sluice_ragged_t *ragged, sluice_error_t *err)
{
    memset (ragged, 0, sizeof *ragged);
    return store_check_name (name, err)
               ? -1
               : store_get_ragged (self->group, name, dtype, ragged, err);
}

int sluice_node_get_object (sluice_node_t *self, const char *name,
                            const sluice_class_t *class, void *object,
                            sluice_error_t *err)
{
    memset (object, 0, class->size);
    if (store_check_name (name, err))
        return -1;
    h5_quiet ();
    hid_t group = store_open_group (self->group, name, err);
    if (group < 0)
        return -1;
    int rc = store_read_object (group, class, object, self->depth + 1, err);
    H5Gclose (group);
    return rc ? sluice_fail_at (err, "%s", name) : 0;
}
