/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/explain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/progress.h"
#include "master/run.h"
#include "proto/text.h"

enum {
    MOST_TASKS = 200, /* about 150 bytes each */
    MOST_NODES = 100, /* about 250 */
    MOST_RANGES = 3,  /* of what is pending */
    QUIET_MS = 2500,  /* two heartbeats and a half without an answer */
    END_ROOM = 128    /* kept for what closes the object */
};

/* ---- status ---------------------------------------------------------------- */

static void add_status (json_out_t *out, const view_t *v)
{
    sched_counts_t c;
    links_counts_t nodes;
    char host[65] = "";
    gethostname (host, sizeof host - 1);
    sched_counts (v->sched, &c);
    links_counts (v->links, &nodes);
    json_add (out, "\"run\":\"%s\",\"owner\":", v->job->run_name);
    json_add_text (out, v->job->owner);
    json_add (out, ",\"job\":");
    json_add_text (out, v->job->name);
    json_add (out, ",\"host\":");
    json_add_text (out, host);
    json_add (out,
              ",\"since\":%lld,\"seconds\":%.1f,\"items\":%" PRIu64 ",\"done\":%" PRIu64
              ",\"failed\":%" PRIu64 ",\"running\":%" PRIu64 ",\"pending\":%" PRIu64
              ",\"bytes\":%" PRIu64 ",\"mb_per_s\":%.1f,\"nodes\":%u,\"waiting\":",
              (long long) v->since, (double) (v->now - v->started) * 1e-3, c.items,
              c.done, c.failed, c.running, c.pending, v->totals->bytes, v->rate * 1e-6,
              nodes.ready);
    json_add_text (out, v->waiting);
}

char *explain_status (const view_t *view)
{
    json_out_t out;
    json_begin (&out, MSG_MAX_TEXT);
    json_add (&out, "{");
    add_status (&out, view);
    json_add (&out, "}");
    return json_end (&out);
}

/* ---- tasks ------------------------------------------------------------------ */

static const char *host_of (const links_t *links, unsigned node)
{
    const link_t *l = links_at (links, node);
    return l ? l->host : "";
}

void explain_place (json_out_t *out, const links_t *links, sched_where_t where,
                    const sched_task_t *task)
{
    static const char *const names[] = {[SCHED_UNKNOWN] = "over",
                                        [SCHED_UNCUT] = "not cut yet",
                                        [SCHED_PENDING] = "pending",
                                        [SCHED_RUNNING] = "running",
                                        [SCHED_DELIVERED] = "delivered"};
    json_add (out, "\"where\":\"%s\"", names[where]);
    if (where == SCHED_UNKNOWN || where == SCHED_UNCUT)
        return;
    json_add (out, ",\"attempt\":%u,\"first\":%" PRIu64 ",\"stop\":%" PRIu64 ",\"host\":",
              task->task.attempt, task->task.first, task->task.stop);
    json_add_text (out, host_of (links, task->node));
    if (task->other == SCHED_NOBODY)
        return;
    json_add (out, ",\"other_attempt\":%u,\"other_host\":", task->other_attempt);
    json_add_text (out, host_of (links, task->other));
}

typedef struct {
    sched_task_t oldest[MOST_TASKS]; /* the one that began first in front */
    size_t n;
    uint64_t all, delivered;
} tasks_t;

static void take_task (void *arg, const sched_task_t *task)
{
    tasks_t *self = arg;
    self->all++;
    self->delivered += task->delivered;
    if (self->n == MOST_TASKS && self->oldest[self->n - 1].started <= task->started)
        return;
    size_t at = self->n < MOST_TASKS ? self->n++ : self->n - 1;
    for (; at > 0 && self->oldest[at - 1].started > task->started; at--)
        self->oldest[at] = self->oldest[at - 1];
    self->oldest[at] = *task;
}

static void add_times (json_out_t *out, const view_t *v, const sched_task_t *task)
{
    json_add (out, ",\"seconds\":%.1f,\"expected\":%.1f",
              (double) v->now * 1e-3 - task->started, task->expected);
}

