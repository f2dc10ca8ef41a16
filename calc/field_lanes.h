/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* field_lanes.h - the loops of field.c for one instruction set (see lanes.h)
 *
 * No include guard: that is on purpose.
 */

/* exp (x) for |x| <= EXP_MOST, where 2^k needs no care. s is 1.5 2^52 + k. */
TARGET static inline VD NAME (exp_lanes) (VD x)
{
    const VD whole = VD_SET (0x1.8p52);
    VD s = x * VD_SET (EXP_1_LN2) + whole;
    VD k = s - whole;
    VD r = (x + k * VD_SET (EXP_LN2_HIGH)) + k * VD_SET (EXP_LN2_LOW);
    VD r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    VD a = r * VD_SET (exp_c[9]) + VD_SET (exp_c[8]);
    VD b = r * VD_SET (exp_c[7]) + VD_SET (exp_c[6]);
    VD c = r * VD_SET (exp_c[5]) + VD_SET (exp_c[4]);
    VD d = r * VD_SET (exp_c[3]) + VD_SET (exp_c[2]);
    VD e = r * VD_SET (exp_c[1]) + VD_SET (exp_c[0]);
    VD u = a * r8 + (r4 * (b * r2 + c) + (d * r2 + e));
    u = r * u + VD_SET (0.5);
    u = (r2 * u + r) + VD_SET (1.0);
    return u * VD_POWER (s);
}

/* out = exp (mean + tau between + phi within) of 2 LANES sites. */
TARGET static inline void NAME (motion_2) (float *out, const double *mean,
                                           const double *tau, const double *phi,
                                           const double *within, VD between)
{
    VD x0 = VD_LOAD (mean) + VD_LOAD (tau) * between + VD_LOAD (phi) * VD_LOAD (within);
    VD x1 = VD_LOAD (mean + LANES) + VD_LOAD (tau + LANES) * between +
            VD_LOAD (phi + LANES) * VD_LOAD (within + LANES);
    if (VD_BEYOND (x0, EXP_MOST) | VD_BEYOND (x1, EXP_MOST)) {
        double x[2 * LANES];
        VD_STORE (x, x0);
        VD_STORE (x + LANES, x1);
        vm_exp_n (x, x, 2 * LANES);
        x0 = VD_LOAD (x);
        x1 = VD_LOAD (x + LANES);
    } else {
        x0 = NAME (exp_lanes) (x0);
        x1 = NAME (exp_lanes) (x1);
    }
    VD_FLOATS (out, x0);
    VD_FLOATS (out + LANES, x1);
}

TARGET static void NAME (motion) (float *out, const field_model_t *model, double between,
                                  const double *within, size_t n)
{
    const double *mean = model->mean, *tau = model->tau, *phi = model->phi;
    const VD event = VD_SET (between);
    size_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES)
        NAME (motion_2) (out + i, mean + i, tau + i, phi + i, within + i, event);
    if (i == n)
        return;
    double last[4][2 * LANES] = {{0}};
    float value[2 * LANES];
    for (size_t k = 0; i + k < n; k++) {
        last[0][k] = mean[i + k];
        last[1][k] = tau[i + k];
        last[2][k] = phi[i + k];
        last[3][k] = within[i + k];
    }
    NAME (motion_2) (value, last[0], last[1], last[2], last[3], event);
    memcpy (out + i, value, (n - i) * sizeof *value);
}
