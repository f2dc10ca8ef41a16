/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariants I3 and I5: what is written, refused, and durable. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "calc/h5array.h"
#include "master/h5check.h"
#include "play.h"

static char folder[64], path[100];

static void setup (void)
{
    strcpy (folder, "/tmp/test_writer_XXXXXX");
    cr_assert_not_null (mkdtemp (folder));
    snprintf (path, sizeof path, "%s/out.h5", folder);
}

static void teardown (void)
{
    char command[100];
    snprintf (command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq (system (command), 0);
}

TestSuite (writer, .init = setup, .fini = teardown);

static sluice_plan_t plan;
static piece_t sample (uint64_t task);
static uint32_t level; /* chunks are compressed with this one; 0: they are not */

static writer_t *make (const char *where, bool force, sluice_error_t *err)
{
    plan.seed = 5;
    plan.items = 1000;
    plan.ntables = PLAY_TABLES;
    plan.tables = play_tables;
    writer_options_t options = {.path = where,
                                .force = force,
                                .run = play_run,
                                .job = "j",
                                .kernel = "k",
                                .deflate = level,
                                .plan = &plan};
    return writer_new (&options, err);
}

static writer_t *make_here (void)
{
    sluice_error_t err = {0};
    writer_t *writer = make (path, false, &err);
    cr_assert_not_null (writer, "%s", err.text);
    return writer;
}

static int put (void *arg, const piece_t *piece, const void *payload, sluice_error_t *err)
{
    return writer_piece (arg, 3, piece, payload, err);
}

static int play (writer_t *writer, uint64_t task, uint64_t first, uint64_t stop,
                 unsigned short_every, bool no_done, sluice_error_t *err)
{
    player_t player = {.put = put,
                       .arg = writer,
                       .short_every = short_every,
                       .no_done = no_done,
                       .codec = level ? codec_new (level, 1 << 16, err) : NULL};
    int rc = play_task (&player, task, 1, first, stop, err);
    play_clear (&player);
    codec_destroy (&player.codec);
    return rc;
}

static void check (const char *where, const char *status, uint64_t items)
{
    sluice_error_t err = {0};
    check_report_t report;
    cr_assert_eq (check_file (where, &report, &err), 0, "%s", err.text);
    cr_assert_str_eq (report.status, status);
    cr_assert_eq (report.items, items);
}

Test (writer, makes_a_whole_file_from_the_start)
{
    writer_t *writer = make_here ();
    check (path, "running", 0);
    writer_destroy (&writer);
    check (path, "running", 0);
}

static void play_all (void)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    cr_assert_eq (play (writer, 0, 300, 700, 0, false, &err), 0, "%s", err.text);
    cr_assert_eq (play (writer, 1, 0, 300, 7, true, &err), 0, "%s", err.text);
    check (path, "running", 0);
    cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    check (path, "running", 400);
    writer_drop (writer, 1, 1);
    cr_assert_eq (play (writer, 2, 0, 300, 3, false, &err), 0, "%s", err.text);
    cr_assert_eq (play (writer, 3, 700, 1000, 11, false, &err), 0, "%s", err.text);
    writer_totals_t totals;
    writer_totals (writer, &totals);
    uint8_t digest[DIGEST_BYTES];
    play_digest (1000, digest);
    cr_assert_arr_eq (totals.digest, digest, DIGEST_BYTES);
    cr_assert_eq (totals.tasks, 3);
    cr_assert_eq (totals.items, 1000);
    cr_assert_eq (writer_finish (writer, "complete", &err), 0, "%s", err.text);
    writer_destroy (&writer);
    check (path, "complete", 1000);
    check_report_t report;
    cr_assert_eq (check_file (path, &report, &err), 0);
    cr_assert_arr_eq (report.digest, digest, DIGEST_BYTES);
    cr_assert_eq (report.rows, totals.rows);
    cr_assert (level ? totals.stored < totals.bytes : totals.stored == totals.bytes);
}

Test (writer, has_finished_tasks_after_a_snapshot_and_all_at_the_end)
{
    play_all ();
}

Test (writer, takes_compressed_chunks_as_they_come)
{
    level = 6;
    play_all ();
}

/* A chunk that has to be packed after all, since the open one has its place, is
 * decompressed. What a member sends that is none costs it the attempt. */
