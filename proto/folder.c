/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "proto/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { GRACE_S = 10 };

/* A living owner has its folder locked, but for an instant after it made it. */
static void sweep (const char *base, const char *prefix)
{
    DIR *dir = opendir (base);
    for (struct dirent *e; dir && (e = readdir (dir)) != NULL;) {
        struct stat st;
        if (strncmp (e->d_name, prefix, strlen (prefix)))
            continue;
        int fd = openat (dirfd (dir), e->d_name,
                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        char *path = NULL;
        if (fd >= 0 && fstat (fd, &st) == 0 && st.st_uid == geteuid () &&
            st.st_mtime < time (NULL) - GRACE_S && flock (fd, LOCK_EX | LOCK_NB) == 0 &&
            asprintf (&path, "%s/%s", base, e->d_name) > 0)
            folder_remove (path);
        free (path);
        if (fd >= 0)
            close (fd);
    }
    if (dir)
        closedir (dir);
}

char *folder_make (const char *base, const char *prefix, int *lock)
{
    char *path = NULL;
    sweep (base, prefix);
    if (asprintf (&path, "%s/%sXXXXXX", base, prefix) < 0)
        return NULL;
    if (!mkdtemp (path)) {
        free (path);
        return NULL;
    }
    /* Where nothing can be locked nobody finds that it is not. */
    *lock = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock >= 0)
        flock (*lock, LOCK_SH);
    return path;
}

static bool nothing_changed, keep_top;
static unsigned left; /* what could not be removed */

/* People may take rights away from their own folders: give them back. */
static void open_up (const char *path)
{
    struct stat st;
    if (lstat (path, &st) == 0 && S_ISDIR (st.st_mode) && (st.st_mode & 0700) != 0700 &&
        chmod (path, 0700) == 0)
        nothing_changed = false;
}

static int remove_one (const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    if (keep_top && ftw->level == 0 && type == FTW_DP)
        return 0;
    int rc =
        type == FTW_DP || type == FTW_DNR || type == FTW_D ? rmdir (path) : unlink (path);
    if (rc == 0) {
        nothing_changed = false;
        return 0;
    }
    left++;
    if (type == FTW_DNR)
        open_up (path);
    else if (errno == EACCES && ftw->base > 1) {
        char parent[PATH_MAX];
        snprintf (parent, sizeof parent, "%.*s", ftw->base - 1, path);
        open_up (parent);
        if (unlink (path) < 0 && errno == EISDIR)
            rmdir (path);
    }
    return 0;
}

/* -1: something is left besides the folder itself. */
static int remove_below (const char *path, bool itself)
{
    /* Each pass gets one level deeper into folders that were closed. */
    struct stat st;
    keep_top = !itself;
    for (int pass = 0; pass < 1000; pass++) {
        nothing_changed = true;
        left = 0;
        nftw (path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        if (itself ? lstat (path, &st) < 0 : left == 0)
            return 0;
        if (nothing_changed)
            break;
    }
    return -1;
}

int folder_remove (const char *path)
{
    return remove_below (path, true);
}

int folder_empty (const char *path)
{
    return remove_below (path, false);
}
