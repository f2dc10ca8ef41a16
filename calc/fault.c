/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/fault.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calc/geodesy.h"
#include "calc/vmath.h"

/* Nearer than this (km) to a point of a line is on it. */
#define AT_POINT 1e-5

void line_clear (line_t *line)
{
    free (line->lon);
    free (line->lat);
    free (line->depth);
    *line = (line_t){0};
}

void patch_clear (patch_t *patch)
{
    free (patch->lon);
    free (patch->lat);
    free (patch->depth);
    *patch = (patch_t){0};
}

int patch_make (patch_t *patch, size_t rows, size_t cols, sluice_error_t *err)
{
    if (cols == 0 || rows > RUPTURE_MAX_POINTS / cols)
        return sluice_fail (err, SLUICE_EINPUT,
                            "its mesh has more than %d points: take a larger "
                            "rupture_mesh_spacing",
                            RUPTURE_MAX_POINTS);
    *patch = (patch_t){.rows = rows, .cols = cols};
    patch->lon = calloc (rows * cols, sizeof (double));
    patch->lat = calloc (rows * cols, sizeof (double));
    patch->depth = calloc (rows * cols, sizeof (double));
    if (patch->lon && patch->lat && patch->depth)
        return 0;
    patch_clear (patch);
    return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the rupture");
}

static int line_make (line_t *line, size_t n, sluice_error_t *err)
{
    line->n = n;
    line->lon = calloc (n, sizeof (double));
    line->lat = calloc (n, sizeof (double));
    line->depth = calloc (n, sizeof (double));
    if (line->lon && line->lat && line->depth)
        return 0;
    line_clear (line);
    return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the rupture");
}

typedef struct {
    double lon, lat, depth;
} point_t;

static point_t line_point (const line_t *line, size_t i)
{
    return (point_t){line->lon[i], line->lat[i], line->depth[i]};
}

static double distance (point_t a, point_t b)
{
    return geo_distance_3d (a.lon, a.lat, a.depth, b.lon, b.lat, b.depth);
}

/* The point `far` km from a towards b, in a straight line of distance and depth. */
static point_t towards (point_t a, point_t b, double far)
{
    double part = far / distance (a, b);
    double ground = geo_distance (a.lon, a.lat, b.lon, b.lat);
    point_t p = {a.lon, a.lat, a.depth + (b.depth - a.depth) * part};
    if (ground > 0)
        geo_point_at (a.lon, a.lat, geo_azimuth (a.lon, a.lat, b.lon, b.lat),
                      ground * part, &p.lon, &p.lat);
    return p;
}

static double line_length (const line_t *line)
{
    double length = 0;
    for (size_t i = 1; i < line->n; i++)
        length += distance (line_point (line, i - 1), line_point (line, i));
    return length;
}

/* ---- simple faults ------------------------------------------------------ */

/* Points of the trace, `spacing` apart; each segment is as many whole steps as
 * fit best, and the next begins where it ended. */
static int resample (const line_t *trace, double spacing, line_t *out,
                     sluice_error_t *err)
{
    double most = 2 * (line_length (trace) / spacing + (double) trace->n) + 2;
    if (!(most < RUPTURE_MAX_POINTS))
        return sluice_fail (err, SLUICE_EINPUT,
                            "its mesh has more than %d points: take a larger "
                            "rupture_mesh_spacing",
                            RUPTURE_MAX_POINTS);
    if (line_make (out, (size_t) most, err) != 0)
        return -1;
    size_t n = 1;
    out->lon[0] = trace->lon[0];
    out->lat[0] = trace->lat[0];
    for (size_t i = 1; i < trace->n; i++) {
        point_t from = {out->lon[n - 1], out->lat[n - 1], 0};
        point_t to = {trace->lon[i], trace->lat[i], 0};
        long steps = lround (distance (from, to) / spacing);
        for (long k = 1; k <= steps && n < out->n; k++, n++) {
            point_t p = towards (from, to, (double) k * spacing);
            out->lon[n] = p.lon;
            out->lat[n] = p.lat;
        }
    }
    out->n = n;
    return 0;
}

