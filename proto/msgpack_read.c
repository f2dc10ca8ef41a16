/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/msgpack_read.h"

#include <string.h>

#include "proto/msg.h"

static size_t left (const mp_cursor_t *in)
{
    return (size_t) (in->end - in->at);
}

/* A big-endian number of `width` bytes (0 to 8). */
static bool read_number (mp_cursor_t *in, unsigned width, uint64_t *value)
{
    if (left (in) < width)
        return false;
    *value = 0;
    for (unsigned i = 0; i < width; i++)
        *value = *value << 8 | *in->at++;
    return true;
}

/* `floors`: what is less has a narrower form. */
static bool read_unsigned (mp_cursor_t *in, unsigned width, mp_token_t *token)
{
    static const uint64_t floors[] = {0, 0x80, 0x100, 0, 0x10000, 0, 0, 0, 1ULL << 32};
    token->type = MP_UINT;
    if (!read_number (in, width, &token->number))
        return false;
    token->shortest = token->number >= floors[width];
    return true;
}

static bool read_signed (mp_cursor_t *in, unsigned width, mp_token_t *token)
{
    uint64_t bits;
    if (!read_number (in, width, &bits))
        return false;
    if (!(bits >> (8 * width - 1))) { /* written as signed, but not negative */
        token->type = MP_UINT;
        token->number = bits;
        token->shortest = false;
        return true;
    }
    token->type = MP_INT;
    token->negative = (int64_t) (width < 8 ? bits | ~0ULL << (8 * width) : bits);
    static const int64_t floors[] = {0, -32, INT8_MIN, 0, INT16_MIN, 0, 0, 0, INT32_MIN};
    token->shortest = token->negative < floors[width];
    return true;
}

static bool read_float (mp_cursor_t *in, unsigned width, mp_token_t *token)
{
    uint64_t bits;
    if (!read_number (in, width, &bits))
        return false;
    token->type = MP_FLOAT;
    token->shortest = width == 8;
    if (width == 8)
        memcpy (&token->real, &bits, sizeof token->real);
    else {
        uint32_t narrow = (uint32_t) bits;
        float real;
        memcpy (&real, &narrow, sizeof real);
        token->real = (double) real;
    }
    return true;
}

/* What is less than `floor` has a narrower form. */
static bool read_count (mp_cursor_t *in, mp_type_t type, unsigned width, uint64_t floor,
                        mp_token_t *token)
{
    token->type = type;
    if (!read_number (in, width, &token->count))
        return false;
    token->shortest = token->count >= floor;
    return true;
}

/* The application's type, one byte, stands behind the count. */
static bool read_ext (mp_cursor_t *in, unsigned width, mp_token_t *token)
{
    uint64_t type;
    if (!read_count (in, MP_EXT, width, 1ULL << (4 * width), token))
        return false;
    return read_number (in, 1, &type);
}

static bool set_count (mp_type_t type, uint64_t count, mp_token_t *token)
{
    token->type = type;
    token->count = count;
    return true;
}

static bool read_head (mp_cursor_t *in, mp_token_t *token)
{
    uint64_t byte, ignored;
    if (!read_number (in, 1, &byte))
        return false;
    *token = (mp_token_t){.shortest = true};
    if (byte < 0x80 || byte >= 0xe0) {
        token->type = byte < 0x80 ? MP_UINT : MP_INT;
        token->negative = (int8_t) byte;
        return true;
    }
    if (byte < 0x90)
        return set_count (MP_MAP, byte & 15, token);
    if (byte < 0xa0)
        return set_count (MP_ARRAY, byte & 15, token);
    if (byte < 0xc0)
        return set_count (MP_STR, byte & 31, token);
    unsigned width = 1U << (byte & 3); /* right for the families of four */
    switch (byte) {
    case 0xc0:
        token->type = MP_NIL;
        return true;
    case 0xc2:
    case 0xc3:
        token->type = MP_BOOL;
        token->truth = byte & 1;
        return true;
    case 0xc4:
        return read_count (in, MP_BIN, 1, 0, token);
    case 0xc5:
        return read_count (in, MP_BIN, 2, 1 << 8, token);
    case 0xc6:
        return read_count (in, MP_BIN, 4, 1 << 16, token);
    case 0xc7:
        return read_ext (in, 1, token);
    case 0xc8:
        return read_ext (in, 2, token);
    case 0xc9:
        return read_ext (in, 4, token);
    case 0xca:
        return read_float (in, 4, token);
    case 0xcb:
        return read_float (in, 8, token);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_unsigned (in, width, token);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_signed (in, width, token);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        set_count (MP_EXT, 1ULL << (byte - 0xd4), token);
        return read_number (in, 1, &ignored);
    case 0xd9:
        return read_count (in, MP_STR, 1, 32, token);
    case 0xda:
        return read_count (in, MP_STR, 2, 1 << 8, token);
    case 0xdb:
        return read_count (in, MP_STR, 4, 1 << 16, token);
    case 0xdc:
        return read_count (in, MP_ARRAY, 2, 16, token);
    case 0xdd:
        return read_count (in, MP_ARRAY, 4, 1 << 16, token);
    case 0xde:
        return read_count (in, MP_MAP, 2, 16, token);
    case 0xdf:
        return read_count (in, MP_MAP, 4, 1 << 16, token);
    default: /* 0xc1 is never used */
        return false;
    }
}

bool mp_head (mp_cursor_t *in, mp_token_t *token)
{
    const uint8_t *start = in->at;
    if (read_head (in, token))
        return true;
    in->at = start;
    return false;
}

bool mp_next (mp_cursor_t *in, mp_token_t *token)
{
    const uint8_t *start = in->at;
    if (!mp_head (in, token))
        return false;
    uint64_t needed = token->type == MP_MAP ? 2 * token->count : token->count;
    if (needed > left (in)) {
        in->at = start;
        return false;
    }
    if (token->type == MP_STR || token->type == MP_BIN || token->type == MP_EXT) {
        token->bytes = in->at;
        in->at += token->count;
    }
    return true;
}

/* Nobody nests deeper; it bounds the recursion. */
enum { MAX_DEPTH = 64 };

static bool skip (mp_cursor_t *in, unsigned depth)
{
    mp_token_t token;
    if (!mp_next (in, &token))
        return false;
    if (token.type != MP_ARRAY && token.type != MP_MAP)
        return true;
    if (depth == 0)
        return false;
    uint64_t elements = token.type == MP_MAP ? 2 * token.count : token.count;
    for (uint64_t i = 0; i < elements; i++)
        if (!skip (in, depth - 1))
            return false;
    return true;
}

bool msgpack_is_safe (const void *data, size_t n, unsigned depth)
{
    if (!data)
        return false;
    mp_cursor_t in = {.at = data, .end = (const uint8_t *) data + n};
    return skip (&in, depth < MAX_DEPTH ? depth : MAX_DEPTH) && in.at == in.end;
}
