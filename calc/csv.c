/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/csv.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Far more than any site model, and no more than the master may hold. */
#define MAX_FILE ((size_t) 1 << 30)

struct csv {
    char *file;
    char *text; /* fields are cut out of it in place */
    char *cursor;
    char *end;
    unsigned line;      /* of the present row */
    unsigned next_line; /* of the cursor */
    size_t columns;
    char **names;
    char **fields;
};

char *csv_load (const char *path, size_t limit, size_t *length, sluice_error_t *err)
{
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        sluice_fail (err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
        return NULL;
    }
    char *text = NULL;
    struct stat st;
    if (fstat (fd, &st) != 0)
        sluice_fail (err, SLUICE_ESYSTEM, "%s: %s", path, strerror (errno));
    else if (!S_ISREG (st.st_mode))
        sluice_fail (err, SLUICE_EINPUT, "%s: is not a file", path);
    else if ((uint64_t) st.st_size > limit)
        sluice_fail (err, SLUICE_EINPUT, "%s: is larger than %zu MiB", path, limit >> 20);
    else if (!(text = malloc ((size_t) st.st_size + 1)))
        sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", path);
    size_t used = 0;
    while (text && used < (size_t) st.st_size) {
        ssize_t n = read (fd, text + used, (size_t) st.st_size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            sluice_fail (err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
            free (text);
            text = NULL;
        }
        if (n <= 0)
            break;
        used += (size_t) n;
    }
    if (text) {
        text[used] = '\0';
        *length = used;
    }
    close (fd);
    return text;
}

bool csv_number (const char *text, const char **end, double *value)
{
    while (isspace ((unsigned char) *text))
        text++;
    const char *p = text + (*text == '-' || *text == '+');
    if (!isdigit ((unsigned char) p[0]) &&
        !(p[0] == '.' && isdigit ((unsigned char) p[1])))
        return false;
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
        return false;
    char *stop;
    *value = strtod (text, &stop);
    *end = stop;
    return isfinite (*value);
}

static int fail_at (const csv_t *self, sluice_error_t *err, unsigned line,
                    const char *what)
{
    return sluice_fail (err, SLUICE_EINPUT, "%s:%u: %s", self->file, line, what);
}

int csv_fail (const csv_t *self, sluice_error_t *err, const char *format, ...)
{
    char text[600];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    return fail_at (self, err, self->line, text);
}

/* Skip empty lines and comments. False at the end of the text. */
static bool find_row (csv_t *self)
{
    while (self->cursor < self->end) {
        char *p = self->cursor;
        while (p < self->end && (*p == ' ' || *p == '\t' || *p == '\r'))
            p++;
        if (p < self->end && *p != '#' && *p != '\n')
            return true;
        char *newline = p < self->end ? memchr (p, '\n', (size_t) (self->end - p)) : NULL;
        self->cursor = newline ? newline + 1 : self->end;
        self->next_line++;
    }
    return false;
}

/* Cut a quoted field whose opening quote is at the cursor. */
static char *cut_quoted (csv_t *self, sluice_error_t *err)
{
    char *start = ++self->cursor, *out = start;
    for (;; self->cursor++) {
        if (self->cursor == self->end) {
            fail_at (self, err, self->line, "a quote is not closed");
            return NULL;
        }
        if (*self->cursor == '"') {
            if (self->cursor + 1 == self->end || self->cursor[1] != '"')
                break;
            self->cursor++;
        }
        if (*self->cursor == '\n')
            self->next_line++;
        *out++ = *self->cursor;
    }
    self->cursor++;
    while (self->cursor < self->end && strchr (" \t\r", *self->cursor))
        self->cursor++;
    if (self->cursor < self->end && *self->cursor != ',' && *self->cursor != '\n') {
        fail_at (self, err, self->next_line, "text behind a closing quote");
        return NULL;
    }
    *out = '\0'; /* on the closing quote or before it */
    return start;
}

/* Cut the field at the cursor; leave the cursor on what ends it. */
static char *cut_field (csv_t *self, sluice_error_t *err)
{
    while (self->cursor < self->end && (*self->cursor == ' ' || *self->cursor == '\t'))
        self->cursor++;
    if (self->cursor < self->end && *self->cursor == '"')
        return cut_quoted (self, err);
    char *start = self->cursor;
    while (self->cursor < self->end && *self->cursor != ',' && *self->cursor != '\n') {
        if (*self->cursor == '"') {
            fail_at (self, err, self->line, "a quote inside a field");
            return NULL;
        }
        self->cursor++;
    }
    return start;
}

static void trim (char *start, char *stop)
{
    while (stop > start && isspace ((unsigned char) stop[-1]))
        stop--;
    *stop = '\0';
}

/* Cut one row into at most `most` fields; returns their number or -1. */
static int cut_row (csv_t *self, char **fields, size_t most, sluice_error_t *err)
{
    size_t n = 0;
    self->line = self->next_line;
    for (;;) {
        bool quoted;
        char *p = self->cursor;
        while (p < self->end && (*p == ' ' || *p == '\t'))
            p++;
        quoted = p < self->end && *p == '"';
        char *field = cut_field (self, err);
        if (!field)
            return -1;
        if (n == most) {
            fail_at (self, err, self->line, "too many fields");
            return -1;
        }
        bool more = self->cursor < self->end && *self->cursor == ',';
        if (!quoted)
            trim (field, self->cursor);
        fields[n++] = field;
        if (self->cursor < self->end)
            self->cursor++;
        if (!more)
            break;
    }
    self->next_line++;
    return (int) n;
}

static int read_header (csv_t *self, sluice_error_t *err)
{
    if (self->end - self->text >= 3 && !memcmp (self->text, "\xef\xbb\xbf", 3))
        self->cursor += 3;
    const char *nul = memchr (self->text, '\0', (size_t) (self->end - self->text));
    if (nul) {
        unsigned line = 1;
        for (const char *p = self->text; p < nul; p++)
            line += *p == '\n';
        return fail_at (self, err, line, "a zero byte: this is not text");
    }
    if (!find_row (self)) {
        self->line = self->next_line;
        return fail_at (self, err, self->line, "no header line");
    }
    int n = cut_row (self, self->names, CSV_MAX_COLUMNS, err);
    if (n < 0)
        return -1;
    self->columns = (size_t) n;
    for (size_t i = 0; i < self->columns; i++) {
        if (!*self->names[i])
            return csv_fail (self, err, "column %zu of the header has no name", i + 1);
        for (size_t j = 0; j < i; j++)
            if (!strcmp (self->names[i], self->names[j]))
                return csv_fail (self, err, "column '%s' comes twice", self->names[i]);
    }
    return 0;
}

/* Takes over `text`. */
static csv_t *csv_new (char *text, size_t length, const char *name, sluice_error_t *err)
{
    csv_t *self = calloc (1, sizeof *self);
    if (self) {
        self->file = strdup (name);
        self->names = calloc (CSV_MAX_COLUMNS, sizeof *self->names);
        self->fields = calloc (CSV_MAX_COLUMNS, sizeof *self->fields);
        self->text = self->cursor = text;
        self->end = text + length;
        self->next_line = 1;
    }
    if (!self || !self->file || !self->names || !self->fields) {
        sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", name);
        if (!self)
            free (text);
        csv_destroy (&self);
        return NULL;
    }
    if (read_header (self, err) != 0)
        csv_destroy (&self);
    return self;
}

csv_t *csv_open (const char *path, sluice_error_t *err)
{
    size_t length;
    char *text = csv_load (path, MAX_FILE, &length, err);
    return text ? csv_new (text, length, path, err) : NULL;
}

csv_t *csv_from_text (const char *text, size_t length, const char *name,
                      sluice_error_t *err)
{
    char *copy = malloc (length + 1);
    if (!copy) {
        sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", name);
        return NULL;
    }
    memcpy (copy, text, length);
    copy[length] = '\0';
    return csv_new (copy, length, name, err);
}

void csv_destroy (csv_t **self_p)
{
    csv_t *self = *self_p;
    if (!self)
        return;
    free (self->file);
    free (self->text);
    free (self->names);
    free (self->fields);
    free (self);
    *self_p = NULL;
}

size_t csv_columns (const csv_t *self)
{
    return self->columns;
}

const char *csv_name (const csv_t *self, size_t column)
{
    return self->names[column];
}

int csv_column (const csv_t *self, const char *name)
{
    for (size_t i = 0; i < self->columns; i++)
        if (!strcmp (self->names[i], name))
            return (int) i;
    return -1;
}

int csv_next (csv_t *self, sluice_error_t *err)
{
    if (!find_row (self))
        return 0;
    int n = cut_row (self, self->fields, CSV_MAX_COLUMNS, err);
    if (n < 0)
        return -1;
    if ((size_t) n != self->columns)
        return csv_fail (self, err, "%d field%s, the header has %zu", n,
                         n == 1 ? "" : "s", self->columns);
    return 1;
}

unsigned csv_line (const csv_t *self)
{
    return self->line;
}

const char *csv_text (const csv_t *self, size_t column)
{
    return self->fields[column];
}

int csv_f64 (const csv_t *self, size_t column, double *value, sluice_error_t *err)
{
    const char *end, *text = self->fields[column];
    if (!csv_number (text, &end, value) || *end)
        return csv_fail (self, err, "%s: '%.40s' is not a number", self->names[column],
                         text);
    return 0;
}

const char *csv_file (const csv_t *self)
{
    return self->file;
}
