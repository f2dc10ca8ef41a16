/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* O_PATH */
#include "proto/share.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/key.h"
#include "proto/text.h"

enum { ID_TEXT = 2 * SHARE_ID_BYTES };

struct share {
    char *root;     /* absolute, links resolved */
    char *key_path; /* "" if unconfined */
    int fd;
    bool confined;
    bool walk; /* without openat2 */
    uint8_t id[SHARE_ID_BYTES];
};

static int no_memory (sluice_error_t *err)
{
    return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a path");
}

/* "DIR/NAME", malloc'd. */
static char *join (const char *dir, const char *name)
{
    char *path;
    bool slash = dir[0] && dir[strlen (dir) - 1] == '/';
    return asprintf (&path, "%s%s%s", dir, slash ? "" : "/", name) == -1 ? NULL : path;
}

/* ---- making one --------------------------------------------------------- */

static int write_id (int dir, sluice_error_t *err)
{
    uint8_t id[SHARE_ID_BYTES];
    char text[ID_TEXT + 2];
    random_bytes (id, sizeof id);
    text_hex (id, sizeof id, text);
    text[ID_TEXT] = '\n';
    int fd = openat (dir, "share", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool written =
        fd != -1 && write (fd, text, ID_TEXT + 1) == ID_TEXT + 1 && fsync (fd) == 0;
    int why = errno;
    if (fd != -1)
        close (fd);
    return written ? 0
                   : sluice_fail (err, SLUICE_ESYSTEM, "cannot write the share's id: %s",
                                  strerror (why));
}

/* Fill the new folder `path`, which is not yet in its place. */
static int fill (const char *path, sluice_error_t *err)
{
    int dir = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *key = join (path, "cluster.key");
    int result = -1;
    if (!key)
        no_memory (err);
    else if (dir == -1 || mkdirat (dir, "nodes", 0700) == -1 ||
             mkdirat (dir, "runs", 0700) == -1)
        sluice_fail (err, SLUICE_ESYSTEM, "cannot fill %s: %s", path, strerror (errno));
    else if (write_id (dir, err) == 0 && key_create (key, err) == 0)
        result = fsync (dir) == 0
                     ? 0
                     : sluice_fail (err, SLUICE_ESYSTEM, "cannot make %s durable: %s",
                                    path, strerror (errno));
    free (key);
    if (dir != -1)
        close (dir);
    return result;
}

/* Undo `fill`. */
static void empty (const char *path)
{
    int dir = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir != -1) {
        unlinkat (dir, "share", 0);
        unlinkat (dir, "cluster.key", 0);
        unlinkat (dir, "nodes", AT_REMOVEDIR);
        unlinkat (dir, "runs", AT_REMOVEDIR);
        close (dir);
    }
    rmdir (path);
}

/* Put the filled folder `made` in its place, all of it or nothing. */
static int put_in_place (const char *made, const char *place, const char *dir,
                         sluice_error_t *err)
{
    if (rename (made, place) == 0)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot make %s: %s", place,
                            strerror (errno));
    char *id = join (place, "share");
    bool is_share = id && access (id, F_OK) == 0;
    free (id);
    if (is_share)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s is a share already: nothing was changed", dir);
    return sluice_fail (err, SLUICE_EINPUT,
                        "%s is there but is not of a share: remove it, then try again",
                        place);
}

int share_create (const char *dir, sluice_error_t *err)
{
    bool new_dir = mkdir (dir, 0777) == 0;
    if (!new_dir && errno != EEXIST)
        return sluice_fail (err, SLUICE_EINPUT, "cannot make the folder %s: %s", dir,
                            strerror (errno));
    int result = -1;
    char *place = join (dir, ".sluice"), *made = join (dir, ".sluice-XXXXXX");
    if (!place || !made)
        no_memory (err);
    else if (!mkdtemp (made)) /* 0700 */
        sluice_fail (err, SLUICE_EINPUT, "cannot make %s: %s", place, strerror (errno));
    else if (fill (made, err) == -1 || put_in_place (made, place, dir, err) == -1)
        empty (made);
    else
        result = 0;
    if (result == 0) {
        int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd != -1) {
            (void) fsync (fd); /* it is there; at worst power loss undoes it whole */
            close (fd);
        }
    }
    free (place);
    free (made);
    if (result == -1 && new_dir)
        rmdir (dir);
    return result;
}

