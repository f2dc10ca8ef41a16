/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/writer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include "calc/h5array.h"
#include "master/snapshot.h"
#include "master/writer_state.h"
#include "proto/clock.h"
#include "proto/faults.h"

enum {
    RELEASE_BYTES = 1 << 20, /* look for readers when this much would be free */
    AHEAD_BYTES = 32 << 20   /* the file's size runs ahead by this at least */
};
/* Snapshots may take 1 % of the time, but none comes sooner than 0.2 s after the
 * last; one is made each 5 s unless that would be more than 10 %. */
static const double SHARE = 0.01, MOST = 0.1, SOONEST = 0.2, LATEST = 5;

/* A snapshot while it is laid. */
typedef struct {
    h5driver_t *driver;
    uint64_t *tail; /* extents of the end of the ledger */
    size_t ntail;
    uint64_t index_rows;
    bool own_tail; /* they are this snapshot's alone */
} lay_t;

bool writer_alone (const writer_t *self)
{
    int fd = outfile_fd (self->file);
    if (flock (fd, LOCK_EX | LOCK_NB) < 0)
        return false; /* a reader holds it, or we cannot know */
    flock (fd, LOCK_UN);
    return true;
}

int writer_poll (writer_t *self, bool wait, sluice_error_t *err)
{
    if (self->broken) {
        if (err)
            *err = self->why;
        return -1;
    }
    if (!self->under_way)
        return 0;
    sluice_error_t why = {0};
    switch (syncer_ask (self->syncer, wait, &why)) {
    case SYNC_BUSY:
        return 0;
    case SYNC_BROKEN:
        self->broken = true;
        self->why = why;
        break;
    case SYNC_FULL:
        self->under_way = false;
        self->changed = true; /* lay it again */
        self->full = true;
        break;
    case SYNC_DONE:
        self->under_way = false;
        self->nsnapshots++;
        self->durable = self->laid_totals;
        if (space_sealed (self->space) >= RELEASE_BYTES && writer_alone (self))
            space_release (self->space);
        return 0;
    case SYNC_IDLE:
        self->under_way = false;
        return 0;
    }
    if (err)
        *err = why;
    return -1;
}

static int flush_all (writer_t *self, sluice_error_t *err)
{
    for (uint32_t i = 0; i < self->nall; i++)
        if (chunks_flush (self->tables[i].chunks, err) < 0)
            return -1;
    for (uint32_t i = 0; i < self->nall && self->indexed; i++)
        if (i != self->ntables && chunks_flush (self->indexes[i].chunks, err) < 0)
            return -1;
    for (size_t i = 0; i < NSYSTEM; i++)
        if (chunks_flush (self->system[i].chunks, err) < 0)
            return -1;
    return 0;
}

/* The end of the ledger: its open chunk, or a copy of that with the rows that
 * are not settled behind it. */
static int lay_tail (writer_t *self, lay_t *lay, sluice_error_t *err)
{
    const chunks_t *index = self->system[INDEX].chunks;
    uint64_t places[MSG_MAX_TABLES + 1 + PIECE_MAX_LATE] = {0};
    for (uint32_t i = 0; i < self->nall; i++) {
        const chunks_t *chunks = self->tables[i].chunks;
        places[i] = chunks_full (chunks) * chunks_chunk_rows (chunks);
    }
    index_row_t *unsettled;
    size_t n;
    if (ledger_unsettled (self->ledger, places, &unsettled, &n, err) < 0)
        return -1;
    uint64_t open = chunks_open_rows (index), chunk_rows = chunks_chunk_rows (index);
    uint64_t all = open + n, chunk_bytes = chunks_chunk_bytes (index);
    lay->index_rows = chunks_full (index) * chunk_rows + all;
    lay->ntail = (size_t) ((all + chunk_rows - 1) / chunk_rows);
    lay->tail = calloc (lay->ntail + 1, sizeof *lay->tail);
    lay->own_tail = n > 0;
    index_row_t *rows = n ? malloc (all * sizeof *rows) : NULL;
    int rc = 0;
    if (!lay->tail || (n && !rows))
        rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    else if (!n)
        lay->tail[0] = chunks_open_address (index);
    else {
        memcpy (rows + open, unsettled, n * sizeof *rows);
        rc = chunks_read (index, chunks_full (index) * chunk_rows, open, rows, err);
        for (size_t i = 0; i < lay->ntail; i++)
            lay->tail[i] = space_alloc (self->space, chunk_bytes);
        for (size_t i = 0; i < lay->ntail && rc == 0; i++) {
            uint64_t from = i * chunk_rows;
            uint64_t count = all - from < chunk_rows ? all - from : chunk_rows;
            rc = outfile_write (self->file, rows + from, count * sizeof *rows,
                                lay->tail[i], err);
        }
    }
    free (rows);
    free (unsettled);
    return rc;
}

