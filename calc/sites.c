/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/sites.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calc/geodesy.h"
#include "calc/vmath.h"

/* No ground is softer or harder, and no basin deeper (m; km would be too much by far);
 * the models' terms overflow far outside. */
enum { VS30_MIN = 10, VS30_MAX = 10000, BASIN_MAX = 50000 };

#define UNKNOWN_DEPTH (-999.0) /* what OpenQuake's site models write for "unknown" */
#define SAME_PLACE 1e5         /* sites agree if they do in units of 1e-5 degrees */
#define ON_BORDER 1e-9         /* degrees */

#define MAX_GRID 4e9 /* points of a bounding box to look at */

enum { MAX_CORNERS = 10000 };

/* Reference values of the job; NaN where there is none. */
typedef struct {
    double vs30, z1pt0, z2pt5;
} reference_t;

void sites_destroy (sites_t **self_p)
{
    sites_t *self = *self_p;
    if (!self)
        return;
    free (self->lon);
    free (self->lat);
    free (self->depth);
    free (self->vs30);
    free (self->z1pt0);
    free (self->z2pt5);
    free (self);
    *self_p = NULL;
}

/* Grow one column to `room` values. */
static bool grow (double **column, size_t room)
{
    double *wider = realloc (*column, room * sizeof *wider);
    if (wider)
        *column = wider;
    return wider != NULL;
}

static int add_site (sites_t *self, size_t *room, const double site[6],
                     sluice_error_t *err)
{
    if (self->n == SITES_MAX)
        return sluice_fail (err, SLUICE_EINPUT, "more than %d sites", SITES_MAX);
    if (self->n == *room) {
        size_t wider = *room ? 2 * *room : 1024;
        if (!grow (&self->lon, wider) || !grow (&self->lat, wider) ||
            !grow (&self->depth, wider) || !grow (&self->vs30, wider) ||
            !grow (&self->z1pt0, wider) || !grow (&self->z2pt5, wider))
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the sites");
        *room = wider;
    }
    self->lon[self->n] = site[0];
    self->lat[self->n] = site[1];
    self->depth[self->n] = site[2];
    self->vs30[self->n] = site[3];
    self->z1pt0[self->n] = site[4];
    self->z2pt5[self->n] = site[5];
    self->n++;
    return 0;
}

void sites_keep (sites_t *self, const bool *keep)
{
    size_t n = 0;
    for (size_t i = 0; i < self->n; i++) {
        if (!keep[i])
            continue;
        self->lon[n] = self->lon[i];
        self->lat[n] = self->lat[i];
        self->depth[n] = self->depth[i];
        self->vs30[n] = self->vs30[i];
        self->z1pt0[n] = self->z1pt0[i];
        self->z2pt5[n] = self->z2pt5[i];
        n++;
    }
    self->n = n;
}

static int read_reference (const sluice_params_t *params, reference_t *reference,
                           sluice_error_t *err)
{
    *reference = (reference_t){NAN, NAN, NAN};
    if (!params)
        return 0;
    if (sluice_params_f64 (params, "reference_vs30_value", &reference->vs30, err) != 0 ||
        sluice_params_f64 (params, "reference_depth_to_1pt0km_per_sec", &reference->z1pt0,
                           err) != 0 ||
        sluice_params_f64 (params, "reference_depth_to_2pt5km_per_sec", &reference->z2pt5,
                           err) != 0)
        return -1;
    if (!isnan (reference->vs30) &&
        !(reference->vs30 >= VS30_MIN && reference->vs30 <= VS30_MAX))
        return sluice_params_fail (params, "reference_vs30_value", err,
                                   "must be from %d to %d m/s", VS30_MIN, VS30_MAX);
    if (reference->z1pt0 > BASIN_MAX || reference->z2pt5 > BASIN_MAX)
        return sluice_params_fail (params,
                                   reference->z1pt0 > BASIN_MAX
                                       ? "reference_depth_to_1pt0km_per_sec"
                                       : "reference_depth_to_2pt5km_per_sec",
                                   err, "must be at most %d", BASIN_MAX);
    if (reference->z1pt0 <= UNKNOWN_DEPTH)
        reference->z1pt0 = NAN;
    if (reference->z2pt5 <= UNKNOWN_DEPTH)
        reference->z2pt5 = NAN;
    return 0;
}

