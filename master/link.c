/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/link.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <xxhash.h>
#include <zmq.h>

#include "master/run.h"
#include "proto/clock.h"
#include "proto/faults.h"
#include "proto/text.h"

enum {
    MAX_LINKS = 4096,
    RECEIVE_AT_ONCE = 64,
    TOLD_LACKS = 64,
    COPY_MS = 100,
    COPY_NODES = 16,
    SAID_TIMES = 4,
    MOST_CORES = 4096,   /* of one node, as it may claim */
    MOST_MALFORMED = 64, /* messages of a node, until it is cut off */
    MOST_RESYNCS = 6,    /* without a piece: after ten minutes if it is silence */
    MOST_CUTS = 3        /* of an endpoint: then it is not asked again */
};
/* Nodes that are there at the start answer HELLO, and most have a result, within this
 * time, be they a thousand; their parts of the window are kept for them so long. */
enum { GATHER_MS = 30000 };
/* Descriptors that a node takes (messages, results), and what is kept for all else. */
enum { FDS_PER_NODE = 2, FDS_KEPT = 64 };

struct links {
    const job_t *job;
    gate_t *gate;
    sched_t *sched;
    wthread_t *writer;
    plane_t local, net;
    char *inputs;
    link_t *links;
    unsigned nlinks;
    links_counts_t counts;
    links_failed_fn *failed;
    void *failed_arg;
    trace_t *trace;                  /* NULL: none */
    uint64_t told_lacks[TOLD_LACKS]; /* hashes of what was said already */
    unsigned ntold;
    links_news_fn *news;
    void *news_arg;
    bool stopped, paused;
    int64_t copied;     /* when a copy was last looked for */
    unsigned copy_next; /* for which node next */
    int64_t began;      /* ms */
    unsigned room;      /* nodes that there are descriptors for */
    bool told_room;
};

static void tell (links_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

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

static void send_to (links_t *self, const link_t *l, msg_t *msg)
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

/* Send a message about one task, now and with the next PINGs: it does no harm when it
 * comes twice, and its loss would cost as much as the task takes. */
static void send_task (links_t *self, link_t *l, msg_type_t type, const task_t *task)
{
    task_t one = *task;
    l->reminders[l->nreminders++ % LINK_REMINDERS] = (reminder_t){type, *task, 1};
    send_to (self, l, &(msg_t){.type = type, .tasks = {.ntasks = 1, .tasks = &one}});
}

static void remind (links_t *self, link_t *l)
{
    for (unsigned i = 0; i < LINK_REMINDERS; i++) {
        reminder_t *r = &l->reminders[i];
        if (!r->type || r->times >= SAID_TIMES)
            continue;
        r->times++;
        send_to (self, l,
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
    h->kernel = job->kernel_name;
    memcpy (h->kernel_hash, kernel_hash (job->kernel), FILE_HASH_BYTES);
    h->inputs = self->inputs ? self->inputs : "";
    h->seed = job->seed;
    h->items = plan->items;
    h->memory = job->options.memory;
    h->segment = job->segment;
    h->cores_per_task = job->cores_per_task;
    h->ntables = plan->ntables;
    h->tables = plan->tables;
    h->nfiles = plan->nfiles;
    h->files = plan->files;
    h->params = job->params;
    send_to (self, l, &msg);
}

static void send_credit (links_t *self, link_t *l, unsigned node)
{
    l->told_granted = gate_granted (self->gate, node);
    l->told_position = l->position;
    send_to (self, l,
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
        tell (self,
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
    random_bytes (&l->token, sizeof l->token);
    random_bytes (&l->route, sizeof l->route);
    l->route |= 1; /* a name must not begin with a zero byte */
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
    l->state = LINK_HELLO;
    send_hello (self, l);
    return 0;
}

static void drop_task (void *arg, const task_t *task)
{
    wthread_drop (((links_t *) arg)->writer, task->task, task->attempt);
}

static void tell (links_t *self, const char *format, ...)
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

/* The node is gone, or has shown that it cannot be relied on. What it was
 * computing is pending again; what it still sends counts for nothing. */
static void lose (links_t *self, link_t *l, const char *why)
{
    unsigned node = (unsigned) (l - self->links);
    if (l->state == LINK_READY) {
        self->counts.lost++;
        tell (self, "lost node %s (%s): %s; its tasks go to others", l->host, l->endpoint,
              why);
    } else if (!l->answered && !l->told && !gave_up (self, l)) {
        tell (self, "%s: %s; still trying", l->endpoint, why);
        l->told = true;
    }
    send_to (self, l, &(msg_t){.type = MSG_BYE, .text = {.text = (char *) why}});
    if (l->streaming)
        zmq_disconnect (l->plane->pull, l->data_endpoint);
    zmq_disconnect (l->plane->router, l->endpoint);
    sched_leave (self->sched, node, drop_task, self);
    gate_leave (self->gate, node);
    l->state = LINK_FREE;
}

/* What it did no node does: broken, or another's program. */
static void cut_off (links_t *self, link_t *l, const char *why)
{
    l->misbehaved = true;
    self->counts.cut_off++;
    lose (self, l, why);
    if (is_banned (self, l->endpoint))
        tell (self, "%s: cut off %d times; it is not asked again", l->endpoint,
              MOST_CUTS);
}

void links_lose_local (links_t *self, const char *why)
{
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].local && self->links[i].state)
            lose (self, &self->links[i], why);
}

void links_destroy (links_t **self_p, const char *why)
{
    links_t *self = *self_p;
    if (!self)
        return;
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].state)
            send_to (self, &self->links[i],
                     &(msg_t){.type = MSG_BYE, .text = {.text = (char *) why}});
    plane_close (&self->local);
    plane_close (&self->net);
    free (self->links);
    free (self->inputs);
    free (self);
    *self_p = NULL;
}

/* Nothing of this attempt is wanted any more. */
static void revoke (links_t *self, unsigned node, const task_t *task)
{
    if (links_at (self, node))
        send_task (self, &self->links[node], MSG_REVOKE, task);
    if (task->task) /* else nobody was ever to compute it */
        wthread_drop (self->writer, task->task, task->attempt);
}

/* Nothing of this task is wanted, and these items of it have failed for good. */
static void give_up (links_t *self, const sched_task_t *t, uint64_t first, uint64_t stop)
{
    task_t task = t->task, other = task;
    other.attempt = t->other_attempt;
    revoke (self, t->node, &task);
    if (t->other != SCHED_NOBODY)
        revoke (self, t->other, &other);
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
        send_to (self, l, &(msg_t){.type = MSG_BYE, .text = {.text = (char *) "over"}});
        l->state = LINK_FREE; /* the sockets close with us: BYE has time to get out */
    }
}

