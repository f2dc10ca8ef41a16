/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "node/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/landlock.h>

/* ---- descriptors, signals, threads --------------------------------------- */

static bool is_kept (int fd, const int *keep, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (keep[i] == fd)
            return true;
    return fd <= 2;
}

void limits_close_others (const int *keep, unsigned n)
{
    DIR *dir = opendir ("/proc/self/fd");
    if (!dir)
        return;
    /* Closing while reading may skip entries: so until none is met. */
    bool again = true;
    while (again) {
        again = false;
        rewinddir (dir);
        struct dirent *entry;
        while ((entry = readdir (dir))) {
            int fd = atoi (entry->d_name);
            if (fd == dirfd (dir) || is_kept (fd, keep, n))
                continue;
            if (close (fd) == 0)
                again = true;
        }
    }
    closedir (dir);
}

void limits_reset_signals (void)
{
    for (int sig = 1; sig < NSIG; sig++)
        signal (sig, SIG_DFL); /* fails for KILL, STOP and the C library's own */
    sigset_t none;
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
}

void limits_threads (unsigned cores)
{
    static const char *const names[] = {"OMP_NUM_THREADS",     "OPENBLAS_NUM_THREADS",
                                        "MKL_NUM_THREADS",     "BLIS_NUM_THREADS",
                                        "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS",
                                        "RAYON_NUM_THREADS"};
    char text[16];
    snprintf (text, sizeof text, "%u", cores ? cores : 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        setenv (names[i], text, 1);
}

/* ---- resources ----------------------------------------------------------- */

#if defined __SANITIZE_ADDRESS__
#define HAVE_ASAN 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

#ifndef HAVE_ASAN
/* Bytes of private writable memory of this process: what RLIMIT_DATA counts. */
static uint64_t data_bytes (void)
{
    FILE *file = fopen ("/proc/self/status", "re");
    if (!file)
        return 0;
    char line[256];
    unsigned long long kib = 0;
    while (fgets (line, sizeof line, file))
        if (sscanf (line, "VmData: %llu", &kib) == 1)
            break;
    fclose (file);
    return kib << 10;
}
#endif

static void go_first_when_memory_ends (void)
{
    int fd = open ("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    /* Half the scale: before any desktop program, after what asks to be first. */
    if (write (fd, "500", 3) < 0) {
        /* a container may forbid it: then the system chooses by size, as ever */
    }
    close (fd);
}

int limits_apply (uint64_t memory, sluice_error_t *err)
{
    struct rlimit none = {0, 0};
    setrlimit (RLIMIT_CORE, &none);
    go_first_when_memory_ends ();
    if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot give up privileges: %s",
                            strerror (errno));
#ifndef HAVE_ASAN
    struct rlimit limit;
    if (memory && getrlimit (RLIMIT_DATA, &limit) == 0) {
        uint64_t most = data_bytes () + memory;
        if (limit.rlim_max != RLIM_INFINITY && most > limit.rlim_max)
            most = limit.rlim_max;
        limit.rlim_cur = limit.rlim_max = (rlim_t) most;
        if (setrlimit (RLIMIT_DATA, &limit) < 0)
            return sluice_fail (err, SLUICE_ESYSTEM, "cannot limit memory: %s",
                                strerror (errno));
    }
#else
    (void) memory;
#endif
    return 0;
}

/* ---- Landlock ------------------------------------------------------------ */

/* Newer than the headers of some systems; from the kernel's documentation,
 * userspace-api/landlock. */
enum {
    ACCESS_REFER = 1 << 13,     /* version 2 */
    ACCESS_TRUNCATE = 1 << 14,  /* version 3 */
    ACCESS_IOCTL_DEV = 1 << 15, /* version 5 */
    SCOPE_SIGNAL = 1 << 1       /* version 6 */
};

typedef struct {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
} ruleset_t;

static const uint64_t reading = LANDLOCK_ACCESS_FS_EXECUTE |
                                LANDLOCK_ACCESS_FS_READ_FILE |
                                LANDLOCK_ACCESS_FS_READ_DIR;

/* Rights that make sense for a file; the others only exist for folders. */
static const uint64_t of_files =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
    LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE | ACCESS_IOCTL_DEV;

static int allow (int ruleset, const char *path, uint64_t access)
{
    int fd = open (path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return 0; /* what is not there need not be allowed */
    struct stat st;
    if (fstat (fd, &st) == 0 && !S_ISDIR (st.st_mode))
        access &= of_files;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    long rc =
        syscall (SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close (fd);
    return rc < 0 ? -1 : 0;
}

/* The folders of a list such as LD_LIBRARY_PATH. */
static int allow_list (int ruleset, const char *variable)
{
    const char *list = getenv (variable);
    char *copy = list ? strdup (list) : NULL, *rest = copy, *path;
    int rc = 0;
    while (rc == 0 && (path = strsep (&rest, ":")))
        if (path[0] == '/')
            rc = allow (ruleset, path, reading);
    free (copy);
    return rc;
}

static int allow_all (int ruleset, uint64_t handled, const char *scratch,
                      const char *root)
{
    static const char *const system_folders[] = {
        "/usr", "/bin",  "/sbin", "/lib", "/lib32", "/lib64", "/etc",
        "/opt", "/proc", "/sys",  "/dev", "/nix",   "/gnu",   "/run/systemd/resolve"};
    static const char *const devices[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                          "/dev/random", "/dev/urandom", "/dev/tty"};
    if (allow (ruleset, scratch, handled) < 0 || allow (ruleset, root, reading) < 0 ||
        allow_list (ruleset, "LD_LIBRARY_PATH") < 0 ||
        allow_list (ruleset, "HDF5_PLUGIN_PATH") < 0)
        return -1;
    for (size_t i = 0; i < sizeof system_folders / sizeof *system_folders; i++)
        if (allow (ruleset, system_folders[i], reading) < 0)
            return -1;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        if (allow (ruleset, devices[i], handled) < 0)
            return -1;
    return 0;
}

int limits_confine (const char *scratch, const char *root, sluice_error_t *err)
{
    long version =
        syscall (SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return 0;
    uint64_t handled = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* all of version 1 */
    ruleset_t rules = {0};
    size_t size = offsetof (ruleset_t, handled_access_net);
    if (version >= 2)
        handled |= ACCESS_REFER;
    if (version >= 3)
        handled |= ACCESS_TRUNCATE;
    if (version >= 5)
        handled |= ACCESS_IOCTL_DEV;
    if (version >= 6) {
        rules.scoped = SCOPE_SIGNAL;
        size = sizeof rules;
    }
    rules.handled_access_fs = handled;
    int ruleset = (int) syscall (SYS_landlock_create_ruleset, &rules, size, 0);
    int rc = ruleset < 0 ? -1 : allow_all (ruleset, handled, scratch, root);
    if (rc == 0)
        rc = (int) syscall (SYS_landlock_restrict_self, ruleset, 0);
    int saved = errno;
    if (ruleset >= 0)
        close (ruleset);
    if (rc < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "Landlock refused: %s",
                            strerror (saved));
    return 1;
}
