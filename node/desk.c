/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/desk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/vmath.h"
#include "node/agent.h"
#include "node/announce.h"
#include "proto/faults.h"
#include "proto/json.h"
#include "proto/machine.h"

enum {
    MESSAGES_PER_TURN = 256,
    ELSEWHERE = 4,     /* routes of one run that were refused */
    RIVAL_MS = 2500,   /* two heartbeats of a master: the first link is silent */
    CANCELLED = 32,    /* runs that are remembered as cancelled here */
    STRANGER_MS = 5000 /* between answers to messages of runs that are not here */
};

/* A second link of a run that is here already. */
typedef struct {
    bool waiting;
    int64_t since;
    route_t route;
    msg_t hello;
} rival_t;

typedef struct {
    session_t *session;
    rival_t rival;
    route_t elsewhere[ELSEWHERE];
    unsigned nelsewhere;
    unsigned cores; /* its share */
} entry_t;

struct desk {
    host_t *host;
    entry_t entries[AGENT_MAX_SESSIONS];
    unsigned n;
    bool wanting, more; /* more: messages were left in the socket */
    zmq_pollitem_t *items;
    size_t room;
    int *fds;
    uint64_t malformed, unexpected, refused_runs;
    bool told_strangers;
    int64_t answered; /* the last stranger */
    uint8_t stranger[RUN_BYTES];
    uint8_t cancelled[CANCELLED][RUN_BYTES];
    unsigned ncancelled; /* so far: the oldest gives way */
};

desk_t *desk_new (host_t *host, sluice_error_t *err)
{
    desk_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->host = host;
    return self;
}

void desk_forget (desk_t *self, const char *why, int64_t now)
{
    for (unsigned i = 0; i < self->n; i++) {
        session_end (self->entries[i].session, why, now);
        msg_clear (&self->entries[i].rival.hello);
        self->entries[i].rival.waiting = false;
    }
}

void desk_close (desk_t *self, const char *why, int64_t now)
{
    desk_forget (self, why, now);
}

void desk_destroy (desk_t **self_p)
{
    desk_t *self = *self_p;
    if (!self)
        return;
    for (unsigned i = 0; i < self->n; i++) {
        msg_clear (&self->entries[i].rival.hello);
        session_destroy (&self->entries[i].session);
    }
    free (self->items);
    free (self->fds);
    free (self);
    *self_p = NULL;
}

/* ---- polling ------------------------------------------------------------ */

size_t desk_items (desk_t *self, size_t before, zmq_pollitem_t **items)
{
    /* a worker has one or two descriptors, a run some of its own */
    size_t each = 2 * (size_t) self->host->nslots + 16;
    size_t room = before + (each + 1) * (self->n ? self->n : 1);
    *items = NULL;
    if (room > self->room) {
        zmq_pollitem_t *grown = realloc (self->items, room * sizeof *grown);
        if (!grown)
            return 0;
        self->items = grown;
        self->room = room;
    }
    if (!self->fds && !(self->fds = malloc (each * sizeof *self->fds)))
        return 0;
    size_t n = before;
    for (unsigned i = 0; i < self->n; i++) {
        const session_t *session = self->entries[i].session;
        size_t count = session_fds (session, self->fds, each);
        for (size_t k = 0; k < count; k++)
            self->items[n++] = (zmq_pollitem_t){.fd = self->fds[k], .events = ZMQ_POLLIN};
        void *blocked = session_blocked (session);
        if (blocked)
            self->items[n++] = (zmq_pollitem_t){.socket = blocked, .events = ZMQ_POLLOUT};
    }
    *items = self->items;
    return n - before;
}

desk_pace_t desk_pace (const desk_t *self)
{
    if (self->more)
        return DESK_HURRY;
    for (unsigned i = 0; i < self->n; i++)
        if (session_hurried (self->entries[i].session))
            return DESK_HURRY;
    if (self->wanting)
        return DESK_WANT;
    return self->n > 0 ? DESK_RUNS : DESK_IDLE;
}

/* ---- sessions come and go ----------------------------------------------- */

