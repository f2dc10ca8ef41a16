/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* raw - what the machine does with the bare means, to measure Sluice against
 *
 *   raw ideal tcp|ipc BYTES PIECE FILE chunk|extent [curve]
 *   raw pull tcp|ipc BYTES PIECE [curve]
 *   raw router WORKERS TASKS BATCH AHEAD
 *   raw trip tcp|ipc COUNT [SPIN_US]
 *   raw spawn COUNT CHILDREN COMMAND [ARGUMENT...]
 *   raw write BYTES FILE
 *   raw rows BYTES
 *
 * ideal   A process sends BYTES in pieces to another, which writes them to an HDF5 file:
 *         PUSH and PULL and nothing else. Pieces are sent without a copy from memory that
 *         is used again, and no more are under way than fit the queues. The file is
 *         written with H5Dwrite_chunk, or by pwrite into the one extent of a dataset that
 *         HDF5 has laid out before; then fdatasync, as Sluice's output is durable, too.
 *         Over tcp both sides may be encrypted by CURVE.
 * pull    The same without a file.
 * router  A ROUTER gives TASKS descriptors of 32 bytes to DEALERs, BATCH in a message, at
 *         most AHEAD messages to each before it answers; they answer with as many.
 * trip    One such message there and back, COUNT times, one at a time. With SPIN_US
 * whoever answers computes so long before, which does not count. spawn   posix_spawn,
 * COUNT times, CHILDREN at a time. write   Write BYTES a MiB at a time, and fdatasync.
 * rows    Fill a buffer larger than the caches with rows of 16 bytes, again and again.
 *
 * Prints one JSON object. Errors end it: it only measures.
 */
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <malloc.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

extern char **environ;

enum { POOL = 16, QUEUE = 4, DESCRIPTOR = 32, KEY_TEXT = 41, MAX_TRIPS = 1000000 };

#define NEED(condition) need (condition, #condition, __LINE__)
static void need (bool good, const char *what, int line)
{
    if (good)
        return;
    fprintf (stderr, "raw:%d: %s: %s\n", line, what, zmq_strerror (zmq_errno ()));
    exit (1);
}

