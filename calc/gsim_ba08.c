/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Boore and Atkinson (2008), "Ground-motion prediction equations for the average
 * horizontal component of PGA, PGV, and 5%-damped PSA at spectral periods between
 * 0.01 s and 10.0 s", Earthquake Spectra 24 (1), 99-138. Equations by their numbers
 * there. The reference distance is 1 km for all measures (erratum of 27 August 2008
 * to table 6). */

#include <math.h>

#include "calc/gsim_model.h"
#include "calc/vmath.h"

/* Tables 6, 7 and 8: distance (3, 4), magnitude (5), deviations for specified
 * mechanism. */
typedef struct {
    double c1, c2, c3, h, e1, e2, e3, e4, e5, e6, e7, mh, phi, tau, sigma;
} motion_t;

#define MOTION_WIDTH (sizeof (motion_t) / sizeof (double))

/* Table 3, and for further periods the values of the authors' program for the same
 * soil response. */
typedef struct {
    double blin, b1, b2;
} soil_t;

#define SOIL_WIDTH (sizeof (soil_t) / sizeof (double))

/* clang-format off */
static const double motion_pgv[] = {
    0.0, -0.87370, 0.10060, -0.00334, 2.54, 5.00121, 5.04727, 4.63188, 5.08210,
        0.18322, -0.12736, 0.00000, 8.50, 0.500, 0.256, 0.560,
};

static const double motion_pga[] = {
    0.0, -0.66050, 0.11970, -0.01151, 1.35, -0.53804, -0.50350, -0.75472, -0.50970,
        0.28805, -0.10164, 0.00000, 6.75, 0.502, 0.260, 0.564,
};

static const double motion_sa[] = {
    0.010, -0.66220, 0.12000, -0.01151, 1.35, -0.52883, -0.49429, -0.74551, -0.49966,
        0.28897, -0.10019, 0.00000, 6.75, 0.502, 0.262, 0.566,
    0.020, -0.66600, 0.12280, -0.01151, 1.35, -0.52192, -0.48508, -0.73906, -0.48895,
        0.25144, -0.11006, 0.00000, 6.75, 0.502, 0.262, 0.566,
    0.030, -0.69010, 0.12830, -0.01151, 1.35, -0.45285, -0.41831, -0.66722, -0.42229,
        0.17976, -0.12858, 0.00000, 6.75, 0.507, 0.274, 0.576,
    0.050, -0.71700, 0.13170, -0.01151, 1.35, -0.28476, -0.25022, -0.48462, -0.26092,
        0.06369, -0.15752, 0.00000, 6.75, 0.516, 0.286, 0.589,
    0.075, -0.72050, 0.12370, -0.01151, 1.55, 0.00767, 0.04912, -0.20578, 0.02706,
        0.01170, -0.17051, 0.00000, 6.75, 0.513, 0.320, 0.606,
    0.10, -0.70810, 0.11170, -0.01151, 1.68, 0.20109, 0.23102, 0.03058, 0.22193,
        0.04697, -0.15948, 0.00000, 6.75, 0.520, 0.318, 0.608,
    0.15, -0.69610, 0.09884, -0.01113, 1.86, 0.46128, 0.48661, 0.30185, 0.49328,
        0.17990, -0.14539, 0.00000, 6.75, 0.518, 0.290, 0.594,
    0.20, -0.58300, 0.04273, -0.00952, 1.98, 0.57180, 0.59253, 0.40860, 0.61472,
        0.52729, -0.12964, 0.00102, 6.75, 0.523, 0.288, 0.596,
    0.25, -0.57260, 0.02977, -0.00837, 2.07, 0.51884, 0.53496, 0.33880, 0.57747,
        0.60880, -0.13843, 0.08607, 6.75, 0.527, 0.267, 0.592,
    0.30, -0.55430, 0.01955, -0.00750, 2.14, 0.43825, 0.44516, 0.25356, 0.51990,
        0.64472, -0.15694, 0.10601, 6.75, 0.546, 0.269, 0.608,
    0.40, -0.64430, 0.04394, -0.00626, 2.24, 0.39220, 0.40602, 0.21398, 0.46080,
        0.78610, -0.07843, 0.02262, 6.75, 0.541, 0.267, 0.603,
    0.50, -0.69140, 0.06080, -0.00540, 2.32, 0.18957, 0.19878, 0.00967, 0.26337,
        0.76837, -0.09054, 0.00000, 6.75, 0.555, 0.265, 0.615,
    0.75, -0.74080, 0.07518, -0.00409, 2.46, -0.21338, -0.19496, -0.49176, -0.10813,
        0.75179, -0.14053, 0.10302, 6.75, 0.571, 0.299, 0.645,
    1.0, -0.81830, 0.10270, -0.00334, 2.54, -0.46896, -0.43443, -0.78465, -0.39330,
        0.67880, -0.18257, 0.05393, 6.75, 0.573, 0.302, 0.647,
    1.5, -0.83030, 0.09793, -0.00255, 2.66, -0.86271, -0.79593, -1.20902, -0.88085,
        0.70689, -0.25950, 0.19082, 6.75, 0.566, 0.373, 0.679,
    2.0, -0.82850, 0.09432, -0.00217, 2.73, -1.22652, -1.15514, -1.57697, -1.27669,
        0.77989, -0.29657, 0.29888, 6.75, 0.580, 0.389, 0.700,
    3.0, -0.78440, 0.07282, -0.00191, 2.83, -1.82979, -1.74690, -2.22584, -1.91814,
        0.77966, -0.45384, 0.67466, 6.75, 0.566, 0.401, 0.695,
    4.0, -0.68540, 0.03758, -0.00191, 2.89, -2.24656, -2.15906, -2.58228, -2.38168,
        1.24961, -0.35874, 0.79508, 6.75, 0.583, 0.385, 0.698,
    5.0, -0.50960, -0.02391, -0.00191, 2.93, -1.28408, -1.21270, -1.50904, -1.41093,
        0.14271, -0.39006, 0.00000, 8.50, 0.601, 0.437, 0.744,
    7.5, -0.37240, -0.06568, -0.00191, 3.00, -1.43145, -1.31632, -1.81022, -1.59217,
        0.52407, -0.37578, 0.00000, 8.50, 0.626, 0.477, 0.787,
    10.0, -0.09824, -0.13800, -0.00191, 3.04, -2.15446, -2.16137, -2.53323, -2.14635,
        0.40387, -0.48492, 0.00000, 8.50, 0.645, 0.477, 0.801,
};

