/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* thing.h - a struct with a member of each kind, filled at random and compared */
#ifndef TESTS_THING_H
#define TESTS_THING_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/store.h"

typedef struct {
    int64_t value;
    sluice_array_t data;
} leaf_t;

typedef struct {
    char *name;
    double weight;
    leaf_t leaf;
} part_t;

typedef struct {
    bool flag;
    int8_t i1;
    int16_t i2;
    int32_t i4;
    int64_t i8;
    uint8_t u1;
    uint16_t u2;
    uint32_t u4;
    uint64_t u8;
    float f4;
    double f8;
    bool has_extra, has_box;
    double extra; /* if has_extra */
    char *title, *note;
    sluice_array_t any, maybe, typed;
    sluice_ragged_t rows, holes;
    size_t n;
    double *lon;
    double *lat; /* may be NULL */
    part_t part;
    part_t box; /* if has_box */
    part_t *next;
    size_t nparts;
    part_t *parts;
} thing_t;

#define THING_DTYPE "{sid:<u4, v:(2)<f8}"

static const sluice_member_t leaf_members[] = {
    SLUICE_MEMBER (leaf_t, value),
    SLUICE_MEMBER (leaf_t, data, .optional = true),
};
static const sluice_class_t leaf_class = {.name = "leaf",
                                          .version = 1,
                                          .size = sizeof (leaf_t),
                                          .members = leaf_members,
                                          .nmembers = 2};

static const sluice_member_t part_members[] = {
    SLUICE_MEMBER (part_t, name, .optional = true),
    SLUICE_MEMBER (part_t, weight),
    SLUICE_MEMBER_OBJECT (part_t, leaf, &leaf_class),
};
static const sluice_class_t part_class = {.name = "part",
                                          .version = 3,
                                          .size = sizeof (part_t),
                                          .members = part_members,
                                          .nmembers = 3};

static const sluice_member_t thing_members[] = {
    SLUICE_MEMBER (thing_t, flag),
    SLUICE_MEMBER (thing_t, i1),
    SLUICE_MEMBER (thing_t, i2),
    SLUICE_MEMBER (thing_t, i4),
    SLUICE_MEMBER (thing_t, i8),
    SLUICE_MEMBER (thing_t, u1),
    SLUICE_MEMBER (thing_t, u2),
    SLUICE_MEMBER (thing_t, u4),
    SLUICE_MEMBER (thing_t, u8),
    SLUICE_MEMBER (thing_t, f4),
    SLUICE_MEMBER (thing_t, f8),
    SLUICE_MEMBER (thing_t, extra, .has = SLUICE_HAS (thing_t, has_extra)),
    SLUICE_MEMBER (thing_t, title),
    SLUICE_MEMBER (thing_t, note, .optional = true),
    SLUICE_MEMBER (thing_t, any),
    SLUICE_MEMBER (thing_t, maybe, .optional = true),
    SLUICE_MEMBER (thing_t, typed, .dtype = THING_DTYPE),
    SLUICE_MEMBER (thing_t, rows, .dtype = "<f4"),
    SLUICE_MEMBER (thing_t, holes, .optional = true),
    SLUICE_MEMBER_VECTOR (thing_t, lon, n, "<f8"),
    SLUICE_MEMBER_VECTOR (thing_t, lat, n, "<f8", .optional = true),
    SLUICE_MEMBER_OBJECT (thing_t, part, &part_class),
    SLUICE_MEMBER_OBJECT (thing_t, box, &part_class,
                          .has = SLUICE_HAS (thing_t, has_box)),
    SLUICE_MEMBER_POINTER (thing_t, next, &part_class, .optional = true),
    SLUICE_MEMBER_LIST (thing_t, parts, nparts, &part_class),
};
static const sluice_class_t thing_class = {.name = "thing",
                                           .version = 7,
                                           .size = sizeof (thing_t),
                                           .members = thing_members,
                                           .nmembers = sizeof thing_members /
                                                       sizeof *thing_members};

/* ---- at random --------------------------------------------------------------------- */

