/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "sluice/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/text.h"

static void make_printable (char *text)
{
    text_make_utf8 (text); /* it may be cut within a character */
    text_make_plain (text);
}

int sluice_fail (sluice_error_t *err, sluice_code_t code, const char *format, ...)
{
    if (!err)
        return -1;
    va_list args;
    va_start (args, format);
    err->code = code;
    vsnprintf (err->text, sizeof err->text, format, args);
    va_end (args);
    make_printable (err->text);
    return -1;
}

int sluice_fail_at (sluice_error_t *err, const char *format, ...)
{
    if (!err)
        return -1;
    char old[sizeof err->text];
    memcpy (old, err->text, sizeof old);
    va_list args;
    va_start (args, format);
    int used = vsnprintf (err->text, sizeof err->text, format, args);
    va_end (args);
    if (used >= 0 && (size_t) used < sizeof err->text) {
        size_t left = sizeof err->text - (size_t) used;
        if (snprintf (err->text + used, left, ": %s", old) < 0)
            err->text[used] = 0;
    }
    make_printable (err->text);
    return -1;
}

int sluice_exit_status (const sluice_error_t *err)
{
    return (int) err->code >= 200 ? 1 : (int) err->code;
}
