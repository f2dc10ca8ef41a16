/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "calc/vmath.h"

#define N 4099 /* odd, so that every width has lanes left over */

typedef void unary_t (double *, const double *, size_t);
typedef void binary_t (double *, const double *, const double *, size_t);

static const struct {
    const char *name;
    unary_t *many;
    double (*one) (double);
    double low, high;
} unary[] = {
    {"exp", vm_exp_n, vm_exp, -760, 720},
    {"exp10", vm_exp10_n, vm_exp10, -330, 310},
    {"expm1", vm_expm1_n, vm_expm1, -40, 720},
    {"log", vm_log_n, vm_log, 1e-300, 10},
    {"log10", vm_log10_n, vm_log10, 1e-300, 1e9},
    {"log1p", vm_log1p_n, vm_log1p, -0.999, 10},
    {"sin", vm_sin_n, vm_sin, -1e6, 1e6},
    {"cos", vm_cos_n, vm_cos, -1e6, 1e6},
    {"asin", vm_asin_n, vm_asin, -1, 1},
    {"acos", vm_acos_n, vm_acos, -1, 1},
    {"erfc", vm_erfc_n, vm_erfc, -7, 28},
    {"normal cdf", vm_normal_cdf_n, vm_normal_cdf, -39, 9},
};

static const struct {
    const char *name;
    binary_t *many;
    double (*one) (double, double);
    double low, high;
} binary[] = {
    {"atan2", vm_atan2_n, vm_atan2, -3, 3},
    {"pow", vm_pow_n, vm_pow, 0, 90},
    {"hypot", vm_hypot_n, vm_hypot, -3, 3},
};

#define COUNT(a) (sizeof (a) / sizeof *(a))

/* Arguments over the whole range, the odd ones of floating point first. */
static void fill (double *x, double low, double high, uint64_t state)
{
    static const double odd[] = {0.0,   -0.0,   1.0,    -1.0, INFINITY, -INFINITY, NAN,
                                 1e308, -1e308, 5e-324, 0.5,  1e-17,    1e17,      2.0};
    for (size_t i = 0; i < N; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = i < COUNT (odd) ? odd[i]
                               : low + (high - low) * ((double) (state >> 11) * 0x1p-53);
    }
}

/* Every NaN counts as the same one: its sign and payload are no result. */
static int same (double a, double b)
{
    return (isnan (a) && isnan (b)) || memcmp (&a, &b, sizeof a) == 0;
}

Test (vmath, every_isa_gives_the_bits_of_plain_c)
{
    static double x[N], y[N], out[N];
    sluice_error_t err;
    int tried = 0;
    for (int isa = 0; isa < VM_ISA_COUNT; isa++) {
        if (!vm_has_isa ((vm_isa_t) isa))
            continue;
        cr_assert_eq (vm_set_isa ((vm_isa_t) isa, &err), 0);
        tried++;
        for (size_t f = 0; f < COUNT (unary); f++) {
            fill (x, unary[f].low, unary[f].high, f);
            unary[f].many (out, x, N);
            for (size_t i = 0; i < N; i++)
                cr_assert (same (out[i], unary[f].one (x[i])), "%s %s(%a): %a, not %a",
                           vm_isa_name (), unary[f].name, x[i], out[i],
                           unary[f].one (x[i]));
        }
        for (size_t f = 0; f < COUNT (binary); f++) {
            fill (x, binary[f].low, binary[f].high, f);
            fill (y, -3, 3, f + 100);
            binary[f].many (out, x, y, N);
            for (size_t i = 0; i < N; i++)
                cr_assert (same (out[i], binary[f].one (x[i], y[i])),
                           "%s %s(%a, %a): %a, not %a", vm_isa_name (), binary[f].name,
                           x[i], y[i], out[i], binary[f].one (x[i], y[i]));
        }
    }
    cr_assert_geq (tried, 1);
}

Test (vmath, length_and_place_do_not_change_bits)
{
    double x[40], whole[40], part[40];
    for (size_t i = 0; i < 40; i++)
        x[i] = 0.1 + 0.37 * (double) i;
    sluice_error_t err;
    cr_assert_eq (vm_init (&err), 0);
    vm_log_n (whole, x, 40);
    for (size_t start = 0; start < 20; start++)
        for (size_t n = 0; n <= 20; n++) {
            for (size_t i = 0; i < 40; i++)
                part[i] = -77;
            vm_log_n (part, x + start, n);
            cr_assert_eq (memcmp (part, whole + start, n * sizeof *part), 0);
            cr_assert_eq (part[n], -77.0, "wrote past the end");
        }
}

Test (vmath, in_place)
{
    double x[11], want[11];
    for (size_t i = 0; i < 11; i++)
        x[i] = (double) i - 5;
    sluice_error_t err;
    cr_assert_eq (vm_init (&err), 0);
    vm_exp_n (want, x, 11);
    vm_exp_n (x, x, 11);
    cr_assert_eq (memcmp (x, want, sizeof x), 0);
    for (size_t i = 0; i < 11; i++)
        x[i] = (double) i - 5;
    vm_normal_cdf_n (want, x, 11);
    vm_normal_cdf_n (x, x, 11);
    cr_assert_eq (memcmp (x, want, sizeof x), 0);
}

Test (vmath, near_libm)
{
    for (double x = -30; x < 30; x += 0.37) {
        cr_assert_leq (fabs (vm_exp (x) / exp (x) - 1), 4e-16);
        cr_assert_leq (fabs (vm_sin (x) - sin (x)), 3e-16);
        cr_assert_leq (fabs (vm_atan2 (x, 2) - atan2 (x, 2)), 5e-16);
    }
    for (double x = 0.01; x < 30; x += 0.37)
        cr_assert_leq (fabs (vm_log (x) - log (x)), 1e-15);
    cr_assert_float_eq (vm_normal_cdf (1.0), 0.84134474606854293, 1e-15);
    cr_assert_float_eq (vm_normal_cdf (-8.0) / 6.2209605742717841e-16, 1, 1e-13);
    cr_assert_float_eq (vm_normal_cdf (0.0), 0.5, 0.0);
}

Test (vmath, environment_chooses)
{
    sluice_error_t err;
    setenv ("SLUICE_ISA", "scalar", 1);
    cr_assert_eq (vm_init (&err), 0);
    cr_assert_str_eq (vm_isa_name (), "scalar");
    unsetenv ("SLUICE_ISA");
    cr_assert_eq (vm_init (&err), 0);
    cr_assert (vm_has_isa (vm_isa ()));
}

Test (vmath, refuses_what_it_does_not_know_or_have)
{
    sluice_error_t err = {0};
    cr_assert_eq (vm_set_isa (VM_SCALAR, &err), 0);
    setenv ("SLUICE_ISA", "mmx", 1);
    cr_assert_eq (vm_init (&err), -1);
    cr_assert_eq (err.code, SLUICE_EINPUT);
    cr_assert_not_null (strstr (err.text, "mmx"));
    unsetenv ("SLUICE_ISA");
    cr_assert_eq (vm_set_isa ((vm_isa_t) 77, &err), -1);
    for (int isa = 0; isa < VM_ISA_COUNT; isa++)
        if (!vm_has_isa ((vm_isa_t) isa)) {
            cr_assert_eq (vm_set_isa ((vm_isa_t) isa, &err), -1);
            cr_assert_eq (err.code, SLUICE_EINPUT);
        }
    cr_assert_str_eq (vm_isa_name (), "scalar");
}