/* What is wrong with a position, or NULL. */
static const char *bad_position (double lon, double lat, double depth)
{
    if (!(lon >= -180 && lon <= 180))
        return "longitude is not between -180 and 180";
    if (!(lat >= -90 && lat <= 90))
        return "latitude is not between -90 and 90";
    if (!(depth >= -20 && depth <= 700))
        return "depth is not between -20 and 700 km";
    return NULL;
}

/* ---- the same site twice ------------------------------------------------ */

typedef struct {
    long lon, lat;
    size_t index;
} place_t;

static int by_place (const void *a_, const void *b_)
{
    const place_t *a = a_, *b = b_;
    if (a->lon != b->lon)
        return a->lon < b->lon ? -1 : 1;
    if (a->lat != b->lat)
        return a->lat < b->lat ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* Look for a site that comes twice: 1 and the first such pair, 0, or -1. */
static int find_twins (const sites_t *sites, size_t *first, size_t *second,
                       sluice_error_t *err)
{
    place_t *places = malloc (sites->n * sizeof *places);
    if (!places)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the sites");
    for (size_t i = 0; i < sites->n; i++)
        places[i] = (place_t){lround (sites->lon[i] * SAME_PLACE),
                              lround (sites->lat[i] * SAME_PLACE), i};
    qsort (places, sites->n, sizeof *places, by_place);
    int found = 0;
    for (size_t i = 1; i < sites->n; i++) {
        const place_t *a = &places[i - 1], *b = &places[i];
        if (a->lon == b->lon && a->lat == b->lat && (!found || b->index < *second)) {
            *first = a->index;
            *second = b->index;
            found = 1;
        }
    }
    free (places);
    return found;
}

/* ---- site model --------------------------------------------------------- */

/* One of the two basin depths: the file's, or the reference. */
static int read_basin (const csv_t *csv, int column, double *value, sluice_error_t *err)
{
    if (column < 0 || !*csv_text (csv, (size_t) column))
        return 0;
    double x;
    if (csv_f64 (csv, (size_t) column, &x, err) != 0)
        return -1;
    if (x <= UNKNOWN_DEPTH)
        return 0;
    if (!(x >= 0 && x <= BASIN_MAX))
        return csv_fail (csv, err, "%s: %g is not from 0 to %d",
                         csv_name (csv, (size_t) column), x, BASIN_MAX);
    *value = x;
    return 0;
}

static int read_vs30 (const csv_t *csv, int column, bool need, double *value,
                      sluice_error_t *err)
{
    if (column >= 0 && *csv_text (csv, (size_t) column)) {
        double x;
        if (csv_f64 (csv, (size_t) column, &x, err) != 0)
            return -1;
        if (x >= VS30_MIN && x <= VS30_MAX)
            *value = x;
        else if (x != UNKNOWN_DEPTH)
            return csv_fail (csv, err, "vs30: %g is not from %d to %d m/s", x, VS30_MIN,
                             VS30_MAX);
    }
    if (need && isnan (*value))
        return csv_fail (csv, err,
                         "the site has no vs30: give it one, or the job a "
                         "reference_vs30_value");
    return 0;
}

/* Lines of a site model's sites, for messages. */
typedef struct {
    unsigned *lines;
    size_t room;
} lines_t;

static int add_line (lines_t *self, size_t n, unsigned line, sluice_error_t *err)
{
    if (n >= self->room) {
        size_t wider = self->room ? 2 * self->room : 1024;
        unsigned *lines = realloc (self->lines, wider * sizeof *lines);
        if (!lines)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the sites");
        self->lines = lines;
        self->room = wider;
    }
    self->lines[n] = line;
    return 0;
}

static int read_rows (csv_t *csv, const reference_t *reference, bool need_vs30,
                      sites_t *sites, lines_t *lines, sluice_error_t *err)
{
    int lon = csv_column (csv, "lon"), lat = csv_column (csv, "lat");
    int vs30 = csv_column (csv, "vs30"), depth = csv_column (csv, "depth");
    int z1pt0 = csv_column (csv, "z1pt0"), z2pt5 = csv_column (csv, "z2pt5");
    if (lon < 0 || lat < 0)
        return csv_fail (csv, err, "no column '%s' in the header",
                         lon < 0 ? "lon" : "lat");
    if (vs30 < 0 && need_vs30 && isnan (reference->vs30))
        return csv_fail (csv, err,
                         "no column 'vs30' in the header, and the job has no "
                         "reference_vs30_value");
    size_t room = 0;
    int more;
    while ((more = csv_next (csv, err)) == 1) {
        double site[6] = {0, 0, 0, reference->vs30, reference->z1pt0, reference->z2pt5};
        if (csv_f64 (csv, (size_t) lon, &site[0], err) != 0 ||
            csv_f64 (csv, (size_t) lat, &site[1], err) != 0 ||
            (depth >= 0 && csv_f64 (csv, (size_t) depth, &site[2], err) != 0))
            return -1;
        const char *wrong = bad_position (site[0], site[1], site[2]);
        if (wrong)
            return csv_fail (csv, err, "%s", wrong);
        if (read_vs30 (csv, vs30, need_vs30, &site[3], err) != 0 ||
            read_basin (csv, z1pt0, &site[4], err) != 0 ||
            read_basin (csv, z2pt5, &site[5], err) != 0 ||
            add_line (lines, sites->n, csv_line (csv), err) != 0 ||
            add_site (sites, &room, site, err) != 0)
            return -1;
    }
    if (more == 0 && sites->n == 0)
        return csv_fail (csv, err, "no sites behind the header");
    return more;
}

sites_t *sites_from_csv (csv_t *csv, const sluice_params_t *params, bool need_vs30,
                         sluice_error_t *err)
{
    reference_t reference;
    if (read_reference (params, &reference, err) != 0)
        return NULL;
    sites_t *self = calloc (1, sizeof *self);
    lines_t lines = {NULL, 0};
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the sites");
        return NULL;
    }
    int rc = read_rows (csv, &reference, need_vs30, self, &lines, err);
    if (rc == 0) {
        size_t first, second;
        rc = find_twins (self, &first, &second, err);
        if (rc == 1)
            sluice_fail (err, SLUICE_EINPUT,
                         "%s:%u: the same site as in line %u (to 5 decimals)",
                         csv_file (csv), lines.lines[second], lines.lines[first]);
    }
    free (lines.lines);
    if (rc != 0)
        sites_destroy (&self);
    return self;
}

