/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "calc/h5array.h"
#include "proto/codec.h"
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

enum {
    COMPACT_ATTRIBUTES = 1024, /* more than we have: all in one header */
    FILTERS = 3                /* shuffle and deflate, a bit each */
};

static hid_t link_plist (void)
{
    hid_t plist = H5Pcreate (H5P_LINK_CREATE);
    if (plist >= 0) {
        H5Pset_create_intermediate_group (plist, 1);
        H5Pset_char_encoding (plist, H5T_CSET_UTF8);
    }
    return plist;
}

static hid_t dataset_plist (void)
{
    hid_t plist = H5Pcreate (H5P_DATASET_CREATE);
    if (plist >= 0) {
        H5Pset_fill_time (plist, H5D_FILL_TIME_NEVER);
        H5Pset_obj_track_times (plist, 0);
    }
    return plist;
}

/* A chunk of `bytes` as it lies in the file. All filters that `skipped` has a bit for
 * were not used on it. */
static int adopt_chunk (hid_t set, h5driver_t *driver, uint64_t address, uint64_t row,
                        uint64_t bytes, uint32_t skipped)
{
    /* HDF5 hands on these bytes without reading them, and the driver drops them. */
    static const char nothing[1];
    hsize_t at = row;
    h5driver_adopt (driver, address, bytes);
    return H5Dwrite_chunk (set, H5P_DEFAULT, skipped, &at, (size_t) bytes, nothing) >=
                       0 &&
                   h5driver_adopted (driver)
               ? 0
               : -1;
}

static int adopt_chunks (hid_t set, h5driver_t *driver, const snapshot_table_t *table,
                         uint64_t chunk_rows)
{
    uint64_t bytes = chunk_rows * table->row_bytes, row = 0;
    uint32_t all = table->deflate ? FILTERS : 0;
    for (size_t i = 0; i < table->nfull; i++, row += chunk_rows) {
        const chunk_place_t *place = table->full + i;
        if (adopt_chunk (set, driver, place->address, row,
                         place->deflated ? place->deflated : bytes,
                         place->deflated ? 0 : all) < 0)
            return -1;
    }
    for (size_t i = 0; i < table->ntail; i++, row += chunk_rows)
        if (adopt_chunk (set, driver, table->tail[i], row, bytes, all) < 0)
            return -1;
    return 0;
}

int snapshot_table (hid_t file, h5driver_t *driver, const snapshot_table_t *table,
                    sluice_error_t *err)
{
    /* A table of fixed length has the cheapest index of chunks; its chunks
     * may not be longer than itself. */
    hsize_t rows = table->rows, most = rows ? rows : H5S_UNLIMITED;
    hsize_t chunk = rows && rows < table->chunk_rows ? rows : table->chunk_rows;
    hid_t space = H5Screate_simple (1, &rows, &most);
    hid_t links = link_plist (), plist = dataset_plist ();
    hid_t set = -1;
    int rc = -1;
    if (H5Pset_chunk (plist, 1, &chunk) >= 0 &&
        (!table->deflate ||
         (H5Pset_shuffle (plist) >= 0 && H5Pset_deflate (plist, table->deflate) >= 0)))
        set =
            H5Dcreate2 (file, table->name, table->type, space, links, plist, H5P_DEFAULT);
    if (set >= 0)
        rc = adopt_chunks (set, driver, table, chunk);
    if (rc < 0)
        h5_fail (err, SLUICE_EOUTPUT, "cannot lay table %s", table->name);
    if (set >= 0 && H5Dclose (set) < 0 && rc == 0)
        rc = h5_fail (err, SLUICE_EOUTPUT, "cannot close table %s", table->name);
    H5Pclose (plist);
    H5Pclose (links);
    H5Sclose (space);
    return rc;
}

int snapshot_chunks (hid_t file, h5driver_t *driver, const char *name, hid_t type,
                     const chunks_t *chunks, uint32_t deflate, sluice_error_t *err)
{
    uint64_t open = chunks_open_address (chunks);
    snapshot_table_t table = {
        .name = name,
        .type = type,
        .row_bytes = chunks_row_bytes (chunks),
        .chunk_rows = chunks_chunk_rows (chunks),
        .rows = chunks_rows (chunks),
        .full = chunks_places (chunks),
        .nfull = chunks_full (chunks),
        .tail = &open,
        .ntail = chunks_open_rows (chunks) ? 1 : 0,
        .deflate = deflate                    ? deflate
                   : chunks_deflated (chunks) ? DEFLATE_LEVEL
                                              : 0,
    };
    return snapshot_table (file, driver, &table, err);
}

