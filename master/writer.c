/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* asprintf */
#include "master/writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "calc/h5array.h"
#include "master/snapshot.h"
#include "master/tableindex.h"
#include "master/writer_state.h"
#include "proto/clock.h"
#include "proto/faults.h"

enum {
    SYSTEM_CHUNK = 64 << 10, /* ledger, tasks, ...: what a snapshot rewrites of
                                the ledger is hardly more than one of these */
    PACKED_LEAST = 4 << 20,  /* open chunks may always take this much */
    WORTH_BYTES = 1 << 20    /* one more snapshot to make the file shorter */
};

#define INDEX_DTYPE                                                                      \
    "{task:<u8, attempt:<u4, table:<u4, first:<u8, stop:<u8, row:<u8, rows:<u8, "        \
    "start:<u8, address:<u8, stored:<u8, offset:<u8, xxh3:<u8}"
#define TASKS_DTYPE                                                                      \
    "{task:<u8, attempt:<u4, node:<u4, first:<u8, stop:<u8, bytes:<u8, seconds:<f8, "    \
    "cpu:<f8, rss:<u8, received:<f8, digest:(16)|u1, check:<u8}"
#define NODES_DTYPE "{node:<u4, host:|S64, uuid:|S32, cores:<u4, slots:<u4, isa:|S16}"
#define FAILURES_DTYPE                                                                   \
    "{task:<u8, attempt:<u4, first:<u8, stop:<u8, node:<u4, final:|u1, sig:<i4, "        \
    "exit_code:<i4, reason:|S200, stderr:|S1000}"

static const struct {
    const char *name, *dtype;
    size_t row_bytes;
} system_tables[NSYSTEM] = {
    {"sluice/index", INDEX_DTYPE, sizeof (index_row_t)},
    {"sluice/tasks", TASKS_DTYPE, sizeof (task_row_t)},
    {"sluice/nodes", NODES_DTYPE, sizeof (node_row_t)},
    {"sluice/failures", FAILURES_DTYPE, sizeof (failure_row_t)},
};

int writer_failed (writer_t *self)
{
    self->full = self->full || outfile_full (self->file);
    return -1;
}

bool writer_disk_full (const writer_t *self)
{
    return self->full;
}

/* ---- making one -------------------------------------------------------------- */

void wtable_clear (wtable_t *table)
{
    free (table->name);
    free (table->dtype);
    if (table->type > 0)
        H5Tclose (table->type);
    chunks_destroy (&table->chunks);
    *table = (wtable_t){0};
}

int wtable_make (writer_t *self, wtable_t *table, const char *name,
                 const char *dtype_text, uint64_t chunk_rows, sluice_error_t *err)
{
    sluice_dtype_t *dtype = sluice_dtype_parse (dtype_text, strlen (dtype_text), err);
    if (!dtype)
        return sluice_fail_at (err, "table %s", name);
    uint64_t row_bytes = sluice_dtype_size (dtype);
    table->type = h5_type (dtype, err);
    sluice_dtype_destroy (&dtype);
    if (table->type < 0)
        return sluice_fail_at (err, "table %s", name);
    if (row_bytes == 0 || row_bytes > ROW_MAX_BYTES)
        return sluice_fail (err, SLUICE_EINPUT, "table %s: rows of %llu bytes", name,
                            (unsigned long long) row_bytes);
    if (chunk_rows == 0)
        chunk_rows = row_bytes < SYSTEM_CHUNK ? SYSTEM_CHUNK / row_bytes : 1;
    if (chunk_rows > UINT32_MAX / row_bytes)
        return sluice_fail (err, SLUICE_EINPUT,
                            "table %s: chunks of %llu rows of %llu bytes are too large",
                            name, (unsigned long long) chunk_rows,
                            (unsigned long long) row_bytes);
    table->name = strdup (name);
    table->dtype = strdup (dtype_text);
    if (!table->name || !table->dtype)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    table->chunks = chunks_new (self->file, self->space, row_bytes, chunk_rows, err);
    return table->chunks ? 0 : -1;
}