/* ---- what nodes say ------------------------------------------------------------ */

/* The data endpoint as seen from here: a wildcard host is the one we reached
 * the node by. */
static bool data_endpoint (const link_t *l, const char *told, char *out, size_t size)
{
    if (l->local)
        return strncmp (told, "ipc://", 6) == 0 &&
               snprintf (out, size, "%s", told) < (int) size;
    uint64_t number = 0;
    const char *port = strrchr (told, ':'), *colon = strrchr (l->endpoint, ':');
    if (strncmp (told, "tcp://", 6) || !port || !colon ||
        text_number (port + 1, strlen (port + 1), UINT16_MAX, &number) !=
            strlen (port + 1) ||
        number == 0)
        return false;
    return snprintf (out, size, "%.*s%s", (int) (colon - l->endpoint), l->endpoint,
                     port) < (int) size;
}

static void add_isa (links_t *self, const char *isa)
{
    char *all = self->counts.isa;
    size_t used = strlen (all), room = sizeof self->counts.isa;
    if (*isa && !strstr (all, isa) && used + strlen (isa) + 2 < room)
        snprintf (all + used, room - used, "%s%s", used ? "," : "", isa);
}

/* A node cannot take part: say so once, though it is asked again and again. */
static void tell_lacks (links_t *self)
{
    uint64_t is = XXH3_64bits (self->counts.lacks, strlen (self->counts.lacks));
    for (unsigned i = 0; i < self->ntold; i++)
        if (self->told_lacks[i] == is)
            return;
    if (self->ntold == TOLD_LACKS)
        return;
    self->told_lacks[self->ntold++] = is;
    if (self->job->cluster) /* else it is the only one, and the run ends with this */
        tell (self, "%.400s; this node takes no part", self->counts.lacks);
}