Test (writer, packs_a_compressed_chunk_if_it_must)
{
    sluice_error_t err = {0};
    level = 1;
    plan.items = 1000;
    writer_t *writer = make_here ();
    enum { TABLE = 2, CHUNK = 1000, ROW = 8, BAD = 599, SMALL = 700 };
    codec_t *codec = codec_new (level, CHUNK * ROW, &err);
    uint8_t rows[CHUNK * ROW], bad[CHUNK * ROW];
    struct {
        uint8_t row[ROW];
        item_rows_t items;
    } __attribute__ ((packed)) last;
    item_hash_t *hash = item_hash_new ();
    for (uint64_t i = 0; i < SMALL; i++) {
        piece_t piece = {.kind = PIECE_DONE,
                         .task = i,
                         .attempt = 1,
                         .first = i,
                         .stop = i + 1,
                         .nparts = 2,
                         .payload = sizeof last};
        memcpy (piece.run, play_run, RUN_BYTES);
        memset (last.row, (int) i, ROW);
        last.items = (item_rows_t){TABLE, i, i + 1, 1};
        /* now and then a chunk before it, one of which is not what it should be */
        bool large = i % 100 == 99, wrong = i == BAD;
        if (large) {
            memset (rows, (int) i, sizeof rows);
            part_t part = {.table = TABLE,
                           .rows = CHUNK,
                           .bytes = sizeof rows,
                           .xxh3 = XXH3_64bits (rows, sizeof rows)};
            memcpy (bad, rows, sizeof rows);
            part.deflated = codec_deflate (codec, bad, sizeof bad, ROW);
            cr_assert_gt (part.deflated, 0);
            if (wrong)
                bad[part.deflated / 2] ^= 0x55;
            part.deflated_xxh3 = XXH3_64bits (bad, part.deflated);
            piece_t data = piece;
            data.kind = PIECE_DATA;
            data.nparts = 1;
            data.parts[0] = part;
            data.payload = part.deflated;
            cr_assert_eq (writer_piece (writer, 0, &data, bad, &err), 0, "%s", err.text);
            last.items.rows += CHUNK;
        }
        item_hash_begin (hash, play_tables[TABLE].name, i);
        item_hash_rows (hash, rows, large ? sizeof rows : 0);
        item_hash_rows (hash, last.row, ROW);
        item_hash_end (hash, piece.digest);
        piece.parts[0] = (part_t){.table = TABLE,
                                  .row = large ? CHUNK : 0,
                                  .rows = 1,
                                  .bytes = ROW,
                                  .xxh3 = XXH3_64bits (last.row, ROW)};
        piece.parts[1] = (part_t){.table = PLAY_TABLES,
                                  .rows = 1,
                                  .bytes = sizeof last.items,
                                  .xxh3 = XXH3_64bits (&last.items, sizeof last.items)};
        int rc = writer_piece (writer, 0, &piece, &last, &err);
        cr_assert_eq (rc, wrong ? -1 : 0, "%u: %s", (unsigned) i, err.text);
        cr_assert (!wrong || err.code == SLUICE_EPROTO);
        if (wrong)
            writer_drop (writer, i, 1);
    }
    writer_totals_t totals;
    writer_totals (writer, &totals);
    cr_expect_eq (totals.tasks, SMALL - 1);
    cr_assert_eq (writer_finish (writer, "failed", &err), 0, "%s", err.text);
    writer_destroy (&writer);
    check (path, "failed", SMALL - 1);
    item_hash_destroy (&hash);
    codec_destroy (&codec);
}

Test (writer, refuses_compressed_pieces_that_cannot_be)
{
    sluice_error_t err = {0};
    uint8_t payload[8000] = {0};
    for (unsigned i = 0; i < 6; i++) {
        level = i == 0 ? 0 : 3;
        writer_t *writer = make_here ();
        piece_t piece = sample (1); /* a whole chunk */
        piece.parts[0] = (part_t){.rows = 500,
                                  .bytes = 8000,
                                  .deflated = 100,
                                  .deflated_xxh3 = XXH3_64bits (payload, 100)};
        piece.payload = 100;
        if (i == 1)
            piece.parts[0].rows = 499, piece.parts[0].bytes = 7984;
        if (i == 2)
            piece.parts[0].table = PLAY_TABLES, piece.parts[0].rows = 250,
            piece.parts[0].bytes = 250 * sizeof (item_rows_t);
        if (i == 3)
            piece.parts[0].deflated_xxh3 ^= 1;
        if (i == 4)
            piece.payload = 99;
        if (i == 5)
            piece.kind = PIECE_DONE;
        cr_expect_eq (writer_piece (writer, 0, &piece, payload, &err), -1, "%u", i);
        cr_expect_eq (err.code, SLUICE_EPROTO, "%u: %s", i, err.text);
        writer_destroy (&writer);
        unlink (path);
    }
}

Test (writer, keeps_the_file_small_when_attempts_die)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    writer_totals_t before, after;
    for (uint64_t i = 0; i < 50; i++) {
        cr_assert_eq (play (writer, i, 0, 500, 5, true, &err), 0, "%s", err.text);
        writer_drop (writer, i, 1);
        if (i == 0)
            writer_totals (writer, &before);
    }
    writer_totals (writer, &after);
    cr_assert_eq (before.file_bytes, after.file_bytes);
    writer_destroy (&writer);
}

Test (writer, reuses_the_space_of_old_snapshots)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    writer_totals_t totals;
    for (uint64_t i = 0; i < 200; i++) {
        cr_assert_eq (play (writer, i, i, i + 1, 0, false, &err), 0, "%s", err.text);
        cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    }
    writer_totals (writer, &totals);
    cr_assert_eq (totals.snapshots, 201);
    /* 128 KiB of metadata and more each: 26 MiB without reuse */
    cr_assert_lt (totals.file_bytes, 8 << 20);
    cr_assert_eq (writer_finish (writer, "cancelled", &err), 0, "%s", err.text);
    writer_destroy (&writer);
    check (path, "cancelled", 200);
}

