/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "calc/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/proctree.h"

enum {
    READ_BYTES = 64 << 10,  /* what a pipe holds */
    DRAIN_BYTES = 1 << 20,  /* of what is left in a pipe: it holds no more */
    GRACE_MS = 2000,        /* from SIGTERM to SIGKILL */
    TURN_MS = 200,          /* clocks are looked at so often */
    MEMORY_MS = 500,        /* and memory, which costs a look at all processes */
    LONGEST_TURN_MS = 1000, /* longer than this we were stopped: it does not count */
    MAX_SPARED = 256        /* processes that are not the command's */
};

typedef struct {
    const command_t *is;
    command_result_t *result;
    pid_t pid;
    int out[2], err[2], pidfd;
    bool over;                       /* its process has ended */
    bool told;                       /* SIGTERM was sent */
    int64_t used, told_at, measured; /* ms that it has run; at which of them */
    pid_t spared[MAX_SPARED];
    size_t nspared;
    char buffer[READ_BYTES];
} run_t;

/* ---- before it runs -------------------------------------------------------- */

static void begin (run_t *self) __attribute__ ((noreturn));
/* In the child, which has this process's memory until it is another program (vfork): a
 * copy of all page tables for each command would cost more than a small command does.
 * Nothing here may change what the parent goes on with. */
static void begin (run_t *self)
{
    int null = open ("/dev/null", O_RDONLY);
    setsid ();
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    for (int sig = 1; sig < NSIG; sig++)
        signal (sig, SIG_DFL);
    sigset_t none;
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
    dup2 (null, STDIN_FILENO);
    dup2 (self->out[1], STDOUT_FILENO);
    dup2 (self->err[1], STDERR_FILENO);
    if (null > STDERR_FILENO)
        close (null);
    if (self->is->folder && chdir (self->is->folder) < 0)
        self->result->in_folder = true;
    else
        execvpe (self->is->words[0], self->is->words, self->is->environment);
    self->result->trouble = errno;
    self->result->how = COMMAND_NOT_BEGUN;
    _exit (127);
}

static void close_one (int *fd)
{
    if (*fd >= 0)
        close (*fd);
    *fd = -1;
}

static int open_pipes (run_t *self, sluice_error_t *err)
{
    if (pipe2 (self->out, O_CLOEXEC) == 0 && pipe2 (self->err, O_CLOEXEC) == 0)
        return 0;
    return sluice_fail (err, SLUICE_ESYSTEM, "no pipes for the command: %s",
                        strerror (errno));
}

static void close_pipes (run_t *self)
{
    for (int i = 0; i < 2; i++) {
        close_one (&self->out[i]);
        close_one (&self->err[i]);
    }
    close_one (&self->pidfd);
}

