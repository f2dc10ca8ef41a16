/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "node/crew.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "node/spawner.h"
#include "proto/clock.h"

/* The longest that nursery_destroy waits for processes to go (I9). */
enum { END_MS = 10000 };

nursery_t *nursery_start (sluice_error_t *err)
{
    int control[2] = {-1, -1}, lifeline[2] = {-1, -1};
    nursery_t *self = calloc (1, sizeof *self);
    if (!self)
        goto error;
    /* The lifeline carries nothing: the end of file of a stream is what a
     * poll for input sees, whoever polls. */
    if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0 ||
        socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lifeline) < 0)
        goto error;
    self->spawner = fork ();
    if (self->spawner < 0)
        goto error;
    if (self->spawner == 0)
        spawner_main (control[1], lifeline[1]);
    close (control[1]);
    close (lifeline[1]);
    self->control = control[0];
    self->lifeline = lifeline[0];
    return self;
error:
    sluice_fail (err, SLUICE_ESYSTEM, "cannot start the process that makes workers: %s",
                 strerror (errno));
    for (int i = 0; i < 2; i++) {
        if (control[i] >= 0)
            close (control[i]);
        if (lifeline[i] >= 0)
            close (lifeline[i]);
    }
    free (self);
    return NULL;
}

static void wait_for_end (nursery_t *self)
{
    int64_t deadline = clock_ms () + END_MS;
    struct pollfd end = {.fd = self->lifeline, .events = POLLIN};
    for (;;) {
        int64_t left = deadline - clock_ms ();
        int rc = poll (&end, 1, left > 0 ? (int) left : 0);
        if (rc > 0)
            break;
        if (rc == 0 || errno != EINTR) {
            kill (self->spawner, SIGKILL);
            break;
        }
    }
    while (waitpid (self->spawner, NULL, 0) < 0 && errno == EINTR)
        ;
}

void nursery_destroy (nursery_t **self_p)
{
    nursery_t *self = *self_p;
    if (!self)
        return;
    int saved = errno;
    for (size_t i = 0; i < self->ncrews; i++) {
        crew_kill (self->crews[i]);
        self->crews[i]->nursery = NULL;
    }
    close (self->control);
    wait_for_end (self);
    close (self->lifeline);
    free (self->crews);
    free (self);
    *self_p = NULL;
    errno = saved;
}

int nursery_fd (const nursery_t *self)
{
    return self->lifeline;
}

int nursery_enlist (nursery_t *self, crew_t *crew, sluice_error_t *err)
{
    crew_t **crews = realloc (self->crews, (self->ncrews + 1) * sizeof *crews);
    if (!crews)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    self->crews = crews;
    self->crews[self->ncrews++] = crew;
    return 0;
}

void nursery_strike (nursery_t *self, const crew_t *crew)
{
    for (size_t i = 0; i < self->ncrews; i++)
        if (self->crews[i] == crew) {
            self->crews[i] = self->crews[--self->ncrews];
            return;
        }
}

/* A process that dies closes one descriptor after the other: the lifeline may have
 * ended already, and the control socket not yet. */
static bool lifeline_ended (const nursery_t *self)
{
    struct pollfd end = {.fd = self->lifeline, .events = POLLIN};
    return poll (&end, 1, 0) > 0;
}

void nursery_listen (nursery_t *self)
{
    wire_mail_t mail;
    wire_result_t got = WIRE_NONE;
    bool ended = !self->dead && lifeline_ended (self); /* it says no more */
    while (!self->dead && (got = wire_recv (self->control, &mail, false)) == WIRE_GOT) {
        for (size_t i = 0; i < self->ncrews; i++)
            if (self->crews[i]->id == mail.wire.a)
                crew_told (self->crews[i], &mail.wire);
        wire_drop (&mail);
    }
    if (self->dead || (got != WIRE_EOF && !ended))
        return;
    self->dead = true;
    const wire_t nobody = {0};
    for (size_t i = 0; i < self->ncrews; i++)
        crew_told (self->crews[i], &nobody);
}
