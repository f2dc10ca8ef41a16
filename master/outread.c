/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/outread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "calc/h5array.h"

enum { CACHED_CHUNKS = 4 }; /* chunks of packed pieces are met several times */

static int damaged (const output_t *output, sluice_error_t *err)
{
    if (err && err->code != SLUICE_ESYSTEM)
        err->code = SLUICE_EOUTPUT;
    return sluice_fail_at (err, "%s", output->path);
}

static hid_t open_cached (const output_t *output, const char *name, uint64_t chunk_bytes)
{
    hid_t plist = H5Pcreate (H5P_DATASET_ACCESS);
    H5Pset_chunk_cache (plist, 101, CACHED_CHUNKS * (size_t) chunk_bytes, 0.75);
    hid_t set = H5Dopen2 (output->file, name, plist);
    H5Pclose (plist);
    return set;
}

/* How its rows lie in the file. */
static int look_at_chunks (rows_t *rows)
{
    hid_t plist = H5Dget_create_plist (rows->set);
    hsize_t chunk = 0;
    int rc = plist >= 0 && H5Pget_layout (plist) == H5D_CHUNKED &&
                     H5Pget_chunk (plist, 1, &chunk) == 1
                 ? 0
                 : -1;
    rows->chunk_bytes = chunk * rows->row_bytes;
    rows->filtered = rc == 0 && H5Pget_nfilters (plist) > 0;
    if (plist >= 0)
        H5Pclose (plist);
    return rc;
}

/* A compressed chunk that does not fit the cache would be decompressed for each read. */
static int open_wider (rows_t *rows, const output_t *output)
{
    if (!rows->filtered || rows->chunk_bytes <= CACHED_CHUNKS * (uint64_t) CHUNK_BYTES)
        return 0;
    H5Dclose (rows->set);
    rows->set = open_cached (output, rows->name, rows->chunk_bytes / CACHED_CHUNKS + 1);
    return rows->set >= 0 ? 0 : -1;
}

int rows_open (rows_t *rows, const output_t *output, const char *name, uint64_t row_bytes,
               sluice_error_t *err)
{
    *rows = (rows_t){.set = -1, .type = -1, .name = strdup (name)};
    if (!rows->name)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    hid_t space = -1;
    hsize_t n = 0;
    rows->set = open_cached (output, name, CHUNK_BYTES);
    if (rows->set >= 0) {
        rows->type = H5Dget_type (rows->set);
        space = H5Dget_space (rows->set);
    }
    if (rows->type < 0 || space < 0 || H5Sget_simple_extent_ndims (space) != 1 ||
        H5Sget_simple_extent_dims (space, &n, NULL) < 0) {
        h5_fail (err, SLUICE_EOUTPUT, "%s: table %s cannot be opened", output->path,
                 name);
        if (space >= 0)
            H5Sclose (space);
        rows_close (rows);
        return -1;
    }
    H5Sclose (space);
    rows->rows = n;
    rows->row_bytes = H5Tget_size (rows->type);
    if (look_at_chunks (rows) < 0 || open_wider (rows, output) < 0) {
        h5_fail (err, SLUICE_EOUTPUT, "%s: table %s cannot be opened", output->path,
                 name);
        rows_close (rows);
        return -1;
    }
    if (row_bytes && rows->row_bytes != row_bytes) {
        sluice_fail (err, SLUICE_EOUTPUT, "%s: table %s has rows of %llu bytes, not %llu",
                     output->path, name, (unsigned long long) rows->row_bytes,
                     (unsigned long long) row_bytes);
        rows_close (rows);
        return -1;
    }
    return 0;
}

void rows_close (rows_t *rows)
{
    if (rows->type > 0)
        H5Tclose (rows->type);
    if (rows->set > 0)
        H5Dclose (rows->set);
    free (rows->name);
    free (rows->dtype);
    *rows = (rows_t){.set = -1, .type = -1};
}

