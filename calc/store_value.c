/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Single values of an object in HDF5; see store_node.h. */

#include "calc/store_node.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calc/h5array.h"
#include "proto/text.h"

/* ---- names and links -------------------------------------------------------------- */

int store_check_name (const char *name, sluice_error_t *err)
{
    size_t n = name ? strlen (name) : 0;
    if (n == 0 || n > STORE_MAX_NAME || !text_is_utf8 (name, n) || strchr (name, '/') ||
        !strcmp (name, ".") || !strcmp (name, ".."))
        return sluice_fail (err, SLUICE_EINPUT, "'%.200s' cannot name a member",
                            name ? name : "");
    if (strncmp (name, STORE_OWN, strlen (STORE_OWN)) == 0)
        return sluice_fail (err, SLUICE_EINPUT,
                            "'%s': what begins with sluice_ is Sluice's own", name);
    return 0;
}

hid_t store_make_group (hid_t at, const char *name, sluice_error_t *err)
{
    hid_t links = H5Pcreate (H5P_LINK_CREATE), group = -1;
    if (links >= 0 && H5Pset_char_encoding (links, H5T_CSET_UTF8) >= 0)
        group = H5Gcreate2 (at, name, links, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0)
        h5_fail (err, SLUICE_EOUTPUT, "%s cannot be written", name);
    if (links >= 0)
        H5Pclose (links);
    return group;
}

hid_t store_open_link (hid_t at, const char *name, bool *there, sluice_error_t *err)
{
    H5L_info_t info;
    htri_t exists = H5Lexists (at, name, H5P_DEFAULT);
    *there = exists > 0;
    if (exists < 0)
        return h5_fail (err, SLUICE_EINPUT, "%s cannot be looked for", name);
    if (!exists)
        return sluice_fail (err, SLUICE_EINPUT, "%s is missing", name);
    if (H5Lget_info (at, name, &info, H5P_DEFAULT) < 0)
        return h5_fail (err, SLUICE_EINPUT, "%s cannot be read", name);
    if (info.type != H5L_TYPE_HARD)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s is a soft or external link, which is not followed", name);
    hid_t object = H5Oopen (at, name, H5P_DEFAULT);
    if (object < 0)
        h5_fail (err, SLUICE_EINPUT, "%s cannot be read", name);
    return object;
}

hid_t store_open_group (hid_t at, const char *name, sluice_error_t *err)
{
    bool there;
    hid_t group = store_open_link (at, name, &there, err);
    if (group >= 0 && H5Iget_type (group) != H5I_GROUP) {
        H5Oclose (group);
        return sluice_fail (err, SLUICE_EINPUT, "%s is not a group", name);
    }
    return group;
}

static bool is_null (hid_t space)
{
    bool null = space >= 0 && H5Sget_simple_extent_type (space) == H5S_NULL;
    if (space >= 0)
        H5Sclose (space);
    return null;
}

int store_find (hid_t group, const char *name, bool attribute, bool *there,
                sluice_error_t *err)
{
    h5_quiet ();
    htri_t attr = H5Aexists (group, name), link = H5Lexists (group, name, H5P_DEFAULT);
    *there = false;
    if (attr < 0 || link < 0)
        return h5_fail (err, SLUICE_EINPUT, "%s cannot be looked for", name);
    if (attribute ? !attr && link : !link && attr)
        return sluice_fail (err, SLUICE_EINPUT, "%s is %s, not %s", name,
                            attribute ? "a dataset or group" : "an attribute",
                            attribute ? "an attribute" : "a dataset or group");
    if (attribute ? !attr : !link)
        return 0;
    if (attribute) {
        hid_t open = H5Aopen (group, name, H5P_DEFAULT);
        *there = open < 0 || !is_null (H5Aget_space (open));
        if (open >= 0)
            H5Aclose (open);
        return 0;
    }
    hid_t open = store_open_link (group, name, there, err);
    if (open < 0)
        return -1;
    *there = H5Iget_type (open) != H5I_DATASET || !is_null (H5Dget_space (open));
    H5Oclose (open);
    return 0;
}

int store_check_free (hid_t group, const char *name, sluice_error_t *err)
{
    h5_quiet ();
    if (store_check_name (name, err))
        return -1;
    if (H5Aexists (group, name) > 0 || H5Lexists (group, name, H5P_DEFAULT) > 0)
        return sluice_fail (err, SLUICE_EINPUT, "%s is there twice", name);
    return 0;
}

/* ---- scalars -------------------------------------------------------------------------
 */

static hid_t scalar_type (sluice_kind_t kind, size_t size, sluice_error_t *err)
{
    static const char letters[] = {[SLUICE_KIND_BOOL] = 'b',
                                   [SLUICE_KIND_INT] = 'i',
                                   [SLUICE_KIND_UINT] = 'u',
                                   [SLUICE_KIND_FLOAT] = 'f'};
    char text[3] = {letters[kind], (char) ('0' + size % 10), 0};
    sluice_dtype_t *dtype = sluice_dtype_parse (text, 2, err);
    hid_t type = dtype ? h5_type (dtype, err) : -1;
    sluice_dtype_destroy (&dtype);
    return type;
}

