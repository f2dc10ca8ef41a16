/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/crew.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>
#include "proto/text.h"

enum { EVENTS = 64 }; /* of epoll at a time; any number will do */

/* ---- words ---------------------------------------------------------------- */

/* People's code printed it: no control characters to a terminal, and UTF-8. */
static void clean (char *text)
{
    for (char *at = text; *at; at++) {
        unsigned char c = (unsigned char) *at;
        if (c == '\r')
            *at = '\n';
        else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            *at = '?';
    }
    text_make_utf8 (text);
}

/* Copy the tail of what was printed: whole lines where it was cut. */
static void copy_tail (char *to, const char *from, size_t n)
{
    if (n >= TAIL_BYTES) {
        from += n - TAIL_BYTES;
        n = TAIL_BYTES;
        const char *line = memchr (from, '\n', n);
        if (line && line + 1 < from + n) {
            n -= (size_t) (line + 1 - from);
            from = line + 1;
        }
    }
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] ? from[i] : '?';
    to[n] = '\0';
    clean (to);
}

static const char *last_line (char *text)
{
    size_t n = strlen (text);
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    const char *line = strrchr (text, '\n');
    return line ? line + 1 : text;
}

static void describe_status (int status, const char *before, char *text, size_t size)
{
    if (WIFSIGNALED (status))
        snprintf (text, size, "killed by signal %d (%s)", WTERMSIG (status),
                  strsignal (WTERMSIG (status)));
    else
        snprintf (text, size, "exited with status %d%s", WEXITSTATUS (status), before);
}

static bool speaks_of_memory (const char *text)
{
    static const char *const words[] = {"bad_alloc",     "MemoryError",
                                        "out of memory", "Out of memory",
                                        "ENOMEM",        "Cannot allocate memory"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr (text, words[i]))
            return true;
    return false;
}

/* What killed it cannot be asked: say what it looks like. */
static void add_memory (const crew_t *self, const slot_t *slot)
{
    char *reason = (char *) (uintptr_t) slot->reason;
    size_t n = strlen (reason), room = sizeof slot->reason - n;
    bool full = self->memory && slot->peak >= self->memory - self->memory / 8;
    bool killed = slot->dead && WIFSIGNALED (slot->status);
    double mib = (double) self->memory / (1 << 20);
    if (slot->broke)
        return;
    if (speaks_of_memory (reason)) {
        if (self->memory)
            snprintf (reason + n, room, " (limit %.0f MiB)", mib);
    } else if (slot->dead && (full || speaks_of_memory (slot->tail))) {
        if (self->memory)
            snprintf (reason + n, room, ": out of memory (limit %.0f MiB)", mib);
        else
            snprintf (reason + n, room, ": out of memory");
    } else if (killed && WTERMSIG (slot->status) == SIGKILL)
        snprintf (reason + n, room, ", as the system does when memory runs out");
}

/* ---- events --------------------------------------------------------------- */

static bool give (crew_event_t *event, crew_event_type_t type, unsigned slot)
{
    event->type = type;
    event->slot = slot;
    return true;
}

/* The last event of a crew. */
static bool give_end (crew_t *self, crew_event_t *event, const char *text)
{
    give (event, self->ready ? CREW_DIED : CREW_LACKS, 0);
    snprintf (event->text, sizeof event->text, "%.990s", text);
    clean (event->text);
    crew_kill (self);
    return true;
}

/* The zygote died without a word. */
static bool give_death (crew_t *self, crew_event_t *event)
{
    char how[200], text[1000], said[TAIL_BYTES + 1] = "";
    ssize_t n = read (self->err, self->tail, TAIL_BYTES);
    if (n > 0)
        copy_tail (said, self->tail, (size_t) n);
    if (self->nursery && self->nursery->dead)
        snprintf (how, sizeof how, "was ended with the process that makes workers");
    else
        describe_status (self->status, "", how, sizeof how);
    const char *line = last_line (said);
    snprintf (text, sizeof text, "%s %s%s%.600s",
              self->ready ? "the process that holds the run's inputs"
                          : "the process that opens the run's inputs",
              how, line[0] ? ": " : "", line);
    return give_end (self, event, text);
}

