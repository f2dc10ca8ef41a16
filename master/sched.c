/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/sched.h"

#include <stdlib.h>
#include <string.h>

/* A copy is made of a task that is expected to run for so many times as long as the
 * copy will. Between equal nodes: of one that has taken three times what it should. */
#define COPY_GAIN 1.5

typedef struct {
    uint64_t first, stop;
    unsigned failures;
    uint64_t task; /* number of the task it was cut as before, or 0 */
    uint32_t attempt;
} range_t;

typedef struct {
    task_t task;
    unsigned failures;
    double started;
    double shed; /* when a part of it was asked for; 0: never */
    bool delivered;
    bool twin;       /* another attempt of it runs elsewhere */
    uint32_t latest; /* the last attempt that was made of it */
} running_t;

typedef struct {
    running_t *tasks;
    size_t n, room;
} running_list_t;

typedef struct {
    bool used;
    unsigned slots;
    double pace;     /* seconds per item; 0: not known */
    double hindered; /* when its results last waited for credit */
    running_list_t running;
} node_t;

struct sched {
    sched_options_t options;
    range_t *pending; /* a stack: the last is cut next */
    size_t npending, room;
    node_t *nodes;
    size_t nnodes;
    running_list_t orphans; /* delivered by nodes that are gone since */
    uint64_t next_task;
    double pace; /* of all nodes together */
    bool stopped;
    sched_counts_t counts;
};

static int push_range (sched_t *self, range_t range)
{
    if (range.first >= range.stop)
        return 0;
    if (self->npending == self->room) {
        size_t room = self->room ? 2 * self->room : 64;
        range_t *grown = realloc (self->pending, room * sizeof *grown);
        if (!grown)
            return -1;
        self->pending = grown;
        self->room = room;
    }
    self->pending[self->npending++] = range;
    self->counts.pending += range.stop - range.first;
    return 0;
}

sched_t *sched_new (const sched_options_t *options)
{
    sched_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->options = *options;
    if (self->options.target <= 0)
        self->options.target = 2.0;
    if (self->options.crash_limit == 0)
        self->options.crash_limit = 3;
    if (self->options.failure_limit == 0)
        self->options.failure_limit = self->options.crash_limit;
    self->counts.items = options->items;
    self->next_task = options->first_task ? options->first_task : 1;
    if (push_range (self, (range_t){.stop = options->items}))
        sched_destroy (&self);
    return self;
}

int sched_take_done (sched_t *self, uint64_t first, uint64_t stop)
{
    for (size_t i = self->npending; i-- > 0 && first < stop;) {
        range_t range = self->pending[i];
        uint64_t from = first > range.first ? first : range.first,
                 to = stop < range.stop ? stop : range.stop;
        if (from >= to)
            continue;
        self->counts.done += to - from;
        self->counts.pending -= range.stop - range.first;
        self->npending--;
        memmove (self->pending + i, self->pending + i + 1,
                 (self->npending - i) * sizeof *self->pending);
        if (push_range (self, (range_t){.first = to, .stop = range.stop}) ||
            push_range (self, (range_t){.first = range.first, .stop = from}))
            return -1;
    }
    return 0;
}

void sched_destroy (sched_t **self_p)
{
    sched_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->nnodes; i++)
        free (self->nodes[i].running.tasks);
    free (self->orphans.tasks);
    free (self->nodes);
    free (self->pending);
    free (self);
    *self_p = NULL;
}

static node_t *find_node (const sched_t *self, unsigned node)
{
    return node < self->nnodes && self->nodes[node].used ? &self->nodes[node] : NULL;
}

int sched_join (sched_t *self, unsigned node, unsigned slots)
{
    if (node >= self->nnodes) {
        size_t n = (size_t) node + 16;
        node_t *grown = realloc (self->nodes, n * sizeof *grown);
        if (!grown)
            return -1;
        memset (grown + self->nnodes, 0, (n - self->nnodes) * sizeof *grown);
        self->nodes = grown;
        self->nnodes = n;
    }
    sched_leave (self, node, NULL, NULL);
    self->nodes[node] = (node_t){.used = true, .slots = slots ? slots : 1};
    return 0;
}

static int list_add (running_list_t *list, running_t r)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        running_t *grown = realloc (list->tasks, room * sizeof *grown);
        if (!grown)
            return -1;
        list->tasks = grown;
        list->room = room;
    }
    list->tasks[list->n++] = r;
    return 0;
}

