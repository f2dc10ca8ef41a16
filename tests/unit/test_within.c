/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I10: what may hang is not waited for without an end. */

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <unistd.h>

#include "proto/within.h"

static atomic_int calls;
static int ends[2]; /* of a pipe that nobody writes to */

static void count (void *arg)
{
    atomic_fetch_add (&calls, *(int *) arg);
}

static void hang (void *arg)
{
    char byte;
    atomic_fetch_add (&calls, 1);
    while (read (ends[0], &byte, 1) > 0)
        ;
    atomic_store ((atomic_int *) arg, 1);
}

Test (within, what_ends_in_time_is_done)
{
    int add = 5;
    cr_assert (call_within (60000, count, &add));
    cr_assert_eq (atomic_load (&calls), 5);
}

Test (within, what_hangs_is_left_behind, .timeout = 120)
{
    static atomic_int over;
    cr_assert_eq (pipe (ends), 0);
    cr_assert_not (call_within (50, hang, &over));
    cr_assert_eq (atomic_load (&over), 0);
    close (ends[1]); /* and ends by itself when it can */
    for (int i = 0; i < 6000 && !atomic_load (&over); i++)
        usleep (10000);
    cr_assert_eq (atomic_load (&over), 1);
    cr_assert_eq (atomic_load (&calls), 1);
}
