/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include "master/skips.h"

Test (skips, cut_the_way_into_wanted_and_not)
{
    skips_t *s = skips_new ();
    cr_assert_not_null (s);
    uint64_t n = 100;
    cr_expect_not (skips_next (s, 0, &n));
    cr_expect_eq (n, 100);
    cr_assert_eq (skips_add (s, 10, 20), 0);
    cr_assert_eq (skips_add (s, 15, 15), 0, "none");
    cr_assert_eq (skips_add (s, 30, UINT64_MAX), 0);
    cr_expect_not (skips_next (s, 0, &n));
    cr_expect_eq (n, 10);
    n = 100;
    cr_expect (skips_next (s, 10, &n));
    cr_expect_eq (n, 10);
    n = 3;
    cr_expect (skips_next (s, 12, &n));
    cr_expect_eq (n, 3);
    n = 100;
    cr_expect_not (skips_next (s, 20, &n));
    cr_expect_eq (n, 10);
    n = 5;
    cr_expect (skips_next (s, 40, &n));
    cr_expect_eq (n, 5);
    skips_destroy (&s);
    skips_destroy (&s);
}

Test (skips, every_item_comes_once_whatever_the_ranges)
{
    uint64_t state = 88172645463325252u;
    for (int round = 0; round < 200; round++) {
        bool not_wanted[300] = {false};
        skips_t *s = skips_new ();
        for (int k = 0; k < 20; k++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            uint64_t first = state % 300, stop = first + state / 300 % 40;
            cr_assert_eq (skips_add (s, first, stop), 0);
            for (uint64_t i = first; i < stop && i < 300; i++)
                not_wanted[i] = true;
        }
        for (uint64_t next = 0; next < 300;) {
            uint64_t n = 300 - next;
            bool skip = skips_next (s, next, &n);
            cr_assert (n > 0 && next + n <= 300);
            for (uint64_t i = next; i < next + n; i++)
                cr_assert_eq (skip, not_wanted[i], "item %lu", (unsigned long) i);
            next += n;
        }
        skips_destroy (&s);
    }
}
