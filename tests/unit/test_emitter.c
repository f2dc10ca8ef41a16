/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/emitter.h"
#include "proto/codec.h"
#include "proto/xxh3.h"

enum { MOST_SEGMENTS = 8, MOST_TABLES = 5 };

/* A sink that checks each piece and keeps the rows of each table. */
typedef struct {
    unsigned nsegments; /* how many there may be */
    uint32_t bytes;
    uint8_t *segment[MOST_SEGMENTS];
    bool taken[MOST_SEGMENTS];
    size_t ntables;
    uint64_t row_bytes[MOST_TABLES + 1];
    uint64_t chunk[MOST_TABLES + 1];
    uint8_t *rows[MOST_TABLES + 1]; /* bytes in order of arrival */
    uint64_t nbytes[MOST_TABLES + 1];
    unsigned pieces, full, shorts, done;
    unsigned refuse_after; /* put fails from this piece on; 0: never */
    unsigned dry_after;    /* no segment after so many; 0: never */
    unsigned gets;
    uint64_t take_back; /* yield says true from this item on */
    piece_t last;
    emitter_sink_t sink;
} box_t;

static void *box_get (void *arg, bool wait, uint32_t *handle)
{
    box_t *box = arg;
    box->gets++;
    if (box->dry_after && box->gets > box->dry_after)
        return NULL;
    for (uint32_t i = 0; i < box->nsegments; i++)
        if (!box->taken[i]) {
            box->taken[i] = true;
            *handle = i + 100;
            return box->segment[i];
        }
    cr_assert_not (wait, "waited for a segment while it held all of them");
    return NULL;
}

/* Put bytes behind others, whose room grows by powers of two. */
static void add_bytes (uint8_t **all, uint64_t *have, const void *data, size_t n)
{
    uint64_t room = 1;
    while (room < *have)
        room *= 2;
    if (!*all || *have + n > room) {
        while (room < *have + n)
            room *= 2;
        *all = realloc (*all, (size_t) room);
    }
    memcpy (*all + *have, data, n);
    *have += n;
}

static void check_part (box_t *box, const piece_t *piece, const part_t *part,
                        const uint8_t *data)
{
    cr_assert_leq (part->table, box->ntables);
    cr_assert_eq (part->xxh3, XXH3_64bits (data, (size_t) part->bytes));
    uint64_t row_bytes = box->row_bytes[part->table];
    cr_assert_gt (part->rows, 0);
    cr_assert_eq (part->rows * row_bytes, part->bytes);
    cr_assert_leq (part->bytes, box->chunk[part->table]);
    cr_assert_eq (part->row * row_bytes, box->nbytes[part->table]);
    if (piece->kind == PIECE_DATA)
        *(part->bytes == box->chunk[part->table] ? &box->full : &box->shorts) += 1;
    add_bytes (&box->rows[part->table], &box->nbytes[part->table], data,
               (size_t) part->bytes);
}

static unsigned all_deflated; /* parts that were */

/* The rows of a part that was compressed, which only whole chunks are. */
static uint8_t *open_part (box_t *box, const part_t *part, const uint8_t *data)
{
    sluice_error_t err = {0};
    uint8_t *rows = malloc ((size_t) part->bytes);
    codec_t *codec = codec_new (0, 0, &err);
    cr_assert_lt (part->table, box->ntables);
    cr_assert_eq (part->bytes, box->chunk[part->table]);
    cr_assert_eq (part->deflated_xxh3, XXH3_64bits (data, (size_t) part->deflated));
    cr_assert_eq (codec_inflate (codec, data, (size_t) part->deflated, rows,
                                 (size_t) part->bytes,
                                 (size_t) box->row_bytes[part->table], &err),
                  0, "%s", err.text);
    codec_destroy (&codec);
    all_deflated++;
    return rows;
}

