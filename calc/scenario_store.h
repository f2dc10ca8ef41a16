/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* scenario_store.h - sites, ruptures and settings as objects of the store
 *
 * The scenario kernel's plan shares one object of scenario_class with the nodes,
 * under SCENARIO_KEY; its parts have classes of their own, and can be kept in any
 * store. What is read is cleared with sluice_object_clear.
 */
#ifndef CALC_SCENARIO_STORE_H
#define CALC_SCENARIO_STORE_H

#include "calc/scenario_model.h"
#include "sluice/store.h"

#define SCENARIO_KEY "scenario"

/* All that open needs. */
typedef struct {
    settings_t settings;  /* the job's parameters */
    gsim_rupture_t facts; /* what models read of the rupture */
    rupture_t rupture;    /* with the mesh of its surface */
    sites_t sites;
} scenario_t;

extern const sluice_class_t sites_class;        /* sites_t: a site collection */
extern const sluice_class_t rupture_class;      /* rupture_t */
extern const sluice_class_t gsim_rupture_class; /* gsim_rupture_t */
extern const sluice_class_t settings_class;     /* settings_t */
extern const sluice_class_t scenario_class;     /* scenario_t */

#endif
