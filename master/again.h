/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* again.h - what an earlier run of commands left undone
 *
 * For `sluice map --only-failed FILE`: the items that FILE has no result of, because
 * they failed or were never begun, with their arguments and the command.
 */
#ifndef MASTER_AGAIN_H
#define MASTER_AGAIN_H

#include "calc/arguments.h"

typedef struct {
    arguments_t *arguments; /* NULL: nothing is left to be done */
    char **words;           /* of the command, with placeholders */
    size_t nwords;
    bool shell;
    char *folder; /* where it was run: absolute, or inside its share */
    uint64_t seed, items, memory, max_row;
    double timeout;
} again_t;

/* Read it. SLUICE_EINPUT if FILE is no output of `sluice map`. `given` (may be NULL)
 * are the arguments of all its items, where it is not to be relied upon for them. */
int again_read (const char *path, const arguments_t *given, again_t *again,
                sluice_error_t *err);
void again_clear (again_t *again);

#endif