static entry_t *find (desk_t *self, const uint8_t *run)
{
    for (unsigned i = 0; i < self->n; i++)
        if (!session_ended (self->entries[i].session) &&
            memcmp (session_run (self->entries[i].session), run, RUN_BYTES) == 0)
            return &self->entries[i];
    return NULL;
}

/* Is memory about to come back from sessions that have ended? */
static bool some_ended (const desk_t *self)
{
    for (unsigned i = 0; i < self->n; i++)
        if (session_ended (self->entries[i].session))
            return true;
    return false;
}

static void log_once (uint64_t *count, const char *what)
{
    if ((*count)++ == 0)
        fprintf (stderr, "sluice node: dropped %s (said once)\n", what);
}

/* Connections that did not show the cluster's key. */
static uint64_t strangers (const desk_t *self)
{
    const host_t *host = self->host;
    return host->strangers + (host->guard ? guard_strangers (host->guard) : 0);
}

static void begin (desk_t *self, const route_t *route, msg_t *hello, int64_t now)
{
    session_t *session = NULL;
    if (self->n < AGENT_MAX_SESSIONS)
        session = session_new (self->host, route, hello, some_ended (self), now);
    if (!session) {
        log_once (&self->refused_runs, "a run: it serves as many as it can");
        host_refuse (self->host, route, hello, "it serves as many runs as it can");
        return;
    }
    self->entries[self->n++] = (entry_t){.session = session};
}

static bool is_elsewhere (const entry_t *entry, const route_t *route)
{
    for (unsigned i = 0; i < ELSEWHERE && i < entry->nelsewhere; i++)
        if (route_is (&entry->elsewhere[i], route))
            return true;
    return entry->rival.waiting && route_is (&entry->rival.route, route);
}

/* The first link of the run is alive. */
static void refuse_rival (desk_t *self, entry_t *entry)
{
    rival_t *rival = &entry->rival;
    host_refuse (self->host, &rival->route, &rival->hello,
                 "it takes part already, under another address");
    entry->elsewhere[entry->nelsewhere++ % ELSEWHERE] = rival->route;
    msg_clear (&rival->hello);
    rival->waiting = false;
}

static bool was_cancelled (const desk_t *self, const uint8_t *run)
{
    for (unsigned i = 0; i < CANCELLED && i < self->ncancelled; i++)
        if (memcmp (self->cancelled[i], run, RUN_BYTES) == 0)
            return true;
    return false;
}

static void hear_hello (desk_t *self, const route_t *route, msg_t *hello, int64_t now)
{
    entry_t *entry = find (self, hello->run);
    if (!entry && was_cancelled (self, hello->run)) {
        host_refuse (self->host, route, hello, "the run was cancelled");
    } else if (!entry) {
        begin (self, route, hello, now);
    } else if (session_token (entry->session) == hello->hello.token) {
        session_hear (entry->session, route, hello, now);
    } else if (route_is (session_route (entry->session), route)) {
        session_end (entry->session, NULL, now);
        begin (self, route, hello, now);
    } else {
        msg_clear (&entry->rival.hello);
        entry->rival =
            (rival_t){.waiting = true, .since = now, .route = *route, .hello = *hello};
        memset (hello, 0, sizeof *hello);
    }
}

static void settle_rivals (desk_t *self, int64_t now)
{
    for (unsigned i = 0; i < self->n; i++) {
        rival_t *rival = &self->entries[i].rival;
        if (!rival->waiting)
            continue;
        bool ended = session_ended (self->entries[i].session);
        if (!ended && now - rival->since < faults_ms (RIVAL_MS))
            continue;
        session_end (self->entries[i].session, NULL, now);
        rival->waiting = false;
        begin (self, &rival->route, &rival->hello, now);
        msg_clear (&rival->hello);
    }
}

static void bury (desk_t *self, int64_t now)
{
    for (unsigned i = self->n; i-- > 0;) {
        entry_t *entry = &self->entries[i];
        if (entry->rival.waiting || !session_over (entry->session, now))
            continue;
        session_destroy (&entry->session);
        *entry = self->entries[--self->n];
    }
}

