/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* area.c - a first kernel: the area of a polygon by throwing darts at it
 *
 * Shows each function of a kernel: a plan that reads parameters and shares an
 * array, an open that prepares it, a run that draws and emits. Parameters:
 *
 *   polygon   its corners, `x y, x y, ...`; a circle of radius 1 if absent
 *   batches   how many batches of darts there are; a batch is an item
 *   darts     in each batch
 *
 * Table `batches`: a row for each batch, and how many of its darts hit. Array
 * `box`: the rectangle that they were thrown at. See README.md for the rest.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/kernel.h>

typedef struct {
    double x, y;
} point_t;

/* A row as it lies in memory: packed, since every byte of it is written. */
typedef struct {
    uint64_t batch, darts, hits;
} __attribute__ ((packed)) row_t;
#define ROW_DTYPE "{batch:<u8, darts:<u8, hits:<u8}"

enum { MAX_CORNERS = 100000, CIRCLE_CORNERS = 1000, DARTS_AT_ONCE = 512 };

/* What open makes and run reads. The workers of a machine share this memory. */
typedef struct {
    size_t n;
    const point_t *corner; /* belongs to the inputs */
    point_t low, size;     /* of the box around it */
    uint64_t darts;
} state_t;

/* ---- plan: once, where the run is started --------------------------------- */

static int read_polygon (const sluice_params_t *params, point_t *corner, size_t *n,
                         sluice_error_t *err)
{
    const char *at = sluice_params_get (params, "polygon");
    *n = 0;
    for (int k = 0; !at && k < CIRCLE_CORNERS; k++) {
        double angle = 2 * acos (-1.0) * k / CIRCLE_CORNERS;
        corner[(*n)++] = (point_t){cos (angle), sin (angle)};
    }
    while (at && *at) {
        char *end;
        point_t p;
        p.x = strtod (at, &end);
        const char *second = end;
        p.y = strtod (second, &end);
        if (second == at || end == second || !isfinite (p.x) || !isfinite (p.y))
            return sluice_params_fail (params, "polygon", err,
                                       "expected `x y, x y, ...` at '%.20s'", at);
        if (*n == MAX_CORNERS)
            return sluice_params_fail (params, "polygon", err, "more than %d corners",
                                       MAX_CORNERS);
        corner[(*n)++] = p;
        at = end + strspn (end, " \t\n");
        if (*at == ',')
            at++;
        else if (*at)
            return sluice_params_fail (params, "polygon", err, "expected ',' at '%.20s'",
                                       at);
    }
    if (*n < 3)
        return sluice_params_fail (params, "polygon", err, "%zu corners: at least 3", *n);
    return 0;
}

/* Share the corners with all nodes, and write the box to the output. */
static int give (sluice_plan_t *plan, const point_t *corner, size_t n,
                 sluice_error_t *err)
{
    double box[4] = {corner[0].x, corner[0].y, corner[0].x, corner[0].y};
    for (size_t i = 1; i < n; i++) {
        box[0] = fmin (box[0], corner[i].x);
        box[1] = fmin (box[1], corner[i].y);
        box[2] = fmax (box[2], corner[i].x);
        box[3] = fmax (box[3], corner[i].y);
    }
    sluice_array_t polygon = {0}, bounds = {0};
    int rc = -1;
    if (sluice_array_make (&polygon, "<f8", 2, (uint64_t[]){n, 2}, err) == 0 &&
        sluice_array_make (&bounds, "<f8", 1, (uint64_t[]){4}, err) == 0) {
        memcpy (polygon.data, corner, n * sizeof *corner);
        memcpy (bounds.data, box, sizeof box);
        if (sluice_share_put (plan, "polygon", &polygon, err) == 0 &&
            sluice_share_put (plan, "box", &bounds, err) == 0)
            rc = sluice_plan_output (plan, "box", &bounds, err);
    }
    sluice_array_clear (&polygon);
    sluice_array_clear (&bounds);
    return rc;
}

