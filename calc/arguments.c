/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/kernel_host.h"
#include "proto/text.h"

/* Above this `arguments` is not written to the output: it is for people to look at, and
 * to run again what failed. */
enum { OUTPUT_MOST = 256 << 20 };

#define SOURCES_DTYPE "{columns:<u8, rows:<u8, value:<u8, first:<i8, step:<i8}"

typedef struct {
    uint64_t columns, rows;
    uint64_t value;      /* number of its first value; no matter for a range */
    int64_t first, step; /* of a range; step 0: it is none */
} __attribute__ ((packed)) source_t;

struct arguments {
    source_t *sources;
    size_t nsources, columns;
    char *text; /* of all values, each with its NUL */
    uint64_t ntext, text_room;
    uint64_t *starts; /* of each value in the text */
    uint64_t nvalues, starts_room;
    char **names; /* of columns */
    size_t nnames;
    bool named;
    uint64_t *numbers, nnumbers;
    bool borrowed; /* sources, text, starts and numbers are the inputs' */
};

static int no_memory (sluice_error_t *err)
{
    return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for arguments");
}

arguments_t *arguments_new (sluice_error_t *err)
{
    arguments_t *self = calloc (1, sizeof *self);
    if (!self)
        no_memory (err);
    return self;
}

void arguments_destroy (arguments_t **self_p)
{
    arguments_t *self = *self_p;
    if (!self)
        return;
    if (!self->borrowed) {
        free (self->sources);
        free (self->text);
        free (self->starts);
        free (self->numbers);
    }
    for (size_t i = 0; i < self->nnames; i++)
        free (self->names[i]);
    free (self->names);
    free (self);
    *self_p = NULL;
}

/* ---- filling ------------------------------------------------------------- */

static int add_names (arguments_t *self, size_t columns, const char *const *names)
{
    char **grown = realloc (self->names, (self->nnames + columns) * sizeof *grown);
    if (!grown)
        return -1;
    self->names = grown;
    for (size_t i = 0; i < columns; i++) {
        char *name = NULL;
        if (names)
            name = strdup (names[i]);
        else if (asprintf (&name, "%zu", self->nnames + 1) < 0)
            name = NULL;
        if (!name)
            return -1;
        self->names[self->nnames++] = name;
    }
    self->named |= names != NULL;
    return 0;
}

int arguments_source (arguments_t *self, size_t columns, const char *const *names,
                      sluice_error_t *err)
{
    if (columns == 0 || columns > ARGUMENTS_MAX_COLUMNS - self->columns)
        return sluice_fail (err, SLUICE_EINPUT, "more than %d columns of arguments",
                            ARGUMENTS_MAX_COLUMNS);
    source_t *grown = realloc (self->sources, (self->nsources + 1) * sizeof *grown);
    if (!grown)
        return no_memory (err);
    self->sources = grown;
    if (add_names (self, columns, names))
        return no_memory (err);
    self->sources[self->nsources++] =
        (source_t){.columns = columns, .value = self->nvalues};
    self->columns += columns;
    return 0;
}

static int make_room (void **data, uint64_t *room, uint64_t want, size_t size)
{
    if (want <= *room)
        return 0;
    uint64_t more = *room ? 2 * *room : 1024;
    if (more < want)
        more = want;
    void *grown = realloc (*data, more * size);
    if (!grown)
        return -1;
    *data = grown;
    *room = more;
    return 0;
}

int arguments_add (arguments_t *self, const char *value, size_t n, sluice_error_t *err)
{
    source_t *source = &self->sources[self->nsources - 1];
    void *text = self->text, *starts = self->starts;
    if (memchr (value, '\0', n))
        return sluice_fail (err, SLUICE_EINPUT,
                            "argument %llu holds a NUL, which no command can be given",
                            (unsigned long long) (self->nvalues - source->value + 1));
    int rc = make_room (&text, &self->text_room, self->ntext + n + 1, 1);
    if (rc == 0)
        rc =
            make_room (&starts, &self->starts_room, self->nvalues + 1, sizeof (uint64_t));
    self->text = text;
    self->starts = starts;
    if (rc)
        return no_memory (err);
    memcpy (self->text + self->ntext, value, n);
    self->text[self->ntext + n] = '\0';
    self->starts[self->nvalues++] = self->ntext;
    self->ntext += n + 1;
    source->rows = (self->nvalues - source->value) / source->columns;
    return 0;
}

