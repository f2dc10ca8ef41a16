/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/piece.h"

#include <math.h>
#include <msgpack.h>
#include <stddef.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/msgpack_read.h"
#include "proto/text.h"

enum {
    FIELDS = 16,
    PART_FIELDS = 7,
    LATE_FIELDS = 4,
    /* where the fields of fixed width lie, behind the head of the array and `run` */
    EPOCH_AT = 3 + 2 + RUN_BYTES + 9 + 1,
    POSITION_AT = EPOCH_AT + 9,
    KIND_AT = POSITION_AT + 8
};

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

/* With its NUL, so that who decodes it can use it where it lies. */
static void pack_text (msgpack_packer *pack, const char *text)
{
    size_t n = strlen (text) + 1;
    msgpack_pack_str (pack, n);
    msgpack_pack_str_body (pack, text, n);
}

static bool late_fits (const piece_t *piece)
{
    size_t sum = 0;
    if (piece->nlate > PIECE_MAX_LATE)
        return false;
    for (size_t i = 0; i < piece->nlate; i++)
        sum += strlen (piece->late[i].name) + strlen (piece->late[i].dtype) + 2;
    return sum <= PIECE_LATE_BYTES;
}

size_t piece_encode (const piece_t *piece, uint8_t *out)
{
    /* Everything fits in PIECE_MAX_HEADER with as much of it as there may be,
     * so that the packing below cannot fail. */
    _Static_assert(200 + PIECE_MAX_PARTS * 46 + PIECE_MAX_LATE * 21 + PIECE_LATE_BYTES <
                       PIECE_MAX_HEADER,
                   "header too small");
    if (piece->nparts > PIECE_MAX_PARTS || piece->payload > UINT32_MAX ||
        !late_fits (piece))
        return 0;
    for (size_t i = 0; i < piece->nparts; i++)
        if (piece->parts[i].deflated && piece->nparts > 1)
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
        msgpack_pack_uint64 (&pack, part->deflated);
        msgpack_pack_uint64 (&pack, part->deflated_xxh3);
    }
    msgpack_pack_array (&pack, piece->nlate);
    for (size_t i = 0; i < piece->nlate; i++) {
        const late_t *late = &piece->late[i];
        msgpack_pack_array (&pack, LATE_FIELDS);
        msgpack_pack_uint64 (&pack, late->table);
        msgpack_pack_uint64 (&pack, late->item);
        pack_text (&pack, late->name);
        pack_text (&pack, late->dtype);
    }
    pack_bytes (&pack, piece->digest, DIGEST_BYTES);
    msgpack_pack_double (&pack, piece->seconds);
    msgpack_pack_double (&pack, piece->cpu);
    msgpack_pack_uint64 (&pack, piece->rss);
    msgpack_pack_bin (&pack, piece->payload);
    return header.n;
}

static void put_number (uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t) (value >> (56 - 8 * i));
}

void piece_stamp (uint8_t *header, uint32_t epoch, uint64_t position, bool empty)
{
    put_number (header + EPOCH_AT, epoch);
    put_number (header + POSITION_AT, position);
    if (empty)
        header[KIND_AT] = PIECE_EMPTY;
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
           get_number32 (in, MSG_MAX_TABLES + PIECE_MAX_LATE, &part->table) &&
           get_number (in, UINT64_MAX, &part->row) &&
           get_number (in, UINT64_MAX, &part->rows) &&
           get_number (in, UINT32_MAX, &part->bytes) &&
           get_number (in, UINT64_MAX, &part->xxh3) &&
           get_number (in, UINT32_MAX, &part->deflated) &&
           get_number (in, UINT64_MAX, &part->deflated_xxh3);
}

/* A text with its NUL, of at most *left bytes, which it takes away. */
static bool get_text (mp_cursor_t *in, uint64_t *left, const char **text)
{
    mp_token_t token;
    if (!mp_next (in, &token) || token.type != MP_STR || !token.shortest ||
        token.count == 0 || token.count > *left || token.bytes[token.count - 1] != 0)
        return false;
    *left -= token.count;
    *text = (const char *) token.bytes;
    return text_is_utf8 (*text, (size_t) token.count - 1);
}