/* ---- members' questions ------------------------------------------------- */

static void add_run (json_out_t *out, const session_t *session)
{
    char hex[2 * RUN_BYTES + 1];
    session_status_t status;
    session_status (session, &status);
    run_text (session_run (session), hex);
    json_add (out, "{\"run\": \"%s\", \"owner\": ", hex);
    json_add_text (out, status.owner);
    json_add (out, ", \"job\": ");
    json_add_text (out, status.job);
    json_add (out,
              ", \"ready\": %s, \"running\": %u, \"cores\": %u, \"held\": %" PRIu64 "}",
              status.ready ? "true" : "false", status.running, status.cores, status.held);
}

static void answer_status (const desk_t *self, const route_t *route)
{
    char hex[2 * RUN_BYTES + 1];
    const host_t *host = self->host;
    machine_t machine;
    json_out_t out;
    machine_look (&machine);
    json_begin (&out, MSG_MAX_TEXT - 4);
    json_add (&out, "{\"host\": ");
    json_add_text (&out, host->name);
    run_text (host->uuid, hex);
    json_add (&out,
              ", \"uuid\": \"%s\", \"slots\": %u, \"busy\": %u, \"cores\": %u, "
              "\"memory\": %" PRIu64 ", \"outbox\": %" PRIu64
              ", \"outbox_used\": %" PRIu64 ", \"malformed\": %" PRIu64
              ", \"unexpected\": %" PRIu64 ", \"refused\": %" PRIu64
              ", \"strangers\": %" PRIu64 ", \"refused_runs\": %" PRIu64
              ", \"share_age\": %" PRId64 ", \"ports\": \"%u-%u\", \"isa\": ",
              hex, host->nslots, slots_held (host->slots), host->cores, host->memory,
              host->outbox, host->outbox_used, self->malformed, self->unexpected,
              host->zap ? zap_refused (host->zap) : 0, strangers (self),
              self->refused_runs, host->announce ? announce_age (host->announce) : -1,
              host->port_from, host->port_to);
    json_add_text (&out, vm_isa_name ());
    json_add (&out, ", ");
    machine_write (&machine, &out);
    json_add (&out, ", \"runs\": [");
    bool first = true;
    for (unsigned i = 0; i < self->n; i++) {
        size_t mark = out.used;
        if (session_ended (self->entries[i].session))
            continue;
        json_add (&out, "%s", first ? "" : ", ");
        add_run (&out, self->entries[i].session);
        if (out.full || out.used + 4 > out.most) { /* the rest is not told */
            json_cut (&out, mark);
            break;
        }
        first = false;
    }
    out.most = MSG_MAX_TEXT;
    out.full = false;
    json_add (&out, "]}");
    char *text = json_end (&out);
    host_send (host, route,
               &(msg_t){.type = MSG_REPLY, .text = {.text = text ? text : "{}"}});
    free (text);
}

void desk_write_state (const desk_t *self, FILE *out)
{
    const host_t *host = self->host;
    fprintf (out,
             "sluice node: state: %u slots, %u locked; outbox: %" PRIu64
             " bytes, %" PRIu64 " reserved by runs; %u runs; %" PRIu64
             " messages malformed, %" PRIu64 " unexpected\n",
             host->nslots, slots_held (host->slots), host->outbox, host->outbox_used,
             self->n, self->malformed, self->unexpected);
    for (unsigned i = 0; i < self->n; i++)
        session_write_state (self->entries[i].session, out);
}

/* A member ends a run here whose master does not answer. Its master may live on,
 * cut off from that member: it shall not begin again. */
