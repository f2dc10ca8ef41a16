/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* memmem */
#include <criterion/criterion.h>
#include <msgpack.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "proto/piece.h"
#include "proto/xxh3.h"
#include "tests/unit/random_piece.h"

static sluice_error_t err;

Test (piece, header_and_payload_survive_the_way)
{
    random_t r = {5};
    for (int i = 0; i < 2000; i++) {
        piece_t piece, back;
        uint8_t header[PIECE_MAX_HEADER];
        random_piece (&r, &piece);
        size_t n = piece_encode (&piece, header);
        cr_assert_gt (n, 0);
        /* Parts and late tables that are not there are not set. */
        memset (&back, 0, sizeof back);
        cr_assert_eq (piece_decode (header, n, piece.payload, &back, &err), 0, "%s",
                      err.text);
        for (size_t k = 0; k < piece.nlate && k < back.nlate; k++) {
            cr_assert_str_eq (piece.late[k].name, back.late[k].name);
            cr_assert_str_eq (piece.late[k].dtype, back.late[k].dtype);
            back.late[k].name = piece.late[k].name;
            back.late[k].dtype = piece.late[k].dtype;
        }
        cr_assert_eq (memcmp (&piece, &back, sizeof piece), 0);
    }
}

Test (piece, several_share_a_message)
{
    random_t r = {8};
    uint8_t data[2 * PIECE_MAX_HEADER + 100];
    piece_t pieces[2], back;
    size_t n = 0, headers[2];
    for (int i = 0; i < 2; i++) {
        random_piece (&r, &pieces[i]);
        pieces[i].kind = PIECE_DONE;
        pieces[i].nparts = (size_t) i;
        pieces[i].parts[0] = (part_t){.table = 1, .rows = 4, .bytes = 40};
        pieces[i].payload = i ? 40 : 0;
        n += headers[i] = piece_encode (&pieces[i], data + n);
        memset (data + n, 'x', pieces[i].payload);
        n += pieces[i].payload;
    }
    cr_expect (piece_is_batch (data, n));
    cr_expect_not (piece_is_batch (data, headers[0]), "that is one alone");
    cr_expect_eq (piece_decode (data, n, 0, &back, &err), -1);
    cr_assert_eq (piece_decode_first (data, n, &back, &err), headers[0], "%s", err.text);
    cr_expect_eq (back.task, pieces[0].task);
    const uint8_t *second = data + headers[0];
    cr_assert_eq (piece_decode_first (second, n - headers[0], &back, &err), headers[1]);
    cr_expect_eq (back.task, pieces[1].task);
    cr_expect_eq (back.payload, 40);
    cr_expect_eq (piece_decode_first (second, n - headers[0] - 1, &back, &err), 0);
    cr_expect (strstr (err.text, "not there"), "%s", err.text);
    for (size_t cut = 0; cut < headers[1]; cut++)
        cr_assert_eq (piece_decode_first (second, cut, &back, &err), 0);
}

Test (piece, frames_end_to_end_are_one_msgpack_document)
{
    random_t r = {6};
    piece_t piece;
    random_piece (&r, &piece);
    piece.kind = PIECE_DATA;
    piece.nparts = 1;
    piece.parts[0] = (part_t){.table = 64, .rows = 100, .bytes = 70000};
    piece.payload = 70000;
    uint8_t *document = calloc (1, PIECE_MAX_HEADER + 70000);
    size_t n = piece_encode (&piece, document);
    memset (document + n, 'x', 70000);
    cr_expect (msgpack_is_safe (document, n + 70000, 3));
    msgpack_unpacked tree;
    msgpack_unpacked_init (&tree);
    size_t end = 0;
    cr_assert_eq (msgpack_unpack_next (&tree, (char *) document, n + 70000, &end),
                  MSGPACK_UNPACK_SUCCESS);
    cr_assert_eq (tree.data.type, MSGPACK_OBJECT_ARRAY);
    cr_assert_eq (tree.data.via.array.size, 16);
    const msgpack_object *fields = tree.data.via.array.ptr;
    cr_expect_eq (fields[1].via.u64, piece.token);
    cr_expect_eq (fields[3].via.u64, piece.position);
    cr_expect_eq (fields[15].type, MSGPACK_OBJECT_BIN);
    cr_expect_eq (fields[15].via.bin.size, 70000);
    cr_expect_eq (fields[15].via.bin.ptr[69999], 'x');
    msgpack_unpacked_destroy (&tree);
    free (document);
}