static int make_tables (writer_t *self, sluice_error_t *err)
{
    const sluice_plan_t *plan = self->plan;
    for (uint32_t i = 0; i < self->ntables; i++)
        if (wtable_make (self, self->tables + i, plan->tables[i].name,
                         plan->tables[i].dtype, plan->tables[i].chunk_rows, err) < 0)
            return -1;
    if (wtable_make (self, self->tables + self->ntables, ITEMS_TABLE_NAME,
                     ITEMS_TABLE_DTYPE, chunk_rows_for (sizeof (item_rows_t)), err) < 0)
        return -1;
    for (size_t i = 0; i < NSYSTEM; i++)
        if (wtable_make (self, self->system + i, system_tables[i].name,
                         system_tables[i].dtype, 0, err) < 0)
            return -1;
    self->ledger =
        ledger_new (self->system[INDEX].chunks, self->nall + PIECE_MAX_LATE, err);
    return self->ledger ? 0 : -1;
}

/* Write the constant outputs that can be adopted, and count all in the digest. */
int writer_constants (writer_t *self, sluice_error_t *err)
{
    for (size_t i = 0; i < self->plan->noutputs; i++) {
        const named_array_t *output = self->plan->outputs + i;
        constant_t *constant = self->constants + i;
        uint8_t digest[DIGEST_BYTES];
        if (array_digest (output->name, &output->array, digest, err) < 0)
            return -1;
        digest_add (self->digest, digest);
        if (!snapshot_adopts (&output->array))
            continue;
        bool overflow;
        constant->type = h5_type (output->array.dtype, err);
        if (constant->type < 0)
            return sluice_fail_at (err, "output %s", output->name);
        constant->bytes = sluice_array_bytes (&output->array, &overflow);
        constant->address = space_alloc (self->space, constant->bytes);
        constant->adopted = true;
        if (outfile_write (self->file, output->array.data, constant->bytes,
                           constant->address, err) < 0)
            return -1;
    }
    return 0;
}

