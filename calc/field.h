/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* field.h - from normal draws to rows of ground motion, many sites at a time
 *
 * The inner loops of the kernels that make ground-motion fields, for the instruction
 * set that vm_init chose; all give the same bits (vmath.h).
 */
#ifndef CALC_FIELD_H
#define CALC_FIELD_H

#include <stddef.h>
#include <stdint.h>

/* Mean and deviations of the logarithm of the motion at `n` sites. */
typedef struct {
    const double *mean, *tau, *phi;
} field_model_t;

/* out[i] = exp (mean[i] + tau[i] between + phi[i] within[i]) for `n` sites. */
void field_motion (float *out, const field_model_t *model, double between,
                   const double *within, size_t n);

/* Rows {sid:<u4, eid:<u4, <f4 ...} of a number of columns, as they lie in the table. */
typedef struct field_layout field_layout_t;
field_layout_t *field_layout_new (size_t columns); /* NULL: out of memory */
void field_layout_destroy (field_layout_t **self_p);
size_t field_layout_row (const field_layout_t *self); /* bytes of a row */

/* Write `n` rows to `rows`: of sites sid, sid + 1 ..., with values[m * step + i] in
 * column m of row i. */
void field_rows (const field_layout_t *self, void *rows, uint32_t sid, uint32_t eid,
                 const float *values, size_t step, size_t n);

#endif
