/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/rng.h"

#include <math.h>
#include <string.h>

#include <Random123/philox.h>

#include "calc/vmath.h"

/* Draws made at a time: small enough for the first cache. */
#define CHUNK 512

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

#define ISA scalar
#define TARGET
#define WORDS 1
#define VU uint64_t
#define VU_SET(x) ((uint64_t) (x))
#define MUL32(a, b) ((uint64_t) (uint32_t) (a) * (uint32_t) (b))
#define SHR(v, bits) ((v) >> (bits))
#define SHL(v, bits) ((v) << (bits))
#define VU_ADD(a, b) ((a) + (b))
#define VU_XOR(a, b) ((a) ^ (b))
#define STORE_PAIRS(p, a, b) ((p)[0] = (a), (p)[1] = (b))
#define LANES 1
#define VD double
#define VD_SET(x) (x)
#define VD_LOAD(p) (*(p))
#define VD_STORE(p, v) (*(p) = (v))
#define VD_SQRT(v) sqrt (v)
#include "calc/rng_lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define STORE_PAIRS_2(p, a, b)                                                           \
    (_mm_storeu_si128 ((__m128i *) (p), _mm_unpacklo_epi64 (a, b)),                      \
     _mm_storeu_si128 ((__m128i *) (p) + 1, _mm_unpackhi_epi64 (a, b)))

#define ISA sse2
#define TARGET
#define WORDS 2
#define VU __m128i
#define VU_SET(x) _mm_set1_epi64x ((long long) (x))
#define MUL32(a, b) _mm_mul_epu32 (a, b)
#define SHR(v, bits) _mm_srli_epi64 (v, bits)
#define SHL(v, bits) _mm_slli_epi64 (v, bits)
#define VU_ADD(a, b) _mm_add_epi64 (a, b)
#define VU_XOR(a, b) _mm_xor_si128 (a, b)
#define STORE_PAIRS(p, a, b) STORE_PAIRS_2 (p, a, b)
#define LANES 2
#define VD __m128d
#define VD_SET(x) _mm_set1_pd (x)
#define VD_LOAD(p) _mm_loadu_pd (p)
#define VD_STORE(p, v) _mm_storeu_pd (p, v)
#define VD_SQRT(v) _mm_sqrt_pd (v)
#include "calc/rng_lanes.h"

/* AVX has no integers of 256 bits. */
#define ISA avx
#define TARGET __attribute__ ((target ("avx")))
#define WORDS 2
#define VU __m128i
#define VU_SET(x) _mm_set1_epi64x ((long long) (x))
#define MUL32(a, b) _mm_mul_epu32 (a, b)
#define SHR(v, bits) _mm_srli_epi64 (v, bits)
#define SHL(v, bits) _mm_slli_epi64 (v, bits)
#define VU_ADD(a, b) _mm_add_epi64 (a, b)
#define VU_XOR(a, b) _mm_xor_si128 (a, b)
#define STORE_PAIRS(p, a, b) STORE_PAIRS_2 (p, a, b)
#define LANES 4
#define VD __m256d
#define VD_SET(x) _mm256_set1_pd (x)
#define VD_LOAD(p) _mm256_loadu_pd (p)
#define VD_STORE(p, v) _mm256_storeu_pd (p, v)
#define VD_SQRT(v) _mm256_sqrt_pd (v)
#include "calc/rng_lanes.h"

#define STORE_PAIRS_8(p, a, b)                                                           \
    (_mm512_storeu_si512 (p, _mm512_permutex2var_epi64 (                                 \
                                 a, _mm512_set_epi64 (11, 3, 10, 2, 9, 1, 8, 0), b)),    \
     _mm512_storeu_si512 ((p) + 8,                                                       \
                          _mm512_permutex2var_epi64 (                                    \
                              a, _mm512_set_epi64 (15, 7, 14, 6, 13, 5, 12, 4), b)))

#define ISA avx512
#define TARGET __attribute__ ((target ("avx512f")))
#define WORDS 8
#define VU __m512i
#define VU_SET(x) _mm512_set1_epi64 ((long long) (x))
#define MUL32(a, b) _mm512_mul_epu32 (a, b)
#define SHR(v, bits) _mm512_srli_epi64 (v, bits)
#define SHL(v, bits) _mm512_slli_epi64 (v, bits)
#define VU_ADD(a, b) _mm512_add_epi64 (a, b)
#define VU_XOR(a, b) _mm512_xor_si512 (a, b)
#define STORE_PAIRS(p, a, b) STORE_PAIRS_8 (p, a, b)
#define LANES 8
#define VD __m512d
#define VD_SET(x) _mm512_set1_pd (x)
#define VD_LOAD(p) _mm512_loadu_pd (p)
#define VD_STORE(p, v) _mm512_storeu_pd (p, v)
#define VD_SQRT(v) _mm512_sqrt_pd (v)
#include "calc/rng_lanes.h"
#endif

