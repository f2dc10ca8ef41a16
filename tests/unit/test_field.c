/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "calc/field.h"
#include "calc/vmath.h"

#define N 4133 /* odd, so that every width has lanes left over */

static double between (double low, double high, uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * ((double) (*state >> 11) * 0x1p-53);
}

typedef struct {
    double mean[N], tau[N], phi[N], within[N];
} sites_t;

/* Logarithms over all that exp can take, small ones and those of nature. */
static void fill (sites_t *sites)
{
    static const double odd[] = {
        0.0,    -0.0,  1e-300, 700.0,  -700.0, 700.5,    -700.5,    709.0, -745.0, -746.0,
        -1000., 1000., 1e300,  -1e300, 88.0,   INFINITY, -INFINITY, 0.3,   -103.9, -87.4};
    uint64_t state = 1;
    for (size_t i = 0; i < N; i++) {
        double most = i % 3 == 0 ? 760 : i % 3 == 1 ? 20 : 1e-9;
        size_t k = i - 2000;
        bool is_odd = i >= 2000 && k < sizeof odd / sizeof *odd;
        sites->mean[i] = is_odd ? odd[k] : between (-most, most, &state);
        sites->tau[i] = is_odd ? 0 : between (0, 1, &state);
        sites->phi[i] = is_odd ? 0 : between (0, 1, &state);
        sites->within[i] = between (-4, 4, &state);
    }
}

/* One after another, with vm_exp. */
static void plain (float *out, const sites_t *sites, double event)
{
    for (size_t i = 0; i < N; i++)
        out[i] = (float) vm_exp (sites->mean[i] + sites->tau[i] * event +
                                 sites->phi[i] * sites->within[i]);
}

Test (field, motion_has_the_same_bits_with_every_isa)
{
    static sites_t sites;
    static float want[N], got[N + 1];
    const field_model_t model = {sites.mean, sites.tau, sites.phi};
    fill (&sites);
    plain (want, &sites, -0.7);
    for (int isa = 0; isa < VM_ISA_COUNT; isa++) {
        if (!vm_has_isa ((vm_isa_t) isa))
            continue;
        cr_assert_eq (vm_set_isa ((vm_isa_t) isa, NULL), 0);
        field_motion (got, &model, -0.7, sites.within, N);
        for (size_t i = 0; i < N; i++)
            cr_assert_eq (memcmp (&got[i], &want[i], sizeof *got), 0,
                          "%s: site %zu, ln %a: %a, not %a", vm_isa_name (), i,
                          sites.mean[i], (double) got[i], (double) want[i]);
        for (size_t n = 0; n < 70; n++)
            for (size_t first = 1980; first < 2030; first += 7) {
                const field_model_t part = {sites.mean + first, sites.tau + first,
                                            sites.phi + first};
                got[n] = -77;
                field_motion (got, &part, -0.7, sites.within + first, n);
                cr_assert_eq (memcmp (got, want + first, n * sizeof *got), 0);
                cr_assert_eq (got[n], -77.0f, "wrote past the end");
            }
    }
}

Test (field, no_number_stays_none)
{
    const double none = NAN, one = 1;
    const field_model_t model = {&none, &one, &one};
    for (int isa = 0; isa < VM_ISA_COUNT; isa++) {
        float got = 0;
        if (!vm_has_isa ((vm_isa_t) isa))
            continue;
        cr_assert_eq (vm_set_isa ((vm_isa_t) isa, NULL), 0);
        field_motion (&got, &model, 0.5, &one, 1);
        cr_assert (isnan (got));
    }
}

Test (field, rows_lie_as_in_the_table)
{
    enum { MOST = 300, STEP = 320, COLUMNS = 20, GUARD = 0x5a5a5a5a };
    static float values[COLUMNS * STEP];
    static uint32_t rows[(COLUMNS + 2) * MOST + 40];
    static const size_t counts[] = {0, 1, 2, 15, 16, 17, 31, 32, 33, 127, 128, 129, MOST};
    for (size_t i = 0; i < COLUMNS * STEP; i++)
        values[i] = (float) i;
    for (int isa = 0; isa < VM_ISA_COUNT; isa++) {
        if (!vm_has_isa ((vm_isa_t) isa))
            continue;
        cr_assert_eq (vm_set_isa ((vm_isa_t) isa, NULL), 0);
        for (size_t columns = 1; columns <= COLUMNS; columns++) {
            field_layout_t *layout = field_layout_new (columns);
            size_t words = columns + 2;
            cr_assert_eq (field_layout_row (layout), 4 * words);
            for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
                for (size_t start = 0; start < 17; start++) {
                    size_t n = counts[k];
                    memset (rows, 0x5a, sizeof rows);
                    field_rows (layout, rows + start, 4000000000u, 77, values + start,
                                STEP, n);
                    for (size_t i = 0; i < start; i++)
                        cr_assert_eq (rows[i], GUARD, "wrote before the beginning");
                    cr_assert_eq (rows[start + n * words], GUARD, "wrote past the end");
                    for (size_t i = 0; i < n; i++) {
                        const uint32_t *row = rows + start + i * words;
                        cr_assert (row[0] == 4000000000u + i && row[1] == 77);
                        cr_assert_eq (memcmp (&row[2], &values[start + i], 4), 0);
                        for (size_t m = 1; m < columns; m++)
                            if (memcmp (&row[2 + m], &values[m * STEP + start + i], 4))
                                cr_assert_fail ("%s: %zu columns, row %zu, column %zu",
                                                vm_isa_name (), columns, i, m);
                    }
                }
            field_layout_destroy (&layout);
            cr_assert_null (layout);
        }
    }
}
