/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* client.h - run a kernel from a program, and take its results as they come
 *
 *   sluice_error_t err;
 *   sluice_client_t *client = sluice_client_new (NULL, &err);
 *   const char *params[] = {"batches", "1000", "darts", "5000", NULL};
 *   sluice_map_t *map = sluice_client_map (
 *       client, &(sluice_map_options_t){.kernel = "./area.so", .params = params}, &err);
 *   sluice_result_t result;
 *   int rc;
 *   while ((rc = sluice_map_next (map, 1, -1, &result, &err)) > 0) {
 *       if (rc == SLUICE_MAP_RESULT && !result.failed) {
 *           uint64_t n;
 *           const row_t *row = sluice_map_rows (map, 0, &n, &err);
 *           ...
 *       }
 *   }
 *   sluice_map_close (&map);
 *   sluice_client_destroy (&client);
 *
 * with every return checked: calc/examples/client.c, and client.py for Python. A
 * kernel is written as kernel.h says; its items are what is mapped over.
 *
 * A *client* says where to compute: with a share around its folder on the nodes of the
 * cluster and on this machine, else on this machine alone. A *map* is one run of a
 * kernel. Each map is computed by a master of its own, a process (`sluice serve`) that
 * ends with the map, or when this process ends, however it does; with it end its
 * workers, on all machines, within ten seconds. So nothing is computed here, no thread
 * is made, no signal is taken, nothing is printed, and HDF5 is not used.
 *
 * Results go to one HDF5 file, as those of `sluice run` do. The file is whole at every
 * instant and may be read by others; without a name it is this program's alone, and
 * gone with it. From the file this program reads the rows it asks for, and only these
 * are held in memory here. A program that takes no results for a while does not stop
 * the run (until some 100,000 tasks are finished that nobody asked for: then no more
 * are begun).
 *
 * Every item comes exactly once, done or failed, in the order in which tasks are done.
 *
 * Errors are values: functions return -1 or NULL and fill `err` (may be NULL). Any
 * number of clients and maps may live at the same time. A client does not change: any
 * thread may use it. A map is for one thread at a time. After fork the child must not
 * use them; it may exec.
 *
 * The process of a map is this one's child. Who waits for any child (waitpid (-1))
 * or ignores SIGCHLD does no harm; a handler of SIGCHLD hears of its end.
 */
#ifndef SLUICE_CLIENT_H
#define SLUICE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_client sluice_client_t;
typedef struct sluice_map sluice_map_t;

/* ---- where to compute -------------------------------------------------------- */

/* Zero everywhere is good: this machine, or the share around the working folder. */
typedef struct {
    const char *folder;       /* where relative paths of kernels start, and the share is
                                 looked for above; NULL: the working folder */
    const char *key;          /* file of the cluster's key; NULL: $SLUICE_KEY, or that of
                                 the share */
    const char *const *nodes; /* endpoints tcp://HOST:PORT besides the nodes found; this
                                 machine does not compute then */
    size_t nnodes;
    bool no_local;       /* do not compute on this machine */
    bool no_network;     /* only on this machine, though there is a share */
    bool serial;         /* in one process, one item after the other: for debugging */
    bool confine;        /* keep workers from writing outside their scratch folder */
    unsigned cores;      /* of this machine; 0: all */
    uint64_t window;     /* bytes of results that the master holds; 0: a good number */
    uint64_t outbox;     /* the same for the workers of this machine */
    uint64_t memory;     /* bytes that a worker may take; 0: its part of what is there */
    double node_wait;    /* seconds that there may be no node at all; 0: 30 */
    const char *log;     /* file that messages for people are appended to, those of the
                            kernel too; "/dev/stderr" is one; NULL: nowhere */
    const char *command; /* the program sluice; NULL: $SLUICE, or the one that was
                            installed with this library, or that on the path */
} sluice_client_options_t;

/* A client with these options (copied; NULL: all zero). What can be known to be wrong
 * with share, key and command is said here: SLUICE_EINPUT. Nothing is started. */
sluice_client_t *sluice_client_new (const sluice_client_options_t *options,
                                    sluice_error_t *err);
/* Its maps go on. */
void sluice_client_destroy (sluice_client_t **self_p);

/* The folder of the share; "" if only this machine computes. */
const char *sluice_client_share (const sluice_client_t *self);

/* ---- a run of a kernel --------------------------------------------------------- */

typedef struct {
    uint64_t items, done, failed, running; /* items */
    uint64_t bytes;                        /* of rows that are finished */
    double seconds;                        /* since the start */
    unsigned nodes, cores;                 /* computing now */
    const char *waiting;                   /* what it waits for, "" if for nothing */
} sluice_progress_t;

/* Called by sluice_map_next in its thread, some times a second as long as it waits. It
 * must not use the map. `progress` is valid until it returns. */
typedef void (sluice_progress_fn) (void *arg, const sluice_progress_t *progress);

typedef struct {
    const char *kernel;        /* path of a shared object; with a share within it. NULL:
                                  the parameters name a calculation_mode */
    const char *const *params; /* name, value, name, value, ..., NULL; as in job files */
    const char *output;        /* HDF5 file to make; NULL: one without a name, in
                                  $TMPDIR or /var/tmp */
    bool force;                /* replace the output if it exists */
    bool has_seed;             /* else the parameter random_seed, else 42 */
    uint64_t seed;
    bool fail_fast;               /* end with the first item that fails for good */
    const char *name;             /* for people and for `sluice runs`; NULL: "map" */
    sluice_progress_fn *progress; /* may be NULL */
    void *arg;                    /* of progress */
} sluice_map_options_t;

