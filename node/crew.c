/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "node/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "node/limits.h"
#include "proto/segments.h"
#include "proto/folder.h"

enum {
    MAX_SLOTS = 4096,       /* more than any machine has cores, for some time */
    MAX_SEGMENTS = 1 << 20, /* per slot */
    IDLE_GRACE_MS = 500     /* for the kernel's close, if no worker is busy */
};

slot_page_t *crew_page (const crew_t *self, unsigned slot)
{
    return (slot_page_t *) (void *) (self->pages + slot * self->page_bytes);
}

void crew_watch (crew_t *self, int fd, uint32_t tag, uint32_t events, int op)
{
    struct epoll_event event = {.events = events, .data.u32 = tag};
    epoll_ctl (self->epoll, op, fd, &event);
}

static void close_fd (int *fd)
{
    if (*fd >= 0)
        close (*fd);
    *fd = -1;
}

/* ---- start ---------------------------------------------------------------- */

/* A memfd with what the zygote is told. */
static int write_order (const crew_options_t *options, const char *scratch,
                        sluice_error_t *err)
{
    msg_t msg = {.type = MSG_HELLO, .hello = *options->hello};
    memset (msg.hello.secret, 0, sizeof msg.hello.secret); /* the agent's alone */
    void *hello = NULL;
    size_t hello_bytes;
    if (msg_encode (&msg, &hello, &hello_bytes, err) < 0)
        return -1;
    const char *root = share_root (options->share);
    wire_order_t order = {.slots = options->slots,
                          .segments = options->segments,
                          .memory = options->memory,
                          .confine = options->confine,
                          .sealed = options->sealed,
                          .small = options->small,
                          .share_confined = share_confined (options->share),
                          .root_bytes = strlen (root) + 1,
                          .scratch_bytes = strlen (scratch) + 1,
                          .hello_bytes = hello_bytes};
    FILE *file = NULL;
    int copy = -1, fd = memfd_create ("sluice-order", MFD_CLOEXEC);
    if (fd >= 0 && (copy = fcntl (fd, F_DUPFD_CLOEXEC, 3)) >= 0)
        file = fdopen (copy, "wb");
    if (file) {
        fwrite (&order, sizeof order, 1, file);
        fwrite (root, 1, order.root_bytes, file);
        fwrite (scratch, 1, order.scratch_bytes, file);
        fwrite (hello, 1, hello_bytes, file);
    }
    free (hello);
    bool bad = !file || ferror (file);
    if (file ? fclose (file) != 0 : (copy >= 0 && close (copy) < 0))
        bad = true;
    if (bad) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot write a run's order: %s",
                     strerror (errno));
        close_fd (&fd);
    }
    return fd;
}

static int make_pages (crew_t *self, sluice_error_t *err)
{
    self->page_bytes = slot_page_bytes (self->segments);
    size_t bytes = self->page_bytes * self->nslots;
    int fd = memfd_create ("sluice-pages", MFD_CLOEXEC);
    void *map = MAP_FAILED;
    if (fd >= 0 && ftruncate (fd, (off_t) bytes) == 0)
        map = mmap (NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot make shared memory for workers: %s",
                     strerror (errno));
        close_fd (&fd);
        return -1;
    }
    self->pages = map;
    return fd;
}

static int make_slots (crew_t *self)
{
    self->slots = calloc (self->nslots, sizeof *self->slots);
    self->queue = calloc (self->nslots, sizeof *self->queue);
    if (!self->slots || !self->queue)
        return -1;
    for (unsigned i = 0; i < self->nslots; i++)
        self->slots[i].sock = self->slots[i].child = -1;
    for (unsigned i = 0; i < self->nslots; i++) {
        uint32_t *segments = malloc (self->segments * sizeof *segments);
        if (!segments)
            return -1;
        memset (segments, 0xff, self->segments * sizeof *segments); /* NO_SEGMENT */
        self->slots[i].segments = segments;
        if (!(self->slots[i].mail = malloc (sizeof *self->slots[i].mail)))
            return -1;
    }
    return 0;
}

static int check_options (const crew_options_t *options, sluice_error_t *err)
{
    if (options->slots < 1 || options->slots > MAX_SLOTS || options->segments < 2 ||
        options->segments > MAX_SEGMENTS || options->hello->segment < 1)
        return sluice_fail (err, SLUICE_EINPUT,
                            "a run needs 1 to %d slots and at least 2 segments each, not "
                            "%u and %u (of %u bytes)",
                            MAX_SLOTS, options->slots, options->segments,
                            options->hello->segment);
    return 0;
}

