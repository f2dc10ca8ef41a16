/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <zmq.h>

#include "proto/clock.h"
#include "proto/json.h"

enum { MAX_RUNS = 512, MAX_NODES = 1024, MAX_SOCKETS = 4096 };

typedef enum { ASK_MASTER, ASK_NODE, END_AT_NODE } purpose_t;

/* A question that is out. */
typedef struct {
    void *socket;
    purpose_t purpose;
    size_t run, node;
} asked_t;

typedef struct {
    known_run_t known;
    bool end;     /* at nodes */
    uint8_t *has; /* one byte for each of MAX_NODES; NULL: no node has it */
    uint8_t id[RUN_BYTES];
} entry_t;

struct survey {
    const cluster_t *cluster;
    void *context;
    roster_t *roster;
    const share_t *share;
    bool hangs; /* the share does */
    entry_t runs[MAX_RUNS];
    size_t nruns;
    surveyed_node_t nodes[MAX_NODES];
    size_t nnodes;
    asked_t *asked;
    size_t nasked, room;
    zmq_pollitem_t *items;
};

survey_t *survey_new (const share_t *share, const cluster_t *cluster, sluice_error_t *err)
{
    survey_t *self = calloc (1, sizeof *self);
    registered_t *records = calloc (MAX_RUNS, sizeof *records);
    if (!self || !records || !(self->context = zmq_ctx_new ())) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        free (records);
        survey_destroy (&self);
        return NULL;
    }
    struct rlimit limit; /* three descriptors a socket, and one for each question */
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
    zmq_ctx_set (self->context, ZMQ_MAX_SOCKETS, MAX_SOCKETS);
    self->cluster = cluster;
    self->share = share;
    self->nruns = registry_list (share, records, MAX_RUNS, &self->hangs);
    for (size_t i = 0; i < self->nruns; i++) {
        self->runs[i].known = (known_run_t){.record = records[i], .registered = true};
        run_parse (records[i].run, self->runs[i].id);
    }
    free (records);
    return self;
}

void survey_destroy (survey_t **self_p)
{
    survey_t *self = *self_p;
    if (!self)
        return;
    roster_destroy (&self->roster);
    for (size_t i = 0; i < self->nasked; i++)
        zmq_close (self->asked[i].socket);
    if (self->context)
        zmq_ctx_term (self->context);
    for (size_t i = 0; i < self->nruns; i++) {
        free (self->runs[i].known.answer);
        free (self->runs[i].has);
    }
    for (size_t i = 0; i < self->nnodes; i++)
        free (self->nodes[i].answer);
    free (self->asked);
    free (self->items);
    free (self);
    *self_p = NULL;
}

bool survey_share_hangs (const survey_t *self)
{
    return self->hangs;
}

size_t survey_size (const survey_t *self)
{
    return self->nruns;
}

const known_run_t *survey_at (const survey_t *self, size_t run)
{
    return &self->runs[run].known;
}

/* ---- asking --------------------------------------------------------------- */

static bool reserve (survey_t *self)
{
    if (self->nasked < self->room)
        return true;
    size_t room = 2 * self->room + 16;
    asked_t *asked = realloc (self->asked, room * sizeof *asked);
    if (asked)
        self->asked = asked;
    /* one more for the roster */
    zmq_pollitem_t *items =
        asked ? realloc (self->items, (room + 1) * sizeof *items) : NULL;
    if (!items)
        return false;
    self->items = items;
    self->room = room;
    return true;
}

