/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <math.h>

#include "calc/gsim.h"
#include "calc/vmath.h"
#include "csv_table.h"

static const imt_t pga = {IMT_PGA, 0};

/* One site at a time; every column of the table to 1e-6. */
static void agree (const char *model, const char *file)
{
    static const char *const measures[] = {"PGA", "SA(0.2)", "SA(1.0)"};
    csv_table_t t = csv_read (file);
    const gsim_t *gsim = gsim_find (model, NULL);
    cr_assert_not_null (gsim);
    double worst = 0;
    for (size_t i = 0; i < t.rows; i++) {
        gsim_rupture_t rupture = {.mag = csv_get (&t, i, "mag"),
                                  .rake = csv_get (&t, i, "rake")};
        double vs30 = csv_get (&t, i, "vs30"), rjb = csv_get (&t, i, "rjb");
        gsim_sites_t sites = {.vs30 = &vs30, .rjb = &rjb};
        for (int k = 0; k < 3; k++) {
            imt_t imt;
            double got[4];
            gsim_result_t result = {got, got + 1, got + 2, got + 3};
            cr_assert_eq (imt_parse (measures[k], &imt, NULL), 0);
            cr_assert_eq (gsim_compute (gsim, &imt, &rupture, 1, &sites, &result, NULL),
                          0);
            static const char *const what[] = {"mean", "sig", "tau", "phi"};
            for (int j = 0; j < 4; j++) {
                char column[32];
                snprintf (column, sizeof column, "%s_%s", what[j], measures[k]);
                double want = csv_get (&t, i, column);
                worst = fmax (worst, fabs (got[j] - want));
                cr_assert_float_eq (got[j], want, 1e-6, "row %zu %s: %.9g, not %.9g", i,
                                    column, got[j], want);
            }
        }
    }
    cr_log_info ("%s: %zu rows, largest difference %.3g", model, t.rows, worst);
    csv_free (&t);
}

Test (gsim, boore_atkinson_2008_agrees_with_the_table)
{
    agree ("BooreAtkinson2008", "gmpe_BooreAtkinson2008.csv");
}

Test (gsim, boore_et_al_2014_agrees_with_the_table)
{
    agree ("BooreEtAl2014", "gmpe_BooreEtAl2014.csv");
}

/* Many sites at once, whatever the instruction set, have the bits of one. */
Test (gsim, arrays_and_isas_give_the_same_bits)
{
    enum { N = 601 };
    static double vs30[N], rjb[N], many[4][N];
    for (int i = 0; i < N; i++) {
        vs30[i] = 150 + 2.3 * i;
        rjb[i] = i * 0.71;
    }
    gsim_sites_t sites = {.vs30 = vs30, .rjb = rjb};
    gsim_result_t result = {many[0], many[1], many[2], many[3]};
    const imt_t imts[] = {pga, {IMT_PGV, 0}, {IMT_SA, 0.37}};
    const gsim_rupture_t ruptures[] = {
        {.mag = 4.2, .rake = 90}, {.mag = 5.1, .rake = -60}, {.mag = 7.3, .rake = 170}};
    const gsim_t *gsim;
    for (size_t g = 0; (gsim = gsim_at (g)); g++)
        for (int isa = 0; isa < VM_ISA_COUNT; isa++)
            for (int k = 0; k < 3; k++) {
                if (vm_set_isa ((vm_isa_t) isa, NULL) == -1)
                    continue;
                cr_assert_eq (
                    gsim_compute (gsim, &imts[k], &ruptures[k], N, &sites, &result, NULL),
                    0);
                cr_assert_eq (vm_set_isa (VM_SCALAR, NULL), 0);
                for (int i = 0; i < N; i += 3) {
                    double one[4];
                    gsim_sites_t site = {.vs30 = vs30 + i, .rjb = rjb + i};
                    gsim_result_t single = {one, one + 1, one + 2, one + 3};
                    gsim_compute (gsim, &imts[k], &ruptures[k], 1, &site, &single, NULL);
                    for (int j = 0; j < 4; j++)
                        cr_assert_eq (one[j], many[j][i], "%s", gsim_name (gsim));
                    cr_assert (isfinite (one[0]) && one[1] > 0);
                }
            }
}

