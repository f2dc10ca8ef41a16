/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* job.h - from a job file and a command line to something that can run
 *
 * Everything that can be known to be wrong before the start is found here:
 * job_open reads the file, finds share and key, loads the kernel and calls
 * its plan. After it only the machine can fail.
 */
#ifndef MASTER_JOB_H
#define MASTER_JOB_H

#include "calc/kernel_host.h"
#include "calc/map.h"
#include "proto/key.h"

typedef struct feed feed_t;

enum { RETRIES_MOST = 999, CRASH_LIMIT_MOST = 1000 };

/* What `sluice map` runs, in place of a job file. Borrowed. */
typedef struct {
    map_spec_t spec;
    const char *label; /* the command, for people */
    uint64_t max_row;  /* bytes */
    unsigned cores_per_task;
} map_job_t;

typedef struct {         /* the command line; zero: not given */
    const char *command; /* run or map: the word before messages */
    char *const *argv; /* the words of the command line, from `command` on; may be NULL */
    size_t own_words;  /* so many of them are not a command's own; argv[0] counts */
    const char *path;  /* of the job file; NULL: `map` */
    const map_job_t *map;
    bool tee;                /* show the stdout of tasks */
    sluice_params_t *params; /* given instead of the job file: job_open takes them over,
                                and the path only says where relative ones start from */
    const char *output;
    const char *key;
    const char *trace; /* file to record messages in */
    bool has_seed;
    uint64_t seed;
    uint64_t window, outbox, memory; /* bytes */
    uint64_t rate;                   /* of writing, bytes per second */
    unsigned cores;                  /* slots of the embedded node */
    bool force, resume, serial, json, quiet, no_local, no_network, fail_fast, no_copies,
        confine, curve;
    bool has_retries;
    unsigned retries;     /* of an item that failed */
    unsigned crash_limit; /* attempts of an item whose worker dies */
    const char *compress; /* as codec_parse takes it */
    double timeout;       /* seconds that an item may take */
    double disk_wait;     /* seconds */
    uint64_t node_wait;   /* ms that there may be no node; 0: FIRST_NODE_MS */
    bool nameless;        /* the output loses its name as soon as it is there */
    feed_t *feed;         /* whoever is to be told of results; borrowed */
    const char **nodes;   /* endpoints named outright */
    size_t nnodes;
} run_options_t;

typedef struct job {
    run_options_t options;
    void (*begun) (const struct job *job); /* set by who runs it; may be NULL */
    char *name;                            /* of the job, for people */
    char *folder;                          /* absolute, of the job file */
    char *output;                          /* path of the file to write */
    bool resume;                           /* it is there, and to be gone on with */
    bool (*stopped) (void); /* set by who runs it: the user wants an end; may be NULL */
    bool made;              /* this run has made it */
    bool opened;            /* or has gone on from it */
    char *owner;            /* user@host */
    sluice_params_t *params;
    share_t *share;     /* the unconfined one if there is none */
    cluster_t *cluster; /* NULL: nobody but this machine */
    kernel_t *kernel;
    char *kernel_name;  /* as HELLO names it */
    char *kernel_label; /* as a person knows it: the name, or the path from the share */
    sluice_plan_t *plan;
    uint64_t seed;
    uint32_t segment;
    uint32_t deflate; /* workers compress whole chunks: the level; 0: they do not */
    uint64_t items_per_task;
    unsigned retries, crash_limit, cores_per_task;
    uint8_t run[RUN_BYTES];
    char run_name[2 * RUN_BYTES + 1];
} job_t;

/* NULL on error. The options are borrowed until job_destroy. */
job_t *job_open (const run_options_t *options, sluice_error_t *err);
void job_destroy (job_t **self_p);

/* Somebody took the output's name meanwhile: if it is a default one, and only then,
 * the next free number is taken. */
bool job_renumber (job_t *self, sluice_error_t *err);

/* Is this parameter, of a job file, about how items are tried and not about what they
 * give? (compress, retries, crash_limit, timeout, memory, items_per_task) */
bool job_is_policy (const char *name);

/* A window or outbox by default: an eighth of the memory that is free, at
 * most 1 GiB, at least 64 MiB. */
uint64_t default_buffer (void);

#endif