Test (piece, length_is_known_before_token_epoch_and_position)
{
    random_t r = {7};
    uint8_t header[PIECE_MAX_HEADER];
    for (int i = 0; i < 200; i++) {
        piece_t piece;
        random_piece (&r, &piece);
        piece.token = piece.position = piece.epoch = 0;
        size_t n = piece_encode (&piece, header);
        piece.token = piece.position = UINT64_MAX;
        piece.epoch = UINT32_MAX;
        piece.kind = PIECE_EMPTY;
        cr_assert_eq (piece_encode (&piece, header), n);
    }
}

Test (piece, a_stamp_changes_what_it_says)
{
    random_t r = {17};
    uint8_t header[PIECE_MAX_HEADER], wanted[PIECE_MAX_HEADER];
    for (int i = 0; i < 200; i++) {
        piece_t piece;
        random_piece (&r, &piece);
        size_t n = piece_encode (&piece, header);
        piece.epoch = (uint32_t) random_u64 (&r);
        piece.position = random_u64 (&r);
        if (i % 2)
            piece.kind = PIECE_EMPTY;
        piece_stamp (header, piece.epoch, piece.position, i % 2);
        cr_assert_eq (piece_encode (&piece, wanted), n);
        cr_assert_arr_eq (header, wanted, n);
    }
}

Test (piece, the_largest_header_fits)
{
    piece_t piece = {.kind = PIECE_DONE, .nparts = PIECE_MAX_PARTS};
    piece.task = piece.first = piece.stop = piece.rss = UINT64_MAX;
    piece.attempt = UINT32_MAX;
    piece.payload = UINT32_MAX;
    memset (piece.parts, 0xff, sizeof piece.parts);
    for (size_t i = 0; i < PIECE_MAX_PARTS; i++)
        piece.parts[i].deflated = piece.parts[i].deflated_xxh3 = 0;
    uint8_t header[PIECE_MAX_HEADER];
    cr_expect_gt (piece_encode (&piece, header), PIECE_MAX_PARTS * 40);
    piece.nparts++;
    cr_expect_eq (piece_encode (&piece, header), 0);
    piece.nparts = 0;
    piece.payload++;
    cr_expect_eq (piece_encode (&piece, header), 0);
}