Test (writer, spares_what_a_reader_has_open)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    cr_assert_eq (play (writer, 0, 0, 100, 0, false, &err), 0, "%s", err.text);
    cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    int ready[2], go[2];
    cr_assert_eq (pipe (ready), 0);
    cr_assert_eq (pipe (go), 0);
    char to[12], from[12], c;
    snprintf (to, sizeof to, "%d", ready[1]);
    snprintf (from, sizeof from, "%d", go[0]);
    pid_t pid = fork ();
    if (pid == 0) {
        execl ("/usr/bin/python3", "python3", "-c",
               "import h5py, sys, os\n"
               "f = h5py.File(sys.argv[1], 'r')\n"
               "d = f['play/rows']; n = len(d)\n"
               "os.write(int(sys.argv[2]), b'x'); os.read(int(sys.argv[3]), 1)\n"
               "i = f['sluice/index'][:]; t = f['sluice/tasks'][:]\n"
               "assert len(t) == 1 and len(i) > 3 and (i['task'] == 0).all()\n"
               "assert i[i['table'] == 0]['rows'].sum() == n\n"
               "assert (d['v'] == d['item'] / 2 + d['k']).all()\n",
               path, to, from, (char *) NULL);
        _exit (127);
    }
    close (ready[1]);
    cr_assert_eq (read (ready[0], &c, 1), 1);
    for (uint64_t i = 1; i < 200; i++) {
        cr_assert_eq (play (writer, i, 100 + i, 101 + i, 0, false, &err), 0, "%s",
                      err.text);
        cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    }
    cr_assert_eq (writer_finish (writer, "failed", &err), 0, "%s", err.text);
    cr_assert_eq (write (go[1], "x", 1), 1);
    int status;
    cr_assert_eq (waitpid (pid, &status, 0), pid);
    cr_assert_eq (status, 0);
    writer_destroy (&writer);
    check (path, "failed", 299);
}

/* ---- what is refused -------------------------------------------------------------- */

static piece_t sample (uint64_t task)
{
    static const uint8_t zeros[160];
    piece_t piece = {
        .kind = PIECE_DATA,
        .task = task,
        .attempt = 1,
        .first = 0,
        .stop = 10,
        .nparts = 1,
        .payload = 160,
        .parts = {{.rows = 10, .bytes = 160, .xxh3 = XXH3_64bits (zeros, 160)}}};
    memcpy (piece.run, play_run, RUN_BYTES);
    return piece;
}

Test (writer, refuses_pieces_that_cannot_be_right)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    uint8_t payload[4096] = {0};
    piece_t piece = sample (1);
    cr_assert_eq (writer_piece (writer, 0, &piece, payload, &err), 0, "%s", err.text);
    piece_t wrong[10];
    for (size_t i = 0; i < 10; i++) {
        wrong[i] = sample (1);
        wrong[i].parts[0].row = 10;
    }
    wrong[0].parts[0].row = 11; /* a gap */
    wrong[1].parts[0].row = 0;  /* the same again */
    wrong[2].parts[0].table = 4;
    wrong[3].parts[0].rows = 9;
    wrong[4].parts[0].rows = 0;
    wrong[4].parts[0].bytes = 0;
    wrong[5].run[3] ^= 1;
    wrong[6].payload = 159;
    wrong[7].parts[0].rows = UINT64_MAX / 16 + 11;
    wrong[8].kind = PIECE_DONE;  /* rows that no item has */
    wrong[9].parts[0].xxh3 ^= 1; /* changed on the way */
    for (size_t i = 0; i < 10; i++) {
        err.code = SLUICE_OK;
        cr_assert_eq (writer_piece (writer, 0, wrong + i, payload, &err), -1, "%zu", i);
        cr_assert_eq (err.code, SLUICE_EPROTO, "%zu: %s", i, err.text);
        cr_assert_not (writer_disk_full (writer));
    }
    writer_totals_t totals;
    writer_totals (writer, &totals);
    cr_assert_eq (totals.tasks, 0);
    piece.kind = PIECE_EMPTY;
    cr_assert_eq (writer_piece (writer, 0, &piece, payload, &err), 0);
    writer_destroy (&writer);
}

Test (writer, refuses_row_counts_that_cannot_be_right)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    item_rows_t wrong[][2] = {
        {{0, 0, 5, 1}, {0, 4, 6, 1}},   /* item 4 twice */
        {{0, 0, 5, 1}, {0, 10, 11, 5}}, /* not one of the task's */
        {{0, 0, 5, 1}, {3, 5, 6, 5}},   /* no such table */
        {{0, 0, 5, 1}, {0, 6, 6, 5}},   /* no item */
        {{0, 0, 5, 1}, {0, 5, 6, 0}},
        {{0, 0, 5, 1}, {0, 5, 6, 4}}, /* 9 rows, not 10 */
        {{0, 0, 5, 1}, {0, 5, 7, UINT64_MAX / 2 + 1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t payload[160 + sizeof wrong[0]] = {0};
        memcpy (payload + 160, wrong[i], sizeof wrong[0]);
        piece_t piece = sample (i);
        piece.kind = PIECE_DONE;
        piece.nparts = 2;
        piece.payload = sizeof payload;
        piece.parts[1] = (part_t){
            3, 0, 2, sizeof wrong[0], XXH3_64bits (wrong[i], sizeof wrong[0]), 0, 0};
        cr_assert_eq (writer_piece (writer, 0, &piece, payload, &err), -1, "%zu", i);
        cr_assert_eq (err.code, SLUICE_EPROTO, "%zu: %s", i, err.text);
    }
    writer_destroy (&writer);
}

Test (writer, takes_a_task_once)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    cr_assert_eq (play (writer, 9, 0, 100, 9, false, &err), 0);
    cr_assert_eq (play (writer, 9, 0, 100, 9, false, &err), -1);
    cr_assert_eq (err.code, SLUICE_EPROTO);
    cr_assert_eq (play (writer, 10, 100, 200, 9, true, &err), 0);
    writer_drop (writer, 10, 1);
    writer_drop (writer, 9, 1); /* finished: nothing happens */
    writer_drop (writer, 1 << 20, 7);
    cr_assert_eq (play (writer, 10, 100, 200, 9, false, &err), -1);
    cr_assert_eq (err.code, SLUICE_EPROTO);
    cr_assert_eq (writer_finish (writer, "failed", &err), 0, "%s", err.text);
    cr_assert_eq (play (writer, 11, 100, 200, 9, false, &err), -1);
    cr_assert_eq (err.code, SLUICE_EOUTPUT);
    writer_destroy (&writer);
    check (path, "failed", 100);
}

