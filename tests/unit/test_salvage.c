/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>
#include "calc/emitter.h"
#include "master/salvage.h"
#include "master/space.h"
#include "proto/xxh3.h"

/* Tasks of two items each, one row of table 0 for the first of them and two for the
 * second; all rows in one chunk, row counts in another, and a task without rows. */
enum { TASKS = 4, ROW = 8, ROWS = 3, COUNTS = 2, EMPTY = TASKS - 1, PIECES = 2 * EMPTY };

static const salvage_table_t tables[] = {{"rows", ROW, 64},
                                         {ITEMS_TABLE_NAME, sizeof (item_rows_t), 64}};
static uint8_t file[3 * SPACE_PAGE];
static task_row_t tasks[TASKS];
static index_row_t pieces[PIECES];

static int read_bytes (void *arg, void *to, size_t n, uint64_t address,
                       sluice_error_t *err)
{
    (void) arg;
    (void) err;
    cr_assert_leq (address + n, sizeof file);
    memcpy (to, file + address, n);
    return 0;
}

static void make_task (unsigned i, item_hash_t *hash)
{
    uint64_t first = 2 * i;
    task_row_t *task = tasks + i;
    *task = (task_row_t){.task = 7 + i, .attempt = 1, .first = first, .stop = first + 2};
    if (i != EMPTY) {
        uint8_t *rows = file + SPACE_PAGE + i * ROWS * ROW;
        item_rows_t counts[COUNTS] = {{0, first, first + 1, 1},
                                      {0, first + 1, first + 2, 2}};
        for (unsigned k = 0; k < ROWS * ROW; k++)
            rows[k] = (uint8_t) (k * 7 + i);
        memcpy (file + 2 * SPACE_PAGE + i * sizeof counts, counts, sizeof counts);
        for (unsigned k = 0; k < 2; k++) {
            uint8_t digest[DIGEST_BYTES];
            item_hash_begin (hash, "rows", first + k);
            item_hash_rows (hash, rows + k * ROW, (1 + k) * ROW);
            item_hash_end (hash, digest);
            digest_add (task->digest, digest);
        }
        index_row_t piece = {.task = 7 + i,
                             .attempt = 1,
                             .first = first,
                             .stop = first + 2,
                             .rows = ROWS,
                             .start = i * ROWS,
                             .address = SPACE_PAGE,
                             .stored = 64 * ROW,
                             .offset = i * ROWS * ROW,
                             .xxh3 = XXH3_64bits (rows, ROWS * ROW)};
        pieces[2 * i] = piece;
        piece.table = 1;
        piece.rows = COUNTS;
        piece.start = i * COUNTS;
        piece.address = 2 * SPACE_PAGE;
        piece.stored = 64 * sizeof (item_rows_t);
        piece.offset = i * sizeof counts;
        piece.xxh3 = XXH3_64bits (counts, sizeof counts);
        pieces[2 * i + 1] = piece;
    }
    task->check = task_row_check (task);
}

static void make (void)
{
    item_hash_t *hash = item_hash_new ();
    memset (file, 0, sizeof file);
    for (unsigned i = 0; i < TASKS; i++)
        make_task (i, hash);
    item_hash_destroy (&hash);
}

/* A bit for each task that is whole. */
static unsigned whole (salvage_damage_t *damage)
{
    task_row_t own_tasks[TASKS];
    index_row_t own_pieces[PIECES];
    memcpy (own_tasks, tasks, sizeof tasks);
    memcpy (own_pieces, pieces, sizeof pieces);
    salvage_rows_t rows = {own_pieces, PIECES, own_tasks, TASKS};
    const salvage_source_t source = {.items = 2 * TASKS,
                                     .file_bytes = sizeof file,
                                     .ntables = 1,
                                     .nall = 2,
                                     .tables = tables,
                                     .read = read_bytes};
    sluice_error_t err = {0};
    cr_assert_eq (salvage (&rows, &source, damage, &err), 0, "%s", err.text);
    unsigned bits = 0;
    size_t n = 0;
    for (size_t i = 0; i < rows.ntasks; i++) {
        cr_assert (own_tasks[i].task >= 7 && own_tasks[i].task < 7 + TASKS);
        bits |= 1u << (own_tasks[i].task - 7);
        n += own_tasks[i].task != 7 + EMPTY ? 2 : 0;
    }
    cr_assert_eq (rows.nindex, n, "%zu pieces of %zu", rows.nindex, n);
    cr_assert_eq (rows.ntasks + damage->tasks, TASKS);
    return bits;
}

