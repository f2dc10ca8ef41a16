/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "calc/vmath.h"
#include "master/feed.h"
#include "master/local.h"
#include "master/progress.h"
#include "master/skips.h"
#include "proto/clock.h"

/* Segments of one emitter that runs alone: it always gets one of its own when
 * it asks, since pieces are written before `put` returns. The largest number
 * in use at once is one for each table, the items table's, and the last. */
typedef struct {
    job_t *job;
    writer_t *writer;
    void *segment[MSG_MAX_TABLES + PIECE_MAX_LATE + 2];
    bool used[MSG_MAX_TABLES + PIECE_MAX_LATE + 2];
    uint64_t peak, held;
    sluice_error_t error; /* of the writer */
    sluice_error_t
        refused; /* why the writer failed the task in hand; code 0: it did not */
} serial_t;

static volatile sig_atomic_t interrupted;

/* The second one ends us at once (SA_RESETHAND): a kernel may hang. */
static void on_signal (int number)
{
    static const char text[] =
        "sluice: interrupted; waiting for the kernel (once more to end at once)\n";
    (void) number;
    interrupted = 1;
    if (write (STDERR_FILENO, text, sizeof text - 1) < 0)
        return;
}

static bool is_interrupted (void)
{
    return interrupted;
}

static void *sink_get (void *arg, bool wait, uint32_t *handle)
{
    serial_t *self = arg;
    (void) wait;
    for (uint32_t i = 0; i < sizeof self->used / sizeof *self->used; i++) {
        if (self->used[i] || interrupted)
            continue;
        if (!self->segment[i] && !(self->segment[i] = malloc (self->job->segment)))
            break;
        self->used[i] = true;
        self->held += self->job->segment;
        if (self->held > self->peak)
            self->peak = self->held;
        *handle = i;
        return self->segment[i];
    }
    return NULL;
}

static void sink_give_back (void *arg, uint32_t handle)
{
    serial_t *self = arg;
    self->used[handle] = false;
    self->held -= self->job->segment;
}

/* The writer has failed: wait a second for space if that is why, and say so the
 * first time. False: there is no point in another try. */
static bool wait_for_space (serial_t *self, double *waited, const sluice_error_t *why)
{
    const struct timespec step = {.tv_sec = 1};
    if (!writer_disk_full (self->writer) || interrupted ||
        *waited >= self->job->options.disk_wait)
        return false;
    if (*waited == 0)
        fprintf (stderr, "sluice %s: %s; waiting for space, nothing is lost\n",
                 self->job->options.command, why->text);
    nanosleep (&step, NULL);
    *waited += 1;
    return true;
}

static int sink_put (void *arg, uint32_t handle, const piece_t *piece)
{
    serial_t *self = arg;
    int rc;
    double waited = 0;
    piece_t ours = *piece;
    memcpy (ours.run, self->job->run, RUN_BYTES);
    while ((rc = writer_piece (self->writer, 0, &ours, self->segment[handle],
                               &self->error)) &&
           wait_for_space (self, &waited, &self->error))
        ;
    if (rc && self->error.code == SLUICE_EFAILED)
        self->refused = self->error;
    if (rc == 0 || self->error.code == SLUICE_EFAILED)
        self->error.code = SLUICE_OK;
    sink_give_back (self, handle);
    return rc;
}

/* A snapshot if one is due. */
static int tick (serial_t *self)
{
    int rc;
    double waited = 0;
    while ((rc = writer_tick (self->writer, &self->error)) &&
           wait_for_space (self, &waited, &self->error))
        ;
    if (rc == 0)
        self->error.code = SLUICE_OK;
    return rc;
}

/* The last state. */
static int finish (serial_t *self, const char *status, sluice_error_t *err)
{
    int rc;
    double waited = 0;
    while ((rc = writer_finish (self->writer, status, err)) &&
           wait_for_space (self, &waited, err))
        ;
    if (rc == 0)
        err->code = SLUICE_OK;
    return rc;
}

