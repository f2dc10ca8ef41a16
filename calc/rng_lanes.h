/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* rng_lanes.h - the loops of rng.c for one instruction set (see lanes.h)
 *
 * No include guard: that is on purpose.
 */

/* rng_u01 of 64 bits each, of which the words hold the halves (and leavings above):
 * the integer x >> 11 is made of two that lie in the digits of 2^73 and 2^52. */
TARGET static inline VE NAME (number) (VU low, VU high)
{
    const VU two_73 = VU_SET (0x4480000000000000), two_52 = VU_SET (0x4330000000000000);
    VE above = VE_OF (VU_MASK (high, VU_SET (0xffffffff), two_73));
    VE below = VE_OF (VU_MASK (VU_SHR (low, 11), VU_SET (0x1fffff), two_52));
    VE x = (above - VE_SET (0x1p73 + 0x1p52)) + below; /* exact */
    return VE_MIN ((x + VE_SET (0.5)) * VE_SET (0x1p-53), VE_SET (BELOW_ONE));
}

/* The draws of `blocks` blocks (a multiple of 2 WORDS) from `block` on, as rng_u01 makes
 * numbers of them. Two vectors at a time: a round waits for the one before. */
TARGET static void NAME (uniform) (const rng_stream_t *stream, uint32_t block,
                                   size_t blocks, double *u)
{
    static const uint64_t count[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const VU m0 = VU_SET (PHILOX_M4x32_0), m1 = VU_SET (PHILOX_M4x32_1);
    const VU stage = VU_SET (stream->stage), item0 = VU_SET (stream->item & UINT32_MAX),
             item1 = VU_SET (stream->item >> 32);
    VU key0[10], key1[10];
    for (uint32_t round = 0; round < 10; round++) {
        key0[round] = VU_SET ((uint32_t) stream->seed + round * PHILOX_W32_0);
        key1[round] = VU_SET ((uint32_t) (stream->seed >> 32) + round * PHILOX_W32_1);
    }
    for (size_t done = 0; done < blocks; done += 2 * WORDS) {
        VU a0 = VU_ADD (VU_LOAD (count), VU_SET (block + done)), a1 = stage;
        VU a2 = item0, a3 = item1;
        VU b0 = VU_ADD (VU_LOAD (count), VU_SET (block + done + WORDS)), b1 = stage;
        VU b2 = item0, b3 = item1;
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            VU p0 = VU_MUL32 (m0, a0), p1 = VU_MUL32 (m1, a2);
            VU q0 = VU_MUL32 (m0, b0), q1 = VU_MUL32 (m1, b2);
            /* The high halves of the lanes hold leavings that VU_MUL32 ignores. */
            a0 = VU_XOR3 (VU_SHR (p1, 32), a1, key0[round]);
            a2 = VU_XOR3 (VU_SHR (p0, 32), a3, key1[round]);
            b0 = VU_XOR3 (VU_SHR (q1, 32), b1, key0[round]);
            b2 = VU_XOR3 (VU_SHR (q0, 32), b3, key1[round]);
            a1 = p1, a3 = p0;
            b1 = q1, b3 = q0;
        }
        VE_PAIRS (u + 2 * done, NAME (number) (a0, a1), NAME (number) (a2, a3));
        VE_PAIRS (u + 2 * (done + WORDS), NAME (number) (b0, b1), NAME (number) (b2, b3));
    }
}

/* x of `n` values (a multiple of 16): p = low + u span and the central formula, which is
 * right where |p - 1/2| <= 0.425. p replaces u. Bit k of tails[i] says that x[8 i + k]
 * is not right. */
TARGET static void NAME (centre) (double *x, double *u, uint8_t *tails, size_t n,
                                  double low, double span)
{
    memset (tails, 0, n / 8);
    for (size_t i = 0; i < n; i += 2 * LANES) {
        VD p0 = VD_SET (low) + VD_LOAD (u + i) * VD_SET (span);
        VD p1 = VD_SET (low) + VD_LOAD (u + i + LANES) * VD_SET (span);
        VD_STORE (u + i, p0);
        VD_STORE (u + i + LANES, p1);
        VD q0 = p0 - VD_SET (0.5), q1 = p1 - VD_SET (0.5);
        VD r0 = VD_SET (0.180625) - q0 * q0, r1 = VD_SET (0.180625) - q1 * q1;
        VD a0 = VD_SET (centre_a[7]), b0 = VD_SET (centre_b[7]), a1 = a0, b1 = b0;
#pragma GCC unroll 7
        for (int j = 6; j >= 0; j--) {
            a0 = a0 * r0 + VD_SET (centre_a[j]);
            b0 = b0 * r0 + VD_SET (centre_b[j]);
            a1 = a1 * r1 + VD_SET (centre_a[j]);
            b1 = b1 * r1 + VD_SET (centre_b[j]);
        }
        VD_STORE (x + i, q0 * a0 / b0);
        VD_STORE (x + i + LANES, q1 * a1 / b1);
        unsigned bits0 = (unsigned) VD_BEYOND (q0, 0.425),
                 bits1 = (unsigned) VD_BEYOND (q1, 0.425);
        tails[i / 8] |= (uint8_t) (bits0 << i % 8);
        tails[(i + LANES) / 8] |= (uint8_t) (bits1 << (i + LANES) % 8);
    }
}

