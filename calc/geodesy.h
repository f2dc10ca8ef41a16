/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* geodesy.h - distances and directions on a sphere of 6371 km
 *
 * Longitudes and latitudes in degrees, azimuths in degrees clockwise from north,
 * depths in km, positive down. Any longitude may be given (190 is -170); results
 * lie in [-180, 180]. At a pole the meridian of the given longitude tells where
 * north is. Cartesian coordinates in km: x through (0, 0), y through (90, 0), z
 * through the north pole. Formulas: spherical trigonometry as in E. Williams's
 * "Aviation formulary"; distance by haversines, exact also where it is small.
 *
 * A geo_points_t holds many points with their directions worked out once, so
 * that distances to many ruptures cost no more sines. Any thread may use it.
 */
#ifndef CALC_GEODESY_H
#define CALC_GEODESY_H

#include <stddef.h>

#include "sluice/error.h"

#define GEO_EARTH_RADIUS 6371.0 /* km */

typedef struct {
    double x, y, z;
} geo_vec_t;

/* Degrees from and to radians. */
double geo_radians (double degrees);
double geo_degrees (double radians);

/* Distance along the surface in km, depths left aside. */
double geo_distance (double lon1, double lat1, double lon2, double lat2);

/* Direction at point 1 towards point 2, in [0, 360); 0 if they are one. */
double geo_azimuth (double lon1, double lat1, double lon2, double lat2);

/* The point at `distance` km from the given one in direction `azimuth`. */
void geo_point_at (double lon, double lat, double azimuth, double distance,
                   double *out_lon, double *out_lat);

/* The middle of the shorter great circle arc between two points. */
void geo_middle (double lon1, double lat1, double lon2, double lat2, double *out_lon,
                 double *out_lat);

/* hypot (distance along the surface, difference of depths), in km. */
double geo_distance_3d (double lon1, double lat1, double depth1, double lon2, double lat2,
                        double depth2);

/* Distance in km of a point from the whole great circle that leaves (lon, lat) in
 * direction `azimuth`: positive on its right side, negative on its left. */
double geo_distance_to_arc (double lon, double lat, double azimuth, double point_lon,
                            double point_lat);

/* Cartesian coordinates in km, and back. */
geo_vec_t geo_to_cartesian (double lon, double lat, double depth);
void geo_from_cartesian (geo_vec_t v, double *lon, double *lat, double *depth);

/* The unit vector of a place; of a direction there, along the ground; and the pole
 * of the great circle leaving there in that direction, which is the unit vector to
 * its right. asin (pole . place) is the angle of geo_distance_to_arc. */
geo_vec_t geo_unit (double lon, double lat);
geo_vec_t geo_heading (double lon, double lat, double azimuth);
geo_vec_t geo_pole (double lon, double lat, double azimuth);

static inline double geo_dot (geo_vec_t a, geo_vec_t b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static inline geo_vec_t geo_cross (geo_vec_t a, geo_vec_t b)
{
    return (geo_vec_t){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z,
                       a.x * b.y - a.y * b.x};
}

static inline geo_vec_t geo_minus (geo_vec_t a, geo_vec_t b)
{
    return (geo_vec_t){a.x - b.x, a.y - b.y, a.z - b.z};
}

static inline geo_vec_t geo_plus (geo_vec_t a, geo_vec_t b)
{
    return (geo_vec_t){a.x + b.x, a.y + b.y, a.z + b.z};
}

static inline geo_vec_t geo_times (double s, geo_vec_t a)
{
    return (geo_vec_t){s * a.x, s * a.y, s * a.z};
}

/* Length of a vector; the vector with length 1 (a null vector stays). */
double geo_norm (geo_vec_t a);
geo_vec_t geo_normalized (geo_vec_t a);

/* Many points. The arrays have `n` values each: position as given, unit vector
 * (ux, uy, uz). They are read by anybody and written by geo_points_new only. */
typedef struct {
    size_t n;
    const double *lon, *lat, *depth; /* degrees, degrees, km */
    const double *ux, *uy, *uz;
    void *memory; /* NULL in a slice */
} geo_points_t;

/* Make points from `n` values each; copied. `depth` may be NULL: all 0. NULL with
 * SLUICE_EINPUT if a value is not finite, a latitude beyond +-90 or a depth not less
 * than the radius; SLUICE_ESYSTEM if out of memory. */
geo_points_t *geo_points_new (size_t n, const double *lon, const double *lat,
                              const double *depth, sluice_error_t *err);
void geo_points_destroy (geo_points_t **self_p);

/* `n` of them from `first` on, as a view that lives no longer than they. */
geo_points_t geo_points_slice (const geo_points_t *self, size_t first, size_t n);

/* Distance along the surface in km of one place from all points, and the same
 * with depths as geo_distance_3d. */
void geo_points_distance (const geo_points_t *self, double lon, double lat, double *out);
void geo_points_distance_3d (const geo_points_t *self, double lon, double lat,
                             double depth, double *out);

#endif