typedef struct {
    void (*draw) (const rng_stream_t *, uint32_t, size_t, uint64_t *);
    void (*centre) (double *, double *, size_t, double, double);
    void (*tail) (double *, double *, size_t);
} lanes_t;

static const lanes_t lanes_of[VM_ISA_COUNT] = {
    [VM_SCALAR] = {draw_scalar, centre_scalar, tail_scalar},
    [VM_NEON] = {draw_scalar, centre_scalar, tail_scalar},
#if defined(__x86_64__)
    [VM_SSE2] = {draw_sse2, centre_sse2, tail_sse2},
    [VM_AVX] = {draw_avx, centre_avx, tail_avx},
    [VM_AVX512] = {draw_avx512, centre_avx512, tail_avx512},
#endif
};

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

/* Up to CHUNK uniform draws into `u`, which has room for CHUNK + 16: the draws
 * wanted begin at the returned offset (0 or 1). */
static size_t uniform_chunk (const lanes_t *lanes, const rng_stream_t *stream,
                             uint64_t first, size_t n, double *u)
{
    uint64_t bits[CHUNK + 16];
    size_t odd = first & 1;
    size_t blocks = ((n + odd + 1) / 2 + 7) & ~(size_t) 7;
    lanes->draw (stream, (uint32_t) (first >> 1), blocks, bits);
    for (size_t i = 0; i < 2 * blocks; i++)
        u[i] = rng_u01 (bits[i]);
    return odd;
}

void rng_uniform_n (const rng_stream_t *stream, uint64_t first, double *out, size_t n)
{
    const lanes_t *lanes = &lanes_of[vm_isa ()];
    double u[CHUNK + 16];
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

/* Right the values of x where u lies in the tails. */
static void right_tails (const lanes_t *lanes, double *x, const double *u, size_t n)
{
    double log_p[CHUNK + 16], value[CHUNK + 16];
    size_t where[CHUNK + 16], count = 0;
    for (size_t i = 0; i < n; i++) {
        where[count] = i;
        double other = 1.0 - u[i];
        log_p[count] = u[i] < other ? u[i] : other;
        count += fabs (u[i] - 0.5) > 0.425;
    }
    if (count == 0)
        return;
    size_t full = (count + 7) & ~(size_t) 7;
    for (size_t k = count; k < full; k++)
        log_p[k] = 0.01;
    vm_log_n (log_p, log_p, full);
    lanes->tail (value, log_p, full); /* log_p becomes r */
    for (size_t k = 0; k < count; k++) {
        double v = log_p[k] <= 5.0 ? value[k] : far_tail (log_p[k]);
        x[where[k]] = copysign (v, u[where[k]] - 0.5);
    }
}

double rng_normal_quantile (double p)
{
    const lanes_t *lanes = &lanes_of[VM_SCALAR];
    double x[8], u[8];
    for (int i = 0; i < 8; i++)
        u[i] = p;
    lanes->centre (x, u, 1, 0.0, 1.0);
    right_tails (lanes, x, u, 1);
    return x[0];
}

void rng_normal_n (const rng_stream_t *stream, uint64_t first, double truncation,
                   double *out, size_t n)
{
    if (!(truncation > 0)) {
        for (size_t i = 0; i < n; i++)
            out[i] = 0.0;
        return;
    }
    double low = vm_normal_cdf (-truncation);
    double span = vm_normal_cdf (truncation) - low;
    const lanes_t *lanes = &lanes_of[vm_isa ()];
    double u[CHUNK + 16], x[CHUNK + 16];
    while (n > 0) {
        size_t now = n < CHUNK ? n : CHUNK;
        size_t start = uniform_chunk (lanes, stream, first, now, u);
        size_t full = (start + now + 7) & ~(size_t) 7;
        lanes->centre (x, u, full, low, span);
        right_tails (lanes, x, u, full);
        for (size_t i = 0; i < now; i++) {
            double v = x[start + i] < truncation ? x[start + i] : truncation;
            out[i] = v > -truncation ? v : -truncation;
        }
        out += now;
        first += now;
        n -= now;
    }
}
