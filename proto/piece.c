/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/piece.h"

#include <math.h>
#include <msgpack.h>
#include <string.h>

#include "proto/msgpack_read.h"

enum { FIELDS = 15, PART_FIELDS = 5 };

/* ---- encode ------------------------------------------------------------- */

typedef struct {
    uint8_t *out;
    size_t n;
} header_t;

static int append (void *data, const char *bytes, size_t n)
{
    header_t *header = data;
    if (n > PIECE_MAX_HEADER - header->n)
        return -1;
    memcpy (header->out + header->n, bytes, n);
    header->n += n;
    return 0;
}

static void pack_bytes (msgpack_packer *pack, const uint8_t *bytes, size_t n)
{
    msgpack_pack_bin (pack, n);
    msgpack_pack_bin_body (pack, bytes, n);
}

size_t piece_encode (const piece_t *piece, uint8_t *out)
{
    /* Everything fits in PIECE_MAX_HEADER with as many parts as there may be,
     * so that the packing below cannot fail. */
    _Static_assert(200 + PIECE_MAX_PARTS * 46 < PIECE_MAX_HEADER, "header too small");
    if (piece->nparts > PIECE_MAX_PARTS || piece->payload > UINT32_MAX)
        return 0;
    header_t header = {.out = out};
    msgpack_packer pack;
    msgpack_packer_init (&pack, &header, append);
    msgpack_pack_array (&pack, FIELDS);
    pack_bytes (&pack, piece->run, RUN_BYTES);
    msgpack_pack_fix_uint64 (&pack, piece->token);
    msgpack_pack_fix_uint64 (&pack, piece->epoch);
    msgpack_pack_fix_uint64 (&pack, piece->position);
    msgpack_pack_uint64 (&pack, piece->kind);
    msgpack_pack_uint64 (&pack, piece->task);
    msgpack_pack_uint64 (&pack, piece->attempt);
    msgpack_pack_uint64 (&pack, piece->first);
    msgpack_pack_uint64 (&pack, piece->stop);
    msgpack_pack_array (&pack, piece->nparts);
    for (size_t i = 0; i < piece->nparts; i++) {
        const part_t *part = &piece->parts[i];
        msgpack_pack_array (&pack, PART_FIELDS);
        msgpack_pack_uint64 (&pack, part->table);
        msgpack_pack_uint64 (&pack, part->row);
        msgpack_pack_uint64 (&pack, part->rows);
        msgpack_pack_uint64 (&pack, part->bytes);
        msgpack_pack_uint64 (&pack, part->xxh3);
    }
    pack_bytes (&pack, piece->digest, DIGEST_BYTES);
    msgpack_pack_double (&pack, piece->seconds);
    msgpack_pack_double (&pack, piece->cpu);
    msgpack_pack_uint64 (&pack, piece->rss);
    msgpack_pack_bin (&pack, piece->payload);
    return header.n;
}

/* ---- decode ------------------------------------------------------------- */

static bool get_array (mp_cursor_t *in, uint64_t *count)
{
    mp_token_t token;
    *count = 0;
    if (!mp_next (in, &token) || token.type != MP_ARRAY || !token.shortest)
        return false;
    *count = token.count;
    return true;
}

static bool get_bytes (mp_cursor_t *in, uint8_t *out, size_t n)
{
    mp_token_t token;
    if (!mp_next (in, &token) || token.type != MP_BIN || !token.shortest ||
        token.count != n)
        return false;
    memcpy (out, token.bytes, n);
    return true;
}

static bool get_number (mp_cursor_t *in, uint64_t max, uint64_t *value)
{
    mp_token_t token;
    if (!mp_next (in, &token) || token.type != MP_UINT || !token.shortest ||
        token.number > max)
        return false;
    *value = token.number;
    return true;
}

static bool get_number32 (mp_cursor_t *in, uint32_t max, uint32_t *value)
{
    uint64_t wide;
    if (!get_number (in, max, &wide))
        return false;
    *value = (uint32_t) wide;
    return true;
}

/* A number that always takes 9 bytes. */
static bool get_fixed (mp_cursor_t *in, uint64_t max, uint64_t *value)
{
    const uint8_t *start = in->at;
    mp_token_t token;
    if (!mp_next (in, &token) || token.type != MP_UINT || in->at - start != 9 ||
        *start != 0xcf || token.number > max)
        return false;
    *value = token.number;
    return true;
}

/* Seconds: finite, not negative. */
static bool get_seconds (mp_cursor_t *in, double *value)
{
    mp_token_t token;
    if (!mp_next (in, &token) || token.type != MP_FLOAT || !token.shortest ||
        !isfinite (token.real) || signbit (token.real))
        return false;
    *value = token.real;
    return true;
}

