/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* sites.h - where the ground motion is wanted, and what the ground is there
 *
 * Sites come from a job's parameters, in one of three ways, as in OpenQuake:
 *
 *   site_model_file = FILE.csv     lon,lat,vs30[,z1pt0,z2pt5,depth], any order
 *   sites = LON LAT[ DEPTH], ...
 *   region = LON LAT, LON LAT, LON LAT, ...  with region_grid_spacing = KM
 *
 * A region's grid starts at the north-west corner of its bounding box; rows lie
 * `region_grid_spacing` apart along the meridian, points of a row as far apart
 * along the parallel (great circle steps). A point counts as inside if it is
 * inside the polygon drawn in plain longitude and latitude, or on its border.
 * (OpenQuake also widens the polygon by one spacing; this does not.)
 *
 * What the file does not say comes from reference_vs30_value (m/s),
 * reference_depth_to_1pt0km_per_sec (m) and reference_depth_to_2pt5km_per_sec
 * (km); in a file, -999 or an empty field means unknown for the two depths. A
 * site without vs30 is an error where `need_vs30` says so.
 *
 * Two sites are the same if they agree to 5 decimals of a degree (about 1 m); that
 * is refused, naming both lines.
 */
#ifndef CALC_SITES_H
#define CALC_SITES_H

#include "calc/csv.h"
#include "sluice/params.h"

/* More would not fit the u4 site numbers nor memory. */
enum { SITES_MAX = 200 * 1000 * 1000 };

typedef struct {
    size_t n;
    double *lon, *lat; /* degrees */
    double *depth;     /* km, positive down */
    double *vs30;      /* m/s; NaN: unknown */
    double *z1pt0;     /* m; NaN: unknown */
    double *z2pt5;     /* km; NaN: unknown */
} sites_t;

/* The sites that the job asks for; at least one. `site_model` (may be NULL) is
 * the path of the site model file, for a job that has one. NULL on error. */
sites_t *sites_from_params (const sluice_params_t *params, const char *site_model,
                            bool need_vs30, sluice_error_t *err);

/* The sites of a site model; `params` (may be NULL) has the reference values. */
sites_t *sites_from_csv (csv_t *csv, const sluice_params_t *params, bool need_vs30,
                         sluice_error_t *err);

void sites_destroy (sites_t **self_p);

/* Keep the sites for which keep[i] is true, in their order. */
void sites_keep (sites_t *self, const bool *keep);

#endif
