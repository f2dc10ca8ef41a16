/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "node/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "node/limits.h"
#include "proto/proctree.h"
#include "node/wire.h"
#include "node/zygote.h"
#include "proto/clock.h"
#include "proto/folder.h"

/* Processes are killed again this often until all are gone. */
enum { SWEEP_MS = 20 };
/* What cannot be killed (a disk that does not answer) is left after this. */
enum { GIVE_UP_MS = 60000 };

typedef struct {
    uint64_t id;
    pid_t zygote; /* 0: it is dead */
    int status;
    bool ending; /* kill it from `deadline` on */
    int64_t deadline;
    bool ended_told, gone, gone_told;
    char *scratch;
    pid_t janitor; /* removes the scratch folder; 0: none */
} run_t;

typedef struct {
    int control, lifeline, children;
    run_t *runs;
    size_t nruns;
    bool alone; /* the agent is gone */
    int64_t alone_since;
} spawner_t;

static void start_run (spawner_t *self, wire_mail_t *mail)
{
    run_t *runs = realloc (self->runs, (self->nruns + 1) * sizeof *runs);
    if (runs)
        self->runs = runs;
    char *scratch = strdup (mail->data);
    if (!runs || !scratch || mail->nfds != 4) {
        free (scratch); /* the zygote's socket closes: the agent sees that */
        wire_drop (mail);
        return;
    }
    pid_t pid = fork ();
    if (pid == 0) {
        close (self->control);
        close (self->lifeline);
        close (self->children);
        zygote_main (mail->fds[0], mail->fds[1], mail->fds[2], mail->fds[3]);
    }
    wire_drop (mail);
    self->runs[self->nruns++] = (run_t){.id = mail->wire.a,
                                        .zygote = pid > 0 ? pid : 0,
                                        .status = 255 << 8,
                                        .scratch = scratch};
}

static void end_run (run_t *run, int64_t grace_ms)
{
    int64_t deadline = clock_ms () + grace_ms;
    if (!run->ending || deadline < run->deadline)
        run->deadline = deadline;
    run->ending = true;
}

static void listen (spawner_t *self)
{
    wire_mail_t mail;
    wire_result_t got;
    while ((got = wire_recv (self->control, &mail, false)) == WIRE_GOT) {
        if (mail.wire.op == WIRE_START)
            start_run (self, &mail);
        else if (mail.wire.op == WIRE_END)
            for (size_t i = 0; i < self->nruns; i++)
                if (self->runs[i].id == mail.wire.a)
                    end_run (&self->runs[i], (int64_t) mail.wire.b);
        wire_drop (&mail);
    }
    if (got != WIRE_EOF)
        return;
    self->alone = true;
    self->alone_since = clock_ms ();
    for (size_t i = 0; i < self->nruns; i++)
        end_run (&self->runs[i], 0);
}

