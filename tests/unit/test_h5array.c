/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/h5array.h"

static char dir[] = "/tmp/sluice-test-h5array-XXXXXX";
static char path[100];
static hid_t file = -1;

static void make_file (void)
{
    cr_assert_not_null (mkdtemp (dir));
    snprintf (path, sizeof path, "%s/a.h5", dir);
    h5_quiet ();
    file = H5Fcreate (path, H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert_geq (file, 0);
}

static void remove_file (void)
{
    if (file >= 0)
        H5Fclose (file);
    unlink (path);
    rmdir (dir);
}

/* Run a Python script on the file, which is closed for it and opened again. */
static void python (const char *script)
{
    const char *interpreter = getenv ("PYTHON");
    if (!interpreter || !*interpreter)
        interpreter = "/usr/bin/python3";
    char script_path[110], command[600];
    snprintf (script_path, sizeof script_path, "%s/s.py", dir);
    FILE *out = fopen (script_path, "w");
    fprintf (out, "import h5py, numpy as np\nf = h5py.File ('%s', 'r+')\n%s", path,
             script);
    fclose (out);
    H5Fclose (file);
    snprintf (command, sizeof command, "'%s' '%s'", interpreter, script_path);
    cr_assert_eq (system (command), 0);
    unlink (script_path);
    file = H5Fopen (path, H5F_ACC_RDWR, H5P_DEFAULT);
    cr_assert_geq (file, 0);
}

TestSuite (h5array, .init = make_file, .fini = remove_file);

/* What NumPy calls each of them. */
static const struct {
    const char *dtype, *numpy;
} types[] = {
    {"|b1", "'?'"},
    {"|i1", "'i1'"},
    {"|u1", "'u1'"},
    {"<i2", "'<i2'"},
    {">i2", "'>i2'"},
    {"<u2", "'<u2'"},
    {"<i4", "'<i4'"},
    {">u4", "'>u4'"},
    {"<i8", "'<i8'"},
    {">i8", "'>i8'"},
    {"<u8", "'<u8'"},
    {"<f2", "'<f2'"},
    {">f2", "'>f2'"},
    {"<f4", "'<f4'"},
    {">f4", "'>f4'"},
    {"<f8", "'<f8'"},
    {">f8", "'>f8'"},
    {"<c8", "'<c8'"},
    {"<c16", "'<c16'"},
    {">c16", "'>c16'"},
    {"|S1", "'S1'"},
    {"|S10", "'S10'"},
    {"<M8[us]", "'<M8[us]'"},
    {"<m8[D]", "'<m8[D]'"},
    {"<M8[25s]", "'<M8[25s]'"},
    {"{sid:<u4, eid:<u4, gmv_PGA:<f4}",
     "[('sid', '<u4'), ('eid', '<u4'), ('gmv_PGA', '<f4')]"},
    {"{a:|u1@0, b:<f8@8}#16", "{'names': ['a', 'b'], 'formats': ['u1', '<f8'], "
                              "'offsets': [0, 8], 'itemsize': 16}"},
    {"{p:{x:<f8, y:|b1}, q:(2,3){z:>i2, s:|S3}, r:(4)|b1, c:<c8}",
     "[('p', [('x', '<f8'), ('y', '?')]), ('q', [('z', '>i2'), ('s', 'S3')], (2, 3)), "
     "('r', '?', (4,)), ('c', '<c8')]"},
    {"{SA(1.0):<f4, a b:<f4, ü\\:\\\\:|u1}",
     "[('SA(1.0)', '<f4'), ('a b', '<f4'), ('ü:\\\\', 'u1')]"},
    {"{r:<f8, j:<f8}", "[('r', '<f8'), ('j', '<f8')]"},
    {"{t:<M8[ms], b:|b1}", "[('t', '<M8[ms]'), ('b', '?')]"},
};
enum { TYPES = sizeof types / sizeof *types };

/* Parentheses need no '\' where SA(1.0) is written by hand for NumPy. */
static const char *sluice_text (size_t i)
{
    return strncmp (types[i].dtype, "{SA(", 4) == 0
               ? "{SA\\(1.0\\):<f4, a b:<f4, ü\\:\\\\:|u1}"
               : types[i].dtype;
}

static bool has_bool (const sluice_dtype_t *dtype)
{
    bool has = dtype->kind == 'b';
    for (size_t i = 0; i < dtype->nfields; i++)
        has |= has_bool (dtype->fields[i].type);
    return has;
}

static sluice_array_t example (const char *dtype)
{
    sluice_array_t array;
    sluice_error_t err;
    uint64_t shape[] = {3, 2};
    cr_assert_eq (sluice_array_make (&array, dtype, 2, shape, &err), 0, "%s", err.text);
    bool overflow;
    size_t n = sluice_array_bytes (&array, &overflow);
    /* Any bytes are numbers, but of bool only 0 and 1. Below 0x7b no float is a
     * NaN, whose bits need not stay. */
    for (size_t i = 0; i < n; i++)
        ((uint8_t *) array.data)[i] =
            (uint8_t) (has_bool (array.dtype) ? i % 3 == 1 : 1 + i * 7 % 113);
    return array;
}

Test (h5array, h5py_reads_what_numpy_has)
{
    static char script[40000];
    size_t n = 0;
    sluice_error_t err;
    for (size_t i = 0; i < TYPES; i++) {
        char name[20], raw[20];
        sluice_array_t array = example (sluice_text (i)), bytes = array;
        snprintf (name, sizeof name, "g/a%zu", i);
        snprintf (raw, sizeof raw, "raw/a%zu", i);
        cr_assert_eq (h5_write_array (file, name, &array, &err), 0, "%s: %s",
                      types[i].dtype, err.text);
        bool overflow;
        uint64_t size = sluice_array_bytes (&array, &overflow);
        bytes.dtype = sluice_dtype_parse ("|u1", 3, &err);
        bytes.ndim = 1;
        bytes.shape[0] = size;
        cr_assert_eq (h5_write_array (file, raw, &bytes, &err), 0, "%s", err.text);
        sluice_dtype_destroy (&bytes.dtype);
        sluice_array_clear (&array);
        n += (size_t) snprintf (script + n, sizeof script - n,
                                "d = np.dtype (%s)\n"
                                "a = f['%s'][...]\n"
                                "assert a.dtype == d, (a.dtype, d)\n"
                                "assert a.shape == (3, 2), a.shape\n"
                                "assert f['%s'].dtype.itemsize == d.itemsize\n"
                                "b = f['%s'][...].view (d).reshape (3, 2)\n"
                                "assert (a == b).all (), (a, b)\n"
                                "if not d.hasobject and d.names is None:\n"
                                "    assert a.tobytes () == b.tobytes ()\n",
                                types[i].numpy, name, name, raw);
    }
    python (script);
}

Test (h5array, reads_back_what_it_wrote)
{
    sluice_error_t err;
    for (size_t i = 0; i < TYPES; i++) {
        char name[20];
        sluice_array_t array = example (sluice_text (i)), back;
        snprintf (name, sizeof name, "a%zu", i);
        cr_assert_eq (h5_write_array (file, name, &array, &err), 0, "%s", err.text);
        cr_assert_eq (h5_read_array (file, name, &back, &err), 0, "%s: %s",
                      types[i].dtype, err.text);
        char *text = sluice_dtype_text (back.dtype);
        cr_assert (sluice_dtype_equal (array.dtype, back.dtype), "%s came back as %s",
                   types[i].dtype, text);
        free (text);
        cr_assert_eq (back.ndim, 2);
        cr_assert (back.shape[0] == 3 && back.shape[1] == 2);
        bool overflow;
        if (array.dtype->packed || array.dtype->kind != 'V')
            cr_assert_arr_eq (array.data, back.data,
                              sluice_array_bytes (&array, &overflow));
        sluice_array_clear (&array);
        sluice_array_clear (&back);
    }
}

Test (h5array, reads_what_h5py_wrote)
{
    python (
        "f['bool'] = np.array ([True, False, True])\n"
        "f['half'] = np.array ([1.5, -2], '<f2')\n"
        "f['complex'] = np.array ([1 + 2j])\n"
        "f['text'] = np.array ([b'abc', b'd'])\n"
        "f['utf8'] = np.array (['ü'.encode ()], h5py.string_dtype ('utf-8', 4))\n"
        "f['scalar'] = 7.0\n"
        "f['empty'] = np.zeros ((0, 3), '<i4')\n"
        "f.create_dataset ('chunks', data = np.arange (10000, dtype = '<u4'), chunks = "
        "(100,), compression = 'gzip', shuffle = True)\n"
        "f['times'] = np.array (['2020-01-01'], 'M8[s]').astype "
        "(h5py.opaque_dtype (np.dtype ('M8[s]')))\n"
        "f['enum'] = np.array ([1, 5], h5py.enum_dtype ({'A': 1, 'B': 5}, 'i2'))\n"
        "f['two'] = np.array ([3, 4], h5py.enum_dtype ({'C': 3, 'D': 4}, 'i1'))\n"
        "f['vlen'] = ['a', 'bb']\n"
        "f['null'] = h5py.Empty ('f4')\n"
        "f.close ()\n");
    static const struct {
        const char *name, *dtype;
        uint64_t items;
    } sets[] = {{"bool", "|b1", 3},     {"half", "<f2", 2},      {"complex", "<c16", 1},
                {"text", "|S3", 2},     {"utf8", "|S4", 1},      {"scalar", "<f8", 1},
                {"empty", "<i4", 0},    {"enum", "<i2", 2},      {"two", "|i1", 2},
                {"times", "<M8[s]", 1}, {"chunks", "<u4", 10000}};
    sluice_error_t err;
    sluice_array_t array;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        cr_assert_eq (h5_read_array (file, sets[i].name, &array, &err), 0, "%s",
                      err.text);
        char *text = sluice_dtype_text (array.dtype);
        cr_assert_str_eq (text, sets[i].dtype);
        free (text);
        bool overflow;
        cr_assert_eq (sluice_array_bytes (&array, &overflow),
                      sets[i].items * sluice_dtype_size (array.dtype));
        if (i == 0)
            cr_assert_arr_eq (array.data, "\1\0\1", 3);
        if (strcmp (sets[i].name, "text") == 0)
            cr_assert_arr_eq (array.data, "abcd\0", 6);
        if (strcmp (sets[i].name, "chunks") == 0)
            cr_assert_eq (((uint32_t *) array.data)[9999], 9999);
        if (strcmp (sets[i].name, "scalar") == 0)
            cr_assert (array.ndim == 0 && *(double *) array.data == 7.0);
        sluice_array_clear (&array);
    }
    cr_assert_eq (h5_read_array (file, "vlen", &array, &err), -1);
    cr_assert_eq (strncmp (err.text, "vlen: ", 6), 0, "%s", err.text);
    cr_assert_eq (h5_read_array (file, "null", &array, &err), -1);
    cr_assert_eq (h5_read_array (file, "not there", &array, &err), -1);
    cr_assert_not_null (strstr (err.text, "not there"));
    cr_assert_null (array.data);
}