int arguments_range (arguments_t *self, int64_t first, int64_t stop, int64_t step,
                     sluice_error_t *err)
{
    if (step == 0)
        return sluice_fail (err, SLUICE_EINPUT, "a range with a step of 0");
    /* Unsigned, so that no difference overflows. */
    uint64_t span = step > 0 ? (uint64_t) stop - (uint64_t) first
                             : (uint64_t) first - (uint64_t) stop;
    uint64_t stride = step > 0 ? (uint64_t) step : 0 - (uint64_t) step;
    if (step > 0 ? stop <= first : stop >= first)
        return sluice_fail (err, SLUICE_EINPUT, "the range %lld:%lld is empty",
                            (long long) first, (long long) stop);
    if (arguments_source (self, 1, NULL, err))
        return -1;
    source_t *source = &self->sources[self->nsources - 1];
    source->first = first;
    source->step = step;
    source->rows = (span - 1) / stride + 1;
    return 0;
}

int arguments_range_text (arguments_t *self, const char *text, sluice_error_t *err)
{
    long long part[3] = {0, 0, 1};
    const char *at = text;
    int n = 0;
    bool good = true, more = true;
    for (; n < 3 && good && more; n++) {
        char *end;
        errno = 0;
        part[n] = strtoll (at, &end, 10);
        more = *end == ':';
        good = end > at && !errno && strchr ("-0123456789", *at) && (more || !*end);
        at = end + more;
    }
    if (!good || more || n < 2)
        return sluice_fail (err, SLUICE_EINPUT,
                            "'%s' is no range: A:B means A, A + 1, ... B - 1, and "
                            "A:B:STEP each STEPth of them",
                            text);
    return arguments_range (self, part[0], part[1], n == 3 ? part[2] : 1, err);
}

int arguments_set_numbers (arguments_t *self, const uint64_t *numbers, size_t n,
                           sluice_error_t *err)
{
    self->numbers = malloc (n * sizeof *numbers + 1);
    if (!self->numbers)
        return no_memory (err);
    memcpy (self->numbers, numbers, n * sizeof *numbers);
    self->nnumbers = n;
    return 0;
}

/* ---- looking ------------------------------------------------------------- */

/* Of the product, whatever part of it is meant. */
static uint64_t product (const arguments_t *self)
{
    uint64_t items = self->nsources > 0;
    for (size_t i = 0; i < self->nsources; i++)
        if (__builtin_mul_overflow (items, self->sources[i].rows, &items) ||
            items > INT64_MAX)
            return 0;
    return items;
}

uint64_t arguments_items (const arguments_t *self)
{
    return product (self);
}

size_t arguments_columns (const arguments_t *self)
{
    return self->columns;
}

const char *const *arguments_names (const arguments_t *self)
{
    return self->named ? (const char *const *) self->names : NULL;
}

void arguments_get (const arguments_t *self, uint64_t item, arguments_row_t *row)
{
    size_t column = self->columns;
    for (size_t i = self->nsources; i-- > 0;) {
        const source_t *source = &self->sources[i];
        uint64_t at = item % source->rows;
        item /= source->rows;
        column -= source->columns;
        if (source->step) {
            int64_t value =
                (int64_t) ((uint64_t) source->first + at * (uint64_t) source->step);
            snprintf (row->numbers[column], sizeof row->numbers[column], "%lld",
                      (long long) value);
            row->values[column] = row->numbers[column];
        } else
            for (uint64_t k = 0; k < source->columns; k++)
                row->values[column + k] =
                    self->text + self->starts[source->value + at * source->columns + k];
    }
}

uint64_t arguments_number (const arguments_t *self, uint64_t item)
{
    return self->numbers && item < self->nnumbers ? self->numbers[item] : item;
}

/* ---- to the output --------------------------------------------------------- */

static size_t longest (const arguments_t *self, const source_t *source, uint64_t column)
{
    size_t most = 1; /* HDF5 has no strings of no bytes */
    for (uint64_t i = column; i < source->rows * source->columns; i += source->columns) {
        size_t n = strlen (self->text + self->starts[source->value + i]);
        most = n > most ? n : most;
    }
    return most;
}

