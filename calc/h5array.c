/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/h5array.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void h5_quiet (void)
{
    H5Eset_auto2 (H5E_DEFAULT, NULL, NULL);
}

static herr_t innermost (unsigned n, const H5E_error2_t *entry, void *arg)
{
    if (n == 0 && entry->desc)
        snprintf (arg, 200, "%s", entry->desc);
    return 0;
}

int h5_fail (sluice_error_t *err, sluice_code_t code, const char *format, ...)
{
    char text[700], why[200] = "";
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    H5Ewalk2 (H5E_DEFAULT, H5E_WALK_UPWARD, innermost, why);
    H5Eclear2 (H5E_DEFAULT);
    return sluice_fail (err, code, *why ? "%s (HDF5: %s)" : "%s", text, why);
}

static hid_t array_space (const sluice_array_t *array)
{
    hsize_t dims[SLUICE_MAX_DIMS];
    for (unsigned i = 0; i < array->ndim; i++)
        dims[i] = array->shape[i];
    return array->ndim ? H5Screate_simple ((int) array->ndim, dims, NULL)
                       : H5Screate (H5S_SCALAR);
}

int h5_write_array (hid_t file, const char *name, const sluice_array_t *array,
                    sluice_error_t *err)
{
    h5_quiet ();
    hid_t type = h5_type (array->dtype, err);
    if (type < 0)
        return sluice_fail_at (err, "%s", name);
    hid_t space = array_space (array), links = H5Pcreate (H5P_LINK_CREATE), set = -1;
    bool overflow;
    int rc = -1;
    if (space >= 0 && links >= 0 && H5Pset_char_encoding (links, H5T_CSET_UTF8) >= 0 &&
        H5Pset_create_intermediate_group (links, 1) >= 0)
        set = H5Dcreate2 (file, name, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    if (set >= 0 &&
        (sluice_array_bytes (array, &overflow) == 0 ||
         H5Dwrite (set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->data) >= 0))
        rc = 0;
    if (rc)
        h5_fail (err, SLUICE_EOUTPUT, "%s cannot be written", name);
    if (set >= 0)
        H5Dclose (set);
    if (links >= 0)
        H5Pclose (links);
    if (space >= 0)
        H5Sclose (space);
    H5Tclose (type);
    return rc;
}

int h5_read_array (hid_t file, const char *name, sluice_array_t *array,
                   sluice_error_t *err)
{
    hsize_t dims[H5S_MAX_RANK];
    uint64_t shape[SLUICE_MAX_DIMS];
    h5_quiet ();
    hid_t type = -1, space = -1, set = H5Dopen2 (file, name, H5P_DEFAULT);
    sluice_dtype_t *dtype = NULL;
    char *text = NULL;
    bool overflow;
    int rc = -1, ndim = -1;
    memset (array, 0, sizeof *array);
    if (set >= 0) {
        type = H5Dget_type (set);
        space = H5Dget_space (set);
    }
    if (type < 0 || space < 0) {
        h5_fail (err, SLUICE_EINPUT, "%s cannot be read", name);
        goto done;
    }
    ndim = H5Sget_simple_extent_dims (space, dims, NULL);
    dtype = h5_dtype (type, err);
    if (!dtype) {
        sluice_fail_at (err, "%s", name);
        goto done;
    }
    text = sluice_dtype_text (dtype);
    if (!text || ndim < 0 || ndim > SLUICE_MAX_DIMS ||
        H5Sget_simple_extent_type (space) == H5S_NULL) {
        sluice_fail (err, SLUICE_EINPUT, "%s has %d dimensions", name, ndim);
        goto done;
    }
    for (int i = 0; i < ndim; i++)
        shape[i] = dims[i];
    if (sluice_array_make (array, text, (unsigned) ndim, shape, err))
        goto done;
    rc = 0;
    if (sluice_array_bytes (array, &overflow) > 0 &&
        H5Dread (set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->data) < 0) {
        sluice_array_clear (array);
        rc = h5_fail (err, SLUICE_EINPUT, "%s cannot be read", name);
    }
done:
    free (text);
    sluice_dtype_destroy (&dtype);
    if (space >= 0)
        H5Sclose (space);
    if (type >= 0)
        H5Tclose (type);
    if (set >= 0)
        H5Dclose (set);
    return rc;
}

/* ---- attributes ----------------------------------------------------------------- */

static int write_scalar (hid_t object, const char *name, hid_t type, const void *value,
                         sluice_error_t *err)
{
    h5_quiet ();
    hid_t space = H5Screate (H5S_SCALAR), attr = -1;
    int rc = -1;
    if (space >= 0 && H5Aexists (object, name) > 0)
        H5Adelete (object, name);
    if (space >= 0)
        attr = H5Acreate2 (object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attr >= 0 && H5Awrite (attr, type, value) >= 0)
        rc = 0;
    if (rc)
        h5_fail (err, SLUICE_EOUTPUT, "attribute %s cannot be written", name);
    if (attr >= 0)
        H5Aclose (attr);
    if (space >= 0)
        H5Sclose (space);
    return rc;
}

static hid_t text_type (void)
{
    hid_t type = H5Tcopy (H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size (type, H5T_VARIABLE) < 0 || H5Tset_cset (type, H5T_CSET_UTF8) < 0)) {
        H5Tclose (type);
        return -1;
    }
    return type;
}

