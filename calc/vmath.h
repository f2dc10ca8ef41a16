/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* vmath.h - the one family of elementary functions of all built-in kernels
 *
 * A run must give the same bytes on every machine (invariant I6). glibc's exp,
 * log, sin and libmvec return other bits where the CPU has FMA than where it
 * has not, so kernels call nothing of libm but sqrt, fabs, floor and the like,
 * which IEEE 754 makes exact. They call the functions here instead: SLEEF's
 * `cinz` family, whose bits are the same in plain C, SSE2, AVX, AVX-512 and
 * Advanced SIMD, with FMA or without. Errors are at most 1 unit in the last
 * place (erfc 1.5, hypot 0.5).
 *
 * A result depends on its own argument only, never on the instruction set, on
 * the length of the array or on the place in it. The files that use this must
 * be compiled with -ffp-contract=off.
 *
 * The only state is the chosen table of functions, set once at the start by
 * vm_init; any thread may call the rest. Without vm_init plain C is used.
 */
#ifndef CALC_VMATH_H
#define CALC_VMATH_H

#include <stddef.h>

#include "sluice/error.h"

typedef enum {
    VM_SCALAR, /* plain C, any CPU */
    VM_SSE2,   /* 2 lanes, any x86-64 */
    VM_AVX,    /* 4 lanes, needs AVX (not AVX2) */
    VM_AVX2,   /* the same, and integers as wide */
    VM_AVX512, /* 8 lanes, needs AVX-512 F (not DQ) */
    VM_NEON,   /* 2 lanes, any 64-bit Arm */
    VM_ISA_COUNT
} vm_isa_t;

/* Choose the instruction set: the widest that the CPU has, or the one that the
 * environment variable SLUICE_ISA names (scalar, sse2, avx, avx2, avx512, neon). A name
 * that is unknown, or an instruction set that this CPU lacks, is an error
 * (SLUICE_EINPUT). Call it before other threads start. */
int vm_init (sluice_error_t *err);

/* Choose `isa`, as tests do. Same errors; the old choice then stays. */
int vm_set_isa (vm_isa_t isa, sluice_error_t *err);

/* Does this CPU (and system) have it? */
int vm_has_isa (vm_isa_t isa);

/* What is chosen, and its name as in SLUICE_ISA. */
vm_isa_t vm_isa (void);
const char *vm_isa_name (void);

/* One value. Angles in radians. */
double vm_exp (double x);
double vm_exp10 (double x);
double vm_expm1 (double x);
double vm_log (double x);
double vm_log10 (double x);
double vm_log1p (double x);
double vm_sin (double x);
double vm_cos (double x);
double vm_asin (double x);
double vm_acos (double x);
double vm_erfc (double x);
double vm_atan2 (double y, double x);
double vm_pow (double x, double y);
double vm_hypot (double x, double y);

/* The standard normal distribution function, as erfc (-x / sqrt 2) / 2. */
double vm_normal_cdf (double x);

/* `n` values: out[i] = f (in[i]). `out` may be `in`, otherwise they do not
 * overlap. No alignment is asked for. */
void vm_exp_n (double *out, const double *in, size_t n);
void vm_exp10_n (double *out, const double *in, size_t n);
void vm_expm1_n (double *out, const double *in, size_t n);
void vm_log_n (double *out, const double *in, size_t n);
void vm_log10_n (double *out, const double *in, size_t n);
void vm_log1p_n (double *out, const double *in, size_t n);
void vm_sin_n (double *out, const double *in, size_t n);
void vm_cos_n (double *out, const double *in, size_t n);
void vm_asin_n (double *out, const double *in, size_t n);
void vm_acos_n (double *out, const double *in, size_t n);
void vm_erfc_n (double *out, const double *in, size_t n);

/* out[i] = f (a[i], b[i]); `out` may be `a` or `b`. */
void vm_atan2_n (double *out, const double *y, const double *x, size_t n);
void vm_pow_n (double *out, const double *x, const double *y, size_t n);
void vm_hypot_n (double *out, const double *x, const double *y, size_t n);

/* out[i] = the normal distribution function of in[i]. */
void vm_normal_cdf_n (double *out, const double *in, size_t n);

#endif
