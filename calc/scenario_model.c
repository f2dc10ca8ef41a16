/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/scenario_model.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calc/geodesy.h"

/* Events are u4 in gmf_data, and their list is written whole. */
#define MAX_EVENTS 100000000u

/* ---- settings ------------------------------------------------------------- */

uint32_t imt_code (const imt_t *imt)
{
    return imt->kind == IMT_PGA   ? 0
           : imt->kind == IMT_PGV ? 1
                                  : 2 + (uint32_t) lround (imt->period * 1e6);
}

static int add_imt (settings_t *self, const sluice_params_t *params, const char *name,
                    const char *text, size_t length, sluice_error_t *err)
{
    char word[64], other[32];
    sluice_error_t inner;
    while (length && isspace ((unsigned char) *text)) {
        text++;
        length--;
    }
    while (length && isspace ((unsigned char) text[length - 1]))
        length--;
    if (length >= sizeof word)
        return sluice_params_fail (params, name, err, "'%.20s...' is no measure", text);
    memcpy (word, text, length);
    word[length] = '\0';
    if (self->nimts == SCENARIO_MAX_IMTS)
        return sluice_params_fail (params, name, err, "more than %d measures",
                                   SCENARIO_MAX_IMTS);
    imt_t *imt = &self->imts[self->nimts];
    if (imt_parse (word, imt, &inner) != 0 || gsim_check (self->gsim, imt, &inner) != 0)
        return sluice_params_fail (params, name, err, "%s", inner.text);
    for (size_t i = 0; i < self->nimts; i++)
        if (imt_code (&self->imts[i]) == imt_code (imt))
            return sluice_params_fail (params, name, err, "%s comes twice",
                                       imt_name (imt, other));
    self->nimts++;
    return 0;
}

/* "PGA, SA(1.0)" */
static int read_list (settings_t *self, const sluice_params_t *params, const char *name,
                      sluice_error_t *err)
{
    const char *text = sluice_params_get (params, name);
    for (;;) {
        size_t length = strcspn (text, ",");
        if (add_imt (self, params, name, text, length, err) != 0)
            return -1;
        if (!text[length])
            return 0;
        text += length + 1;
    }
}

/* The keys of {"PGA": [0.1, ...], "SA(1.0)": logscale (...)}. */
static int read_keys (settings_t *self, const sluice_params_t *params, const char *name,
                      sluice_error_t *err)
{
    const char *p = sluice_params_get (params, name);
    int depth = 0;
    for (; *p; p++) {
        if (strchr ("{[(", *p))
            depth++;
        else if (strchr ("}])", *p))
            depth--;
        else if (*p == '"' || *p == '\'') {
            const char *end = strchr (p + 1, *p);
            if (!end)
                return sluice_params_fail (params, name, err, "a quote is not closed");
            const char *behind = end + 1 + strspn (end + 1, " \t\r\n");
            if (depth == 1 && *behind == ':' &&
                add_imt (self, params, name, p + 1, (size_t) (end - p - 1), err) != 0)
                return -1;
            p = end;
        }
    }
    if (self->nimts)
        return 0;
    return sluice_params_fail (params, name, err, "want {\"PGA\": [...], ...}");
}

static int read_measures (settings_t *self, const sluice_params_t *params,
                          sluice_error_t *err)
{
    static const char *const list = "intensity_measure_types",
                             *const levels = "intensity_measure_types_and_levels";
    if (sluice_params_get (params, list))
        return read_list (self, params, list, err);
    if (sluice_params_get (params, levels))
        return read_keys (self, params, levels, err);
    return sluice_fail (err, SLUICE_EINPUT,
                        "%s: no intensity_measure_types, such as PGA, SA(1.0)",
                        sluice_params_file (params));
}

int settings_read (settings_t *self, const sluice_params_t *params, sluice_error_t *err)
{
    sluice_error_t inner;
    *self = (settings_t){.truncation = INFINITY, .events = 1};
    const char *gsim = sluice_params_get (params, "gsim");
    if (!gsim)
        return sluice_fail (err, SLUICE_EINPUT, "%s: no gsim, such as BooreEtAl2014",
                            sluice_params_file (params));
    self->gsim = gsim_find (gsim, &inner);
    if (!self->gsim)
        return sluice_params_fail (params, "gsim", err, "%s", inner.text);
    if (read_measures (self, params, err) != 0 ||
        sluice_params_f64 (params, "truncation_level", &self->truncation, err) != 0 ||
        sluice_params_u64 (params, "number_of_ground_motion_fields", &self->events,
                           err) != 0)
        return -1;
    if (!(self->truncation >= 0))
        return sluice_params_fail (params, "truncation_level", err,
                                   "must not be negative");
    if (self->events < 1 || self->events > MAX_EVENTS)
        return sluice_params_fail (params, "number_of_ground_motion_fields", err,
                                   "must be from 1 to %u", MAX_EVENTS);
    return 0;
}

/* ---- surface --------------------------------------------------------------- */