/* Returns how many were left out. */
static uint64_t add_tasks (json_out_t *out, const view_t *v, const tasks_t *tasks)
{
    size_t i, mark = 0;
    for (i = 0; i < tasks->n; i++) {
        const sched_task_t *t = &tasks->oldest[i];
        mark = out->used;
        json_add (out, "%s{\"task\":%" PRIu64 ",", i ? "," : "", t->task.task);
        explain_place (out, v->links, t->delivered ? SCHED_DELIVERED : SCHED_RUNNING, t);
        add_times (out, v, t);
        json_add (out, "}");
        if (out->full) {
            json_cut (out, mark);
            break;
        }
    }
    return tasks->all - i;
}

/* ---- nodes ------------------------------------------------------------------ */

static const char *state_of (const view_t *v, const link_t *l)
{
    if (l->state == LINK_LACKS)
        return "lacks";
    if (v->now - l->heard > QUIET_MS)
        return "silent";
    return l->state == LINK_READY ? "ready" : l->answered ? "opening" : "no answer yet";
}

/* What a node's results wait for; "": for nothing. */
static const char *outbox_waits (const view_t *v, const link_t *l, unsigned node)
{
    if (l->state != LINK_READY)
        return "";
    if (!l->streaming)
        return "its results wait for a new connection";
    if (gate_granted (v->gate, node) > l->position)
        return "its results are on their way";
    if (gate_wants (v->gate, node))
        return "its results wait for credit: the window is full";
    if (links_unwritten (v->links, l) > 0)
        return "its results wait for the writer";
    return "";
}

/* Returns how many were left out. */
static unsigned add_nodes (json_out_t *out, const view_t *v)
{
    unsigned shown = 0, left_out = 0;
    for (unsigned i = 0; i < links_size (v->links); i++) {
        const link_t *l = links_at (v->links, i);
        if (!l)
            continue;
        if (shown == MOST_NODES) {
            left_out++;
            continue;
        }
        size_t mark = out->used;
        json_add (out, "%s{\"host\":", shown ? "," : "");
        json_add_text (out, l->host);
        json_add (out, ",\"endpoint\":");
        json_add_text (out, l->endpoint);
        json_add (out,
                  ",\"state\":\"%s\",\"slots\":%u,\"free\":%" PRIu64 ",\"held\":%" PRIu64
                  ",\"silent\":%.1f,\"waits\":",
                  state_of (v, l), l->slots,
                  l->credit > l->assigned ? l->credit - l->assigned : 0, l->held,
                  (double) (v->now - l->heard) * 1e-3);
        json_add_text (out, outbox_waits (v, l, i));
        json_add (out, "}");
        if (out->full) {
            json_cut (out, mark);
            left_out++;
        } else {
            shown++;
        }
    }
    return left_out;
}

/* ---- sentences --------------------------------------------------------------- */

typedef struct {
    json_out_t *out;
    bool any;
} waits_t;

