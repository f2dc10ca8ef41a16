/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/doctor_share.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/clock.h"

static double now (void)
{
    struct timespec t;
    clock_gettime (CLOCK_REALTIME, &t);
    return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static void at (share_report_t *r, const char *step)
{
    snprintf (r->step, sizeof r->step, "%s", step);
}

/* What a file lies on. The kernel's table of mounts is no part of the share. */
static void find_mount (dev_t device, char type[32], char source[256], char options[512])
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen ("/proc/self/mountinfo", "re");
    while (file && getline (&line, &size, file) > 0) {
        unsigned major_no, minor_no;
        const char *rest = strstr (line, " - ");
        if (rest && sscanf (line, "%*d %*d %u:%u", &major_no, &minor_no) == 2 &&
            makedev (major_no, minor_no) == device &&
            sscanf (rest, " - %31s %255s %511s", type, source, options) == 3)
            break;
    }
    free (line);
    if (file)
        fclose (file);
}

/* Make a file where nodes write theirs, and see which time the server gives it. */
static void try_writing (share_report_t *r, const share_t *share)
{
    char name[64];
    struct stat st;
    at (r, "making a file in .sluice/nodes");
    snprintf (name, sizeof name, ".sluice/nodes/.doctor-%d-%lx", (int) getpid (),
              (unsigned long) clock_ms ());
    double before = now ();
    errno = 0;
    int fd = share_openat (share, name, O_WRONLY | O_CREAT | O_EXCL, 0600, NULL);
    if (fd < 0) {
        r->write_errno = errno;
        return;
    }
    r->written = write (fd, "x", 1) == 1 && fsync (fd) == 0 && fstat (fd, &st) == 0;
    r->write_errno = r->written ? 0 : errno;
    double after = now ();
    if (r->written) {
        /* Seconds alone, where the server keeps no more. */
        double stamp = (double) st.st_mtim.tv_sec + (double) st.st_mtim.tv_nsec * 1e-9;
        r->ahead = stamp > after ? stamp - after : stamp < before ? stamp - before : 0;
        if (st.st_mtim.tv_nsec == 0 && r->ahead < 0 && r->ahead > -1)
            r->ahead = 0;
    }
    close (fd);
    unlinkat (share_fd (share), name, 0);
}

static void read_key (share_report_t *r, const char *path)
{
    struct stat st;
    char none[256];
    at (r, "reading the key");
    snprintf (r->key_path, sizeof r->key_path, "%s", path);
    cluster_t *cluster = cluster_new_from_file (path, &r->err);
    int fd = cluster ? open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd >= 0 && fstat (fd, &st) == 0) {
        r->key_mode = st.st_mode & 07777;
        find_mount (st.st_dev, r->key_type, none, r->key_options);
        r->key_read = read (fd, r->key, sizeof r->key) == (ssize_t) sizeof r->key;
    }
    if (cluster && !r->key_read)
        sluice_fail (&r->err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
    if (fd >= 0)
        close (fd);
    cluster_destroy (&cluster);
}

static void look (share_report_t *r, const char *where, const char *key)
{
    struct stat st;
    double began = clock_seconds ();
    at (r, "looking for .sluice/share");
    share_t *share = share_find (where, &r->err);
    if (share) {
        r->found = true;
        snprintf (r->root, sizeof r->root, "%s", share_root (share));
        memcpy (r->id, share_id (share), sizeof r->id);
        if (fstat (share_fd (share), &st) == 0)
            find_mount (st.st_dev, r->type, r->source, r->options);
        try_writing (r, share);
        read_key (r, key ? key : share_key_path (share));
        share_destroy (&share);
    }
    r->seconds = clock_seconds () - began;
    at (r, "");
}

bool doctor_share (const char *where, const char *key, unsigned ms,
                   share_report_t *report)
{
    int done[2] = {-1, -1};
    memset (report, 0, sizeof *report);
    share_report_t *shared = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = -1;
    if (shared != MAP_FAILED && pipe2 (done, O_CLOEXEC) == 0)
        pid = fork ();
    if (pid == 0) {
        close (done[0]);
        look (shared, where, key);
        _exit (0);
    }
    bool answered = true;
    if (pid < 0) {
        sluice_fail (&report->err, SLUICE_ESYSTEM, "cannot start a process: %s",
                     strerror (errno));
    } else {
        close (done[1]);
        done[1] = -1;
        struct pollfd end = {.fd = done[0], .events = POLLIN};
        int got, left;
        for (int64_t until = clock_ms () + ms; (left = (int) (until - clock_ms ())) > 0;)
            if ((got = poll (&end, 1, left)) > 0 || (got < 0 && errno != EINTR))
                break;
        kill (pid, SIGKILL);
        /* One that cannot even be killed is not waited for. */
        waitpid (pid, NULL, WNOHANG);
        memcpy (report, shared, sizeof *report);
        answered = report->step[0] == '\0';
    }
    if (shared != MAP_FAILED) {
        explicit_bzero (shared->key, sizeof shared->key);
        munmap (shared, sizeof *shared);
    }
    for (int i = 0; i < 2; i++)
        if (done[i] >= 0)
            close (done[i]);
    return answered;
}
