/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* asprintf */
#include "master/tofile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool tofile_same (const char *one, const char *other)
{
    struct stat a, b;
    return stat (one, &a) == 0 && stat (other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int tofile_spare (const char *path, sluice_error_t *err)
{
    static const char signature[] = "\211HDF\r\n\032\n";
    char begin[sizeof signature - 1];
    int fd = open (path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool is = fd >= 0 && pread (fd, begin, sizeof begin, 0) == (ssize_t) sizeof begin &&
              memcmp (begin, signature, sizeof begin) == 0;
    if (fd >= 0)
        close (fd);
    return is ? sluice_fail (err, SLUICE_EINPUT,
                             "%s: is an HDF5 file, and stays; use another -o", path)
              : 0;
}

static int failed (const tofile_t *self, sluice_error_t *err)
{
    return sluice_fail (err, SLUICE_EOUTPUT, "%s: %s", self->path, strerror (errno));
}

int tofile_open (tofile_t *self, const char *path, sluice_error_t *err)
{
    struct stat st;
    *self = (tofile_t){0};
    bool there = stat (path, &st) == 0;
    if (there && S_ISREG (st.st_mode) && tofile_spare (path, err))
        return -1;
    /* A link stays one: what it leads to is replaced. */
    self->path = there ? realpath (path, NULL) : strdup (path);
    if (!self->path)
        return sluice_fail (err, SLUICE_EOUTPUT, "%s: %s", path, strerror (errno));
    int fd = -1;
    if (there && (!S_ISREG (st.st_mode) || access (path, W_OK) < 0))
        fd = open (path, O_WRONLY | O_CLOEXEC);
    else if (asprintf (&self->temporary, "%s.%d.new", self->path, (int) getpid ()) < 0)
        self->temporary = NULL;
    else
        fd = open (self->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                   0666);
    self->out = fd < 0 ? NULL : fdopen (fd, "w");
    if (self->out)
        return 0;
    failed (self, err);
    free (self->path);
    free (self->temporary);
    *self = (tofile_t){0};
    return -1;
}

int tofile_close (tofile_t *self, bool good, sluice_error_t *err)
{
    if (!self->path)
        return 0;
    int rc = 0;
    bool broken = ferror (self->out);
    if ((fclose (self->out) || broken) && good)
        rc = failed (self, err);
    if (self->temporary && good && rc == 0 && rename (self->temporary, self->path) < 0)
        rc = failed (self, err);
    if (self->temporary && (!good || rc))
        unlink (self->temporary);
    free (self->path);
    free (self->temporary);
    *self = (tofile_t){0};
    return rc;
}