static bool get_part (mp_cursor_t *in, part_t *part)
{
    uint64_t fields;
    return get_array (in, &fields) && fields == PART_FIELDS &&
           get_number32 (in, MSG_MAX_TABLES, &part->table) &&
           get_number (in, UINT64_MAX, &part->row) &&
           get_number (in, UINT64_MAX, &part->rows) &&
           get_number (in, UINT32_MAX, &part->bytes) &&
           get_number (in, UINT64_MAX, &part->xxh3);
}

static int wrong (sluice_error_t *err, const char *what)
{
    return sluice_fail (err, SLUICE_EPROTO, "malformed piece: %s", what);
}

static int get_fields (mp_cursor_t *in, piece_t *piece, sluice_error_t *err)
{
    uint64_t fields, kind, epoch, nparts;
    if (!get_array (in, &fields) || fields != FIELDS)
        return wrong (err, "not an array of 15");
    if (!get_bytes (in, piece->run, RUN_BYTES))
        return wrong (err, "run");
    if (!get_fixed (in, UINT64_MAX, &piece->token))
        return wrong (err, "token");
    if (!get_fixed (in, UINT32_MAX, &epoch))
        return wrong (err, "epoch");
    piece->epoch = (uint32_t) epoch;
    if (!get_fixed (in, UINT64_MAX, &piece->position))
        return wrong (err, "position");
    if (!get_number (in, PIECE_EMPTY, &kind))
        return wrong (err, "kind");
    piece->kind = (piece_kind_t) kind;
    if (!get_number (in, UINT64_MAX, &piece->task))
        return wrong (err, "task");
    if (!get_number32 (in, UINT32_MAX, &piece->attempt))
        return wrong (err, "attempt");
    if (!get_number (in, UINT64_MAX, &piece->first) ||
        !get_number (in, UINT64_MAX, &piece->stop))
        return wrong (err, "items");
    if (!get_array (in, &nparts) || nparts > PIECE_MAX_PARTS)
        return wrong (err, "parts");
    piece->nparts = (size_t) nparts;
    for (size_t i = 0; i < piece->nparts; i++)
        if (!get_part (in, &piece->parts[i]))
            return wrong (err, "a part");
    if (!get_bytes (in, piece->digest, DIGEST_BYTES))
        return wrong (err, "digest");
    if (!get_seconds (in, &piece->seconds) || !get_seconds (in, &piece->cpu))
        return wrong (err, "times");
    if (!get_number (in, UINT64_MAX, &piece->rss))
        return wrong (err, "rss");
    mp_token_t payload;
    if (!mp_head (in, &payload) || payload.type != MP_BIN || !payload.shortest)
        return wrong (err, "payload");
    piece->payload = payload.count;
    if (in->at != in->end)
        return wrong (err, "bytes behind the header");
    return 0;
}

/* What the fields say together. */
static int check (const piece_t *piece, uint64_t payload_bytes, sluice_error_t *err)
{
    if (piece->first > piece->stop)
        return wrong (err, "items end before they begin");
    if (piece->kind != PIECE_EMPTY && piece->payload != payload_bytes)
        return wrong (err, "a payload of another length");
    if (piece->kind == PIECE_DATA && piece->nparts != 1)
        return wrong (err, "data of other than one table");
    if (piece->kind == PIECE_EMPTY && piece->nparts == 0)
        return 0;
    uint64_t sum = 0; /* at most PIECE_MAX_PARTS times 4 GiB */
    for (size_t i = 0; i < piece->nparts; i++) {
        const part_t *part = &piece->parts[i];
        if (part->rows == 0 || part->bytes == 0 || part->bytes % part->rows != 0 ||
            part->bytes / part->rows > ROW_MAX_BYTES)
            return wrong (err, "a part that is not whole rows");
        if (part->row > UINT64_MAX - part->rows)
            return wrong (err, "a part beyond the last row");
        sum += part->bytes;
    }
    if (sum != piece->payload)
        return wrong (err, "parts that are not the payload");
    return 0;
}

int piece_decode (const void *header, size_t n, uint64_t payload_bytes, piece_t *piece,
                  sluice_error_t *err)
{
    memset (piece, 0, sizeof *piece);
    if (n > PIECE_MAX_HEADER)
        return wrong (err, "a header of more than 8 KiB");
    mp_cursor_t in = {.at = header, .end = (const uint8_t *) header + n};
    if (get_fields (&in, piece, err) == -1 || check (piece, payload_bytes, err) == -1) {
        memset (piece, 0, sizeof *piece);
        return -1;
    }
    return 0;
}

uint64_t chunk_rows_for (uint64_t row_bytes)
{
    uint64_t rows = row_bytes ? CHUNK_BYTES / row_bytes : CHUNK_BYTES;
    return rows ? rows : 1;
}
