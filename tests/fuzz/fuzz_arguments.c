/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* What `sluice map` runs over: a range if the first byte is ':', else values, one a
 * line, as rows of as many columns as the first byte says. Each item can be had. */

#include <stdlib.h>
#include <string.h>

#include "calc/arguments.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

static void look (const arguments_t *arguments)
{
    static arguments_row_t row;
    uint64_t items = arguments_items (arguments);
    uint64_t looked[] = {0, 1, items / 2, items - 1};
    for (size_t i = 0; i < 4; i++) {
        if (looked[i] >= items)
            continue;
        arguments_get (arguments, looked[i], &row);
        for (size_t k = 0; k < arguments_columns (arguments); k++)
            if (strlen (row.values[k]) > 1 << 20)
                abort ();
        (void) arguments_number (arguments, looked[i]);
    }
    const char *const *names = arguments_names (arguments);
    for (size_t k = 0; names && k < arguments_columns (arguments); k++)
        if (!names[k][0])
            abort ();
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    sluice_error_t err;
    arguments_t *arguments = arguments_new (&err);
    const char *at = (const char *) data, *end = at + n;
    if (!arguments || n == 0)
        goto done;
    if (*at == ':') {
        char *text = strndup (at + 1, n - 1);
        if (text && arguments_range_text (arguments, text, &err) == 0 &&
            arguments_range_text (arguments, text, &err) == 0)
            look (arguments);
        free (text);
        goto done;
    }
    if (arguments_source (arguments, *data % 8 + 1u, NULL, &err))
        goto done;
    for (at++; at < end;) {
        const char *line = memchr (at, '\n', (size_t) (end - at));
        size_t length = (size_t) ((line ? line : end) - at);
        if (arguments_add (arguments, at, length, &err))
            goto done;
        at += length + 1;
    }
    look (arguments);
done:
    arguments_destroy (&arguments);
    return 0;
}
