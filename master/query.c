/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "proto/clock.h"
#include "proto/guard.h"
#include "proto/zap.h"

struct query {
    const job_t *job;
    void *local;    /* ipc, for this user on this machine: needs neither share nor key */
    void *net;      /* tcp with CURVE; NULL: no network */
    zap_t *zap;     /* as net */
    guard_t *guard; /* as net */
    uint64_t malformed;
    registry_t *registry;
    trace_t *trace; /* NULL: none */
};

enum { ANSWER_AT_ONCE = 32 };

/* Whoever asks is called so in a trace. */
static const char ASKER[] = "command";

static const char DOMAIN[] = "query";

/* Bind to every interface; `out` gets the endpoint with this host's name. */
static int bind_tcp (query_t *self, void *context, char *out, size_t size,
                     sluice_error_t *err)
{
    char bound[128], host[65] = "localhost";
    size_t n = sizeof bound;
    self->guard = guard_new (context, self->net, err);
    if (!self->guard)
        return -1;
    if (zap_allow (self->zap, DOMAIN,
                   cluster_member_pair (self->job->cluster)->public_key, err) ||
        curve_serve (self->net, cluster_master_pair (self->job->cluster), DOMAIN, err))
        return -1;
    if (zmq_bind (self->net, "tcp://*:*") ||
        zmq_getsockopt (self->net, ZMQ_LAST_ENDPOINT, bound, &n))
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot bind a query socket: %s",
                            zmq_strerror (zmq_errno ()));
    gethostname (host, sizeof host - 1);
    snprintf (out, size, "tcp://%s%s", host, strrchr (bound, ':'));
    return 0;
}

static void *open_socket (void *context)
{
    int linger = 200;
    int64_t most = MSG_MAX_BYTES;
    void *socket = zmq_socket (context, ZMQ_ROUTER);
    if (!socket)
        return NULL;
    zmq_setsockopt (socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt (socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    return socket;
}

query_t *query_new (void *context, const job_t *job, const char *folder,
                    sluice_error_t *err)
{
    query_t *self = calloc (1, sizeof *self);
    char tcp[256] = "", ipc[256] = "";
    if (!self || !(self->local = open_socket (context)) ||
        (job->cluster && !(self->net = open_socket (context)))) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot open a query socket");
        goto error;
    }
    self->job = job;
    /* A socket speaks one mechanism: with a key, CURVE. */
    if (job->cluster && (!(self->zap = zap_new (context, err)) ||
                         bind_tcp (self, context, tcp, sizeof tcp, err)))
        goto error;
    snprintf (ipc, sizeof ipc, "ipc://%s/query", folder);
    if (zmq_bind (self->local, ipc)) {
        sluice_fail (err, SLUICE_ESYSTEM, "%s: %s", ipc, zmq_strerror (zmq_errno ()));
        goto error;
    }
    self->registry = registry_enter (job, tcp, ipc, err);
    if (self->registry)
        return self;
error:
    query_destroy (&self);
    return NULL;
}

void query_destroy (query_t **self_p)
{
    query_t *self = *self_p;
    if (!self)
        return;
    registry_leave (&self->registry);
    guard_destroy (&self->guard);
    if (self->local)
        zmq_close (self->local);
    if (self->net)
        zmq_close (self->net);
    zap_destroy (&self->zap);
    free (self);
    *self_p = NULL;
}

void query_set_trace (query_t *self, trace_t *trace)
{
    self->trace = trace;
}

size_t query_sockets (const query_t *self, void **sockets)
{
    size_t n = 0;
    sockets[n++] = self->local;
    if (self->net)
        sockets[n++] = self->net;
    if (self->zap)
        sockets[n++] = zap_socket (self->zap);
    if (self->guard)
        sockets[n++] = guard_socket (self->guard);
    return n;
}

uint64_t query_strangers (const query_t *self)
{
    return self->guard ? guard_strangers (self->guard) : 0;
}

uint64_t query_malformed (const query_t *self)
{
    return self->malformed;
}

static void reply (query_t *self, void *socket, zmq_msg_t *route, const char *text)
{
    msg_t msg = {.type = MSG_REPLY, .text = {.text = (char *) text}};
    void *data;
    size_t n;
    memcpy (msg.run, self->job->run, RUN_BYTES);
    if (msg_encode (&msg, &data, &n, NULL))
        return;
    if (self->trace)
        trace_message (self->trace, TRACE_OUT, ASKER, data, n);
    if (zmq_msg_send (route, socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_send (socket, data, n, ZMQ_DONTWAIT);
    free (data);
}

static void answer (query_t *self, void *socket, zmq_msg_t *route, const msg_t *msg,
                    query_fn *fn, void *arg, query_wish_t *wish)
{
    static const uint8_t any[RUN_BYTES];
    if (memcmp (msg->run, any, RUN_BYTES) &&
        memcmp (msg->run, self->job->run, RUN_BYTES)) {
        reply (self, socket, route, "another run");
        return;
    }
    if (msg->type == MSG_CANCEL && msg->tasks.all) {
        wish->cancel = true;
        snprintf (wish->by, sizeof wish->by, "sluice cancel");
        reply (self, socket, route, "cancelled");
    } else if (msg->type == MSG_STATUS || msg->type == MSG_EXPLAIN ||
               msg->type == MSG_CANCEL) {
        char *text = fn (arg, msg);
        reply (self, socket, route, text ? text : "{}");
        free (text);
    } else {
        reply (self, socket, route, "not understood");
    }
}

static void answer_all (query_t *self, void *socket, query_fn *fn, void *arg,
                        query_wish_t *wish)
{
    for (int i = 0; i < ANSWER_AT_ONCE; i++) {
        zmq_msg_t route, body;
        zmq_msg_init (&route);
        zmq_msg_init (&body);
        bool there = zmq_msg_recv (&route, socket, ZMQ_DONTWAIT) >= 0;
        bool whole = there && zmq_msg_more (&route) &&
                     zmq_msg_recv (&body, socket, ZMQ_DONTWAIT) >= 0;
        while (whole && zmq_msg_more (&body)) { /* not ours: read it off */
            if (zmq_msg_recv (&body, socket, ZMQ_DONTWAIT) < 0)
                break;
            whole = zmq_msg_more (&body);
        }
        msg_t msg;
        if (whole && self->trace)
            trace_message (self->trace, TRACE_IN, ASKER, zmq_msg_data (&body),
                           zmq_msg_size (&body));
        if (whole &&
            msg_decode (zmq_msg_data (&body), zmq_msg_size (&body), &msg, NULL) == 0) {
            answer (self, socket, &route, &msg, fn, arg, wish);
            msg_clear (&msg);
        } else if (there) {
            self->malformed++;
        }
        zmq_msg_close (&route);
        zmq_msg_close (&body);
        if (!there)
            break;
    }
}

void query_answer (query_t *self, query_fn *fn, void *arg, query_wish_t *wish)
{
    if (self->zap)
        zap_answer (self->zap);
    if (self->guard)
        guard_turn (self->guard, clock_ms ());
    answer_all (self, self->local, fn, arg, wish);
    if (self->net)
        answer_all (self, self->net, fn, arg, wish);
}