static void cancel (desk_t *self, const route_t *route, const msg_t *msg, int64_t now)
{
    entry_t *entry = find (self, msg->run);
    msg_t reply = {.type = MSG_REPLY,
                   .text = {.text = !entry           ? "this run is not here"
                                    : msg->tasks.all ? "cancelled here"
                                                     : "its master cancels tasks"}};
    memcpy (reply.run, msg->run, RUN_BYTES);
    if (msg->tasks.all && !was_cancelled (self, msg->run))
        memcpy (self->cancelled[self->ncancelled++ % CANCELLED], msg->run, RUN_BYTES);
    if (entry && msg->tasks.all) {
        if (entry->rival.waiting)
            refuse_rival (self, entry);
        session_end (entry->session, "cancelled at this node", now);
    }
    host_send (self->host, route, &reply);
}

/* ---- messages ----------------------------------------------------------- */

/* A master that believes to have a run here is told that it has not: perhaps
 * this node was started anew. Once in a while, lest answers cross. */
static void hear_stranger (desk_t *self, const route_t *route, const msg_t *msg,
                           int64_t now)
{
    if (memcmp (self->stranger, msg->run, RUN_BYTES) == 0 &&
        now - self->answered < faults_ms (STRANGER_MS))
        return;
    for (unsigned i = 0; i < self->n; i++) /* just ended: it knows, or will */
        if (memcmp (session_run (self->entries[i].session), msg->run, RUN_BYTES) == 0)
            return;
    memcpy (self->stranger, msg->run, RUN_BYTES);
    self->answered = now;
    msg_t bye = {.type = MSG_BYE, .text = {.text = "this node does not have the run"}};
    memcpy (bye.run, msg->run, RUN_BYTES);
    host_send (self->host, route, &bye);
}

static void hear_master (desk_t *self, const route_t *route, const msg_t *msg,
                         int64_t now)
{
    static const uint8_t none[RUN_BYTES];
    entry_t *entry = find (self, msg->run);
    if (!entry || is_elsewhere (entry, route)) {
        if (msg->type == MSG_PING && (entry || memcmp (msg->run, none, RUN_BYTES) == 0)) {
            msg_t pong = {.type = MSG_PONG, .ping = {.seq = msg->ping.seq}};
            memcpy (pong.run, msg->run, RUN_BYTES);
            host_send (self->host, route, &pong);
        } else if (msg->type == MSG_PING) {
            hear_stranger (self, route, msg, now);
        } else if (msg->type == MSG_BYE && entry && entry->rival.waiting &&
                   route_is (&entry->rival.route, route)) {
            msg_clear (&entry->rival.hello);
            entry->rival.waiting = false;
        }
        return;
    }
    if (entry->rival.waiting && msg->type != MSG_BYE)
        refuse_rival (self, entry);
    session_hear (entry->session, route, msg, now);
}

static void hear (desk_t *self, const route_t *route, msg_t *msg, int64_t now)
{
    switch (msg->type) {
    case MSG_HELLO:
        hear_hello (self, route, msg, now);
        break;
    case MSG_PING:
    case MSG_PONG:
    case MSG_BYE:
    case MSG_ASSIGN:
    case MSG_SHED:
    case MSG_CREDIT:
    case MSG_REVOKE:
    case MSG_RESYNC:
        hear_master (self, route, msg, now);
        break;
    case MSG_STATUS:
        answer_status (self, route);
        break;
    case MSG_CANCEL:
        cancel (self, route, msg, now);
        break;
    default:
        log_once (&self->unexpected, "a message that is not for a node");
    }
}

/* The next message of exactly two frames, route and body; others are counted
 * and dropped. False: the socket is empty. */
static bool receive (desk_t *self, route_t *route, zmq_msg_t *body)
{
    void *control = self->host->control;
    for (;;) {
        unsigned frames = 0;
        bool more = true;
        while (more) {
            zmq_msg_t frame;
            zmq_msg_init (&frame);
            if (zmq_msg_recv (&frame, control, ZMQ_DONTWAIT) == -1) {
                zmq_msg_close (&frame);
                return false;
            }
            more = zmq_msg_more (&frame);
            if (frames == 0 && zmq_msg_size (&frame) <= sizeof route->id) {
                route->n = zmq_msg_size (&frame);
                memcpy (route->id, zmq_msg_data (&frame), route->n);
            } else if (frames == 1) {
                zmq_msg_move (body, &frame);
            }
            frames++;
            zmq_msg_close (&frame);
        }
        if (frames == 2)
            return true;
        log_once (&self->malformed, "a malformed message");
    }
}