static void on_welcome (links_t *self, link_t *l, const msg_welcome_t *w)
{
    unsigned node = (unsigned) (l - self->links);
    sluice_error_t err = {0};
    if (w->token != l->token || l->state == LINK_LACKS)
        return;
    snprintf (l->host, sizeof l->host, "%s", w->host);
    text_make_utf8 (l->host);
    text_make_plain (l->host);
    text_make_plain (w->lacks);
    if (*w->lacks) {
        l->state = LINK_LACKS;
        l->since = clock_ms ();
        snprintf (self->counts.lacks, sizeof self->counts.lacks, "%s: %s", l->host,
                  w->lacks);
        tell_lacks (self);
        return;
    }
    if (l->state == LINK_HELLO) {
        for (unsigned i = 0; i < self->nlinks; i++) {
            const link_t *o = &self->links[i];
            if (o != l && o->state && o->has_uuid && memcmp (o->uuid, w->uuid, 16) == 0) {
                lose (self, l, "linked already under another address");
                return;
            }
        }
        if (w->slots == 0 || w->slots > MOST_CORES || w->cores > MOST_CORES) {
            cut_off (self, l, "its WELCOME cannot be right");
            return;
        }
        memcpy (l->uuid, w->uuid, 16);
        l->has_uuid = true;
        snprintf (l->isa, sizeof l->isa, "%s", w->isa);
        l->cores = w->cores;
        l->slots = w->slots;
        if (gate_join (self->gate, node) || sched_join (self->sched, node, w->slots)) {
            lose (self, l, "out of memory");
            return;
        }
        l->state = LINK_READY;
        l->was_ready = true;
        l->moved = clock_ms ();
        self->counts.ever++;
        self->counts.cores += w->slots;
        self->counts.used_net |= !l->local;
        self->counts.used_local |= l->local;
        add_isa (self, w->isa);
        wthread_node (self->writer, node, w);
    }
    if (w->epoch != l->epoch || l->streaming)
        return; /* an answer to an older RESYNC */
    if (!data_endpoint (l, w->endpoint, l->data_endpoint, sizeof l->data_endpoint) ||
        (!l->local &&
         curve_connect_as (l->plane->pull, &l->plane->data_pair, w->data_key, &err)) ||
        zmq_connect (l->plane->pull, l->data_endpoint)) {
        cut_off (self, l, "its data endpoint cannot be used");
        return;
    }
    l->streaming = true;
}

static void send_resync (links_t *self, const link_t *l)
{
    send_to (self, l, &(msg_t){.type = MSG_RESYNC, .credit = {l->epoch, 0, l->position}});
}

static void resync (links_t *self, link_t *l)
{
    if (++l->resyncs > MOST_RESYNCS) {
        cut_off (self, l, "no results arrive from it, though it has some");
        return;
    }
    if (l->streaming)
        zmq_disconnect (l->plane->pull, l->data_endpoint);
    l->streaming = false;
    l->epoch++;
    l->moved = clock_ms ();
    self->counts.resyncs++;
    send_resync (self, l);
}

static void fail_task (links_t *self, link_t *l, const msg_failed_t *f)
{
    unsigned node = (unsigned) (l - self->links);
    uint64_t first, stop;
    int final = sched_failed (self->sched, node, f->task, f->attempt, f->item, f->crashed,
                              &first, &stop);
    if (final < 0)
        return;
    wthread_drop (self->writer, f->task, f->attempt);
    wthread_failure (self->writer, node, f, first, stop, final == 1);
    if (self->failed)
        self->failed (self->failed_arg, l, f, first, stop, final == 1);
}

static void on_failed (links_t *self, link_t *l, const msg_failed_t *f)
{
    unsigned node = (unsigned) (l - self->links);
    text_make_plain (f->reason);
    /* Else it is late: its result is with the writer, or it was dropped. */
    if (sched_running (self->sched, node, f->task, f->attempt))
        fail_task (self, l, f);
}

static void on_malformed (links_t *self, link_t *l, const char *what)
{
    if (self->counts.malformed++ == 0)
        tell (self, "dropped from %s (%s): %s (said once; --json counts them)", l->host,
              l->endpoint, what);
    if (++l->malformed > MOST_MALFORMED)
        cut_off (self, l, "it does not say what a node says");
}

