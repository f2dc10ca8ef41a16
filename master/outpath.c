/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* renameat2 */
#include "master/outpath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct outpath {
    struct outpath *next;              /* in `held` */
    char *path;                        /* as the user said it */
    char *base, *lock_name, *new_name; /* in the folder */
    char *where;                       /* the folder, when it was opened */
    int folder, lock;
    dev_t dev;
    ino_t ino; /* of the lock's file */
    bool force, made, published;
};

/* Locks of this process: fcntl's do not exclude their own process, and
 * closing any descriptor of the file would give them back. */
static struct outpath *held;
static pthread_mutex_t held_mutex = PTHREAD_MUTEX_INITIALIZER;

static bool hold (outpath_t *self)
{
    pthread_mutex_lock (&held_mutex);
    struct stat st;
    bool there = fstatat (self->folder, self->lock_name, &st, 0) == 0;
    for (outpath_t *other = held; there && other; other = other->next)
        if (other->dev == st.st_dev && other->ino == st.st_ino) {
            pthread_mutex_unlock (&held_mutex);
            return false;
        }
    self->next = held;
    held = self;
    pthread_mutex_unlock (&held_mutex);
    return true;
}

static void unhold (outpath_t *self)
{
    pthread_mutex_lock (&held_mutex);
    for (outpath_t **at = &held; *at; at = &(*at)->next)
        if (*at == self) {
            *at = self->next;
            break;
        }
    pthread_mutex_unlock (&held_mutex);
}

/* Where an open file is now; "" if that cannot be known. */
static void find (int fd, char path[PATH_MAX])
{
    char link[40];
    snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink (link, path, PATH_MAX - 1);
    path[n < 0 ? 0 : n] = '\0';
}

