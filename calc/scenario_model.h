/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* scenario_model.h - what plan and open of the scenario kernel have in common
 *
 * The settings of the job, and the median motion with its deviations at the sites.
 */
#ifndef CALC_SCENARIO_MODEL_H
#define CALC_SCENARIO_MODEL_H

#include "calc/gsim.h"
#include "calc/nrml.h"
#include "calc/sites.h"
#include "calc/surface.h"
#include "sluice/params.h"

enum { SCENARIO_MAX_IMTS = 64 };

typedef struct {
    const gsim_t *gsim;
    size_t nimts;
    imt_t imts[SCENARIO_MAX_IMTS];
    double truncation; /* standard deviations, INFINITY: none */
    uint64_t events;
} settings_t;

/* Read gsim, measures, truncation and number of events. */
int settings_read (settings_t *self, const sluice_params_t *params, sluice_error_t *err);

/* The number that tells a measure in the names of random streams. */
uint32_t imt_code (const imt_t *imt);

/* The surface of a rupture. */
surface_t *surface_of (const rupture_t *rupture, sluice_error_t *err);

/* Distances and motion at the sites. */
typedef struct {
    size_t n, nimts;
    double *rjb, *rrup;       /* n each, km */
    double *mean, *tau, *phi; /* nimts * n, by measure */
} model_t;

/* Work out everything. `rupture` gives magnitude, rake and hypocentre. */
int model_make (model_t *self, const settings_t *settings, const gsim_rupture_t *rupture,
                const double hypocentre[3], const surface_t *surface,
                const sites_t *sites, sluice_error_t *err);
void model_clear (model_t *self);

#endif
