/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/again.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/h5array.h"
#include "master/outread.h"
#include "proto/json.h"

enum { BLOCK_ROWS = 744 }; /* of tasks read at once: 64 KiB */

/* A bit for each item that is done. */
static uint8_t *read_done (const output_t *output, sluice_error_t *err)
{
    uint8_t *done = calloc (1, (size_t) (output->items / 8 + 1));
    task_row_t *rows = malloc (BLOCK_ROWS * sizeof *rows);
    int rc = done && rows ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (uint64_t i = 0; rc == 0 && i < output->tasks.rows; i += BLOCK_ROWS) {
        uint64_t left = output->tasks.rows - i, n = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        rc = rows_read (&output->tasks, i, n, rows, err);
        for (uint64_t k = 0; rc == 0 && k < n; k++)
            for (uint64_t item = rows[k].first;
                 item < rows[k].stop && item < output->items; item++)
                done[item / 8] |= (uint8_t) (1u << item % 8);
    }
    free (rows);
    if (rc) {
        free (done);
        return NULL;
    }
    return done;
}

static bool has_output (const output_t *output, const char *name)
{
    for (size_t i = 0; i < output->noutputs; i++)
        if (strcmp (output->outputs[i], name) == 0)
            return true;
    return false;
}

static int read_words (again_t *again, const output_t *output, sluice_error_t *err)
{
    sluice_array_t array = {0};
    if (!has_output (output, "command"))
        return sluice_fail (err, SLUICE_EINPUT, "%s: has no command", output->path);
    if (h5_read_array (output->file, "command", &array, err))
        return -1;
    int rc = 0;
    if (array.ndim != 1 || array.dtype->kind != 'S' || array.shape[0] == 0)
        rc =
            sluice_fail (err, SLUICE_EOUTPUT, "%s: its command is damaged", output->path);
    size_t size = array.dtype->itemsize;
    again->words = rc ? NULL : calloc (array.shape[0] + 1, sizeof *again->words);
    for (uint64_t i = 0; again->words && i < array.shape[0]; i++) {
        char *word = strndup ((const char *) array.data + i * size, size);
        if (word)
            again->words[again->nwords++] = word;
    }
    if (rc == 0 && again->nwords != array.shape[0])
        rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    sluice_array_clear (&array);
    return rc;
}

static int read_parameters (again_t *again, const output_t *output, sluice_error_t *err)
{
    char *text = h5_read_text (output->group, "parameters", err), value[4096];
    if (!text)
        return -1;
    if (json_is_sound (text)) {
        again->shell = json_member (text, "shell") != NULL;
        if (json_string (json_member (text, "folder"), value, sizeof value))
            again->folder = strdup (value);
        if (json_string (json_member (text, "timeout"), value, sizeof value))
            again->timeout = strtod (value, NULL);
        if (json_string (json_member (text, "memory"), value, sizeof value))
            again->memory = strtoull (value, NULL, 10);
        if (json_string (json_member (text, "max_row"), value, sizeof value))
            again->max_row = strtoull (value, NULL, 10);
    }
    free (text);
    return 0;
}

/* One value of a row of `arguments`, as text. */
static int add_value (arguments_t *to, const sluice_dtype_t *dtype, const char *data,
                      sluice_error_t *err)
{
    char number[24];
    if (dtype->kind == 'S')
        return arguments_add (to, data, strnlen (data, dtype->itemsize), err);
    int64_t value = 0;
    if (dtype->kind != 'i' || dtype->itemsize != sizeof value)
        return sluice_fail (err, SLUICE_EOUTPUT, "its arguments are damaged");
    memcpy (&value, data, sizeof value);
    snprintf (number, sizeof number, "%lld", (long long) value);
    return arguments_add (to, number, strlen (number), err);
}

/* A source like `arguments` of the output, for those rows whose bit is not set. */
static int add_rows (arguments_t *to, const sluice_array_t *rows, const uint8_t *done,
                     sluice_error_t *err)
{
    const sluice_dtype_t *dtype = rows->dtype;
    bool record = dtype->kind == 'V';
    const char *names[ARGUMENTS_MAX_COLUMNS];
    size_t columns = record ? dtype->nfields : 1, size = sluice_dtype_size (dtype);
    if (columns > ARGUMENTS_MAX_COLUMNS)
        return sluice_fail (err, SLUICE_EOUTPUT, "its arguments are damaged");
    for (size_t k = 0; record && k < columns; k++)
        names[k] = dtype->fields[k].name;
    int rc = arguments_source (to, columns, record ? names : NULL, err);
    for (uint64_t i = 0; rc == 0 && i < rows->shape[0]; i++) {
        const char *data = (const char *) rows->data + i * size;
        if (done[i / 8] >> i % 8 & 1)
            continue;
        if (!record)
            rc = add_value (to, dtype, data, err);
        for (size_t k = 0; record && rc == 0 && k < columns; k++)
            rc = add_value (to, dtype->fields[k].type, data + dtype->fields[k].offset,
                            err);
    }
    return rc;
}

