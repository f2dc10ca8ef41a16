/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/client.h"
#include "master/client_state.h"
#include "proto/clock.h"
#include "proto/piece.h"

enum { END_SECONDS = 10 }; /* for a last state of the output, and for nodes to hear */

static void destroy (sluice_map_t *self)
{
    talk_destroy (&self->talk);
    process_clear (&self->process);
    if (self->output >= 0)
        close (self->output);
    extents_destroy (&self->extents);
    for (unsigned i = 0; i < self->ntables; i++) {
        free (self->tables[i].name);
        free (self->tables[i].dtype);
    }
    free (self->tables);
    msg_clear (&(msg_t){.type = MSG_PROGRESS, .progress = self->now});
    msg_clear (&(msg_t){.type = MSG_LOST, .lost = self->lost});
    msg_clear (&(msg_t){.type = MSG_OVER, .over = self->over});
    free (self->buffer);
    free (self);
}

/* ---- beginning ------------------------------------------------------------------ */

static int start (sluice_map_t *self, const sluice_client_t *client, const msg_t *msg,
                  sluice_error_t *err)
{
    int pair[2];
    if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "socketpair: %s", strerror (errno));
    const char *kernel = sluice_params_get (msg->map.params, "kernel");
    int rc = -1;
    if ((self->talk = talk_new (pair[0], err)) &&
        talk_send (self->talk, msg, -1, err) == 0)
        rc = process_start (&self->process, client->command, kernel ? kernel : "",
                            pair[1], client->log, err);
    close (pair[1]);
    return rc;
}

sluice_map_t *sluice_client_map (sluice_client_t *client,
                                 const sluice_map_options_t *options, sluice_error_t *err)
{
    msg_t msg;
    sluice_error_t why = {0};
    if (client_fill (client, options, &msg, err) < 0)
        return NULL;
    sluice_map_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    } else {
        self->output = self->process.handle = -1;
        self->progress = options->progress;
        self->arg = options->arg;
        if (start (self, client, &msg, &why) < 0 || map_begin (self, &why) < 0) {
            sluice_map_close (&self);
            if (err)
                *err = why;
        }
    }
    msg_clear (&msg);
    return self;
}

/* ---- ending ----------------------------------------------------------------------- */

