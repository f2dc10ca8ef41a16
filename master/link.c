/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/link_state.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <zmq.h>

#include "master/run.h"
#include "proto/clock.h"
#include "proto/faults.h"
#include "proto/text.h"

enum {
    MAX_LINKS = 4096,
    SAID_TIMES = 4, /* a message that is said again */
    MOST_CUTS = 3   /* of an endpoint: then it is not asked again */
};
/* Descriptors that a node takes (messages, results), and what is kept for all else. */
enum { FDS_PER_NODE = 2, FDS_KEPT = 64 };

/* How many nodes this process may have connections to. */
static unsigned count_room (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return MAX_LINKS;
    rlim_t n = limit.rlim_cur < FDS_KEPT ? 0 : (limit.rlim_cur - FDS_KEPT) / FDS_PER_NODE;
    return n < 1 ? 1 : n < MAX_LINKS ? (unsigned) n : MAX_LINKS;
}

links_t *links_new (void *context, const job_t *job, gate_t *gate, sched_t *sched,
                    wthread_t *writer, bool local, sluice_error_t *err)
{
    links_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->job = job;
    self->gate = gate;
    self->sched = sched;
    self->writer = writer;
    self->began = clock_ms ();
    self->room = count_room ();
    self->handover = -1;
    if (local && !(self->handed = handed_new (job->segment))) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        links_destroy (&self, "");
        return NULL;
    }
    if (job->cluster && !(self->opener = opener_new (err))) {
        links_destroy (&self, "");
        return NULL;
    }
    if ((local && plane_open (&self->local, context, job, false, err)) ||
        (job->cluster && plane_open (&self->net, context, job, true, err))) {
        links_destroy (&self, "");
        return NULL;
    }
    return self;
}

void links_set_inputs (links_t *self, const char *inputs)
{
    free (self->inputs);
    self->inputs = strdup (inputs);
}

void links_set_handover (links_t *self, int sock)
{
    self->handover = sock;
}

void links_on_failed (links_t *self, links_failed_fn *fn, void *arg)
{
    self->failed = fn;
    self->failed_arg = arg;
}

void links_set_trace (links_t *self, trace_t *trace)
{
    self->trace = trace;
}

void links_on_news (links_t *self, links_news_fn *fn, void *arg)
{
    self->news = fn;
    self->news_arg = arg;
}

/* ---- sending ---------------------------------------------------------------- */

void link_send (links_t *self, const link_t *l, msg_t *msg)
{
    void *data;
    size_t n;
    memcpy (msg->run, self->job->run, RUN_BYTES);
    if (msg_encode (msg, &data, &n, NULL))
        return; /* out of memory: heartbeats find out */
    if (self->trace)
        trace_message (self->trace, TRACE_OUT, l->endpoint, data, n);
    faults_send (l->plane->router, &l->route, sizeof l->route, data, n);
    free (data);
}

void link_send_task (links_t *self, link_t *l, msg_type_t type, const task_t *task)
{
    task_t one = *task;
    l->reminders[l->nreminders++ % LINK_REMINDERS] = (reminder_t){type, *task, 1};
    link_send (self, l, &(msg_t){.type = type, .tasks = {.ntasks = 1, .tasks = &one}});
}

void link_remind (links_t *self, link_t *l)
{
    for (unsigned i = 0; i < LINK_REMINDERS; i++) {
        reminder_t *r = &l->reminders[i];
        if (!r->type || r->times >= SAID_TIMES)
            continue;
        r->times++;
        link_send (self, l,
                   &(msg_t){.type = r->type, .tasks = {.ntasks = 1, .tasks = &r->task}});
    }
}

static void send_hello (links_t *self, link_t *l)
{
    const job_t *job = self->job;
    const sluice_plan_t *plan = job->plan;
    msg_t msg = {.type = MSG_HELLO};
    msg_hello_t *h = &msg.hello;
    h->token = l->token;
    h->owner = job->owner;
    h->job = job->name;
    memcpy (h->share, share_id (job->share), SHARE_ID_BYTES);
    memcpy (h->data_key, l->plane->data_pair.public_key, KEY_BYTES);
    memcpy (h->secret, l->secret, KEY_BYTES);
    h->kernel = job->kernel_name;
    memcpy (h->kernel_hash, kernel_hash (job->kernel), FILE_HASH_BYTES);
    h->inputs = self->inputs ? self->inputs : "";
    h->seed = job->seed;
    h->items = plan->items;
    h->memory = job->options.memory;
    h->segment = job->segment;
    h->deflate = job->deflate;
    h->cores_per_task = job->cores_per_task;
    h->ntables = plan->ntables;
    h->tables = plan->tables;
    h->nfiles = plan->nfiles;
    h->files = plan->files;
    h->params = job->params;
    link_send (self, l, &msg);
}

