/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/kernel_host.h"
#include "calc/scenario.h"
#include "calc/vmath.h"

/* ---- a run in memory ---------------------------------------------------------- */

typedef struct {
    size_t row_bytes;
    unsigned char *rows; /* of gmf_data */
    size_t nrows, room;
} sink_t;

/* Segments are never given back: an emitter holds few at a time. */
enum { SEGMENTS = 64, SEGMENT_BYTES = 8 << 20 };

static unsigned char *segments[SEGMENTS];

static void *sink_get (void *arg, bool wait, uint32_t *handle)
{
    (void) arg, (void) wait;
    static uint32_t next;
    *handle = next++ % SEGMENTS;
    if (!segments[*handle])
        segments[*handle] = malloc (SEGMENT_BYTES);
    return segments[*handle];
}

static int sink_put (void *arg, uint32_t handle, const piece_t *piece)
{
    sink_t *self = arg;
    const unsigned char *bytes = segments[handle];
    for (size_t i = 0; i < piece->nparts; i++) {
        const part_t *part = &piece->parts[i];
        if (part->table == 0) {
            size_t end = self->nrows + part->rows;
            if (end > self->room) {
                self->room = 2 * end;
                self->rows = realloc (self->rows, self->room * self->row_bytes);
            }
            cr_assert_eq (part->bytes, part->rows * self->row_bytes);
            memcpy (self->rows + self->nrows * self->row_bytes, bytes, part->bytes);
            self->nrows = end;
        }
        bytes += part->bytes;
    }
    return 0;
}

static void sink_back (void *arg, uint32_t handle)
{
    (void) arg, (void) handle;
}

typedef struct {
    share_t *share;
    sluice_params_t *params;
    kernel_t *kernel;
    sluice_plan_t *plan;
    sluice_inputs_t *inputs;
    void *state;
    char shared[64];
} world_t;

static sluice_params_t *demo_params (const char *name, va_list args)
{
    sluice_params_t *params = sluice_params_new ();
    sluice_params_set_file (params, "job.ini");
    static const char *const basics[][2] = {
        {"rupture_model_file", "rupture.xml"},
        {"region", "-118.9 34.0, -118.2 34.0, -118.2 34.5, -118.9 34.5"},
        {"region_grid_spacing", "3"},
        {"reference_vs30_value", "400"},
        {"gsim", "BooreEtAl2014"},
        {"intensity_measure_types", "PGA, SA(1.0)"},
        {"truncation_level", "3"},
        {"number_of_ground_motion_fields", "40"}};
    for (size_t i = 0; i < sizeof basics / sizeof *basics; i++)
        sluice_params_set (params, basics[i][0], basics[i][1], (unsigned) i + 1, NULL);
    for (; name; name = va_arg (args, const char *))
        sluice_params_set (params, name, va_arg (args, const char *), 99, NULL);
    return params;
}

static sluice_plan_t *make_plan (world_t *world, sluice_error_t *err)
{
    char folder[500];
    snprintf (folder, sizeof folder, "%s/calc/demo/northridge", getenv ("top_srcdir"));
    world->share = share_new_open (err);
    cr_assert (world->share, "%s", err->text);
    world->kernel = kernel_builtin ("scenario", err);
    cr_assert (world->kernel, "%s", err->text);
    world->plan = plan_run (world->kernel, world->params, folder, world->share, 42, err);
    return world->plan;
}

static void world_close (world_t *world)
{
    if (world->state)
        kernel_api (world->kernel)->close (world->state);
    inputs_destroy (&world->inputs);
    plan_destroy (&world->plan);
    kernel_destroy (&world->kernel);
    share_destroy (&world->share);
    sluice_params_destroy (&world->params);
    if (*world->shared)
        unlink (world->shared);
}

/* Plan and open with the demonstration's rupture; more parameters as pairs. */
static world_t world_open (const char *name, ...)
{
    world_t world = {0};
    sluice_error_t err;
    va_list args;
    va_start (args, name);
    world.params = demo_params (name, args);
    va_end (args);
    cr_assert (make_plan (&world, &err), "%s", err.text);
    snprintf (world.shared, sizeof world.shared, "/tmp/test_scenario.%d.h5",
              (int) getpid ());
    unlink (world.shared);
    cr_assert_eq (plan_write_shared (world.plan, world.shared, &err), 0, "%s", err.text);
    world.inputs =
        inputs_new (world.share, world.params, 42, world.plan->items, world.shared + 1,
                    world.plan->files, world.plan->nfiles, &err);
    cr_assert (world.inputs, "%s", err.text);
    cr_assert_eq (kernel_api (world.kernel)->open (world.inputs, &world.state, &err), 0,
                  "%s", err.text);
    return world;
}