static void on_message (links_t *self, link_t *l, const msg_t *msg)
{
    unsigned node = (unsigned) (l - self->links);
    sluice_error_t err = {0};
    l->heard = clock_ms ();
    l->answered = true;
    switch (msg->type) {
    case MSG_WELCOME:
        on_welcome (self, l, &msg->welcome);
        break;
    case MSG_SLOTS:
        if (msg->slots.tasks > l->credit)
            l->credit = msg->slots.tasks;
        break;
    case MSG_OFFER:
        if (l->state == LINK_READY &&
            gate_offer (self->gate, node, msg->offer.from, msg->offer.sizes,
                        msg->offer.nsizes, &err))
            cut_off (self, l, err.text);
        break;
    case MSG_FAILED:
        if (l->state == LINK_READY)
            on_failed (self, l, &msg->failed);
        break;
    case MSG_PING:
        send_to (self, l, &(msg_t){.type = MSG_PONG, .ping = {.seq = msg->ping.seq}});
        break;
    case MSG_PONG:
        l->held = msg->ping.held;
        /* An ASSIGN sent before the PING that this answers was lost. */
        if (l->state == LINK_READY && msg->ping.seq == l->ping_seq &&
            msg->ping.assigned < l->ping_assigned)
            lose (self, l, "a message to it was lost");
        break;
    case MSG_BYE:
        lose (self, l, msg->text.text);
        break;
    default:
        on_malformed (self, l, "a message that is not for a master");
    }
}

static link_t *by_route (links_t *self, const zmq_msg_t *route)
{
    uint64_t name;
    if (zmq_msg_size (route) != sizeof name)
        return NULL;
    memcpy (&name, zmq_msg_data ((zmq_msg_t *) route), sizeof name);
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].state && self->links[i].route == name)
            return &self->links[i];
    return NULL;
}

static link_t *by_token (links_t *self, uint64_t token)
{
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].state == LINK_READY && self->links[i].token == token)
            return &self->links[i];
    return NULL;
}

static void receive_control (links_t *self, plane_t *plane)
{
    for (int i = 0; plane->router && i < RECEIVE_AT_ONCE; i++) {
        zmq_msg_t frame[2];
        zmq_msg_init (&frame[0]);
        zmq_msg_init (&frame[1]);
        bool whole, there = plane_receive (plane->router, frame, &whole);
        link_t *l = there && whole ? by_route (self, &frame[0]) : NULL;
        msg_t msg;
        sluice_error_t err = {0};
        if (l && self->trace)
            trace_message (self->trace, TRACE_IN, l->endpoint, zmq_msg_data (&frame[1]),
                           zmq_msg_size (&frame[1]));
        if (l)
            faults_received (zmq_msg_data (&frame[1]), zmq_msg_size (&frame[1]));
        if (l && msg_decode (zmq_msg_data (&frame[1]), zmq_msg_size (&frame[1]), &msg,
                             &err) == 0) {
            if (memcmp (msg.run, self->job->run, RUN_BYTES) == 0)
                on_message (self, l, &msg);
            else
                self->counts.stale_frames++;
            msg_clear (&msg);
        } else if (l) {
            on_malformed (self, l, err.text);
        }
        zmq_msg_close (&frame[0]);
        zmq_msg_close (&frame[1]);
        if (!there)
            break;
    }
}

/* Can this attempt not be one that the node had? What it had may be late. */
static bool never_had (const links_t *self, unsigned node, const piece_t *piece)
{
    sched_task_t t;
    sched_where_t where = sched_find (self->sched, piece->task, &t);
    return where == SCHED_UNCUT ||
           (where == SCHED_RUNNING &&
            ((t.node != node && t.task.attempt == piece->attempt) ||
             (t.other != SCHED_NOBODY && t.other != node &&
              t.other_attempt == piece->attempt)));
}

