/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/dtype.h"
#include "tests/unit/random_msg.h"

static sluice_error_t err;

static sluice_dtype_t *parse (const char *text)
{
    return sluice_dtype_parse (text, strlen (text), &err);
}

static void expect_text (const char *text, const char *wanted, size_t size)
{
    sluice_dtype_t *dtype = parse (text);
    cr_assert (dtype, "%s", err.text);
    char *got = sluice_dtype_text (dtype);
    cr_expect_str_eq (got, wanted);
    cr_expect_eq (sluice_dtype_size (dtype), size, "%s: %zu", text,
                  sluice_dtype_size (dtype));
    sluice_dtype_t *again = parse (got);
    cr_assert (again, "%s", err.text);
    cr_expect (sluice_dtype_equal (dtype, again));
    free (got);
    sluice_dtype_destroy (&dtype);
    sluice_dtype_destroy (&again);
    cr_expect_null (dtype);
}

Test (dtype, plain_types_and_their_canonical_text)
{
    expect_text ("<f4", "<f4", 4);
    expect_text ("f8", "<f8", 8);
    expect_text (">i2", ">i2", 2);
    expect_text ("<u1", "|u1", 1);
    expect_text ("|b1", "|b1", 1);
    expect_text ("S10", "|S10", 10);
    expect_text ("<U5", "<U5", 20);
    expect_text ("c16", "<c16", 16);
    expect_text ("<M8[us]", "<M8[us]", 8);
    expect_text ("<M8[1us]", "<M8[us]", 8);
    expect_text ("<m8[25ns]", "<m8[25ns]", 8);
    expect_text (">M8", ">M8", 8);
}

Test (dtype, sub_arrays)
{
    expect_text ("(3,2)<f8", "(3,2)<f8", 48);
    expect_text ("( 3 , 2 )f8", "(3,2)<f8", 48);
    expect_text ("(3,)f8", "(3)<f8", 24);
    expect_text ("(2){a:u1, b:(4)u2}", "(2){a:|u1, b:(4)<u2}", 18);
}

Test (dtype, records)
{
    expect_text ("{sid:<u4,eid:u4,gmv_PGA:<f4}", "{sid:<u4, eid:<u4, gmv_PGA:<f4}", 12);
    expect_text ("{a:|u1@0, b:<f8@8}#16", "{a:|u1@0, b:<f8@8}#16", 16);
    expect_text ("{a:u1, b:f8@8}", "{a:|u1@0, b:<f8@8}#16", 16);
    expect_text ("{b:f8@8, a:u1@0}", "{b:<f8@8, a:|u1@0}#16", 16);
    expect_text ("{a:u1@0, b:f8@1}#9", "{a:|u1, b:<f8}", 9);
    expect_text ("{a:{b:{c:u2}}, d:S3}", "{a:{b:{c:<u2}}, d:|S3}", 5);
    expect_text ("{a:u1}#4", "{a:|u1@0}#4", 4);
}

Test (dtype, names_with_escapes)
{
    expect_text ("{SA\\(0.1\\):f4, a\\:b\\,c\\@d\\{e\\}f\\#g\\\\h:u1}",
                 "{SA\\(0.1\\):<f4, a\\:b\\,c\\@d\\{e\\}f\\#g\\\\h:|u1}", 5);
    expect_text ("{\\ x:u1, température:f4}", "{\\ x:|u1, température:<f4}", 5);
    sluice_dtype_t *dtype = parse ("{SA\\(0.1\\):f4}");
    cr_assert (dtype);
    cr_expect_str_eq (dtype->fields[0].name, "SA(0.1)");
    sluice_dtype_destroy (&dtype);
}

Test (dtype, fields_are_described)
{
    sluice_dtype_t *dtype = parse ("{a:>u2, b:(3)<M8[D]@4}#32");
    cr_assert (dtype, "%s", err.text);
    cr_expect_eq (dtype->kind, 'V');
    cr_expect_eq (dtype->nfields, 2);
    cr_expect_not (dtype->packed);
    cr_expect_eq (dtype->itemsize, 32);
    const sluice_dtype_t *b = dtype->fields[1].type;
    cr_expect_eq (dtype->fields[1].offset, 4);
    cr_expect_eq (b->kind, 'M');
    cr_expect_eq (b->itemsize, 8);
    cr_expect_eq (b->ndim, 1);
    cr_expect_eq (b->dims[0], 3);
    cr_expect_str_eq (b->unit, "D");
    sluice_dtype_destroy (&dtype);
}

Test (dtype, equality_looks_at_everything)
{
    static const char *const types[] = {
        "<f4",      ">f4",     "<f8",          "<i4",         "(2)<f4",    "(3)<f4",
        "(2,2)<f4", "{a:<f4}", "{b:<f4}",      "{a:>f4}",     "{a:<f4}#8", "<M8[us]",
        "<M8[ms]",  "<m8[us]", "{a:f4, b:f4}", "{b:f4, a:f4}"};
    size_t n = sizeof types / sizeof *types;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            sluice_dtype_t *a = parse (types[i]), *b = parse (types[j]);
            cr_assert (a && b);
            cr_expect_eq (sluice_dtype_equal (a, b), i == j, "%s %s", types[i], types[j]);
            sluice_dtype_destroy (&a);
            sluice_dtype_destroy (&b);
        }
}