static void refused (const char *where, bool force, sluice_code_t code, const char *says)
{
    sluice_error_t err = {0};
    cr_assert_null (make (where, force, &err));
    cr_assert_eq (err.code, code, "%s", err.text);
    cr_assert_not_null (strstr (err.text, says), "%s", err.text);
}

Test (writer, refuses_outputs_in_a_line)
{
    char other[120];
    snprintf (other, sizeof other, "%s/no/out.h5", folder);
    refused (other, false, SLUICE_EINPUT, "cannot open the folder");
    refused (folder, true, SLUICE_EINPUT, "is a folder");
    snprintf (other, sizeof other, "%s/", folder);
    refused (other, true, SLUICE_EINPUT, "not the name of a file");
    writer_t *writer = make_here ();
    refused (path, true, SLUICE_EOUTPUT, "by this process");
    writer_destroy (&writer);
    refused (path, false, SLUICE_EINPUT, "exists; use --force or another -o");
    sluice_error_t err = {0};
    writer = make (path, true, &err);
    cr_assert_not_null (writer, "%s", err.text);
    writer_destroy (&writer);
    snprintf (other, sizeof other, "%s/out.h5.lock", folder);
    cr_assert_neq (access (other, F_OK), 0, "the lock's file stays");
    snprintf (other, sizeof other, "%s/.out.h5.new", folder);
    cr_assert_neq (access (other, F_OK), 0, "the first name stays");
}

Test (writer, says_that_its_file_was_removed_or_renamed)
{
    char other[120];
    sluice_error_t err = {0};
    snprintf (other, sizeof other, "%s/moved.h5", folder);
    writer_t *writer = make_here ();
    cr_assert_eq (rename (path, other), 0);
    cr_assert_eq (writer_finish (writer, "stopped", &err), -1);
    cr_assert_eq (err.code, SLUICE_EOUTPUT, "%s", err.text);
    cr_assert_not_null (strstr (err.text, "/moved.h5"), "%s", err.text);
    writer_destroy (&writer);
    check (other, "stopped", 0);

    writer = make_here ();
    cr_assert_eq (unlink (path), 0);
    err = (sluice_error_t){0};
    cr_assert_eq (writer_finish (writer, "stopped", &err), -1);
    cr_assert_eq (err.code, SLUICE_EOUTPUT, "%s", err.text);
    cr_assert_not_null (strstr (err.text, "removed"), "%s", err.text);
    writer_destroy (&writer);
}

Test (writer, says_that_its_file_was_cut_short)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    cr_assert_eq (truncate (path, 0), 0);
    cr_assert_eq (writer_finish (writer, "stopped", &err), -1);
    cr_assert_eq (err.code, SLUICE_EOUTPUT, "%s", err.text);
    cr_assert_not_null (strstr (err.text, "cut the output short"), "%s", err.text);
    cr_assert_not (writer_disk_full (writer));
    writer_destroy (&writer);
}

Test (writer, names_who_is_writing)
{
    int ready[2], go[2];
    cr_assert_eq (pipe (ready), 0);
    cr_assert_eq (pipe (go), 0);
    pid_t pid = fork ();
    if (pid == 0) {
        sluice_error_t err = {0};
        writer_t *writer = make (path, false, &err);
        char c = writer ? 'x' : '?';
        if (write (ready[1], &c, 1) != 1 || read (go[0], &c, 1) != 1)
            _exit (2);
        writer_destroy (&writer);
        _exit (0);
    }
    char c, who[120], host[64] = "";
    cr_assert_eq (read (ready[0], &c, 1), 1);
    cr_assert_eq (c, 'x');
    gethostname (host, sizeof host - 1);
    snprintf (who, sizeof who, "process %d on %s", (int) pid, host);
    refused (path, true, SLUICE_EOUTPUT, who);
    refused (path, true, SLUICE_EOUTPUT, "ab010203");
    cr_assert_eq (write (go[1], "x", 1), 1);
    int status;
    waitpid (pid, &status, 0);
    cr_assert_eq (status, 0);
    sluice_error_t err = {0};
    writer_t *writer = make (path, true, &err);
    cr_assert_not_null (writer, "%s", err.text);
    writer_destroy (&writer);
}