static void reap (spawner_t *self)
{
    struct signalfd_siginfo info;
    while (read (self->children, &info, sizeof info) > 0)
        ;
    pid_t pid;
    int status;
    while ((pid = waitpid (-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < self->nruns; i++) {
            run_t *run = &self->runs[i];
            if (run->zygote == pid) {
                run->zygote = 0;
                run->status = status;
            } else if (run->janitor == pid)
                run->janitor = 0;
        }
}

/* Kill what is left of runs whose zygote died: all of our children that are
 * neither zygote nor janitor. Returns how many there were. */
static int kill_orphans (spawner_t *self)
{
    pid_t *spare = calloc (2 * self->nruns + 1, sizeof *spare);
    if (!spare)
        return -1;
    size_t n = 0;
    for (size_t i = 0; i < self->nruns; i++) {
        if (self->runs[i].zygote)
            spare[n++] = self->runs[i].zygote;
        if (self->runs[i].janitor)
            spare[n++] = self->runs[i].janitor;
    }
    int left = proctree_kill (getpid (), false, spare, n);
    free (spare);
    return left;
}

static void start_janitor (spawner_t *self, run_t *run)
{
    run->janitor = fork ();
    if (run->janitor == 0) {
        close (self->control);
        _exit (folder_remove (run->scratch) < 0);
    }
    if (run->janitor < 0)
        run->janitor = 0;
}

static void sweep (spawner_t *self)
{
    int64_t now = clock_ms ();
    bool dead = false;
    for (size_t i = 0; i < self->nruns; i++) {
        run_t *run = &self->runs[i];
        if (run->zygote && run->ending && now >= run->deadline) {
            proctree_kill (run->zygote, true, NULL, 0);
            reap (self);
        }
        dead |= !run->zygote && !run->gone;
    }
    if (!dead || kill_orphans (self) != 0)
        return;
    for (size_t i = 0; i < self->nruns; i++) {
        run_t *run = &self->runs[i];
        if (!run->zygote && !run->gone) {
            run->gone = true;
            start_janitor (self, run);
        }
    }
}

/* True when the agent knows, or cannot be told any more. */
static bool tell (spawner_t *self, wire_op_t op, const run_t *run)
{
    wire_t wire = {.op = op, .a = run->id, .b = (uint64_t) (uint32_t) run->status};
    return self->alone ||
           wire_send (self->control, &wire, NULL, 0, NULL, 0, false) == 0 ||
           errno != EAGAIN;
}

/* Tell the agent what ended; forget runs of which nothing is left. */
static void report (spawner_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->nruns; i++) {
        run_t *run = &self->runs[i];
        if (!run->zygote && !run->ended_told)
            run->ended_told = tell (self, WIRE_ENDED, run);
        if (run->gone && run->ended_told && !run->gone_told)
            run->gone_told = tell (self, WIRE_GONE, run);
        if (run->gone_told && !run->janitor)
            free (run->scratch);
        else
            self->runs[kept++] = *run;
    }
    self->nruns = kept;
}

/* How long nothing needs to be looked after; -1: until something happens. */
static int patience (const spawner_t *self)
{
    int64_t wait = -1, now = clock_ms ();
    for (size_t i = 0; i < self->nruns; i++) {
        const run_t *run = &self->runs[i];
        int64_t mine = -1;
        if (run->zygote && run->ending)
            mine = run->deadline > now ? run->deadline - now : SWEEP_MS;
        else if (!run->zygote && !run->gone_told)
            mine = SWEEP_MS;
        if (mine >= 0 && (wait < 0 || mine < wait))
            wait = mine;
    }
    if (self->alone && wait < 0)
        wait = SWEEP_MS;
    return (int) wait;
}

static bool finished (const spawner_t *self)
{
    return self->alone &&
           (self->nruns == 0 || clock_ms () - self->alone_since > GIVE_UP_MS);
}

static int watch_children (void)
{
    sigset_t child;
    sigemptyset (&child);
    sigaddset (&child, SIGCHLD);
    sigprocmask (SIG_BLOCK, &child, NULL);
    return signalfd (-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

_Noreturn void spawner_main (int control, int lifeline)
{
    prctl (PR_SET_NAME, "sluice-spawner");
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    setsid ();
    limits_reset_signals ();
    /* Who stops a service signals all its processes: the agent decides. */
    signal (SIGTERM, SIG_IGN);
    signal (SIGINT, SIG_IGN);
    signal (SIGHUP, SIG_IGN);
    signal (SIGUSR1, SIG_IGN);
    limits_close_others ((int[]){control, lifeline}, 2);
    int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2 (null, 0);
        dup2 (null, 1);
        if (null > 2)
            close (null);
    }
    if (chdir ("/") < 0)
        _exit (1);
    spawner_t self = {.control = control, .lifeline = lifeline};
    self.children = watch_children ();
    if (self.children < 0)
        _exit (1);
    while (!finished (&self)) {
        /* Once the agent is gone its socket would only wake us for nothing. */
        struct pollfd fds[] = {{.fd = self.alone ? -1 : control, .events = POLLIN},
                               {.fd = self.children, .events = POLLIN}};
        poll (fds, 2, patience (&self));
        if (!self.alone)
            listen (&self);
        reap (&self);
        sweep (&self);
        report (&self);
    }
    _exit (0);
}
