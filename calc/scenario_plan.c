/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The scenario kernel's work in the master: read the inputs, say what comes out. */

#include "calc/scenario_plan.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/scenario.h"
#include "calc/scenario_model.h"
#include "calc/scenario_store.h"

/* All that plan has read. */
typedef struct {
    const sluice_params_t *params;
    settings_t settings;
    rupture_t *rupture;
    surface_t *surface;
    sites_t *sites;
    gsim_rupture_t facts;
    double hypocentre[3];
    model_t model;
    char *rupture_path;
} job_t;

/* ---- parameters ---------------------------------------------------------------- */

/* What would change the result and is not there yet. */
static const char *const refused[] = {
    "amplification_csv",    "cross_correlation",
    "exposure_file",        "ground_motion_correlation_model",
    "gsim_logic_tree_file", "minimum_intensity",
    "rupture_dict",         "secondary_perils",
    "shakemap_id",          "shakemap_uri",
    "site_effects",         "time_event",
    "with_betw_ratio",
};

static const char *const known[] = {
    "base_path",
    "calculation_mode",
    "description",
    "export_dir",
    "gsim",
    "intensity_measure_types",
    "intensity_measure_types_and_levels",
    "maximum_distance",
    "number_of_ground_motion_fields",
    "random_seed",
    "reference_depth_to_1pt0km_per_sec",
    "reference_depth_to_2pt5km_per_sec",
    "reference_vs30_type",
    "reference_vs30_value",
    "region",
    "region_grid_spacing",
    "rupture_mesh_spacing",
    "rupture_model_file",
    "ses_seed",
    "site_model_file",
    "sites",
    "truncation_level",
};

bool scenario_knows (const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp (name, known[i]))
            return true;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!strcmp (name, refused[i]))
            return true;
    return false;
}

static int refuse_others (const sluice_params_t *params, sluice_error_t *err)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *value = sluice_params_get (params, refused[i]);
        if (value && *value)
            return sluice_params_fail (params, refused[i], err,
                                       "is not supported by this version, and leaving "
                                       "it out would change the result");
    }
    return 0;
}

/* Parse "[[MAG, KM], ...]" at *text and find the distance for `mag`, linear between
 * the magnitudes, constant outside. False if it is no such list. */
static bool distance_in_list (const char **text, double mag, double *km)
{
    double last_mag = 0, last_km = 0, at_mag, at_km;
    bool first = true, found = false;
    const char *p = *text;
    p += strspn (p, " \t\r\n");
    if (*p++ != '[')
        return false;
    for (;;) {
        p += strspn (p, " \t\r\n");
        if (*p != '[' && *p != '(')
            return false;
        p++;
        if (!csv_number (p, &p, &at_mag))
            return false;
        p += strspn (p, " \t\r\n");
        if (*p++ != ',' || !csv_number (p, &p, &at_km))
            return false;
        p += strspn (p, " \t\r\n");
        if ((*p != ']' && *p != ')') || (!first && at_mag <= last_mag))
            return false;
        p++;
        if (!found && mag <= at_mag) {
            found = true;
            *km = first ? at_km
                        : last_km +
                              (at_km - last_km) * (mag - last_mag) / (at_mag - last_mag);
        }
        first = false;
        last_mag = at_mag;
        last_km = at_km;
        p += strspn (p, " \t\r\n");
        if (*p != ',')
            break;
        p++;
    }
    if (*p++ != ']')
        return false;
    if (!found)
        *km = last_km;
    *text = p;
    return true;
}

/* km, from "200", "{'default': 200}", "[[5, 50], [8, 300]]" or the latter in the
 * former; INFINITY if absent. */
static int read_maximum_distance (const sluice_params_t *params, double mag, double *km,
                                  sluice_error_t *err)
{
    const char *text = sluice_params_get (params, "maximum_distance");
    *km = INFINITY;
    if (!text)
        return 0;
    text += strspn (text, " \t\r\n");
    bool braces = *text == '{', good = true;
    if (braces) {
        const char *key = strstr (text, "default");
        good = key && (key[-1] == '\'' || key[-1] == '"') && key[7] == key[-1];
        if (good) {
            text = key + 8 + strspn (key + 8, " \t\r\n");
            good = *text++ == ':';
        }
    }
    good = good && (csv_number (text, &text, km) || distance_in_list (&text, mag, km));
    if (good) {
        text += strspn (text, " \t\r\n");
        good = braces ? *text == '}' || *text == ',' : !*text;
    }
    if (!good)
        return sluice_params_fail (params, "maximum_distance", err,
                                   "want km, {'default': km} or [[magnitude, km], ...]");
    if (!(*km > 0))
        return sluice_params_fail (params, "maximum_distance", err, "must be positive");
    return 0;
}