int store_put_scalar (hid_t group, const char *name, sluice_kind_t kind, size_t size,
                      const void *value, sluice_error_t *err)
{
    if (store_check_free (group, name, err))
        return -1;
    hid_t type = scalar_type (kind, size, err);
    if (type < 0)
        return sluice_fail_at (err, "%s", name);
    hid_t space = H5Screate (H5S_SCALAR), create = H5Pcreate (H5P_ATTRIBUTE_CREATE);
    hid_t attr = -1;
    int rc = 0;
    if (space >= 0 && create >= 0 && H5Pset_char_encoding (create, H5T_CSET_UTF8) >= 0)
        attr = H5Acreate2 (group, name, type, space, create, H5P_DEFAULT);
    if (attr < 0 || H5Awrite (attr, type, value) < 0)
        rc = h5_fail (err, SLUICE_EOUTPUT, "%s cannot be written", name);
    if (attr >= 0)
        H5Aclose (attr);
    if (create >= 0)
        H5Pclose (create);
    if (space >= 0)
        H5Sclose (space);
    H5Tclose (type);
    return rc;
}

/* A number as the file has it. */
typedef struct {
    sluice_kind_t kind;
    int64_t i;
    uint64_t u;
    double f;
} number_t;

static bool is_bool (hid_t type)
{
    sluice_dtype_t *dtype = h5_dtype (type, NULL);
    bool good = dtype && dtype->kind == 'b';
    sluice_dtype_destroy (&dtype);
    return good;
}

/* False if the attribute is no number, or more than one. */
static bool read_number (hid_t attr, hid_t type, number_t *number)
{
    hid_t space = H5Aget_space (attr);
    bool one = space >= 0 && H5Sget_simple_extent_npoints (space) == 1;
    if (space >= 0)
        H5Sclose (space);
    size_t size = H5Tget_size (type);
    int8_t truth;
    if (!one || size == 0 || size > 8)
        return false;
    switch (H5Tget_class (type)) {
    case H5T_ENUM:
        number->kind = SLUICE_KIND_BOOL;
        if (!is_bool (type) || H5Aread (attr, type, &truth) < 0)
            return false;
        number->i = truth;
        return truth == 0 || truth == 1;
    case H5T_INTEGER:
        number->kind =
            H5Tget_sign (type) == H5T_SGN_NONE ? SLUICE_KIND_UINT : SLUICE_KIND_INT;
        return number->kind == SLUICE_KIND_INT
                   ? H5Aread (attr, H5T_NATIVE_INT64, &number->i) >= 0
                   : H5Aread (attr, H5T_NATIVE_UINT64, &number->u) >= 0;
    case H5T_FLOAT:
        number->kind = SLUICE_KIND_FLOAT;
        return H5Aread (attr, H5T_NATIVE_DOUBLE, &number->f) >= 0;
    default:
        return false;
    }
}

static bool to_int (const number_t *n, size_t size, void *value)
{
    int64_t i = n->kind == SLUICE_KIND_UINT ? (int64_t) n->u : n->i;
    int64_t most = (int64_t) (UINT64_MAX >> (65 - 8 * size));
    if (n->kind == SLUICE_KIND_FLOAT || n->kind == SLUICE_KIND_BOOL ||
        (n->kind == SLUICE_KIND_UINT && n->u > (uint64_t) most) || i > most ||
        i < -most - 1)
        return false;
    memcpy (value, &i, size); /* little-endian, as all dtypes here are */
    return true;
}

static bool to_uint (const number_t *n, size_t size, void *value)
{
    uint64_t u = n->kind == SLUICE_KIND_UINT ? n->u : (uint64_t) n->i;
    if (n->kind == SLUICE_KIND_FLOAT || n->kind == SLUICE_KIND_BOOL ||
        (n->kind == SLUICE_KIND_INT && n->i < 0) || u > UINT64_MAX >> (64 - 8 * size))
        return false;
    memcpy (value, &u, size);
    return true;
}

static bool to_float (const number_t *n, size_t size, void *value)
{
    double f = n->f;
    if (n->kind == SLUICE_KIND_BOOL)
        return false;
    if (n->kind == SLUICE_KIND_INT || n->kind == SLUICE_KIND_UINT) {
        f = n->kind == SLUICE_KIND_INT ? (double) n->i : (double) n->u;
        if (fabs (f) > 0x1p53)
            return false; /* others may not be whole there */
    }
    if (size == sizeof (float)) {
        if (isfinite (f) && fabs (f) > (double) FLT_MAX)
            return false;
        float single = (float) f;
        memcpy (value, &single, size);
    } else
        memcpy (value, &f, size);
    return true;
}

static bool to_bool (const number_t *n, void *value)
{
    uint64_t u = n->kind == SLUICE_KIND_UINT ? n->u : (uint64_t) n->i;
    if (n->kind == SLUICE_KIND_FLOAT || u > 1)
        return false;
    *(bool *) value = u == 1;
    return true;
}

