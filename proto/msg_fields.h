/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* msg_fields.h - which fields each message has, in the order they travel
 *
 * One table that encoder, decoder and msg_clear walk, so that they cannot
 * disagree. A new field is a line in msg_fields.c.
 */
#ifndef PROTO_MSG_FIELDS_H
#define PROTO_MSG_FIELDS_H

#include <stddef.h>
#include "proto/msg.h"

typedef enum {
    FIELD_END = 0,
    FIELD_U64,
    FIELD_U32,
    FIELD_I64,
    FIELD_I32,
    FIELD_BOOL,
    FIELD_BYTES, /* uint8_t[limit] */
    FIELD_TEXT,  /* char *, malloc'd, at most `limit` bytes */
    FIELD_U32S,  /* uint32_t *, as many as the size_t at `count` says, <= limit */
    FIELD_LIST,  /* the same of structs with fields of their own */
    FIELD_PARAMS /* sluice_params_t *: [file, [name, value, line], ...] */
} field_kind_t;

typedef struct field field_t;
struct field {
    const char *name;
    field_kind_t kind;
    size_t offset; /* within its struct */
    size_t limit;
    size_t count;           /* U32S, LIST: offset of the size_t */
    size_t element_bytes;   /* LIST */
    const field_t *element; /* LIST: ends with FIELD_END */
    /* What is wrong with a filled struct of a LIST, or NULL; may be NULL. */
    const char *(*wrong) (const void *element);
};

/* The fields of a message, offsets within msg_t, ending with FIELD_END. NULL if
 * there is no such type. */
const field_t *msg_fields (msg_type_t type);

/* Free what these fields of the struct at `base` own; the struct is not zeroed. */
void msg_fields_clear (const field_t *fields, void *base);

#endif
