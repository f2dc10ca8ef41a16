/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/npy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct npy {
    npy_header_t header;
    sluice_dtype_t *out;        /* of an element as it is passed on */
    char *text;                 /* of a row's dtype */
    uint64_t rows, per_row;     /* elements of a row */
    size_t in_bytes, out_bytes; /* of an element */
    bool as_it_is;
    void *map;
    size_t map_bytes;
};

/* ---- types ---------------------------------------------------------------- */

/* How an element leaves: packed, and U as S. */
static sluice_dtype_t *leaving (const sluice_dtype_t *in)
{
    sluice_dtype_t *out = calloc (1, sizeof *out);
    if (!out)
        return NULL;
    *out = *in;
    out->fields = NULL;
    out->nfields = 0;
    if (in->kind == 'U') {
        out->kind = 'S';
        out->order = '|';
    }
    if (in->kind != 'V')
        return out;
    out->packed = true;
    out->itemsize = 0;
    out->fields = calloc (in->nfields, sizeof *out->fields);
    for (size_t i = 0; out->fields && i < in->nfields; i++) {
        sluice_field_t *field = &out->fields[out->nfields++];
        field->name = strdup (in->fields[i].name);
        field->type = leaving (in->fields[i].type);
        field->offset = out->itemsize;
        if (!field->name || !field->type)
            break;
        out->itemsize += sluice_dtype_size (field->type);
        if (i + 1 == in->nfields)
            return out;
    }
    sluice_dtype_destroy (&out);
    return NULL;
}

/* Put the axes behind the first in front of the element's own: they are a row. */
static int describe_row (npy_t *self, sluice_error_t *err)
{
    const npy_header_t *h = &self->header;
    sluice_dtype_t row = *self->out;
    unsigned more = h->ndim > 1 ? h->ndim - 1 : 0;
    self->per_row = 1;
    self->rows = h->ndim ? h->shape[0] : 1;
    if (more + row.ndim > SLUICE_MAX_DIMS)
        return sluice_fail (err, SLUICE_EINPUT, "an array of %u dimensions: at most %d",
                            h->ndim, SLUICE_MAX_DIMS + 1 - (int) row.ndim);
    memmove (row.dims + more, row.dims, row.ndim * sizeof *row.dims);
    for (unsigned i = 0; i < more; i++) {
        uint64_t dim = row.dims[i] = h->shape[i + 1];
        if (dim == 0)
            return sluice_fail (err, SLUICE_EINPUT,
                                "an array with a dimension of 0 behind the first: its "
                                "rows have no bytes");
        if (__builtin_mul_overflow (self->per_row, dim, &self->per_row) ||
            self->per_row > 1 << 30)
            return sluice_fail (err, SLUICE_EINPUT, "a row of more than 1 GiB");
    }
    row.ndim += more;
    self->text = sluice_dtype_text (&row);
    if (!self->text)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    /* The parser knows all limits. */
    sluice_dtype_t *again = sluice_dtype_parse (self->text, strlen (self->text), err);
    sluice_dtype_destroy (&again);
    return err->code == SLUICE_OK ? 0 : -1;
}

static int check_size (npy_t *self, sluice_error_t *err)
{
    uint64_t bytes;
    if (__builtin_mul_overflow (self->rows, self->per_row, &bytes) ||
        __builtin_mul_overflow (bytes, self->in_bytes, &bytes) ||
        self->map_bytes - self->header.bytes < bytes)
        return sluice_fail (err, SLUICE_EINPUT,
                            "a .npy file that is cut short: its shape and dtype ask for "
                            "more than its %zu bytes",
                            self->map_bytes);
    return 0;
}