int rows_read (const rows_t *rows, uint64_t start, uint64_t n, void *out,
               sluice_error_t *err)
{
    if (start > rows->rows || n > rows->rows - start)
        return sluice_fail (
            err, SLUICE_EOUTPUT, "table %s has no rows %llu to %llu, but %llu in all",
            rows->name, (unsigned long long) start, (unsigned long long) (start + n),
            (unsigned long long) rows->rows);
    if (!n)
        return 0;
    hsize_t from = start, count = n;
    hid_t space = H5Dget_space (rows->set), memory = H5Screate_simple (1, &count, NULL);
    int rc = -1;
    if (space >= 0 && memory >= 0 &&
        H5Sselect_hyperslab (space, H5S_SELECT_SET, &from, NULL, &count, NULL) >= 0 &&
        H5Dread (rows->set, rows->type, memory, space, H5P_DEFAULT, out) >= 0)
        rc = 0;
    if (rc < 0)
        h5_fail (err, SLUICE_EOUTPUT, "table %s: rows %llu to %llu cannot be read",
                 rows->name, (unsigned long long) start,
                 (unsigned long long) (start + n));
    if (memory >= 0)
        H5Sclose (memory);
    if (space >= 0)
        H5Sclose (space);
    return rc;
}

/* ---- opening ------------------------------------------------------------------ */

static char *numbered (const output_t *self, const char *what, size_t i,
                       sluice_error_t *err)
{
    char name[40];
    snprintf (name, sizeof name, "%s_%zu", what, i);
    return h5_read_text (self->group, name, err);
}

static int open_tables (output_t *self, sluice_error_t *err)
{
    self->tables = calloc (self->nall, sizeof *self->tables);
    self->outputs = calloc (self->noutputs + 1, sizeof *self->outputs);
    if (!self->tables || !self->outputs)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (size_t i = 0; i < self->nall; i++) {
        if (i == self->ntables)
            continue;
        char *name = numbered (self, "table", i, err);
        int rc = name ? rows_open (self->tables + i, self, name, 0, err) : -1;
        free (name);
        if (rc < 0 || !(self->tables[i].dtype = numbered (self, "dtype", i, err)))
            return -1;
    }
    for (size_t i = 0; i < self->noutputs; i++)
        if (!(self->outputs[i] = numbered (self, "output", i, err)))
            return -1;
    if (rows_open (self->tables + self->ntables, self, ITEMS_TABLE_NAME,
                   sizeof (item_rows_t), err) < 0 ||
        rows_open (&self->index, self, "sluice/index", sizeof (index_row_t), err) < 0 ||
        rows_open (&self->tasks, self, "sluice/tasks", sizeof (task_row_t), err) < 0 ||
        rows_open (&self->nodes, self, "sluice/nodes", 0, err) < 0 ||
        rows_open (&self->failures, self, "sluice/failures", 0, err) < 0)
        return -1;
    return 0;
}