/* Sockets, memory and the message that starts the zygote. */
static int launch (crew_t *self, const crew_options_t *options, const char *scratch,
                   sluice_error_t *err)
{
    int pair[2] = {-1, -1}, out[2] = {-1, -1}, order = -1, pages = -1, rc = -1;
    if (make_slots (self) < 0) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        goto done;
    }
    pages = make_pages (self, err);
    order = pages < 0 ? -1 : write_order (options, scratch, err);
    if (order < 0)
        goto done;
    self->epoll = epoll_create1 (EPOLL_CLOEXEC);
    self->bell = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* The pipe is not waited for at either end: what does not fit is lost. */
    if (self->epoll < 0 || self->bell < 0 ||
        socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
        pipe2 (out, O_CLOEXEC | O_NONBLOCK) < 0) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot make sockets for workers: %s",
                     strerror (errno));
        goto done;
    }
    wire_t start = {.op = WIRE_START, .a = self->id};
    const int fds[] = {pair[1], order, pages, out[1]};
    if (wire_send (self->nursery->control, &start, scratch, strlen (scratch) + 1, fds, 4,
                   false) < 0) {
        sluice_fail (err, SLUICE_ESYSTEM,
                     "the process that makes workers does not answer: %s",
                     strerror (errno));
        goto done;
    }
    self->zygote = pair[0];
    self->err = out[0];
    pair[0] = out[0] = -1;
    crew_watch (self, self->zygote, TAG_ZYGOTE, EPOLLIN, EPOLL_CTL_ADD);
    crew_watch (self, self->bell, TAG_BELL, EPOLLIN, EPOLL_CTL_ADD);
    crew_watch (self, self->nursery->control, TAG_CONTROL, EPOLLIN, EPOLL_CTL_ADD);
    rc = 0;
done:
    close_fd (&pair[0]);
    close_fd (&pair[1]);
    close_fd (&out[0]);
    close_fd (&out[1]);
    close_fd (&order);
    close_fd (&pages);
    return rc;
}

static void free_crew (crew_t *self)
{
    for (size_t i = 0; i < self->nheld; i++)
        segment_unmap (self->held[i].map, self->segment_bytes);
    for (unsigned i = 0; self->slots && i < self->nslots; i++) {
        free (self->slots[i].segments);
        free (self->slots[i].mail);
    }
    if (self->pages)
        munmap (self->pages, self->page_bytes * self->nslots);
    close_fd (&self->err);
    close_fd (&self->epoll);
    close_fd (&self->bell);
    close_fd (&self->lock);
    free (self->scratch);
    free (self->held);
    free (self->slots);
    free (self->queue);
    free (self);
}

crew_t *crew_start (nursery_t *nursery, const crew_options_t *options,
                    sluice_error_t *err)
{
    if (check_options (options, err) < 0)
        return NULL;
    crew_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->nursery = nursery;
    self->id = ++nursery->last_id;
    self->zygote = self->err = self->epoll = self->bell = self->lock = -1;
    self->memory = options->memory;
    self->handover = options->handover;
    self->sealed = options->sealed;
    self->nslots = options->slots;
    self->segments = options->segments;
    self->segment_bytes = options->hello->segment;
    self->ntables = options->hello->ntables;
    self->scratch = folder_make (options->scratch, "sluice-scratch-", &self->lock);
    if (!self->scratch) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot make a scratch folder in %s: %s",
                     options->scratch, strerror (errno));
        free_crew (self);
        return NULL;
    }
    if (nursery_enlist (nursery, self, err) < 0 ||
        launch (self, options, self->scratch, err) < 0) {
        nursery_strike (nursery, self);
        rmdir (self->scratch);
        free_crew (self);
        return NULL;
    }
    return self;
}

/* ---- end ------------------------------------------------------------------ */

static void send_end (crew_t *self)
{
    wire_t end = {.op = WIRE_END, .a = self->id, .b = self->grace_ms};
    self->end_due =
        self->nursery && !self->nursery->dead &&
        wire_send (self->nursery->control, &end, NULL, 0, NULL, 0, false) < 0 &&
        errno == EAGAIN;
}

void crew_kill (crew_t *self)
{
    if (self->zygote < 0 && self->over)
        return;
    bool busy = !self->ready;
    for (unsigned i = 0; i < self->nslots; i++) {
        busy |= self->slots[i].busy;
        crew_bury (self, i);
    }
    self->over = true;
    self->grace_ms = busy ? 0 : IDLE_GRACE_MS;
    send_end (self);
    close_fd (&self->zygote);
}

