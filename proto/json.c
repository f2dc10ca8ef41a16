/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/text.h"

/* ---- writing ------------------------------------------------------------ */

void json_begin (json_out_t *self, size_t most)
{
    *self = (json_out_t){.most = most};
}

static bool reserve (json_out_t *self, size_t more)
{
    if (self->full || more > self->most - self->used) {
        self->full = true;
        return false;
    }
    if (self->used + more < self->room)
        return true;
    size_t room = 2 * self->room + more + 256;
    char *grown = realloc (self->text, room);
    if (!grown) {
        self->full = true;
        return false;
    }
    self->text = grown;
    self->room = room;
    return true;
}

void json_add (json_out_t *self, const char *format, ...)
{
    va_list args, again;
    va_start (args, format);
    va_copy (again, args);
    int n = vsnprintf (NULL, 0, format, args);
    if (n >= 0 && reserve (self, (size_t) n)) {
        vsnprintf (self->text + self->used, (size_t) n + 1, format, again);
        self->used += (size_t) n;
    }
    va_end (again);
    va_end (args);
}

static void add_bytes (json_out_t *self, const char *bytes, size_t n)
{
    if (!reserve (self, n))
        return;
    memcpy (self->text + self->used, bytes, n);
    self->used += n;
    self->text[self->used] = '\0';
}

void json_add_text (json_out_t *self, const char *text)
{
    char *clean = strdup (text ? text : "");
    if (!clean) {
        self->full = true;
        return;
    }
    text_make_utf8 (clean);
    add_bytes (self, "\"", 1);
    for (const char *p = clean; *p;) {
        size_t plain = 0;
        while ((unsigned char) p[plain] >= 0x20 && p[plain] != '"' && p[plain] != '\\')
            plain++;
        add_bytes (self, p, plain);
        p += plain;
        if (*p == '"' || *p == '\\')
            json_add (self, "\\%c", *p++);
        else if (*p)
            json_add (self, "\\u%04x", (unsigned) (unsigned char) *p++);
    }
    add_bytes (self, "\"", 1);
    free (clean);
}

void json_cut (json_out_t *self, size_t used)
{
    if (used > self->used)
        return;
    self->used = used;
    self->full = false;
    if (self->text)
        self->text[used] = '\0';
}

char *json_end (json_out_t *self)
{
    char *text = self->text;
    if (self->full) {
        free (text);
        text = NULL;
    }
    *self = (json_out_t){0};
    return text;
}

/* ---- reading ------------------------------------------------------------ */

static const char *skip_space (const char *p)
{
    return p + strspn (p, " \t\r\n");
}

static bool is_digit (char c)
{
    return c >= '0' && c <= '9';
}

/* Each `pass_` returns what follows, or NULL if there is no such thing. */

static const char *pass_digits (const char *p)
{
    if (!is_digit (*p))
        return NULL;
    while (is_digit (*p))
        p++;
    return p;
}

static const char *pass_number (const char *p)
{
    if (*p == '-')
        p++;
    p = *p == '0' ? p + 1 : pass_digits (p);
    if (p && *p == '.')
        p = pass_digits (p + 1);
    if (p && (*p == 'e' || *p == 'E')) {
        p++;
        p = pass_digits (*p == '+' || *p == '-' ? p + 1 : p);
    }
    return p;
}

static const char *pass_string (const char *p)
{
    uint8_t code[2];
    if (*p++ != '"')
        return NULL;
    for (; *p != '"'; p++) {
        if ((unsigned char) *p < 0x20)
            return NULL; /* the end of the text, too */
        if (*p != '\\')
            continue;
        p++;
        if (*p == 'u') {
            if (strnlen (p + 1, 4) < 4 || !text_unhex (p + 1, 2, code))
                return NULL;
            p += 4;
        } else if (!*p || !strchr ("\"\\/bfnrt", *p)) {
            return NULL;
        }
    }
    return p + 1;
}

static const char *pass_value (const char *p, unsigned depth);