static int box_put (void *arg, uint32_t handle, const piece_t *piece)
{
    box_t *box = arg;
    uint32_t i = handle - 100;
    cr_assert_lt (i, box->nsegments);
    cr_assert (box->taken[i]);
    cr_assert_leq (piece->payload, box->bytes);
    box->taken[i] = false;
    box->pieces++;
    if (box->refuse_after && box->pieces >= box->refuse_after)
        return -1;
    cr_assert_eq (box->done, 0, "a piece behind DONE");
    uint64_t at = 0;
    for (size_t p = 0; p < piece->nparts; p++) {
        const part_t *part = &piece->parts[p];
        uint8_t *rows = part->deflated ? open_part (box, part, box->segment[i]) : NULL;
        check_part (box, piece, part, rows ? rows : box->segment[i] + at);
        free (rows);
        at += part_payload (part);
    }
    cr_assert_eq (at, piece->payload);
    if (piece->kind == PIECE_DONE)
        box->done++;
    else
        cr_assert (piece->kind == PIECE_DATA && piece->nparts == 1);

    /* What was said must also survive the way to the master. */
    uint8_t header[PIECE_MAX_HEADER];
    size_t n = piece_encode (piece, header);
    sluice_error_t err;
    cr_assert_gt (n, 0);
    cr_assert_eq (piece_decode (header, n, piece->payload, &box->last, &err), 0, "%s",
                  err.text);
    memset (box->segment[i], 0xa5, box->bytes);
    return 0;
}

static void box_give_back (void *arg, uint32_t handle)
{
    box_t *box = arg;
    cr_assert (box->taken[handle - 100]);
    box->taken[handle - 100] = false;
}

static bool box_yield (void *arg, uint64_t next)
{
    box_t *box = arg;
    return next >= box->take_back;
}

static void box_empty (box_t *box)
{
    for (size_t i = 0; i <= MOST_TABLES; i++) {
        free (box->rows[i]);
        box->rows[i] = NULL;
        box->nbytes[i] = 0;
    }
    box->pieces = box->full = box->shorts = box->done = box->gets = 0;
}

static box_t *box_new (const table_t *tables, size_t ntables, unsigned nsegments)
{
    box_t *box = calloc (1, sizeof *box);
    sluice_error_t err;
    box->nsegments = nsegments;
    box->ntables = ntables;
    box->take_back = UINT64_MAX;
    box->bytes = segment_for (tables, ntables, &err);
    cr_assert_gt (box->bytes, 0, "%s", err.text);
    for (unsigned i = 0; i < nsegments; i++)
        box->segment[i] = malloc (box->bytes);
    for (size_t i = 0; i < ntables; i++) {
        sluice_dtype_t *dtype =
            sluice_dtype_parse (tables[i].dtype, strlen (tables[i].dtype), &err);
        box->row_bytes[i] = sluice_dtype_size (dtype);
        box->chunk[i] = tables[i].chunk_rows * box->row_bytes[i];
        sluice_dtype_destroy (&dtype);
    }
    box->row_bytes[ntables] = sizeof (item_rows_t);
    box->chunk[ntables] = chunk_rows_for (sizeof (item_rows_t)) * sizeof (item_rows_t);
    box->sink = (emitter_sink_t){.arg = box,
                                 .get = box_get,
                                 .put = box_put,
                                 .give_back = box_give_back,
                                 .yield = box_yield};
    return box;
}

static void box_destroy (box_t *box)
{
    for (unsigned i = 0; i < box->nsegments; i++) {
        cr_expect_not (box->taken[i], "segment %u was not given back", i);
        free (box->segment[i]);
    }
    box_empty (box);
    free (box);
}

static uint32_t level; /* that emitters compress with */

static emitter_t *start (box_t *box, const table_t *tables)
{
    sluice_error_t err;
    emitter_t *emitter = emitter_new (tables, box->ntables, box->bytes, &box->sink, &err);
    cr_assert_not_null (emitter, "%s", err.text);
    cr_assert_eq (emitter_deflate (emitter, level, &err), 0);
    return emitter;
}

static task_t range (uint64_t first, uint64_t stop)
{
    return (task_t){.task = 7, .attempt = 2, .first = first, .stop = stop};
}

static table_t one[] = {{.name = "one", .dtype = "{a:<u8}", .chunk_rows = 100}};

/* ---- any rows, any cut -------------------------------------------------- */