int fault_simple (const line_t *trace, double dip, double upper, double lower,
                  double spacing, patch_t *patch, sluice_error_t *err)
{
    if (!(dip > 0 && dip <= 90))
        return sluice_fail (err, SLUICE_EINPUT, "dip must be in (0, 90] degrees");
    if (!(upper >= 0 && lower > upper))
        return sluice_fail (err, SLUICE_EINPUT,
                            "lowerSeismoDepth must be below upperSeismoDepth, and "
                            "neither above the ground");
    line_t along = {0};
    if (resample (trace, spacing, &along, err) != 0)
        return -1;
    double strike = geo_azimuth (trace->lon[0], trace->lat[0], trace->lon[trace->n - 1],
                                 trace->lat[trace->n - 1]);
    double sine = vm_sin (geo_radians (dip)), cosine = vm_cos (geo_radians (dip));
    double cotangent = dip < 90 ? cosine / sine : 0;
    long steps = lround ((lower - upper) / sine / spacing);
    int rc = 0;
    if (along.n < 2 || steps < 1)
        rc = sluice_fail (err, SLUICE_EINPUT,
                          "the fault is smaller than rupture_mesh_spacing (%g km)",
                          spacing);
    if (rc == 0)
        rc = patch_make (patch, (size_t) steps + 1, along.n, err);
    for (size_t column = 0; rc == 0 && column < along.n; column++)
        for (size_t row = 0; row < patch->rows; row++) {
            size_t i = row * along.n + column;
            double depth = upper + (double) row * spacing * sine;
            patch->lon[i] = along.lon[column];
            patch->lat[i] = along.lat[column];
            patch->depth[i] = depth;
            if (cotangent > 0)
                geo_point_at (along.lon[column], along.lat[column], strike + 90,
                              depth * cotangent, &patch->lon[i], &patch->lat[i]);
        }
    line_clear (&along);
    return rc;
}

/* ---- complex faults ----------------------------------------------------- */

/* Divide a line into out->n - 1 equal parts. */
static void divide (const line_t *line, line_t *out)
{
    double part = line_length (line) / (double) (out->n - 1);
    double passed = 0, last = 0;
    size_t segment = 0;
    for (size_t i = 0; i < out->n; i++) {
        double wanted = (double) i * part;
        while (wanted > passed && segment < line->n - 1) {
            last = distance (line_point (line, segment), line_point (line, segment + 1));
            passed += last;
            segment++;
        }
        point_t p = line_point (line, 0);
        if (segment > 0) {
            double offset = wanted - (passed - last);
            p = line_point (line, segment - 1);
            if (offset >= AT_POINT)
                p = towards (p, line_point (line, segment), offset);
        }
        out->lon[i] = p.lon;
        out->lat[i] = p.lat;
        out->depth[i] = p.depth;
    }
}

/* Points for a mean length; 0 if that is less than one step. */
static size_t points_for (double length, double spacing)
{
    double steps = floor (length / spacing + 0.5);
    return steps < 1                    ? 0
           : steps < RUPTURE_MAX_POINTS ? (size_t) steps + 1
                                        : RUPTURE_MAX_POINTS + 1u;
}

/* Fill the mesh from edges that were divided alike. */
static int fill_complex (const line_t *edges, size_t n, double spacing, patch_t *patch,
                         sluice_error_t *err)
{
    size_t cols = edges[0].n;
    line_t down = {0}, divided = {0};
    if (line_make (&down, n, err) != 0)
        return -1;
    double width = 0;
    for (size_t column = 0; column < cols; column++)
        for (size_t i = 1; i < n; i++)
            width += distance (line_point (&edges[i - 1], column),
                               line_point (&edges[i], column));
    size_t rows = points_for (width / (double) cols, spacing);
    int rc = 0;
    if (!rows)
        rc = sluice_fail (err, SLUICE_EINPUT,
                          "the fault is narrower than rupture_mesh_spacing (%g km)",
                          spacing);
    if (rc == 0)
        rc = patch_make (patch, rows, cols, err);
    if (rc == 0 && line_make (&divided, rows, err) != 0) {
        patch_clear (patch);
        rc = -1;
    }
    for (size_t column = 0; rc == 0 && column < cols; column++) {
        for (size_t i = 0; i < n; i++) {
            down.lon[i] = edges[i].lon[column];
            down.lat[i] = edges[i].lat[column];
            down.depth[i] = edges[i].depth[column];
        }
        divide (&down, &divided);
        for (size_t row = 0; row < rows; row++) {
            patch->lon[row * cols + column] = divided.lon[row];
            patch->lat[row * cols + column] = divided.lat[row];
            patch->depth[row * cols + column] = divided.depth[row];
        }
    }
    line_clear (&down);
    line_clear (&divided);
    return rc;
}

int fault_complex (const line_t *edges, size_t n, double spacing, patch_t *patch,
                   sluice_error_t *err)
{
    double length = 0;
    for (size_t i = 0; i < n; i++)
        length += line_length (&edges[i]);
    size_t cols = points_for (length / (double) n, spacing);
    if (!cols)
        return sluice_fail (err, SLUICE_EINPUT,
                            "the fault is shorter than rupture_mesh_spacing (%g km)",
                            spacing);
    if (cols > RUPTURE_MAX_POINTS / n)
        return patch_make (patch, n, cols, err);
    line_t *divided = calloc (n, sizeof *divided);
    if (!divided)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the rupture");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = line_make (&divided[i], cols, err);
        if (rc == 0)
            divide (&edges[i], &divided[i]);
    }
    if (rc == 0)
        rc = fill_complex (divided, n, spacing, patch, err);
    for (size_t i = 0; i < n; i++)
        line_clear (&divided[i]);
    free (divided);
    return rc;
}