static const unsigned ALL = (1u << TASKS) - 1;

Test (salvage, keeps_what_is_whole)
{
    salvage_damage_t damage;
    make ();
    cr_assert_eq (whole (&damage), ALL);
    cr_assert_eq (damage.tasks, 0);
    cr_assert_eq (damage.items, 0);
}

/* Whatever bit of a task's record, pieces or rows changes, but for where the piece lies
 * in its table and for what is nothing but a time: it is out, and no other is. */
Test (salvage, finds_every_changed_bit)
{
    salvage_damage_t damage;
    make ();
    for (unsigned i = 0; i < TASKS; i++)
        for (size_t bit = 0; bit < 8 * sizeof *tasks; bit++) {
            uint8_t *byte = (uint8_t *) (tasks + i) + bit / 8;
            *byte ^= (uint8_t) (1 << bit % 8);
            unsigned left = whole (&damage);
            cr_assert_eq (left & 1u << i, 0, "task %u, bit %zu", i, bit);
            /* It may get the number of another one, which is out, too. */
            cr_assert (bit < 64 || left == (ALL & ~(1u << i)), "task %u, bit %zu", i,
                       bit);
            *byte ^= (uint8_t) (1 << bit % 8);
        }
    for (unsigned i = 0; i < PIECES; i++)
        for (size_t bit = 0; bit < 8 * sizeof *pieces; bit++) {
            uint8_t *byte = (uint8_t *) (pieces + i) + bit / 8;
            size_t at = bit / 8;
            if (at >= offsetof (index_row_t, start) &&
                at < offsetof (index_row_t, start) + 8)
                continue;
            *byte ^= (uint8_t) (1 << bit % 8);
            unsigned mine = 1u << i / 2, left = whole (&damage);
            cr_assert_eq (left & mine, 0, "piece %u, bit %zu", i, bit);
            /* It may seem to be of another one, or to lie where that does, which is
             * out, too. */
            cr_assert (bit < 64 || left & 1u << EMPTY, "piece %u, bit %zu", i, bit);
            *byte ^= (uint8_t) (1 << bit % 8);
        }
    for (unsigned i = 0; i < EMPTY; i++)
        for (unsigned k = 0; k < ROWS * ROW; k++) {
            uint8_t *byte = file + SPACE_PAGE + i * ROWS * ROW + k;
            *byte ^= (uint8_t) (1 << k % 8);
            cr_assert_eq (whole (&damage), ALL & ~(1u << i));
            cr_assert_eq (damage.items, 2);
            *byte ^= (uint8_t) (1 << k % 8);
        }
    cr_assert_eq (whole (&damage), ALL);
}

/* Rows that are right by all checksums and not by the items they are said to be of. */
Test (salvage, believes_the_digest_alone)
{
    salvage_damage_t damage;
    make ();
    uint8_t *rows = file + SPACE_PAGE;
    rows[0] ^= 1;
    pieces[0].xxh3 = XXH3_64bits (rows, ROWS * ROW);
    cr_assert_eq (whole (&damage), ALL & ~1u);
}

Test (salvage, believes_no_two_tasks_with_the_same_items)
{
    salvage_damage_t damage;
    make ();
    tasks[EMPTY].first = 1;
    tasks[EMPTY].stop = 2;
    tasks[EMPTY].check = task_row_check (tasks + EMPTY);
    cr_assert_eq (whole (&damage), ALL & ~(1u | 1u << EMPTY));
    cr_assert_eq (damage.tasks, 2);
}