static uint64_t mix (uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* How many rows an item has in a table: often none, sometimes many chunks. */
static uint64_t rows_of (uint64_t seed, uint64_t item, size_t table)
{
    uint64_t h = mix (seed * 1000003 + item * 67 + table);
    switch (h % 7) {
    case 0:
        return 0;
    case 1:
        return h / 7 % 500;
    default:
        return 3;
    }
}

static void fill (uint8_t *data, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        data[i] = (uint8_t) mix (seed + i / 8) ^ (uint8_t) i;
}

typedef struct {
    uint64_t seed, items;
    box_t *box;
    uint8_t *rows[MOST_TABLES]; /* as they should arrive */
    uint64_t nbytes[MOST_TABLES];
    uint8_t digest[DIGEST_BYTES];
} model_t;

/* XXH3-128 over name, NUL, item and rows, without item_hash. */
static void add_digest (model_t *model, const char *table, uint64_t item,
                        const uint8_t *rows, size_t bytes)
{
    size_t name = strlen (table) + 1;
    uint8_t *all = malloc (name + 8 + bytes);
    memcpy (all, table, name);
    for (unsigned i = 0; i < 8; i++)
        all[name + i] = (uint8_t) (item >> (8 * i));
    memcpy (all + name + 8, rows, bytes);
    XXH128_hash_t hash = XXH3_128bits (all, name + 8 + bytes);
    free (all);
    unsigned __int128 sum;
    memcpy (&sum, model->digest, sizeof sum);
    sum += (unsigned __int128) hash.high64 << 64 | hash.low64;
    memcpy (model->digest, &sum, sizeof sum);
}

/* Emit rows, in one of the two ways. */
static int emit (emitter_t *emitter, bool in_place, uint64_t item, unsigned table,
                 const uint8_t *rows, size_t n, size_t row_bytes)
{
    if (!in_place || n == 0)
        return emitter_rows (emitter, item, table, rows, n);
    for (size_t now; n > 0; n -= now, rows += now * row_bytes) {
        now = n;
        void *to = emitter_reserve (emitter, item, table, &now);
        if (!to)
            return -1;
        cr_assert (now > 0 && now <= n);
        memcpy (to, rows, now * row_bytes);
        if (emitter_commit (emitter, table, now) == -1)
            return -1;
    }
    return 0;
}

/* Emit items first <= i < stop, tables mixed, some items in small strokes. */
static void emit_range (model_t *model, emitter_t *emitter, const table_t *tables,
                        uint64_t first, uint64_t stop)
{
    box_t *box = model->box;
    for (uint64_t item = first; item < stop; item++) {
        uint8_t *rows[MOST_TABLES];
        uint64_t n[MOST_TABLES], sent[MOST_TABLES] = {0};
        bool left = false;
        for (size_t t = 0; t < box->ntables; t++) {
            n[t] = rows_of (model->seed, item, t);
            size_t bytes = (size_t) (n[t] * box->row_bytes[t]);
            rows[t] = malloc (bytes + 1);
            fill (rows[t], bytes, mix (model->seed + item * 8 + t));
            add_bytes (&model->rows[t], &model->nbytes[t], rows[t], bytes);
            if (n[t])
                add_digest (model, tables[t].name, item, rows[t], bytes);
            left |= n[t] > 0;
        }
        for (uint64_t stroke = 1; left; stroke++) {
            left = false;
            for (size_t t = 0; t < box->ntables; t++) {
                uint64_t now = 1 + mix (item + stroke) % 64;
                if (now > n[t] - sent[t])
                    now = n[t] - sent[t];
                cr_assert_eq (emit (emitter, mix (item * 8 + t + stroke) & 1, item,
                                    (unsigned) t, rows[t] + sent[t] * box->row_bytes[t],
                                    (size_t) now, (size_t) box->row_bytes[t]),
                              0, "%s", emitter_error (emitter));
                sent[t] += now;
                left |= sent[t] < n[t];
            }
        }
        for (size_t t = 0; t < box->ntables; t++)
            free (rows[t]);
    }
}

/* The table of counts says for each item and table what was emitted. */
static void check_items (const model_t *model, uint64_t first, uint64_t stop)
{
    const box_t *box = model->box;
    const item_rows_t *rows = (const item_rows_t *) (void *) box->rows[box->ntables];
    size_t n = box->nbytes[box->ntables] / sizeof *rows;
    for (uint32_t t = 0; t < box->ntables; t++) {
        uint64_t at = first;
        const item_rows_t *before = NULL;
        for (size_t i = 0; i < n; i++) {
            if (rows[i].table != t)
                continue;
            cr_assert_lt (rows[i].first, rows[i].stop);
            cr_assert_geq (rows[i].first, at);
            for (; at < rows[i].first; at++)
                cr_assert_eq (rows_of (model->seed, at, t), 0);
            for (; at < rows[i].stop; at++)
                cr_assert_eq (rows_of (model->seed, at, t), rows[i].rows);
            cr_assert_not (before && before->stop == rows[i].first &&
                               before->rows == rows[i].rows,
                           "equal neighbours were not merged");
            before = &rows[i];
        }
        for (; at < stop; at++)
            cr_assert_eq (rows_of (model->seed, at, t), 0);
    }
}

/* Emit all items in ranges cut at random; the digest of all. */
static void run_cut (uint64_t seed, const table_t *tables, size_t ntables,
                     unsigned nsegments, uint64_t items, uint64_t longest,
                     uint8_t digest[DIGEST_BYTES])
{
    box_t *box = box_new (tables, ntables, nsegments);
    emitter_t *emitter = start (box, tables);
    memset (digest, 0, DIGEST_BYTES);
    for (uint64_t first = 0; first < items;) {
        uint64_t stop = first + 1 + mix (first + longest) % longest;
        if (stop > items)
            stop = items;
        model_t model = {.seed = seed, .items = items, .box = box};
        task_t task = range (first, stop);
        emitter_begin (emitter, &task);
        emit_range (&model, emitter, tables, first, stop);
        cr_assert_eq (emitter_done (emitter, 1.5, 1.25, 4096), 0, "%s",
                      emitter_error (emitter));
        cr_assert_eq (box->done, 1);
        cr_assert_eq (box->last.first, first);
        cr_assert_eq (box->last.stop, stop);
        cr_assert_eq (box->last.seconds, 1.5);
        cr_assert_eq (box->last.rss, 4096);
        cr_assert_arr_eq (box->last.digest, model.digest, DIGEST_BYTES);
        digest_add (digest, box->last.digest);
        for (size_t t = 0; t < ntables; t++) {
            cr_assert_eq (box->nbytes[t], model.nbytes[t]);
            if (model.nbytes[t])
                cr_assert_arr_eq (box->rows[t], model.rows[t], (size_t) model.nbytes[t]);
            free (model.rows[t]);
        }
        check_items (&model, first, stop);
        box_empty (box);
        first = stop;
    }
    emitter_destroy (&emitter);
    cr_assert_null (emitter);
    box_destroy (box);
}

static table_t several[] = {
    {.name = "gmf_data", .dtype = "{sid:<u4, eid:<u4, gmv:<f4}", .chunk_rows = 1000},
    {.name = "group/b", .dtype = "{x:|u1}", .chunk_rows = 50},
    {.name = "wide", .dtype = "{x:(100)<f8}", .chunk_rows = 1},
    {.name = "d", .dtype = "{x:<u2, y:|S5}", .chunk_rows = 149796},
    {.name = "e", .dtype = "{x:<u8}", .chunk_rows = 131072}};

Test (emitter, puts_rows_together_again_however_items_are_cut)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        size_t ntables = 1 + seed % MOST_TABLES;
        uint64_t items = 200;
        uint8_t whole[DIGEST_BYTES], cut[DIGEST_BYTES];
        run_cut (seed, several, ntables, 6, items, 100000, whole);
        run_cut (seed, several, ntables, 2, items, 97, cut);
        cr_assert_arr_eq (whole, cut, DIGEST_BYTES);
        run_cut (seed, several, ntables, 1, items, 5, cut);
        cr_assert_arr_eq (whole, cut, DIGEST_BYTES);
    }
}