/* ---- opening one -------------------------------------------------------- */

/* Read the share's id. 1: there is none, so that this is no share. */
static int read_id (const char *root, uint8_t id[SHARE_ID_BYTES], sluice_error_t *err)
{
    char *path = join (root, ".sluice/share");
    if (!path)
        return no_memory (err);
    int result;
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd == -1) {
        result = errno == ENOENT || errno == ENOTDIR
                     ? 1
                     : sluice_fail (err, SLUICE_EINPUT, "cannot read %s: %s%s", path,
                                    strerror (errno),
                                    errno == EACCES ? "; a share is for one user" : "");
    } else {
        char text[ID_TEXT + 2];
        ssize_t n = read (fd, text, sizeof text);
        bool ends = n == ID_TEXT || (n == ID_TEXT + 1 && text[ID_TEXT] == '\n');
        result = ends && text_unhex (text, SHARE_ID_BYTES, id)
                     ? 0
                     : sluice_fail (err, SLUICE_EINPUT,
                                    "%s is damaged: it must hold %d hex digits", path,
                                    ID_TEXT);
        close (fd);
    }
    free (path);
    return result;
}

/* Of the absolute path `root`, which the share owns from now on. */
static share_t *open_root (char *root, bool confined, sluice_error_t *err)
{
    share_t *self = calloc (1, sizeof *self);
    if (!self) {
        free (root);
        no_memory (err);
        return NULL;
    }
    self->root = root;
    self->confined = confined;
    self->key_path = confined ? join (root, ".sluice/cluster.key") : strdup ("");
    self->fd = open (root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->key_path && self->fd != -1)
        return self;
    if (!self->key_path)
        no_memory (err);
    else
        sluice_fail (err, SLUICE_EINPUT, "cannot open the folder %s: %s", root,
                     strerror (errno));
    share_destroy (&self);
    return NULL;
}

/* As share_open, of a path that realpath gave. NULL with SLUICE_OK: no share. */
static share_t *open_at (const char *dir, sluice_error_t *err)
{
    uint8_t id[SHARE_ID_BYTES];
    int is = read_id (dir, id, err);
    if (is == 1 && err)
        *err = (sluice_error_t){.code = SLUICE_OK};
    if (is != 0)
        return NULL;
    char *root = strdup (dir);
    if (!root) {
        no_memory (err);
        return NULL;
    }
    share_t *self = open_root (root, true, err);
    if (self)
        memcpy (self->id, id, sizeof id);
    return self;
}

share_t *share_open (const char *dir, sluice_error_t *err)
{
    char *root = realpath (dir, NULL);
    if (!root) {
        sluice_fail (err, SLUICE_EINPUT, "cannot open the share %s: %s", dir,
                     strerror (errno));
        return NULL;
    }
    sluice_error_t why = {.code = SLUICE_OK};
    share_t *self = open_at (root, &why);
    if (!self && why.code == SLUICE_OK)
        sluice_fail (err, SLUICE_EINPUT, "%s is not a share: run `sluice init %s`", dir,
                     dir);
    else if (!self && err)
        *err = why;
    free (root);
    return self;
}