/* The corners of all planes, one after the other. */
static surface_t *planes_of (const rupture_t *rupture, sluice_error_t *err)
{
    size_t n = rupture->npatches;
    double *corners = calloc (n * 12, sizeof *corners);
    if (!corners) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the rupture");
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        memcpy (corners + 4 * i, rupture->patches[i].lon, 4 * sizeof (double));
        memcpy (corners + 4 * (n + i), rupture->patches[i].lat, 4 * sizeof (double));
        memcpy (corners + 4 * (2 * n + i), rupture->patches[i].depth,
                4 * sizeof (double));
    }
    surface_t *surface =
        surface_new_multi (n, corners, corners + 4 * n, corners + 8 * n, err);
    free (corners);
    return surface;
}

surface_t *surface_of (const rupture_t *rupture, sluice_error_t *err)
{
    const patch_t *first = &rupture->patches[0];
    bool planes = true;
    for (size_t i = 0; i < rupture->npatches; i++)
        planes = planes && rupture->patches[i].plane;
    if (planes && rupture->npatches == 1)
        return surface_new_planar (first->lon, first->lat, first->depth, NAN, NAN, err);
    if (planes && rupture->npatches > 1)
        return planes_of (rupture, err);
    if (rupture->npatches == 1)
        return surface_new_mesh (first->rows, first->cols, first->lon, first->lat,
                                 first->depth, err);
    sluice_fail (err, SLUICE_EINPUT, "ruptures of several meshes are not supported");
    return NULL;
}

/* ---- model ------------------------------------------------------------------ */

void model_clear (model_t *self)
{
    free (self->rjb);
    free (self->rrup);
    free (self->mean);
    free (self->tau);
    free (self->phi);
    *self = (model_t){0};
}

/* The distances that only some models need. */
typedef struct {
    double *rx, *ry0, *rhypo, *repi;
} more_t;

static bool allocate (model_t *self, more_t *more)
{
    size_t n = self->n, all = n * self->nimts;
    self->rjb = malloc (n * sizeof (double));
    self->rrup = malloc (n * sizeof (double));
    self->mean = malloc (all * sizeof (double));
    self->tau = malloc (all * sizeof (double));
    self->phi = malloc (all * sizeof (double));
    more->rx = malloc (n * sizeof (double));
    more->ry0 = malloc (n * sizeof (double));
    more->rhypo = malloc (n * sizeof (double));
    more->repi = malloc (n * sizeof (double));
    return self->rjb && self->rrup && self->mean && self->tau && self->phi && more->rx &&
           more->ry0 && more->rhypo && more->repi;
}

static int compute (model_t *self, const settings_t *settings,
                    const gsim_rupture_t *rupture, const sites_t *sites,
                    const more_t *more, sluice_error_t *err)
{
    const gsim_sites_t at = {.vs30 = sites->vs30,
                             .z1pt0 = sites->z1pt0,
                             .z2pt5 = sites->z2pt5,
                             .rjb = self->rjb,
                             .rrup = self->rrup,
                             .rx = more->rx,
                             .ry0 = more->ry0,
                             .rhypo = more->rhypo,
                             .repi = more->repi};
    for (size_t m = 0; m < self->nimts; m++) {
        const gsim_result_t result = {.mean = self->mean + m * self->n,
                                      .tau = self->tau + m * self->n,
                                      .phi = self->phi + m * self->n};
        if (gsim_compute (settings->gsim, &settings->imts[m], rupture, self->n, &at,
                          &result, err) != 0)
            return -1;
    }
    return 0;
}

int model_make (model_t *self, const settings_t *settings, const gsim_rupture_t *rupture,
                const double hypocentre[3], const surface_t *surface,
                const sites_t *sites, sluice_error_t *err)
{
    more_t more = {0};
    *self = (model_t){.n = sites->n, .nimts = settings->nimts};
    geo_points_t *points =
        geo_points_new (sites->n, sites->lon, sites->lat, sites->depth, err);
    if (!points)
        return -1;
    int rc = 0;
    if (!allocate (self, &more))
        rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory for %zu sites", sites->n);
    if (rc == 0) {
        uint32_t needs = gsim_needs (settings->gsim);
        surface_rjb (surface, points, self->rjb);
        surface_rrup (surface, points, self->rrup);
        if (needs & GSIM_RX)
            surface_rx (surface, points, more.rx);
        if (needs & GSIM_RY0)
            surface_ry0 (surface, points, more.ry0);
        if (needs & GSIM_RHYPO)
            geo_points_distance_3d (points, hypocentre[0], hypocentre[1], hypocentre[2],
                                    more.rhypo);
        if (needs & GSIM_REPI)
            geo_points_distance (points, hypocentre[0], hypocentre[1], more.repi);
        rc = compute (self, settings, rupture, sites, &more, err);
    }
    free (more.rx);
    free (more.ry0);
    free (more.rhypo);
    free (more.repi);
    geo_points_destroy (&points);
    if (rc != 0)
        model_clear (self);
    return rc;
}
