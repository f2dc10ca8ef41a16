/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* gsim.h - ground shaking intensity models
 *
 * A model (GSIM) says how strong the ground shakes at a site: the mean and the
 * standard deviation of the logarithm of an intensity measure, given a rupture, the
 * site's distance from it and its soil. Models are found by their OpenQuake name:
 *
 *   BooreAtkinson2008  Boore and Atkinson (2008), Earthquake Spectra 24 (1), 99-138
 *   BooreEtAl2014      Boore, Stewart, Seyhan and Atkinson (2014), Earthquake Spectra
 *                      30 (3), 1057-1085; California and global, no basin term
 *
 * Results agree with OpenQuake's hazardlib 3.25 to 1e-6. A model does not change;
 * any thread may use it.
 */
#ifndef CALC_GSIM_H
#define CALC_GSIM_H

#include <stddef.h>
#include <stdint.h>

#include "sluice/error.h"

/* Intensity measure: PGA (g), PGV (cm/s) or spectral acceleration (g) at 5 %
 * damping and a period in s. */
typedef enum { IMT_PGA, IMT_PGV, IMT_SA } imt_kind_t;

typedef struct {
    imt_kind_t kind;
    double period; /* of SA; otherwise 0 */
} imt_t;

/* Read "PGA", "PGV" or "SA(0.2)". SLUICE_EINPUT otherwise. */
int imt_parse (const char *text, imt_t *imt, sluice_error_t *err);

/* Write it as imt_parse reads it, the period with as few digits as tell it, at most
 * 32 bytes. Returns `text`. */
char *imt_name (const imt_t *imt, char text[32]);

/* What a model reads: bits of gsim_needs. Others may be left out. */
enum {
    GSIM_MAG = 1 << 0,
    GSIM_RAKE = 1 << 1,
    GSIM_DIP = 1 << 2,
    GSIM_ZTOR = 1 << 3,
    GSIM_WIDTH = 1 << 4,
    GSIM_HYPO_DEPTH = 1 << 5,
    GSIM_VS30 = 1 << 8,
    GSIM_Z1PT0 = 1 << 9,
    GSIM_Z2PT5 = 1 << 10,
    GSIM_RJB = 1 << 16,
    GSIM_RRUP = 1 << 17,
    GSIM_RX = 1 << 18,
    GSIM_RY0 = 1 << 19,
    GSIM_RHYPO = 1 << 20,
    GSIM_REPI = 1 << 21
};

typedef struct {
    double mag;                     /* moment magnitude */
    double rake;                    /* degrees; NAN: mechanism not specified */
    double dip;                     /* degrees */
    double ztor, width, hypo_depth; /* km */
} gsim_rupture_t;

/* `n` values in each array that the model needs; others may be NULL. The readers of
 * the inputs see to it that vs30 is above 0 and distances are not negative. */
typedef struct {
    const double *vs30;                                 /* m/s */
    const double *z1pt0;                                /* m */
    const double *z2pt5;                                /* km */
    const double *rjb, *rrup, *rx, *ry0, *rhypo, *repi; /* km */
} gsim_sites_t;

/* Where results go: `n` values each, NULL for what is not wanted. `mean` is ln (g),
 * or ln (cm/s) of PGV; `sigma` the total standard deviation, `tau` and `phi` its parts
 * between and within events. Where the paper gives a rounded total of its own
 * (BooreAtkinson2008), `sigma` is that and differs from hypot (tau, phi) by up to
 * 0.002, as in OpenQuake. */
typedef struct {
    double *mean, *sigma, *tau, *phi;
} gsim_result_t;

typedef struct gsim gsim_t;

/* The model of this name; also as "[Name]", as logic trees write it. NULL with
 * SLUICE_EINPUT and the known names otherwise; arguments are not known. */
const gsim_t *gsim_find (const char *name, sluice_error_t *err);

/* The `index`th model, NULL past the last. */
const gsim_t *gsim_at (size_t index);

const char *gsim_name (const gsim_t *self);
uint32_t gsim_needs (const gsim_t *self);

/* Does the model know this intensity measure? -1 with SLUICE_EINPUT, the range of
 * periods named, if not. */
int gsim_check (const gsim_t *self, const imt_t *imt, sluice_error_t *err);

/* Mean and standard deviations at `n` sites. Coefficients for periods between those
 * of the tables are interpolated over the period's logarithm, as in OpenQuake. -1
 * with SLUICE_EINPUT if the model does not know `imt`, the rupture has no magnitude or
 * an array that it needs is NULL. */
int gsim_compute (const gsim_t *self, const imt_t *imt, const gsim_rupture_t *rupture,
                  size_t n, const gsim_sites_t *sites, const gsim_result_t *result,
                  sluice_error_t *err);

#endif