Test (emitter, room_is_refused_as_rows_are)
{
    box_t *box = box_new (one, 1, 1);
    emitter_t *emitter = start (box, one);
    size_t n = 1000;
    cr_assert_null (emitter_reserve (emitter, 5, 0, &n), "no task has begun");
    task_t task = range (5, 9);
    emitter_begin (emitter, &task);
    cr_assert_not_null (emitter_reserve (emitter, 7, 0, &n));
    cr_assert_eq (n, 100, "up to the end of the chunk");
    memset (box->segment[0], 1, box->bytes);
    cr_assert_eq (emitter_commit (emitter, 0, 60), 0);
    cr_assert_not_null (emitter_reserve (emitter, 7, 0, &n));
    cr_assert_eq (n, 40);
    cr_assert_eq (emitter_commit (emitter, 0, 40), 0);
    cr_assert_eq (box->full, 1);
    cr_assert_null (emitter_reserve (emitter, 6, 0, &n));
    cr_assert_not_null (strstr (emitter_error (emitter), "must not decrease"));
    emitter_begin (emitter, &task);
    cr_assert_null (emitter_reserve (emitter, 7, 1, &n));
    cr_assert_not_null (strstr (emitter_error (emitter), "nothing is known"));
    emitter_begin (emitter, &task);
    box->dry_after = 1; /* from now on */
    cr_assert_null (emitter_reserve (emitter, 7, 0, &n));
    cr_assert_str_empty (emitter_error (emitter));
    emitter_destroy (&emitter);
    box_destroy (box);
}

