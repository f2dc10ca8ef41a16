/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/surface.h"

#include <stdint.h>
#include <stdlib.h>

#include "calc/surface_kinds.h"
#include "calc/vmath.h"

/* Edges shorter than a millimetre are none. */
#define NO_LENGTH 1e-6

/* Points looked at together, so that what is between stays in the cache. */
#define BLOCK 256

struct surface {
    double strike, dip, length, width, area, ztor;
    double middle_lon, middle_lat, middle_depth;
    mesh_t *mesh;   /* a mesh, or */
    size_t n;       /* this many */
    plane_t *plane; /* planes */
};

enum { TL, TR, BL, BR };

static int plane_fill (plane_t *p, const double lon[4], const double lat[4],
                       const double depth[4], double strike, double dip,
                       sluice_error_t *err)
{
    static const char *const names[] = {"top left", "top right", "bottom left",
                                        "bottom right"};
    geo_vec_t km[4];
    for (int i = 0; i < 4; i++) {
        if (!is_place (lon[i], lat[i], depth[i]))
            return sluice_fail (err, SLUICE_EINPUT,
                                "the %s corner (%g, %g, %g km) is no place on earth",
                                names[i], lon[i], lat[i], depth[i]);
        p->lon[i] = lon[i];
        p->lat[i] = lat[i];
        p->depth[i] = depth[i];
        p->corner[i] = geo_unit (lon[i], lat[i]);
        km[i] = geo_times (GEO_EARTH_RADIUS - depth[i], p->corner[i]);
    }
    if (depth[TL] > depth[BL] || depth[TR] > depth[BR])
        return sluice_fail (err, SLUICE_EINPUT,
                            "the top edge (%g km) is below the bottom edge (%g km)",
                            depth[TL], depth[BL]);
    geo_vec_t top = geo_minus (km[TR], km[TL]), side = geo_minus (km[BL], km[TL]);
    p->origin = km[TL];
    p->along = geo_normalized (top);
    p->normal = geo_normalized (geo_cross (top, side));
    p->down = geo_cross (p->normal, p->along);
    geo_vec_t far = geo_minus (km[BR], km[TL]);
    p->length = (geo_norm (top) + geo_dot (geo_minus (km[BR], km[BL]), p->along)) / 2;
    double right = geo_dot (geo_minus (far, top), p->down);
    p->width = (geo_dot (side, p->down) + right) / 2;
    if (!(geo_norm (top) > NO_LENGTH && p->length > NO_LENGTH && p->width > NO_LENGTH))
        return sluice_fail (err, SLUICE_EINPUT,
                            "the corners make no rectangle: %g km long, %g km wide",
                            p->length, p->width);
    p->strike =
        isfinite (strike) ? strike : geo_azimuth (lon[TL], lat[TL], lon[TR], lat[TR]);
    double sine = (depth[BL] - depth[TL]) / geo_distance_3d (lon[TL], lat[TL], depth[TL],
                                                             lon[BL], lat[BL], depth[BL]);
    p->dip = isfinite (dip) ? dip : geo_degrees (vm_asin (sine < 1.0 ? sine : 1.0));
    p->top = geo_pole (lon[TL], lat[TL], p->strike);
    p->bottom = geo_pole (lon[BL], lat[BL], p->strike);
    p->left = geo_pole (lon[TL], lat[TL], p->strike + 90.0);
    p->right = geo_pole (lon[TR], lat[TR], p->strike + 90.0);
    return 0;
}

static void plane_middle (const plane_t *p, surface_t *self)
{
    geo_middle (p->lon[TL], p->lat[TL], p->lon[BR], p->lat[BR], &self->middle_lon,
                &self->middle_lat);
    self->middle_depth = (p->depth[TL] + p->depth[BR]) / 2;
}

/* Means of angles and sums of sizes over the planes. */
static void describe_planes (surface_t *self)
{
    double east = 0, north = 0, dips = 0;
    self->ztor = GEO_EARTH_RADIUS;
    for (size_t i = 0; i < self->n; i++) {
        const plane_t *p = &self->plane[i];
        double area = p->length * p->width;
        self->area += area;
        self->length += p->length;
        dips += area * p->dip;
        east += area * vm_sin (geo_radians (p->strike));
        north += area * vm_cos (geo_radians (p->strike));
        self->ztor = p->depth[TL] < self->ztor ? p->depth[TL] : self->ztor;
        self->ztor = p->depth[TR] < self->ztor ? p->depth[TR] : self->ztor;
    }
    self->width = self->area / self->length;
    self->dip = dips / self->area;
    double strike = geo_degrees (vm_atan2 (east, north));
    self->strike = strike < 0 ? strike + 360.0 : strike;
    double sum = 0;
    for (size_t i = 0; i < self->n; i++) {
        sum += self->plane[i].length * self->plane[i].width;
        if (2 * sum >= self->area || i + 1 == self->n) {
            plane_middle (&self->plane[i], self);
            break;
        }
    }
}

