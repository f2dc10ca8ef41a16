/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* command.h - run one command to its end, whatever it does
 *
 * The command gets a session and process group of its own, /dev/null to read from and
 * pipes to write to, which are read as it writes: memory does not grow with what it
 * says, and it waits when nobody takes it. It is over when its process has ended; what
 * it has started and left behind is killed then, and so is everything of it when its
 * time is up or its processes together have more memory than they may. To that end this
 * process becomes a child subreaper.
 */
#ifndef CALC_COMMAND_H
#define CALC_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

typedef struct {
    char *const *words;
    char *const *environment; /* all of it; PATH in it finds words[0] */
    const char *folder;       /* where it starts */
    double timeout;           /* seconds; 0: none. Time in `output` does not count */
    uint64_t memory;          /* bytes of all its processes; 0: any */
    void *arg;
    /* It wrote this on stdout, or stderr. -1: it is to end at once. */
    int (*output) (void *arg, bool is_stderr, const void *data, size_t n);
} command_t;

typedef enum {
    COMMAND_ENDED,     /* exit code and signal say how */
    COMMAND_NOT_BEGUN, /* `trouble` */
    COMMAND_TIMEOUT,   /* told to end after `timeout`, killed two seconds later */
    COMMAND_MEMORY,
    COMMAND_STOPPED /* `output` said so */
} command_end_t;

typedef struct {
    command_end_t how;
    int exit_code, sig; /* -1 and 0: none */
    int trouble;        /* errno of what failed before it began */
    bool in_folder;     /* it was to go to `folder` that failed, not to begin */
    double cpu;         /* seconds, of its process and the children it waited for */
    uint64_t rss;  /* peak bytes of the largest of these, but at least this process's */
    uint64_t tree; /* bytes of all its processes when they were too many */
    unsigned processes; /* how many these were */
    unsigned left;      /* processes that it left behind */
} command_result_t;

/* -1: this machine could not (no memory, no processes). */
int command_run (const command_t *command, command_result_t *result, sluice_error_t *err);

/* Can `program` be run by that name with this PATH, from `folder`? The interpreter in
 * the first line of a script counts too. -1 with SLUICE_EINPUT and the reason. */
int command_check (const char *program, const char *path, const char *folder,
                   sluice_error_t *err);

#endif