/* A dtype of the rows: a record, or a single column as it is. */
static char *rows_text (const arguments_t *self, size_t *row_bytes, sluice_error_t *err)
{
    sluice_dtype_t record = {.kind = 'V', .order = '|', .packed = true};
    char *text = NULL;
    size_t column = 0, at = 0;
    record.fields = calloc (self->columns, sizeof *record.fields);
    for (size_t i = 0; record.fields && i < self->nsources; i++)
        for (uint64_t k = 0; k < self->sources[i].columns; k++, column++) {
            const source_t *source = &self->sources[i];
            char plain[32] = "<i8";
            if (!source->step)
                snprintf (plain, sizeof plain, "|S%zu", longest (self, source, k));
            sluice_field_t *field = &record.fields[record.nfields++];
            *field =
                (sluice_field_t){.name = self->names[column],
                                 .offset = at,
                                 .type = sluice_dtype_parse (plain, strlen (plain), err)};
            if (!field->type)
                goto done;
            at += sluice_dtype_size (field->type);
        }
    record.itemsize = at;
    *row_bytes = at;
    if (record.fields)
        text = sluice_dtype_text (
            self->columns == 1 && !self->named ? record.fields[0].type : &record);
    if (!text)
        no_memory (err);
done:
    for (size_t i = 0; i < record.nfields; i++)
        sluice_dtype_destroy (&record.fields[i].type);
    free (record.fields);
    return text;
}

static void fill_rows (const arguments_t *self, uint64_t items, size_t row_bytes,
                       char *out)
{
    static arguments_row_t row; /* of the master's one thread that plans */
    size_t *sizes = calloc (self->columns, sizeof *sizes);
    size_t column = 0;
    for (size_t i = 0; sizes && i < self->nsources; i++)
        for (uint64_t k = 0; k < self->sources[i].columns; k++, column++)
            sizes[column] =
                self->sources[i].step ? 0 : longest (self, &self->sources[i], k);
    for (uint64_t item = 0; sizes && item < items; item++, out += row_bytes) {
        char *at = out;
        arguments_get (self, item, &row);
        for (size_t k = 0; k < self->columns; k++) {
            if (sizes[k] == 0) {
                int64_t value = strtoll (row.values[k], NULL, 10);
                memcpy (at, &value, sizeof value);
                at += sizeof value;
            } else {
                memcpy (at, row.values[k], strlen (row.values[k]));
                at += sizes[k];
            }
        }
    }
    free (sizes);
}

static int put_array (sluice_plan_t *plan, bool output, const char *name,
                      const char *dtype, const void *data, uint64_t n,
                      sluice_error_t *err)
{
    sluice_array_t array = {0};
    bool overflow;
    if (n == 0)
        return 0;
    if (sluice_array_make (&array, dtype, 1, &n, err))
        return -1;
    memcpy (array.data, data, sluice_array_bytes (&array, &overflow));
    int rc = output ? sluice_plan_output (plan, name, &array, err)
                    : sluice_share_put (plan, name, &array, err);
    sluice_array_clear (&array);
    return rc;
}

int arguments_output (const arguments_t *self, sluice_plan_t *plan, sluice_error_t *err)
{
    uint64_t items = arguments_items (self), bytes;
    size_t row_bytes = 0;
    sluice_array_t array = {0};
    if (self->numbers &&
        put_array (plan, true, "task", "<u8", self->numbers, self->nnumbers, err))
        return -1;
    for (size_t i = 0; i < self->nnames; i++)
        if (!text_is_utf8 (self->names[i], strlen (self->names[i])))
            return sluice_fail (err, SLUICE_EINPUT, "the name of column %zu is not UTF-8",
                                i + 1);
    char *text = rows_text (self, &row_bytes, err);
    if (!text)
        return -1;
    int rc = 0;
    if (!__builtin_mul_overflow (items, row_bytes, &bytes) && bytes <= OUTPUT_MOST) {
        rc = sluice_array_make (&array, text, 1, &items, err);
        if (rc == 0) {
            fill_rows (self, items, row_bytes, array.data);
            rc = sluice_plan_output (plan, "arguments", &array, err);
        }
        sluice_array_clear (&array);
    }
    free (text);
    return rc;
}