static double mean_of (const gsim_t *gsim, imt_t imt, double mag, double rake, double rjb,
                       double vs30)
{
    double mean = NAN;
    gsim_rupture_t rupture = {.mag = mag, .rake = rake};
    gsim_sites_t sites = {.vs30 = &vs30, .rjb = &rjb};
    gsim_result_t result = {.mean = &mean};
    cr_assert_eq (gsim_compute (gsim, &imt, &rupture, 1, &sites, &result, NULL), 0);
    return mean;
}

/* Continuous in the period, with the tabulated values at tabulated periods. */
Test (gsim, periods_between_those_of_the_tables)
{
    const gsim_t *gsim;
    for (size_t g = 0; (gsim = gsim_at (g)); g++) {
        double last = mean_of (gsim, (imt_t){IMT_SA, 0.01}, 6.5, 0, 20, 400);
        for (double period = 0.01; period < 10; period *= 1.01) {
            double mean = mean_of (gsim, (imt_t){IMT_SA, period}, 6.5, 0, 20, 400);
            cr_assert_float_eq (mean, last, 0.06, "%s at %g s", gsim_name (gsim), period);
            last = mean;
        }
        double at = mean_of (gsim, (imt_t){IMT_SA, 10.0}, 6.5, 0, 20, 400);
        cr_assert_float_eq (at, last, 0.06);
    }
    /* Half way between 1 s and 1.5 s in log. */
    double sigma, rjb = 10, vs30 = 760;
    gsim_rupture_t rupture = {.mag = 6, .rake = 0};
    gsim_sites_t sites = {.vs30 = &vs30, .rjb = &rjb};
    gsim_result_t result = {.sigma = &sigma};
    imt_t imt = {IMT_SA, sqrt (1.5)};
    gsim = gsim_find ("BooreAtkinson2008", NULL);
    cr_assert_eq (gsim_compute (gsim, &imt, &rupture, 1, &sites, &result, NULL), 0);
    cr_assert_float_eq (sigma, (0.647 + 0.679) / 2, 1e-12);
}

Test (gsim, physics)
{
    const gsim_t *gsim;
    for (size_t g = 0; (gsim = gsim_at (g)); g++) {
        cr_assert_gt (mean_of (gsim, pga, 6.5, 0, 10, 760),
                      mean_of (gsim, pga, 6.5, 0, 50, 760));
        cr_assert_gt (mean_of (gsim, pga, 6.5, 0, 10, 760),
                      mean_of (gsim, pga, 5.5, 0, 10, 760));
        cr_assert_gt (mean_of (gsim, pga, 6.5, 0, 50, 300),
                      mean_of (gsim, pga, 6.5, 0, 50, 760));
        cr_assert_lt (mean_of (gsim, pga, 6.5, -90, 10, 760),
                      mean_of (gsim, pga, 6.5, 90, 10, 760));
        /* PGV in cm/s: a few tens near a large event. */
        double pgv = mean_of (gsim, (imt_t){IMT_PGV, 0}, 7, 0, 5, 760);
        cr_assert (pgv > log (10) && pgv < log (150), "%g", exp (pgv));
        /* Unspecified mechanism: between the others. */
        double any = mean_of (gsim, pga, 6.5, NAN, 10, 760);
        cr_assert (any > mean_of (gsim, pga, 6.5, -90, 10, 760));
        cr_assert (any < mean_of (gsim, pga, 6.5, 0, 10, 760));
        cr_assert_eq (mean_of (gsim, pga, 6.5, 180, 10, 760),
                      mean_of (gsim, pga, 6.5, 30, 10, 760));
        cr_assert_eq (mean_of (gsim, pga, 6.5, -150, 10, 760),
                      mean_of (gsim, pga, 6.5, -30, 10, 760));
    }
}

