/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any bytes as a table of comma-separated values: refused in a line, or every field of
 * every row can be had, as text and as a number. */

#include <stdlib.h>
#include <string.h>

#include "calc/csv.h"

int LLVMFuzzerTestOneInput (const unsigned char *data, size_t n);

int LLVMFuzzerTestOneInput (const unsigned char *data, size_t n)
{
    sluice_error_t err = {0};
    csv_t *csv = csv_from_text ((const char *) data, n, "fuzz", &err);
    if (!csv) {
        if (!err.text[0] || strchr (err.text, '\n'))
            abort ();
        return 0;
    }
    size_t columns = csv_columns (csv);
    if (columns == 0 || columns > CSV_MAX_COLUMNS)
        abort ();
    for (size_t i = 0; i < columns; i++)
        if (csv_column (csv, csv_name (csv, i)) != (int) i)
            abort ();
    int more;
    while ((more = csv_next (csv, &err)) > 0)
        for (size_t i = 0; i < columns; i++) {
            double value;
            if (strlen (csv_text (csv, i)) > n)
                abort ();
            if (csv_f64 (csv, i, &value, &err) == 0 && !(value - value == 0.0))
                abort (); /* not finite */
        }
    csv_destroy (&csv);
    return 0;
}
