/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* make_corpus.c - writes the seeds of the fuzzers: valid samples of each format
 *
 *   make_corpus FOLDER      fills FOLDER/msg, FOLDER/piece, FOLDER/beacon, FOLDER/dtype,
 *                           FOLDER/trace, FOLDER/json
 *
 * The samples are committed (tests/fuzz/corpus); this is how to make them anew
 * when a format has changed.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/beacon.h"
#include "proto/trace.h"
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
    bool seen[3] = {false};
    while (!seen[0] || !seen[1] || !seen[2]) {
        piece_t piece;
        uint8_t header[PIECE_MAX_HEADER];
        random_piece (r, &piece);
        if (piece.kind == PIECE_DONE && (piece.nparts < 2 || piece.nlate < 2))
            continue;
        save ("piece", names[piece.kind], header, piece_encode (&piece, header));
        seen[piece.kind] = true;
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
    return 0;
}
