/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* jobfile.h - a job.ini file into parameters
 *
 * The format is OpenQuake's: `name = value` under [sections] that mean
 * nothing, lines that begin with ';' or '#' are comments (behind a value they
 * are part of it), a value goes on over the lines that begin further in than its
 * name; their ends stay in it as '\n'. Names are kept as they are written. inih
 * cuts lines at about 200 characters without saying so, so it is handed whole
 * logical lines of any length.
 */
#ifndef CALC_JOBFILE_H
#define CALC_JOBFILE_H

#include "sluice/params.h"

/* Read a job file. Errors: "FILE:LINE: what". A name given twice is an error
 * that names both lines; a file without parameters is one too. */
sluice_params_t *jobfile_read (const char *path, sluice_error_t *err);

/* The same from `n` bytes of text; `file` names it in messages. */
sluice_params_t *jobfile_parse (const char *text, size_t n, const char *file,
                                sluice_error_t *err);

#endif