static surface_t *no_memory (surface_t *self, sluice_error_t *err)
{
    surface_destroy (&self);
    sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a rupture surface");
    return NULL;
}

surface_t *surface_new_planar (const double lon[4], const double lat[4],
                               const double depth[4], double strike, double dip,
                               sluice_error_t *err)
{
    surface_t *self = calloc (1, sizeof *self);
    if (!self || !(self->plane = calloc (1, sizeof *self->plane)))
        return no_memory (self, err);
    self->n = 1;
    if (plane_fill (self->plane, lon, lat, depth, strike, dip, err) == -1) {
        surface_destroy (&self);
        return NULL;
    }
    describe_planes (self);
    self->strike = self->plane->strike;
    self->dip = self->plane->dip;
    self->width = self->plane->width;
    return self;
}

surface_t *surface_new_multi (size_t planes, const double *lon, const double *lat,
                              const double *depth, sluice_error_t *err)
{
    if (planes == 0) {
        sluice_fail (err, SLUICE_EINPUT, "a surface needs at least one plane");
        return NULL;
    }
    surface_t *self = calloc (1, sizeof *self);
    if (!self || !(self->plane = calloc (planes, sizeof *self->plane)))
        return no_memory (self, err);
    self->n = planes;
    for (size_t i = 0; i < planes; i++)
        if (plane_fill (&self->plane[i], lon + 4 * i, lat + 4 * i, depth + 4 * i, NAN,
                        NAN, err) == -1) {
            sluice_fail_at (err, "plane %zu", i);
            surface_destroy (&self);
            return NULL;
        }
    describe_planes (self);
    return self;
}

surface_t *surface_new_mesh (size_t rows, size_t columns, const double *lon,
                             const double *lat, const double *depth, sluice_error_t *err)
{
    surface_t *self = calloc (1, sizeof *self);
    if (!self)
        return no_memory (self, err);
    self->mesh = mesh_new (rows, columns, lon, lat, depth, err);
    if (!self->mesh) {
        surface_destroy (&self);
        return NULL;
    }
    geo_vec_t middle;
    mesh_describe (self->mesh, &self->strike, &self->dip, &self->length, &self->area,
                   &self->ztor, &middle);
    self->width = self->area / self->length;
    geo_from_cartesian (middle, &self->middle_lon, &self->middle_lat,
                        &self->middle_depth);
    return self;
}

void surface_destroy (surface_t **self_p)
{
    if (!self_p || !*self_p)
        return;
    mesh_destroy (&(*self_p)->mesh);
    free ((*self_p)->plane);
    free (*self_p);
    *self_p = NULL;
}

/* rjb of one point, as the sum of a straight distance in km and an arc given by
 * the sine of its angle; one of them is 0. The signs tell on which side of the four
 * great circles the point lies: outside both pairs the nearest corner counts,
 * outside one pair the nearer circle of that pair, inside both it is 0. */
static double plane_rjb (const plane_t *p, const geo_points_t *points, size_t i,
                         double *sine)
{
    geo_vec_t u = point_unit (points, i);
    double top = geo_dot (p->top, u), bottom = geo_dot (p->bottom, u);
    double left = geo_dot (p->left, u), right = geo_dot (p->right, u);
    int above_or_below = sign_of (top) == sign_of (bottom);
    int beside = sign_of (left) == sign_of (right);
    *sine = 0;
    if (above_or_below && beside) {
        geo_vec_t at = point_km (points, i);
        double least = INFINITY;
        for (int k = 0; k < 4; k++) {
            geo_vec_t d = geo_minus (geo_times (GEO_EARTH_RADIUS, p->corner[k]), at);
            double square = geo_dot (d, d);
            least = square < least ? square : least;
        }
        return sqrt (least);
    }
    if (above_or_below)
        *sine = outside (top, bottom);
    else if (beside)
        *sine = outside (left, right);
    return 0;
}