/* Compressed chunks have the same rows, of the same digest, and need no segment more. */
Test (emitter, compresses_whole_chunks)
{
    uint8_t plain[DIGEST_BYTES], deflated[DIGEST_BYTES];
    for (size_t segments = 1; segments <= 6; segments += 5) {
        level = 0;
        run_cut (3, several, MOST_TABLES, (unsigned) segments, 200, 50, plain);
        cr_assert_eq (all_deflated, 0);
        level = 1;
        run_cut (3, several, MOST_TABLES, (unsigned) segments, 200, 50, deflated);
        cr_assert_arr_eq (plain, deflated, DIGEST_BYTES);
        cr_assert_gt (all_deflated, 0);
        all_deflated = 0;
    }
}

/* ---- pieces ------------------------------------------------------------- */

Test (emitter, sends_a_full_chunk_at_once_and_the_tail_with_done)
{
    box_t *box = box_new (one, 1, 3);
    emitter_t *emitter = start (box, one);
    uint64_t rows[250] = {0};
    task_t task = range (5, 6);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 5, 0, rows, 99), 0);
    cr_assert_eq (box->pieces, 0);
    cr_assert_eq (emitter_rows (emitter, 5, 0, rows, 1), 0);
    cr_assert_eq (box->pieces, 1);
    cr_assert_eq (box->last.first, 5);
    cr_assert_eq (box->last.stop, 6);
    cr_assert_eq (box->last.task, 7);
    cr_assert_eq (box->last.attempt, 2);
    cr_assert_eq (emitter_rows (emitter, 5, 0, rows, 250), 0);
    cr_assert_eq (box->full, 3);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->shorts, 0);
    cr_assert_eq (box->last.kind, PIECE_DONE);
    cr_assert_eq (box->last.nparts, 2);
    cr_assert_eq (box->last.parts[0].table, 0);
    cr_assert_eq (box->last.parts[0].row, 300);
    cr_assert_eq (box->last.parts[0].rows, 50);
    cr_assert_eq (box->last.parts[1].table, 1);
    cr_assert_eq (box->last.parts[1].rows, 1);
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, small_tasks_take_one_segment)
{
    box_t *box = box_new (one, 1, 1);
    emitter_t *emitter = start (box, one);
    uint64_t row = 1;
    task_t task = range (0, 50);
    emitter_begin (emitter, &task);
    for (uint64_t i = 0; i < 50; i++)
        cr_assert_eq (emitter_rows (emitter, i, 0, &row, 1), 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->pieces, 1);
    cr_assert_eq (box->gets, 1);
    const item_rows_t *items = (const item_rows_t *) (void *) box->rows[1];
    cr_assert_eq (box->nbytes[1], sizeof *items, "one run of equal items");
    cr_assert (items->first == 0 && items->stop == 50 && items->rows == 1);
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, done_without_rows_has_no_parts)
{
    box_t *box = box_new (one, 1, 1);
    emitter_t *emitter = start (box, one);
    static const uint8_t zeros[DIGEST_BYTES];
    task_t task = range (3, 9);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 4, 0, NULL, 0), 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->last.nparts, 0);
    cr_assert_eq (box->last.payload, 0);
    cr_assert_arr_eq (box->last.digest, zeros, DIGEST_BYTES);
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, sends_the_largest_partial_chunk_when_segments_run_out)
{
    table_t tables[] = {{.name = "a", .dtype = "{a:<u8}", .chunk_rows = 1000},
                        {.name = "b", .dtype = "{a:<u8}", .chunk_rows = 1000},
                        {.name = "c", .dtype = "{a:<u8}", .chunk_rows = 1000}};
    box_t *box = box_new (tables, 3, 2);
    emitter_t *emitter = start (box, tables);
    uint64_t rows[1000] = {0};
    task_t task = range (0, 1);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 0, 0, rows, 10), 0);
    cr_assert_eq (emitter_rows (emitter, 0, 1, rows, 600), 0);
    cr_assert_eq (box->pieces, 0);
    cr_assert_eq (emitter_rows (emitter, 0, 2, rows, 5), 0);
    cr_assert_eq (box->pieces, 1);
    cr_assert_eq (box->shorts, 1);
    cr_assert_eq (box->last.parts[0].table, 1);
    cr_assert_eq (box->last.parts[0].rows, 600);
    cr_assert_eq (emitter_rows (emitter, 0, 1, rows, 7), 0);
    cr_assert_eq (box->last.parts[0].table, 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->nbytes[1], 607 * 8);
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, tails_that_do_not_fit_one_segment_leave_largest_first)
{
    table_t tables[] = {{.name = "a", .dtype = "{a:<u8}", .chunk_rows = 131072},
                        {.name = "b", .dtype = "{a:<u8}", .chunk_rows = 131072},
                        {.name = "c", .dtype = "{a:<u8}", .chunk_rows = 131072}};
    box_t *box = box_new (tables, 3, 4);
    emitter_t *emitter = start (box, tables);
    uint64_t *rows = calloc (131072, sizeof *rows);
    task_t task = range (0, 1);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 0, 0, rows, 50000), 0);
    cr_assert_eq (emitter_rows (emitter, 0, 1, rows, 70000), 0);
    cr_assert_eq (emitter_rows (emitter, 0, 2, rows, 60000), 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->pieces, 2);
    cr_assert_eq (box->shorts, 1);
    cr_assert_eq (box->last.nparts, 3);
    cr_assert_eq (box->last.parts[0].rows, 60000, "the largest is not copied");
    cr_assert_eq (box->nbytes[1], 70000 * 8);
    free (rows);
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, counts_of_many_unlike_items_fill_segments_of_their_own)
{
    box_t *box = box_new (one, 1, 2);
    emitter_t *emitter = start (box, one);
    uint64_t rows[3] = {1, 2, 3};
    uint64_t items = 100000;
    task_t task = range (0, items);
    emitter_begin (emitter, &task);
    for (uint64_t i = 0; i < items; i++)
        cr_assert_eq (emitter_rows (emitter, i, 0, rows, 1 + i % 3), 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->nbytes[1], items * sizeof (item_rows_t));
    const item_rows_t *row = (const item_rows_t *) (void *) box->rows[1];
    for (uint64_t i = 0; i < items; i++)
        cr_assert (row[i].first == i && row[i].stop == i + 1 && row[i].rows == 1 + i % 3);
    emitter_destroy (&emitter);
    box_destroy (box);
}

