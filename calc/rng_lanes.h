/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* rng_lanes.h - the loops of rng.c for one instruction set
 *
 * Included by rng.c once for each, with these defined: ISA (suffix of the
 * names), TARGET (function attribute), WORDS (lanes of 64-bit integers), VU
 * (their vector), VU_SET (x), MUL32 (a, b) (products of the low halves), SHR and
 * SHL (v, bits), VU_ADD, VU_XOR, STORE_PAIRS (p, a, b) (a0 b0 a1 b1 ...), and
 * LANES, VD, VD_SET, VD_LOAD, VD_STORE, VD_SQRT of doubles. They are undefined
 * at the end. VD is a vector type of the compiler or a double, so + - * / work;
 * they are exact in IEEE 754, so every instruction set gives the same bits.
 *
 * No include guard: that is on purpose.
 */
#define GLUE_(a, b) a##_##b
#define GLUE(a, b) GLUE_ (a, b)
#define NAME(a) GLUE (a, ISA)

/* 64-bit draws of `blocks` blocks (a multiple of WORDS) from `block` on. */
TARGET static void NAME (draw) (const rng_stream_t *stream, uint32_t block, size_t blocks,
                                uint64_t *out)
{
    for (size_t done = 0; done < blocks; done += WORDS) {
        uint64_t first[WORDS];
        for (size_t k = 0; k < WORDS; k++)
            first[k] = (uint32_t) (block + done + k);
        VU c0, c1 = VU_SET (stream->stage);
        memcpy (&c0, first, sizeof c0);
        VU c2 = VU_SET (stream->item & UINT32_MAX), c3 = VU_SET (stream->item >> 32);
        uint32_t key0 = (uint32_t) stream->seed, key1 = (uint32_t) (stream->seed >> 32);
        const VU m0 = VU_SET (PHILOX_M4x32_0), m1 = VU_SET (PHILOX_M4x32_1);
        for (int round = 0; round < 10; round++) {
            VU p0 = MUL32 (m0, c0), p1 = MUL32 (m1, c2);
            /* The high halves of the lanes hold leavings that MUL32 ignores. */
            c0 = VU_XOR (VU_XOR (SHR (p1, 32), c1), VU_SET (key0));
            c2 = VU_XOR (VU_XOR (SHR (p0, 32), c3), VU_SET (key1));
            c1 = p1;
            c3 = p0;
            key0 += PHILOX_W32_0;
            key1 += PHILOX_W32_1;
        }
        VU low = VU_ADD (SHR (SHL (c0, 32), 32), SHL (c1, 32));
        VU high = VU_ADD (SHR (SHL (c2, 32), 32), SHL (c3, 32));
        STORE_PAIRS (out + 2 * done, low, high);
    }
}

/* x of `n` values (a multiple of 8): Phi (-t) + u span and the central formula,
 * right where |u - 1/2| <= 0.425. u is kept in `u`. */
TARGET static void NAME (centre) (double *x, double *u, size_t n, double low, double span)
{
    for (size_t i = 0; i < n; i += LANES) {
        VD p = VD_SET (low) + VD_LOAD (u + i) * VD_SET (span);
        VD_STORE (u + i, p);
        VD q = p - VD_SET (0.5);
        VD r = VD_SET (0.180625) - q * q;
        VD a = VD_SET (centre_a[7]), b = VD_SET (centre_b[7]);
        for (int k = 6; k >= 0; k--) {
            a = a * r + VD_SET (centre_a[k]);
            b = b * r + VD_SET (centre_b[k]);
        }
        VD_STORE (x + i, q * a / b);
    }
}

/* r = sqrt (-log p) and the formula for r <= 5, over `n` values (a multiple of 8)
 * of log p; r replaces log p. */
TARGET static void NAME (tail) (double *x, double *log_p, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        VD r = VD_SQRT (VD_SET (0.0) - VD_LOAD (log_p + i));
        VD_STORE (log_p + i, r);
        r = r - VD_SET (1.6);
        VD a = VD_SET (tail_c[7]), b = VD_SET (tail_d[7]);
        for (int k = 6; k >= 0; k--) {
            a = a * r + VD_SET (tail_c[k]);
            b = b * r + VD_SET (tail_d[k]);
        }
        VD_STORE (x + i, a / b);
    }
}

#undef GLUE_
#undef GLUE
#undef NAME
#undef ISA
#undef TARGET
#undef WORDS
#undef VU
#undef VU_SET
#undef MUL32
#undef SHR
#undef SHL
#undef VU_ADD
#undef VU_XOR
#undef STORE_PAIRS
#undef LANES
#undef VD
#undef VD_SET
#undef VD_LOAD
#undef VD_STORE
#undef VD_SQRT