static running_t *list_find (const running_list_t *list, uint64_t task, uint32_t attempt)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->tasks[i].task.task == task && list->tasks[i].task.attempt == attempt)
            return &list->tasks[i];
    return NULL;
}

/* The other attempt that runs of the task of `r`, where it runs, and its list; NULL:
 * there is none. */
static running_t *find_twin (const sched_t *self, const running_t *r, unsigned *node,
                             running_list_t **list)
{
    *node = SCHED_NOBODY;
    for (unsigned i = 0; r->twin && i < self->nnodes; i++) {
        *list = &self->nodes[i].running;
        for (size_t k = 0; k < (*list)->n; k++) {
            running_t *other = &(*list)->tasks[k];
            if (other != r && other->task.task == r->task.task) {
                *node = i;
                return other;
            }
        }
    }
    return NULL;
}

/* Take the running task `r` off its list. While another attempt of it runs, `twin` is
 * set in what is returned, and its items are running still. */
static running_t remove_running (sched_t *self, running_list_t *list, running_t *r)
{
    running_t taken = *r;
    running_list_t *at;
    unsigned node;
    running_t *twin = find_twin (self, r, &node, &at);
    if (twin) {
        twin->twin = false;
        twin->latest = taken.latest;
        if (twin->failures < taken.failures)
            twin->failures = taken.failures;
    } else {
        self->counts.running -= taken.task.stop - taken.task.first;
        self->counts.tasks_running--;
    }
    *r = list->tasks[--list->n];
    return taken;
}

void sched_leave (sched_t *self, unsigned node, sched_task_fn *dropped, void *arg)
{
    node_t *n = find_node (self, node);
    if (!n)
        return;
    running_list_t *list = &n->running;
    while (list->n > 0) {
        running_t *last = &list->tasks[list->n - 1];
        if (last->delivered && list_add (&self->orphans, *last) == 0) {
            list->n--; /* still running, as far as the counts go */
            continue;
        }
        running_t r = remove_running (self, list, last);
        if (dropped)
            dropped (arg, &r.task);
        if (r.twin)
            continue;
        push_range (self, (range_t){r.task.first, r.task.stop, r.failures, r.task.task,
                                    r.latest});
        self->counts.retried++;
    }
    free (list->tasks);
    memset (n, 0, sizeof *n);
}

size_t sched_load (const sched_t *self, unsigned node)
{
    const node_t *n = find_node (self, node);
    return n ? n->running.n : 0;
}

/* How many items the next task for this node should have. */
static uint64_t guided_size (const sched_t *self, const node_t *n)
{
    if (self->options.items_per_task)
        return self->options.items_per_task;
    double pace = n->pace > 0 ? n->pace : self->pace;
    if (pace <= 0)
        return 1; /* nothing is known yet: a probe */
    uint64_t slots = 0;
    for (size_t i = 0; i < self->nnodes; i++)
        slots += self->nodes[i].used ? self->nodes[i].slots : 0;
    double by_time = self->options.target / pace;
    double by_share =
        (double) self->counts.pending / (2.0 * (double) (slots ? slots : 1));
    double size = by_time < by_share ? by_time : by_share;
    return size < 1 ? 1 : size > 1e15 ? (uint64_t) 1e15 : (uint64_t) size;
}

bool sched_next (sched_t *self, unsigned node, double now, task_t *task)
{
    node_t *n = find_node (self, node);
    if (!n || self->stopped || self->npending == 0)
        return false;
    uint64_t size = guided_size (self, n);
    range_t *range = &self->pending[self->npending - 1];
    bool whole = range->stop - range->first <= size;
    task_t cut = {.first = range->first,
                  .stop = whole ? range->stop : range->first + size};
    unsigned failures = range->failures;
    /* A range that goes out again as it was is the same task, next attempt. */
    if (range->task && whole) {
        cut.task = range->task;
        cut.attempt = range->attempt + 1;
    } else {
        cut.task = self->next_task++;
        cut.attempt = 1;
        range->task = 0; /* what is left of it is another task too */
    }
    if (list_add (&n->running, (running_t){.task = cut,
                                           .failures = failures,
                                           .started = now,
                                           .latest = cut.attempt}))
        return false;
    if (whole)
        self->npending--;
    else
        range->first = cut.stop;
    self->counts.pending -= cut.stop - cut.first;
    self->counts.running += cut.stop - cut.first;
    self->counts.tasks_running++;
    *task = cut;
    return true;
}

