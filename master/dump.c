/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/dump.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- .npy ------------------------------------------------------------------ */

/* A text in Python's quotes. */
static void put_text (FILE *out, const char *text)
{
    fputc ('\'', out);
    for (const char *p = text; *p; p++)
        if (*p == '\'' || *p == '\\')
            fprintf (out, "\\%c", *p);
        else if ((unsigned char) *p < 0x20)
            fprintf (out, "\\x%02x", (unsigned) *p);
        else
            fputc (*p, out);
    fputc ('\'', out);
}

static void put_shape (FILE *out, unsigned ndim, const uint64_t *shape)
{
    fputc ('(', out);
    for (unsigned i = 0; i < ndim; i++)
        fprintf (out, "%s%llu", i ? ", " : "", (unsigned long long) shape[i]);
    fputs (ndim == 1 ? ",)" : ")", out);
}

/* As numpy.lib.format.dtype_to_descr has it; sub-array dimensions apart. */
static void put_descr (FILE *out, const sluice_dtype_t *dtype)
{
    if (dtype->kind != 'V') {
        size_t size = dtype->kind == 'U' ? dtype->itemsize / 4 : dtype->itemsize;
        fprintf (out, "'%c%c%zu", dtype->order, dtype->kind, size);
        fprintf (out, dtype->unit[0] ? "[%s]'" : "%s'", dtype->unit);
        return;
    }
    size_t at = 0;
    fputc ('[', out);
    for (size_t i = 0; i < dtype->nfields; i++) {
        const sluice_field_t *f = &dtype->fields[i];
        if (f->offset > at)
            fprintf (out, "('', '|V%zu'), ", f->offset - at);
        fputc ('(', out);
        put_text (out, f->name);
        fputs (", ", out);
        put_descr (out, f->type);
        if (f->type->ndim) {
            fputs (", ", out);
            put_shape (out, f->type->ndim, f->type->dims);
        }
        fputs ("), ", out);
        at = f->offset + sluice_dtype_size (f->type);
    }
    if (dtype->itemsize > at)
        fprintf (out, "('', '|V%zu'), ", dtype->itemsize - at);
    fputc (']', out);
}

