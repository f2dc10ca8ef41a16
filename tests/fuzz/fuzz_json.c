/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any text: refused, or walked to its end; a text that is read and written again
 * reads the same. */

#include <stdlib.h>
#include <string.h>

#include "proto/json.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

static void walk (const char *value, unsigned depth)
{
    char text[64], again[64];
    if (json_string (value, text, sizeof text)) {
        json_out_t out;
        json_begin (&out, 1 << 16);
        json_add_text (&out, text);
        char *written = json_end (&out);
        if (!json_is_sound (written) || !json_string (written, again, sizeof again) ||
            strcmp (text, again) != 0)
            abort ();
        free (written);
    }
    (void) json_number (value);
    (void) json_count (value);
    (void) json_is_true (value);
    if (depth == 0)
        abort ();
    for (const char *e = json_first (value); e; e = json_after (e))
        walk (e, depth - 1);
    for (int i = 0; i < 3; i++) {
        const char *member = json_member (value, (const char *[]){"run", "runs", "n"}[i]);
        if (member)
            walk (member, depth - 1);
    }
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    char *text = malloc (n + 1);
    if (!text)
        return 0;
    memcpy (text, data, n);
    text[n] = '\0';
    if (json_is_sound (text))
        walk (text, JSON_DEPTH + 2);
    free (text);
    return 0;
}
