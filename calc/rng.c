/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/rng.h"

#include <math.h>
#include <string.h>

#include <Random123/philox.h>

#include "calc/vmath.h"

/* Draws made at a time: small enough for the first cache. */
#define CHUNK 512
#define ROOM (CHUNK + 64) /* for whole vectors, and words of bits */

#define BELOW_ONE 0x1.fffffffffffffp-1 /* 1 - 2^-53 */

/* Wichura 1988, PPND16. */
static const double centre_a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                   1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                   4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                   3.3430575583588128105e+4, 2.5090809287301226727e+3};
static const double centre_b[8] = {1.0,
                                   4.2313330701600911252e+1,
                                   6.8718700749205790830e+2,
                                   5.3941960214247511077e+3,
                                   2.1213794301586595867e+4,
                                   3.9307895800092710610e+4,
                                   2.8729085735721942674e+4,
                                   5.2264952788528545610e+3};
static const double tail_c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                 5.76949722146069140550e0,  3.64784832476320460504e0,
                                 1.27045825245236838258e0,  2.41780725177450611770e-1,
                                 2.27238449892691845833e-2, 7.74545014278341407640e-4};
static const double tail_d[8] = {1.0,
                                 2.05319162663775882187e0,
                                 1.67638483018380384940e0,
                                 6.89767334985100004550e-1,
                                 1.48103976427480074590e-1,
                                 1.51986665636164571966e-2,
                                 5.47593808499534494600e-4,
                                 1.05075007164441684324e-9};
