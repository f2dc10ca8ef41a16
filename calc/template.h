/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* template.h - the command of `sluice map` with its placeholders
 *
 * Placeholders are those of GNU parallel:
 *
 *   {}     the argument          {/}   without its folder
 *   {.}    without extension     {/.}  without both
 *   {//}   its folder            {#}   the number of the item, from 1
 *   {N} {N.} {N/} {N//} {N/.}    of source or column N, from 1
 *   {NAME} and so on             of the column NAME
 *
 * {} as a word of its own becomes a word for each source; inside a word the
 * arguments are joined by blanks. A command without any placeholder gets {} as
 * its last word. Other braces stay as they are; but a name that could be that of a
 * column is refused when columns have names and none is called so, and a number
 * when there are not so many.
 *
 * A command of one word with blanks or other signs that a shell reads is for the shell:
 * /bin/sh -c with the arguments quoted.
 */
#ifndef CALC_TEMPLATE_H
#define CALC_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "sluice/error.h"

typedef struct template template_t;

/* The command `words` (copied) over `columns` columns, whose names (copied) may be
 * NULL. SLUICE_EINPUT if it cannot be. */
template_t *template_new (const char *const *words, size_t nwords, bool shell,
                          const char *const *names, size_t columns, sluice_error_t *err);
void template_destroy (template_t **self_p);

/* Is this word, the only one of a command, meant for the shell? */
bool template_wants_shell (const char *word);
/* Does the word hold the name of a column, as {lon}? */
bool template_has_name (const char *word);

/* The words for one item, a NULL behind them: one block of memory, free () it. NULL
 * if out of memory. */
char **template_expand (const template_t *self, const char *const *values,
                        uint64_t number);

/* The first word if it is the same for all items and no shell's, else NULL. */
const char *template_program (const template_t *self);

/* The words as a person would type them, quoted where needed; at most `size` bytes
 * with the NUL, "..." at the end if there is more. */
void template_print (char *const *words, char *text, size_t size);
/* All of them and a line's end to a file; `raw`: as they stand. False: out of memory. */
bool template_put (char *const *words, bool raw, FILE *out);

#endif
