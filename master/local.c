/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/folder.h"

struct local {
    pid_t pid;    /* -1: none */
    bool killed;  /* the last one was, by a signal */
    int lifetime; /* our end; the node ends when it closes, and hands segments over by it
                   */
    int starts;   /* after the first */
    int futile;   /* of these: in a row, with nothing done since the one before */
    char *folder, *root;
    char endpoint[128];
    const char *args[24]; /* its command; what follows is pointed to */
    char lifetime_text[16], ready_text[16], slots[16], outbox[24], memory[24];
};

/* A node that dies again and again does so because of what it is given. */
enum { READY_MS = 10000, STOP_MS = 10000, MOST_FUTILE = 3, STEP_MS = 5 };
static const struct timespec step = {.tv_nsec = STEP_MS * 1000000};

char *local_folder (sluice_error_t *err)
{
    const char *base = getenv ("XDG_RUNTIME_DIR");
    /* A Unix socket's path has room for 107 bytes; ours need about 40. */
    if (!base || !*base || strlen (base) > 60 || access (base, W_OK | X_OK))
        base = "/tmp";
    int lock; /* this process's to its end */
    char *path = folder_make (base, "sluice-run-", &lock);
    if (!path)
        sluice_fail (err, SLUICE_ESYSTEM, "cannot make a folder in %s: %s", base,
                     strerror (errno));
    return path;
}

void local_folder_remove (char **folder_p)
{
    if (!*folder_p)
        return;
    folder_remove (*folder_p);
    free (*folder_p);
    *folder_p = NULL;
}

/* The words of the command `sluice node`, but for the two pipes. */
static int make_args (local_t *self, const job_t *job, sluice_error_t *err)
{
    const run_options_t *o = &job->options;
    uint64_t outbox = o->outbox ? o->outbox : default_buffer ();
    bool good = true;
    int n = 0;
    self->args[n++] = "sluice";
    self->args[n++] = "node";
    self->args[n++] = "--embedded";
    self->args[n++] = self->lifetime_text;
    self->args[n++] = "--ready";
    self->args[n++] = self->ready_text;
    self->args[n++] = "--endpoint";
    self->args[n++] = self->endpoint;
    snprintf (self->outbox, sizeof self->outbox, "%llu", (unsigned long long) outbox);
    self->args[n++] = "--outbox";
    self->args[n++] = self->outbox;
    if (o->cores) {
        snprintf (self->slots, sizeof self->slots, "%u", o->cores);
        self->args[n++] = "--slots";
        self->args[n++] = self->slots;
    }
    if (o->memory) {
        snprintf (self->memory, sizeof self->memory, "%llu",
                  (unsigned long long) o->memory);
        self->args[n++] = "--memory";
        self->args[n++] = self->memory;
    }
    if (o->confine)
        self->args[n++] = "--confine";
    if (share_confined (job->share)) {
        self->args[n++] = self->root = strdup (share_root (job->share));
        good = self->root != NULL;
    }
    return good ? 0 : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
}

/* Start the process. `ready` (our end) becomes readable when it is. There may
 * be threads: the child does nothing but system calls. */
static int launch (local_t *self, int *ready_fd, sluice_error_t *err)
{
    int lifetime[2] = {-1, -1}, ready[2] = {-1, -1};
    sigset_t none;
    sigemptyset (&none);
    if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lifetime) ||
        pipe2 (ready, O_CLOEXEC)) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot start the embedded node: %s",
                     strerror (errno));
        goto done;
    }
    snprintf (self->lifetime_text, sizeof self->lifetime_text, "%d", lifetime[0]);
    snprintf (self->ready_text, sizeof self->ready_text, "%d", ready[1]);
    self->pid = fork ();
    if (self->pid == 0) {
        sigprocmask (SIG_SETMASK, &none, NULL);
        fcntl (lifetime[0], F_SETFD, 0);
        fcntl (ready[1], F_SETFD, 0);
        /* Ctrl-C is for the master, which ends the node in order. */
        setpgid (0, 0);
        execv ("/proc/self/exe", (char **) self->args);
        _exit (127);
    }
    if (self->pid < 0) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot fork: %s", strerror (errno));
    } else {
        self->lifetime = lifetime[1];
        *ready_fd = ready[0];
        lifetime[1] = ready[0] = -1;
    }
