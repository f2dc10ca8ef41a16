/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The scenario kernel's work on the nodes: the model once, then fields. */

#include "calc/scenario.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calc/field.h"
#include "calc/kernel_host.h"
#include "calc/rng.h"
#include "calc/scenario_model.h"
#include "calc/scenario_plan.h"
#include "calc/scenario_store.h"
#include "calc/vmath.h"

/* Sites that are done at a time: what is made of them stays in the first cache. */
enum { BLOCK = 512 };

typedef struct {
    uint64_t seed;
    settings_t settings;
    model_t model; /* read only once made: workers share its pages */
    rng_truncation_t truncation;
    field_layout_t *layout; /* of gmf_data */
    float *values;          /* made by the first run in each process: BLOCK a measure */
} state_t;

/* ---- open ------------------------------------------------------------------------ */

static void close_state (void *arg)
{
    state_t *self = arg;
    if (!self)
        return;
    model_clear (&self->model);
    field_layout_destroy (&self->layout);
    free (self->values);
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
    self->truncation = rng_truncation (self->settings.truncation);
    self->layout = field_layout_new (self->settings.nimts);
    if (!self->layout) {
        close_state (self);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    *state = self;
    return 0;
}

/* ---- run --------------------------------------------------------------------------- */

/* The motion of measure `m` at sites first <= i < first + n. */
static void motion (const state_t *self, size_t m, uint64_t event, double between,
                    size_t first, size_t n)
{
    const size_t at = m * self->model.n + first;
    const field_model_t model = {self->model.mean + at, self->model.tau + at,
                                 self->model.phi + at};
    const rng_stream_t stream = {self->seed, event,
                                 2 * imt_code (&self->settings.imts[m]) + 1};
    double within[BLOCK];
    rng_truncated_n (&stream, first, &self->truncation, within, n);
    field_motion (self->values + m * BLOCK, &model, between, within, n);
}

/* Emit the rows of `n` sites. */
static int put_rows (sluice_task_t *task, const state_t *self, uint64_t event,
                     size_t first, size_t n)
{
    for (size_t done = 0, now; done < n; done += now) {
        now = n - done;
        void *rows = task_reserve (task, event, 0, &now);
        if (!rows)
            return -1;
        field_rows (self->layout, rows, (uint32_t) (first + done), (uint32_t) event,
                    self->values + done, BLOCK, now);
        if (task_commit (task, 0, now) != 0)
            return -1;
    }
    return 0;
}

static int run_event (sluice_task_t *task, const state_t *self, uint64_t event)
{
    double between[SCENARIO_MAX_IMTS];
    for (size_t m = 0; m < self->settings.nimts; m++) {
        const rng_stream_t stream = {self->seed, event,
                                     2 * imt_code (&self->settings.imts[m])};
        rng_truncated_n (&stream, 0, &self->truncation, &between[m], 1);
    }
    for (size_t first = 0; first < self->model.n; first += BLOCK) {
        size_t n = self->model.n - first < BLOCK ? self->model.n - first : BLOCK;
        for (size_t m = 0; m < self->settings.nimts; m++)
            motion (self, m, event, between[m], first, n);
        if (put_rows (task, self, event, first, n) != 0)
            return -1;
    }
    return 0;
}

static int run (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                sluice_error_t *err)
{
    state_t *self = state;
    if (!self->values)
        self->values = malloc (BLOCK * self->settings.nimts * sizeof (float));
    if (!self->values)
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
