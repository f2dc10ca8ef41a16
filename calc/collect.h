/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* collect.h - the files that a command left in $SLUICE_OUT, as rows
 *
 * NAME.npy becomes rows of table NAME (npy.h); any other file is kept as it is, its
 * bytes being rows of a table of u1 named as the file. In a folder, its name and '/'
 * come before. Names that begin with '.' are passed over. Files are taken in the order
 * of their names' bytes, so that the order of rows depends on nothing else.
 */
#ifndef CALC_COLLECT_H
#define CALC_COLLECT_H

#include "sluice/kernel.h"

/* Emit what lies in `folder` for `item`. No row may be larger than `row_most` bytes.
 * -1 with the file's name in the error, or when the task is to end. */
int collect (sluice_task_t *task, uint64_t item, const char *folder, uint64_t row_most,
             sluice_error_t *err);

#endif
