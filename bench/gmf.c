/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* gmf.c - how fast one core computes ground-motion fields
 *
 * The scenario kernel itself, from its plan to its pieces: BSSA14, 10,000 sites, 2,000
 * events, with 1 and with 3 measures, in one thread. Rows go through the emitter, both
 * digests included, into segments that are recycled and that are more than the caches
 * hold, as a worker's are. In turn with it a loop that does nothing but write rows of
 * the same layout to the same segments, which is bound by memory, and gmf_numpy.py, the
 * same in NumPy. Medians of CPU times as one JSON object on stdout.
 *
 * usage: bench/gmf [--events N] [--runs N] [--segments N] [--python PYTHON | --no-python]
 *
 * SLUICE_ISA chooses the instruction set. `make bench-programs` builds it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "calc/kernel_host.h"
#include "calc/vmath.h"

enum { SIDE = 100, SITES = SIDE * SIDE, MAX_RUNS = 99, MAX_COLUMNS = 3 };

static const char *const measures[] = {"PGA", "PGA, SA(0.3), SA(1.0)"};
static const size_t columns[] = {1, MAX_COLUMNS};

typedef struct {
    const char *script, *python; /* NULL: without NumPy */
    uint64_t events;
    unsigned runs, segments;
} options_t;

static void die (const char *what, const char *why)
{
    fprintf (stderr, "gmf: %s: %s\n", what, why);
    exit (1);
}

