/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* params.h - the parameters of a job: names and texts, in the order given
 *
 * They come from the job file, go to every node in HELLO and are what a
 * kernel reads its settings from. Sections of the job file are ignored, as
 * OpenQuake does. Each parameter remembers its line for error messages.
 */
#ifndef SLUICE_PARAMS_H
#define SLUICE_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_params sluice_params_t;

sluice_params_t *sluice_params_new (void);
void sluice_params_destroy (sluice_params_t **self_p);

/* Set (or replace) a parameter. `line` 0: not from a file. */
int sluice_params_set (sluice_params_t *self, const char *name, const char *value,
                       unsigned line, sluice_error_t *err);

size_t sluice_params_count (const sluice_params_t *self);
const char *sluice_params_name_at (const sluice_params_t *self, size_t i);
const char *sluice_params_value_at (const sluice_params_t *self, size_t i);

/* The text of a parameter, or NULL. Belongs to `self`. */
const char *sluice_params_get (const sluice_params_t *self, const char *name);
/* The line it stood on, 0 if unknown. */
unsigned sluice_params_line (const sluice_params_t *self, const char *name);
/* The file they came from, for messages; "" if none. */
const char *sluice_params_file (const sluice_params_t *self);
int sluice_params_set_file (sluice_params_t *self, const char *file);

/* Numbers: *value keeps its old content (the default) when the parameter is
 * absent; a text that is not a whole such number is an error that names file
 * and line. Sizes take K, M, G, T (powers of 1024). */
int sluice_params_u64 (const sluice_params_t *self, const char *name, uint64_t *value,
                       sluice_error_t *err);
int sluice_params_f64 (const sluice_params_t *self, const char *name, double *value,
                       sluice_error_t *err);
int sluice_params_size (const sluice_params_t *self, const char *name, uint64_t *value,
                        sluice_error_t *err);

/* An error about this parameter: "FILE:LINE: NAME: text". Returns -1. */
int sluice_params_fail (const sluice_params_t *self, const char *name,
                        sluice_error_t *err, const char *format, ...)
    __attribute__ ((format (printf, 4, 5)));

#ifdef __cplusplus
}
#endif
#endif
