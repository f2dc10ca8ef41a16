/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The header of a .npy file: a Python literal, of which this reads what NumPy writes
 * (and what Python 2 wrote); see npy.h. */

#include "calc/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_HEADER = 1 << 20, /* NumPy itself warns above 10,000 */
    MAX_LEVELS = 8        /* as dtypes have */
};

typedef struct {
    const char *at, *end;
    bool latin1; /* versions 1.0 and 2.0 */
    sluice_error_t *err;
} reader_t;

static int refuse (const reader_t *in, const char *what)
{
    return sluice_fail (in->err, SLUICE_EINPUT, "not a .npy header: %s", what);
}

static int no_memory (const reader_t *in)
{
    return sluice_fail (in->err, SLUICE_ESYSTEM, "out of memory reading a .npy header");
}

/* ---- words --------------------------------------------------------------- */

static char peek (reader_t *in)
{
    while (in->at < in->end && strchr (" \t\r\n", *in->at) && *in->at)
        in->at++;
    return in->at < in->end ? *in->at : '\0';
}

static bool take (reader_t *in, char c)
{
    if (peek (in) != c || in->at == in->end)
        return false;
    in->at++;
    return true;
}

/* A character of a text, as UTF-8. */
static size_t put_utf8 (uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char) c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char) (0x80 | (c & 0x3f));
    out[0] = (char) (c | (n == 2 ? 0xc0u : n == 3 ? 0xe0u : 0xf0u));
    return n;
}

static int hex_digits (reader_t *in, unsigned n, uint32_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < n; i++, in->at++) {
        char c = in->at < in->end ? *in->at : '\0';
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t) (c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t) (c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t) (c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return refuse (in, "a wrong escape in a text");
        *value = *value * 16 + digit;
    }
    return 0;
}

static int escape (reader_t *in, uint32_t *c)
{
    char kind = in->at < in->end ? *in->at++ : '\0';
    switch (kind) {
    case 'n':
        *c = '\n';
        return 0;
    case 'r':
        *c = '\r';
        return 0;
    case 't':
        *c = '\t';
        return 0;
    case 'x':
        return hex_digits (in, 2, c);
    case 'u':
        return hex_digits (in, 4, c);
    case 'U':
        return hex_digits (in, 8, c);
    case '\\':
    case '\'':
    case '"':
        *c = (uint8_t) kind;
        return 0;
    default:
        return refuse (in, "a wrong escape in a text");
    }
}

/* A text in its quotes, malloc'd. */
static char *read_text (reader_t *in)
{
    char quote = peek (in);
    if (quote == 'u' || quote == 'b') { /* of Python 2 */
        in->at++;
        quote = in->at < in->end ? *in->at : '\0';
    }
    if (quote != '\'' && quote != '"') {
        refuse (in, "a text is missing");
        return NULL;
    }
    in->at++;
    char *text = malloc (2 * (size_t) (in->end - in->at) + 4);
    size_t n = 0;
    if (!text) {
        no_memory (in);
        return NULL;
    }
    while (in->at < in->end && *in->at != quote) {
        uint32_t c = (uint8_t) *in->at++;
        bool escaped = c == '\\';
        if (escaped && escape (in, &c))
            goto error;
        if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
            refuse (in, "a text holds what is no character");
            goto error;
        }
        if (escaped || in->latin1)
            n += put_utf8 (c, text + n);
        else
            text[n++] = (char) c;
    }
    if (in->at == in->end) {
        refuse (in, "a text does not end");
        goto error;
    }
    in->at++;
    text[n] = '\0';
    return text;
error:
    free (text);
    return NULL;
}

static int read_number (reader_t *in, uint64_t *value)
{
    bool any = false;
    *value = 0;
    for (char c = peek (in); c >= '0' && c <= '9';
         c = in->at < in->end ? *in->at : '\0') {
        if (__builtin_mul_overflow (*value, 10, value) ||
            __builtin_add_overflow (*value, (uint64_t) (c - '0'), value))
            return refuse (in, "a number that is too large");
        any = true;
        in->at++;
    }
    if (any && in->at < in->end && *in->at == 'L')
        in->at++;
    return any ? 0 : refuse (in, "a number is missing");
}

static int read_bool (reader_t *in, bool *value)
{
    (void) peek (in);
    size_t left = (size_t) (in->end - in->at);
    if (left >= 4 && !memcmp (in->at, "True", 4)) {
        *value = true;
        in->at += 4;
    } else if (left >= 5 && !memcmp (in->at, "False", 5)) {
        *value = false;
        in->at += 5;
    } else
        return refuse (in, "neither True nor False");
    return 0;
}

