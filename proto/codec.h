/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* codec.h - chunks of rows as HDF5's shuffle and deflate filters make them
 *
 * Compressing costs more time than all else that happens to a result, and HDF5 does it in
 * the one process that writes. So workers do it, a chunk at a time, into the bytes that
 * lie in the file: every HDF5 reads them. A chunk that would be hardly smaller (by less
 * than a thirty-second) stays as it is, and the file says that its filters are to be
 * skipped.
 *
 * Shuffled, all first bytes of the rows come first, then all second ones, and so on: what
 * is alike comes together. Rows of one byte, and a single row, are not changed by it.
 *
 * One per worker or thread: not thread-safe.
 */
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

enum {
    DEFLATE_LEVEL = 1,      /* when none is given: see bench/profile.md */
    DEFLATE_LEVEL_MOST = 9, /* as HDF5 counts */
    CODEC_TEXT = 16
};

/* "none", "deflate" or "deflate:LEVEL" as a level; 0: none. SLUICE_EINPUT. */
int codec_parse (const char *text, uint32_t *level, sluice_error_t *err);
/* Back again. */
void codec_text (uint32_t level, char text[CODEC_TEXT]);

typedef struct codec codec_t;

/* To compress with this level chunks of at most `most` bytes, and to decompress. Level 0:
 * only the latter. NULL if out of memory. */
codec_t *codec_new (uint32_t level, size_t most, sluice_error_t *err);
void codec_destroy (codec_t **self_p);

/* Compress `bytes` > 0, whole rows, where they are. Returns how many bytes are left; 0
 * when these would be hardly fewer than there were, and then nothing has changed. */
size_t codec_deflate (codec_t *self, void *rows, size_t bytes, size_t row_bytes);

/* Can `n` bytes be so many, compressed? At most they are a thousandth part. */
static inline bool codec_possible (uint64_t n, uint64_t bytes)
{
    return n > 0 && n < bytes && bytes / 1040 <= n;
}

/* Decompress `n` bytes, from anybody, to exactly `bytes`, whole rows. SLUICE_EPROTO: that
 * is not what they are. */
int codec_inflate (codec_t *self, const void *stored, size_t n, void *rows, size_t bytes,
                   size_t row_bytes, sluice_error_t *err);

/* The shuffle alone: `bytes` of whole rows to another place. */
void codec_shuffle (const void *rows, void *out, size_t bytes, size_t row_bytes);
void codec_unshuffle (const void *shuffled, void *rows, size_t bytes, size_t row_bytes);

#endif