static bool give_failed (crew_t *self, unsigned i, crew_event_t *event)
{
    slot_t *slot = &self->slots[i];
    add_memory (self, slot);
    snprintf (self->reason, sizeof self->reason, "%s", slot->reason);
    clean (self->reason);
    memcpy (self->tail, slot->tail, sizeof self->tail);
    bool exited = slot->dead && WIFEXITED (slot->status);
    bool killed = slot->dead && WIFSIGNALED (slot->status) && !slot->broke;
    int sig = killed ? WTERMSIG (slot->status) : 0;
    int exit_code = exited ? WEXITSTATUS (slot->status) : -1;
    if (!slot->dead && slot->end) {
        sig = (int) (slot->end >> 16);
        exit_code = (int) (slot->end & 0x1ff) - 1;
    }
    uint64_t item = slot->item;
    if (item < slot->task.first || item >= slot->task.stop)
        item = slot->task.first;
    event->failed = (msg_failed_t){.task = slot->task.task,
                                   .attempt = slot->task.attempt,
                                   .item = item,
                                   .reason = self->reason,
                                   .sig = sig,
                                   .exit_code = exit_code,
                                   .crashed = slot->dead && !slot->expired,
                                   .stderr_tail = self->tail};
    return give (event, CREW_FAILED, i);
}

/* ---- the zygote ----------------------------------------------------------- */

static bool open_done (crew_t *self, crew_event_t *event, const wire_mail_t *mail)
{
    snprintf (self->note, sizeof self->note, "%.190s", mail->data);
    sluice_error_t err;
    for (unsigned i = 0; i < self->nslots; i++)
        if (crew_spawn (self, i, &err) < 0)
            return give_end (self, event, err.text);
    return false;
}

static void worker_died (crew_t *self, unsigned i, const wire_mail_t *mail)
{
    slot_t *slot = &self->slots[i];
    slot->dead = true;
    slot->status = (int) (uint32_t) mail->wire.a;
    slot->peak = mail->wire.b;
    copy_tail (slot->tail, mail->data, mail->n);
    crew_queue (self, i);
}

static bool hear_zygote (crew_t *self, crew_event_t *event)
{
    wire_mail_t mail;
    wire_result_t got = wire_recv (self->zygote, &mail, false);
    if (got == WIRE_EOF) /* why, the spawner will say */
        crew_watch (self, self->zygote, 0, 0, EPOLL_CTL_DEL);
    if (got != WIRE_GOT) {
        self->zygote_heard = false;
        return false;
    }
    wire_drop (&mail); /* it sends no descriptors */
    unsigned i = mail.wire.slot;
    if (i >= self->nslots)
        return false;
    slot_t *slot = &self->slots[i];
    switch (mail.wire.op) {
    case WIRE_OPEN:
        return open_done (self, event, &mail);
    case WIRE_LACKS:
        return give_end (self, event, mail.data);
    case WIRE_DEAD:
        worker_died (self, i, &mail);
        return false;
    case WIRE_TAIL:
        if (!slot->failed || slot->revoked)
            return false;
        copy_tail (slot->tail, mail.data, mail.n);
        slot->failed = slot->busy = false;
        slot->finished += slot->nhand; /* those in hand as well: they are not begun */
        slot->nhand = 0;
        return give_failed (self, i, event);
    default:
        return false;
    }
}

/* ---- workers -------------------------------------------------------------- */

static void break_with (crew_t *self, unsigned i, const char *what)
{
    slot_t *slot = &self->slots[i];
    snprintf (slot->reason, sizeof slot->reason,
              "its memory is damaged, perhaps by the kernel (%.900s)", what);
    slot->broke = true;
    slot->due |= DUE_KILL;
    crew_flush (self);
}

