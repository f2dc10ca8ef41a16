/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/local.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct local {
    pid_t pid;
    int lifetime; /* our end; the node ends when it closes */
    char *endpoint;
};

enum { READY_MS = 10000, STOP_MS = 10000 };

char *local_folder (sluice_error_t *err)
{
    const char *base = getenv ("XDG_RUNTIME_DIR");
    /* A Unix socket's path has room for 107 bytes; ours need about 40. */
    if (!base || !*base || strlen (base) > 60 || access (base, W_OK))
        base = "/tmp";
    char *path = NULL;
    if (asprintf (&path, "%s/sluice-XXXXXX", base) < 0 || !mkdtemp (path)) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot make a folder in %s: %s", base,
                     strerror (errno));
        free (path);
        return NULL;
    }
    return path;
}

static int remove_entry (const char *path, const struct stat *st, int type,
                         struct FTW *ftw)
{
    (void) st, (void) type, (void) ftw;
    remove (path);
    return 0;
}

void local_folder_remove (char **folder_p)
{
    if (!*folder_p)
        return;
    nftw (*folder_p, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free (*folder_p);
    *folder_p = NULL;
}

/* In the child: become `sluice node`. */
static void exec_node (const job_t *job, const char *endpoint, int lifetime, int ready)
{
    char fd[2][16], number[3][32];
    const char *args[24];
    int n = 0;
    snprintf (fd[0], sizeof fd[0], "%d", lifetime);
    snprintf (fd[1], sizeof fd[1], "%d", ready);
    args[n++] = "sluice";
    args[n++] = "node";
    args[n++] = "--embedded";
    args[n++] = fd[0];
    args[n++] = "--ready";
    args[n++] = fd[1];
    args[n++] = "--endpoint";
    args[n++] = endpoint;
    if (job->options.cores) {
        snprintf (number[0], sizeof number[0], "%u", job->options.cores);
        args[n++] = "--slots";
        args[n++] = number[0];
    }
    snprintf (number[1], sizeof number[1], "%llu",
              (unsigned long long) (job->options.outbox ? job->options.outbox
                                                        : default_buffer ()));
    args[n++] = "--outbox";
    args[n++] = number[1];
    if (job->options.memory) {
        snprintf (number[2], sizeof number[2], "%llu",
                  (unsigned long long) job->options.memory);
        args[n++] = "--memory";
        args[n++] = number[2];
    }
    if (job->options.confine)
        args[n++] = "--confine";
    if (share_confined (job->share))
        args[n++] = share_root (job->share);
    args[n] = NULL;
    fcntl (lifetime, F_SETFD, 0);
    fcntl (ready, F_SETFD, 0);
    /* Ctrl-C is for the master, which ends the node in order. */
    setpgid (0, 0);
    execv ("/proc/self/exe", (char **) args);
    _exit (127);
}

local_t *local_start (const job_t *job, const char *folder, sluice_error_t *err)
{
    int lifetime[2] = {-1, -1}, ready[2] = {-1, -1};
    local_t *self = calloc (1, sizeof *self);
    if (!self || asprintf (&self->endpoint, "ipc://%s/node", folder) < 0 ||
        pipe2 (lifetime, O_CLOEXEC) || pipe2 (ready, O_CLOEXEC)) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot start the embedded node: %s",
                     strerror (errno));
        goto error;
    }
    self->pid = fork ();
    if (self->pid == 0) {
        sigset_t none;
        sigemptyset (&none);
        sigprocmask (SIG_SETMASK, &none, NULL);
        exec_node (job, self->endpoint, lifetime[0], ready[1]);
    }
    close (lifetime[0]);
    close (ready[1]);
    lifetime[0] = ready[1] = -1;
    self->lifetime = lifetime[1];
    if (self->pid < 0) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot fork: %s", strerror (errno));
        goto error;
    }
    struct pollfd poll_ready = {.fd = ready[0], .events = POLLIN};
    char byte;
    int got;
    while ((got = poll (&poll_ready, 1, READY_MS)) < 0 && errno == EINTR)
        ;
    if (got <= 0 || read (ready[0], &byte, 1) != 1) {
        sluice_fail (err, SLUICE_ESYSTEM, "the embedded node did not start");
        goto error;
    }
    close (ready[0]);
    return self;
error:
    for (int i = 0; i < 2; i++) {
        if (ready[i] >= 0)
            close (ready[i]);
        if (lifetime[i] >= 0 && !(self && self->lifetime == lifetime[i]))
            close (lifetime[i]);
    }
    if (self && self->pid > 0) {
        local_stop (&self);
    } else if (self) {
        if (self->lifetime > 0)
            close (self->lifetime);
        free (self->endpoint);
        free (self);
    }
    return NULL;
}

const char *local_endpoint (const local_t *self)
{
    return self->endpoint;
}

void local_stop (local_t **self_p)
{
    local_t *self = *self_p;
    if (!self)
        return;
    close (self->lifetime);
    const struct timespec step = {.tv_nsec = 5000000};
    for (int waited = 0; waitpid (self->pid, NULL, WNOHANG) == 0; waited += 5) {
        if (waited >= STOP_MS) {
            kill (self->pid, SIGKILL); /* its spawner sees it and cleans up */
            waitpid (self->pid, NULL, 0);
            break;
        }
        nanosleep (&step, NULL);
    }
    free (self->endpoint);
    free (self);
    *self_p = NULL;
}