share_t *share_find (const char *path, sluice_error_t *err)
{
    char *at = realpath (path, NULL);
    if (!at) {
        /* It need not exist, its folder must. */
        const char *slash = strrchr (path, '/');
        char *folder = slash ? strndup (path, slash == path ? 1 : (size_t) (slash - path))
                             : strdup (".");
        at = folder ? realpath (folder, NULL) : NULL;
        free (folder);
    }
    if (!at) {
        sluice_fail (err, SLUICE_EINPUT, "cannot open %s: %s", path, strerror (errno));
        return NULL;
    }
    /* A file has no .sluice in it, so that the first step needs no stat. */
    share_t *self = NULL;
    for (;;) {
        sluice_error_t why = {.code = SLUICE_OK};
        self = open_at (at, &why);
        if (self || why.code != SLUICE_OK || strcmp (at, "/") == 0) {
            if (!self && err)
                *err = why;
            break;
        }
        char *slash = strrchr (at, '/');
        slash[slash == at ? 1 : 0] = 0;
    }
    free (at);
    return self;
}

share_t *share_new_open (sluice_error_t *err)
{
    char *root = strdup ("/");
    if (!root) {
        no_memory (err);
        return NULL;
    }
    return open_root (root, false, err);
}

void share_destroy (share_t **self_p)
{
    share_t *self = *self_p;
    if (!self)
        return;
    if (self->fd != -1)
        close (self->fd);
    free (self->root);
    free (self->key_path);
    free (self);
    *self_p = NULL;
}

const char *share_root (const share_t *self)
{
    return self->root;
}

const uint8_t *share_id (const share_t *self)
{
    return self->id;
}

bool share_confined (const share_t *self)
{
    return self->confined;
}

int share_fd (const share_t *self)
{
    return self->fd;
}

const char *share_key_path (const share_t *self)
{
    return self->key_path;
}

void share_set_walk (share_t *self, bool walk)
{
    self->walk = walk;
}

/* ---- paths inside ------------------------------------------------------- */

char *share_relative (const share_t *self, const char *path, sluice_error_t *err)
{
    char *real = realpath (path, NULL);
    if (!real) {
        sluice_fail (err, SLUICE_EINPUT, "cannot open %s: %s", path, strerror (errno));
        return NULL;
    }
    size_t n = strcmp (self->root, "/") == 0 ? 0 : strlen (self->root);
    char *relative = NULL;
    if (strncmp (real, self->root, n) != 0 || (real[n] != '/' && real[n]))
        sluice_fail (err, SLUICE_EINPUT,
                     "%s is outside the share %s: put it there, where all nodes see it",
                     path, self->root);
    else if (!(relative = strdup (real[n] && real[n + 1] ? real + n + 1 : ".")))
        no_memory (err);
    free (real);
    return relative;
}

/* A path that says itself that it stays inside. */
static int check_path (const char *path, sluice_error_t *err)
{
    if (!path[0])
        return sluice_fail (err, SLUICE_EINPUT, "an empty path");
    if (path[0] == '/')
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: a path inside the share must not begin with '/'", path);
    for (const char *at = path; at;) {
        if (at[0] == '.' && at[1] == '.' && (at[2] == '/' || !at[2]))
            return sluice_fail (err, SLUICE_EINPUT,
                                "%s: a path inside the share must not contain '..'",
                                path);
        at = strchr (at, '/');
        if (at)
            at++;
    }
    return 0;
}

/* openat2 gives up when folders are renamed meanwhile; this often we insist. */
enum { RENAME_TRIES = 32 };