bool crew_gone (crew_t *self)
{
    if (!self->nursery)
        return true;
    if (self->end_due)
        send_end (self);
    nursery_listen (self->nursery);
    return self->gone || self->nursery->dead;
}

void crew_destroy (crew_t **self_p)
{
    crew_t *self = *self_p;
    if (!self)
        return;
    int saved = errno;
    crew_kill (self);
    if (self->nursery) {
        /* The spawner would read it a moment later at worst: the end must not
         * be lost because its socket is full. */
        for (int i = 0; self->end_due && i < 1000; i++) {
            usleep (1000);
            send_end (self);
        }
        nursery_listen (self->nursery); /* or its death is not known here yet */
        nursery_strike (self->nursery, self);
    }
    if (self->deserted)
        folder_remove (self->scratch);
    free_crew (self);
    *self_p = NULL;
    errno = saved;
}

void crew_told (crew_t *self, const wire_t *wire)
{
    if (wire->op == WIRE_ENDED) {
        self->ended = true;
        self->status = (int) (uint32_t) wire->b;
    } else if (wire->op == WIRE_GONE)
        self->ended = self->gone = true;
    else if (wire->op == 0) {
        self->ended = self->gone = self->deserted = true;
        crew_watch (self, self->nursery->control, 0, 0, EPOLL_CTL_DEL);
    }
    uint64_t one = 1;
    if (write (self->bell, &one, sizeof one) < 0) {
        /* it rings already */
    }
}

size_t crew_fds (const crew_t *self, int *fds, size_t max)
{
    if (max < 1)
        return 0;
    fds[0] = self->epoll;
    return 1;
}

/* ---- workers -------------------------------------------------------------- */

static int send_due (crew_t *self, unsigned i, unsigned what)
{
    slot_t *slot = &self->slots[i];
    wire_t wire = {.slot = i, .a = slot->paused};
    wire.op = what == DUE_FORK    ? WIRE_FORK
              : what == DUE_PAUSE ? WIRE_PAUSE
              : what == DUE_TAIL  ? WIRE_ASK_TAIL
                                  : WIRE_KILL;
    bool fork = what == DUE_FORK;
    if (wire_send (self->zygote, &wire, NULL, 0, &slot->child, fork, false) < 0 &&
        errno == EAGAIN)
        return -1;
    slot->due &= ~what; /* an error: the zygote is dead, which shows soon */
    if (fork)
        close_fd (&slot->child);
    return 0;
}

void crew_flush (crew_t *self)
{
    static const unsigned order[] = {DUE_FORK, DUE_PAUSE, DUE_TAIL, DUE_KILL};
    if (self->zygote < 0)
        return;
    int rc = 0;
    for (unsigned i = 0; i < self->nslots && rc == 0; i++)
        for (unsigned k = 0; k < 4 && rc == 0 && self->slots[i].due; k++)
            if (self->slots[i].due & order[k])
                rc = send_due (self, i, order[k]);
    bool full = rc < 0;
    if (full != self->zygote_full)
        crew_watch (self, self->zygote, TAG_ZYGOTE, full ? EPOLLIN | EPOLLOUT : EPOLLIN,
                    EPOLL_CTL_MOD);
    self->zygote_full = full;
}

void crew_queue (crew_t *self, unsigned i)
{
    if (self->slots[i].queued)
        return;
    self->slots[i].queued = true;
    self->queue[(self->queue_first + self->queue_n++) % self->nslots] = i;
}

int crew_spawn (crew_t *self, unsigned i, sluice_error_t *err)
{
    slot_t *slot = &self->slots[i];
    int pair[2];
    if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot make a socket for a worker: %s",
                            strerror (errno));
    slot->sock = pair[0];
    slot->child = pair[1];
    slot->generation++;
    slot->due = DUE_FORK | (slot->paused ? DUE_PAUSE : 0);
    slot_page_t *page = crew_page (self, i);
    slot->finished = slot->heard = 0;
    slot->taken = 0;
    atomic_store (&page->hand, hand_pack ((hand_t){.asleep = true}));
    atomic_store (&page->put, 0);
    atomic_store (&page->taken, 0);
    atomic_store (&page->shed, 0);
    atomic_store (&page->waiting, 0);
    atomic_store (&page->allowed, self->segments - slot->foreign);
    crew_watch (self, slot->sock, i, EPOLLIN, EPOLL_CTL_ADD);
    crew_flush (self);
    return 0;
}

/* Unmap a segment; its handle is free again. */
static void drop_segment (crew_t *self, uint32_t handle)
{
    segment_unmap (self->held[handle].map, self->segment_bytes);
    self->held[handle].map = NULL;
    self->held[handle].held = false;
}

