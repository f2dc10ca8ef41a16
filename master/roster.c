/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/roster.h"

#include <arpa/inet.h>
#include <czmq.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { SCAN_MS = 2000, STALE_SECONDS = 20 };

struct roster {
    const share_t *share;
    const cluster_t *cluster;
    zactor_t *actor;
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
static void take (roster_t *self, zsock_t *pipe, const uint8_t *data, size_t n,
                  const char *source)
{
    beacon_t beacon;
    beacon_verdict_t verdict =
        beacon_decode (data, n, self->cluster, share_id (self->share), &beacon);
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
    zframe_t *frame = zframe_new (&found, sizeof found);
    zframe_send (&frame, pipe, ZFRAME_DONTWAIT);
    zframe_destroy (&frame);
}

static void read_beacons (roster_t *self, zsock_t *pipe, int udp)
{
    uint8_t data[BEACON_MAX + 1];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    char source[INET_ADDRSTRLEN];
    for (int i = 0; i < 256; i++) { /* a flood must not keep us from ending */
        ssize_t n =
            recvfrom (udp, data, sizeof data, 0, (struct sockaddr *) &from, &length);
        if (n < 0)
            return;
        if (inet_ntop (AF_INET, &from.sin_addr, source, sizeof source))
            take (self, pipe, data, (size_t) n, source);
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

static void read_folder (roster_t *self, zsock_t *pipe)
{
    int folder =
        share_openat (self->share, ".sluice/nodes", O_RDONLY | O_DIRECTORY, 0, NULL);
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
                take (self, pipe, data, (size_t) n, NULL);
        }
        if (fd >= 0)
            close (fd);
    }
    closedir (dir);
}

typedef struct {
    roster_t *self;
    int udp;
} start_t;

static void actor_main (zsock_t *pipe, void *arg)
{
    start_t start = *(start_t *) arg;
    zsock_signal (pipe, 0);
    int64_t scan_at = 0;
    for (;;) {
        zmq_pollitem_t items[] = {{zsock_resolve (pipe), 0, ZMQ_POLLIN, 0},
                                  {NULL, start.udp, ZMQ_POLLIN, 0}};
        if (zclock_mono () >= scan_at) {
            read_folder (start.self, pipe);
            scan_at = zclock_mono () + SCAN_MS;
        }
        if (zmq_poll (items, 2, 500) < 0 || items[0].revents)
            break; /* $TERM is the only thing that comes */
        if (items[1].revents)
            read_beacons (start.self, pipe, start.udp);
    }
    close (start.udp);
}

roster_t *roster_new (const share_t *share, const cluster_t *cluster, sluice_error_t *err)
{
    start_t start = {.udp = open_udp (err)};
    if (start.udp < 0)
        return NULL;
    roster_t *self = calloc (1, sizeof *self);
    if (self) {
        self->share = share;
        self->cluster = cluster;
        start.self = self;
        self->actor = zactor_new (actor_main, &start);
    }
    if (self && self->actor)
        return self;
    close (start.udp);
    free (self);
    sluice_fail (err, SLUICE_ESYSTEM, "cannot start looking for nodes");
    return NULL;
}

void roster_destroy (roster_t **self_p)
{
    if (!*self_p)
        return;
    zactor_destroy (&(*self_p)->actor);
    free (*self_p);
    *self_p = NULL;
}

void *roster_socket (const roster_t *self)
{
    return zsock_resolve (self->actor);
}

bool roster_next (roster_t *self, found_t *found)
{
    return zmq_recv (roster_socket (self), found, sizeof *found, ZMQ_DONTWAIT) ==
           (int) sizeof *found;
}

uint64_t roster_refused (const roster_t *self)
{
    return atomic_load (&self->refused);
}
