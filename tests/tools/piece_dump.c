/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* piece_dump - pieces as a node sends them, laid end to end in a file
 *
 *   piece_dump PATH TASKS
 *
 * Rows as play.h has them go through an emitter and an outbox, out of one ZeroMQ socket
 * and into another; the frames that arrive there are the file. The plan has the tables
 * 0 and 1; `rare` is met late. Task t has the items from t * 40 on. Of each four tasks
 * the third is an attempt that dies after its pieces were offered, and comes a second
 * time; of each five tasks the fifth gives its second half back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>
#include "calc/emitter.h"
#include "node/outbox.h"
#include "../unit/play.h"

enum { TASK_ITEMS = 40, PLANNED = 2, SEGMENTS = 16, TOKEN = 77 };

typedef struct {
    outbox_t *outbox;
    void *push, *pull;
    FILE *out;
    uint8_t *segment[SEGMENTS];
    bool taken[SEGMENTS];
    uint32_t segment_bytes;
    uint64_t task, received, pieces;
    uint32_t attempt;
    sluice_error_t err;
} dump_t;

static void release (void *arg, uint32_t handle)
{
    ((dump_t *) arg)->taken[handle] = false;
}

static void *get (void *arg, bool wait, uint32_t *handle)
{
    (void) wait; /* all are free when a task begins, and it needs less */
    dump_t *self = arg;
    for (uint32_t i = 0; i < SEGMENTS; i++)
        if (!self->taken[i]) {
            self->taken[i] = true;
            *handle = i;
            return self->segment[i];
        }
    return NULL;
}

static int put (void *arg, uint32_t handle, const piece_t *piece)
{
    dump_t *self = arg;
    if (outbox_add (self->outbox, piece, self->segment[handle], handle, &self->err) == 0)
        return 0;
    self->taken[handle] = false;
    return -1;
}

static bool yield (void *arg, uint64_t next)
{
    dump_t *self = arg;
    return self->task % 5 == 4 && next % TASK_ITEMS == TASK_ITEMS / 2;
}

static int frame (dump_t *self, bool *more)
{
    zmq_msg_t msg;
    zmq_msg_init (&msg);
    if (zmq_msg_recv (&msg, self->pull, 0) == -1)
        return sluice_fail (&self->err, SLUICE_ESYSTEM, "nothing came: %s",
                            zmq_strerror (zmq_errno ()));
    size_t n = zmq_msg_size (&msg);
    bool good = fwrite (zmq_msg_data (&msg), 1, n, self->out) == n;
    self->received += n;
    *more = zmq_msg_more (&msg);
    zmq_msg_close (&msg);
    return good ? 0 : sluice_fail (&self->err, SLUICE_ESYSTEM, "cannot write");
}

/* All that was added, to the file; its segments are free again. */
static int pass_on (dump_t *self, bool die)
{
    uint64_t from;
    uint32_t sizes[16];
    while (outbox_offer (self->outbox, &from, sizes, 16) > 0)
        ;
    if (die)
        outbox_drop (self->outbox, self->task, self->attempt);
    uint64_t offered = outbox_offered (self->outbox);
    msg_credit_t credit = {outbox_epoch (self->outbox), offered, self->received};
    if (outbox_credit (self->outbox, &credit, &self->err) == -1)
        return -1;
    while (self->received < offered) {
        bool more = true;
        outbox_push (self->outbox, self->push);
        for (unsigned i = 0; i < 2; i++)
            if (frame (self, &more) == -1)
                return -1;
        if (more)
            return sluice_fail (&self->err, SLUICE_ESYSTEM, "a piece of three frames");
        self->pieces++;
    }
    credit.received = self->received;
    int rc = outbox_credit (self->outbox, &credit, &self->err);
    while (outbox_reap (self->outbox))
        ;
    return rc;
}

