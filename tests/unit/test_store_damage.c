/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* What the object store says of files that somebody damaged. */

#include "store_place.h"

TestSuite (store_damage, .init = make_store, .fini = remove_store);

/* ---- damaged and wrong
 * ------------------------------------------------------------------------- */

/* Put a thing, do something to its group, and read it: this is said. */
typedef void (*harm_t) (hid_t group);

static void harmed (harm_t harm, const char *part)
{
    thing_t thing, back;
    thing_make (3, &thing);
    cr_assert_eq (sluice_store_put (store, "t", &thing_class, &thing, &err), 0, "%s",
                  err.text);
    sluice_object_clear (&thing_class, &thing);
    hid_t file = raw_open (), group = H5Gopen2 (file, "t", H5P_DEFAULT);
    harm (group);
    H5Gclose (group);
    raw_close (file);
    says (sluice_store_get (store, "t", &thing_class, &back, &err), part);
    cr_assert (is_zero (&back, sizeof back));
}

static void h_scalar_gone (hid_t g)
{
    H5Adelete (g, "i4");
}
static void h_text_gone (hid_t g)
{
    H5Adelete (g, "title");
}
static void h_array_gone (hid_t g)
{
    H5Ldelete (g, "any", H5P_DEFAULT);
}
static void h_part_gone (hid_t g)
{
    H5Ldelete (g, "part", H5P_DEFAULT);
}
static void h_offsets_gone (hid_t g)
{
    H5Ldelete (g, "rows/offsets", H5P_DEFAULT);
}
static void h_class_gone (hid_t g)
{
    H5Adelete (g, "sluice_class");
}
static void h_version_gone (hid_t g)
{
    H5Adelete (g, "sluice_version");
}
static void h_version_zero (hid_t g)
{
    h5_write_u64 (g, "sluice_version", 0, NULL);
}
static void h_class_other (hid_t g)
{
    h5_write_text (g, "sluice_class", "x", NULL);
}
static void h_class_number (hid_t g)
{
    h5_write_u64 (g, "sluice_class", 1, NULL);
}
static void h_too_large (hid_t g)
{
    h5_write_u64 (g, "i1", 128, NULL);
}
static void h_too_large_u (hid_t g)
{
    h5_write_u64 (g, "u4", 1ull << 32, NULL);
}
static void h_float_for_int (hid_t g)
{
    h5_write_f64 (g, "i8", 1, NULL);
}
static void h_int_for_bool (hid_t g)
{
    h5_write_u64 (g, "flag", 2, NULL);
}
static void h_text_for_int (hid_t g)
{
    h5_write_text (g, "u8", "1", NULL);
}
static void h_int_for_text (hid_t g)
{
    h5_write_u64 (g, "title", 1, NULL);
}
static void h_inexact (hid_t g)
{
    h5_write_u64 (g, "f8", UINT64_MAX, NULL);
}
static void h_too_far (hid_t g)
{
    h5_write_f64 (g, "f4", 1e300, NULL);
}
static void h_not_utf8 (hid_t g)
{
    h5_write_text (g, "title", "\xff", NULL);
}

static void set_array (hid_t g, const char *name, const char *dtype, unsigned ndim,
                       const uint64_t *shape, const void *data)
{
    sluice_array_t array;
    H5Ldelete (g, name, H5P_DEFAULT);
    cr_assert_eq (sluice_array_make (&array, dtype, ndim, shape, &err), 0);
    if (data)
        memcpy (array.data, data, sluice_array_bytes (&array, NULL));
    cr_assert_eq (h5_write_array (g, name, &array, &err), 0, "%s", err.text);
    sluice_array_clear (&array);
}

