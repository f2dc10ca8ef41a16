/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Boore, Stewart, Seyhan and Atkinson (2014), "NGA-West2 equations for predicting
 * PGA, PGV, and 5% damped PSA for shallow crustal earthquakes", Earthquake Spectra
 * 30 (3), 1057-1085. Equations by their numbers there. Region: California and global
 * (no correction of the anelastic term); no basin term, which leaves out depth to
 * 1 km/s. */

#include <math.h>

#include "calc/gsim_bssa14_table.h"
#include "calc/gsim_model.h"
#include "calc/vmath.h"

typedef struct {
    double e0, e1, e2, e3, e4, e5, e6, mh;
    double c1, c2, c3, h, c, vc, f4, f5;
    double r1, r2, dphi_r, dphi_v, phi1, phi2, tau1, tau2;
} coefficients_t;

#define WIDTH (sizeof (coefficients_t) / sizeof (double))

static const gsim_table_t table = {bssa14_pga, bssa14_pgv, bssa14_sa,
                                   sizeof bssa14_sa / sizeof *bssa14_sa / (WIDTH + 1),
                                   WIDTH};

#define V_REF 760.0 /* m/s: rock */
#define V_1 225.0   /* soil at which phi is reduced in full, */
#define V_2 300.0   /* and from which on not at all */

/* Equation 2. */
static double source_term (const coefficients_t *c, const gsim_rupture_t *rupture)
{
    fault_t fault = gsim_fault (rupture->rake);
    double e = fault == FAULT_UNSPECIFIED   ? c->e0
               : fault == FAULT_STRIKE_SLIP ? c->e1
               : fault == FAULT_NORMAL      ? c->e2
                                            : c->e3;
    double d = rupture->mag - c->mh;
    return rupture->mag <= c->mh ? e + (c->e4 * d + c->e5 * d * d) : e + c->e6 * d;
}

/* Source (2) and path (3, 4): the motion on rock. */
static void rock (const coefficients_t *c, const gsim_rupture_t *rupture, size_t n,
                  const double *rjb, double *out)
{
    double r[GSIM_BLOCK], log_r[GSIM_BLOCK];
    double source = source_term (c, rupture);
    double spread = c->c1 + c->c2 * (rupture->mag - 4.5);
    for (size_t i = 0; i < n; i++)
        r[i] = sqrt (rjb[i] * rjb[i] + c->h * c->h);
    vm_log_n (log_r, r, n);
    for (size_t i = 0; i < n; i++)
        out[i] = source + (spread * log_r[i] + c->c3 * (r[i] - 1.0));
}

/* Add the site terms: linear (6) and nonlinear (7, 8). */
static void site_terms (const coefficients_t *c, size_t n, const double *vs30,
                        const double *log_v, const double *log_pga, double *mean)
{
    double stiff[GSIM_BLOCK], strong[GSIM_BLOCK];
    for (size_t i = 0; i < n; i++)
        stiff[i] = c->f5 * ((vs30[i] < V_REF ? vs30[i] : V_REF) - 360.0);
    vm_exp_n (stiff, stiff, n);
    vm_exp_n (strong, log_pga, n);
    for (size_t i = 0; i < n; i++)
        strong[i] = (strong[i] + 0.1) / 0.1;
    vm_log_n (strong, strong, n);
    double limit = vm_log (c->vc / V_REF), rock_stiff = vm_exp (c->f5 * (V_REF - 360.0));
    for (size_t i = 0; i < n; i++) {
        double linear = c->c * (vs30[i] > c->vc ? limit : log_v[i]);
        mean[i] += linear + c->f4 * (stiff[i] - rock_stiff) * strong[i];
    }
}

/* Between `small` at magnitude 4.5 and `large` at 5.5 (14, 17). */
static double by_magnitude (double mag, double small, double large)
{
    if (mag <= 4.5)
        return small;
    return mag < 5.5 ? small + (large - small) * (mag - 4.5) : large;
}

/* The deviation within events (15, 16). */
static void within (const coefficients_t *c, double mag, size_t n,
                    const gsim_sites_t *sites, const double *log_v, double *phi)
{
    double base = by_magnitude (mag, c->phi1, c->phi2);
    double log_1 = vm_log (V_1 / V_REF), log_2 = vm_log (V_2 / V_REF);
    double log_r1 = vm_log (c->r1), log_r2 = vm_log (c->r2);
    for (size_t i = 0; i < n; i++) {
        double r = sites->rjb[i], v = sites->vs30[i];
        phi[i] = base;
        if (r > c->r2)
            phi[i] += c->dphi_r;
        else if (r > c->r1)
            phi[i] += c->dphi_r * (vm_log (r) - log_r1) / (log_r2 - log_r1);
        if (v <= V_1)
            phi[i] -= c->dphi_v;
        else if (v < V_2)
            phi[i] -= c->dphi_v * (log_2 - log_v[i]) / (log_2 - log_1);
    }
}

static void compute (const imt_t *imt, const gsim_rupture_t *rupture, size_t n,
                     const gsim_sites_t *sites, const gsim_result_t *out)
{
    static const imt_t pga = {IMT_PGA, 0};
    coefficients_t c, c_pga;
    gsim_coefficients (&table, imt, (double *) &c);
    gsim_coefficients (&table, &pga, (double *) &c_pga);
    double log_v[GSIM_BLOCK], log_pga[GSIM_BLOCK];
    for (size_t i = 0; i < n; i++)
        log_v[i] = sites->vs30[i] / V_REF;
    vm_log_n (log_v, log_v, n);
    rock (&c, rupture, n, sites->rjb, out->mean);
    rock (&c_pga, rupture, n, sites->rjb, log_pga);
    site_terms (&c, n, sites->vs30, log_v, log_pga, out->mean);
    within (&c, rupture->mag, n, sites, log_v, out->phi);
    double tau = by_magnitude (rupture->mag, c.tau1, c.tau2);
    for (size_t i = 0; i < n; i++) {
        out->tau[i] = tau;
        out->sigma[i] = sqrt (tau * tau + out->phi[i] * out->phi[i]);
    }
}

const gsim_t gsim_bssa14 = {"BooreEtAl2014", GSIM_MAG | GSIM_RAKE | GSIM_VS30 | GSIM_RJB,
                            0.01, 10.0, compute};
