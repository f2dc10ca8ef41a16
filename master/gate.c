/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/gate.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    bool used;
    bool changed; /* granted more than the node was told */
    uint64_t granted, received;
    uint64_t offered; /* end of the last known piece */
    uint32_t *sizes;  /* ring of pieces offered and not granted */
    size_t first, count, room;
} entry_t;

struct gate {
    uint64_t window, outstanding, held, peak;
    entry_t *nodes;
    size_t nnodes;
    size_t turn;       /* who is served next */
    size_t wanting;    /* nodes that have offered pieces and not got them granted */
    size_t changed;    /* nodes that are to be told of a grant */
    size_t told;       /* who was told last */
    unsigned offering; /* nodes that ever offered */
    unsigned expected;
};

gate_t *gate_new (uint64_t window)
{
    gate_t *self = calloc (1, sizeof *self);
    if (self) {
        self->window = window;
        self->told = SIZE_MAX;
    }
    return self;
}

void gate_destroy (gate_t **self_p)
{
    gate_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->nnodes; i++)
        free (self->nodes[i].sizes);
    free (self->nodes);
    free (self);
    *self_p = NULL;
}

static entry_t *entry (const gate_t *self, unsigned node)
{
    return node < self->nnodes && self->nodes[node].used ? &self->nodes[node] : NULL;
}

int gate_join (gate_t *self, unsigned node)
{
    if (node >= self->nnodes) {
        size_t n = (size_t) node + 16;
        entry_t *grown = realloc (self->nodes, n * sizeof *grown);
        if (!grown)
            return -1;
        memset (grown + self->nnodes, 0, (n - self->nnodes) * sizeof *grown);
        self->nodes = grown;
        self->nnodes = n;
    }
    gate_leave (self, node);
    self->nodes[node].used = true;
    return 0;
}

void gate_expect (gate_t *self, unsigned nodes)
{
    self->expected = nodes;
}

void gate_leave (gate_t *self, unsigned node)
{
    entry_t *e = entry (self, node);
    if (!e)
        return;
    self->outstanding -= e->granted - e->received;
    self->offering -= e->offered > 0;
    self->wanting -= e->count > 0;
    self->changed -= e->changed;
    free (e->sizes);
    memset (e, 0, sizeof *e);
}

static int remember (entry_t *e, uint32_t size)
{
    if (e->count == e->room) {
        size_t room = e->room ? 2 * e->room : 16;
        uint32_t *grown = malloc (room * sizeof *grown);
        if (!grown)
            return -1;
        for (size_t i = 0; i < e->count; i++)
            grown[i] = e->sizes[(e->first + i) % e->room];
        free (e->sizes);
        e->sizes = grown;
        e->room = room;
        e->first = 0;
    }
    e->sizes[(e->first + e->count++) % e->room] = size;
    e->offered += size;
    return 0;
}

int gate_offer (gate_t *self, unsigned node, uint64_t from, const uint32_t *sizes,
                size_t n, sluice_error_t *err)
{
    entry_t *e = entry (self, node);
    if (!e)
        return sluice_fail (err, SLUICE_EPROTO, "an offer from an unknown node");
    uint64_t at = from;
    if (at > e->offered)
        return 0;
    for (size_t i = 0; i < n; at += sizes[i++]) {
        if (at < e->offered)
            continue;
        if (sizes[i] == 0 || sizes[i] > self->window)
            return sluice_fail (err, SLUICE_EPROTO,
                                "a piece of %u bytes does not fit the window of %llu",
                                sizes[i], (unsigned long long) self->window);
        if (e->count >= GATE_MAX_OFFERED)
            return sluice_fail (err, SLUICE_EPROTO, "more than %d pieces offered",
                                GATE_MAX_OFFERED);
        bool first = e->offered == 0, more = e->count == 0;
        if (remember (e, sizes[i]))
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        self->offering += first;
        self->wanting += more;
    }
    return 0;
}

static void note_peak (gate_t *self)
{
    if (gate_in_use (self) > self->peak)
        self->peak = gate_in_use (self);
}

/* Is there room for a piece? One always fits, while nodes are expected. */
static bool has_room (const gate_t *self, uint32_t size)
{
    uint64_t used = gate_in_use (self), open = self->window;
    if (self->offering < self->expected)
        open = open / self->expected * self->offering;
    return used + size <= (used == 0 ? self->window : open);
}

/* One piece to each node in turn, until the next in turn does not fit. */
static void grant (gate_t *self)
{
    size_t idle = 0;
    while (self->wanting > 0 && idle < self->nnodes) {
        entry_t *e = &self->nodes[self->turn % self->nnodes];
        if (!e->used || e->count == 0) {
            self->turn = (self->turn + 1) % self->nnodes;
            idle++;
            continue;
        }
        uint32_t size = e->sizes[e->first];
        if (!has_room (self, size))
            return; /* it stays first in turn: nobody starves */
        e->first = (e->first + 1) % e->room;
        e->count--;
        self->wanting -= e->count == 0;
        e->granted += size;
        self->changed += !e->changed;
        e->changed = true;
        self->outstanding += size;
        self->turn = (self->turn + 1) % self->nnodes;
        idle = 0;
    }
}

bool gate_next (gate_t *self, unsigned *node, uint64_t *granted)
{
    grant (self);
    note_peak (self);
    for (size_t n = 0; self->changed > 0 && n < self->nnodes; n++) {
        size_t i = self->told = (self->told + 1) % self->nnodes;
        entry_t *e = &self->nodes[i];
        if (!e->used || !e->changed)
            continue;
        e->changed = false;
        self->changed--;
        *node = (unsigned) i;
        *granted = e->granted;
        return true;
    }
    return false;
}

bool gate_received (gate_t *self, unsigned node, uint64_t bytes)
{
    entry_t *e = entry (self, node);
    if (!e || bytes > e->granted - e->received)
        return false;
    e->received += bytes;
    self->outstanding -= bytes;
    self->held += bytes;
    return true;
}

void gate_written (gate_t *self, uint64_t bytes)
{
    self->held -= bytes < self->held ? bytes : self->held;
}

uint64_t gate_granted (const gate_t *self, unsigned node)
{
    const entry_t *e = entry (self, node);
    return e ? e->granted : 0;
}

uint64_t gate_arrived (const gate_t *self, unsigned node)
{
    const entry_t *e = entry (self, node);
    return e ? e->received : 0;
}

bool gate_wants (const gate_t *self, unsigned node)
{
    const entry_t *e = entry (self, node);
    return e && e->count > 0;
}

uint64_t gate_window (const gate_t *self)
{
    return self->window;
}

uint64_t gate_in_use (const gate_t *self)
{
    return self->outstanding + self->held;
}

uint64_t gate_held (const gate_t *self)
{
    return self->held;
}

uint64_t gate_peak (const gate_t *self)
{
    return self->peak;
}
