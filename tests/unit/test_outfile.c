/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "master/outfile.h"
#include "proto/clock.h"

enum { PAGE = 4096, MIB = 1 << 20, FAR = 64 * MIB };

static sluice_error_t err;
static outfile_t *file;
static uint8_t *bytes; /* 3 MiB, aligned */

/* In the folder that the tests run in, which lies on a disk as a rule. */
static void start (void)
{
    char path[] = "test_outfile-XXXXXX";
    int fd = mkstemp (path);
    cr_assert_geq (fd, 0);
    unlink (path);
    file = outfile_new (fd, 0);
    cr_assert_not_null (file);
    bytes = aligned_alloc (PAGE, 3 * MIB);
    for (size_t i = 0; i < 3 * MIB; i++)
        bytes[i] = (uint8_t) (i * 2654435761u >> 13);
}

static void stop (void)
{
    outfile_destroy (&file);
    free (bytes);
}

TestSuite (outfile, .init = start, .fini = stop);

static void check_read (uint64_t address, const uint8_t *want, size_t n)
{
    uint8_t *got = malloc (n);
    cr_assert_eq (outfile_read (file, got, n, address, &err), 0, "%s", err.text);
    cr_assert_eq (memcmp (got, want, n), 0, "%zu bytes at %llu", n,
                  (unsigned long long) address);
    free (got);
}

/* Near and far, from memory that is aligned or not, with and without a rest. */
Test (outfile, what_is_written_is_there_however_it_went)
{
    static const size_t sizes[] = {1,       PAGE,         128 << 10, (128 << 10) + 1,
                                   MIB - 1, MIB,          MIB + 16,  2 * MIB + PAGE - 1,
                                   MIB / 2, 2 * MIB + 777};
    static const uint64_t places[] = {0, FAR, FAR + 8 * MIB + 512, FAR + 20 * MIB};
    for (size_t skip = 0; skip < 24; skip += 8)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
                uint64_t at = places[k] + 4 * MIB * i;
                cr_assert_eq (outfile_write (file, bytes + skip, sizes[i], at, &err), 0,
                              "%s", err.text);
                check_read (at, bytes + skip, sizes[i]);
                at += 200 * MIB - at % PAGE;
                cr_assert_eq (
                    outfile_write_extent (file, bytes + skip, sizes[i], at, &err), 0,
                    "%s", err.text);
                check_read (at, bytes + skip, sizes[i]);
            }
}

/* Only what is told to be an extent may be followed by zeros. */
Test (outfile, what_lies_behind_stays)
{
    static const size_t n = MIB + 100;
    uint64_t at = FAR;
    cr_assert_eq (outfile_write (file, bytes, PAGE, at + n, &err), 0);
    cr_assert_eq (outfile_write (file, bytes, n, at, &err), 0);
    check_read (at + n, bytes, PAGE);
    at += 8 * MIB;
    uint64_t page = (at + n + PAGE - 1) / PAGE * PAGE;
    cr_assert_eq (outfile_write (file, bytes, PAGE, page, &err), 0);
    cr_assert_eq (outfile_write_extent (file, bytes, n, at, &err), 0);
    check_read (page, bytes, PAGE);
    check_read (at, bytes, n);
}

/* Part by part, as open chunks are: a block that went past the cache is added to. */
Test (outfile, parts_of_a_block_come_together)
{
    uint64_t at = FAR;
    size_t done = 0;
    static const size_t parts[] = {200001, 77, 300000, 5000, 131072};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        cr_assert_eq (outfile_write (file, bytes + done, parts[i], at + done, &err), 0);
        done += parts[i];
        check_read (at, bytes, done);
    }
}

Test (outfile, a_file_cut_by_somebody_else_is_noticed)
{
    cr_assert_eq (outfile_write_extent (file, bytes, MIB + 100, FAR, &err), 0);
    cr_assert_eq (outfile_whole (file, &err), 0);
    cr_assert_eq (ftruncate (outfile_fd (file), FAR), 0);
    cr_expect_eq (outfile_whole (file, &err), -1);
    cr_expect_eq (outfile_write (file, bytes, PAGE, FAR + 4 * MIB, &err), -1);
    cr_expect_not_null (strstr (err.text, "cut the output short"));
}

/* What a sleep took too long is made good; what nobody wrote is not. */
Test (outfile, a_rate_is_kept)
{
    enum { RATE = 20 * MIB, PIECES = 160, PIECE = 64 << 10 };
    int fd = dup (outfile_fd (file));
    outfile_destroy (&file);
    file = outfile_new (fd, RATE);
    double began = clock_seconds ();
    for (uint64_t i = 0; i < PIECES; i++)
        cr_assert_eq (outfile_write (file, bytes, PIECE, i * PIECE, &err), 0);
    double took = clock_seconds () - began;
    cr_expect_gt (took, (double) PIECES * PIECE / RATE - 0.2); /* never faster */
}