/* Late tables are named once, and before any rows of them. */
static const char *check_tables (const crew_t *self, slot_t *slot, const piece_t *piece)
{
    _Static_assert(PIECE_MAX_LATE == 64, "a bit for each");
    size_t first = self->ntables + 1;
    for (size_t k = 0; k < piece->nlate; k++) {
        uint32_t table = piece->late[k].table;
        if (table < first || table - first >= PIECE_MAX_LATE ||
            slot->named >> (table - first) & 1)
            return "a table named anew";
        slot->named |= UINT64_C (1) << (table - first);
    }
    for (size_t k = 0; k < piece->nparts; k++) {
        uint32_t table = piece->parts[k].table;
        if (table >= first &&
            (table - first >= PIECE_MAX_LATE || !(slot->named >> (table - first) & 1)))
            return "a piece of no known table";
    }
    return NULL;
}

static const char *check_piece (const crew_t *self, slot_t *slot, const piece_t *piece,
                                bool last)
{
    if (piece->kind != (last ? PIECE_DONE : PIECE_DATA))
        return "a piece of the wrong kind";
    if (piece->task != slot->task.task || piece->attempt != slot->task.attempt)
        return "a piece of another task";
    if (piece->first < slot->task.first || piece->stop > slot->task.stop ||
        piece->first > piece->stop)
        return "a piece of other items";
    return check_tables (self, slot, piece);
}

static bool give_piece (crew_t *self, unsigned i, crew_event_t *event, bool last)
{
    slot_t *slot = &self->slots[i];
    slot->done = last;
    if (last)
        slot->seconds = event->piece.seconds;
    return give (event, CREW_PIECE, i);
}

static bool take_piece (crew_t *self, unsigned i, wire_mail_t *mail, crew_event_t *event)
{
    slot_t *slot = &self->slots[i];
    sluice_error_t err = {0};
    uint64_t number = mail->wire.a;
    bool last = mail->wire.op == WIRE_LAST;
    const char *wrong = NULL;
    if (!slot->busy || slot->failed || slot->done)
        wrong = "a piece without a task";
    else if (number >= self->segments || mail->wire.b > self->segment_bytes)
        wrong = "a segment that cannot be";
    else if (slot->segments[number] == NO_SEGMENT) {
        if (mail->nfds != 1 || slot->own + slot->foreign >= self->segments)
            wrong = "a segment too many";
        else {
            mail->nfds = 0; /* taken over */
            if (crew_adopt (self, i, (uint32_t) number, mail->fds[0], &err) < 0)
                wrong = err.text;
        }
    } else if (mail->nfds != 0 || self->held[slot->segments[number]].held)
        wrong = "a segment twice";
    size_t skip = self->sealed ? sizeof self->seal : 0;
    if (!wrong && mail->n < skip)
        wrong = "a piece that is not sealed";
    if (!wrong && piece_decode (mail->data + skip, mail->n - skip, mail->wire.b,
                                &event->piece, &err) < 0)
        wrong = err.text;
    if (!wrong)
        wrong = check_piece (self, slot, &event->piece, last);
    if (wrong) {
        break_with (self, i, wrong);
        return false;
    }
    event->segment = slot->segments[number];
    event->payload = self->held[event->segment].map;
    memcpy (&self->seal, mail->data, skip);
    event->seal = self->sealed ? &self->seal : NULL;
    event->handed = self->held[event->segment].handed;
    self->held[event->segment].held = true;
    return give_piece (self, i, event, last);
}

/* A small result from the ring: always the last piece of its task. */
static bool take_small (crew_t *self, unsigned i, const ring_head_t *head,
                        crew_event_t *event)
{
    slot_t *slot = &self->slots[i];
    sluice_error_t err = {0};
    const char *wrong = NULL;
    if (!slot->busy || slot->failed || slot->done)
        wrong = "a piece without a task";
    else if (piece_decode (self->small, head->header, head->payload, &event->piece,
                           &err) < 0)
        wrong = err.text;
    else
        wrong = check_piece (self, slot, &event->piece, true);
    if (wrong) {
        break_with (self, i, wrong);
        return false;
    }
    event->segment = CREW_SMALL;
    event->seal = NULL;
    event->handed = false;
    event->payload = self->small + head->header;
    return give_piece (self, i, event, true);
}