typedef struct {
    kernel_t *kernel;
    void *state;
    sluice_inputs_t *inputs;
    emitter_t *emitter;
    sluice_task_t *task;
    char *folder;
} host_t;

static int host_open (host_t *h, serial_t *self, sluice_error_t *err)
{
    job_t *job = self->job;
    const sluice_plan_t *plan = job->plan;
    const emitter_sink_t sink = {self, sink_get, sink_put, sink_give_back, NULL};
    char *shared = NULL, *relative = NULL;
    int rc = -1;
    h->kernel = job->kernel;
    if (!(h->folder = local_folder (err)))
        return -1;
    if (plan->nshared) {
        if (asprintf (&shared, "%s/inputs.h5", h->folder) < 0 ||
            plan_write_shared (plan, shared, err) ||
            !(relative = share_relative (job->share, shared, err)))
            goto done;
    }
    h->inputs = inputs_new (job->share, job->params, job->seed, plan->items,
                            relative ? relative : "", plan->files, plan->nfiles, err);
    h->emitter = emitter_new (plan->tables, plan->ntables, job->segment, &sink, err);
    if (h->emitter && emitter_deflate (h->emitter, job->deflate, err))
        emitter_destroy (&h->emitter);
    if (!h->inputs || !h->emitter)
        goto done;
    const sluice_kernel_t *api = kernel_api (h->kernel);
    if (api->open && api->open (h->inputs, &h->state, err)) {
        if (err->code == SLUICE_OK)
            sluice_fail (err, SLUICE_EINPUT, "its open failed and did not say why");
        sluice_fail_at (err, "%s", api->name);
        if (err->code == SLUICE_EFAILED)
            err->code = SLUICE_EINPUT; /* no item was begun */
        goto done;
    }
    h->task = task_new (h->emitter, job->seed, h->folder);
    rc = h->task ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
done:
    free (shared);
    free (relative);
    return rc;
}

static void host_close (host_t *h)
{
    if (h->task && kernel_api (h->kernel)->close)
        kernel_api (h->kernel)->close (h->state);
    task_destroy (&h->task);
    emitter_destroy (&h->emitter);
    inputs_destroy (&h->inputs);
    local_folder_remove (&h->folder);
}

/* The process ends while the kernel still computes. */
static void remove_folder (void *arg)
{
    host_t *h = arg;
    local_folder_remove (&h->folder);
}

/* A failure of one task: say and record it, and go on. `h` NULL: it was not begun. */
static int record_failure (serial_t *self, const host_t *h, const task_t *task,
                           uint64_t item, run_result_t *r, sluice_error_t *why)
{
    const char *command = self->job->options.command;
    int exit_code = -1, sig = 0;
    if (h)
        task_get_end (h->task, &exit_code, &sig);
    msg_failed_t failed = {.task = task->task,
                           .attempt = 1,
                           .item = item,
                           .reason = why->text,
                           .exit_code = exit_code,
                           .sig = sig,
                           .stderr_tail = ""};
    writer_drop (self->writer, task->task, 1);
    if (self->job->options.feed)
        feed_lost (self->job->options.feed, &failed, NULL, task->first, task->stop);
    if (task->stop - task->first == 1)
        fprintf (stderr, "sluice %s: item %llu failed: %s\n", command,
                 (unsigned long long) task->first, why->text);
    else
        fprintf (stderr, "sluice %s: items %llu to %llu failed: %s\n", command,
                 (unsigned long long) task->first, (unsigned long long) task->stop - 1,
                 why->text);
    if (r->nfailed_items < RUN_NAMED_FAILURES)
        r->failed_items[r->nfailed_items++] = task->first;
    r->failed += task->stop - task->first;
    return writer_failure (self->writer, 0, &failed, task->first, task->stop, true,
                           &self->error);
}