int store_get_scalar (hid_t group, const char *name, sluice_kind_t kind, size_t size,
                      void *value, sluice_error_t *err)
{
    h5_quiet ();
    number_t number = {0};
    htri_t exists = H5Aexists (group, name);
    if (exists == 0)
        return sluice_fail (err, SLUICE_EINPUT, "%s is missing", name);
    hid_t attr = exists > 0 ? H5Aopen (group, name, H5P_DEFAULT) : -1;
    hid_t type = attr >= 0 ? H5Aget_type (attr) : -1;
    int rc = 0;
    if (type < 0)
        rc = h5_fail (err, SLUICE_EINPUT, "%s cannot be read", name);
    else if (!read_number (attr, type, &number)) {
        H5Eclear2 (H5E_DEFAULT);
        rc = sluice_fail (err, SLUICE_EINPUT, "%s is not a single number", name);
    } else {
        bool fits = kind == SLUICE_KIND_BOOL   ? to_bool (&number, value)
                    : kind == SLUICE_KIND_INT  ? to_int (&number, size, value)
                    : kind == SLUICE_KIND_UINT ? to_uint (&number, size, value)
                                               : to_float (&number, size, value);
        static const char *const wanted[] = {
            [SLUICE_KIND_BOOL] = "a truth value",
            [SLUICE_KIND_INT] = "a whole number",
            [SLUICE_KIND_UINT] = "a whole number, not negative,",
            [SLUICE_KIND_FLOAT] = "a floating-point number"};
        if (!fits)
            rc = sluice_fail (err, SLUICE_EINPUT, "%s is not %s of %zu bytes", name,
                              wanted[kind], size);
    }
    if (type >= 0)
        H5Tclose (type);
    if (attr >= 0)
        H5Aclose (attr);
    return rc;
}

/* ---- texts ----------------------------------------------------------------------------
 */

int store_put_text (hid_t group, const char *name, const char *text, sluice_error_t *err)
{
    if (store_check_free (group, name, err))
        return -1;
    if (!text)
        return sluice_fail (err, SLUICE_EINPUT, "%s is NULL, and not optional", name);
    if (!text_is_utf8 (text, strlen (text)))
        return sluice_fail (err, SLUICE_EINPUT, "%s is not UTF-8", name);
    return h5_write_text (group, name, text, err);
}

char *store_get_text (hid_t group, const char *name, sluice_error_t *err)
{
    h5_quiet ();
    if (H5Aexists (group, name) == 0) {
        sluice_fail (err, SLUICE_EINPUT, "%s is missing", name);
        return NULL;
    }
    char *text = h5_read_text (group, name, err);
    if (text && !text_is_utf8 (text, strlen (text))) {
        sluice_fail (err, SLUICE_EINPUT, "%s is not UTF-8", name);
        free (text);
        text = NULL;
    }
    return text;
}

/* ---- arrays
 * ----------------------------------------------------------------------------- */

/* Is the dtype what it must be? */
static int check_dtype (const char *name, const sluice_dtype_t *is, const char *must,
                        sluice_error_t *err)
{
    if (!must)
        return 0;
    sluice_dtype_t *dtype = sluice_dtype_parse (must, strlen (must), err);
    if (!dtype)
        return sluice_fail_at (err, "%s", name);
    bool equal = sluice_dtype_equal (is, dtype);
    sluice_dtype_destroy (&dtype);
    if (equal)
        return 0;
    char *text = sluice_dtype_text (is);
    sluice_fail (err, SLUICE_EINPUT, "%s has the dtype %.300s, not %.300s", name,
                 text ? text : "?", must);
    free (text);
    return -1;
}

int store_check_array (const char *name, const sluice_array_t *array, const char *dtype,
                       sluice_error_t *err)
{
    bool overflow = true;
    if (!array->dtype)
        return sluice_fail (err, SLUICE_EINPUT, "%s has no dtype, and is not optional",
                            name);
    size_t bytes = sluice_array_bytes (array, &overflow);
    if (overflow || (bytes && !array->data))
        return sluice_fail (err, SLUICE_EINPUT, "%s has no data of its shape", name);
    return check_dtype (name, array->dtype, dtype, err);
}

int store_put_array (hid_t group, const char *name, const sluice_array_t *array,
                     const char *dtype, sluice_error_t *err)
{
    if (store_check_free (group, name, err) ||
        store_check_array (name, array, dtype, err))
        return -1;
    return h5_write_array (group, name, array, err);
}

int store_get_array (hid_t group, const char *name, const char *dtype,
                     sluice_array_t *array, sluice_error_t *err)
{
    bool there;
    h5_quiet ();
    memset (array, 0, sizeof *array);
    hid_t set = store_open_link (group, name, &there, err);
    if (set < 0)
        return -1;
    bool good = H5Iget_type (set) == H5I_DATASET;
    H5Oclose (set);
    if (!good)
        return sluice_fail (err, SLUICE_EINPUT, "%s is not a dataset", name);
    if (h5_read_array (group, name, array, err))
        return -1;
    if (check_dtype (name, array->dtype, dtype, err)) {
        sluice_array_clear (array);
        return -1;
    }
    return 0;
}