/* A task that runs at `node` or was delivered by it, and the list it is on. */
static running_t *find_running (sched_t *self, unsigned node, uint64_t task,
                                uint32_t attempt, running_list_t **list)
{
    node_t *n = find_node (self, node);
    *list = n ? &n->running : &self->orphans;
    return list_find (*list, task, attempt);
}

const task_t *sched_running (const sched_t *self, unsigned node, uint64_t task,
                             uint32_t attempt)
{
    const node_t *n = find_node (self, node);
    const running_t *r = n ? list_find (&n->running, task, attempt) : NULL;
    return r && !r->delivered ? &r->task : NULL;
}

unsigned sched_delivered (sched_t *self, unsigned node, uint64_t task, uint32_t attempt,
                          task_t *late)
{
    node_t *n = find_node (self, node);
    running_t *r = n ? list_find (&n->running, task, attempt) : NULL;
    running_list_t *at;
    unsigned other = SCHED_NOBODY;
    if (!r)
        return SCHED_NOBODY;
    r->delivered = true;
    running_t *twin = find_twin (self, r, &other, &at);
    if (twin)
        *late = remove_running (self, at, twin).task;
    return other;
}

static double mix (double old, double fresh)
{
    return old > 0 ? 0.7 * old + 0.3 * fresh : fresh;
}

bool sched_done (sched_t *self, unsigned node, uint64_t task, uint32_t attempt,
                 uint64_t stop, double seconds)
{
    running_list_t *list;
    running_t *found = find_running (self, node, task, attempt, &list);
    if (!found || stop > found->task.stop || stop < found->task.first)
        return false;
    node_t *n = find_node (self, node);
    running_t r = remove_running (self, list, found);
    uint64_t items = stop - r.task.first;
    if (items > 0) {
        double pace = seconds / (double) items;
        if (pace < 1e-9)
            pace = 1e-9;
        if (n)
            n->pace = mix (n->pace, pace);
        self->pace = mix (self->pace, pace);
        self->counts.done += items;
        self->counts.tasks_done++;
    }
    push_range (self, (range_t){.first = stop, .stop = r.task.stop});
    return true;
}

int sched_failed (sched_t *self, unsigned node, uint64_t task, uint32_t attempt,
                  uint64_t item, bool crashed, uint64_t *first, uint64_t *stop)
{
    running_list_t *list;
    running_t *found = find_running (self, node, task, attempt, &list);
    if (!found)
        return -1;
    unsigned failures = ++found->failures;
    running_t r = remove_running (self, list, found);
    *first = r.task.first;
    *stop = r.task.stop;
    uint64_t items = r.task.stop - r.task.first;
    if (r.twin)
        return 0; /* the other attempt may do better */
    const sched_options_t *o = &self->options;
    if (items == 1 && failures >= (crashed ? o->crash_limit : o->failure_limit)) {
        self->counts.failed++;
        return 1;
    }
    self->counts.retried++;
    if (items == 1) {
        push_range (
            self, (range_t){r.task.first, r.task.stop, failures, r.task.task, r.latest});
        return 0;
    }
    if (item <= r.task.first || item >= r.task.stop) {
        /* It failed at its first item, or nobody knows: the first alone, and
         * the rest in halves, so that a bad item is found in few steps. */
        uint64_t second = r.task.first + 1, middle = second + (r.task.stop - second) / 2;
        push_range (self, (range_t){.first = middle, .stop = r.task.stop});
        push_range (self, (range_t){.first = second, .stop = middle});
        push_range (self,
                    (range_t){.first = r.task.first, .stop = second, .failures = 1});
    } else {
        push_range (self, (range_t){.first = item, .stop = r.task.stop});
        push_range (self, (range_t){.first = r.task.first, .stop = item});
    }
    return 0;
}

bool sched_shed (sched_t *self, double now, unsigned *node, task_t *task)
{
    running_t *best = NULL;
    double most = 0.5 * self->options.target;
    if (self->npending > 0 || self->stopped || self->options.items_per_task)
        return false;
    for (size_t i = 0; i < self->nnodes; i++) {
        node_t *n = &self->nodes[i];
        double pace = n->pace > 0 ? n->pace : self->pace;
        for (size_t k = 0; n->used && k < n->running.n; k++) {
            running_t *r = &n->running.tasks[k];
            uint64_t items = r->task.stop - r->task.first;
            double age = now - r->started;
            if (r->shed > 0 || r->delivered || r->twin || items < 2 ||
                age < 0.5 * self->options.target)
                continue;
            /* With no pace known, a task that runs for long is as long again. */
            double left = pace > 0 ? pace * (double) items - age : age;
            if (left < age * 0.5)
                left = age * 0.5;
            if (left > most) {
                most = left;
                best = r;
                *node = (unsigned) i;
            }
        }
    }
    if (!best)
        return false;
    best->shed = now;
    *task = best->task;
    return true;
}