int writer_open (writer_t *self, const writer_options_t *options, int fd, uint64_t free,
                 sluice_error_t *err)
{
    const sluice_plan_t *plan = options->plan;
    size_t most = self->nall + PIECE_MAX_LATE;
    self->file = outfile_new (fd, options->rate);
    self->space = space_new (free);
    self->attempts = attempts_new (most);
    self->tables = calloc (most, sizeof *self->tables);
    self->indexes = calloc (most, sizeof *self->indexes);
    self->streams = calloc (most, sizeof *self->streams);
    self->constants = calloc (plan->noutputs + 1, sizeof *self->constants);
    if (!self->file || !self->space || !self->attempts || !self->tables ||
        !self->indexes || !self->streams || !self->constants)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    self->syncer = syncer_new (outfile_fd (self->file), err);
    if (!self->syncer || make_tables (self, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->ntables; i++) {
        uint8_t digest[DIGEST_BYTES];
        if (!table_is_content (plan->tables[i].name))
            continue;
        table_digest (plan->tables[i].name, plan->tables[i].dtype, digest);
        digest_add (self->digest, digest);
    }
    return 0;
}

static int prepare (writer_t *self, const writer_options_t *options, sluice_error_t *err)
{
    if (options->plan->ntables > MSG_MAX_TABLES)
        return sluice_fail (err, SLUICE_EINPUT, "%zu tables, more than %d",
                            options->plan->ntables, MSG_MAX_TABLES);
    self->job = strdup (options->job ? options->job : "");
    self->kernel = strdup (options->kernel ? options->kernel : "");
    self->parameters = parameters_json (options->plan->params);
    if (!self->job || !self->kernel || !self->parameters)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    self->identity = identity_new (options->plan, self->kernel, options->kernel_hash,
                                   self->parameters, err);
    return self->identity ? 0 : -1;
}

writer_t *writer_begin (const writer_options_t *options, sluice_error_t *err)
{
    h5_quiet ();
    writer_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->plan = options->plan;
    self->ntables = (uint32_t) options->plan->ntables;
    self->nall = self->ntables + 1;
    self->packed_max =
        options->packed_max > PACKED_LEAST ? options->packed_max : PACKED_LEAST;
    self->deflate = options->deflate;
    self->unchecked = options->unchecked || faults_without (WITHOUT_DIGESTS);
    memcpy (self->run, options->run, RUN_BYTES);
    run_text (self->run, self->run_hex);
    self->taken.sums.first_task = 1;
    self->began = clock_seconds ();
    time_t wall = time (NULL);
    struct tm utc;
    strftime (self->started, sizeof self->started, "%Y-%m-%dT%H:%M:%SZ",
              gmtime_r (&wall, &utc));
    if (prepare (self, options, err) < 0)
        writer_destroy (&self);
    return self;
}

static int make (writer_t *self, const writer_options_t *options, sluice_error_t *err)
{
    int fd;
    self->path = outpath_take (options->path, options->force, options->plan, options->run,
                               &fd, err);
    if (!self->path || writer_open (self, options, fd, SPACE_PAGE, err) < 0 ||
        writer_constants (self, err) < 0)
        return -1;
    self->changed = true;
    if (writer_snapshot (self, err) < 0)
        return -1;
    if (outpath_publish (self->path, err) < 0)
        return -1;
    if (options->nameless)
        outpath_forget (self->path);
    return 0;
}

writer_t *writer_new (const writer_options_t *options, sluice_error_t *err)
{
    writer_t *self = writer_begin (options, err);
    if (self && make (self, options, err) < 0)
        writer_destroy (&self);
    return self;
}

void writer_destroy (writer_t **self_p)
{
    writer_t *self = *self_p;
    if (!self)
        return;
    syncer_destroy (&self->syncer);
    for (uint32_t i = 0; self->tables && i < self->nall; i++)
        wtable_clear (self->tables + i);
    for (uint32_t i = 0; self->indexes && i < self->nall; i++)
        wtable_clear (self->indexes + i);
    for (size_t i = 0; i < NSYSTEM; i++)
        wtable_clear (self->system + i);
    for (size_t i = 0; self->constants && i < self->plan->noutputs; i++)
        if (self->constants[i].type > 0)
            H5Tclose (self->constants[i].type);
    ledger_destroy (&self->ledger);
    attempts_destroy (&self->attempts);
    h5driver_destroy (&self->snapshot);
    outfile_destroy (&self->file);
    outpath_release (&self->path);
    space_destroy (&self->space);
    told_clear (self);
    identity_destroy (&self->identity);
    codec_destroy (&self->codec);
    codec_destroy (&self->packer);
    free (self->taken.ranges);
    free (self->taken.nodes);
    free (self->tables);
    free (self->indexes);
    free (self->constants);
    free (self->streams);
    free (self->nodes);
    free (self->tail);
    free (self->job);
    free (self->kernel);
    free (self->parameters);
    free (self->status);
    free (self);
    *self_p = NULL;
}

/* ---- finishing ----------------------------------------------------------------- */

/* Give every ledger row its place: no full extent comes any more. */
static int settle_all (writer_t *self, sluice_error_t *err)
{
    ledger_mark (self->ledger);
    for (uint32_t i = 0; i < self->nall; i++) {
        const chunks_t *chunks = self->tables[i].chunks;
        if (ledger_pin (self->ledger, i,
                        chunks_full (chunks) * chunks_chunk_rows (chunks), err) < 0) {
            ledger_rollback (self->ledger);
            return -1;
        }
    }
    ledger_commit (self->ledger);
    return 0;
}

static int make_index (writer_t *self, uint32_t i, sluice_error_t *err)
{
    char *name = NULL;
    if (asprintf (&name, "%s_index", self->tables[i].name) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    int rc = wtable_make (self, self->indexes + i, name, TABLE_INDEX_DTYPE,
                          chunk_rows_for (sizeof (table_index_row_t)), err);
    free (name);
    if (rc == 0)
        rc = tableindex_make (self->system[INDEX].chunks,
                              self->tables[self->ntables].chunks, self->ntables, i,
                              self->indexes[i].chunks, err);
    if (rc < 0 && self->indexes[i].chunks) {
        chunks_clear (self->indexes[i].chunks);
        wtable_clear (self->indexes + i);
    }
    return rc;
}

/* Index by index; what was made stays when a later one fails, and no snapshot
 * shows any before all are there. */
static int make_indexes (writer_t *self, sluice_error_t *err)
{
    if (settle_all (self, err) < 0)
        return -1;
    for (uint32_t i = 0; i < self->nall; i++)
        if (i != self->ntables && !self->indexes[i].chunks &&
            make_index (self, i, err) < 0)
            return -1;
    self->indexed = true;
    return 0;
}

/* Give back what the file does not need: its tail, and holes in it. */
static int trim (writer_t *self, sluice_error_t *err)
{
    if (!writer_alone (self)) {
        /* somebody still reads an older state: cut only what none has */
        return outfile_cut (self->file, self->largest_end, err);
    }
    space_release (self->space);
    if (space_end (self->space) + WORTH_BYTES < self->snapshot_end) {
        self->changed = true; /* a new superblock says a nearer end */
        if (writer_snapshot (self, err) < 0)
            return -1;
        if (!writer_alone (self))
            return outfile_cut (self->file, self->largest_end, err);
        space_release (self->space);
    }
    uint64_t address, bytes, end = space_end (self->space);
    for (size_t i = 0; space_hole (self->space, i, &address, &bytes); i++)
        outfile_punch (self->file, address, bytes);
    return outfile_cut (self->file, end > self->snapshot_end ? end : self->snapshot_end,
                        err);
}

int writer_reader (const writer_t *self)
{
    char path[40];
    snprintf (path, sizeof path, "/proc/self/fd/%d", outfile_fd (self->file));
    return open (path, O_RDONLY | O_CLOEXEC);
}

int writer_finish (writer_t *self, const char *status, sluice_error_t *err)
{
    outfile_clear (self->file);
    self->full = false;
    if (self->finished)
        return sluice_fail (err, SLUICE_EOUTPUT, "the output is finished already");
    if (writer_poll (self, true, err) < 0)
        return writer_failed (self);
    if (!self->indexed && make_indexes (self, err) < 0)
        return writer_failed (self);
    if (!self->status) {
        self->seconds = clock_seconds () - self->began;
        self->status = strdup (status);
        if (!self->status)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    self->changed = true;
    if (writer_snapshot (self, err) < 0 || trim (self, err) < 0)
        return writer_failed (self);
    fsync (outfile_fd (self->file)); /* the size; the content is durable */
    self->finished = true;
    int rc = outpath_still_there (self->path, outfile_fd (self->file), true, err);
    outpath_release (&self->path);
    return rc;
}

bool writer_deflates (const writer_t *self, uint32_t table)
{
    return self->deflate && table != self->ntables &&
           table_is_content (self->tables[table].name);
}

/* ---- totals --------------------------------------------------------------------- */

void writer_taken (const writer_t *self, writer_taken_t *taken)
{
    *taken = self->taken.sums;
}

bool writer_taken_range (const writer_t *self, size_t i, uint64_t *first, uint64_t *stop)
{
    if (i >= self->taken.nranges)
        return false;
    *first = self->taken.ranges[i].first;
    *stop = self->taken.ranges[i].stop;
    return true;
}

void writer_durable (const writer_t *self, writer_totals_t *totals)
{
    *totals = self->durable;
}

void writer_totals (const writer_t *self, writer_totals_t *totals)
{
    *totals = (writer_totals_t){
        .tasks = self->ntasks,
        .items = self->nitems,
        .rows = self->nrows,
        .bytes = self->nbytes,
        .snapshots = self->nsnapshots,
        .file_bytes = space_end (self->space),
        .direct = outfile_direct (self->file),
    };
    for (uint32_t i = 0; i < self->nall; i++) {
        const chunks_t *chunks = self->tables[i].chunks;
        if (i == self->ntables)
            continue;
        totals->stored += chunks_stored (chunks);
        totals->extents += chunks_full (chunks) + (chunks_open_rows (chunks) ? 1u : 0u);
    }
    memcpy (totals->digest, self->digest, DIGEST_BYTES);
}
