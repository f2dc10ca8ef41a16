/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/field.h"

#include <stdlib.h>

#include "calc/vmath.h"

/* exp as SLEEF 3.5 computes it (N. Shibata, F. Petrogalli 2020, "SLEEF: a portable
 * vectorized library of C standard mathematical functions", IEEE Transactions on
 * Parallel and Distributed Systems 31 (6)): the same reduction, polynomial and order of
 * operations, so that the bits are those of vm_exp. Here it is part of the loop. */
#define EXP_1_LN2 1.442695040888963407359924681001892137
#define EXP_LN2_HIGH -.69314718055966295651160180568695068359375
#define EXP_LN2_LOW -.28235290563031577122588448175013436025525412068e-12
#define EXP_MOST 700.0
static const double exp_c[10] = {
    0.166666666666666851703837,    0.0416666666666665047591422,
    0.00833333333331652721664984,  0.00138888888889774492207962,
    0.000198412698960509205564975, 2.4801587159235472998791e-05,
    2.75572362911928827629423e-06, 2.75573911234900471893338e-07,
    2.51112930892876518610661e-08, 2.08860621107283687536341e-09};

#define LANES_FILE "calc/field_lanes.h"
#include "calc/lanes.h"

typedef void motion_t (float *, const field_model_t *, double, const double *, size_t);

#define ROW(isa) motion_##isa
static motion_t *const motion_of[VM_ISA_COUNT] = {LANES_ROWS (ROW)};

void field_motion (float *out, const field_model_t *model, double between,
                   const double *within, size_t n)
{
    motion_of[vm_isa ()](out, model, between, within, n);
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

static void rows_some (const field_layout_t *self, uint32_t *at, uint32_t sid,
                       uint32_t eid, const float *values, size_t step, size_t n)
{
    if (self->columns == 1)
        rows_plain (at, 1, sid, eid, values, step, n);
    else if (self->columns == 2)
        rows_plain (at, 2, sid, eid, values, step, n);
    else if (self->columns == 3)
        rows_plain (at, 3, sid, eid, values, step, n);
    else
        rows_plain (at, self->columns, sid, eid, values, step, n);
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

/* Rows after which a row begins at the beginning of a line of the cache, if it is so few
 * that it pays: 0 otherwise. */
static size_t rows_before_line (const field_layout_t *self, const uint32_t *at, size_t n)
{
    size_t word = (uintptr_t) at / 4 % SHORT;
    for (size_t k = 0; k < SHORT; k++)
        if ((word + k * self->words) % SHORT == 0)
            return 8 * k < n ? k : 0;
    return 0;
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
        /* A store across two lines of the cache takes twice as long. */
        size_t before = rows_before_line (self, at, n);
        rows_some (self, at, sid, eid, values, step, before);
        size_t done =
            before + wide_rows (self, at + before * self->words, sid + (uint32_t) before,
                                eid, values + before, step, n - before);
        at += done * self->words;
        sid += (uint32_t) done;
        values += done;
        n -= done;
    }
#endif
    rows_some (self, at, sid, eid, values, step, n);
}
