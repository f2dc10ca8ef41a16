/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/session.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "calc/vmath.h"
#include "node/duty.h"
#include "node/outbox.h"
#include "node/push.h"
#include "node/wire.h"
#include "proto/faults.h"
#include "proto/text.h"

enum {
    EVENTS_PER_TURN = 1024, /* of one run, so that heartbeats come in between */
    MOST_SMALL = 8192,      /* results that were copied, of one run: half of what a master
                               remembers of a node */
    MOST_SEGMENTS = 16,     /* of one worker: more do not make it faster */
    REPEAT_MS = 2000,       /* what may have been lost is said again after */
    REMEMBERED = 64,        /* failures that are repeated */
    FAILED_TIMES = 4,       /* how often each is said: a break is over or fatal then */
    MAP_GRACE_S = 30,       /* for a worker of `map` to end its command by itself */
    GONE_MS = 10000         /* dead workers that do not go are not waited for longer */
};

typedef enum {
    WAITING, /* for memory of ended runs */
    OPENING, /* the zygote loads kernel and inputs */
    READY,
    ENDED
} state_t;

typedef struct {
    msg_t msg; /* FAILED; owns its texts */
    int64_t said;
    unsigned times;
} failure_t;

struct session {
    host_t *host;
    state_t state;
    route_t route;
    char peer[ROUTE_TEXT]; /* the route, in a trace */
    msg_t hello;
    crew_t *crew;
    duty_t *duty;
    outbox_t *outbox;
    push_t *push;
    bool blocked; /* PUSH took no more */
    bool hurried;
    unsigned workers, segments, cores;
    uint8_t salt[KEY_BYTES]; /* zeros: results are not sealed */
    bool sealed;
    uint64_t reserved;   /* bytes of the host's outbox */
    uint64_t small_room; /* besides, for small results that were taken */
    int64_t heard, pinged, ended;
    uint64_t ping_seq;
    uint64_t told_credit;
    int64_t told_welcome, told_slots;
    int64_t starved;     /* since when pieces wait and no credit came */
    uint64_t starved_at; /* what was granted by then */
    failure_t failures[REMEMBERED];
    unsigned next_failure;
    char late[80]; /* why a task is ended that takes too long */
};

bool route_is (const route_t *a, const route_t *b)
{
    return a->n == b->n && memcmp (a->id, b->id, a->n) == 0;
}

const char *route_text (const route_t *route, char text[ROUTE_TEXT])
{
    size_t most = (ROUTE_TEXT - 1) / 2;
    text_hex (route->id, route->n < most ? route->n : most, text);
    return text;
}

/* ---- sending ------------------------------------------------------------ */

void host_send (const host_t *host, const route_t *route, msg_t *msg)
{
    void *data;
    size_t n;
    if (msg_encode (msg, &data, &n, NULL) == -1)
        return; /* out of memory: as if lost, which all must stand */
    if (host->trace) {
        char peer[ROUTE_TEXT];
        trace_message (host->trace, TRACE_OUT, route_text (route, peer), data, n);
    }
    faults_send (host->control, route->id, route->n, data, n);
    free (data);
}

static void tell (const session_t *self, msg_t *msg)
{
    memcpy (msg->run, self->hello.run, RUN_BYTES);
    host_send (self->host, &self->route, msg);
}

void host_refuse (const host_t *host, const route_t *route, const msg_t *hello,
                  const char *lacks)
{
    msg_t msg = {.type = MSG_WELCOME,
                 .welcome = {.token = hello->hello.token,
                             .host = (char *) host->name,
                             .cores = host->cores,
                             .epoch = 1,
                             .endpoint = "",
                             .isa = "",
                             .lacks = (char *) (*lacks ? lacks : "it says no reason")}};
    memcpy (msg.run, hello->run, RUN_BYTES);
    memcpy (msg.welcome.uuid, host->uuid, sizeof host->uuid);
    host_send (host, route, &msg);
}

static uint64_t worker_memory (const session_t *self)
{
    uint64_t asked = self->hello.hello.memory, ours = self->host->memory;
    if (asked == 0 || (self->host->memory_is_most && asked > ours))
        return ours;
    return asked;
}

