/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "calc/arguments.h"
#include "calc/template.h"

/* The words of one item, joined by '|'; free () it. */
static char *expand (const char *const *words, size_t n, bool shell,
                     const char *const *names, const char *const *values, size_t columns)
{
    sluice_error_t err = {0};
    template_t *self = template_new (words, n, shell, names, columns, &err);
    cr_assert (self, "%s", err.text);
    char **out = template_expand (self, values, 41), *text = calloc (1, 4096);
    for (size_t i = 0; out[i]; i++) {
        strcat (text, i ? "|" : "");
        strcat (text, out[i]);
    }
    free (out);
    template_destroy (&self);
    return text;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__})

static void expect (const char *want, const char *word, const char *value)
{
    char *got = expand (WORDS ("x", word), 2, false, NULL, &value, 1);
    if (strcspn (got + 2, "|") < strlen (got + 2))
        got[2 + strcspn (got + 2, "|")] = '\0'; /* {} was added: it had none */
    cr_expect_str_eq (got + 2, want, "%s of %s: %s, not %s", word, value, got + 2, want);
    free (got);
}

Test (template, placeholders_as_in_gnu_parallel)
{
    expect ("a/b.c.txt", "{}", "a/b.c.txt");
    expect ("a/b.c", "{.}", "a/b.c.txt");
    expect ("b.c.txt", "{/}", "a/b.c.txt");
    expect ("a", "{//}", "a/b.c.txt");
    expect ("b.c", "{/.}", "a/b.c.txt");
    expect ("42", "{#}", "a");
    expect ("-a=x-x", "-a={}-{1}", "x");
    expect (".", "{//}", "plain");
    expect ("/", "{//}", "/root");
    expect (".hidden", "{.}", ".hidden");
    expect ("d.e/f", "{.}", "d.e/f");
    expect ("", "{}", "");
    expect ("{", "{", "a");
    expect ("{print $1}", "{print $1}", "a");
    expect ("{x}", "{x}", "a");
    expect ("{a", "{{}", "a");
    expect ("${a}", "${{}}", "a");
}

Test (template, several_sources)
{
    const char *values[] = {"a b", "c.d"}, *names[] = {"lon", "l-at"};
    char *got = expand (WORDS ("x", "{}", "-{}", "{2.}", "{lon}", "{l-at.}"), 6, false,
                        names, values, 2);
    cr_expect_str_eq (got, "x|a b|c.d|-a b c.d|c|a b|c");
    free (got);
    got = expand (WORDS ("x"), 1, false, NULL, values, 2);
    cr_expect_str_eq (got, "x|a b|c.d", "a command without placeholders gets all");
    free (got);
}

Test (template, a_shell_gets_its_arguments_quoted)
{
    const char *values[] = {"it's; a", "b"};
    char *got = expand (WORDS ("echo {1} >{2}"), 1, true, NULL, values, 2);
    cr_expect_str_eq (got, "/bin/sh|-c|echo 'it'\\''s; a' >b");
    free (got);
    got = expand (WORDS ("echo"), 1, true, NULL, (const char *const[]){""}, 1);
    cr_expect_str_eq (got, "/bin/sh|-c|echo ''");
    free (got);
    cr_expect (template_wants_shell ("a | b"));
    cr_expect_not (template_wants_shell ("./a-b_c"));
}

Test (template, what_cannot_be_is_refused)
{
    sluice_error_t err = {0};
    const char *names[] = {"lon", "lat"};
    cr_expect_null (template_new (WORDS ("x", "{3}"), 2, false, NULL, 2, &err));
    cr_expect (strstr (err.text, "2 sources"), "%s", err.text);
    cr_expect_null (template_new (WORDS ("x", "{long}"), 2, false, names, 2, &err));
    cr_expect (strstr (err.text, "lon, lat"), "%s", err.text);
    cr_expect_null (template_new (WORDS ("x", "{0}"), 2, false, NULL, 2, &err));
    cr_expect_null (template_new (NULL, 0, false, NULL, 1, &err));
    cr_expect_null (template_new (WORDS (""), 1, false, NULL, 1, &err));
}

Test (template, words_as_a_person_would_type_them)
{
    char *words[] = {(char *) "sh", (char *) "a b", (char *) "{}", (char *) "it's", NULL};
    char text[64];
    template_print (words, text, sizeof text);
    cr_expect_str_eq (text, "sh 'a b' {} 'it'\\''s'");
    template_print (words, text, 14);
    cr_expect_str_eq (text, "sh 'a b'...");
    template_print (words, text, 4);
    cr_expect_str_eq (text, "...");
}

/* ---- arguments ------------------------------------------------------------- */

static void add (arguments_t *self, const char *value)
{
    cr_assert_eq (arguments_add (self, value, strlen (value), NULL), 0);
}

Test (arguments, a_product_counts_the_last_source_fastest)
{
    static arguments_row_t row;
    arguments_t *self = arguments_new (NULL);
    arguments_source (self, 1, NULL, NULL);
    add (self, "a");
    add (self, "b");
    arguments_range (self, 5, 8, 1, NULL);
    arguments_source (self, 2, (const char *const[]){"lon", "lat"}, NULL);
    add (self, "1");
    add (self, "2");
    add (self, "3");
    add (self, "4");
    cr_assert_eq (arguments_items (self), 12);
    cr_assert_eq (arguments_columns (self), 4);
    cr_expect_str_eq (arguments_names (self)[1], "2");
    cr_expect_str_eq (arguments_names (self)[3], "lat");
    arguments_get (self, 9, &row);
    cr_expect_str_eq (row.values[0], "b");
    cr_expect_str_eq (row.values[1], "6");
    cr_expect_str_eq (row.values[2], "3");
    cr_expect_str_eq (row.values[3], "4");
    cr_expect_eq (arguments_number (self, 9), 9);
    arguments_destroy (&self);
}

static uint64_t range (const char *text)
{
    sluice_error_t err = {0};
    arguments_t *self = arguments_new (&err);
    uint64_t n = arguments_range_text (self, text, &err) ? 0 : arguments_items (self);
    cr_expect (n > 0 || err.text[0], "%s", text);
    arguments_destroy (&self);
    return n;
}

Test (arguments, ranges)
{
    cr_expect_eq (range ("0:10"), 10);
    cr_expect_eq (range ("-3:4:3"), 3);
    cr_expect_eq (range ("10:0:-3"), 4);
    cr_expect_eq (range ("0:9223372036854775807"), INT64_MAX);
    cr_expect_eq (range ("-9223372036854775808:9223372036854775807:9223372036854775807"),
                  3);
    const char *wrong[] = {
        "",      "1",       "1:",   ":1",     "1:2:",
        "1:2:0", "1:2:3:4", "1:1",  "2:1",    "a:b",
        "1 :2",  "1: 2",    "1:2x", "0:1:-1", "99999999999999999999:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_eq (range (wrong[i]), 0, "%s", wrong[i]);
}

Test (arguments, a_nul_and_too_much_are_refused)
{
    sluice_error_t err = {0};
    arguments_t *self = arguments_new (&err);
    arguments_source (self, 1, NULL, &err);
    cr_expect_eq (arguments_add (self, "a\0b", 3, &err), -1);
    cr_expect_eq (arguments_source (self, ARGUMENTS_MAX_COLUMNS, NULL, &err), -1);
    arguments_destroy (&self);
    self = arguments_new (&err);
    arguments_range (self, 0, INT64_MAX, 1, &err);
    arguments_range (self, 0, 3, 1, &err);
    cr_expect_eq (arguments_items (self), 0, "more than can be counted");
    arguments_destroy (&self);
}
