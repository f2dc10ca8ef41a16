/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* SEEK_DATA */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>
#include "master/h5check.h"
#include "play.h"

static char folder[64], path[100], other[100];

static void setup (void)
{
    strcpy (folder, "/tmp/test_h5check_XXXXXX");
    cr_assert_not_null (mkdtemp (folder));
    snprintf (path, sizeof path, "%s/a.h5", folder);
    snprintf (other, sizeof other, "%s/b.h5", folder);
}

static void teardown (void)
{
    char command[100];
    snprintf (command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq (system (command), 0);
}

TestSuite (h5check, .init = setup, .fini = teardown);

enum { ITEMS = 600 };

static int put (void *arg, const piece_t *piece, const void *payload, sluice_error_t *err)
{
    return writer_piece (arg, 0, piece, payload, err);
}

/* An output over all items, or without its last task, cut into tasks of `size`
 * items, done in a scrambled order. */
static void make (const char *where, uint64_t size, unsigned short_every, double value,
                  bool whole)
{
    sluice_error_t err = {0};
    double values[6] = {1, 2, 3, 4, 5, value};
    sluice_dtype_t *dtype = sluice_dtype_parse ("<f8", 3, &err);
    named_array_t output = {(char *) "sites", {dtype, 2, {2, 3}, values}};
    sluice_plan_t plan = {.items = ITEMS,
                          .ntables = PLAY_TABLES,
                          .tables = play_tables,
                          .noutputs = 1,
                          .outputs = &output};
    writer_options_t options = {.path = where, .run = play_run, .plan = &plan};
    writer_t *writer = writer_new (&options, &err);
    cr_assert_not_null (writer, "%s", err.text);
    player_t player = {.put = put, .arg = writer, .short_every = short_every};
    uint64_t tasks = ITEMS / size;
    for (uint64_t i = 0; i < tasks; i++) {
        uint64_t task = i * 17 % tasks;
        if (!whole && task == tasks - 1)
            continue;
        cr_assert_eq (play_task (&player, task, 1, task * size, task * size + size, &err),
                      0, "%s", err.text);
    }
    play_clear (&player);
    if (whole)
        cr_assert_eq (writer_finish (writer, "complete", &err), 0, "%s", err.text);
    else
        cr_assert_eq (writer_snapshot (writer, &err), 0, "%s", err.text);
    writer_destroy (&writer);
    sluice_dtype_destroy (&dtype);
}

Test (h5check, finds_a_sound_file_sound)
{
    sluice_error_t err = {0};
    check_report_t report;
    make (path, 50, 7, 6, true);
    cr_assert_eq (check_file (path, &report, &err), 0, "%s", err.text);
    char text[2 * DIGEST_BYTES + 1];
    digest_text (report.digest, text);
    cr_assert_str_eq (text, report.stored);
    cr_assert_eq (report.tasks, 12);
    cr_assert_eq (report.items, ITEMS);
    make (other, 100, 0, 6, false);
    cr_assert_eq (check_file (other, &report, &err), 0, "%s", err.text);
    cr_assert_str_eq (report.status, "running");
    cr_assert_str_eq (report.stored, "");
    cr_assert_eq (report.items, 500);
}

Test (h5check, tells_what_is_no_output)
{
    sluice_error_t err = {0};
    check_report_t report;
    cr_assert_eq (check_file (path, &report, &err), -1);
    cr_assert_eq (err.code, SLUICE_EINPUT, "%s", err.text);
    FILE *file = fopen (path, "w");
    fputs ("no HDF5 at all", file);
    fclose (file);
    cr_assert_eq (check_file (path, &report, &err), -1);
    cr_assert_eq (err.code, SLUICE_EINPUT, "%s", err.text);
    cr_assert_not_null (strstr (err.text, "not an HDF5 file"));
    hid_t h5 = H5Fcreate (other, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose (h5);
    cr_assert_eq (check_file (other, &report, &err), -1);
    cr_assert_eq (err.code, SLUICE_EINPUT, "%s", err.text);
    cr_assert_not_null (strstr (err.text, "not an output of Sluice"));
    cr_assert_eq (check_file (folder, &report, &err), -1);
    cr_assert_eq (err.code, SLUICE_EINPUT, "%s", err.text);
}

/* Change a byte of each piece that the ledger knows, and some elsewhere. */
Test (h5check, finds_every_changed_row)
{
    sluice_error_t err = {0};
    check_report_t report;
    make (path, 50, 7, 6, true);
    hid_t h5 = H5Fopen (path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2 (h5, "sluice/index", H5P_DEFAULT), space = H5Dget_space (set);
    hid_t type = H5Dget_type (set);
    size_t n = (size_t) H5Sget_simple_extent_npoints (space);
    index_row_t *rows = malloc (n * sizeof *rows);
    cr_assert_geq (H5Dread (set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, rows), 0);
    H5Tclose (type);
    H5Sclose (space);
    H5Dclose (set);
    H5Fclose (h5);
    int fd = open (path, O_RDWR);
    cr_assert_gt (n, 20);
    for (size_t i = 0; i < n; i += 1 + n / 60) {
        uint64_t bytes = rows[i].rows * play_row_bytes[rows[i].table];
        off_t at = (off_t) (rows[i].address + rows[i].offset + i * 7919 % bytes);
        uint8_t old, changed;
        cr_assert_eq (pread (fd, &old, 1, at), 1);
        changed = old ^ (uint8_t) (1 << i % 8);
        cr_assert_eq (pwrite (fd, &changed, 1, at), 1);
        err.code = SLUICE_OK;
        cr_assert_eq (check_file (path, &report, &err), -1, "piece %zu", i);
        cr_assert_eq (err.code, SLUICE_EOUTPUT, "%s", err.text);
        if (rows[i].table < PLAY_TABLES) {
            char task[40];
            snprintf (task, sizeof task, "task %llu", (unsigned long long) rows[i].task);
            cr_assert_not_null (strstr (err.text, play_tables[rows[i].table].name), "%s",
                                err.text);
            cr_assert_not_null (strstr (err.text, task), "%s", err.text);
        }
        cr_assert_eq (pwrite (fd, &old, 1, at), 1);
    }
    cr_assert_eq (check_file (path, &report, &err), 0, "%s", err.text);
    close (fd);
    free (rows);
}

extern void __lsan_disable (void) __attribute__ ((weak));

/* Whatever byte of the file changes: sound, or one clear error, never worse. */
Test (h5check, survives_any_changed_byte)
{
    sluice_error_t err = {0};
    check_report_t report;
    if (__lsan_disable)
        __lsan_disable (); /* HDF5 1.10 leaks when it meets damage */
    make (path, 100, 0, 6, true);
    struct stat st;
    stat (path, &st);
    int fd = open (path, O_RDWR);
    unsigned found = 0, tried = 0;
    srand (3);
    for (off_t at = 0; at < st.st_size; at += 1 + rand () % 4001) {
        off_t data = lseek (fd, at, SEEK_DATA);
        if (data < 0)
            break;
        at = data > at ? data + rand () % 2000 : at;
        uint8_t old, changed = (uint8_t) rand ();
        if (pread (fd, &old, 1, at) != 1)
            break;
        cr_assert_eq (pwrite (fd, &changed, 1, at), 1);
        err.code = SLUICE_OK;
        if (check_file (path, &report, &err) < 0) {
            cr_assert_neq (err.code, SLUICE_OK);
            cr_assert_gt (strlen (err.text), 10);
            found++;
        }
        tried++;
        cr_assert_eq (pwrite (fd, &old, 1, at), 1);
    }
    cr_assert_gt (tried, 50);
    cr_assert_gt (found, tried / 4);
    cr_assert_eq (check_file (path, &report, &err), 0, "%s", err.text);
    close (fd);
}

Test (h5check, finds_a_file_that_was_cut)
{
    sluice_error_t err = {0};
    check_report_t report;
    make (path, 100, 0, 6, true);
    struct stat st;
    stat (path, &st);
    cr_assert_eq (truncate (path, st.st_size / 2), 0);
    cr_assert_eq (check_file (path, &report, &err), -1);
    cr_assert_eq (err.code, SLUICE_EOUTPUT, "%s", err.text);
}

Test (h5check, finds_equal_content_whatever_the_order)
{
    sluice_error_t err = {0};
    bool equal = false;
    char why[500];
    make (path, 50, 7, 6, true);
    make (other, 12, 0, 6, true);
    cr_assert_eq (check_diff (path, other, &equal, why, &err), 0, "%s", err.text);
    cr_assert (equal, "%s", why);
}

Test (h5check, names_the_first_difference)
{
    sluice_error_t err = {0};
    bool equal = true;
    char why[500];
    make (path, 50, 7, 6, true);
    make (other, 50, 0, 7, true);
    cr_assert_eq (check_diff (path, other, &equal, why, &err), 0, "%s", err.text);
    cr_assert_not (equal);
    cr_assert_not_null (strstr (why, "output sites"), "%s", why);
    unlink (other);
    make (other, 100, 0, 6, false);
    cr_assert_eq (check_diff (other, path, &equal, why, &err), 0, "%s", err.text);
    cr_assert_not (equal);
    cr_assert_not_null (strstr (why, "table play/rows, item 500: has rows only in"), "%s",
                        why);
    cr_assert_eq (check_diff (path, "/nowhere", &equal, why, &err), -1);
    cr_assert_eq (err.code, SLUICE_EINPUT);
}

/* ---- tables that were met late -------------------------------------------------- */

/* An output of one item for each byte of `order`, which has its byte in table `x` if
 * that is below 'n', else in table `y`; in this order. */
static void make_late (const char *where, const char *order)
{
    sluice_error_t err = {0};
    sluice_plan_t plan = {.items = ITEMS};
    writer_options_t options = {.path = where, .run = play_run, .plan = &plan};
    writer_t *writer = writer_new (&options, &err);
    item_hash_t *hash = item_hash_new ();
    cr_assert_not_null (writer, "%s", err.text);
    for (; *order; order++) {
        uint64_t item = (uint64_t) *order;
        const char *name = *order < 'n' ? "x" : "y";
        item_rows_t count = {7, item, item + 1, 1};
        uint8_t payload[1 + sizeof count] = {(uint8_t) *order};
        memcpy (payload + 1, &count, sizeof count);
        piece_t piece = {.kind = PIECE_DONE,
                         .task = item,
                         .attempt = 1,
                         .first = item,
                         .stop = item + 1,
                         .payload = sizeof payload,
                         .nparts = 2,
                         .nlate = 1};
        memcpy (piece.run, play_run, RUN_BYTES);
        piece.late[0] = (late_t){7, item, name, "|u1"};
        piece.parts[0] =
            (part_t){.table = 7, .rows = 1, .bytes = 1, .xxh3 = XXH3_64bits (payload, 1)};
        piece.parts[1] = (part_t){
            .rows = 1, .bytes = sizeof count, .xxh3 = XXH3_64bits (&count, sizeof count)};
        item_hash_begin (hash, name, item);
        item_hash_rows (hash, payload, 1);
        item_hash_end (hash, piece.digest);
        cr_assert_eq (writer_piece (writer, 0, &piece, payload, &err), 0, "%s", err.text);
    }
    item_hash_destroy (&hash);
    cr_assert_eq (writer_finish (writer, "cancelled", &err), 0, "%s", err.text);
    writer_destroy (&writer);
}

Test (h5check, compares_late_tables_by_name)
{
    sluice_error_t err = {0};
    check_report_t report, second;
    bool equal;
    char why[500];
    make_late (path, "azby");
    make_late (other, "yzba");
    cr_assert_eq (check_file (path, &report, &err), 0, "%s", err.text);
    cr_assert_eq (check_file (other, &second, &err), 0, "%s", err.text);
    cr_assert_eq (report.rows, 4);
    cr_assert_arr_eq (report.digest, second.digest, DIGEST_BYTES);
    cr_assert_eq (check_diff (path, other, &equal, why, &err), 0, "%s", err.text);
    cr_assert (equal, "%s", why);
    cr_assert_eq (unlink (other), 0);
    make_late (other, "ab");
    cr_assert_eq (check_diff (path, other, &equal, why, &err), 0, "%s", err.text);
    cr_assert_not (equal);
    cr_assert_not_null (strstr (why, "table y is only in"), "%s", why);
    cr_assert_eq (unlink (other), 0);
    make_late (other, "abzx");
    cr_assert_eq (check_diff (path, other, &equal, why, &err), 0, "%s", err.text);
    cr_assert_not_null (strstr (why, "table y, item 120"), "%s", why);
}