int snapshot_array (hid_t file, h5driver_t *driver, const char *name, hid_t type,
                    unsigned ndim, const uint64_t *shape, uint64_t address,
                    uint64_t bytes, sluice_error_t *err)
{
    hsize_t dims[SLUICE_MAX_DIMS];
    for (unsigned i = 0; i < ndim; i++)
        dims[i] = shape[i];
    hid_t space = H5Screate_simple ((int) ndim, dims, NULL);
    hid_t links = link_plist (), plist = dataset_plist ();
    H5Pset_layout (plist, H5D_CONTIGUOUS);
    H5Pset_alloc_time (plist, H5D_ALLOC_TIME_EARLY);
    h5driver_adopt (driver, address, bytes);
    hid_t set = H5Dcreate2 (file, name, type, space, links, plist, H5P_DEFAULT);
    int rc = set >= 0 && H5Dclose (set) >= 0 && h5driver_adopted (driver) ? 0 : -1;
    if (rc < 0)
        h5_fail (err, SLUICE_EOUTPUT, "cannot lay array %s", name);
    H5Pclose (plist);
    H5Pclose (links);
    H5Sclose (space);
    return rc;
}

bool snapshot_adopts (const sluice_array_t *array)
{
    bool overflow = false;
    size_t bytes = sluice_array_bytes (array, &overflow);
    return array->ndim > 0 && bytes > 0 && !overflow;
}

static int number (hid_t group, const char *what, size_t i, const char *text,
                   sluice_error_t *err)
{
    char name[40];
    snprintf (name, sizeof name, "%s_%zu", what, i);
    return h5_write_text (group, name, text, err);
}

static int write_about (hid_t group, const snapshot_about_t *about, sluice_error_t *err)
{
    const sluice_plan_t *plan = about->plan;
    char compress[CODEC_TEXT];
    codec_text (about->deflate, compress);
    if (h5_write_text (group, "version", PACKAGE_VERSION, err) < 0 ||
        h5_write_text (group, "run", about->run, err) < 0 ||
        h5_write_text (group, "job", about->job, err) < 0 ||
        h5_write_text (group, "kernel", about->kernel, err) < 0 ||
        h5_write_text (group, "parameters", about->parameters, err) < 0 ||
        h5_write_text (group, "status", about->status, err) < 0 ||
        h5_write_text (group, "started", about->started, err) < 0 ||
        h5_write_f64 (group, "seconds", about->seconds, err) < 0 ||
        h5_write_u64 (group, "seed", plan->seed, err) < 0 ||
        h5_write_u64 (group, "items", plan->items, err) < 0 ||
        h5_write_u64 (group, "tables", plan->ntables, err) < 0 ||
        h5_write_u64 (group, "late", about->nlate, err) < 0 ||
        h5_write_u64 (group, "outputs", plan->noutputs, err) < 0 ||
        h5_write_u64 (group, "resumed", about->resumed, err) < 0 ||
        h5_write_text (group, "compress", compress, err) < 0 ||
        identity_write (about->identity, group, err) < 0)
        return -1;
    if (about->digest && h5_write_text (group, "digest", about->digest, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->ntables; i++)
        if (number (group, "table", i, plan->tables[i].name, err) < 0 ||
            number (group, "dtype", i, plan->tables[i].dtype, err) < 0)
            return -1;
    for (size_t i = 0; i < about->nlate; i++) {
        size_t k = plan->ntables + 1 + i; /* as the ledger numbers them */
        if (number (group, "table", k, about->late[i].name, err) < 0 ||
            number (group, "dtype", k, about->late[i].dtype, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < plan->noutputs; i++)
        if (number (group, "output", i, plan->outputs[i].name, err) < 0)
            return -1;
    return 0;
}

int snapshot_about (hid_t file, const snapshot_about_t *about, sluice_error_t *err)
{
    hid_t plist = H5Pcreate (H5P_GROUP_CREATE);
    H5Pset_attr_phase_change (plist, COMPACT_ATTRIBUTES, 0);
    H5Pset_obj_track_times (plist, 0);
    hid_t group = H5Gcreate2 (file, "sluice", H5P_DEFAULT, plist, H5P_DEFAULT);
    H5Pclose (plist);
    if (group < 0)
        return h5_fail (err, SLUICE_EOUTPUT, "cannot make the group /sluice");
    int rc = write_about (group, about, err);
    if (H5Gclose (group) < 0 && rc == 0)
        rc = h5_fail (err, SLUICE_EOUTPUT, "cannot close the group /sluice");
    return rc;
}

void json_text (FILE *out, const char *text)
{
    putc ('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char) *text;
        if (c == '"' || c == '\\')
            fprintf (out, "\\%c", c);
        else if (c < 0x20)
            fprintf (out, "\\u%04x", c);
        else
            putc (c, out);
    }
    putc ('"', out);
}

char *parameters_json (const sluice_params_t *params)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream (&text, &n);
    if (!out)
        return NULL;
    putc ('{', out);
    for (size_t i = 0; params && i < sluice_params_count (params); i++) {
        if (i)
            fputs (", ", out);
        json_text (out, sluice_params_name_at (params, i));
        fputs (": ", out);
        json_text (out, sluice_params_value_at (params, i));
    }
    putc ('}', out);
    bool failed = ferror (out);
    if (fclose (out) != 0 || failed) {
        free (text);
        return NULL;
    }
    return text;
}