static bool get_late (mp_cursor_t *in, uint64_t *left, late_t *late)
{
    uint64_t fields;
    return get_array (in, &fields) && fields == LATE_FIELDS &&
           get_number32 (in, MSG_MAX_TABLES + PIECE_MAX_LATE, &late->table) &&
           get_number (in, UINT64_MAX, &late->item) && get_text (in, left, &late->name) &&
           get_text (in, left, &late->dtype);
}

static int wrong (sluice_error_t *err, const char *what)
{
    return sluice_fail (err, SLUICE_EPROTO, "malformed piece: %s", what);
}

static int get_all_late (mp_cursor_t *in, piece_t *piece, sluice_error_t *err)
{
    uint64_t nlate, left = PIECE_LATE_BYTES;
    if (!get_array (in, &nlate) || nlate > PIECE_MAX_LATE)
        return wrong (err, "late tables");
    piece->nlate = (size_t) nlate;
    for (size_t i = 0; i < piece->nlate; i++)
        if (!get_late (in, &left, &piece->late[i]) ||
            (i > 0 && piece->late[i].table <= piece->late[i - 1].table))
            return wrong (err, "a late table");
    return 0;
}

static int get_fields (mp_cursor_t *in, piece_t *piece, sluice_error_t *err)
{
    uint64_t fields, kind, epoch, nparts;
    if (!get_array (in, &fields) || fields != FIELDS)
        return wrong (err, "not an array of 16");
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
    if (get_all_late (in, piece, err) == -1)
        return -1;
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
    return 0;
}

/* What the fields say together. */
static int check (const piece_t *piece, uint64_t payload_bytes, sluice_error_t *err)
{
    if (piece->first > piece->stop)
        return wrong (err, "items end before they begin");
    if (piece->kind != PIECE_EMPTY && payload_bytes != PIECE_ANY_PAYLOAD &&
        piece->payload != payload_bytes)
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
        if (part->deflated ? !codec_possible (part->deflated, part->bytes) ||
                                 piece->nparts != 1 || piece->kind == PIECE_DONE
                           : part->deflated_xxh3 != 0)
            return wrong (err, "a part that cannot be compressed like that");
        sum += part_payload (part);
    }
    if (sum != piece->payload)
        return wrong (err, "parts that are not the payload");
    return 0;
}

/* All but the parts and late tables, which are set as far as they are there. */
static void clear (piece_t *piece)
{
    memset (piece, 0, offsetof (piece_t, parts));
    piece->nlate = 0;
    memset (piece->digest, 0, sizeof *piece - offsetof (piece_t, digest));
}

size_t piece_decode_first (const uint8_t *data, size_t n, piece_t *piece,
                           sluice_error_t *err)
{
    clear (piece);
    size_t most = n < PIECE_MAX_HEADER ? n : PIECE_MAX_HEADER;
    mp_cursor_t in = {.at = data, .end = data + most};
    if (get_fields (&in, piece, err) == 0) {
        size_t header = (size_t) (in.at - data);
        if (piece->payload > n - header)
            wrong (err, "a payload that is not there");
        else if (check (piece, piece->payload, err) == 0)
            return header;
    }
    clear (piece);
    return 0;
}

bool piece_is_batch (const uint8_t *data, size_t n)
{
    /* That of one alone ends in the length of its payload, which fills the last bytes:
     * to know that the header has to be read. */
    piece_t piece;
    clear (&piece);
    mp_cursor_t in = {.at = data, .end = data + n};
    return get_fields (&in, &piece, NULL) == 0 && in.at != in.end;
}

int piece_decode (const void *header, size_t n, uint64_t payload_bytes, piece_t *piece,
                  sluice_error_t *err)
{
    clear (piece);
    if (n > PIECE_MAX_HEADER)
        return wrong (err, "a header of more than 16 KiB");
    mp_cursor_t in = {.at = header, .end = (const uint8_t *) header + n};
    int rc = get_fields (&in, piece, err);
    if (rc == 0 && in.at != in.end)
        rc = wrong (err, "bytes behind the header");
    if (rc == -1 || check (piece, payload_bytes, err) == -1) {
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
