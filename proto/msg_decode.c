/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <stdlib.h>
#include <string.h>

#include "proto/msg_fields.h"
#include "proto/msgpack_read.h"
#include "proto/text.h"

/* Message, list, element and what it holds. */
enum { MAX_NESTING = 4 };

typedef struct {
    mp_cursor_t in;
    const char *message; /* name of the message, for errors */
    sluice_error_t *err;
} decoder_t;

static int wrong (decoder_t *self, const char *field, const char *what)
{
    return sluice_fail (self->err, SLUICE_EPROTO, "malformed %s: %s: %s", self->message,
                        field, what);
}

static int no_memory (decoder_t *self)
{
    return sluice_fail (self->err, SLUICE_ESYSTEM, "out of memory for a message");
}

/* The next token, which must be of this type and in its shortest form. */
static int take (decoder_t *self, const char *field, mp_type_t type, mp_token_t *token)
{
    if (!mp_next (&self->in, token))
        return wrong (self, field, "missing");
    if (token->type != type)
        return wrong (self, field, "of another type");
    if (!token->shortest)
        return wrong (self, field, "not in its shortest form");
    return 0;
}

static int take_array (decoder_t *self, const char *field, size_t limit, size_t *count)
{
    mp_token_t token;
    if (take (self, field, MP_ARRAY, &token) == -1)
        return -1;
    if (token.count > limit)
        return wrong (self, field, "too many elements");
    *count = (size_t) token.count;
    return 0;
}

static int take_unsigned (decoder_t *self, const char *field, uint64_t max,
                          uint64_t *value)
{
    mp_token_t token;
    if (take (self, field, MP_UINT, &token) == -1)
        return -1;
    if (token.number > max)
        return wrong (self, field, "out of range");
    *value = token.number;
    return 0;
}

static int take_signed (decoder_t *self, const char *field, int64_t min, int64_t max,
                        int64_t *value)
{
    mp_token_t token;
    if (!mp_next (&self->in, &token) || (token.type != MP_UINT && token.type != MP_INT) ||
        !token.shortest)
        return wrong (self, field, "not a number in its shortest form");
    if (token.type == MP_UINT ? token.number > (uint64_t) max : token.negative < min)
        return wrong (self, field, "out of range");
    *value = token.type == MP_UINT ? (int64_t) token.number : token.negative;
    return 0;
}

static int take_bytes (decoder_t *self, const char *field, uint8_t *out, size_t n)
{
    mp_token_t token;
    if (take (self, field, MP_BIN, &token) == -1)
        return -1;
    if (token.count != n)
        return wrong (self, field, "of another length");
    memcpy (out, token.bytes, n);
    return 0;
}

static int take_text (decoder_t *self, const char *field, size_t limit, char **text)
{
    mp_token_t token;
    if (take (self, field, MP_STR, &token) == -1)
        return -1;
    if (token.count > limit)
        return wrong (self, field, "too long");
    size_t n = (size_t) token.count;
    if (!text_is_utf8 ((const char *) token.bytes, n))
        return wrong (self, field, "not UTF-8");
    *text = malloc (n + 1);
    if (!*text)
        return no_memory (self);
    memcpy (*text, token.bytes, n);
    (*text)[n] = 0;
    return 0;
}

static int take_param (decoder_t *self, sluice_params_t *params)
{
    size_t three = 0;
    if (take_array (self, "parameter", 3, &three) == -1)
        return -1;
    if (three != 3)
        return wrong (self, "parameter", "not [name, value, line]");
    char *name = NULL, *value = NULL;
    uint64_t line;
    int result = -1;
    if (take_text (self, "name of a parameter", MSG_MAX_TEXT, &name) == -1 ||
        take_text (self, "value of a parameter", MSG_MAX_VALUE, &value) == -1 ||
        take_unsigned (self, "line of a parameter", UINT32_MAX, &line) == -1)
        goto done;
    if (!name[0] || sluice_params_get (params, name)) {
        wrong (self, "parameters", name[0] ? "one comes twice" : "one has no name");
        goto done;
    }
    result = sluice_params_set (params, name, value, (unsigned) line, self->err);
done:
    free (name);
    free (value);
    return result;
}

static int take_params (decoder_t *self, const field_t *field, sluice_params_t **params)
{
    size_t count = 0;
    if (take_array (self, field->name, 1 + field->limit, &count) == -1)
        return -1;
    if (count == 0)
        return wrong (self, field->name, "without a file");
    char *file;
    if (take_text (self, "file of parameters", MSG_MAX_TEXT, &file) == -1)
        return -1;
    *params = sluice_params_new ();
    int result = *params ? sluice_params_set_file (*params, file) : -1;
    free (file);
    if (result == -1)
        return no_memory (self);
    for (size_t i = 1; i < count; i++)
        if (take_param (self, *params) == -1)
            return -1;
    return 0;
}

static int take_field (decoder_t *self, const field_t *field, void *base);

static int take_fields (decoder_t *self, const field_t *fields, void *base)
{
    for (const field_t *field = fields; field->kind != FIELD_END; field++)
        if (take_field (self, field, base) == -1)
            return -1;
    return 0;
}

