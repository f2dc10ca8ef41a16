/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/tables.h"

#include <stdio.h>
#include <string.h>

#include "calc/h5array.h"
#include "proto/piece.h"
#include "proto/text.h"

/* ---- names -------------------------------------------------------------- */

enum { NAME_MAX_BYTES = 200, INDEX_BYTES = 256 };

static void index_name (char *text, const char *name)
{
    snprintf (text, INDEX_BYTES, "%.*s_index", NAME_MAX_BYTES, name);
}

int name_check (const char *name, bool table, sluice_error_t *err)
{
    size_t n = name ? strlen (name) : 0;
    if (n == 0 || n > NAME_MAX_BYTES || !text_is_utf8 (name, n) || name[0] == '/' ||
        name[n - 1] == '/' || strstr (name, "//"))
        return sluice_fail (err, SLUICE_EINPUT, "'%.200s' cannot name a dataset",
                            name ? name : "");
    for (const char *part = name, *next; part; part = next) {
        size_t length = strcspn (part, "/");
        next = part[length] ? part + length + 1 : NULL;
        if ((length == 1 && part[0] == '.') || (length == 2 && !strncmp (part, "..", 2)))
            return sluice_fail (err, SLUICE_EINPUT, "'%s' cannot name a dataset", name);
    }
    if (strcmp (name, "sluice") == 0 || strncmp (name, "sluice/", 7) == 0)
        return sluice_fail (err, SLUICE_EINPUT,
                            "'%s': what begins with sluice is Sluice's own", name);
    if (!table)
        return 0;
    char index[INDEX_BYTES];
    index_name (index, name);
    return name_check (index, false, err);
}

/* Neither is the other, nor a group that the other lies in. */
static bool apart (const char *one, const char *other)
{
    size_t n = strlen (one), m = strlen (other), least = n < m ? n : m;
    return strncmp (one, other, least) != 0 ||
           (n != m && (n < m ? other : one)[least] != '/');
}

int name_check_beside (const char *name, bool table, const char *other, bool other_table,
                       sluice_error_t *err)
{
    char index[INDEX_BYTES], other_index[INDEX_BYTES];
    index_name (index, name);
    index_name (other_index, other);
    const char *ours[] = {name, table ? index : NULL};
    const char *others[] = {other, other_table ? other_index : NULL};
    for (size_t i = 0; i < 2 && ours[i]; i++)
        for (size_t k = 0; k < 2 && others[k]; k++)
            if (!apart (ours[i], others[k]))
                return sluice_fail (err, SLUICE_EINPUT,
                                    "'%s' and '%s' cannot both be there", ours[i],
                                    others[k]);
    return 0;
}

/* ---- rows --------------------------------------------------------------- */

/* Are there bytes in a record that belong to no field? */
static bool has_gaps (const sluice_dtype_t *dtype)
{
    bool gaps = dtype->kind == 'V' && !dtype->packed;
    for (size_t i = 0; i < dtype->nfields; i++)
        gaps |= has_gaps (dtype->fields[i].type);
    return gaps;
}

int dtype_try_to_store (const sluice_dtype_t *dtype, sluice_error_t *err)
{
    h5_quiet ();
    hid_t type = h5_type (dtype, err);
    if (type < 0)
        return -1;
    hid_t access = H5Pcreate (H5P_FILE_ACCESS), space = H5Screate (H5S_SCALAR);
    hid_t file = -1, set = -1;
    if (access >= 0 && H5Pset_fapl_core (access, 1 << 16, 0) >= 0 &&
        H5Pset_libver_bounds (access, H5F_LIBVER_V18, H5F_LIBVER_LATEST) >= 0)
        file = H5Fcreate ("sluice-plan", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    if (file >= 0 && space >= 0)
        set = H5Dcreate2 (file, "x", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    int rc = 0;
    if (set < 0)
        rc = h5_fail (err, SLUICE_EINPUT,
                      "its type has too many fields, or too long names, for HDF5");
    if (set >= 0)
        H5Dclose (set);
    if (file >= 0)
        H5Fclose (file);
    if (space >= 0)
        H5Sclose (space);
    if (access >= 0)
        H5Pclose (access);
    H5Tclose (type);
    return rc;
}

static int check_rows (const sluice_dtype_t *dtype, sluice_error_t *err)
{
    size_t bytes = sluice_dtype_size (dtype);
    if (has_gaps (dtype))
        return sluice_fail (err, SLUICE_EINPUT,
                            "its rows have bytes that no field covers, and what lies in "
                            "them would be written too: use a packed struct");
    if (bytes == 0 || bytes > ROW_MAX_BYTES)
        return sluice_fail (err, SLUICE_EINPUT, "a row of %zu bytes; 1 to %d can be",
                            bytes, ROW_MAX_BYTES);
    return dtype_try_to_store (dtype, err);
}

sluice_dtype_t *rows_dtype (const char *text, sluice_error_t *err)
{
    sluice_dtype_t *dtype = sluice_dtype_parse (text, strlen (text), err);
    if (dtype && check_rows (dtype, err) == -1)
        sluice_dtype_destroy (&dtype);
    return dtype;
}
