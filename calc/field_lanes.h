/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* field_lanes.h - the loops of field.c for one instruction set (see lanes.h)
 *
 * No include guard: that is on purpose.
 */

/* within[i] = mean[i] + tau[i] between + phi[i] within[i] */
TARGET static void NAME (combine) (double *within, const field_model_t *model,
                                   double between, size_t n)
{
    const double *mean = model->mean, *tau = model->tau, *phi = model->phi;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        VD_STORE (within + i, VD_LOAD (mean + i) + VD_LOAD (tau + i) * VD_SET (between) +
                                  VD_LOAD (phi + i) * VD_LOAD (within + i));
    for (; i < n; i++)
        within[i] = mean[i] + tau[i] * between + phi[i] * within[i];
}

/* out[i] = values[i], rounded to nearest */
TARGET static void NAME (narrow) (float *out, const double *values, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        VD_FLOATS (out + i, VD_LOAD (values + i));
    for (; i < n; i++)
        out[i] = (float) values[i];
}
