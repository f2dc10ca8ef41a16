/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/former.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "calc/emitter.h"
#include "calc/h5array.h"
#include "master/outread.h"
#include "master/space.h"

/* Where the superblock (versions 2 and 3) has the address of the file's end. */
enum { SUPER_BYTES = 48, SUPER_VERSION = 8, SUPER_END = 28 };

/* ---- the file's end ---------------------------------------------------------------- */

static bool superblock_end (int fd, uint64_t *end)
{
    static const uint8_t signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    uint8_t super[SUPER_BYTES];
    if (pread (fd, super, sizeof super, 0) != (ssize_t) sizeof super ||
        memcmp (super, signature, sizeof signature) != 0 ||
        (super[SUPER_VERSION] != 2 && super[SUPER_VERSION] != 3) ||
        super[SUPER_VERSION + 1] != sizeof *end)
        return false;
    *end = 0;
    for (unsigned i = 0; i < sizeof *end; i++)
        *end |= (uint64_t) super[SUPER_END + i] << 8 * i;
    return true;
}

/* What the disk shows is durable from now on, and the file as long as it says. */
static int settle (int fd, uint64_t *size, uint64_t *end, sluice_error_t *err)
{
    struct stat st;
    if (fdatasync (fd) < 0 || fstat (fd, &st) < 0)
        return sluice_fail (err, SLUICE_EOUTPUT, "%s", strerror (errno));
    *size = (uint64_t) st.st_size;
    if (!superblock_end (fd, end))
        *end = *size; /* output_open says what it is */
    else if (*end > *size && ftruncate (fd, (off_t) *end) < 0)
        return sluice_fail (err, SLUICE_EOUTPUT, "was cut, and cannot be extended: %s",
                            strerror (errno));
    return 0;
}

/* ---- what HDF5 reads ----------------------------------------------------------------
 */

static void *read_all (const output_t *output, const rows_t *rows, uint64_t row_bytes,
                       sluice_error_t *err)
{
    if (rows->row_bytes != row_bytes || rows->rows > output->file_bytes / row_bytes) {
        sluice_fail (err, SLUICE_EOUTPUT, "table %s is damaged", rows->name);
        return NULL;
    }
    void *all = malloc ((size_t) (rows->rows * row_bytes) + 1);
    if (!all)
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    else if (rows_read (rows, 0, rows->rows, all, err) < 0) {
        free (all);
        all = NULL;
    }
    return all;
}

static int read_late (const output_t *output, former_t *former, sluice_error_t *err)
{
    for (size_t i = output->ntables + 1; i < output->nall; i++) {
        const rows_t *table = output->tables + i;
        former_table_t *late = former->late + former->nlate++;
        late->name = strdup (table->name);
        late->dtype = strdup (table->dtype);
        late->row_bytes = table->row_bytes;
        if (!late->name || !late->dtype)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        if (late->row_bytes == 0 || late->row_bytes > ROW_MAX_BYTES)
            return sluice_fail (err, SLUICE_EOUTPUT, "table %s is damaged", table->name);
    }
    return 0;
}

static int read_records (const output_t *output, former_t *former, sluice_error_t *err)
{
    salvage_rows_t *rows = &former->rows;
    if (!(rows->index = read_all (output, &output->index, sizeof *rows->index, err)) ||
        !(rows->tasks = read_all (output, &output->tasks, sizeof *rows->tasks, err)) ||
        !(former->nodes =
              read_all (output, &output->nodes, sizeof *former->nodes, err)) ||
        !(former->failures =
              read_all (output, &output->failures, sizeof *former->failures, err)) ||
        read_late (output, former, err) < 0)
        return -1;
    rows->nindex = (size_t) output->index.rows;
    rows->ntasks = (size_t) output->tasks.rows;
    former->nnodes = (size_t) output->nodes.rows;
    former->nfailures = (size_t) output->failures.rows;
    former->seconds = output->seconds;
    former->started = strdup (output->started);
    if (!former->started)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    former->resumed = output->resumed;
    return 0;
}

/* Damage that the ledger cannot heal: what now? */
static int beyond_help (sluice_error_t *err)
{
    char text[sizeof err->text];
    if (err && err->code == SLUICE_EOUTPUT) {
        memcpy (text, err->text, sizeof text);
        sluice_fail (err, SLUICE_EOUTPUT, "%s; it is damaged: begin anew with --force",
                     text);
    }
    return -1;
}

