/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Which HDF5 type a dtype is, and back; see h5array.h. */

#include "calc/h5array.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

/* ---- dtype to HDF5 ----------------------------------------------------------- */

static hid_t integer_type (bool is_signed, size_t size, bool big)
{
    switch (size) {
    case 1:
        return H5Tcopy (is_signed ? H5T_STD_I8LE : H5T_STD_U8LE);
    case 2:
        return H5Tcopy (is_signed ? big ? H5T_STD_I16BE : H5T_STD_I16LE
                        : big     ? H5T_STD_U16BE
                                  : H5T_STD_U16LE);
    case 4:
        return H5Tcopy (is_signed ? big ? H5T_STD_I32BE : H5T_STD_I32LE
                        : big     ? H5T_STD_U32BE
                                  : H5T_STD_U32LE);
    case 8:
        return H5Tcopy (is_signed ? big ? H5T_STD_I64BE : H5T_STD_I64LE
                        : big     ? H5T_STD_U64BE
                                  : H5T_STD_U64LE);
    default:
        return -1;
    }
}

static hid_t float_type (size_t size, bool big)
{
    if (size == 4)
        return H5Tcopy (big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE);
    if (size == 8)
        return H5Tcopy (big ? H5T_IEEE_F64BE : H5T_IEEE_F64LE);
    /* What NumPy calls f16 is this machine's long double. */
    if (size == 16 && !big && sizeof (long double) == 16)
        return H5Tcopy (H5T_NATIVE_LDOUBLE);
    if (size != 2)
        return -1;
    /* IEEE 754 binary16, which HDF5 1.10 has no name for. */
    hid_t type = H5Tcopy (big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE);
    if (type >= 0 && (H5Tset_fields (type, 15, 10, 5, 0, 10) < 0 ||
                      H5Tset_size (type, 2) < 0 || H5Tset_ebias (type, 15) < 0)) {
        H5Tclose (type);
        return -1;
    }
    return type;
}

/* As h5py writes NumPy's bool. */
static hid_t bool_type (void)
{
    hid_t type = H5Tenum_create (H5T_STD_I8LE);
    int8_t no = 0, yes = 1;
    if (type >= 0 && (H5Tenum_insert (type, "FALSE", &no) < 0 ||
                      H5Tenum_insert (type, "TRUE", &yes) < 0)) {
        H5Tclose (type);
        return -1;
    }
    return type;
}

static hid_t complex_type (size_t size, bool big)
{
    hid_t part = float_type (size / 2, big);
    hid_t type = part < 0 ? -1 : H5Tcreate (H5T_COMPOUND, size);
    if (type >= 0 && (H5Tinsert (type, "r", 0, part) < 0 ||
                      H5Tinsert (type, "i", size / 2, part) < 0)) {
        H5Tclose (type);
        type = -1;
    }
    if (part >= 0)
        H5Tclose (part);
    return type;
}

static hid_t string_type (size_t size)
{
    hid_t type = H5Tcopy (H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size (type, size) < 0 || H5Tset_strpad (type, H5T_STR_NULLPAD) < 0 ||
         H5Tset_cset (type, H5T_CSET_UTF8) < 0)) {
        H5Tclose (type);
        return -1;
    }
    return type;
}

/* Times are opaque and carry NumPy's name for them, as h5py does it. */
static hid_t time_type (const sluice_dtype_t *dtype)
{
    char tag[64];
    snprintf (tag, sizeof tag, dtype->unit[0] ? "NUMPY:%c%c8[%s]" : "NUMPY:%c%c8%s",
              dtype->order, dtype->kind, dtype->unit);
    hid_t type = H5Tcreate (H5T_OPAQUE, 8);
    if (type >= 0 && H5Tset_tag (type, tag) < 0) {
        H5Tclose (type);
        return -1;
    }
    return type;
}

