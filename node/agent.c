/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* sched_getaffinity */
#include "node/agent.h"

#include <czmq.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "node/announce.h"
#include "node/desk.h"
#include "node/netif.h"
#include "node/push.h"
#include "calc/vmath.h"
#include "proto/faults.h"
#include "proto/signals.h"
#include "proto/text.h"

enum {
    IDLE_MS = 1000, /* a turn of the loop, when nothing goes on */
    TICK_MS = 100,  /* while there are runs */
    WANT_MS = 50,   /* while one wants a core that another agent may give up */
    HURRY_MS = 2,
    CONTROL_HWM = 4096,  /* messages to one peer */
    HEARTBEAT_MS = 5000, /* of ZeroMQ, to notice connections that are half open */
    BYE_MS = 300         /* for the last messages, on ending */
};

typedef struct {
    const agent_options_t *options;
    host_t host;
    desk_t *desk;
    announce_t *announce;
    beacon_t record;
    char address[NETIF_TEXT], endpoint[160], name[BEACON_HOST];
    char scratch[PATH_MAX];
    int signals;
    sigset_t old_mask;
    bool masked;
} agent_t;

/* Milliseconds that also go on while the machine sleeps. */
static int64_t now_ms (void)
{
    struct timespec t;
    clock_gettime (CLOCK_BOOTTIME, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- what this machine has ---------------------------------------------- */

unsigned agent_cores (void)
{
    cpu_set_t set;
    int n = sched_getaffinity (0, sizeof set, &set) == 0 ? CPU_COUNT (&set) : 0;
    if (n < 1)
        n = (int) sysconf (_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > SLOTS_MAX ? SLOTS_MAX : (unsigned) n;
}

static uint64_t available_memory (void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *file = fopen ("/proc/meminfo", "re");
    while (file && fgets (line, sizeof line, file))
        if (sscanf (line, "MemAvailable: %llu", &kib) == 1)
            break;
    if (file)
        fclose (file);
    return kib * 1024;
}

static void measure (agent_t *self)
{
    const agent_options_t *o = self->options;
    host_t *host = &self->host;
    host->cores = agent_cores ();
    host->nslots = o->slots ? o->slots : host->cores;
    uint64_t available = available_memory ();
    const uint64_t least = 64ull << 20, most = 1ull << 30;
    uint64_t part = available / 8;
    host->outbox = o->outbox      ? o->outbox
                   : part < least ? least
                   : part > most  ? most
                                  : part;
    host->memory_is_most = o->memory > 0;
    host->memory = o->memory;
    if (!o->memory && available > 2 * host->outbox)
        host->memory = (available - host->outbox) / host->nslots;
    gethostname (self->name, sizeof self->name - 1);
    for (char *c = self->name; *c; c++)
        if ((unsigned char) *c <= ' ' || (unsigned char) *c >= 0x7f)
            *c = '?';
    if (!self->name[0])
        snprintf (self->name, sizeof self->name, "localhost");
    host->name = self->name;
    host->scratch = o->scratch ? o->scratch : getenv ("TMPDIR");
    if (!host->scratch || !*host->scratch)
        host->scratch = "/tmp";
    /* Workers start in folders of their own. */
    if (realpath (host->scratch, self->scratch))
        host->scratch = self->scratch;
}

static void raise_limits (void)
{
    struct rlimit limit;
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit (RLIMIT_NOFILE, &limit);
    }
    zsys_handler_set (NULL);  /* signals are ours */
    zsys_set_max_sockets (0); /* as many as there may be */
    zsys_set_logstream (NULL);
}

/* ---- sockets ------------------------------------------------------------ */

static void set_int (void *socket, int option, int value)
{
    zmq_setsockopt (socket, option, &value, sizeof value);
}

static int open_control (agent_t *self, sluice_error_t *err)
{
    const agent_options_t *o = self->options;
    host_t *host = &self->host;
    if (o->cluster) {
        host->zap = zap_new (host->context, err);
        if (!host->zap ||
            zap_allow (host->zap, "node", cluster_member_pair (o->cluster)->public_key,
                       err) == -1)
            return -1;
    }
    host->control = zmq_socket (host->context, ZMQ_ROUTER);
    if (!host->control)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot open a socket: %s",
                            zmq_strerror (zmq_errno ()));
    int64_t most = MSG_MAX_BYTES;
    zmq_setsockopt (host->control, ZMQ_MAXMSGSIZE, &most, sizeof most);
    set_int (host->control, ZMQ_LINGER, 0);
    set_int (host->control, ZMQ_ROUTER_HANDOVER, 1);
    set_int (host->control, ZMQ_SNDHWM, CONTROL_HWM);
    set_int (host->control, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
    set_int (host->control, ZMQ_HEARTBEAT_TIMEOUT, 6 * HEARTBEAT_MS);
    if (!o->cluster) {
        snprintf (self->endpoint, sizeof self->endpoint, "%s", o->endpoint);
        if (zmq_bind (host->control, o->endpoint) == -1)
            return sluice_fail (err, SLUICE_ESYSTEM, "cannot bind to %s: %s", o->endpoint,
                                zmq_strerror (zmq_errno ()));
        return 0;
    }
    unsigned port;
    host->guard = guard_new (host->context, host->control, err);
    if (!host->guard)
        return -1;
    if (curve_serve (host->control, cluster_node_pair (o->cluster), "node", err) == -1 ||
        bind_tcp (host->control, host->address, o->port_from, o->port_to, &port, err) ==
            -1)
        return -1;
    self->record.port = (uint16_t) port;
    snprintf (self->endpoint, sizeof self->endpoint, "tcp://%s:%u", host->address, port);
    return 0;
}

/* ---- announcing --------------------------------------------------------- */

/* Numeric addresses that the share's other nodes left there, at most `max`. */
static unsigned read_peers (const agent_t *self, char (*peer)[NETIF_TEXT], unsigned max)
{
    unsigned n = 0;
    const share_t *share = self->options->share;
    if (netif_share_server (share_root (share), peer[0]))
        n++;
    int fd = share_openat (share, ".sluice/nodes", O_RDONLY | O_DIRECTORY, 0, NULL);
    DIR *dir = fd >= 0 ? fdopendir (fd) : NULL;
    if (!dir && fd >= 0)
        close (fd);
    for (struct dirent *entry; dir && n < max && (entry = readdir (dir));) {
        uint8_t data[BEACON_MAX];
        beacon_t beacon;
        int file = entry->d_name[0] == '.'
                       ? -1
                       : openat (fd, entry->d_name,
                                 O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        ssize_t size = file >= 0 ? read (file, data, sizeof data) : -1;
        if (file >= 0)
            close (file);
        if (size > 0 &&
            beacon_decode (data, (size_t) size, self->options->cluster, share_id (share),
                           &beacon) == BEACON_OK &&
            beacon.naddresses > 0)
            snprintf (peer[n++], NETIF_TEXT, "%s", beacon.address[0]);
    }
    if (dir)
        closedir (dir);
    return n;
}

/* The address to bind to, and the interface to broadcast on ("": none). */
static int choose_address (agent_t *self, char interface[IF_NAMESIZE],
                           sluice_error_t *err)
{
    enum { PEERS = 8 };
    const agent_options_t *o = self->options;
    snprintf (self->address, sizeof self->address, "*");
    self->host.address = self->address;
    interface[0] = 0;
    if (!o->cluster)
        return 0;
    char peer[PEERS][NETIF_TEXT];
    const char *peers[PEERS];
    if (o->interface) {
        if (if_nametoindex (o->interface) == 0)
            return sluice_fail (err, SLUICE_EINPUT, "there is no network interface %s",
                                o->interface);
        snprintf (interface, IF_NAMESIZE, "%s", o->interface);
        netif_addresses (interface, true, &self->address, 1);
    } else {
        unsigned n = read_peers (self, peer, PEERS);
        for (unsigned i = 0; i < n; i++)
            peers[i] = peer[i];
        netif_choose (peers, n, interface);
    }
    self->record.naddresses = netif_addresses (interface, o->interface != NULL,
                                               self->record.address, BEACON_ADDRESSES);
    if (!o->announce || !netif_can_broadcast (interface))
        interface[0] = 0;
    return 0;
}

static int start_announcing (agent_t *self, const char *interface, sluice_error_t *err)
{
    const agent_options_t *o = self->options;
    if (!o->cluster)
        return 0;
    struct timespec t;
    clock_gettime (CLOCK_REALTIME, &t);
    self->record.boot = (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
    self->record.slots = self->host.nslots;
    memcpy (self->record.uuid, self->host.uuid, sizeof self->record.uuid);
    memcpy (self->record.share, share_id (o->share), SHARE_ID_BYTES);
    snprintf (self->record.host, sizeof self->record.host, "%s", self->name);
    uint8_t data[BEACON_MAX];
    size_t n = beacon_encode (&self->record, o->cluster, data);
    if (n == 0)
        return sluice_fail (err, SLUICE_ESYSTEM,
                            "this host's name or addresses cannot be said");
    char name[2 * sizeof self->host.uuid + 1], warning[200];
    run_text (self->host.uuid, name);
    self->announce = announce_start (data, n, o->share, name, interface, warning, err);
    if (!self->announce)
        return -1;
    self->host.announce = self->announce;
    if (warning[0])
        fprintf (stderr, "sluice node: %s; masters find this node by the share\n",
                 warning);
    return 0;
}

/* ---- beginning and ending ----------------------------------------------- */

static int mask_signals (agent_t *self, sluice_error_t *err)
{
    self->signals = signals_open (&self->old_mask);
    self->masked = true;
    signal (SIGPIPE, SIG_IGN);
    if (self->signals < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot wait for signals: %s",
                            strerror (errno));
    return 0;
}

static void say_ready (const agent_t *self)
{
    const agent_options_t *o = self->options;
    if (o->ready_fd >= 0) {
        ssize_t written = write (o->ready_fd, "ready\n", 6);
        (void) written; /* who asked is gone: lifetime_fd says so too */
    }
    if (o->quiet)
        return;
    printf ("sluice node: host %s, %u slots, share %s, ", self->name, self->host.nslots,
            share_root (o->share));
    if (o->cluster)
        printf ("port %u, ", self->record.port);
    printf ("waiting for runs\n");
    fflush (stdout);
}

static bool is_socket (int fd)
{
    struct stat st;
    return fd > 0 && fstat (fd, &st) == 0 && S_ISSOCK (st.st_mode);
}

static int start (agent_t *self, sluice_error_t *err)
{
    const agent_options_t *o = self->options;
    host_t *host = &self->host;
    char interface[IF_NAMESIZE];
    if (!o->cluster && (!o->endpoint || strncmp (o->endpoint, "ipc://", 6) != 0))
        return sluice_fail (err, SLUICE_EINPUT,
                            "without a cluster key a node is reached over ipc:// only");
    measure (self);
    if (!o->endpoint && access (host->scratch, W_OK | X_OK) == -1)
        return sluice_fail (err, SLUICE_EINPUT, "--scratch or $TMPDIR %s: %s",
                            host->scratch, strerror (errno));
    if (vm_init (err) == -1)
        return -1;
    host->nursery = nursery_start (err);
    if (!host->nursery || mask_signals (self, err) == -1)
        return -1;
    raise_limits ();
    faults_begin ("node");
    if (o->trace && !(host->trace = trace_new (o->trace, "node", err)))
        return -1;
    host->share = o->share;
    host->confine = o->confine;
    if (!o->cluster && is_socket (o->lifetime_fd))
        host->handover = o->lifetime_fd;
    host->port_from = o->port_from;
    host->port_to = o->port_to;
    random_bytes (host->uuid, sizeof host->uuid);
    host->slots = slots_new (host->nslots, host->cores, err);
    if (!host->slots || choose_address (self, interface, err) == -1)
        return -1;
    host->context = zmq_ctx_new ();
    if (!host->context)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot start ZeroMQ: %s",
                            zmq_strerror (zmq_errno ()));
    zmq_ctx_set (host->context, ZMQ_MAX_SOCKETS,
                 zmq_ctx_get (host->context, ZMQ_SOCKET_LIMIT));
    if (open_control (self, err) == -1)
        return -1;
    host->endpoint = self->endpoint;
    self->desk = desk_new (host, err);
    if (!self->desk)
        return -1;
    return start_announcing (self, interface, err);
}

static void end (agent_t *self, const char *why)
{
    host_t *host = &self->host;
    announce_stop (&self->announce);
    faults_end ();
    if (self->desk)
        desk_close (self->desk, why, now_ms ());
    guard_destroy (&host->guard);
    if (host->control) {
        set_int (host->control, ZMQ_LINGER, BYE_MS);
        zmq_close (host->control);
    }
    zap_destroy (&host->zap);
    if (host->context)
        zmq_ctx_term (host->context); /* lets go of all segments */
    desk_destroy (&self->desk);
    trace_destroy (&host->trace);
    nursery_destroy (&host->nursery);
    slots_destroy (&host->slots);
    if (self->signals >= 0) {
        struct signalfd_siginfo info; /* or it would strike when unmasked */
        while (read (self->signals, &info, sizeof info) > 0)
            ;
        close (self->signals);
    }
    if (self->masked)
        sigprocmask (SIG_SETMASK, &self->old_mask, NULL);
}

/* ---- the loop ----------------------------------------------------------- */

static void show_state (const agent_t *self)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream (&text, &size);
    if (!out)
        return;
    desk_write_state (self->desk, out);
    fclose (out);
    text_to_stderr (text);
    free (text);
}

/* Is one of them there that ends us? SIGUSR1 only asks. */
static bool read_signals (const agent_t *self)
{
    struct signalfd_siginfo info;
    bool end = false;
    while (read (self->signals, &info, sizeof info) == (ssize_t) sizeof info) {
        if (info.ssi_signo == SIGUSR1)
            show_state (self);
        else
            end = true;
    }
    return end;
}

/* Why the loop is to end; NULL: go on. */
static const char *look_around (const agent_t *self, sluice_error_t *err)
{
    struct pollfd fds[3] = {{.fd = self->signals, .events = POLLIN},
                            {.fd = self->options->lifetime_fd, .events = POLLIN},
                            {.fd = nursery_fd (self->host.nursery), .events = POLLIN}};
    if (poll (fds, 3, 0) <= 0)
        return NULL;
    if (fds[0].revents && read_signals (self))
        return "the node was stopped";
    if (fds[1].revents)
        return "its master ended";
    if (!fds[2].revents)
        return NULL;
    sluice_fail (err, SLUICE_ESYSTEM, "the process that makes workers has died");
    return "the node broke down";
}

static const char *loop (agent_t *self, sluice_error_t *err)
{
    enum { FIXED = 6 };
    host_t *host = &self->host;
    int64_t last = now_ms ();
    for (;;) {
        zmq_pollitem_t *items;
        size_t more = desk_items (self->desk, FIXED, &items);
        if (!items) {
            sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
            return "the node broke down";
        }
        items[0] = (zmq_pollitem_t){.socket = host->control, .events = ZMQ_POLLIN};
        items[1] = (zmq_pollitem_t){.fd = self->signals, .events = ZMQ_POLLIN};
        items[2] =
            (zmq_pollitem_t){.fd = nursery_fd (host->nursery), .events = ZMQ_POLLIN};
        size_t n = 3;
        if (self->options->lifetime_fd >= 0)
            items[n++] =
                (zmq_pollitem_t){.fd = self->options->lifetime_fd, .events = ZMQ_POLLIN};
        if (host->zap)
            items[n++] =
                (zmq_pollitem_t){.socket = zap_socket (host->zap), .events = ZMQ_POLLIN};
        if (host->guard)
            items[n++] = (zmq_pollitem_t){.socket = guard_socket (host->guard),
                                          .events = ZMQ_POLLIN};
        /* those of the desk follow without a gap */
        memmove (items + n, items + FIXED, more * sizeof *items);
        desk_pace_t pace = desk_pace (self->desk);
        long wait = pace == DESK_HURRY  ? HURRY_MS
                    : pace == DESK_WANT ? WANT_MS
                    : pace == DESK_RUNS ? TICK_MS
                                        : IDLE_MS;
        if (zmq_poll (items, (int) (n + more), wait) == -1 && zmq_errno () != EINTR) {
            sluice_fail (err, SLUICE_ESYSTEM, "cannot wait for messages: %s",
                         zmq_strerror (zmq_errno ()));
            return "the node broke down";
        }
        const char *why = look_around (self, err);
        if (why)
            return why;
        int64_t now = now_ms ();
        if (now - last > faults_ms (SILENCE_MS))
            desk_forget (self->desk, "the node stood still for 8 s", now);
        last = now;
        if (host->zap)
            zap_answer (host->zap);
        if (host->guard)
            guard_turn (host->guard, now);
        desk_turn (self->desk, now);
        faults_turn ();
        char trouble[200];
        if (self->announce && announce_trouble (self->announce, trouble))
            fprintf (stderr, "sluice node: %s\n", trouble);
    }
}

int agent_run (const agent_options_t *options, sluice_error_t *err)
{
    sluice_error_t mine = {0};
    agent_t *self = calloc (1, sizeof *self);
    if (!self)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    self->options = options;
    self->signals = -1;
    const char *why = "the node did not start";
    if (start (self, &mine) == 0) {
        say_ready (self);
        why = loop (self, &mine);
    }
    end (self, why);
    free (self);
    if (err)
        *err = mine;
    return mine.code == SLUICE_OK ? 0 : -1;
}