/* Tell the program of the tasks that are finished. */
static int tell_results (serial_t *self)
{
    msg_result_t result;
    double waited = 0;
    while (writer_publish (self->writer, &self->error))
        if (!wait_for_space (self, &waited, &self->error))
            return -1;
    self->error.code = SLUICE_OK;
    while (writer_told (self->writer, &result))
        feed_result (self->job->options.feed, &result);
    return 0;
}

/* Tell it what is new, and hear what it wants. -1: the run cannot go on. */
static int attend (serial_t *self, skips_t *skips, const progress_state_t *state)
{
    feed_t *feed = self->job->options.feed;
    feed_wish_t wish;
    if (!feed)
        return 0;
    if (tell_results (self))
        return -1;
    feed_progress (feed, state);
    for (;;) {
        while (feed_turn (feed, &wish)) {
            if (wish.gone || wish.cancel)
                interrupted = 1;
            for (size_t i = 0; i < wish.cut.ntasks; i++)
                if (skips_add (skips, wish.cut.tasks[i].first, wish.cut.tasks[i].stop))
                    sluice_fail (&self->error, SLUICE_ESYSTEM, "out of memory");
            feed_wish_clear (&wish);
        }
        if (feed_broken (feed))
            sluice_fail (&self->error, SLUICE_ESYSTEM, "out of memory for messages");
        if (self->error.code != SLUICE_OK)
            return -1;
        if (interrupted || !feed_full (feed))
            return 0;
        feed_wait (feed);
    }
}

/* Cut the items into tasks of about 2 s and run them one by one. A range
 * that fails is run again item by item, so that its neighbours are kept. */
static int run_tasks (serial_t *self, host_t *h, run_result_t *r, skips_t *skips,
                      progress_t *progress, double started)
{
    const job_t *job = self->job;
    uint64_t size = job->items_per_task ? job->items_per_task : 1, next = 0, number;
    uint64_t alone_until = 0;
    unsigned tries = 0; /* of an item that failed and may be tried again */
    size_t range = 0;   /* of what was done before: the one that comes next */
    uint64_t first = 0, stop = 0;
    number = r->taken.first_task;
    r->done = r->taken.items;
    while (next < job->plan->items && !interrupted) {
        while (stop <= next && writer_taken_range (self->writer, range, &first, &stop))
            range++;
        if (first <= next && next < stop) {
            next = stop;
            continue;
        }
        uint64_t n = next < alone_until ? 1 : size, end = job->plan->items;
        if (next < first)
            end = first;
        if (n > end - next)
            n = end - next;
        if (skips_next (skips, next, &n)) {
            const task_t none = {.first = next, .stop = next + n};
            sluice_error_t cancelled = {.text = "cancelled"};
            if (record_failure (self, NULL, &none, next, r, &cancelled))
                return -1;
            next += n;
            continue;
        }
        task_t task = {.task = number++, .attempt = 1, .first = next, .stop = next + n};
        bool stopped = false;
        sluice_error_t why = {0};
        double before = clock_seconds ();
        self->refused.code = SLUICE_OK;
        int rc = task_run (h->task, h->kernel, h->state, &task, &stopped, &why);
        if (self->refused.code != SLUICE_OK)
            why = self->refused;
        if (self->error.code != SLUICE_OK)
            return -1;
        if (interrupted)
            break;
        if (rc != 0) {
            if (n > 1) {
                writer_drop (self->writer, task.task, 1);
                alone_until = task.stop;
                r->retried++;
                continue;
            }
            if (++tries <= job->retries) {
                writer_drop (self->writer, task.task, 1);
                r->retried++;
                continue;
            }
            tries = 0;
            if (record_failure (self, h, &task, emitter_item (h->emitter), r, &why))
                return -1;
            if (job->options.fail_fast)
                break;
        } else {
            tries = 0;
            r->tasks++;
            r->done += n;
        }
        next = task.stop;
        double took = clock_seconds () - before;
        if (!job->items_per_task && took < 1.0 && size < (1ull << 40))
            size *= 2;
        if (!job->items_per_task && took > 4.0 && size > 1)
            size /= 2;
        writer_totals_t totals;
        writer_totals (self->writer, &totals);
        if (tick (self))
            return -1;
        const progress_state_t state = {.items = job->plan->items,
                                        .done = r->done,
                                        .failed = r->failed,
                                        .bytes = totals.bytes,
                                        .nodes = 1,
                                        .cores = 1,
                                        .seconds = clock_seconds () - started};
        progress_show (progress, &state);
        if (attend (self, skips, &state))
            return -1;
    }
    return 0;
}