/* The smaller of p and 1 - p of those in the tails, one after another. Returns how many
 * there are; room for 8 more is needed. */
TARGET static size_t NAME (gather) (double *smaller, const double *p,
                                    const uint8_t *tails, size_t n)
{
    size_t count = 0;
#ifdef VD_COMPRESS
    for (size_t i = 0; i < n; i += 8) {
        VD v = VD_LOAD (p + i);
        VD_STORE (smaller + count,
                  VD_COMPRESS (tails[i / 8], VD_MIN (v, VD_SET (1.0) - v)));
        count += (size_t) __builtin_popcount (tails[i / 8]);
    }
#else
    for (size_t i = 0; i < n; i += 64)
        for (uint64_t bits = word_of (tails + i / 8); bits; bits &= bits - 1) {
            double v = p[i + (size_t) __builtin_ctzll (bits)], other = 1.0 - v;
            smaller[count++] = v < other ? v : other;
        }
#endif
    return count;
}

/* r = sqrt (-log p) and the formula for r <= 5, over `n` values (a multiple of 16)
 * of log p; r replaces log p. Returns the largest r. */
TARGET static double NAME (tail) (double *x, double *log_p, size_t n)
{
    VD most = VD_SET (0.0);
    double each[LANES], largest = 0.0;
    for (size_t i = 0; i < n; i += 2 * LANES) {
        VD r0 = VD_SQRT (VD_SET (0.0) - VD_LOAD (log_p + i));
        VD r1 = VD_SQRT (VD_SET (0.0) - VD_LOAD (log_p + i + LANES));
        VD_STORE (log_p + i, r0);
        VD_STORE (log_p + i + LANES, r1);
        most = VD_MAX (r0, most);
        most = VD_MAX (r1, most);
        r0 = r0 - VD_SET (1.6);
        r1 = r1 - VD_SET (1.6);
        VD a0 = VD_SET (tail_c[7]), b0 = VD_SET (tail_d[7]), a1 = a0, b1 = b0;
#pragma GCC unroll 7
        for (int j = 6; j >= 0; j--) {
            a0 = a0 * r0 + VD_SET (tail_c[j]);
            b0 = b0 * r0 + VD_SET (tail_d[j]);
            a1 = a1 * r1 + VD_SET (tail_c[j]);
            b1 = b1 * r1 + VD_SET (tail_d[j]);
        }
        VD_STORE (x + i, a0 / b0);
        VD_STORE (x + i + LANES, a1 / b1);
    }
    VD_STORE (each, most);
    for (size_t k = 0; k < LANES; k++)
        largest = each[k] > largest ? each[k] : largest;
    return largest;
}

/* Put the values of the tails where they belong, with the sign of p - 1/2, and hold all
 * within +-most: `n` values (a multiple of 8). `out` may be `x`, which is overwritten. */
TARGET static void NAME (settle) (double *out, double *x, const double *p,
                                  const uint8_t *tails, const double *values, double most,
                                  size_t n)
{
#ifndef VD_EXPAND
    for (size_t i = 0; i < n; i += 64)
        for (uint64_t bits = word_of (tails + i / 8); bits; bits &= bits - 1) {
            size_t k = i + (size_t) __builtin_ctzll (bits);
            x[k] = copysign (*values++, p[k] - 0.5);
        }
#endif
    for (size_t i = 0; i < n; i += LANES) {
        VD v = VD_LOAD (x + i);
#ifdef VD_EXPAND
        v = VD_EXPAND (tails[i / 8], v, VD_LOAD (values));
        v = VD_SIGNED (v, VD_LOAD (p + i) - VD_SET (0.5));
        values += __builtin_popcount (tails[i / 8]);
#endif
        v = VD_MIN (v, VD_SET (most));
        VD_STORE (out + i, VD_MAX (v, VD_SET (-most)));
    }
}
