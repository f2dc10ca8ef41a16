/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/writer.h"

#include <stdlib.h>
#include <string.h>
#include "calc/tables.h"
#include "master/writer_state.h"

/* An attempt numbers the tables that it met late by itself. Only when it is done do
 * they get their numbers in the file: until then nobody else needs to know of them,
 * and of an attempt that is dropped nothing is left. */

static int not_so (writer_t *self, const met_t *met, sluice_error_t *err)
{
    self->blamed = met->item;
    if (err && err->code == SLUICE_EINPUT)
        err->code = SLUICE_EFAILED;
    return -1;
}

/* Find the number of a table, or that it could be made; and the bytes of its rows. */
static int look_up (writer_t *self, met_t *met, sluice_error_t *err)
{
    for (uint32_t i = 0; i < self->nall; i++) {
        const wtable_t *table = self->tables + i;
        if (i == self->ntables || strcmp (table->name, met->name) != 0)
            continue;
        if (i < self->ntables || strcmp (table->dtype, met->dtype) != 0)
            return sluice_fail (err, SLUICE_EINPUT,
                                "table %s cannot be of dtype %s: in this run it is of "
                                "dtype %s",
                                met->name, met->dtype, table->dtype);
        met->number = i;
        met->row_bytes = chunks_row_bytes (table->chunks);
        return 0;
    }
    if (name_check (met->name, true, err) < 0)
        return -1;
    for (uint32_t i = 0; i < self->nall; i++)
        if (i != self->ntables &&
            name_check_beside (met->name, true, self->tables[i].name, true, err) < 0)
            return -1;
    for (size_t i = 0; i < self->plan->noutputs; i++)
        if (name_check_beside (met->name, true, self->plan->outputs[i].name, false, err) <
            0)
            return -1;
    if (self->nall - self->ntables > PIECE_MAX_LATE)
        return sluice_fail (err, SLUICE_EINPUT,
                            "table %s: the run has met %d tables that its plan does not "
                            "declare, and there can be no more",
                            met->name, PIECE_MAX_LATE);
    return 0;
}

/* A table that the piece names. */
static int take_in (writer_t *self, met_t *met, sluice_error_t *err)
{
    if (look_up (self, met, err) < 0)
        return -1;
    if (met->row_bytes)
        return 0;
    sluice_dtype_t *dtype = rows_dtype (met->dtype, err);
    char *text = dtype ? sluice_dtype_text (dtype) : NULL;
    bool canonical = text && strcmp (text, met->dtype) == 0;
    met->row_bytes = dtype ? sluice_dtype_size (dtype) : 0;
    sluice_dtype_destroy (&dtype);
    free (text);
    if (!met->row_bytes)
        return sluice_fail_at (err, "table %s", met->name);
    if (!canonical)
        return sluice_fail (err, SLUICE_EINPUT, "table %s: its dtype is not canonical",
                            met->name);
    return 0;
}

/* No number is given twice in an attempt, and no name. A piece may come again, when
 * there was no space for it. */
static bool is_new (const writer_t *self, const late_t *late, uint32_t number)
{
    for (uint32_t k = 0; k < PIECE_MAX_LATE; k++) {
        const met_t *met = self->met + k;
        if (met->name && (k == number) != (strcmp (met->name, late->name) == 0))
            return false;
        if (met->name && k == number && strcmp (met->dtype, late->dtype) != 0)
            return false;
    }
    return true;
}

int late_follow (writer_t *self, const attempt_t *attempt, const piece_t *piece,
                 sluice_error_t *err)
{
    if (attempt && attempt->met)
        memcpy (self->met, attempt->met, sizeof self->met);
    else
        memset (self->met, 0, sizeof self->met);
    for (size_t i = 0; i < piece->nlate; i++) {
        const late_t *late = piece->late + i;
        uint32_t k = late->table - self->ntables - 1;
        if (late->table <= self->ntables || k >= PIECE_MAX_LATE ||
            !is_new (self, late, k))
            return sluice_fail (err, SLUICE_EPROTO,
                                "task %llu, attempt %u: names a table anew",
                                (unsigned long long) piece->task, piece->attempt);
        met_t met = {.name = (char *) (uintptr_t) late->name,
                     .dtype = (char *) (uintptr_t) late->dtype,
                     .item = late->item};
        if (take_in (self, &met, err) < 0)
            return not_so (self, &met, err);
        self->met[k] = met;
    }
    return 0;
}

uint64_t late_row_bytes (const writer_t *self, uint32_t table)
{
    if (table <= self->ntables)
        return chunks_row_bytes (self->tables[table].chunks);
    uint32_t k = table - self->ntables - 1;
    return k < PIECE_MAX_LATE && self->met[k].name ? self->met[k].row_bytes : 0;
}

uint32_t late_number (const writer_t *self, uint32_t table)
{
    return table <= self->ntables ? table : self->met[table - self->ntables - 1].number;
}

bool late_renumbers (const writer_t *self)
{
    for (uint32_t k = 0; k < PIECE_MAX_LATE; k++)
        if (self->met[k].name && self->met[k].number != self->ntables + 1 + k)
            return true;
    return false;
}

static int make_one (writer_t *self, met_t *met, sluice_error_t *err)
{
    if (look_up (self, met, err) < 0)
        return not_so (self, met, err);
    if (met->number)
        return 0;
    wtable_t *table = self->tables + self->nall;
    if (wtable_make (self, table, met->name, met->dtype, chunk_rows_for (met->row_bytes),
                     err) < 0) {
        wtable_clear (table);
        return not_so (self, met, err);
    }
    chunks_mark (table->chunks);
    met->number = self->nall++;
    return 0;
}

int late_make (writer_t *self, sluice_error_t *err)
{
    for (uint32_t k = 0; k < PIECE_MAX_LATE; k++) {
        met_t *met = self->met + k;
        if (met->name && !met->number && self->streams[self->ntables + 1 + k].rows &&
            make_one (self, met, err) < 0)
            return -1;
    }
    return 0;
}

void late_undo (writer_t *self, uint32_t nall)
{
    while (self->nall > nall)
        wtable_clear (self->tables + --self->nall);
}

uint64_t writer_blamed (const writer_t *self)
{
    return self->blamed;
}
