/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* dladdr, secure_getenv, POSIX_SPAWN_SETSID */
#include "master/client_process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/clock.h"

extern char **environ;

enum { SOCKET = 3 };

/* ---- starting ------------------------------------------------------------------ */

/* What the new process has: our socket, and nothing of the program's. Descriptors
 * above it the command closes by itself. */
static int set_files (posix_spawn_file_actions_t *files, int socket, const char *log)
{
    int rc = posix_spawn_file_actions_adddup2 (files, socket, SOCKET);
    /* The log first: /dev/stderr is the program's. */
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen (files, 2, log ? log : "/dev/null",
                                               O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen (files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2 (files, 2, 1);
    return rc;
}

/* No signal blocked or ignored, and out of the terminal's reach: Ctrl-C is for the
 * program, and we end with it. */
static int set_attributes (posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    sigfillset (&all);
    sigemptyset (&none);
    int rc = posix_spawnattr_setsigdefault (attributes, &all);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask (attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setflags (attributes, POSIX_SPAWN_SETSIGDEF |
                                                       POSIX_SPAWN_SETSIGMASK |
                                                       POSIX_SPAWN_SETSID);
    return rc;
}

int process_start (process_t *self, const char *command, const char *what, int socket,
                   const char *log, sluice_error_t *err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    char *argv[] = {(char *) (uintptr_t) "sluice", (char *) (uintptr_t) "serve",
                    (char *) (uintptr_t) what, NULL};
    *self = (process_t){.handle = -1};
    int rc = posix_spawn_file_actions_init (&files);
    if (rc == 0 && (rc = posix_spawnattr_init (&attributes)) != 0)
        posix_spawn_file_actions_destroy (&files);
    if (rc)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot start %s: %s", command,
                            strerror (rc));
    rc = set_files (&files, socket, log);
    if (rc == 0)
        rc = set_attributes (&attributes);
    if (rc == 0)
        rc = posix_spawnp (&self->pid, command, &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy (&files);
    posix_spawnattr_destroy (&attributes);
    if (rc) {
        self->pid = 0;
        return sluice_fail (err, rc == ENOENT ? SLUICE_EINPUT : SLUICE_ESYSTEM,
                            "cannot start %s: %s", command, strerror (rc));
    }
#ifdef SYS_pidfd_open
    self->handle = (int) syscall (SYS_pidfd_open, self->pid, 0); /* Linux 5.3 */
#endif
    return 0;
}

/* ---- ending -------------------------------------------------------------------- */

static bool reap (process_t *self)
{
    int status;
    pid_t got;
    while ((got = waitpid (self->pid, &status, WNOHANG)) < 0 && errno == EINTR)
        ;
    if (got == 0)
        return false;
    self->status = got > 0 ? status : -1; /* else the program has waited for it */
    self->pid = 0;
    return true;
}

bool process_ended (process_t *self, double seconds)
{
    const struct timespec step = {.tv_nsec = 2000000};
    double until = clock_seconds () + seconds, left;
    while (self->pid > 0 && !reap (self)) {
        if ((left = until - clock_seconds ()) <= 0)
            return false;
        struct pollfd p = {.fd = self->handle, .events = POLLIN};
        if (self->handle < 0)
            nanosleep (&step, NULL);
        else
            poll (&p, 1, (int) (left * 1e3) + 1);
    }
    return true;
}

void process_kill (process_t *self)
{
    if (process_ended (self, 0))
        return;
#ifdef SYS_pidfd_send_signal
    /* By its handle: the number may be another's when the program waits, too. */
    if (self->handle < 0 ||
        syscall (SYS_pidfd_send_signal, self->handle, SIGKILL, NULL, 0) < 0)
#endif
        kill (self->pid, SIGKILL);
    process_ended (self, 10);
}

void process_describe (const process_t *self, char *out, size_t size)
{
    if (self->status == -1)
        snprintf (out, size, "ended");
    else if (WIFSIGNALED (self->status))
        snprintf (out, size, "was killed by signal %d (%s)", WTERMSIG (self->status),
                  strsignal (WTERMSIG (self->status)));
    else
        snprintf (out, size, "ended with status %d", WEXITSTATUS (self->status));
}

void process_clear (process_t *self)
{
    if (self->handle >= 0)
        close (self->handle);
    self->handle = -1;
}

/* ---- the command ------------------------------------------------------------------ */

static bool is_program (const char *path)
{
    struct stat st;
    return stat (path, &st) == 0 && S_ISREG (st.st_mode) && access (path, X_OK) == 0;
}

/* FOLDER/NAME if it is a program, else NULL. */
static char *program_in (const char *folder, const char *name)
{
    char *path = NULL;
    if (asprintf (&path, "%s/%s", folder, name) < 0)
        return NULL;
    if (is_program (path))
        return path;
    free (path);
    return NULL;
}

/* The one that came with this library: built (libtool's .libs), or installed. */
static char *beside_library (void)
{
    Dl_info info;
    char real[PATH_MAX];
    if (!dladdr ((void *) (uintptr_t) process_find, &info) || !info.dli_fname ||
        !realpath (info.dli_fname, real))
        return NULL;
    char *slash = strrchr (real, '/');
    *slash = '\0';
    char *last = strrchr (real, '/');
    if (last && strcmp (last, "/.libs") == 0)
        return program_in (real, "../sluice");
    char *found = program_in (real, "../bin/sluice");
    return found ? found : program_in (real, "../../bin/sluice"); /* lib/MULTIARCH */
}

char *process_find (const char *wanted, sluice_error_t *err)
{
    if (!wanted || !*wanted)
        wanted = secure_getenv ("SLUICE");
    char *found = NULL;
    if (wanted && *wanted) {
        if (strchr (wanted, '/') && !is_program (wanted)) {
            sluice_fail (err, SLUICE_EINPUT, "%s: is not a program", wanted);
            return NULL;
        }
        found = strchr (wanted, '/') ? realpath (wanted, NULL) : strdup (wanted);
    } else if (!(found = beside_library ()) &&
               !(found = program_in (SLUICE_BINDIR, "sluice")))
        found = strdup ("sluice");
    if (!found)
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    return found;
}
