/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* writer_state.h - what the parts of the writer share
 *
 * The writer is one module in six files: writer.c makes and finishes it,
 * writer_resume.c takes over what an earlier run left, writer_pieces.c takes pieces and
 * records, writer_late.c sees to tables that are met late, writer_snapshot.c lays
 * snapshots, writer_told.c says where rows lie.
 * Nobody else includes this.
 */
#ifndef MASTER_WRITER_STATE_H
#define MASTER_WRITER_STATE_H

#include <hdf5.h>
#include "master/attempts.h"
#include "master/chunks.h"
#include "master/h5driver.h"
#include "master/identity.h"
#include "master/ledger.h"
#include "master/outpath.h"
#include "master/syncer.h"
#include "master/writer.h"
#include "proto/codec.h"

enum { INDEX, TASKS, NODES, FAILURES, NSYSTEM };

/* A table of the file. */
typedef struct {
    char *name, *dtype;
    hid_t type;
    chunks_t *chunks;
} wtable_t;

/* A constant output whose bytes lie in the file. */
typedef struct {
    bool adopted;
    hid_t type;
    uint64_t address, bytes;
} constant_t;

/* Items first <= i < stop. */
typedef struct {
    uint64_t first, stop;
} range_t;

/* What was taken over from an earlier run. */
typedef struct {
    writer_taken_t sums;
    range_t *ranges; /* of items that are done; rising, none touch */
    size_t nranges;
    uint64_t times;    /* that the run was gone on with */
    node_row_t *nodes; /* on record; `node` UINT32_MAX once a node of ours is it */
    size_t nnodes;
} taken_t;

/* A finished task that somebody is to be told of. */
typedef struct told told_t;

/* Where rows of the task in hand went. */
typedef struct {
    extent_t *extents;
    size_t n, room;
} told_scratch_t;

struct writer {
    const sluice_plan_t *plan;
    uint8_t run[RUN_BYTES];
    char run_hex[2 * RUN_BYTES + 1], started[32];
    char *job, *kernel, *parameters;
    identity_t *identity;
    taken_t taken;
    uint64_t packed_max;
    uint32_t deflate;
    codec_t *codec;  /* for the few that are decompressed; NULL: none was */
    codec_t *packer; /* for full chunks of packed rows; NULL: none was */
    bool unchecked;
    outpath_t *path;
    outfile_t *file;
    space_t *space;
    syncer_t *syncer;
    uint32_t ntables; /* of the plan: the number of the items table */
    uint32_t nall;    /* those, the items table, and those met late */
    wtable_t *tables; /* by number; there is room for all that can be met */
    wtable_t system[NSYSTEM];
    wtable_t *indexes; /* `<table>_index`, at the end, by the table's number */
    constant_t *constants;
    ledger_t *ledger;
    attempts_t *attempts;
    stream_t *streams; /* scratch: what an attempt will have come to, by its numbers */
    met_t met[PIECE_MAX_LATE]; /* scratch: and the tables that it met; borrowed texts */
    uint64_t blamed;           /* item of the last piece that failed its task */
    uint32_t *nodes;           /* by the caller's number: that on record, and 1 */
    size_t nnodes;
    uint32_t first_node; /* the lowest number that no earlier run had */
    /* snapshots */
    h5driver_t *snapshot; /* the newest one's metadata */
    uint64_t *tail;       /* extents of the newest one's end of the ledger */
    size_t ntail;
    uint64_t snapshot_end, largest_end; /* the newest one's, and any one's, end of file */
    uint64_t growth;                    /* the most that a snapshot has added */
    bool changed;                       /* since it was laid */
    bool under_way;
    double began, laid, cost; /* when, and how long the last one took to lay */
    /* totals of finished tasks */
    uint64_t ntasks, nitems, nrows, nbytes, nsnapshots;
    writer_totals_t laid_totals, durable; /* of the newest snapshot; of the last one
                                             that is durable */
    uint8_t digest[DIGEST_BYTES];
    /* for writer_told */
    bool telling;
    told_scratch_t telling_now;
    told_t *told, *told_last; /* finished tasks, the first one first */
    size_t unpublished;       /* since the last flush */
    char *status;             /* once finished */
    double seconds;
    bool indexed, full, broken, finished;
    sluice_error_t why; /* it is broken */
};

/* Parts of writer_new. What is needed before the file; then, with its descriptor, which
 * is taken over, and where its free space begins, all tables; then the constant outputs.
 * Whatever fails, writer_destroy undoes it. */
writer_t *writer_begin (const writer_options_t *options, sluice_error_t *err);
int writer_open (writer_t *self, const writer_options_t *options, int fd, uint64_t free,
                 sluice_error_t *err);
int writer_constants (writer_t *self, sluice_error_t *err);

/* Pack rows into the open chunk of their table, and then the next one. `entry` is their
 * ledger row but for the place. */
int writer_pack (writer_t *self, index_row_t entry, const uint8_t *rows,
                 sluice_error_t *err);

/* May chunks of this table, of the file, be compressed? */
bool writer_deflates (const writer_t *self, uint32_t table);

/* Make a table; `chunk_rows` 0: as is good for a small one. */
int wtable_make (writer_t *self, wtable_t *table, const char *name,
                 const char *dtype_text, uint64_t chunk_rows, sluice_error_t *err);
void wtable_clear (wtable_t *table);

/* Take what the attempt has met so far into the scratch, and what this piece says.
 * SLUICE_EFAILED: such a table cannot be there, which fails the task. */
int late_follow (writer_t *self, const attempt_t *attempt, const piece_t *piece,
                 sluice_error_t *err);
/* Bytes of a row of the table with this number in the attempt; 0: no such table. */
uint64_t late_row_bytes (const writer_t *self, uint32_t table);
/* The file's number of it; 0: a late table that is not there. */
uint32_t late_number (const writer_t *self, uint32_t table);
/* Some table of the attempt has another number in the file. */
bool late_renumbers (const writer_t *self);
/* Make the tables that the attempt has rows of and the file has not, unless they
 * cannot be beside those that are there: SLUICE_EFAILED. */
int late_make (writer_t *self, sluice_error_t *err);
/* Undo: those from number `nall` on are not there. Their chunks are rolled back. */
void late_undo (writer_t *self, uint32_t nall);

/* The task in hand is to be told of: forget the one before; rows of it went there;
 * what is to be told, with the tables from number `before` on; it holds. */
void told_begin (writer_t *self);
int told_extent (writer_t *self, uint32_t table, uint64_t rows, chunk_place_t place,
                 sluice_error_t *err);
told_t *told_make (writer_t *self, const piece_t *piece, uint32_t before,
                   sluice_error_t *err);
void told_add (writer_t *self, told_t *told);
void told_clear (writer_t *self);

/* Note whether the call in hand failed for want of space. Returns -1. */
int writer_failed (writer_t *self);
/* Hear of the snapshot under way. With `wait` not before it is durable. -1 when
 * that failed, or the writer is broken. */
int writer_poll (writer_t *self, bool wait, sluice_error_t *err);
/* True when nobody but us has the output open just now. */
bool writer_alone (const writer_t *self);

#endif
