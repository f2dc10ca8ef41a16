/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/jobfile.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/msg.h"
#include "proto/text.h"

/* What goes on over lines, and what is a comment, is as Python's configparser has
 * it, since OpenQuake reads job files with that.
 *
 * A parameter's line is handed to inih as `NAME = @N`, N being the number of
 * its value here: so inih rules on sections, names and comments, while values
 * of any length, and any ';' in them, pass untouched. */
typedef struct {
    const char *at, *end; /* of the file's text that is still to be read */
    unsigned line;        /* of the text at `at` */
    unsigned first_line;  /* where the present logical line began */
    char **values;
    unsigned *lines;
    size_t n, room;
    const char *file;
    sluice_params_t *params;
    sluice_error_t *err;
    bool failed;
} reader_t;

enum { NAME_MAX_BYTES = 120, FILE_MAX_BYTES = 64 << 20 };

static bool is_space (char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_comment (const char *line, const char *end)
{
    while (line < end && is_space (*line))
        line++;
    return line < end && (*line == ';' || *line == '#');
}

static bool is_blank (const char *line, const char *end)
{
    while (line < end && is_space (*line))
        line++;
    return line == end;
}

static const char *line_end (const char *at, const char *end)
{
    const char *eol = memchr (at, '\n', (size_t) (end - at));
    return eol ? eol : end;
}

static int fail_at (reader_t *self, unsigned line, const char *what)
{
    self->failed = true;
    return sluice_fail (self->err, SLUICE_EINPUT, "%s:%u: %s", self->file, line, what);
}

/* Append [from, to) without white space at either end. */
static void append_trimmed (FILE *out, const char *from, const char *to)
{
    while (from < to && is_space (*from))
        from++;
    while (to > from && is_space (to[-1]))
        to--;
    fwrite (from, 1, (size_t) (to - from), out);
}

static size_t indent_of (const char *line, const char *end)
{
    size_t n = 0;
    while (line + n < end && is_space (line[n]))
        n++;
    return n;
}

/* The value that begins at `from` in the line that ends at `eol`, and goes on
 * over lines that begin further in than `indent`, where its name began; empty
 * lines between them belong to it. Moves self->at behind it. */
static char *take_value (reader_t *self, const char *from, const char *eol, size_t indent)
{
    char *text = NULL;
    size_t length = 0, empty = 0;
    FILE *out = open_memstream (&text, &length);
    if (!out)
        return NULL;
    append_trimmed (out, from, eol);
    for (;;) {
        self->at = eol < self->end ? eol + 1 : eol;
        self->line++;
        if (self->at >= self->end)
            break;
        eol = line_end (self->at, self->end);
        if (is_comment (self->at, eol))
            continue;
        if (is_blank (self->at, eol)) {
            empty++;
            continue;
        }
        if (indent_of (self->at, eol) <= indent)
            break;
        for (empty++; empty > 0; empty--)
            fputc ('\n', out);
        append_trimmed (out, self->at, eol);
    }
    return fclose (out) == 0 ? text : NULL;
}

static int keep_value (reader_t *self, char *value, unsigned line)
{
    if (self->n == self->room) {
        size_t room = self->room ? 2 * self->room : 64;
        char **values = realloc (self->values, room * sizeof *values);
        if (values)
            self->values = values;
        unsigned *lines = realloc (self->lines, room * sizeof *lines);
        if (lines)
            self->lines = lines;
        if (!values || !lines)
            return -1;
        self->room = room;
    }
    self->values[self->n] = value;
    self->lines[self->n++] = line;
    return 0;
}

/* inih's reader: one logical line a call, like fgets. */
static char *next_line (char *out, int size, void *stream)
{
    reader_t *self = stream;
    if (self->failed || self->at >= self->end)
        return NULL;
    const char *from = self->at, *eol = line_end (from, self->end);
    self->first_line = self->line;
    const char *text = from;
    while (text < eol && is_space (*text))
        text++;
    const char *equals = memchr (from, '=', (size_t) (eol - from)),
               *colon = memchr (from, ':', (size_t) (eol - from));
    const char *sep = equals && (!colon || equals < colon) ? equals : colon;
    if (is_blank (from, eol) || is_comment (from, eol) || *text == '[' || !sep) {
        self->at = eol < self->end ? eol + 1 : eol;
        self->line++;
        if (is_blank (from, eol) || is_comment (from, eol)) {
            snprintf (out, (size_t) size, "\n");
            return out;
        }
        if (*text != '[') {
            fail_at (self, self->first_line, "neither a [section] nor NAME = VALUE");
            return NULL;
        }
        /* A section means nothing, but must be one. */
        if (!memchr (text, ']', (size_t) (eol - text))) {
            fail_at (self, self->first_line, "a section without its ']'");
            return NULL;
        }
        snprintf (out, (size_t) size, "[section]\n");
        return out;
    }
    const char *name_end = sep;
    while (name_end > text && is_space (name_end[-1]))
        name_end--;
    if (name_end == text || name_end - text > NAME_MAX_BYTES) {
        fail_at (self, self->first_line,
                 name_end == text ? "a value without a name" : "a name that is too long");
        return NULL;
    }
    snprintf (out, (size_t) size, "%.*s = @%zu\n", (int) (name_end - text), text,
              self->n);
    char *value = take_value (self, sep + 1, eol, (size_t) (text - from));
    const char *wrong = !value                           ? "out of memory"
                        : strlen (value) > MSG_MAX_VALUE ? "a value of more than 1 MiB"
                        : self->n >= MSG_MAX_PARAMS      ? "more than 4,096 parameters"
                        : keep_value (self, value, self->first_line) ? "out of memory"
                                                                     : NULL;
    if (wrong) {
        free (value);
        fail_at (self, self->first_line, wrong);
        return NULL;
    }
    return out;
}

static int handle (void *user, const char *section, const char *name, const char *value)
{
    reader_t *self = user;
    (void) section;
    size_t i = (size_t) strtoul (value + 1, NULL, 10);
    if (value[0] != '@' || i >= self->n)
        return 0;
    if (sluice_params_get (self->params, name)) {
        self->failed = true;
        sluice_fail (self->err, SLUICE_EINPUT,
                     "%s:%u: %s is given twice, first in line %u", self->file,
                     self->lines[i], name, sluice_params_line (self->params, name));
        return 0;
    }
    if (sluice_params_set (self->params, name, self->values[i], self->lines[i],
                           self->err)) {
        self->failed = true;
        sluice_fail_at (self->err, "%s:%u", self->file, self->lines[i]);
        return 0;
    }
    return 1;
}

/* A copy with '\n' at the ends of lines, whichever of "\n", "\r\n" and "\r" they
 * have, and without a byte order mark. */
static char *plain_text (const char *text, size_t n, size_t *plain)
{
    char *out = malloc (n + 1);
    size_t from = n >= 3 && memcmp (text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, to = 0;
    for (size_t i = from; out && i < n; i++) {
        if (text[i] == '\r' && i + 1 < n && text[i + 1] == '\n')
            continue;
        out[to++] = text[i];
        if (text[i] == '\r')
            out[to - 1] = '\n';
    }
    *plain = to;
    return out;
}

/* Every line must be UTF-8. */
static int check_text (reader_t *self)
{
    unsigned line = 1;
    for (const char *at = self->at; at < self->end; line++) {
        const char *eol = line_end (at, self->end);
        if (!text_is_utf8 (at, (size_t) (eol - at)))
            return fail_at (self, line, "not a text in UTF-8");
        at = eol + 1;
    }
    return 0;
}

static sluice_params_t *parse (const char *text, size_t n, const char *file,
                               sluice_error_t *err)
{
    reader_t self = {.at = text, .end = text + n, .line = 1, .file = file, .err = err};
    if (check_text (&self) == -1)
        return NULL;
    self.params = sluice_params_new ();
    if (!self.params || sluice_params_set_file (self.params, file)) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        sluice_params_destroy (&self.params);
        return NULL;
    }
    int rc = ini_parse_stream (next_line, &self, handle, &self);
    if (rc != 0 && !self.failed)
        fail_at (&self, self.first_line, "not understood");
    if (!self.failed && sluice_params_count (self.params) == 0)
        fail_at (
            &self, 1,
            "there are no parameters in it: a kernel or a calculation_mode at least");
    for (size_t i = 0; i < self.n; i++)
        free (self.values[i]);
    free (self.values);
    free (self.lines);
    if (self.failed)
        sluice_params_destroy (&self.params);
    return self.params;
}

sluice_params_t *jobfile_parse (const char *text, size_t n, const char *file,
                                sluice_error_t *err)
{
    size_t plain_n;
    char *plain = plain_text (text, n, &plain_n);
    if (!plain) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    sluice_params_t *params = parse (plain, plain_n, file, err);
    free (plain);
    return params;
}

sluice_params_t *jobfile_read (const char *path, sluice_error_t *err)
{
    struct stat st;
    sluice_params_t *params = NULL;
    char *text = NULL;
    /* A pipe must not make us wait for somebody to write. */
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *f = fd == -1 ? NULL : fdopen (fd, "r");
    if (fd != -1 && !f)
        close (fd);
    if (!f || fstat (fileno (f), &st)) {
        sluice_fail (err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
        goto done;
    }
    if (!S_ISREG (st.st_mode) || st.st_size > FILE_MAX_BYTES) {
        sluice_fail (err, SLUICE_EINPUT, "%s: %s, not a job file", path,
                     S_ISDIR (st.st_mode)   ? "a folder"
                     : S_ISREG (st.st_mode) ? "larger than 64 MiB"
                                            : "not a regular file");
        goto done;
    }
    size_t size = (size_t) st.st_size;
    text = malloc (size + 1);
    if (!text || fread (text, 1, size, f) != size) {
        sluice_fail (err, SLUICE_EINPUT, "%s: cannot be read", path);
        goto done;
    }
    params = jobfile_parse (text, size, path, err);
done:
    free (text);
    if (f)
        fclose (f);
    return params;
}