done:
    for (int i = 0; i < 2; i++) {
        if (lifetime[i] >= 0)
            close (lifetime[i]);
        if (ready[i] >= 0)
            close (ready[i]);
    }
    return self->pid > 0 ? 0 : -1;
}

bool local_ended (local_t *self, char *how, size_t size)
{
    int status;
    if (self->pid <= 0 || waitpid (self->pid, &status, WNOHANG) != self->pid)
        return false;
    self->pid = -1;
    close (self->lifetime);
    self->lifetime = -1;
    self->killed = WIFSIGNALED (status);
    if (self->killed)
        snprintf (how, size, "killed by signal %d (%s)", WTERMSIG (status),
                  strsignal (WTERMSIG (status)));
    else
        snprintf (how, size, "ended with status %d", WEXITSTATUS (status));
    return true;
}

/* Wait until it says that it is ready. 0: it was killed before; -1: it will not be. */
static int wait_ready (local_t *self, int ready, sluice_error_t *err)
{
    char byte, how[80];
    int got;
    struct pollfd poll_ready = {.fd = ready, .events = POLLIN};
    while ((got = poll (&poll_ready, 1, READY_MS)) < 0 && errno == EINTR)
        ;
    if (got > 0 && read (ready, &byte, 1) == 1)
        return 1;
    if (got <= 0)
        kill (self->pid, SIGKILL); /* it stands still */
    /* Its end of the pipe is closed before it is dead. */
    self->killed = false;
    snprintf (how, sizeof how, "it does not end");
    for (int waited = 0; waited < READY_MS && !local_ended (self, how, sizeof how);
         waited += STEP_MS)
        nanosleep (&step, NULL);
    if (got <= 0)
        snprintf (how, sizeof how, "not ready after %d s", READY_MS / 1000);
    sluice_fail (err, SLUICE_ESYSTEM, "the embedded node did not start: %s", how);
    return self->killed ? 0 : -1;
}

local_t *local_start (const job_t *job, const char *folder, sluice_error_t *err)
{
    int ready = -1, rc = 0;
    local_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->lifetime = -1;
    self->pid = -1;
    self->folder = strdup (folder);
    if (!self->folder) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        goto error;
    }
    snprintf (self->endpoint, sizeof self->endpoint, "ipc://%s/node", folder);
    if (make_args (self, job, err))
        goto error;
    for (; rc == 0 && self->futile <= MOST_FUTILE; self->futile++) {
        if (launch (self, &ready, err))
            goto error;
        rc = wait_ready (self, ready, err);
        close (ready);
        if (rc == 1)
            return self;
    }
error:
    local_stop (&self);
    return NULL;
}

int local_again (local_t *self, bool useful, sluice_error_t *err)
{
    int ready = -1;
    if (useful)
        self->futile = 0;
    if (self->futile >= MOST_FUTILE)
        return sluice_fail (err, SLUICE_ENONODES,
                            "it died %d times, and nothing was done between",
                            self->futile + 1);
    self->futile++;
    self->starts++;
    /* A new name: what was on its way to the dead one must not reach this one. */
    snprintf (self->endpoint, sizeof self->endpoint, "ipc://%s/node%d", self->folder,
              self->starts + 1);
    if (launch (self, &ready, err))
        return -1;
    close (ready); /* whoever connects waits until it listens */
    return 0;
}

int local_handover (const local_t *self)
{
    return self->lifetime;
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
    if (self->lifetime >= 0)
        close (self->lifetime);
    for (int waited = 0; self->pid > 0 && waitpid (self->pid, NULL, WNOHANG) == 0;
         waited += STEP_MS) {
        if (waited >= STOP_MS) {
            kill (self->pid, SIGKILL); /* its spawner sees it and cleans up */
            waitpid (self->pid, NULL, 0);
            break;
        }
        nanosleep (&step, NULL);
    }
    free (self->folder);
    free (self->root);
    free (self);
    *self_p = NULL;
}