Test (writer, refuses_an_input_by_any_path)
{
    sluice_error_t err = {0};
    share_t *share = share_new_open (&err);
    cr_assert_not_null (share);
    char input[120], link[120];
    snprintf (input, sizeof input, "%s/in.h5", folder);
    snprintf (link, sizeof link, "%s/link.h5", folder);
    fclose (fopen (input, "w"));
    cr_assert_eq (symlink ("in.h5", link), 0);
    input_t file = {.path = share_relative (share, input, &err)};
    cr_assert_not_null (file.path, "%s", err.text);
    plan.share = share;
    plan.nfiles = 1;
    plan.files = &file;
    refused (input, true, SLUICE_EINPUT, "is the input");
    refused (link, true, SLUICE_EINPUT, "is the input");
    cr_assert_eq (unlink (link), 0);
    cr_assert_eq (link[0] && symlink ("nowhere", link), 0);
    refused (link, true, SLUICE_EINPUT, "leads nowhere");
    free (file.path);
    share_destroy (&share);
}

/* ---- want of space ----------------------------------------------------------------- */

static int put_patiently (void *arg, const piece_t *piece, const void *payload,
                          sluice_error_t *err)
{
    static unsigned fulls;
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    while (writer_piece (arg, 3, piece, payload, err) < 0) {
        if (!writer_disk_full (arg) || err->code != SLUICE_EOUTPUT)
            return -1;
        /* a little more space, which may not be enough yet */
        getrlimit (RLIMIT_FSIZE, &limit);
        limit.rlim_cur += 3000;
        setrlimit (RLIMIT_FSIZE, &limit);
        fulls++;
    }
    cr_assert_lt (fulls, 1000000);
    return 0;
}

static void wait_for_space (void)
{
    sluice_error_t err = {0};
    signal (SIGXFSZ, SIG_IGN);
    writer_t *writer = make_here ();
    struct stat st;
    stat (path, &st);
    struct rlimit limit;
    getrlimit (RLIMIT_FSIZE, &limit);
    limit.rlim_cur = level ? 60000 : 300000;
    setrlimit (RLIMIT_FSIZE, &limit);
    player_t player = {.put = put_patiently,
                       .arg = writer,
                       .short_every = 6,
                       .codec = level ? codec_new (level, 1 << 16, &err) : NULL};
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq (play_task (&player, i, 1, i * 50, i * 50 + 50, &err), 0, "%s",
                      err.text);
    play_clear (&player);
    codec_destroy (&player.codec);
    getrlimit (RLIMIT_FSIZE, &limit);
    cr_assert_gt (limit.rlim_cur, level ? 60000 : 300000);
    unsigned fulls = 0;
    while (writer_finish (writer, "complete", &err) < 0) {
        cr_assert (writer_disk_full (writer), "%s", err.text);
        check (path, "running", 0); /* whole at every instant */
        limit.rlim_cur += level ? 5000 : 100000;
        setrlimit (RLIMIT_FSIZE, &limit);
        fulls++;
    }
    cr_assert_gt (fulls, 0);
    writer_destroy (&writer);
    check (path, "complete", 1000);
    check_report_t report;
    uint8_t digest[DIGEST_BYTES];
    play_digest (1000, digest);
    cr_assert_eq (check_file (path, &report, &err), 0);
    cr_assert_arr_eq (report.digest, digest, DIGEST_BYTES);
}

Test (writer, waits_for_space_and_goes_on)
{
    wait_for_space ();
}

Test (writer, waits_for_space_for_what_it_compresses)
{
    level = 2;
    wait_for_space ();
}

/* Rows that come a few at a time are compressed when their chunk is full, whatever
 * snapshots have seen of it, and found again by who goes on with the file. */
Test (writer, compresses_what_it_packs)
{
    sluice_error_t err = {0};
    level = 5;
    writer_t *writer = make_here ();
    writer_totals_t totals;
    for (uint64_t i = 0; i < 700; i++) {
        cr_assert_eq (play (writer, i, i, i + 1, 0, false, &err), 0, "%s", err.text);
        if (i % 37 == 5)
            cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
        if (i == 400)
            check (path, "running", 376);
    }
    cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    writer_totals (writer, &totals);
    cr_assert_lt (totals.stored, totals.bytes / 2);
    writer_destroy (&writer);
    check (path, "running", 700);
    writer_options_t options = {.path = path,
                                .run = play_run,
                                .job = "j",
                                .kernel = "k",
                                .deflate = level,
                                .plan = &plan};
    writer = writer_resume (&options, &err);
    cr_assert_not_null (writer, "%s", err.text);
    writer_taken_t taken;
    writer_taken (writer, &taken);
    cr_assert_eq (taken.items, 700);
    cr_assert_eq (taken.damaged_items, 0);
    cr_assert_eq (play (writer, 1000, 700, 1000, 3, false, &err), 0, "%s", err.text);
    cr_assert_eq (writer_finish (writer, "complete", &err), 0, "%s", err.text);
    writer_destroy (&writer);
    check (path, "complete", 1000);
    check_report_t report;
    uint8_t digest[DIGEST_BYTES];
    play_digest (1000, digest);
    cr_assert_eq (check_file (path, &report, &err), 0);
    cr_assert_arr_eq (report.digest, digest, DIGEST_BYTES);
}

