/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/syncer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "master/outfile.h"
#include "master/space.h"

struct syncer {
    int fd;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    sync_state_t state;
    bool stop;
    int error; /* errno of FULL and BROKEN */
    unsigned char super[SPACE_PAGE];
    size_t super_bytes;
};

static sync_state_t make_durable (syncer_t *self)
{
    if (fdatasync (self->fd) < 0)
        return SYNC_BROKEN;
    if (!write_fully (self->fd, self->super, self->super_bytes, 0))
        return errno == ENOSPC || errno == EDQUOT ? SYNC_FULL : SYNC_BROKEN;
    return fdatasync (self->fd) < 0 ? SYNC_BROKEN : SYNC_DONE;
}

static void *run (void *arg)
{
    syncer_t *self = arg;
    pthread_mutex_lock (&self->mutex);
    for (;;) {
        while (self->state != SYNC_BUSY && !self->stop)
            pthread_cond_wait (&self->changed, &self->mutex);
        if (self->state != SYNC_BUSY)
            break;
        pthread_mutex_unlock (&self->mutex);
        sync_state_t state = make_durable (self);
        int error = errno;
        pthread_mutex_lock (&self->mutex);
        self->state = state;
        self->error = error;
        pthread_cond_broadcast (&self->changed);
    }
    pthread_mutex_unlock (&self->mutex);
    return NULL;
}

syncer_t *syncer_new (int fd, sluice_error_t *err)
{
    syncer_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->fd = fd;
    pthread_mutex_init (&self->mutex, NULL);
    pthread_cond_init (&self->changed, NULL);
    sigset_t all, old;
    sigfillset (&all); /* signals are for the owner's threads */
    pthread_sigmask (SIG_SETMASK, &all, &old);
    int rc = pthread_create (&self->thread, NULL, run, self);
    pthread_sigmask (SIG_SETMASK, &old, NULL);
    if (rc) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot make a thread: %s", strerror (rc));
        pthread_cond_destroy (&self->changed);
        pthread_mutex_destroy (&self->mutex);
        free (self);
        return NULL;
    }
    return self;
}

void syncer_destroy (syncer_t **self_p)
{
    syncer_t *self = *self_p;
    if (!self)
        return;
    pthread_mutex_lock (&self->mutex);
    self->stop = true;
    pthread_cond_broadcast (&self->changed);
    pthread_mutex_unlock (&self->mutex);
    pthread_join (self->thread, NULL);
    pthread_cond_destroy (&self->changed);
    pthread_mutex_destroy (&self->mutex);
    free (self);
    *self_p = NULL;
}

void syncer_give (syncer_t *self, const void *super, size_t n)
{
    pthread_mutex_lock (&self->mutex);
    memcpy (self->super, super, n);
    self->super_bytes = n;
    self->state = SYNC_BUSY;
    pthread_cond_broadcast (&self->changed);
    pthread_mutex_unlock (&self->mutex);
}

sync_state_t syncer_ask (syncer_t *self, bool wait, sluice_error_t *err)
{
    pthread_mutex_lock (&self->mutex);
    while (wait && self->state == SYNC_BUSY)
        pthread_cond_wait (&self->changed, &self->mutex);
    sync_state_t state = self->state;
    int error = self->error;
    if (state == SYNC_DONE || state == SYNC_FULL)
        self->state = SYNC_IDLE;
    pthread_mutex_unlock (&self->mutex);
    if (state == SYNC_FULL || state == SYNC_BROKEN)
        sluice_fail (err, SLUICE_EOUTPUT, "cannot make the output durable: %s%s",
                     strerror (error),
                     state == SYNC_BROKEN ? "; it stays at its last snapshot" : "");
    return state;
}