/* The message that plan fails with. */
static const char *refusal (const char *name, ...)
{
    static sluice_error_t err;
    world_t world = {0};
    va_list args;
    va_start (args, name);
    world.params = demo_params (name, args);
    va_end (args);
    cr_assert_null (make_plan (&world, &err));
    cr_assert_eq (err.code, SLUICE_EINPUT);
    world_close (&world);
    return err.text;
}

/* Run events first <= i < stop in tasks of `step`. The caller frees rows. */
static unsigned char *run_events (world_t *world, uint64_t first, uint64_t stop,
                                  uint64_t step, size_t *nrows)
{
    sluice_error_t err;
    sluice_dtype_t *type = sluice_dtype_parse (
        world->plan->tables[0].dtype, strlen (world->plan->tables[0].dtype), &err);
    cr_assert (type);
    sink_t sink = {.row_bytes = sluice_dtype_size (type)};
    sluice_dtype_destroy (&type);
    const emitter_sink_t callbacks = {&sink, sink_get, sink_put, sink_back, NULL};
    uint32_t size = segment_for (world->plan->tables, world->plan->ntables, &err);
    cr_assert (size > 0 && size <= SEGMENT_BYTES, "%s", err.text);
    emitter_t *emitter =
        emitter_new (world->plan->tables, world->plan->ntables, size, &callbacks, &err);
    cr_assert (emitter, "%s", err.text);
    sluice_task_t *task = task_new (emitter, 42, "/tmp");
    uint64_t number = 0;
    for (uint64_t i = first; i < stop; i += step) {
        task_t range = {number++, 1, i, i + step < stop ? i + step : stop};
        bool stopped = false;
        cr_assert_eq (
            task_run (task, world->kernel, world->state, &range, &stopped, &err), 0, "%s",
            err.text);
    }
    task_destroy (&task);
    emitter_destroy (&emitter);
    *nrows = sink.nrows;
    return sink.rows;
}

static const sluice_array_t *output (const world_t *world, const char *name)
{
    for (size_t i = 0; i < world->plan->noutputs; i++)
        if (!strcmp (world->plan->outputs[i].name, name))
            return &world->plan->outputs[i].array;
    cr_assert_fail ("no output %s", name);
    return NULL;
}

typedef struct {
    uint32_t sid, eid;
    float pga, sa1;
} __attribute__ ((packed)) row_t;

typedef struct {
    uint32_t sid;
    double rjb, rrup, median[2], tau[2], phi[2];
} __attribute__ ((packed)) model_row_t;

/* ---- tests ----------------------------------------------------------------------- */

Test (scenario, declares_what_comes_out)
{
    world_t world = world_open (NULL);
    cr_assert_eq (world.plan->items, 40);
    cr_assert_eq (world.plan->ntables, 1);
    cr_assert_str_eq (world.plan->tables[0].name, "gmf_data");
    cr_assert_str_eq (world.plan->tables[0].dtype,
                      "{sid:<u4, eid:<u4, gmv_PGA:<f4, gmv_SA\\(1.0\\):<f4}");
    cr_assert_eq (output (&world, "events")->shape[0], 40);
    cr_assert_eq (output (&world, "imts")->shape[0], 2);
    cr_assert_str_eq ((char *) output (&world, "imts")->data + 32, "SA(1.0)");
    cr_assert_eq (output (&world, "rupture")->shape[0], 1);
    cr_assert_eq (output (&world, "rupture_mesh")->shape[0], 4);
    cr_assert_eq (output (&world, "sitecol")->shape[0],
                  output (&world, "gmf_model")->shape[0]);
    cr_assert_eq (sluice_dtype_size (output (&world, "gmf_model")->dtype),
                  sizeof (model_row_t));
    world_close (&world);
}

Test (scenario, rows_are_all_sites_of_each_event_in_order)
{
    world_t world = world_open (NULL);
    size_t n, sites = output (&world, "sitecol")->shape[0];
    row_t *rows = (row_t *) run_events (&world, 0, 40, 40, &n);
    cr_assert_eq (n, 40 * sites);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq (rows[i].eid, i / sites);
        cr_assert_eq (rows[i].sid, i % sites);
        cr_assert (rows[i].pga > 0 && isfinite (rows[i].pga));
    }
    free (rows);
    world_close (&world);
}

