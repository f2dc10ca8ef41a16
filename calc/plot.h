/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* plot.h - a picture of a scenario's ground motion
 *
 * A map: each place in the colour of the median over the realisations at the site
 * nearest to it, the rupture's outline with its top edge in bold, the epicentre as
 * a star, a scale in km and a colour bar. Longitude and latitude are drawn with
 * equal distances in the middle of the map.
 */
#ifndef CALC_PLOT_H
#define CALC_PLOT_H

#include "sluice/error.h"

/* Draw the output file `h5_path` as the PNG `png_path`, which is replaced if it
 * is there. `imt`: "PGA", "SA(1.0)", ...; NULL: the first of the file. Built
 * without cairo it fails with SLUICE_EINPUT and says so. */
int plot_map (const char *h5_path, const char *png_path, const char *imt,
              sluice_error_t *err);

#endif
