/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* A disk that does not answer: pwrite and fdatasync wait while the file $SLUICE_HANG
 * is there. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(type, name, ...)                                                            \
    static type (*real) (__VA_ARGS__);                                                   \
    if (!real)                                                                           \
    *(void **) &real = dlsym (RTLD_NEXT, name)

static void wait_for_disk (void)
{
    const char *file = getenv ("SLUICE_HANG");
    while (file && access (file, F_OK) == 0)
        usleep (20000);
}

ssize_t pwrite (int fd, const void *data, size_t n, off_t at)
{
    REAL (ssize_t, "pwrite", int, const void *, size_t, off_t);
    wait_for_disk ();
    return real (fd, data, n, at);
}

ssize_t pwrite64 (int fd, const void *data, size_t n, off_t at)
{
    REAL (ssize_t, "pwrite64", int, const void *, size_t, off_t);
    wait_for_disk ();
    return real (fd, data, n, at);
}

int fdatasync (int fd)
{
    REAL (int, "fdatasync", int);
    wait_for_disk ();
    return real (fd);
}