/* A piece. Returns true if the frames were handed over. */
static bool on_piece (links_t *self, zmq_msg_t frame[2])
{
    piece_t piece;
    uint64_t cost = zmq_msg_size (&frame[0]) + zmq_msg_size (&frame[1]);
    if (piece_decode (zmq_msg_data (&frame[0]), zmq_msg_size (&frame[0]),
                      zmq_msg_size (&frame[1]), &piece, NULL)) {
        self->counts.malformed++;
        return false;
    }
    link_t *l = memcmp (piece.run, self->job->run, RUN_BYTES) == 0
                    ? by_token (self, piece.token)
                    : NULL;
    if (self->trace)
        trace_piece (self->trace, TRACE_IN, l ? l->endpoint : "?",
                     zmq_msg_data (&frame[0]), zmq_msg_size (&frame[0]),
                     zmq_msg_size (&frame[1]));
    if (!l || piece.epoch != l->epoch || piece.position < l->position) {
        self->counts.stale_frames++;
        return false;
    }
    if (piece.position > l->position) { /* something was lost on the way */
        resync (self, l);
        return false;
    }
    unsigned node = (unsigned) (l - self->links);
    if (!gate_received (self->gate, node, cost)) {
        cut_off (self, l, "it pushed more than it was granted");
        return false;
    }
    l->position += cost;
    l->heard = l->moved = clock_ms ();
    l->stall_ms = faults_ms (STALL_MS);
    l->resyncs = 0;
    const task_t *task = sched_running (self->sched, node, piece.task, piece.attempt);
    if (task && piece.kind == PIECE_DONE &&
        (piece.first != task->first || piece.stop > task->stop ||
         piece.stop < piece.first)) {
        gate_written (self->gate, cost);
        cut_off (self, l, "it sent a result for items it was not given");
        return false;
    }
    if (!task && piece.kind != PIECE_EMPTY) {
        self->counts.unwanted++;
        if (never_had (self, node, &piece)) {
            gate_written (self->gate, cost);
            cut_off (self, l, "it sent a result of a task that it was not given");
            return false;
        }
    }
    /* The writer is told nothing of an attempt known to be dead. */
    if (piece.kind == PIECE_EMPTY || !task || self->stopped ||
        wthread_piece (self->writer, node, &frame[0], &frame[1], cost)) {
        gate_written (self->gate, cost);
        return false;
    }
    if (piece.kind == PIECE_DONE) {
        task_t late;
        unsigned other =
            sched_delivered (self->sched, node, piece.task, piece.attempt, &late);
        if (other != SCHED_NOBODY)
            revoke (self, other, &late);
    }
    return true;
}