/* ---- inputs --------------------------------------------------------------------- */

/* Name an input file to the plan, and return its path here; free () it. */
static char *input_path (sluice_plan_t *plan, const char *name, sluice_error_t *err)
{
    const char *file = sluice_params_get (sluice_plan_params (plan), name);
    const char *folder = sluice_plan_folder (plan);
    if (!*file || strpbrk (file, "\n\r")) {
        sluice_params_fail (sluice_plan_params (plan), name, err, "want one file");
        return NULL;
    }
    if (sluice_plan_input (plan, file, err) != 0)
        return NULL;
    size_t size = strlen (folder) + strlen (file) + 2;
    char *path = malloc (size);
    if (!path)
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    else
        snprintf (path, size, "%s%s%s", *file == '/' ? "" : folder,
                  *file == '/' ? "" : "/", file);
    return path;
}

static int read_rupture (job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    double spacing = 0;
    if (!sluice_params_get (job->params, "rupture_model_file"))
        return sluice_fail (err, SLUICE_EINPUT, "%s: no rupture_model_file",
                            sluice_params_file (job->params));
    if (sluice_params_f64 (job->params, "rupture_mesh_spacing", &spacing, err) != 0)
        return -1;
    if (sluice_params_get (job->params, "rupture_mesh_spacing") && !(spacing > 0))
        return sluice_params_fail (job->params, "rupture_mesh_spacing", err,
                                   "must be positive, in km");
    job->rupture_path = input_path (plan, "rupture_model_file", err);
    if (!job->rupture_path ||
        !(job->rupture = rupture_read (job->rupture_path, spacing, err)))
        return -1;
    const rupture_t *r = job->rupture;
    job->surface = surface_of (r, err);
    if (!job->surface)
        return sluice_fail_at (err, "%s:%u", job->rupture_path, r->line);
    job->hypocentre[0] = r->lon;
    job->hypocentre[1] = r->lat;
    job->hypocentre[2] = r->depth;
    job->facts = (gsim_rupture_t){.mag = r->mag,
                                  .rake = r->rake,
                                  .dip = surface_dip (job->surface),
                                  .ztor = surface_ztor (job->surface),
                                  .width = surface_width (job->surface),
                                  .hypo_depth = r->depth};
    return 0;
}

/* Leave out the sites beyond `km` of the rupture. */
static int drop_far_sites (job_t *job, double km, sluice_error_t *err)
{
    sites_t *sites = job->sites;
    geo_points_t *points =
        geo_points_new (sites->n, sites->lon, sites->lat, sites->depth, err);
    double *rrup = malloc (sites->n * sizeof *rrup);
    bool *keep = malloc (sites->n * sizeof *keep);
    int rc = points ? 0 : -1;
    if (rc == 0 && (!rrup || !keep))
        rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory for %zu sites", sites->n);
    if (rc == 0) {
        surface_rrup (job->surface, points, rrup);
        double least = INFINITY;
        for (size_t i = 0; i < sites->n; i++) {
            keep[i] = rrup[i] <= km;
            least = fmin (least, rrup[i]);
        }
        sites_keep (sites, keep);
        if (!sites->n)
            rc = sluice_params_fail (job->params, "maximum_distance", err,
                                     "no site lies within %g km of the rupture; the "
                                     "nearest is at %.1f km",
                                     km, least);
    }
    free (rrup);
    free (keep);
    geo_points_destroy (&points);
    return rc;
}

static int read_sites (job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    double km;
    char *path = NULL;
    if (read_maximum_distance (job->params, job->rupture->mag, &km, err) != 0)
        return -1;
    if (sluice_params_get (job->params, "site_model_file") &&
        !(path = input_path (plan, "site_model_file", err)))
        return -1;
    bool need_vs30 = gsim_needs (job->settings.gsim) & GSIM_VS30;
    job->sites = sites_from_params (job->params, path, need_vs30, err);
    free (path);
    if (!job->sites)
        return -1;
    return isinf (km) ? 0 : drop_far_sites (job, km, err);
}

