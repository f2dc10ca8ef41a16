/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "node/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "node/limits.h"
#include "proto/clock.h"
#include "proto/codec.h"
#include "proto/faults.h"
#include "proto/folder.h"
#include "proto/segments.h"

/* Small results lie so long before the agent is told, unless the worker has nothing
 * else to do: a message each would cost more than they. */
#define GATHER_S 0.0005

typedef enum {
    SEGMENT_NONE = 0,
    SEGMENT_FREE,
    SEGMENT_OPEN,
    SEGMENT_SENT
} segment_state_t;

typedef struct {
    void *map;
    int fd; /* until it was sent; then -1 */
    segment_state_t state;
} segment_t;

typedef struct {
    const worker_t *is;
    slot_page_t *page;
    segment_t *segments;
    unsigned made; /* segments that exist */
    emitter_t *emitter;
    wire_t last;       /* the task's last piece; op 0: not yet there */
    uint64_t ring;     /* bytes laid in the ring */
    uint64_t told;     /* of these, as of the last message */
    double told_at;    /* seconds: when that was, or when more came to it */
    uint32_t messages; /* sent */
    uint32_t begun;    /* tasks, as in hand_t */
    sealer_t *sealer;  /* NULL: pieces are not sealed */
    uint8_t
        header[WIRE_MAX_BYTES]; /* of a piece, behind room for its seal if there is one */
    size_t header_bytes;
    sluice_error_t trouble; /* why the sink ended the task; code 0: it did not */
    char note[200];
} work_t;

static work_t *crashing; /* for the handler below */
static pid_t crashing_pid;

static _Noreturn void leave (const worker_t *is)
{
    const sluice_kernel_t *api = kernel_api (is->kernel);
    if (api->close)
        api->close (is->state);
    fflush (NULL);
    _exit (0);
}

static void send_to_agent (work_t *self, const wire_t *what, const void *data, size_t n,
                           int fd)
{
    wire_t wire = *what;
    wire.ring = self->told = self->ring;
    self->messages++;
    if (wire_send (self->is->sock, &wire, data, n, &fd, fd >= 0, true) < 0)
        _exit (0); /* nobody listens any more */
}

static void tell (work_t *self, wire_op_t op, uint64_t a, uint64_t b, const char *text)
{
    wire_t wire = {.op = op, .slot = self->is->slot, .a = a, .b = b};
    send_to_agent (self, &wire, text, strlen (text), -1);
}

/* ---- the sink of the emitter ---------------------------------------------- */

static void note_item (work_t *self)
{
    atomic_store_explicit (&self->page->item, emitter_item (self->emitter),
                           memory_order_relaxed);
}

static segment_t *make_segment (work_t *self)
{
    segment_t *segment = &self->segments[self->made];
    segment->fd = segment_make (self->is->hello->segment, &segment->map, &self->trouble);
    if (segment->fd < 0)
        return NULL;
    self->made++;
    return segment;
}

/* The lowest free segment: few are touched, and those are in the cache. */
static segment_t *find_segment (work_t *self)
{
    for (unsigned i = 0; i < self->made; i++) {
        segment_t *segment = &self->segments[i];
        if (segment->state == SEGMENT_FREE ||
            (segment->state == SEGMENT_SENT &&
             atomic_load_explicit (&self->page->released[i], memory_order_acquire)))
            return segment;
    }
    if (self->made < self->is->segments &&
        self->made < atomic_load (&self->page->allowed))
        return make_segment (self);
    return NULL;
}

static void wait_for_message (work_t *self)
{
    wire_mail_t mail;
    wire_result_t got = wire_recv (self->is->sock, &mail, true);
    if (got == WIRE_EOF)
        leave (self->is);
    if (got == WIRE_GOT)
        wire_drop (&mail); /* during a task a WAKE: nothing else comes then */
}

/* Who sets `waiting` to 0 first has to see to the message that ends the wait:
 * so at most one WAKE is on its way, however often segments are released. */
static segment_t *wait_for_segment (work_t *self)
{
    segment_t *segment;
    while (!(segment = find_segment (self)) && !self->trouble.code) {
        atomic_store (&self->page->waiting, 1);
        segment = find_segment (self);
        if (segment || self->trouble.code) {
            if (atomic_exchange (&self->page->waiting, 0) == 0)
                wait_for_message (self);
            break;
        }
        tell (self, WIRE_WAITING, 0, 0, "");
        wait_for_message (self);
        atomic_store (&self->page->waiting, 0);
    }
    return segment;
}

static void *sink_get (void *arg, bool wait, uint32_t *handle)
{
    work_t *self = arg;
    note_item (self);
    segment_t *segment = wait ? wait_for_segment (self) : find_segment (self);
    if (!segment)
        return NULL;
    segment->state = SEGMENT_OPEN;
    *handle = (uint32_t) (segment - self->segments);
    return segment->map;
}

/* Bytes of the header that are for the seal. */
static size_t seal_room (const work_t *self)
{
    return self->sealer ? sizeof (seal_t) : 0;
}