/* ---- to the nodes ---------------------------------------------------------- */

static int share_names (const arguments_t *self, sluice_plan_t *plan, sluice_error_t *err)
{
    size_t n = 0;
    for (size_t i = 0; i < self->nnames; i++)
        n += strlen (self->names[i]) + 1;
    char *text = malloc (n + 1), *at = text;
    if (!text)
        return no_memory (err);
    for (size_t i = 0; i < self->nnames; i++)
        at = stpcpy (at, self->names[i]) + 1;
    int rc = put_array (plan, false, "names", "|u1", text, n, err);
    free (text);
    return rc;
}

int arguments_share (const arguments_t *self, sluice_plan_t *plan, sluice_error_t *err)
{
    if (put_array (plan, false, "sources", SOURCES_DTYPE, self->sources, self->nsources,
                   err) ||
        put_array (plan, false, "text", "|u1", self->text, self->ntext, err) ||
        put_array (plan, false, "starts", "<u8", self->starts, self->nvalues, err) ||
        put_array (plan, false, "numbers", "<u8", self->numbers, self->nnumbers, err))
        return -1;
    return self->named ? share_names (self, plan, err) : 0;
}

/* An array of rows of so many bytes, or nothing. */
static void *look_up (const sluice_inputs_t *inputs, const char *key, size_t size,
                      uint64_t *n)
{
    const sluice_array_t *array = sluice_inputs_get (inputs, key, NULL);
    *n = 0;
    if (!array || array->ndim != 1 || sluice_dtype_size (array->dtype) != size)
        return NULL;
    *n = array->shape[0];
    return array->data;
}

/* What came may be damaged: nothing may lead out of it. */
static bool is_sound (const arguments_t *self)
{
    for (uint64_t i = 0; i < self->nvalues; i++)
        if (self->starts[i] >= self->ntext)
            return false;
    if (self->ntext && self->text[self->ntext - 1] != '\0')
        return false;
    for (size_t i = 0; i < self->nsources; i++) {
        const source_t *s = &self->sources[i];
        uint64_t values;
        if (s->columns == 0 || s->columns > ARGUMENTS_MAX_COLUMNS || s->rows == 0 ||
            (s->step && s->columns != 1) ||
            __builtin_mul_overflow (s->rows, s->columns, &values) ||
            (!s->step && (s->value > self->nvalues || values > self->nvalues - s->value)))
            return false;
    }
    return true;
}

arguments_t *arguments_open (const sluice_inputs_t *inputs, sluice_error_t *err)
{
    arguments_t *self = arguments_new (err);
    uint64_t nsources, nnames;
    if (!self)
        return NULL;
    self->borrowed = true;
    self->sources = look_up (inputs, "sources", sizeof (source_t), &nsources);
    self->text = look_up (inputs, "text", 1, &self->ntext);
    self->starts = look_up (inputs, "starts", sizeof (uint64_t), &self->nvalues);
    self->numbers = look_up (inputs, "numbers", sizeof (uint64_t), &self->nnumbers);
    const char *names = look_up (inputs, "names", 1, &nnames);
    self->nsources = (size_t) nsources;
    bool good = nsources > 0 && nsources <= ARGUMENTS_MAX_COLUMNS && is_sound (self);
    for (size_t i = 0; good && i < self->nsources; i++)
        self->columns += self->sources[i].columns;
    good = good && self->columns <= ARGUMENTS_MAX_COLUMNS;
    for (uint64_t at = 0; good && names && self->nnames < self->columns; self->nnames++) {
        const char *name = names + at;
        size_t n = at < nnames ? strnlen (name, nnames - at) : nnames;
        good = n < nnames - at;
        if (good && !self->names)
            self->names = calloc (self->columns, sizeof *self->names);
        if (!good || !self->names || !(self->names[self->nnames] = strdup (name)))
            break;
        at += n + 1;
        self->named = true;
    }
    if (good && (!names || self->nnames == self->columns) &&
        arguments_items (self) == sluice_inputs_items (inputs) &&
        (!self->numbers || self->nnumbers == sluice_inputs_items (inputs)))
        return self;
    arguments_destroy (&self);
    sluice_fail (err, SLUICE_EINPUT, "the arguments of the run are damaged");
    return NULL;
}