Test (writer, keeps_to_a_rate)
{
    sluice_error_t err = {0};
    plan = (sluice_plan_t){.items = 100, .ntables = PLAY_TABLES, .tables = play_tables};
    writer_options_t options = {
        .path = path, .run = play_run, .plan = &plan, .rate = 2 << 20};
    writer_t *writer = writer_new (&options, &err);
    cr_assert_not_null (writer, "%s", err.text);
    struct timespec a, b;
    clock_gettime (CLOCK_MONOTONIC, &a);
    uint8_t payload[8000] = {0};
    for (uint64_t i = 0; i < 100; i++) {
        piece_t piece = sample (1);
        piece.parts[0] =
            (part_t){0, i * 500, 500, 8000, XXH3_64bits (payload, 8000), 0, 0};
        piece.payload = 8000;
        cr_assert_eq (writer_piece (writer, 0, &piece, payload, &err), 0, "%s", err.text);
    }
    clock_gettime (CLOCK_MONOTONIC, &b);
    double seconds =
        (double) (b.tv_sec - a.tv_sec) + 1e-9 * (double) (b.tv_nsec - a.tv_nsec);
    cr_assert_gt (seconds, 0.3); /* 800 kB at 2 MiB/s: 0.38 s */
    writer_destroy (&writer);
}

Test (writer, packs_many_small_results_and_limits_memory)
{
    sluice_error_t err = {0};
    plan = (sluice_plan_t){.items = 200000, .ntables = 1};
    table_t table = {(char *) "t", (char *) "{x:<u8}", 131072};
    plan.tables = &table;
    writer_options_t options = {.path = path, .run = play_run, .plan = &plan};
    writer_t *writer = writer_new (&options, &err);
    cr_assert_not_null (writer, "%s", err.text);
    item_hash_t *hash = item_hash_new ();
    for (uint64_t i = 0; i < 200000; i++) {
        struct {
            uint64_t row;
            item_rows_t items;
        } __attribute__ ((packed)) payload = {i * i, {0, i, i + 1, 1}};
        piece_t piece = {.kind = PIECE_DONE,
                         .task = i,
                         .attempt = 1,
                         .first = i,
                         .stop = i + 1,
                         .nparts = 2,
                         .payload = sizeof payload};
        memcpy (piece.run, play_run, RUN_BYTES);
        piece.parts[0] = (part_t){0, 0, 1, 8, XXH3_64bits (&payload.row, 8), 0, 0};
        piece.parts[1] = (part_t){1,
                                  0,
                                  1,
                                  sizeof (item_rows_t),
                                  XXH3_64bits (&payload.items, sizeof (item_rows_t)),
                                  0,
                                  0};
        item_hash_begin (hash, "t", i);
        item_hash_rows (hash, &payload.row, 8);
        item_hash_end (hash, piece.digest);
        cr_assert_eq (writer_piece (writer, 0, &piece, &payload, &err), 0, "%s",
                      err.text);
        if (i % 20000 == 0)
            cr_assert_eq (writer_lay (writer, &err), 0, "%s", err.text);
    }
    item_hash_destroy (&hash);
    cr_assert_eq (writer_finish (writer, "complete", &err), 0, "%s", err.text);
    writer_destroy (&writer);
    check (path, "complete", 200000);
}

Test (writer, keeps_the_record)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    msg_welcome_t welcome = {
        .host = (char *) "müller", .cores = 8, .slots = 7, .isa = (char *) "avx2"};
    cr_assert_eq (writer_node (writer, 3, &welcome, &err), 0);
    cr_assert_eq (writer_node (writer, 3, &welcome, &err), 0);
    cr_assert_eq (writer_node (writer, 500, &welcome, &err), 0);
    char long_text[5000];
    for (size_t i = 0; i + 1 < sizeof long_text; i++)
        long_text[i] = "\xc3\xbc"[i % 2];
    long_text[sizeof long_text - 2] = 'x';
    long_text[sizeof long_text - 1] = '\0';
    msg_failed_t failed = {.task = 4,
                           .attempt = 2,
                           .reason = (char *) "killed \"by\" us",
                           .sig = 9,
                           .exit_code = -1,
                           .stderr_tail = long_text};
    cr_assert_eq (writer_failure (writer, 3, &failed, 10, 20, true, &err), 0);
    cr_assert_eq (play (writer, 0, 0, 100, 0, false, &err), 0);
    cr_assert_eq (writer_finish (writer, "failed", &err), 0, "%s", err.text);
    writer_destroy (&writer);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream (&text, &n);
    cr_assert_eq (check_show_json (path, out, &err), 0, "%s", err.text);
    cr_assert_eq (check_show (path, out, 10, &err), 0, "%s", err.text);
    fclose (out);
    cr_assert_not_null (strstr (text, "\"host\": \"müller\""), "%s", text);
    cr_assert_not_null (strstr (text, "\"reason\": \"killed \\\"by\\\" us\""), "%s",
                        text);
    cr_assert_not_null (strstr (text, "\"tasks\": 1"));
    cr_assert_not_null (strstr (text, "given up: killed"));
    free (text);
}

/* ---- tables that are met late ------------------------------------------------- */

/* A worker, whose pieces go straight to the writer. */
typedef struct {
    writer_t *writer;
    emitter_t *emitter;
    void *segment[8];
    bool used[8];
    sluice_error_t err;
} hand_t;

static void *hand_get (void *arg, bool wait, uint32_t *handle)
{
    hand_t *hand = arg;
    (void) wait;
    for (*handle = 0; *handle < 8; ++*handle)
        if (!hand->used[*handle]) {
            hand->used[*handle] = true;
            return hand->segment[*handle];
        }
    return NULL;
}

