/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* scenario.h - ground-motion fields of one rupture (calculation_mode = scenario)
 *
 * Parameters, named as in OpenQuake:
 *
 *   rupture_model_file       NRML XML, or CSV as OpenQuake exports it (nrml.h)
 *   rupture_mesh_spacing     km, for ruptures given as fault traces
 *   site_model_file, sites, region ...   (sites.h)
 *   gsim                     a model of gsim.h
 *   intensity_measure_types  PGA, SA(1.0), ...; or the keys of
 *                            intensity_measure_types_and_levels
 *   truncation_level         standard deviations; 0: medians; absent: none
 *   number_of_ground_motion_fields   events, 1 if absent; an event is an item
 *   maximum_distance         km from the rupture (rrup); sites beyond are left out.
 *                            A number, {'default': ...} or [[mag, km], ...]; all
 *                            sites if absent
 *
 * What would change the result and is not there (correlation, minimum_intensity,
 * logic trees, ...) is refused, never ignored.
 *
 * Table gmf_data: sid, eid, gmv_<IMT>... for every event all sites in order; g, or
 * cm/s for PGV. ln gmv = mean + tau e_b + phi e_w with e_b one truncated normal of
 * the event and the measure, e_w one of each site besides. They are draws of the
 * streams (seed, event, stage) of rng.h: stage 2c for e_b, 2c + 1 for e_w, where c
 * tells the measure (0 PGA, 1 PGV, 2 + microseconds of period SA); e_w of site i is
 * at position i. So they depend on nothing else, and PGA is the same whether or
 * not SA was asked for.
 *
 * Written as they are: sitecol, rupture (one record), rupture_mesh (the nodes of its
 * surface), events, imts, gmf_model (distances, median, tau and phi at each site) and
 * description.
 */
#ifndef CALC_SCENARIO_H
#define CALC_SCENARIO_H

#include "sluice/kernel.h"

extern const sluice_kernel_t scenario_kernel;

/* Does this kernel (or OpenQuake's job file as such) have a parameter of this name?
 * The runner warns of others. */
bool scenario_knows (const char *name);

#endif
