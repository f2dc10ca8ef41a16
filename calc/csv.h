/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* csv.h - comma-separated tables as people hand them in
 *
 * A small strict reader: fields in quotes ("" is a quote), CRLF or LF, a byte
 * order mark, empty lines and lines that begin with '#' before the header or
 * between rows. The first other line is the header; every row must have as
 * many fields as it. White space around a field that is not quoted is dropped.
 * All errors are one line: "FILE:LINE: what".
 *
 * A csv_t holds the whole text; fields belong to it and live until the next
 * call of csv_next.
 */
#ifndef CALC_CSV_H
#define CALC_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include "sluice/error.h"

enum { CSV_MAX_COLUMNS = 1000 };

typedef struct csv csv_t;

/* Read a table from a file, or from `length` bytes of text called `name` in
 * messages (copied). The header is read at once; a name that is empty or comes
 * twice in it is refused. NULL on error. */
csv_t *csv_open (const char *path, sluice_error_t *err);
csv_t *csv_from_text (const char *text, size_t length, const char *name,
                      sluice_error_t *err);
void csv_destroy (csv_t **self_p);

/* Columns of the header; their names; the place of a name, -1 if there is none. */
size_t csv_columns (const csv_t *self);
const char *csv_name (const csv_t *self, size_t column);
int csv_column (const csv_t *self, const char *name);

/* Go to the next row: 1, or 0 at the end, or -1 with an error. */
int csv_next (csv_t *self, sluice_error_t *err);

/* Of the present row: its line (the first, if quotes span several; the
 * header's before the first csv_next), a field's text, a field as a finite
 * number. */
unsigned csv_line (const csv_t *self);
const char *csv_text (const csv_t *self, size_t column);
int csv_f64 (const csv_t *self, size_t column, double *value, sluice_error_t *err);

/* The name that messages use for the file. */
const char *csv_file (const csv_t *self);

/* An error about the present row. Returns -1. */
int csv_fail (const csv_t *self, sluice_error_t *err, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

/* A finite decimal number at the start of `text`; *end is set behind it.
 * False if there is none: no "nan", "inf" or hexadecimal. */
bool csv_number (const char *text, const char **end, double *value);

/* The whole content of a regular file of at most `limit` bytes, with a NUL
 * behind it that *length does not count; free () it. NULL on error. */
char *csv_load (const char *path, size_t limit, size_t *length, sluice_error_t *err);

#endif
