/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/client_state.h"
#include "proto/clock.h"
#include "sluice/dtype.h"

/* ---- tables ------------------------------------------------------------------------ */

static int add_table (sluice_map_t *self, uint32_t number, const char *name,
                      const char *dtype_text, sluice_error_t *err)
{
    sluice_dtype_t *dtype = sluice_dtype_parse (dtype_text, strlen (dtype_text), err);
    if (!dtype)
        return -1;
    size_t row_bytes = sluice_dtype_size (dtype);
    sluice_dtype_destroy (&dtype);
    map_table_t *grown = realloc (self->tables, (self->ntables + 1) * sizeof *grown);
    if (grown)
        self->tables = grown;
    char *name_copy = strdup (name), *dtype_copy = strdup (dtype_text);
    if (!grown || !name_copy || !dtype_copy) {
        free (name_copy);
        free (dtype_copy);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    self->tables[self->ntables++] =
        (map_table_t){name_copy, dtype_copy, row_bytes, number};
    return extents_table (self->extents, number, row_bytes, err);
}

/* ---- what the master says ------------------------------------------------------------
 */

static int on_begun (sluice_map_t *self, const msg_t *msg, int output,
                     sluice_error_t *err)
{
    const msg_begun_t *begun = &msg->begun;
    uint32_t n = (uint32_t) begun->ntables;
    if (output < 0)
        return sluice_fail (err, SLUICE_EPROTO, "the master gave no output");
    self->items = begun->items;
    if (!(self->extents = extents_new (output, n)))
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (uint32_t i = 0; i < n; i++)
        if (add_table (self, i, begun->tables[i].name, begun->tables[i].dtype, err) < 0)
            return -1;
    run_text (msg->run, self->run);
    return 0;
}

static int on_result (sluice_map_t *self, const msg_result_t *result, sluice_error_t *err)
{
    if (!self->filling)
        extents_clear (self->extents);
    for (size_t i = 0; i < result->ntables; i++)
        if (add_table (self, result->tables[i].number, result->tables[i].name,
                       result->tables[i].dtype, err) < 0)
            return -1;
    for (size_t i = 0; i < result->nextents; i++)
        if (extents_add (self->extents, result->extents[i].table, result->extents[i].rows,
                         result->extents[i].address, result->extents[i].deflated,
                         err) < 0)
            return -1;
    self->filling = result->more;
    if (!result->more) {
        self->next = result->first;
        self->stop = result->stop;
    }
    return 0;
}

static void on_progress (sluice_map_t *self, msg_t *msg)
{
    sluice_progress_t progress;
    msg_t old = {.type = MSG_PROGRESS, .progress = self->now};
    self->now = msg->progress;
    *msg = old; /* to be cleared */
    sluice_map_progress (self, &progress);
    if (self->progress)
        self->progress (self->arg, &progress);
}

static void on_over (sluice_map_t *self, msg_t *msg)
{
    self->over = msg->over;
    msg->type = 0; /* its parts are ours */
    self->ended = true;
    self->now.done = self->over.done;
    self->now.failed = self->over.failed;
    self->now.running = 0;
    self->now.bytes = self->over.bytes;
    self->now.milliseconds = self->over.milliseconds;
    /* That some items failed, or that it was cancelled, is an end like any other. */
    if (self->over.code != SLUICE_OK && self->over.code != SLUICE_EFAILED &&
        self->over.code != SLUICE_ECANCELLED)
        sluice_fail (&self->why, (sluice_code_t) self->over.code, "%s", self->over.text);
}

/* Take one message. -1: it cannot be right, or cannot be kept. */
static int take (sluice_map_t *self, msg_t *msg, sluice_error_t *err)
{
    int rc = 0;
    switch (msg->type) {
    case MSG_RESULT:
        rc = on_result (self, &msg->result, err);
        break;
    case MSG_LOST:
        msg_clear (&(msg_t){.type = MSG_LOST, .lost = self->lost});
        self->lost = msg->lost;
        msg->type = 0;
        break;
    case MSG_PROGRESS:
        on_progress (self, msg);
        break;
    case MSG_OVER:
        on_over (self, msg);
        break;
    default:
        rc = sluice_fail (err, SLUICE_EPROTO, "the master says what was not asked for");
    }
    if (msg->type)
        msg_clear (msg);
    return rc;
}

int map_begin (sluice_map_t *self, sluice_error_t *err)
{
    msg_t msg;
    int got, passed = -1;
    while ((got = map_wait (self, -1, &msg, &passed)) == 0)
        ; /* a signal came: the plan is not ours to stop */
    if (got < 0) {
        *err = self->why;
        return -1;
    }
    self->output = passed;
    if (msg.type == MSG_BEGUN) {
        got = on_begun (self, &msg, passed, err);
        msg_clear (&msg);
        return got;
    }
    if (take (self, &msg, err) < 0)
        return -1;
    if (self->why.code == SLUICE_OK) /* it was told to end by somebody else */
        sluice_fail (&self->why, SLUICE_ECANCELLED, "ended before it began");
    *err = self->why;
    return -1;
}

/* ---- results
 * ---------------------------------------------------------------------------- */

/* The next ones of the task in hand. */
static int give_done (sluice_map_t *self, uint64_t most, sluice_result_t *result,
                      sluice_error_t *err)
{
    uint64_t n = self->stop - self->next;
    *result = (sluice_result_t){.first = self->next,
                                .stop = self->next + (n < most ? n : most),
                                .exit_code = -1,
                                .reason = "",
                                .messages = "",
                                .host = ""};
    if (extents_items (self->extents, result->first, result->stop, err) < 0)
        return -1;
    self->next = result->stop;
    self->has_rows = true;
    return SLUICE_MAP_RESULT;
}

static int give_lost (sluice_map_t *self, uint64_t most, sluice_result_t *result)
{
    msg_lost_t *lost = &self->lost;
    uint64_t n = lost->stop - lost->first;
    *result = (sluice_result_t){.first = lost->first,
                                .stop = lost->first + (n < most ? n : most),
                                .failed = true,
                                .signal = lost->sig,
                                .exit_code = lost->exit_code,
                                .reason = lost->reason,
                                .messages = lost->stderr_tail,
                                .host = lost->host};
    lost->first = result->stop;
    return SLUICE_MAP_RESULT;
}

/* It is over: how? */
static int give_end (sluice_map_t *self, sluice_error_t *err)
{
    process_ended (&self->process,
                   0); /* so that it is no zombie until the map is closed */
    if (self->why.code == SLUICE_OK)
        return SLUICE_MAP_END;
    if (err)
        *err = self->why;
    return -1;
}

int sluice_map_next (sluice_map_t *self, uint64_t most, double seconds,
                     sluice_result_t *result, sluice_error_t *err)
{
    double until = clock_seconds () + seconds, left = seconds;
    self->has_rows = false;
    if (most == 0)
        return sluice_fail (err, SLUICE_EINPUT, "results of no item are asked for");
    for (;;) {
        msg_t msg;
        if (self->next < self->stop)
            return give_done (self, most, result, err);
        if (self->lost.first < self->lost.stop)
            return give_lost (self, most, result);
        if (self->ended)
            return give_end (self, err);
        if (seconds > 0 && (left = until - clock_seconds ()) < 0)
            left = 0;
        int got = map_wait (self, left, &msg, NULL);
        if (got == 0)
            return SLUICE_MAP_NOTHING;
        if (got > 0 && take (self, &msg, &self->why) < 0)
            self->ended = true;
    }
}

/* ---- rows -----------------------------------------------------------------------------
 */

uint64_t sluice_map_count (const sluice_map_t *self, unsigned table)
{
    return table < self->ntables && self->has_rows
               ? extents_count (self->extents, self->tables[table].number)
               : 0;
}

int sluice_map_read (sluice_map_t *self, unsigned table, uint64_t from, uint64_t n,
                     void *rows, sluice_error_t *err)
{
    uint64_t count = sluice_map_count (self, table);
    if (table >= self->ntables)
        return sluice_fail (err, SLUICE_EINPUT, "there is no table %u", table);
    if (from > count || n > count - from)
        return sluice_fail (err, SLUICE_EINPUT,
                            "table %s: rows up to %llu are asked for, and there are %llu",
                            self->tables[table].name, (unsigned long long) (from + n),
                            (unsigned long long) count);
    if (n == 0)
        return 0;
    return extents_read (self->extents, self->tables[table].number, from, n, rows, err);
}

const void *sluice_map_rows (sluice_map_t *self, unsigned table, uint64_t *n,
                             sluice_error_t *err)
{
    static const uint64_t nothing; /* without rows there is a pointer, too */
    uint64_t count = sluice_map_count (self, table), bytes;
    if (n)
        *n = 0;
    if (table >= self->ntables) {
        sluice_fail (err, SLUICE_EINPUT, "there is no table %u", table);
        return NULL;
    }
    if (count == 0)
        return &nothing;
    if (__builtin_mul_overflow (count, self->tables[table].row_bytes, &bytes) ||
        bytes > SIZE_MAX / 2) {
        sluice_fail (err, SLUICE_ESYSTEM, "table %s: the rows are too many for memory",
                     self->tables[table].name);
        return NULL;
    }
    if (bytes > self->room) {
        free (self->buffer); /* not realloc: what was in it is not wanted */
        self->buffer = malloc ((size_t) bytes);
        self->room = self->buffer ? (size_t) bytes : 0;
        if (!self->buffer) {
            sluice_fail (err, SLUICE_ESYSTEM, "out of memory for %llu bytes of rows",
                         (unsigned long long) bytes);
            return NULL;
        }
    }
    if (sluice_map_read (self, table, 0, count, self->buffer, err) < 0)
        return NULL;
    if (n)
        *n = count;
    return self->buffer;
}
