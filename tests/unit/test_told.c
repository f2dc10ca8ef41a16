/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* What the writer tells of finished tasks, read as a client reads it: the rows are there
 * at once, and are still there when the file is finished. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "master/client_extents.h"
#include "play.h"

enum { ITEMS = 2000, MOST_TASKS = 200 };

static char folder[64], path[100];
static sluice_plan_t plan;
static sluice_error_t err;

static void setup (void)
{
    strcpy (folder, "/tmp/test_told_XXXXXX");
    cr_assert_not_null (mkdtemp (folder));
    snprintf (path, sizeof path, "%s/out.h5", folder);
}

static void teardown (void)
{
    char command[100];
    snprintf (command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq (system (command), 0);
}

TestSuite (told, .init = setup, .fini = teardown);

static uint32_t level; /* chunks are compressed with this one; 0: they are not */

static writer_t *make (bool nameless)
{
    plan.items = ITEMS;
    plan.ntables = PLAY_TABLES;
    plan.tables = play_tables;
    writer_t *writer = writer_new (&(writer_options_t){.path = path,
                                                       .run = play_run,
                                                       .job = "j",
                                                       .kernel = "k",
                                                       .deflate = level,
                                                       .plan = &plan,
                                                       .nameless = nameless},
                                   &err);
    cr_assert_not_null (writer, "%s", err.text);
    writer_tell (writer);
    return writer;
}

static int put (void *arg, const piece_t *piece, const void *payload, sluice_error_t *e)
{
    return writer_piece (arg, 3, piece, payload, e);
}

static void play (writer_t *writer, uint64_t task, uint64_t first, uint64_t stop,
                  unsigned short_every, bool no_done)
{
    player_t player = {.put = put,
                       .arg = writer,
                       .short_every = short_every,
                       .no_done = no_done,
                       .codec = level ? codec_new (level, 1 << 16, &err) : NULL};
    cr_assert_eq (play_task (&player, task, 1, first, stop, &err), 0, "%s", err.text);
    play_clear (&player);
    codec_destroy (&player.codec);
}

/* All rows of the task, `most` items at a time. */
static void check_task (extents_t *extents, const msg_result_t *r, uint64_t most)
{
    static uint8_t rows[1 << 20], row[64];
    extents_clear (extents);
    for (size_t i = 0; i < r->nextents; i++)
        cr_assert_eq (extents_add (extents, r->extents[i].table, r->extents[i].rows,
                                   r->extents[i].address, r->extents[i].deflated, &err),
                      0);
    for (uint64_t item = r->first; item < r->stop;) {
        uint64_t stop = item + most < r->stop ? item + most : r->stop;
        cr_assert_eq (extents_items (extents, item, stop, &err), 0, "%s", err.text);
        for (unsigned t = 0; t < PLAY_TABLES; t++) {
            uint64_t n = extents_count (extents, t), at = 0, bytes = play_row_bytes[t];
            for (uint64_t i = item; i < stop; i++)
                for (uint64_t k = 0; k < play_rows (i, t); k++, at++) {
                    play_row (i, t, k, row);
                    cr_assert_lt (at, n);
                    if (n * bytes <= sizeof rows && at == 0)
                        cr_assert_eq (extents_read (extents, t, 0, n, rows, &err), 0);
                    else if (n * bytes > sizeof rows)
                        cr_assert_eq (
                            extents_read (extents, t, at, 1, rows + at % 9 * bytes, &err),
                            0);
                    const uint8_t *got =
                        rows + (n * bytes <= sizeof rows ? at : at % 9) * bytes;
                    cr_assert_eq (memcmp (got, row, bytes), 0, "item %lu, table %u",
                                  (unsigned long) i, t);
                }
            cr_assert_eq (at, n, "item %lu, table %u", (unsigned long) item, t);
        }
        item = stop;
    }
}

/* Take what is told. */
static size_t take (writer_t *writer, extents_t *extents, msg_result_t *told, size_t n)
{
    cr_assert_eq (writer_publish (writer, &err), 0, "%s", err.text);
    while (writer_told (writer, &told[n]))
        check_task (extents, &told[n++], 1);
    return n;
}

static void run (bool nameless)
{
    writer_t *writer = make (nameless);
    int fd = writer_reader (writer);
    cr_assert_geq (fd, 0);
    cr_expect_eq (access (path, F_OK), nameless ? -1 : 0);
    extents_t *extents = extents_new (fd, PLAY_TABLES);
    for (unsigned t = 0; t < PLAY_TABLES; t++)
        cr_assert_eq (extents_table (extents, t, play_row_bytes[t], &err), 0);
    static msg_result_t told[MOST_TASKS];
    size_t n = 0;
    uint64_t task = 1, tasks = 0;
    for (uint64_t first = 0, size; first < ITEMS; first += size, tasks++) {
        size = first % 5 == 0 ? 40 : 1 + first % 23;
        size = size < ITEMS - first ? size : ITEMS - first;
        if (first % 3 == 0) { /* an attempt that comes to nothing */
            play (writer, task, first, first + size, 3, true);
            writer_drop (writer, task++, 1);
        }
        play (writer, task++, first, first + size, (unsigned) (first % 7), false);
        cr_expect_not (writer_told (writer, &told[n]), "not before it can be read");
        if (first % 2)
            n = take (writer, extents, told, n);
        if (first % 11 == 0)
            cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    }
    n = take (writer, extents, told, n);
    cr_expect_eq (n, tasks);
    cr_assert_eq (writer_finish (writer, "complete", &err), 0, "%s", err.text);
    writer_destroy (&writer);
    cr_expect_eq (access (path, F_OK), nameless ? -1 : 0);
    uint64_t items = 0;
    for (size_t i = 0; i < n; i++) {
        check_task (extents, &told[i], 1 + i % 50);
        items += told[i].stop - told[i].first;
        msg_clear (&(msg_t){.type = MSG_RESULT, .result = told[i]});
    }
    cr_expect_eq (items, ITEMS);
    extents_destroy (&extents);
    close (fd);
    if (!nameless)
        return;
    char command[100];
    snprintf (command, sizeof command, "test -z \"$(ls -A %s)\"", folder);
    cr_expect_eq (system (command), 0, "nothing is left in the folder");
}

Test (told, rows_are_where_they_are_said_to_be)
{
    run (false);
}

Test (told, compressed_rows_are_said_to_be)
{
    level = 6;
    run (false);
}

Test (told, also_in_a_file_without_a_name)
{
    run (true);
}

Test (told, what_nobody_takes_is_freed)
{
    writer_t *writer = make (false);
    play (writer, 1, 0, 100, 3, false);
    cr_assert_eq (writer_publish (writer, &err), 0);
    writer_destroy (&writer);
}
