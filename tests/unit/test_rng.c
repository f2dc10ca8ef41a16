/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "calc/rng.h"
#include "calc/vmath.h"

#define N 3001

/* Random123 1.14, tests/kat_vectors, the lines "philox4x32 10". */
Test (rng, philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t words[4];
        rng_philox (known[i].counter, known[i].key, words);
        cr_assert_eq (memcmp (words, known[i].words, sizeof words), 0, "vector %zu", i);
        rng_stream_t stream = {.seed = known[i].key[0] | (uint64_t) known[i].key[1] << 32,
                               .item = known[i].counter[2] |
                                       (uint64_t) known[i].counter[3] << 32,
                               .stage = known[i].counter[1]};
        rng_block (&stream, known[i].counter[0], words);
        cr_assert_eq (memcmp (words, known[i].words, sizeof words), 0, "vector %zu", i);
    }
}

/* With every instruction set what Random123 itself gives, also where the number of the
 * block comes to its end. */
Test (rng, uniform_draws_are_the_documented_words)
{
    static const uint64_t starts[] = {0, 1, 1234567, (1ull << 33) - 100};
    rng_stream_t stream = {0x0123456789abcdef, 0xfedcba9876543210, 7};
    double u[N];
    for (int isa = 0; isa < VM_ISA_COUNT; isa++) {
        if (!vm_has_isa ((vm_isa_t) isa))
            continue;
        cr_assert_eq (vm_set_isa ((vm_isa_t) isa, NULL), 0);
        for (size_t k = 0; k < sizeof starts / sizeof *starts; k++) {
            rng_uniform_n (&stream, starts[k], u, N);
            for (uint32_t i = 0; i < N; i++) {
                uint64_t place = starts[k] + i;
                uint32_t w[4];
                rng_block (&stream, (uint32_t) (place / 2), w);
                uint64_t bits = place % 2 ? w[2] | (uint64_t) w[3] << 32
                                          : w[0] | (uint64_t) w[1] << 32;
                cr_assert_eq (u[i], rng_u01 (bits), "%s: draw %u", vm_isa_name (), i);
            }
        }
    }
}

Test (rng, uniform_is_open)
{
    cr_assert_eq (rng_u01 (0), 0x1p-54);
    cr_assert_lt (rng_u01 (UINT64_MAX), 1.0);
    cr_assert_eq (rng_u01 (UINT64_MAX), 1.0 - 0x1p-53);
    cr_assert (isfinite (rng_normal_quantile (rng_u01 (0))));
    cr_assert (isfinite (rng_normal_quantile (rng_u01 (UINT64_MAX))));
}

Test (rng, every_isa_gives_the_same_bits)
{
    /* Besides those of a truncation: all in the farthest tail, below and above, and
     * over the limits between the three formulas. */
    static const rng_truncation_t odd[] = {
        {INFINITY, 1e-300, 1e-12}, {INFINITY, 1 - 1e-12, 0x1p-41},
        {INFINITY, 0.0, 1e-10},    {INFINITY, 0.0749, 0.0002},
        {1.5, 0.9249, 0.0002},     {1.0, 0.0, 1.0}};
    enum { ODD = sizeof odd / sizeof *odd };
    static double first[3 + ODD][N], again[3 + ODD][N];
    rng_stream_t stream = {99, 5, 2};
    int tried = 0;
    for (int isa = 0; isa < VM_ISA_COUNT; isa++) {
        if (!vm_has_isa ((vm_isa_t) isa))
            continue;
        cr_assert_eq (vm_set_isa ((vm_isa_t) isa, NULL), 0);
        rng_uniform_n (&stream, 3, again[0], N);
        rng_normal_n (&stream, 3, 3.0, again[1], N);
        rng_normal_n (&stream, 3, INFINITY, again[2], N);
        for (size_t k = 0; k < ODD; k++)
            rng_truncated_n (&stream, 0, &odd[k], again[3 + k], N);
        if (tried++ == 0)
            memcpy (first, again, sizeof first);
        cr_assert_eq (memcmp (first, again, sizeof first), 0, "%s", vm_isa_name ());
    }
}

