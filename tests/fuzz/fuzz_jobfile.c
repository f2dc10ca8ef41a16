/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any text: refused with a line that names the file, or parameters that come out
 * the same when they are written down and read again. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/jobfile.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

static char *write_down (const sluice_params_t *params, size_t *n)
{
    char *text = NULL;
    FILE *out = open_memstream (&text, n);
    /* A name may begin as a byte order mark does: it must not stand first. */
    fputs ("[s]\n", out);
    for (size_t i = 0; i < sluice_params_count (params); i++) {
        fprintf (out, "%s = ", sluice_params_name_at (params, i));
        for (const char *c = sluice_params_value_at (params, i); *c; c++)
            fputs (*c == '\n' ? "\n " : (char[]){*c, 0}, out);
        fputc ('\n', out);
    }
    fclose (out);
    return text;
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    sluice_error_t err = {0};
    sluice_params_t *params = jobfile_parse ((const char *) data, n, "job.ini", &err);
    if (!params) {
        if (strncmp (err.text, "job.ini:", 8) != 0)
            abort ();
        return 0;
    }
    size_t m;
    char *text = write_down (params, &m);
    sluice_params_t *again = jobfile_parse (text, m, "job.ini", &err);
    if (!again || sluice_params_count (again) != sluice_params_count (params))
        abort ();
    for (size_t i = 0; i < sluice_params_count (params); i++)
        if (strcmp (sluice_params_name_at (params, i),
                    sluice_params_name_at (again, i)) ||
            strcmp (sluice_params_value_at (params, i),
                    sluice_params_value_at (again, i)) ||
            sluice_params_line (params, sluice_params_name_at (params, i)) == 0)
            abort ();
    free (text);
    sluice_params_destroy (&params);
    sluice_params_destroy (&again);
    return 0;
}
