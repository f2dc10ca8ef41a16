/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/jobfile.h"

static sluice_params_t *parse (const char *text)
{
    sluice_error_t err = {0};
    sluice_params_t *params = jobfile_parse (text, strlen (text), "job.ini", &err);
    cr_assert_not_null (params, "%s", err.text);
    return params;
}

static void has (const char *text, const char *name, const char *value)
{
    sluice_params_t *params = parse (text);
    const char *got = sluice_params_get (params, name);
    cr_assert_not_null (got, "no '%s' in %s", name, text);
    cr_assert_str_eq (got, value);
    sluice_params_destroy (&params);
}

static void refuses_n (const char *text, size_t n, const char *says)
{
    sluice_error_t err = {0};
    sluice_params_t *params = jobfile_parse (text, n, "job.ini", &err);
    cr_assert_null (params, "accepted: %.100s", text);
    cr_assert_eq (err.code, SLUICE_EINPUT);
    cr_assert_eq (strncmp (err.text, "job.ini:", 8), 0, "%s", err.text);
    cr_assert_not_null (strstr (err.text, says), "said: %s", err.text);
}

static void refuses (const char *text, const char *says)
{
    refuses_n (text, strlen (text), says);
}

Test (jobfile, reads_names_values_and_lines)
{
    sluice_params_t *params = parse ("; a comment\n"
                                     "[general]\n"
                                     "description = A test\n"
                                     "\n"
                                     "[geometry]\n"
                                     "# another\n"
                                     "sites = 0 0, 1 1\n"
                                     "seed:42\n"
                                     "empty =\n"
                                     "last=no newline");
    cr_assert_eq (sluice_params_count (params), 5);
    cr_assert_str_eq (sluice_params_get (params, "description"), "A test");
    cr_assert_str_eq (sluice_params_get (params, "sites"), "0 0, 1 1");
    cr_assert_str_eq (sluice_params_get (params, "seed"), "42");
    cr_assert_str_eq (sluice_params_get (params, "empty"), "");
    cr_assert_str_eq (sluice_params_get (params, "last"), "no newline");
    cr_assert_eq (sluice_params_line (params, "description"), 3);
    cr_assert_eq (sluice_params_line (params, "sites"), 7);
    cr_assert_eq (sluice_params_line (params, "last"), 10);
    cr_assert_str_eq (sluice_params_file (params), "job.ini");
    cr_assert_str_eq (sluice_params_name_at (params, 2), "seed", "in the order given");
    sluice_params_destroy (&params);
}

Test (jobfile, values_may_be_very_long)
{
    size_t n = 10000;
    char *text = malloc (n + 100), *value = malloc (n + 1);
    for (size_t i = 0; i < n; i++)
        value[i] = "0.123, 'PGA' ; # []=:"[i % 21];
    value[0] = 'a';
    value[n - 1] = 'z';
    value[n] = 0;
    sprintf (text, "x = 1\nlevels = %s\ny = 2\n", value);
    has (text, "levels", value);
    has (text, "y", "2");
    free (text);
    free (value);
}

Test (jobfile, values_go_on_over_lines_further_in)
{
    has ("a = 1\n  2\n\t3  \nb = 4\n", "a", "1\n2\n3");
    has ("a = 1\n  2\n\t3  \nb = 4\n", "b", "4");
    has ("a =\n  1\n  2\n", "a", "\n1\n2");
    has ("a = 1\n  # left out\n  2\n", "a", "1\n2");
    has ("a = 1\n# left out\n  2\n", "a", "1\n2");
    has ("a = 1\n\n  2\n\n\nb = 3\n", "a", "1\n\n2");
    has ("a = {\n  x = 1\n  [y]\n  }\n", "a", "{\nx = 1\n[y]\n}");

    /* What stands no further in than the name is the next parameter. */
    sluice_params_t *params = parse ("[s]\n  a = 1\n  b = 2\n   3\n c = 4\n");
    cr_assert_eq (sluice_params_count (params), 3);
    cr_assert_str_eq (sluice_params_get (params, "a"), "1");
    cr_assert_str_eq (sluice_params_get (params, "b"), "2\n3");
    cr_assert_str_eq (sluice_params_get (params, "c"), "4");
    cr_assert_eq (sluice_params_line (params, "c"), 5);
    sluice_params_destroy (&params);
}

Test (jobfile, comments_begin_lines_only)
{
    has ("a = 1 ; not a comment\n", "a", "1 ; not a comment");
    has ("a = 1 # nor this\n", "a", "1 # nor this");
    has ("   ; indented\n   # too\na = 1\n", "a", "1");
}

Test (jobfile, splits_at_the_first_separator)
{
    has ("a = b = c\n", "a", "b = c");
    has ("a = {\"PGA\": [0.1]}\n", "a", "{\"PGA\": [0.1]}");
    has ("a : b = c\n", "a", "b = c");
    has ("a b = c\n", "a b", "c");
    has ("50% = %(x)s\n", "50%", "%(x)s");
}

