/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* arguments.h - what `sluice map` runs its command over
 *
 * Arguments come from one or more sources: lists of values, rows of several
 * columns, or ranges of whole numbers. Items are the product of all sources, the last
 * one fastest, as GNU parallel counts them; ranges are not written out, so that a
 * hundred million items cost nothing.
 *
 * Values are bytes without NUL. Whoever has a part of all items (those that failed)
 * gives their numbers: arguments_number is the item's in the run it first belonged to.
 */
#ifndef CALC_ARGUMENTS_H
#define CALC_ARGUMENTS_H

#include "sluice/dtype.h"
#include "sluice/error.h"
#include "sluice/kernel.h"

enum { ARGUMENTS_MAX_COLUMNS = 1000 };

typedef struct arguments arguments_t;

arguments_t *arguments_new (sluice_error_t *err);
void arguments_destroy (arguments_t **self_p);

/* Begin a source of rows of `columns` values, whose names may be NULL. */
int arguments_source (arguments_t *self, size_t columns, const char *const *names,
                      sluice_error_t *err);
/* The next value of the source begun last: row by row. */
int arguments_add (arguments_t *self, const char *value, size_t n, sluice_error_t *err);
/* A source of the numbers first, first + step, ... before stop. Refused if empty. */
int arguments_range (arguments_t *self, int64_t first, int64_t stop, int64_t step,
                     sluice_error_t *err);
/* The same from a text, A:B or A:B:STEP. */
int arguments_range_text (arguments_t *self, const char *text, sluice_error_t *err);
/* Item i was number numbers[i] (copied; one for each item, rising). */
int arguments_set_numbers (arguments_t *self, const uint64_t *numbers, size_t n,
                           sluice_error_t *err);

/* Items; 0 if there are none, or more than can be counted. */
uint64_t arguments_items (const arguments_t *self);
size_t arguments_columns (const arguments_t *self);
/* The names of all columns, "1", "2", ... for those without. NULL if none has one. */
const char *const *arguments_names (const arguments_t *self);

/* Room for the values of one item: `values` point into it and into `self`. */
typedef struct {
    const char *values[ARGUMENTS_MAX_COLUMNS];
    char numbers[ARGUMENTS_MAX_COLUMNS][24];
} arguments_row_t;
void arguments_get (const arguments_t *self, uint64_t item, arguments_row_t *row);
uint64_t arguments_number (const arguments_t *self, uint64_t item);

/* All of it as an output of the run: `arguments`, a row for each item, and `task`, the
 * numbers, if they were set. */
int arguments_output (const arguments_t *self, sluice_plan_t *plan, sluice_error_t *err);
/* To every node, and there. */
int arguments_share (const arguments_t *self, sluice_plan_t *plan, sluice_error_t *err);
arguments_t *arguments_open (const sluice_inputs_t *inputs, sluice_error_t *err);

#endif
