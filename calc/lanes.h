/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* lanes.h - a file of loops, compiled for each instruction set
 *
 * Includes LANES_FILE once for each instruction set of vmath.h, with these defined:
 *
 *   NAME (f)  the name of a function for this instruction set (f_scalar, f_avx512),
 *   TARGET    and its attribute
 *   VD        a vector of LANES doubles, at most 8. The operators + - * / work on it,
 *             and VD_SET, VD_LOAD, VD_STORE, VD_SQRT, VD_MIN (a < b ? a : b), VD_MAX
 *             (a > b ? a : b), VD_SIGNED (a, s) (|a| with the sign of s), VD_BEYOND
 *             (a, b) (bit k: |a[k]| > b, or NaN), VD_FLOATS (p, v) (store as floats),
 *             VD_POWER (s) (2^k for s = 1.5 2^52 + k, k from -1022 to 1023)
 *   VU        a vector of WORDS 64-bit integers: VU_SET, VU_LOAD, VU_ADD, VU_XOR3,
 *             VU_SHR, VU_MUL32 (products of the low halves), VU_MASK (v, m, b)
 *             ((v & m) | b)
 *   VE        a vector of WORDS doubles: + - *, VE_SET, VE_MIN, VE_OF (the bits of a
 *             VU taken as doubles), VE_PAIRS (p, a, b) (store a0 b0 a1 b1 ...)
 *   VD_COMPRESS (bits, v), VD_EXPAND (bits, v, w)   where there are such: the chosen
 *             lanes of v first; v with its chosen lanes replaced by the first of w
 *
 * All this is exact or rounds as IEEE 754 says, and the build has -ffp-contract=off:
 * every instruction set gives the same bits.
 *
 * LANES_ROWS (ROW) then makes the elements of a table indexed by vm_isa_t: it calls
 * ROW (scalar), ROW (avx512) ... for those that this machine's kind can have.
 *
 * No include guard: it may be included for several LANES_FILEs, one after another.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LANES_GLUE_(a, b) a##_##b
#define LANES_GLUE(a, b) LANES_GLUE_ (a, b)
#define NAME(f) LANES_GLUE (f, LANES_ISA)

#ifndef LANES_ROWS
#if defined(__x86_64__)
#define LANES_ROWS(ROW)                                                                  \
    [VM_SCALAR] = ROW (scalar), [VM_SSE2] = ROW (sse2), [VM_AVX] = ROW (avx),            \
    [VM_AVX2] = ROW (avx2), [VM_AVX512] = ROW (avx512)
#else
#define LANES_ROWS(ROW) [VM_SCALAR] = ROW (scalar), [VM_NEON] = ROW (scalar)
#endif

static inline double lanes_double (uint64_t bits)
{
    double value;
    memcpy (&value, &bits, sizeof value);
    return value;
}

static inline uint64_t lanes_bits (double value)
{
    uint64_t bits;
    memcpy (&bits, &value, sizeof bits);
    return bits;
}
#endif

/* ---- plain C --------------------------------------------------------------------------
 */

#define LANES_ISA scalar
#define TARGET
#define LANES 1
#define VD double
#define VD_SET(x) (x)
#define VD_LOAD(p) (*(p))
#define VD_STORE(p, v) (*(p) = (v))
#define VD_SQRT(v) sqrt (v)
#define VD_MIN(a, b) ((a) < (b) ? (a) : (b))
#define VD_MAX(a, b) ((a) > (b) ? (a) : (b))
#define VD_SIGNED(a, s) copysign (a, s)
#define VD_BEYOND(a, b) (!(fabs (a) <= (b)))
#define VD_FLOATS(p, v) (*(p) = (float) (v))
#define VD_POWER(s) lanes_double ((lanes_bits (s) + 1023) << 52)
#define WORDS 1
#define VU uint64_t
#define VU_SET(x) ((uint64_t) (x))
#define VU_LOAD(p) (*(p))
#define VU_ADD(a, b) ((a) + (b))
#define VU_XOR3(a, b, c) ((a) ^ (b) ^ (c))
#define VU_SHR(v, bits) ((v) >> (bits))
#define VU_MUL32(a, b) ((uint64_t) (uint32_t) (a) * (uint32_t) (b))
#define VU_MASK(v, m, b) (((v) & (m)) | (b))
#define VE double
#define VE_SET(x) (x)
#define VE_MIN(a, b) VD_MIN (a, b)
#define VE_OF(v) lanes_double (v)
#define VE_PAIRS(p, a, b) ((p)[0] = (a), (p)[1] = (b))
#include LANES_FILE
#undef LANES_ISA
#undef TARGET
#undef LANES
#undef VD
#undef VD_SET
#undef VD_LOAD
#undef VD_STORE
#undef VD_SQRT
#undef VD_MIN
#undef VD_MAX
#undef VD_SIGNED
#undef VD_BEYOND
#undef VD_FLOATS
#undef VD_POWER
#undef WORDS
#undef VU
#undef VU_SET
#undef VU_LOAD
#undef VU_ADD
#undef VU_XOR3
#undef VU_SHR
#undef VU_MUL32
#undef VU_MASK
#undef VE
#undef VE_SET
#undef VE_MIN
#undef VE_OF
#undef VE_PAIRS

