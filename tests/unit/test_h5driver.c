/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "calc/h5array.h"
#include "master/h5driver.h"
#include "master/snapshot.h"
#include "proto/codec.h"

static outfile_t *make_file (char path[64])
{
    strcpy (path, "/tmp/test_h5driver_XXXXXX");
    int fd = mkstemp (path);
    cr_assert_geq (fd, 0);
    return outfile_new (fd, 0);
}

static void put_super (h5driver_t *driver, outfile_t *file)
{
    size_t n;
    const void *super = h5driver_super (driver, &n);
    cr_assert_gt (n, 0);
    cr_assert_leq (n, 512); /* one sector: written whole or not at all */
    cr_assert_eq (outfile_write (file, super, n, 0, NULL), 0);
    cr_assert_eq (outfile_grow (file, h5driver_end (driver), h5driver_end (driver), NULL),
                  0);
}

Test (h5driver, lays_metadata_over_chunks_that_are_there)
{
    char path[64];
    sluice_error_t err = {0};
    outfile_t *file = make_file (path);
    space_t *space = space_new (SPACE_PAGE);
    enum { CHUNK = 1000, CHUNKS = 3, ROWS = 2 * CHUNK + 10 };
    uint64_t at[CHUNKS];
    uint32_t rows[CHUNK];
    for (uint32_t c = CHUNKS; c-- > 0;) { /* in any order */
        for (uint32_t i = 0; i < CHUNK; i++)
            rows[i] = c * CHUNK + i;
        at[c] = space_alloc (space, sizeof rows);
        cr_assert_eq (outfile_write (file, rows, sizeof rows, at[c], &err), 0);
    }
    h5driver_t *driver = h5driver_new (space, &err);
    cr_assert_not_null (driver, "%s", err.text);
    hid_t h5 = h5driver_create (driver, &err);
    cr_assert_geq (h5, 0, "%s", err.text);
    const chunk_place_t full[] = {{at[0], 0}, {at[1], 0}};
    snapshot_table_t table = {
        "deep/table", H5T_STD_U32LE, 4, CHUNK, ROWS, full, 2, at + 2, 1, 0};
    cr_assert_eq (snapshot_table (h5, driver, &table, &err), 0, "%s", err.text);
    table = (snapshot_table_t){"empty", H5T_STD_U32LE, 4, CHUNK, 0, NULL, 0, NULL, 0, 0};
    cr_assert_eq (snapshot_table (h5, driver, &table, &err), 0, "%s", err.text);
    table =
        (snapshot_table_t){"short", H5T_STD_U32LE, 4, CHUNK, 7, NULL, 0, at + 1, 1, 0};
    cr_assert_eq (snapshot_table (h5, driver, &table, &err), 0, "%s", err.text);
    uint64_t shape[2] = {20, 50};
    cr_assert_eq (snapshot_array (h5, driver, "array", H5T_STD_U32LE, 2, shape, at[0],
                                  sizeof rows, &err),
                  0, "%s", err.text);
    cr_assert_eq (h5_write_text (h5, "said", "grüezi", &err), 0);
    cr_assert_geq (H5Fclose (h5), 0);
    cr_assert_eq (h5driver_write (driver, file, &err), 0);
    cr_assert_eq (H5Fis_hdf5 (path), 0, "it exists only with its superblock");
    put_super (driver, file);

    h5 = H5Fopen (path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert_geq (h5, 0);
    sluice_array_t back;
    cr_assert_eq (h5_read_array (h5, "deep/table", &back, &err), 0, "%s", err.text);
    cr_assert_eq (back.shape[0], ROWS);
    for (uint32_t i = 0; i < ROWS; i++)
        cr_assert_eq (((uint32_t *) back.data)[i], i);
    sluice_array_clear (&back);
    cr_assert_eq (h5_read_array (h5, "empty", &back, &err), 0, "%s", err.text);
    cr_assert_eq (back.shape[0], 0);
    sluice_array_clear (&back);
    cr_assert_eq (h5_read_array (h5, "short", &back, &err), 0, "%s", err.text);
    cr_assert_eq (back.shape[0], 7);
    cr_assert_eq (((uint32_t *) back.data)[6], CHUNK + 6);
    sluice_array_clear (&back);
    cr_assert_eq (h5_read_array (h5, "array", &back, &err), 0, "%s", err.text);
    cr_assert_eq (back.shape[1], 50);
    cr_assert_eq (((uint32_t *) back.data)[999], 999);
    sluice_array_clear (&back);
    char *said = h5_read_text (h5, "said", &err);
    cr_assert_str_eq (said, "grüezi");
    free (said);
    H5Fclose (h5);
    h5driver_destroy (&driver);
    space_destroy (&space);
    outfile_destroy (&file);
    unlink (path);
}

/* Chunks of a compressed table, each as it lies in the file: compressed, or not because
 * it would not get smaller, or because it is the open one. */
Test (h5driver, lays_filters_over_some_chunks)
{
    char path[64];
    sluice_error_t err = {0};
    outfile_t *file = make_file (path);
    space_t *space = space_new (SPACE_PAGE);
    enum { CHUNK = 1000, CHUNKS = 4, OPEN = 10 };
    codec_t *codec = codec_new (5, CHUNK * sizeof (uint32_t), &err);
    chunk_place_t full[CHUNKS];
    uint32_t rows[CHUNK];
    for (uint32_t c = 0; c < CHUNKS; c++) {
        for (uint32_t i = 0; i < CHUNK; i++)
            rows[i] = c * CHUNK + i;
        size_t n = c == 1 ? 0 : codec_deflate (codec, rows, sizeof rows, sizeof *rows);
        cr_assert (c == 1 || n > 0);
        full[c] = (chunk_place_t){space_alloc (space, n ? n : sizeof rows), n};
        cr_assert_eq (
            outfile_write (file, rows, n ? n : sizeof rows, full[c].address, &err), 0);
    }
    h5driver_t *driver = h5driver_new (space, &err);
    hid_t h5 = h5driver_create (driver, &err);
    /* one of several chunks, of one chunk and a bit, of one, of less than one, of none */
    const struct {
        const char *name;
        uint64_t rows;
    } tables[] = {{"many", CHUNKS * CHUNK + OPEN},
                  {"two", CHUNK + OPEN},
                  {"one", CHUNK},
                  {"short", OPEN},
                  {"none", 0}};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        uint64_t n = tables[i].rows;
        snapshot_table_t table = {.name = tables[i].name,
                                  .type = H5T_STD_U32LE,
                                  .row_bytes = 4,
                                  .chunk_rows = CHUNK,
                                  .rows = n,
                                  .full = full,
                                  .nfull = n / CHUNK,
                                  .tail = &full[1].address,
                                  .ntail = n % CHUNK ? 1 : 0,
                                  .deflate = 5};
        cr_assert_eq (snapshot_table (h5, driver, &table, &err), 0, "%s", err.text);
    }
    cr_assert_geq (H5Fclose (h5), 0);
    cr_assert_eq (h5driver_write (driver, file, &err), 0);
    put_super (driver, file);

    h5 = H5Fopen (path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert_geq (h5, 0);
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        sluice_array_t back;
        cr_assert_eq (h5_read_array (h5, tables[i].name, &back, &err), 0, "%s: %s",
                      tables[i].name, err.text);
        uint64_t n = tables[i].rows;
        cr_assert_eq (back.shape[0], n);
        for (uint32_t k = 0; k < n; k++)
            cr_assert_eq (((uint32_t *) back.data)[k],
                          k < n / CHUNK * CHUNK ? k : k % CHUNK + CHUNK, "%s, row %u",
                          tables[i].name, k);
        sluice_array_clear (&back);
    }
    H5Fclose (h5);
    h5driver_destroy (&driver);
    codec_destroy (&codec);
    space_destroy (&space);
    outfile_destroy (&file);
    unlink (path);
}

