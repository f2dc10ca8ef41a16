/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "master/space.h"

Test (space, gives_whole_pages_from_the_start_on)
{
    space_t *space = space_new (100);
    cr_assert_eq (space_alloc (space, 1), SPACE_PAGE);
    cr_assert_eq (space_alloc (space, SPACE_PAGE), 2 * SPACE_PAGE);
    cr_assert_eq (space_alloc (space, SPACE_PAGE + 1), 3 * SPACE_PAGE);
    cr_assert_eq (space_end (space), 5 * SPACE_PAGE);
    space_destroy (&space);
    cr_assert_null (space);
    space_destroy (&space);
}

Test (space, reuses_the_lowest_hole_that_is_large_enough)
{
    space_t *space = space_new (0);
    uint64_t a = space_alloc (space, 3 * SPACE_PAGE), b = space_alloc (space, 5);
    uint64_t c = space_alloc (space, 4 * SPACE_PAGE), d = space_alloc (space, 5);
    space_free (space, c, 4 * SPACE_PAGE);
    space_free (space, a, 3 * SPACE_PAGE);
    cr_assert_eq (space_unused (space), 7 * SPACE_PAGE);
    cr_assert_eq (space_alloc (space, 4 * SPACE_PAGE), c);
    cr_assert_eq (space_alloc (space, 2 * SPACE_PAGE), a);
    cr_assert_eq (space_alloc (space, 1), a + 2 * SPACE_PAGE);
    cr_assert_eq (space_alloc (space, 1), d + SPACE_PAGE);
    cr_assert_eq (space_unused (space), 0);
    (void) b;
    space_destroy (&space);
}

Test (space, joins_neighbours_and_lowers_the_end)
{
    space_t *space = space_new (0);
    uint64_t at[5];
    for (int i = 0; i < 5; i++)
        at[i] = space_alloc (space, SPACE_PAGE);
    space_free (space, at[1], 1);
    space_free (space, at[3], 1);
    uint64_t address, bytes;
    cr_assert (space_hole (space, 1, &address, &bytes));
    cr_assert_eq (address, at[3]);
    space_free (space, at[2], 1);
    cr_assert (space_hole (space, 0, &address, &bytes));
    cr_assert_eq (address, at[1]);
    cr_assert_eq (bytes, 3 * SPACE_PAGE);
    cr_assert_not (space_hole (space, 1, &address, &bytes));
    space_free (space, at[4], 1);
    cr_assert_eq (space_end (space), at[1]);
    cr_assert_eq (space_unused (space), 0);
    space_destroy (&space);
}

Test (space, keeps_retired_extents_until_sealed_and_released)
{
    space_t *space = space_new (0);
    uint64_t a = space_alloc (space, 1), b = space_alloc (space, 1);
    space_alloc (space, 1);
    space_retire (space, a, 1);
    space_release (space); /* not sealed: a snapshot may refer to it */
    cr_assert_neq (space_alloc (space, 1), a);
    space_seal (space);
    space_retire (space, b, 1); /* after the snapshot was laid */
    cr_assert_eq (space_sealed (space), SPACE_PAGE);
    cr_assert_neq (space_alloc (space, 1), a);
    space_release (space);
    cr_assert_eq (space_sealed (space), 0);
    cr_assert_eq (space_alloc (space, 1), a);
    cr_assert_neq (space_alloc (space, 1), b);
    space_destroy (&space);
}

/* Against a plain map of pages, for many random steps. */
Test (space, never_gives_a_page_twice)
{
    enum { PAGES = 4000, LIVE = 200 };
    static unsigned char used[PAGES];
    struct {
        uint64_t at, pages;
    } live[LIVE] = {0};
    space_t *space = space_new (0);
    srand (7);
    for (int step = 0; step < 20000; step++) {
        int i = rand () % LIVE;
        if (live[i].pages) {
            memset (used + live[i].at, 0, live[i].pages);
            space_free (space, live[i].at * SPACE_PAGE, live[i].pages * SPACE_PAGE);
            live[i].pages = 0;
            continue;
        }
        live[i].pages = 1 + (uint64_t) rand () % 9;
        live[i].at = space_alloc (space, live[i].pages * SPACE_PAGE) / SPACE_PAGE;
        cr_assert_lt (live[i].at + live[i].pages, PAGES);
        for (uint64_t p = 0; p < live[i].pages; p++)
            cr_assert_not (used[live[i].at + p]++);
    }
    for (int i = 0; i < LIVE; i++)
        if (live[i].pages)
            space_free (space, live[i].at * SPACE_PAGE, live[i].pages * SPACE_PAGE);
    cr_assert_eq (space_end (space), 0);
    space_destroy (&space);
}