static void welcome (session_t *self, int64_t now)
{
    const host_t *host = self->host;
    self->told_welcome = now;
    msg_t msg = {.type = MSG_WELCOME,
                 .welcome = {.token = self->hello.hello.token,
                             .host = (char *) host->name,
                             .cores = host->cores,
                             .slots = self->workers,
                             .memory = worker_memory (self),
                             .outbox = self->reserved,
                             .epoch = outbox_epoch (self->outbox),
                             .endpoint = (char *) push_endpoint (self->push),
                             .isa = (char *) vm_isa_name (),
                             .lacks = ""}};
    memcpy (msg.welcome.uuid, host->uuid, sizeof host->uuid);
    memcpy (msg.welcome.data_key, push_key (self->push), KEY_BYTES);
    memcpy (msg.welcome.salt, self->salt, KEY_BYTES);
    tell (self, &msg);
}

/* ---- beginning ---------------------------------------------------------- */

static void release_segment (void *arg, uint32_t segment)
{
    session_t *self = arg;
    crew_release (self->crew, segment);
}

/* Cut this run's part out of the outbox: half of what is free, and more if so
 * little would not keep every worker busy. -1: not even one worker has room
 * for two pieces. */
static int reserve (session_t *self, sluice_error_t *err)
{
    host_t *host = self->host;
    const msg_hello_t *hello = &self->hello.hello;
    unsigned most = host->nslots / self->cores;
    if (hello->items > 0 && hello->items < most)
        most = (unsigned) hello->items; /* more could have no work */
    uint64_t least = 2 * (uint64_t) hello->segment;
    uint64_t left = host->outbox - host->outbox_used;
    uint64_t part = left / 2;
    if (part < least * most)
        part = left < least * most ? left : least * most;
    if (part < least)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "two pieces of results take %llu bytes, and its outbox has %llu "
            "left of %llu; start it with a larger --outbox",
            (unsigned long long) least, (unsigned long long) left,
            (unsigned long long) host->outbox);
    uint64_t fit = part / least;
    self->workers = fit < most ? (unsigned) fit : most;
    uint64_t each = part / self->workers / hello->segment;
    self->segments = each > MOST_SEGMENTS ? MOST_SEGMENTS : (unsigned) each;
    self->reserved = (uint64_t) self->workers * self->segments * hello->segment;
    host->outbox_used += self->reserved;
    /* What lies in rings, and four times that in the outbox. */
    uint64_t rings = (uint64_t) self->workers * RING_BYTES;
    if (host->outbox - host->outbox_used >= 5 * rings) {
        host->outbox_used += 5 * rings;
        self->small_room = 4 * rings;
    }
    return 0;
}

static int check (const session_t *self, sluice_error_t *err)
{
    static const uint8_t zeros[KEY_BYTES];
    const host_t *host = self->host;
    const msg_hello_t *hello = &self->hello.hello;
    if (share_confined (host->share) &&
        memcmp (hello->share, share_id (host->share), SHARE_ID_BYTES) != 0)
        return sluice_fail (err, SLUICE_EINPUT, "it serves another share (%s there)",
                            share_root (host->share));
    if (!host->zap != !memcmp (hello->data_key, zeros, KEY_BYTES))
        return sluice_fail (err, SLUICE_EPROTO, "%s",
                            host->zap ? "results leave it encrypted only"
                                      : "it has no key to encrypt results with");
    if (hello->segment == 0)
        return sluice_fail (err, SLUICE_EPROTO, "pieces of no bytes");
    if (self->cores > host->nslots)
        return sluice_fail (err, SLUICE_EINPUT, "a task takes %u cores, and it offers %u",
                            self->cores, host->nslots);
    return 0;
}

/* Refused before or while opening: the master knows that from WELCOME. */
static void refuse (session_t *self, const char *lacks, int64_t now)
{
    host_refuse (self->host, &self->route, &self->hello, lacks);
    session_end (self, NULL, now);
}

/* Over the network results are sealed, if the master says a secret. */
static int seal (session_t *self, sluice_error_t *err)
{
    static const uint8_t zeros[KEY_BYTES];
    uint8_t key[KEY_BYTES];
    if (!self->host->zap || memcmp (self->hello.hello.secret, zeros, sizeof zeros) == 0)
        return 0;
    self->sealed = true;
    random_bytes (self->salt, sizeof self->salt);
    seal_derive (self->hello.hello.secret, self->salt, SEAL_HEADERS, key);
    int rc = outbox_seal (self->outbox, key, err);
    sodium_memzero (key, sizeof key);
    return rc;
}

