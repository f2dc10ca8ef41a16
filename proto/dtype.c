/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "sluice/dtype.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/text.h"

enum { MAX_TEXT = 65535, MAX_FIELDS = 1024, MAX_LEVELS = 8, MAX_ITEM = 1 << 30 };

/* Characters that a field name holds only behind a '\'. */
static const char special[] = ":,@{}#()\\";

static bool is_special (char c)
{
    return c && strchr (special, c);
}

void sluice_dtype_destroy (sluice_dtype_t **self_p)
{
    sluice_dtype_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->nfields; i++) {
        free (self->fields[i].name);
        sluice_dtype_destroy (&self->fields[i].type);
    }
    free (self->fields);
    free (self);
    *self_p = NULL;
}

size_t sluice_dtype_size (const sluice_dtype_t *self)
{
    size_t size = self->itemsize;
    for (unsigned i = 0; i < self->ndim; i++)
        size *= (size_t) self->dims[i];
    return size;
}

bool sluice_dtype_equal (const sluice_dtype_t *a, const sluice_dtype_t *b)
{
    if (a->kind != b->kind || a->order != b->order || a->itemsize != b->itemsize ||
        strcmp (a->unit, b->unit) || a->ndim != b->ndim || a->nfields != b->nfields)
        return false;
    for (unsigned i = 0; i < a->ndim; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    for (size_t i = 0; i < a->nfields; i++)
        if (a->fields[i].offset != b->fields[i].offset ||
            strcmp (a->fields[i].name, b->fields[i].name) ||
            !sluice_dtype_equal (a->fields[i].type, b->fields[i].type))
            return false;
    return true;
}

/* ---- writing ------------------------------------------------------------ */

/* Text goes to `data`, or is only counted while that is NULL. */
typedef struct {
    char *data;
    size_t length;
} out_t;

static void put (out_t *out, const char *text, size_t n)
{
    if (out->data)
        memcpy (out->data + out->length, text, n);
    out->length += n;
}

static void put_number (out_t *out, const char *before, uint64_t value, const char *after)
{
    char text[40];
    int n = snprintf (text, sizeof text, "%s%llu%s", before, (unsigned long long) value,
                      after);
    put (out, text, (size_t) n);
}

static void put_name (out_t *out, const char *name)
{
    for (size_t i = 0; name[i]; i++) {
        /* A blank in front would be taken for layout. */
        if (is_special (name[i]) || (i == 0 && name[i] == ' '))
            put (out, "\\", 1);
        put (out, name + i, 1);
    }
}

static void put_dtype (out_t *out, const sluice_dtype_t *self)
{
    for (unsigned i = 0; i < self->ndim; i++)
        put_number (out, i == 0 ? "(" : ",", self->dims[i],
                    i + 1 == self->ndim ? ")" : "");
    if (self->kind != 'V') {
        put (out, &self->order, 1);
        put (out, &self->kind, 1);
        put_number (out, "", self->kind == 'U' ? self->itemsize / 4 : self->itemsize, "");
        if (self->unit[0]) {
            put (out, "[", 1);
            put (out, self->unit, strlen (self->unit));
            put (out, "]", 1);
        }
        return;
    }
    for (size_t i = 0; i < self->nfields; i++) {
        put (out, i == 0 ? "{" : ", ", i == 0 ? 1 : 2);
        put_name (out, self->fields[i].name);
        put (out, ":", 1);
        put_dtype (out, self->fields[i].type);
        if (!self->packed)
            put_number (out, "@", self->fields[i].offset, "");
    }
    put (out, "}", 1);
    if (!self->packed)
        put_number (out, "#", self->itemsize, "");
}

char *sluice_dtype_text (const sluice_dtype_t *self)
{
    out_t out = {0};
    put_dtype (&out, self);
    out.data = malloc (out.length + 1);
    if (!out.data)
        return NULL;
    out.data[out.length] = 0;
    out.length = 0;
    put_dtype (&out, self);
    return out.data;
}

/* ---- reading ------------------------------------------------------------ */

typedef struct {
    const char *text;
    size_t length, at;
    size_t nfields; /* in all records so far */
    sluice_error_t *err;
} reader_t;

static char next (const reader_t *in)
{
    return in->at < in->length ? in->text[in->at] : 0;
}

static void skip_blanks (reader_t *in)
{
    while (next (in) == ' ')
        in->at++;
}

static bool take (reader_t *in, char c)
{
    if (next (in) != c || in->at == in->length)
        return false;
    in->at++;
    return true;
}

/* "dtype '...': WHAT at character N". */
static int refuse (const reader_t *in, const char *what)
{
    int shown = in->length < 200 ? (int) in->length : 200;
    return sluice_fail (in->err, SLUICE_EINPUT, "dtype '%.*s'%s: %s at character %zu",
                        shown, in->text, in->length > 200 ? "..." : "", what, in->at + 1);
}

static int no_memory (const reader_t *in)
{
    return sluice_fail (in->err, SLUICE_ESYSTEM, "out of memory reading a dtype");
}

static int read_number (reader_t *in, uint64_t max, uint64_t *value, const char *what)
{
    size_t n = text_number (in->text + in->at, in->length - in->at, max, value);
    if (n == 0)
        return refuse (in, what);
    in->at += n;
    return 0;
}

/* "(3,2)", if it is there. */
static int read_dims (reader_t *in, sluice_dtype_t *self)
{
    if (!take (in, '('))
        return 0;
    do {
        skip_blanks (in);
        if (self->ndim > 0 && next (in) == ')')
            break; /* as in "(3,)" */
        if (self->ndim == SLUICE_MAX_DIMS)
            return refuse (in, "more than 8 dimensions");
        uint64_t *dim = &self->dims[self->ndim];
        if (read_number (in, MAX_ITEM, dim, "expected a dimension of 1 to 2^30") == -1)
            return -1;
        if (*dim == 0)
            return refuse (in, "a dimension of 0");
        self->ndim++;
        skip_blanks (in);
    } while (take (in, ','));
    if (!take (in, ')'))
        return refuse (in, "expected ')'");
    return 0;
}

/* "[us]" or "[25us]" behind M8 or m8. */
static int read_unit (reader_t *in, sluice_dtype_t *self)
{
    if (!take (in, '['))
        return 0;
    size_t start = in->at;
    if (next (in) >= '0' && next (in) <= '9') {
        uint64_t times;
        if (next (in) == '0' ||
            read_number (in, INT32_MAX, &times, "expected a time unit") == -1)
            return refuse (in, "expected a time unit");
    }
    static const char *const units[] = {"Y",  "M",  "W",  "D",  "h",  "m", "s",
                                        "ms", "us", "ns", "ps", "fs", "as"};
    size_t letters = in->at;
    while (in->at < in->length && next (in) != ']')
        in->at++;
    size_t n = in->at - letters;
    bool known = false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        known |= n == strlen (units[i]) && !memcmp (in->text + letters, units[i], n);
    if (!known || in->at - start >= sizeof self->unit || !take (in, ']'))
        return refuse (in, "expected a time unit such as [us]");
    memcpy (self->unit, in->text + start, in->at - 1 - start);
    /* One microsecond is a microsecond. */
    if (self->unit[0] == '1' && (self->unit[1] < '0' || self->unit[1] > '9'))
        memmove (self->unit, self->unit + 1, strlen (self->unit));
    return 0;
}

static bool size_is_right (char kind, uint64_t size)
{
    switch (kind) {
    case 'b':
        return size == 1;
    case 'i':
    case 'u':
        return size == 1 || size == 2 || size == 4 || size == 8;
    case 'f':
        return size == 2 || size == 4 || size == 8 || size == 16;
    case 'c':
        return size == 8 || size == 16 || size == 32;
    case 'M':
    case 'm':
        return size == 8;
    default: /* S, U */
        return size > 0;
    }
}

/* "<f4", "|S10", "u4". */
static int read_plain (reader_t *in, sluice_dtype_t *self)
{
    char order = 0;
    if (next (in) == '<' || next (in) == '>' || next (in) == '|')
        order = in->text[in->at++];
    char kind = next (in);
    if (!kind || !strchr ("biufcSUMm", kind))
        return refuse (in, "expected a type such as <f8, |S10 or {name:<f8}");
    in->at++;
    uint64_t size;
    if (read_number (in, kind == 'U' ? MAX_ITEM / 4 : MAX_ITEM, &size,
                     "expected a size of at most 1 GiB") == -1)
        return -1;
    if (!size_is_right (kind, size))
        return refuse (in, "there is no type of this kind and size");
    self->kind = kind;
    self->itemsize = (size_t) (kind == 'U' ? 4 * size : size);
    bool ordered = kind != 'S' && self->itemsize > 1;
    if (ordered && order == '|')
        return refuse (in, "this type needs a byte order, '<' or '>'");
    self->order = !ordered ? '|' : order ? order : '<';
    if (kind == 'M' || kind == 'm')
        return read_unit (in, self);
    return 0;
}

/* A field name without its escapes, malloc'd. */
static int read_name (reader_t *in, char **name)
{
    size_t start = in->at, n = 0;
    while (in->at < in->length && !(next (in) != '\\' && is_special (next (in)))) {
        if (next (in) == '\\')
            in->at++;
        if (in->at < in->length)
            in->at++;
        n++;
    }
    if (n == 0 || next (in) != ':')
        return refuse (in, n == 0 ? "expected a field name" : "expected ':'");
    char *text = malloc (n + 1);
    if (!text)
        return no_memory (in);
    size_t filled = 0;
    for (size_t i = start; i < in->at; i++) {
        if (in->text[i] == '\\')
            i++;
        text[filled++] = in->text[i];
    }
    text[filled] = 0;
    if (!text_is_utf8 (text, filled)) {
        free (text);
        return refuse (in, "a field name that is not UTF-8");
    }
    *name = text;
    in->at++;
    return 0;
}

static sluice_dtype_t *read_dtype (reader_t *in, unsigned level);

/* Read one field and put it behind the others; `*end` is where the last ended. */
static int read_field (reader_t *in, sluice_dtype_t *self, size_t *end, unsigned level)
{
    if (in->nfields++ == MAX_FIELDS)
        return refuse (in, "more than 1,024 fields");
    if ((self->nfields & (self->nfields - 1)) == 0) { /* full at powers of two */
        size_t room = self->nfields ? 2 * self->nfields : 1;
        sluice_field_t *fields = realloc (self->fields, room * sizeof *fields);
        if (!fields)
            return no_memory (in);
        self->fields = fields;
    }
    sluice_field_t field = {.offset = *end};
    if (read_name (in, &field.name) == -1)
        return -1;
    field.type = read_dtype (in, level);
    if (!field.type) {
        free (field.name);
        return -1;
    }
    self->fields[self->nfields++] = field; /* freed with the record from here on */

    sluice_field_t *last = &self->fields[self->nfields - 1];
    if (take (in, '@')) {
        uint64_t offset;
        if (read_number (in, MAX_ITEM, &offset, "expected an offset") == -1)
            return -1;
        last->offset = (size_t) offset;
    }
    if (last->offset != *end)
        self->packed = false;
    size_t size = sluice_dtype_size (last->type);
    *end = last->offset + size;
    if (*end > MAX_ITEM)
        return refuse (in, "a record of more than 1 GiB");
    for (size_t i = 0; i + 1 < self->nfields; i++) {
        const sluice_field_t *other = &self->fields[i];
        if (strcmp (other->name, last->name) == 0)
            return refuse (in, "two fields of one name");
        if (!self->packed && other->offset < *end &&
            last->offset < other->offset + sluice_dtype_size (other->type))
            return refuse (in, "fields that overlap");
    }
    if (*end > self->itemsize)
        self->itemsize = *end;
    return 0;
}

static int read_record (reader_t *in, sluice_dtype_t *self, unsigned level)
{
    if (level == MAX_LEVELS)
        return refuse (in, "records more than 8 deep");
    self->kind = 'V';
    self->order = '|';
    self->packed = true;
    size_t end = 0;
    do {
        skip_blanks (in);
        if (read_field (in, self, &end, level + 1) == -1)
            return -1;
        skip_blanks (in);
    } while (take (in, ','));
    if (!take (in, '}'))
        return refuse (in, "expected ',' or '}'");
    if (take (in, '#')) {
        uint64_t size;
        if (read_number (in, MAX_ITEM, &size, "expected a size of at most 1 GiB") == -1)
            return -1;
        if (size < self->itemsize)
            return refuse (in, "a size that is too small for the fields");
        if (size > self->itemsize)
            self->packed = false;
        self->itemsize = (size_t) size;
    }
    return 0;
}

static sluice_dtype_t *read_dtype (reader_t *in, unsigned level)
{
    sluice_dtype_t *self = calloc (1, sizeof *self);
    if (!self) {
        no_memory (in);
        return NULL;
    }
    if (read_dims (in, self) == -1)
        goto error;
    if ((take (in, '{') ? read_record (in, self, level) : read_plain (in, self)) == -1)
        goto error;
    uint64_t size = self->itemsize;
    for (unsigned i = 0; i < self->ndim; i++) {
        size *= self->dims[i]; /* both at most 2^30 */
        if (size > MAX_ITEM) {
            refuse (in, "an item of more than 1 GiB");
            goto error;
        }
    }
    return self;
error:
    sluice_dtype_destroy (&self);
    return NULL;
}

sluice_dtype_t *sluice_dtype_parse (const char *text, size_t length, sluice_error_t *err)
{
    reader_t in = {.text = text, .length = length, .err = err};
    if (length > MAX_TEXT) {
        sluice_fail (err, SLUICE_EINPUT, "a dtype of %zu characters: the limit is 65,535",
                     length);
        return NULL;
    }
    sluice_dtype_t *self = read_dtype (&in, 0);
    if (!self)
        return NULL;
    out_t out = {0};
    put_dtype (&out, self);
    if (in.at != length)
        refuse (&in, "more text than a type");
    else if (out.length > MAX_TEXT) /* the canonical text must be readable, too */
        refuse (&in, "more than 65,535 characters in its canonical form");
    else
        return self;
    sluice_dtype_destroy (&self);
    return NULL;
}
