/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* What lies in a share, where every member may write. By the first byte: the share's id
 * (`i`), the record of a run (`r`), or a path in a message, which must lead to nothing
 * outside, with openat2 (`p`) and without (`w`). */

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/registry.h"
#include "proto/folder.h"
#include "proto/share.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

static char root[] = "/tmp/fuzz-share-XXXXXX", real_root[PATH_MAX];
static share_t *share;

static void clean_up (void)
{
    share_destroy (&share);
    folder_remove (root);
}

static void make (const char *name, const void *data, size_t n)
{
    char path[PATH_MAX];
    snprintf (path, sizeof path, "%s/%s", root, name);
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write (fd, data, n) != (ssize_t) n)
        abort ();
    close (fd);
}

static void set_up (void)
{
    static const char *const links[][2] = {
        {"..", "up"},  {"/etc", "abs"},        {"d/f", "in"},   {"up/up", "upup"},
        {".", "here"}, {"d/../../x", "round"}, {"loop", "loop"}};
    sluice_error_t err;
    char path[PATH_MAX];
    if (!mkdtemp (root) || share_create (root, &err))
        abort ();
    atexit (clean_up);
    snprintf (path, sizeof path, "%s/d", root);
    (void) mkdir (path, 0700);
    snprintf (path, sizeof path, "%s/.sluice/runs/00112233445566778899aabbccddeeff",
              root);
    (void) mkdir (path, 0700);
    make ("d/f", "x", 1);
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf (path, sizeof path, "%s/%s", root, links[i][1]);
        if (symlink (links[i][0], path))
            abort ();
    }
    share = share_open (root, &err);
    if (!share || !realpath (root, real_root))
        abort ();
}

static void open_path (const uint8_t *data, size_t n, bool walk)
{
    sluice_error_t err = {0};
    char *path = strndup ((const char *) data, n), proc[40], where[PATH_MAX];
    share_set_walk (share, walk);
    int fd = path ? share_openat (share, path, O_RDONLY | O_NONBLOCK, 0, &err) : -1;
    free (path);
    if (fd < 0)
        return;
    snprintf (proc, sizeof proc, "/proc/self/fd/%d", fd);
    ssize_t length = readlink (proc, where, sizeof where - 1);
    size_t in = strlen (real_root);
    if (length < (ssize_t) in || strncmp (where, real_root, in) != 0 ||
        (length > (ssize_t) in && where[in] != '/'))
        abort ();
    close (fd);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    static registered_t records[4];
    sluice_error_t err = {0};
    if (!share)
        set_up ();
    if (n == 0)
        return 0;
    if (*data == 'i') {
        make (".sluice/share", data + 1, n - 1);
        share_t *other = share_open (root, &err);
        if (!other && !err.text[0])
            abort ();
        share_destroy (&other);
    } else if (*data == 'r') {
        make (".sluice/runs/00112233445566778899aabbccddeeff/master", data + 1, n - 1);
        bool hangs = false;
        if (registry_list (share, records, 4, &hangs) > 4 || hangs)
            abort ();
    } else {
        open_path (data + 1, n - 1, *data == 'w');
    }
    return 0;
}