/* The same from the arguments of the command line. */
static int add_given (arguments_t *to, const arguments_t *given, const uint8_t *done,
                      sluice_error_t *err)
{
    static arguments_row_t row;
    size_t columns = arguments_columns (given);
    int rc = arguments_source (to, columns, arguments_names (given), err);
    for (uint64_t i = 0; rc == 0 && i < arguments_items (given); i++) {
        if (done[i / 8] >> i % 8 & 1)
            continue;
        arguments_get (given, i, &row);
        for (size_t k = 0; rc == 0 && k < columns; k++)
            rc = arguments_add (to, row.values[k], strlen (row.values[k]), err);
    }
    return rc;
}

static int set_numbers (arguments_t *to, const output_t *output, const uint8_t *done,
                        sluice_error_t *err)
{
    sluice_array_t task = {0};
    uint64_t *numbers = malloc (arguments_items (to) * sizeof *numbers + 1);
    size_t n = 0;
    int rc = numbers ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (rc == 0 && has_output (output, "task"))
        rc = h5_read_array (output->file, "task", &task, err);
    if (rc == 0 && task.dtype &&
        (task.ndim != 1 || task.shape[0] != output->items ||
         sluice_dtype_size (task.dtype) != sizeof *numbers))
        rc = sluice_fail (err, SLUICE_EOUTPUT, "%s: its task is damaged", output->path);
    for (uint64_t i = 0; rc == 0 && i < output->items; i++)
        if (!(done[i / 8] >> i % 8 & 1))
            numbers[n++] = task.dtype ? ((const uint64_t *) task.data)[i] : i;
    if (rc == 0)
        rc = arguments_set_numbers (to, numbers, n, err);
    sluice_array_clear (&task);
    free (numbers);
    return rc;
}

static int read_arguments (again_t *again, const output_t *output, const uint8_t *done,
                           const arguments_t *given, sluice_error_t *err)
{
    sluice_array_t rows = {0};
    int rc = 0;
    if (given && arguments_items (given) != output->items)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s has %llu items, the arguments given make %llu",
                            output->path, (unsigned long long) output->items,
                            (unsigned long long) arguments_items (given));
    if (!given && !has_output (output, "arguments"))
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s has too many items to hold their arguments; give these "
                            "again",
                            output->path);
    again->arguments = arguments_new (err);
    if (!again->arguments)
        return -1;
    if (given)
        rc = add_given (again->arguments, given, done, err);
    else {
        rc = h5_read_array (output->file, "arguments", &rows, err);
        if (rc == 0 && (rows.ndim != 1 || rows.shape[0] != output->items))
            rc = sluice_fail (err, SLUICE_EOUTPUT, "its arguments are damaged");
        if (rc == 0)
            rc = add_rows (again->arguments, &rows, done, err);
        sluice_array_clear (&rows);
    }
    return rc == 0 ? set_numbers (again->arguments, output, done, err) : -1;
}

int again_read (const char *path, const arguments_t *given, again_t *again,
                sluice_error_t *err)
{
    *again = (again_t){0};
    output_t *output = output_open (path, err);
    if (!output)
        return -1;
    int rc = 0;
    if (strcmp (output->kernel, "builtin:map") != 0)
        rc = sluice_fail (err, SLUICE_EINPUT, "%s: not an output of sluice map", path);
    uint8_t *done = rc == 0 ? read_done (output, err) : NULL;
    bool left = false;
    for (uint64_t i = 0; done && i < output->items && !left; i++)
        left = !(done[i / 8] >> i % 8 & 1);
    again->seed = output->seed;
    again->items = output->items;
    if (!done || read_words (again, output, err) ||
        read_parameters (again, output, err) ||
        (left && read_arguments (again, output, done, given, err)))
        rc = -1;
    free (done);
    output_close (&output);
    if (rc)
        again_clear (again);
    return rc;
}

void again_clear (again_t *again)
{
    arguments_destroy (&again->arguments);
    for (size_t i = 0; i < again->nwords; i++)
        free (again->words[i]);
    free (again->words);
    free (again->folder);
    *again = (again_t){0};
}