static int take_list (decoder_t *self, const field_t *field, void *base)
{
    size_t *count = (size_t *) ((char *) base + field->count);
    char **elements = (char **) ((char *) base + field->offset);
    size_t announced = 0, nfields = 0;
    while (field->element[nfields].kind != FIELD_END)
        nfields++;
    if (take_array (self, field->name, field->limit, &announced) == -1)
        return -1;
    if (announced == 0)
        return 0;
    /* Each element takes a byte for itself and one for each of its fields. */
    if (announced > (size_t) (self->in.end - self->in.at) / (1 + nfields))
        return wrong (self, field->name, "more elements than bytes");
    *elements = calloc (announced, field->element_bytes);
    if (!*elements)
        return no_memory (self);
    for (size_t i = 0; i < announced; i++) {
        void *element = *elements + i * field->element_bytes;
        *count = i + 1; /* so that it is freed, however far it comes */
        size_t given = 0;
        if (take_array (self, field->name, nfields, &given) == -1)
            return -1;
        if (given != nfields)
            return wrong (self, field->name, "an element with too few fields");
        if (take_fields (self, field->element, element) == -1)
            return -1;
        const char *what = field->wrong ? field->wrong (element) : NULL;
        if (what)
            return wrong (self, field->name, what);
    }
    return 0;
}

static int take_u32s (decoder_t *self, const field_t *field, void *base)
{
    uint32_t **numbers = (uint32_t **) ((char *) base + field->offset);
    size_t count = 0;
    if (take_array (self, field->name, field->limit, &count) == -1)
        return -1;
    if (count == 0)
        return 0;
    *numbers = calloc (count, sizeof **numbers);
    if (!*numbers)
        return no_memory (self);
    *(size_t *) ((char *) base + field->count) = count;
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        if (take_unsigned (self, field->name, UINT32_MAX, &value) == -1)
            return -1;
        (*numbers)[i] = (uint32_t) value;
    }
    return 0;
}

static int take_field (decoder_t *self, const field_t *field, void *base)
{
    void *at = (char *) base + field->offset;
    mp_token_t token;
    uint64_t number = 0;
    int64_t signed_number = 0;
    switch (field->kind) {
    case FIELD_U64:
        return take_unsigned (self, field->name, UINT64_MAX, at);
    case FIELD_U32:
        if (take_unsigned (self, field->name, UINT32_MAX, &number) == -1)
            return -1;
        *(uint32_t *) at = (uint32_t) number;
        return 0;
    case FIELD_I64:
        return take_signed (self, field->name, INT64_MIN, INT64_MAX, at);
    case FIELD_I32:
        if (take_signed (self, field->name, INT32_MIN, INT32_MAX, &signed_number) == -1)
            return -1;
        *(int32_t *) at = (int32_t) signed_number;
        return 0;
    case FIELD_BOOL:
        if (take (self, field->name, MP_BOOL, &token) == -1)
            return -1;
        *(bool *) at = token.truth;
        return 0;
    case FIELD_BYTES:
        return take_bytes (self, field->name, at, field->limit);
    case FIELD_TEXT:
        return take_text (self, field->name, field->limit, at);
    case FIELD_U32S:
        return take_u32s (self, field, base);
    case FIELD_LIST:
        return take_list (self, field, base);
    case FIELD_PARAMS:
        return take_params (self, field, at);
    case FIELD_END:
        break;
    }
    return wrong (self, field->name, "no such kind of field");
}

/* [type, version, run and the fields of that type. */
static int take_message (decoder_t *self, msg_t *msg)
{
    size_t count = 0, nfields = 0;
    uint64_t type = 0, version = 0;
    if (take_array (self, "array", 3 + 64, &count) == -1 ||
        take_unsigned (self, "type", UINT64_MAX, &type) == -1 ||
        take_unsigned (self, "version", UINT64_MAX, &version) == -1)
        return -1;
    if (version != MSG_VERSION)
        return sluice_fail (self->err, SLUICE_EPROTO,
                            "a message of version %llu, and this is version %d: "
                            "install the same Sluice on both machines",
                            (unsigned long long) version, MSG_VERSION);
    const field_t *fields = type < MSG_TYPES ? msg_fields ((msg_type_t) type) : NULL;
    if (!fields)
        return sluice_fail (self->err, SLUICE_EPROTO, "a message of unknown type %llu",
                            (unsigned long long) type);
    self->message = msg_type_name ((msg_type_t) type);
    while (fields[nfields].kind != FIELD_END)
        nfields++;
    if (count != 3 + nfields)
        return wrong (self, "array", "another number of fields");
    if (take_bytes (self, "run", msg->run, RUN_BYTES) == -1)
        return -1;
    msg->type = (msg_type_t) type; /* from here on msg_clear knows what to free */
    return take_fields (self, fields, msg);
}

int msg_decode (const void *data, size_t n, msg_t *msg, sluice_error_t *err)
{
    memset (msg, 0, sizeof *msg);
    if (n > MSG_MAX_BYTES)
        return sluice_fail (err, SLUICE_EPROTO,
                            "malformed message: %zu bytes, the limit is %d", n,
                            MSG_MAX_BYTES);
    /* One whole object: nothing is cut off and nothing stands behind it. */
    if (!msgpack_is_safe (data, n, MAX_NESTING))
        return sluice_fail (err, SLUICE_EPROTO,
                            "malformed message: its %zu bytes are not msgpack", n);
    decoder_t self = {.message = "message", .err = err};
    self.in = (mp_cursor_t){.at = data, .end = (const uint8_t *) data + n};
    if (take_message (&self, msg) == -1) {
        msg_clear (msg);
        return -1;
    }
    return 0;
}
