/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/ledger.h"

#include <stdlib.h>
#include <string.h>

enum { UNSETTLED_MAX = 512 }; /* of a table: 44 KiB in each snapshot */

typedef struct {
    index_row_t *rows;       /* start counts from the open chunk's start */
    size_t n, room, settled; /* rows before `settled` are done with */
    size_t old_n;
    uint64_t old_address, old_stored; /* of the chunk that these are in */
    bool pinned, old_pinned;
} lane_t;

struct ledger {
    chunks_t *index;
    size_t ntables;
    lane_t lanes[];
};

ledger_t *ledger_new (chunks_t *index, size_t ntables, sluice_error_t *err)
{
    ledger_t *self = calloc (1, sizeof *self + ntables * sizeof self->lanes[0]);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->index = index;
    self->ntables = ntables;
    return self;
}

void ledger_destroy (ledger_t **self_p)
{
    if (!*self_p)
        return;
    for (size_t i = 0; i < (*self_p)->ntables; i++)
        free ((*self_p)->lanes[i].rows);
    free (*self_p);
    *self_p = NULL;
}

int ledger_add_full (ledger_t *self, const index_row_t *row, sluice_error_t *err)
{
    return chunks_append (self->index, row, 1, err);
}

static int settle (ledger_t *self, lane_t *lane, uint64_t place, sluice_error_t *err)
{
    for (size_t i = lane->settled; i < lane->n; i++) {
        index_row_t row = lane->rows[i];
        row.start += place;
        if (chunks_append (self->index, &row, 1, err) < 0)
            return -1;
    }
    lane->settled = lane->n;
    return 0;
}

void ledger_move (ledger_t *self, uint32_t table, uint64_t address, uint64_t stored)
{
    lane_t *lane = self->lanes + table;
    for (size_t i = lane->settled; i < lane->n; i++) {
        lane->rows[i].address = address;
        lane->rows[i].stored = stored;
    }
}

int ledger_pin (ledger_t *self, uint32_t table, uint64_t place, sluice_error_t *err)
{
    lane_t *lane = self->lanes + table;
    if (settle (self, lane, place, err) < 0)
        return -1;
    lane->pinned = true;
    return 0;
}

int ledger_add_packed (ledger_t *self, const index_row_t *row, uint64_t place,
                       sluice_error_t *err)
{
    lane_t *lane = self->lanes + row->table;
    if (lane->pinned) {
        index_row_t settled = *row;
        settled.start += place;
        return chunks_append (self->index, &settled, 1, err);
    }
    if (lane->n == lane->room) {
        size_t room = lane->room ? 2 * lane->room : 16;
        index_row_t *rows = realloc (lane->rows, room * sizeof *rows);
        if (!rows)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        lane->rows = rows;
        lane->room = room;
    }
    lane->rows[lane->n++] = *row;
    if (lane->n - lane->settled > UNSETTLED_MAX)
        return ledger_pin (self, row->table, place, err);
    return 0;
}

int ledger_fill (ledger_t *self, uint32_t table, uint64_t place, sluice_error_t *err)
{
    lane_t *lane = self->lanes + table;
    if (settle (self, lane, place, err) < 0)
        return -1;
    lane->pinned = false;
    return 0;
}

bool ledger_pinned (const ledger_t *self, uint32_t table)
{
    return self->lanes[table].pinned;
}

int ledger_unsettled (const ledger_t *self, const uint64_t *places, index_row_t **rows,
                      size_t *n, sluice_error_t *err)
{
    *rows = NULL;
    *n = 0;
    size_t sum = 0;
    for (size_t i = 0; i < self->ntables; i++)
        sum += self->lanes[i].n;
    if (!sum)
        return 0;
    *rows = malloc (sum * sizeof **rows);
    if (!*rows)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (size_t i = 0; i < self->ntables; i++)
        for (size_t j = 0; j < self->lanes[i].n; j++) {
            (*rows)[*n] = self->lanes[i].rows[j];
            (*rows)[(*n)++].start += places[i];
        }
    return 0;
}

void ledger_mark (ledger_t *self)
{
    chunks_mark (self->index);
    for (size_t i = 0; i < self->ntables; i++) {
        lane_t *lane = self->lanes + i;
        lane->old_n = lane->n;
        lane->old_address = lane->n ? lane->rows[0].address : 0;
        lane->old_stored = lane->n ? lane->rows[0].stored : 0;
        lane->old_pinned = lane->pinned;
    }
}

void ledger_commit (ledger_t *self)
{
    chunks_commit (self->index);
    for (size_t i = 0; i < self->ntables; i++) {
        lane_t *lane = self->lanes + i;
        if (!lane->settled)
            continue;
        lane->n -= lane->settled;
        memmove (lane->rows, lane->rows + lane->settled, lane->n * sizeof *lane->rows);
        lane->settled = 0;
    }
}

void ledger_rollback (ledger_t *self)
{
    chunks_rollback (self->index);
    for (size_t i = 0; i < self->ntables; i++) {
        lane_t *lane = self->lanes + i;
        lane->n = lane->old_n;
        for (size_t k = 0; k < lane->n; k++) {
            lane->rows[k].address = lane->old_address;
            lane->rows[k].stored = lane->old_stored;
        }
        lane->settled = 0;
        lane->pinned = lane->old_pinned;
    }
}