void crew_bury (crew_t *self, unsigned i)
{
    slot_t *slot = &self->slots[i];
    close_fd (&slot->sock);
    close_fd (&slot->child);
    if (slot->mailed)
        wire_drop (slot->mail);
    for (unsigned k = 0; slot->own > 0 && k < self->segments; k++) {
        uint32_t handle = slot->segments[k];
        if (handle == NO_SEGMENT)
            continue;
        slot->segments[k] = NO_SEGMENT;
        slot->own--;
        if (self->held[handle].held)
            slot->foreign++;
        else
            drop_segment (self, handle);
    }
    slot->generation++; /* none of those is of the present worker */
    slot->due = 0;
    slot->born = slot->busy = slot->done = slot->failed = slot->broke = false;
    slot->revoked = slot->dead = slot->expired = slot->mailed = false;
    slot->nhand = 0;
    slot->muted = false;
}

int crew_adopt (crew_t *self, unsigned i, uint32_t number, int fd, sluice_error_t *err)
{
    slot_t *slot = &self->slots[i];
    size_t handle = 0;
    while (handle < self->nheld && self->held[handle].map)
        handle++;
    if (handle == self->nheld) {
        size_t room = self->nheld ? 2 * self->nheld : 16;
        segment_t *held = realloc (self->held, room * sizeof *held);
        if (!held) {
            close (fd);
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        }
        memset (held + self->nheld, 0, (room - self->nheld) * sizeof *held);
        self->held = held;
        self->nheld = room;
    }
    int copy = self->handover ? dup (fd) : -1;
    const void *map = segment_map (fd, self->segment_bytes, err);
    bool handed =
        map && copy >= 0 && segment_hand_over (self->handover, (uint32_t) handle, copy);
    if (copy >= 0)
        close (copy);
    if (!map)
        return -1;
    self->held[handle] = (segment_t){.map = map,
                                     .slot = i,
                                     .generation = slot->generation,
                                     .number = number,
                                     .handed = handed};
    slot->segments[number] = (uint32_t) handle;
    slot->own++;
    return 0;
}

static void wake (crew_t *self, unsigned i)
{
    const wire_t wake = {.op = WIRE_WAKE};
    if (atomic_exchange (&crew_page (self, i)->waiting, 0) != 0 &&
        self->slots[i].sock >= 0)
        wire_send (self->slots[i].sock, &wake, NULL, 0, NULL, 0, false);
}

void crew_release (crew_t *self, uint32_t handle)
{
    if (handle >= self->nheld || !self->held[handle].held)
        return;
    segment_t *segment = &self->held[handle];
    slot_t *slot = &self->slots[segment->slot];
    slot_page_t *page = crew_page (self, segment->slot);
    unsigned i = segment->slot;
    segment->held = false;
    if (segment->generation == slot->generation)
        atomic_store (&page->released[segment->number], 1);
    else {
        drop_segment (self, handle);
        slot->foreign--;
        atomic_store (&page->allowed, self->segments - slot->foreign);
    }
    wake (self, i);
}

/* Put one more task in the worker's hand. */
static int put_task (crew_t *self, unsigned i, const task_t *task, sluice_error_t *err)
{
    slot_t *slot = &self->slots[i];
    slot_page_t *page = crew_page (self, i);
    uint32_t number = slot->finished + slot->nhand;
    const wire_t wire = {.op = WIRE_TASK, .slot = i};
    uint64_t word = atomic_load (&page->hand);
    bool wake;
    memcpy (&page->tasks[number % HAND_MAX], task, sizeof *task);
    do {
        hand_t hand = hand_unpack (word);
        wake = hand.asleep || hand.closed;
        hand.put = number + 1;
        hand.asleep = hand.closed = false;
        if (slot->nhand == 0)
            hand.begun = number; /* whatever it says */
        if (!atomic_compare_exchange_weak (&page->hand, &word, hand_pack (hand)))
            continue;
        break;
    } while (true);
    /* A worker that died meanwhile fails this attempt when its end is heard. */
    if (wake && wire_send (slot->sock, &wire, NULL, 0, NULL, 0, false) < 0 &&
        errno == EAGAIN)
        return sluice_fail (err, SLUICE_ESYSTEM, "the worker of slot %u does not listen",
                            i);
    slot->hand[(slot->first + slot->nhand++) % HAND_MAX] = *task;
    return 0;
}

