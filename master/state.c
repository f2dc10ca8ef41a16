/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/state.h"

#include <inttypes.h>
#include <stdio.h>

#include "master/progress.h"

enum { MOST_NODES = 40, MOST_TASKS = 40 };

typedef struct {
    const view_t *view;
    FILE *out;
    unsigned tasks;
} state_t;

static void begin (const state_t *self)
{
    fprintf (self->out, "sluice %s: state: ", self->view->job->options.command);
}

static void write_run (const state_t *self)
{
    const view_t *v = self->view;
    sched_counts_t c;
    links_counts_t nodes;
    sched_counts (v->sched, &c);
    links_counts (v->links, &nodes);
    begin (self);
    fprintf (self->out,
             "run %.8s, %.1f s; items: %" PRIu64 " done, %" PRIu64 " running, %" PRIu64
             " pending, %" PRIu64 " failed of %" PRIu64 "; tasks: %" PRIu64
             " done, %" PRIu64 " running, %" PRIu64 " tried again%s%s\n",
             v->job->run_name, (double) (v->now - v->started) * 1e-3, c.done, c.running,
             c.pending, c.failed, c.items, c.tasks_done, c.tasks_running, c.retried,
             *v->waiting ? "; waits: " : "", v->waiting);
    begin (self);
    fprintf (self->out,
             "nodes: %u ready, %u opening, %u lacking; %" PRIu64 " lost, %" PRIu64
             " streams begun anew, %" PRIu64 " stale pieces, %" PRIu64 " malformed\n",
             nodes.ready, nodes.opening, nodes.lacking, nodes.lost, nodes.resyncs,
             nodes.stale_frames, nodes.malformed);
}

static void write_gate (const state_t *self)
{
    const gate_t *gate = self->view->gate;
    char window[16], way[16], held[16], peak[16];
    begin (self);
    fprintf (self->out, "gate: window %s; %s granted and not here, %s held; %s at most\n",
             human_bytes ((double) gate_window (gate), window),
             human_bytes ((double) (gate_in_use (gate) - gate_held (gate)), way),
             human_bytes ((double) gate_held (gate), held),
             human_bytes ((double) gate_peak (gate), peak));
}

static void write_nodes (const state_t *self)
{
    static const char *const names[] = {[LINK_FREE] = "gone",
                                        [LINK_HELLO] = "opening",
                                        [LINK_READY] = "ready",
                                        [LINK_LACKS] = "lacking"};
    const view_t *v = self->view;
    unsigned shown = 0, left_out = 0;
    for (unsigned i = 0; i < links_size (v->links); i++) {
        const link_t *l = links_at (v->links, i);
        if (!l)
            continue;
        if (shown++ >= MOST_NODES) {
            left_out++;
            continue;
        }
        begin (self);
        fprintf (self->out,
                 "node %u %s (%s): %s, heard of %.1f s ago; tasks: %" PRIu64
                 " asked for, %" PRIu64 " sent; bytes: %" PRIu64 " granted, %" PRIu64
                 " received%s, epoch %u%s; %" PRIu64 " held there\n",
                 i, *l->host ? l->host : "?", l->endpoint, names[l->state],
                 (double) (v->now - l->heard) * 1e-3, l->credit, l->assigned,
                 gate_granted (v->gate, i), l->position,
                 gate_wants (v->gate, i) ? ", more offered" : "", l->epoch,
                 l->streaming ? "" : " not connected", l->held);
    }
    if (left_out) {
        begin (self);
        fprintf (self->out, "and %u more nodes\n", left_out);
    }
}

static void write_task (void *arg, const sched_task_t *t)
{
    state_t *self = arg;
    if (self->tasks++ >= MOST_TASKS)
        return;
    const link_t *l = links_at (self->view->links, t->node);
    begin (self);
    fprintf (self->out,
             "task %" PRIu64 ", attempt %u: items %" PRIu64 " to %" PRIu64
             ", %s %s for %.1f s\n",
             t->task.task, t->task.attempt, t->task.first, t->task.stop - 1,
             t->delivered ? "delivered by" : "runs on",
             l ? l->host : "a node that is gone",
             (double) self->view->now * 1e-3 - t->started);
}

char *state_text (const view_t *view)
{
    char *text = NULL;
    size_t size;
    state_t self = {.view = view, .out = open_memstream (&text, &size)};
    if (!self.out)
        return NULL;
    write_run (&self);
    write_gate (&self);
    write_nodes (&self);
    sched_each (view->sched, write_task, &self);
    if (self.tasks > MOST_TASKS) {
        begin (&self);
        fprintf (self.out, "and %u more tasks\n", self.tasks - MOST_TASKS);
    }
    fclose (self.out);
    return text;
}