static void add_wait (waits_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
static void add_wait (waits_t *self, const char *format, ...)
{
    char text[1200];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    if (self->any)
        json_add (self->out, ",");
    json_add_text (self->out, text);
    self->any = true;
}

static const char *plural (uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* Why nothing is cut from what is pending. */
static void why_pending (const view_t *v, char *why, size_t size)
{
    links_counts_t c;
    uint64_t slots = 0, credit = 0;
    links_counts (v->links, &c);
    for (unsigned i = 0; i < links_size (v->links); i++) {
        const link_t *l = links_at (v->links, i);
        if (!l || l->state != LINK_READY)
            continue;
        slots += l->slots;
        credit += l->credit > l->assigned ? l->credit - l->assigned : 0;
    }
    if (v->finishing)
        snprintf (why, size, "nothing: the run is ending");
    else if (c.ready && credit)
        snprintf (why, size, "the next turn of the master");
    else if (c.ready)
        snprintf (why, size, "a free slot: all %llu of %u node%s are taken",
                  (unsigned long long) slots, c.ready, plural (c.ready));
    else if (c.opening)
        snprintf (why, size, "%u node%s, opening the inputs", c.opening,
                  plural (c.opening));
    else if (*c.lacks)
        snprintf (why, size, "a node that can take part; the last that cannot: %s",
                  c.lacks);
    else
        snprintf (why, size, "a node: none answers");
}

static void explain_pending (waits_t *waits, const view_t *v)
{
    sched_counts_t c;
    task_t ranges[MOST_RANGES];
    char why[1100], which[120] = "";
    sched_counts (v->sched, &c);
    size_t all = sched_pending (v->sched, ranges, MOST_RANGES), used = 0;
    if (c.pending == 0)
        return;
    for (size_t i = 0; i < all && i < MOST_RANGES; i++)
        used += (size_t) snprintf (which + used, sizeof which - used, "%s%llu-%llu",
                                   i ? ", " : "", (unsigned long long) ranges[i].first,
                                   (unsigned long long) ranges[i].stop - 1);
    why_pending (v, why, sizeof why);
    add_wait (waits, "%llu item%s (%s%s) wait%s for %s", (unsigned long long) c.pending,
              plural (c.pending), which, all > MOST_RANGES ? ", ..." : "",
              c.pending == 1 ? "s" : "", why);
}

static void explain_writer (waits_t *waits, const view_t *v, const tasks_t *tasks)
{
    char held[16], window[16];
    human_bytes ((double) gate_held (v->gate), held);
    human_bytes ((double) gate_window (v->gate), window);
    if (v->disk_full)
        add_wait (waits, "the writer waits for space: the disk is full");
    if (tasks->delivered)
        add_wait (waits,
                  "%llu task%s delivered, and wait%s for the writer (%s in memory)",
                  (unsigned long long) tasks->delivered,
                  tasks->delivered == 1 ? " is" : "s are",
                  tasks->delivered == 1 ? "s" : "", held);
    unsigned starved = 0;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < links_size (v->links); i++) {
        const link_t *l = links_at (v->links, i);
        if (l && l->state == LINK_READY && gate_wants (v->gate, i)) {
            starved++;
            bytes += l->held;
        }
    }
    if (starved) {
        char size[16], kept[40] = "";
        if (bytes) /* as of their last PONG */
            snprintf (kept, sizeof kept, " (%s kept there)",
                      human_bytes ((double) bytes, size));
        add_wait (waits,
                  "results of %u node%s%s wait for credit: the window of %s is full, "
                  "%s of it with what the writer has not written",
                  starved, plural (starved), kept, window, held);
    }
    for (unsigned i = 0; i < links_size (v->links); i++) {
        const link_t *l = links_at (v->links, i);
        uint64_t unwritten = l && l->state == LINK_READY && !gate_wants (v->gate, i)
                                 ? links_unwritten (v->links, l)
                                 : 0;
        char size[16];
        if (unwritten > CHUNK_BYTES)
            add_wait (waits, "results of this machine wait for the writer, %s of them",
                      human_bytes ((double) unwritten, size));
    }
}

static void explain_nodes (waits_t *waits, const view_t *v)
{
    for (unsigned i = 0, named = 0; i < links_size (v->links) && named < 5; i++) {
        const link_t *l = links_at (v->links, i);
        if (!l || l->state == LINK_LACKS)
            continue;
        const char *name = *l->host ? l->host : l->endpoint;
        if (l->answered && v->now - l->heard > QUIET_MS) {
            add_wait (waits, "node %s has been silent for %.0f s (lost after %d)", name,
                      (double) (v->now - l->heard) * 1e-3, SILENCE_MS / 1000);
            named++;
        } else if (l->state == LINK_HELLO && l->answered) {
            add_wait (waits, "node %s has been opening its inputs for %.0f s", name,
                      (double) (v->now - l->since) * 1e-3);
            named++;
        } else if (l->state == LINK_READY && !l->streaming) {
            add_wait (waits, "the results of node %s wait for a new connection", name);
            named++;
        }
    }
}

static void add_waits (json_out_t *out, const view_t *v, const tasks_t *tasks)
{
    waits_t waits = {.out = out};
    json_add (out, "\"waits\":[");
    if (v->finishing)
        add_wait (&waits, "the run waits for the writer to write the last state");
    explain_pending (&waits, v);
    explain_writer (&waits, v, tasks);
    explain_nodes (&waits, v);
    json_add (out, "]");
}

/* ---- answers ------------------------------------------------------------------ */

static char *explain_all (const view_t *v)
{
    tasks_t *tasks = calloc (1, sizeof *tasks);
    json_out_t out;
    json_begin (&out, MSG_MAX_TEXT - END_ROOM);
    if (!tasks)
        return NULL;
    sched_each (v->sched, take_task, tasks);
    json_add (&out, "{");
    add_status (&out, v);
    json_add (&out, ",");
    add_waits (&out, v, tasks);
    json_add (&out, ",\"node_states\":[");
    unsigned nodes = add_nodes (&out, v);
    json_add (&out, "],\"tasks\":[");
    uint64_t left_out = add_tasks (&out, v, tasks);
    out.most += END_ROOM;
    json_add (&out, "],\"nodes_left_out\":%u,\"tasks_left_out\":%" PRIu64 "}", nodes,
              left_out);
    free (tasks);
    return json_end (&out);
}

/* One task: one sentence. */
static void explain_wait_of (waits_t *waits, const view_t *v, sched_where_t where,
                             const sched_task_t *t)
{
    char why[1100];
    const link_t *l = links_at (v->links, t->node);
    switch (where) {
    case SCHED_UNCUT:
        add_wait (waits, "for a node to take more items: no task has this number yet");
        break;
    case SCHED_UNKNOWN:
        add_wait (waits, "for nothing: it is done, or its items were cut into other "
                         "tasks, or failed for good");
        break;
    case SCHED_PENDING:
        why_pending (v, why, sizeof why);
        add_wait (waits, "to be tried again (%u failure%s so far), for %s", t->failures,
                  plural (t->failures), why);
        break;
    case SCHED_DELIVERED:
        add_wait (waits, v->disk_full ? "for space: the disk is full"
                                      : "for the writer, which has all of it");
        break;
    case SCHED_RUNNING:
        if (l && v->now - l->heard > QUIET_MS)
            add_wait (waits, "for its node, which has been silent for %.0f s",
                      (double) (v->now - l->heard) * 1e-3);
        else
            add_wait (waits, "for its worker at %s, which computes it or has it next",
                      host_of (v->links, t->node));
        if (l && *outbox_waits (v, l, t->node))
            add_wait (waits, "%s: %s", l->host, outbox_waits (v, l, t->node));
        if (t->other != SCHED_NOBODY)
            add_wait (waits, "or for its other attempt, at %s: who is first counts",
                      host_of (v->links, t->other));
        break;
    }
}

char *explain_run (const view_t *view, const char *question)
{
    uint64_t task;
    size_t n = strlen (question);
    if (n == 0 || text_number (question, n, UINT64_MAX, &task) != n)
        return explain_all (view);
    sched_task_t t;
    sched_where_t where = sched_find (view->sched, task, &t);
    json_out_t out;
    json_begin (&out, MSG_MAX_TEXT);
    json_add (&out, "{\"run\":\"%s\",\"task\":%" PRIu64 ",", view->job->run_name, task);
    explain_place (&out, view->links, where, &t);
    if (where == SCHED_RUNNING || where == SCHED_DELIVERED)
        add_times (&out, view, &t);
    json_add (&out, ",\"waits\":[");
    waits_t waits = {.out = &out};
    explain_wait_of (&waits, view, where, &t);
    json_add (&out, "]}");
    return json_end (&out);
}
