/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* map.h - the kernel behind `sluice map`: a command for each item
 *
 * An item is one command line, and a task of its own, so that a failure costs its
 * neighbours nothing. The command starts in the folder of whoever submitted it, as this
 * machine sees it, and finds in its environment
 *
 *   SLUICE_TASK      the item's number, from 0
 *   SLUICE_SEED      a number below 2^31, of the run's seed and the item alone
 *   SLUICE_SCRATCH   an empty folder on local disk, removed afterwards (TMPDIR too)
 *   SLUICE_OUT       an empty folder: what is left there becomes rows (collect.h)
 *
 * with the submitter's PATH and VIRTUAL_ENV. Paths into the share, in words of the
 * command and these variables, are changed to where the share lies on this machine.
 *
 * Tables: `stdout`, bytes; `sluice/stderr`, which is no content (table_is_content);
 * and those that commands leave. Outputs: `command`, its words; `arguments`, a row for
 * each item; `task`, the numbers of items that are run again.
 */
#ifndef CALC_MAP_H
#define CALC_MAP_H

#include "calc/arguments.h"
#include "sluice/kernel.h"

#define MAP_STDOUT "stdout"
#define MAP_STDERR "sluice/stderr"

/* What cmd_map hands to the plan (plan_run_with). Borrowed. */
typedef struct {
    const arguments_t *arguments;
    const char *const *words; /* of the command, with placeholders */
    size_t nwords;
    bool shell;                     /* the one word is for /bin/sh */
    const char *const *environment; /* NAME=VALUE */
    size_t nenvironment;
    bool look_here; /* the program must be found on this machine */
} map_spec_t;

/* Parameters: command (as text, for people), timeout (seconds), memory and max_row
 * (bytes). */
extern const sluice_kernel_t map_kernel;

#endif