/* ---- giving back -------------------------------------------------------- */

Test (emitter, yield_ends_the_task_before_next)
{
    box_t *box = box_new (one, 1, 2);
    emitter_t *emitter = start (box, one);
    uint64_t row = 1;
    box->take_back = 0;
    task_t task = range (10, 20);
    emitter_begin (emitter, &task);
    cr_assert_not (emitter_yield (emitter, 10), "the first item is done in any case");
    cr_assert_eq (emitter_rows (emitter, 10, 0, &row, 1), 0);
    box->take_back = 12;
    cr_assert_not (emitter_yield (emitter, 11));
    cr_assert_eq (emitter_item (emitter), 11);
    cr_assert_eq (emitter_rows (emitter, 11, 0, &row, 1), 0);
    cr_assert (emitter_yield (emitter, 12));
    cr_assert (emitter_yield (emitter, 13), "said once, it stays said");
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->last.first, 10);
    cr_assert_eq (box->last.stop, 12);

    /* Rows of what was given back are an error. */
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 10, 0, &row, 1), 0);
    cr_assert (emitter_yield (emitter, 12));
    cr_assert_eq (emitter_rows (emitter, 12, 0, &row, 1), -1);
    cr_assert_not_null (strstr (emitter_error (emitter), "sluice_yield"));
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), -1);
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, yield_for_an_item_already_begun_is_refused)
{
    box_t *box = box_new (one, 1, 2);
    emitter_t *emitter = start (box, one);
    uint64_t row = 1;
    task_t task = range (10, 20);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 12, 0, &row, 1), 0);
    cr_assert (emitter_yield (emitter, 12), "and the task ends");
    cr_assert_not_null (strstr (emitter_error (emitter), "12"));
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), -1);
    emitter_destroy (&emitter);
    box_destroy (box);
}

/* ---- errors ------------------------------------------------------------- */

