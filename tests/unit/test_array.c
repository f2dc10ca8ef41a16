/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <string.h>

#include "sluice/dtype.h"

static sluice_error_t err;

Test (array, is_made_zeroed)
{
    sluice_array_t array;
    cr_assert_eq (
        sluice_array_make (&array, "{a:<f4, b:(2)<u2}", 2, (uint64_t[]){3, 5}, &err), 0,
        "%s", err.text);
    bool overflow = true;
    cr_expect_eq (sluice_array_bytes (&array, &overflow), 3 * 5 * 8);
    cr_expect_not (overflow);
    cr_expect_eq (array.ndim, 2);
    for (size_t i = 0; i < 3 * 5 * 8; i++)
        cr_assert_eq (((char *) array.data)[i], 0);
    sluice_array_clear (&array);
    cr_expect_null (array.data);
    sluice_array_clear (&array);
}

Test (array, scalars_and_empty_ones)
{
    sluice_array_t array;
    cr_assert_eq (sluice_array_make (&array, "<f8", 0, NULL, &err), 0);
    cr_expect_eq (sluice_array_bytes (&array, NULL), 8);
    *(double *) array.data = 1;
    sluice_array_clear (&array);
    cr_assert_eq (sluice_array_make (&array, "<f8", 2, (uint64_t[]){0, UINT64_MAX}, &err),
                  0, "%s", err.text);
    bool overflow = true;
    cr_expect_eq (sluice_array_bytes (&array, &overflow), 0);
    cr_expect_not (overflow);
    cr_expect (array.data);
    sluice_array_clear (&array);
}

Test (array, too_large_is_said)
{
    sluice_array_t array;
    cr_expect_eq (
        sluice_array_make (&array, "<f8", 2, (uint64_t[]){1ULL << 32, 1ULL << 32}, &err),
        -1);
    cr_expect_eq (err.code, SLUICE_EINPUT);
    cr_expect (!array.data && !array.dtype);
    cr_expect_eq (sluice_array_make (&array, "<f8", 1, (uint64_t[]){1ULL << 60}, &err),
                  -1);
    cr_expect_eq (sluice_array_make (&array, "|u1", 9, (uint64_t[9]){1}, &err), -1);
    cr_expect_eq (sluice_array_make (&array, "nonsense", 0, NULL, &err), -1);
    cr_expect (!array.data && !array.dtype);

    bool overflow = false;
    sluice_array_t none = {0};
    cr_expect_eq (sluice_array_bytes (&none, &overflow), 0);
    cr_expect (overflow, "an array without a type has no size");
}