int run_serial (job_t *job, run_result_t *r, sluice_error_t *err)
{
    serial_t self = {.job = job};
    host_t host = {0};
    progress_t progress;
    double started = clock_seconds ();
    sluice_error_t why = {0};
    skips_t *skips = NULL;
    int rc = -1;
    memset (r, 0, sizeof *r);
    r->status = "stopped";
    interrupted = 0;
    bool whole = false;
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int) SA_RESETHAND},
                     old_int, old_term, old_hup;
    sigaction (SIGINT, &act, &old_int);
    sigaction (SIGTERM, &act, &old_term);
    if (sigaction (SIGHUP, NULL, &old_hup) == 0 && old_hup.sa_handler != SIG_IGN)
        sigaction (SIGHUP, &act, NULL);
    signal (SIGPIPE, SIG_IGN);
    signal (SIGUSR1, SIG_IGN); /* which asks for what there is not */
    progress_init (&progress, job->options.quiet);
    job->stopped = is_interrupted;
    self.writer = run_open_writer (job, &why);
    if (self.writer)
        writer_taken (self.writer, &r->taken);
    progress_from (&progress, job->plan->items, r->taken.items, r->taken.bytes);
    if (!self.writer || host_open (&host, &self, &why))
        goto done;
    if (job->options.feed)
        feed_guard (job->options.feed, remove_folder, &host);
    char name[65] = "";
    gethostname (name, sizeof name - 1);
    snprintf (r->isa, sizeof r->isa, "%s", vm_isa_name ());
    msg_welcome_t welcome = {
        .host = name, .cores = 1, .slots = 1, .isa = r->isa, .endpoint = "", .lacks = ""};
    if (writer_node (self.writer, 0, &welcome, &why))
        goto done;
    if (!(skips = skips_new ())) {
        sluice_fail (&why, SLUICE_ESYSTEM, "out of memory");
        goto done;
    }
    rc = run_tasks (&self, &host, r, skips, &progress, started);
    progress_end (&progress);
    if (rc == 0) {
        r->status = interrupted ? "cancelled" : r->failed ? "failed" : "complete";
        rc = finish (&self, r->status, &why);
        if (rc == 0 && job->options.feed) /* one that was interrupted may be finished */
            tell_results (&self);
    } else {
        why = self.error;
    }
    whole = rc == 0;
    if (interrupted) {
        r->status = "cancelled";
        rc = sluice_fail (&why, SLUICE_ECANCELLED, "cancelled");
    }
done:
    if (job->options.feed)
        feed_unguard (job->options.feed);
    if (self.writer)
        (whole ? writer_totals : writer_durable) (self.writer, &r->totals);
    if (!whole)
        r->done = r->totals.items; /* what the file has */
    r->seconds = clock_seconds () - started;
    r->nodes = r->cores = 1;
    r->window = job->options.window;
    r->peak_held = self.peak;
    snprintf (r->data_path, sizeof r->data_path, "memory");
    skips_destroy (&skips);
    host_close (&host);
    writer_destroy (&self.writer);
    for (size_t i = 0; i < sizeof self.segment / sizeof *self.segment; i++)
        free (self.segment[i]);
    sigaction (SIGINT, &old_int, NULL);
    sigaction (SIGTERM, &old_term, NULL);
    sigaction (SIGHUP, &old_hup, NULL);
    if (err)
        *err = why;
    return rc;
}
