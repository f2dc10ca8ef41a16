/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/run.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "master/explain.h"
#include "master/feed.h"
#include "master/link.h"
#include "master/local.h"
#include "master/progress.h"
#include "master/query.h"
#include "master/resume.h"
#include "master/roster.h"
#include "master/state.h"
#include "proto/clock.h"
#include "proto/faults.h"
#include "proto/signals.h"
#include "proto/text.h"
#include "proto/within.h"

enum {
    RENAME_MS = 2000,
    RATE_MS = 2000,
    ROSTER_AT_ONCE = 256,
    LEAVE_MS = 5000, /* for a share to answer at the end */
    SLEPT_MS = 4000, /* a turn takes 0.1 s; busy machines take longer, but not so long */
    AGAIN_MS = 500,  /* signals so close are one */
    TURN_MS = 100    /* of the loop, when nothing happens */
};

typedef enum {
    PHASE_RUN,
    PHASE_FINISH, /* the writer makes the last snapshot */
    PHASE_OVER
} phase_t;

typedef struct {
    job_t *job;
    void *context;
    char *folder; /* private */
    local_t *local;
    gate_t *gate;
    sched_t *sched;
    wthread_t *writer;
    links_t *links;
    roster_t *roster;
    query_t *query;
    trace_t *trace; /* NULL: none */
    int signals;
    sigset_t old_mask;
    progress_t progress;
    phase_t phase;
    bool paused; /* the program takes no results */
    bool told_refused;
    int64_t started, phase_since, named_at, alone_since;
    uint64_t done_before; /* items, when this machine's node was last begun anew */
    int64_t turned;       /* when the last turn of the loop began; 0: none did */
    int64_t signalled_at;
    bool warned;      /* that the next signal leaves the last state unwritten */
    int64_t rated_at; /* when `rate` was worked out, from these bytes on */
    uint64_t rated_bytes;
    double rate; /* bytes per second, of late */
    time_t since;
    const char *status;              /* how it will have ended */
    bool had_node, disk_full, whole; /* whole: the writer has made the last state */
    unsigned failures_shown, nfailed_items;
    uint64_t failed_items[RUN_NAMED_FAILURES];
    writer_taken_t taken; /* what was there before */
    int64_t node_wait;    /* ms that nobody may compute */
    sluice_error_t error; /* why it ends without being done */
} run_t;

/* ---- telling the person ------------------------------------------------------ */