Test (h5array, arrays_may_be_scalar_or_empty)
{
    sluice_error_t err;
    sluice_array_t array, back;
    cr_assert_eq (sluice_array_make (&array, "{a:<u4, s:(3)<f8}", 0, NULL, &err), 0);
    ((uint8_t *) array.data)[0] = 9;
    cr_assert_eq (h5_write_array (file, "group/sub/scalar", &array, &err), 0);
    cr_assert_eq (h5_read_array (file, "group/sub/scalar", &back, &err), 0);
    cr_assert (back.ndim == 0 && ((uint8_t *) back.data)[0] == 9);
    sluice_array_clear (&array);
    sluice_array_clear (&back);

    cr_assert_eq (sluice_array_make (&array, "<f8", 2, (uint64_t[]){0, 5}, &err), 0);
    cr_assert_eq (h5_write_array (file, "group/empty", &array, &err), 0, "%s", err.text);
    cr_assert_eq (h5_read_array (file, "group/empty", &back, &err), 0);
    cr_assert (back.ndim == 2 && back.shape[0] == 0 && back.shape[1] == 5);
    sluice_array_clear (&array);
    sluice_array_clear (&back);
    python ("assert f['group/empty'].shape == (0, 5)\n"
            "assert f['group/sub/scalar'][()]['a'] == 9\n");
}

