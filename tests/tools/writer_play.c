/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* writer_play - drive the writer alone, always in the same way
 *
 *   writer_play sweep PATH TASKS [now|later [FILE]]   tasks of varying size, dropped
 *       and double attempts, short pieces, a snapshot each few pieces; with `later`
 *       the writer does not wait for them; half-way it waits until FILE is there
 *   writer_play resume PATH TASKS [now|later]        go on with such a file to the end
 *   writer_play bench PATH MIB [EVERY [unchecked]]   plain pwrite of so many MiB, then
 *       pieces of 1 MiB through the writer, a tick each EVERY; prints JSON
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../unit/play.h"

static double now (void)
{
    struct timespec ts;
    clock_gettime (CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec + 1e-9 * (double) ts.tv_nsec;
}

static int fail (const sluice_error_t *err)
{
    fprintf (stderr, "writer_play: %s\n", err->text);
    return 1;
}

/* ---- sweep -------------------------------------------------------------------- */

enum { TASK_ITEMS = 40 };

typedef struct {
    writer_t *writer;
    bool later, last;
    unsigned pieces;
} sweep_t;

static int put (void *arg, const piece_t *piece, const void *payload, sluice_error_t *err)
{
    sweep_t *self = arg;
    int rc;
    while ((rc = writer_piece (self->writer, 1, piece, payload, err)) < 0 &&
           writer_disk_full (self->writer))
        usleep (1000);
    if (rc == 0 && ++self->pieces % 4 == 0)
        while ((rc = self->later ? writer_lay (self->writer, err)
                                 : writer_snapshot (self->writer, err)) < 0 &&
               writer_disk_full (self->writer))
            usleep (1000);
    return rc;
}

/* Until a file is there, a minute at most. */
static int await (const char *path, sluice_error_t *err)
{
    for (double began = now (); access (path, F_OK) < 0; usleep (1000))
        if (now () - began > 60)
            return sluice_fail (err, SLUICE_ESYSTEM, "%s did not come", path);
    return 0;
}

/* Is this task among what was taken over? */
static bool is_done (const writer_t *writer, uint64_t task)
{
    uint64_t first, stop;
    for (size_t i = 0; writer_taken_range (writer, i, &first, &stop); i++)
        if (first <= task * TASK_ITEMS && (task + 1) * TASK_ITEMS <= stop)
            return true;
    return false;
}

/* One task, with what may go wrong before it is done. */
static int play_one (sweep_t *self, player_t *player, uint64_t i, uint64_t task,
                     uint64_t number, sluice_error_t *err)
{
    uint64_t first = task * TASK_ITEMS, stop = first + TASK_ITEMS;
    int rc = 0;
    player->short_every = i % 3 == 1 ? 9 : 0;
    player->no_done = true;
    if (i % 4 == 2) { /* an attempt that dies */
        rc = play_task (player, number, 1, first, stop, err);
        writer_drop (self->writer, number, 1);
    } else if (i % 4 == 3) /* one that is overtaken */
        rc = play_task (player, number, 1, first, stop, err);
    player->no_done = false;
    return rc == 0 ? play_task (player, number, 2, first, stop, err) : rc;
}

static int sweep (const char *path, uint64_t tasks, bool later, bool resume,
                  const char *half_way)
{
    sluice_error_t err = {0};
    double values[30];
    for (unsigned i = 0; i < 30; i++)
        values[i] = i / 7.0;
    sluice_dtype_t *dtype = sluice_dtype_parse ("<f8", 3, &err);
    named_array_t outputs[2] = {
        {(char *) "sites/lonlat", {dtype, 2, {15, 2}, values}},
        {(char *) "answer", {dtype, 0, {0}, values + 7}},
    };
    sluice_plan_t plan = {.seed = 42,
                          .items = tasks * TASK_ITEMS,
                          .ntables = PLAY_TABLES,
                          .tables = play_tables,
                          .noutputs = 2,
                          .outputs = outputs};
    writer_options_t options = {.path = path,
                                .run = play_run,
                                .job = "play",
                                .kernel = "builtin:play",
                                .plan = &plan,
                                .force = true};
    sweep_t self = {.later = later};
    self.writer = resume ? writer_resume (&options, &err) : writer_new (&options, &err);
    if (!self.writer) {
        sluice_dtype_destroy (&dtype);
        return fail (&err);
    }
    writer_taken_t taken;
    writer_taken (self.writer, &taken);
    msg_welcome_t welcome = {
        .host = (char *) "here", .cores = 4, .slots = 4, .isa = (char *) "avx2"};
    player_t player = {.put = put, .arg = &self};
    int rc = writer_node (self.writer, 1, &welcome, &err);
    for (uint64_t i = 0; i < tasks && rc == 0; i++) {
        uint64_t task = i * 7 % tasks; /* not in order; 7 does not divide tasks */
        if (half_way && i == tasks / 2 &&
            (writer_snapshot (self.writer, &err) < 0 || await (half_way, &err) < 0))
            return fail (&err);
        if (!is_done (self.writer, task))
            rc = play_one (&self, &player, i, task, resume ? taken.first_task + i : task,
                           &err);
    }
    if (rc == 0)
        while ((rc = writer_finish (self.writer, "complete", &err)) < 0 &&
               writer_disk_full (self.writer))
            usleep (1000);
    play_clear (&player);
    writer_totals_t totals;
    writer_totals (self.writer, &totals);
    writer_destroy (&self.writer);
    sluice_dtype_destroy (&dtype);
    if (rc < 0)
        return fail (&err);
    char text[2 * DIGEST_BYTES + 1];
    digest_text (totals.digest, text);
    printf ("{\"tasks\": %llu, \"rows\": %llu, \"snapshots\": %llu, \"digest\": \"%s\", "
            "\"taken\": %llu, \"damaged\": %llu}\n",
            (unsigned long long) totals.tasks, (unsigned long long) totals.rows,
            (unsigned long long) totals.snapshots, text, (unsigned long long) taken.tasks,
            (unsigned long long) taken.damaged_tasks);
    return 0;
}

/* ---- bench -------------------------------------------------------------------- */

/* Seconds that plain pwrite takes for as much, and until that is durable. */
static double raw (const char *path, const void *data, uint64_t mib, double *durable)
{
    double began = now ();
    int fd = open (path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    for (uint64_t i = 0; i < mib; i++)
        if (pwrite (fd, data, 1 << 20, (off_t) (i << 20)) != 1 << 20)
            exit (1);
    double written = now () - began;
    fdatasync (fd);
    *durable = now () - began;
    close (fd);
    unlink (path);
    return written;
}

static int bench (const char *path, uint64_t mib, uint64_t every, bool unchecked)
{
    sluice_error_t err = {0};
    static uint8_t data[1 << 20];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t) (i * 31 >> 3);
    table_t table = {(char *) "gmf_data", (char *) "{sid:<u4, eid:<u4, gmv:(2)<f4}",
                     65536};
    sluice_plan_t plan = {.items = mib, .ntables = 1, .tables = &table};
    writer_options_t options = {.path = path,
                                .run = play_run,
                                .job = "bench",
                                .kernel = "none",
                                .plan = &plan,
                                .unchecked = unchecked,
                                .force = true};
    uint64_t sum = XXH3_64bits (data, sizeof data);
    double plain, plain_durable;
    raw (path, data, mib, &plain_durable); /* the first one warms the memory up */
    plain = raw (path, data, mib, &plain_durable);
    writer_t *writer = writer_new (&options, &err);
    if (!writer)
        return fail (&err);
    double began = now (), most = 0, ticks = 0;
    int rc = 0;
    for (uint64_t i = 0; i < mib && rc == 0; i++) {
        piece_t piece = {.kind = PIECE_DATA,
                         .task = i,
                         .attempt = 1,
                         .first = i,
                         .stop = i + 1,
                         .nparts = 1,
                         .payload = sizeof data,
                         .parts = {{.rows = 65536, .bytes = sizeof data, .xxh3 = sum}}};
        memcpy (piece.run, play_run, RUN_BYTES);
        rc = writer_piece (writer, 0, &piece, data, &err);
        item_rows_t counts = {0, i, i + 1, 65536};
        piece.kind = PIECE_DONE;
        piece.parts[0] =
            (part_t){1, 0, 1, sizeof counts, XXH3_64bits (&counts, sizeof counts), 0, 0};
        piece.payload = sizeof counts;
        if (rc == 0)
            rc = writer_piece (writer, 0, &piece, &counts, &err);
        if (rc == 0 && i % every == every - 1) {
            double before = now ();
            rc = writer_tick (writer, &err);
            double took = now () - before;
            ticks += took;
            if (took > most)
                most = took;
        }
    }
    double seconds = now () - began;
    writer_totals_t totals;
    writer_totals (writer, &totals);
    double before = now ();
    if (rc == 0)
        rc = writer_snapshot (writer, &err);
    double last = now () - before;
    before = now ();
    if (rc == 0)
        rc = writer_finish (writer, "complete", &err);
    double finish = now () - before;
    writer_destroy (&writer);
    unlink (path);
    if (rc < 0)
        return fail (&err);
    printf (
        "{\"mib\": %llu, \"writer_mb_s\": %.0f, \"pwrite_mb_s\": %.0f, \"ratio\": %.3f, "
        "\"writer_durable_mb_s\": %.0f, \"pwrite_durable_mb_s\": %.0f, "
        "\"snapshots\": %llu, \"tick_ms_most\": %.2f, \"ticks_share\": %.4f, "
        "\"last_snapshot_ms\": %.1f, \"finish_ms\": %.1f}\n",
        (unsigned long long) mib, (double) mib * 1.048576 / seconds,
        (double) mib * 1.048576 / plain, plain / seconds,
        (double) mib * 1.048576 / (seconds + last),
        (double) mib * 1.048576 / plain_durable, (unsigned long long) totals.snapshots,
        most * 1e3, ticks / seconds, last * 1e3, finish * 1e3);
    return 0;
}

int main (int argc, char **argv)
{
    bool resume = argc > 1 && strcmp (argv[1], "resume") == 0;
    if (argc >= 4 && (resume || strcmp (argv[1], "sweep") == 0) &&
        strtoull (argv[3], NULL, 10) % 7)
        return sweep (argv[2], strtoull (argv[3], NULL, 10),
                      argc > 4 && strcmp (argv[4], "later") == 0, resume,
                      argc > 5 ? argv[5] : NULL);
    if (argc >= 4 && strcmp (argv[1], "bench") == 0)
        return bench (argv[2], strtoull (argv[3], NULL, 10),
                      argc > 4 ? strtoull (argv[4], NULL, 10) : 1, argc > 5);
    fprintf (stderr,
             "usage: writer_play sweep|resume|bench PATH N [now|later|EVERY [FILE]];"
             " sweep, resume: N not a multiple of 7\n");
    return 2;
}
