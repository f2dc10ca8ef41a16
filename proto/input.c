/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/clock.h"
#include "proto/share.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 1 << 20,
    RETRY_MS = 100 /* short against the 3 s that NFS keeps attributes */
};

static int64_t mtime_ns (const struct stat *info)
{
    return (int64_t) info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
}

static const char *name_of (const input_t *input)
{
    return input->path ? input->path : "the input";
}

/* BLAKE2b-256 of the whole file, wherever the descriptor stands. Returns its
 * length, -1 with errno. */
static int64_t hash_file (int fd, uint8_t digest[FILE_HASH_BYTES])
{
    uint8_t *buffer = malloc (READ_BYTES);
    if (!buffer)
        return -1;
    crypto_generichash_state state;
    (void) crypto_generichash_init (&state, NULL, 0, FILE_HASH_BYTES);
    int64_t at = 0;
    ssize_t n;
    while ((n = pread (fd, buffer, READ_BYTES, at)) != 0) {
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            break;
        (void) crypto_generichash_update (&state, buffer, (size_t) n);
        at += n;
    }
    int why = errno;
    (void) crypto_generichash_final (&state, digest, FILE_HASH_BYTES);
    free (buffer);
    errno = why;
    return n == -1 ? -1 : at;
}

int input_measure (int fd, input_t *input, sluice_error_t *err)
{
    struct stat before, after;
    if (fstat (fd, &before) == -1)
        return sluice_fail (err, SLUICE_EINPUT, "cannot read %s: %s", name_of (input),
                            strerror (errno));
    if (!S_ISREG (before.st_mode))
        return sluice_fail (err, SLUICE_EINPUT, "%s is not a file", name_of (input));
    int64_t size = hash_file (fd, input->digest);
    if (size == -1 || fstat (fd, &after) == -1)
        return sluice_fail (err, SLUICE_EINPUT, "cannot read %s: %s", name_of (input),
                            strerror (errno));
    if (size != after.st_size || mtime_ns (&before) != mtime_ns (&after))
        return sluice_fail (err, SLUICE_EINPUT, "%s changes while it is read",
                            name_of (input));
    input->size = (uint64_t) size;
    input->mtime_ns = mtime_ns (&after);
    return 0;
}

/* One try. Returns a descriptor, or -1; `*again` if waiting may help. */
static int open_once (const share_t *share, const input_t *expected, bool *again,
                      sluice_error_t *err)
{
    int fd =
        share_openat (share, expected->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, err);
    if (fd == -1) {
        /* A server's "it is not there" is kept as well as its attributes. */
        *again = errno == ENOENT || errno == ESTALE;
        return -1;
    }
    input_t found = {.path = expected->path};
    struct stat info;
    *again = true;
    if (fstat (fd, &info) == -1 || !S_ISREG (info.st_mode)) {
        sluice_fail (err, SLUICE_EINPUT, "%s is not a file", expected->path);
        *again = false;
    } else if ((uint64_t) info.st_size != expected->size)
        sluice_fail (err, SLUICE_EINPUT,
                     "stale input: %s has %llu bytes here, %llu when the run began",
                     expected->path, (unsigned long long) info.st_size,
                     (unsigned long long) expected->size);
    else if (input_measure (fd, &found, err) == 0) {
        if (sodium_memcmp (found.digest, expected->digest, FILE_HASH_BYTES) == 0)
            return fd;
        sluice_fail (err, SLUICE_EINPUT,
                     "stale input: %s has another content here than when the run began",
                     expected->path);
    }
    close (fd);
    return -1;
}

int input_open (const share_t *self, const input_t *expected, unsigned patience_ms,
                sluice_error_t *err)
{
    int64_t deadline = clock_ms () + patience_ms;
    for (;;) {
        bool again;
        int fd = open_once (self, expected, &again, err);
        int64_t left = deadline - clock_ms ();
        if (fd != -1 || !again || left <= 0)
            return fd;
        int64_t pause = left < RETRY_MS ? left : RETRY_MS;
        nanosleep (&(struct timespec){.tv_nsec = pause * 1000000}, NULL);
    }
}

void input_clear (input_t *input)
{
    free (input->path);
    memset (input, 0, sizeof *input);
}
