/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* tables.h - what a table may be called, and what its rows may be
 *
 * The same rules hold for tables that the plan declares, and for those that are
 * met late: these are checked where they are met, and again by the master, who
 * alone knows all of them. Errors are SLUICE_EINPUT.
 */
#ifndef CALC_TABLES_H
#define CALC_TABLES_H

#include <stdbool.h>
#include "sluice/dtype.h"

/* Can this be the path of a dataset? With `table` that of a table, which has an
 * index beside it: `<name>_index`. */
int name_check (const char *name, bool table, sluice_error_t *err);
/* Can it be there beside `other`, of which the same is known? */
int name_check_beside (const char *name, bool table, const char *other, bool other_table,
                       sluice_error_t *err);

/* Can rows be of this dtype? NULL if not. */
sluice_dtype_t *rows_dtype (const char *text, sluice_error_t *err);

/* The type of a dataset must fit in 64 KiB of its header, by HDF5's own count, so
 * that it is tried: in a file in memory, as the writer makes it. */
int dtype_try_to_store (const sluice_dtype_t *dtype, sluice_error_t *err);

#endif