Test (piece, late_tables_are_bounded)
{
    piece_t piece = {.kind = PIECE_DONE, .nparts = PIECE_MAX_PARTS}, back;
    piece.task = piece.first = piece.stop = piece.rss = UINT64_MAX;
    piece.attempt = UINT32_MAX;
    for (size_t i = 0; i < PIECE_MAX_PARTS; i++)
        piece.parts[i] = (part_t){.table = 128,
                                  .row = UINT64_MAX - (1 << 20),
                                  .rows = 1 << 20,
                                  .bytes = 1 << 20,
                                  .xxh3 = UINT64_MAX};
    piece.payload = PIECE_MAX_PARTS << 20;
    piece.nlate = PIECE_MAX_LATE;
    char text[PIECE_LATE_BYTES + 1];
    memset (text, 'x', sizeof text);
    text[PIECE_LATE_BYTES - 2 * PIECE_MAX_LATE] = 0; /* the others are empty */
    for (size_t i = 0; i < PIECE_MAX_LATE; i++)
        piece.late[i] = (late_t){(uint32_t) (65 + i), UINT64_MAX, "", i ? "" : text};
    uint8_t header[PIECE_MAX_HEADER];
    size_t n = piece_encode (&piece, header);
    cr_assert_gt (n, 0);
    cr_expect_eq (piece_decode (header, n, piece.payload, &back, &err), 0, "%s",
                  err.text);
    cr_expect_str_eq (back.late[0].dtype, text);
    piece.late[1].name = "y";
    cr_expect_eq (piece_encode (&piece, header), 0, "a byte too many");
    piece.late[1].name = "";
    piece.nlate++;
    cr_expect_eq (piece_encode (&piece, header), 0, "a table too many");
    piece.nlate--;

    piece.late[7].table = piece.late[6].table;
    n = piece_encode (&piece, header);
    cr_expect_eq (piece_decode (header, n, piece.payload, &back, &err), -1, "twice");
    piece.late[7].table = 200;
    n = piece_encode (&piece, header);
    cr_expect_eq (piece_decode (header, n, piece.payload, &back, &err), -1, "too high");
    piece.late[7].table = 72;
    piece.late[7].name = "\xc3";
    piece.late[0].name = piece.late[0].dtype = "";
    n = piece_encode (&piece, header);
    cr_expect_eq (piece_decode (header, n, piece.payload, &back, &err), -1, "not UTF-8");
    piece.late[7].name = "ab";
    n = piece_encode (&piece, header);
    uint8_t *name = memmem (header, n, "ab", 3);
    cr_assert_not_null (name);
    name[1] = 0;
    cr_expect_eq (piece_decode (header, n, piece.payload, &back, &err), -1, "two NULs");
    name[1] = name[2] = 'b';
    cr_expect_eq (piece_decode (header, n, piece.payload, &back, &err), -1, "no NUL");
}