static void take_many (uint32_t deflate)
{
    char path[64];
    sluice_error_t err = {0};
    outfile_t *file = make_file (path);
    space_t *space = space_new (SPACE_PAGE);
    enum { CHUNKS = 20000 };
    chunk_place_t *at = calloc (CHUNKS, sizeof *at);
    for (size_t i = 0; i < CHUNKS; i++)
        at[i] = (chunk_place_t){space_alloc (space, SPACE_PAGE),
                                deflate ? 100 + i % 3000 : 0};
    h5driver_t *driver = h5driver_new (space, &err);
    hid_t h5 = h5driver_create (driver, &err);
    snapshot_table_t table = {"t", H5T_STD_U64LE, 8,    512, 512 * CHUNKS,
                              at,  CHUNKS,        NULL, 0,   deflate};
    cr_assert_eq (snapshot_table (h5, driver, &table, &err), 0, "%s", err.text);
    cr_assert_geq (H5Fclose (h5), 0);
    cr_assert_leq (h5driver_bytes (driver), (deflate ? 30u : 20u) * CHUNKS + (1 << 17));
    uint64_t end = space_end (space), taken = h5driver_bytes (driver);
    h5driver_free (driver);
    cr_assert_eq (space_end (space), end - taken);
    h5driver_destroy (&driver);
    space_destroy (&space);
    outfile_destroy (&file);
    free (at);
    unlink (path);
}

Test (h5driver, takes_many_chunks_in_few_arenas)
{
    take_many (0);
    take_many (3);
}

Test (h5driver, refuses_a_chunk_of_another_size)
{
    sluice_error_t err = {0};
    space_t *space = space_new (SPACE_PAGE);
    h5driver_t *driver = h5driver_new (space, &err);
    hid_t h5 = h5driver_create (driver, &err);
    uint64_t shape[1] = {100}, at = space_alloc (space, 400);
    cr_assert_eq (
        snapshot_array (h5, driver, "a", H5T_STD_U32LE, 1, shape, at, 399, &err), -1);
    cr_assert_eq (err.code, SLUICE_EOUTPUT);
    H5Fclose (h5);
    h5driver_destroy (&driver);
    space_destroy (&space);
}