static int read_about (output_t *self, sluice_error_t *err)
{
    uint64_t ntables, late = 0, noutputs;
    if (!(self->run = h5_read_text (self->group, "run", err)) ||
        !(self->job = h5_read_text (self->group, "job", err)) ||
        !(self->kernel = h5_read_text (self->group, "kernel", err)) ||
        !(self->status = h5_read_text (self->group, "status", err)) ||
        !(self->started = h5_read_text (self->group, "started", err)) ||
        h5_read_f64 (self->group, "seconds", &self->seconds, err) < 0 ||
        h5_read_u64 (self->group, "seed", &self->seed, err) < 0 ||
        h5_read_u64 (self->group, "items", &self->items, err) < 0 ||
        h5_read_u64 (self->group, "tables", &ntables, err) < 0 ||
        h5_read_u64 (self->group, "outputs", &noutputs, err) < 0)
        return -1;
    if (H5Aexists (self->group, "late") > 0 &&
        h5_read_u64 (self->group, "late", &late, err) < 0)
        return -1;
    uint64_t longer = 0;
    if (H5Aexists (self->group, "longer_chunks") > 0 &&
        h5_read_u64 (self->group, "longer_chunks", &longer, err) < 0)
        return -1;
    self->longer = longer != 0;
    if (H5Aexists (self->group, "resumed") > 0 &&
        h5_read_u64 (self->group, "resumed", &self->resumed, err) < 0)
        return -1;
    if (H5Aexists (self->group, "digest") > 0)
        self->digest = h5_read_text (self->group, "digest", err);
    else
        self->digest = strdup ("");
    if (!self->digest)
        return -1;
    if (ntables > MSG_MAX_TABLES || late > PIECE_MAX_LATE || noutputs > 1 << 20)
        return sluice_fail (err, SLUICE_EOUTPUT,
                            "%llu tables, %llu met late and %llu outputs",
                            (unsigned long long) ntables, (unsigned long long) late,
                            (unsigned long long) noutputs);
    self->ntables = (size_t) ntables;
    self->nall = (size_t) (ntables + 1 + late);
    self->noutputs = (size_t) noutputs;
    return 0;
}

static int open_file (output_t *self, sluice_error_t *err)
{
    struct stat st;
    if (stat (self->path, &st) < 0)
        return sluice_fail (err, SLUICE_EINPUT, "%s: %s", self->path, strerror (errno));
    self->file_bytes = (uint64_t) st.st_size;
    htri_t is = S_ISREG (st.st_mode) ? H5Fis_hdf5 (self->path) : 0;
    if (is == 0)
        return sluice_fail (err, SLUICE_EINPUT, "%s: is not an HDF5 file", self->path);
    self->file = H5Fopen (self->path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (self->file < 0)
        return h5_fail (err, SLUICE_EOUTPUT, "%s: cannot be opened", self->path);
    htri_t there = H5Lexists (self->file, "sluice", H5P_DEFAULT);
    if (there > 0)
        self->group = H5Gopen2 (self->file, "sluice", H5P_DEFAULT);
    if (there < 0 || (there > 0 && self->group < 0))
        return h5_fail (err, SLUICE_EOUTPUT, "%s: cannot be read", self->path);
    if (!there || H5Aexists (self->group, "run") <= 0)
        return sluice_fail (err, SLUICE_EINPUT, "%s: is not an output of Sluice",
                            self->path);
    return 0;
}

output_t *output_open (const char *path, sluice_error_t *err)
{
    h5_quiet ();
    output_t *self = calloc (1, sizeof *self);
    if (!self || !(self->path = strdup (path))) {
        free (self);
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->file = self->group = -1;
    if (open_file (self, err) < 0)
        output_close (&self);
    else if (read_about (self, err) < 0 || open_tables (self, err) < 0) {
        damaged (self, err);
        output_close (&self);
    }
    return self;
}

void output_close (output_t **self_p)
{
    output_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; self->tables && i < self->nall; i++)
        rows_close (self->tables + i);
    for (size_t i = 0; self->outputs && i < self->noutputs; i++)
        free (self->outputs[i]);
    rows_close (&self->index);
    rows_close (&self->tasks);
    rows_close (&self->nodes);
    rows_close (&self->failures);
    free (self->tables);
    free (self->outputs);
    free (self->run);
    free (self->job);
    free (self->kernel);
    free (self->status);
    free (self->started);
    free (self->digest);
    if (self->group >= 0)
        H5Gclose (self->group);
    if (self->file >= 0)
        H5Fclose (self->file);
    free (self->path);
    free (self);
    *self_p = NULL;
}

char *output_text (const output_t *output, const char *name)
{
    sluice_error_t why = {0};
    return H5Aexists (output->group, name) > 0 ? h5_read_text (output->group, name, &why)
                                               : NULL;
}

bool output_finished (const output_t *self)
{
    return strcmp (self->status, "running") != 0;
}
