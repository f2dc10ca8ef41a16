/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* surface.h - a rupture's surface and its distances to sites
 *
 * Three kinds:
 *
 *   planar   a rectangle given by its corners. rrup is the straight distance to
 *            the rectangle in space; rjb, rx and ry0 are measured along the
 *            ground from great circles through the corners in the direction of
 *            the nominal strike and at right angles to it (the definitions of
 *            OpenQuake's hazardlib, which takes the strike given, not the azimuth
 *            of the corners). As there, rjb of a point whose nearest spot is a
 *            corner is the straight distance from the point, at its own depth, to
 *            the corner's place on the ground: 16 m less than along the ground at
 *            250 km.
 *   mesh     rows by columns of nodes, row 0 the top edge, columns along strike.
 *            Each cell is two triangles. rrup is the straight distance to the
 *            nearest triangle, rjb the distance along the ground to the nearest
 *            projected triangle (0 inside): of the surface itself, not of its
 *            nodes, so the spacing of the nodes hardly matters.
 *   multi    several planes. rrup and rjb are the least over the planes, rx and
 *            ry0 those of the plane with the least rrup.
 *
 * rx of a mesh: distance along the ground to the top edge's projection, a chain of
 * great circle arcs of which the first and the last go on for ever; positive on
 * the right side seen along strike. ry0 of a mesh: distance to the nearer of the
 * great circles through the two ends of the top edge at right angles to the mean
 * strike, 0 between them. The epicentral and hypocentral distances need no
 * surface: geo_points_distance and geo_points_distance_3d.
 *
 * A surface does not change once made; any thread may use it. Degrees and km.
 */
#ifndef CALC_SURFACE_H
#define CALC_SURFACE_H

#include <stddef.h>

#include "calc/geodesy.h"
#include "sluice/error.h"

typedef struct surface surface_t;

/* Corners in the order top left, top right, bottom left, bottom right, seen from
 * the hanging wall. `strike` and `dip` are the nominal ones in degrees; NAN takes
 * them from the corners. NULL with SLUICE_EINPUT where a corner is no place, the
 * top is below the bottom or an edge has no length; SLUICE_ESYSTEM out of memory. */
surface_t *surface_new_planar (const double lon[4], const double lat[4],
                               const double depth[4], double strike, double dip,
                               sluice_error_t *err);

/* `rows` x `columns` nodes (at least 2 x 2), by rows. Same errors. */
surface_t *surface_new_mesh (size_t rows, size_t columns, const double *lon,
                             const double *lat, const double *depth, sluice_error_t *err);

/* `planes` (at least 1) planes, 4 corners each as above; strike and dip are those
 * of the corners. Same errors. */
surface_t *surface_new_multi (size_t planes, const double *lon, const double *lat,
                              const double *depth, sluice_error_t *err);

void surface_destroy (surface_t **self_p);

/* Distances of all `points` in km, into `out` (points->n values). Depths of the
 * points count in rrup, and in rjb from the corners of planes. */
void surface_rjb (const surface_t *self, const geo_points_t *points, double *out);
void surface_rrup (const surface_t *self, const geo_points_t *points, double *out);
void surface_rx (const surface_t *self, const geo_points_t *points, double *out);
void surface_ry0 (const surface_t *self, const geo_points_t *points, double *out);

/* What the whole surface is like. Strike and dip of a mesh are means, weighted by
 * the lengths along the top edge and by area; of several planes, weighted by area.
 * Length: of a mesh, the mean of its rows; of planes, their sum. Width: area over
 * length. `ztor`: the least depth of the top edge. */
double surface_strike (const surface_t *self);
double surface_dip (const surface_t *self);
double surface_length (const surface_t *self);
double surface_width (const surface_t *self);
double surface_area (const surface_t *self);
double surface_ztor (const surface_t *self);

/* The middle: between the top left and bottom right corners of a plane, the middle
 * node (or the mean of the nodes around it) of a mesh, the middle of the plane that
 * holds half the area of several planes. It serves as hypocentre where none is
 * given. */
void surface_middle (const surface_t *self, double *lon, double *lat, double *depth);

#endif