/* ---- outputs --------------------------------------------------------------------- */

/* Append to a text of fixed size; what does not fit is an error of ours that
 * sluice_dtype_parse will find. */
static void append (char *text, size_t size, const char *what)
{
    size_t used = strlen (text);
    snprintf (text + used, size - used, "%s", what);
}

/* Append ", PREFIX<IMT>:TYPE" for every measure. */
static void append_fields (const settings_t *settings, char *text, size_t size,
                           const char *prefix, const char *type)
{
    for (size_t m = 0; m < settings->nimts; m++) {
        char name[32], escaped[64], *out = escaped;
        imt_name (&settings->imts[m], name);
        for (const char *p = name; *p; p++) {
            if (*p == '(' || *p == ')')
                *out++ = '\\';
            *out++ = *p;
        }
        *out = '\0';
        append (text, size, ", ");
        append (text, size, prefix);
        append (text, size, escaped);
        append (text, size, type);
    }
}

/* Hand an array to the run and forget it. */
static int give (sluice_plan_t *plan, const char *name, sluice_array_t *array,
                 sluice_error_t *err)
{
    int rc = sluice_plan_output (plan, name, array, err);
    sluice_array_clear (array);
    return rc;
}

static int give_sites (const job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    const sites_t *sites = job->sites;
    sluice_array_t array;
    const uint64_t shape[1] = {sites->n};
    if (sluice_array_make (&array, SITECOL_DTYPE, 1, shape, err) != 0)
        return -1;
    site_record_t *records = array.data;
    for (size_t i = 0; i < sites->n; i++)
        records[i] = (site_record_t){(uint32_t) i,    sites->lon[i],  sites->lat[i],
                                     sites->depth[i], sites->vs30[i], sites->z1pt0[i],
                                     sites->z2pt5[i]};
    return give (plan, "sitecol", &array, err);
}

static int give_rupture (const job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    sluice_array_t array;
    const uint64_t one[1] = {1};
    const rupture_t *r = job->rupture;
    if (sluice_array_make (&array, RUPTURE_DTYPE, 1, one, err) != 0)
        return -1;
    *(rupture_record_t *) array.data =
        (rupture_record_t){.mag = r->mag,
                           .rake = r->rake,
                           .hypo_lon = r->lon,
                           .hypo_lat = r->lat,
                           .hypo_depth = r->depth,
                           .strike = surface_strike (job->surface),
                           .dip = job->facts.dip,
                           .ztor = job->facts.ztor,
                           .width = job->facts.width,
                           .length = surface_length (job->surface),
                           .area = surface_area (job->surface)};
    if (give (plan, "rupture", &array, err) != 0)
        return -1;
    uint64_t nodes[1] = {0};
    for (size_t k = 0; k < r->npatches; k++)
        nodes[0] += r->patches[k].rows * r->patches[k].cols;
    if (sluice_array_make (&array, MESH_DTYPE, 1, nodes, err) != 0)
        return -1;
    node_record_t *record = array.data;
    for (size_t k = 0; k < r->npatches; k++) {
        const patch_t *p = &r->patches[k];
        for (size_t i = 0; i < p->rows * p->cols; i++)
            *record++ = (node_record_t){(uint32_t) k,
                                        (uint32_t) (i / p->cols),
                                        (uint32_t) (i % p->cols),
                                        p->plane,
                                        p->lon[i],
                                        p->lat[i],
                                        p->depth[i]};
    }
    return give (plan, "rupture_mesh", &array, err);
}

static int give_events (const job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    struct {
        uint32_t id;
        int64_t rup_id;
        uint16_t rlz_id;
    } __attribute__ ((packed)) * events;
    sluice_array_t array;
    const uint64_t shape[1] = {job->settings.events};
    if (sluice_array_make (&array, "{id:<u4, rup_id:<i8, rlz_id:<u2}", 1, shape, err) !=
        0)
        return -1;
    events = array.data;
    for (uint64_t i = 0; i < job->settings.events; i++)
        events[i].id = (uint32_t) i; /* one rupture and one branch: 0 */
    return give (plan, "events", &array, err);
}

