/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* fault.h - from a fault as geologists give it to the mesh of its surface
 *
 * The two constructions are those of OpenQuake's hazardlib (SimpleFaultSurface and
 * ComplexFaultSurface, Line.resample and Line.resample_to_num_points), after the
 * description in the OpenQuake engine's book on hazard science (Pagani et al.,
 * section on fault sources), on a sphere of 6371 km.
 */
#ifndef CALC_FAULT_H
#define CALC_FAULT_H

#include "calc/nrml.h"

/* A line in space: at least two points. */
typedef struct {
    size_t n;
    double *lon, *lat; /* degrees */
    double *depth;     /* km */
} line_t;

void line_clear (line_t *line);

/* The mesh under a trace at the ground (its depths are ignored): points `spacing`
 * km apart along the trace, and from each down the dip, at right angles to the
 * direction from the trace's first to its last point, from depth `upper` to
 * `lower` km. Looking along the trace the fault dips to the right. The error has
 * no place in front: the caller adds it. */
int fault_simple (const line_t *trace, double dip, double upper, double lower,
                  double spacing, patch_t *patch, sluice_error_t *err);

/* The mesh between `n` >= 2 edges, the top one first: each is divided into as many
 * equal parts as their mean length needs, then so are the lines down the dip. */
int fault_complex (const line_t *edges, size_t n, double spacing, patch_t *patch,
                   sluice_error_t *err);

/* Make or free the arrays of a patch. */
int patch_make (patch_t *patch, size_t rows, size_t cols, sluice_error_t *err);
void patch_clear (patch_t *patch);

#endif
