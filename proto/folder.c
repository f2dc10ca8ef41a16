/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "proto/folder.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool nothing_changed;

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
    int rc =
        type == FTW_DP || type == FTW_DNR || type == FTW_D ? rmdir (path) : unlink (path);
    if (rc == 0) {
        nothing_changed = false;
        return 0;
    }
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

int folder_remove (const char *path)
{
    /* Each pass gets one level deeper into folders that were closed. */
    struct stat st;
    for (int pass = 0; pass < 1000; pass++) {
        nothing_changed = true;
        nftw (path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        if (lstat (path, &st) < 0)
            return 0;
        if (nothing_changed)
            break;
    }
    return -1;
}