static int split (outpath_t *self, sluice_error_t *err)
{
    const char *slash = strrchr (self->path, '/');
    const char *base = slash ? slash + 1 : self->path;
    if (!*base)
        return sluice_fail (err, SLUICE_EINPUT, "output %s: not the name of a file",
                            self->path);
    char *folder =
        slash ? strndup (self->path, (size_t) (slash - self->path) + 1) : strdup (".");
    self->base = strdup (base);
    if (!folder || !self->base || asprintf (&self->lock_name, "%s.lock", base) < 0 ||
        asprintf (&self->new_name, ".%s.new", base) < 0) {
        free (folder);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    self->folder = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;
    if (self->folder < 0)
        rc = sluice_fail (err, SLUICE_EINPUT, "output %s: cannot open the folder %s: %s",
                          self->path, folder, strerror (errno));
    free (folder);
    char where[PATH_MAX];
    find (self->folder, where);
    self->where = strdup (where);
    return rc;
}

/* Is the file that stands there one of the inputs, by whatever name? */
static const char *input_there (const struct stat *there, const sluice_plan_t *plan)
{
    for (size_t i = 0; plan->share && i < plan->nfiles; i++) {
        struct stat st;
        if (fstatat (share_fd (plan->share), plan->files[i].path, &st, 0) == 0 &&
            st.st_dev == there->st_dev && st.st_ino == there->st_ino)
            return plan->files[i].path;
    }
    return NULL;
}

static int check (const outpath_t *self, const sluice_plan_t *plan, sluice_error_t *err)
{
    struct stat st;
    if (fstatat (self->folder, self->base, &st, 0) < 0) {
        if (errno == ENOENT &&
            fstatat (self->folder, self->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return 0;
        if (errno == ENOENT)
            return sluice_fail (err, SLUICE_EINPUT,
                                "output %s: is a link that leads nowhere; remove it",
                                self->path);
        return sluice_fail (err, SLUICE_EINPUT, "output %s: %s", self->path,
                            strerror (errno));
    }
    if (S_ISDIR (st.st_mode))
        return sluice_fail (err, SLUICE_EINPUT, "output %s: is a folder", self->path);
    const char *input = input_there (&st, plan);
    if (input)
        return sluice_fail (err, SLUICE_EINPUT,
                            "output %s: is the input %s; use another -o", self->path,
                            input);
    if (!S_ISREG (st.st_mode))
        return sluice_fail (err, SLUICE_EINPUT, "output %s: is not a plain file",
                            self->path);
    if (!self->force)
        return sluice_fail (err, SLUICE_EINPUT,
                            "output %s: exists; use --force or another -o", self->path);
    return 0;
}

static int taken (const outpath_t *self, int lock, sluice_error_t *err)
{
    char who[200] = "";
    ssize_t n = lock >= 0 ? pread (lock, who, sizeof who - 1, 0) : -1;
    char host[80] = "?", pid[24] = "?", run[40] = "?";
    if (n > 0)
        sscanf (who, "%79s %23s %39s", host, pid, run);
    return sluice_fail (err, SLUICE_EOUTPUT,
                        "output %s: is being written by run %s, process %s on %s",
                        self->path, run, pid, host);
}

static int take_lock (outpath_t *self, const uint8_t *run, sluice_error_t *err)
{
    if (!hold (self))
        return sluice_fail (err, SLUICE_EOUTPUT,
                            "output %s: is being written by this process", self->path);
    for (;;) {
        int lock = openat (self->folder, self->lock_name,
                           O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
        if (lock < 0) {
            unhold (self);
            return sluice_fail (err, SLUICE_EOUTPUT, "output %s: cannot make %s: %s",
                                self->path, self->lock_name, strerror (errno));
        }
        struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl (lock, F_SETLK, &all) < 0) {
            int rc =
                errno == EACCES || errno == EAGAIN
                    ? taken (self, lock, err)
                    : sluice_fail (err, SLUICE_EOUTPUT, "output %s: cannot lock %s: %s",
                                   self->path, self->lock_name, strerror (errno));
            close (lock);
            unhold (self);
            return rc;
        }
        struct stat ours, named;
        if (fstat (lock, &ours) < 0 || !S_ISREG (ours.st_mode)) {
            close (lock);
            unhold (self);
            return sluice_fail (err, SLUICE_EOUTPUT, "output %s: %s is not a plain file",
                                self->path, self->lock_name);
        }
        if (fstatat (self->folder, self->lock_name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            ours.st_dev == named.st_dev && ours.st_ino == named.st_ino) {
            self->lock = lock;
            self->dev = ours.st_dev;
            self->ino = ours.st_ino;
            break;
        }
        close (lock); /* its holder removed it just now: anew */
    }
    char host[80] = "?", hex[2 * RUN_BYTES + 1], who[200];
    gethostname (host, sizeof host - 1);
    run_text (run, hex);
    int n = snprintf (who, sizeof who, "%s %ld %s\n", host, (long) getpid (), hex);
    /* Who is told apart by the lock; without the text the refusal is vaguer. */
    if (ftruncate (self->lock, 0) < 0 || pwrite (self->lock, who, (size_t) n, 0) < 0)
        return 0;
    return 0;
}

/* Take the lock and look at what is there. The lock comes first: who finds a file made
 * by the run beside us should be told so. */
static outpath_t *take (const char *path, bool force, const sluice_plan_t *plan,
                        const uint8_t *run, sluice_error_t *err)
{
    outpath_t *self = calloc (1, sizeof *self);
    if (!self || !(self->path = strdup (path))) {
        free (self);
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->folder = self->lock = -1;
    self->force = force;
    if (split (self, err) < 0 || take_lock (self, run, err) < 0 ||
        check (self, plan, err) < 0) {
        outpath_release (&self);
        return NULL;
    }
    /* What is there was left by somebody who died, since the lock is ours. */
    unlinkat (self->folder, self->new_name, 0);
    return self;
}

outpath_t *outpath_take (const char *path, bool force, const sluice_plan_t *plan,
                         const uint8_t *run, int *fd, sluice_error_t *err)
{
    outpath_t *self = take (path, force, plan, run, err);
    if (!self)
        return NULL;
    *fd = openat (self->folder, self->new_name,
                  O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (*fd < 0) {
        sluice_fail (err, SLUICE_EOUTPUT, "output %s: cannot make a file beside it: %s",
                     path, strerror (errno));
        outpath_release (&self);
        return NULL;
    }
    self->made = true;
    return self;
}

outpath_t *outpath_resume (const char *path, const sluice_plan_t *plan,
                           const uint8_t *run, int *fd, sluice_error_t *err)
{
    /* The lock lies beside the file itself, not beside a link to it. */
    char *real = realpath (path, NULL);
    outpath_t *self = take (real ? real : path, true, plan, run, err);
    free (real);
    if (!self)
        return NULL;
    *fd = openat (self->folder, self->base, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0) {
        /* It was there when the command looked. */
        sluice_fail (err, SLUICE_EOUTPUT, "output %s: %s", path,
                     errno == ENOENT ? "somebody has just removed it" : strerror (errno));
        outpath_release (&self);
        return NULL;
    }
    self->made = self->published = true;
    return self;
}

int outpath_locked (const char *path)
{
    char *name = NULL;
    if (asprintf (&name, "%s.lock", path) < 0)
        return -1;
    int fd = open (name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int rc = fd < 0 && errno == ENOENT ? 0 : -1;
    free (name);
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd >= 0 && fcntl (fd, F_GETLK, &all) == 0)
        rc = all.l_type != F_UNLCK;
    if (fd >= 0)
        close (fd);
    return rc;
}

void outpath_tidy (const char *path)
{
    static const uint8_t nobody[RUN_BYTES];
    outpath_t *self = calloc (1, sizeof *self);
    struct stat st;
    if (!self || !(self->path = strdup (path))) {
        free (self);
        return;
    }
    self->folder = self->lock = -1;
    if (split (self, NULL) == 0 &&
        fstatat (self->folder, self->lock_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        take_lock (self, nobody, NULL);
    outpath_release (&self);
}

/* Some file systems (NFS) cannot rename without replacing: link and unlink. */
static int rename_new (const outpath_t *self)
{
    if (self->force)
        return renameat (self->folder, self->new_name, self->folder, self->base);
    if (renameat2 (self->folder, self->new_name, self->folder, self->base,
                   RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (linkat (self->folder, self->new_name, self->folder, self->base, 0) < 0)
        return -1;
    return unlinkat (self->folder, self->new_name, 0);
}

int outpath_publish (outpath_t *self, sluice_error_t *err)
{
    if (rename_new (self) < 0) {
        if (errno == EEXIST)
            return sluice_fail (err, SLUICE_EINPUT,
                                "output %s: exists; use --force or another -o",
                                self->path);
        return sluice_fail (err, SLUICE_EOUTPUT, "output %s: cannot rename to it: %s",
                            self->path, strerror (errno));
    }
    self->published = true;
    fsync (self->folder); /* not all file systems know this for folders */
    return 0;
}

void outpath_forget (outpath_t *self)
{
    unlinkat (self->folder, self->base, 0);
    unlinkat (self->folder, self->lock_name, 0);
    self->made = self->published = false;
}

int outpath_still_there (const outpath_t *self, int fd, bool by_name, sluice_error_t *err)
{
    struct stat ours, named;
    if (!self->published || fstat (fd, &ours) < 0)
        return 0;
    if (ours.st_nlink == 0)
        return sluice_fail (err, SLUICE_EOUTPUT,
                            "output %s: somebody removed it while it was being written",
                            self->path);
    char now[PATH_MAX];
    find (self->folder, now);
    bool moved = self->where && strcmp (self->where, now) != 0;
    if (!by_name || (!moved && fstatat (self->folder, self->base, &named, 0) == 0 &&
                     named.st_dev == ours.st_dev && named.st_ino == ours.st_ino))
        return 0;
    find (fd, now);
    return sluice_fail (
        err, SLUICE_EOUTPUT,
        "output %s: somebody renamed or replaced it while it was being written; all of "
        "it is in %s",
        self->path, now);
}

void outpath_release (outpath_t **self_p)
{
    outpath_t *self = *self_p;
    if (!self)
        return;
    if (self->made && !self->published)
        unlinkat (self->folder, self->new_name, 0);
    if (self->lock >= 0) {
        unlinkat (self->folder, self->lock_name, 0);
        unhold (self);
        close (self->lock);
    }
    if (self->folder >= 0)
        close (self->folder);
    free (self->path);
    free (self->where);
    free (self->base);
    free (self->lock_name);
    free (self->new_name);
    free (self);
    *self_p = NULL;
}
