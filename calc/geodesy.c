/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/geodesy.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "calc/vmath.h"

#define PI 3.14159265358979323846

double geo_radians (double degrees)
{
    return degrees * (PI / 180.0);
}

double geo_degrees (double radians)
{
    return radians * (180.0 / PI);
}

/* Into [-180, 180], without a change for what lies there. */
static double wrap (double lon)
{
    if (lon >= -180.0 && lon <= 180.0)
        return lon;
    lon -= 360.0 * floor ((lon + 180.0) / 360.0);
    return lon;
}

double geo_distance (double lon1, double lat1, double lon2, double lat2)
{
    double a = vm_sin (geo_radians (lat1 - lat2) / 2);
    double b = vm_sin (geo_radians (lon1 - lon2) / 2);
    double h = a * a + vm_cos (geo_radians (lat1)) * vm_cos (geo_radians (lat2)) * b * b;
    double s = sqrt (h);
    return 2 * GEO_EARTH_RADIUS * vm_asin (s < 1.0 ? s : 1.0);
}

double geo_azimuth (double lon1, double lat1, double lon2, double lat2)
{
    double f1 = geo_radians (lat1), f2 = geo_radians (lat2);
    double d = geo_radians (lon2 - lon1);
    double half = vm_sin (d / 2);
    /* cos f1 sin f2 - sin f1 cos f2 cos d, without the loss for near points */
    double north = vm_sin (f2 - f1) + 2 * vm_sin (f1) * vm_cos (f2) * half * half;
    double east = vm_sin (d) * vm_cos (f2);
    double azimuth = geo_degrees (vm_atan2 (east, north));
    if (azimuth < 0)
        azimuth += 360.0;
    return azimuth < 360.0 ? azimuth + 0.0 : 0.0;
}

void geo_point_at (double lon, double lat, double azimuth, double distance,
                   double *out_lon, double *out_lat)
{
    double d = distance / GEO_EARTH_RADIUS;
    geo_vec_t here = geo_unit (lon, lat), ahead = geo_heading (lon, lat, azimuth);
    geo_vec_t v = geo_plus (geo_times (vm_cos (d), here), geo_times (vm_sin (d), ahead));
    /* Turn to the meridian of `lon`, so that 0 km away is exactly here. */
    double f = geo_radians (lat), a = geo_radians (azimuth);
    double out = vm_cos (d) * vm_cos (f) - vm_sin (d) * vm_cos (a) * vm_sin (f);
    double east = vm_sin (d) * vm_sin (a);
    *out_lon = wrap (lon + geo_degrees (vm_atan2 (east, out)));
    *out_lat = geo_degrees (vm_atan2 (v.z, sqrt (out * out + east * east)));
}

void geo_middle (double lon1, double lat1, double lon2, double lat2, double *out_lon,
                 double *out_lat)
{
    geo_point_at (lon1, lat1, geo_azimuth (lon1, lat1, lon2, lat2),
                  geo_distance (lon1, lat1, lon2, lat2) / 2, out_lon, out_lat);
}

double geo_distance_3d (double lon1, double lat1, double depth1, double lon2, double lat2,
                        double depth2)
{
    return vm_hypot (geo_distance (lon1, lat1, lon2, lat2), depth1 - depth2);
}

double geo_distance_to_arc (double lon, double lat, double azimuth, double point_lon,
                            double point_lat)
{
    double s = geo_dot (geo_pole (lon, lat, azimuth), geo_unit (point_lon, point_lat));
    s = s > 1.0 ? 1.0 : s < -1.0 ? -1.0 : s;
    return GEO_EARTH_RADIUS * vm_asin (s);
}

geo_vec_t geo_unit (double lon, double lat)
{
    double l = geo_radians (lon), f = geo_radians (lat);
    double c = vm_cos (f);
    return (geo_vec_t){c * vm_cos (l), c * vm_sin (l), vm_sin (f)};
}

geo_vec_t geo_heading (double lon, double lat, double azimuth)
{
    double l = geo_radians (lon), f = geo_radians (lat), a = geo_radians (azimuth);
    double sl = vm_sin (l), cl = vm_cos (l), sf = vm_sin (f), cf = vm_cos (f);
    double north = vm_cos (a), east = vm_sin (a);
    return (geo_vec_t){-north * sf * cl - east * sl, -north * sf * sl + east * cl,
                       north * cf};
}