static void send_piece (work_t *self, const wire_t *wire)
{
    segment_t *segment = &self->segments[wire->a];
    seal_t seal = {.nonce = 0};
    if (self->sealer) {
        if (!faults_without (WITHOUT_SEALS) &&
            sealer_seal (self->sealer, NULL, 0, segment->map, (size_t) wire->b, &seal,
                         NULL) == -1)
            abort (); /* cannot be; nothing leaves in clear */
        memcpy (self->header, &seal, sizeof seal);
    }
    atomic_store_explicit (&self->page->released[wire->a], 0, memory_order_relaxed);
    segment->state = SEGMENT_SENT;
    send_to_agent (self, wire, self->header, self->header_bytes, segment->fd);
    if (segment->fd >= 0)
        close (segment->fd);
    segment->fd = -1;
}

/* The last piece says "done": it waits until the kernel's run has returned,
 * and that it is free again need not be said in a message of its own. */
static int sink_put (void *arg, uint32_t handle, const piece_t *piece)
{
    work_t *self = arg;
    bool last = piece->kind == PIECE_DONE;
    wire_t wire = {.op = last ? WIRE_LAST : WIRE_PIECE,
                   .slot = self->is->slot,
                   .a = handle,
                   .b = piece->payload};
    size_t room = seal_room (self);
    self->header_bytes = room + piece_encode (piece, self->header + room);
    note_item (self);
    if (last)
        self->last = wire;
    else
        send_piece (self, &wire);
    return 0;
}

static void sink_give_back (void *arg, uint32_t handle)
{
    work_t *self = arg;
    self->segments[handle].state = SEGMENT_FREE;
}

static bool sink_yield (void *arg, uint64_t next)
{
    work_t *self = arg;
    atomic_store_explicit (&self->page->item, next, memory_order_relaxed);
    return atomic_load_explicit (&self->page->shed, memory_order_relaxed) ==
           self->begun + 1;
}

/* ---- crashes ------------------------------------------------------------- */

/* Leave word of the item, then die of the signal as if nobody had looked. */
static void on_crash (int sig)
{
    if (crashing && crashing->emitter && getpid () == crashing_pid)
        note_item (crashing);
    signal (sig, SIG_DFL);
    raise (sig);
}

static void on_exit_early (void)
{
    if (crashing && crashing->emitter && getpid () == crashing_pid)
        note_item (crashing);
}

static void watch_crashes (work_t *self)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static char stack[64 << 10]; /* the usual crash is a full stack */
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    crashing = self;
    crashing_pid = getpid ();
    sigaltstack (&other, NULL);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
        struct sigaction old,
            new = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER};
        /* A sanitizer or the kernel's own runtime may want it: theirs. */
        if (sigaction (deadly[i], NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) &&
            old.sa_handler == SIG_DFL)
            sigaction (deadly[i], &new, NULL);
    }
    atexit (on_exit_early);
}

/* ---- tasks --------------------------------------------------------------- */

/* The next task in hand. False: there is none, and WIRE_TASK comes when there is. */
static bool begin_task (work_t *self, task_t *task)
{
    uint64_t word = atomic_load (&self->page->hand);
    for (;;) {
        hand_t hand = hand_unpack (word);
        if (hand.closed || (hand.begun == hand.put && hand.asleep))
            return false;
        bool none = hand.begun == hand.put;
        if (none && self->told != self->ring) {
            tell (self, WIRE_RESULTS, 0, 0, "");
            word = atomic_load (&self->page->hand);
            continue;
        }
        uint32_t at = hand.begun;
        if (none)
            hand.asleep = true;
        else
            hand.begun++;
        if (!atomic_compare_exchange_weak (&self->page->hand, &word, hand_pack (hand)))
            continue;
        if (none)
            return false;
        self->begun = at;
        memcpy (task, &self->page->tasks[at % HAND_MAX], sizeof *task);
        return true;
    }
}

/* Its task failed: what else is in hand is for others, and the agent says when to go
 * on. */
static void close_hand (work_t *self)
{
    uint64_t word = atomic_load (&self->page->hand);
    hand_t hand;
    do {
        hand = hand_unpack (word);
        hand.closed = true;
    } while (!atomic_compare_exchange_weak (&self->page->hand, &word, hand_pack (hand)));
}

/* The last piece: in the ring if it is small. The agent hears of what lies there when
 * no task is in hand any more, when much does, or after a while; it also looks by
 * itself, should the next task take long. */
static void send_last (work_t *self)
{
    segment_t *segment = &self->segments[self->last.a];
    uint64_t before = self->ring;
    size_t room = seal_room (self); /* what is small the agent seals, many at once */
    if (!self->is->small ||
        !ring_put (self->page, &self->ring, self->messages, self->header + room,
                   self->header_bytes - room, segment->map, (size_t) self->last.b)) {
        send_piece (self, &self->last);
        return;
    }
    segment->state = SEGMENT_FREE;
    double now = clock_seconds ();
    if (before == self->told)
        self->told_at = now;
    if (self->ring - self->told >= RING_BYTES / 4 || now - self->told_at > GATHER_S)
        tell (self, WIRE_RESULTS, 0, 0, "");
}

