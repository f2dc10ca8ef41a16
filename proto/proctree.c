/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "proto/proctree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
    pid_t pid, parent;
    unsigned long long
        start; /* ticks since boot: tells one user of a pid from the next */
    bool zombie;
    bool member; /* of the tree */
} process_t;

typedef struct {
    process_t *all;
    size_t n, room;
} snapshot_t;

/* "pid (name) state ppid ... starttime": the name may hold anything. */
static bool parse_stat (const char *text, process_t *process)
{
    const char *rest = strrchr (text, ')');
    if (!rest)
        return false;
    char state;
    long parent;
    if (sscanf (rest + 1,
                " %c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                "%*d %llu",
                &state, &parent, &process->start) != 3)
        return false;
    process->parent = (pid_t) parent;
    process->zombie = state == 'Z' || state == 'X';
    return true;
}

static bool read_stat (int dir, const char *path, process_t *process)
{
    int fd = openat (dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char text[1024];
    ssize_t n = read (fd, text, sizeof text - 1);
    close (fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return parse_stat (text, process);
}

static int take_snapshot (snapshot_t *snapshot)
{
    snapshot->n = 0;
    DIR *proc = opendir ("/proc");
    if (!proc)
        return -1;
    struct dirent *entry;
    int rc = 0;
    while (rc == 0 && (entry = readdir (proc))) {
        if (!isdigit ((unsigned char) entry->d_name[0]))
            continue;
        char path[sizeof entry->d_name + 8];
        snprintf (path, sizeof path, "%s/stat", entry->d_name);
        process_t process = {.pid = (pid_t) atol (entry->d_name)};
        if (!read_stat (dirfd (proc), path, &process))
            continue;
        if (snapshot->n == snapshot->room) {
            size_t room = snapshot->room ? 2 * snapshot->room : 256;
            process_t *all = realloc (snapshot->all, room * sizeof *all);
            if (!all) {
                rc = -1;
                break;
            }
            snapshot->all = all;
            snapshot->room = room;
        }
        snapshot->all[snapshot->n++] = process;
    }
    closedir (proc);
    return rc;
}

static bool is_spared (pid_t pid, const pid_t *spare, size_t nspare)
{
    for (size_t i = 0; i < nspare; i++)
        if (spare[i] == pid)
            return true;
    return false;
}

static int by_pid (const void *a, const void *b)
{
    pid_t x = ((const process_t *) a)->pid, y = ((const process_t *) b)->pid;
    return x < y ? -1 : x > y;
}

static process_t *find (const snapshot_t *snapshot, pid_t pid)
{
    process_t key = {.pid = pid};
    return snapshot->n ? bsearch (&key, snapshot->all, snapshot->n, sizeof key, by_pid)
                       : NULL;
}

/* Mark the descendants of `root`; returns how many of them live. */
static int mark_members (snapshot_t *snapshot, pid_t root, const pid_t *spare,
                         size_t nspare)
{
    if (snapshot->n)
        qsort (snapshot->all, snapshot->n, sizeof *snapshot->all, by_pid);
    int living = 0;
    bool more = true;
    while (more) { /* as often as the tree is deep, at most */
        more = false;
        for (size_t i = 0; i < snapshot->n; i++) {
            process_t *p = &snapshot->all[i];
            if (p->member || p->pid == root || is_spared (p->pid, spare, nspare))
                continue;
            const process_t *parent = find (snapshot, p->parent);
            if (p->parent == root || (parent && parent->member)) {
                p->member = more = true;
                living += !p->zombie;
            }
        }
    }
    return living;
}

/* Signal the process of the snapshot, not one that has its number now: the
 * folder in /proc stays bound to one process. */
static void send_signal (const process_t *process, int sig)
{
    char path[32];
    snprintf (path, sizeof path, "/proc/%ld", (long) process->pid);
    int fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    process_t now;
    if (read_stat (fd, "stat", &now) && now.start == process->start && !now.zombie) {
        long rc = syscall (SYS_pidfd_send_signal, fd, sig, NULL, 0);
        if (rc < 0 && (errno == ENOSYS || errno == EBADF))
            kill (process->pid, sig);
    }
    close (fd);
}

static const process_t *same (const snapshot_t *snapshot, const process_t *process)
{
    const process_t *found = find (snapshot, process->pid);
    return found && found->member && found->start == process->start ? found : NULL;
}

int proctree_kill (pid_t root, bool with_root, const pid_t *spare, size_t nspare)
{
    snapshot_t old = {0}, now = {0};
    int living = -1;
    /* Each round stops whoever is new; the tree is whole when a round finds
     * nobody. A tree that outruns 50 rounds is met again by the next call. */
    for (int round = 0; round < 50; round++) {
        if (take_snapshot (&now) < 0) {
            living = -1;
            break;
        }
        living = mark_members (&now, root, spare, nspare);
        process_t *self = find (&now, root);
        if (with_root && self) {
            self->member = true;
            living += !self->zombie;
        }
        bool fresh = false;
        for (size_t i = 0; i < now.n; i++) {
            const process_t *p = &now.all[i];
            if (p->member && !p->zombie && !same (&old, p)) {
                send_signal (p, SIGSTOP);
                fresh = true;
            }
        }
        snapshot_t swap = old;
        old = now;
        now = swap;
        if (!fresh)
            break;
    }
    for (size_t i = 0; living >= 0 && i < old.n; i++)
        if (old.all[i].member && !old.all[i].zombie)
            send_signal (&old.all[i], SIGKILL);
    free (old.all);
    free (now.all);
    return living;
}

void proctree_signal (pid_t root, int sig)
{
    snapshot_t now = {0};
    kill (root, sig);
    if (take_snapshot (&now) == 0) {
        mark_members (&now, root, NULL, 0);
        for (size_t i = 0; i < now.n; i++)
            if (now.all[i].member && !now.all[i].zombie)
                send_signal (&now.all[i], sig);
    }
    free (now.all);
}

/* A number of kB in a file of /proc, behind `key`; or, without one, the second number
 * of the first line in pages. */
static uint64_t read_memory (pid_t pid, const char *file, const char *key)
{
    char path[64], line[256];
    unsigned long long kib = 0, pages = 0;
    size_t length = key ? strlen (key) : 0;
    snprintf (path, sizeof path, "/proc/%ld/%s", (long) pid, file);
    FILE *f = fopen (path, "re");
    while (f && fgets (line, sizeof line, f)) {
        if (!key && sscanf (line, "%*u %llu", &pages) == 1)
            break;
        if (key && strncmp (line, key, length) == 0 &&
            sscanf (line + length, "%llu", &kib) == 1)
            break;
    }
    if (f)
        fclose (f);
    return key ? (uint64_t) kib << 10
               : (uint64_t) pages * (uint64_t) sysconf (_SC_PAGESIZE);
}

uint64_t proctree_memory (pid_t root, uint64_t enough, unsigned *n)
{
    snapshot_t now = {0};
    uint64_t sum = 0, exact = 0;
    *n = 0;
    if (take_snapshot (&now) == 0) {
        mark_members (&now, root, NULL, 0);
        process_t *self = find (&now, root);
        if (self)
            self->member = true;
        for (size_t i = 0; i < now.n; i++)
            if (now.all[i].member && !now.all[i].zombie) {
                sum += read_memory (now.all[i].pid, "statm", NULL);
                ++*n;
            }
        for (size_t i = 0; sum > enough && *n > 1 && i < now.n; i++)
            if (now.all[i].member && !now.all[i].zombie)
                exact += read_memory (now.all[i].pid, "smaps_rollup", "Pss:");
    }
    free (now.all);
    return exact && exact < sum ? exact : sum;
}

int proctree_count (pid_t root, const pid_t *spare, size_t nspare)
{
    snapshot_t now = {0};
    int living = take_snapshot (&now) < 0 ? -1 : mark_members (&now, root, spare, nspare);
    free (now.all);
    return living;
}

size_t proctree_children (pid_t root, pid_t *children, size_t max)
{
    snapshot_t now = {0};
    size_t n = 0;
    if (take_snapshot (&now) == 0)
        for (size_t i = 0; i < now.n && n < max; i++)
            if (now.all[i].parent == root)
                children[n++] = now.all[i].pid;
    free (now.all);
    return n;
}
