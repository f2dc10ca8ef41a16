/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <string.h>

#include "proto/msgpack_read.h"
#include "proto/text.h"
#include "proto/trace.h"

static const char MAGIC[] = "sluice trace";

/* Why no token can be read: 0xc1 is the one byte that begins none. */
static trace_verdict_t no_token (const mp_cursor_t *in)
{
    return in->at < in->end && *in->at == 0xc1 ? TRACE_WRONG : TRACE_CUT;
}

/* The next token, of this type; of a text or bytes at most `most`. */
static trace_verdict_t take (mp_cursor_t *in, mp_type_t type, uint64_t most,
                             mp_token_t *token)
{
    mp_cursor_t head = *in;
    if (!mp_head (&head, token))
        return no_token (in);
    if (token->type != type)
        return TRACE_WRONG;
    if (type == MP_UINT) {
        *in = head;
        return token->number <= most ? TRACE_GOOD : TRACE_WRONG;
    }
    if (token->count > most)
        return TRACE_WRONG;
    return mp_next (in, token) ? TRACE_GOOD : TRACE_CUT;
}

static trace_verdict_t take_number (mp_cursor_t *in, uint64_t most, uint64_t *value)
{
    mp_token_t token;
    trace_verdict_t verdict = take (in, MP_UINT, most, &token);
    if (verdict == TRACE_GOOD)
        *value = token.number;
    return verdict;
}

static trace_verdict_t take_text (mp_cursor_t *in, char out[TRACE_TEXT])
{
    mp_token_t token;
    trace_verdict_t verdict = take (in, MP_STR, TRACE_TEXT - 1, &token);
    if (verdict != TRACE_GOOD)
        return verdict;
    if (!text_is_utf8 ((const char *) token.bytes, token.count))
        return TRACE_WRONG;
    memcpy (out, token.bytes, token.count);
    out[token.count] = '\0';
    return TRACE_GOOD;
}

/* Both documents are arrays of six. */
static trace_verdict_t take_six (mp_cursor_t *in)
{
    if (in->at == in->end)
        return TRACE_CUT;
    return *in->at++ == 0x96 ? TRACE_GOOD : TRACE_WRONG;
}

trace_verdict_t trace_read_head (const uint8_t **at, const uint8_t *end,
                                 trace_head_t *head)
{
    mp_cursor_t in = {*at, end};
    char magic[TRACE_TEXT];
    uint64_t version;
    trace_verdict_t v = take_six (&in);
    memset (head, 0, sizeof *head);
    if (v == TRACE_GOOD)
        v = take_text (&in, magic);
    if (v == TRACE_GOOD && strcmp (magic, MAGIC) != 0)
        v = TRACE_WRONG;
    if (v == TRACE_GOOD)
        v = take_number (&in, 1, &version);
    if (v == TRACE_GOOD)
        v = take_text (&in, head->who);
    if (v == TRACE_GOOD)
        v = take_text (&in, head->host);
    if (v == TRACE_GOOD)
        v = take_number (&in, UINT64_MAX, &head->pid);
    if (v == TRACE_GOOD)
        v = take_number (&in, UINT64_MAX, &head->time);
    if (v == TRACE_GOOD)
        *at = in.at;
    return v;
}

trace_verdict_t trace_read (const uint8_t **at, const uint8_t *end,
                            trace_record_t *record)
{
    mp_cursor_t in = {*at, end};
    mp_token_t bytes;
    uint64_t way = 0, kind = 0;
    trace_verdict_t v = take_six (&in);
    memset (record, 0, sizeof *record);
    if (v == TRACE_GOOD)
        v = take_number (&in, UINT64_MAX, &record->time);
    if (v == TRACE_GOOD)
        v = take_number (&in, TRACE_IN, &way);
    if (v == TRACE_GOOD)
        v = take_text (&in, record->peer);
    if (v == TRACE_GOOD)
        v = take_number (&in, TRACE_LOST, &kind);
    if (v == TRACE_GOOD)
        v = take_number (&in, UINT64_MAX, &record->payload);
    if (v == TRACE_GOOD)
        v = take (&in, MP_BIN, TRACE_MAX_BYTES, &bytes);
    if (v != TRACE_GOOD)
        return v;
    record->way = (trace_way_t) way;
    record->kind = (trace_kind_t) kind;
    record->bytes = bytes.bytes;
    record->n = (size_t) bytes.count;
    *at = in.at;
    return TRACE_GOOD;
}
