/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* msgpack_read.h - reads msgpack that came from anybody, byte by byte
 *
 * msgpack-c builds a tree before anything can be checked: five bytes can make
 * it ask for 4 GB, and each byte of a large array costs 24 in the tree. What we
 * read is flat and known in advance, so it is read in one pass from where it
 * lies: nothing is allocated here, and no length is used before it is checked
 * against the bytes that are left.
 */
#ifndef PROTO_MSGPACK_READ_H
#define PROTO_MSGPACK_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    MP_NIL,
    MP_BOOL,
    MP_UINT,
    MP_INT, /* negative */
    MP_FLOAT,
    MP_STR,
    MP_BIN,
    MP_EXT,
    MP_ARRAY,
    MP_MAP
} mp_type_t;

typedef struct {
    mp_type_t type;
    bool shortest; /* written in the fewest bytes that can hold it, as
                      msgpack_pack_* do; floats: 8 bytes */
    union {
        bool truth;
        uint64_t number;
        int64_t negative;
        double real;
    };
    uint64_t count;       /* STR, BIN, EXT: bytes; ARRAY: elements; MAP: pairs */
    const uint8_t *bytes; /* STR, BIN, EXT: where they lie */
} mp_token_t;

typedef struct {
    const uint8_t *at, *end;
} mp_cursor_t;

/* Read the next token's head, without the bytes of a STR, BIN or EXT, which
 * need not be there. False, with the cursor where it was, if there is none. */
bool mp_head (mp_cursor_t *in, mp_token_t *token);

/* Read the next token with its bytes; the elements of an ARRAY or MAP follow
 * as tokens of their own, and each has a byte at least: a count that the bytes
 * left cannot hold is refused. */
bool mp_next (mp_cursor_t *in, mp_token_t *token);

#endif
