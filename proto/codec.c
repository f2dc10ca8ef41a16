/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/codec.h"

#include <endian.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK =
        64, /* rows taken at a time: each byte of them then fills a line of the cache */
    WORTH = 32 /* a saving of one part in so many is worth the reader's time */
};

struct codec {
    struct libdeflate_compressor *deflate;
    struct libdeflate_decompressor *inflate;
    uint8_t *scratch; /* a chunk, shuffled */
    size_t room;
};

/* ---- names ----------------------------------------------------------------- */

int codec_parse (const char *text, uint32_t *level, sluice_error_t *err)
{
    static const char deflate[] = "deflate";
    size_t n = sizeof deflate - 1;
    *level = 0;
    if (strcmp (text, "none") == 0)
        return 0;
    if (strncmp (text, deflate, n) != 0 || (text[n] && text[n] != ':'))
        return sluice_fail (err, SLUICE_EINPUT,
                            "there is no compression '%.40s': none, deflate or "
                            "deflate:LEVEL",
                            text);
    *level = DEFLATE_LEVEL;
    if (!text[n])
        return 0;
    const char *digit = text + n + 1;
    if (*digit < '1' || *digit > '0' + DEFLATE_LEVEL_MOST || digit[1])
        return sluice_fail (err, SLUICE_EINPUT, "deflate has levels 1 to %d, not '%.40s'",
                            DEFLATE_LEVEL_MOST, digit);
    *level = (uint32_t) (*digit - '0');
    return 0;
}

void codec_text (uint32_t level, char text[CODEC_TEXT])
{
    if (level)
        snprintf (text, CODEC_TEXT, "deflate:%u", level % 10);
    else
        snprintf (text, CODEC_TEXT, "none");
}

/* ---- shuffle ---------------------------------------------------------------- */

static uint64_t load (const uint8_t *from)
{
    uint64_t word;
    memcpy (&word, from, sizeof word);
    return le64toh (word);
}

static void store (uint8_t *to, uint64_t word)
{
    word = htole64 (word);
    memcpy (to, &word, sizeof word);
}

/* Swap what `mask` covers of the upper word with what lies so many bits higher in the
 * lower one. */
static inline void swap (uint64_t *low, uint64_t *high, unsigned bits, uint64_t mask)
{
    uint64_t changed = ((*low >> bits) ^ *high) & mask;
    *high ^= changed;
    *low ^= changed << bits;
}

/* Eight rows of eight bytes each, `in_step` apart: byte k of row i becomes byte i of row
 * k. By halves: blocks of four bytes change places, then of two, then of one. */
static inline void transpose (const uint8_t *in, size_t in_step, uint8_t *out,
                              size_t out_step)
{
    uint64_t w[8];
    for (unsigned i = 0; i < 8; i++)
        w[i] = load (in + i * in_step);
    for (unsigned i = 0; i < 4; i++)
        swap (&w[i], &w[i + 4], 32, UINT64_C (0x00000000ffffffff));
    for (unsigned i = 0; i < 8; i += i % 4 == 1 ? 3 : 1)
        swap (&w[i], &w[i + 2], 16, UINT64_C (0x0000ffff0000ffff));
    for (unsigned i = 0; i < 8; i += 2)
        swap (&w[i], &w[i + 1], 8, UINT64_C (0x00ff00ff00ff00ff));
    for (unsigned i = 0; i < 8; i++)
        store (out + i * out_step, w[i]);
}

/* A matrix of height x width bytes, turned: as shuffle is from rows, and back. The
 * `height` is walked in blocks so that what is written fills lines of the cache, which
 * would fight for their places else. */
static void turn (const uint8_t *in, uint8_t *out, size_t height, size_t width)
{
    size_t even = width & ~(size_t) 7;
    for (size_t block = 0; block < height; block += BLOCK) {
        size_t end = height - block < BLOCK ? height : block + BLOCK;
        size_t whole = block + ((end - block) & ~(size_t) 7);
        for (size_t k = 0; k < even; k += 8)
            for (size_t i = block; i < whole; i += 8)
                transpose (in + i * width + k, width, out + k * height + i, height);
        for (size_t k = even; k < width; k++)
            for (size_t i = block; i < whole; i++)
                out[k * height + i] = in[i * width + k];
        for (size_t k = 0; k < width; k++)
            for (size_t i = whole; i < end; i++)
                out[k * height + i] = in[i * width + k];
    }
}

