/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* get: a table as .npy or CSV, or what a task printed. */

#include "master/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/h5array.h"
#include "calc/map.h"
#include "master/dump.h"
#include "master/extract.h"
#include "master/follow.h"
#include "master/tofile.h"

static const char HELP[] =
    "Usage: sluice get FILE NAME [--item N] [-o OUT] [--npy | --csv]\n"
    "\n"
    "Write a table of an output, its rows in the order of items, or one of its arrays:\n"
    "as .npy if OUT is called so or with --npy, else as CSV. stdout and stderr, what\n"
    "commands of sluice map printed, and other tables of bytes come as they are.\n"
    "Without NAME: which there are.\n"
    "\n"
    "      --item N           only what belongs to item N\n"
    "  -o, --output OUT       write it here (default: standard output)\n";

typedef enum { FORM_CSV, FORM_NPY, FORM_BYTES } form_t;

typedef struct {
    const output_t *output;
    FILE *out;
    form_t form;
    sluice_dtype_t *dtype;
    size_t row_bytes;
} get_t;

static int put_rows (void *arg, const void *rows, uint64_t n, sluice_error_t *err)
{
    const get_t *self = arg;
    if (self->form != FORM_CSV) {
        if (fwrite (rows, self->row_bytes, n, self->out) == n)
            return 0;
        return sluice_fail (err, SLUICE_EOUTPUT, "cannot be written: %s",
                            strerror (errno));
    }
    for (uint64_t i = 0; i < n; i++)
        if (dump_csv_row (self->out, self->dtype,
                          (const char *) rows + i * self->row_bytes, err))
            return -1;
    return 0;
}

static int put_header (const get_t *self, unsigned ndim, const uint64_t *shape,
                       sluice_error_t *err)
{
    if (self->form == FORM_NPY)
        return dump_npy_header (self->out, self->dtype, ndim, shape, err);
    return self->form == FORM_CSV ? dump_csv_header (self->out, self->dtype, err) : 0;
}

/* ---- a table ----------------------------------------------------------------- */

/* Of an item that failed only the last words are kept. */
static int get_failed (const get_t *self, uint64_t item, bool words, sluice_error_t *err)
{
    const rows_t *failures = &self->output->failures;
    failure_row_t row;
    for (uint64_t i = failures->rows; i-- > 0;) {
        if (rows_read (failures, i, 1, &row, err))
            return -1;
        if (item < row.first || item >= row.stop || !row.final)
            continue;
        if (words) {
            fwrite (row.stderr_tail, 1, strnlen (row.stderr_tail, sizeof row.stderr_tail),
                    self->out);
            return 0;
        }
        return sluice_fail (err, SLUICE_EFAILED, "item %llu failed: %.*s",
                            (unsigned long long) item, (int) sizeof row.reason,
                            row.reason);
    }
    return 0;
}

static int get_table (get_t *self, uint32_t table, const uint64_t *item,
                      sluice_error_t *err)
{
    const rows_t *rows = &self->output->tables[table];
    stretches_t extents;
    if (item && *item >= self->output->items)
        return sluice_fail (err, SLUICE_EINPUT, "%s has items 0 to %llu only",
                            self->output->path,
                            (unsigned long long) self->output->items - 1);
    int rc = item ? extract_item (self->output, table, *item, &extents, err)
                  : extract_pieces (self->output, table, 0, &extents, err);
    if (rc)
        return -1;
    if (item && extents.n == 0)
        rc = get_failed (self, *item, strcmp (rows->name, MAP_STDERR) == 0, err);
    if (rc == 0)
        rc = put_header (self, 1, &extents.rows, err);
    if (rc == 0)
        rc = extract_rows (rows, &extents, put_rows, self, err);
    stretches_clear (&extents);
    return rc;
}

/* ---- an array ---------------------------------------------------------------- */

static int get_array (get_t *self, const char *name, sluice_error_t *err)
{
    sluice_array_t array = {0};
    if (h5_read_array (self->output->file, name, &array, err))
        return -1;
    uint64_t rows = array.ndim ? array.shape[0] : 1, bytes_of_row;
    bool overflow;
    size_t bytes = sluice_array_bytes (&array, &overflow);
    sluice_dtype_t row = *array.dtype; /* with the axes behind the first */
    unsigned more = array.ndim > 1 ? array.ndim - 1 : 0;
    int rc = 0;
    bytes_of_row = rows ? bytes / rows : sluice_dtype_size (array.dtype);
    if (more + row.ndim > SLUICE_MAX_DIMS)
        rc = sluice_fail (err, SLUICE_EINPUT, "%s has too many dimensions", name);
    else {
        memmove (row.dims + more, row.dims, row.ndim * sizeof *row.dims);
        memcpy (row.dims, array.shape + 1, more * sizeof *row.dims);
        row.ndim += more;
        self->dtype = self->form == FORM_NPY ? array.dtype : &row;
        self->row_bytes = (size_t) bytes_of_row;
        rc = put_header (self, array.ndim, array.shape, err);
        if (rc == 0 && rows)
            rc = put_rows (self, array.data, rows, err);
        self->dtype = NULL;
    }
    sluice_array_clear (&array);
    return rc;
}