static const double soil_pgv[] = {0.0, -0.60, -0.50, -0.06};

static const double soil_pga[] = {0.0, -0.36, -0.64, -0.14};

static const double soil_sa[] = {
    0.010, -0.36, -0.64, -0.14,
    0.020, -0.34, -0.63, -0.12,
    0.030, -0.33, -0.62, -0.11,
    0.040, -0.31, -0.61, -0.11,
    0.050, -0.29, -0.64, -0.11,
    0.060, -0.25, -0.64, -0.11,
    0.075, -0.23, -0.64, -0.11,
    0.090, -0.23, -0.64, -0.12,
    0.100, -0.25, -0.60, -0.13,
    0.120, -0.26, -0.56, -0.14,
    0.150, -0.28, -0.53, -0.18,
    0.170, -0.29, -0.53, -0.19,
    0.200, -0.31, -0.52, -0.19,
    0.240, -0.38, -0.52, -0.16,
    0.250, -0.39, -0.52, -0.16,
    0.300, -0.44, -0.52, -0.14,
    0.360, -0.48, -0.51, -0.11,
    0.400, -0.50, -0.51, -0.10,
    0.460, -0.55, -0.50, -0.08,
    0.500, -0.60, -0.50, -0.06,
    0.600, -0.66, -0.49, -0.03,
    0.750, -0.69, -0.47, 0.0,
    0.850, -0.69, -0.46, 0.0,
    1.000, -0.70, -0.44, 0.0,
    1.500, -0.72, -0.40, 0.0,
    2.000, -0.73, -0.38, 0.0,
    3.000, -0.74, -0.34, 0.0,
    4.000, -0.75, -0.31, 0.0,
    5.000, -0.75, -0.291, 0.0,
    7.500, -0.692, -0.247, 0.0,
    10.00, -0.650, -0.215, 0.0,
};
/* clang-format on */

static const gsim_table_t motion_table = {
    motion_pga, motion_pgv, motion_sa,
    sizeof motion_sa / sizeof *motion_sa / (MOTION_WIDTH + 1), MOTION_WIDTH};