/* "(3, 2)", "(3,)", "()". */
static int read_shape (reader_t *in, uint64_t *shape, unsigned most, unsigned *ndim)
{
    *ndim = 0;
    if (!take (in, '('))
        return refuse (in, "a shape is missing");
    while (!take (in, ')')) {
        if (*ndim == most)
            return refuse (in, "too many dimensions");
        if (read_number (in, &shape[*ndim]))
            return -1;
        ++*ndim;
        if (!take (in, ',') && peek (in) != ')')
            return refuse (in, "a shape does not end");
    }
    return 0;
}

/* ---- dtypes -------------------------------------------------------------- */

/* "|V8": bytes that NumPy knows no more of. */
static sluice_dtype_t *raw_dtype (reader_t *in, const char *text)
{
    char plain[64];
    size_t n = strspn (text + 2, "0123456789");
    if (n == 0 || n > 10 || text[2 + n]) {
        refuse (in, "a type that is none");
        return NULL;
    }
    snprintf (plain, sizeof plain, "(%s)|u1", text + 2);
    return sluice_dtype_parse (plain, strlen (plain), in->err);
}

static sluice_dtype_t *plain_dtype (reader_t *in)
{
    char *text = read_text (in);
    sluice_dtype_t *dtype = NULL;
    if (!text)
        return NULL;
    if (strlen (text) >= 2 && text[1] == 'O')
        sluice_fail (in->err, SLUICE_EINPUT,
                     "dtype object (%s): its elements are Python objects, which are no "
                     "data; save numbers, strings or records of these",
                     text);
    else if (strlen (text) >= 3 && strchr ("|<>", text[0]) && text[1] == 'V')
        dtype = raw_dtype (in, text);
    else if (strpbrk (text, "{(,:"))
        refuse (in, "a type that is none");
    else
        dtype = sluice_dtype_parse (text, strlen (text), in->err);
    free (text);
    return dtype;
}

static sluice_dtype_t *read_dtype (reader_t *in, unsigned level);

/* "name" or ("title", "name"): a title is another name, of no matter here. */
static char *read_field_name (reader_t *in)
{
    if (!take (in, '('))
        return read_text (in);
    char *title = read_text (in), *name = NULL;
    if (title && take (in, ','))
        name = read_text (in);
    free (title);
    if (name && !take (in, ')')) {
        free (name);
        name = NULL;
    }
    if (!name)
        refuse (in, "a field without a name");
    return name;
}

/* The shape of a field's sub-array goes before what its type may have itself. */
static int add_shape (reader_t *in, sluice_dtype_t *type)
{
    uint64_t shape[SLUICE_MAX_DIMS];
    unsigned n = 1;
    if (peek (in) == '(' ? read_shape (in, shape, SLUICE_MAX_DIMS, &n)
                         : read_number (in, shape))
        return -1;
    if (n + type->ndim > SLUICE_MAX_DIMS)
        return refuse (in, "more than 8 dimensions");
    memmove (type->dims + n, type->dims, type->ndim * sizeof *type->dims);
    memcpy (type->dims, shape, n * sizeof *shape);
    type->ndim += n;
    uint64_t size = type->itemsize;
    for (unsigned i = 0; i < type->ndim; i++)
        if (type->dims[i] == 0 || __builtin_mul_overflow (size, type->dims[i], &size) ||
            size > 1 << 30)
            return refuse (in, "a field of no bytes, or of more than 1 GiB");
    return 0;
}

/* ('name', type) or ('name', type, shape), behind the others. Padding has no name. */
static int read_field (reader_t *in, sluice_dtype_t *self, unsigned level)
{
    sluice_field_t field = {.offset = self->itemsize};
    if (!take (in, '('))
        return refuse (in, "a field is missing");
    if (!(field.name = read_field_name (in)))
        return -1;
    if (!take (in, ',') || !(field.type = read_dtype (in, level))) {
        if (!in->err || in->err->code == SLUICE_OK)
            refuse (in, "a field without a type");
        else if (field.name[0])
            sluice_fail_at (in->err, "field %.100s", field.name);
        goto error;
    }
    if (take (in, ',') && peek (in) != ')' && add_shape (in, field.type))
        goto error;
    if (!take (in, ')')) {
        refuse (in, "a field does not end");
        goto error;
    }
    self->itemsize += sluice_dtype_size (field.type);
    if (self->itemsize > 1 << 30) {
        refuse (in, "a record of more than 1 GiB");
        goto error;
    }
    if (!field.name[0]) {
        self->packed = false;
        free (field.name);
        sluice_dtype_destroy (&field.type);
        return 0;
    }
    sluice_field_t *grown = realloc (self->fields, (self->nfields + 1) * sizeof *grown);
    if (!grown) {
        no_memory (in);
        goto error;
    }
    self->fields = grown;
    self->fields[self->nfields++] = field;
    return 0;
error:
    free (field.name);
    sluice_dtype_destroy (&field.type);
    return -1;
}