geo_vec_t geo_pole (double lon, double lat, double azimuth)
{
    return geo_heading (lon, lat, azimuth + 90.0);
}

geo_vec_t geo_to_cartesian (double lon, double lat, double depth)
{
    return geo_times (GEO_EARTH_RADIUS - depth, geo_unit (lon, lat));
}

void geo_from_cartesian (geo_vec_t v, double *lon, double *lat, double *depth)
{
    double level = sqrt (v.x * v.x + v.y * v.y);
    *lon = geo_degrees (vm_atan2 (v.y, v.x));
    *lat = geo_degrees (vm_atan2 (v.z, level));
    *depth = GEO_EARTH_RADIUS - geo_norm (v);
}

double geo_norm (geo_vec_t a)
{
    return sqrt (geo_dot (a, a));
}

geo_vec_t geo_normalized (geo_vec_t a)
{
    double norm = geo_norm (a);
    return norm > 0 ? geo_times (1 / norm, a) : a;
}

geo_points_t *geo_points_new (size_t n, const double *lon, const double *lat,
                              const double *depth, sluice_error_t *err)
{
    for (size_t i = 0; i < n; i++) {
        double z = depth ? depth[i] : 0;
        if (!isfinite (lon[i]) || !(fabs (lat[i]) <= 90.0) || !isfinite (z) ||
            z >= GEO_EARTH_RADIUS) {
            sluice_fail (err, SLUICE_EINPUT,
                         "point %zu: longitude %g, latitude %g, depth %g km is no place "
                         "on earth",
                         i, lon[i], lat[i], z);
            return NULL;
        }
    }
    geo_points_t *self = malloc (sizeof *self);
    double *memory = n < SIZE_MAX / (6 * sizeof (double))
                         ? malloc ((n ? n : 1) * 6 * sizeof (double))
                         : NULL;
    if (!self || !memory) {
        free (self);
        free (memory);
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for %zu points", n);
        return NULL;
    }
    double *out_lon = memory, *out_lat = memory + n, *out_depth = memory + 2 * n;
    double *ux = memory + 3 * n, *uy = memory + 4 * n, *uz = memory + 5 * n;
    for (size_t i = 0; i < n; i++) {
        out_lon[i] = lon[i];
        out_lat[i] = lat[i];
        out_depth[i] = depth ? depth[i] : 0;
        geo_vec_t u = geo_unit (lon[i], lat[i]);
        ux[i] = u.x;
        uy[i] = u.y;
        uz[i] = u.z;
    }
    *self = (geo_points_t){n, out_lon, out_lat, out_depth, ux, uy, uz, memory};
    return self;
}

void geo_points_destroy (geo_points_t **self_p)
{
    if (!self_p || !*self_p)
        return;
    free ((*self_p)->memory);
    free (*self_p);
    *self_p = NULL;
}

geo_points_t geo_points_slice (const geo_points_t *self, size_t first, size_t n)
{
    return (geo_points_t){n,
                          self->lon + first,
                          self->lat + first,
                          self->depth + first,
                          self->ux + first,
                          self->uy + first,
                          self->uz + first,
                          NULL};
}

void geo_points_distance (const geo_points_t *self, double lon, double lat, double *out)
{
    geo_vec_t u = geo_unit (lon, lat);
    for (size_t i = 0; i < self->n; i++) {
        double x = self->ux[i] - u.x, y = self->uy[i] - u.y, z = self->uz[i] - u.z;
        double half = 0.5 * sqrt (x * x + y * y + z * z);
        out[i] = half < 1.0 ? half : 1.0;
    }
    vm_asin_n (out, out, self->n);
    for (size_t i = 0; i < self->n; i++)
        out[i] *= 2 * GEO_EARTH_RADIUS;
}

void geo_points_distance_3d (const geo_points_t *self, double lon, double lat,
                             double depth, double *out)
{
    geo_points_distance (self, lon, lat, out);
    for (size_t i = 0; i < self->n; i++) {
        double down = self->depth[i] - depth;
        out[i] = sqrt (out[i] * out[i] + down * down);
    }
}
