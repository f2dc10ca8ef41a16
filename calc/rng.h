/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* rng.h - random numbers that depend on their place only
 *
 * A stream is named by the seed of the job, an item (an event, say) and a
 * stage (what the numbers are for); a draw by its position in the stream. Its
 * value depends on nothing else, so an item gives the same numbers on any node,
 * however items were cut into tasks (invariant I6).
 *
 * Generator: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random
 * numbers: as easy as 1, 2, 3"; Random123). Its 128-bit counter, lowest word
 * first, is
 *     block, stage, item mod 2^32, item / 2^32
 * its key seed mod 2^32, seed / 2^32. A block of four words w gives two draws
 * of 64 bits, w0 + 2^32 w1 at position 2 block and w2 + 2^32 w3 at the next one.
 * A stream has 2^33 draws, then it repeats.
 *
 * Uniform draws are ((x >> 11) + 1/2) 2^-53, in the open interval (0, 1); the
 * one value that rounding would lift to 1 (x >> 11 = 2^53 - 1) is 1 - 2^-53.
 *
 * Normal draws are the inverse distribution function at uniform draws, by
 * Wichura 1988 ("Algorithm AS 241: the percentage points of the normal
 * distribution", Applied Statistics 37, PPND16; relative error about 1e-16).
 * Truncated at +-t: u becomes Phi (-t) + u (Phi (t) - Phi (-t)). Position,
 * one draw each, is kept by truncation. Mean and variance are not made good.
 *
 * Any thread may call these; vm_init chooses the instruction set, which changes
 * the speed and no bit.
 */
#ifndef CALC_RNG_H
#define CALC_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t seed;
    uint64_t item;
    uint32_t stage;
} rng_stream_t;

/* The four words of one block. */
void rng_block (const rng_stream_t *stream, uint32_t block, uint32_t words[4]);

/* Philox4x32-10 itself: words = bijection by `key` of `counter`. */
void rng_philox (const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/* 64 random bits as a number in (0, 1), as above. */
double rng_u01 (uint64_t bits);

/* The standard normal's inverse distribution function at 0 < p < 1. */
double rng_normal_quantile (double p);

/* `n` draws from position `first` on. */
void rng_uniform_n (const rng_stream_t *stream, uint64_t first, double *out, size_t n);

/* The same as standard normals truncated at +-`truncation`: 0 gives zeros, a
 * large number or INFINITY no truncation. `truncation` is not negative. */
void rng_normal_n (const rng_stream_t *stream, uint64_t first, double truncation,
                   double *out, size_t n);

/* The same in two steps, for who draws often: `rng_truncation` works out what depends
 * on the truncation alone. */
typedef struct {
    double at, low, span; /* low, span: Phi (-at), Phi (at) - Phi (-at) */
} rng_truncation_t;
rng_truncation_t rng_truncation (double at);
void rng_truncated_n (const rng_stream_t *stream, uint64_t first,
                      const rng_truncation_t *truncation, double *out, size_t n);

#endif
