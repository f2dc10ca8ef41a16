/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/vmath.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* The functions of the family: X (name, accuracy as SLEEF spells it). */
#define UNARY(X)                                                                         \
    X (exp, u10)                                                                         \
    X (exp10, u10)                                                                       \
    X (expm1, u10)                                                                       \
    X (log, u10)                                                                         \
    X (log10, u10)                                                                       \
    X (log1p, u10)                                                                       \
    X (sin, u10)                                                                         \
    X (cos, u10)                                                                         \
    X (asin, u10)                                                                        \
    X (acos, u10)                                                                        \
    X (erfc, u15)

#define BINARY(X)                                                                        \
    X (atan2, u10)                                                                       \
    X (pow, u10)                                                                         \
    X (hypot, u05)

typedef struct {
#define MEMBER(name, acc) void (*name) (double *, const double *, size_t);
    UNARY (MEMBER)
#undef MEMBER
#define MEMBER(name, acc) void (*name) (double *, const double *, const double *, size_t);
    BINARY (MEMBER)
#undef MEMBER
} table_t;

#define ENTRY(isa, name) .name = name##_##isa,

/* SLEEF's header shows the wide functions only to files compiled for wide CPUs,
 * so they are declared here. */
#define DECLARE1(TARGET, V, fn) TARGET extern V fn (V);
#define DECLARE2(TARGET, V, fn) TARGET extern V fn (V, V);

