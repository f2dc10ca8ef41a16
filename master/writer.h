/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* writer.h - the one who writes the file
 *
 * Pieces of results go to page-aligned extents of one file by plain pwrite,
 * as they come; HDF5 knows nothing of them. A snapshot lays HDF5 metadata
 * over exactly the extents of finished tasks and writes the superblock last,
 * so that the file goes from one whole state to the next by one small write
 * (invariant I5). The ledger in it says what exists.
 *
 * What is in the file (h5py's view):
 *
 *   <table>                rows of finished tasks, in the order they were placed
 *   <table>_index          after finish: {item:<u8, start:<u8, stop:<u8} rows that
 *                          tile the table: where each item's rows lie, sorted by
 *                          item, then by place in the item's stream
 *   <output>               constant arrays of the plan
 *   sluice/index           the ledger: see index_row_t
 *   sluice/items           rows of each item: see calc/emitter.h; its pieces are in the
 *                          ledger as those of table number `ntables`; tables that were
 *                          met late have the numbers after that
 *   sluice/tasks           finished tasks: see task_row_t
 *   sluice/nodes           node_row_t
 *   sluice/failures        failure_row_t
 *   sluice (attributes)    version, run, job, kernel, seed, items, parameters
 *                          (JSON), status (running, complete, failed, cancelled),
 *                          digest (hex, once finished), started, seconds, tables,
 *                          late and outputs (how many are declared, were met late,
 *                          are constant); table_I, dtype_I and output_I name them,
 *                          where I is the number in the ledger; resumed (how often the
 *                          run was gone on with); compress (how chunks of tables that
 *                          are content are); what identity.h has
 *
 * A whole chunk may come compressed (proto/codec.h); it is checked by its xxh3 and
 * written as it came. Its table then has HDF5's filters, which all other chunks skip.
 *
 * The tails of tasks are packed: each table has one open chunk, whose rows are
 * appended to its extent by snapshots. That writes behind what an older
 * snapshot refers to, never over it. When the open chunk gets its place in
 * the table is told in ledger.h.
 *
 * Not thread-safe: one thread owns a writer and everything of HDF5 in its
 * process. It makes one thread of its own, which only syncs and writes the
 * superblock it is handed.
 */
#ifndef MASTER_WRITER_H
#define MASTER_WRITER_H

#include "calc/kernel_host.h"
#include "proto/piece.h"

/* A chunk that the writer packs, and compresses when it is full, is not larger. */
enum { PACKED_DEFLATE_MOST = 8 << 20 };

/* One piece of a table in the file. The pieces of finished tasks tile every table. */
typedef struct {
    uint64_t task;
    uint32_t attempt;
    uint32_t table;       /* ntables: sluice/items; above: met late */
    uint64_t first, stop; /* items of the task */
    uint64_t row;         /* place in the attempt's stream */
    uint64_t rows;
    uint64_t start;   /* place in the table */
    uint64_t address; /* of the extent or packed chunk in the file */
    uint64_t stored;  /* bytes of that extent: fewer than a chunk has if compressed */
    uint64_t offset;  /* bytes before this piece inside it (packed), of rows */
    uint64_t xxh3;    /* XXH3-64 of the rows */
} __attribute__ ((packed)) index_row_t;

typedef struct {
    uint64_t task;
    uint32_t attempt;
    uint32_t node;
    uint64_t first, stop;
    uint64_t bytes; /* of its rows */
    double seconds, cpu;
    uint64_t rss;
    double received; /* seconds since the start of the run */
    uint8_t digest[DIGEST_BYTES];
    uint64_t check; /* XXH3-64 of what is before: nothing else vouches for items
                       without rows */
} __attribute__ ((packed)) task_row_t;

typedef struct {
    uint32_t node;
    char host[64], uuid[32];
    uint32_t cores, slots;
    char isa[16];
} __attribute__ ((packed)) node_row_t;

typedef struct {
    uint64_t task;
    uint32_t attempt;
    uint64_t first, stop;
    uint32_t node;
    uint8_t final;
    int32_t sig, exit_code;
    char reason[200], stderr_tail[1000];
} __attribute__ ((packed)) failure_row_t;

typedef struct {
    const char *path;
    bool force; /* replace an existing file */
    const uint8_t *run;
    const char *job, *kernel;
    const uint8_t *kernel_hash; /* FILE_HASH_BYTES; NULL or zeros: built in */
    const sluice_plan_t *plan;  /* borrowed for the writer's life */
    uint64_t rate;              /* bytes per second at most; 0: as fast as it goes */
    uint64_t packed_max;        /* bytes that open chunks may take together */
    uint32_t
        deflate; /* whole chunks may come compressed: with this level; 0: they may not */
    bool nameless;  /* the file gives up its name as soon as it is whole, and so is gone
                       with the last descriptor of it */
    bool unchecked; /* do not check the xxh3 of pieces: they never left this machine */
    /* writer_resume: so many bytes of so many were checked. May be NULL. -1: give up,
     * with the error. */
    int (*checking) (void *arg, uint64_t bytes, uint64_t of, sluice_error_t *err);
    void *checking_arg;
} writer_options_t;

typedef struct writer writer_t;

/* Make the file: under another name first, with a whole empty state, then
 * renamed (RENAME_NOREPLACE unless force). Takes the fcntl lock on
 * `PATH.lock` (host, pid and run in it): who is second is refused in a line
 * that names the first. An output that is one of the plan's inputs by any
 * path is refused. SLUICE_EINPUT or SLUICE_EOUTPUT. */
writer_t *writer_new (const writer_options_t *options, sluice_error_t *err);

/* Go on with the unfinished (or failed, or cancelled) file at `path` from its last whole
 * state, under the same lock. `run` is a new one. All that the ledger names is read and
 * checked; tasks that are not whole are not taken over (salvage.h). Until a state with
 * all that was taken over is durable nothing that the old one refers to is
 * overwritten. SLUICE_EINPUT, with what is the matter: no such file, no output, made by
 * something else (identity.h), complete. SLUICE_EOUTPUT: written by another run, or
 * damaged where nothing can be taken over. The file is as it was then. */
writer_t *writer_resume (const writer_options_t *options, sluice_error_t *err);

/* What writer_resume took over: nothing, of a new file. */
typedef struct {
    uint64_t tasks, items, bytes;          /* that are done */
    uint64_t damaged_tasks, damaged_items; /* that were, and are to be done again */
    uint64_t first_task;                   /* the lowest number of task that is free */
} writer_taken_t;
void writer_taken (const writer_t *self, writer_taken_t *taken);
/* The items that it took over as done, in ranges that rise and do not touch. False:
 * there is no i-th. */
bool writer_taken_range (const writer_t *self, size_t i, uint64_t *first, uint64_t *stop);

/* Add a piece. DATA: written at once to extents of its own (packed later if
 * short). DONE: its tails are packed, and the task is in the ledger from now
 * on. EMPTY: nothing. Either everything of the call holds or, with -1,
 * nothing, and the call may be made again: SLUICE_EOUTPUT with
 * writer_disk_full true means that space may come back. A piece of an
 * attempt that was dropped, or of a task that is finished, or rows that do
 * not continue the attempt's stream, or at DONE are not those that the items
 * table counts, or that have another xxh3, is refused with SLUICE_EPROTO and
 * costs nothing. SLUICE_EFAILED, which costs nothing either: the task has rows of a
 * table that was met late and cannot be in this run; the reason is the task's, and
 * the attempt is to be dropped. `node` is for the record. */
int writer_piece (writer_t *self, uint32_t node, const piece_t *piece,
                  const void *payload, sluice_error_t *err);
bool writer_disk_full (const writer_t *self);
/* After SLUICE_EFAILED: the first item that has such rows. */
uint64_t writer_blamed (const writer_t *self);

/* The attempt is dead: its extents are free at once. Unknown ones are fine. */
void writer_drop (writer_t *self, uint64_t task, uint32_t attempt);

/* For the record. */
int writer_node (writer_t *self, uint32_t node, const msg_welcome_t *welcome,
                 sluice_error_t *err);
int writer_failure (writer_t *self, uint32_t node, const msg_failed_t *failed,
                    uint64_t first, uint64_t stop, bool final, sluice_error_t *err);

/* Take a snapshot if one is due (the writer decides by what it costs: under
 * 1 % of the time, every 0.2 to 5 s) and none is under way. */
int writer_tick (writer_t *self, sluice_error_t *err);
/* Begin one now, if there is anything new and none is under way. */
int writer_lay (writer_t *self, sluice_error_t *err);
/* Take one now and wait until it is durable. */
int writer_snapshot (writer_t *self, sluice_error_t *err);

/* From now on finished tasks are told of: who reads results while the run goes on
 * finds the rows of a table, packed, at the extents that writer_told gives. */
void writer_tell (writer_t *self);
/* Finished tasks that wait for writer_publish, which makes their rows readable: what
 * of them waits in memory is written. -1 as writer_piece. */
size_t writer_unpublished (const writer_t *self);
int writer_publish (writer_t *self, sluice_error_t *err);
/* The next finished task, when none is unpublished: `result` owns its parts (of a
 * MSG_RESULT, with any number of extents). False: no more. */
bool writer_told (writer_t *self, msg_result_t *result);
/* A descriptor to read the file by, also when it has no name. -1: see errno. */
int writer_reader (const writer_t *self);

/* Totals so far, of finished tasks. */
typedef struct {
    uint64_t tasks, items, rows, bytes, snapshots, extents, file_bytes;
    uint64_t stored; /* bytes that the rows take in the file, compressed or not */
    uint8_t digest[DIGEST_BYTES]; /* of what is in the ledger now */
    bool direct;                  /* large pieces go past the page cache */
} writer_totals_t;
void writer_totals (const writer_t *self, writer_totals_t *totals);
/* The same as of the last state that is durable: what who opens the file finds. */
void writer_durable (const writer_t *self, writer_totals_t *totals);

/* Write the index of each table and the last attributes ("complete",
 * "failed", "cancelled"), snapshot, cut the tail, punch holes, give the lock
 * back (and remove the lock file). The file stays whole if it fails. */
int writer_finish (writer_t *self, const char *status, sluice_error_t *err);

/* Close without finishing: the file stays at its last snapshot. */
void writer_destroy (writer_t **self_p);

#endif