static int lay_outputs (writer_t *self, hid_t file, h5driver_t *driver,
                        sluice_error_t *err)
{
    for (size_t i = 0; i < self->plan->noutputs; i++) {
        const named_array_t *output = self->plan->outputs + i;
        const constant_t *constant = self->constants + i;
        int rc = constant->adopted
                     ? snapshot_array (file, driver, output->name, constant->type,
                                       output->array.ndim, output->array.shape,
                                       constant->address, constant->bytes, err)
                     : h5_write_array (file, output->name, &output->array, err);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int lay_about (writer_t *self, hid_t file, sluice_error_t *err)
{
    char digest[2 * DIGEST_BYTES + 1];
    digest_text (self->digest, digest);
    table_t late[PIECE_MAX_LATE];
    size_t nlate = 0;
    for (uint32_t i = self->ntables + 1; i < self->nall; i++)
        late[nlate++] =
            (table_t){.name = self->tables[i].name, .dtype = self->tables[i].dtype};
    snapshot_about_t about = {
        .run = self->run_hex,
        .job = self->job,
        .kernel = self->kernel,
        .parameters = self->parameters,
        .status = self->status ? self->status : "running",
        .started = self->started,
        .digest = self->status ? digest : NULL,
        .seconds = self->status ? self->seconds : clock_seconds () - self->began,
        .plan = self->plan,
        .late = late,
        .nlate = nlate,
        .resumed = self->taken.times,
        .deflate = self->deflate,
        .identity = self->identity,
    };
    return snapshot_about (file, &about, err);
}

static int lay_objects (writer_t *self, const lay_t *lay, hid_t file, sluice_error_t *err)
{
    if (lay_about (self, file, err) < 0)
        return -1;
    for (uint32_t i = 0; i < self->nall; i++) {
        const wtable_t *table = self->tables + i;
        uint32_t deflate = writer_deflates (self, i) ? self->deflate : 0;
        if (snapshot_chunks (file, lay->driver, table->name, table->type, table->chunks,
                             deflate, err) < 0)
            return -1;
    }
    for (uint32_t i = 0; i < self->nall && self->indexed; i++) {
        const wtable_t *table = self->indexes + i;
        if (i != self->ntables &&
            snapshot_chunks (file, lay->driver, table->name, table->type, table->chunks,
                             0, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < NSYSTEM; i++) {
        const wtable_t *table = self->system + i;
        const chunks_t *chunks = table->chunks;
        snapshot_table_t ledger = {
            .name = table->name,
            .type = table->type,
            .row_bytes = chunks_row_bytes (chunks),
            .chunk_rows = chunks_chunk_rows (chunks),
            .rows = lay->index_rows,
            .full = chunks_places (chunks),
            .nfull = chunks_full (chunks),
            .tail = lay->tail,
            .ntail = lay->ntail,
        };
        int rc = i == INDEX ? snapshot_table (file, lay->driver, &ledger, err)
                            : snapshot_chunks (file, lay->driver, table->name,
                                               table->type, chunks, 0, err);
        if (rc < 0)
            return -1;
    }
    return lay_outputs (self, file, lay->driver, err);
}

static int lay_all (writer_t *self, lay_t *lay, sluice_error_t *err)
{
    if (flush_all (self, err) < 0 || lay_tail (self, lay, err) < 0)
        return -1;
    lay->driver = h5driver_new (self->space, err);
    if (!lay->driver)
        return -1;
    hid_t file = h5driver_create (lay->driver, err);
    if (file < 0)
        return -1;
    int rc = lay_objects (self, lay, file, err);
    if (H5Fclose (file) < 0 && rc == 0)
        rc = h5_fail (err, SLUICE_EOUTPUT, "cannot close a snapshot");
    if (rc < 0 || h5driver_write (lay->driver, self->file, err) < 0)
        return -1;
    /* The size runs ahead by what two snapshots add: a reader takes it first. */
    uint64_t end = h5driver_end (lay->driver);
    if (end > self->snapshot_end && end - self->snapshot_end > self->growth)
        self->growth = end - self->snapshot_end;
    return outfile_grow (self->file, end, end + 2 * self->growth + AHEAD_BYTES, err);
}

/* Undo: nothing in the file refers to any of it. */
static void lay_undo (writer_t *self, lay_t *lay)
{
    if (lay->driver)
        h5driver_free (lay->driver);
    h5driver_destroy (&lay->driver);
    for (size_t i = 0; lay->tail && lay->own_tail && i < lay->ntail; i++)
        if (lay->tail[i])
            space_free (self->space, lay->tail[i],
                        chunks_chunk_bytes (self->system[INDEX].chunks));
    free (lay->tail);
}

static int lay_snapshot (writer_t *self, sluice_error_t *err)
{
    double began = clock_seconds ();
    lay_t lay = {0};
    if (lay_all (self, &lay, err) < 0) {
        lay_undo (self, &lay);
        return -1;
    }
    if (self->snapshot)
        h5driver_retire (self->snapshot);
    h5driver_destroy (&self->snapshot);
    for (size_t i = 0; i < self->ntail; i++)
        space_retire (self->space, self->tail[i],
                      chunks_chunk_bytes (self->system[INDEX].chunks));
    free (self->tail);
    space_seal (self->space);
    self->snapshot = lay.driver;
    h5driver_forget (lay.driver);
    if (!lay.own_tail)
        free (lay.tail);
    self->tail = lay.own_tail ? lay.tail : NULL;
    self->ntail = lay.own_tail ? lay.ntail : 0;
    self->snapshot_end = h5driver_end (lay.driver);
    if (self->snapshot_end > self->largest_end)
        self->largest_end = self->snapshot_end;
    size_t n;
    const void *super = h5driver_super (lay.driver, &n);
    self->changed = false;
    self->under_way = true;
    syncer_give (self->syncer, super, n);
    writer_totals (self, &self->laid_totals);
    self->laid = clock_seconds ();
    self->cost = self->laid - began;
    return 0;
}

int writer_tick (writer_t *self, sluice_error_t *err)
{
    double wait = self->cost / SHARE;
    if (wait < SOONEST)
        wait = SOONEST;
    if (wait > LATEST)
        wait = LATEST > self->cost / MOST ? LATEST : self->cost / MOST;
    if (clock_seconds () - self->laid >= wait && !faults_without (WITHOUT_SNAPSHOTS))
        return writer_lay (self, err);
    self->full = false;
    return writer_poll (self, false, err);
}

int writer_lay (writer_t *self, sluice_error_t *err)
{
    outfile_clear (self->file);
    self->full = false;
    if (writer_poll (self, false, err) < 0)
        return -1;
    if (self->under_way || !self->changed || self->finished)
        return 0;
    if (outpath_still_there (self->path, outfile_fd (self->file), false, err) < 0)
        return writer_failed (self);
    return lay_snapshot (self, err) < 0 ? writer_failed (self) : 0;
}

int writer_snapshot (writer_t *self, sluice_error_t *err)
{
    outfile_clear (self->file);
    self->full = false;
    if (writer_poll (self, true, err) < 0)
        return -1;
    if (!self->changed)
        return 0;
    /* What nobody can find again is not worth computing on for. */
    if (outpath_still_there (self->path, outfile_fd (self->file), false, err) < 0)
        return writer_failed (self);
    if (lay_snapshot (self, err) < 0)
        return writer_failed (self);
    return writer_poll (self, true, err);
}