static double cpu_seconds (void)
{
    struct timespec t;
    clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static int by_size (const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static double median (double *values, unsigned n)
{
    qsort (values, n, sizeof *values, by_size);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/* ---- segments --------------------------------------------------------------------- */

typedef struct {
    unsigned char **segments;
    uint32_t size;
    unsigned n, next;
    uint64_t bytes; /* that were put */
    uint8_t digest[DIGEST_BYTES];
} pool_t;

static void pool_make (pool_t *self, unsigned n, uint32_t size)
{
    *self = (pool_t){.size = size, .n = n};
    self->segments = calloc (n, sizeof *self->segments);
    for (unsigned i = 0; self->segments && i < n; i++) {
        self->segments[i] = aligned_alloc (4096, size);
        if (!self->segments[i])
            die ("segments", "out of memory");
        memset (self->segments[i], 1, size);
    }
}

static void pool_clear (pool_t *self)
{
    for (unsigned i = 0; i < self->n; i++)
        free (self->segments[i]);
    free (self->segments);
}

static void *sink_get (void *arg, bool wait, uint32_t *handle)
{
    pool_t *self = arg;
    (void) wait;
    *handle = self->next++ % self->n;
    return self->segments[*handle];
}

static int sink_put (void *arg, uint32_t handle, const piece_t *piece)
{
    pool_t *self = arg;
    (void) handle;
    self->bytes += piece->payload;
    if (piece->kind == PIECE_DONE)
        digest_add (self->digest, piece->digest);
    return 0;
}

static void sink_back (void *arg, uint32_t handle)
{
    (void) arg, (void) handle;
}

/* ---- the kernel ---------------------------------------------------------------------
 */

typedef struct {
    share_t *share;
    sluice_params_t *params;
    kernel_t *kernel;
    sluice_plan_t *plan;
    sluice_inputs_t *inputs;
    void *state;
    emitter_t *emitter;
    sluice_task_t *task;
    pool_t pool;
} world_t;

static char folder[] = "/tmp/sluice-gmf-XXXXXX";

/* A fault that dips, under a square of sites of many kinds. */
static void write_inputs (void)
{
    char path[200];
    snprintf (path, sizeof path, "%s/sites.csv", folder);
    FILE *f = fopen (path, "w");
    if (!f)
        die (path, "cannot be written");
    fprintf (f, "lon,lat,vs30\n");
    for (int i = 0; i < SITES; i++)
        fprintf (f, "%.5f,%.5f,%d\n", -118.9 + 0.01 * (i % SIDE),
                 33.8 + 0.01 * (i / SIDE), 180 + i * 7 % 900);
    fclose (f);
    snprintf (path, sizeof path, "%s/rupture.xml", folder);
    f = fopen (path, "w");
    if (!f)
        die (path, "cannot be written");
    fprintf (f, "<?xml version='1.0' encoding='utf-8'?>\n"
                "<nrml xmlns='http://openquake.org/xmlns/nrml/0.5'>\n"
                "<singlePlaneRupture><magnitude>6.7</magnitude><rake>101</rake>\n"
                "<hypocenter lon='-118.5445' lat='34.2021' depth='17.47'/>\n"
                "<planarSurface>\n"
                "<topLeft lon='-118.60745' lat='34.39162' depth='5.0'/>\n"
                "<topRight lon='-118.42266' lat='34.29633' depth='5.0'/>\n"
                "<bottomLeft lon='-118.71779' lat='34.24556' depth='21.07'/>\n"
                "<bottomRight lon='-118.53299' lat='34.15027' depth='21.07'/>\n"
                "</planarSurface></singlePlaneRupture></nrml>\n");
    fclose (f);
}

static void remove_inputs (void)
{
    static const char *const names[] = {"sites.csv", "rupture.xml", "shared.h5", "model"};
    char path[200];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf (path, sizeof path, "%s/%s", folder, names[i]);
        unlink (path);
    }
    rmdir (folder);
}

static void world_open (world_t *self, const options_t *options, const char *imts)
{
    static const emitter_sink_t callbacks = {
        .get = sink_get, .put = sink_put, .give_back = sink_back};
    sluice_error_t err = {0};
    char events[30], shared[200];
    *self = (world_t){0};
    self->params = sluice_params_new ();
    sluice_params_set_file (self->params, "gmf");
    snprintf (events, sizeof events, "%llu", (unsigned long long) options->events);
    const char *const pairs[][2] = {
        {"rupture_model_file", "rupture.xml"},     {"rupture_mesh_spacing", "1"},
        {"site_model_file", "sites.csv"},          {"gsim", "BooreEtAl2014"},
        {"intensity_measure_types", imts},         {"truncation_level", "3"},
        {"number_of_ground_motion_fields", events}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        sluice_params_set (self->params, pairs[i][0], pairs[i][1], (unsigned) i + 1,
                           NULL);
    snprintf (shared, sizeof shared, "%s/shared.h5", folder);
    unlink (shared);
    if (!(self->share = share_new_open (&err)) ||
        !(self->kernel = kernel_builtin ("scenario", &err)) ||
        !(self->plan =
              plan_run (self->kernel, self->params, folder, self->share, 42, &err)) ||
        plan_write_shared (self->plan, shared, &err) != 0 ||
        !(self->inputs =
              inputs_new (self->share, self->params, 42, self->plan->items, shared + 1,
                          self->plan->files, self->plan->nfiles, &err)) ||
        kernel_api (self->kernel)->open (self->inputs, &self->state, &err) != 0)
        die (imts, err.text);
    uint32_t size = segment_for (self->plan->tables, self->plan->ntables, &err);
    if (size == 0)
        die (imts, err.text);
    pool_make (&self->pool, options->segments, size);
    emitter_sink_t sink = callbacks;
    sink.arg = &self->pool;
    self->emitter =
        emitter_new (self->plan->tables, self->plan->ntables, size, &sink, &err);
    if (!self->emitter || !(self->task = task_new (self->emitter, 42, "/tmp")))
        die (imts, err.text);
}

static void world_close (world_t *self)
{
    task_destroy (&self->task);
    emitter_destroy (&self->emitter);
    pool_clear (&self->pool);
    kernel_api (self->kernel)->close (self->state);
    inputs_destroy (&self->inputs);
    plan_destroy (&self->plan);
    kernel_destroy (&self->kernel);
    share_destroy (&self->share);
    sluice_params_destroy (&self->params);
}

/* CPU seconds of all events, in tasks of 100. */
static double ours (world_t *self)
{
    enum { STEP = 100 };
    sluice_error_t err = {0};
    bool stopped = false;
    uint64_t items = self->plan->items;
    memset (self->pool.digest, 0, sizeof self->pool.digest);
    double start = cpu_seconds ();
    for (uint64_t i = 0; i < items; i += STEP) {
        const task_t range = {i / STEP, 1, i, i + STEP < items ? i + STEP : items};
        if (task_run (self->task, self->kernel, self->state, &range, &stopped, &err) != 0)
            die ("run", err.text);
    }
    return cpu_seconds () - start;
}

/* ---- the reference --------------------------------------------------------------------
 */

/* One function for each layout: the compiler knows how long a row is. */
#define WRITER(words)                                                                    \
    static uint32_t *write_##words (uint32_t *at, uint32_t event, uint32_t first,        \
                                    uint32_t stop)                                       \
    {                                                                                    \
        for (uint32_t i = first; i < stop; i++, at += (words)) {                         \
            at[0] = i;                                                                   \
            at[1] = event;                                                               \
            for (uint32_t k = 2; k < (words); k++)                                       \
                at[k] = 0x3e000000;                                                      \
        }                                                                                \
        return at;                                                                       \
    }
WRITER (3)
WRITER (5)

/* CPU seconds to write as many rows. */
static double reference (world_t *self, size_t ncolumns)
{
    pool_t *pool = &self->pool;
    size_t words = 2 + ncolumns, rows = pool->size / 4 / words;
    size_t room = 0;
    uint32_t *at = NULL;
    double start = cpu_seconds ();
    for (uint32_t event = 0; event < self->plan->items; event++)
        for (uint32_t i = 0; i < SITES;) {
            if (room == 0) {
                at = (void *) pool->segments[pool->next++ % pool->n];
                room = rows;
            }
            uint32_t now = SITES - i < room ? SITES - i : (uint32_t) room;
            at = (words == 3 ? write_3 : write_5) (at, event, i, i + now);
            room -= now;
            i += now;
            __asm__ volatile("" ::"r"(at) : "memory");
        }
    return cpu_seconds () - start;
}

/* The model for gmf_numpy.py: mean, tau and phi of each measure and site as doubles. */
static void write_model (const world_t *world)
{
    char path[200];
    snprintf (path, sizeof path, "%s/model", folder);
    FILE *f = fopen (path, "w");
    if (!f)
        die (path, "cannot be written");
    for (size_t i = 0; i < world->plan->noutputs; i++) {
        const sluice_array_t *array = &world->plan->outputs[i].array;
        if (strcmp (world->plan->outputs[i].name, "gmf_model") == 0)
            fwrite (array->data, array->dtype->itemsize, (size_t) array->shape[0], f);
    }
    fclose (f);
}

/* CPU seconds of NumPy, as it says itself. */
static double numpy (const options_t *options, size_t ncolumns)
{
    char command[600];
    double seconds = 0;
    snprintf (command, sizeof command, "'%s' '%s' %s/model %zu %llu", options->python,
              options->script, folder, ncolumns, (unsigned long long) options->events);
    FILE *f = popen (command, "r");
    if (!f || fscanf (f, "%lf", &seconds) != 1 || pclose (f) != 0 || !(seconds > 0))
        die (command, "failed (--no-python leaves it out)");
    return seconds;
}

/* ---- all --------------------------------------------------------------------------- */

static void measure (const options_t *options, size_t which)
{
    double a[MAX_RUNS], b[MAX_RUNS], c[MAX_RUNS];
    world_t world;
    char digest[2 * DIGEST_BYTES + 1];
    world_open (&world, options, measures[which]);
    if (options->python)
        write_model (&world);
    ours (&world); /* once without the clock: pages and caches */
    for (unsigned i = 0; i < options->runs; i++) {
        a[i] = ours (&world);
        b[i] = reference (&world, columns[which]);
        if (options->python && i < 3)
            c[i] = numpy (options, columns[which]);
    }
    digest_text (world.pool.digest, digest);
    double values = (double) SITES * (double) options->events * (double) columns[which];
    double rate = values / median (a, options->runs),
           bound = values / median (b, options->runs);
    printf ("%s\n {\"imts\": %zu, \"values\": %.0f, \"values_per_s\": %.4g, "
            "\"ns_per_value\": %.3f, \"spread\": [%.4g, %.4g], "
            "\"bytes_per_s\": %.4g, \"reference_values_per_s\": %.4g, "
            "\"ratio\": %.3f, \"target\": 1e8, \"met\": %s",
            which ? "," : "", columns[which], values, rate, 1e9 / rate,
            values / a[options->runs - 1], values / a[0],
            rate * (double) (8 + 4 * columns[which]) / (double) columns[which], bound,
            rate / bound, rate >= 1e8 ? "true" : "false");
    if (options->python) {
        double slow = values / median (c, options->runs < 3 ? options->runs : 3);
        printf (", \"numpy_values_per_s\": %.4g, \"numpy_ratio\": %.1f", slow,
                rate / slow);
    }
    printf (", \"digest\": \"%s\"}", digest);
    fflush (stdout);
    world_close (&world);
}

static uint64_t number (const char *text, uint64_t most)
{
    char *end;
    unsigned long long value = text ? strtoull (text, &end, 10) : 0;
    if (!text || *end || value < 1 || value > most)
        die (text ? text : "a number", "is not there or out of range");
    return value;
}

static void read_options (options_t *self, char **argv)
{
    for (char **arg = argv + 1; *arg; arg++) {
        if (!strcmp (*arg, "--events"))
            self->events = number (*++arg, 1000000);
        else if (!strcmp (*arg, "--runs"))
            self->runs = (unsigned) number (*++arg, MAX_RUNS);
        else if (!strcmp (*arg, "--segments"))
            self->segments = (unsigned) number (*++arg, 4096);
        else if (!strcmp (*arg, "--python") && arg[1])
            self->python = *++arg;
        else if (!strcmp (*arg, "--no-python"))
            self->python = NULL;
        else
            die (*arg, "unknown; see the top of bench/gmf.c");
    }
}

int main (int argc, char **argv)
{
    (void) argc;
    char script[500];
    const char *top = getenv ("top_srcdir");
    sluice_error_t err = {0};
    options_t options = {.python = "/usr/bin/python3",
                         .script = script,
                         .events = 2000,
                         .runs = 7,
                         .segments = 64};
    snprintf (script, sizeof script, "%s/bench/gmf_numpy.py", top ? top : SOURCE_FOLDER);
    read_options (&options, argv);
    if (vm_init (&err) != 0)
        die ("SLUICE_ISA", err.text);
    if (!mkdtemp (folder))
        die (folder, "cannot be made");
    atexit (remove_inputs);
    write_inputs ();
    printf ("{\"bench\": \"gmf\", \"sites\": %d, \"events\": %llu, \"runs\": %u, "
            "\"isa\": \"%s\", \"unit\": \"values/s of CPU time\", \"rows\": [",
            SITES, (unsigned long long) options.events, options.runs, vm_isa_name ());
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++)
        measure (&options, i);
    printf ("]}\n");
    return 0;
}