/* ---- life ---------------------------------------------------------------- */

static int prepare_place (work_t *self, sluice_error_t *err)
{
    const worker_t *is = self->is;
    dup2 (is->err, 1);
    dup2 (is->err, 2);
    if (is->err > 2)
        close (is->err);
    folder_remove (is->scratch); /* what the one before us left */
    if (mkdir (is->scratch, 0700) < 0 || chdir (is->scratch) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot make the scratch folder %s: %s",
                            is->scratch, strerror (errno));
    setenv ("TMPDIR", is->scratch, 1);
    setenv ("SLUICE_SCRATCH", is->scratch, 1);
    if (limits_apply (is->memory, err) < 0)
        return -1;
    if (!is->confine)
        return 0;
    int rc = limits_confine (is->scratch, is->root, err);
    if (rc == 0)
        snprintf (self->note, sizeof self->note,
                  "not confined: this system has no Landlock (Linux 5.13, "
                  "CONFIG_SECURITY_LANDLOCK)");
    return rc < 0 ? -1 : 0;
}

static void run_task (work_t *self, sluice_task_t *context, const task_t *task)
{
    bool stopped = false;
    sluice_error_t err = {0};
    memset (&self->trouble, 0, sizeof self->trouble);
    self->last.op = 0;
    int rc = task_run (context, self->is->kernel, self->is->state, task, &stopped, &err);
    /* Whatever the task's own processes left for us to reap. Living ones may
     * be the kernel's helpers and stay. */
    while (waitpid (-1, NULL, WNOHANG) > 0)
        ;
    if (rc == 0 && !stopped && self->last.op) {
        send_last (self);
        return;
    }
    close_hand (self);
    if (self->last.op)
        self->segments[self->last.a].state = SEGMENT_FREE;
    const char *why = self->trouble.code ? self->trouble.text
                      : err.text[0]      ? err.text
                                         : "the kernel failed and did not say why";
    int exit_code, sig;
    task_get_end (context, &exit_code, &sig);
    fflush (NULL);
    /* It may have failed because that was full, and the next one is to find room. */
    folder_empty (self->is->scratch);
    tell (self, WIRE_FAILED, emitter_item (self->emitter),
          (uint64_t) (exit_code + 1) | (uint64_t) sig << 16, why);
}

static _Noreturn void work (work_t *self, sluice_task_t *context)
{
    tell (self, WIRE_BORN, 0, 0, self->note);
    for (;;) {
        task_t task;
        if (begin_task (self, &task))
            run_task (self, context, &task);
        else
            wait_for_message (self);
    }
}

/* A key for the pieces of this process, which nobody else ever seals with. */
static int make_sealer (work_t *self, sluice_error_t *err)
{
    uint8_t key[KEY_BYTES];
    random_bytes (key, sizeof key);
    self->sealer = sealer_new (key, err);
    sodium_memzero (key, sizeof key);
    return self->sealer ? 0 : -1;
}

_Noreturn void worker_main (const worker_t *is)
{
    static work_t self;
    sluice_error_t err = {0};
    char name[16];
    snprintf (name, sizeof name, "sluice-w%03u", is->slot);
    prctl (PR_SET_NAME, name);
    setpgid (0, 0);
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    limits_reset_signals ();
    signal (SIGUSR1, SIG_IGN); /* it asks the agent how it stands */
    self.is = is;
    self.page = is->page;
    self.segments = calloc (is->segments, sizeof *self.segments);
    for (unsigned i = 0; self.segments && i < is->segments; i++)
        self.segments[i].fd = -1;
    emitter_sink_t sink = {.arg = &self,
                           .get = sink_get,
                           .put = sink_put,
                           .give_back = sink_give_back,
                           .yield = sink_yield};
    sluice_task_t *context = NULL;
    if (!self.segments)
        sluice_fail (&err, SLUICE_ESYSTEM, "out of memory");
    else if (prepare_place (&self, &err) == 0 &&
             (!is->sealed || make_sealer (&self, &err) == 0)) {
        self.emitter = emitter_new (is->hello->tables, is->hello->ntables,
                                    is->hello->segment, &sink, &err);
        uint32_t level = is->hello->deflate;
        if (level > DEFLATE_LEVEL_MOST)
            level = DEFLATE_LEVEL_MOST;
        if (self.emitter && emitter_deflate (self.emitter, level, &err) < 0)
            emitter_destroy (&self.emitter);
        if (self.emitter)
            context = task_new (self.emitter, is->hello->seed, is->scratch);
        if (self.emitter && !context)
            sluice_fail (&err, SLUICE_ESYSTEM, "out of memory");
    }
    if (!context) {
        fprintf (stderr, "%s\n", err.text);
        fflush (stderr);
        _exit (1);
    }
    watch_crashes (&self);
    work (&self, context);
}
