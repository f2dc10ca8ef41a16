/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* emitter.h - rows that a kernel emits, cut into pieces
 *
 * Between sluice_emit and the outbox (or, with --serial, the writer): rows of
 * each table are gathered in a segment until they fill one chunk of that
 * table, which goes out as a DATA piece. At the end of a task the tails of
 * all tables share the last, DONE, piece. When no segment is free and no
 * chunk is full, the largest partial chunk goes out as a short piece; if
 * tails do not fit one segment the largest go out as short pieces too. So a
 * result of any size needs few segments and no other memory.
 *
 * It also computes what only the worker can know cheaply: the digest of each
 * item (invariant I6), and the rows of each item in each table. The latter
 * leave as rows of one more table, number `ntables`, "/sluice/items":
 *
 *   {table:<u4, first:<u8, stop:<u8, rows:<u8}
 *
 * each saying that items first <= i < stop have `rows` rows each in `table`;
 * items without rows in a table are not mentioned. In the stream of an
 * attempt these come in order of items for each table.
 *
 * Whole chunks may be compressed before they leave (proto/codec.h), where they lie, so
 * that no further segment is needed; short pieces and tails are packed by the master, and
 * never are. The digests are those of the rows.
 *
 * Tables that the plan does not declare are met late, by name. They have numbers
 * above `ntables`, which are this emitter's own and stay for its life; the pieces
 * say what these numbers mean (proto/piece.h).
 *
 * One emitter per worker; single-threaded.
 */
#ifndef CALC_EMITTER_H
#define CALC_EMITTER_H

#include "proto/piece.h"

#define ITEMS_TABLE_NAME "sluice/items"
#define ITEMS_TABLE_DTYPE "{table:<u4, first:<u8, stop:<u8, rows:<u8}"

typedef struct {
    uint32_t table;
    uint64_t first, stop, rows;
} __attribute__ ((packed)) item_rows_t;

/* Where segments come from and pieces go. */
typedef struct {
    void *arg;
    /* A free segment of the emitter's segment size. With `wait` false NULL
     * means none is free now; with `wait` true it waits, and NULL means that
     * the task is to end at once. */
    void *(*get) (void *arg, bool wait, uint32_t *handle);
    /* Take over a filled segment: piece->payload bytes from its start. The
     * fields run, token, epoch and position are not set. -1: end at once; the
     * segment is taken over all the same. */
    int (*put) (void *arg, uint32_t handle, const piece_t *piece);
    /* Take back a segment that was not needed. */
    void (*give_back) (void *arg, uint32_t handle);
    /* May be NULL: true when the rest of the range is wanted back. */
    bool (*yield) (void *arg, uint64_t next);
} emitter_sink_t;

typedef struct emitter emitter_t;

/* An emitter for these tables (chunk_rows as in the table). `segment` must
 * hold one chunk of each; segment_for says how large that is. */
emitter_t *emitter_new (const table_t *tables, size_t ntables, uint32_t segment,
                        const emitter_sink_t *sink, sluice_error_t *err);
void emitter_destroy (emitter_t **self_p);
/* Compress whole chunks of tables that are content, with this level; 0: do not. Takes
 * the memory of a segment more. Before the first task. */
int emitter_deflate (emitter_t *self, uint32_t level, sluice_error_t *err);

/* Bytes that a segment must have for these tables (and the items table). */
uint32_t segment_for (const table_t *tables, size_t ntables, sluice_error_t *err);

/* Begin a task. */
void emitter_begin (emitter_t *self, const task_t *task);
/* Rows of a table for an item: within the task, not decreasing. -1: the
 * task is to end at once (emitter_error says why, if it was the kernel). */
int emitter_rows (emitter_t *self, uint64_t item, unsigned table, const void *rows,
                  size_t n);
/* The same without a copy: room for rows of a table in its segment, at most as many as
 * *n says on entry and at least one; *n becomes how many. Write them there, then commit
 * all of them before anything else is asked of the emitter. NULL: as -1 above. */
void *emitter_reserve (emitter_t *self, uint64_t item, unsigned table, size_t *n);
int emitter_commit (emitter_t *self, unsigned table, size_t n);
/* The number of the table with this name and dtype, which may be met here. -1: it
 * cannot be there, which ends the task as wrong rows do. */
int emitter_table (emitter_t *self, const char *name, const char *dtype,
                   sluice_error_t *err);
/* Ask the sink whether items from `next` on are wanted back; true at once if
 * the task has ended. The first item of a task is never given back, so that
 * every attempt gets on. */
bool emitter_yield (emitter_t *self, uint64_t next);
/* The task is done up to the item at which emitter_yield said true, or to
 * its end: send the DONE piece. */
int emitter_done (emitter_t *self, double seconds, double cpu, uint64_t rss);
/* The task failed: give all open segments back, forget it. */
void emitter_abort (emitter_t *self);

/* The item of the last emitted row, or the last `next` given to
 * emitter_yield; the task's first before that. */
uint64_t emitter_item (const emitter_t *self);
/* Seconds of this task spent waiting for a segment. */
double emitter_waited (const emitter_t *self);
/* What the kernel did wrong ("" if nothing): unknown table, decreasing item... */
const char *emitter_error (const emitter_t *self);

#endif