#if defined(__x86_64__)

/* ---- 128 bits: the integers of AVX, too, which has no wider ones
 * ------------------------ */

#define WORDS 2
#define VU __m128i
#define VU_SET(x) _mm_set1_epi64x ((long long) (x))
#define VU_LOAD(p) _mm_loadu_si128 ((const __m128i *) (p))
#define VU_ADD(a, b) _mm_add_epi64 (a, b)
#define VU_XOR3(a, b, c) _mm_xor_si128 (_mm_xor_si128 (a, b), c)
#define VU_SHR(v, bits) _mm_srli_epi64 (v, bits)
#define VU_MUL32(a, b) _mm_mul_epu32 (a, b)
#define VU_MASK(v, m, b) _mm_or_si128 (_mm_and_si128 (v, m), b)
#define VE __m128d
#define VE_SET(x) _mm_set1_pd (x)
#define VE_MIN(a, b) _mm_min_pd (a, b)
#define VE_OF(v) _mm_castsi128_pd (v)
#define VE_PAIRS(p, a, b)                                                                \
    (_mm_storeu_pd (p, _mm_unpacklo_pd (a, b)),                                          \
     _mm_storeu_pd ((p) + 2, _mm_unpackhi_pd (a, b)))

#define LANES_ISA sse2
#define TARGET
#define LANES 2
#define VD __m128d
#define VD_SET(x) _mm_set1_pd (x)
#define VD_LOAD(p) _mm_loadu_pd (p)
#define VD_STORE(p, v) _mm_storeu_pd (p, v)
#define VD_SQRT(v) _mm_sqrt_pd (v)
#define VD_MIN(a, b) _mm_min_pd (a, b)
#define VD_MAX(a, b) _mm_max_pd (a, b)
#define VD_SIGN _mm_set1_pd (-0.0)
#define VD_SIGNED(a, s) _mm_or_pd (_mm_andnot_pd (VD_SIGN, a), _mm_and_pd (VD_SIGN, s))
#define VD_BEYOND(a, b)                                                                  \
    _mm_movemask_pd (_mm_cmpnle_pd (_mm_andnot_pd (VD_SIGN, a), _mm_set1_pd (b)))
#define VD_FLOATS(p, v) _mm_storel_pi ((__m64 *) (p), _mm_cvtpd_ps (v))
#define POWER_2(s)                                                                       \
    _mm_castsi128_pd (_mm_slli_epi64 (                                                   \
        _mm_add_epi64 (_mm_castpd_si128 (s), _mm_set1_epi64x (1023)), 52))
#define VD_POWER(s) POWER_2 (s)
#include LANES_FILE
#undef LANES_ISA
#undef TARGET
#undef LANES
#undef VD
#undef VD_SET
#undef VD_LOAD
#undef VD_STORE
#undef VD_SQRT
#undef VD_MIN
#undef VD_MAX
#undef VD_SIGN
#undef VD_SIGNED
#undef VD_BEYOND
#undef VD_FLOATS
#undef VD_POWER

/* ---- doubles of 256 bits
 * ----------------------------------------------------------------- */