/* ---- places in parameters ----------------------------------------------- */

/* Read the numbers of one place ("LON LAT" or "LON LAT DEPTH") of a list that
 * commas separate; *text moves behind the comma. Returns how many numbers
 * there were; -1 if this is no place. */
static int read_place (const char **text, double place[3])
{
    int n = 0;
    const char *p = *text;
    for (;;) {
        while (isspace ((unsigned char) *p))
            p++;
        if (*p == ',' || !*p)
            break;
        if (n == 3 || !csv_number (p, &p, &place[n++]) ||
            (*p && *p != ',' && !isspace ((unsigned char) *p)))
            return -1;
    }
    *text = *p ? p + 1 : p;
    return n;
}

static int fail_place (const sluice_params_t *params, const char *name, size_t number,
                       const char *what, sluice_error_t *err)
{
    return sluice_params_fail (params, name, err, "place %zu: %s", number, what);
}

static int read_sites (const sluice_params_t *params, const reference_t *reference,
                       sites_t *sites, sluice_error_t *err)
{
    const char *text = sluice_params_get (params, "sites");
    size_t room = 0;
    while (isspace ((unsigned char) *text))
        text++;
    while (*text) {
        double site[6] = {0, 0, 0, reference->vs30, reference->z1pt0, reference->z2pt5};
        if (read_place (&text, site) < 2)
            return fail_place (params, "sites", sites->n + 1,
                               "want 'LON LAT' or 'LON LAT DEPTH'", err);
        const char *wrong = bad_position (site[0], site[1], site[2]);
        if (wrong)
            return fail_place (params, "sites", sites->n + 1, wrong, err);
        if (add_site (sites, &room, site, err) != 0)
            return -1;
    }
    if (!sites->n)
        return sluice_params_fail (params, "sites", err, "no sites in it");
    size_t first, second;
    int twins = find_twins (sites, &first, &second, err);
    if (twins == 1)
        return sluice_params_fail (params, "sites", err,
                                   "places %zu and %zu are the same (to 5 decimals)",
                                   first + 1, second + 1);
    return twins;
}

