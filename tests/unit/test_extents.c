/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/client_extents.h"

/* A task of two tables, 0 (rows of 8 bytes) and 1 (of 3); 2 counts rows. Its rows are
 * thrown over a file in extents of random length. */
enum { ITEMS = 500, FIRST = 1000, COUNTS = 2 };

typedef struct {
    uint32_t table;
    uint64_t first, stop, rows;
} __attribute__ ((packed)) count_t;

static sluice_error_t err;
static uint64_t state;

static uint64_t draw (uint64_t limit)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state % limit;
}

static uint64_t rows_of (uint32_t table, uint64_t item)
{
    if (table == 0)
        return item % 7 < 4 ? 2 : item % 5; /* now and then constant for a while */
    return item % 50 == 3 ? 400 : 0;
}

static void row_bytes (uint32_t table, uint64_t item, uint64_t k, uint8_t *out)
{
    if (table == 0) {
        uint64_t value = item * 1000 + k;
        memcpy (out, &value, 8);
    } else {
        out[0] = (uint8_t) item, out[1] = (uint8_t) k, out[2] = (uint8_t) (k >> 8);
    }
}

typedef struct {
    FILE *file;
    extents_t *extents;
    uint64_t end;
} place_t;

static void put (place_t *p, uint32_t table, const uint8_t *rows, uint64_t n,
                 size_t bytes)
{
    while (n > 0) {
        uint64_t part = 1 + draw (n > 100 ? 100 : n);
        p->end += draw (50);
        cr_assert_eq (pwrite (fileno (p->file), rows, part * bytes, (off_t) p->end),
                      (ssize_t) (part * bytes));
        cr_assert_eq (extents_add (p->extents, table, part, p->end, 0, &err), 0);
        p->end += part * bytes;
        rows += part * bytes;
        n -= part;
    }
}

static void make_task (place_t *p)
{
    static const size_t bytes[] = {8, 3};
    static uint8_t rows[2][ITEMS * 400 * 3 + ITEMS * 64];
    static count_t counts[2 * ITEMS + 2];
    uint64_t n[2] = {0}, ncounts = 0;
    for (uint64_t item = FIRST; item < FIRST + ITEMS; item++)
        for (uint32_t t = 0; t < 2; t++) {
            uint64_t k, wanted = rows_of (t, item);
            for (k = 0; k < wanted; k++)
                row_bytes (t, item, k, rows[t] + bytes[t] * n[t]++);
            count_t *last = NULL;
            for (uint64_t i = ncounts; i-- > 0 && !last;)
                if (counts[i].table == t)
                    last = &counts[i];
            if (last && last->rows == wanted && last->stop == item && draw (3))
                last->stop++;
            else if (wanted)
                counts[ncounts++] = (count_t){t, item, item + 1, wanted};
        }
    put (p, 0, rows[0], n[0], 8);
    put (p, 1, rows[1], n[1], 3);
    put (p, COUNTS, (uint8_t *) counts, ncounts, sizeof *counts);
}

static void open_place (place_t *p)
{
    *p = (place_t){.file = tmpfile ()};
    cr_assert_not_null (p->file);
    p->extents = extents_new (fileno (p->file), COUNTS);
    cr_assert_not_null (p->extents);
    cr_assert_eq (extents_table (p->extents, 0, 8, &err), 0);
    cr_assert_eq (extents_table (p->extents, 1, 3, &err), 0);
}

static void close_place (place_t *p)
{
    extents_destroy (&p->extents);
    fclose (p->file);
}

static void check_items (place_t *p, uint64_t first, uint64_t stop)
{
    static const size_t bytes[] = {8, 3};
    for (uint32_t t = 0; t < 2; t++) {
        uint64_t want = 0, at = 0;
        for (uint64_t item = first; item < stop; item++)
            want += rows_of (t, item);
        cr_assert_eq (extents_count (p->extents, t), want, "items %lu to %lu, table %u",
                      (unsigned long) first, (unsigned long) stop, t);
        uint8_t *rows = malloc (want * bytes[t] + 1), row[8];
        /* In two parts. */
        uint64_t part = want ? draw (want + 1) : 0;
        cr_assert_eq (extents_read (p->extents, t, 0, part, rows, &err), 0);
        cr_assert_eq (
            extents_read (p->extents, t, part, want - part, rows + part * bytes[t], &err),
            0);
        for (uint64_t item = first; item < stop; item++)
            for (uint64_t k = 0; k < rows_of (t, item); k++, at++) {
                row_bytes (t, item, k, row);
                cr_assert_eq (memcmp (rows + at * bytes[t], row, bytes[t]), 0);
            }
        cr_expect_eq (extents_read (p->extents, t, want, 1, row, &err), -1, "one more");
        free (rows);
    }
}

Test (extents, give_the_rows_of_items_however_many_at_a_time)
{
    static const uint64_t most[] = {1, 2, 3, 17, 100, ITEMS};
    place_t p;
    state = 4711;
    open_place (&p);
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        extents_clear (p.extents); /* one task after the other */
        make_task (&p);
        for (uint64_t item = FIRST; item < FIRST + ITEMS;) {
            uint64_t stop = item + most[i];
            stop = stop < FIRST + ITEMS ? stop : FIRST + ITEMS;
            cr_assert_eq (extents_items (p.extents, item, stop, &err), 0, "%s", err.text);
            check_items (&p, item, stop);
            item = stop;
        }
    }
    close_place (&p);
}

Test (extents, a_task_without_rows)
{
    place_t p;
    open_place (&p);
    cr_assert_eq (extents_items (p.extents, 0, 10, &err), 0);
    cr_expect_eq (extents_count (p.extents, 0), 0);
    cr_expect_eq (extents_count (p.extents, 77), 0, "nor is there such a table");
    close_place (&p);
}

Test (extents, what_cannot_be_right_is_refused)
{
    place_t p;
    open_place (&p);
    cr_expect_eq (extents_add (p.extents, 5, 1, 0, 0, &err), -1);
    cr_expect_eq (extents_add (p.extents, 0, UINT64_MAX / 8, UINT64_MAX / 2, 0, &err),
                  -1);
    cr_expect_eq (extents_add (p.extents, 0, UINT64_MAX / 2, 0, 0, &err), -1);
    /* More rows counted than there are. */
    count_t count = {0, 0, 10, 3};
    cr_assert_eq (pwrite (fileno (p.file), &count, sizeof count, 0), sizeof count);
    cr_assert_eq (extents_add (p.extents, COUNTS, 1, 0, 0, &err), 0);
    cr_assert_eq (extents_add (p.extents, 0, 5, 100, 0, &err), 0);
    cr_expect_eq (extents_items (p.extents, 0, 10, &err), -1);
    cr_expect_eq (err.code, SLUICE_EPROTO);
    /* Rows that are not in the file. */
    extents_clear (p.extents);
    cr_assert_eq (extents_add (p.extents, COUNTS, 1, 0, 0, &err), 0);
    cr_assert_eq (extents_add (p.extents, 0, 30, 1 << 20, 0, &err), 0);
    cr_assert_eq (extents_items (p.extents, 0, 10, &err), 0);
    uint8_t rows[30 * 8];
    cr_expect_eq (extents_read (p.extents, 0, 0, 30, rows, &err), -1);
    cr_expect_eq (err.code, SLUICE_EOUTPUT);
    close_place (&p);
}