static void say (run_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
static void say (run_t *self, const char *format, ...)
{
    va_list args;
    progress_end (&self->progress);
    va_start (args, format);
    fprintf (stderr, "sluice %s: ", self->job->options.command);
    vfprintf (stderr, format, args);
    fputc ('\n', stderr);
    va_end (args);
}

/* The last lines that it said, if they are not part of the reason. */
static void show_last_words (run_t *self, const msg_failed_t *f)
{
    enum { LINES = 3, COLUMNS = 200 };
    const char *text = f->stderr_tail, *end = text + strlen (text), *from;
    while (end > text && (end[-1] == '\n' || end[-1] == ' '))
        end--;
    from = end;
    for (int lines = 0; from > text; from--)
        if (from[-1] == '\n' && ++lines == LINES)
            break;
    while (from < end) {
        char line[COLUMNS + 1];
        int n = (int) strcspn (from, "\n");
        snprintf (line, sizeof line, "%.*s", n, from);
        text_make_utf8 (line);
        if (*line && !strstr (f->reason, line))
            say (self, "  its last words: %s", line);
        from += n + 1;
    }
}

static void on_failed (void *arg, const link_t *link, const msg_failed_t *f,
                       uint64_t first, uint64_t stop, bool final)
{
    run_t *self = arg;
    if (!final)
        return;
    if (self->job->options.feed)
        feed_lost (self->job->options.feed, f, link->host, first, stop);
    if (self->nfailed_items < RUN_NAMED_FAILURES)
        self->failed_items[self->nfailed_items++] = first;
    if (self->failures_shown++ < RUN_NAMED_FAILURES) {
        say (self, "item %llu failed on %s: %s", (unsigned long long) first, link->host,
             f->reason);
        if (!self->job->options.map) /* there they are part of the reason */
            show_last_words (self, f);
    } else if (self->failures_shown == RUN_NAMED_FAILURES + 1)
        say (self, "more items failed; they are named in sluice/failures of the output");
    if (self->job->options.fail_fast) {
        sched_stop (self->sched);
        sluice_fail (&self->error, SLUICE_EFAILED,
                     "item %llu failed and --fail-fast is set",
                     (unsigned long long) first);
    }
}

static void on_news (void *arg, const char *line)
{
    say (arg, "%s", line);
}

static const char *waiting_for (run_t *self, const links_counts_t *nodes)
{
    if (self->disk_full)
        return "disk full";
    if (self->phase == PHASE_FINISH)
        return "writing the last state";
    if (self->paused)
        return "the program that wants them takes no results";
    if (!nodes->ready)
        return nodes->opening  ? "nodes are opening their inputs"
               : *nodes->lacks ? nodes->lacks
                               : "waiting for nodes";
    return NULL;
}

static void show_progress (run_t *self, int64_t now)
{
    sched_counts_t c;
    links_counts_t nodes;
    writer_totals_t totals;
    sched_counts (self->sched, &c);
    links_counts (self->links, &nodes);
    wthread_totals (self->writer, &totals);
    const progress_state_t state = {.items = c.items,
                                    .done = c.done,
                                    .failed = c.failed,
                                    .running = c.running,
                                    .bytes = totals.bytes,
                                    .nodes = nodes.ready,
                                    .cores = nodes.ready_cores,
                                    .seconds = (double) (now - self->started) * 1e-3,
                                    .waiting = waiting_for (self, &nodes)};
    progress_show (&self->progress, &state);
    if (self->job->options.feed)
        feed_progress (self->job->options.feed, &state);
}

static void measure_rate (run_t *self, int64_t now)
{
    if (now - self->rated_at < RATE_MS)
        return;
    writer_totals_t totals;
    wthread_totals (self->writer, &totals);
    self->rate = (double) (totals.bytes - self->rated_bytes) * 1e3 /
                 (double) (now - self->rated_at);
    self->rated_at = now;
    self->rated_bytes = totals.bytes;
}

/* ---- what other commands ask ------------------------------------------------- */

/* Whoever hears of results hears that these do not come. */
static void tell_cancelled (run_t *self, uint64_t first, uint64_t stop)
{
    const msg_failed_t failed = {.reason = (char *) (uintptr_t) "cancelled",
                                 .exit_code = -1};
    if (self->job->options.feed)
        feed_lost (self->job->options.feed, &failed, NULL, first, stop);
}

static void name_cancelled (run_t *self, const sched_task_t *t)
{
    const char *items = t->task.stop - t->task.first == 1 ? "item" : "items";
    char last[32] = "";
    if (t->task.stop - t->task.first > 1)
        snprintf (last, sizeof last, " to %llu", (unsigned long long) t->task.stop - 1);
    if (self->failures_shown++ < RUN_NAMED_FAILURES)
        say (self, "task %llu was cancelled: %s %llu%s",
             (unsigned long long) t->task.task, items, (unsigned long long) t->task.first,
             last);
    else if (self->failures_shown == RUN_NAMED_FAILURES + 1)
        say (self, "more items failed; they are named in sluice/failures of the output");
}

/* Cancel these tasks, and say of each what became of it. */
static char *cancel_tasks (run_t *self, const msg_tasks_t *tasks)
{
    json_out_t out;
    json_begin (&out, MSG_MAX_TEXT);
    json_add (&out, "{\"tasks\":[");
    for (size_t i = 0; i < tasks->ntasks; i++) {
        sched_task_t t;
        uint64_t task = tasks->tasks[i].task;
        bool ending = self->phase != PHASE_RUN;
        sched_where_t where = ending ? sched_find (self->sched, task, &t)
                                     : links_cancel (self->links, task, &t);
        bool cancelled = !ending && (where == SCHED_RUNNING || where == SCHED_PENDING);
        if (cancelled) {
            name_cancelled (self, &t);
            tell_cancelled (self, t.task.first, t.task.stop);
        }
        size_t mark = out.used;
        json_add (&out, "%s{\"task\":%llu,\"cancelled\":%s,", i ? "," : "",
                  (unsigned long long) task, cancelled ? "true" : "false");
        explain_place (&out, self->links, where, &t);
        json_add (&out, "}");
        if (out.full || out.used + 32 > out.most) { /* the rest is not told, but done */
            json_cut (&out, mark);
            out.most = mark;
        }
    }
    out.most = MSG_MAX_TEXT;
    out.full = false;
    json_add (&out, "]}");
    return json_end (&out);
}

static view_t look (run_t *self, writer_totals_t *totals)
{
    links_counts_t nodes;
    links_counts (self->links, &nodes);
    wthread_totals (self->writer, totals);
    const char *waiting = waiting_for (self, &nodes);
    view_t view = {.job = self->job,
                   .sched = self->sched,
                   .links = self->links,
                   .gate = self->gate,
                   .totals = totals,
                   .waiting = waiting ? waiting : "",
                   .finishing = self->phase != PHASE_RUN,
                   .disk_full = self->disk_full,
                   .now = clock_ms (),
                   .started = self->started,
                   .since = self->since,
                   .rate = self->rate};
    if (self->rated_at == self->started) /* nothing was measured yet */
        view.rate = (double) (totals->bytes - self->taken.bytes) * 1e3 /
                    (double) (view.now - view.started + 1);
    return view;
}

static void show_state (run_t *self)
{
    writer_totals_t totals;
    view_t view = look (self, &totals);
    char *text = state_text (&view);
    progress_end (&self->progress);
    if (text)
        text_to_stderr (text);
    free (text);
}

static char *answer_question (void *arg, const msg_t *question)
{
    run_t *self = arg;
    writer_totals_t totals;
    view_t view = look (self, &totals);
    if (question->type == MSG_CANCEL)
        return cancel_tasks (self, &question->tasks);
    if (question->type == MSG_EXPLAIN)
        return explain_run (&view, question->text.text);
    return explain_status (&view);
}

/* ---- the turns of the loop ------------------------------------------------------ */

static void enter (run_t *self, phase_t phase)
{
    self->phase = phase;
    self->phase_since = clock_ms ();
}

/* The end begins: nodes stop, nothing more is taken, and the writer makes the
 * last state with self->status. */
static void finish (run_t *self)
{
    sched_stop (self->sched);
    links_stop (self->links);
    wthread_finish (self->writer, self->status);
    enter (self, PHASE_FINISH);
}

static void cancel (run_t *self, const char *why)
{
    if (self->phase != PHASE_RUN)
        return;
    say (self, "%s; stopping every node", why);
    sluice_fail (&self->error, SLUICE_ECANCELLED, "cancelled");
    self->status = "cancelled";
    self->warned = true;
    finish (self);
}

/* Told to end while the last state is written, which may take long, or for ever where
 * the disk does not answer. The file is whole without it. */
static void hurry (run_t *self)
{
    if (!self->warned) {
        say (self, "writing the last state; once more, and it is left out");
        self->warned = true;
        return;
    }
    say (self, "the last state is left out; the file stays at an earlier whole one");
    sluice_fail (&self->error, SLUICE_ECANCELLED, "cancelled");
    self->status = "cancelled";
    enter (self, PHASE_OVER);
}

static void read_signals (run_t *self)
{
    struct signalfd_siginfo info;
    while (read (self->signals, &info, sizeof info) == (ssize_t) sizeof info) {
        if (info.ssi_signo == SIGUSR1) {
            show_state (self);
            continue;
        }
        int64_t now = clock_ms (), last = self->signalled_at;
        self->signalled_at = now;
        if (self->phase == PHASE_FINISH && now - last >= AGAIN_MS)
            hurry (self);
        cancel (self, info.ssi_signo == SIGINT ? "interrupted" : "told to end");
        if (self->disk_full)
            sluice_fail (&self->error, SLUICE_ECANCELLED, "cancelled");
    }
}

/* A cancelled run does not wait for space: its file is left as it is. */
static void check_disk (run_t *self)
{
    if (!self->disk_full || self->phase != PHASE_FINISH ||
        self->error.code != SLUICE_ECANCELLED)
        return;
    say (self, "the disk is full; the file stays at its last whole state");
    enter (self, PHASE_OVER);
}

static void read_writer (run_t *self)
{
    wthread_event_t e;
    while (wthread_next (self->writer, &e)) {
        switch (e.type) {
        case WTHREAD_WROTE:
        case WTHREAD_REFUSED:
        case WTHREAD_FAILED:
            links_written (self->links, &e);
            break;
        case WTHREAD_RESULT:
            feed_result (self->job->options.feed, &e.result);
            break;
        case WTHREAD_FULL:
            if (!self->disk_full)
                say (self, "%s; waiting for space, nothing is lost (Ctrl-C ends the run)",
                     e.error.text);
            self->disk_full = true;
            break;
        case WTHREAD_SPACE:
            if (self->disk_full)
                say (self, "there is space again; going on");
            self->disk_full = false;
            break;
        case WTHREAD_FINISHED:
            self->whole = true;
            enter (self, PHASE_OVER);
            break;
        case WTHREAD_BROKEN:
            self->error = e.error;
            self->status = "stopped";
            enter (self, PHASE_OVER);
            return;
        case WTHREAD_NOTHING:
            break;
        }
    }
}

static void cut_items (void *arg, const sched_task_t *task, uint64_t first, uint64_t stop)
{
    (void) task;
    tell_cancelled (arg, first, stop);
}

/* What the program that started us wants. */
static void read_feed (run_t *self)
{
    feed_t *feed = self->job->options.feed;
    feed_wish_t wish;
    while (feed && feed_turn (feed, &wish)) {
        if (wish.gone || wish.cancel)
            cancel (self, wish.gone ? "its program is gone" : "cancelled by its program");
        /* Nobody can ever read what has no name. */
        if (wish.gone && self->job->options.nameless)
            enter (self, PHASE_OVER);
        for (size_t i = 0; self->phase == PHASE_RUN && i < wish.cut.ntasks; i++)
            links_cancel_items (self->links, wish.cut.tasks[i].first,
                                wish.cut.tasks[i].stop, cut_items, self);
        feed_wish_clear (&wish);
    }
    if (feed && feed_broken (feed) && self->phase == PHASE_RUN) {
        cancel (self, "out of memory");
        sluice_fail (&self->error, SLUICE_ESYSTEM, "out of memory for messages");
    }
    self->paused = feed && feed_full (feed);
    links_pause (self->links, self->paused);
}

static void read_roster (run_t *self)
{
    found_t found;
    /* A flood of them must not keep the loop from its other work. */
    for (int i = 0; i < ROSTER_AT_ONCE; i++) {
        if (!self->roster || !roster_next (self->roster, &found))
            break;
        if (self->phase == PHASE_RUN)
            links_add (self->links, found.endpoint, false, found.uuid, NULL);
    }
    if (self->told_refused)
        return;
    uint64_t forged = self->roster ? roster_refused (self->roster) : 0;
    if (!forged && !query_strangers (self->query))
        return;
    self->told_refused = true;
    say (self, "ignored %s without the cluster's key (said once; --json counts them)",
         forged ? "a beacon" : "a connection");
}

static void name_nodes (run_t *self, int64_t now)
{
    const run_options_t *o = &self->job->options;
    if (now - self->named_at < faults_ms (RENAME_MS))
        return;
    self->named_at = now;
    for (size_t i = 0; i < o->nnodes; i++)
        links_add (self->links, o->nodes[i], false, NULL, NULL);
    if (self->local) {
        links_set_handover (self->links, local_handover (self->local));
        links_add (self->links, local_endpoint (self->local), true, NULL, NULL);
    }
}

/* The embedded node has died: its successor gets what it had. */
static void check_local (run_t *self)
{
    char how[80], why[120];
    sluice_error_t err = {0};
    if (!self->local || !local_ended (self->local, how, sizeof how))
        return;
    snprintf (why, sizeof why, "this machine's node was %s", how);
    progress_end (&self->progress);
    links_lose_local (self->links, why);
    self->named_at = 0; /* link to it at once */
    sched_counts_t c;
    sched_counts (self->sched, &c);
    bool useful = c.done + c.failed > self->done_before;
    self->done_before = c.done + c.failed;
    if (local_again (self->local, useful, &err) == 0)
        return;
    say (self, "this machine takes no part any more: %s", err.text);
    local_stop (&self->local);
    if (!self->roster) { /* nor does any other */
        sluice_fail (&self->error, SLUICE_ENONODES,
                     "the node of this machine, the only one, was %s: %s", how, err.text);
        self->status = "stopped";
        finish (self);
    }
}

/* Nobody computes: how long is that all right? */
static void check_nodes (run_t *self, int64_t now)
{
    links_counts_t nodes;
    links_counts (self->links, &nodes);
    if (nodes.ready || nodes.opening) {
        self->had_node |= nodes.ready > 0;
        self->alone_since = now;
        return;
    }
    /* An embedded node that lacks something is the only one there may be. */
    bool hopeless = nodes.lacking && !self->roster && !self->had_node;
    if (!hopeless && now - self->alone_since < self->node_wait)
        return;
    if (*nodes.lacks && !self->had_node)
        sluice_fail (&self->error, SLUICE_ENONODES, "no node can take part: %s",
                     nodes.lacks);
    else if (self->had_node)
        sluice_fail (&self->error, SLUICE_ENONODES,
                     "all nodes were lost and none came back within %.3g s",
                     (double) self->node_wait * 1e-3);
    else
        sluice_fail (&self->error, SLUICE_ENONODES,
                     "no node answered within %.3g s; start some with: sluice node %s",
                     (double) self->node_wait * 1e-3, share_root (self->job->share));
    self->status = "stopped";
    finish (self);
}

static void check_end (run_t *self, int64_t now)
{
    if (self->phase != PHASE_RUN)
        return;
    check_nodes (self, now);
    if (self->phase != PHASE_RUN || !sched_finished (self->sched))
        return;
    sched_counts_t c;
    sched_counts (self->sched, &c);
    self->status = c.failed ? "failed" : "complete";
    finish (self);
}

static size_t poll_feed (const run_t *self, zmq_pollitem_t *items)
{
    int fds[2];
    short events[2];
    size_t n =
        self->job->options.feed ? feed_poll (self->job->options.feed, fds, events) : 0;
    for (size_t i = 0; i < n; i++)
        items[i] =
            (zmq_pollitem_t){.fd = fds[i],
                             .events = (short) ((events[i] & POLLIN ? ZMQ_POLLIN : 0) |
                                                (events[i] & POLLOUT ? ZMQ_POLLOUT : 0))};
    return n;
}

/* This process was stopped, or its machine slept: nodes that were silent meanwhile had
 * nobody to speak to, and get as much time again. */
static void allow_for_sleep (run_t *self, int64_t now)
{
    int64_t slept = now - self->turned;
    if (self->turned && slept > SLEPT_MS) {
        say (self, "this process stood still for %lld s; going on",
             (long long) (slept / 1000));
        self->alone_since += slept;
        links_slept (self->links, slept);
    }
    self->turned = now;
}

static int loop (run_t *self)
{
    while (self->phase != PHASE_OVER) {
        void *sockets[8];
        zmq_pollitem_t items[16];
        size_t n = links_sockets (self->links, sockets);
        n += query_sockets (self->query, sockets + n);
        for (size_t i = 0; i < n; i++)
            items[i] = (zmq_pollitem_t){.socket = sockets[i], .events = ZMQ_POLLIN};
        items[n++] =
            (zmq_pollitem_t){.fd = wthread_fd (self->writer), .events = ZMQ_POLLIN};
        items[n++] = (zmq_pollitem_t){.fd = self->signals, .events = ZMQ_POLLIN};
        if (self->roster)
            items[n++] =
                (zmq_pollitem_t){.fd = roster_fd (self->roster), .events = ZMQ_POLLIN};
        n += poll_feed (self, items + n);
        /* The first turn waits for nothing: it is where nodes are spoken to. */
        if (zmq_poll (items, (int) n, self->turned ? TURN_MS : 0) < 0 &&
            zmq_errno () != EINTR)
            return sluice_fail (&self->error, SLUICE_ESYSTEM, "poll: %s",
                                zmq_strerror (zmq_errno ()));
        query_wish_t wish = {0};
        allow_for_sleep (self, clock_ms ());
        read_signals (self);
        read_writer (self);
        read_feed (self);
        check_disk (self);
        if (self->phase == PHASE_OVER)
            break;
        links_receive (self->links);
        query_answer (self->query, answer_question, self, &wish);
        if (wish.cancel)
            cancel (self, "cancelled from elsewhere");
        read_roster (self);
        int64_t now = clock_ms ();
        if (self->phase == PHASE_RUN)
            check_local (self);
        if (self->phase == PHASE_RUN)
            name_nodes (self, now);
        links_tick (self->links, now);
        faults_turn ();
        check_end (self, now);
        measure_rate (self, now);
        show_progress (self, now);
    }
    return 0;
}

/* ---- setting up and taking down --------------------------------------------------- */

static int open_signals (run_t *self, sluice_error_t *err)
{
    signal (SIGPIPE, SIG_IGN);
    self->signals = signals_open (&self->old_mask);
    return self->signals >= 0
               ? 0
               : sluice_fail (err, SLUICE_ESYSTEM, "signalfd: %s", strerror (errno));
}

/* Sockets and descriptors for many nodes (a socket takes three). */
static void raise_limits (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
    /* Payloads of a MiB come and go in two threads: without these glibc keeps
     * freed ones in arenas and the master outgrows its window (I1). */
    mallopt (M_ARENA_MAX, 1);
    mallopt (M_TRIM_THRESHOLD, 32 << 20);
    mallopt (M_MMAP_THRESHOLD, 32 << 20);
}

static char *write_inputs (run_t *self, sluice_error_t *err)
{
    const job_t *job = self->job;
    char *path = NULL, *relative = NULL, folder[80];
    if (job->plan->nshared == 0)
        return strdup ("");
    if (share_confined (job->share)) {
        snprintf (folder, sizeof folder, ".sluice/runs/%s", job->run_name);
        if (share_mkdir (job->share, folder, err))
            return NULL;
        if (asprintf (&path, "%s/%s/inputs.h5", share_root (job->share), folder) < 0)
            return NULL;
    } else if (asprintf (&path, "%s/inputs.h5", self->folder) < 0) {
        return NULL;
    }
    if (plan_write_shared (job->plan, path, err) == 0)
        relative = share_relative (job->share, path, err);
    free (path);
    return relative;
}

/* In the share, which may hang: `arg` is the path of a file to be removed with its
 * folder. */
static void remove_with_folder (void *arg)
{
    char *path = arg;
    unlink (path);
    *strrchr (path, '/') = '\0';
    rmdir (path);
    free (path);
}

static void remove_inputs (const run_t *self)
{
    const job_t *job = self->job;
    char *path = NULL;
    if (!job->plan->nshared || !share_confined (job->share) ||
        asprintf (&path, "%s/.sluice/runs/%s/inputs.h5", share_root (job->share),
                  job->run_name) < 0)
        return;
    call_within (LEAVE_MS, remove_with_folder, path); /* else the next run sweeps */
}

static bool wants_local (const job_t *job)
{
    return !job->options.no_local && job->options.nnodes == 0;
}

writer_t *run_open_writer (job_t *job, sluice_error_t *err)
{
    writer_options_t options = {.force = job->options.force,
                                .run = job->run,
                                .job = job->name,
                                .kernel = job->kernel_label,
                                .kernel_hash = kernel_hash (job->kernel),
                                .plan = job->plan,
                                .rate = job->options.rate,
                                .packed_max = job->options.window / 4,
                                .deflate = job->deflate,
                                .nameless = job->options.nameless};
    writer_t *writer;
    do {
        *err = (sluice_error_t){0};
        options.path = job->output;
        writer =
            job->resume ? resume_open (job, &options, err) : writer_new (&options, err);
    } while (!writer && job_renumber (job, err));
    if (!writer && !job->resume)
        resume_advise (job, err);
    job->opened = writer;
    job->made = writer && !job->resume;
    if (writer && job->begun)
        job->begun (job);
    if (!writer || !job->options.feed)
        return writer;
    writer_tell (writer);
    if (feed_begun (job->options.feed, job, writer_reader (writer), err))
        writer_destroy (&writer);
    return writer;
}

void run_discard (const job_t *job, const run_result_t *r, const sluice_error_t *err)
{
    bool began = r->totals.tasks || r->failed;
    if (job->made && !job->options.nameless && !began && err->code != SLUICE_EOUTPUT &&
        err->code != SLUICE_ECANCELLED)
        unlink (job->output);
}

/* What was done before is not done again; the last first, as the scheduler wants it. */
static int take_done (sched_t *sched, const writer_t *writer)
{
    uint64_t first, stop;
    size_t n = 0;
    while (writer_taken_range (writer, n, &first, &stop))
        n++;
    while (n-- > 0)
        if (writer_taken_range (writer, n, &first, &stop) &&
            sched_take_done (sched, first, stop))
            return -1;
    return 0;
}

/* Before the loop hears of signals: is there one? */
static bool is_told_to_end (void)
{
    sigset_t pending;
    return sigpending (&pending) == 0 &&
           (sigismember (&pending, SIGINT) || sigismember (&pending, SIGTERM) ||
            sigismember (&pending, SIGHUP));
}

static int set_up (run_t *self, sluice_error_t *err)
{
    job_t *job = self->job;
    raise_limits ();
    faults_begin ("master");
    if (job->options.trace &&
        !(self->trace = trace_new (job->options.trace, "master", err)))
        return -1;
    if (open_signals (self, err) || !(self->folder = local_folder (err)))
        return -1;
    /* Before any thread: it forks. */
    if (wants_local (job) && !(self->local = local_start (job, self->folder, err)))
        return -1;
    char *inputs = write_inputs (self, err);
    job->stopped = is_told_to_end;
    writer_t *writer = inputs ? run_open_writer (job, err) : NULL;
    if (writer)
        writer_taken (writer, &self->taken);
    self->rated_bytes = self->taken.bytes;
    progress_from (&self->progress, job->plan->items, self->taken.items,
                   self->taken.bytes);
    self->context = zmq_ctx_new ();
    self->gate = gate_new (job->options.window);
    self->sched =
        sched_new (&(sched_options_t){.items = job->plan->items,
                                      .items_per_task = job->items_per_task,
                                      .first_task = self->taken.first_task,
                                      .target = (double) faults_ms (TARGET_MS) * 1e-3,
                                      .crash_limit = job->crash_limit,
                                      .failure_limit = job->retries + 1,
                                      .no_copies = job->options.no_copies});
    if (writer && self->sched && take_done (self->sched, writer))
        sched_destroy (&self->sched);
    if (writer)
        self->writer = wthread_new (writer, job->options.disk_wait, err);
    if (self->writer && self->context && self->gate && self->sched)
        self->links = links_new (self->context, job, self->gate, self->sched,
                                 self->writer, self->local != NULL, err);
    if (self->links) {
        links_set_inputs (self->links, inputs);
        links_set_trace (self->links, self->trace);
        links_on_failed (self->links, on_failed, self);
        links_on_news (self->links, on_news, self);
    }
    free (inputs);
    if (!self->links)
        return err->code ? -1 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (job->cluster && !(self->roster = roster_new (job->share, job->cluster, err)))
        return -1;
    /* Endpoints that cannot be are found now, not in the loop. */
    for (size_t i = 0; i < job->options.nnodes; i++)
        if (links_add (self->links, job->options.nodes[i], false, NULL, err))
            return -1;
    self->query = query_new (self->context, job, self->folder, err);
    if (!self->query)
        return -1;
    query_set_trace (self->query, self->trace);
    return 0;
}

static bool writer_hangs; /* its thread was left behind */

void run_leave (int status)
{
    if (!writer_hangs)
        return;
    fflush (NULL);
    _exit (status);
}

static void tear_down (run_t *self)
{
    remove_inputs (self);
    query_destroy (&self->query);
    roster_destroy (&self->roster);
    faults_end ();
    links_destroy (&self->links, "over");
    local_stop (&self->local);
    trace_destroy (&self->trace);
    if (!wthread_destroy (&self->writer)) {
        say (self, "the disk of %s does not answer", self->job->output);
        writer_hangs = true;
    }
    gate_destroy (&self->gate);
    sched_destroy (&self->sched);
    if (self->context)
        zmq_ctx_term (self->context);
    local_folder_remove (&self->folder);
    if (self->signals >= 0) {
        close (self->signals);
        sigprocmask (SIG_SETMASK, &self->old_mask, NULL);
    }
}

static void fill_result (run_t *self, run_result_t *r)
{
    sched_counts_t c;
    links_counts_t nodes;
    sched_counts (self->sched, &c);
    links_counts (self->links, &nodes);
    (self->whole ? wthread_totals : wthread_durable) (self->writer, &r->totals);
    r->status = self->status;
    r->taken = self->taken;
    r->tasks = c.tasks_done + c.tasks_running;
    r->done = self->whole ? c.done : r->totals.items; /* what the file has */
    r->failed = c.failed;
    r->retried = c.retried;
    r->copies = c.copies;
    memcpy (r->failed_items, self->failed_items, sizeof r->failed_items);
    r->nfailed_items = self->nfailed_items;
    r->stale_frames = nodes.stale_frames;
    r->malformed = nodes.malformed + query_malformed (self->query);
    r->unwanted = nodes.unwanted;
    r->cut_off = nodes.cut_off;
    r->lost = nodes.lost;
    r->resyncs = nodes.resyncs;
    r->unreceived = gate_in_use (self->gate) - gate_held (self->gate);
    r->unfinished = c.tasks_running;
    r->forged = self->roster ? roster_refused (self->roster) : 0;
    r->strangers = query_strangers (self->query);
    r->seconds = (double) (clock_ms () - self->started) * 1e-3;
    r->nodes = nodes.ever;
    r->cores = nodes.cores;
    r->window = gate_window (self->gate);
    r->peak_held = gate_peak (self->gate);
    memcpy (r->isa, nodes.isa, sizeof r->isa);
    snprintf (r->data_path, sizeof r->data_path, "%s%s%s%s%s",
              !nodes.used_local   ? ""
              : nodes.used_handed ? "memfd"
                                  : "ipc",
              nodes.used_local && nodes.used_net ? ", " : "",
              nodes.used_sealed ? "tcp+aes256gcm" : "",
              nodes.used_sealed && nodes.used_curve ? ", " : "",
              nodes.used_curve ? "tcp+curve" : "");
}

int run_cluster (job_t *job, run_result_t *result, sluice_error_t *err)
{
    run_t self = {.job = job, .signals = -1, .status = "stopped"};
    self.started = self.alone_since = self.rated_at = clock_ms ();
    self.since = time (NULL);
    self.node_wait =
        job->options.node_wait ? (int64_t) job->options.node_wait : FIRST_NODE_MS;
    progress_init (&self.progress, job->options.quiet);
    memset (result, 0, sizeof *result);
    result->status = "stopped";
    sluice_error_t why = {0};
    int rc = set_up (&self, &why);
    if (rc == 0) {
        loop (&self);
        progress_end (&self.progress);
        fill_result (&self, result);
        why = self.error;
        rc = why.code == SLUICE_OK || why.code == SLUICE_EFAILED ? 0 : -1;
    }
    tear_down (&self);
    if (err)
        *err = why;
    return rc;
}