int dump_npy_header (FILE *out, const sluice_dtype_t *dtype, unsigned ndim,
                     const uint64_t *shape, sluice_error_t *err)
{
    char *text = NULL;
    size_t n = 0;
    uint64_t all[2 * SLUICE_MAX_DIMS];
    FILE *header = open_memstream (&text, &n);
    if (!header)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    memcpy (all, shape, ndim * sizeof *shape);
    memcpy (all + ndim, dtype->dims, dtype->ndim * sizeof *shape);
    fputs ("{'descr': ", header);
    put_descr (header, dtype);
    fputs (", 'fortran_order': False, 'shape': ", header);
    put_shape (header, ndim + dtype->ndim, all);
    fputs (", }", header);
    if (fclose (header)) {
        free (text);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    /* Version 3.0 for names that are not Latin-1; data is aligned to 64 bytes. */
    bool ascii = true;
    for (size_t i = 0; i < n; i++)
        ascii = ascii && (unsigned char) text[i] < 0x80;
    size_t before = ascii && n < 65000 ? 10 : 12;
    size_t length = n + 1, pad = (64 - (before + length) % 64) % 64;
    length += pad;
    uint8_t start[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', before == 10 ? 1 : 3, 0};
    for (size_t i = 8; i < before; i++)
        start[i] = (uint8_t) (length >> 8 * (i - 8));
    fwrite (start, 1, before, out);
    fwrite (text, 1, n, out);
    fprintf (out, "%*s\n", (int) pad, "");
    free (text);
    return 0;
}

/* ---- CSV ------------------------------------------------------------------- */

typedef struct {
    FILE *out;
    bool any; /* a column was written in this line */
} line_t;

static void comma (line_t *line)
{
    if (line->any)
        fputc (',', line->out);
    line->any = true;
}

static void put_quoted (FILE *out, const char *text, size_t n)
{
    bool plain = true;
    for (size_t i = 0; i < n; i++)
        plain = plain && !strchr (",\"\r\n", text[i]) && text[i];
    if (plain && n > 0 && text[0] != ' ' && text[n - 1] != ' ' && text[0] != '#') {
        fwrite (text, 1, n, out);
        return;
    }
    if (n == 0)
        return;
    fputc ('"', out);
    for (size_t i = 0; i < n; i++)
        fprintf (out, text[i] == '"' ? "\"\"" : "%c", text[i]);
    fputc ('"', out);
}

static uint64_t elements (const sluice_dtype_t *dtype)
{
    uint64_t n = 1;
    for (unsigned i = 0; i < dtype->ndim; i++)
        n *= dtype->dims[i];
    return n;
}

static int put_names (line_t *line, const sluice_dtype_t *dtype, const char *prefix,
                      sluice_error_t *err)
{
    for (uint64_t k = 0; k < elements (dtype); k++) {
        char *name = NULL;
        int rc = dtype->ndim ? asprintf (&name, "%s%s%llu", prefix, *prefix ? "_" : "",
                                         (unsigned long long) k)
                             : asprintf (&name, "%s", prefix);
        if (rc < 0)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        rc = 0;
        if (dtype->kind != 'V') {
            comma (line);
            put_quoted (line->out, *name ? name : "value", *name ? strlen (name) : 5);
        }
        for (size_t i = 0; rc == 0 && i < dtype->nfields; i++) {
            char *inner = NULL;
            if (asprintf (&inner, "%s%s%s", name, *name ? "." : "",
                          dtype->fields[i].name) < 0)
                rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
            else
                rc = put_names (line, dtype->fields[i].type, inner, err);
            free (inner);
        }
        free (name);
        if (rc)
            return rc;
    }
    return 0;
}

int dump_csv_header (FILE *out, const sluice_dtype_t *dtype, sluice_error_t *err)
{
    line_t line = {.out = out};
    int rc = put_names (&line, dtype, "", err);
    fputc ('\n', out);
    return rc;
}

/* A number of up to 16 bytes in this machine's order. */
static void in_order (const sluice_dtype_t *dtype, size_t size, const uint8_t *in,
                      uint8_t *out)
{
    for (size_t i = 0; i < size; i++)
        out[i] = in[dtype->order == '>' ? size - 1 - i : i];
}

static double half (uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return fraction != 0 ? (double) NAN : sign * HUGE_VAL;
    return sign *
           (exponent ? ldexp (1024 + fraction, exponent - 25) : ldexp (fraction, -24));
}

/* The shortest that reads back as the same. */
static void put_float (FILE *out, const sluice_dtype_t *dtype, size_t size,
                       const uint8_t *data)
{
    union {
        uint8_t bytes[16];
        uint16_t half;
        float f;
        double d;
        long double l;
    } u = {{0}};
    char text[64];
    in_order (dtype, size, data, u.bytes);
    if (size == 16) {
        fprintf (out, "%.21Lg", u.l);
        return;
    }
    double value = size == 2 ? half (u.half) : size == 4 ? (double) u.f : u.d;
    for (int digits = size == 8   ? 15
                      : size == 4 ? 6
                                  : 3;
         digits <= (size == 8   ? 17
                    : size == 4 ? 9
                                : 5);
         digits++) {
        snprintf (text, sizeof text, "%.*g", digits, value);
        double back = strtod (text, NULL);
        if (isnan (value) || (size == 4 ? strtof (text, NULL) == u.f : back == value))
            break;
    }
    fputs (isnan (value) ? "nan" : text, out);
}

static uint64_t integer (const sluice_dtype_t *dtype, const uint8_t *data)
{
    uint8_t bytes[16] = {0};
    uint64_t value = 0;
    in_order (dtype, dtype->itemsize, data, bytes);
    for (size_t i = dtype->itemsize; i-- > 0;)
        value = value << 8 | bytes[i];
    if (dtype->kind != 'u' && dtype->itemsize < 8 && bytes[dtype->itemsize - 1] >> 7)
        value |= ~UINT64_C (0) << 8 * dtype->itemsize;
    return value;
}

/* Days since 1970 to a date (proleptic Gregorian; H. Hinnant, "chrono-compatible
 * low-level date algorithms"). */
static void put_date (FILE *out, int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    int64_t day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
    fprintf (out, "%04lld-%02lld-%02lld",
             (long long) (yoe + era * 400 + (month <= 2 ? 1 : 0)), (long long) month,
             (long long) day);
}

static void put_time (FILE *out, const sluice_dtype_t *dtype, int64_t value)
{
    static const struct {
        const char *unit;
        int64_t per_day, per_second;
        int digits;
    } units[] = {{"h", 24, 0, 0},
                 {"m", 1440, 0, 0},
                 {"s", 86400, 1, 0},
                 {"ms", 86400000, 1000, 3},
                 {"us", 86400000000, 1000000, 6},
                 {"ns", 86400000000000, 1000000000, 9}};
    if (value == INT64_MIN)
        return;
    if (dtype->kind == 'M' && strcmp (dtype->unit, "D") == 0 && llabs (value) < 1 << 30) {
        put_date (out, value);
        return;
    }
    for (size_t i = 0; dtype->kind == 'M' && i < sizeof units / sizeof *units; i++)
        if (strcmp (dtype->unit, units[i].unit) == 0) {
            int64_t days = value / units[i].per_day, rest = value % units[i].per_day;
            if (rest < 0) {
                rest += units[i].per_day;
                days--;
            }
            if (llabs (days) >= 1 << 30)
                break;
            put_date (out, days);
            int64_t per = units[i].per_second,
                    seconds = per ? rest / per : rest * (86400 / units[i].per_day);
            fprintf (out, "T%02d:%02d:%02d", (int) (seconds / 3600),
                     (int) (seconds / 60 % 60), (int) (seconds % 60));
            if (units[i].digits)
                fprintf (out, ".%0*lld", units[i].digits, (long long) (rest % per));
            return;
        }
    fprintf (out, "%lld", (long long) value);
}

static void put_value (FILE *out, const sluice_dtype_t *dtype, const uint8_t *data)
{
    size_t n = dtype->itemsize;
    switch (dtype->kind) {
    case 'b':
        fputs (data[0] ? "True" : "False", out);
        return;
    case 'i':
        fprintf (out, "%lld", (long long) integer (dtype, data));
        return;
    case 'u':
        fprintf (out, "%llu", (unsigned long long) integer (dtype, data));
        return;
    case 'f':
        put_float (out, dtype, n, data);
        return;
    case 'c':
        put_float (out, dtype, n / 2, data);
        if (!(data[dtype->order == '>' ? n / 2 : n - 1] >> 7))
            fputc ('+', out);
        put_float (out, dtype, n / 2, data + n / 2);
        fputc ('j', out);
        return;
    case 'M':
    case 'm':
        put_time (out, dtype, (int64_t) integer (dtype, data));
        return;
    default: /* S */
        while (n > 0 && data[n - 1] == '\0')
            n--;
        put_quoted (out, (const char *) data, n);
        return;
    }
}

static void put_element (line_t *line, const sluice_dtype_t *dtype, const uint8_t *data)
{
    for (uint64_t k = 0; k < elements (dtype); k++, data += dtype->itemsize) {
        if (dtype->kind != 'V') {
            comma (line);
            put_value (line->out, dtype, data);
        }
        for (size_t i = 0; i < dtype->nfields; i++)
            put_element (line, dtype->fields[i].type, data + dtype->fields[i].offset);
    }
}

int dump_csv_row (FILE *out, const sluice_dtype_t *dtype, const void *row,
                  sluice_error_t *err)
{
    line_t line = {.out = out};
    put_element (&line, dtype, row);
    fputc ('\n', out);
    return ferror (out) ? sluice_fail (err, SLUICE_EOUTPUT, "cannot be written") : 0;
}