static void receive_all (desk_t *self, int64_t now)
{
    zmq_msg_t body;
    zmq_msg_init (&body);
    route_t route = {0};
    self->more = false;
    for (int i = 0; receive (self, &route, &body); i++) {
        msg_t msg;
        sluice_error_t err = {0};
        if (self->host->trace) {
            char peer[ROUTE_TEXT];
            trace_message (self->host->trace, TRACE_IN, route_text (&route, peer),
                           zmq_msg_data (&body), zmq_msg_size (&body));
        }
        faults_received (zmq_msg_data (&body), zmq_msg_size (&body));
        if (msg_decode (zmq_msg_data (&body), zmq_msg_size (&body), &msg, &err) == 0) {
            hear (self, &route, &msg, now);
            msg_clear (&msg);
        } else {
            log_once (&self->malformed, err.text);
        }
        if (i + 1 == MESSAGES_PER_TURN) {
            self->more = true;
            break;
        }
    }
    zmq_msg_close (&body);
}

/* ---- cores -------------------------------------------------------------- */

/* How much a session would have with one more task: its cores over its weight,
 * which a step of priority doubles. */
static double burden (const entry_t *entry)
{
    int32_t priority = session_priority (entry->session);
    int power = priority < -8 ? -8 : priority > 8 ? 8 : (int) priority;
    double weight = power < 0 ? 1.0 / (double) (1u << -power) : (double) (1u << power);
    return (double) (entry->cores + session_unit (entry->session)) / weight;
}

/* Give the cores, those of one task at a time, to whoever has least and can use
 * them; among equals to the one that waited longest since it started a task. */
static void divide (desk_t *self, int64_t now)
{
    unsigned claim[AGENT_MAX_SESSIONS];
    for (unsigned i = 0; i < self->n; i++) {
        claim[i] = session_claim (self->entries[i].session, now);
        self->entries[i].cores = 0;
    }
    for (unsigned left = self->host->nslots; left > 0;) {
        entry_t *best = NULL;
        for (unsigned i = 0; i < self->n; i++) {
            entry_t *entry = &self->entries[i];
            if (entry->cores >= claim[i] || session_unit (entry->session) > left)
                continue;
            double a = burden (entry), b = best ? burden (best) : a;
            if (!best || a < b ||
                (a <= b &&
                 session_started (entry->session) < session_started (best->session)))
                best = entry;
        }
        if (!best)
            break;
        best->cores += session_unit (best->session);
        left -= session_unit (best->session);
    }
}

static void share_cores (desk_t *self, int64_t now)
{
    slots_t *slots = self->host->slots;
    bool working = false, wanting = false;
    divide (self, now);
    for (unsigned i = 0; i < self->n; i++)
        working |= self->entries[i].cores > 0;
    if (working)
        slots_working (slots, true);
    for (unsigned i = 0; i < self->n; i++)
        wanting |= session_share (self->entries[i].session, self->entries[i].cores, now);
    /* Which the others on this host hold, not our own runs. */
    wanting = wanting && slots_held (slots) < self->host->nslots;
    slots_wanting (slots, wanting);
    if (!working && slots_held (slots) == 0)
        slots_working (slots, false);
    self->wanting = wanting;
}

void desk_turn (desk_t *self, int64_t now)
{
    if (!self->told_strangers && strangers (self) > 0) {
        fprintf (stderr, "sluice node: a connection ended before it had shown the "
                         "cluster's key (said once; `sluice nodes --json` counts "
                         "strangers)\n");
        self->told_strangers = true;
    }
    receive_all (self, now);
    settle_rivals (self, now);
    for (unsigned i = 0; i < self->n; i++)
        session_turn (self->entries[i].session, some_ended (self), now);
    bury (self, now);
    share_cores (self, now);
    for (unsigned i = 0; i < self->n; i++)
        session_flush (self->entries[i].session, now);
}