uint64_t link_received (const links_t *self, const link_t *l)
{
    return l->local ? handed_done (self->handed) : l->position;
}

void link_send_credit (links_t *self, link_t *l, unsigned node)
{
    l->told_granted = gate_granted (self->gate, node);
    l->told_position = link_received (self, l);
    link_send (self, l,
               &(msg_t){.type = MSG_CREDIT,
                        .credit = {l->epoch, l->told_granted, l->told_position}});
}

/* ---- beginning and ending ---------------------------------------------------- */

static link_t *find_endpoint (links_t *self, const char *endpoint)
{
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].state && strcmp (self->links[i].endpoint, endpoint) == 0)
            return &self->links[i];
    return NULL;
}

bool links_know (const links_t *self, const uint8_t *uuid)
{
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].state && self->links[i].has_uuid &&
            memcmp (self->links[i].uuid, uuid, 16) == 0)
            return true;
    return false;
}

/* Numbers of nodes that took part are not used twice: they name them in the file. But
 * one that is asked again and again must not use them up. */
static link_t *free_link (links_t *self, const char *endpoint)
{
    for (unsigned i = 0; i < self->nlinks; i++) {
        link_t *l = &self->links[i];
        bool same = strcmp (l->endpoint, endpoint) == 0;
        if (l->state || l->was_ready || l->misbehaved ||
            (!same && self->nlinks < MAX_LINKS))
            continue;
        bool told = same && l->told;
        memset (l, 0, sizeof *l);
        l->told = told;
        return l;
    }
    if (self->nlinks >= MAX_LINKS)
        return NULL;
    if (self->nlinks % 16 == 0) {
        link_t *grown = realloc (self->links, (self->nlinks + 16) * sizeof *grown);
        if (!grown)
            return NULL;
        self->links = grown;
    }
    link_t *l = &self->links[self->nlinks++];
    memset (l, 0, sizeof *l);
    return l;
}

/* Can one more node be connected to? Said once if not. */
static bool has_room (links_t *self)
{
    unsigned used = 0;
    for (unsigned i = 0; i < self->nlinks; i++)
        used += self->links[i].state != LINK_FREE && !self->links[i].local;
    if (used < self->room)
        return true;
    if (!self->told_room)
        link_tell (
            self,
            "this process may open descriptors for %u nodes only; the others take no "
            "part (see: ulimit -n)",
            self->room);
    self->told_room = true;
    return false;
}

/* It broke the rules too often to be asked again. */
static bool is_banned (const links_t *self, const char *endpoint)
{
    unsigned cuts = 0;
    for (unsigned i = 0; i < self->nlinks && cuts < MOST_CUTS; i++)
        cuts +=
            self->links[i].misbehaved && strcmp (self->links[i].endpoint, endpoint) == 0;
    return cuts == MOST_CUTS;
}

/* Random, but for the link's number, by which it is found. */
static uint64_t random_name (const links_t *self, const link_t *l)
{
    _Static_assert(MAX_LINKS <= 1 << (64 - LINK_NUMBER_AT), "a number has room");
    uint64_t name;
    random_bytes (&name, sizeof name);
    return name >> (64 - LINK_NUMBER_AT) | (uint64_t) (l - self->links) << LINK_NUMBER_AT;
}