Test (scenario, bytes_do_not_depend_on_how_it_was_cut)
{
    world_t world = world_open (NULL);
    size_t n, m, k;
    unsigned char *whole = run_events (&world, 0, 40, 40, &n);
    unsigned char *cut = run_events (&world, 0, 40, 7, &m);
    unsigned char *part = run_events (&world, 13, 17, 1, &k);
    cr_assert_eq (n, m);
    cr_assert_eq (memcmp (whole, cut, n * sizeof (row_t)), 0);
    size_t sites = n / 40;
    cr_assert_eq (k, 4 * sites);
    cr_assert_eq (memcmp (whole + 13 * sites * sizeof (row_t), part, k * sizeof (row_t)),
                  0);
    free (whole);
    free (cut);
    free (part);
    world_close (&world);
}

Test (scenario, bytes_do_not_depend_on_the_instruction_set)
{
    unsigned char *first = NULL;
    size_t n = 0;
    for (int isa = VM_SCALAR; isa < VM_ISA_COUNT; isa++) {
        sluice_error_t err;
        if (!vm_has_isa ((vm_isa_t) isa))
            continue;
        cr_assert_eq (vm_set_isa ((vm_isa_t) isa, &err), 0);
        world_t world = world_open (NULL);
        size_t m;
        unsigned char *rows = run_events (&world, 0, 40, 40, &m);
        if (first) {
            cr_assert_eq (n, m);
            cr_assert_eq (memcmp (first, rows, n * sizeof (row_t)), 0, "%s",
                          vm_isa_name ());
            free (rows);
        } else {
            first = rows;
            n = m;
        }
        world_close (&world);
    }
    free (first);
}

Test (scenario, a_measure_does_not_depend_on_the_others)
{
    world_t both = world_open (NULL);
    world_t alone = world_open ("intensity_measure_types", "SA(1.0)", NULL);
    size_t n, m;
    row_t *two = (row_t *) run_events (&both, 0, 3, 3, &n);
    struct {
        uint32_t sid, eid;
        float sa1;
    } *one = (void *) run_events (&alone, 0, 3, 3, &m);
    cr_assert_eq (n, m);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq (two[i].sa1, one[i].sa1);
    free (two);
    free (one);
    world_close (&both);
    world_close (&alone);
}

Test (scenario, truncation_zero_gives_medians)
{
    world_t world = world_open ("truncation_level", "0", NULL);
    size_t n;
    row_t *rows = (row_t *) run_events (&world, 0, 2, 2, &n);
    const model_row_t *model = output (&world, "gmf_model")->data;
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq (rows[i].pga, (float) model[rows[i].sid].median[0]);
        cr_assert_eq (rows[i].sa1, (float) model[rows[i].sid].median[1]);
    }
    free (rows);
    world_close (&world);
}

/* Variance of a standard normal truncated at +-3: 1 - 6 phi (3) / (2 Phi (3) - 1). */
#define VARIANCE_3 0.97333692

Test (scenario, moments_are_those_of_the_model)
{
    world_t world = world_open ("number_of_ground_motion_fields", "2000", NULL);
    size_t n, sites = output (&world, "sitecol")->shape[0];
    row_t *rows = (row_t *) run_events (&world, 0, 2000, 500, &n);
    const model_row_t *model = output (&world, "gmf_model")->data;
    cr_assert_eq (n, 2000 * sites);
    double within = 0, sum = 0, squares = 0;
    for (size_t e = 0; e < 2000; e++) {
        double mean = 0, square = 0;
        for (size_t s = 0; s < sites; s++) {
            double x = log (rows[e * sites + s].pga) - log (model[s].median[0]);
            cr_assert (fabs (x) <= 3 * (model[s].tau[0] + model[s].phi[0]) + 1e-5);
            mean += x / (double) sites;
            square += x * x / (double) sites;
        }
        within += (square - mean * mean) * (double) sites / (double) (sites - 1) / 2000;
        sum += mean;
        squares += mean * mean;
    }
    double tau = model[0].tau[0], phi = model[0].phi[0];
    double variance = squares / 2000 - sum * sum / 2000 / 2000;
    double events = sqrt (tau * tau * VARIANCE_3);
    /* standard errors: mean of 2000 draws, their variance, that of all sites */
    cr_assert_float_eq (sum / 2000, 0, 4 * events / sqrt (2000));
    cr_assert_float_eq (variance, events * events + phi * phi / (double) sites,
                        4 * events * events * sqrt (2. / 2000));
    cr_assert_float_eq (within, phi * phi * VARIANCE_3,
                        4 * phi * phi * sqrt (2. / (double) n));
    free (rows);
    world_close (&world);
}