/* ---- grid in a region --------------------------------------------------- */

typedef struct {
    size_t n;
    double *lon, *lat;
} polygon_t;

static int read_polygon (const sluice_params_t *params, polygon_t *polygon,
                         sluice_error_t *err)
{
    const char *text = sluice_params_get (params, "region");
    while (*text) {
        double place[3] = {0, 0, 0};
        if (read_place (&text, place) != 2)
            return fail_place (params, "region", polygon->n + 1, "want 'LON LAT'", err);
        const char *wrong = bad_position (place[0], place[1], 0);
        if (wrong)
            return fail_place (params, "region", polygon->n + 1, wrong, err);
        if (polygon->n == MAX_CORNERS)
            return sluice_params_fail (params, "region", err, "more than %d corners",
                                       MAX_CORNERS);
        if ((polygon->n & (polygon->n - 1)) == 0 &&
            (!grow (&polygon->lon, 2 * polygon->n + 1) ||
             !grow (&polygon->lat, 2 * polygon->n + 1)))
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the region");
        polygon->lon[polygon->n] = place[0];
        polygon->lat[polygon->n] = place[1];
        polygon->n++;
    }
    if (polygon->n < 3)
        return sluice_params_fail (params, "region", err,
                                   "%zu corners: a region needs at least 3", polygon->n);
    double twice = 0; /* the area, in square degrees */
    for (size_t i = 1; i + 1 < polygon->n; i++)
        twice +=
            (polygon->lon[i] - polygon->lon[0]) *
                (polygon->lat[i + 1] - polygon->lat[0]) -
            (polygon->lon[i + 1] - polygon->lon[0]) * (polygon->lat[i] - polygon->lat[0]);
    return fabs (twice) > ON_BORDER
               ? 0
               : sluice_params_fail (params, "region", err,
                                     "has no area: its corners lie in a line, or its "
                                     "sides cross");
}

/* Does the point lie on the segment from a to b, as near as ON_BORDER? */
static bool on_segment (double x, double y, double ax, double ay, double bx, double by)
{
    double dx = bx - ax, dy = by - ay, length2 = dx * dx + dy * dy;
    double t = length2 > 0 ? ((x - ax) * dx + (y - ay) * dy) / length2 : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    double ex = x - ax - t * dx, ey = y - ay - t * dy;
    return ex * ex + ey * ey <= ON_BORDER * ON_BORDER;
}

