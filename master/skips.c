/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/skips.h"

#include <stdlib.h>

typedef struct {
    uint64_t first, stop;
} skip_t;

struct skips {
    skip_t *skips; /* in the order they came; some are past */
    size_t n, room;
};

skips_t *skips_new (void)
{
    return calloc (1, sizeof (skips_t));
}

void skips_destroy (skips_t **self_p)
{
    if (!*self_p)
        return;
    free ((*self_p)->skips);
    free (*self_p);
    *self_p = NULL;
}

int skips_add (skips_t *self, uint64_t first, uint64_t stop)
{
    if (first >= stop)
        return 0;
    if (self->n == self->room) {
        size_t room = self->room ? 2 * self->room : 16;
        skip_t *grown = realloc (self->skips, room * sizeof *grown);
        if (!grown)
            return -1;
        self->skips = grown;
        self->room = room;
    }
    self->skips[self->n++] = (skip_t){first, stop};
    return 0;
}

bool skips_next (const skips_t *self, uint64_t next, uint64_t *n)
{
    for (size_t i = 0; i < self->n; i++) {
        const skip_t *skip = self->skips + i;
        if (skip->first > next || next >= skip->stop)
            continue;
        if (*n > skip->stop - next)
            *n = skip->stop - next;
        return true;
    }
    for (size_t i = 0; i < self->n; i++) {
        const skip_t *skip = self->skips + i;
        if (skip->first > next && *n > skip->first - next)
            *n = skip->first - next;
    }
    return false;
}