Test (scenario, leaves_out_sites_that_are_too_far)
{
    world_t all = world_open (NULL);
    world_t near = world_open ("maximum_distance", "20", NULL);
    world_t scaled =
        world_open ("maximum_distance", "{'default': [[5, 10], [8, 30]]}", NULL);
    size_t n = output (&all, "sitecol")->shape[0];
    size_t m = output (&near, "sitecol")->shape[0], want20 = 0, want = 0;
    const model_row_t *model = output (&all, "gmf_model")->data;
    for (size_t i = 0; i < n; i++) {
        want20 += model[i].rrup <= 20;
        want += model[i].rrup <= 10 + 20 * (6.7 - 5) / 3;
    }
    cr_assert_lt (m, n);
    cr_assert_eq (m, want20);
    cr_assert_eq (output (&scaled, "sitecol")->shape[0], want);
    world_close (&all);
    world_close (&near);
    world_close (&scaled);
}

Test (scenario, takes_the_keys_of_types_and_levels)
{
    world_t world = world_open (NULL);
    world_close (&world);
    sluice_error_t err;
    world_t keys = {.params = NULL};
    va_list none = {0};
    keys.params = demo_params (NULL, none);
    sluice_params_t *fresh = sluice_params_new ();
    for (size_t i = 0; i < sluice_params_count (keys.params); i++)
        if (strcmp (sluice_params_name_at (keys.params, i), "intensity_measure_types") !=
            0)
            sluice_params_set (fresh, sluice_params_name_at (keys.params, i),
                               sluice_params_value_at (keys.params, i), 1, NULL);
    sluice_params_set (fresh, "intensity_measure_types_and_levels",
                       "{\"PGA\": logscale(0.005, 2, 20), 'SA(0.3)': [0.1, 0.2]}", 1,
                       NULL);
    sluice_params_destroy (&keys.params);
    keys.params = fresh;
    cr_assert (make_plan (&keys, &err), "%s", err.text);
    cr_assert_str_eq (keys.plan->tables[0].dtype,
                      "{sid:<u4, eid:<u4, gmv_PGA:<f4, gmv_SA\\(0.3\\):<f4}");
    world_close (&keys);
}

Test (scenario, refuses_what_it_cannot_do)
{
    cr_assert (strstr (refusal ("gsim", "Foo", NULL), "BooreEtAl2014"));
    cr_assert (
        strstr (refusal ("intensity_measure_types", "PGA, MMI", NULL), "job.ini:99"));
    cr_assert_str_eq (refusal ("intensity_measure_types", "PGA, PGA", NULL),
                      "job.ini:99: intensity_measure_types: PGA comes twice");
    cr_assert_str_eq (refusal ("truncation_level", "-1", NULL),
                      "job.ini:99: truncation_level: must not be negative");
    cr_assert_str_eq (refusal ("number_of_ground_motion_fields", "0", NULL),
                      "job.ini:99: number_of_ground_motion_fields: must be from 1 to "
                      "100000000");
    cr_assert_str_eq (refusal ("ground_motion_correlation_model", "JB2009", NULL),
                      "job.ini:99: ground_motion_correlation_model: is not supported by "
                      "this version, and leaving it out would change the result");
    cr_assert_str_eq (refusal ("maximum_distance", "far", NULL),
                      "job.ini:99: maximum_distance: want km, {'default': km} or "
                      "[[magnitude, km], ...]");
    cr_assert (
        strstr (refusal ("maximum_distance", "1", NULL), "no site lies within 1 km"));
    cr_assert (
        strstr (refusal ("rupture_model_file", "nowhere.xml", NULL), "nowhere.xml"));
    cr_assert (strstr (refusal ("rupture_model_file", "job.ini", NULL), "job.ini:1: "));
}

Test (scenario, knows_its_parameters)
{
    cr_assert (scenario_knows ("gsim"));
    cr_assert (scenario_knows ("minimum_intensity"));
    cr_assert_not (scenario_knows ("truncation_lvel"));
}