static void begin (session_t *self, bool patient, int64_t now)
{
    sluice_error_t err = {0};
    const msg_hello_t *hello = &self->hello.hello;
    if (check (self, &err) == -1) {
        refuse (self, err.text, now);
        return;
    }
    if (reserve (self, &err) == -1) {
        if (!patient)
            refuse (self, err.text, now);
        return;
    }
    self->outbox = outbox_new (self->hello.run, hello->token, hello->segment,
                               release_segment, self, &err);
    if (!self->outbox || seal (self, &err) == -1) {
        refuse (self, err.text, now);
        return;
    }
    crew_options_t options = {.hello = hello,
                              .share = self->host->share,
                              .slots = self->workers,
                              .memory = worker_memory (self),
                              .segments = self->segments,
                              .scratch = self->host->scratch,
                              .confine = self->host->confine,
                              .sealed = self->sealed,
                              .handover = self->host->handover,
                              .small = self->small_room > 0};
    self->crew = crew_start (self->host->nursery, &options, &err);
    if (!self->crew) {
        refuse (self, err.text, now);
        return;
    }
    self->state = OPENING;
}

session_t *session_new (host_t *host, const route_t *route, msg_t *hello, bool patient,
                        int64_t now)
{
    session_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->host = host;
    self->state = WAITING;
    self->route = *route;
    self->hello = *hello;
    memset (hello, 0, sizeof *hello);
    self->heard = self->pinged = now;
    self->cores = self->hello.hello.cores_per_task ? self->hello.hello.cores_per_task : 1;
    begin (self, patient, now);
    return self;
}

void session_destroy (session_t **self_p)
{
    session_t *self = *self_p;
    if (!self)
        return;
    push_destroy (&self->push);
    duty_destroy (&self->duty);
    outbox_destroy (&self->outbox);
    crew_destroy (&self->crew);
    self->host->outbox_used -= self->reserved + self->small_room / 4 * 5;
    for (unsigned i = 0; i < REMEMBERED; i++)
        msg_clear (&self->failures[i].msg);
    msg_clear (&self->hello);
    free (self);
    *self_p = NULL;
}

const uint8_t *session_run (const session_t *self)
{
    return self->hello.run;
}
uint64_t session_token (const session_t *self)
{
    return self->hello.hello.token;
}
const route_t *session_route (const session_t *self)
{
    return &self->route;
}
bool session_ended (const session_t *self)
{
    return self->state == ENDED;
}

/* ---- ending ------------------------------------------------------------- */

void session_end (session_t *self, const char *why, int64_t now)
{
    if (self->state == ENDED)
        return;
    if (why)
        tell (self, &(msg_t){.type = MSG_BYE, .text = {.text = (char *) why}});
    self->state = ENDED;
    self->ended = now;
    self->blocked = false;
    push_destroy (&self->push);
    if (self->crew)
        crew_kill (self->crew);
}

bool session_over (session_t *self, int64_t now)
{
    if (self->state != ENDED || (self->outbox && !outbox_quiet (self->outbox)))
        return false;
    return !self->crew || crew_gone (self->crew) || now - self->ended > GONE_MS;
}

/* ---- what workers did --------------------------------------------------- */

/* The run's `timeout`. Commands of `map` are ended by their workers, who know more; this
 * is for a worker that does not come to it. */
static void set_limit (session_t *self)
{
    double timeout = 0;
    const msg_hello_t *hello = &self->hello.hello;
    if (sluice_params_f64 (hello->params, "timeout", &timeout, NULL) || timeout <= 0 ||
        timeout > 1e9)
        return;
    snprintf (self->late, sizeof self->late, "out of time: ended after %g s (timeout)",
              timeout);
    if (strcmp (hello->kernel, "builtin:map") == 0)
        timeout = 2 * timeout + MAP_GRACE_S;
    duty_limit (self->duty, (int64_t) (timeout * 1000) + 1, self->late);
}

static push_t *open_push (session_t *self, sluice_error_t *err)
{
    uint8_t password[KEY_BYTES];
    seal_derive (self->hello.hello.secret, self->salt, SEAL_PASSWORD, password);
    push_t *push =
        push_new (self->host, &self->hello, self->sealed ? password : NULL, err);
    sodium_memzero (password, sizeof password);
    return push;
}