/* How far x lies outside [0, top]. */
static double beyond (double x, double top)
{
    return x < 0 ? x : x > top ? x - top : 0;
}

static double plane_rrup (const plane_t *p, geo_vec_t at)
{
    geo_vec_t v = geo_minus (at, p->origin);
    double off = geo_dot (v, p->normal);
    double x = beyond (geo_dot (v, p->along), p->length);
    double y = beyond (geo_dot (v, p->down), p->width);
    return sqrt (off * off + x * x + y * y);
}

static const plane_t *nearest_plane (const surface_t *self, const geo_points_t *points,
                                     size_t i)
{
    const plane_t *best = self->plane;
    if (self->n == 1)
        return best;
    double least = INFINITY;
    geo_vec_t at = point_km (points, i);
    for (size_t k = 0; k < self->n; k++) {
        double d = plane_rrup (&self->plane[k], at);
        if (d < least) {
            least = d;
            best = &self->plane[k];
        }
    }
    return best;
}

/* From half chords (`angles` = 2) or sines (1), with sign, to km. */
static void to_km (double *out, size_t n, double angles)
{
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] > 1.0 ? 1.0 : out[i] < -1.0 ? -1.0 : out[i];
    vm_asin_n (out, out, n);
    for (size_t i = 0; i < n; i++)
        out[i] *= angles * GEO_EARTH_RADIUS;
}

/* The least rjb over the planes of up to BLOCK points. */
static void planes_rjb (const surface_t *self, const geo_points_t *points, double *out)
{
    double straight[BLOCK], arc[BLOCK];
    for (size_t k = 0; k < self->n; k++) {
        for (size_t i = 0; i < points->n; i++)
            straight[i] = plane_rjb (&self->plane[k], points, i, &arc[i]);
        to_km (arc, points->n, 1);
        for (size_t i = 0; i < points->n; i++) {
            double d = straight[i] + arc[i];
            out[i] = k == 0 || d < out[i] ? d : out[i];
        }
    }
}

void surface_rjb (const surface_t *self, const geo_points_t *points, double *out)
{
    if (self->mesh) {
        mesh_rjb (self->mesh, points, out);
        to_km (out, points->n, 2);
        return;
    }
    for (size_t i = 0; i < points->n; i += BLOCK) {
        size_t rest = points->n - i;
        geo_points_t block = geo_points_slice (points, i, rest < BLOCK ? rest : BLOCK);
        planes_rjb (self, &block, out + i);
    }
}

void surface_rrup (const surface_t *self, const geo_points_t *points, double *out)
{
    if (self->mesh) {
        mesh_rrup (self->mesh, points, out);
        return;
    }
    for (size_t i = 0; i < points->n; i++)
        out[i] = plane_rrup (nearest_plane (self, points, i), point_km (points, i));
}

void surface_rx (const surface_t *self, const geo_points_t *points, double *out)
{
    if (self->mesh) {
        mesh_rx (self->mesh, points, out);
        to_km (out, points->n, 2);
        return;
    }
    for (size_t i = 0; i < points->n; i++)
        out[i] = geo_dot (nearest_plane (self, points, i)->top, point_unit (points, i));
    to_km (out, points->n, 1);
}

void surface_ry0 (const surface_t *self, const geo_points_t *points, double *out)
{
    if (self->mesh)
        mesh_ry0 (self->mesh, points, out);
    else
        for (size_t i = 0; i < points->n; i++) {
            const plane_t *p = nearest_plane (self, points, i);
            geo_vec_t u = point_unit (points, i);
            out[i] = outside (geo_dot (p->left, u), geo_dot (p->right, u));
        }
    to_km (out, points->n, 1);
}

double surface_strike (const surface_t *self)
{
    return self->strike;
}

double surface_dip (const surface_t *self)
{
    return self->dip;
}

double surface_length (const surface_t *self)
{
    return self->length;
}

double surface_width (const surface_t *self)
{
    return self->width;
}

double surface_area (const surface_t *self)
{
    return self->area;
}

double surface_ztor (const surface_t *self)
{
    return self->ztor;
}

void surface_middle (const surface_t *self, double *lon, double *lat, double *depth)
{
    *lon = self->middle_lon;
    *lat = self->middle_lat;
    *depth = self->middle_depth;
}