static int read_output (const char *path, const identity_t *identity, former_t *former,
                        sluice_error_t *err)
{
    output_t *output = output_open (path, err);
    if (!output)
        return beyond_help (err);
    int rc;
    if (strcmp (output->status, "complete") == 0)
        rc = sluice_fail (err, SLUICE_EINPUT, "is complete; there is nothing left to do");
    else if ((rc = identity_check (identity, output->group, err)) < 0)
        sluice_fail_at (err, "cannot go on with it");
    else
        rc = read_records (output, former, err);
    if (rc < 0) {
        sluice_fail_at (err, "output %s", path);
        beyond_help (err);
    }
    output_close (&output);
    return rc;
}

/* ---- what is whole -------------------------------------------------------------------
 */

typedef struct {
    int fd;
    uint64_t all; /* bytes that the ledger knows */
    const writer_options_t *options;
} reader_t;

static int read_bytes (void *arg, void *to, size_t n, uint64_t address,
                       sluice_error_t *err)
{
    const reader_t *self = arg;
    uint8_t *at = to;
    (void) err;
    while (n > 0) {
        ssize_t done = pread (self->fd, at, n, (off_t) address);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return 1; /* a bad sector, or the end */
        at += done;
        n -= (size_t) done;
        address += (uint64_t) done;
    }
    return 0;
}

static int tell_progress (void *arg, uint64_t bytes, sluice_error_t *err)
{
    const reader_t *self = arg;
    return self->options->checking ? self->options->checking (self->options->checking_arg,
                                                              bytes, self->all, err)
                                   : 0;
}

static int check (int fd, uint64_t size, const writer_options_t *options,
                  former_t *former, sluice_error_t *err)
{
    const sluice_plan_t *plan = options->plan;
    salvage_table_t tables[MSG_MAX_TABLES + 1 + PIECE_MAX_LATE];
    uint32_t n = 0;
    for (size_t i = 0; i < plan->ntables; i++) {
        const table_t *table = plan->tables + i;
        sluice_dtype_t *dtype =
            sluice_dtype_parse (table->dtype, strlen (table->dtype), err);
        if (!dtype)
            return -1;
        tables[n++] =
            (salvage_table_t){table->name, sluice_dtype_size (dtype), table->chunk_rows};
        sluice_dtype_destroy (&dtype);
    }
    tables[n++] = (salvage_table_t){ITEMS_TABLE_NAME, sizeof (item_rows_t),
                                    chunk_rows_for (sizeof (item_rows_t))};
    for (size_t i = 0; i < former->nlate; i++) {
        const former_table_t *late = former->late + i;
        tables[n++] = (salvage_table_t){late->name, late->row_bytes,
                                        chunk_rows_for (late->row_bytes)};
    }
    reader_t reader = {.fd = fd, .options = options};
    for (size_t i = 0; i < former->rows.nindex; i++) {
        const index_row_t *row = former->rows.index + i;
        if (row->table < n && row->rows <= tables[row->table].chunk_rows)
            reader.all += row->rows * tables[row->table].row_bytes;
    }
    const salvage_source_t source = {.items = plan->items,
                                     .file_bytes = size,
                                     .ntables = (uint32_t) plan->ntables,
                                     .nall = n,
                                     .tables = tables,
                                     .read = read_bytes,
                                     .progress = tell_progress,
                                     .arg = &reader};
    return salvage (&former->rows, &source, &former->damage, err);
}

int former_read (const char *path, int fd, const identity_t *identity,
                 const writer_options_t *options, former_t *former, uint64_t *size,
                 sluice_error_t *err)
{
    *former = (former_t){0};
    if (settle (fd, size, &former->end, err) < 0)
        return sluice_fail_at (err, "output %s", path);
    if (read_output (path, identity, former, err) < 0) {
        /* As it was; what cannot be done about it matters to nobody. */
        int rc = former->end > *size ? ftruncate (fd, (off_t) *size) : 0;
        (void) rc;
        return -1;
    }
    return check (fd, *size, options, former, err);
}

void former_clear (former_t *former)
{
    for (size_t i = 0; i < former->nlate; i++) {
        free (former->late[i].name);
        free (former->late[i].dtype);
    }
    free (former->rows.index);
    free (former->rows.tasks);
    free (former->nodes);
    free (former->failures);
    free (former->started);
    *former = (former_t){0};
}