static void open_stream (session_t *self, int64_t now)
{
    sluice_error_t err = {0};
    self->duty =
        duty_new (self->crew, self->host->slots, self->workers, self->cores, &err);
    if (self->duty)
        set_limit (self);
    if (self->duty)
        self->push = open_push (self, &err);
    if (!self->push) {
        refuse (self, err.text, now);
        return;
    }
    self->state = READY;
    outbox_set_trace (self->outbox, self->host->trace,
                      route_text (&self->route, self->peer));
    welcome (self, now);
}

static void take_piece (session_t *self, const crew_event_t *event, int64_t now)
{
    const task_t *task = duty_task (self->duty, event->slot);
    if (!task || task->task != event->piece.task ||
        task->attempt != event->piece.attempt) {
        if (event->segment != CREW_SMALL)
            crew_release (self->crew, event->segment);
        return;
    }
    sluice_error_t err = {0};
    if (event->piece.kind == PIECE_DONE)
        duty_took (self->duty, event->slot, event->piece.seconds);
    if (outbox_add (self->outbox, &event->piece, event->payload, event->segment, &err) ==
        -1) {
        if (event->segment != CREW_SMALL)
            crew_release (self->crew, event->segment);
        session_end (self, err.text, now);
    } else if (event->handed) {
        outbox_refer (self->outbox);
    } else if (event->seal) {
        outbox_sealed (self->outbox, event->seal);
    }
}

/* The last `most` bytes of what a worker said, fit to be sent. */
static char *copy_text (const char *text, size_t most)
{
    size_t n = text ? strlen (text) : 0;
    char *copy = strdup (n > most ? text + (n - most) : n ? text : "");
    if (copy)
        text_make_utf8 (copy);
    return copy;
}

static void say_failure (session_t *self, failure_t *failure, int64_t now)
{
    failure->said = now;
    failure->times++;
    tell (self, &failure->msg);
}

static void take_failure (session_t *self, const crew_event_t *event, int64_t now)
{
    const task_t *task = duty_task (self->duty, event->slot);
    if (task) {
        failure_t *failure = &self->failures[self->next_failure++ % REMEMBERED];
        msg_clear (&failure->msg);
        memset (failure, 0, sizeof *failure);
        failure->msg.type = MSG_FAILED;
        failure->msg.failed = event->failed;
        failure->msg.failed.task = task->task;
        failure->msg.failed.attempt = task->attempt;
        failure->msg.failed.reason = copy_text (event->failed.reason, MSG_MAX_TEXT);
        failure->msg.failed.stderr_tail =
            copy_text (event->failed.stderr_tail, MSG_MAX_STDERR);
        outbox_drop (self->outbox, task->task, task->attempt);
        say_failure (self, failure, now);
    }
    duty_free (self->duty, event->slot, now);
}

static void take_event (session_t *self, crew_event_t *event, int64_t now)
{
    text_make_utf8 (event->text);
    if (event->type == CREW_READY && self->state == OPENING) {
        open_stream (self, now);
    } else if (self->state == OPENING &&
               (event->type == CREW_LACKS || event->type == CREW_DIED)) {
        refuse (self, event->text, now);
    } else if (event->type == CREW_DIED || event->type == CREW_LACKS) {
        session_end (self, event->text, now);
    } else if (self->state == READY && event->type == CREW_PIECE) {
        take_piece (self, event, now);
    } else if (self->state == READY && event->type == CREW_NEXT) {
        duty_next (self->duty, event->slot, event->seconds, now);
    } else if (self->state == READY && event->type == CREW_IDLE) {
        duty_free (self->duty, event->slot, now);
    } else if (self->state == READY && event->type == CREW_FAILED) {
        take_failure (self, event, now);
    }
}

