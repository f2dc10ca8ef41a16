/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* mapargs.h - from the words of a command line to arguments
 *
 * `sluice map` takes arguments from files of lines or CSV (-a), ranges, `::: A B C` and
 * `:::: FILE` behind the command, or, without any of these, from the lines of standard
 * input. Errors are one line, SLUICE_EINPUT.
 */
#ifndef MASTER_MAPARGS_H
#define MASTER_MAPARGS_H

#include <stdbool.h>
#include <stddef.h>
#include "calc/arguments.h"

typedef enum { SOURCE_LINES, SOURCE_CSV, SOURCE_RANGE } source_kind_t;

typedef struct {
    source_kind_t kind;
    const char *text; /* of a file ("-": standard input), or a range */
} source_order_t;

/* How many of the words behind the options are the command; the rest are ::: and so on.
 */
size_t mapargs_command (char **words, size_t n);

/* Read sources as ordered, then those in `words` behind the command. `named`: the
 * command has names of columns, so a file called *.csv is one. `null`: lines end in a
 * NUL. `glob`: arguments behind ::: with * ? or [ are files. */
int mapargs_read (arguments_t *to, const source_order_t *orders, size_t norders,
                  char **words, size_t nwords, bool named, bool null, bool glob,
                  sluice_error_t *err);

#endif
