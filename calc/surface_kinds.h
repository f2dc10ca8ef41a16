/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* surface_kinds.h - what surface.c and surface_mesh.c share
 *
 * Distances of a mesh along the ground are handled as half chords of the unit
 * sphere, which are as exact for near points as for far ones and need no sines; at
 * the end a whole array is turned into km at once.
 */
#ifndef CALC_SURFACE_KINDS_H
#define CALC_SURFACE_KINDS_H

#include <math.h>

#include "calc/geodesy.h"
#include "calc/surface.h"

/* A plane, as surface.c makes it. */
typedef struct {
    double lon[4], lat[4], depth[4];
    double strike, dip, length, width;
    geo_vec_t corner[4];           /* unit vectors */
    geo_vec_t origin;              /* top left, km */
    geo_vec_t along, down, normal; /* of the rectangle */
    geo_vec_t top, bottom;         /* poles of the great circles along strike */
    geo_vec_t left, right;         /* and of those across */
} plane_t;

/* A mesh, as surface_mesh.c makes it. */
typedef struct mesh mesh_t;

mesh_t *mesh_new (size_t rows, size_t columns, const double *lon, const double *lat,
                  const double *depth, sluice_error_t *err);
void mesh_destroy (mesh_t **self_p);
void mesh_describe (const mesh_t *self, double *strike, double *dip, double *length,
                    double *area, double *ztor, geo_vec_t *middle);

/* rjb and rx as half chords (rx with its sign), ry0 as sines, rrup in km. */
void mesh_rjb (const mesh_t *self, const geo_points_t *points, double *out);
void mesh_rrup (const mesh_t *self, const geo_points_t *points, double *out);
void mesh_rx (const mesh_t *self, const geo_points_t *points, double *out);
void mesh_ry0 (const mesh_t *self, const geo_points_t *points, double *out);

static inline geo_vec_t point_unit (const geo_points_t *points, size_t i)
{
    return (geo_vec_t){points->ux[i], points->uy[i], points->uz[i]};
}

static inline geo_vec_t point_km (const geo_points_t *points, size_t i)
{
    return geo_times (GEO_EARTH_RADIUS - points->depth[i], point_unit (points, i));
}

/* Squared half chord of the angle with this sine (0 to a right angle). */
static inline double half_chord2 (double sine)
{
    double s2 = sine * sine;
    return s2 < 1.0 ? s2 / (2.0 * (1.0 + sqrt (1.0 - s2))) : 0.5;
}

/* Squared half chord between two unit vectors. */
static inline double between2 (geo_vec_t a, geo_vec_t b)
{
    geo_vec_t d = geo_minus (a, b);
    return 0.25 * geo_dot (d, d);
}

static inline int sign_of (double x)
{
    return (x > 0) - (x < 0);
}

/* The sine of ry0: distance from the nearer of two parallel circles, 0 between. */
static inline double outside (double a, double b)
{
    if (sign_of (a) != sign_of (b))
        return 0;
    a = fabs (a);
    b = fabs (b);
    return a < b ? a : b;
}

/* A corner or node that is a place on earth? */
static inline int is_place (double lon, double lat, double depth)
{
    return isfinite (lon) && fabs (lat) <= 90.0 && isfinite (depth) &&
           depth < GEO_EARTH_RADIUS;
}

#endif
