/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* make_corpus.c - writes the seeds of the fuzzers: valid samples of each format
 *
 *   make_corpus FOLDER      fills FOLDER/msg, FOLDER/piece, FOLDER/beacon, FOLDER/dtype,
 *                           FOLDER/trace, FOLDER/json, FOLDER/ledger
 *
 * The samples are committed (tests/fuzz/corpus); this is how to make them anew
 * when a format has changed.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/emitter.h"
#include "master/salvage.h"
#include "master/space.h"
#include "proto/beacon.h"
#include "proto/trace.h"
#include "proto/xxh3.h"
#include "tests/unit/random_piece.h"

static const char *folder;

static void save (const char *kind, const char *name, const void *data, size_t n)
{
    char path[4096];
    snprintf (path, sizeof path, "%s/%s/%s", folder, kind, name);
    FILE *file = fopen (path, "wb");
    if (!file || fwrite (data, 1, n, file) != n || fclose (file) != 0) {
        perror (path);
        exit (1);
    }
}

static void save_messages (random_t *r)
{
    for (unsigned type = MSG_HELLO; type < MSG_TYPES; type++) {
        msg_t msg;
        void *data;
        size_t n;
        sluice_error_t err;
        random_msg (r, (msg_type_t) type, &msg);
        if (msg_encode (&msg, &data, &n, &err) == -1) {
            fprintf (stderr, "%s\n", err.text);
            exit (1);
        }
        save ("msg", msg_type_name ((msg_type_t) type), data, n);
        free (data);
        msg_clear (&msg);
    }
}

static void save_pieces (random_t *r)
{
    static const char *const names[] = {"data", "done", "empty"};
    bool seen[4] = {false};
    while (!seen[0] || !seen[1] || !seen[2] || !seen[3]) {
        piece_t piece;
        uint8_t header[PIECE_MAX_HEADER];
        random_piece (r, &piece);
        if (piece.kind == PIECE_DONE && (piece.nparts < 2 || piece.nlate < 2))
            continue;
        bool deflated = piece.kind == PIECE_DATA && piece.parts[0].deflated;
        save ("piece", deflated ? "deflated" : names[piece.kind], header,
              piece_encode (&piece, header));
        seen[deflated ? 3 : piece.kind] = true;
    }
}

static void save_beacons (void)
{
    static const uint8_t key[KEY_BYTES] = {1, 2, 3}; /* as fuzz_beacon.c */
    cluster_t *cluster = cluster_new (key, NULL);
    beacon_t beacon = {.uuid = {1}, .boot = 7, .share = {2}, .port = 5678, .slots = 8};
    uint8_t data[BEACON_MAX];
    strcpy (beacon.host, "desk-7");
    save ("beacon", "bare", data, beacon_encode (&beacon, cluster, data));
    beacon.naddresses = 2;
    strcpy (beacon.address[0], "192.168.1.7");
    strcpy (beacon.address[1], "2001:db8::7");
    save ("beacon", "addresses", data, beacon_encode (&beacon, cluster, data));
    cluster_destroy (&cluster);
}