npy_t *npy_open (int fd, sluice_error_t *err)
{
    struct stat st;
    sluice_error_t why = {0};
    npy_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->map = MAP_FAILED;
    if (fstat (fd, &st) < 0)
        sluice_fail (&why, SLUICE_ESYSTEM, "%s", strerror (errno));
    else if (st.st_size < 1)
        sluice_fail (&why, SLUICE_EINPUT, "not a .npy file: it is empty");
    else {
        self->map_bytes = (size_t) st.st_size;
        self->map = mmap (NULL, self->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (self->map == MAP_FAILED)
            sluice_fail (&why, SLUICE_ESYSTEM, "cannot be mapped: %s", strerror (errno));
    }
    if (why.code == SLUICE_OK &&
        npy_header (self->map, self->map_bytes, &self->header, &why) == 0) {
        self->out = leaving (self->header.dtype);
        if (!self->out)
            sluice_fail (&why, SLUICE_ESYSTEM, "out of memory");
        else if (describe_row (self, &why) == 0) {
            self->in_bytes = sluice_dtype_size (self->header.dtype);
            self->out_bytes = sluice_dtype_size (self->out);
            self->as_it_is = sluice_dtype_equal (self->header.dtype, self->out) &&
                             self->in_bytes == self->out_bytes &&
                             !(self->header.fortran && self->header.ndim > 1);
            if (check_size (self, &why) == 0)
                return self;
        }
    }
    npy_destroy (&self);
    if (err)
        *err = why;
    return NULL;
}

void npy_destroy (npy_t **self_p)
{
    npy_t *self = *self_p;
    if (!self)
        return;
    if (self->map != MAP_FAILED)
        munmap (self->map, self->map_bytes);
    npy_header_clear (&self->header);
    sluice_dtype_destroy (&self->out);
    free (self->text);
    free (self);
    *self_p = NULL;
}

uint64_t npy_rows (const npy_t *self)
{
    return self->rows;
}

const char *npy_dtype (const npy_t *self)
{
    return self->text;
}

size_t npy_row_bytes (const npy_t *self)
{
    return self->out_bytes * (size_t) self->per_row;
}

/* ---- elements ------------------------------------------------------------- */

/* `n` characters of 4 bytes as UTF-8; NULs at the end are none. */
static int encode (const uint8_t *in, size_t n, bool big, uint8_t *out)
{
    size_t used = 0, bytes = 4 * n;
    memset (out, 0, bytes);
    for (size_t i = 0; i < n; i++, in += 4) {
        uint32_t c = big ? (uint32_t) in[0] << 24 | (uint32_t) in[1] << 16 |
                               (uint32_t) in[2] << 8 | in[3]
                         : (uint32_t) in[3] << 24 | (uint32_t) in[2] << 16 |
                               (uint32_t) in[1] << 8 | in[0];
        if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return -1;
        if (c < 0x80)
            out[used++] = (uint8_t) c;
        else if (c < 0x800) {
            out[used++] = (uint8_t) (0xc0 | c >> 6);
            out[used++] = (uint8_t) (0x80 | (c & 0x3f));
        } else if (c < 0x10000) {
            out[used++] = (uint8_t) (0xe0 | c >> 12);
            out[used++] = (uint8_t) (0x80 | (c >> 6 & 0x3f));
            out[used++] = (uint8_t) (0x80 | (c & 0x3f));
        } else {
            out[used++] = (uint8_t) (0xf0 | c >> 18);
            out[used++] = (uint8_t) (0x80 | (c >> 12 & 0x3f));
            out[used++] = (uint8_t) (0x80 | (c >> 6 & 0x3f));
            out[used++] = (uint8_t) (0x80 | (c & 0x3f));
        }
    }
    return 0;
}

/* One element with its sub-array. */
static int convert (const sluice_dtype_t *from, const sluice_dtype_t *to,
                    const uint8_t *in, uint8_t *out)
{
    uint64_t times = 1;
    for (unsigned i = 0; i < from->ndim; i++)
        times *= from->dims[i];
    if (from->kind != 'V' && from->kind != 'U') {
        memcpy (out, in, from->itemsize * (size_t) times);
        return 0;
    }
    for (uint64_t k = 0; k < times; k++, in += from->itemsize, out += to->itemsize) {
        if (from->kind == 'U' && encode (in, from->itemsize / 4, from->order == '>', out))
            return -1;
        for (size_t i = 0; i < from->nfields; i++)
            if (convert (from->fields[i].type, to->fields[i].type,
                         in + from->fields[i].offset, out + to->fields[i].offset))
                return -1;
    }
    return 0;
}

/* Where element k of row i lies, in elements. */
static uint64_t place (const npy_header_t *h, uint64_t per_row, uint64_t row, uint64_t k)
{
    if (!h->fortran || h->ndim < 2)
        return row * per_row + k;
    uint64_t index[32], at = 0;
    index[0] = row;
    for (unsigned d = h->ndim - 1; d > 0; k /= h->shape[d], d--)
        index[d] = k % h->shape[d];
    for (unsigned d = h->ndim; d-- > 0;)
        at = at * h->shape[d] + index[d];
    return at;
}

int npy_read (const npy_t *self, uint64_t first, uint64_t n, void *out,
              sluice_error_t *err)
{
    const uint8_t *data = (const uint8_t *) self->map + self->header.bytes;
    uint8_t *to = out;
    if (self->as_it_is) {
        size_t row = npy_row_bytes (self);
        memcpy (out, data + first * row, (size_t) n * row);
        return 0;
    }
    for (uint64_t row = first; row < first + n; row++)
        for (uint64_t k = 0; k < self->per_row; k++, to += self->out_bytes) {
            uint64_t at = place (&self->header, self->per_row, row, k);
            if (convert (self->header.dtype, self->out, data + at * self->in_bytes, to))
                return sluice_fail (err, SLUICE_EINPUT,
                                    "row %llu has a string that is no Unicode text",
                                    (unsigned long long) row);
        }
    return 0;
}