static const double far_e[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                1.78482653991729133580e0,  2.96560571828504891230e-1,
                                2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
static const double far_f[8] = {1.0,
                                5.99832206555887937690e-1,
                                1.36929880922735805310e-1,
                                1.48753612908506148525e-2,
                                7.86869131145613259100e-4,
                                1.84631831751005468180e-5,
                                1.42151175831644588870e-7,
                                2.04426310338993978564e-15};

/* 64 bits of tails, of which the file has 8 bytes. */
static inline uint64_t word_of (const uint8_t *tails)
{
    uint64_t word = 0;
    for (unsigned k = 0; k < 8; k++)
        word |= (uint64_t) tails[k] << (8 * k);
    return word;
}

#define LANES_FILE "calc/rng_lanes.h"
#include "calc/lanes.h"

typedef struct {
    void (*uniform) (const rng_stream_t *, uint32_t, size_t, double *);
    void (*centre) (double *, double *, uint8_t *, size_t, double, double);
    size_t (*gather) (double *, const double *, const uint8_t *, size_t);
    double (*tail) (double *, double *, size_t);
    void (*settle) (double *, double *, const double *, const uint8_t *, const double *,
                    double, size_t);
} lanes_t;

#define ROW(isa)                                                                         \
    {                                                                                    \
        uniform_##isa, centre_##isa, gather_##isa, tail_##isa, settle_##isa              \
    }
static const lanes_t lanes_of[VM_ISA_COUNT] = {LANES_ROWS (ROW)};

void rng_philox (const uint32_t counter[4], const uint32_t key[2], uint32_t words[4])
{
    philox4x32_ctr_t c = {{counter[0], counter[1], counter[2], counter[3]}};
    philox4x32_key_t k = {{key[0], key[1]}};
    c = philox4x32_R (10, c, k);
    for (int i = 0; i < 4; i++)
        words[i] = c.v[i];
}

void rng_block (const rng_stream_t *stream, uint32_t block, uint32_t words[4])
{
    uint32_t counter[4] = {block, stream->stage, (uint32_t) stream->item,
                           (uint32_t) (stream->item >> 32)};
    uint32_t key[2] = {(uint32_t) stream->seed, (uint32_t) (stream->seed >> 32)};
    rng_philox (counter, key, words);
}

double rng_u01 (uint64_t bits)
{
    double u = ((double) (int64_t) (bits >> 11) + 0.5) * 0x1p-53;
    return u < BELOW_ONE ? u : BELOW_ONE;
}

/* Up to CHUNK uniform draws into `u`, which has room for ROOM: the draws wanted begin
 * at the returned offset (0 or 1). */
static size_t uniform_chunk (const lanes_t *lanes, const rng_stream_t *stream,
                             uint64_t first, size_t n, double *u)
{
    size_t odd = first & 1;
    size_t blocks = ((n + odd + 1) / 2 + 15) & ~(size_t) 15;
    lanes->uniform (stream, (uint32_t) (first >> 1), blocks, u);
    return odd;
}

void rng_uniform_n (const rng_stream_t *stream, uint64_t first, double *out, size_t n)
{
    const lanes_t *lanes = &lanes_of[vm_isa ()];
    double u[ROOM];
    while (n > 0) {
        size_t now = n < CHUNK ? n : CHUNK;
        size_t start = uniform_chunk (lanes, stream, first, now, u);
        memcpy (out, u + start, now * sizeof *out);
        out += now;
        first += now;
        n -= now;
    }
}

/* The formula for r > 5, that is p < 1.4e-11. */
static double far_tail (double r)
{
    r -= 5.0;
    double a = far_e[7], b = far_f[7];
    for (int k = 6; k >= 0; k--) {
        a = a * r + far_e[k];
        b = b * r + far_f[k];
    }
    return a / b;
}

/* The quantiles of `n` (a multiple of 16, at most CHUNK + 16) probabilities
 * low + u span, held within the truncation. p replaces u. */
static void quantiles (const lanes_t *lanes, double *out, double *u, size_t n,
                       const rng_truncation_t *truncation)
{
    double x[ROOM], log_p[ROOM], values[ROOM];
    uint8_t tails[ROOM / 8];
    memset (tails + n / 8, 0, sizeof tails - n / 8);
    lanes->centre (x, u, tails, n, truncation->low, truncation->span);
    size_t count = lanes->gather (log_p, u, tails, n);
    size_t full = (count + 15) & ~(size_t) 15;
    for (size_t k = count; k < full; k++)
        log_p[k] = 0.01;
    vm_log_n (log_p, log_p, full);
    if (lanes->tail (values, log_p, full) > 5.0) /* log_p has become r */
        for (size_t k = 0; k < count; k++)
            if (log_p[k] > 5.0)
                values[k] = far_tail (log_p[k]);
    lanes->settle (out, x, u, tails, values, truncation->at, n);
}

double rng_normal_quantile (double p)
{
    const rng_truncation_t none = {INFINITY, 0.0, 1.0};
    double x[16], u[16];
    for (int i = 0; i < 16; i++)
        u[i] = p;
    quantiles (&lanes_of[VM_SCALAR], x, u, 16, &none);
    return x[0];
}

rng_truncation_t rng_truncation (double at)
{
    double low = vm_normal_cdf (-at);
    return (rng_truncation_t){at, low, vm_normal_cdf (at) - low};
}

void rng_truncated_n (const rng_stream_t *stream, uint64_t first,
                      const rng_truncation_t *truncation, double *out, size_t n)
{
    if (!(truncation->at > 0)) {
        for (size_t i = 0; i < n; i++)
            out[i] = 0.0;
        return;
    }
    const lanes_t *lanes = &lanes_of[vm_isa ()];
    double u[ROOM], x[ROOM];
    while (n > 0) {
        size_t now = n < CHUNK ? n : CHUNK;
        size_t start = uniform_chunk (lanes, stream, first, now, u);
        size_t full = (start + now + 15) & ~(size_t) 15;
        double *to = full == now ? out : x;
        quantiles (lanes, to, u, full, truncation);
        if (to == x)
            memcpy (out, x + start, now * sizeof *out);
        out += now;
        first += now;
        n -= now;
    }
}

void rng_normal_n (const rng_stream_t *stream, uint64_t first, double truncation,
                   double *out, size_t n)
{
    const rng_truncation_t where = rng_truncation (truncation);
    rng_truncated_n (stream, first, &where, out, n);
}