#define LANES_ISA avx
#define TARGET __attribute__ ((target ("avx")))
#define LANES 4
#define VD __m256d
#define VD_SET(x) _mm256_set1_pd (x)
#define VD_LOAD(p) _mm256_loadu_pd (p)
#define VD_STORE(p, v) _mm256_storeu_pd (p, v)
#define VD_SQRT(v) _mm256_sqrt_pd (v)
#define VD_MIN(a, b) _mm256_min_pd (a, b)
#define VD_MAX(a, b) _mm256_max_pd (a, b)
#define VD_SIGN _mm256_set1_pd (-0.0)
#define VD_SIGNED(a, s)                                                                  \
    _mm256_or_pd (_mm256_andnot_pd (VD_SIGN, a), _mm256_and_pd (VD_SIGN, s))
#define VD_BEYOND(a, b)                                                                  \
    _mm256_movemask_pd (                                                                 \
        _mm256_cmp_pd (_mm256_andnot_pd (VD_SIGN, a), _mm256_set1_pd (b), _CMP_NLE_UQ))
#define VD_FLOATS(p, v) _mm_storeu_ps (p, _mm256_cvtpd_ps (v))
#define VD_POWER(s)                                                                      \
    _mm256_insertf128_pd (_mm256_castpd128_pd256 (POWER_2 (_mm256_castpd256_pd128 (s))), \
                          POWER_2 (_mm256_extractf128_pd (s, 1)), 1)
#include LANES_FILE
#undef LANES_ISA
#undef TARGET
#undef WORDS
#undef VU
#undef VU_SET
#undef VU_LOAD
#undef VU_ADD
#undef VU_XOR3
#undef VU_SHR
#undef VU_MUL32
#undef VU_MASK
#undef VE
#undef VE_SET
#undef VE_MIN
#undef VE_OF
#undef VE_PAIRS

/* The same doubles with integers of 256 bits. */
#define LANES_ISA avx2
#define TARGET __attribute__ ((target ("avx2")))
#undef VD_POWER
#define VD_POWER(s)                                                                      \
    _mm256_castsi256_pd (_mm256_slli_epi64 (                                             \
        _mm256_add_epi64 (_mm256_castpd_si256 (s), _mm256_set1_epi64x (1023)), 52))
#define WORDS 4
#define VU __m256i
#define VU_SET(x) _mm256_set1_epi64x ((long long) (x))
#define VU_LOAD(p) _mm256_loadu_si256 ((const __m256i *) (p))
#define VU_ADD(a, b) _mm256_add_epi64 (a, b)
#define VU_XOR3(a, b, c) _mm256_xor_si256 (_mm256_xor_si256 (a, b), c)
#define VU_SHR(v, bits) _mm256_srli_epi64 (v, bits)
#define VU_MUL32(a, b) _mm256_mul_epu32 (a, b)
#define VU_MASK(v, m, b) _mm256_or_si256 (_mm256_and_si256 (v, m), b)
#define VE __m256d
#define VE_SET(x) _mm256_set1_pd (x)
#define VE_MIN(a, b) _mm256_min_pd (a, b)
#define VE_OF(v) _mm256_castsi256_pd (v)
/* unpack has 0 2 and 1 3 of each pair of halves: put them in order. */
#define VE_PAIRS(p, a, b)                                                                \
    (_mm256_storeu_pd (p, _mm256_permute2f128_pd (_mm256_unpacklo_pd (a, b),             \
                                                  _mm256_unpackhi_pd (a, b), 0x20)),     \
     _mm256_storeu_pd ((p) + 4,                                                          \
                       _mm256_permute2f128_pd (_mm256_unpacklo_pd (a, b),                \
                                               _mm256_unpackhi_pd (a, b), 0x31)))
#include LANES_FILE
#undef LANES_ISA
#undef TARGET
#undef LANES
#undef VD
#undef VD_SET
#undef VD_LOAD
#undef VD_STORE
#undef VD_SQRT
#undef VD_MIN
#undef VD_MAX
#undef VD_SIGN
#undef VD_SIGNED
#undef VD_BEYOND
#undef VD_FLOATS
#undef VD_POWER
#undef WORDS
#undef VU
#undef VU_SET
#undef VU_LOAD
#undef VU_ADD
#undef VU_XOR3
#undef VU_SHR
#undef VU_MUL32
#undef VU_MASK
#undef VE
#undef VE_SET
#undef VE_MIN
#undef VE_OF
#undef VE_PAIRS

