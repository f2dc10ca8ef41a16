/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/field.h"

#include <stdlib.h>

#include "calc/vmath.h"

#define LANES_FILE "calc/field_lanes.h"
#include "calc/lanes.h"

static const struct {
    void (*combine) (double *, const field_model_t *, double, size_t);
    void (*narrow) (float *, const double *, size_t);
} lanes_of[VM_ISA_COUNT] = {
#define ROW(isa)                                                                         \
    {                                                                                    \
        combine_##isa, narrow_##isa                                                      \
    }
    LANES_ROWS (ROW)};

void field_motion (float *out, double *within, const field_model_t *model, double between,
                   size_t n)
{
    lanes_of[vm_isa ()].combine (within, model, between, n);
    vm_exp_n (within, within, n);
    lanes_of[vm_isa ()].narrow (out, within, n);
}

/* ---- rows ------------------------------------------------------------------------ */

enum {
    SHORT = 16,       /* words that are moved at once */
    MOST_COLUMNS = 14 /* for which that is faster than word by word */
};

/* How the words of 16 rows come from columns: sid, values 0, values 1 and so on, two and
 * two. Word k of vector j is lane `from` of a pair's 32, if bit k says so in `pair`, or
 * the event's number if it does in `event`. */
typedef struct {
    uint32_t from[SHORT];
    uint16_t event, pair[MOST_COLUMNS / 2 + 1];
} vector_t;

struct field_layout {
    size_t columns, words;
    vector_t vectors[MOST_COLUMNS + 2];
};

field_layout_t *field_layout_new (size_t columns)
{
    field_layout_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->columns = columns;
    self->words = 2 + columns;
    for (size_t k = 0; columns <= MOST_COLUMNS && k < SHORT * self->words; k++) {
        vector_t *vector = &self->vectors[k / SHORT];
        size_t row = k / self->words, word = k % self->words;
        size_t column = word ? word - 1 : 0; /* 0: sid */
        uint16_t bit = (uint16_t) (1u << k % SHORT);
        if (word == 1)
            vector->event |= bit;
        else {
            vector->pair[column / 2] |= bit;
            vector->from[k % SHORT] = (uint32_t) (row + SHORT * (column & 1));
        }
    }
    return self;
}

void field_layout_destroy (field_layout_t **self_p)
{
    free (*self_p);
    *self_p = NULL;
}

size_t field_layout_row (const field_layout_t *self)
{
    return 4 * self->words;
}

static inline void rows_plain (uint32_t *at, size_t columns, uint32_t sid, uint32_t eid,
                               const float *values, size_t step, size_t n)
{
    for (size_t i = 0; i < n; i++, at += 2 + columns) {
        at[0] = sid + (uint32_t) i;
        at[1] = eid;
        for (size_t m = 0; m < columns; m++)
            memcpy (&at[2 + m], &values[m * step + i], sizeof *at);
    }
}

#if defined(__x86_64__)

/* Whole sixteens of rows; returns how many rows. */
__attribute__ ((target ("avx512f"), always_inline)) static inline size_t
rows_avx512 (const field_layout_t *self, uint32_t *at, size_t columns, uint32_t sid,
             uint32_t eid, const float *values, size_t step, size_t n)
{
    const __m512i event = _mm512_set1_epi32 ((int) eid);
    __m512i site = _mm512_add_epi32 (
        _mm512_set_epi32 (15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
        _mm512_set1_epi32 ((int) sid));
    size_t i = 0;
    for (; i + SHORT <= n; i += SHORT) {
        for (size_t j = 0; j < 2 + columns; j++, at += SHORT) {
            const vector_t *vector = &self->vectors[j];
            const __m512i from = _mm512_loadu_si512 (vector->from);
            __m512i out = _mm512_maskz_permutex2var_epi32 (
                vector->pair[0], site, from, _mm512_loadu_si512 (values + i));
            out = _mm512_mask_mov_epi32 (out, vector->event, event);
            for (size_t m = 1; m < columns; m += 2) {
                size_t other = m + 1 < columns ? m + 1 : m;
                out = _mm512_mask_mov_epi32 (
                    out, vector->pair[(m + 1) / 2],
                    _mm512_permutex2var_epi32 (
                        _mm512_loadu_si512 (values + m * step + i), from,
                        _mm512_loadu_si512 (values + other * step + i)));
            }
            _mm512_storeu_si512 (at, out);
        }
        site = _mm512_add_epi32 (site, _mm512_set1_epi32 (SHORT));
    }
    return i;
}

__attribute__ ((target ("avx512f"))) static size_t
wide_rows (const field_layout_t *self, uint32_t *at, uint32_t sid, uint32_t eid,
           const float *values, size_t step, size_t n)
{
    switch (self->columns) {
    case 1:
        return rows_avx512 (self, at, 1, sid, eid, values, step, n);
    case 2:
        return rows_avx512 (self, at, 2, sid, eid, values, step, n);
    case 3:
        return rows_avx512 (self, at, 3, sid, eid, values, step, n);
    default:
        return rows_avx512 (self, at, self->columns, sid, eid, values, step, n);
    }
}

#endif

void field_rows (const field_layout_t *self, void *rows, uint32_t sid, uint32_t eid,
                 const float *values, size_t step, size_t n)
{
    uint32_t *at = rows;
#if defined(__x86_64__)
    if (vm_isa () == VM_AVX512 && self->columns <= MOST_COLUMNS) {
        size_t done = wide_rows (self, at, sid, eid, values, step, n);
        at += done * self->words;
        sid += (uint32_t) done;
        values += done;
        n -= done;
    }
#endif
    if (self->columns == 1)
        rows_plain (at, 1, sid, eid, values, step, n);
    else if (self->columns == 2)
        rows_plain (at, 2, sid, eid, values, step, n);
    else
        rows_plain (at, self->columns, sid, eid, values, step, n);
}