Test (emitter, refuses_what_a_kernel_must_not_do)
{
    box_t *box = box_new (one, 1, 2);
    emitter_t *emitter = start (box, one);
    uint64_t row = 1;
    task_t task = range (10, 20);
    struct {
        uint64_t item;
        unsigned table;
        size_t n;
        const char *says;
    } bad[] = {
        {15, 1, 1, "table 1"},          {9, 0, 1, "item 9"},
        {20, 0, 1, "item 20"},          {11, 0, 1, "must not decrease"},
        {15, 0, SIZE_MAX, "cannot be"}, {UINT64_MAX, 0, 1, "18446744073709551615"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        emitter_begin (emitter, &task);
        cr_assert_str_eq (emitter_error (emitter), "");
        cr_assert_eq (emitter_rows (emitter, 12, 0, &row, 1), 0);
        cr_assert_eq (emitter_rows (emitter, bad[i].item, bad[i].table, &row, bad[i].n),
                      -1);
        cr_assert_not_null (strstr (emitter_error (emitter), bad[i].says), "%s",
                            emitter_error (emitter));
        cr_assert_eq (emitter_rows (emitter, 15, 0, &row, 1), -1, "it stays ended");
        cr_assert (emitter_yield (emitter, 16));
        cr_assert_eq (emitter_done (emitter, 0, 0, 0), -1);
        emitter_abort (emitter);
        cr_assert_not (box->taken[0] || box->taken[1]);
    }
    cr_assert_eq (box->pieces, 0);
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, ends_when_the_sink_says_so)
{
    box_t *box = box_new (one, 1, 2);
    emitter_t *emitter = start (box, one);
    uint64_t rows[300] = {0};
    task_t task = range (0, 20);

    box->refuse_after = 2;
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 0, 0, rows, 300), -1);
    cr_assert_str_eq (emitter_error (emitter), "", "the kernel did nothing wrong");
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), -1);
    emitter_abort (emitter);

    box_empty (box);
    box->refuse_after = 0;
    box->dry_after = 1;
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 0, 0, rows, 300), -1);
    cr_assert_str_eq (emitter_error (emitter), "");

    /* The next task begins afresh. */
    box->dry_after = 0;
    box_empty (box);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 0, 0, rows, 300), 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->nbytes[0], 2400);
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, abort_forgets_the_task)
{
    box_t *box = box_new (one, 1, 2);
    emitter_t *emitter = start (box, one);
    uint64_t rows[150] = {0};
    task_t task = range (0, 20);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 3, 0, rows, 150), 0);
    cr_assert_eq (emitter_item (emitter), 3);
    emitter_abort (emitter);
    box_empty (box);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_item (emitter), 0);
    cr_assert_eq (emitter_rows (emitter, 1, 0, rows, 1), 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_eq (box->last.parts[0].row, 0);
    cr_assert_eq (box->nbytes[0], 8);
    cr_assert_eq (box->nbytes[1], sizeof (item_rows_t));
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, refuses_tables_that_do_not_fit)
{
    sluice_error_t err = {0};
    emitter_sink_t sink = {0};
    uint32_t segment = segment_for (one, 1, &err);
    cr_assert_gt (segment, 0);
    cr_assert_null (emitter_new (one, 1, segment - 4096, &sink, &err));
    table_t large[] = {{.name = "l", .dtype = "{a:<u8}", .chunk_rows = 1 << 20}};
    cr_assert_eq (segment_for (large, 1, &err), 8 << 20);
    cr_assert_null (emitter_new (large, 1, segment, &sink, &err));
    table_t bad[] = {{.name = "bad", .dtype = "{a:<u9}", .chunk_rows = 1}};
    cr_assert_eq (segment_for (bad, 1, &err), 0);
    cr_assert_not_null (strstr (err.text, "bad"));
    table_t none[] = {{.name = "none", .dtype = "{a:<u8}", .chunk_rows = 0}};
    cr_assert_eq (segment_for (none, 1, &err), 0);
    table_t huge[] = {{.name = "huge", .dtype = "{a:<u8}", .chunk_rows = UINT64_MAX / 4}};
    cr_assert_eq (segment_for (huge, 1, &err), 0);
    table_t many[MSG_MAX_TABLES + 1];
    for (size_t i = 0; i <= MSG_MAX_TABLES; i++)
        many[i] = one[0];
    cr_assert_null (emitter_new (many, MSG_MAX_TABLES + 1, segment, &sink, &err));
}

/* ---- tables that are met late ------------------------------------------- */

/* Keeps what the pieces said of late tables. */
static char said[1000];

static int hear (void *arg, uint32_t handle, const piece_t *piece)
{
    box_t *box = arg;
    box->taken[handle - 100] = false;
    box->pieces++;
    size_t n = strlen (said);
    for (size_t i = 0; i < piece->nlate; i++)
        n += (size_t) snprintf (said + n, sizeof said - n, "%u@%llu %s %s; ",
                                piece->late[i].table,
                                (unsigned long long) piece->late[i].item,
                                piece->late[i].name, piece->late[i].dtype);
    for (size_t i = 0; i < piece->nparts; i++)
        n += (size_t) snprintf (said + n, sizeof said - n, "%u:%llu ",
                                piece->parts[i].table,
                                (unsigned long long) piece->parts[i].rows);
    snprintf (said + n, sizeof said - n, "%s", piece->kind == PIECE_DONE ? "." : "| ");
    return 0;
}

