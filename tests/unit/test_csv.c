/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/csv.h"

static csv_t *from (const char *text, sluice_error_t *err)
{
    return csv_from_text (text, strlen (text), "t.csv", err);
}

/* The error that reading all of `text` ends with; "" if none. */
static const char *failure (const char *text)
{
    static sluice_error_t err;
    memset (&err, 0, sizeof err);
    csv_t *csv = from (text, &err);
    int more = csv ? 1 : -1;
    while (more == 1)
        more = csv_next (csv, &err);
    csv_destroy (&csv);
    cr_assert_eq (more < 0, err.text[0] != '\0');
    return err.text;
}

Test (csv, reads_header_and_rows)
{
    sluice_error_t err;
    csv_t *csv = from ("lon,lat\n1.5,-2\n3,4e-1", &err);
    cr_assert (csv);
    cr_assert_eq (csv_columns (csv), 2);
    cr_assert_str_eq (csv_name (csv, 1), "lat");
    cr_assert_eq (csv_column (csv, "lat"), 1);
    cr_assert_eq (csv_column (csv, "vs30"), -1);
    cr_assert_eq (csv_line (csv), 1);
    double x;
    cr_assert_eq (csv_next (csv, &err), 1);
    cr_assert_eq (csv_line (csv), 2);
    cr_assert_eq (csv_f64 (csv, 1, &x, &err), 0);
    cr_assert_eq (x, -2.0);
    cr_assert_eq (csv_next (csv, &err), 1);
    cr_assert_eq (csv_f64 (csv, 1, &x, &err), 0);
    cr_assert_eq (x, 0.4);
    cr_assert_eq (csv_next (csv, &err), 0);
    cr_assert_eq (csv_next (csv, &err), 0);
    csv_destroy (&csv);
    cr_assert_null (csv);
}

Test (csv, takes_bom_crlf_comments_and_empty_lines)
{
    sluice_error_t err;
    csv_t *csv = from (
        "\xef\xbb\xbf#,,\"made by us\"\r\n\r\n a , b\r\n# no row\r\n1, x y \r\n", &err);
    cr_assert (csv, "%s", err.text);
    cr_assert_str_eq (csv_name (csv, 0), "a");
    cr_assert_eq (csv_next (csv, &err), 1);
    cr_assert_eq (csv_line (csv), 5);
    cr_assert_str_eq (csv_text (csv, 1), "x y");
    cr_assert_eq (csv_next (csv, &err), 0);
    csv_destroy (&csv);
}

Test (csv, takes_quotes_also_over_lines)
{
    sluice_error_t err;
    csv_t *csv = from ("a,b\n\"x,\"\"y\"\"\nz\" , 1\n2,3\n", &err);
    cr_assert (csv);
    cr_assert_eq (csv_next (csv, &err), 1);
    cr_assert_str_eq (csv_text (csv, 0), "x,\"y\"\nz");
    cr_assert_str_eq (csv_text (csv, 1), "1");
    cr_assert_eq (csv_next (csv, &err), 1);
    cr_assert_eq (csv_line (csv), 4);
    csv_destroy (&csv);
}

Test (csv, names_file_and_line_of_what_is_wrong)
{
    cr_assert_str_eq (failure (""), "t.csv:1: no header line");
    cr_assert_str_eq (failure ("# only\n"), "t.csv:2: no header line");
    cr_assert_str_eq (failure ("a,b\n1\n"), "t.csv:2: 1 field, the header has 2");
    cr_assert_str_eq (failure ("a,b\n1,2\n1,2,3\n"),
                      "t.csv:3: 3 fields, the header has 2");
    cr_assert_str_eq (failure ("a,a\n"), "t.csv:1: column 'a' comes twice");
    cr_assert_str_eq (failure ("a,\n"), "t.csv:1: column 2 of the header has no name");
    cr_assert_str_eq (failure ("a\n\"x\n"), "t.csv:2: a quote is not closed");
    cr_assert_str_eq (failure ("a\n\"x\"y\n"), "t.csv:2: text behind a closing quote");
    cr_assert_str_eq (failure ("a\nx\"y\n"), "t.csv:2: a quote inside a field");
    cr_assert_str_eq (failure ("a,b\n1,2\n"), "");
}

Test (csv, refuses_zero_bytes)
{
    sluice_error_t err;
    cr_assert_null (csv_from_text ("a\n1\0\n", 5, "t.csv", &err));
    cr_assert_str_eq (err.text, "t.csv:2: a zero byte: this is not text");
}

Test (csv, refuses_what_is_no_number)
{
    static const char *const bad[] = {"nan", "inf", "0x10",  "1.5m",
                                      "",    "-",   "1e999", "1 2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[40];
        snprintf (text, sizeof text, "a,b\n%s,1\n", bad[i]);
        sluice_error_t err;
        csv_t *csv = from (text, &err);
        double x;
        cr_assert_eq (csv_next (csv, &err), 1);
        cr_assert_eq (csv_f64 (csv, 0, &x, &err), -1, "%s", bad[i]);
        cr_assert (strstr (err.text, "t.csv:2: a: '"), "%s", err.text);
        cr_assert_eq (err.code, SLUICE_EINPUT);
        csv_destroy (&csv);
    }
}

Test (csv, refuses_files_that_are_none)
{
    sluice_error_t err;
    cr_assert_null (csv_open ("/nonexistent/x.csv", &err));
    cr_assert_str_eq (err.text, "/nonexistent/x.csv: No such file or directory");
    cr_assert_eq (err.code, SLUICE_EINPUT);
    cr_assert_null (csv_open ("/", &err));
    cr_assert_str_eq (err.text, "/: is not a file");
}