static hid_t record_type (const sluice_dtype_t *dtype, sluice_error_t *err)
{
    hid_t type = H5Tcreate (H5T_COMPOUND, dtype->itemsize);
    for (size_t i = 0; type >= 0 && i < dtype->nfields; i++) {
        const sluice_field_t *f = &dtype->fields[i];
        hid_t field = h5_type (f->type, err);
        if (field < 0 || H5Tinsert (type, f->name, f->offset, field) < 0) {
            if (field >= 0)
                h5_fail (err, SLUICE_EINPUT, "field %s", f->name);
            else
                sluice_fail_at (err, "field %s", f->name);
            H5Tclose (type);
            type = -1;
        }
        if (field >= 0)
            H5Tclose (field);
    }
    return type;
}

static hid_t element_type (const sluice_dtype_t *dtype, sluice_error_t *err)
{
    bool big = dtype->order == '>';
    hid_t type = -1;
    switch (dtype->kind) {
    case 'b':
        type = bool_type ();
        break;
    case 'i':
    case 'u':
        type = integer_type (dtype->kind == 'i', dtype->itemsize, big);
        break;
    case 'f':
        type = float_type (dtype->itemsize, big);
        break;
    case 'c':
        type = complex_type (dtype->itemsize, big);
        break;
    case 'S':
        type = string_type (dtype->itemsize);
        break;
    case 'M':
    case 'm':
        type = time_type (dtype);
        break;
    case 'V':
        return record_type (dtype, err);
    default:
        break;
    }
    if (type < 0)
        sluice_fail (err, SLUICE_EINPUT,
                     "dtype %c%c%zu has no HDF5 type of the same bytes%s", dtype->order,
                     dtype->kind, dtype->itemsize / (dtype->kind == 'U' ? 4 : 1),
                     dtype->kind == 'U' ? "; use S, holding UTF-8" : "");
    return type;
}

hid_t h5_type (const sluice_dtype_t *dtype, sluice_error_t *err)
{
    hid_t type = element_type (dtype, err);
    if (type < 0 || dtype->ndim == 0)
        return type;
    hsize_t dims[SLUICE_MAX_DIMS];
    for (unsigned i = 0; i < dtype->ndim; i++)
        dims[i] = dtype->dims[i];
    hid_t array = H5Tarray_create2 (type, dtype->ndim, dims);
    H5Tclose (type);
    if (array < 0)
        h5_fail (err, SLUICE_EINPUT, "a sub-array");
    return array;
}

/* ---- HDF5 to dtype: as text, which sluice_dtype_parse then reads ---------------- */

static bool describe (hid_t type, FILE *out);

static bool describe_record (hid_t type, FILE *out)
{
    int n = H5Tget_nmembers (type);
    fputc ('{', out);
    for (int i = 0; i < n; i++) {
        char *name = H5Tget_member_name (type, (unsigned) i);
        hid_t member = H5Tget_member_type (type, (unsigned) i);
        if (i)
            fputc (',', out);
        for (const char *p = name; p && *p; p++) {
            if (strchr (":,@{}#()\\", *p) || (p == name && *p == ' '))
                fputc ('\\', out);
            fputc (*p, out);
        }
        fputc (':', out);
        bool good = name && member >= 0 && describe (member, out);
        fprintf (out, "@%zu", H5Tget_member_offset (type, (unsigned) i));
        H5free_memory (name);
        if (member >= 0)
            H5Tclose (member);
        if (!good)
            return false;
    }
    fprintf (out, "}#%zu", H5Tget_size (type));
    return n > 0;
}

/* h5py's complex: exactly the floats r and i, behind each other. */
static bool is_complex (hid_t type)
{
    if (H5Tget_nmembers (type) != 2)
        return false;
    char *r = H5Tget_member_name (type, 0), *i = H5Tget_member_name (type, 1);
    bool good = r && i && !strcmp (r, "r") && !strcmp (i, "i") &&
                H5Tget_member_class (type, 0) == H5T_FLOAT &&
                H5Tget_member_class (type, 1) == H5T_FLOAT &&
                H5Tget_member_offset (type, 1) * 2 == H5Tget_size (type);
    H5free_memory (r);
    H5free_memory (i);
    return good;
}