Test (dtype, nonsense_is_refused)
{
    static const char *const bad[] = {"",
                                      "f",
                                      "f3",
                                      "x4",
                                      "<",
                                      "|u4",
                                      "f8 ",
                                      " f8",
                                      "{",
                                      "{}",
                                      "{a}",
                                      "{a:}",
                                      "{a:f8",
                                      "{a:f8,}",
                                      "{a:f8,b:}",
                                      "{:f8}",
                                      "{a:f8,a:f8}",
                                      "{a:f8@0,b:f8@4}",
                                      "{a:f8}#4",
                                      "{a:f8}#",
                                      "{a:f8@}",
                                      "{a:f8}}",
                                      "(",
                                      "()f8",
                                      "(0)f8",
                                      "(2",
                                      "(2)",
                                      "(-1)f8",
                                      "(2)(2)f8",
                                      "S0",
                                      "U0",
                                      "i3",
                                      "b2",
                                      "M4[us]",
                                      "M8[",
                                      "M8[us",
                                      "M8[x]",
                                      "M8[0us]",
                                      "M8[]",
                                      "O8",
                                      "V8",
                                      "{\xff:f8}",
                                      "{a\\:f8}",
                                      "=f8",
                                      "S1073741825",
                                      "(1073741824,2)u1",
                                      "(1,1,1,1,1,1,1,1,1)u1",
                                      "S99999999999999999999",
                                      "{a:u1@1073741824}",
                                      "{a\\"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = 0;
        cr_expect_null (parse (bad[i]), "'%s' was taken", bad[i]);
        cr_expect (err.text[0] && err.code == SLUICE_EINPUT, "'%s'", bad[i]);
    }
    cr_expect_null (sluice_dtype_parse ("f8\0", 3, &err), "a NUL in it");
    cr_expect_null (sluice_dtype_parse ("{a\0b:f8}", 8, &err), "a NUL in a name");
    cr_expect_null (sluice_dtype_parse ("f8", 1, NULL), "not read past its length");
}

/* "{x:{x:...u1}}" of so many levels. */
static sluice_dtype_t *nested (unsigned levels)
{
    char text[100] = "";
    for (unsigned i = 0; i < levels; i++)
        strcat (text, "{x:");
    strcat (text, "u1");
    for (unsigned i = 0; i < levels; i++)
        strcat (text, "}");
    return parse (text);
}

Test (dtype, limits)
{
    sluice_dtype_t *dtype = nested (8);
    cr_expect (dtype);
    sluice_dtype_destroy (&dtype);
    cr_expect_null (nested (9));

    char *text = malloc (70000);
    for (unsigned fields = 1024; fields <= 1025; fields++) {
        size_t n = 0;
        for (unsigned i = 0; i < fields; i++)
            n += (size_t) sprintf (text + n, "%cf%u:u1", i ? ',' : '{', i);
        text[n++] = '}';
        dtype = sluice_dtype_parse (text, n, &err);
        cr_expect_eq (dtype != NULL, fields == 1024);
        sluice_dtype_destroy (&dtype);
    }
    /* A name as long as fits, and one longer. */
    memset (text, 'a', 70000);
    text[0] = '{';
    memcpy (text + 65535 - 4, ":u1}", 4);
    cr_expect_null (sluice_dtype_parse (text, 65535, &err),
                    "canonical |u1 takes one more character");
    memcpy (text + 65535 - 5, ":|u1}", 5);
    dtype = sluice_dtype_parse (text, 65535, &err);
    cr_expect (dtype, "%s", err.text);
    sluice_dtype_destroy (&dtype);
    cr_expect_null (sluice_dtype_parse (text, 65536, &err));
    memset (text, '(', 70000);
    cr_expect_null (sluice_dtype_parse (text, 65535, &err));
    memset (text, '{', 70000);
    cr_expect_null (sluice_dtype_parse (text, 65535, &err));
    free (text);
}

Test (dtype, changed_text_is_refused_or_consistent)
{
    static const char seed[] = "{a\\:b:(3,2)<f8@8, c:{d:|S10, e:<M8[25us]}@64}#128";
    random_t r = {11};
    for (int i = 0; i < 100000; i++) {
        char text[sizeof seed];
        memcpy (text, seed, sizeof seed);
        for (uint64_t k = random_below (&r, 4); k > 0; k--)
            text[random_below (&r, sizeof seed - 1)] =
                seed[random_below (&r, sizeof seed - 1)];
        size_t n = sizeof seed - 1 - (size_t) random_below (&r, 3);
        sluice_dtype_t *dtype = sluice_dtype_parse (text, n, &err);
        if (!dtype)
            continue;
        char *canonical = sluice_dtype_text (dtype);
        sluice_dtype_t *again = parse (canonical);
        cr_assert (again && sluice_dtype_equal (dtype, again), "%s", canonical);
        char *fixed = sluice_dtype_text (again);
        cr_assert_str_eq (canonical, fixed);
        free (fixed);
        free (canonical);
        sluice_dtype_destroy (&dtype);
        sluice_dtype_destroy (&again);
    }
}