static void hand_back (void *arg, uint32_t handle)
{
    ((hand_t *) arg)->used[handle] = false;
}

static int hand_put (void *arg, uint32_t handle, const piece_t *piece)
{
    hand_t *hand = arg;
    piece_t ours = *piece;
    memcpy (ours.run, play_run, RUN_BYTES);
    hand_back (arg, handle);
    return writer_piece (hand->writer, 0, &ours, hand->segment[handle], &hand->err);
}

static void hire (hand_t *hand, writer_t *writer)
{
    const emitter_sink_t sink = {hand, hand_get, hand_put, hand_back, NULL};
    uint32_t bytes = segment_for (plan.tables, plan.ntables, NULL);
    *hand = (hand_t){.writer = writer};
    for (int i = 0; i < 8; i++)
        hand->segment[i] = malloc (bytes);
    hand->emitter = emitter_new (plan.tables, plan.ntables, bytes, &sink, &hand->err);
    cr_assert_not_null (hand->emitter, "%s", hand->err.text);
}

static void fire (hand_t *hand)
{
    emitter_destroy (&hand->emitter);
    for (int i = 0; i < 8; i++)
        free (hand->segment[i]);
}

/* Items first <= i < stop have 1 + i % 3 rows i in each of these tables, so that
 * their counts differ; asked for in this order. `end` false: no last piece. */
static int labour (hand_t *hand, uint64_t task, uint64_t first, uint64_t stop,
                   const char *const *names, size_t n, bool end)
{
    emitter_begin (hand->emitter, &(task_t){task, 1, first, stop});
    for (uint64_t i = first; i < stop; i++)
        for (size_t k = 0; k < n; k++) {
            uint64_t rows[3] = {i, i, i};
            int table = emitter_table (hand->emitter, names[k], "<u8", &hand->err);
            if (table < 0 || emitter_rows (hand->emitter, i, (unsigned) table, rows,
                                           (size_t) (1 + i % 3)) < 0)
                return -1;
        }
    int rc = end ? emitter_done (hand->emitter, 1, 1, 1) : 0;
    emitter_abort (hand->emitter);
    return rc;
}