/* One text of a fixed length per row. */
static int give_imts (const job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    sluice_array_t array;
    const uint64_t shape[1] = {job->settings.nimts};
    if (sluice_array_make (&array, "|S32", 1, shape, err) != 0)
        return -1;
    for (size_t m = 0; m < job->settings.nimts; m++)
        imt_name (&job->settings.imts[m], (char *) array.data + 32 * m);
    return give (plan, "imts", &array, err);
}

static int give_description (const job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    const char *text = sluice_params_get (job->params, "description");
    sluice_array_t array;
    char type[32];
    if (!text || !*text)
        return 0;
    snprintf (type, sizeof type, "|S%zu", strlen (text));
    if (sluice_array_make (&array, type, 0, NULL, err) != 0)
        return -1;
    memcpy (array.data, text, strlen (text));
    return give (plan, "description", &array, err);
}

static int give_model (const job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    char type[SCENARIO_MAX_IMTS * 3 * 64] = "{sid:<u4, rjb:<f8, rrup:<f8";
    append_fields (&job->settings, type, sizeof type, "median_", ":<f8");
    append_fields (&job->settings, type, sizeof type, "tau_", ":<f8");
    append_fields (&job->settings, type, sizeof type, "phi_", ":<f8");
    append (type, sizeof type, "}");
    const model_t *model = &job->model;
    sluice_array_t array;
    const uint64_t shape[1] = {model->n};
    if (sluice_array_make (&array, type, 1, shape, err) != 0)
        return -1;
    double *medians = malloc (model->n * sizeof *medians);
    if (!medians) {
        sluice_array_clear (&array);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for %zu sites", model->n);
    }
    size_t size = sluice_dtype_size (array.dtype), m8 = 8 * model->nimts;
    for (size_t m = 0; m < model->nimts; m++) {
        vm_exp_n (medians, model->mean + m * model->n, model->n);
        for (size_t i = 0; i < model->n; i++) {
            char *row = (char *) array.data + i * size;
            uint32_t sid = (uint32_t) i;
            memcpy (row, &sid, 4);
            memcpy (row + 4, &model->rjb[i], 8);
            memcpy (row + 12, &model->rrup[i], 8);
            memcpy (row + 20 + 8 * m, &medians[i], 8);
            memcpy (row + 20 + m8 + 8 * m, &model->tau[m * model->n + i], 8);
            memcpy (row + 20 + 2 * m8 + 8 * m, &model->phi[m * model->n + i], 8);
        }
    }
    free (medians);
    return give (plan, "gmf_model", &array, err);
}

/* What the nodes need, as an object. */
static int share_job (const job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    const scenario_t scenario = {.settings = job->settings,
                                 .facts = job->facts,
                                 .rupture = *job->rupture,
                                 .sites = *job->sites};
    return sluice_share_put_object (plan, SCENARIO_KEY, &scenario_class, &scenario, err);
}

static int give_all (const job_t *job, sluice_plan_t *plan, sluice_error_t *err)
{
    char type[SCENARIO_MAX_IMTS * 64] = "{sid:<u4, eid:<u4";
    append_fields (&job->settings, type, sizeof type, "gmv_", ":<f4");
    append (type, sizeof type, "}");
    if (sluice_plan_items (plan, job->settings.events, err) != 0 ||
        sluice_plan_table (plan, "gmf_data", type, err) != 0 ||
        give_description (job, plan, err) != 0 || give_sites (job, plan, err) != 0 ||
        give_rupture (job, plan, err) != 0 || give_events (job, plan, err) != 0 ||
        give_imts (job, plan, err) != 0 || give_model (job, plan, err) != 0 ||
        share_job (job, plan, err) != 0)
        return -1;
    return 0;
}

/* ---- plan ------------------------------------------------------------------------- */

int scenario_plan (sluice_plan_t *plan, sluice_error_t *err)
{
    job_t job = {.params = sluice_plan_params (plan)};
    int rc = -1;
    if (refuse_others (job.params, err) == 0 &&
        settings_read (&job.settings, job.params, err) == 0 &&
        read_rupture (&job, plan, err) == 0 && read_sites (&job, plan, err) == 0 &&
        model_make (&job.model, &job.settings, &job.facts, job.hypocentre, job.surface,
                    job.sites, err) == 0)
        rc = give_all (&job, plan, err);
    model_clear (&job.model);
    sites_destroy (&job.sites);
    surface_destroy (&job.surface);
    rupture_destroy (&job.rupture);
    free (job.rupture_path);
    return rc;
}
