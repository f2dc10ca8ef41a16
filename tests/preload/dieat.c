/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* dieat - die, or find the disk full, at the n-th change of a file
 *
 * Loaded with LD_PRELOAD. Counts every call that changes a file; settings are
 * in the environment:
 *
 *   SLUICE_DIE_AT=n    the process ends (status 99) at the n-th call; of a write of
 *                      more than a page the first half is made
 *   SLUICE_LOSE=seed   who dies so loses power, too: of every sector written since the
 *                      last sync the disk has any one of the states it was in
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
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DIED = 99, PAGE = 4096, SECTOR = 512, SECTORS = 1 << 20 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long calls, die_at, full_at, full_for;
static int asked;

static long number (const char *name, long otherwise)
{
    const char *text = getenv (name);
    return text ? atol (text) : otherwise;
}

/* ---- power loss ------------------------------------------------------------------- */

/* What stood where a write went that is not durable yet; a list, newest first. */
typedef struct undo {
    struct undo *older;
    int fd;
    long number;
    off_t at;
    size_t n;
    unsigned char before[];
} undo_t;

static undo_t *undos;
static long seed = -1;

/* Remember what is there before a write. The mutex is held. */
static void remember (int fd, size_t n, off_t at)
{
    off_t from = at / SECTOR * SECTOR;
    n = ((size_t) (at - from) + n + SECTOR - 1) / SECTOR * SECTOR;
    undo_t *undo = calloc (1, sizeof *undo + n);
    if (!undo || pread (fd, undo->before, n, from) < 0)
        _exit (DIED + 1);
    *undo = (undo_t){.older = undos, .fd = fd, .number = calls, .at = from, .n = n};
    undos = undo;
}

/* Writes up to this one are durable. The mutex is held. */
static void forget (long number)
{
    undo_t **at = &undos;
    while (*at && (*at)->number > number)
        at = &(*at)->older;
    undo_t *undo = *at;
    *at = NULL;
    while (undo) {
        undo_t *older = undo->older;
        free (undo);
        undo = older;
    }
}

/* Take sectors back to earlier states: each goes back through its writes as long
 * as the dice say so. */
static void lose (ssize_t (*real) (int, const void *, size_t, off_t))
{
    static unsigned char kept[SECTORS];
    for (undo_t *undo = undos; undo; undo = undo->older)
        for (size_t i = 0; i < undo->n; i += SECTOR) {
            size_t sector = (size_t) (undo->at + (off_t) i) / SECTOR;
            if (sector >= SECTORS)
                _exit (DIED + 1);
            if (!kept[sector] && rand () % 2)
                kept[sector] = 1;
            if (!kept[sector] &&
                real (undo->fd, undo->before + i, SECTOR, undo->at + (off_t) i) < 0)
                _exit (DIED + 1);
        }
}

/* ---- the n-th call ------------------------------------------------------------------
 */

typedef enum { GO_ON, DIE, FULL } verdict_t;

static verdict_t count (int is_write)
{
    pthread_mutex_lock (&mutex);
    if (!asked) {
        asked = 1;
        die_at = number ("SLUICE_DIE_AT", 0);
        full_at = number ("SLUICE_FULL_AT", 0);
        full_for = number ("SLUICE_FULL_FOR", 1);
        seed = number ("SLUICE_LOSE", -1);
        if (seed >= 0)
            srand ((unsigned) seed);
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
        if (seed >= 0) {
            remember (fd, n, at);
            if (real (fd, data, n, at) == (ssize_t) n)
                lose (real);
        } else if (n > PAGE && real (fd, data, n / 2 / PAGE * PAGE, at) < 0)
            _exit (DIED + 1);
        _exit (DIED);
    case FULL:
        errno = ENOSPC;
        return -1;
    default:
        break;
    }
    if (seed < 0)
        return real (fd, data, n, at);
    /* one write at a time, so that the states of a sector have an order */
    pthread_mutex_lock (&mutex);
    remember (fd, n, at);
    ssize_t done = real (fd, data, n, at);
    pthread_mutex_unlock (&mutex);
    return done;
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
    if (count (0) != DIE)
        return;
    if (seed >= 0) {
        REAL (ssize_t, "pwrite", int, const void *, size_t, off_t);
        lose (real);
    }
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
    pthread_mutex_lock (&mutex);
    long number_before = calls;
    pthread_mutex_unlock (&mutex);
    int rc = real (fd);
    pthread_mutex_lock (&mutex);
    if (seed >= 0 && rc == 0)
        forget (number_before);
    pthread_mutex_unlock (&mutex);
    return rc;
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