Test (h5array, f16_is_long_double)
{
    sluice_error_t err;
    sluice_array_t array, back;
    cr_assert_eq (sluice_array_make (&array, "<f16", 0, NULL, &err), 0);
    if (sizeof (long double) != 16) {
        cr_assert_eq (h5_write_array (file, "x", &array, &err), -1);
        return;
    }
    *(long double *) array.data = 1.5L;
    cr_assert_eq (h5_write_array (file, "x", &array, &err), 0, "%s", err.text);
    cr_assert_eq (h5_read_array (file, "x", &back, &err), 0, "%s", err.text);
    cr_assert (sluice_dtype_equal (array.dtype, back.dtype));
    cr_assert (*(long double *) back.data == 1.5L);
    sluice_array_clear (&array);
    sluice_array_clear (&back);
    python ("assert f['x'].dtype == np.longdouble and f['x'][()] == 1.5\n");
}

Test (h5array, names_are_utf8)
{
    sluice_error_t err;
    sluice_array_t array;
    cr_assert_eq (sluice_array_make (&array, "<f8", 0, NULL, &err), 0);
    cr_assert_eq (h5_write_array (file, "größe/漢", &array, &err), 0);
    sluice_array_clear (&array);
    python ("assert f['größe/漢'][()] == 0\nassert list (f) == ['größe']\n");
}