static int items (dump_t *self, emitter_t *emitter, const task_t *task)
{
    for (uint64_t item = task->first; item < task->stop; item++) {
        if (emitter_yield (emitter, item))
            break;
        for (unsigned t = 0; t < PLAY_TABLES; t++) {
            int table = t < PLANNED ? (int) t
                                    : emitter_table (emitter, play_tables[t].name,
                                                     play_tables[t].dtype, &self->err);
            for (uint64_t k = 0; table >= 0 && k < play_rows (item, t); k++) {
                uint8_t row[PLAY_ROW_MOST];
                play_row (item, t, k, row);
                if (emitter_rows (emitter, item, (unsigned) table, row, 1) == -1)
                    table = -1;
            }
            if (table < 0)
                return sluice_fail (&self->err, SLUICE_EFAILED, "%s",
                                    emitter_error (emitter));
        }
    }
    return emitter_done (emitter, 0.5, 0.25, 1 << 20);
}

static int attempt (dump_t *self, emitter_t *emitter, bool die)
{
    task_t task = {.task = self->task,
                   .attempt = ++self->attempt,
                   .first = self->task * TASK_ITEMS,
                   .stop = (self->task + 1) * TASK_ITEMS};
    emitter_begin (emitter, &task);
    return items (self, emitter, &task) == -1 ? -1 : pass_on (self, die);
}

static int all (dump_t *self, uint64_t tasks)
{
    self->segment_bytes = segment_for (play_tables, PLANNED, &self->err);
    emitter_sink_t sink = {
        .arg = self, .get = get, .put = put, .give_back = release, .yield = yield};
    emitter_t *emitter =
        emitter_new (play_tables, PLANNED, self->segment_bytes, &sink, &self->err);
    self->outbox =
        outbox_new (play_run, TOKEN, self->segment_bytes, release, self, &self->err);
    int rc = emitter && self->outbox ? 0 : -1;
    for (unsigned i = 0; rc == 0 && i < SEGMENTS; i++)
        if (!(self->segment[i] = malloc (self->segment_bytes)))
            rc = sluice_fail (&self->err, SLUICE_ESYSTEM, "out of memory");
    for (; rc == 0 && self->task < tasks; self->task++) {
        self->attempt = 0;
        if (self->task % 4 == 2)
            rc = attempt (self, emitter, true);
        if (rc == 0)
            rc = attempt (self, emitter, false);
    }
    emitter_destroy (&emitter);
    return rc;
}

int main (int argc, char **argv)
{
    if (argc != 3) {
        fprintf (stderr, "usage: piece_dump PATH TASKS\n");
        return 2;
    }
    dump_t self = {.out = fopen (argv[1], "wb")};
    void *context = zmq_ctx_new ();
    int patience = 10000; /* ms; a test must not hang */
    self.push = zmq_socket (context, ZMQ_PUSH);
    self.pull = zmq_socket (context, ZMQ_PULL);
    zmq_setsockopt (self.pull, ZMQ_RCVTIMEO, &patience, sizeof patience);
    int rc = -1;
    if (!self.out || zmq_bind (self.push, "inproc://pieces") == -1 ||
        zmq_connect (self.pull, "inproc://pieces") == -1)
        sluice_fail (&self.err, SLUICE_ESYSTEM, "cannot begin");
    else
        rc = all (&self, strtoull (argv[2], NULL, 10));
    if (self.out && fclose (self.out) && rc == 0)
        rc = sluice_fail (&self.err, SLUICE_ESYSTEM, "cannot write");
    zmq_close (self.push);
    zmq_close (self.pull);
    zmq_ctx_term (context);
    outbox_destroy (&self.outbox);
    for (unsigned i = 0; i < SEGMENTS; i++)
        free (self.segment[i]);
    if (rc == -1)
        fprintf (stderr, "piece_dump: %s\n", self.err.text);
    else
        printf ("%llu %llu\n", (unsigned long long) self.pieces,
                (unsigned long long) self.received);
    return rc ? 1 : 0;
}
