/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <string.h>

#include "proto/text.h"
#include "sluice/error.h"

Test (error, fails_with_code_and_text)
{
    sluice_error_t err = {0};
    cr_expect_eq (sluice_fail (&err, SLUICE_EINPUT, "%s:%d", "job.ini", 3), -1);
    cr_expect_eq (err.code, SLUICE_EINPUT);
    cr_expect_str_eq (err.text, "job.ini:3");
    cr_expect_eq (sluice_fail (NULL, SLUICE_EINPUT, "nobody listens"), -1);
    cr_expect_eq (sluice_fail_at (NULL, "nobody listens"), -1);
}

Test (error, is_one_printable_line)
{
    sluice_error_t err = {0};
    sluice_fail (&err, SLUICE_EPROTO, "a\nb\x1b[2Jc\x7f");
    cr_expect_str_eq (err.text, "a?b?[2Jc?");
    sluice_fail (&err, SLUICE_EPROTO, "bad \xff, good ä");
    cr_expect_str_eq (err.text, "bad ?, good ä");
}

Test (error, says_where_in_front)
{
    sluice_error_t err = {0};
    sluice_fail (&err, SLUICE_EINPUT, "no such column");
    cr_expect_eq (sluice_fail_at (&err, "%s", "sites.csv"), -1);
    cr_expect_str_eq (err.text, "sites.csv: no such column");
    cr_expect_eq (err.code, SLUICE_EINPUT);
}

Test (error, long_texts_are_cut_between_characters)
{
    sluice_error_t err = {0};
    char text[3001];
    for (int i = 0; i < 3000; i += 3)
        memcpy (text + i, "€", 3);
    text[3000] = 0;
    sluice_fail (&err, SLUICE_EINPUT, "x%s", text);
    cr_expect_eq (strlen (err.text), sizeof err.text - 1);
    cr_expect (text_is_utf8 (err.text, strlen (err.text)));
    sluice_fail_at (&err, "%s", text);
    cr_expect (text_is_utf8 (err.text, strlen (err.text)));
}

Test (error, exit_status)
{
    static const int wanted[][2] = {{SLUICE_OK, 0},      {SLUICE_EFAILED, 1},
                                    {SLUICE_EINPUT, 2},  {SLUICE_ENONODES, 3},
                                    {SLUICE_EOUTPUT, 4}, {SLUICE_ECANCELLED, 130},
                                    {SLUICE_ESYSTEM, 1}, {SLUICE_EPROTO, 1}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        sluice_error_t err = {.code = (sluice_code_t) wanted[i][0]};
        cr_expect_eq (sluice_exit_status (&err), wanted[i][1]);
    }
}

Test (text, utf8_as_rfc3629)
{
    static const char *const good[] = {"", "abc", "ä", "€", "𝄞", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc3",
                                      "\xe0\x80\xaf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf5\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "a\xff"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect (text_is_utf8 (good[i], strlen (good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not (text_is_utf8 (bad[i], strlen (bad[i])), "bad %zu", i);
    cr_expect_not (text_is_utf8 ("a\0b", 3), "NUL");
}

Test (text, numbers_stop_at_their_maximum)
{
    uint64_t value = 1;
    cr_expect_eq (text_number ("18446744073709551615", 20, UINT64_MAX, &value), 20);
    cr_expect_eq (value, UINT64_MAX);
    cr_expect_eq (text_number ("18446744073709551616", 20, UINT64_MAX, &value), 0);
    cr_expect_eq (text_number ("12x", 3, 100, &value), 2);
    cr_expect_eq (value, 12);
    cr_expect_eq (text_number ("101", 3, 100, &value), 0);
    cr_expect_eq (text_number ("7", 1, 5, &value), 0);
    cr_expect_eq (text_number ("x", 1, 100, &value), 0);
    cr_expect_eq (value, 12, "left as it was");
}

Test (text, control_characters_become_plain)
{
    char text[] = "a\tb\nc\x1b[2J\x7f\xc2\x85\xc2\xa0\xc3\xa9";
    text_make_plain (text);
    cr_expect_str_eq (text, "a?b?c?[2J???\xc2\xa0\xc3\xa9");
}