Test (h5array, refuses_what_hdf5_cannot_hold)
{
    sluice_error_t err;
    sluice_array_t array;
    static const char *const bad[] = {"<U5", "{a:<u4, s:<U5}", "(2){a:<U1}"};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq (sluice_array_make (&array, bad[i], 1, (uint64_t[]){2}, &err), 0);
        err.text[0] = 0;
        cr_assert_eq (h5_write_array (file, "u", &array, &err), -1);
        cr_assert_not_null (strstr (err.text, "use S"), "%s", err.text);
        cr_assert_lt (h5_type (array.dtype, &err), 0);
        sluice_array_clear (&array);
    }
    cr_assert_eq (
        sluice_array_make (&array, "{a:<u4, b:{fine:<u4, worse:>U5}}", 0, NULL, &err), 0);
    cr_assert_lt (h5_type (array.dtype, &err), 0);
    cr_assert_not_null (strstr (err.text, "field b: field worse: dtype >U5 has"), "%s",
                        err.text);
    sluice_array_clear (&array);
    cr_assert_eq (sluice_array_make (&array, "<f8", 0, NULL, &err), 0);
    cr_assert_eq (h5_write_array (file, "x", &array, &err), 0);
    cr_assert_eq (h5_write_array (file, "x", &array, &err), -1, "it is there already");
    cr_assert_eq (h5_write_array (file, "x/y", &array, &err), -1, "x is no group");
    cr_assert_not_null (strstr (err.text, "HDF5: "), "%s", err.text);
    sluice_array_clear (&array);
}

Test (h5array, leaves_nothing_open)
{
    sluice_error_t err;
    for (size_t i = 0; i < TYPES; i++) {
        char name[20];
        sluice_array_t array = example (sluice_text (i)), back;
        snprintf (name, sizeof name, "a%zu", i);
        h5_write_array (file, name, &array, &err);
        h5_write_array (file, name, &array, &err);
        if (h5_read_array (file, name, &back, &err) == 0)
            sluice_array_clear (&back);
        sluice_array_clear (&array);
    }
    h5_write_u64 (file, "n", 1, &err);
    uint64_t value;
    h5_read_u64 (file, "n", &value, &err);
    free (h5_read_text (file, "n", &err));
    cr_assert_eq (H5Fget_obj_count (file, H5F_OBJ_ALL), 1, "the file itself");
}

Test (h5array, attributes)
{
    sluice_error_t err;
    uint64_t number = 0;
    double real = 0;
    cr_assert_eq (h5_write_text (file, "text", "Größe 漢", &err), 0);
    cr_assert_eq (h5_write_text (file, "empty", "", &err), 0);
    cr_assert_eq (h5_write_u64 (file, "number", UINT64_MAX, &err), 0);
    cr_assert_eq (h5_write_f64 (file, "real", 0.1, &err), 0);
    cr_assert_eq (h5_write_f64 (file, "real", 0.25, &err), 0, "written anew");
    char *text = h5_read_text (file, "text", &err);
    cr_assert_str_eq (text, "Größe 漢");
    free (text);
    text = h5_read_text (file, "empty", &err);
    cr_assert_str_eq (text, "");
    free (text);
    cr_assert_eq (h5_read_u64 (file, "number", &number, &err), 0);
    cr_assert_eq (number, UINT64_MAX);
    cr_assert_eq (h5_read_f64 (file, "real", &real, &err), 0);
    cr_assert_eq (real, 0.25);

    cr_assert_null (h5_read_text (file, "number", &err));
    cr_assert_not_null (strstr (err.text, "number"));
    cr_assert_null (h5_read_text (file, "none", &err));
    cr_assert_eq (h5_read_u64 (file, "text", &number, &err), -1);
    cr_assert_eq (h5_read_f64 (file, "none", &real, &err), -1);

    python ("a = f.attrs\n"
            "assert a['text'] == 'Größe 漢' and a['empty'] == ''\n"
            "assert a['number'] == 2**64 - 1 and a['real'] == 0.25\n"
            "a['fixed'] = np.bytes_ (b'abc')\n"
            "a['below'] = -1\n"
            "a['int'] = np.int16 (12)\n"
            "a['list'] = [1, 2]\n"
            "f.close ()\n");
    text = h5_read_text (file, "fixed", &err);
    cr_assert_str_eq (text, "abc");
    free (text);
    cr_assert_eq (h5_read_u64 (file, "below", &number, &err), -1);
    cr_assert_eq (h5_read_u64 (file, "list", &number, &err), -1);
    cr_assert_eq (h5_read_u64 (file, "int", &number, &err), 0);
    cr_assert_eq (number, 12);
    cr_assert_eq (h5_read_f64 (file, "int", &real, &err), 0);
    cr_assert_eq (real, 12);
}
