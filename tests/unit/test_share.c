/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I8: no path leads out of the share. */

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/key.h"
#include "proto/share.h"

/* base/share is a share, base/secret a file outside of it. */
static char base[64];
static share_t *share;
static sluice_error_t err;

static void write_file (const char *path, const char *text)
{
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_neq (fd, -1, "%s: %s", path, strerror (errno));
    cr_assert_eq (write (fd, text, strlen (text)), (ssize_t) strlen (text));
    close (fd);
}

static void start (void)
{
    strcpy (base, "/tmp/sluice-test-share-XXXXXX");
    cr_assert (mkdtemp (base), "%s: %s", base, strerror (errno));
    cr_assert_eq (chdir (base), 0);
    write_file ("secret", "secret");
    cr_assert_eq (share_create ("share", &err), 0, "%s", err.text);
    share = share_open ("share", &err);
    cr_assert (share, "%s", err.text);
    mkdir ("share/in", 0700);
    write_file ("share/in/a.txt", "content");
}

static void stop (void)
{
    share_destroy (&share);
    char command[100];
    snprintf (command, sizeof command, "rm -rf %s", base);
    cr_expect_eq (system (command), 0);
}

TestSuite (share, .init = start, .fini = stop);

Test (share, is_made_with_everything_it_needs)
{
    struct stat info;
    cr_assert_eq (stat ("share/.sluice", &info), 0);
    cr_expect_eq (info.st_mode & 07777, 0700);
    cr_assert_eq (stat ("share/.sluice/nodes", &info), 0);
    cr_expect_eq (info.st_mode & 07777, 0700);
    cr_assert_eq (stat ("share/.sluice/runs", &info), 0);
    cr_assert_eq (stat ("share/.sluice/cluster.key", &info), 0);
    cr_expect_eq (info.st_mode & 07777, 0600);
    cr_assert_eq (stat ("share/.sluice/share", &info), 0);
    cr_expect_eq (info.st_size, 33);
    cluster_t *cluster = cluster_new_from_file (share_key_path (share), &err);
    cr_expect (cluster, "%s", err.text);
    cluster_destroy (&cluster);
    cr_expect (share_confined (share));
    cr_expect_eq (share_root (share)[0], '/');
    static const uint8_t zero[SHARE_ID_BYTES];
    cr_expect_neq (memcmp (share_id (share), zero, sizeof zero), 0);
}

Test (share, is_not_made_twice)
{
    uint8_t id[SHARE_ID_BYTES];
    memcpy (id, share_id (share), sizeof id);
    cr_expect_eq (share_create ("share", &err), -1);
    cr_expect_eq (err.code, SLUICE_EINPUT);
    cr_expect (strstr (err.text, "a share already"), "%s", err.text);
    share_t *again = share_open ("share", &err);
    cr_assert (again);
    cr_expect_arr_eq (share_id (again), id, sizeof id);
    share_destroy (&again);
    /* The failed call left nothing behind. */
    cr_expect_eq (system ("test \"$(ls -A share | sort | xargs)\" = '.sluice in'"), 0);
}

Test (share, that_cannot_be_made_leaves_nothing)
{
    cr_expect_eq (share_create ("no/such/parent", &err), -1);
    cr_expect_eq (share_create ("secret", &err), -1, "a file");
    mkdir ("odd", 0700);
    mkdir ("odd/.sluice", 0700);
    write_file ("odd/.sluice/notes", "mine");
    cr_expect_eq (share_create ("odd", &err), -1);
    cr_expect (strstr (err.text, "remove it"), "%s", err.text);
    cr_expect_eq (system ("test \"$(ls -A odd odd/.sluice | xargs)\" = "
                          "'odd: .sluice odd/.sluice: notes'"),
                  0);
    /* An empty .sluice is nobody's: it is used. */
    mkdir ("half", 0700);
    mkdir ("half/.sluice", 0700);
    cr_expect_eq (share_create ("half", &err), 0, "%s", err.text);
}

Test (share, that_is_none_or_broken_is_said)
{
    cr_expect_null (share_open ("share/in", &err));
    cr_expect (strstr (err.text, "sluice init"), "%s", err.text);
    cr_expect_null (share_open ("nowhere", &err));
    write_file ("share/.sluice/share", "0123");
    cr_expect_null (share_open ("share", &err));
    cr_expect (strstr (err.text, "damaged"), "%s", err.text);
    cr_expect_null (share_find ("share/in/a.txt", &err));
    cr_expect_eq (err.code, SLUICE_EINPUT);
    write_file ("share/.sluice/share", "zz23456789abcdef0123456789abcdef\n");
    cr_expect_null (share_open ("share", &err));
    write_file ("share/.sluice/share", "0123456789abcdef0123456789abcdef");
    share_t *mended = share_open ("share", &err);
    cr_expect (mended, "%s", err.text);
    share_destroy (&mended);
}

static void expect_found (const char *path)
{
    share_t *found = share_find (path, &err);
    cr_assert (found, "%s: %s", path, err.text);
    cr_expect_str_eq (share_root (found), share_root (share));
    share_destroy (&found);
}

