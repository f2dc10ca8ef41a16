/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/announce.h"

#include <czmq.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/within.h"

enum { SHARE_SECONDS = 5, BEACON_MS = 1000, STOP_MS = 2000 };

struct announce {
    uint8_t record[BEACON_MAX];
    size_t n;
    const share_t *share;
    char name[64];
    zactor_t *beacon;
    bool threaded;
    pthread_t thread;
    /* shared with the thread, under `mutex` */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stop;
    char trouble[200]; /* the latest reason; "" none */
    bool told;
    int64_t written; /* ms; the start, until it was */
};

int announce_write (const share_t *share, const char *name, const void *data, size_t n,
                    sluice_error_t *err)
{
    int dir = share_openat (share, ".sluice/nodes", O_RDONLY | O_DIRECTORY, 0, err);
    if (dir < 0)
        return -1;
    char temporary[80];
    snprintf (temporary, sizeof temporary, ".%s.new", name);
    int fd = openat (dir, temporary,
                     O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    int rc = -1;
    if (fd >= 0) {
        ssize_t written = write (fd, data, n);
        /* close tells what a file server refused */
        rc = close (fd) == 0 && written == (ssize_t) n &&
                     renameat (dir, temporary, dir, name) == 0
                 ? 0
                 : -1;
    }
    int saved = errno;
    if (rc < 0 && fd >= 0)
        unlinkat (dir, temporary, 0);
    close (dir);
    if (rc < 0)
        sluice_fail (err, SLUICE_ESYSTEM, "cannot write %s/.sluice/nodes/%s: %s",
                     share_root (share), name, strerror (saved));
    return rc;
}

static void remove_record (const announce_t *self)
{
    int dir =
        share_openat (self->share, ".sluice/nodes", O_RDONLY | O_DIRECTORY, 0, NULL);
    if (dir < 0)
        return;
    unlinkat (dir, self->name, 0);
    close (dir);
}

static void *write_records (void *arg)
{
    announce_t *self = arg;
    pthread_mutex_lock (&self->mutex);
    while (!self->stop) {
        pthread_mutex_unlock (&self->mutex);
        sluice_error_t err = {0};
        int rc = announce_write (self->share, self->name, self->record, self->n, &err);
        pthread_mutex_lock (&self->mutex);
        if (rc == 0)
            self->written = clock_ms ();
        if (strncmp (self->trouble, err.text, sizeof self->trouble - 1) != 0) {
            snprintf (self->trouble, sizeof self->trouble, "%.*s",
                      (int) sizeof self->trouble - 1, err.text);
            self->told = false;
        }
        struct timespec until;
        clock_gettime (CLOCK_MONOTONIC, &until);
        until.tv_sec += SHARE_SECONDS;
        while (!self->stop &&
               pthread_cond_timedwait (&self->changed, &self->mutex, &until) == 0)
            ;
    }
    pthread_mutex_unlock (&self->mutex);
    remove_record (self);
    return NULL;
}

/* zbeacon chooses the interface when it is configured, by a name that is
 * global to the process. */
static zactor_t *start_beacon (const announce_t *self, const char *interface,
                               char warning[200])
{
    zsys_set_interface (interface);
    zactor_t *beacon = zactor_new (zbeacon, NULL);
    if (!beacon) {
        snprintf (warning, 200, "cannot start the beacon");
        return NULL;
    }
    zsock_send (beacon, "si", "CONFIGURE", BEACON_PORT);
    char *address = zstr_recv (beacon);
    if (!address || !*address) {
        snprintf (warning, 200, "cannot broadcast on interface %s, UDP port %d",
                  interface, BEACON_PORT);
        zstr_free (&address);
        zactor_destroy (&beacon);
        return NULL;
    }
    zstr_free (&address);
    zsock_send (beacon, "sbi", "PUBLISH", self->record, self->n, BEACON_MS);
    return beacon;
}

announce_t *announce_start (const uint8_t *record, size_t n, const share_t *share,
                            const char *name, const char *interface, char warning[200],
                            sluice_error_t *err)
{
    warning[0] = 0;
    announce_t *self = calloc (1, sizeof *self);
    if (!self || n > sizeof self->record) {
        free (self);
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the announcement");
        return NULL;
    }
    memcpy (self->record, record, n);
    self->n = n;
    self->written = clock_ms ();
    self->share = share;
    snprintf (self->name, sizeof self->name, "%s", name);
    pthread_mutex_init (&self->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init (&monotonic);
    pthread_condattr_setclock (&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init (&self->changed, &monotonic);
    pthread_condattr_destroy (&monotonic);
    if (share) {
        int rc = pthread_create (&self->thread, NULL, write_records, self);
        if (rc != 0) {
            sluice_fail (err, SLUICE_ESYSTEM, "cannot start a thread: %s", strerror (rc));
            announce_stop (&self);
            return NULL;
        }
        self->threaded = true;
    }
    if (*interface)
        self->beacon = start_beacon (self, interface, warning);
    return self;
}

void announce_stop (announce_t **self_p)
{
    announce_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    if (self->beacon) {
        zstr_send (self->beacon, "SILENCE");
        zactor_destroy (&self->beacon);
    }
    if (self->threaded) {
        pthread_mutex_lock (&self->mutex);
        self->stop = true;
        pthread_cond_signal (&self->changed);
        pthread_mutex_unlock (&self->mutex);
        if (!join_within (self->thread, STOP_MS))
            return; /* the share hangs; it still uses `self` */
    }
    pthread_cond_destroy (&self->changed);
    pthread_mutex_destroy (&self->mutex);
    free (self);
}

bool announce_trouble (announce_t *self, char text[200])
{
    /* Held by the thread for instants only, never while it waits for the share. */
    pthread_mutex_lock (&self->mutex);
    bool news = self->trouble[0] && !self->told;
    if (news) {
        memcpy (text, self->trouble, sizeof self->trouble);
        self->told = true;
    }
    pthread_mutex_unlock (&self->mutex);
    return news;
}

int64_t announce_age (announce_t *self)
{
    pthread_mutex_lock (&self->mutex);
    int64_t written = self->written;
    pthread_mutex_unlock (&self->mutex);
    return clock_ms () - written;
}