int links_add (links_t *self, const char *endpoint, bool local, const uint8_t *uuid,
               sluice_error_t *err)
{
    plane_t *plane = local ? &self->local : &self->net;
    if (find_endpoint (self, endpoint) || (uuid && links_know (self, uuid)) ||
        is_banned (self, endpoint))
        return 0;
    if (!plane->router)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: nodes on the network need a share and its key",
                            endpoint);
    if (strlen (endpoint) >= sizeof self->links->endpoint)
        return sluice_fail (err, SLUICE_EINPUT, "%.60s...: the endpoint is too long",
                            endpoint);
    if (!local && !has_room (self))
        return sluice_fail (
            err, SLUICE_ESYSTEM,
            "this process may open descriptors for %u nodes only; see: ulimit -n",
            self->room);
    link_t *l = free_link (self, endpoint);
    if (!l)
        return sluice_fail (err, SLUICE_ESYSTEM, "%s: more than %d nodes", endpoint,
                            MAX_LINKS);
    l->plane = plane;
    l->local = local;
    l->epoch = 1;
    l->since = l->heard = clock_ms ();
    l->stall_ms = faults_ms (STALL_MS);
    snprintf (l->endpoint, sizeof l->endpoint, "%s", endpoint);
    if (uuid) {
        memcpy (l->uuid, uuid, 16);
        l->has_uuid = true;
    }
    l->token = random_name (self, l);
    if (!local && !self->job->options.curve)
        random_bytes (l->secret, sizeof l->secret);
    l->route = random_name (self, l) | 1; /* it must not begin with a zero byte */
    if (!local &&
        curve_connect_as (plane->router, cluster_member_pair (self->job->cluster),
                          cluster_node_pair (self->job->cluster)->public_key, err))
        return -1;
    zmq_setsockopt (plane->router, ZMQ_CONNECT_ROUTING_ID, &l->route, sizeof l->route);
    if (zmq_connect (plane->router, endpoint))
        return sluice_fail (
            err, SLUICE_EINPUT,
            "%s: not an endpoint (%s); nodes are named as tcp://HOST:PORT", endpoint,
            zmq_strerror (zmq_errno ()));
    if (local)
        handed_begin (self->handed, self->handover);
    l->state = LINK_HELLO;
    send_hello (self, l);
    return 0;
}

static void wipe (link_t *l)
{
    sodium_memzero (l->secret, sizeof l->secret);
    sodium_memzero (l->header_key, sizeof l->header_key);
}

static void drop_task (void *arg, const task_t *task)
{
    wthread_drop (((links_t *) arg)->writer, task->task, task->attempt);
}

void link_tell (links_t *self, const char *format, ...)
{
    char line[500];
    va_list args;
    va_start (args, format);
    vsnprintf (line, sizeof line, format, args);
    va_end (args);
    text_make_utf8 (line); /* it may be cut within a character */
    text_make_plain (line);
    if (self->news)
        self->news (self->news_arg, line);
}

/* Was this endpoint given up before? */
static bool gave_up (const links_t *self, const link_t *l)
{
    for (unsigned i = 0; i < self->nlinks; i++)
        if (&self->links[i] != l && strcmp (self->links[i].endpoint, l->endpoint) == 0)
            return true;
    return false;
}

void link_lose (links_t *self, link_t *l, const char *why)
{
    unsigned node = (unsigned) (l - self->links);
    if (l->state == LINK_READY) {
        self->counts.lost++;
        link_tell (self, "lost node %s (%s): %s; its tasks go to others", l->host,
                   l->endpoint, why);
    } else if (!l->answered && !l->told && !gave_up (self, l)) {
        link_tell (self, "%s: %s; still trying", l->endpoint, why);
        l->told = true;
    }
    link_send (self, l, &(msg_t){.type = MSG_BYE, .text = {.text = (char *) why}});
    if (l->streaming)
        zmq_disconnect (l->plane->pull, l->data_endpoint);
    zmq_disconnect (l->plane->router, l->endpoint);
    sched_leave (self->sched, node, drop_task, self);
    gate_leave (self->gate, node);
    wipe (l);
    l->state = LINK_FREE;
}

void link_cut_off (links_t *self, link_t *l, const char *why)
{
    l->misbehaved = true;
    self->counts.cut_off++;
    link_lose (self, l, why);
    if (is_banned (self, l->endpoint))
        link_tell (self, "%s: cut off %d times; it is not asked again", l->endpoint,
                   MOST_CUTS);
}

void links_lose_local (links_t *self, const char *why)
{
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].local && self->links[i].state)
            link_lose (self, &self->links[i], why);
}

void links_destroy (links_t **self_p, const char *why)
{
    links_t *self = *self_p;
    if (!self)
        return;
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].state)
            link_send (self, &self->links[i],
                       &(msg_t){.type = MSG_BYE, .text = {.text = (char *) why}});
    plane_close (&self->local);
    plane_close (&self->net);
    handed_destroy (&self->handed);
    opener_destroy (&self->opener);
    for (unsigned i = 0; i < self->nlinks; i++)
        wipe (&self->links[i]);
    free (self->links);
    free (self->inputs);
    free (self);
    *self_p = NULL;
}

void link_revoke (links_t *self, unsigned node, const task_t *task)
{
    if (links_at (self, node))
        link_send_task (self, &self->links[node], MSG_REVOKE, task);
    if (task->task) /* else nobody was ever to compute it */
        wthread_drop (self->writer, task->task, task->attempt);
}