/* The inside of an array or object behind its bracket. */
static const char *pass_items (const char *p, char end, unsigned depth)
{
    p = skip_space (p);
    if (*p == end)
        return p + 1;
    for (;;) {
        if (end == '}') {
            p = pass_string (skip_space (p));
            if (!p || *(p = skip_space (p)) != ':')
                return NULL;
            p++;
        }
        p = pass_value (p, depth);
        if (!p)
            return NULL;
        p = skip_space (p);
        if (*p == end)
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
}

static const char *pass_value (const char *p, unsigned depth)
{
    static const char *const words[] = {"true", "false", "null"};
    p = skip_space (p);
    if (*p == '"')
        return pass_string (p);
    if (*p == '{' || *p == '[')
        return depth ? pass_items (p + 1, *p == '{' ? '}' : ']', depth - 1) : NULL;
    for (size_t i = 0; i < 3; i++)
        if (strncmp (p, words[i], strlen (words[i])) == 0)
            return p + strlen (words[i]);
    return pass_number (p);
}

bool json_is_sound (const char *text)
{
    if (!text || !text_is_utf8 (text, strlen (text)))
        return false;
    const char *end = pass_value (text, JSON_DEPTH);
    return end && *skip_space (end) == '\0';
}

const char *json_member (const char *value, const char *name)
{
    if (!value || *(value = skip_space (value)) != '{')
        return NULL;
    const char *p = skip_space (value + 1);
    size_t n = strlen (name);
    while (p && *p == '"') {
        const char *key = p + 1, *after = pass_string (p);
        if (!after)
            return NULL;
        bool same = (size_t) (after - key - 1) == n && strncmp (key, name, n) == 0;
        p = skip_space (skip_space (after) + 1); /* behind the colon */
        if (same)
            return p;
        p = pass_value (p, JSON_DEPTH);
        if (p && *(p = skip_space (p)) == ',')
            p = skip_space (p + 1);
    }
    return NULL;
}

const char *json_first (const char *value)
{
    if (!value || *(value = skip_space (value)) != '[')
        return NULL;
    value = skip_space (value + 1);
    return *value == ']' ? NULL : value;
}

const char *json_after (const char *element)
{
    const char *p = element ? pass_value (element, JSON_DEPTH) : NULL;
    return p && *(p = skip_space (p)) == ',' ? skip_space (p + 1) : NULL;
}

/* The character of an escape at `p` (behind its backslash), as UTF-8 in `out`. */
static size_t unescape (const char **p, char out[4])
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *at = strchr (from, **p);
    uint8_t code[2];
    if (**p != 'u') {
        *out = at ? to[at - from] : **p;
        *p += 1;
        return 1;
    }
    text_unhex (*p + 1, 2, code);
    *p += 5;
    unsigned c = (unsigned) code[0] << 8 | code[1];
    if (c < 0x80) {
        *out = (char) c;
        return 1;
    }
    if (c >= 0xd800 && c < 0xe000) { /* half of a pair: nobody here sends these */
        *out = '?';
        return 1;
    }
    size_t n = 0;
    if (c >= 0x800) {
        out[n++] = (char) (0xe0 | c >> 12);
        out[n++] = (char) (0x80 | (c >> 6 & 0x3f));
    } else {
        out[n++] = (char) (0xc0 | c >> 6);
    }
    out[n++] = (char) (0x80 | (c & 0x3f));
    return n;
}

bool json_string (const char *value, char *out, size_t size)
{
    size_t used = 0;
    *out = '\0';
    if (!value || *(value = skip_space (value)) != '"')
        return false;
    for (const char *p = value + 1; *p && *p != '"';) {
        char wide[4];
        size_t n = 1;
        if (*p == '\\') {
            p++;
            n = unescape (&p, wide);
        } else {
            *wide = *p++;
            while (((unsigned char) *p & 0xc0) == 0x80 && n < sizeof wide)
                wide[n++] = *p++;
        }
        if (n == 1 && ((unsigned char) *wide < 0x20 || *wide == 0x7f))
            *wide = '?';
        if (used + n >= size)
            break;
        memcpy (out + used, wide, n);
        used += n;
    }
    out[used] = '\0';
    return true;
}

double json_number (const char *value)
{
    if (!value)
        return 0;
    value = skip_space (value);
    return *value == '-' || is_digit (*value) ? strtod (value, NULL) : 0;
}

uint64_t json_count (const char *value)
{
    uint64_t number = 0;
    if (value) {
        value = skip_space (value);
        text_number (value, strlen (value), UINT64_MAX, &number);
    }
    return number;
}

bool json_is_true (const char *value)
{
    return value && strncmp (skip_space (value), "true", 4) == 0;
}
