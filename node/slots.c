/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* F_OFD_SETLK */
#include "node/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORKING = SLOTS_MAX, WANTING = 2 * SLOTS_MAX };

struct slots {
    int fd;
    unsigned limit;  /* locks held at once */
    unsigned places; /* bytes 0 .. places - 1 are tried */
    unsigned held;
    unsigned *taken;      /* which, in order of taking */
    int agent;            /* our number among working agents, -1: not working */
    bool wanting, wanted; /* by us; by others, as of `asked` */
    int64_t asked;
    char path[256];
};

static int lock_byte (const slots_t *self, short type, unsigned byte)
{
    struct flock lock = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl (self->fd, F_OFD_SETLK, &lock);
}

/* Locks of other agents within [start, stop), up to 256. The system names some
 * lock in the way, not the first, so both sides of it are looked at. */
static unsigned others_within (const slots_t *self, unsigned start, unsigned stop)
{
    unsigned n = 0;
    while (start < stop && n < 256) {
        struct flock lock = {.l_type = F_WRLCK,
                             .l_whence = SEEK_SET,
                             .l_start = start,
                             .l_len = stop - start};
        if (fcntl (self->fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
            break;
        n++;
        if (lock.l_start > start)
            n += others_within (self, start, (unsigned) lock.l_start);
        if (lock.l_len == 0 || lock.l_start + lock.l_len >= stop)
            break;
        start = (unsigned) (lock.l_start + lock.l_len);
    }
    return n;
}

static unsigned others (const slots_t *self, unsigned from)
{
    return others_within (self, from, from + SLOTS_MAX);
}

static int open_file (const char *path)
{
    /* First without O_CREAT: in a sticky folder the system may refuse it for
     * a file of somebody else's (fs.protected_regular). */
    int fd = open (path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd >= 0)
            (void) fchmod (fd, 0666); /* whatever the umask */
        else if (errno == EEXIST)
            fd = open (path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    }
    struct stat st;
    if (fd >= 0 && (fstat (fd, &st) < 0 || !S_ISREG (st.st_mode))) {
        close (fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

slots_t *slots_new (unsigned slots, unsigned cores, sluice_error_t *err)
{
    if (slots < 1 || slots > SLOTS_MAX || cores < 1 || cores > SLOTS_MAX) {
        sluice_fail (err, SLUICE_EINPUT, "slots must be from 1 to %d", SLOTS_MAX);
        return NULL;
    }
    slots_t *self = calloc (1, sizeof *self);
    unsigned *taken = calloc (slots, sizeof *taken);
    if (!self || !taken) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        free (taken);
        free (self);
        return NULL;
    }
    self->limit = slots;
    self->places = slots > cores ? slots : cores;
    self->taken = taken;
    self->agent = -1;
    const char *dir = getenv ("SLUICE_SLOTS_DIR");
    if (dir && *dir) {
        snprintf (self->path, sizeof self->path, "%s/sluice-slots", dir);
        self->fd = open_file (self->path);
    } else {
        snprintf (self->path, sizeof self->path, "/dev/shm/sluice-slots");
        self->fd = open_file (self->path);
        if (self->fd < 0) {
            snprintf (self->path, sizeof self->path, "/tmp/sluice-slots-%u",
                      (unsigned) geteuid ());
            self->fd = open_file (self->path);
        }
    }
    if (self->fd < 0) {
        sluice_fail (err, SLUICE_ESYSTEM,
                     "cannot open %s, which shares this host's cores: %s", self->path,
                     strerror (errno));
        slots_destroy (&self);
    }
    return self;
}

void slots_destroy (slots_t **self_p)
{
    slots_t *self = *self_p;
    if (!self)
        return;
    if (self->fd >= 0)
        close (self->fd); /* and with it all locks */
    free (self->taken);
    free (self);
    *self_p = NULL;
}

void slots_working (slots_t *self, bool working)
{
    if (!working) {
        slots_wanting (self, false);
        if (self->agent >= 0)
            lock_byte (self, F_UNLCK, WORKING + (unsigned) self->agent);
        self->agent = -1;
        return;
    }
    for (int a = 0; self->agent < 0 && a < SLOTS_MAX; a++)
        if (lock_byte (self, F_WRLCK, WORKING + (unsigned) a) == 0)
            self->agent = a;
}

void slots_wanting (slots_t *self, bool wanting)
{
    if (self->wanting == wanting || self->agent < 0)
        return;
    if (lock_byte (self, wanting ? F_WRLCK : F_UNLCK, WANTING + (unsigned) self->agent) ==
        0)
        self->wanting = wanting;
}

/* May we take more, as far as others are concerned? */
static bool fair (const slots_t *self, unsigned n)
{
    if (others (self, WANTING) == 0)
        return true;
    unsigned agents = others (self, WORKING) + 1;
    unsigned share = (self->places + agents - 1) / agents;
    return self->held + n <= share || self->held == 0;
}

bool slots_wanted (slots_t *self, int64_t now)
{
    if (now != self->asked)
        self->wanted = others (self, WANTING) > 0;
    self->asked = now;
    return self->wanted;
}

bool slots_take (slots_t *self, unsigned n)
{
    if (n == 0 || self->held + n > self->limit || !fair (self, n))
        return false;
    unsigned before = self->held;
    for (unsigned byte = self->places; byte-- > 0 && self->held < before + n;) {
        bool ours = false;
        for (unsigned i = 0; i < self->held && !ours; i++)
            ours = self->taken[i] == byte;
        if (!ours && lock_byte (self, F_WRLCK, byte) == 0)
            self->taken[self->held++] = byte;
    }
    if (self->held == before + n)
        return true;
    slots_give (self, self->held - before);
    return false;
}

void slots_give (slots_t *self, unsigned n)
{
    while (n-- > 0 && self->held > 0)
        lock_byte (self, F_UNLCK, self->taken[--self->held]);
}

unsigned slots_held (const slots_t *self)
{
    return self->held;
}

const char *slots_path (const slots_t *self)
{
    return self->path;
}