int h5_write_text (hid_t object, const char *name, const char *text, sluice_error_t *err)
{
    hid_t type = text_type ();
    if (type < 0)
        return h5_fail (err, SLUICE_EOUTPUT, "attribute %s cannot be written", name);
    int rc = write_scalar (object, name, type, &text, err);
    H5Tclose (type);
    return rc;
}

int h5_write_u64 (hid_t object, const char *name, uint64_t value, sluice_error_t *err)
{
    return write_scalar (object, name, H5T_STD_U64LE, &value, err);
}

int h5_write_f64 (hid_t object, const char *name, double value, sluice_error_t *err)
{
    return write_scalar (object, name, H5T_IEEE_F64LE, &value, err);
}

/* A scalar attribute that is there; *stored is its type. Close both. */
static hid_t open_scalar (hid_t object, const char *name, hid_t *stored,
                          sluice_error_t *err)
{
    h5_quiet ();
    hid_t attr = H5Aexists (object, name) > 0 ? H5Aopen (object, name, H5P_DEFAULT) : -1;
    hid_t space = attr >= 0 ? H5Aget_space (attr) : -1;
    bool one = space >= 0 && H5Sget_simple_extent_npoints (space) == 1;
    if (space >= 0)
        H5Sclose (space);
    *stored = one ? H5Aget_type (attr) : -1;
    if (*stored >= 0)
        return attr;
    if (attr >= 0)
        H5Aclose (attr);
    return h5_fail (err, SLUICE_EINPUT, "attribute %s: there is no single value", name);
}

/* Read a scalar attribute as `type`, whatever kind of number it was written as. */
static int read_number (hid_t object, const char *name, hid_t type, void *value,
                        sluice_error_t *err)
{
    hid_t stored, attr = open_scalar (object, name, &stored, err);
    if (attr < 0)
        return -1;
    H5T_class_t class = H5Tget_class (stored), wanted = H5Tget_class (type);
    bool negative = false, good = class == H5T_INTEGER || class == wanted;
    if (good && wanted == H5T_INTEGER && H5Tget_sign (stored) != H5T_SGN_NONE) {
        int64_t number; /* HDF5 would read those below zero as zero */
        good = H5Aread (attr, H5T_NATIVE_INT64, &number) >= 0;
        negative = good && number < 0;
    }
    int rc = 0;
    if (!good || negative || H5Aread (attr, type, value) < 0)
        rc = h5_fail (err, SLUICE_EINPUT, "attribute %s is not such a number", name);
    H5Tclose (stored);
    H5Aclose (attr);
    return rc;
}

char *h5_read_text (hid_t object, const char *name, sluice_error_t *err)
{
    hid_t stored, attr = open_scalar (object, name, &stored, err);
    if (attr < 0)
        return NULL;
    char *text = NULL, *read = NULL;
    size_t size = H5Tget_size (stored);
    if (H5Tget_class (stored) != H5T_STRING)
        h5_fail (err, SLUICE_EINPUT, "attribute %s is not a text", name);
    else if (H5Tis_variable_str (stored) > 0) {
        if (H5Aread (attr, stored, &read) < 0)
            h5_fail (err, SLUICE_EINPUT, "attribute %s cannot be read", name);
        else if (!(text = strdup (read ? read : "")))
            sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        H5free_memory (read);
    } else if (!(text = calloc (1, size + 1)))
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    else if (H5Aread (attr, stored, text) < 0) {
        h5_fail (err, SLUICE_EINPUT, "attribute %s cannot be read", name);
        free (text);
        text = NULL;
    }
    H5Tclose (stored);
    H5Aclose (attr);
    return text;
}

int h5_read_u64 (hid_t object, const char *name, uint64_t *value, sluice_error_t *err)
{
    return read_number (object, name, H5T_NATIVE_UINT64, value, err);
}

int h5_read_f64 (hid_t object, const char *name, double *value, sluice_error_t *err)
{
    return read_number (object, name, H5T_NATIVE_DOUBLE, value, err);
}
