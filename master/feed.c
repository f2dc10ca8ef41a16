/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/feed.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/text.h"

enum {
    MAP_MS = 10000,       /* the program says at once what it wants */
    FULL_BYTES = 8 << 20, /* some 100,000 tasks that nobody asked for */
    PROGRESS_MS = 200,
    GRACE_MS = 5000 /* from SIGTERM to the end */
};

struct feed {
    talk_t *talk;
    int parent; /* pidfd of the program, or -1 */
    uint8_t run[RUN_BYTES];
    bool gone, said_gone, broken;
    int64_t told; /* progress */
    /* the guard */
    pthread_t guard;
    bool guarded;
    int stop; /* eventfd: end the guard */
    void (*abandon) (void *arg);
    void *arg;
};

/* Its socket may live on in a child that it forked: watch the process, too. */
static void watch_program (feed_t *self, uint32_t pid)
{
#ifdef SYS_pidfd_open
    if ((uint32_t) getppid () == pid)
        self->parent = (int) syscall (SYS_pidfd_open, (pid_t) pid, 0);
#endif
    if ((uint32_t) getppid () != pid)
        self->gone = true; /* already, and we are somebody else's child now */
}

feed_t *feed_new (int fd, msg_t *map, sluice_error_t *err)
{
    feed_t *self = calloc (1, sizeof *self);
    map->type = 0;
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        close (fd);
        return NULL;
    }
    self->parent = self->stop = -1;
    int64_t until = clock_ms () + MAP_MS, left;
    int got = 0;
    if (!(self->talk = talk_new (fd, err)))
        goto error;
    while ((got = talk_receive (self->talk, map, NULL, err)) == 0 &&
           (left = until - clock_ms ()) > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll (&p, 1, (int) left);
    }
    if (got == 1 && map->type == MSG_MAP) {
        watch_program (self, map->map.pid);
        return self;
    }
    if (got >= 0)
        sluice_fail (err, SLUICE_EPROTO, "nobody said what is to be run");
error:
    msg_clear (map);
    feed_destroy (&self);
    return NULL;
}

void feed_destroy (feed_t **self_p)
{
    feed_t *self = *self_p;
    if (!self)
        return;
    feed_unguard (self);
    talk_destroy (&self->talk);
    if (self->parent >= 0)
        close (self->parent);
    free (self);
    *self_p = NULL;
}

/* ---- telling ------------------------------------------------------------------ */

static void tell (feed_t *self, msg_t *msg, int pass)
{
    sluice_error_t err = {0};
    memcpy (msg->run, self->run, RUN_BYTES);
    if (!self->gone && talk_send (self->talk, msg, pass, &err) < 0)
        self->broken = true;
}

int feed_begun (feed_t *self, const job_t *job, int reader, sluice_error_t *err)
{
    if (reader < 0)
        return sluice_fail (err, SLUICE_EOUTPUT, "cannot open the output to read: %s",
                            strerror (errno));
    memcpy (self->run, job->run, RUN_BYTES);
    msg_t msg = {.type = MSG_BEGUN,
                 .begun = {.items = job->plan->items,
                           .output = job->options.nameless ? NULL : job->output,
                           .ntables = job->plan->ntables,
                           .tables = job->plan->tables}};
    tell (self, &msg, reader);
    close (reader);
    return self->broken ? sluice_fail (err, SLUICE_ESYSTEM, "out of memory") : 0;
}

void feed_result (feed_t *self, msg_result_t *result)
{
    msg_t part = {.type = MSG_RESULT, .result = *result};
    size_t left = result->nextents;
    do {
        size_t n = left < MSG_MAX_EXTENTS ? left : MSG_MAX_EXTENTS;
        left -= n;
        part.result.nextents = n;
        part.result.more = left > 0;
        tell (self, &part, -1);
        part.result.extents += n;
        part.result.ntables = 0;
    } while (left > 0);
    msg_clear (&(msg_t){.type = MSG_RESULT, .result = *result});
}

/* A text that may have been cut within a character. */
static char *clean (const char *text, char *out, size_t size)
{
    snprintf (out, size, "%s", text);
    text_make_utf8 (out);
    return out;
}

void feed_lost (feed_t *self, const msg_failed_t *failed, const char *host,
                uint64_t first, uint64_t stop)
{
    char reason[sizeof ((sluice_error_t *) 0)->text];
    msg_t msg = {.type = MSG_LOST,
                 .lost = {.first = first,
                          .stop = stop,
                          .reason = clean (failed->reason, reason, sizeof reason),
                          .sig = failed->sig,
                          .exit_code = failed->exit_code,
                          .stderr_tail = failed->stderr_tail,
                          .host = (char *) (uintptr_t) host}};
    tell (self, &msg, -1);
}

void feed_progress (feed_t *self, const progress_state_t *s)
{
    int64_t now = clock_ms ();
    if (talk_queued (self->talk) || now - self->told < PROGRESS_MS)
        return;
    self->told = now;
    msg_t msg = {.type = MSG_PROGRESS,
                 .progress = {.items = s->items,
                              .done = s->done,
                              .failed = s->failed,
                              .running = s->running,
                              .bytes = s->bytes,
                              .milliseconds = (uint64_t) (s->seconds * 1e3),
                              .nodes = s->nodes,
                              .cores = s->cores,
                              .waiting = (char *) (uintptr_t) s->waiting}};
    tell (self, &msg, -1);
}

