/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "tests/unit/random_msg.h"

/* As HDF5 does it, a byte at a time. */
static void shuffle_plainly (const uint8_t *rows, uint8_t *out, size_t bytes,
                             size_t row_bytes)
{
    size_t n = bytes / row_bytes;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < row_bytes; k++)
            out[k * n + i] = rows[i * row_bytes + k];
}

Test (codec, shuffles_rows_of_any_size_and_back)
{
    random_t r = {1};
    for (size_t row_bytes = 1; row_bytes <= 40; row_bytes++)
        for (size_t n = 1; n <= 150; n += n < 20 ? 1 : 13) {
            size_t bytes = n * row_bytes;
            uint8_t *rows = malloc (bytes), *out = malloc (bytes), *want = malloc (bytes);
            random_fill (&r, rows, bytes);
            shuffle_plainly (rows, want, bytes, row_bytes);
            codec_shuffle (rows, out, bytes, row_bytes);
            cr_assert_eq (memcmp (out, want, bytes), 0, "%zu rows of %zu", n, row_bytes);
            memset (want, 0, bytes);
            codec_unshuffle (out, want, bytes, row_bytes);
            cr_assert_eq (memcmp (rows, want, bytes), 0, "%zu rows of %zu", n, row_bytes);
            free (rows);
            free (out);
            free (want);
        }
}

/* Rows that resemble each other: so many bytes of each change. */
static uint8_t *make_rows (random_t *r, size_t n, size_t row_bytes, size_t changing)
{
    uint8_t *rows = malloc (n * row_bytes);
    random_fill (r, rows, row_bytes);
    for (size_t i = 1; i < n; i++) {
        memcpy (rows + i * row_bytes, rows, row_bytes);
        random_fill (r, rows + i * row_bytes, changing);
    }
    return rows;
}

