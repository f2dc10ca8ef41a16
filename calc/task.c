/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/kernel_host.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "calc/rng.h"

struct sluice_task {
    emitter_t *emitter;
    uint64_t seed;
    const char *scratch;
    bool ended;  /* the sink refused: the task is to end at once */
    bool others; /* did the work: cpu and rss are theirs */
    double cpu;
    uint64_t rss;
    int exit_code, sig;
};

sluice_task_t *task_new (emitter_t *emitter, uint64_t seed, const char *scratch)
{
    sluice_task_t *self = calloc (1, sizeof *self);
    if (self) {
        self->emitter = emitter;
        self->seed = seed;
        self->scratch = scratch;
    }
    return self;
}

void task_destroy (sluice_task_t **self_p)
{
    free (*self_p);
    *self_p = NULL;
}

int sluice_emit (sluice_task_t *task, uint64_t item, unsigned table, const void *rows,
                 size_t n)
{
    if (task->ended)
        return -1;
    int rc = emitter_rows (task->emitter, item, table, rows, n);
    task->ended = rc != 0 && *emitter_error (task->emitter) == '\0';
    return rc;
}

void *task_reserve (sluice_task_t *task, uint64_t item, unsigned table, size_t *n)
{
    void *rows = task->ended ? NULL : emitter_reserve (task->emitter, item, table, n);
    task->ended = !rows && *emitter_error (task->emitter) == '\0';
    return rows;
}

int task_commit (sluice_task_t *task, unsigned table, size_t n)
{
    int rc = emitter_commit (task->emitter, table, n);
    task->ended = rc != 0;
    return rc;
}

int sluice_table (sluice_task_t *task, const char *name, const char *dtype,
                  sluice_error_t *err)
{
    return emitter_table (task->emitter, name, dtype, err);
}

bool sluice_yield (sluice_task_t *task, uint64_t next)
{
    return task->ended || emitter_yield (task->emitter, next);
}

void sluice_random (const sluice_task_t *task, uint64_t item, uint32_t stream,
                    uint64_t start, double *out, size_t n)
{
    rng_uniform_n (&(rng_stream_t){.seed = task->seed, .item = item, .stage = stream},
                   start, out, n);
}

const char *sluice_scratch (const sluice_task_t *task)
{
    return task->scratch;
}

void task_set_usage (sluice_task_t *self, double cpu, uint64_t rss)
{
    self->others = true;
    self->cpu = cpu;
    self->rss = rss;
}

void task_set_end (sluice_task_t *self, int exit_code, int sig)
{
    self->exit_code = exit_code;
    self->sig = sig;
}

void task_get_end (const sluice_task_t *self, int *exit_code, int *sig)
{
    *exit_code = self->exit_code;
    *sig = self->sig;
}

double task_waited (const sluice_task_t *self)
{
    return emitter_waited (self->emitter);
}

static double seconds_of (clockid_t clock)
{
    struct timespec t;
    clock_gettime (clock, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

int task_run (sluice_task_t *self, const kernel_t *kernel, void *state,
              const task_t *task, bool *stopped, sluice_error_t *err)
{
    struct rusage usage;
    sluice_error_t why = {0};
    double wall = seconds_of (CLOCK_MONOTONIC),
           cpu = seconds_of (CLOCK_PROCESS_CPUTIME_ID);
    self->ended = self->others = false;
    task_set_end (self, -1, 0);
    emitter_begin (self->emitter, task);
    int rc = kernel_api (kernel)->run (self, state, task->first, task->stop, &why);
    if (rc == 0 && !self->ended && *emitter_error (self->emitter) == '\0') {
        /* The clock stands still while the node's outbox is full (invariant I2). */
        wall = seconds_of (CLOCK_MONOTONIC) - wall - emitter_waited (self->emitter);
        cpu = seconds_of (CLOCK_PROCESS_CPUTIME_ID) - cpu;
        getrusage (RUSAGE_SELF, &usage);
        uint64_t rss = (uint64_t) usage.ru_maxrss * 1024;
        if (emitter_done (self->emitter, wall, self->others ? self->cpu : cpu,
                          self->others ? self->rss : rss) == 0) {
            *stopped = false;
            return 0;
        }
        self->ended = true;
    }
    *stopped = self->ended;
    if (*emitter_error (self->emitter))
        sluice_fail (err, SLUICE_EFAILED, "the kernel is wrong: %s",
                     emitter_error (self->emitter));
    else if (why.code != SLUICE_OK)
        sluice_fail (err, SLUICE_EFAILED, "%s", why.text);
    else
        sluice_fail (err, SLUICE_EFAILED,
                     self->ended ? "the task was ended"
                                 : "the kernel failed and did not say why");
    emitter_abort (self->emitter);
    return -1;
}