void feed_over (feed_t *self, const run_result_t *r, const sluice_error_t *err)
{
    char text[sizeof err->text];
    msg_t msg = {.type = MSG_OVER,
                 .over = {.code = err->code,
                          .text = clean (err->text, text, sizeof text),
                          .status = (char *) (uintptr_t) "stopped"}};
    if (r) {
        msg.over.status = (char *) (uintptr_t) r->status;
        msg.over.done = r->done;
        msg.over.failed = r->failed;
        msg.over.retried = r->retried;
        msg.over.rows = r->totals.rows;
        msg.over.bytes = r->totals.bytes;
        msg.over.milliseconds = (uint64_t) (r->seconds * 1e3);
        msg.over.nodes = r->nodes;
        msg.over.cores = r->cores;
        memcpy (msg.over.digest, r->totals.digest, DIGEST_BYTES);
    }
    tell (self, &msg, -1);
}

bool feed_full (const feed_t *self)
{
    return talk_queued (self->talk) > FULL_BYTES;
}

bool feed_broken (const feed_t *self)
{
    return self->broken;
}

/* ---- hearing ------------------------------------------------------------------- */

size_t feed_poll (const feed_t *self, int *fds, short *events)
{
    size_t n = 0;
    if (self->gone)
        return 0;
    fds[n] = talk_fd (self->talk);
    events[n++] = (short) (POLLIN | (talk_queued (self->talk) ? POLLOUT : 0));
    if (self->parent >= 0) {
        fds[n] = self->parent;
        events[n++] = POLLIN;
    }
    return n;
}

/* Has the program's process ended? */
static bool has_ended (const feed_t *self)
{
    struct pollfd p = {.fd = self->parent, .events = POLLIN};
    return self->parent >= 0 && poll (&p, 1, 0) > 0;
}

bool feed_turn (feed_t *self, feed_wish_t *wish)
{
    msg_t msg;
    memset (wish, 0, sizeof *wish);
    if (self->said_gone)
        return false;
    talk_flush (self->talk);
    int got =
        self->gone || has_ended (self) ? -1 : talk_receive (self->talk, &msg, NULL, NULL);
    if (got < 0) {
        self->gone = self->said_gone = wish->gone = true;
        return true;
    }
    if (got == 0)
        return false;
    if (msg.type == MSG_CANCEL && msg.tasks.all) {
        wish->cancel = true;
    } else if (msg.type == MSG_CANCEL) {
        wish->cut = msg.tasks;
        return true;
    }
    msg_clear (&msg);
    return true;
}

void feed_wish_clear (feed_wish_t *wish)
{
    msg_clear (&(msg_t){.type = MSG_CANCEL, .tasks = wish->cut});
    memset (wish, 0, sizeof *wish);
}

void feed_wait (const feed_t *self)
{
    int fds[2];
    short events[2];
    struct pollfd items[2];
    size_t n = feed_poll (self, fds, events);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct pollfd){.fd = fds[i], .events = events[i]};
    if (n)
        poll (items, n, -1);
}

void feed_drain (feed_t *self)
{
    feed_wish_t wish;
    while (!self->gone && talk_queued (self->talk) > 0) {
        feed_wait (self);
        while (feed_turn (self, &wish))
            feed_wish_clear (&wish); /* too late */
    }
}

/* ---- the guard ------------------------------------------------------------------- */

static void *guard_main (void *arg)
{
    feed_t *self = arg;
    struct pollfd items[3] = {{.fd = self->stop, .events = POLLIN},
                              {.fd = talk_fd (self->talk), .events = POLLRDHUP},
                              {.fd = self->parent, .events = POLLIN}};
    while (poll (items, 3, -1) < 0 && errno == EINTR)
        ;
    if (items[0].revents)
        return NULL;
    kill (getpid (), SIGTERM);
    if (poll (items, 1, GRACE_MS) > 0)
        return NULL;
    if (self->abandon)
        self->abandon (self->arg);
    _exit (SLUICE_ECANCELLED);
}

int feed_guard (feed_t *self, void (*abandon) (void *arg), void *arg)
{
    sigset_t all, old;
    self->abandon = abandon;
    self->arg = arg;
    self->stop = eventfd (0, EFD_CLOEXEC);
    if (self->stop < 0)
        return -1;
    /* Signals are for the thread that works. */
    sigfillset (&all);
    pthread_sigmask (SIG_SETMASK, &all, &old);
    self->guarded = pthread_create (&self->guard, NULL, guard_main, self) == 0;
    pthread_sigmask (SIG_SETMASK, &old, NULL);
    if (self->guarded)
        return 0;
    close (self->stop);
    self->stop = -1;
    return -1;
}

void feed_unguard (feed_t *self)
{
    uint64_t one = 1;
    if (!self->guarded)
        return;
    while (write (self->stop, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join (self->guard, NULL);
    close (self->stop);
    self->guarded = false;
    self->stop = -1;
}
