/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "node/zygote.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "calc/kernel_host.h"
#include "node/limits.h"
#include "proto/proctree.h"
#include "node/wire.h"
#include "node/worker.h"
#include "proto/clock.h"

enum {
    MAX_FRIENDS = 64,      /* processes that the kernel's open may leave */
    SWEEP_MS = 20,         /* orphans are killed again this often */
    GRACE_MS = 250,        /* for idle workers, to call the kernel's close */
    FORK_TRIES = 50,       /* a machine short of processes may recover ... */
    FORK_WAIT_US = 100000, /* ... while we wait so long each time */
    DRAIN_BYTES = 1 << 20  /* more than a pipe holds: enough to have all of it */
};

typedef struct {
    pid_t pid; /* 0: none */
    int err;   /* what it prints; -1: none */
    size_t ntail;
    char tail[TAIL_BYTES];
} child_t;

typedef struct {
    int sock, children;
    pid_t self;
    wire_order_t order;
    const char *root, *scratch;
    msg_t hello;
    share_t *share;
    kernel_t *kernel;
    void *state;
    uint8_t *pages;
    size_t page_bytes;
    child_t *workers;
    pid_t friends[MAX_FRIENDS];
    size_t nfriends;
    bool orphans; /* some may live */
} zygote_t;

static void say (zygote_t *self, wire_op_t op, unsigned slot, uint64_t a, uint64_t b,
                 const char *text, size_t n)
{
    wire_t wire = {.op = op, .slot = slot, .a = a, .b = b};
    if (n > WIRE_MAX_BYTES)
        n = WIRE_MAX_BYTES;
    if (wire_send (self->sock, &wire, text, n, NULL, 0, true) < 0)
        _exit (0); /* nobody listens any more */
}

static _Noreturn void give_up (zygote_t *self, const char *why)
{
    say (self, WIRE_LACKS, 0, 0, 0, why, strlen (why));
    _exit (0);
}

/* ---- opening ------------------------------------------------------------- */