Test (codec, comes_back_as_it_was)
{
    static const size_t sizes[][2] = {{65536, 16}, {1, 1 << 20}, {1, 1},  {1, 7},
                                      {7, 1},      {100, 13},    {3, 99}, {1 << 20, 1}};
    random_t r = {2};
    sluice_error_t err = {0};
    for (uint32_t level = 1; level <= DEFLATE_LEVEL_MOST; level++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (unsigned part = 0; part < 3; part++) {
                size_t n = sizes[i][0], row_bytes = sizes[i][1], bytes = n * row_bytes;
                uint8_t *rows = make_rows (&r, n, row_bytes, row_bytes * part / 2);
                uint8_t *work = malloc (bytes), *back = malloc (bytes);
                memcpy (work, rows, bytes);
                codec_t *codec = codec_new (level, bytes, &err);
                cr_assert_not_null (codec);
                size_t few = codec_deflate (codec, work, bytes, row_bytes);
                cr_assert_lt (few, bytes);
                if (few == 0)
                    cr_assert_eq (memcmp (work, rows, bytes), 0, "nothing has changed");
                else {
                    cr_assert (codec_possible (few, bytes));
                    cr_assert_eq (
                        codec_inflate (codec, work, few, back, bytes, row_bytes, &err), 0,
                        "%s", err.text);
                    cr_assert_eq (memcmp (back, rows, bytes), 0);
                }
                /* What is alike gets smaller, and what is random does not. */
                if (bytes > 4096 && part == 0 && n > 1)
                    cr_assert (few > 0 && few < bytes / 100);
                if (part == 2 && n > 1 && bytes > 4096)
                    cr_assert_eq (few, 0);
                codec_destroy (&codec);
                free (rows);
                free (work);
                free (back);
            }
}

Test (codec, refuses_what_it_did_not_make)
{
    enum { ROWS = 1000, ROW = 12, BYTES = ROWS * ROW };
    random_t r = {3};
    sluice_error_t err = {0};
    uint8_t *rows = make_rows (&r, ROWS, ROW, 3), *back = malloc (BYTES + ROW);
    codec_t *codec = codec_new (4, BYTES, &err), *reader = codec_new (0, 0, &err);
    cr_assert_eq (codec_deflate (reader, rows, BYTES, ROW), 0, "it only reads");
    cr_assert_eq (codec_deflate (codec, back, BYTES + ROW, ROW), 0, "more than it takes");
    size_t n = codec_deflate (codec, rows, BYTES, ROW);
    cr_assert_gt (n, 0);
    cr_expect_eq (codec_inflate (reader, rows, n, back, BYTES, ROW, &err), 0);
    cr_expect_eq (codec_inflate (reader, rows, n, back, BYTES - ROW, ROW, &err), -1);
    cr_expect_eq (err.code, SLUICE_EPROTO);
    cr_expect_eq (codec_inflate (reader, rows, n, back, BYTES + ROW, ROW, &err), -1);
    cr_expect_eq (codec_inflate (reader, rows, n / 2, back, BYTES, ROW, &err), -1);
    for (unsigned i = 0; i < 200; i++) {
        uint8_t *bad = malloc (n); /* a copy of just this size, for ASan */
        memcpy (bad, rows, n);
        bad[random_below (&r, n)] ^= (uint8_t) (1 + random_below (&r, 255));
        cr_expect_eq (codec_inflate (reader, bad, n, back, BYTES, ROW, &err), -1);
        free (bad);
    }
    codec_destroy (&codec);
    codec_destroy (&codec); /* nothing */
    codec_destroy (&reader);
    free (rows);
    free (back);
}

/* HDF5's own filters read it: in a file in memory, chunk by chunk. */
Test (codec, is_what_hdf5_reads)
{
    static const size_t row_sizes[] = {1, 3, 8, 16, 21};
    enum { ROWS = 500 };
    random_t r = {4};
    sluice_error_t err = {0};
    for (size_t i = 0; i < sizeof row_sizes / sizeof *row_sizes; i++) {
        size_t row_bytes = row_sizes[i], bytes = ROWS * row_bytes;
        uint8_t *rows = make_rows (&r, ROWS, row_bytes, row_bytes / 3);
        uint8_t *work = malloc (bytes), *back = calloc (1, bytes);
        memcpy (work, rows, bytes);
        codec_t *codec = codec_new (DEFLATE_LEVEL, bytes, &err);
        size_t n = codec_deflate (codec, work, bytes, row_bytes);
        cr_assert_gt (n, 0);
        hid_t fapl = H5Pcreate (H5P_FILE_ACCESS), dcpl = H5Pcreate (H5P_DATASET_CREATE);
        H5Pset_fapl_core (fapl, 1 << 16, 0);
        hid_t file = H5Fcreate ("codec", H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
        hsize_t chunk = ROWS, at = 0;
        H5Pset_chunk (dcpl, 1, &chunk);
        H5Pset_shuffle (dcpl);
        H5Pset_deflate (dcpl, DEFLATE_LEVEL);
        hid_t type = H5Tcreate (H5T_OPAQUE, row_bytes);
        hid_t space = H5Screate_simple (1, &chunk, NULL);
        hid_t set = H5Dcreate2 (file, "t", type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
        cr_assert_geq (H5Dwrite_chunk (set, H5P_DEFAULT, 0, &at, n, work), 0);
        cr_assert_geq (H5Dread (set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, back), 0);
        cr_assert_eq (memcmp (rows, back, bytes), 0, "rows of %zu bytes", row_bytes);
        H5Dclose (set);
        H5Sclose (space);
        H5Tclose (type);
        H5Fclose (file);
        H5Pclose (dcpl);
        H5Pclose (fapl);
        codec_destroy (&codec);
        free (rows);
        free (work);
        free (back);
    }
}

Test (codec, has_a_name)
{
    uint32_t level = 99;
    char text[CODEC_TEXT];
    sluice_error_t err = {0};
    cr_expect_eq (codec_parse ("none", &level, &err), 0);
    cr_expect_eq (level, 0);
    codec_text (level, text);
    cr_expect_str_eq (text, "none");
    cr_expect_eq (codec_parse ("deflate", &level, &err), 0);
    cr_expect_eq (level, DEFLATE_LEVEL);
    cr_expect_eq (codec_parse ("deflate:9", &level, &err), 0);
    cr_expect_eq (level, 9);
    codec_text (level, text);
    cr_expect_str_eq (text, "deflate:9");
    static const char *const wrong[] = {
        "",          "gzip",     "deflate:",   "deflate:0", "deflate:10",
        "deflate:x", "deflated", "deflate:-1", "none:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_eq (codec_parse (wrong[i], &level, &err), -1, "%s", wrong[i]);
        cr_expect_eq (err.code, SLUICE_EINPUT);
        cr_expect_null (strchr (err.text, '\n'));
    }
}
