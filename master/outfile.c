/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* fallocate */
#include "master/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "proto/clock.h"

/* Seconds that a limited writer may write ahead of its rate: the shortest
 * sleep worth making. */
#define AHEAD 0.01
/* And what it may make good when it was late: it is woken late more often than not. */
#define BEHIND 0.1

/* What is written in large pieces goes past the page cache where the file system does
 * that well: the copy into it costs more than all else that the writer does, and the
 * disk is three times as fast (bench/results). Not the first bytes of a file: a small
 * output is read at once, from memory. */
enum {
    BLOCK = 4096, /* what addresses, lengths and memory are to be multiples of */
    DIRECT_LEAST = 128 << 10,
    DIRECT_FROM = 64 << 20,
    BOUNCE_BYTES = 1 << 20
};
/* From linux/magic.h, which has not both everywhere. */
enum { MAGIC_EXT4 = 0xef53, MAGIC_XFS = 0x58465342 };

struct outfile {
    int fd;
    uint64_t rate;
    double paid;   /* until when what was written is paid for */
    uint64_t size; /* of the file, as far as we made it */
    bool full;
    int direct;      /* the same file with O_DIRECT; -1: not here */
    uint8_t *bounce; /* aligned memory, made when it is needed */
    bool used;       /* direct was */
};

/* The same file, to be written past the page cache; -1 where that is not known to do
 * any good. */
static int open_direct (int fd)
{
    char path[40];
    struct statfs fs;
    if (fstatfs (fd, &fs) < 0 || (fs.f_type != MAGIC_EXT4 && fs.f_type != MAGIC_XFS))
        return -1;
    snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
    return open (path, O_WRONLY | O_DIRECT | O_CLOEXEC);
}

outfile_t *outfile_new (int fd, uint64_t rate)
{
    outfile_t *self = calloc (1, sizeof *self);
    struct stat st;
    if (!self || fstat (fd, &st) < 0) {
        free (self);
        close (fd);
        return NULL;
    }
    *self = (outfile_t){.fd = fd,
                        .rate = rate,
                        .paid = clock_seconds (),
                        .size = (uint64_t) st.st_size,
                        .direct = open_direct (fd)};
    return self;
}

void outfile_destroy (outfile_t **self_p)
{
    if (!*self_p)
        return;
    close ((*self_p)->fd);
    if ((*self_p)->direct >= 0)
        close ((*self_p)->direct);
    free ((*self_p)->bounce);
    free (*self_p);
    *self_p = NULL;
}

int outfile_fd (const outfile_t *self)
{
    return self->fd;
}

static int failed (outfile_t *self, const char *what, sluice_error_t *err)
{
    self->full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
    return sluice_fail (err, SLUICE_EOUTPUT, "cannot %s the output: %s", what,
                        strerror (errno));
}

static void wait_for_rate (outfile_t *self, size_t n)
{
    double at = clock_seconds ();
    if (self->paid < at - BEHIND)
        self->paid = at - BEHIND;
    self->paid += (double) n / (double) self->rate;
    double wait = self->paid - at;
    if (wait < AHEAD)
        return;
    struct timespec ts = {(time_t) wait, (long) ((wait - (double) (time_t) wait) * 1e9)};
    while (nanosleep (&ts, &ts) < 0 && errno == EINTR)
        continue;
}

bool write_fully (int fd, const void *data, size_t n, uint64_t address)
{
    const uint8_t *bytes = data;
    while (n > 0) {
        ssize_t done = pwrite (fd, bytes, n, (off_t) address);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            if (done == 0)
                errno = ENOSPC;
            return false;
        }
        bytes += done;
        n -= (size_t) done;
        address += (uint64_t) done;
    }
    return true;
}

int outfile_whole (outfile_t *self, sluice_error_t *err)
{
    struct stat st;
    if (fstat (self->fd, &st) < 0 || (uint64_t) st.st_size >= self->size)
        return 0;
    self->full = false;
    return sluice_fail (
        err, SLUICE_EOUTPUT,
        "somebody cut the output short while it was being written: it has "
        "%llu bytes of %llu",
        (unsigned long long) st.st_size, (unsigned long long) self->size);
}

/* Put what does not fill a block into one that ends with zeros. */
static void pad_block (outfile_t *self, const uint8_t *data, size_t n)
{
    memcpy (self->bounce, data, n);
    memset (self->bounce + n, 0, BLOCK - n);
}

/* Write past the page cache: as many whole blocks as there are, from memory that may lie
 * anywhere, and with `pad` the rest as one, filled with zeros. *done: how much of it. */