static int open_beneath (const share_t *self, const char *path, int flags, mode_t mode)
{
    /* Unlike openat, openat2 refuses a mode that has no use. */
    bool makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how how = {
        .flags = (unsigned) flags,
        .mode = makes ? mode & 07777 : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd = -1;
    for (int i = 0; i < RENAME_TRIES; i++) {
        fd = syscall (SYS_openat2, self->fd, path, &how, sizeof how);
        if (fd != -1 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return (int) fd;
}

/* The same without openat2: no component may be a link. */
static int open_by_walk (const share_t *self, const char *path, int flags, mode_t mode)
{
    char *copy = strdup (path);
    if (!copy)
        return -1;
    int dir = self->fd;
    char *at = copy;
    for (char *slash; dir != -1 && (slash = strchr (at, '/')); at = slash + 1) {
        *slash = 0;
        if (!slash[1 + strspn (slash + 1, "/")]) { /* nothing behind: "a/" */
            flags |= O_DIRECTORY;
            break;
        }
        if (!at[0])
            continue;
        int deeper = openat (dir, at, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int why = errno;
        if (dir != self->fd)
            close (dir);
        errno = why;
        dir = deeper;
    }
    int fd = dir == -1 ? -1 : openat (dir, at[0] ? at : ".", flags | O_NOFOLLOW, mode);
    int why = errno;
    if (dir != -1 && dir != self->fd)
        close (dir);
    free (copy);
    errno = why;
    return fd;
}

/* -1 with errno. */
static int open_inside (const share_t *self, const char *path, int flags, mode_t mode)
{
    flags |= O_CLOEXEC;
    if (!self->confined)
        return openat (self->fd, path, flags, mode);
    if (!self->walk) {
        int fd = open_beneath (self, path, flags, mode);
        /* Some container run-times answer EPERM to calls they do not know. */
        if (fd != -1 || (errno != ENOSYS && errno != EPERM))
            return fd;
    }
    return open_by_walk (self, path, flags, mode);
}

static int cannot_open (const share_t *self, const char *path, sluice_error_t *err)
{
    if (self->confined && errno == EXDEV)
        return sluice_fail (err, SLUICE_EINPUT, "%s leads out of the share %s", path,
                            self->root);
    if (self->confined && (errno == ELOOP || (self->walk && errno == ENOTDIR)))
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s in the share %s: a link, or through one, that is not "
                            "followed",
                            path, self->root);
    sluice_code_t code =
        errno == ENOMEM || errno == EMFILE ? SLUICE_ESYSTEM : SLUICE_EINPUT;
    if (!self->confined)
        return sluice_fail (err, code, "cannot open /%s: %s", path, strerror (errno));
    return sluice_fail (err, code, "cannot open %s in %s: %s", path, self->root,
                        strerror (errno));
}

int share_openat (const share_t *self, const char *relative, int flags, mode_t mode,
                  sluice_error_t *err)
{
    if (self->confined && check_path (relative, err) == -1) {
        errno = EINVAL;
        return -1;
    }
    int fd = open_inside (self, relative, flags, mode);
    if (fd == -1) {
        int why = errno;
        cannot_open (self, relative, err);
        errno = why;
    }
    return fd;
}

int share_mkdir (const share_t *self, const char *relative, sluice_error_t *err)
{
    if (self->confined && check_path (relative, err) == -1)
        return -1;
    char *path = strdup (relative);
    if (!path)
        return no_memory (err);
    enum { FOLDER = O_PATH | O_DIRECTORY };
    int result = 0;
    size_t n = strlen (path);
    /* Make each prefix that is not there, through the one before it. */
    for (size_t i = 1; i <= n && result == 0; i++) {
        if ((path[i] && path[i] != '/') || path[i - 1] == '/')
            continue;
        path[i] = 0;
        int fd = open_inside (self, path, FOLDER, 0);
        if (fd == -1 && errno == ENOENT) {
            char *slash = strrchr (path, '/');
            if (slash)
                *slash = 0;
            const char *parent = !slash ? "." : path[0] ? path : "/";
            int above = open_inside (self, parent, FOLDER, 0);
            if (above != -1 && (mkdirat (above, slash ? slash + 1 : path, 0777) == 0 ||
                                errno == EEXIST)) {
                if (slash)
                    *slash = '/';
                fd = open_inside (self, path, FOLDER, 0);
            } else if (slash)
                *slash = '/';
            int why = errno;
            if (above != -1)
                close (above);
            errno = why;
        }
        if (fd == -1)
            result =
                sluice_fail (err, SLUICE_EINPUT, "cannot make the folder %s in %s: %s",
                             path, self->root, strerror (errno));
        else
            close (fd);
        if (i < n)
            path[i] = '/';
    }
    free (path);
    return result;
}