/* Start a map; returns when the kernel has made its plan and the output is there.
 * SLUICE_EINPUT: kernel, parameters, output or nodes cannot be right, and nothing was
 * begun; else SLUICE_EOUTPUT, SLUICE_ESYSTEM. */
sluice_map_t *sluice_client_map (sluice_client_t *client,
                                 const sluice_map_options_t *options,
                                 sluice_error_t *err);

/* End the map, if it has not, and forget it. An output with a name stays, whole, with
 * what was finished; without one it is gone. Waits for the end of its process, which
 * is killed after 10 s. NULL is fine. */
void sluice_map_close (sluice_map_t **self_p);

uint64_t sluice_map_items (const sluice_map_t *self);
/* 32 hex digits: what `sluice explain` and others take. */
const char *sluice_map_run (const sluice_map_t *self);

/* ---- tables ---------------------------------------------------------------------- */

/* Tables have numbers from 0: first those of the plan, then others as they are met.
 * Their names and dtypes (dtype.h), and the bytes of a row, which is packed. */
unsigned sluice_map_tables (const sluice_map_t *self);
const char *sluice_map_table_name (const sluice_map_t *self, unsigned table);
const char *sluice_map_table_dtype (const sluice_map_t *self, unsigned table);
size_t sluice_map_row_bytes (const sluice_map_t *self, unsigned table);
/* The number of the table with this name, or -1. */
int sluice_map_find (const sluice_map_t *self, const char *name);

/* ---- results --------------------------------------------------------------------- */

typedef struct {
    uint64_t first, stop; /* items first <= i < stop */
    bool failed;          /* for good, or cancelled: there are no rows */
    int signal;           /* that ended the worker; 0: none */
    int exit_code;        /* of the worker; -1: none */
    const char *reason;   /* one line for a person; "" if done. Valid, as the next two,
                             until the next call of sluice_map_next */
    const char *messages; /* the last lines that the worker printed to stderr */
    const char *host;     /* where it failed; "" if nowhere */
} sluice_result_t;

enum {
    SLUICE_MAP_END = 0,    /* no more: see sluice_map_summary */
    SLUICE_MAP_RESULT = 1, /* `result` is filled */
    SLUICE_MAP_NOTHING = 2 /* within the time; or a signal handler ran */
};

/* The next items that are done or failed: one of SLUICE_MAP_..., or -1 when the run has
 * ended without being done (SLUICE_ENONODES, SLUICE_EOUTPUT; SLUICE_ESYSTEM: also when
 * its process was killed; SLUICE_EINPUT: with `serial`, when the kernel cannot open its
 * inputs); what was finished before comes first. At most `most` items
 * at a time (> 0): with 1 item by item, with UINT64_MAX as many as one task had.
 * `seconds` to wait: 0 not at all, negative: as long as it takes. */
int sluice_map_next (sluice_map_t *self, uint64_t most, double seconds,
                     sluice_result_t *result, sluice_error_t *err);

/* Rows of the present result in a table, those of lower items first. */
uint64_t sluice_map_count (const sluice_map_t *self, unsigned table);

/* All of them: *n rows (n may be NULL), valid until the next call of this function, of
 * sluice_map_next or of sluice_map_close. NULL on error only. */
const void *sluice_map_rows (sluice_map_t *self, unsigned table, uint64_t *n,
                             sluice_error_t *err);

/* Rows from <= i < from + n of them into `rows`: for results larger than memory. */
int sluice_map_read (sluice_map_t *self, unsigned table, uint64_t from, uint64_t n,
                     void *rows, sluice_error_t *err);

/* A descriptor that becomes readable when sluice_map_next may have something: for an
 * event loop, which calls that with `seconds` 0 until it says SLUICE_MAP_NOTHING. */
int sluice_map_fd (const sluice_map_t *self);

/* ---- while it runs, and after ------------------------------------------------------ */

/* Items first <= i < stop are not wanted any more. Those that were not finished come as
 * failed, with the reason "cancelled"; which, is known only then. Whatever computes one
 * of them is stopped, and begun again without it. */
int sluice_map_cancel (sluice_map_t *self, uint64_t first, uint64_t stop,
                       sluice_error_t *err);
/* End the run, everywhere: results that are finished still come, then the end. */
int sluice_map_cancel_all (sluice_map_t *self, sluice_error_t *err);

/* How it went, as far as sluice_map_next has heard. */
void sluice_map_progress (const sluice_map_t *self, sluice_progress_t *progress);

typedef struct {
    const char *status;    /* complete; failed: some items did; cancelled; stopped: it
                              could not go on; running. Not freed */
    uint64_t done, failed; /* items */
    uint64_t rows, bytes;  /* of all tables, finished */
    double seconds;
    unsigned nodes, cores; /* that took part */
    char digest[33];       /* as `sluice verify` prints it; "" while running */
} sluice_summary_t;

/* After SLUICE_MAP_END or an error. */
void sluice_map_summary (const sluice_map_t *self, sluice_summary_t *summary);

#ifdef __cplusplus
}
#endif
#endif
