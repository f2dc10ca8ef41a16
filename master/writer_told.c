/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/writer.h"

#include <stdlib.h>
#include <string.h>
#include "master/writer_state.h"

/* Who reads results while the run goes on is told where the rows of a finished task
 * lie. Full extents are in the file by then; rows that were packed into the open chunk
 * of their table may still wait in memory, so tasks are told only after the next
 * flush. What is told stays so: extents of finished tasks never move, and what is in
 * the file of an open chunk is never written again (chunks.h). */

struct told {
    struct told *next;
    msg_result_t result;
};

void writer_tell (writer_t *self)
{
    self->telling = true;
}

int told_extent (writer_t *self, uint32_t table, uint64_t rows, chunk_place_t place,
                 sluice_error_t *err)
{
    told_scratch_t *now = &self->telling_now;
    if (!self->telling || !rows)
        return 0;
    extent_t *last = now->n ? now->extents + now->n - 1 : NULL;
    uint64_t row_bytes = chunks_row_bytes (self->tables[table].chunks);
    if (last && last->table == table && !last->deflated && !place.deflated &&
        last->address + last->rows * row_bytes == place.address) {
        last->rows += rows;
        return 0;
    }
    if (now->n == now->room) {
        size_t room = now->room ? 2 * now->room : 16;
        extent_t *grown = realloc (now->extents, room * sizeof *grown);
        if (!grown)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        now->extents = grown;
        now->room = room;
    }
    now->extents[now->n++] = (extent_t){table, rows, place.address, place.deflated};
    return 0;
}

void told_begin (writer_t *self)
{
    self->telling_now.n = 0;
}

static void told_free (told_t *told)
{
    msg_t msg = {.type = MSG_RESULT, .result = told->result};
    msg_clear (&msg);
    free (told);
}

/* Names of the tables that were made with this task: numbers from `before` on. */
static bool name_tables (const writer_t *self, msg_result_t *result, uint32_t before)
{
    uint32_t n = self->nall - before;
    if (!n)
        return true;
    result->tables = calloc (n, sizeof *result->tables);
    if (!result->tables)
        return false;
    result->ntables = n;
    for (uint32_t i = 0; i < n; i++) {
        const wtable_t *table = self->tables + before + i;
        result->tables[i] =
            (met_late_t){before + i, strdup (table->name), strdup (table->dtype)};
        if (!result->tables[i].name || !result->tables[i].dtype)
            return false;
    }
    return true;
}

told_t *told_make (writer_t *self, const piece_t *piece, uint32_t before,
                   sluice_error_t *err)
{
    const told_scratch_t *now = &self->telling_now;
    told_t *told = calloc (1, sizeof *told);
    if (!told)
        goto error;
    told->result = (msg_result_t){.task = piece->task,
                                  .attempt = piece->attempt,
                                  .first = piece->first,
                                  .stop = piece->stop};
    if (now->n) {
        told->result.extents = malloc (now->n * sizeof *now->extents);
        if (!told->result.extents)
            goto error;
        memcpy (told->result.extents, now->extents, now->n * sizeof *now->extents);
        told->result.nextents = now->n;
    }
    if (name_tables (self, &told->result, before))
        return told;
error:
    if (told)
        told_free (told);
    sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    return NULL;
}

void told_add (writer_t *self, told_t *told)
{
    *(self->told ? &self->told_last->next : &self->told) = told;
    self->told_last = told;
    self->unpublished++;
}

size_t writer_unpublished (const writer_t *self)
{
    return self->unpublished;
}

int writer_publish (writer_t *self, sluice_error_t *err)
{
    if (!self->unpublished)
        return 0;
    outfile_clear (self->file);
    self->full = false;
    for (uint32_t i = 0; i < self->nall; i++)
        if (chunks_flush (self->tables[i].chunks, err) < 0)
            return writer_failed (self);
    self->unpublished = 0;
    return 0;
}

bool writer_told (writer_t *self, msg_result_t *result)
{
    told_t *told = self->told;
    if (!told || self->unpublished)
        return false;
    *result = told->result;
    self->told = told->next;
    free (told);
    return true;
}

void told_clear (writer_t *self)
{
    while (self->told) {
        told_t *next = self->told->next;
        told_free (self->told);
        self->told = next;
    }
    free (self->telling_now.extents);
}