/* ---- copies --------------------------------------------------------------- */

void sched_hindered (sched_t *self, unsigned node, double now)
{
    node_t *n = find_node (self, node);
    if (n)
        n->hindered = now;
}

/* What can be cut is asked for its rest first; and where one attempt has failed, the
 * next must not be for ever the other of a pair. */
static bool may_copy (const sched_t *self, const running_t *r, double now)
{
    bool cut = r->task.stop - r->task.first > 1 && !self->options.items_per_task;
    return !r->delivered && !r->twin && !r->failures &&
           (!cut || (r->shed > 0 && now - r->shed > self->options.target));
}

/* Seconds by which node `to` would be done before this one is, if it began now:
 * positive when that is worth the work. */
static double gain (const sched_t *self, const node_t *to, const node_t *n,
                    const running_t *r, double now)
{
    double items = (double) (r->task.stop - r->task.first);
    double since = r->started > n->hindered ? r->started : n->hindered, age = now - since;
    double there = (to->pace > 0 ? to->pace : self->pace) * items;
    double left = (n->pace > 0 ? n->pace : self->pace) * items - age;
    /* What takes longer than its pace promises goes on for half as long again. */
    if (left < 0.5 * age)
        left = 0.5 * age;
    if (age < 0.5 * self->options.target || left < COPY_GAIN * there)
        return 0;
    return left - there;
}

bool sched_copy (sched_t *self, unsigned node, double now, task_t *task)
{
    node_t *to = find_node (self, node);
    running_t *best = NULL;
    double most = 0;
    if (!to || self->npending > 0 || self->stopped || self->pace <= 0 ||
        self->options.no_copies)
        return false;
    for (size_t i = 0; i < self->nnodes; i++) {
        const node_t *n = &self->nodes[i];
        for (size_t k = 0; n->used && n != to && k < n->running.n; k++) {
            running_t *r = &n->running.tasks[k];
            double g = may_copy (self, r, now) ? gain (self, to, n, r, now) : 0;
            if (g > most) {
                most = g;
                best = r;
            }
        }
    }
    if (!best)
        return false;
    running_t copy = {.task = best->task,
                      .failures = best->failures,
                      .started = now,
                      .twin = true,
                      .latest = best->latest + 1};
    copy.task.attempt = copy.latest;
    if (list_add (&to->running, copy))
        return false;
    best->twin = true;
    best->latest = copy.latest;
    self->counts.copies++;
    *task = copy.task;
    return true;
}

/* ---- one by one ----------------------------------------------------------- */

static void describe (const sched_t *self, const running_t *r, unsigned node,
                      sched_task_t *out)
{
    const node_t *n = find_node (self, node);
    double pace = n && n->pace > 0 ? n->pace : self->pace;
    *out = (sched_task_t){.task = r->task,
                          .delivered = r->delivered,
                          .node = node,
                          .failures = r->failures,
                          .started = r->started,
                          .expected = pace * (double) (r->task.stop - r->task.first),
                          .other = SCHED_NOBODY};
    running_list_t *at;
    const running_t *twin = find_twin (self, r, &out->other, &at);
    if (twin)
        out->other_attempt = twin->task.attempt;
}

/* Take it off, and the other attempt with it. */
static void remove_all (sched_t *self, running_list_t *list, running_t *r)
{
    running_list_t *at;
    unsigned node;
    running_t *twin = find_twin (self, r, &node, &at);
    if (twin)
        remove_running (self, at, twin);
    remove_running (self, list, r);
}

static running_t *list_find_task (const running_list_t *list, uint64_t task)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->tasks[i].task.task == task)
            return &list->tasks[i];
    return NULL;
}

/* Where it is: on a list, or in the stack of what is pending. */
typedef struct {
    sched_where_t where;
    running_list_t *list;
    running_t *running;
    size_t pending;
} place_t;