/* The same, with the `width` in blocks: what is wide and low. */
static void turn_back (const uint8_t *in, uint8_t *out, size_t height, size_t width)
{
    size_t even = height & ~(size_t) 7;
    for (size_t block = 0; block < width; block += BLOCK) {
        size_t end = width - block < BLOCK ? width : block + BLOCK;
        size_t whole = block + ((end - block) & ~(size_t) 7);
        for (size_t i = 0; i < even; i += 8)
            for (size_t k = block; k < whole; k += 8)
                transpose (in + i * width + k, width, out + k * height + i, height);
        for (size_t i = even; i < height; i++)
            for (size_t k = block; k < whole; k++)
                out[k * height + i] = in[i * width + k];
        for (size_t i = 0; i < height; i++)
            for (size_t k = whole; k < end; k++)
                out[k * height + i] = in[i * width + k];
    }
}

void codec_shuffle (const void *rows, void *out, size_t bytes, size_t row_bytes)
{
    if (row_bytes < 2 || bytes == row_bytes)
        memcpy (out, rows, bytes);
    else
        turn (rows, out, bytes / row_bytes, row_bytes);
}

void codec_unshuffle (const void *shuffled, void *rows, size_t bytes, size_t row_bytes)
{
    if (row_bytes < 2 || bytes == row_bytes)
        memcpy (rows, shuffled, bytes);
    else
        turn_back (shuffled, rows, row_bytes, bytes / row_bytes);
}

/* ---- deflate ---------------------------------------------------------------- */

codec_t *codec_new (uint32_t level, size_t most, sluice_error_t *err)
{
    codec_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    if (level) {
        self->deflate = libdeflate_alloc_compressor ((int) level);
        self->scratch = malloc (most + 1);
        self->room = most;
    } else
        self->inflate = libdeflate_alloc_decompressor ();
    if (level ? !self->deflate || !self->scratch : !self->inflate) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory to compress");
        codec_destroy (&self);
    }
    return self;
}

void codec_destroy (codec_t **self_p)
{
    codec_t *self = *self_p;
    if (!self)
        return;
    libdeflate_free_compressor (self->deflate);
    libdeflate_free_decompressor (self->inflate);
    free (self->scratch);
    free (self);
    *self_p = NULL;
}

size_t codec_deflate (codec_t *self, void *rows, size_t bytes, size_t row_bytes)
{
    if (!self->deflate || bytes > self->room)
        return 0;
    codec_shuffle (rows, self->scratch, bytes, row_bytes);
    size_t n = libdeflate_zlib_compress (self->deflate, self->scratch, bytes, rows,
                                         bytes - 1 - bytes / WORTH);
    if (n == 0) /* what it wrote before it found no room is in their place */
        codec_unshuffle (self->scratch, rows, bytes, row_bytes);
    return n;
}

int codec_inflate (codec_t *self, const void *stored, size_t n, void *rows, size_t bytes,
                   size_t row_bytes, sluice_error_t *err)
{
    if (!self->inflate && !(self->inflate = libdeflate_alloc_decompressor ()))
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory to decompress");
    if (bytes > self->room) {
        uint8_t *scratch = realloc (self->scratch, bytes);
        if (!scratch)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory to decompress");
        self->scratch = scratch;
        self->room = bytes;
    }
    if (libdeflate_zlib_decompress (self->inflate, stored, n, self->scratch, bytes,
                                    NULL) != LIBDEFLATE_SUCCESS)
        return sluice_fail (err, SLUICE_EPROTO,
                            "%zu bytes that are not %zu bytes of rows, compressed", n,
                            bytes);
    codec_unshuffle (self->scratch, rows, bytes, row_bytes);
    return 0;
}