bool crew_has_results (const crew_t *self, unsigned i)
{
    return atomic_load_explicit (&crew_page (self, i)->put, memory_order_relaxed) !=
           self->slots[i].taken;
}

static bool worker_born (crew_t *self, unsigned i, const wire_mail_t *mail,
                         crew_event_t *event)
{
    slot_t *slot = &self->slots[i];
    slot->born = true;
    slot->early = 0;
    if (slot->idle_owed) {
        slot->idle_owed = false;
        return give (event, CREW_IDLE, i);
    }
    if (self->ready)
        return false;
    for (unsigned k = 0; k < self->nslots; k++)
        if (!self->slots[k].born)
            return false;
    self->ready = true;
    /* All workers have the same to note. */
    snprintf (event->text, sizeof event->text, "%s%s%.190s", self->note,
              self->note[0] && mail->n ? "; " : "", mail->data);
    return give (event, CREW_READY, 0);
}

/* The worker is dead and all that it said was read. */
static bool bury (crew_t *self, unsigned i, crew_event_t *event)
{
    slot_t *slot = &self->slots[i];
    bool failed = (slot->busy || slot->failed) && !slot->revoked;
    bool early = !slot->born && !slot->revoked;
    sluice_error_t err;
    slot->idle_owed |= slot->revoked;
    if (early && ++slot->early >= CREW_EARLY_DEATHS) {
        char text[1000], how[200];
        describe_status (slot->status, "", how, sizeof how);
        snprintf (text, sizeof text, "workers cannot start: %s: %.600s", how,
                  last_line (slot->tail));
        return give_end (self, event, text);
    }
    if (failed) {
        if (!slot->failed && !slot->broke)
            describe_status (slot->status, " before its task was done", slot->reason,
                             sizeof slot->reason);
        if (!slot->failed)
            slot->item = atomic_load (&crew_page (self, i)->item);
        give_failed (self, i, event);
    }
    crew_bury (self, i);
    if (crew_spawn (self, i, &err) < 0)
        return give_end (self, event, err.text);
    return failed;
}

static bool hear_worker (crew_t *self, unsigned i, wire_mail_t *mail, crew_event_t *event)
{
    slot_t *slot = &self->slots[i];
    if (slot->revoked || slot->broke)
        return false; /* nothing of it is wanted any more */
    switch (mail->wire.op) {
    case WIRE_BORN:
        if (slot->born)
            break;
        return worker_born (self, i, mail, event);
    case WIRE_PIECE:
    case WIRE_LAST:
        return take_piece (self, i, mail, event);
    case WIRE_FAILED:
        if (!slot->busy || slot->failed)
            break;
        slot->failed = true;
        slot->item = mail->wire.a;
        slot->end = mail->wire.b & 0x7f01ff; /* a signal, an exit code + 1 */
        snprintf (slot->reason, sizeof slot->reason, "%.900s", mail->data);
        slot->due |= DUE_TAIL;
        crew_flush (self);
        return false;
    case WIRE_WAITING:
    case WIRE_RESULTS:
        return false; /* its page says so too; it is to wake the agent */
    default:
        break;
    }
    break_with (self, i, "a message out of turn");
    return false;
}

/* A message came, or came before: it is heard when the results that were laid in the
 * ring before it have been taken. */
static bool serve_mail (crew_t *self, unsigned i, bool held, crew_event_t *event)
{
    slot_t *slot = &self->slots[i];
    bool wanted = !slot->revoked && !slot->broke;
    slot->mailed = wanted && slot->mail->wire.ring > slot->taken;
    if (slot->mailed && held) {
        if (!slot->muted)
            crew_watch (self, slot->sock, 0, 0, EPOLL_CTL_DEL);
        slot->muted = true;
        return false;
    }
    crew_queue (self, i);
    if (slot->mailed) {
        if (crew_has_results (self, i))
            return false;
        break_with (self, i, "results that are not there");
        slot->mailed = false;
    }
    slot->mailed = false;
    slot->heard++;
    bool given = hear_worker (self, i, slot->mail, event);
    wire_drop (slot->mail);
    return given;
}