Test (piece, cut_or_changed_headers_are_refused_or_consistent)
{
    random_t r = {8};
    for (int round = 0; round < 50; round++) {
        piece_t piece, back;
        uint8_t header[PIECE_MAX_HEADER], again[PIECE_MAX_HEADER];
        random_piece (&r, &piece);
        size_t n = piece_encode (&piece, header);
        for (size_t cut = 0; cut < n; cut++) {
            uint8_t *part = malloc (cut ? cut : 1);
            memcpy (part, header, cut);
            cr_assert_eq (piece_decode (part, cut, piece.payload, &back, &err), -1);
            free (part);
        }
        header[n] = 0;
        cr_assert_eq (piece_decode (header, n + 1, piece.payload, &back, &err), -1);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            header[bit / 8] ^= (uint8_t) (1u << bit % 8);
            if (piece_decode (header, n, piece.payload, &back, &err) == 0) {
                cr_assert_eq (piece_encode (&back, again), n);
                cr_assert_arr_eq (again, header, n);
            } else
                cr_assert_eq (err.code, SLUICE_EPROTO);
            header[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
    }
}

static int decodes (const piece_t *piece, uint64_t payload)
{
    uint8_t header[PIECE_MAX_HEADER];
    piece_t back;
    size_t n = piece_encode (piece, header);
    return piece_decode (header, n, payload, &back, &err);
}

Test (piece, only_a_chunk_of_its_own_is_compressed)
{
    piece_t good = {
        .kind = PIECE_DATA, .attempt = 1, .stop = 3, .nparts = 1, .payload = 1000};
    good.parts[0] = (part_t){.rows = 1000,
                             .bytes = 16000,
                             .xxh3 = 7,
                             .deflated = 1000,
                             .deflated_xxh3 = UINT64_MAX};
    cr_expect_eq (decodes (&good, 1000), 0, "%s", err.text);
    cr_expect_eq (decodes (&good, 999), -1, "another payload came");
    cr_expect_eq (part_payload (&good.parts[0]), 1000);

    piece_t bad = good;
    bad.payload = bad.parts[0].deflated = 16000;
    cr_expect_eq (decodes (&bad, 16000), -1, "as many bytes as before");
    bad.payload = bad.parts[0].deflated = 14;
    cr_expect_eq (decodes (&bad, 14), -1, "fewer than deflate can");
    bad = good;
    bad.parts[0].deflated = 0;
    bad.payload = 16000;
    cr_expect_eq (decodes (&bad, 16000), -1, "the hash of nothing");
    bad = good;
    bad.kind = PIECE_DONE;
    cr_expect_eq (decodes (&bad, 1000), -1, "a tail");
    bad.kind = PIECE_EMPTY;
    cr_expect_eq (decodes (&bad, 3), 0, "one that was dropped says what it was");
    bad = good;
    bad.nparts = 2;
    uint8_t header[PIECE_MAX_HEADER];
    cr_expect_eq (piece_encode (&bad, header), 0, "two parts");
}

Test (piece, parts_must_tile_the_payload)
{
    piece_t good = {
        .kind = PIECE_DONE, .attempt = 1, .stop = 3, .nparts = 2, .payload = 52};
    good.parts[0] = (part_t){.table = 0, .rows = 5, .bytes = 20};
    good.parts[1] = (part_t){.table = 1, .row = 9, .rows = 4, .bytes = 32};
    cr_expect_eq (decodes (&good, 52), 0, "%s", err.text);
    cr_expect_eq (decodes (&good, 51), -1, "another payload came");

    piece_t bad = good;
    bad.parts[1].bytes = 28;
    cr_expect_eq (decodes (&bad, 52), -1, "a gap");
    bad = good;
    bad.parts[0].rows = 6;
    cr_expect_eq (decodes (&bad, 52), -1, "a broken row");
    bad.parts[0].rows = 0;
    cr_expect_eq (decodes (&bad, 52), -1, "no rows");
    bad = good;
    bad.parts[1].row = UINT64_MAX - 3;
    cr_expect_eq (decodes (&bad, 52), -1, "rows past the end");
    bad = good;
    bad.parts[0].table = MSG_MAX_TABLES + PIECE_MAX_LATE + 1;
    cr_expect_eq (decodes (&bad, 52), -1, "no such table");
    bad = good;
    bad.kind = PIECE_DATA;
    cr_expect_eq (decodes (&bad, 52), -1, "data of two tables");
    bad = good;
    bad.first = 4;
    cr_expect_eq (decodes (&bad, 52), -1, "items backwards");
    bad = good;
    bad.seconds = -1;
    cr_expect_eq (decodes (&bad, 52), -1, "negative time");
    bad.seconds = 0.0 / 0.0;
    cr_expect_eq (decodes (&bad, 52), -1, "no time");
}

Test (piece, done_may_be_bare_and_empty_may_have_any_payload)
{
    piece_t done = {.kind = PIECE_DONE, .attempt = 1, .first = 3, .stop = 3};
    cr_expect_eq (decodes (&done, 0), 0, "%s", err.text);
    piece_t empty = {.kind = PIECE_EMPTY, .payload = 1000};
    cr_expect_eq (decodes (&empty, 0), 0, "%s", err.text);
    cr_expect_eq (decodes (&empty, 1000), 0, "%s", err.text);
    cr_expect_eq (decodes (&empty, 12), 0, "%s", err.text);
}

Test (piece, chunks_have_whole_rows)
{
    cr_expect_eq (chunk_rows_for (1), 1 << 20);
    cr_expect_eq (chunk_rows_for (12), (1 << 20) / 12);
    cr_expect_eq (chunk_rows_for (64 << 20), 1);
    cr_expect_eq (chunk_rows_for (0), 1 << 20);
}

Test (digest, adds_up_in_any_order)
{
    random_t r = {9};
    uint8_t values[50][DIGEST_BYTES], up[DIGEST_BYTES] = {0}, down[DIGEST_BYTES] = {0};
    random_fill (&r, values, sizeof values);
    unsigned __int128 sum = 0, value;
    for (int i = 0; i < 50; i++) {
        digest_add (up, values[i]);
        digest_add (down, values[49 - i]);
        memcpy (&value, values[i], sizeof value); /* this machine is little-endian */
        sum += value;
    }
    cr_expect_arr_eq (up, down, DIGEST_BYTES);
    cr_expect_arr_eq (up, &sum, DIGEST_BYTES);

    uint8_t all[DIGEST_BYTES], one[DIGEST_BYTES] = {1}, zero[DIGEST_BYTES] = {0};
    memset (all, 0xff, sizeof all);
    digest_add (all, one);
    cr_expect_arr_eq (all, zero, DIGEST_BYTES, "the carry goes all the way");
}

Test (digest, of_an_item_is_xxh3_of_what_is_said)
{
    item_hash_t *hash = item_hash_new ();
    uint8_t digest[DIGEST_BYTES], other[DIGEST_BYTES];
    item_hash_begin (hash, "gmf", 0x0102);
    item_hash_rows (hash, "row1", 4);
    item_hash_rows (hash, NULL, 0);
    item_hash_rows (hash, "row2", 4);
    item_hash_end (hash, digest);
    static const char bytes[] = "gmf\0\x02\x01\0\0\0\0\0\0row1row2";
    XXH128_hash_t wanted = XXH3_128bits (bytes, sizeof bytes - 1);
    cr_expect_arr_eq (digest, &wanted.low64, 8);
    cr_expect_arr_eq (digest + 8, &wanted.high64, 8);

    /* As text it is what xxhsum -H2 prints. */
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash (&canonical, wanted);
    char text[2 * DIGEST_BYTES + 1], printed[2 * DIGEST_BYTES + 1];
    for (int i = 0; i < DIGEST_BYTES; i++)
        sprintf (printed + 2 * i, "%02x", canonical.digest[i]);
    digest_text (digest, text);
    cr_expect_str_eq (text, printed);

    item_hash_begin (hash, "gmf", 0x0103);
    item_hash_rows (hash, "row1row2", 8);
    item_hash_end (hash, other);
    cr_expect_neq (memcmp (digest, other, DIGEST_BYTES), 0);
    item_hash_begin (hash, "gmf", 0x0102);
    item_hash_rows (hash, "row1row2", 8);
    item_hash_end (hash, other);
    cr_expect_arr_eq (digest, other, DIGEST_BYTES, "used again, and cut otherwise");
    item_hash_destroy (&hash);
    cr_expect_null (hash);
}

Test (digest, of_declarations_tells_all_parts)
{
    uint8_t a[DIGEST_BYTES], b[DIGEST_BYTES];
    table_digest ("t", "<f8", a);
    table_digest ("t", "<f4", b);
    cr_expect_neq (memcmp (a, b, DIGEST_BYTES), 0);
    table_digest ("t<", "f8", b);
    cr_expect_neq (memcmp (a, b, DIGEST_BYTES), 0);

    sluice_array_t array;
    sluice_array_make (&array, "<f8", 2, (uint64_t[]){2, 3}, NULL);
    cr_assert_eq (array_digest ("sites", &array, a, &err), 0);
    cr_assert_eq (array_digest ("other", &array, b, &err), 0);
    cr_expect_neq (memcmp (a, b, DIGEST_BYTES), 0);
    array.shape[0] = 3;
    array.shape[1] = 2;
    cr_assert_eq (array_digest ("sites", &array, b, &err), 0);
    cr_expect_neq (memcmp (a, b, DIGEST_BYTES), 0, "another shape");
    array.shape[0] = 2;
    array.shape[1] = 3;
    ((double *) array.data)[5] = 1;
    cr_assert_eq (array_digest ("sites", &array, b, &err), 0);
    cr_expect_neq (memcmp (a, b, DIGEST_BYTES), 0, "another value");
    array.shape[0] = UINT64_MAX;
    cr_expect_eq (array_digest ("sites", &array, b, &err), -1);
    sluice_array_clear (&array);
}
