/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"

Test (json, what_is_sound)
{
    static const char *const good[] = {"{}",
                                       "[]",
                                       " [ ] ",
                                       "0",
                                       "-1.5e+3",
                                       "true",
                                       "null",
                                       "\"\"",
                                       "\"\\u00e4\\\\\"",
                                       "{\"a\":[1,2,{\"b\":\"c\"}], \"d\" : false}",
                                       "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]"};
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "}",
                                      "[1,]",
                                      "[,]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{a:1}",
                                      "01",
                                      "1.",
                                      ".5",
                                      "+1",
                                      "1e",
                                      "tru",
                                      "nul",
                                      "\"",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\\u12",
                                      "\"\n\"",
                                      "[] []",
                                      "\"\xff\"",
                                      "\xc3",
                                      "{\"a\":1,}",
                                      "[1 2]",
                                      "nan",
                                      "0x10",
                                      "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect (json_is_sound (good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not (json_is_sound (bad[i]), "%s", bad[i]);
    cr_expect_not (json_is_sound (NULL));
}

Test (json, members_and_elements)
{
    const char *text =
        " { \"x\" : {\"runs\":7}, \"runs\" : [ {\"run\":\"a\"} , {\"run\":\"b"
        "\",\"n\":12} ], \"t\":true, \"big\":18446744073709551615 } ";
    char name[8];
    cr_assert (json_is_sound (text));
    const char *e = json_first (json_member (text, "runs"));
    cr_assert (json_string (json_member (e, "run"), name, sizeof name));
    cr_assert_str_eq (name, "a");
    cr_assert_null (json_member (e, "n"));
    e = json_after (e);
    cr_assert_eq (json_count (json_member (e, "n")), 12);
    cr_assert_null (json_after (e));
    cr_assert (json_is_true (json_member (text, "t")));
    cr_assert_eq (json_count (json_member (text, "big")), UINT64_MAX);
    cr_assert_null (json_member (text, "run"), "not those inside");
    cr_assert_null (json_first (json_member (text, "x")));
    cr_assert_null (json_member (NULL, "x"));
    cr_assert_null (json_first ("[ ]"));
    cr_assert_not (json_string (json_member (text, "t"), name, sizeof name));
    cr_assert_str_eq (name, "");
    cr_assert_float_eq (json_number ("-2.5e1"), -25, 1e-9);
    cr_assert_eq (json_number ("\"7\""), 0);
    cr_assert_eq (json_count ("-7"), 0);
}

Test (json, texts_come_back_and_are_fit_for_a_terminal)
{
    const char *said = "a \"job\" \\ ä€\tx\x1b[2J";
    char back[64], small[8];
    json_out_t out;
    json_begin (&out, 1000);
    json_add_text (&out, said);
    char *text = json_end (&out);
    cr_assert (json_is_sound (text), "%s", text);
    cr_assert (json_string (text, back, sizeof back));
    cr_assert_str_eq (back, "a \"job\" \\ ä€?x?[2J");
    free (text);
    cr_assert (json_string ("\"\\u00e4\\u20ac\\ud834\\u0000\\n\"", back, sizeof back));
    cr_assert_str_eq (back, "ä€???");
    cr_assert (json_string ("\"123456ä\"", small, sizeof small));
    cr_assert_str_eq (small, "123456", "not half a character");
}

Test (json, writing_stops_at_the_limit)
{
    json_out_t out;
    json_begin (&out, 10);
    json_add (&out, "[%d", 1234567);
    size_t mark = out.used;
    json_add (&out, ",%d", 89);
    cr_assert (out.full);
    json_cut (&out, mark);
    json_add (&out, "]");
    char *text = json_end (&out);
    cr_assert_str_eq (text, "[1234567]");
    free (text);
    json_begin (&out, 4);
    json_add_text (&out, "\x01");
    cr_assert_null (json_end (&out), "an escape is longer than its character");
    json_begin (&out, 100);
    json_add_text (&out, "\xff\xfe");
    text = json_end (&out);
    cr_assert_str_eq (text, "\"??\"");
    free (text);
}