/* Nothing of this task is wanted, and these items of it have failed for good. */
static void give_up (links_t *self, const sched_task_t *t, uint64_t first, uint64_t stop)
{
    task_t task = t->task, other = task;
    other.attempt = t->other_attempt;
    link_revoke (self, t->node, &task);
    if (t->other != SCHED_NOBODY)
        link_revoke (self, t->other, &other);
    msg_failed_t failed = {.task = task.task,
                           .attempt = task.attempt,
                           .item = first,
                           .reason = (char *) "cancelled",
                           .exit_code = -1,
                           .stderr_tail = (char *) ""};
    wthread_failure (self->writer, t->node, &failed, first, stop, true);
}

sched_where_t links_cancel (links_t *self, uint64_t task, sched_task_t *out)
{
    sched_where_t where = sched_cancel (self->sched, task, out);
    if (where == SCHED_RUNNING || where == SCHED_PENDING)
        give_up (self, out, out->task.first, out->task.stop);
    return where;
}

typedef struct {
    links_t *links;
    sched_cut_fn *cut;
    void *arg;
} canceller_t;

static void cut_items (void *arg, const sched_task_t *task, uint64_t first, uint64_t stop)
{
    const canceller_t *self = arg;
    give_up (self->links, task, first, stop);
    if (self->cut)
        self->cut (self->arg, task, first, stop);
}

void links_cancel_items (links_t *self, uint64_t first, uint64_t stop, sched_cut_fn *cut,
                         void *arg)
{
    canceller_t canceller = {self, cut, arg};
    sched_cancel_items (self->sched, first, stop, cut_items, &canceller);
}

void links_pause (links_t *self, bool pause)
{
    self->paused = pause;
}

void links_stop (links_t *self)
{
    self->stopped = true;
    for (unsigned i = 0; i < self->nlinks; i++) {
        link_t *l = &self->links[i];
        if (l->state == LINK_FREE)
            continue;
        link_send (self, l, &(msg_t){.type = MSG_BYE, .text = {.text = (char *) "over"}});
        l->state = LINK_FREE; /* the sockets close with us: BYE has time to get out */
    }
}

size_t links_sockets (const links_t *self, void **sockets)
{
    size_t n = 0;
    void *all[] = {self->local.router, self->local.pull, self->net.router,
                   self->net.pull};
    for (size_t i = 0; i < 4; i++)
        if (all[i])
            sockets[n++] = all[i];
    return n;
}

void links_written (links_t *self, const wthread_event_t *event)
{
    gate_written (self->gate, event->cost);
    const link_t *from = links_at (self, event->node);
    if (from && from->local)
        handed_written (self->handed);
    if (event->done)
        sched_done (self->sched, event->node, event->task, event->attempt, event->stop,
                    event->seconds);
    if (event->type == WTHREAD_FAILED)
        /* Its node did what it should, and goes on; what it may still send of the
         * attempt is not wanted. */
        link_fail_task (self, &self->links[event->node],
                        &(msg_failed_t){.task = event->task,
                                        .attempt = event->attempt,
                                        .item = event->item,
                                        .reason = (char *) (uintptr_t) event->error.text,
                                        .exit_code = -1,
                                        .stderr_tail = (char *) (uintptr_t) ""});
    if (event->type != WTHREAD_REFUSED)
        return;
    /* Rows that do not continue the attempt, or a task out of the blue: the
     * node is not to be relied on. */
    uint64_t first, stop;
    sched_failed (self->sched, event->node, event->task, event->attempt, 0, true, &first,
                  &stop);
    wthread_drop (self->writer, event->task, event->attempt);
    if (links_at (self, event->node))
        link_cut_off (self, &self->links[event->node], event->error.text);
}

void links_counts (const links_t *self, links_counts_t *counts)
{
    *counts = self->counts;
    counts->ready = counts->opening = counts->lacking = counts->ready_cores = 0;
    for (unsigned i = 0; i < self->nlinks; i++) {
        if (self->links[i].state == LINK_READY) {
            counts->ready++;
            counts->ready_cores += self->links[i].slots;
        }
        counts->opening += self->links[i].state == LINK_HELLO && self->links[i].answered;
        counts->lacking += self->links[i].state == LINK_LACKS;
    }
}

uint64_t links_unwritten (const links_t *self, const link_t *l)
{
    return l->position - link_received (self, l);
}

const link_t *links_at (const links_t *self, unsigned node)
{
    return node < self->nlinks && self->links[node].state ? &self->links[node] : NULL;
}

unsigned links_size (const links_t *self)
{
    return self->nlinks;
}