static int plan_area (sluice_plan_t *plan, sluice_error_t *err)
{
    const sluice_params_t *params = sluice_plan_params (plan);
    uint64_t batches = 1000, darts = 1;
    /* open reads `darts` again; here it is read so that a mistake is told at once. */
    if (sluice_params_u64 (params, "batches", &batches, err) == -1 ||
        sluice_params_u64 (params, "darts", &darts, err) == -1 ||
        sluice_plan_items (plan, batches, err) == -1 ||
        sluice_plan_table (plan, "batches", ROW_DTYPE, err) == -1)
        return -1;
    point_t *corner = malloc (MAX_CORNERS * sizeof *corner);
    if (!corner)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    size_t n;
    int rc = read_polygon (params, corner, &n, err);
    if (rc == 0)
        rc = give (plan, corner, n, err);
    free (corner);
    return rc;
}

/* ---- open: once on each node ---------------------------------------------- */

static int open_area (sluice_inputs_t *inputs, void **state, sluice_error_t *err)
{
    const sluice_array_t *polygon = sluice_inputs_get (inputs, "polygon", err);
    const sluice_array_t *box = sluice_inputs_get (inputs, "box", err);
    if (!polygon || !box)
        return -1;
    state_t *self = calloc (1, sizeof *self);
    if (!self)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    const double *bound = box->data;
    self->n = (size_t) polygon->shape[0];
    self->corner = polygon->data;
    self->low = (point_t){bound[0], bound[1]};
    self->size = (point_t){bound[2] - bound[0], bound[3] - bound[1]};
    self->darts = 100000;
    if (sluice_params_u64 (sluice_inputs_params (inputs), "darts", &self->darts, err) ==
        -1) {
        free (self);
        return -1;
    }
    *state = self;
    return 0;
}

static void close_area (void *state)
{
    free (state);
}

/* ---- run: in the workers --------------------------------------------------- */

/* Is p inside? A ray from it crosses the border an odd number of times. */
static bool is_inside (const state_t *self, point_t p)
{
    bool inside = false;
    point_t a = self->corner[self->n - 1];
    for (size_t i = 0; i < self->n; i++) {
        point_t b = self->corner[i];
        if ((a.y > p.y) != (b.y > p.y) &&
            p.x < a.x + (b.x - a.x) * (p.y - a.y) / (b.y - a.y))
            inside = !inside;
        a = b;
    }
    return inside;
}

/* How many darts of a batch hit. Dart k is where numbers 2k and 2k + 1 of the
 * batch's stream say: the same wherever, and with whatever others, it is thrown. */
static uint64_t throw_darts (const sluice_task_t *task, const state_t *self,
                             uint64_t batch)
{
    uint64_t hits = 0;
    double u[2 * DARTS_AT_ONCE];
    for (uint64_t k = 0; k < self->darts; k += DARTS_AT_ONCE) {
        uint64_t left = self->darts - k;
        size_t n = left < DARTS_AT_ONCE ? (size_t) left : DARTS_AT_ONCE;
        sluice_random (task, batch, 0, 2 * k, u, 2 * n);
        for (size_t i = 0; i < n; i++)
            hits +=
                is_inside (self, (point_t){self->low.x + u[2 * i] * self->size.x,
                                           self->low.y + u[2 * i + 1] * self->size.y});
    }
    return hits;
}

static int run_area (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                     sluice_error_t *err)
{
    const state_t *self = state;
    (void) err; /* nothing here can fail but the emitting */
    for (uint64_t batch = first; batch < stop; batch++) {
        if (sluice_yield (task, batch)) /* an idle worker wants the rest */
            return 0;
        row_t row = {.batch = batch, .darts = self->darts};
        row.hits = throw_darts (task, self, batch);
        if (sluice_emit (task, batch, 0, &row, 1) == -1)
            return -1;
    }
    return 0;
}

const sluice_kernel_t sluice_kernel = {.abi = SLUICE_KERNEL_ABI,
                                       .name = "area",
                                       .plan = plan_area,
                                       .open = open_area,
                                       .run = run_area,
                                       .close = close_area};
