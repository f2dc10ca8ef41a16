/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* dtype.h - the type of an array's elements, as NumPy describes it
 *
 * A dtype is written as text and travels as that text:
 *
 *   <f4  <u8  |b1  |S10  <U5  >i2  <c16  <M8[us]     a NumPy type string
 *   (3,2)<f8                                         a sub-array of elements
 *   {sid:<u4, eid:<u4, gmv_PGA:<f4}                  a packed record
 *   {a:|u1@0, b:<f8@8}#16                            a record with offsets and item size
 *
 * Records nest. u4, f8, ... without a byte order mean little-endian. The
 * canonical text (sluice_dtype_text) is equal for equal types: byte order
 * always written ('|' where it has no meaning), offsets and size only where
 * the record is not packed. A field name is UTF-8; the characters : , @ { } # ( )
 * and '\' in it are written with a '\' before them.
 *
 * Limits, for text that a peer sent: 65,535 bytes of text, 1,024 fields in
 * all, 8 levels, 8 dimensions, items of at most 1 GiB.
 */
#ifndef SLUICE_DTYPE_H
#define SLUICE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SLUICE_MAX_DIMS = 8 };

typedef struct sluice_dtype sluice_dtype_t;

/* The kind of a dtype, NumPy's letters; 'V' is a record. */
typedef struct {
    char *name;              /* UTF-8, without escapes */
    size_t offset;           /* bytes from the start of the record */
    sluice_dtype_t *type;    /* owned by the record */
} sluice_field_t;

struct sluice_dtype {
    char kind;               /* b i u f c S U M m V */
    char order;              /* '<' '>' or '|' */
    size_t itemsize;         /* bytes of one element, sub-array dimensions not counted */
    char unit[16];           /* of M and m: "us", "D", ... */
    unsigned ndim;           /* sub-array dimensions; 0: none */
    uint64_t dims[SLUICE_MAX_DIMS];
    size_t nfields;          /* records only */
    sluice_field_t *fields;
    bool packed;             /* a record without gaps, in order */
};

/* Parse text of `length` bytes (need not end in NUL). NULL on error. */
sluice_dtype_t *sluice_dtype_parse (const char *text, size_t length, sluice_error_t *err);
void sluice_dtype_destroy (sluice_dtype_t **self_p);

/* Bytes of one element with its sub-array dimensions: what a row takes. */
size_t sluice_dtype_size (const sluice_dtype_t *self);

/* The canonical text; free () it. NULL if out of memory. */
char *sluice_dtype_text (const sluice_dtype_t *self);

bool sluice_dtype_equal (const sluice_dtype_t *a, const sluice_dtype_t *b);

/* An n-dimensional array in C order. A value: the array does not own its
 * parts unless a function says so. */
typedef struct {
    sluice_dtype_t *dtype;
    unsigned ndim;                       /* 0: a scalar */
    uint64_t shape[SLUICE_MAX_DIMS];
    void *data;                          /* as many bytes as sluice_array_bytes says */
} sluice_array_t;

/* Bytes of the data; 0 with *overflow set if it is more than fits a size_t. */
size_t sluice_array_bytes (const sluice_array_t *array, bool *overflow);

/* An owned array of this type and shape, zeroed. -1 if refused. */
int sluice_array_make (sluice_array_t *array, const char *dtype, unsigned ndim,
                       const uint64_t *shape, sluice_error_t *err);
/* Free what sluice_array_make or a reader made. Takes zeroed ones too. */
void sluice_array_clear (sluice_array_t *array);

#ifdef __cplusplus
}
#endif
#endif
