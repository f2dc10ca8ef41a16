/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "sluice/params.h"

static sluice_error_t err;

Test (params, keep_their_order_and_lines)
{
    sluice_params_t *params = sluice_params_new ();
    cr_expect_str_eq (sluice_params_file (params), "");
    cr_expect_eq (sluice_params_set_file (params, "job.ini"), 0);
    char name[20];
    for (unsigned i = 0; i < 100; i++) {
        snprintf (name, sizeof name, "p%u", i);
        cr_assert_eq (sluice_params_set (params, name, "old", i + 1, &err), 0);
    }
    cr_expect_eq (sluice_params_set (params, "p7", "new", 200, &err), 0);
    cr_expect_eq (sluice_params_count (params), 100);
    cr_expect_str_eq (sluice_params_name_at (params, 7), "p7");
    cr_expect_str_eq (sluice_params_value_at (params, 7), "new");
    cr_expect_null (sluice_params_name_at (params, 100));
    cr_expect_str_eq (sluice_params_get (params, "p99"), "old");
    cr_expect_null (sluice_params_get (params, "p"));
    cr_expect_eq (sluice_params_line (params, "p7"), 200);
    cr_expect_eq (sluice_params_line (params, "nobody"), 0);
    cr_expect_eq (sluice_params_set (params, "", "x", 0, &err), -1);
    sluice_params_destroy (&params);
    cr_expect_null (params);
    sluice_params_destroy (&params);
}

static int set_and_read (const char *text, char kind, void *value)
{
    sluice_params_t *params = sluice_params_new ();
    sluice_params_set_file (params, "job.ini");
    sluice_params_set (params, "x", text, 12, NULL);
    int result = kind == 'u'   ? sluice_params_u64 (params, "x", value, &err)
                 : kind == 'f' ? sluice_params_f64 (params, "x", value, &err)
                               : sluice_params_size (params, "x", value, &err);
    if (result == -1) {
        cr_expect_eq (err.code, SLUICE_EINPUT);
        cr_expect_eq (strncmp (err.text, "job.ini:12: x: ", 15), 0, "%s", err.text);
    }
    sluice_params_destroy (&params);
    return result;
}

Test (params, whole_numbers)
{
    static const char *const bad[] = {
        "", "-1", "+1", "1.0", " 1", "1 ", "0x1", "1e3", "18446744073709551616", "one"};
    uint64_t value = 3;
    cr_expect_eq (set_and_read ("18446744073709551615", 'u', &value), 0);
    cr_expect_eq (value, UINT64_MAX);
    cr_expect_eq (set_and_read ("007", 'u', &value), 0);
    cr_expect_eq (value, 7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq (set_and_read (bad[i], 'u', &value), -1, "'%s'", bad[i]);
    cr_expect_eq (value, 7);
}

Test (params, numbers_in_any_locale)
{
    static const char *const bad[] = {"",    "1,5", "nan", "inf", "0x10", "1e999",
                                      " 1.", "1 ",  "e",   "--1", "1.2.3"};
    static const char *const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8"};
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++) {
        setlocale (LC_ALL, locales[i]); /* where it is installed */
        double value = 0;
        cr_expect_eq (set_and_read ("-1.5e-3", 'f', &value), 0);
        cr_expect_eq (value, -1.5e-3);
        cr_expect_eq (set_and_read ("200", 'f', &value), 0);
        cr_expect_eq (value, 200);
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
            cr_expect_eq (set_and_read (bad[k], 'f', &value), -1, "'%s'", bad[k]);
        cr_expect_eq (value, 200);
    }
}

Test (params, sizes)
{
    static const char *const bad[] = {
        "",     "K",  "64 M",  "64MB",      "-1M",
        "1.5G", "1X", "1\x0b", "16777216T", "18446744073709551616"};
    uint64_t value = 0;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},           {"1000", 1000},
                {"1K", 1024},       {"64M", 64 << 20},
                {"64m", 64 << 20},  {"3G", 3ULL << 30},
                {"2T", 2ULL << 40}, {"16777215T", 16777215ULL << 40}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect_eq (set_and_read (good[i].text, 's', &value), 0);
        cr_expect_eq (value, good[i].bytes, "%s", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq (set_and_read (bad[i], 's', &value), -1, "'%s'", bad[i]);
}

Test (params, absent_ones_keep_the_default)
{
    sluice_params_t *params = sluice_params_new ();
    uint64_t whole = 5, size = 6;
    double real = 1.5;
    cr_expect_eq (sluice_params_u64 (params, "x", &whole, &err), 0);
    cr_expect_eq (sluice_params_size (params, "x", &size, &err), 0);
    cr_expect_eq (sluice_params_f64 (params, "x", &real, &err), 0);
    cr_expect (whole == 5 && size == 6 && real == 1.5);
    cr_expect_eq (sluice_params_fail (params, "x", &err, "must be %d", 3), -1);
    cr_expect_str_eq (err.text, "x: must be 3");
    sluice_params_set_file (params, "job.ini");
    sluice_params_fail (params, "x", &err, "is missing");
    cr_expect_str_eq (err.text, "job.ini: x: is missing");
    sluice_params_destroy (&params);
}