static inline uint64_t thing_random (uint64_t *seed)
{
    /* splitmix64 (Vigna 2015) */
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline size_t thing_below (uint64_t *seed, size_t n)
{
    return (size_t) (thing_random (seed) % n);
}

/* Every double: infinities, numbers that are none and -0 too. */
static inline double thing_double (uint64_t *seed)
{
    static const double odd[] = {0.0, -0.0, 1.0 / 0.0, -1.0 / 0.0, 0.0 / 0.0, 5e-324};
    size_t k = thing_below (seed, 12);
    return k < 6 ? odd[k] : (double) (int64_t) thing_random (seed) / 7;
}

static inline char *thing_text (uint64_t *seed)
{
    static const char *const parts[] = {"a", "ü", "漢字", " ", "\n", "/", "{}", "𝄞", "0"};
    char text[200] = "";
    for (size_t n = thing_below (seed, 30); n; n--)
        strcat (text, parts[thing_below (seed, 9)]);
    return strdup (text);
}

/* Bytes of 0 and 1 are good values of every type, also of bool. */
static inline void thing_array (uint64_t *seed, const char *dtype, unsigned most,
                                sluice_array_t *array)
{
    uint64_t shape[SLUICE_MAX_DIMS];
    unsigned ndim = (unsigned) thing_below (seed, most + 1);
    for (unsigned i = 0; i < ndim; i++)
        shape[i] = thing_below (seed, 5);
    if (sluice_array_make (array, dtype, ndim, shape, NULL))
        abort ();
    for (size_t i = 0, n = sluice_array_bytes (array, NULL); i < n; i++)
        ((uint8_t *) array->data)[i] = (uint8_t) thing_below (seed, 2);
}

static inline const char *thing_dtype (uint64_t *seed)
{
    static const char *const dtypes[] = {
        "|b1", ">i2",    "<u8", "<f2",      "<f8",
        ">f4", "<c16",   "|S7", "<M8[us]",  "{a:<u4, b:{c:|b1, d:(2,3)>i2}}",
        "|i1", "<m8[D]", ">c8", "(2,2)<f4", "{SA\\(1.0\\):<f4, ü:|S3}"};
    return dtypes[thing_below (seed, sizeof dtypes / sizeof *dtypes)];
}

static inline void thing_ragged (uint64_t *seed, const char *dtype,
                                 sluice_ragged_t *ragged)
{
    uint64_t lengths[8];
    size_t n = thing_below (seed, 8);
    for (size_t i = 0; i < n; i++)
        lengths[i] = thing_below (seed, 4);
    if (sluice_ragged_make (ragged, dtype, n, lengths, NULL))
        abort ();
    for (size_t i = 0, m = sluice_array_bytes (&ragged->data, NULL); i < m; i++)
        ((uint8_t *) ragged->data.data)[i] = (uint8_t) thing_below (seed, 2);
}

static inline void thing_part (uint64_t *seed, part_t *part)
{
    part->name = thing_below (seed, 2) ? thing_text (seed) : NULL;
    part->weight = thing_double (seed);
    part->leaf.value = (int64_t) thing_random (seed);
    if (thing_below (seed, 2))
        thing_array (seed, thing_dtype (seed), 3, &part->leaf.data);
}

/* The thing of this seed. Clear it. */
static inline void thing_make (uint64_t seed, thing_t *thing)
{
    memset (thing, 0, sizeof *thing);
    thing->flag = thing_below (&seed, 2);
    thing->i1 = (int8_t) thing_random (&seed);
    thing->i2 = (int16_t) thing_random (&seed);
    thing->i4 = (int32_t) thing_random (&seed);
    thing->i8 = thing_below (&seed, 4) ? (int64_t) thing_random (&seed) : INT64_MIN;
    thing->u1 = (uint8_t) thing_random (&seed);
    thing->u2 = (uint16_t) thing_random (&seed);
    thing->u4 = (uint32_t) thing_random (&seed);
    thing->u8 = thing_below (&seed, 4) ? thing_random (&seed) : UINT64_MAX;
    thing->f4 = (float) thing_below (&seed, 1000) / 7;
    thing->f8 = thing_double (&seed);
    thing->has_extra = thing_below (&seed, 2);
    if (thing->has_extra)
        thing->extra = thing_double (&seed);
    thing->title = thing_text (&seed);
    thing->note = thing_below (&seed, 2) ? thing_text (&seed) : NULL;
    thing_array (&seed, thing_dtype (&seed), 4, &thing->any);
    if (thing_below (&seed, 2))
        thing_array (&seed, thing_dtype (&seed), 2, &thing->maybe);
    thing_array (&seed, THING_DTYPE, 2, &thing->typed);
    thing_ragged (&seed, "<f4", &thing->rows);
    if (thing_below (&seed, 2))
        thing_ragged (&seed, thing_dtype (&seed), &thing->holes);
    thing->n = thing_below (&seed, 6);
    thing->lon = calloc (thing->n + 1, sizeof (double));
    thing->lat = thing_below (&seed, 2) ? calloc (thing->n + 1, sizeof (double)) : NULL;
    for (size_t i = 0; i < thing->n; i++) {
        thing->lon[i] = thing_double (&seed);
        if (thing->lat)
            thing->lat[i] = thing_double (&seed);
    }
    thing_part (&seed, &thing->part);
    thing->has_box = thing_below (&seed, 2);
    if (thing->has_box)
        thing_part (&seed, &thing->box);
    if (thing_below (&seed, 2)) {
        thing->next = calloc (1, sizeof *thing->next);
        thing_part (&seed, thing->next);
    }
    thing->nparts = thing_below (&seed, 13);
    thing->parts = calloc (thing->nparts + 1, sizeof *thing->parts);
    for (size_t i = 0; i < thing->nparts; i++)
        thing_part (&seed, &thing->parts[i]);
}

/* ---- equal, bit by bit ---------------------------------------------------------------
 */

static inline bool same_text (const char *a, const char *b)
{
    return a && b ? !strcmp (a, b) : !a && !b;
}

static inline bool same_array (const sluice_array_t *a, const sluice_array_t *b)
{
    if (!a->dtype || !b->dtype)
        return !a->dtype && !b->dtype;
    return sluice_dtype_equal (a->dtype, b->dtype) && a->ndim == b->ndim &&
           !memcmp (a->shape, b->shape, a->ndim * sizeof *a->shape) &&
           !memcmp (a->data, b->data, sluice_array_bytes (a, NULL));
}

static inline bool same_ragged (const sluice_ragged_t *a, const sluice_ragged_t *b)
{
    return same_array (&a->data, &b->data) && a->n == b->n &&
           (!a->data.dtype || !memcmp (a->offsets, b->offsets, 8 * (a->n + 1)));
}

static inline bool same_part (const part_t *a, const part_t *b)
{
    return same_text (a->name, b->name) && !memcmp (&a->weight, &b->weight, 8) &&
           a->leaf.value == b->leaf.value && same_array (&a->leaf.data, &b->leaf.data);
}

static inline bool same_thing (const thing_t *a, const thing_t *b)
{
    bool same = a->flag == b->flag && a->i1 == b->i1 && a->i2 == b->i2 &&
                a->i4 == b->i4 && a->i8 == b->i8 && a->u1 == b->u1 && a->u2 == b->u2 &&
                a->u4 == b->u4 && a->u8 == b->u8 && !memcmp (&a->f4, &b->f4, 4) &&
                !memcmp (&a->f8, &b->f8, 8) && a->has_extra == b->has_extra &&
                !memcmp (&a->extra, &b->extra, 8) && same_text (a->title, b->title) &&
                same_text (a->note, b->note) && same_array (&a->any, &b->any) &&
                same_array (&a->maybe, &b->maybe) && same_array (&a->typed, &b->typed) &&
                same_ragged (&a->rows, &b->rows) && same_ragged (&a->holes, &b->holes) &&
                a->n == b->n && !memcmp (a->lon, b->lon, a->n * sizeof (double)) &&
                !a->lat == !b->lat &&
                (!a->lat || !memcmp (a->lat, b->lat, a->n * sizeof (double))) &&
                same_part (&a->part, &b->part) && a->has_box == b->has_box &&
                same_part (&a->box, &b->box) && !a->next == !b->next &&
                (!a->next || same_part (a->next, b->next)) && a->nparts == b->nparts;
    for (size_t i = 0; same && i < a->nparts; i++)
        same = same_part (&a->parts[i], &b->parts[i]);
    return same;
}

#endif