Test (emitter, names_late_tables_once_before_they_are_needed)
{
    box_t *box = box_new (one, 1, 4);
    box->sink.put = hear;
    sluice_error_t err;
    emitter_t *emitter = emitter_new (one, 1, box->bytes, &box->sink, &err);
    cr_assert_not_null (emitter);
    static uint64_t rows[131072];
    task_t task = range (0, 9);
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_table (emitter, "x", "u8", &err), 2, "%s", err.text);
    cr_assert_eq (emitter_table (emitter, "y/z", "(2)<f4", &err), 3);
    cr_assert_eq (emitter_table (emitter, "x", "<u8", &err), 2);
    cr_assert_eq (emitter_table (emitter, one[0].name, one[0].dtype, &err), 0);
    cr_assert_eq (emitter_rows (emitter, 1, 3, rows, 0), 0, "no rows: not named");
    cr_assert_eq (emitter_rows (emitter, 3, 2, rows, 1), 0);
    cr_assert_eq (emitter_rows (emitter, 4, 2, rows, 131072), 0);
    cr_assert_eq (emitter_rows (emitter, 5, 3, rows, 7), 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_str_eq (said, "2@3 x <u8; 2:131072 | 3@5 y/z (2)<f4; 3:7 2:1 1:3 .");

    /* Another task: numbers stay, and are named anew. */
    said[0] = 0;
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_rows (emitter, 8, 3, rows, 1), 0);
    cr_assert_eq (emitter_done (emitter, 0, 0, 0), 0);
    cr_assert_str_eq (said, "3@8 y/z (2)<f4; 3:1 1:1 .");

    /* A table is of one dtype; one that only an earlier task had is no hindrance. */
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_table (emitter, "x", "<f8", &err), 4);
    cr_assert_eq (emitter_table (emitter, "x", "<u8", &err), -1);
    cr_assert_not_null (strstr (err.text, "of dtype <u8: it is of dtype <f8"), "%s",
                        err.text);
    cr_assert_str_eq (emitter_error (emitter), err.text);
    cr_assert_eq (emitter_rows (emitter, 8, 0, rows, 1), -1, "the task has ended");
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_table (emitter, "x", "<f8", &err), 4);
    cr_assert_eq (emitter_rows (emitter, 0, 2, rows, 1), -1, "by number too");
    emitter_destroy (&emitter);
    box_destroy (box);
}

Test (emitter, refuses_late_tables_that_cannot_be)
{
    static const struct {
        const char *name, *dtype, *says;
    } bad[] = {{"", "<u8", "cannot name"},
               {NULL, "<u8", "without a name"},
               {"t", NULL, "without a name"},
               {"t", "{a:", "table t"},
               {"t", "{a:|u1@0, b:<f8@8}#16", "packed"},
               {"t", "(200000)<f8", "must be declared in plan"},
               {"sluice", "<u8", "Sluice's own"},
               {"../t", "<u8", "cannot name"}};
    box_t *box = box_new (one, 1, 2);
    emitter_t *emitter = start (box, one);
    sluice_error_t err;
    task_t task = range (0, 9);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        emitter_begin (emitter, &task);
        cr_assert_eq (emitter_table (emitter, bad[i].name, bad[i].dtype, &err), -1);
        cr_assert_not_null (strstr (err.text, bad[i].says), "%s", err.text);
        cr_assert_eq (emitter_done (emitter, 0, 0, 0), -1);
    }
    emitter_begin (emitter, &task);
    cr_assert_eq (emitter_table (emitter, one[0].name, "<f4", &err), -1);
    cr_assert_not_null (strstr (err.text, "the plan declares it"), "%s", err.text);
    char name[200];
    emitter_begin (emitter, &task);
    for (int i = 0; i <= PIECE_MAX_LATE; i++) {
        snprintf (name, sizeof name, "t%d", i);
        cr_assert_eq (emitter_table (emitter, name, "<u8", &err),
                      i < PIECE_MAX_LATE ? 2 + i : -1);
    }
    cr_assert_not_null (strstr (err.text, "64 tables"), "%s", err.text);
    emitter_destroy (&emitter);
    emitter = start (box, one);
    emitter_begin (emitter, &task);
    int made = 0;
    for (bool more = true; more; made += more) {
        snprintf (name, sizeof name, "%0150d", made);
        more = emitter_table (emitter, name, "<u8", &err) >= 0;
    }
    cr_assert_eq (made, PIECE_LATE_BYTES / 155);
    emitter_destroy (&emitter);
    box_destroy (box);
}
