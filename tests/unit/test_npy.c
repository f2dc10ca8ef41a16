/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* What NumPy writes is compared bit by bit in tests/flow/npy_property.py; here is what it
 * does not write. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calc/npy.h"

/* A file of this dictionary and `bytes` bytes 0, 1, 2, ... behind it. */
static size_t make (char *out, int version, const char *dict, size_t bytes)
{
    size_t n = strlen (dict), before = version == 1 ? 10 : 12;
    memcpy (out, "\x93NUMPY", 6);
    out[6] = (char) version;
    out[7] = 0;
    for (size_t i = 8; i < before; i++)
        out[i] = (char) (n >> 8 * (i - 8));
    memcpy (out + before, dict, n);
    for (size_t i = 0; i < bytes; i++)
        out[before + n + i] = (char) i;
    return before + n + bytes;
}

static npy_t *open_text (int version, const char *dict, size_t bytes, sluice_error_t *err)
{
    static char file[1 << 16];
    size_t n = make (file, version, dict, bytes);
    int fd = memfd_create ("npy", MFD_CLOEXEC);
    cr_assert_eq (write (fd, file, n), (ssize_t) n);
    npy_t *npy = npy_open (fd, err);
    close (fd);
    return npy;
}

static void refused (const char *dict, const char *why)
{
    sluice_error_t err = {0};
    npy_t *npy = open_text (1, dict, 100, &err);
    cr_expect_null (npy, "%s", dict);
    cr_expect (strstr (err.text, why), "%s: %s", dict, err.text);
    npy_destroy (&npy);
}

static void dtype (int version, const char *descr, const char *want)
{
    char dict[1000];
    sluice_error_t err = {0};
    snprintf (dict, sizeof dict,
              "{'descr': %s, 'fortran_order': False, 'shape': (1,), }  \n", descr);
    npy_t *npy = open_text (version, dict, 4000, &err);
    cr_assert (npy, "%s: %s", descr, err.text);
    cr_expect_str_eq (npy_dtype (npy), want, "%s: %s", descr, npy_dtype (npy));
    npy_destroy (&npy);
}

Test (npy, dtypes)
{
    dtype (1, "'<f8'", "<f8");
    dtype (1, "'>U3'", "|S12");
    dtype (1, "'|V5'", "(5)|u1");
    dtype (1, "[('a', '<i4'), ('', '|V4'), (\"b\", '>f8', (2, 3))]",
           "{a:<i4, b:(2,3)>f8}");
    dtype (1, "[(('title', 'a'), '|b1'), ('n', [('x', '<U1', 2)], (3,))]",
           "{a:|b1, n:(3){x:(2)|S4}}");
    dtype (1, "[(u'a', '<M8[us]')]", "{a:<M8[us]}");
    dtype (1, "[('K\xf6ln', '<i2')]", "{Köln:<i2}");
    dtype (3, "[('Köln\\'s', '<i2'), ('\\x41\\u20ac', '<i2')]", "{Köln's:<i2, A€:<i2}");
    dtype (2, "[('a:b', '<i2')]", "{a\\:b:<i2}");
}

Test (npy, refusals_name_what_they_refuse)
{
    refused ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
             "Python objects");
    refused (
        "{'descr': [('a', '<i4'), ('bad', '|O')], 'fortran_order': False, 'shape': (1,)}",
        "field bad");
    refused ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000,), }", "cut short");
    refused (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
        "1 GiB");
    refused (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 2), }",
        "cut short");
    refused (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "too large");
    refused ("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 0), }",
             "dimension of 0");
    refused ("{'descr': '<f8', 'fortran_order': False}", "missing");
    refused ("{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': ()}",
             "twice");
    refused ("{'descr': '{a:<f8}', 'fortran_order': False, 'shape': ()}", "none");
    refused ("{'descr': [], 'fortran_order': False, 'shape': ()}", "without fields");
    refused (
        "{'descr': [('a', '<i4'), ('a', '<i4')], 'fortran_order': False, 'shape': ()}",
        "two fields");
    refused ("{'descr': [('a\\x00b', '<i4')], 'fortran_order': False, 'shape': ()}",
             "no character");
    refused ("{'descr': '<f8', 'fortran_order': 0, 'shape': ()}", "True nor False");
    refused ("{'descr': '<f8', 'fortran_order': False, 'shape': ()} x", "behind");
    refused ("__import__('os')", "no dictionary");
    char deep[500] = "{'descr': ";
    for (int i = 0; i < 60; i++)
        strcat (deep, "[('a',");
    refused (deep, "too deep");
}

Test (npy, fortran_order_is_turned)
{
    sluice_error_t err = {0};
    uint8_t out[6];
    npy_t *npy = open_text (1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}",
                            6, &err);
    cr_assert (npy, "%s", err.text);
    cr_expect_eq (npy_rows (npy), 2);
    cr_expect_eq (npy_row_bytes (npy), 3);
    cr_assert_eq (npy_read (npy, 0, 2, out, &err), 0);
    cr_expect_arr_eq (out, ((uint8_t[]){0, 2, 4, 1, 3, 5}), 6);
    cr_assert_eq (npy_read (npy, 1, 1, out, &err), 0);
    cr_expect_eq (out[0], 1);
    npy_destroy (&npy);
}

Test (npy, a_scalar_is_a_row_and_nothing_is_none)
{
    sluice_error_t err = {0};
    npy_t *npy =
        open_text (1, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", 8, &err);
    cr_assert (npy, "%s", err.text);
    cr_expect_eq (npy_rows (npy), 1);
    npy_destroy (&npy);
    npy = open_text (1, "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 3)}", 0,
                     &err);
    cr_assert (npy, "%s", err.text);
    cr_expect_eq (npy_rows (npy), 0);
    cr_expect_str_eq (npy_dtype (npy), "(3)<f8");
    npy_destroy (&npy);
}
