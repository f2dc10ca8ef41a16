/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* dieat - die, or find the disk full, at the n-th change of a file
 *
 * Loaded with LD_PRELOAD. Counts every call that changes a file; settings are
 * in the environment:
 *
 *   SLUICE_DIE_AT=n    the process ends (status 99) at the n-th call; of a write of
 *                      more than a page the first half is made
 *   SLUICE_FULL_AT=n   writes from the n-th call on fail with ENOSPC ...
 *   SLUICE_FULL_FOR=m  ... m times (1)
 *   SLUICE_COUNT=path  write the number of calls there at exit
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DIED = 99, PAGE = 4096 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long calls, die_at, full_at, full_for;
static int asked;

static long number (const char *name, long otherwise)
{
    const char *text = getenv (name);
    return text ? atol (text) : otherwise;
}

typedef enum { GO_ON, DIE, FULL } verdict_t;

static verdict_t count (int is_write)
{
    pthread_mutex_lock (&mutex);
    if (!asked) {
        asked = 1;
        die_at = number ("SLUICE_DIE_AT", 0);
        full_at = number ("SLUICE_FULL_AT", 0);
        full_for = number ("SLUICE_FULL_FOR", 1);
    }
    verdict_t verdict = GO_ON;
    if (++calls == die_at)
        verdict = DIE;
    else if (is_write && full_at && calls >= full_at && full_for > 0) {
        full_for--;
        verdict = FULL;
    }
    if (verdict != DIE) /* who dies keeps others from writing meanwhile */
        pthread_mutex_unlock (&mutex);
    return verdict;
}

__attribute__ ((destructor)) static void say (void)
{
    const char *path = getenv ("SLUICE_COUNT");
    FILE *out = path ? fopen (path, "w") : NULL;
    if (out) {
        fprintf (out, "%ld\n", calls);
        fclose (out);
    }
}

#define REAL(type, name, ...)                                                            \
    static type (*real) (__VA_ARGS__);                                                   \
    if (!real)                                                                           \
    *(void **) &real = dlsym (RTLD_NEXT, name)

static ssize_t do_pwrite (ssize_t (*real) (int, const void *, size_t, off_t), int fd,
                          const void *data, size_t n, off_t at)
{
    switch (count (1)) {
    case DIE:
        if (n > PAGE && real (fd, data, n / 2 / PAGE * PAGE, at) < 0)
            _exit (DIED);
        _exit (DIED);
    case FULL:
        errno = ENOSPC;
        return -1;
    default:
        return real (fd, data, n, at);
    }
}

ssize_t pwrite (int fd, const void *data, size_t n, off_t at)
{
    REAL (ssize_t, "pwrite", int, const void *, size_t, off_t);
    return do_pwrite (real, fd, data, n, at);
}

ssize_t pwrite64 (int fd, const void *data, size_t n, off_t at)
{
    REAL (ssize_t, "pwrite64", int, const void *, size_t, off_t);
    return do_pwrite (real, fd, data, n, at);
}

/* The others die before they do anything. */
static void pass (void)
{
    if (count (0) == DIE)
        _exit (DIED);
}

ssize_t pwritev (int fd, const struct iovec *parts, int n, off_t at)
{
    REAL (ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    pass ();
    return real (fd, parts, n, at);
}

int ftruncate (int fd, off_t size)
{
    REAL (int, "ftruncate", int, off_t);
    pass ();
    return real (fd, size);
}

int ftruncate64 (int fd, off_t size)
{
    REAL (int, "ftruncate64", int, off_t);
    pass ();
    return real (fd, size);
}

int fallocate (int fd, int mode, off_t at, off_t n)
{
    REAL (int, "fallocate", int, int, off_t, off_t);
    pass ();
    return real (fd, mode, at, n);
}

int fdatasync (int fd)
{
    REAL (int, "fdatasync", int);
    pass ();
    return real (fd);
}

int fsync (int fd)
{
    REAL (int, "fsync", int);
    pass ();
    return real (fd);
}

int renameat (int a, const char *from, int b, const char *to)
{
    REAL (int, "renameat", int, const char *, int, const char *);
    pass ();
    return real (a, from, b, to);
}

int renameat2 (int a, const char *from, int b, const char *to, unsigned flags)
{
    REAL (int, "renameat2", int, const char *, int, const char *, unsigned);
    pass ();
    return real (a, from, b, to, flags);
}

int linkat (int a, const char *from, int b, const char *to, int flags)
{
    REAL (int, "linkat", int, const char *, int, const char *, int);
    pass ();
    return real (a, from, b, to, flags);
}

int unlinkat (int a, const char *name, int flags)
{
    REAL (int, "unlinkat", int, const char *, int);
    pass ();
    return real (a, name, flags);
}