/* `server` NULL: no CURVE (ipc). */
static int ask (survey_t *self, asked_t what, const char *endpoint, const uint8_t *server,
                const msg_t *question)
{
    int none = 0;
    int64_t most = MSG_MAX_BYTES;
    void *data = NULL;
    size_t n;
    what.socket = reserve (self) ? zmq_socket (self->context, ZMQ_DEALER) : NULL;
    if (!what.socket)
        return -1;
    zmq_setsockopt (what.socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt (what.socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    if ((server && curve_connect_as (what.socket, cluster_member_pair (self->cluster),
                                     server, NULL)) ||
        zmq_connect (what.socket, endpoint) || msg_encode (question, &data, &n, NULL) ||
        zmq_send (what.socket, data, n, ZMQ_DONTWAIT) < 0) {
        free (data);
        zmq_close (what.socket);
        return -1;
    }
    free (data);
    self->asked[self->nasked++] = what;
    return 0;
}

int survey_ask (survey_t *self, size_t run, const msg_t *question)
{
    const registered_t *record = &self->runs[run].known.record;
    msg_t msg = *question;
    if (!self->runs[run].known.registered || !*record->endpoint ||
        (!record->local && !self->cluster))
        return -1;
    memcpy (msg.run, self->runs[run].id, RUN_BYTES);
    return ask (self, (asked_t){.purpose = ASK_MASTER, .run = run}, record->endpoint,
                record->local ? NULL : cluster_master_pair (self->cluster)->public_key,
                &msg);
}

int survey_nodes (survey_t *self, sluice_error_t *err)
{
    if (!self->roster && self->cluster)
        self->roster = roster_new (self->share, self->cluster, err);
    return self->roster ? 0 : -1;
}

size_t survey_node_count (const survey_t *self)
{
    return self->nnodes;
}

const surveyed_node_t *survey_node (const survey_t *self, size_t node)
{
    return &self->nodes[node];
}

static int ask_node (survey_t *self, size_t node, asked_t what, const msg_t *question)
{
    what.node = node;
    return ask (self, what, self->nodes[node].found.endpoint,
                cluster_node_pair (self->cluster)->public_key, question);
}

static void end_at (survey_t *self, size_t run, size_t node)
{
    msg_t msg = {.type = MSG_CANCEL, .tasks = {.all = true}};
    memcpy (msg.run, self->runs[run].id, RUN_BYTES);
    ask_node (self, node, (asked_t){.purpose = END_AT_NODE, .run = run}, &msg);
}

void survey_end (survey_t *self, size_t run)
{
    entry_t *entry = &self->runs[run];
    if (entry->end)
        return;
    entry->end = true;
    for (size_t i = 0; entry->has && i < self->nnodes; i++)
        if (entry->has[i])
            end_at (self, run, i);
}

/* ---- answers ---------------------------------------------------------------- */

static void see_nodes (survey_t *self)
{
    found_t found;
    while (self->roster && roster_next (self->roster, &found)) {
        size_t i = 0;
        while (i < self->nnodes &&
               memcmp (self->nodes[i].found.uuid, found.uuid, sizeof found.uuid))
            i++;
        if (i < self->nnodes) /* a beacon says more than a record */
            self->nodes[i].found.by_beacon |= found.by_beacon;
        if (i < self->nnodes || i == MAX_NODES)
            continue;
        self->nodes[self->nnodes++] =
            (surveyed_node_t){.found = found, .asked = clock_ms ()};
        ask_node (self, i, (asked_t){.purpose = ASK_NODE},
                  &(msg_t){.type = MSG_STATUS, .text = {.text = (char *) ""}});
    }
}

/* The run of this id, which a node has; a new one if nobody named it so far. */
static entry_t *find_run (survey_t *self, const char *json)
{
    char name[2 * RUN_BYTES + 1];
    uint8_t id[RUN_BYTES];
    if (!json_string (json_member (json, "run"), name, sizeof name) ||
        !run_parse (name, id))
        return NULL;
    for (size_t i = 0; i < self->nruns; i++)
        if (memcmp (self->runs[i].id, id, RUN_BYTES) == 0)
            return &self->runs[i];
    if (self->nruns == MAX_RUNS)
        return NULL;
    entry_t *entry = &self->runs[self->nruns++];
    registered_t *record = &entry->known.record;
    memcpy (entry->id, id, RUN_BYTES);
    memcpy (record->run, name, sizeof name);
    json_string (json_member (json, "owner"), record->owner, sizeof record->owner);
    json_string (json_member (json, "job"), record->job, sizeof record->job);
    return entry;
}

/* What a node said to STATUS. */
static void hear_node (survey_t *self, size_t node, msg_t *reply)
{
    free (self->nodes[node].answer);
    const char *text = self->nodes[node].answer = reply->text.text;
    reply->text.text = NULL;
    self->nodes[node].answered = clock_ms ();
    self->nodes[node].clock = time (NULL);
    if (!json_is_sound (text))
        return;
    for (const char *run = json_first (json_member (text, "runs")); run;
         run = json_after (run)) {
        entry_t *entry = find_run (self, run);
        if (!entry || (!entry->has && !(entry->has = calloc (MAX_NODES, 1))) ||
            entry->has[node])
            continue;
        known_run_t *known = &entry->known;
        size_t used = strlen (known->at);
        entry->has[node] = 1;
        known->nodes++;
        snprintf (known->at + used, sizeof known->at - used, "%s%s", used ? " " : "",
                  self->nodes[node].found.host);
        if (entry->end)
            end_at (self, (size_t) (entry - self->runs), node);
    }
}

static void hear (survey_t *self, const asked_t *asked, msg_t *reply)
{
    if (reply->type != MSG_REPLY)
        return;
    if (asked->purpose == ASK_NODE) {
        hear_node (self, asked->node, reply);
    } else if (asked->purpose == END_AT_NODE) {
        self->runs[asked->run].known.ended++;
    } else {
        char **answer = &self->runs[asked->run].known.answer;
        free (*answer);
        *answer = reply->text.text;
        reply->text.text = NULL;
    }
}

/* Take an answer if there is one. True: the question is settled. */
static bool receive (survey_t *self, const asked_t *asked)
{
    zmq_msg_t frame;
    msg_t reply;
    zmq_msg_init (&frame);
    bool there = zmq_msg_recv (&frame, asked->socket, ZMQ_DONTWAIT) >= 0;
    if (there &&
        msg_decode (zmq_msg_data (&frame), zmq_msg_size (&frame), &reply, NULL) == 0) {
        hear (self, asked, &reply);
        msg_clear (&reply);
    }
    zmq_msg_close (&frame);
    return there;
}

void survey_wait (survey_t *self, unsigned ms, bool early)
{
    int64_t end = clock_ms () + ms, left;
    while ((left = end - clock_ms ()) > 0 && (!early || self->nasked > 0)) {
        if (!reserve (self))
            return;
        size_t n = self->nasked, polled = n;
        for (size_t i = 0; i < n; i++)
            self->items[i] =
                (zmq_pollitem_t){.socket = self->asked[i].socket, .events = ZMQ_POLLIN};
        if (self->roster)
            self->items[polled++] =
                (zmq_pollitem_t){.fd = roster_fd (self->roster), .events = ZMQ_POLLIN};
        zmq_poll (self->items, (int) polled, (long) left);
        /* From behind: the last takes the place of one that is settled, and new
         * ones come after `n`. */
        for (size_t i = n; i-- > 0;) {
            asked_t asked = self->asked[i];
            if (!receive (self, &asked))
                continue;
            zmq_close (asked.socket);
            self->asked[i] = self->asked[--self->nasked];
        }
        see_nodes (self);
    }
}
