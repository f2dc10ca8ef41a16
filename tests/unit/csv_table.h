/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* csv_table.h - a table of numbers from the directory of test data
 *
 * For tests: the directory is $SLUICE_TEST_DATA, or else tests/data. The first
 * line names the columns, the others are numbers.
 */
#ifndef TEST_CSV_TABLE_H
#define TEST_CSV_TABLE_H

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CSV_COLUMNS 64
#define CSV_ROWS 512

typedef struct {
    size_t rows, columns;
    char *names[CSV_COLUMNS];
    double *values; /* by row */
    char *head;
} csv_table_t;

static inline csv_table_t csv_read (const char *file)
{
    csv_table_t t = {0};
    char path[1024], line[8192];
    const char *dir = getenv ("SLUICE_TEST_DATA");
    snprintf (path, sizeof path, "%s/%s", dir ? dir : "tests/data", file);
    FILE *in = fopen (path, "r");
    cr_assert_not_null (in, "cannot open %s", path);
    cr_assert_not_null (fgets (line, sizeof line, in));
    line[strcspn (line, "\r\n")] = 0;
    t.head = strdup (line);
    for (char *name = strtok (t.head, ","); name; name = strtok (NULL, ",")) {
        cr_assert_lt (t.columns, CSV_COLUMNS);
        t.names[t.columns++] = name;
    }
    t.values = malloc (CSV_ROWS * t.columns * sizeof *t.values);
    while (fgets (line, sizeof line, in)) {
        char *at = line;
        cr_assert_lt (t.rows, CSV_ROWS);
        for (size_t k = 0; k < t.columns; k++) {
            char *end;
            t.values[t.rows * t.columns + k] = strtod (at, &end);
            cr_assert (end > at && (*end == ',' || k + 1 == t.columns), "%s, row %zu",
                       path, t.rows);
            at = end + 1;
        }
        t.rows++;
    }
    fclose (in);
    cr_assert_gt (t.rows, 0);
    return t;
}

static inline double csv_get (const csv_table_t *t, size_t row, const char *name)
{
    for (size_t k = 0; k < t->columns; k++)
        if (strcmp (t->names[k], name) == 0)
            return t->values[row * t->columns + k];
    cr_assert_fail ("no column %s", name);
    return 0;
}

static inline void csv_free (csv_table_t *t)
{
    free (t->values);
    free (t->head);
}

#endif