/* Plain C. */
#define SCALAR1(name, acc)                                                               \
    DECLARE1 (, double, Sleef_cinz_##name##d1_##acc##purec)                              \
    double vm_##name (double x)                                                          \
    {                                                                                    \
        return Sleef_cinz_##name##d1_##acc##purec (x);                                   \
    }                                                                                    \
    static void name##_scalar (double *out, const double *in, size_t n)                  \
    {                                                                                    \
        for (size_t i = 0; i < n; i++)                                                   \
            out[i] = vm_##name (in[i]);                                                  \
    }
#define SCALAR2(name, acc)                                                               \
    DECLARE2 (, double, Sleef_cinz_##name##d1_##acc##purec)                              \
    double vm_##name (double x, double y)                                                \
    {                                                                                    \
        return Sleef_cinz_##name##d1_##acc##purec (x, y);                                \
    }                                                                                    \
    static void name##_scalar (double *out, const double *a, const double *b, size_t n)  \
    {                                                                                    \
        for (size_t i = 0; i < n; i++)                                                   \
            out[i] = vm_##name (a[i], b[i]);                                             \
    }
UNARY (SCALAR1)
BINARY (SCALAR2)

#define SCALAR_ENTRY(name, acc) ENTRY (scalar, name)
static const table_t scalar_table = {UNARY (SCALAR_ENTRY) BINARY (SCALAR_ENTRY)};

/* W lanes at a time; what is left over goes through the same function in a
 * buffer filled up with ones, where every function is defined. */
#define WIDE1(isa, TARGET, V, W, LOAD, STORE, name, fn)                                  \
    DECLARE1 (TARGET, V, fn)                                                             \
    TARGET static void name##_##isa (double *out, const double *in, size_t n)            \
    {                                                                                    \
        size_t i = 0;                                                                    \
        for (; i + (W) <= n; i += (W))                                                   \
            STORE (out + i, fn (LOAD (in + i)));                                         \
        if (i == n)                                                                      \
            return;                                                                      \
        double last[W];                                                                  \
        for (size_t k = 0; k < (W); k++)                                                 \
            last[k] = i + k < n ? in[i + k] : 1.0;                                       \
        STORE (last, fn (LOAD (last)));                                                  \
        for (size_t k = 0; i + k < n; k++)                                               \
            out[i + k] = last[k];                                                        \
    }
#define WIDE2(isa, TARGET, V, W, LOAD, STORE, name, fn)                                  \
    DECLARE2 (TARGET, V, fn)                                                             \
    TARGET static void name##_##isa (double *out, const double *a, const double *b,      \
                                     size_t n)                                           \
    {                                                                                    \
        size_t i = 0;                                                                    \
        for (; i + (W) <= n; i += (W))                                                   \
            STORE (out + i, fn (LOAD (a + i), LOAD (b + i)));                            \
        if (i == n)                                                                      \
            return;                                                                      \
        double last[2][W];                                                               \
        for (size_t k = 0; k < (W); k++) {                                               \
            last[0][k] = i + k < n ? a[i + k] : 1.0;                                     \
            last[1][k] = i + k < n ? b[i + k] : 1.0;                                     \
        }                                                                                \
        STORE (last[0], fn (LOAD (last[0]), LOAD (last[1])));                            \
        for (size_t k = 0; i + k < n; k++)                                               \
            out[i + k] = last[0][k];                                                     \
    }

#if defined(__x86_64__)

#define SSE2_1(name, acc)                                                                \
    WIDE1 (sse2, , __m128d, 2, _mm_loadu_pd, _mm_storeu_pd, name,                        \
           Sleef_cinz_##name##d2_##acc##sse2)
#define SSE2_2(name, acc)                                                                \
    WIDE2 (sse2, , __m128d, 2, _mm_loadu_pd, _mm_storeu_pd, name,                        \
           Sleef_cinz_##name##d2_##acc##sse2)
UNARY (SSE2_1)
BINARY (SSE2_2)
#define SSE2_ENTRY(name, acc) ENTRY (sse2, name)
static const table_t sse2_table = {UNARY (SSE2_ENTRY) BINARY (SSE2_ENTRY)};

#define AVX_1(name, acc)                                                                 \
    WIDE1 (avx, __attribute__ ((target ("avx"))), __m256d, 4, _mm256_loadu_pd,           \
           _mm256_storeu_pd, name, Sleef_cinz_##name##d4_##acc##avx)
#define AVX_2(name, acc)                                                                 \
    WIDE2 (avx, __attribute__ ((target ("avx"))), __m256d, 4, _mm256_loadu_pd,           \
           _mm256_storeu_pd, name, Sleef_cinz_##name##d4_##acc##avx)
UNARY (AVX_1)
BINARY (AVX_2)
#define AVX_ENTRY(name, acc) ENTRY (avx, name)
static const table_t avx_table = {UNARY (AVX_ENTRY) BINARY (AVX_ENTRY)};

#define AVX512_1(name, acc)                                                              \
    WIDE1 (avx512, __attribute__ ((target ("avx512f"))), __m512d, 8, _mm512_loadu_pd,    \
           _mm512_storeu_pd, name, Sleef_cinz_##name##d8_##acc##avx512fnofma)
#define AVX512_2(name, acc)                                                              \
    WIDE2 (avx512, __attribute__ ((target ("avx512f"))), __m512d, 8, _mm512_loadu_pd,    \
           _mm512_storeu_pd, name, Sleef_cinz_##name##d8_##acc##avx512fnofma)
UNARY (AVX512_1)
BINARY (AVX512_2)
#define AVX512_ENTRY(name, acc) ENTRY (avx512, name)
static const table_t avx512_table = {UNARY (AVX512_ENTRY) BINARY (AVX512_ENTRY)};

static const table_t *const tables[VM_ISA_COUNT] = {
    [VM_SCALAR] = &scalar_table, [VM_SSE2] = &sse2_table, [VM_AVX] = &avx_table,
    [VM_AVX2] = &avx_table, /* SLEEF's family has none of its own */
    [VM_AVX512] = &avx512_table,
};

int vm_has_isa (vm_isa_t isa)
{
    switch (isa) {
    case VM_SCALAR:
    case VM_SSE2:
        return 1;
    case VM_AVX:
        return __builtin_cpu_supports ("avx") != 0;
    case VM_AVX2:
        return __builtin_cpu_supports ("avx2") != 0;
    case VM_AVX512:
        return __builtin_cpu_supports ("avx512f") != 0;
    default:
        return 0;
    }
}

#elif defined(__aarch64__)

#define NEON_1(name, acc)                                                                \
    WIDE1 (neon, , float64x2_t, 2, vld1q_f64, vst1q_f64, name,                           \
           Sleef_cinz_##name##d2_##acc##advsimdnofma)
#define NEON_2(name, acc)                                                                \
    WIDE2 (neon, , float64x2_t, 2, vld1q_f64, vst1q_f64, name,                           \
           Sleef_cinz_##name##d2_##acc##advsimdnofma)
UNARY (NEON_1)
BINARY (NEON_2)
#define NEON_ENTRY(name, acc) ENTRY (neon, name)
static const table_t neon_table = {UNARY (NEON_ENTRY) BINARY (NEON_ENTRY)};

static const table_t *const tables[VM_ISA_COUNT] = {
    [VM_SCALAR] = &scalar_table,
    [VM_NEON] = &neon_table,
};

int vm_has_isa (vm_isa_t isa)
{
    return isa == VM_SCALAR || isa == VM_NEON;
}

#else

static const table_t *const tables[VM_ISA_COUNT] = {[VM_SCALAR] = &scalar_table};

int vm_has_isa (vm_isa_t isa)
{
    return isa == VM_SCALAR;
}

#endif

static const char *const names[VM_ISA_COUNT] = {"scalar", "sse2",   "avx",
                                                "avx2",   "avx512", "neon"};

static vm_isa_t chosen = VM_SCALAR;
static const table_t *table = &scalar_table;

int vm_set_isa (vm_isa_t isa, sluice_error_t *err)
{
    if ((unsigned) isa >= VM_ISA_COUNT)
        return sluice_fail (err, SLUICE_EINPUT, "there is no instruction set number %d",
                            (int) isa);
    if (!vm_has_isa (isa))
        return sluice_fail (err, SLUICE_EINPUT,
                            "this CPU has no %s: unset SLUICE_ISA or set it to scalar",
                            names[isa]);
    chosen = isa;
    table = tables[isa];
    return 0;
}

int vm_init (sluice_error_t *err)
{
    const char *wish = getenv ("SLUICE_ISA");
    if (!wish || !*wish) {
        for (int isa = VM_ISA_COUNT - 1; isa > VM_SCALAR; isa--)
            if (vm_has_isa ((vm_isa_t) isa))
                return vm_set_isa ((vm_isa_t) isa, err);
        return vm_set_isa (VM_SCALAR, err);
    }
    for (int isa = 0; isa < VM_ISA_COUNT; isa++)
        if (strcmp (wish, names[isa]) == 0)
            return vm_set_isa ((vm_isa_t) isa, err);
    return sluice_fail (err, SLUICE_EINPUT,
                        "SLUICE_ISA=%s: not one of scalar, sse2, avx, avx2, avx512, neon",
                        wish);
}

vm_isa_t vm_isa (void)
{
    return chosen;
}

const char *vm_isa_name (void)
{
    return names[chosen];
}

#define PUBLIC1(name, acc)                                                               \
    void vm_##name##_n (double *out, const double *in, size_t n)                         \
    {                                                                                    \
        table->name (out, in, n);                                                        \
    }
#define PUBLIC2(name, acc)                                                               \
    void vm_##name##_n (double *out, const double *a, const double *b, size_t n)         \
    {                                                                                    \
        table->name (out, a, b, n);                                                      \
    }
UNARY (PUBLIC1)
BINARY (PUBLIC2)

#define SQRT1_2 0.70710678118654752440 /* 1 / sqrt 2 */

double vm_normal_cdf (double x)
{
    return 0.5 * vm_erfc (-x * SQRT1_2);
}

void vm_normal_cdf_n (double *out, const double *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = -in[i] * SQRT1_2;
    vm_erfc_n (out, out, n);
    for (size_t i = 0; i < n; i++)
        out[i] *= 0.5;
}