/* ---- the command -------------------------------------------------------------- */

static int list (const output_t *output)
{
    for (size_t i = 0; i < output->nall; i++)
        if (i != output->ntables)
            printf ("%s  table of %llu rows  %s\n", output->tables[i].name,
                    (unsigned long long) output->tables[i].rows, output->tables[i].dtype);
    for (size_t i = 0; i < output->noutputs; i++)
        printf ("%s  array\n", output->outputs[i]);
    return 0;
}

static bool ends_in (const char *text, const char *end)
{
    size_t n = strlen (text), m = strlen (end);
    return n > m && strcmp (text + n - m, end) == 0;
}

static int get (get_t *self, const char *name, const uint64_t *item, sluice_error_t *err)
{
    if (strcmp (name, "stderr") == 0 && extract_table (self->output, name) < 0)
        name = MAP_STDERR;
    int table = extract_table (self->output, name);
    if (table >= 0) {
        const rows_t *rows = &self->output->tables[table];
        self->dtype = sluice_dtype_parse (rows->dtype, strlen (rows->dtype), err);
        self->row_bytes = rows->row_bytes;
        if (!self->dtype)
            return -1;
        bool plain = self->dtype->kind == 'u' && rows->row_bytes == 1;
        if (plain && self->form == FORM_CSV)
            self->form = FORM_BYTES;
        int rc = get_table (self, (uint32_t) table, item, err);
        sluice_dtype_destroy (&self->dtype);
        return rc;
    }
    for (size_t i = 0; i < self->output->noutputs; i++)
        if (strcmp (self->output->outputs[i], name) == 0)
            return item ? sluice_fail (err, SLUICE_EINPUT,
                                       "%s is an array, which belongs to no item", name)
                        : get_array (self, name, err);
    return sluice_fail (
        err, SLUICE_EINPUT,
        "%s: has no table or array %s; sluice get %s says which there are",
        self->output->path, name, self->output->path);
}

static int get_to (const char *path, const char *name, const char *to, form_t form,
                   const uint64_t *item)
{
    sluice_error_t err = {0};
    get_t self = {.out = stdout, .form = form};
    output_t *output = output_open (path, &err);
    if (!output)
        return cmd_fail ("get", &err);
    self.output = output;
    int rc = 0;
    if (!name)
        list (output);
    else {
        tofile_t file = {0};
        if (to && (rc = tofile_open (&file, to, &err)) == 0)
            self.out = file.out;
        if (rc == 0)
            rc = get (&self, name, item, &err);
        if (tofile_close (&file, rc == 0, rc ? NULL : &err))
            rc = -1;
    }
    output_close (&output);
    return rc ? cmd_fail ("get", &err) : 0;
}

int cmd_get (int argc, char **argv)
{
    const char *to = NULL, *item = NULL, *follow = NULL;
    bool npy = false, csv = false;
    uint64_t number = 0;
    sluice_error_t err = {0};
    int status = cmd_options (argc, argv, HELP,
                              (cmd_option_t[]){{"output", 'o', .value = &to},
                                               {"item", .value = &item},
                                               {"npy", .flag = &npy},
                                               {"csv", .flag = &csv},
                                               {"follow", .value = &follow}, /* of map */
                                               {0}});
    if (status >= 0)
        return status;
    if (optind >= argc || optind + 2 < argc)
        return cmd_usage ("get", "which file, and what of it?");
    const char *path = argv[optind], *name = optind + 1 < argc ? argv[optind + 1] : NULL;
    if (follow && cmd_number (follow, &number))
        return follow_show (path, (int) number, &err) ? cmd_fail ("map", &err) : 0;
    if (item && !cmd_number (item, &number))
        return cmd_usage ("get", "'%s' is not the number of an item", item);
    if (npy && csv)
        return cmd_usage ("get", "either --npy or --csv");
    form_t form = npy || (!csv && to && ends_in (to, ".npy")) ? FORM_NPY : FORM_CSV;
    return get_to (path, name, to, form, item ? &number : NULL);
}