void session_turn (session_t *self, bool patient, int64_t now)
{
    self->hurried = self->outbox && outbox_reap (self->outbox);
    if (self->state == ENDED)
        return;
    if (now - self->heard > faults_ms (SILENCE_MS)) {
        session_end (self, "its master was silent for 8 s", now);
        return;
    }
    if (now - self->heard > faults_ms (PING_MS) &&
        now - self->pinged > faults_ms (PING_MS)) {
        self->pinged = now;
        tell (self, &(msg_t){.type = MSG_PING, .ping = {.seq = ++self->ping_seq}});
    }
    if (self->state == WAITING)
        begin (self, patient, now);
    if (self->push)
        push_turn (self->push, now);
    crew_event_t event;
    for (int i = 0; self->crew && self->state != ENDED; i++) {
        if (i == EVENTS_PER_TURN) {
            self->hurried = true;
            break;
        }
        uint64_t small;
        crew_hold_back (self->crew, outbox_small (self->outbox, &small) >= MOST_SMALL ||
                                        small > self->small_room - self->small_room / 64);
        crew_next (self->crew, &event);
        if (event.type == CREW_NOTHING)
            break;
        take_event (self, &event, now);
    }
}

/* ---- what the master said ----------------------------------------------- */

static void answer_ping (session_t *self, const msg_ping_t *ping, int64_t now)
{
    msg_t pong = {.type = MSG_PONG, .ping = {.seq = ping->seq}};
    if (self->state == READY) {
        pong.ping.assigned = duty_seen (self->duty);
        pong.ping.running = duty_running (self->duty);
        pong.ping.held = outbox_held (self->outbox);
    }
    tell (self, &pong);
    if (self->state != READY)
        return;
    if (ping->assigned > duty_seen (self->duty)) {
        session_end (self, "lost assignments", now);
        return;
    }
    /* Whatever may have been lost with a connection is said again. */
    if (duty_credit (self->duty) > duty_seen (self->duty) &&
        now - self->told_slots >= faults_ms (REPEAT_MS))
        self->told_credit = 0;
    if (duty_seen (self->duty) == 0 && now - self->told_welcome >= faults_ms (REPEAT_MS))
        welcome (self, now);
    if (!outbox_starved (self->outbox) ||
        outbox_granted (self->outbox) != self->starved_at) {
        self->starved = now;
        self->starved_at = outbox_granted (self->outbox);
    } else if (now - self->starved >= faults_ms (REPEAT_MS)) {
        self->starved = now;
        outbox_offer_again (self->outbox);
    }
    for (unsigned i = 0; i < REMEMBERED; i++) {
        failure_t *failure = &self->failures[i];
        if (failure->times > 0 && failure->times < FAILED_TIMES &&
            now - failure->said >= faults_ms (REPEAT_MS))
            say_failure (self, failure, now);
    }
}

static void revoke (session_t *self, const msg_tasks_t *tasks)
{
    if (tasks->all) {
        duty_revoke_all (self->duty);
        outbox_drop_all (self->outbox);
    }
    for (size_t i = 0; i < tasks->ntasks; i++) {
        duty_revoke (self->duty, &tasks->tasks[i]);
        outbox_drop (self->outbox, tasks->tasks[i].task, tasks->tasks[i].attempt);
    }
}

static int resync (session_t *self, const msg_credit_t *credit, int64_t now,
                   sluice_error_t *err)
{
    if (credit->epoch < outbox_epoch (self->outbox))
        return 0; /* late */
    if (credit->epoch > outbox_epoch (self->outbox)) {
        if (outbox_resync (self->outbox, credit, err) == -1)
            return -1;
        self->blocked = false;
        if (push_renew (self->push, err) == -1)
            return -1;
    }
    welcome (self, now);
    return 0;
}

static void hear_ready (session_t *self, const msg_t *msg, int64_t now)
{
    sluice_error_t err = {0};
    int rc = 0;
    switch (msg->type) {
    case MSG_ASSIGN:
        rc = duty_assign (self->duty, &msg->tasks, now, &err);
        break;
    case MSG_SHED:
        for (size_t i = 0; i < msg->tasks.ntasks; i++)
            duty_shed (self->duty, &msg->tasks.tasks[i]);
        break;
    case MSG_CREDIT:
        rc = outbox_credit (self->outbox, &msg->credit, &err);
        break;
    case MSG_RESYNC:
        rc = resync (self, &msg->credit, now, &err);
        break;
    case MSG_REVOKE:
        revoke (self, &msg->tasks);
        break;
    default:
        break;
    }
    if (rc == -1)
        session_end (self, err.text, now);
}