Test (rng, position_is_all_that_counts)
{
    double whole[N], part[N];
    rng_stream_t stream = {1, 2, 3};
    rng_normal_n (&stream, 0, 4.0, whole, N);
    for (size_t start = 0; start < 20; start++)
        for (size_t n = 1; start + n <= N; n = n * 3 + 1) {
            part[n < N ? n : 0] = -77;
            rng_normal_n (&stream, start, 4.0, part, n);
            cr_assert_eq (memcmp (part, whole + start, n * sizeof *part), 0);
            if (n < N)
                cr_assert_eq (part[n], -77.0, "wrote past the end");
        }
    rng_stream_t other[] = {{2, 2, 3},
                            {1, 3, 3},
                            {1, 2, 4},
                            {1, 2 + (1ull << 32), 3},
                            {1 + (1ull << 32), 2, 3}};
    for (size_t i = 0; i < 5; i++) {
        rng_normal_n (&other[i], 0, 4.0, part, 1);
        cr_assert_neq (part[0], whole[0]);
    }
}

/* Every normal is the quantile of its uniform draw. */
Test (rng, normals_are_quantiles)
{
    static double u[N], x[N];
    rng_stream_t stream = {3, 4, 5};
    cr_assert_eq (vm_init (NULL), 0);
    rng_uniform_n (&stream, 0, u, N);
    rng_normal_n (&stream, 0, INFINITY, x, N);
    for (size_t i = 0; i < N; i++)
        cr_assert_eq (x[i], rng_normal_quantile (u[i]));
    const rng_truncation_t far = {INFINITY, 1e-300, 1e-12};
    rng_truncated_n (&stream, 0, &far, x, N);
    for (size_t i = 0; i < N; i++)
        cr_assert_eq (x[i], rng_normal_quantile (1e-300 + u[i] * 1e-12));
}

/* Quantiles of the tables, and back through the distribution function. */
Test (rng, quantiles)
{
    static const double known[][2] = {
        {0.5, 0.0},
        {0.975, 1.9599639845400542355},
        {0.025, -1.9599639845400542355},
        {0.25, -0.67448975019608174320},
        {0.001, -3.0902323061678135415},
        {1e-20, -9.2623400897984075888},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        cr_assert_float_eq (rng_normal_quantile (known[i][0]), known[i][1], 3e-15);
    for (double p = 1e-15; p < 0.99; p = p < 0.1 ? p * 3 : p + 0.01)
        cr_assert_float_eq (vm_normal_cdf (rng_normal_quantile (p)) / p, 1.0, 1e-13);
}

Test (rng, moments)
{
    enum { M = 400000 };
    static double x[M];
    rng_stream_t stream = {20240229, 0, 1};
    const double truncations[] = {INFINITY, 3.0, 1.0};
    /* Variance 1 - 2 t phi (t) / (2 Phi (t) - 1). */
    const double variances[] = {1.0, 0.97334, 0.29112};
    for (int k = 0; k < 3; k++) {
        rng_normal_n (&stream, 0, truncations[k], x, M);
        double sum = 0, squares = 0, top = 0;
        for (size_t i = 0; i < M; i++) {
            sum += x[i];
            squares += x[i] * x[i];
            top = fmax (top, fabs (x[i]));
        }
        cr_assert_float_eq (sum / M, 0.0, 0.008);
        cr_assert_float_eq (squares / M, variances[k], 0.012);
        cr_assert_leq (top, truncations[k]);
    }
}

Test (rng, truncation_at_its_ends)
{
    double x[N], want[N];
    rng_stream_t stream = {5, 6, 7};
    rng_normal_n (&stream, 0, 0.0, x, N);
    for (size_t i = 0; i < N; i++)
        cr_assert_eq (x[i], 0.0);
    rng_normal_n (&stream, 0, INFINITY, want, N);
    const double large[] = {99, 1e300, 40};
    for (int k = 0; k < 3; k++) {
        rng_normal_n (&stream, 0, large[k], x, N);
        cr_assert_eq (memcmp (x, want, sizeof x), 0);
    }
    const double odd[] = {6, 7.5, 8.2, 8.3, 9, 1e-3, 1e-300};
    for (int k = 0; k < 7; k++) {
        rng_normal_n (&stream, 0, odd[k], x, N);
        for (size_t i = 0; i < N; i++)
            cr_assert (fabs (x[i]) <= odd[k]);
    }
}
