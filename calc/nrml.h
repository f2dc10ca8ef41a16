/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* nrml.h - one earthquake rupture, from OpenQuake's files
 *
 * XML (NRML 0.4 and 0.5): singlePlaneRupture, multiPlanesRupture (planes by their
 * corners), simpleFaultRupture (trace, dip, depths) and complexFaultRupture (edges
 * from the top to the bottom). Faults become meshes of about `spacing` km, made as
 * OpenQuake's SimpleFaultSurface and ComplexFaultSurface make them.
 *
 * CSV: what OpenQuake exports as "ruptures", with columns mag, rake, lon, lat, dep,
 * kind, mesh; one row.
 *
 * A document type declaration is refused, so there are no entities to expand; size,
 * depth and number of elements are limited. All errors are one line:
 * "FILE:LINE: what".
 */
#ifndef CALC_NRML_H
#define CALC_NRML_H

#include <stdbool.h>
#include <stddef.h>
#include "sluice/error.h"

/* A piece of the rupture's surface: a mesh, rows from its top down, columns along
 * strike. A plane is a mesh of its corners: 2 x 2, top left, top right, bottom
 * left, bottom right. */
typedef struct {
    bool plane;
    size_t rows, cols;
    double *lon, *lat; /* rows * cols, degrees */
    double *depth;     /* km, positive down */
} patch_t;

typedef struct {
    char *kind;             /* the element's or class's name */
    double mag;             /* moment magnitude */
    double rake;            /* degrees, -180 to 180 */
    double lon, lat, depth; /* hypocentre: degrees, km */
    size_t npatches;
    patch_t *patches;
    unsigned line; /* where its geometry began, for messages */
} rupture_t;

/* Points of one patch's mesh, at most. */
enum { RUPTURE_MAX_POINTS = 10 * 1000 * 1000 };

/* Read a rupture: CSV if the path ends in ".csv", otherwise XML. `spacing` (km) is
 * for fault traces only; 0: there is none, and such a rupture is refused. */
rupture_t *rupture_read (const char *path, double spacing, sluice_error_t *err);

/* The same from `length` bytes of text, called `name` in messages. */
rupture_t *rupture_from_xml (const char *text, size_t length, const char *name,
                             double spacing, sluice_error_t *err);
rupture_t *rupture_from_csv (const char *text, size_t length, const char *name,
                             sluice_error_t *err);

void rupture_destroy (rupture_t **self_p);

#endif