static sluice_dtype_t *read_record (reader_t *in, unsigned level)
{
    sluice_dtype_t *self = calloc (1, sizeof *self);
    if (!self) {
        no_memory (in);
        return NULL;
    }
    self->kind = 'V';
    self->order = '|';
    self->packed = true;
    while (!take (in, ']')) {
        if (read_field (in, self, level + 1))
            goto error;
        if (!take (in, ',') && peek (in) != ']') {
            refuse (in, "a record does not end");
            goto error;
        }
    }
    if (self->nfields > 0)
        return self;
    refuse (in, "a record without fields");
error:
    sluice_dtype_destroy (&self);
    return NULL;
}

static sluice_dtype_t *read_dtype (reader_t *in, unsigned level)
{
    if (level > MAX_LEVELS) {
        refuse (in, "records too deep in each other");
        return NULL;
    }
    if (take (in, '['))
        return read_record (in, level);
    if (!take (in, '('))
        return plain_dtype (in);
    /* (type, shape): a sub-array without a record around it. */
    sluice_dtype_t *type = read_dtype (in, level + 1);
    if (type && (!take (in, ',') || add_shape (in, type) || !take (in, ')'))) {
        if (!in->err || in->err->code == SLUICE_OK)
            refuse (in, "a sub-array does not end");
        sluice_dtype_destroy (&type);
    }
    return type;
}

/* ---- the whole ------------------------------------------------------------ */

static int read_entry (reader_t *in, npy_header_t *header, unsigned *seen)
{
    char *key = read_text (in);
    int rc = 0;
    unsigned which = 0;
    if (!key)
        return -1;
    if (!take (in, ':'))
        rc = refuse (in, "a key without a value");
    else if (strcmp (key, "descr") == 0) {
        which = 1;
        if (*seen & which)
            rc = refuse (in, "a key twice");
        else if (!(header->dtype = read_dtype (in, 0)))
            rc = -1;
    } else if (strcmp (key, "fortran_order") == 0) {
        which = 2;
        rc = read_bool (in, &header->fortran);
    } else if (strcmp (key, "shape") == 0) {
        which = 4;
        rc = read_shape (in, header->shape, sizeof header->shape / sizeof *header->shape,
                         &header->ndim);
    } else
        rc = refuse (in, "an unknown key");
    *seen |= which;
    free (key);
    return rc;
}

static int read_dict (reader_t *in, npy_header_t *header)
{
    unsigned seen = 0;
    if (!take (in, '{'))
        return refuse (in, "no dictionary");
    while (!take (in, '}')) {
        if (read_entry (in, header, &seen))
            return -1;
        if (!take (in, ',') && peek (in) != '}')
            return refuse (in, "a dictionary does not end");
    }
    return seen == 7 ? 0 : refuse (in, "descr, fortran_order or shape is missing");
}

int npy_header (const uint8_t *data, size_t n, npy_header_t *header, sluice_error_t *err)
{
    static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    sluice_error_t why = {0};
    memset (header, 0, sizeof *header);
    if (n < 10 || memcmp (data, magic, sizeof magic) != 0)
        return sluice_fail (err, SLUICE_EINPUT,
                            "not a .npy file: it does not begin as one");
    unsigned version = data[6];
    size_t before = version == 1 ? 10 : 12;
    if (version < 1 || version > 3 || n < before)
        return sluice_fail (err, SLUICE_EINPUT,
                            "a .npy file of version %u, not known here", version);
    size_t length = data[8] | (size_t) data[9] << 8;
    if (version > 1)
        length |= (size_t) data[10] << 16 | (size_t) data[11] << 24;
    if (length > MAX_HEADER || length > n - before)
        return sluice_fail (err, SLUICE_EINPUT,
                            "not a .npy file: its header does not end where it says");
    const char *text = (const char *) data + before;
    reader_t in = {.at = text, .end = text + length, .latin1 = version < 3, .err = &why};
    header->bytes = before + length;
    if (read_dict (&in, header) == 0) {
        if (peek (&in) == '\0' && in.at == in.end)
            return 0;
        refuse (&in, "more behind its end");
    }
    npy_header_clear (header);
    if (err)
        *err = why;
    return -1;
}

void npy_header_clear (npy_header_t *header)
{
    sluice_dtype_destroy (&header->dtype);
    memset (header, 0, sizeof *header);
}