/* One message of the slot that is first in line, which goes to the end. */
static bool serve (crew_t *self, crew_event_t *event)
{
    unsigned i = self->queue[self->queue_first];
    slot_t *slot = &self->slots[i];
    self->queue_first = (self->queue_first + 1) % self->nslots;
    self->queue_n--;
    slot->queued = false;
    if (slot->sock < 0)
        return false;
    if (slot->done && !slot->revoked && !slot->broke) {
        crew_queue (self, i);
        event->seconds = slot->seconds;
        return give (event, crew_next_task (self, i) ? CREW_NEXT : CREW_IDLE, i);
    }
    bool wanted = !slot->revoked && !slot->broke;
    bool held = self->held_back && wanted && crew_has_results (self, i);
    ring_head_t head;
    ring_result_t lies = !wanted || held ? RING_NONE
                                         : ring_take (crew_page (self, i), &slot->taken,
                                                      slot->heard, &head, self->small);
    if (lies == RING_GOT) {
        crew_queue (self, i);
        return take_small (self, i, &head, event);
    }
    wire_result_t got = slot->mailed ? WIRE_GOT : WIRE_NONE;
    bool broken = lies == RING_BROKEN || (lies == RING_LATER && slot->mailed);
    if (!slot->mailed && !broken)
        got = wire_recv (slot->sock, slot->mail, false);
    if (got == WIRE_GOT && !broken)
        return serve_mail (self, i, held, event);
    if (broken || lies == RING_LATER) {
        crew_queue (self, i);
        break_with (self, i, "results that cannot be");
        return false;
    }
    if (held)
        return false; /* it is in line again when they are taken */
    if (slot->dead)
        return bury (self, i, event);
    if (got == WIRE_EOF) /* dying: its end is waited for, not its silence */
        crew_watch (self, slot->sock, 0, 0, EPOLL_CTL_DEL);
    return false;
}

/* ---- what happened ---------------------------------------------------------- */

/* See who may have something to say; false if nobody has. */
static bool look (crew_t *self)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait (self->epoll, events, EVENTS, 0);
    for (int k = 0; k < n; k++) {
        uint32_t tag = events[k].data.u32;
        uint64_t rings;
        if (tag == TAG_ZYGOTE) {
            self->zygote_heard = true;
            crew_flush (self);
        } else if (tag == TAG_CONTROL) {
            if (self->nursery)
                nursery_listen (self->nursery);
        } else if (tag == TAG_BELL) {
            if (read (self->bell, &rings, sizeof rings) < 0) {
                /* rung and heard already */
            }
        } else if (tag < self->nslots)
            crew_queue (self, tag);
    }
    /* What a worker has not told of yet: its task may take long. */
    for (unsigned i = 0; n == 0 && !self->held_back && i < self->nslots; i++)
        if (self->slots[i].busy && crew_has_results (self, i))
            crew_queue (self, i);
    return n > 0 || self->queue_n > 0;
}

void crew_next (crew_t *self, crew_event_t *event)
{
    event->type = CREW_NOTHING;
    event->slot = 0;
    event->seconds = 0;
    event->text[0] = '\0';
    while (!self->over) {
        if (self->zygote_heard && hear_zygote (self, event))
            return;
        if (self->over)
            return;
        if (self->queue_n > 0) {
            if (serve (self, event))
                return;
        } else if (!self->zygote_heard && !look (self)) {
            /* Nobody says anything more: so what the spawner said holds. */
            if (self->ended)
                give_death (self, event);
            return;
        }
    }
    /* The fds of a crew that is over are still polled until it is gone. */
    look (self);
}