static void h_other_dtype (hid_t g)
{
    set_array (g, "typed", "{sid:<u4, v:(2)<f4}", 0, NULL, NULL);
}
static void h_other_vector (hid_t g)
{
    set_array (g, "lon", "<f4", 1, (uint64_t[]){2}, NULL);
}
static void h_flat_vector (hid_t g)
{
    set_array (g, "lon", "<f8", 2, (uint64_t[]){2, 2}, NULL);
}
static void h_other_length (hid_t g)
{
    set_array (g, "lat", "<f8", 1, (uint64_t[]){99}, NULL);
}
static void h_group_for_array (hid_t g)
{
    H5Ldelete (g, "any", H5P_DEFAULT);
    H5Gclose (H5Gcreate2 (g, "any", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void h_array_for_part (hid_t g)
{
    set_array (g, "part", "<f8", 0, NULL, NULL);
}
static void h_array_for_ragged (hid_t g)
{
    set_array (g, "rows", "<f8", 0, NULL, NULL);
}
static void h_array_for_scalar (hid_t g)
{
    H5Adelete (g, "f8");
    set_array (g, "f8", "<f8", 0, NULL, NULL);
}
static void h_scalar_for_array (hid_t g)
{
    H5Ldelete (g, "any", H5P_DEFAULT);
    h5_write_f64 (g, "any", 1, NULL);
}
static void h_decreasing (hid_t g)
{
    set_array (g, "rows/data", "<f4", 1, (uint64_t[]){3}, NULL);
    set_array (g, "rows/offsets", "<u8", 1, (uint64_t[]){4}, (uint64_t[]){0, 3, 2, 3});
}
static void h_too_short (hid_t g)
{
    set_array (g, "rows/data", "<f4", 1, (uint64_t[]){3}, NULL);
    set_array (g, "rows/offsets", "<u8", 1, (uint64_t[]){2}, (uint64_t[]){0, 2});
}
static void h_beyond (hid_t g)
{
    set_array (g, "rows/data", "<f4", 1, (uint64_t[]){3}, NULL);
    set_array (g, "rows/offsets", "<u8", 1, (uint64_t[]){3}, (uint64_t[]){0, 1000, 3});
}
static void h_no_offsets (hid_t g)
{
    set_array (g, "rows/offsets", "<u8", 1, (uint64_t[]){0}, NULL);
}
static void h_scalar_data (hid_t g)
{
    set_array (g, "rows/data", "<f4", 0, NULL, NULL);
}
static void h_long_list (hid_t g)
{
    hid_t list = H5Gopen2 (g, "parts", H5P_DEFAULT);
    h5_write_u64 (list, "length", 1ull << 60, NULL);
    H5Gclose (list);
}
static void h_list_gap (hid_t g)
{
    H5Ldelete (g, "parts/1", H5P_DEFAULT);
    hid_t list = H5Gopen2 (g, "parts", H5P_DEFAULT);
    h5_write_u64 (list, "length", 2, NULL);
    H5Gclose (list);
}
static void h_deep (hid_t g)
{
    hid_t leaf = H5Gopen2 (g, "part/leaf", H5P_DEFAULT);
    H5Adelete (leaf, "value");
    H5Gclose (leaf);
}
static void h_soft (hid_t g)
{
    H5Ldelete (g, "part", H5P_DEFAULT);
    H5Lcreate_soft ("/t/box", g, "part", H5P_DEFAULT, H5P_DEFAULT);
}

Test (store_damage, says_what_is_wrong)
{
    static const struct {
        harm_t harm;
        const char *said;
    } cases[] = {
        {h_scalar_gone, "t: i4 is missing"},
        {h_text_gone, "t: title is missing"},
        {h_array_gone, "t: any is missing"},
        {h_part_gone, "t: part is missing"},
        {h_offsets_gone, "t: rows: offsets is missing"},
        {h_class_gone, "is not an object"},
        {h_version_gone, "sluice_version is missing"},
        {h_version_zero, "sluice_version is 0"},
        {h_class_other, "of class 'x', not 'thing'"},
        {h_class_number, "sluice_class is not a text"},
        {h_too_large, "i1 is not a whole number of 1 bytes"},
        {h_too_large_u, "u4 is not a whole number, not negative, of 4 bytes"},
        {h_float_for_int, "i8 is not a whole number"},
        {h_int_for_bool, "flag is not a truth value"},
        {h_text_for_int, "u8 is not a single number"},
        {h_int_for_text, "title is not a text"},
        {h_inexact, "f8 is not a floating-point number"},
        {h_too_far, "f4 is not a floating-point number of 4 bytes"},
        {h_not_utf8, "title is not UTF-8"},
        {h_other_dtype, "typed has the dtype {sid:<u4, v:(2)<f4}, not " THING_DTYPE},
        {h_other_vector, "lon has the dtype <f4, not <f8"},
        {h_flat_vector, "lon has 2 dimensions, not one"},
        {h_other_length, "lat has 99 elements, lon "},
        {h_group_for_array, "any is not a dataset"},
        {h_array_for_part, "part is not a group"},
        {h_array_for_ragged, "rows is not a group"},
        {h_array_for_scalar, "f8 is a dataset or group, not an attribute"},
        {h_scalar_for_array, "any is an attribute, not a dataset or group"},
        {h_decreasing, "rows: its offsets"},
        {h_too_short, "rows: its offsets"},
        {h_beyond, "rows: its offsets"},
        {h_no_offsets, "rows: its offsets"},
        {h_scalar_data, "rows: its offsets"},
        {h_long_list, "parts: its length is 1152921504606846976"},
        {h_list_gap, "parts: 1 is missing"},
        {h_deep, "t: part: leaf: value is missing"},
        {h_soft, "part is a soft or external link"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        harmed (cases[i].harm, cases[i].said);
        sluice_store_delete (store, "t", NULL);
        if (sluice_store_has (store, "t") || cases[i].harm == h_class_gone) {
            hid_t file = raw_open ();
            H5Ldelete (file, "t", H5P_DEFAULT);
            raw_close (file);
        }
    }
}