static bool inside (const polygon_t *polygon, double x, double y)
{
    bool in = false;
    for (size_t i = 0, j = polygon->n - 1; i < polygon->n; j = i++) {
        double ax = polygon->lon[j], ay = polygon->lat[j];
        double bx = polygon->lon[i], by = polygon->lat[i];
        if (on_segment (x, y, ax, ay, bx, by))
            return true;
        if ((ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax)
            in = !in;
    }
    return in;
}

/* Degrees of longitude in one great circle step of `angle` radians to the east. */
static double step_east (double lat, double angle)
{
    double phi = geo_radians (lat);
    double sin_phi = vm_sin (phi), cos_phi = vm_cos (phi);
    double end = vm_asin (sin_phi * vm_cos (angle));
    return geo_degrees (
        vm_atan2 (vm_sin (angle) * cos_phi, vm_cos (angle) - sin_phi * vm_sin (end)));
}

static int fill_region (const polygon_t *polygon, double spacing,
                        const reference_t *reference, sites_t *sites, sluice_error_t *err)
{
    double west = 180, east = -180, south = 90, north = -90;
    for (size_t i = 0; i < polygon->n; i++) {
        west = fmin (west, polygon->lon[i]);
        east = fmax (east, polygon->lon[i]);
        south = fmin (south, polygon->lat[i]);
        north = fmax (north, polygon->lat[i]);
    }
    double angle = spacing / GEO_EARTH_RADIUS, down = geo_degrees (angle);
    if (((north - south) / down + 1) * ((east - west) / down + 1) > MAX_GRID)
        return sluice_fail (err, SLUICE_EINPUT,
                            "region_grid_spacing: %g km is too fine for this region",
                            spacing);
    size_t room = 0;
    for (size_t row = 0;; row++) {
        double lat = north - (double) row * down;
        if (lat < south - ON_BORDER || lat < -90)
            return 0;
        double right = step_east (lat, angle);
        if (!(right > 0)) /* a pole: one point there is the whole row */
            right = 360;
        for (size_t column = 0;; column++) {
            double lon = west + (double) column * right;
            if (lon > east + ON_BORDER)
                break;
            const double site[6] = {
                lon, lat, 0, reference->vs30, reference->z1pt0, reference->z2pt5};
            if (inside (polygon, lon, lat) && add_site (sites, &room, site, err) != 0)
                return -1;
        }
    }
}

static int read_region (const sluice_params_t *params, const reference_t *reference,
                        sites_t *sites, sluice_error_t *err)
{
    double spacing = 0;
    if (!sluice_params_get (params, "region_grid_spacing"))
        return sluice_params_fail (params, "region", err,
                                   "needs region_grid_spacing, in km");
    if (sluice_params_f64 (params, "region_grid_spacing", &spacing, err) != 0)
        return -1;
    if (!(spacing >= 0.001 && spacing <= 1000))
        return sluice_params_fail (params, "region_grid_spacing", err,
                                   "must be from 0.001 to 1000 km");
    polygon_t polygon = {0, NULL, NULL};
    int rc = read_polygon (params, &polygon, err);
    if (rc == 0)
        rc = fill_region (&polygon, spacing, reference, sites, err);
    if (rc == 0 && !sites->n)
        rc = sluice_params_fail (params, "region", err,
                                 "no grid point falls into it: the spacing is too large");
    free (polygon.lon);
    free (polygon.lat);
    return rc;
}

/* ---- which of the three ------------------------------------------------- */

static sites_t *read_model_file (const sluice_params_t *params, const char *path,
                                 bool need_vs30, sluice_error_t *err)
{
    csv_t *csv = csv_open (path, err);
    if (!csv)
        return NULL;
    sites_t *self = sites_from_csv (csv, params, need_vs30, err);
    csv_destroy (&csv);
    return self;
}

sites_t *sites_from_params (const sluice_params_t *params, const char *site_model,
                            bool need_vs30, sluice_error_t *err)
{
    bool sites = sluice_params_get (params, "sites") != NULL;
    bool region = sluice_params_get (params, "region") != NULL;
    if ((site_model != NULL) + sites + region > 1) {
        sluice_params_fail (params, region ? "region" : "sites", err,
                            "give one of site_model_file, sites and region");
        return NULL;
    }
    if (site_model)
        return read_model_file (params, site_model, need_vs30, err);
    if (!sites && !region) {
        sluice_fail (err, SLUICE_EINPUT,
                     "%s: no sites: give site_model_file, sites, or region and "
                     "region_grid_spacing",
                     sluice_params_file (params));
        return NULL;
    }
    reference_t reference;
    if (read_reference (params, &reference, err) != 0)
        return NULL;
    if (need_vs30 && isnan (reference.vs30)) {
        sluice_params_fail (params, sites ? "sites" : "region", err,
                            "these sites have no vs30: give reference_vs30_value");
        return NULL;
    }
    sites_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the sites");
        return NULL;
    }
    int rc = sites ? read_sites (params, &reference, self, err)
                   : read_region (params, &reference, self, err);
    if (rc != 0)
        sites_destroy (&self);
    return self;
}