static void receive_data (links_t *self, plane_t *plane)
{
    for (int i = 0; plane->pull && i < RECEIVE_AT_ONCE; i++) {
        zmq_msg_t frame[2];
        zmq_msg_init (&frame[0]);
        zmq_msg_init (&frame[1]);
        bool whole, there = plane_receive (plane->pull, frame, &whole);
        if (there && !whole)
            self->counts.malformed++;
        if (there && whole)
            on_piece (self, frame);
        zmq_msg_close (&frame[0]);
        zmq_msg_close (&frame[1]);
        if (!there)
            break;
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

void links_receive (links_t *self)
{
    receive_control (self, &self->local);
    receive_control (self, &self->net);
    receive_data (self, &self->local);
    receive_data (self, &self->net);
}

/* ---- by time ---------------------------------------------------------------------- */

static void send_tasks (links_t *self, link_t *l, size_t n, task_t *tasks)
{
    send_to (self, l,
             &(msg_t){.type = MSG_ASSIGN,
                      .tasks = {.before = l->assigned, .ntasks = n, .tasks = tasks}});
    l->assigned += n;
}

static void assign (links_t *self, link_t *l, int64_t now)
{
    unsigned node = (unsigned) (l - self->links);
    task_t tasks[256];
    size_t n = 0;
    if (self->paused)
        return;
    /* A node asks for what its slots can take, and as much ahead. */
    if (l->credit > l->assigned && l->credit - l->assigned > 4 * (uint64_t) l->slots) {
        cut_off (self, l, "it asks for more tasks than it has slots");
        return;
    }
    while (n < sizeof tasks / sizeof *tasks && l->assigned + n < l->credit &&
           sched_next (self->sched, node, (double) now * 1e-3, &tasks[n]))
        n++;
    if (n > 0)
        send_tasks (self, l, n, tasks);
}

/* Some node has a free slot and nothing is pending: take from the slowest. */
static void shed (links_t *self, int64_t now)
{
    bool idle = false;
    for (unsigned i = 0; i < self->nlinks && !idle; i++)
        idle = self->links[i].state == LINK_READY &&
               self->links[i].credit > self->links[i].assigned;
    unsigned node;
    task_t task;
    if (idle && sched_shed (self->sched, (double) now * 1e-3, &node, &task))
        send_task (self, &self->links[node], MSG_SHED, &task);
}

/* And what cannot be taken is computed there too; the first that is done counts. */
static void copy (links_t *self, int64_t now)
{
    task_t task;
    if (self->paused || now - self->copied < COPY_MS)
        return;
    self->copied = now;
    for (unsigned i = 0; i < self->nlinks; i++) {
        link_t *l = &self->links[i];
        if (l->state == LINK_READY && gate_wants (self->gate, i))
            sched_hindered (self->sched, i, (double) now * 1e-3);
    }
    /* Few at a time: each looks at all that runs. */
    for (unsigned i = 0, asked = 0; i < self->nlinks && asked < COPY_NODES; i++) {
        unsigned node = self->copy_next++ % self->nlinks;
        link_t *l = &self->links[node];
        if (l->state != LINK_READY || l->credit <= l->assigned)
            continue;
        asked++;
        while (l->credit > l->assigned &&
               sched_copy (self->sched, node, (double) now * 1e-3, &task))
            send_tasks (self, l, 1, &task);
    }
}

static void tick_link (links_t *self, link_t *l, int64_t now)
{
    unsigned node = (unsigned) (l - self->links);
    if (now - l->heard > faults_ms (SILENCE_MS)) {
        lose (self, l, "no answer for 10 s");
        return;
    }
    if (l->state == LINK_LACKS) {
        /* What it lacks may come: memory that an ended run still has, a file. */
        if (now - l->since > faults_ms (LACKS_MS))
            lose (self, l, "asked anew");
        return;
    }
    if (l->state == LINK_HELLO && now - l->since > OPEN_MS) {
        lose (self, l, "it did not get ready within 10 minutes");
        return;
    }
    if (now - l->pinged >= faults_ms (PING_MS)) {
        l->pinged = now;
        l->ping_assigned = l->assigned;
        send_to (self, l,
                 &(msg_t){.type = MSG_PING,
                          .ping = {.seq = ++l->ping_seq, .assigned = l->assigned}});
        /* Said again each second, so that a lost message costs no more. */
        if (l->state == LINK_READY) {
            send_credit (self, l, node);
            remind (self, l);
            if (!l->streaming)
                send_resync (self, l);
        }
    }
    if (l->state != LINK_READY)
        return;
    assign (self, l, now);
    if (l->state != LINK_READY)
        return; /* it was cut off */
    if (l->told_position != l->position)
        send_credit (self, l, node);
    bool waiting = gate_granted (self->gate, node) > l->position || !l->streaming ||
                   (l->held > 0 && !gate_wants (self->gate, node));
    if (!waiting)
        l->moved = now;
    if (now - l->moved > l->stall_ms) {
        l->stall_ms *= 2; /* a slow line needs longer than one piece takes */
        resync (self, l);
    }
}

void links_tick (links_t *self, int64_t now)
{
    unsigned node, gathering = 0;
    uint64_t granted;
    for (unsigned i = 0; now - self->began < GATHER_MS && i < self->nlinks; i++)
        gathering +=
            self->links[i].state == LINK_HELLO || self->links[i].state == LINK_READY;
    gate_expect (self->gate, gathering);
    while (gate_next (self->gate, &node, &granted))
        if (node < self->nlinks && self->links[node].state == LINK_READY) {
            link_t *l = &self->links[node];
            if (l->told_granted == l->position)
                l->moved = now; /* the clock of a grant starts with it */
            send_credit (self, l, node);
        }
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].state)
            tick_link (self, &self->links[i], now);
    shed (self, now);
    copy (self, now);
}

void links_slept (links_t *self, int64_t ms)
{
    for (unsigned i = 0; i < self->nlinks; i++) {
        link_t *l = &self->links[i];
        l->heard += ms;
        l->moved += ms;
        l->since += ms;
        l->pinged = 0; /* ask at once */
    }
}

void links_written (links_t *self, const wthread_event_t *event)
{
    gate_written (self->gate, event->cost);
    if (event->done)
        sched_done (self->sched, event->node, event->task, event->attempt, event->stop,
                    event->seconds);
    if (event->type == WTHREAD_FAILED)
        /* Its node did what it should, and goes on; what it may still send of the
         * attempt is not wanted. */
        fail_task (self, &self->links[event->node],
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
        cut_off (self, &self->links[event->node], event->error.text);
}

void links_counts (const links_t *self, links_counts_t *counts)
{
    *counts = self->counts;
    counts->ready = counts->opening = counts->lacking = 0;
    for (unsigned i = 0; i < self->nlinks; i++) {
        counts->ready += self->links[i].state == LINK_READY;
        counts->opening += self->links[i].state == LINK_HELLO && self->links[i].answered;
        counts->lacking += self->links[i].state == LINK_LACKS;
    }
}

const link_t *links_at (const links_t *self, unsigned node)
{
    return node < self->nlinks && self->links[node].state ? &self->links[node] : NULL;
}

unsigned links_size (const links_t *self)
{
    return self->nlinks;
}