static void save_dtypes (void)
{
    static const char *const types[][2] = {
        {"plain", "<f4"},
        {"time", "<M8[25us]"},
        {"subarray", "(3,2)<f8"},
        {"packed", "{sid:<u4, eid:<u4, gmv_PGA:<f4}"},
        {"offsets", "{a:|u1@0, b:<f8@8}#16"},
        {"nested", "{a:{b:(4)<U5, c:{d:|S10}}, SA\\(0.1\\):>c16}"},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        save ("dtype", types[i][0], types[i][1], strlen (types[i][1]));
}

/* Each message and a piece, in one trace. */
static void save_trace (random_t *r)
{
    static char path[4096];
    sluice_error_t err;
    uint8_t header[PIECE_MAX_HEADER];
    piece_t piece;
    snprintf (path, sizeof path, "%s/trace/all", folder);
    trace_t *trace = trace_new (path, "master", &err);
    if (!trace) {
        fprintf (stderr, "%s\n", err.text);
        exit (1);
    }
    for (unsigned type = MSG_HELLO; type < MSG_TYPES; type++) {
        msg_t msg;
        void *data;
        size_t n;
        random_msg (r, (msg_type_t) type, &msg);
        if (msg_encode (&msg, &data, &n, NULL) == 0 && n < 2000) {
            trace_message (trace, TRACE_OUT, "tcp://h2:7000", data, n);
            trace_message (trace, TRACE_IN, "command", data, n / 2);
        }
        free (data);
        msg_clear (&msg);
    }
    random_piece (r, &piece);
    trace_piece (trace, TRACE_IN, "00ff", header, piece_encode (&piece, header),
                 piece.payload);
    trace_destroy (&trace);
}

/* Two tasks of one item each, as fuzz_ledger.c has them: rows in a table, and row counts;
 * in the second file the last piece overlaps, in the third the checksums are to be put
 * right, in the fourth the rows are compressed. */
static void save_ledger (void)
{
    enum { ROW = 16, ROWS = 3, PAGES = 3 };
    static uint8_t file[12 + 2 * sizeof (task_row_t) + 4 * sizeof (index_row_t) +
                        PAGES * SPACE_PAGE];
    item_hash_t *hash = item_hash_new ();
    for (unsigned kind = 0; kind < 4; kind++) {
        task_row_t tasks[2];
        index_row_t index[4];
        uint8_t *pages = file + 12 + sizeof tasks + sizeof index;
        uint64_t items = 10;
        memset (file, 0, sizeof file);
        memcpy (file, &items, sizeof items);
        file[9] = 2;
        file[10] = 4;
        file[11] = kind == 2 ? 3 : kind == 3 ? 4 : 0;
        for (unsigned i = 0; i < 2; i++) {
            const item_rows_t count = {0, i, i + 1, ROWS};
            uint8_t *rows = pages + i * ROW * ROWS, *counts = pages + SPACE_PAGE;
            counts += i * sizeof count;
            for (unsigned k = 0; k < ROW * ROWS; k++) /* as fuzz_ledger.c puts them */
                rows[k] = (uint8_t) (kind == 3 ? i + 1 : i * 100 + k);
            memcpy (counts, &count, sizeof count);
            tasks[i] =
                (task_row_t){.task = i + 1, .attempt = 1, .first = i, .stop = i + 1};
            item_hash_begin (hash, "rows", i);
            item_hash_rows (hash, rows, ROW * ROWS);
            item_hash_end (hash, tasks[i].digest);
            tasks[i].check = task_row_check (tasks + i);
            index[2 * i] = (index_row_t){.task = i + 1,
                                         .attempt = 1,
                                         .first = i,
                                         .stop = i + 1,
                                         .rows = ROWS,
                                         .address = SPACE_PAGE * (i + 1),
                                         .stored = kind == 3 ? 20 : 4 * ROW,
                                         .xxh3 = XXH3_64bits (rows, ROW * ROWS)};
            index[2 * i + 1] = index[2 * i];
            index[2 * i + 1].table = 2;
            index[2 * i + 1].rows = 1;
            index[2 * i + 1].address = SPACE_PAGE * 3;
            index[2 * i + 1].stored = 170 * sizeof count;
            index[2 * i + 1].offset = kind == 1 ? 0 : i * sizeof count;
        }
        /* each table's rows where the ledger says */
        memmove (pages + SPACE_PAGE * 2, pages + SPACE_PAGE, 2 * sizeof (item_rows_t));
        memmove (pages + SPACE_PAGE, pages + ROW * ROWS, ROW * ROWS);
        for (unsigned i = 0; i < 2; i++)
            index[2 * i + 1].xxh3 = XXH3_64bits (
                pages + SPACE_PAGE * 2 + i * sizeof (item_rows_t), sizeof (item_rows_t));
        memcpy (file + 12, tasks, sizeof tasks);
        memcpy (file + 12 + sizeof tasks, index, sizeof index);
        size_t n = (size_t) (pages - file) + 2 * SPACE_PAGE + 2 * sizeof (item_rows_t);
        save ("ledger",
              kind == 3   ? "deflated"
              : kind == 2 ? "checks"
              : kind      ? "overlap"
                          : "whole",
              file, n);
    }
    item_hash_destroy (&hash);
}

static void save_json (void)
{
    static const char *const texts[] = {
        "{\"run\":\"07\",\"runs\":[{\"run\":\"a\\u00e4\\n\"},{}],\"n\":-1.5e3}",
        " [ [], {}, true, false, null, 0, 12, \"\\\\\\\"\" ] "};
    for (size_t i = 0; i < 2; i++)
        save ("json", i ? "array" : "object", texts[i], strlen (texts[i]));
}

int main (int argc, char **argv)
{
    if (argc != 2) {
        fprintf (stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    folder = argv[1];
    random_t r = {1};
    save_messages (&r);
    save_pieces (&r);
    save_beacons ();
    save_dtypes ();
    save_trace (&r);
    save_json ();
    save_ledger ();
    return 0;
}