static const gsim_table_t soil_table = {
    soil_pga, soil_pgv, soil_sa, sizeof soil_sa / sizeof *soil_sa / (SOIL_WIDTH + 1),
    SOIL_WIDTH};

#define V_REF 760.0 /* m/s: rock */
#define V_2 300.0
#define V_1 180.0

/* Equation 5. */
static double magnitude_term (const motion_t *c, const gsim_rupture_t *rupture)
{
    fault_t fault = gsim_fault (rupture->rake);
    double e = fault == FAULT_UNSPECIFIED   ? c->e1
               : fault == FAULT_STRIKE_SLIP ? c->e2
               : fault == FAULT_NORMAL      ? c->e3
                                            : c->e4;
    double d = rupture->mag - c->mh;
    return rupture->mag <= c->mh ? e + c->e5 * d + c->e6 * d * d : e + c->e7 * d;
}

/* Equation 1 on rock: magnitude (5) and distance (3, 4) terms. */
static void rock (const motion_t *c, const gsim_rupture_t *rupture, size_t n,
                  const double *rjb, double *out)
{
    double r[GSIM_BLOCK], log_r[GSIM_BLOCK];
    double source = magnitude_term (c, rupture);
    double spread = c->c1 + c->c2 * (rupture->mag - 4.5);
    for (size_t i = 0; i < n; i++)
        r[i] = sqrt (rjb[i] * rjb[i] + c->h * c->h);
    vm_log_n (log_r, r, n);
    for (size_t i = 0; i < n; i++)
        out[i] = source + (spread * log_r[i] + c->c3 * (r[i] - 1.0));
}

static void compute (const imt_t *imt, const gsim_rupture_t *rupture, size_t n,
                     const gsim_sites_t *sites, const gsim_result_t *out)
{
    static const imt_t pga_imt = {IMT_PGA, 0};
    motion_t c, c_pga;
    soil_t s;
    gsim_coefficients (&motion_table, imt, (double *) &c);
    gsim_coefficients (&motion_table, &pga_imt, (double *) &c_pga);
    gsim_coefficients (&soil_table, imt, (double *) &s);
    double log_v[GSIM_BLOCK], log_pga[GSIM_BLOCK];
    rock (&c, rupture, n, sites->rjb, out->mean);
    rock (&c_pga, rupture, n, sites->rjb, log_pga);
    for (size_t i = 0; i < n; i++)
        log_v[i] = sites->vs30[i] / V_REF;
    vm_log_n (log_v, log_v, n);
    const double log_2 = vm_log (V_2 / V_REF), log_1 = vm_log (V_1 / V_REF);
    const double low = vm_log (0.06 / 0.1), log_a1 = vm_log (0.03),
                 log_a2 = vm_log (0.09);
    const double log_tenth = vm_log (0.1), dx = log_a2 - log_a1;
    const double dy = vm_log (0.09 / 0.06);
    for (size_t i = 0; i < n; i++) {
        /* Equation 13: slope of the nonlinear response, 0 on rock. */
        double v = sites->vs30[i], slope = 0;
        if (v <= V_1)
            slope = s.b1;
        else if (v <= V_2)
            slope = (s.b1 - s.b2) * (log_v[i] - log_2) / (log_1 - log_2) + s.b2;
        else if (v < V_REF)
            slope = s.b2 * log_v[i] / log_2;
        /* Equation 8, smooth between 0.03 g and 0.09 g. */
        double response = slope * low;
        if (log_pga[i] > log_a2) {
            response = slope * (log_pga[i] - log_tenth);
        } else if (log_pga[i] > log_a1) {
            double x = log_pga[i] - log_a1;
            double cubic = -(2 * dy - dx) / (dx * dx * dx);
            double square = (3 * dy - dx) / (dx * dx);
            response += slope * (square * x * x + cubic * x * x * x);
        }
        out->mean[i] += s.blin * log_v[i] + response;
        out->sigma[i] = c.sigma;
        out->tau[i] = c.tau;
        out->phi[i] = c.phi;
    }
}

const gsim_t gsim_ba08 = {"BooreAtkinson2008",
                          GSIM_MAG | GSIM_RAKE | GSIM_VS30 | GSIM_RJB, 0.01, 10.0,
                          compute};