static place_t locate (const sched_t *self, uint64_t task, sched_task_t *out)
{
    memset (out, 0, sizeof *out);
    out->node = out->other = SCHED_NOBODY;
    for (unsigned i = 0; i <= self->nnodes; i++) {
        /* the orphans come last */
        running_list_t *list = (running_list_t *) &self->orphans;
        if (i < self->nnodes)
            list = &self->nodes[i].running;
        running_t *r = list_find_task (list, task);
        if (!r)
            continue;
        describe (self, r, i < self->nnodes ? i : SCHED_NOBODY, out);
        return (place_t){.where = r->delivered ? SCHED_DELIVERED : SCHED_RUNNING,
                         .list = list,
                         .running = r};
    }
    for (size_t i = 0; i < self->npending; i++) {
        const range_t *range = &self->pending[i];
        if (range->task != task || task == 0)
            continue;
        out->task = (task_t){range->task, range->attempt, range->first, range->stop};
        out->failures = range->failures;
        return (place_t){.where = SCHED_PENDING, .pending = i};
    }
    return (place_t){.where = task >= self->next_task ? SCHED_UNCUT : SCHED_UNKNOWN};
}

sched_where_t sched_find (const sched_t *self, uint64_t task, sched_task_t *out)
{
    return locate (self, task, out).where;
}

sched_where_t sched_cancel (sched_t *self, uint64_t task, sched_task_t *out)
{
    place_t place = locate (self, task, out);
    uint64_t items = out->task.stop - out->task.first;
    if (place.where == SCHED_RUNNING) {
        remove_all (self, place.list, place.running);
        self->counts.failed += items;
    } else if (place.where == SCHED_PENDING) {
        self->npending--;
        memmove (self->pending + place.pending, self->pending + place.pending + 1,
                 (self->npending - place.pending) * sizeof *self->pending);
        self->counts.pending -= items;
        self->counts.failed += items;
    }
    return place.where;
}

static uint64_t larger (uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller (uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What is left of a range around what was cut out of it. */
static void push_rest (sched_t *self, uint64_t first, uint64_t from, uint64_t to,
                       uint64_t stop)
{
    push_range (self, (range_t){.first = to, .stop = stop});
    push_range (self, (range_t){.first = first, .stop = from});
}

void sched_cancel_items (sched_t *self, uint64_t first, uint64_t stop, sched_cut_fn *cut,
                         void *arg)
{
    sched_task_t out;
    /* Backwards: what is pushed meanwhile lies outside, and comes behind. */
    for (size_t i = self->npending; i-- > 0;) {
        range_t range = self->pending[i];
        uint64_t from = larger (first, range.first), to = smaller (stop, range.stop);
        if (from >= to)
            continue;
        self->npending--;
        memmove (self->pending + i, self->pending + i + 1,
                 (self->npending - i) * sizeof *self->pending);
        self->counts.pending -= range.stop - range.first;
        self->counts.failed += to - from;
        push_rest (self, range.first, from, to, range.stop);
        out = (sched_task_t){.task = {range.task, range.attempt, range.first, range.stop},
                             .node = SCHED_NOBODY,
                             .other = SCHED_NOBODY,
                             .failures = range.failures};
        cut (arg, &out, from, to);
    }
    for (unsigned node = 0; node < self->nnodes; node++) {
        running_list_t *list = &self->nodes[node].running;
        for (size_t i = list->n; i-- > 0;) {
            running_t *r = list->tasks + i;
            uint64_t from = larger (first, r->task.first),
                     to = smaller (stop, r->task.stop);
            if (r->delivered || from >= to)
                continue;
            describe (self, r, node, &out);
            remove_all (self, list, r);
            self->counts.failed += to - from;
            push_rest (self, out.task.first, from, to, out.task.stop);
            cut (arg, &out, from, to);
        }
    }
}

void sched_each (const sched_t *self, sched_each_fn *each, void *arg)
{
    sched_task_t task;
    for (unsigned i = 0; i <= self->nnodes; i++) {
        const running_list_t *list =
            i < self->nnodes ? &self->nodes[i].running : &self->orphans;
        for (size_t k = 0; k < list->n; k++) {
            describe (self, &list->tasks[k], i < self->nnodes ? i : SCHED_NOBODY, &task);
            each (arg, &task);
        }
    }
}

size_t sched_pending (const sched_t *self, task_t *ranges, size_t max)
{
    for (size_t i = 0; i < self->npending && i < max; i++) {
        const range_t *range = &self->pending[self->npending - 1 - i];
        ranges[i] = (task_t){range->task, range->attempt, range->first, range->stop};
    }
    return self->npending;
}

void sched_counts (const sched_t *self, sched_counts_t *counts)
{
    *counts = self->counts;
}

bool sched_finished (const sched_t *self)
{
    return self->counts.running == 0 && (self->counts.pending == 0 || self->stopped);
}

void sched_stop (sched_t *self)
{
    self->stopped = true;
}