int crew_assign (crew_t *self, unsigned i, const task_t *task, sluice_error_t *err)
{
    slot_t *slot = i < self->nslots ? &self->slots[i] : NULL;
    if (!slot || !self->ready || self->over || slot->busy || slot->revoked ||
        slot->idle_owed || slot->sock < 0)
        return sluice_fail (err, SLUICE_EINPUT, "slot %u is not free for a task", i);
    slot_page_t *page = crew_page (self, i);
    atomic_store (&page->shed, 0);
    atomic_store (&page->item, task->first);
    slot->nhand = 0;
    if (put_task (self, i, task, err) < 0)
        return -1;
    slot->task = *task;
    slot->named = 0;
    slot->busy = true;
    slot->done = false;
    return 0;
}

bool crew_hand (crew_t *self, unsigned i, const task_t *task)
{
    slot_t *slot = i < self->nslots ? &self->slots[i] : NULL;
    if (!slot || self->over || !slot->busy || slot->failed || slot->broke ||
        slot->revoked || slot->dead || slot->nhand == HAND_MAX ||
        hand_unpack (atomic_load (&crew_page (self, i)->hand)).closed)
        return false;
    return put_task (self, i, task, NULL) == 0;
}

unsigned crew_take_back (crew_t *self, unsigned i)
{
    slot_t *slot = i < self->nslots ? &self->slots[i] : NULL;
    if (!slot || !slot->busy || slot->nhand < 2)
        return 0;
    slot_page_t *page = crew_page (self, i);
    uint64_t word = atomic_load (&page->hand);
    hand_t hand;
    uint32_t n;
    do {
        hand = hand_unpack (word);
        /* The first one stays, be it begun or not. */
        uint32_t kept =
            hand.begun == (slot->finished & HAND_COUNT) ? hand.begun + 1 : hand.begun;
        n = (hand.put - kept) & HAND_COUNT;
        if (n == 0 || n > slot->nhand - 1) /* or what it says cannot be */
            return 0;
        hand.put = kept;
    } while (!atomic_compare_exchange_weak (&page->hand, &word, hand_pack (hand)));
    slot->nhand -= n;
    return n;
}

bool crew_next_task (crew_t *self, unsigned i)
{
    slot_t *slot = &self->slots[i];
    slot->done = slot->busy = false;
    slot->finished++;
    slot->nhand--;
    slot->first = (slot->first + 1) % HAND_MAX;
    if (slot->nhand == 0)
        return false;
    slot->task = slot->hand[slot->first];
    slot->named = 0;
    return slot->busy = true;
}

void crew_shed (crew_t *self, unsigned i)
{
    if (i < self->nslots && self->slots[i].busy)
        atomic_store (&crew_page (self, i)->shed,
                      (self->slots[i].finished & HAND_COUNT) + 1);
}

void crew_hold_back (crew_t *self, bool hold)
{
    if (self->held_back == hold)
        return;
    self->held_back = hold;
    uint64_t one = 1;
    for (unsigned i = 0; !hold && i < self->nslots; i++) {
        if (self->slots[i].muted)
            crew_watch (self, self->slots[i].sock, i, EPOLLIN, EPOLL_CTL_ADD);
        self->slots[i].muted = false;
        crew_queue (self, i);
    }
    if (!hold && write (self->bell, &one, sizeof one) < 0) {
        /* it rings already */
    }
}

void crew_revoke (crew_t *self, unsigned i)
{
    if (i >= self->nslots || self->over || self->slots[i].sock < 0)
        return;
    self->slots[i].revoked = true;
    self->slots[i].due |= DUE_KILL;
    crew_flush (self);
}

void crew_expire (crew_t *self, unsigned i, const char *reason)
{
    slot_t *slot = i < self->nslots ? &self->slots[i] : NULL;
    if (!slot || self->over || slot->sock < 0 || !slot->busy || slot->done ||
        slot->failed || slot->revoked || slot->broke || crew_has_results (self, i))
        return;
    snprintf (slot->reason, sizeof slot->reason, "%s", reason);
    slot->broke = slot->expired = true;
    slot->due |= DUE_KILL;
    crew_flush (self);
}

uint64_t crew_item (const crew_t *self, unsigned i)
{
    return atomic_load (&crew_page (self, i)->item);
}

void crew_pause (crew_t *self, unsigned i, bool pause)
{
    if (i >= self->nslots || self->over || self->slots[i].paused == pause)
        return;
    self->slots[i].paused = pause;
    if (self->slots[i].sock < 0)
        return;
    self->slots[i].due |= DUE_PAUSE;
    crew_flush (self);
}

bool crew_waiting (const crew_t *self, unsigned i)
{
    return i < self->nslots && self->slots[i].busy &&
           atomic_load (&crew_page (self, i)->waiting) != 0;
}
