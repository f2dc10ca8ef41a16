/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "proto/segments.h"

enum { BYTES = 100000 };

Test (segments, the_agent_reads_what_the_worker_writes)
{
    sluice_error_t err = {0};
    void *map = NULL;
    int fd = segment_make (BYTES, &map, &err);
    cr_assert (fd >= 0, "%s", err.text);
    memset (map, 7, BYTES);
    const unsigned char *seen = segment_map (dup (fd), BYTES, &err);
    cr_assert_not_null (seen, "%s", err.text);
    cr_assert_eq (seen[BYTES - 1], 7);
    close (fd);
    ((unsigned char *) map)[5] = 8; /* recycled: the mapping is the same memory */
    cr_assert_eq (seen[5], 8);
    munmap (map, BYTES);
    cr_assert_eq (seen[5], 8, "it outlives the worker's mapping");
    segment_unmap (seen, BYTES);
}

Test (segments, nobody_can_change_the_size)
{
    sluice_error_t err = {0};
    void *map = NULL;
    int fd = segment_make (BYTES, &map, &err);
    cr_assert (fd >= 0, "%s", err.text);
    cr_assert_lt (ftruncate (fd, 10), 0);
    cr_assert_eq (errno, EPERM);
    cr_assert_lt (ftruncate (fd, 10 * BYTES), 0);
    cr_assert_lt (fcntl (fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    munmap (map, BYTES);
    close (fd);
}

Test (segments, the_mapping_is_for_reading)
{
    sluice_error_t err = {0};
    void *map = NULL;
    int fd = segment_make (BYTES, &map, &err);
    const void *seen = segment_map (fd, BYTES, &err);
    cr_assert_not_null (seen, "%s", err.text);
    int pipe_ends[2];
    cr_assert_eq (pipe (pipe_ends), 0);
    cr_assert_eq (write (pipe_ends[1], "x", 1), 1);
    cr_assert_lt (read (pipe_ends[0], (void *) (uintptr_t) seen, 1), 0);
    cr_assert_eq (errno, EFAULT);
}

Test (segments, what_is_no_segment_is_refused)
{
    sluice_error_t err = {0};
    int fd = memfd_create ("other", MFD_ALLOW_SEALING);
    cr_assert_eq (ftruncate (fd, BYTES), 0);
    cr_assert_null (segment_map (dup (fd), BYTES, &err), "without seals");
    cr_assert_eq (err.code, SLUICE_EPROTO);
    cr_assert_eq (fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    cr_assert_null (segment_map (dup (fd), BYTES, &err), "with one of them");
    cr_assert_null (segment_map (open ("/dev/null", O_RDONLY), BYTES, &err));
    cr_assert_null (segment_map (-1, BYTES, &err));
    void *map;
    int made = segment_make (BYTES, &map, &err);
    cr_assert_null (segment_map (dup (made), BYTES + 4096, &err), "of another size");
    cr_assert_not_null (strstr (err.text, "100000"));
}

Test (segments, the_descriptor_is_taken_over)
{
    sluice_error_t err = {0};
    void *map;
    int fd = segment_make (BYTES, &map, &err);
    cr_assert_not_null (segment_map (fd, BYTES, &err));
    cr_assert_lt (fcntl (fd, F_GETFD), 0);
    int other = open ("/dev/null", O_RDONLY);
    cr_assert_null (segment_map (other, BYTES, &err));
    cr_assert_lt (fcntl (other, F_GETFD), 0);
}
