/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* scenario_plan.h - the scenario kernel's plan, and what it writes to the output
 *
 * The records of sites and rupture there. (To the nodes they go as objects, see
 * scenario_store.h.)
 */
#ifndef CALC_SCENARIO_PLAN_H
#define CALC_SCENARIO_PLAN_H

#include <stdint.h>
#include "calc/vmath.h"
#include "sluice/kernel.h"

int scenario_plan (sluice_plan_t *plan, sluice_error_t *err);

#define SITECOL_DTYPE                                                                    \
    "{sids:<u4, lon:<f8, lat:<f8, depth:<f8, vs30:<f8, z1pt0:<f8, z2pt5:<f8}"
typedef struct {
    uint32_t sids;
    double lon, lat, depth, vs30, z1pt0, z2pt5;
} __attribute__ ((packed)) site_record_t;

#define RUPTURE_DTYPE                                                                    \
    "{mag:<f8, rake:<f8, hypo_lon:<f8, hypo_lat:<f8, hypo_depth:<f8, strike:<f8, "       \
    "dip:<f8, ztor:<f8, width:<f8, length:<f8, area:<f8}"
typedef struct {
    double mag, rake, hypo_lon, hypo_lat, hypo_depth, strike, dip, ztor, width, length,
        area;
} rupture_record_t;

/* Nodes of the surface's patches, patch by patch, row by row. */
#define MESH_DTYPE "{patch:<u4, row:<u4, col:<u4, plane:|b1, lon:<f8, lat:<f8, depth:<f8}"
typedef struct {
    uint32_t patch, row, col;
    uint8_t plane;
    double lon, lat, depth;
} __attribute__ ((packed)) node_record_t;

#endif
