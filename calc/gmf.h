/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* gmf.h - what a map of a scenario's ground motion needs, from its output file
 *
 * Reads sitecol, rupture, rupture_mesh and gmf_data as the scenario kernel writes
 * them (scenario.h) and reduces the ground motion to one value for each site. The
 * file is read in blocks: memory is bounded by GMF_MEDIAN_BYTES and 100 bytes a site.
 */
#ifndef CALC_GMF_H
#define CALC_GMF_H

#include <stdint.h>
#include "calc/nrml.h"

/* Values that are held at once to find exact medians. */
#define GMF_MEDIAN_BYTES ((uint64_t) 512 << 20)

typedef struct {
    char *description;  /* the job's; NULL if it has none */
    char *imt;          /* which measure: "PGA", "SA(1.0)" */
    bool median;        /* exact median; otherwise the geometric mean */
    uint64_t events;    /* the largest number of values of a site */
    size_t n;           /* sites */
    double *lon, *lat;  /* degrees */
    double *value;      /* g, or cm/s for PGV; NaN where a site has no rows */
    rupture_t *rupture; /* NULL if the file has none */
} gmf_map_t;

/* Read a map for `imt` (NULL: the first one in the file). */
gmf_map_t *gmf_map_read (const char *path, const char *imt, sluice_error_t *err);
void gmf_map_destroy (gmf_map_t **self_p);

#endif