Test (jobfile, keeps_letters_as_they_are)
{
    has ("Case = Ünïcödé 漢\n", "Case", "Ünïcödé 漢");
    has ("naïve = 1\n", "naïve", "1");
}

Test (jobfile, takes_any_end_of_line_and_a_byte_order_mark)
{
    has ("\xef\xbb\xbf[s]\r\na = 1\r\n  2\r\n\r\nb = 3\r\n", "a", "1\n2");
    has ("\xef\xbb\xbf[s]\r\na = 1\r\n  2\r\n\r\nb = 3\r\n", "b", "3");
    has ("a = 1\rb = 2\r", "b", "2");
    has ("\xef\xbb\xbf"
         "a = 1\n",
         "a", "1");
}

Test (jobfile, names_may_be_long_but_not_endless)
{
    char text[400], name[201];
    memset (name, 'n', 200);
    name[110] = 0;
    sprintf (text, "%s = 1\n", name);
    has (text, name, "1");
    name[110] = 'n';
    name[200] = 0;
    sprintf (text, "\n%s = 1\n", name);
    refuses (text, "job.ini:2: ");
}

Test (jobfile, refuses_a_name_given_twice)
{
    refuses ("a = 1\nb = 2\n[other]\na = 3\n", "job.ini:4: a is given twice");
    refuses ("a = 1\nb = 2\n[other]\na = 3\n", "line 1");
}

Test (jobfile, refuses_what_is_no_parameter)
{
    refuses ("a = 1\nwhat is this\n", "job.ini:2: ");
    refuses ("a = 1\n= 2\n", "job.ini:2: ");
    refuses ("a = 1\n[open\n", "job.ini:2: ");
    refuses ("  indented without a name\n", "job.ini:1: ");
    refuses ("", "job.ini:1: there are no parameters");
    refuses ("; nothing\n\n[general]\n", "job.ini:1: there are no parameters");
}

Test (jobfile, refuses_what_is_no_text)
{
    refuses ("a = 1\nb = \xff\n", "job.ini:2: not a text in UTF-8");
    refuses ("a = 1\n# caf\xe9\n", "job.ini:2: not a text in UTF-8");
    refuses_n ("a = 1\nb = \0\n", 12, "job.ini:2: not a text in UTF-8");
    refuses_n ("\xff\xfe"
               "a\0=\0",
               6, "job.ini:1: not a text in UTF-8");
}

Test (jobfile, refuses_more_than_a_message_can_carry)
{
    size_t room = 2 << 20;
    char *text = malloc (room);
    size_t n = 0;
    for (unsigned i = 0; i < 4097; i++)
        n += (size_t) snprintf (text + n, room - n, "p%u = 1\n", i);
    refuses (text, "job.ini:4097: more than 4,096");
    memset (text, 'x', (1 << 20) + 10);
    memcpy (text, "a = ", 4);
    text[(1 << 20) + 10] = 0;
    refuses (text, "job.ini:1: a value of more than 1 MiB");
    free (text);
}

Test (jobfile, reads_files)
{
    char dir[] = "/tmp/sluice-test-jobfile-XXXXXX", path[100];
    sluice_error_t err = {0};
    cr_assert_not_null (mkdtemp (dir));
    snprintf (path, sizeof path, "%s/job.ini", dir);
    cr_assert_null (jobfile_read (path, &err));
    cr_assert_eq (err.code, SLUICE_EINPUT);
    cr_assert_not_null (strstr (err.text, path));
    cr_assert_null (jobfile_read (path, NULL), "the error may be nobody's");

    cr_assert_null (jobfile_read (dir, &err));
    cr_assert_not_null (strstr (err.text, "a folder"), "%s", err.text);

    FILE *file = fopen (path, "w");
    fputs ("[x]\nkernel = ./a.so\n", file);
    fclose (file);
    sluice_params_t *params = jobfile_read (path, &err);
    cr_assert_not_null (params, "%s", err.text);
    cr_assert_str_eq (sluice_params_get (params, "kernel"), "./a.so");
    cr_assert_str_eq (sluice_params_file (params), path);
    sluice_params_destroy (&params);

    cr_assert_eq (truncate (path, 0), 0);
    cr_assert_null (jobfile_read (path, &err));
    cr_assert_not_null (strstr (err.text, "job.ini:1: "), "%s", err.text);
    unlink (path);
    cr_assert_eq (mkfifo (path, 0600), 0);
    cr_assert_null (jobfile_read (path, &err), "and without waiting");
    cr_assert_not_null (strstr (err.text, "not a regular file"), "%s", err.text);
    unlink (path);
    rmdir (dir);
}