static bool describe_array (hid_t type, FILE *out)
{
    hsize_t dims[H5S_MAX_RANK];
    int n = H5Tget_array_dims2 (type, dims);
    hid_t base = H5Tget_super (type);
    if (n < 1 || n > SLUICE_MAX_DIMS || base < 0)
        return false;
    for (int i = 0; i < n; i++)
        fprintf (out, "%c%llu", i ? ',' : '(', (unsigned long long) dims[i]);
    fputc (')', out);
    bool good = describe (base, out);
    H5Tclose (base);
    return good;
}

/* h5py's bool; any other enumeration is the integers that it names. */
static bool is_bool (hid_t type)
{
    int8_t value;
    hid_t base = H5Tget_super (type);
    bool good = H5Tget_size (type) == 1 && H5Tget_nmembers (type) == 2 &&
                H5Tequal (base, H5T_STD_I8LE) > 0;
    for (unsigned i = 0; good && i < 2; i++) {
        char *name = H5Tget_member_name (type, i);
        good = name && H5Tget_member_value (type, i, &value) >= 0 &&
               strcmp (name, value ? "TRUE" : "FALSE") == 0;
        H5free_memory (name);
    }
    if (base >= 0)
        H5Tclose (base);
    return good;
}

static bool describe_enum (hid_t type, FILE *out)
{
    if (is_bool (type)) {
        fputs ("|b1", out);
        return true;
    }
    hid_t base = H5Tget_super (type);
    bool good = base >= 0 && describe (base, out);
    if (base >= 0)
        H5Tclose (base);
    return good;
}

static bool describe_opaque (hid_t type, FILE *out)
{
    char *tag = H5Tget_tag (type);
    bool good = tag && strncmp (tag, "NUMPY:", 6) == 0;
    if (good)
        fputs (tag + 6, out);
    H5free_memory (tag);
    return good;
}

static bool describe (hid_t type, FILE *out)
{
    size_t size = H5Tget_size (type);
    char order = H5Tget_order (type) == H5T_ORDER_BE ? '>' : '<';
    switch (H5Tget_class (type)) {
    case H5T_INTEGER:
        fprintf (out, "%c%c%zu", size == 1 ? '|' : order,
                 H5Tget_sign (type) == H5T_SGN_NONE ? 'u' : 'i', size);
        return true;
    case H5T_FLOAT:
        fprintf (out, "%cf%zu", order, size);
        return true;
    case H5T_ENUM:
        return describe_enum (type, out);
    case H5T_STRING:
        fprintf (out, "|S%zu", size);
        return H5Tis_variable_str (type) == 0;
    case H5T_OPAQUE:
        return describe_opaque (type, out);
    case H5T_ARRAY:
        return describe_array (type, out);
    case H5T_COMPOUND:
        if (!is_complex (type))
            return describe_record (type, out);
        hid_t part = H5Tget_member_type (type, 0);
        fprintf (out, "%cc%zu", H5Tget_order (part) == H5T_ORDER_BE ? '>' : '<', size);
        H5Tclose (part);
        return true;
    default:
        return false;
    }
}

sluice_dtype_t *h5_dtype (hid_t type, sluice_error_t *err)
{
    char *text = NULL;
    size_t length = 0;
    sluice_dtype_t *dtype = NULL;
    FILE *out = open_memstream (&text, &length);
    bool good = out && describe (type, out);
    if (out)
        fclose (out);
    if (good)
        dtype = sluice_dtype_parse (text, length, err);
    else
        sluice_fail (err, SLUICE_EINPUT, "its HDF5 type is none that NumPy arrays have");
    free (text);
    return dtype;
}