static bool write_direct (outfile_t *self, const uint8_t *data, size_t n,
                          uint64_t address, bool pad, size_t *done)
{
    size_t whole = n - n % BLOCK, rest = pad ? n - whole : 0;
    *done = 0;
    if (!self->bounce && !(self->bounce = aligned_alloc (BLOCK, BOUNCE_BYTES)))
        return false;
    if ((uintptr_t) data % BLOCK == 0) {
        /* In one go where that works: each write waits for the disk. */
        struct iovec parts[2] = {{(void *) (uintptr_t) data, whole},
                                 {self->bounce, BLOCK}};
        pad_block (self, data + whole, rest);
        ssize_t got = pwritev (self->direct, parts, rest ? 2 : 1, (off_t) address);
        if (got < 0 && errno != EINTR)
            return false;
        *done = got > 0 ? (size_t) got / BLOCK * BLOCK : 0;
    }
    while (*done < whole) {
        size_t now = whole - *done < BOUNCE_BYTES ? whole - *done : BOUNCE_BYTES;
        memcpy (self->bounce, data + *done, now);
        if (!write_fully (self->direct, self->bounce, now, address + *done))
            return false;
        *done += now;
    }
    if (rest && *done == whole) {
        pad_block (self, data + whole, rest);
        if (!write_fully (self->direct, self->bounce, BLOCK, address + whole))
            return false;
        *done = n;
    }
    return true;
}

static bool write_best (outfile_t *self, const uint8_t *data, size_t n, uint64_t address,
                        bool pad)
{
    size_t done;
    if (self->direct < 0 || n < DIRECT_LEAST || address < DIRECT_FROM ||
        address % BLOCK != 0)
        return write_fully (self->fd, data, n, address);
    if (!write_direct (self, data, n, address, pad, &done)) {
        if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
            return false;
        /* It cannot do it after all, or the disk is broken, which shows here, too. */
        close (self->direct);
        self->direct = -1;
        return write_fully (self->fd, data, n, address);
    }
    self->used = true;
    return done >= n || write_fully (self->fd, data + done, n - done, address + done);
}

bool outfile_direct (const outfile_t *self)
{
    return self->used;
}

static int write_at (outfile_t *self, const void *data, size_t n, uint64_t address,
                     bool pad, sluice_error_t *err)
{
    if (address + n > self->size && outfile_whole (self, err) < 0)
        return -1;
    if (!write_best (self, data, n, address, pad))
        return failed (self, "write to", err);
    if (address + n > self->size)
        self->size = address + n;
    self->full = false;
    if (self->rate)
        wait_for_rate (self, n);
    return 0;
}

int outfile_write (outfile_t *self, const void *data, size_t n, uint64_t address,
                   sluice_error_t *err)
{
    return write_at (self, data, n, address, false, err);
}

int outfile_write_extent (outfile_t *self, const void *data, size_t n, uint64_t address,
                          sluice_error_t *err)
{
    return write_at (self, data, n, address, true, err);
}

int outfile_read (outfile_t *self, void *data, size_t n, uint64_t address,
                  sluice_error_t *err)
{
    uint8_t *bytes = data;
    while (n > 0) {
        ssize_t done = pread (self->fd, bytes, n, (off_t) address);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return sluice_fail (err, SLUICE_EOUTPUT, "cannot read the output back: %s",
                                strerror (errno));
        if (done == 0)
            return sluice_fail (err, SLUICE_EOUTPUT,
                                "the output was cut by somebody else: byte %llu is gone",
                                (unsigned long long) address);
        bytes += done;
        n -= (size_t) done;
        address += (uint64_t) done;
    }
    return 0;
}

int outfile_grow (outfile_t *self, uint64_t least, uint64_t wanted, sluice_error_t *err)
{
    if (outfile_whole (self, err) < 0)
        return -1;
    if (self->size >= wanted)
        return 0;
    if (ftruncate (self->fd, (off_t) wanted) == 0) {
        self->size = wanted;
        return 0;
    }
    if (self->size >= least)
        return 0;
    if (ftruncate (self->fd, (off_t) least) < 0)
        return failed (self, "extend", err);
    self->size = least;
    return 0;
}

int outfile_cut (outfile_t *self, uint64_t size, sluice_error_t *err)
{
    if (ftruncate (self->fd, (off_t) size) < 0)
        return failed (self, "cut", err);
    self->size = size;
    return 0;
}

void outfile_punch (outfile_t *self, uint64_t address, uint64_t bytes)
{
    /* Not all file systems can; then the blocks stay, which harms nobody. */
    int rc = fallocate (self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t) address, (off_t) bytes);
    (void) rc;
}

bool outfile_full (const outfile_t *self)
{
    return self->full;
}
void outfile_clear (outfile_t *self)
{
    self->full = false;
}
