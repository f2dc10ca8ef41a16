/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/msg.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "proto/msg_fields.h"
#include "proto/text.h"

typedef struct {
    msgpack_packer pack;
    msgpack_sbuffer buffer;
    bool too_large;
    const char *message; /* name of the message, for errors */
    sluice_error_t *err;
} encoder_t;

static int append (void *data, const char *bytes, size_t n)
{
    encoder_t *self = data;
    if (n > MSG_MAX_BYTES - self->buffer.size) {
        self->too_large = true;
        return -1;
    }
    return msgpack_sbuffer_write (&self->buffer, bytes, n);
}

static int past_limit (encoder_t *self, const char *field, const char *what)
{
    return sluice_fail (self->err, SLUICE_EINPUT, "cannot send %s: %s: %s", self->message,
                        field, what);
}

/* The writer said no: the message is too large or there is no memory. */
static int cannot_append (encoder_t *self)
{
    if (self->too_large)
        return sluice_fail (self->err, SLUICE_EINPUT,
                            "cannot send %s: it is larger than %d bytes", self->message,
                            MSG_MAX_BYTES);
    return sluice_fail (self->err, SLUICE_ESYSTEM, "out of memory for a message");
}

static int done (encoder_t *self, int result)
{
    return result < 0 ? cannot_append (self) : 0;
}

static int encode_text (encoder_t *self, const char *field, const char *text,
                        size_t limit)
{
    size_t n = text ? strlen (text) : 0;
    if (n > limit)
        return past_limit (self, field, "too long");
    if (n > 0 && !text_is_utf8 (text, n))
        return past_limit (self, field, "not UTF-8");
    if (msgpack_pack_str (&self->pack, n) < 0)
        return cannot_append (self);
    return n ? done (self, msgpack_pack_str_body (&self->pack, text, n)) : 0;
}

static int encode_bytes (encoder_t *self, const void *bytes, size_t n)
{
    if (msgpack_pack_bin (&self->pack, n) < 0)
        return cannot_append (self);
    return done (self, msgpack_pack_bin_body (&self->pack, bytes, n));
}

static int encode_params (encoder_t *self, const field_t *field,
                          const sluice_params_t *params)
{
    size_t count = params ? sluice_params_count (params) : 0;
    if (count > field->limit)
        return past_limit (self, field->name, "too many");
    if (msgpack_pack_array (&self->pack, 1 + count) < 0)
        return cannot_append (self);
    const char *file = params ? sluice_params_file (params) : "";
    if (encode_text (self, "file of parameters", file, MSG_MAX_TEXT) == -1)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const char *name = sluice_params_name_at (params, i);
        const char *value = sluice_params_value_at (params, i);
        if (msgpack_pack_array (&self->pack, 3) < 0)
            return cannot_append (self);
        if (encode_text (self, "name of a parameter", name, MSG_MAX_TEXT) == -1 ||
            encode_text (self, name, value, MSG_MAX_VALUE) == -1)
            return -1;
        if (msgpack_pack_uint32 (&self->pack, sluice_params_line (params, name)) < 0)
            return cannot_append (self);
    }
    return 0;
}

static int encode_field (encoder_t *self, const field_t *field, const void *base);

static int encode_fields (encoder_t *self, const field_t *fields, const void *base)
{
    for (const field_t *field = fields; field->kind != FIELD_END; field++)
        if (encode_field (self, field, base) == -1)
            return -1;
    return 0;
}

static int encode_list (encoder_t *self, const field_t *field, const void *base)
{
    size_t count = *(const size_t *) ((const char *) base + field->count);
    const char *elements = *(char *const *) ((const char *) base + field->offset);
    if (count > field->limit)
        return past_limit (self, field->name, "too many");
    if (msgpack_pack_array (&self->pack, count) < 0)
        return cannot_append (self);
    size_t nfields = 0;
    while (field->element[nfields].kind != FIELD_END)
        nfields++;
    for (size_t i = 0; i < count; i++) {
        const void *element = elements + i * field->element_bytes;
        const char *wrong = field->wrong ? field->wrong (element) : NULL;
        if (wrong)
            return past_limit (self, field->name, wrong);
        if (msgpack_pack_array (&self->pack, nfields) < 0)
            return cannot_append (self);
        if (encode_fields (self, field->element, element) == -1)
            return -1;
    }
    return 0;
}

static int encode_u32s (encoder_t *self, const field_t *field, const void *base)
{
    size_t count = *(const size_t *) ((const char *) base + field->count);
    const uint32_t *numbers = *(uint32_t *const *) ((const char *) base + field->offset);
    if (count > field->limit)
        return past_limit (self, field->name, "too many");
    if (msgpack_pack_array (&self->pack, count) < 0)
        return cannot_append (self);
    for (size_t i = 0; i < count; i++)
        if (msgpack_pack_uint32 (&self->pack, numbers[i]) < 0)
            return cannot_append (self);
    return 0;
}

static int encode_field (encoder_t *self, const field_t *field, const void *base)
{
    const void *at = (const char *) base + field->offset;
    msgpack_packer *pack = &self->pack;
    switch (field->kind) {
    case FIELD_U64:
        return done (self, msgpack_pack_uint64 (pack, *(const uint64_t *) at));
    case FIELD_U32:
        return done (self, msgpack_pack_uint32 (pack, *(const uint32_t *) at));
    case FIELD_I64:
        return done (self, msgpack_pack_int64 (pack, *(const int64_t *) at));
    case FIELD_I32:
        return done (self, msgpack_pack_int32 (pack, *(const int32_t *) at));
    case FIELD_BOOL:
        return done (self, *(const bool *) at ? msgpack_pack_true (pack)
                                              : msgpack_pack_false (pack));
    case FIELD_BYTES:
        return encode_bytes (self, at, field->limit);
    case FIELD_TEXT:
        return encode_text (self, field->name, *(char *const *) at, field->limit);
    case FIELD_U32S:
        return encode_u32s (self, field, base);
    case FIELD_LIST:
        return encode_list (self, field, base);
    case FIELD_PARAMS:
        return encode_params (self, field, *(sluice_params_t *const *) at);
    case FIELD_END:
        break;
    }
    return past_limit (self, field->name, "no such kind of field");
}

static int encode_all (encoder_t *self, const field_t *fields, const msg_t *msg)
{
    size_t nfields = 0;
    while (fields[nfields].kind != FIELD_END)
        nfields++;
    if (msgpack_pack_array (&self->pack, 3 + nfields) < 0 ||
        msgpack_pack_uint32 (&self->pack, msg->type) < 0 ||
        msgpack_pack_uint32 (&self->pack, MSG_VERSION) < 0)
        return cannot_append (self);
    if (encode_bytes (self, msg->run, RUN_BYTES) == -1)
        return -1;
    return encode_fields (self, fields, msg);
}

int msg_encode (const msg_t *msg, void **data, size_t *n, sluice_error_t *err)
{
    *data = NULL;
    *n = 0;
    const field_t *fields = msg_fields (msg->type);
    if (!fields)
        return sluice_fail (err, SLUICE_EINPUT, "there is no message of type %u",
                            (unsigned) msg->type);
    encoder_t self = {.message = msg_type_name (msg->type), .err = err};
    msgpack_sbuffer_init (&self.buffer);
    msgpack_packer_init (&self.pack, &self, append);
    if (encode_all (&self, fields, msg) == -1) {
        msgpack_sbuffer_destroy (&self.buffer);
        return -1;
    }
    *n = self.buffer.size;
    *data = msgpack_sbuffer_release (&self.buffer);
    return 0;
}