#undef POWER_2

/* ---- 512 bits: AVX-512 F alone
 * ------------------------------------------------------------ */

#define LANES_ISA avx512
#define TARGET __attribute__ ((target ("avx512f")))
#define LANES 8
#define VD __m512d
#define VD_SET(x) _mm512_set1_pd (x)
#define VD_LOAD(p) _mm512_loadu_pd (p)
#define VD_STORE(p, v) _mm512_storeu_pd (p, v)
#define VD_SQRT(v) _mm512_sqrt_pd (v)
#define VD_MIN(a, b) _mm512_min_pd (a, b)
#define VD_MAX(a, b) _mm512_max_pd (a, b)
#define VD_SIGNED(a, s)                                                                  \
    _mm512_castsi512_pd (_mm512_ternarylogic_epi64 (_mm512_set1_epi64 (INT64_MIN),       \
                                                    _mm512_castpd_si512 (s),             \
                                                    _mm512_castpd_si512 (a), 0xca))
#define VD_BEYOND(a, b)                                                                  \
    _mm512_cmp_pd_mask (_mm512_abs_pd (a), _mm512_set1_pd (b), _CMP_NLE_UQ)
#define VD_FLOATS(p, v) _mm256_storeu_ps (p, _mm512_cvtpd_ps (v))
#define VD_POWER(s)                                                                      \
    _mm512_castsi512_pd (_mm512_slli_epi64 (                                             \
        _mm512_add_epi64 (_mm512_castpd_si512 (s), _mm512_set1_epi64 (1023)), 52))
#define VD_COMPRESS(bits, v) _mm512_maskz_compress_pd ((__mmask8) (bits), v)
#define VD_EXPAND(bits, v, w) _mm512_mask_expand_pd (v, (__mmask8) (bits), w)
#define WORDS 8
#define VU __m512i
#define VU_SET(x) _mm512_set1_epi64 ((long long) (x))
#define VU_LOAD(p) _mm512_loadu_si512 (p)
#define VU_ADD(a, b) _mm512_add_epi64 (a, b)
#define VU_XOR3(a, b, c) _mm512_ternarylogic_epi64 (a, b, c, 0x96)
#define VU_SHR(v, bits) _mm512_srli_epi64 (v, bits)
#define VU_MUL32(a, b) _mm512_mul_epu32 (a, b)
#define VU_MASK(v, m, b) _mm512_ternarylogic_epi64 (v, m, b, 0xea)
#define VE __m512d
#define VE_SET(x) _mm512_set1_pd (x)
#define VE_MIN(a, b) _mm512_min_pd (a, b)
#define VE_OF(v) _mm512_castsi512_pd (v)
#define VE_PAIRS(p, a, b)                                                                \
    (_mm512_storeu_pd (                                                                  \
         p, _mm512_permutex2var_pd (a, _mm512_set_epi64 (11, 3, 10, 2, 9, 1, 8, 0), b)), \
     _mm512_storeu_pd (                                                                  \
         (p) + 8,                                                                        \
         _mm512_permutex2var_pd (a, _mm512_set_epi64 (15, 7, 14, 6, 13, 5, 12, 4), b)))
#include LANES_FILE
#undef LANES_ISA
#undef TARGET
#undef LANES
#undef VD
#undef VD_SET
#undef VD_LOAD
#undef VD_STORE
#undef VD_SQRT
#undef VD_MIN
#undef VD_MAX
#undef VD_SIGNED
#undef VD_BEYOND
#undef VD_FLOATS
#undef VD_POWER
#undef VD_COMPRESS
#undef VD_EXPAND
#undef WORDS
#undef VU
#undef VU_SET
#undef VU_LOAD
#undef VU_ADD
#undef VU_XOR3
#undef VU_SHR
#undef VU_MUL32
#undef VU_MASK
#undef VE
#undef VE_SET
#undef VE_MIN
#undef VE_OF
#undef VE_PAIRS

#endif
#undef NAME
#undef LANES_GLUE
#undef LANES_GLUE_
#undef LANES_FILE
