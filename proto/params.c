/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* newlocale, uselocale */
#include "sluice/params.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/text.h"

typedef struct {
    char *name, *value;
    unsigned line;
} param_t;

struct sluice_params {
    param_t *items; /* in the order given; a job has some dozens */
    size_t count, room;
    char *file;
};

sluice_params_t *sluice_params_new (void)
{
    return calloc (1, sizeof (sluice_params_t));
}

void sluice_params_destroy (sluice_params_t **self_p)
{
    sluice_params_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->count; i++) {
        free (self->items[i].name);
        free (self->items[i].value);
    }
    free (self->items);
    free (self->file);
    free (self);
    *self_p = NULL;
}

static param_t *find (const sluice_params_t *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp (self->items[i].name, name) == 0)
            return &self->items[i];
    return NULL;
}

static int no_memory (sluice_error_t *err)
{
    return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a parameter");
}

int sluice_params_set (sluice_params_t *self, const char *name, const char *value,
                       unsigned line, sluice_error_t *err)
{
    if (!name[0])
        return sluice_fail (err, SLUICE_EINPUT, "%s:%u: a parameter without a name",
                            sluice_params_file (self), line);
    param_t *param = find (self, name);
    if (!param && self->count == self->room) {
        size_t room = self->room ? 2 * self->room : 16;
        param_t *items = realloc (self->items, room * sizeof *items);
        if (!items)
            return no_memory (err);
        self->items = items;
        self->room = room;
    }
    char *new_value = strdup (value);
    char *new_name = param ? param->name : strdup (name);
    if (!new_value || !new_name) {
        free (new_value);
        if (!param)
            free (new_name);
        return no_memory (err);
    }
    if (param)
        free (param->value);
    else
        param = &self->items[self->count++];
    *param = (param_t){.name = new_name, .value = new_value, .line = line};
    return 0;
}

size_t sluice_params_count (const sluice_params_t *self)
{
    return self->count;
}

const char *sluice_params_name_at (const sluice_params_t *self, size_t i)
{
    return i < self->count ? self->items[i].name : NULL;
}

const char *sluice_params_value_at (const sluice_params_t *self, size_t i)
{
    return i < self->count ? self->items[i].value : NULL;
}

const char *sluice_params_get (const sluice_params_t *self, const char *name)
{
    const param_t *param = find (self, name);
    return param ? param->value : NULL;
}

unsigned sluice_params_line (const sluice_params_t *self, const char *name)
{
    const param_t *param = find (self, name);
    return param ? param->line : 0;
}

const char *sluice_params_file (const sluice_params_t *self)
{
    return self->file ? self->file : "";
}

int sluice_params_set_file (sluice_params_t *self, const char *file)
{
    char *copy = strdup (file);
    if (!copy)
        return -1;
    free (self->file);
    self->file = copy;
    return 0;
}

int sluice_params_u64 (const sluice_params_t *self, const char *name, uint64_t *value,
                       sluice_error_t *err)
{
    const char *text = sluice_params_get (self, name);
    if (!text)
        return 0;
    size_t n = strlen (text);
    uint64_t number;
    if (n == 0 || text_number (text, n, UINT64_MAX, &number) != n)
        return sluice_params_fail (self, name, err,
                                   "expected a whole number >= 0, got '%.100s'", text);
    *value = number;
    return 0;
}

/* The whole of `text` as a finite number, with '.' whatever the locale. */
static bool parse_double (const char *text, double *value)
{
    /* strtod would also take blanks, hexadecimals, "inf" and "nan". */
    if (!text[0] || text[strspn (text, "0123456789+-.eE")])
        return false;
    locale_t plain = newlocale (LC_ALL_MASK, "C", (locale_t) 0);
    if (!plain)
        return false;
    locale_t before = uselocale (plain);
    char *end;
    double number = strtod (text, &end);
    uselocale (before);
    freelocale (plain);
    if (end == text || *end || !isfinite (number))
        return false;
    *value = number;
    return true;
}

int sluice_params_f64 (const sluice_params_t *self, const char *name, double *value,
                       sluice_error_t *err)
{
    const char *text = sluice_params_get (self, name);
    if (text && !parse_double (text, value))
        return sluice_params_fail (self, name, err, "expected a number, got '%.100s'",
                                   text);
    return 0;
}

/* "64M": a whole number and at most one letter. */
static bool parse_size (const char *text, uint64_t *value)
{
    static const char letters[] = "KMGT";
    size_t n = strlen (text);
    uint64_t number;
    size_t digits = text_number (text, n, UINT64_MAX, &number);
    if (digits == 0 || n > digits + 1)
        return false;
    if (n == digits + 1) {
        const char *letter = strchr (letters, text[digits] & ~0x20); /* either case */
        if (!letter || !(text[digits] & 0x40))
            return false;
        unsigned shift = 10 * (unsigned) (letter - letters + 1);
        if (number > UINT64_MAX >> shift)
            return false;
        number <<= shift;
    }
    *value = number;
    return true;
}

int sluice_params_size (const sluice_params_t *self, const char *name, uint64_t *value,
                        sluice_error_t *err)
{
    const char *text = sluice_params_get (self, name);
    if (text && !parse_size (text, value))
        return sluice_params_fail (
            self, name, err, "expected a size in bytes such as 64M or 2G, got '%.100s'",
            text);
    return 0;
}

int sluice_params_fail (const sluice_params_t *self, const char *name,
                        sluice_error_t *err, const char *format, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    const char *file = sluice_params_file (self);
    unsigned line = sluice_params_line (self, name);
    if (file[0] && line)
        return sluice_fail (err, SLUICE_EINPUT, "%s:%u: %s: %s", file, line, name, text);
    if (file[0])
        return sluice_fail (err, SLUICE_EINPUT, "%s: %s: %s", file, name, text);
    return sluice_fail (err, SLUICE_EINPUT, "%s: %s", name, text);
}
