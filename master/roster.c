/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/roster.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/within.h"

enum { SCAN_MS = 2000, STALE_SECONDS = 20, TURN_MS = 500, STOP_MS = 2000 };

struct roster {
    int ours;   /* what was found comes out here */
    int theirs; /* the thread's end */
    int root, udp;
    uint8_t share[SHARE_ID_BYTES];
    pthread_t thread;
    pthread_mutex_t mutex; /* held for instants only */
    bool stop;             /* the cluster is not to be touched any more */
    const cluster_t *cluster;
    atomic_uint_fast64_t refused;
};

static int open_udp (sluice_error_t *err)
{
    int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons (BEACON_PORT)};
    if (fd < 0
        /* Several masters on one host all get broadcasts this way. */
        || setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        setsockopt (fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) ||
        bind (fd, (struct sockaddr *) &any, sizeof any)) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot listen for nodes on UDP port %d: %s",
                     BEACON_PORT, strerror (errno));
        if (fd >= 0)
            close (fd);
        return -1;
    }
    return fd;
}

/* The address to reach it at: where the packet came from, if the node says itself that
 * it has that one, else the first that it names. The source of a packet is no proof: who
 * sends a recorded beacon again with another source would keep masters from the node. */
static const char *where (const beacon_t *beacon, const char *source)
{
    for (unsigned i = 0; source && i < beacon->naddresses; i++)
        if (strcmp (source, beacon->address[i]) == 0)
            return source;
    return beacon->naddresses ? beacon->address[0] : source;
}

/* Decode a record and pass it on; `source` is where it came from, or NULL. */
static void take (roster_t *self, const uint8_t *data, size_t n, const char *source)
{
    beacon_t beacon;
    beacon_verdict_t verdict = BEACON_FOREIGN;
    pthread_mutex_lock (&self->mutex);
    if (!self->stop)
        verdict = beacon_decode (data, n, self->cluster, self->share, &beacon);
    pthread_mutex_unlock (&self->mutex);
    if (verdict != BEACON_OK) {
        if (verdict != BEACON_FOREIGN)
            atomic_fetch_add (&self->refused, 1);
        return;
    }
    const char *address = where (&beacon, source);
    if (!address)
        return;
    found_t found = {
        .boot = beacon.boot, .slots = beacon.slots, .by_beacon = source != NULL};
    memcpy (found.uuid, beacon.uuid, sizeof found.uuid);
    snprintf (found.host, sizeof found.host, "%s", beacon.host);
    snprintf (found.endpoint, sizeof found.endpoint,
              strchr (address, ':') ? "tcp://[%s]:%u" : "tcp://%s:%u", address,
              beacon.port);
    /* May wait: for the owner, or for its end. */
    while (send (self->theirs, &found, sizeof found, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void read_beacons (roster_t *self)
{
    uint8_t data[BEACON_MAX + 1];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    char source[INET_ADDRSTRLEN];
    for (int i = 0; i < 256; i++) { /* a flood must not keep us from ending */
        ssize_t n = recvfrom (self->udp, data, sizeof data, 0, (struct sockaddr *) &from,
                              &length);
        if (n < 0)
            return;
        if (inet_ntop (AF_INET, &from.sin_addr, source, sizeof source))
            take (self, data, (size_t) n, source);
    }
}

/* The file server's idea of now: the time it gives a file made at this moment. */
static bool server_time (int folder, time_t *now)
{
    char name[64];
    struct stat st;
    snprintf (name, sizeof name, ".now-%d-%lx", (int) getpid (),
              (unsigned long) random ());
    int fd = openat (folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool known = fstat (fd, &st) == 0;
    unlinkat (folder, name, 0);
    close (fd);
    *now = st.st_mtime;
    return known;
}

static void read_folder (roster_t *self)
{
    int folder = openat (self->root, ".sluice/nodes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return;
    time_t now = 0;
    bool dated = server_time (folder, &now);
    DIR *dir = fdopendir (folder);
    if (!dir) {
        close (folder);
        return;
    }
    for (struct dirent *entry; (entry = readdir (dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        int fd = openat (folder, entry->d_name,
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;
        uint8_t data[BEACON_MAX + 1];
        if (fd >= 0 && fstat (fd, &st) == 0 && S_ISREG (st.st_mode) &&
            !(dated && now - st.st_mtime > STALE_SECONDS)) {
            ssize_t n = read (fd, data, sizeof data);
            if (n > 0)
                take (self, data, (size_t) n, NULL);
        }
        if (fd >= 0)
            close (fd);
    }
    closedir (dir);
}

static void *roster_main (void *arg)
{
    roster_t *self = arg;
    int64_t scan_at = 0;
    for (;;) {
        struct pollfd fds[] = {{.fd = self->theirs}, {.fd = self->udp, .events = POLLIN}};
        if (clock_ms () >= scan_at) {
            read_folder (self);
            scan_at = clock_ms () + SCAN_MS;
        }
        if (poll (fds, 2, TURN_MS) < 0 && errno != EINTR)
            break;
        if (fds[0].revents) /* its owner has ended it: nothing else comes */
            break;
        if (fds[1].revents)
            read_beacons (self);
    }
    return NULL;
}

static void close_fd (int fd)
{
    if (fd >= 0)
        close (fd);
}

static void release (roster_t *self)
{
    close_fd (self->ours);
    close_fd (self->theirs);
    close_fd (self->root);
    close_fd (self->udp);
    pthread_mutex_destroy (&self->mutex);
    free (self);
}

roster_t *roster_new (const share_t *share, const cluster_t *cluster, sluice_error_t *err)
{
    int pair[2] = {-1, -1}, udp = open_udp (err);
    if (udp < 0)
        return NULL;
    roster_t *self = calloc (1, sizeof *self);
    if (!self) {
        close (udp);
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    pthread_mutex_init (&self->mutex, NULL);
    self->udp = udp;
    self->cluster = cluster;
    memcpy (self->share, share_id (share), SHARE_ID_BYTES);
    self->root = fcntl (share_fd (share), F_DUPFD_CLOEXEC, 3);
    bool paired = socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0;
    self->ours = pair[0];
    self->theirs = pair[1];
    if (self->root >= 0 && paired &&
        pthread_create (&self->thread, NULL, roster_main, self) == 0)
        return self;
    release (self);
    sluice_fail (err, SLUICE_ESYSTEM, "cannot start looking for nodes");
    return NULL;
}

void roster_destroy (roster_t **self_p)
{
    roster_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    pthread_mutex_lock (&self->mutex);
    self->stop = true;
    pthread_mutex_unlock (&self->mutex);
    shutdown (self->ours, SHUT_RDWR);
    if (join_within (self->thread, STOP_MS))
        release (self);
    /* Else the share hangs, and the thread still uses `self`. */
}

int roster_fd (const roster_t *self)
{
    return self->ours;
}

bool roster_next (roster_t *self, found_t *found)
{
    return recv (self->ours, found, sizeof *found, MSG_DONTWAIT) ==
           (ssize_t) sizeof *found;
}

uint64_t roster_refused (const roster_t *self)
{
    return atomic_load (&self->refused);
}