Test (gsim, found_by_name)
{
    sluice_error_t err = {0};
    const char *const good[] = {"BooreAtkinson2008", "[BooreAtkinson2008]",
                                "  [BooreAtkinson2008]\n"};
    for (int i = 0; i < 3; i++) {
        const gsim_t *gsim = gsim_find (good[i], &err);
        cr_assert_not_null (gsim, "%s", good[i]);
        cr_assert_str_eq (gsim_name (gsim), "BooreAtkinson2008");
        cr_assert_eq (gsim_needs (gsim), GSIM_MAG | GSIM_RAKE | GSIM_VS30 | GSIM_RJB);
    }
    const char *const bad[] = {"",
                               "[]",
                               "Boore",
                               "BooreAtkinson2008x",
                               "[BooreEtAl2014",
                               "BooreEtAl2014]",
                               "[BooreEtAl2014]\nregion = \"JPN\"",
                               "booreetal2014"};
    for (int i = 0; i < 8; i++) {
        cr_assert_null (gsim_find (bad[i], &err), "%s", bad[i]);
        cr_assert_eq (err.code, SLUICE_EINPUT);
        cr_assert_not_null (strstr (err.text, "BooreAtkinson2008, BooreEtAl2014"));
    }
}

Test (gsim, intensity_measures)
{
    imt_t imt;
    char text[32];
    const char *const good[] = {"PGA",      "PGV",       "SA(0.2)",        "SA(1.0)",
                                "SA(10.0)", "SA(0.075)", "SA(0.123456789)"};
    for (int i = 0; i < 7; i++) {
        cr_assert_eq (imt_parse (good[i], &imt, NULL), 0, "%s", good[i]);
        cr_assert_str_eq (imt_name (&imt, text), good[i]);
    }
    cr_assert_eq (imt_parse ("SA(1)", &imt, NULL), 0);
    cr_assert_str_eq (imt_name (&imt, text), "SA(1.0)");
    imt = (imt_t){IMT_SA, -2.2250738585072014e-308 / 3};
    imt_name (&imt, text);
    const char *const bad[] = {"",       "pga",     "SA",      "SA()",    "SA(0)",
                               "SA(-1)", "SA(nan)", "SA(inf)", "SA(0x1)", "SA(1",
                               "SA(1) ", "SA(1)x",  "SA( 1)",  "MMI",     "SA(1e999)",
                               "SA(.)",  "SA(+1)"};
    sluice_error_t err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq (imt_parse (bad[i], &imt, &err), -1, "%s", bad[i]);
        cr_assert_eq (err.code, SLUICE_EINPUT);
    }
}

Test (gsim, refuses_what_it_does_not_know)
{
    sluice_error_t err = {0};
    const gsim_t *gsim = gsim_find ("BooreEtAl2014", NULL);
    const double periods[] = {0.0099, 10.1, NAN, INFINITY, 0};
    double vs30 = 760, rjb = 10, mean;
    gsim_rupture_t rupture = {.mag = 6};
    gsim_sites_t sites = {.vs30 = &vs30, .rjb = &rjb};
    gsim_result_t result = {.mean = &mean};
    for (int i = 0; i < 5; i++) {
        imt_t imt = {IMT_SA, periods[i]};
        cr_assert_eq (gsim_check (gsim, &imt, &err), -1);
        cr_assert_eq (err.code, SLUICE_EINPUT);
        cr_assert_not_null (strstr (err.text, "from 0.01 to 10 s"));
        cr_assert_eq (gsim_compute (gsim, &imt, &rupture, 1, &sites, &result, &err), -1);
    }
    sites.rjb = NULL;
    cr_assert_eq (gsim_compute (gsim, &pga, &rupture, 1, &sites, &result, &err), -1);
    cr_assert_not_null (strstr (err.text, "rjb"));
    cr_assert_eq (gsim_compute (gsim, &pga, &rupture, 0, &sites, &result, &err), 0);
    sites.rjb = &rjb;
    rupture.mag = NAN;
    cr_assert_eq (gsim_compute (gsim, &pga, &rupture, 1, &sites, &result, &err), -1);
    cr_assert_null (gsim_at (99));
}
