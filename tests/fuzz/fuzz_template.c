/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* A command with placeholders, its words one a line: refused, or words for an item.
 * With a first byte '$' it is for the shell, with '@' columns have names. */

#include <stdlib.h>
#include <string.h>

#include "calc/template.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

enum { WORDS = 16, COLUMNS = 3 };

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    static const char *const names[COLUMNS] = {"lon", "lat", "name"};
    static const char *const values[COLUMNS] = {"a b/c.d.e", "", "'\"$(x)\n\\"};
    sluice_error_t err = {0};
    char *text = strndup ((const char *) data, n), said[200];
    const char *words[WORDS];
    size_t nwords = 0;
    if (!text)
        return 0;
    bool shell = *text == '$', named = *text == '@';
    for (char *at = text + (shell || named); at && nwords < WORDS;) {
        words[nwords++] = at;
        at = strchr (at, '\n');
        if (at)
            *at++ = '\0';
    }
    (void) template_wants_shell (words[0]);
    (void) template_has_name (words[0]);
    template_t *template =
        template_new (words, nwords, shell, named ? names : NULL, COLUMNS, &err);
    if (!template && !err.text[0])
        abort ();
    if (template) {
        char **expanded = template_expand (template, values, 12);
        for (size_t i = 0; expanded && expanded[i]; i++)
            if (strlen (expanded[i]) > 200 + 100 * n)
                abort ();
        if (expanded)
            template_print (expanded, said, sizeof said);
        free (expanded);
        (void) template_program (template);
    }
    template_destroy (&template);
    free (text);
    return 0;
}
