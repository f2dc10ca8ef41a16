/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The scenario kernel's work on the nodes: the model once, then fields. */

#include "calc/scenario.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calc/rng.h"
#include "calc/scenario_model.h"
#include "calc/scenario_plan.h"
#include "calc/scenario_store.h"
#include "calc/vmath.h"

/* Sites that are done at a time: what a worker touches stays in the second cache. */
enum { BLOCK = 4096 };

typedef struct {
    uint64_t seed;
    settings_t settings;
    model_t model; /* read only once made: workers share its pages */
    size_t row;    /* bytes of a row of gmf_data */
    /* made by the first run in each process */
    unsigned char *rows;
    double *normal;
} state_t;

/* ---- open ------------------------------------------------------------------------ */

static void close_state (void *arg)
{
    state_t *self = arg;
    if (!self)
        return;
    model_clear (&self->model);
    free (self->rows);
    free (self->normal);
    free (self);
}

/* The model from what plan has shared. */
static int make_model (state_t *self, const scenario_t *scenario, sluice_error_t *err)
{
    const rupture_t *rupture = &scenario->rupture;
    const double hypocentre[3] = {rupture->lon, rupture->lat, rupture->depth};
    surface_t *surface = surface_of (rupture, err);
    if (!surface)
        return -1;
    int rc = model_make (&self->model, &scenario->settings, &scenario->facts, hypocentre,
                         surface, &scenario->sites, err);
    surface_destroy (&surface);
    return rc;
}

static int open_inputs (sluice_inputs_t *inputs, void **state, sluice_error_t *err)
{
    state_t *self = calloc (1, sizeof *self);
    if (!self)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    self->seed = sluice_inputs_seed (inputs);
    scenario_t scenario;
    int rc =
        sluice_inputs_get_object (inputs, SCENARIO_KEY, &scenario_class, &scenario, err);
    if (rc == 0) {
        rc = make_model (self, &scenario, err);
        self->settings = scenario.settings;
        sluice_object_clear (&scenario_class, &scenario);
    }
    if (rc != 0) {
        close_state (self);
        return -1;
    }
    self->row = 8 + 4 * self->settings.nimts;
    *state = self;
    return 0;
}

/* ---- run --------------------------------------------------------------------------- */

/* normal[i] = mean + tau e_b + phi e_w, then its exponential. */
static void motion (const state_t *self, size_t m, uint64_t event, double between,
                    size_t first, size_t n, double *normal)
{
    const double *mean = self->model.mean + m * self->model.n + first;
    const double *tau = self->model.tau + m * self->model.n + first;
    const double *phi = self->model.phi + m * self->model.n + first;
    if (self->settings.truncation > 0) {
        const rng_stream_t stream = {self->seed, event,
                                     2 * imt_code (&self->settings.imts[m]) + 1};
        rng_normal_n (&stream, first, self->settings.truncation, normal, n);
        for (size_t i = 0; i < n; i++)
            normal[i] = mean[i] + tau[i] * between + phi[i] * normal[i];
        vm_exp_n (normal, normal, n);
    } else
        vm_exp_n (normal, mean, n);
}

/* Numbers of sites and event into rows. */
static void put_numbers (const state_t *self, uint32_t event, size_t first, size_t n)
{
    unsigned char *row = self->rows;
    for (size_t i = 0; i < n; i++, row += self->row) {
        const uint32_t numbers[2] = {(uint32_t) (first + i), event};
        memcpy (row, numbers, sizeof numbers);
    }
}

static void put_motion (const state_t *self, size_t m, const double *values, size_t n)
{
    unsigned char *at = self->rows + 8 + 4 * m;
    for (size_t i = 0; i < n; i++, at += self->row) {
        float value = (float) values[i];
        memcpy (at, &value, sizeof value);
    }
}

static int run_event (sluice_task_t *task, const state_t *self, uint64_t event)
{
    double between[SCENARIO_MAX_IMTS];
    for (size_t m = 0; m < self->settings.nimts; m++) {
        const rng_stream_t stream = {self->seed, event,
                                     2 * imt_code (&self->settings.imts[m])};
        rng_normal_n (&stream, 0, self->settings.truncation, &between[m], 1);
    }
    for (size_t first = 0; first < self->model.n; first += BLOCK) {
        size_t n = self->model.n - first < BLOCK ? self->model.n - first : BLOCK;
        put_numbers (self, (uint32_t) event, first, n);
        for (size_t m = 0; m < self->settings.nimts; m++) {
            motion (self, m, event, between[m], first, n, self->normal);
            put_motion (self, m, self->normal, n);
        }
        if (sluice_emit (task, event, 0, self->rows, n) != 0)
            return -1;
    }
    return 0;
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    state_t *self = state;
    if (!self->rows)
        self->rows = malloc (BLOCK * self->row);
    if (!self->normal)
        self->normal = malloc (BLOCK * sizeof (double));
    if (!self->rows || !self->normal)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (uint64_t event = first; event < stop; event++) {
        if (sluice_yield (task, event))
            return 0;
        if (run_event (task, self, event) != 0)
            return -1;
    }
    return 0;
}

const sluice_kernel_t scenario_kernel = {.abi = SLUICE_KERNEL_ABI,
                                         .name = "scenario",
                                         .plan = scenario_plan,
                                         .open = open_inputs,
                                         .run = run,
                                         .close = close_state};
