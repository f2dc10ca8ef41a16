/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* chunks.h - a table as the writer sees it
 *
 * Rows of one size in chunks of one length. Full chunks are extents of the
 * file; what is left over is packed into one open chunk, which has its
 * extent, too, from its first row on. Rows of the open chunk wait in memory
 * until it is full, a snapshot is laid, or memory is wanted back; they are
 * then appended to the extent. Bytes that are in the file are never
 * written again, so a snapshot that refers to the first rows of an open chunk
 * stays right while others are added behind them. If it is compressed when it is full
 * it gets another extent, and its first one is retired.
 *
 * Places: chunk k holds rows k * chunk_rows and up. The open chunk is always
 * the last; a full extent that is placed meanwhile moves it up by one.
 *
 * What happens between chunks_mark and chunks_commit can be undone by
 * chunks_rollback. Single-threaded; owned by the writer.
 */
#ifndef MASTER_CHUNKS_H
#define MASTER_CHUNKS_H

#include <stdbool.h>
#include "master/outfile.h"
#include "master/space.h"
#include "proto/codec.h"

typedef struct chunks chunks_t;

/* Where a chunk lies, and how many bytes it was compressed to; 0: it was not. */
typedef struct {
    uint64_t address, deflated;
} chunk_place_t;

/* All arguments are borrowed. `row_bytes` and `chunk_rows` > 0. */
chunks_t *chunks_new (outfile_t *file, space_t *space, uint64_t row_bytes,
                      uint64_t chunk_rows, sluice_error_t *err);
/* The extents stay taken. */
void chunks_destroy (chunks_t **self_p);
/* Give all extents back, to begin anew: no snapshot refers to them. */
void chunks_clear (chunks_t *self);

uint64_t chunks_row_bytes (const chunks_t *self);
uint64_t chunks_chunk_rows (const chunks_t *self);
uint64_t chunks_chunk_bytes (const chunks_t *self);
uint64_t chunks_rows (const chunks_t *self);
/* Bytes of memory that chunks_spill would give back. */
uint64_t chunks_waiting (const chunks_t *self);

/* Full chunks: how many, and where. */
size_t chunks_full (const chunks_t *self);
const chunk_place_t *chunks_places (const chunks_t *self);
/* Bytes that all chunks take in the file: of full ones, and of the open one's rows. */
uint64_t chunks_stored (const chunks_t *self);
/* Is any of them compressed? */
bool chunks_deflated (const chunks_t *self);
/* Rows in the open chunk, and where its extent is (if there are any). */
uint64_t chunks_open_rows (const chunks_t *self);
uint64_t chunks_open_address (const chunks_t *self);

/* This extent is the next full chunk. Fails when out of memory. */
int chunks_place (chunks_t *self, chunk_place_t place, sluice_error_t *err);

/* Pack as many of `n` rows as the open chunk has room for; *done says how
 * many, and when that fills the chunk it is written and a full one. The rows
 * lie in the chunk at *place, *before rows after its start. With `codec` a chunk that
 * gets full may be compressed: it then lies at a *place of its own, and whoever
 * knows that of its first rows has to learn the new one. */
int chunks_pack (chunks_t *self, const void *rows, uint64_t n, codec_t *codec,
                 uint64_t *done, chunk_place_t *place, uint64_t *before,
                 sluice_error_t *err);
/* Pack all `n` rows, wherever they come to lie. */
int chunks_append (chunks_t *self, const void *rows, uint64_t n, sluice_error_t *err);

/* Append to the file what waits in memory. */
int chunks_flush (chunks_t *self, sluice_error_t *err);
/* Flush and give the memory back. */
int chunks_spill (chunks_t *self, sluice_error_t *err);

/* Read rows back, from file or memory; not of a table with compressed chunks. */
int chunks_read (const chunks_t *self, uint64_t row, uint64_t n, void *out,
                 sluice_error_t *err);

void chunks_mark (chunks_t *self);
void chunks_commit (chunks_t *self);
/* Extents that chunks_place was given go back to who gave them. */
void chunks_rollback (chunks_t *self);

#endif