Test (share, is_found_from_below)
{
    expect_found ("share/in/a.txt");
    expect_found ("share/in/new.h5");
    expect_found ("share/in");
    expect_found ("share");
    expect_found ("share/");
    expect_found ("share/.sluice/cluster.key");
    cr_assert_eq (symlink ("share/in", "link"), 0);
    expect_found ("link/a.txt");
    cr_assert_eq (chdir ("share/in"), 0);
    expect_found ("job.ini");
    expect_found (".");
    cr_assert_eq (chdir (base), 0);

    cr_expect_null (share_find ("secret", &err));
    cr_expect_eq (err.code, SLUICE_OK);
    cr_expect_null (share_find ("/", &err));
    cr_expect_eq (err.code, SLUICE_OK);
    cr_expect_null (share_find ("no/such/folder", &err));
    cr_expect_eq (err.code, SLUICE_EINPUT);
    /* The nearest counts. */
    cr_assert_eq (share_create ("share/in/inner", &err), 0);
    share_t *inner = share_find ("share/in/inner/x", &err);
    cr_assert (inner);
    cr_expect_neq (memcmp (share_id (inner), share_id (share), SHARE_ID_BYTES), 0);
    share_destroy (&inner);
}

Test (share, relative_paths)
{
    char *path = share_relative (share, "share/in/../in/a.txt", &err);
    cr_assert (path, "%s", err.text);
    cr_expect_str_eq (path, "in/a.txt");
    free (path);
    path = share_relative (share, "share", &err);
    cr_assert (path);
    cr_expect_str_eq (path, ".");
    free (path);
    cr_assert_eq (symlink ("../secret", "share/out"), 0);
    cr_expect_null (share_relative (share, "share/out", &err));
    cr_expect (strstr (err.text, "outside the share"), "%s", err.text);
    cr_expect_null (share_relative (share, "secret", &err));
    cr_expect_null (share_relative (share, "share/none", &err));
    /* A folder whose name only begins like the share's is outside. */
    mkdir ("share2", 0700);
    cr_expect_null (share_relative (share, "share2", &err));
}

/* What must hold with openat2 and without. */
ParameterizedTestParameters (share, stays_inside)
{
    static bool walks[] = {false, true};
    return cr_make_param_array (bool, walks, 2);
}

static int try_open (const char *path, int flags)
{
    err.text[0] = 0;
    int fd = share_openat (share, path, flags, 0600, &err);
    if (fd == -1) {
        cr_expect (err.text[0]);
        return -1;
    }
    cr_expect (fcntl (fd, F_GETFD) & FD_CLOEXEC);
    close (fd);
    return 0;
}