static int start (run_t *self, sluice_error_t *err)
{
    siginfo_t info;
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    /* As a rule a worker has no other child, and nothing need be looked up. */
    if (waitid (P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0)
        self->nspared = proctree_children (getpid (), self->spared, MAX_SPARED);
    fflush (NULL);
    self->pid = vfork ();
    if (self->pid == 0)
        begin (self);
    if (self->pid < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "no process for the command: %s",
                            strerror (errno));
    close_one (&self->out[1]);
    close_one (&self->err[1]);
    fcntl (self->out[0], F_SETFL, O_NONBLOCK);
    fcntl (self->err[0], F_SETFL, O_NONBLOCK);
    self->pidfd = (int) syscall (SYS_pidfd_open, self->pid, 0); /* Linux 5.3; else -1 */
    if (self->pidfd >= 0)
        fcntl (self->pidfd, F_SETFD, FD_CLOEXEC);
    return 0;
}

/* ---- while it runs --------------------------------------------------------- */

static void kill_all (run_t *self)
{
    proctree_kill (getpid (), false, self->spared, self->nspared);
}

static void reap (run_t *self)
{
    int status;
    struct rusage usage;
    if (self->over || wait4 (self->pid, &status, WNOHANG, &usage) != self->pid)
        return;
    self->over = true;
    if (WIFEXITED (status))
        self->result->exit_code = WEXITSTATUS (status);
    else
        self->result->sig = WTERMSIG (status);
    self->result->cpu = (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                        (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    uint64_t rss = (uint64_t) usage.ru_maxrss << 10;
    if (rss > self->result->rss)
        self->result->rss = rss;
}

/* Read what is there, and hand it on: -1 if nothing more is wanted. */
static int take (run_t *self, int *fd, bool is_stderr, size_t most)
{
    for (size_t done = 0; *fd >= 0 && done < most;) {
        ssize_t n = read (*fd, self->buffer, sizeof self->buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n <= 0) {
            close_one (fd);
            return 0;
        }
        done += (size_t) n;
        if (self->is->output (self->is->arg, is_stderr, self->buffer, (size_t) n))
            return -1;
    }
    return 0;
}

static void check_time (run_t *self)
{
    double limit = self->is->timeout;
    if (limit > 0 && !self->told && (double) self->used >= limit * 1000) {
        self->result->how = COMMAND_TIMEOUT;
        self->told = true;
        self->told_at = self->used;
        kill (-self->pid, SIGTERM);
        kill (-self->pid, SIGCONT);
    } else if (self->told && self->used - self->told_at >= GRACE_MS)
        kill_all (self);
}

static void check_memory (run_t *self)
{
    if (!self->is->memory || self->used - self->measured < MEMORY_MS)
        return;
    self->measured = self->used;
    unsigned n;
    uint64_t bytes = proctree_memory (self->pid, self->is->memory, &n);
    if (bytes > self->result->rss)
        self->result->rss = bytes;
    if (bytes <= self->is->memory || self->result->how != COMMAND_ENDED)
        return;
    self->result->how = COMMAND_MEMORY;
    self->result->tree = bytes;
    self->result->processes = n;
    kill_all (self);
}

/* One turn: wait for something, take it. */
static int turn (run_t *self)
{
    struct pollfd fds[3] = {{.fd = self->out[0], .events = POLLIN},
                            {.fd = self->err[0], .events = POLLIN},
                            {.fd = self->pidfd, .events = POLLIN}};
    int64_t before = clock_ms ();
    int wait = self->pidfd >= 0 ? TURN_MS : 10;
    if (self->is->timeout > 0 && self->is->timeout * 1000 - (double) self->used < wait &&
        !self->told)
        wait = (int) (self->is->timeout * 1000 - (double) self->used) + 1;
    poll (fds, 3, wait > 0 ? wait : 0);
    int64_t took = clock_ms () - before;
    self->used += took < LONGEST_TURN_MS ? took : LONGEST_TURN_MS;
    reap (self);
    if (take (self, &self->out[0], false, READ_BYTES) ||
        take (self, &self->err[0], true, READ_BYTES))
        return -1;
    if (!self->over) {
        check_time (self);
        check_memory (self);
    }
    return 0;
}

/* The command's process is gone: so is what it left, soon. Those of the parent's own
 * children that are not spared are the command's, who has none but its own. */
static void clear (run_t *self)
{
    for (int i = 0; i < 1000; i++) { /* 10 s: an uninterruptible wait may last longer */
        int status;
        siginfo_t info;
        if (self->nspared == 0) {
            while (waitpid (-1, &status, WNOHANG) > 0)
                ;
            if (waitid (P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
                return; /* no child at all */
        }
        int left = proctree_kill (getpid (), false, self->spared, self->nspared);
        if (i == 0 && left > 0)
            self->result->left = (unsigned) left;
        if (left == 0 && self->nspared > 0)
            return;
        usleep (i < 10 ? 1000 : 10000);
    }
}

int command_run (const command_t *command, command_result_t *result, sluice_error_t *err)
{
    run_t *self = calloc (1, sizeof *self);
    if (!self)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a command");
    *result = (command_result_t){.exit_code = -1};
    self->is = command;
    self->result = result;
    self->out[0] = self->out[1] = self->err[0] = self->err[1] = -1;
    self->pidfd = -1;
    int rc = open_pipes (self, err);
    if (rc == 0)
        rc = start (self, err);
    while (rc == 0 && !self->over)
        if (turn (self)) {
            result->how = COMMAND_STOPPED;
            break;
        }
    if (rc == 0 && result->how == COMMAND_STOPPED) {
        kill_all (self);
        while (!self->over) {
            reap (self);
            usleep (1000);
        }
    } else if (rc == 0 && (take (self, &self->out[0], false, DRAIN_BYTES) ||
                           take (self, &self->err[0], true, DRAIN_BYTES)))
        result->how = COMMAND_STOPPED;
    close_pipes (self);
    if (rc == 0)
        clear (self);
    free (self);
    return rc;
}

/* ---- looking for a program --------------------------------------------------- */

static int try_file (int folder, const char *path)
{
    struct stat st;
    if (fstatat (folder, path, &st, 0) < 0)
        return errno;
    if (S_ISDIR (st.st_mode))
        return EISDIR;
    return faccessat (folder, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

/* Where execvp would find it; `found` is its path. Returns an errno. */
static int find (int folder, const char *program, const char *path, char *found,
                 size_t size)
{
    if (strchr (program, '/')) {
        snprintf (found, size, "%s", program);
        return try_file (folder, program);
    }
    int worst = ENOENT;
    for (const char *at = path ? path : "/bin:/usr/bin"; at; at = strchr (at, ':')) {
        at += *at == ':';
        int n = (int) strcspn (at, ":");
        snprintf (found, size, "%.*s%s%s", n, at, n ? "/" : "", program);
        int how = try_file (folder, found);
        if (how == 0)
            return 0;
        /* A folder of the PATH that we cannot look into says nothing of the program. */
        if (how == EACCES && faccessat (folder, found, F_OK, 0) == 0)
            worst = how;
        at += n;
        if (*at == '\0')
            break;
    }
    snprintf (found, size, "%s", program);
    return worst;
}

/* The interpreter in a script's first line, and behind `env` the program that it is to
 * look for. "" if there is none. */
static void interpreter (int folder, const char *file, char words[2][256])
{
    char line[256];
    words[0][0] = words[1][0] = '\0';
    int fd = openat (folder, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read (fd, line, sizeof line - 1);
    if (fd >= 0)
        close (fd);
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return;
    line[n] = '\0';
    line[strcspn (line, "\r\n")] = '\0';
    sscanf (line + 2, " %255s %255s", words[0], words[1]);
    const char *base = strrchr (words[0], '/');
    if (!base || strcmp (base, "/env") != 0 || words[1][0] == '-' ||
        strchr (words[1], '='))
        words[1][0] = '\0';
}

static int check_in (int folder, const char *program, const char *path,
                     sluice_error_t *err)
{
    char found[4096], again[4096], words[2][256];
    int how = find (folder, program, path, found, sizeof found);
    if (how == EACCES)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: not executable; make it so with: chmod +x %s", program,
                            found);
    if (how == EISDIR)
        return sluice_fail (err, SLUICE_EINPUT, "%s: a folder, not a command", program);
    if (how == ENOENT)
        return sluice_fail (err, SLUICE_EINPUT, "%s: command not found%s", program,
                            strchr (program, '/') ? "" : " in PATH");
    if (how)
        return sluice_fail (err, SLUICE_EINPUT, "%s: %s", program, strerror (how));
    interpreter (folder, found, words);
    for (int i = 0; i < 2 && words[i][0]; i++)
        if (find (folder, words[i], path, again, sizeof again))
            return sluice_fail (err, SLUICE_EINPUT, "%s: its interpreter %s is not there",
                                program, words[i]);
    return 0;
}

int command_check (const char *program, const char *path, const char *folder,
                   sluice_error_t *err)
{
    int fd = open (folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sluice_fail (err, SLUICE_EINPUT, "the folder %s: %s", folder,
                            strerror (errno));
    int rc = check_in (fd, program, path, err);
    close (fd);
    return rc;
}
