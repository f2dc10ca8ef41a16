/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/space.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t address, bytes;
} extent_t;

typedef struct {
    extent_t *at;
    size_t n, room;
} list_t;

struct space {
    uint64_t start, end;
    list_t holes;     /* sorted by address, never adjacent, all below end */
    uint64_t largest; /* no hole is larger; may be too high */
    list_t retired, sealed;
};

static uint64_t pages (uint64_t bytes)
{
    return (bytes + SPACE_PAGE - 1) & ~(uint64_t) (SPACE_PAGE - 1);
}

static bool list_insert (list_t *list, size_t i, extent_t extent)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        extent_t *at = realloc (list->at, room * sizeof *at);
        if (!at)
            return false;
        list->at = at;
        list->room = room;
    }
    memmove (list->at + i + 1, list->at + i, (list->n - i) * sizeof *list->at);
    list->at[i] = extent;
    list->n++;
    return true;
}

static void list_remove (list_t *list, size_t i)
{
    list->n--;
    memmove (list->at + i, list->at + i + 1, (list->n - i) * sizeof *list->at);
}

space_t *space_new (uint64_t start)
{
    space_t *self = calloc (1, sizeof *self);
    if (self)
        self->start = self->end = pages (start);
    return self;
}

void space_destroy (space_t **self_p)
{
    if (!*self_p)
        return;
    free ((*self_p)->holes.at);
    free ((*self_p)->retired.at);
    free ((*self_p)->sealed.at);
    free (*self_p);
    *self_p = NULL;
}

uint64_t space_alloc (space_t *self, uint64_t bytes)
{
    bytes = pages (bytes);
    if (bytes <= self->largest) {
        uint64_t largest = 0;
        for (size_t i = 0; i < self->holes.n; i++) {
            extent_t *hole = self->holes.at + i;
            if (hole->bytes >= bytes) {
                uint64_t address = hole->address;
                hole->address += bytes;
                hole->bytes -= bytes;
                if (!hole->bytes)
                    list_remove (&self->holes, i);
                return address;
            }
            if (hole->bytes > largest)
                largest = hole->bytes;
        }
        self->largest = largest;
    }
    uint64_t address = self->end;
    self->end += bytes;
    return address;
}

/* The first hole above `address`. */
static size_t hole_above (const space_t *self, uint64_t address)
{
    size_t low = 0, high = self->holes.n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (self->holes.at[middle].address > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void space_free (space_t *self, uint64_t address, uint64_t bytes)
{
    bytes = pages (bytes);
    size_t i = hole_above (self, address);
    extent_t *before = i > 0 ? self->holes.at + i - 1 : NULL;
    extent_t *after = i < self->holes.n ? self->holes.at + i : NULL;
    bool joins_before = before && before->address + before->bytes == address;
    bool joins_after = after && address + bytes == after->address;
    if (joins_before && joins_after) {
        before->bytes += bytes + after->bytes;
        list_remove (&self->holes, i--);
    } else if (joins_before) {
        before->bytes += bytes;
        i--;
    } else if (joins_after) {
        after->address = address;
        after->bytes += bytes;
    } else if (!list_insert (&self->holes, i, (extent_t){address, bytes}))
        return;
    extent_t *hole = self->holes.at + i;
    if (hole->address + hole->bytes == self->end) {
        self->end = hole->address;
        list_remove (&self->holes, i);
    } else if (hole->bytes > self->largest)
        self->largest = hole->bytes;
}

void space_retire (space_t *self, uint64_t address, uint64_t bytes)
{
    list_insert (&self->retired, self->retired.n, (extent_t){address, pages (bytes)});
}

void space_seal (space_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->retired.n; i++)
        if (!list_insert (&self->sealed, self->sealed.n, self->retired.at[i]))
            self->retired.at[kept++] = self->retired.at[i];
    self->retired.n = kept;
}

void space_release (space_t *self)
{
    for (size_t i = 0; i < self->sealed.n; i++)
        space_free (self, self->sealed.at[i].address, self->sealed.at[i].bytes);
    self->sealed.n = 0;
}

uint64_t space_sealed (const space_t *self)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < self->sealed.n; i++)
        sum += self->sealed.at[i].bytes;
    return sum;
}

uint64_t space_end (const space_t *self)
{
    return self->end;
}

uint64_t space_unused (const space_t *self)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < self->holes.n; i++)
        sum += self->holes.at[i].bytes;
    return sum;
}

int space_hole (const space_t *self, size_t i, uint64_t *address, uint64_t *bytes)
{
    if (i >= self->holes.n)
        return 0;
    *address = self->holes.at[i].address;
    *bytes = self->holes.at[i].bytes;
    return 1;
}