ParameterizedTest (bool *walk, share, stays_inside)
{
    share_set_walk (share, *walk);
    cr_assert_eq (symlink ("../secret", "share/up"), 0);
    cr_assert_eq (symlink ("/etc/passwd", "share/absolute"), 0);
    cr_assert_eq (symlink ("..", "share/parent"), 0);
    cr_assert_eq (symlink ("a.txt", "share/in/inner_link"), 0);
    cr_assert_eq (symlink ("/proc/self/root", "share/magic"), 0);
    cr_assert_eq (symlink ("loop", "share/loop"), 0);

    cr_expect_eq (try_open ("in/a.txt", O_RDONLY), 0, "%s", err.text);
    cr_expect_eq (try_open ("in//a.txt", O_RDONLY), 0, "%s", err.text);
    cr_expect_eq (try_open ("./in/./a.txt", O_RDONLY), 0, "%s", err.text);
    cr_expect_eq (try_open (".", O_RDONLY | O_DIRECTORY), 0, "%s", err.text);
    cr_expect_eq (try_open ("in/", O_RDONLY | O_DIRECTORY), 0, "%s", err.text);
    cr_expect_eq (try_open ("in/new", O_WRONLY | O_CREAT | O_EXCL), 0, "%s", err.text);
    cr_expect_eq (access ("share/in/new", F_OK), 0);
    /* A link inside is followed where the kernel can promise that it stays. */
    cr_expect_eq (try_open ("in/inner_link", O_RDONLY), *walk ? -1 : 0, "%s", err.text);

    static const char *const bad[] = {"",
                                      "/etc/passwd",
                                      "../secret",
                                      "in/../../secret",
                                      "..",
                                      "in/..",
                                      "up",
                                      "absolute",
                                      "parent/secret",
                                      "parent/share/in/a.txt",
                                      "magic/etc/passwd",
                                      "loop",
                                      "none",
                                      "none/a",
                                      "in/a.txt/b",
                                      "in/a.txt/",
                                      "/",
                                      "//etc/passwd"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq (try_open (bad[i], O_RDONLY), -1, "'%s'", bad[i]);
    cr_expect_eq (try_open ("../new", O_WRONLY | O_CREAT), -1);
    cr_expect_eq (try_open ("parent/new", O_WRONLY | O_CREAT), -1);
    cr_expect_eq (try_open ("up", O_WRONLY | O_CREAT | O_TRUNC), -1);
    struct stat info;
    cr_expect_eq (stat ("secret", &info), 0);
    cr_expect_eq (info.st_size, 6, "not truncated");
    cr_expect_neq (access ("new", F_OK), 0);

    cr_expect_eq (share_mkdir (share, "runs/ab/cd", &err), 0, "%s", err.text);
    cr_expect_eq (share_mkdir (share, "runs/ab/cd", &err), 0, "%s", err.text);
    cr_expect_eq (share_mkdir (share, "runs//x/", &err), 0, "%s", err.text);
    cr_expect_eq (stat ("share/runs/ab/cd", &info), 0);
    cr_expect (S_ISDIR (info.st_mode));
    cr_expect_eq (stat ("share/runs/x", &info), 0);
    cr_expect_eq (share_mkdir (share, "../oops", &err), -1);
    cr_expect_eq (share_mkdir (share, "/oops", &err), -1);
    cr_expect_eq (share_mkdir (share, "parent/oops", &err), -1);
    cr_expect_eq (share_mkdir (share, "in/a.txt/b", &err), -1);
    cr_expect_neq (access ("oops", F_OK), 0);
}

Test (share, unconfined_takes_any_path)
{
    share_t *open_share = share_new_open (&err);
    cr_assert (open_share, "%s", err.text);
    cr_expect_not (share_confined (open_share));
    cr_expect_str_eq (share_root (open_share), "/");
    cr_expect_str_eq (share_key_path (open_share), "");
    cr_assert_eq (symlink ("../secret", "share/up"), 0);
    char *path = share_relative (open_share, "share/up", &err);
    cr_assert (path, "%s", err.text);
    cr_expect_neq (path[0], '/');
    int fd = share_openat (open_share, path, O_RDONLY, 0, &err);
    cr_expect_neq (fd, -1, "%s", err.text);
    close (fd);
    free (path);
    char folder[100];
    snprintf (folder, sizeof folder, "%s/x/y", base);
    cr_expect_eq (share_mkdir (open_share, folder, &err), 0, "%s", err.text);
    snprintf (folder, sizeof folder, "%s/x/z", base + 1);
    cr_expect_eq (share_mkdir (open_share, folder, &err), 0, "%s", err.text);
    cr_expect_eq (access ("x/y", F_OK), 0);
    cr_expect_eq (access ("x/z", F_OK), 0);
    path = share_relative (open_share, "/", &err);
    cr_assert (path);
    cr_expect_str_eq (path, ".");
    free (path);
    share_destroy (&open_share);
}

static void measure (const char *path, input_t *input)
{
    *input = (input_t){.path = strdup (path)};
    int fd = share_openat (share, path, O_RDONLY, 0, &err);
    cr_assert_neq (fd, -1, "%s", err.text);
    cr_assert_eq (input_measure (fd, input, &err), 0, "%s", err.text);
    close (fd);
}

Test (share, inputs_are_known_by_content)
{
    input_t input;
    measure ("in/a.txt", &input);
    cr_expect_eq (input.size, 7);
    /* b2sum -l 256 of "content" */
    static const uint8_t wanted[4] = {0x2d, 0x49, 0x31, 0x64};
    cr_expect_arr_eq (input.digest, wanted, sizeof wanted);
    int fd = input_open (share, &input, 0, &err);
    cr_expect_neq (fd, -1, "%s", err.text);
    char text[8] = "";
    cr_expect_eq (read (fd, text, 7), 7, "it stands at the beginning");
    cr_expect_str_eq (text, "content");
    close (fd);

    write_file ("share/in/a.txt", "another");
    cr_expect_eq (input_open (share, &input, 0, &err), -1);
    cr_expect (strstr (err.text, "stale input"), "%s", err.text);
    write_file ("share/in/a.txt", "longer than that");
    cr_expect_eq (input_open (share, &input, 0, &err), -1);
    cr_expect (strstr (err.text, "stale input"), "%s", err.text);
    unlink ("share/in/a.txt");
    cr_expect_eq (input_open (share, &input, 0, &err), -1);
    mkdir ("share/in/a.txt", 0700);
    cr_expect_eq (input_open (share, &input, 60000, &err), -1, "at once");
    input_clear (&input);
    cr_expect_null (input.path);
}

Test (share, an_input_that_is_late_is_waited_for)
{
    input_t input;
    measure ("in/a.txt", &input);
    write_file ("share/in/a.txt", "older..");
    pid_t child = fork ();
    if (child == 0) {
        nanosleep (&(struct timespec){.tv_nsec = 300000000}, NULL);
        write_file ("share/in/new", "content");
        _exit (rename ("share/in/new", "share/in/a.txt") != 0);
    }
    int fd = input_open (share, &input, 20000, &err);
    cr_expect_neq (fd, -1, "%s", err.text);
    close (fd);
    input_clear (&input);
}

Test (share, a_fifo_is_no_input)
{
    cr_assert_eq (mkfifo ("share/in/fifo", 0600), 0);
    input_t input = {.path = (char[]){"in/fifo"}, .size = 3};
    cr_expect_eq (input_open (share, &input, 60000, &err), -1, "nor does it hold us up");
    int fd = open ("share/in", O_RDONLY);
    cr_expect_eq (input_measure (fd, &input, &err), -1);
    close (fd);
}