static double now (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static double cpu_of (int who)
{
    struct rusage u;
    getrusage (who, &u);
    return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static uint64_t number (const char *text)
{
    char *end;
    uint64_t value = strtoull (text, &end, 10);
    NEED (end != text && !*end && value > 0);
    return value;
}

/* ---- sockets ------------------------------------------------------------------ */

/* Both processes make the same endpoint and, with `curve`, know both pairs of keys. */
typedef struct {
    char endpoint[64], folder[32];
    bool curve;
    char server[2][KEY_TEXT], client[2][KEY_TEXT]; /* public, secret */
} wire_t;

static wire_t make_wire (const char *transport, bool curve)
{
    wire_t wire = {.curve = curve};
    if (strcmp (transport, "tcp") == 0) {
        /* A port that is free now: bound by a socket that is closed again. */
        size_t n = sizeof wire.endpoint;
        void *context = zmq_ctx_new (), *probe = zmq_socket (context, ZMQ_PULL);
        NEED (zmq_bind (probe, "tcp://127.0.0.1:*") == 0);
        NEED (zmq_getsockopt (probe, ZMQ_LAST_ENDPOINT, wire.endpoint, &n) == 0);
        zmq_close (probe);
        zmq_ctx_term (context);
    } else {
        strcpy (wire.folder, "/tmp/raw-XXXXXX");
        NEED (mkdtemp (wire.folder) != NULL);
        snprintf (wire.endpoint, sizeof wire.endpoint, "ipc://%s/s", wire.folder);
    }
    if (curve) {
        NEED (zmq_curve_keypair (wire.server[0], wire.server[1]) == 0);
        NEED (zmq_curve_keypair (wire.client[0], wire.client[1]) == 0);
    }
    return wire;
}

static void remove_wire (const wire_t *wire)
{
    if (wire->folder[0]) {
        unlink (wire->endpoint + strlen ("ipc://"));
        rmdir (wire->folder);
    }
}

static void *open_socket (void *context, int type, const wire_t *wire, bool server)
{
    int queue = QUEUE, none = 0, linger = -1, yes = 1;
    void *socket = zmq_socket (context, type);
    NEED (socket != NULL);
    if (type == ZMQ_PUSH || type == ZMQ_PULL) {
        zmq_setsockopt (socket, ZMQ_SNDHWM, &queue, sizeof queue);
        zmq_setsockopt (socket, ZMQ_RCVHWM, &queue, sizeof queue);
    }
    if (type == ZMQ_ROUTER || type == ZMQ_DEALER) {
        /* A ROUTER drops what does not fit. */
        zmq_setsockopt (socket, ZMQ_SNDHWM, &none, sizeof none);
        zmq_setsockopt (socket, ZMQ_RCVHWM, &none, sizeof none);
    }
    zmq_setsockopt (socket, ZMQ_LINGER, &linger, sizeof linger);
    if (wire->curve && server) {
        zmq_setsockopt (socket, ZMQ_CURVE_SERVER, &yes, sizeof yes);
        zmq_setsockopt (socket, ZMQ_CURVE_SECRETKEY, wire->server[1], KEY_TEXT);
    } else if (wire->curve) {
        zmq_setsockopt (socket, ZMQ_CURVE_SERVERKEY, wire->server[0], KEY_TEXT);
        zmq_setsockopt (socket, ZMQ_CURVE_PUBLICKEY, wire->client[0], KEY_TEXT);
        zmq_setsockopt (socket, ZMQ_CURVE_SECRETKEY, wire->client[1], KEY_TEXT);
    }
    NEED (server ? zmq_bind (socket, wire->endpoint) == 0
                 : zmq_connect (socket, wire->endpoint) == 0);
    return socket;
}

/* A child that ends with this process, also when that is killed. */
static pid_t fork_child (void)
{
    pid_t pid = fork ();
    NEED (pid >= 0);
    if (pid == 0)
        prctl (PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static void wait_for (pid_t child)
{
    int status;
    NEED (waitpid (child, &status, 0) == child && status == 0);
}

/* ---- ideal ------------------------------------------------------------------------ */

/* Pieces that are free. The I/O thread gives them back. */
static struct {
    sem_t free;
    uint8_t *piece[POOL];
    _Atomic unsigned given, taken;
} pool;

static void give_back (void *data, void *hint)
{
    (void) hint;
    pool.piece[pool.given++ % POOL] = data;
    sem_post (&pool.free);
}

static void push_all (const wire_t *wire, uint64_t bytes, uint64_t piece)
{
    uint8_t *memory = malloc (piece * POOL);
    NEED (memory != NULL);
    memset (memory, 7, piece * POOL);
    sem_init (&pool.free, 0, 0);
    for (unsigned i = 0; i < POOL; i++)
        give_back (memory + piece * i, NULL);
    void *context = zmq_ctx_new (), *socket = open_socket (context, ZMQ_PUSH, wire, true);
    for (uint64_t at = 0; at < bytes; at += piece) {
        zmq_msg_t msg;
        while (sem_wait (&pool.free) < 0)
            ;
        uint8_t *data = pool.piece[pool.taken++ % POOL];
        memcpy (data, &at, sizeof at);
        zmq_msg_init_data (&msg, data, bytes - at < piece ? bytes - at : piece, give_back,
                           NULL);
        NEED (zmq_msg_send (&msg, socket, 0) >= 0);
    }
    zmq_close (socket);
    zmq_ctx_term (context);
}

/* Where the bytes go: an HDF5 file, or nowhere. */
typedef struct {
    hid_t file, set;
    int fd; /* plain extent; else -1 */
    haddr_t at;
} sink_t;

static sink_t open_sink (const char *path, const char *how, uint64_t bytes,
                         uint64_t piece)
{
    sink_t sink = {.fd = -1};
    bool plain = strcmp (how, "extent") == 0;
    hsize_t rows = bytes, chunk = piece;
    hid_t access = H5Pcreate (H5P_FILE_ACCESS), make = H5Pcreate (H5P_DATASET_CREATE);
    NEED (plain || strcmp (how, "chunk") == 0);
    H5Pset_libver_bounds (access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
    H5Pset_alignment (access, 65536, 4096);
    H5Pset_fill_time (make, H5D_FILL_TIME_NEVER);
    if (plain)
        H5Pset_alloc_time (make, H5D_ALLOC_TIME_EARLY);
    else
        H5Pset_chunk (make, 1, &chunk);
    hid_t space = H5Screate_simple (1, &rows, NULL);
    sink.file = H5Fcreate (path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    sink.set = H5Dcreate2 (sink.file, "rows", H5T_NATIVE_UINT8, space, H5P_DEFAULT, make,
                           H5P_DEFAULT);
    NEED (sink.set >= 0);
    if (plain) {
        sink.at = H5Dget_offset (sink.set);
        NEED (sink.at != HADDR_UNDEF);
        H5Dclose (sink.set);
        H5Fclose (sink.file);
        NEED ((sink.fd = open (path, O_WRONLY | O_CLOEXEC)) >= 0);
    }
    H5Pclose (access);
    H5Pclose (make);
    H5Sclose (space);
    return sink;
}

static void pwrite_all (int fd, const uint8_t *data, size_t n, uint64_t at)
{
    while (n > 0) {
        ssize_t done = pwrite (fd, data, n, (off_t) at);
        NEED (done > 0);
        data += done;
        n -= (size_t) done;
        at += (uint64_t) done;
    }
}

static void close_sink (sink_t *sink, const char *path)
{
    if (sink->fd < 0) {
        H5Dclose (sink->set);
        NEED (H5Fclose (sink->file) >= 0);
        NEED ((sink->fd = open (path, O_WRONLY | O_CLOEXEC)) >= 0);
    }
    NEED (fdatasync (sink->fd) == 0);
    close (sink->fd);
}

static void ideal (const char *transport, uint64_t bytes, uint64_t piece,
                   const char *path, const char *how, bool curve)
{
    /* Memory that messages come in is used again, not given back and faulted anew. */
    mallopt (M_MMAP_THRESHOLD, 1 << 30);
    mallopt (M_TRIM_THRESHOLD, 1 << 30);
    mallopt (M_ARENA_MAX, 2);
    double start = now ();
    wire_t wire = make_wire (transport, curve);
    pid_t child = fork_child ();
    if (child == 0) {
        push_all (&wire, bytes, piece);
        _exit (0);
    }
    sink_t sink = {.fd = -1};
    if (path)
        sink = open_sink (path, how, bytes, piece);
    void *context = zmq_ctx_new (),
         *socket = open_socket (context, ZMQ_PULL, &wire, false);
    for (uint64_t at = 0; at < bytes;) {
        zmq_msg_t msg;
        uint64_t stamp;
        zmq_msg_init (&msg);
        NEED (zmq_msg_recv (&msg, socket, 0) >= (int) sizeof stamp);
        size_t n = zmq_msg_size (&msg);
        memcpy (&stamp, zmq_msg_data (&msg), sizeof stamp);
        NEED (stamp == at);
        hsize_t offset = at;
        if (path && sink.fd >= 0)
            pwrite_all (sink.fd, zmq_msg_data (&msg), n, sink.at + at);
        else if (path)
            NEED (H5Dwrite_chunk (sink.set, H5P_DEFAULT, 0, &offset, n,
                                  zmq_msg_data (&msg)) >= 0);
        zmq_msg_close (&msg);
        at += n;
    }
    double came = now ();
    if (path)
        close_sink (&sink, path);
    double end = now ();
    zmq_close (socket);
    zmq_ctx_term (context);
    wait_for (child);
    remove_wire (&wire);
    printf ("{\"seconds\": %.6f, \"unsynced\": %.6f, \"bytes\": %" PRIu64
            ", \"cpu\": %.3f, \"cpu_sender\": %.3f}\n",
            end - start, came - start, bytes, cpu_of (RUSAGE_SELF),
            cpu_of (RUSAGE_CHILDREN));
}

/* ---- router ------------------------------------------------------------------------ */

static void answer_all (const wire_t *wire)
{
    void *context = zmq_ctx_new (),
         *socket = open_socket (context, ZMQ_DEALER, wire, false);
    NEED (zmq_send (socket, "", 0, 0) == 0);
    for (;;) {
        zmq_msg_t msg;
        zmq_msg_init (&msg);
        NEED (zmq_msg_recv (&msg, socket, 0) >= 0);
        if (zmq_msg_size (&msg) == 0)
            break;
        if (zmq_msg_size (&msg) == DESCRIPTOR) {
            uint64_t spin_us;
            memcpy (&spin_us, zmq_msg_data (&msg), sizeof spin_us);
            for (double until = now () + (double) spin_us * 1e-6;
                 spin_us && now () < until;)
                ;
        }
        NEED (zmq_msg_send (&msg, socket, 0) >= 0);
    }
    zmq_close (socket);
    zmq_ctx_term (context);
}

enum { MOST_WORKERS = 16, ROUTE = 5 };

/* Receive from a worker: its route and how many bytes it sent. */
static size_t from_worker (void *router, uint8_t route[ROUTE])
{
    zmq_msg_t msg;
    NEED (zmq_recv (router, route, ROUTE, 0) == ROUTE);
    zmq_msg_init (&msg);
    NEED (zmq_msg_recv (&msg, router, 0) >= 0);
    size_t n = zmq_msg_size (&msg);
    zmq_msg_close (&msg);
    return n;
}

static void to_worker (void *router, const uint8_t route[ROUTE], const uint8_t *data,
                       size_t n)
{
    NEED (zmq_send (router, route, ROUTE, ZMQ_SNDMORE) == ROUTE);
    NEED (zmq_send (router, data, n, 0) == (int) n);
}

/* Start `n` workers; the routes to them. */
static void *start_workers (void **context, const wire_t *wire, unsigned n, pid_t *pids,
                            uint8_t (*routes)[ROUTE])
{
    for (unsigned i = 0; i < n; i++)
        if ((pids[i] = fork_child ()) == 0) {
            answer_all (wire);
            _exit (0);
        }
    *context = zmq_ctx_new ();
    void *router = open_socket (*context, ZMQ_ROUTER, wire, true);
    for (unsigned i = 0; i < n; i++)
        from_worker (router, routes[i]);
    return router;
}

static void end_workers (void *context, void *router, const wire_t *wire, unsigned n,
                         const pid_t *pids, uint8_t (*routes)[ROUTE])
{
    for (unsigned i = 0; i < n; i++)
        to_worker (router, routes[i], NULL, 0);
    for (unsigned i = 0; i < n; i++)
        wait_for (pids[i]);
    zmq_close (router);
    zmq_ctx_term (context);
    remove_wire (wire);
}

static void router (unsigned workers, uint64_t tasks, uint64_t batch, unsigned ahead)
{
    pid_t pids[MOST_WORKERS];
    uint8_t routes[MOST_WORKERS][ROUTE], route[ROUTE];
    void *context;
    NEED (workers <= MOST_WORKERS);
    wire_t wire = make_wire ("ipc", false);
    uint8_t *data = calloc (batch, DESCRIPTOR);
    NEED (data != NULL);
    void *socket = start_workers (&context, &wire, workers, pids, routes);
    double start = now ();
    uint64_t sent = 0, done = 0;
    for (unsigned i = 0; i < workers * ahead && sent < tasks; i++, sent += batch)
        to_worker (socket, routes[i % workers], data, batch * DESCRIPTOR);
    while (done < sent) {
        done += from_worker (socket, route) / DESCRIPTOR;
        if (sent < tasks) {
            to_worker (socket, route, data, batch * DESCRIPTOR);
            sent += batch;
        }
    }
    double took = now () - start;
    end_workers (context, socket, &wire, workers, pids, routes);
    free (data);
    printf ("{\"seconds\": %.6f, \"tasks\": %" PRIu64 ", \"cpu\": %.3f}\n", took, done,
            cpu_of (RUSAGE_SELF) + cpu_of (RUSAGE_CHILDREN));
}

static int by_value (const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static void trip (const char *transport, uint64_t count, uint64_t spin_us)
{
    pid_t pid;
    uint8_t routes[1][ROUTE], route[ROUTE], data[DESCRIPTOR] = {0};
    void *context;
    NEED (count <= MAX_TRIPS);
    memcpy (data, &spin_us, sizeof spin_us);
    double *took = calloc (count, sizeof *took);
    NEED (took != NULL);
    wire_t wire = make_wire (transport, false);
    void *socket = start_workers (&context, &wire, 1, &pid, routes);
    for (uint64_t i = 0; i < count; i++) {
        double start = now ();
        to_worker (socket, routes[0], data, sizeof data);
        from_worker (socket, route);
        took[i] = now () - start - (double) spin_us * 1e-6;
    }
    end_workers (context, socket, &wire, 1, &pid, routes);
    qsort (took, count, sizeof *took, by_value);
    printf ("{\"median_us\": %.2f, \"tenth_us\": %.2f, \"ninetieth_us\": %.2f}\n",
            took[count / 2] * 1e6, took[count / 10] * 1e6, took[count * 9 / 10] * 1e6);
    free (took);
}

/* ---- others ------------------------------------------------------------------------ */

static void spawn (uint64_t count, uint64_t children, char **command)
{
    double start = now ();
    uint64_t begun = 0, running = 0;
    while (begun < count || running > 0) {
        if (begun < count && running < children) {
            pid_t pid;
            errno = posix_spawnp (&pid, command[0], NULL, NULL, command, environ);
            NEED (errno == 0);
            begun++;
            running++;
        } else {
            NEED (wait (NULL) > 0);
            running--;
        }
    }
    printf ("{\"seconds\": %.6f, \"commands\": %" PRIu64 "}\n", now () - start, count);
}

static void write_file (uint64_t bytes, const char *path)
{
    size_t piece = 1 << 20;
    uint8_t *data = malloc (piece);
    NEED (data != NULL);
    for (size_t i = 0; i < piece; i++)
        data[i] = (uint8_t) (i * 2654435761u >> 13);
    double start = now ();
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    NEED (fd >= 0);
    for (uint64_t at = 0; at < bytes; at += piece)
        pwrite_all (fd, data, bytes - at < piece ? bytes - at : piece, at);
    double written = now ();
    NEED (fdatasync (fd) == 0);
    double end = now ();
    close (fd);
    free (data);
    printf ("{\"seconds\": %.6f, \"unsynced\": %.6f, \"bytes\": %" PRIu64 "}\n",
            end - start, written - start, bytes);
}

static void fill_rows (uint64_t bytes)
{
    typedef struct {
        uint32_t sid, eid;
        float a, b;
    } row_t;
    size_t n = (size_t) 4 << 20; /* 64 MiB */
    row_t *rows = malloc (n * sizeof *rows);
    NEED (rows != NULL);
    memset (rows, 1, n * sizeof *rows);
    uint64_t done = 0;
    double start = now ();
    for (uint32_t event = 0; done < bytes; event++, done += n * sizeof *rows) {
        for (size_t i = 0; i < n; i++)
            rows[i] = (row_t){(uint32_t) i, event, (float) event, (float) event};
        __asm__ volatile("" : : "r"(rows) : "memory");
    }
    double took = now () - start;
    free (rows);
    printf ("{\"seconds\": %.6f, \"bytes\": %" PRIu64 "}\n", took, done);
}

static _Noreturn void usage (void)
{
    fputs ("usage: raw ideal tcp|ipc BYTES PIECE FILE chunk|extent [curve]\n"
           "       raw pull tcp|ipc BYTES PIECE [curve]\n"
           "       raw router WORKERS TASKS BATCH AHEAD\n"
           "       raw trip tcp|ipc COUNT [SPIN_US]\n"
           "       raw spawn COUNT CHILDREN COMMAND [ARGUMENT...]\n"
           "       raw write BYTES FILE\n"
           "       raw rows BYTES\n",
           stderr);
    exit (2);
}

int main (int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    bool curve = strcmp (argv[argc - 1], "curve") == 0;
    if (strcmp (what, "ideal") == 0 && argc >= 7)
        ideal (argv[2], number (argv[3]), number (argv[4]), argv[5], argv[6], curve);
    else if (strcmp (what, "pull") == 0 && argc >= 5)
        ideal (argv[2], number (argv[3]), number (argv[4]), NULL, NULL, curve);
    else if (strcmp (what, "router") == 0 && argc == 6)
        router ((unsigned) number (argv[2]), number (argv[3]), number (argv[4]),
                (unsigned) number (argv[5]));
    else if (strcmp (what, "trip") == 0 && (argc == 4 || argc == 5))
        trip (argv[2], number (argv[3]), argc == 5 ? number (argv[4]) : 0);
    else if (strcmp (what, "spawn") == 0 && argc >= 5)
        spawn (number (argv[2]), number (argv[3]), argv + 4);
    else if (strcmp (what, "write") == 0 && argc == 4)
        write_file (number (argv[2]), argv[3]);
    else if (strcmp (what, "rows") == 0 && argc == 3)
        fill_rows (number (argv[2]));
    else
        usage ();
    return 0;
}