static int read_order (zygote_t *self, int fd, sluice_error_t *err)
{
    struct stat st;
    if (fstat (fd, &st) < 0 || (size_t) st.st_size < sizeof self->order)
        return sluice_fail (err, SLUICE_ESYSTEM, "the order for the run is not readable");
    const char *map = mmap (NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return sluice_fail (err, SLUICE_ESYSTEM,
                            "the order for the run cannot be mapped: %s",
                            strerror (errno));
    memcpy (&self->order, map, sizeof self->order);
    self->root = map + sizeof self->order;
    self->scratch = self->root + self->order.root_bytes;
    return msg_decode (self->scratch + self->order.scratch_bytes, self->order.hello_bytes,
                       &self->hello, err);
}

static int map_pages (zygote_t *self, int fd, sluice_error_t *err)
{
    self->page_bytes = slot_page_bytes (self->order.segments);
    void *map = mmap (NULL, self->page_bytes * self->order.slots, PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return sluice_fail (err, SLUICE_ESYSTEM, "shared memory cannot be mapped: %s",
                            strerror (errno));
    self->pages = map;
    return 0;
}

static int load_kernel (zygote_t *self, sluice_error_t *err)
{
    const msg_hello_t *hello = &self->hello.hello;
    static const char builtin[] = "builtin:";
    if (strncmp (hello->kernel, builtin, sizeof builtin - 1) == 0) {
        self->kernel = kernel_builtin (hello->kernel + sizeof builtin - 1, err);
        return self->kernel ? 0 : -1;
    }
    int fd = share_openat (self->share, hello->kernel, O_RDONLY, 0, err);
    if (fd < 0)
        return sluice_fail_at (err, "kernel %s", hello->kernel);
    self->kernel = kernel_load (fd, hello->kernel, hello->kernel_hash, err);
    close (fd);
    return self->kernel ? 0 : -1;
}

static int open_inputs (zygote_t *self, sluice_error_t *err)
{
    const msg_hello_t *hello = &self->hello.hello;
    self->share =
        self->order.share_confined ? share_open (self->root, err) : share_new_open (err);
    if (!self->share || load_kernel (self, err) < 0)
        return -1;
    /* They stay: the workers inherit what the kernel made of them. */
    sluice_inputs_t *inputs =
        inputs_new (self->share, hello->params, hello->seed, hello->items, hello->inputs,
                    hello->files, hello->nfiles, err);
    if (!inputs)
        return -1;
    const sluice_kernel_t *api = kernel_api (self->kernel);
    if (api->open && api->open (inputs, &self->state, err)) {
        if (!err->text[0])
            sluice_fail (err, SLUICE_EINPUT, "its open failed and did not say why");
        return sluice_fail_at (err, "%s", api->name);
    }
    const char *file = h5_still_open ();
    if (file[0])
        return sluice_fail (
            err, SLUICE_EINPUT,
            "kernel %s leaves HDF5 file %s open: close it in `open`, and open "
            "it anew in `run`",
            api->name, file);
    return 0;
}

static unsigned count_threads (void)
{
    unsigned n = 0;
    DIR *dir = opendir ("/proc/self/task");
    struct dirent *entry;
    while (dir && (entry = readdir (dir)))
        n += entry->d_name[0] != '.';
    if (dir)
        closedir (dir);
    return n;
}

/* ---- workers ------------------------------------------------------------- */

/* A worker keeps nothing of ours but what it needs. */
static _Noreturn void become_worker (zygote_t *self, unsigned slot, int sock, int err)
{
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    if (getppid () != self->self)
        _exit (0);
    close (self->sock);
    close (self->children);
    for (unsigned i = 0; i < self->order.slots; i++) {
        if (self->workers[i].err >= 0)
            close (self->workers[i].err);
    }
    /* All pages but its own. */
    if (slot > 0)
        munmap (self->pages, slot * self->page_bytes);
    if (slot + 1 < self->order.slots)
        munmap (self->pages + (slot + 1) * self->page_bytes,
                (self->order.slots - slot - 1) * self->page_bytes);
    char scratch[4096];
    snprintf (scratch, sizeof scratch, "%s/%03u", self->scratch, slot);
    worker_t worker = {
        .slot = slot,
        .sock = sock,
        .err = err,
        .hello = &self->hello.hello,
        .kernel = self->kernel,
        .state = self->state,
        .page = (slot_page_t *) (void *) (self->pages + slot * self->page_bytes),
        .segments = self->order.segments,
        .memory = self->order.memory,
        .scratch = scratch,
        .confine = self->order.confine,
        .sealed = self->order.sealed,
        .small = self->order.small != 0,
        .root = share_root (self->share)};
    worker_main (&worker);
}

static void fork_worker (zygote_t *self, unsigned slot, int sock)
{
    child_t *child = &self->workers[slot];
    int ends[2] = {-1, -1};
    pid_t pid = -1;
    for (int i = 0; i < FORK_TRIES && pid < 0; i++) {
        if (i > 0)
            usleep (FORK_WAIT_US);
        if (ends[0] < 0 && pipe2 (ends, O_CLOEXEC) < 0)
            continue;
        fflush (NULL); /* or each worker prints it again */
        pid = fork ();
    }
    if (pid < 0) {
        char why[200];
        snprintf (why, sizeof why, "cannot make a worker: %s", strerror (errno));
        give_up (self, why);
    }
    if (pid == 0) {
        close (ends[0]);
        become_worker (self, slot, sock, ends[1]);
    }
    setpgid (pid, pid); /* it does so too: whoever comes first */
    close (ends[1]);
    fcntl (ends[0], F_SETFL, O_NONBLOCK);
    child->pid = pid;
    child->err = ends[0];
    child->ntail = 0;
}

static void keep_tail (child_t *child, const char *text, size_t n)
{
    if (n > TAIL_BYTES) {
        text += n - TAIL_BYTES;
        n = TAIL_BYTES;
    }
    size_t keep = TAIL_BYTES - n < child->ntail ? TAIL_BYTES - n : child->ntail;
    memmove (child->tail, child->tail + child->ntail - keep, keep);
    memcpy (child->tail + keep, text, n);
    child->ntail = keep + n;
}

/* Read what is there, at most about `most` bytes. */
static void drain (child_t *child, size_t most)
{
    char text[16 << 10];
    size_t done = 0;
    while (child->err >= 0 && done < most) {
        ssize_t n = read (child->err, text, sizeof text);
        if (n > 0) {
            keep_tail (child, text, (size_t) n);
            done += (size_t) n;
        } else if (n < 0 && errno == EINTR)
            continue;
        else {
            if (n == 0) { /* all ends of it are closed */
                close (child->err);
                child->err = -1;
            }
            break;
        }
    }
}

/* Everything below us that is neither a worker nor a friend was left behind
 * by a worker that died: a living one is a subreaper itself. */
static void kill_orphans (zygote_t *self)
{
    pid_t *spare = calloc (self->order.slots + MAX_FRIENDS, sizeof *spare);
    if (!spare)
        return;
    size_t n = 0;
    for (unsigned i = 0; i < self->order.slots; i++)
        if (self->workers[i].pid)
            spare[n++] = self->workers[i].pid;
    for (size_t i = 0; i < self->nfriends; i++)
        spare[n++] = self->friends[i];
    self->orphans = proctree_kill (self->self, false, spare, n) != 0;
    free (spare);
}

static void reap (zygote_t *self)
{
    struct signalfd_siginfo info;
    while (read (self->children, &info, sizeof info) > 0)
        ;
    int status;
    struct rusage usage;
    pid_t pid;
    while ((pid = wait4 (-1, &status, WNOHANG, &usage)) > 0) {
        for (size_t i = 0; i < self->nfriends; i++)
            if (self->friends[i] == pid)
                self->friends[i--] = self->friends[--self->nfriends];
        for (unsigned i = 0; i < self->order.slots; i++) {
            child_t *child = &self->workers[i];
            if (child->pid != pid)
                continue;
            child->pid = 0;
            kill_orphans (self);
            drain (child, DRAIN_BYTES);
            if (child->err >= 0)
                close (child->err);
            child->err = -1;
            say (self, WIRE_DEAD, i, (uint64_t) (uint32_t) status,
                 (uint64_t) usage.ru_maxrss << 10, child->tail, child->ntail);
        }
    }
}

/* ---- watching ------------------------------------------------------------ */

/* The agent has no more use for us, or is dead. */
static _Noreturn void end (zygote_t *self)
{
    for (int64_t until = clock_ms () + GRACE_MS; clock_ms () < until;) {
        if (waitpid (-1, NULL, WNOHANG) < 0 && errno == ECHILD)
            _exit (0);
        usleep (2000);
    }
    proctree_kill (self->self, false, NULL, 0);
    _exit (0); /* the spawner inherits and kills what is left */
}

static void obey (zygote_t *self, wire_mail_t *mail)
{
    const wire_t *wire = &mail->wire;
    if (wire->slot >= self->order.slots)
        return;
    child_t *child = &self->workers[wire->slot];
    switch (wire->op) {
    case WIRE_FORK:
        if (!child->pid && mail->nfds == 1)
            fork_worker (self, wire->slot, mail->fds[0]);
        break;
    case WIRE_KILL:
        if (child->pid)
            proctree_kill (child->pid, true, NULL, 0);
        break;
    case WIRE_PAUSE:
        if (child->pid)
            kill (-child->pid, wire->a ? SIGSTOP : SIGCONT);
        /* Commands have sessions of their own. */
        if (child->pid && strcmp (self->hello.hello.kernel, "builtin:map") == 0)
            proctree_signal (child->pid, wire->a ? SIGSTOP : SIGCONT);
        break;
    case WIRE_ASK_TAIL:
        drain (child, DRAIN_BYTES);
        say (self, WIRE_TAIL, wire->slot, 0, 0, child->tail, child->ntail);
        child->ntail = 0; /* the next failure has its own */
        break;
    default:
        break;
    }
}

static void listen (zygote_t *self)
{
    wire_mail_t mail;
    wire_result_t got;
    while ((got = wire_recv (self->sock, &mail, false)) == WIRE_GOT) {
        obey (self, &mail);
        wire_drop (&mail);
    }
    if (got == WIRE_EOF)
        end (self);
}

static _Noreturn void watch (zygote_t *self)
{
    unsigned slots = self->order.slots;
    struct pollfd *fds = calloc (slots + 2, sizeof *fds);
    if (!fds)
        give_up (self, "out of memory");
    for (;;) {
        fds[0] = (struct pollfd){.fd = self->sock, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = self->children, .events = POLLIN};
        for (unsigned i = 0; i < slots; i++)
            fds[i + 2] = (struct pollfd){.fd = self->workers[i].err, .events = POLLIN};
        poll (fds, slots + 2, self->orphans ? SWEEP_MS : -1);
        listen (self);
        reap (self);
        if (self->orphans)
            kill_orphans (self);
        for (unsigned i = 0; i < slots; i++)
            if (fds[i + 2].revents && fds[i + 2].fd == self->workers[i].err)
                drain (&self->workers[i], 64 << 10);
    }
}

static void own_output (int err)
{
    int null = open ("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0) {
        dup2 (null, 0);
        close (null);
    }
    dup2 (err, 1);
    dup2 (err, 2);
    close (err);
}

_Noreturn void zygote_main (int sock, int order, int pages, int err)
{
    static zygote_t self; /* large, and wanted until the end */
    self.sock = sock;
    self.self = getpid ();
    sluice_error_t error = {0};
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    prctl (PR_SET_NAME, "sluice-zygote");
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    limits_reset_signals ();
    signal (SIGTERM, SIG_IGN);
    signal (SIGINT, SIG_IGN);
    signal (SIGHUP, SIG_IGN);
    signal (SIGUSR1, SIG_IGN);
    own_output (err);
    if (read_order (&self, order, &error) < 0 || map_pages (&self, pages, &error) < 0)
        give_up (&self, error.text);
    close (order);
    close (pages);
    limits_threads (self.hello.hello.cores_per_task);
    if (open_inputs (&self, &error) < 0)
        give_up (&self, error.text);
    self.workers = calloc (self.order.slots, sizeof *self.workers);
    if (!self.workers)
        give_up (&self, "out of memory");
    for (unsigned i = 0; i < self.order.slots; i++)
        self.workers[i].err = -1;
    self.nfriends = proctree_children (self.self, self.friends, MAX_FRIENDS);
    sigset_t child;
    sigemptyset (&child);
    sigaddset (&child, SIGCHLD);
    sigprocmask (SIG_BLOCK, &child, NULL);
    self.children = signalfd (-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (self.children < 0)
        give_up (&self, "out of descriptors");
    char note[200] = "";
    unsigned threads = count_threads ();
    if (threads > 1)
        snprintf (note, sizeof note,
                  "the kernel's open left %u threads running; workers do not have them",
                  threads - 1);
    say (&self, WIRE_OPEN, 0, 0, 0, note, strlen (note));
    watch (&self);
}