void session_hear (session_t *self, const route_t *route, const msg_t *msg, int64_t now)
{
    if (self->state == ENDED)
        return;
    self->route = *route;
    self->heard = now;
    if (msg->type == MSG_PING) {
        answer_ping (self, &msg->ping, now);
    } else if (msg->type == MSG_BYE) {
        session_end (self, NULL, now);
    } else if (msg->type == MSG_HELLO && self->state == READY) {
        welcome (self, now);
        self->told_credit = 0;
        outbox_offer_again (self->outbox);
    } else if (self->state == READY) {
        hear_ready (self, msg, now);
    }
}

/* ---- cores, credit, results --------------------------------------------- */

unsigned session_claim (const session_t *self, int64_t now)
{
    return self->state == READY ? duty_claim (self->duty, now) : 0;
}

unsigned session_unit (const session_t *self)
{
    return self->cores;
}
int32_t session_priority (const session_t *self)
{
    return self->hello.hello.priority;
}

int64_t session_started (const session_t *self)
{
    return self->duty ? duty_started (self->duty) : 0;
}

bool session_share (session_t *self, unsigned cores, int64_t now)
{
    if (self->state != READY)
        return false;
    sluice_error_t broken = {0};
    bool wanting = duty_share (self->duty, cores, now, &broken);
    if (broken.code != SLUICE_OK)
        session_end (self, broken.text, now);
    return wanting && self->state == READY;
}

static void send_offers (session_t *self)
{
    uint32_t sizes[MSG_MAX_SIZES];
    msg_t msg = {.type = MSG_OFFER,
                 .offer = {.epoch = outbox_epoch (self->outbox), .sizes = sizes}};
    while ((msg.offer.nsizes =
                outbox_offer (self->outbox, &msg.offer.from, sizes, MSG_MAX_SIZES)) > 0) {
        tell (self, &msg);
    }
}

void session_flush (session_t *self, int64_t now)
{
    if (self->state != READY)
        return;
    if (duty_credit (self->duty) != self->told_credit) {
        self->told_credit = duty_credit (self->duty);
        self->told_slots = now;
        tell (self, &(msg_t){.type = MSG_SLOTS, .slots = {.tasks = self->told_credit}});
    }
    send_offers (self);
    self->blocked = !outbox_push (self->outbox, push_socket (self->push));
}

bool session_hurried (const session_t *self)
{
    return self->hurried;
}

size_t session_fds (const session_t *self, int *fds, size_t max)
{
    return self->crew && self->state != ENDED ? crew_fds (self->crew, fds, max) : 0;
}

void *session_blocked (const session_t *self)
{
    return self->blocked ? push_socket (self->push) : NULL;
}

void session_status (const session_t *self, session_status_t *status)
{
    *status = (session_status_t){.owner = self->hello.hello.owner,
                                 .job = self->hello.hello.job,
                                 .ready = self->state == READY};
    if (self->state == READY) {
        status->running = duty_running (self->duty);
        status->cores = duty_cores (self->duty);
        status->held = outbox_held (self->outbox);
    }
}

void session_write_state (const session_t *self, FILE *out)
{
    static const char *const names[] = {[WAITING] = "waiting for memory",
                                        [OPENING] = "opening",
                                        [READY] = "ready",
                                        [ENDED] = "ended"};
    char run[2 * RUN_BYTES + 1];
    run_text (self->hello.run, run);
    fprintf (out, "sluice node: state: run %.8s of %s (%s): %s", run,
             self->hello.hello.owner, self->hello.hello.job, names[self->state]);
    if (self->state == READY)
        fprintf (
            out,
            "; tasks: %llu asked for, %llu came, %u running on %u workers, %u cores; "
            "outbox: %llu bytes offered, %llu granted, %llu pushed, %llu received, "
            "%llu held, epoch %u%s",
            (unsigned long long) duty_credit (self->duty),
            (unsigned long long) duty_seen (self->duty), duty_running (self->duty),
            self->workers, duty_cores (self->duty),
            (unsigned long long) outbox_offered (self->outbox),
            (unsigned long long) outbox_granted (self->outbox),
            (unsigned long long) outbox_pushed (self->outbox),
            (unsigned long long) outbox_received (self->outbox),
            (unsigned long long) outbox_held (self->outbox), outbox_epoch (self->outbox),
            self->blocked ? ", blocked" : "");
    fputc ('\n', out);
}
