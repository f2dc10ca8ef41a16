/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* What goes by time, or by what others changed: assign, grant, ping, give up. */

#include "master/link_state.h"
#include "master/run.h"
#include "proto/faults.h"

/* Running tasks that are looked at each time, in all: each copy looks at all of them. */
enum { COPY_MS = 100, COPY_LOOKS = 512 << 10 };
/* Nodes that are there at the start answer HELLO, and most have a result, within this
 * time, be they a thousand; their parts of the window are kept for them so long. */
enum { GATHER_MS = 30000 };

static void send_tasks (links_t *self, link_t *l, size_t n, task_t *tasks)
{
    link_send (self, l,
               &(msg_t){.type = MSG_ASSIGN,
                        .tasks = {.before = l->assigned, .ntasks = n, .tasks = tasks}});
    l->assigned += n;
}

static void assign (links_t *self, link_t *l, int64_t now)
{
    unsigned node = (unsigned) (l - self->links);
    task_t tasks[256];
    size_t n = 0;
    if (self->paused)
        return;
    /* A node asks for what its slots can take, and for short tasks ahead. */
    if (l->credit > l->assigned &&
        l->credit - l->assigned > 4 * (uint64_t) l->slots + MSG_TASKS_AHEAD) {
        link_cut_off (self, l, "it asks for more tasks than it has slots");
        return;
    }
    while (n < sizeof tasks / sizeof *tasks && l->assigned + n < l->credit &&
           sched_next (self->sched, node, (double) now * 1e-3, &tasks[n]))
        n++;
    if (n > 0)
        send_tasks (self, l, n, tasks);
    if (n == sizeof tasks / sizeof *tasks)
        assign (self, l, now);
}

/* Has this node a free slot? What it asks for ahead is for slots that are not. */
static bool is_idle (const links_t *self, unsigned node)
{
    const link_t *l = &self->links[node];
    return l->state == LINK_READY && l->credit > l->assigned &&
           sched_load (self->sched, node) < l->slots;
}

/* Some node has a free slot and nothing is pending: take from the slowest. */
static void shed (links_t *self, int64_t now)
{
    bool idle = false;
    for (unsigned i = 0; i < self->nlinks && !idle; i++)
        idle = is_idle (self, i);
    unsigned node;
    task_t task;
    if (idle && sched_shed (self->sched, (double) now * 1e-3, &node, &task))
        link_send_task (self, &self->links[node], MSG_SHED, &task);
}

/* And what cannot be taken is computed there too; the first that is done counts. */
static void copy (links_t *self, int64_t now)
{
    task_t task;
    if (self->paused || now - self->copied < COPY_MS)
        return;
    self->copied = now;
    for (unsigned i = 0; i < self->nlinks; i++) {
        link_t *l = &self->links[i];
        if (l->state == LINK_READY && gate_wants (self->gate, i))
            sched_hindered (self->sched, i, (double) now * 1e-3);
    }
    sched_counts_t c;
    sched_counts (self->sched, &c);
    if (c.pending > 0)
        return;
    uint64_t most = COPY_LOOKS / (c.tasks_running + 1) + 1, asked = 0;
    for (unsigned i = 0; i < self->nlinks && asked < most; i++) {
        unsigned node = self->copy_next++ % self->nlinks;
        while (is_idle (self, node) && asked++ < most &&
               sched_copy (self->sched, node, (double) now * 1e-3, &task))
            send_tasks (self, &self->links[node], 1, &task);
    }
}

static void tick_link (links_t *self, link_t *l, int64_t now)
{
    unsigned node = (unsigned) (l - self->links);
    if (now - l->heard > faults_ms (SILENCE_MS)) {
        link_lose (self, l, "no answer for 10 s");
        return;
    }
    if (l->state == LINK_LACKS) {
        /* What it lacks may come: memory that an ended run still has, a file. */
        if (now - l->since > faults_ms (LACKS_MS))
            link_lose (self, l, "asked anew");
        return;
    }
    if (l->state == LINK_HELLO && now - l->since > OPEN_MS) {
        link_lose (self, l, "it did not get ready within 10 minutes");
        return;
    }
    if (now - l->pinged >= faults_ms (PING_MS)) {
        l->pinged = now;
        l->ping_assigned = l->assigned;
        link_send (self, l,
                   &(msg_t){.type = MSG_PING,
                            .ping = {.seq = ++l->ping_seq, .assigned = l->assigned}});
        /* Said again each second, so that a lost message costs no more. */
        if (l->state == LINK_READY) {
            link_send_credit (self, l, node);
            link_remind (self, l);
            if (!l->streaming)
                link_send_resync (self, l);
        }
    }
    if (l->state != LINK_READY)
        return;
    assign (self, l, now);
    if (l->state != LINK_READY)
        return; /* it was cut off */
    if (l->told_position != link_received (self, l))
        link_send_credit (self, l, node);
    bool waiting = gate_granted (self->gate, node) > l->position || !l->streaming ||
                   (l->held > 0 && link_received (self, l) == l->position &&
                    !gate_wants (self->gate, node));
    if (!waiting)
        l->moved = now;
    if (now - l->moved > l->stall_ms) {
        l->stall_ms *= 2; /* a slow line needs longer than one piece takes */
        link_resync (self, l);
    }
}

void links_tick (links_t *self, int64_t now)
{
    unsigned node, gathering = 0;
    uint64_t granted;
    for (unsigned i = 0; now - self->began < GATHER_MS && i < self->nlinks; i++)
        gathering +=
            self->links[i].state == LINK_HELLO || self->links[i].state == LINK_READY;
    gate_expect (self->gate, gathering);
    while (gate_next (self->gate, &node, &granted))
        if (node < self->nlinks && self->links[node].state == LINK_READY) {
            link_t *l = &self->links[node];
            if (l->told_granted == l->position)
                l->moved = now; /* the clock of a grant starts with it */
            link_send_credit (self, l, node);
        }
    for (unsigned i = 0; i < self->nlinks; i++)
        if (self->links[i].state)
            tick_link (self, &self->links[i], now);
    shed (self, now);
    copy (self, now);
}

void links_slept (links_t *self, int64_t ms)
{
    for (unsigned i = 0; i < self->nlinks; i++) {
        link_t *l = &self->links[i];
        l->heard += ms;
        l->moved += ms;
        l->since += ms;
        l->pinged = 0; /* ask at once */
    }
}