static bool has (const char *name)
{
    hid_t file = H5Fopen (path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert_geq (file, 0);
    bool there = H5Lexists (file, name, H5P_DEFAULT) > 0;
    H5Fclose (file);
    return there;
}

static const char *const ab[] = {"a", "b"}, *const ba[] = {"b", "a"}, *const c[] = {"c"};

Test (writer, meets_tables_in_any_order)
{
    /* As many counts of rows as fill chunks of their own: 2 * 20,000 of 28 bytes. */
    enum { MANY = 20000 };
    char digest[2][2 * DIGEST_BYTES + 1];
    for (int round = 0; round < 2; round++) {
        sluice_error_t err = {0};
        writer_t *writer = make_here ();
        plan.items = 3 * MANY;
        hand_t one, other;
        hire (&one, writer);
        hire (&other, writer);
        cr_assert_eq (labour (&one, 1, 0, MANY, ab, 2, false), 0, "%s", one.err.text);
        cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
        cr_assert_not (has ("a"));
        if (round == 0)
            cr_assert_eq (labour (&one, 2, MANY, 2 * MANY, ab, 2, true), 0, "%s",
                          one.err.text);
        cr_assert_eq (labour (&other, 3, 2 * MANY, 3 * MANY, ba, 2, true), 0, "%s",
                      other.err.text);
        cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
        cr_assert (has ("a") && has ("b"));
        check (path, "running", round == 0 ? 2 * MANY : MANY);
        if (round == 1)
            cr_assert_eq (labour (&one, 2, MANY, 2 * MANY, ab, 2, true), 0, "%s",
                          one.err.text);
        /* An attempt that is dropped leaves no table behind. */
        writer_drop (writer, 1, 1);
        cr_assert_eq (labour (&other, 4, 0, 10, c, 1, false), 0, "%s", other.err.text);
        writer_drop (writer, 4, 1);
        cr_assert_eq (labour (&other, 5, 0, MANY, ab, 2, true), 0, "%s", other.err.text);
        writer_totals_t totals;
        writer_totals (writer, &totals);
        digest_text (totals.digest, digest[round]);
        cr_assert_eq (writer_finish (writer, "complete", &err), 0, "%s", err.text);
        cr_assert_not (has ("c"));
        cr_assert (has ("b_index"));
        fire (&one);
        fire (&other);
        writer_destroy (&writer);
        check (path, "complete", 3 * MANY);
        cr_assert_eq (unlink (path), 0);
    }
    cr_assert_str_eq (digest[0], digest[1]);
}

Test (writer, fails_a_task_whose_table_cannot_be)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    hand_t hand;
    hire (&hand, writer);
    cr_assert_eq (labour (&hand, 1, 0, 10, ab, 2, true), 0, "%s", hand.err.text);
    static const struct {
        const char *name, *dtype, *says;
    } bad[] = {{"a", "<f8", "of dtype <f8: in this run it is of dtype <u8"},
               {"a/x", "<u8", "'a/x' and 'a'"},
               {"b_index", "<u8", "'b_index' and 'b_index'"},
               {"small", "{n:<u8}", "table small"},
               {"sluice/items", "<u8", "Sluice's own"},
               {"z", "<u 8", "table z"},
               {"z", "u8", "not canonical"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t row = 0;
        piece_t piece = {.kind = i % 2 ? PIECE_DATA : PIECE_DONE,
                         .task = 100 + i,
                         .attempt = 1,
                         .first = 20,
                         .stop = 30,
                         .nparts = 1,
                         .payload = sizeof row,
                         .nlate = 1};
        memcpy (piece.run, play_run, RUN_BYTES);
        piece.late[0] = (late_t){PLAY_TABLES + 9, 20 + i, bad[i].name, bad[i].dtype};
        piece.parts[0] = (part_t){
            PLAY_TABLES + 9, 0, 1, sizeof row, XXH3_64bits (&row, sizeof row), 0, 0};
        cr_expect_eq (writer_piece (writer, 0, &piece, &row, &err), -1);
        cr_expect_eq (err.code, SLUICE_EFAILED, "%s: %s", bad[i].name, err.text);
        cr_expect_eq (writer_blamed (writer), 20 + i);
        cr_expect_not_null (strstr (err.text, bad[i].says), "%s", err.text);
        cr_expect_not (writer_disk_full (writer));
        writer_drop (writer, 100 + i, 1);
    }
    /* Numbers that were not named, or are those of other tables. */
    static const uint32_t numbers[] = {0, PLAY_TABLES, PLAY_TABLES + 1 + PIECE_MAX_LATE};
    for (size_t i = 0; i < 3; i++) {
        piece_t piece = {.kind = PIECE_DONE, .task = 200 + i, .attempt = 1, .nlate = 1};
        memcpy (piece.run, play_run, RUN_BYTES);
        piece.late[0] = (late_t){numbers[i], 0, "z", "<u8"};
        cr_expect_eq (writer_piece (writer, 0, &piece, "", &err), -1);
        cr_expect_eq (err.code, SLUICE_EPROTO, "%s", err.text);
    }
    /* A table whose task had no rows in it after all is not made. */
    piece_t piece = {.kind = PIECE_DONE, .task = 300, .attempt = 1, .nlate = 1};
    memcpy (piece.run, play_run, RUN_BYTES);
    piece.late[0] = (late_t){PLAY_TABLES + 1, 0, "z", "<u8"};
    piece.first = piece.stop = 40;
    cr_expect_eq (writer_piece (writer, 0, &piece, "", &err), 0, "%s", err.text);
    cr_assert_eq (writer_finish (writer, "failed", &err), 0, "%s", err.text);
    cr_expect_not (has ("z"));
    fire (&hand);
    writer_destroy (&writer);
    check (path, "failed", 10);
}

Test (writer, makes_no_table_for_a_piece_that_found_no_space)
{
    sluice_error_t err = {0};
    writer_t *writer = make_here ();
    hand_t hand;
    hire (&hand, writer);
    plan.items = 40000;
    uint8_t before[DIGEST_BYTES];
    writer_totals_t totals;
    writer_totals (writer, &totals);
    memcpy (before, totals.digest, sizeof before);
    static uint64_t rows[140000];
    piece_t piece = {.kind = PIECE_DATA,
                     .task = 1,
                     .attempt = 1,
                     .stop = 1,
                     .nparts = 1,
                     .nlate = 1,
                     .payload = 131072 * 8};
    memcpy (piece.run, play_run, RUN_BYTES);
    piece.late[0] = (late_t){PLAY_TABLES + 2, 0, "a", "<u8"};
    piece.parts[0] = (part_t){
        PLAY_TABLES + 2, 0, 131072, 131072 * 8, XXH3_64bits (rows, 131072 * 8), 0, 0};
    struct rlimit old, small;
    getrlimit (RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 4096;
    signal (SIGXFSZ, SIG_IGN);
    setrlimit (RLIMIT_FSIZE, &small);
    cr_expect_eq (writer_piece (writer, 0, &piece, rows, &err), -1);
    cr_expect (writer_disk_full (writer), "%s", err.text);
    setrlimit (RLIMIT_FSIZE, &old);
    cr_expect_eq (writer_piece (writer, 0, &piece, rows, &err), 0, "%s", err.text);

    /* The tail fills the open chunk of `a`, which has to be written. */
    item_rows_t count = {PLAY_TABLES + 2, 0, 1, 131072 + 131072};
    uint8_t *payload = malloc (131072 * 8 + sizeof count);
    memcpy (payload, rows, 131072 * 8);
    memcpy (payload + 131072 * 8, &count, sizeof count);
    piece.kind = PIECE_DONE;
    piece.nlate = 0;
    piece.nparts = 2;
    piece.parts[0].row = 131072;
    piece.parts[1] = (part_t){
        PLAY_TABLES, 0, 1, sizeof count, XXH3_64bits (&count, sizeof count), 0, 0};
    piece.payload += sizeof count;
    setrlimit (RLIMIT_FSIZE, &small);
    cr_expect_eq (writer_piece (writer, 0, &piece, payload, &err), -1);
    cr_expect (writer_disk_full (writer), "%s", err.text);
    writer_totals (writer, &totals);
    cr_expect_arr_eq (totals.digest, before, sizeof before);
    setrlimit (RLIMIT_FSIZE, &old);
    cr_expect_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    cr_expect_not (has ("a"));
    cr_expect_eq (writer_piece (writer, 0, &piece, payload, &err), 0, "%s", err.text);
    cr_expect_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    cr_expect (has ("a"));
    fire (&hand);
    free (payload);
    writer_destroy (&writer);
}