/* Hear the master out, without listening, until its end of the socket closes. */
static void hear_out (sluice_map_t *self, double until)
{
    char waste[4096];
    double left;
    while ((left = until - clock_seconds ()) > 0) {
        struct pollfd p = {.fd = talk_fd (self->talk), .events = POLLIN};
        if (poll (&p, 1, (int) ceil (left * 1e3)) <= 0)
            continue;
        ssize_t n = recv (p.fd, waste, sizeof waste, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            return;
    }
}

void sluice_map_close (sluice_map_t **self_p)
{
    sluice_map_t *self = *self_p;
    if (!self)
        return;
    int saved = errno;
    if (self->process.pid > 0) {
        double until = clock_seconds () + END_SECONDS;
        talk_end (self->talk);
        hear_out (self, until);
        if (!process_ended (&self->process, fmax (until - clock_seconds (), 0.5)))
            process_kill (&self->process);
    }
    destroy (self);
    *self_p = NULL;
    errno = saved;
}

/* ---- waiting ---------------------------------------------------------------------- */

/* The master is gone without a last word. */
static void note_death (sluice_map_t *self)
{
    char how[80];
    if (self->ended)
        return;
    self->ended = true;
    if (self->why.code != SLUICE_OK)
        return;
    process_ended (&self->process, 2);
    process_describe (&self->process, how, sizeof how);
    if (!self->run[0])
        sluice_fail (&self->why, SLUICE_ESYSTEM,
                     "the master %s before it began; the log may say why", how);
    else
        sluice_fail (&self->why, SLUICE_ESYSTEM,
                     "the master %s; an output with a name holds what was finished "
                     "some seconds before",
                     how);
}

int map_wait (sluice_map_t *self, double seconds, msg_t *msg, int *passed)
{
    double until = clock_seconds () + seconds;
    for (;;) {
        int got = self->ended ? -1 : talk_receive (self->talk, msg, passed, &self->why);
        if (got > 0)
            return 1;
        if (got < 0) {
            note_death (self);
            return -1;
        }
        double left = until - clock_seconds ();
        if (seconds >= 0 && left <= 0)
            return 0;
        struct pollfd p = {
            .fd = talk_fd (self->talk),
            .events = (short) (POLLIN | (talk_queued (self->talk) ? POLLOUT : 0))};
        int ms = seconds < 0 || left > 1e6 ? -1 : (int) ceil (left * 1e3);
        if (poll (&p, 1, ms) < 0)
            return 0; /* a signal came: the program may want to know */
        talk_flush (self->talk);
    }
}

/* ---- what a program asks ------------------------------------------------------------
 */

int sluice_map_cancel (sluice_map_t *self, uint64_t first, uint64_t stop,
                       sluice_error_t *err)
{
    task_t items = {.first = first, .stop = stop};
    if (first > stop)
        return sluice_fail (err, SLUICE_EINPUT, "items that end before they begin");
    msg_t msg = {.type = MSG_CANCEL, .tasks = {.ntasks = 1, .tasks = &items}};
    return talk_send (self->talk, &msg, -1, err);
}

int sluice_map_cancel_all (sluice_map_t *self, sluice_error_t *err)
{
    msg_t msg = {.type = MSG_CANCEL, .tasks = {.all = true}};
    return talk_send (self->talk, &msg, -1, err);
}

uint64_t sluice_map_items (const sluice_map_t *self)
{
    return self->items;
}

const char *sluice_map_run (const sluice_map_t *self)
{
    return self->run;
}

int sluice_map_fd (const sluice_map_t *self)
{
    return talk_fd (self->talk);
}

unsigned sluice_map_tables (const sluice_map_t *self)
{
    return self->ntables;
}

const char *sluice_map_table_name (const sluice_map_t *self, unsigned table)
{
    return table < self->ntables ? self->tables[table].name : NULL;
}

const char *sluice_map_table_dtype (const sluice_map_t *self, unsigned table)
{
    return table < self->ntables ? self->tables[table].dtype : NULL;
}

size_t sluice_map_row_bytes (const sluice_map_t *self, unsigned table)
{
    return table < self->ntables ? self->tables[table].row_bytes : 0;
}

int sluice_map_find (const sluice_map_t *self, const char *name)
{
    for (unsigned i = 0; i < self->ntables; i++)
        if (strcmp (self->tables[i].name, name) == 0)
            return (int) i;
    return -1;
}

void sluice_map_progress (const sluice_map_t *self, sluice_progress_t *progress)
{
    const msg_progress_t *now = &self->now;
    *progress = (sluice_progress_t){.items = self->items,
                                    .done = now->done,
                                    .failed = now->failed,
                                    .running = now->running,
                                    .bytes = now->bytes,
                                    .seconds = (double) now->milliseconds * 1e-3,
                                    .nodes = now->nodes,
                                    .cores = now->cores,
                                    .waiting = now->waiting ? now->waiting : ""};
}

void sluice_map_summary (const sluice_map_t *self, sluice_summary_t *summary)
{
    static const char *const known[] = {"complete", "failed", "cancelled", "stopped"};
    const msg_over_t *over = &self->over;
    *summary = (sluice_summary_t){
        .status = self->ended ? "stopped" : "running",
        .done = over->status ? over->done : self->now.done,
        .failed = over->status ? over->failed : self->now.failed,
        .rows = over->rows,
        .bytes = over->status ? over->bytes : self->now.bytes,
        .seconds =
            (double) (over->status ? over->milliseconds : self->now.milliseconds) * 1e-3,
        .nodes = over->nodes,
        .cores = over->cores};
    for (size_t i = 0; over->status && i < sizeof known / sizeof *known; i++)
        if (strcmp (known[i], over->status) == 0)
            summary->status = known[i];
    if (over->status)
        digest_text (over->digest, summary->digest);
}
