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

/* The draws of `blocks` blocks (a multiple of WORDS) from `block` on, as rng_u01
 * makes numbers of them. */
TARGET static void NAME (uniform) (const rng_stream_t *stream, uint32_t block,
                                   size_t blocks, double *u)
{
    static const uint64_t count[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const VU m0 = VU_SET (PHILOX_M4x32_0), m1 = VU_SET (PHILOX_M4x32_1);
    VU key0[10], key1[10];
    for (uint32_t round = 0; round < 10; round++) {
        key0[round] = VU_SET ((uint32_t) stream->seed + round * PHILOX_W32_0);
        key1[round] = VU_SET ((uint32_t) (stream->seed >> 32) + round * PHILOX_W32_1);
    }
    for (size_t done = 0; done < blocks; done += WORDS) {
        VU c0 = VU_ADD (VU_LOAD (count), VU_SET (block + done));
        VU c1 = VU_SET (stream->stage);
        VU c2 = VU_SET (stream->item & UINT32_MAX), c3 = VU_SET (stream->item >> 32);
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            VU p0 = VU_MUL32 (m0, c0), p1 = VU_MUL32 (m1, c2);
            /* The high halves of the lanes hold leavings that VU_MUL32 ignores. */
            c0 = VU_XOR3 (VU_SHR (p1, 32), c1, key0[round]);
            c2 = VU_XOR3 (VU_SHR (p0, 32), c3, key1[round]);
            c1 = p1;
            c3 = p0;
        }
        VE_PAIRS (u + 2 * done, NAME (number) (c0, c1), NAME (number) (c2, c3));
    }
}

/* x of `n` values (a multiple of 8): p = low + u span and the central formula, which is
 * right where |p - 1/2| <= 0.425. p replaces u. Bit k of tails[i] says that x[8 i + k]
 * is not right. */
TARGET static void NAME (centre) (double *x, double *u, uint8_t *tails, size_t n,
                                  double low, double span)
{
    for (size_t i = 0; i < n; i += 8) {
        unsigned bits = 0;
#pragma GCC unroll 8
        for (size_t k = 0; k < 8; k += LANES) {
            VD p = VD_SET (low) + VD_LOAD (u + i + k) * VD_SET (span);
            VD_STORE (u + i + k, p);
            VD q = p - VD_SET (0.5);
            VD r = VD_SET (0.180625) - q * q;
            VD a = VD_SET (centre_a[7]), b = VD_SET (centre_b[7]);
#pragma GCC unroll 7
            for (int j = 6; j >= 0; j--) {
                a = a * r + VD_SET (centre_a[j]);
                b = b * r + VD_SET (centre_b[j]);
            }
            VD_STORE (x + i + k, q * a / b);
            bits |= (unsigned) VD_BEYOND (q, 0.425) << k;
        }
        tails[i / 8] = (uint8_t) bits;
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

/* r = sqrt (-log p) and the formula for r <= 5, over `n` values (a multiple of 8)
 * of log p; r replaces log p. Returns the largest r. */
TARGET static double NAME (tail) (double *x, double *log_p, size_t n)
{
    VD most = VD_SET (0.0);
    double each[LANES], largest = 0.0;
    for (size_t i = 0; i < n; i += LANES) {
        VD r = VD_SQRT (VD_SET (0.0) - VD_LOAD (log_p + i));
        VD_STORE (log_p + i, r);
        most = VD_MAX (r, most);
        r = r - VD_SET (1.6);
        VD a = VD_SET (tail_c[7]), b = VD_SET (tail_d[7]);
#pragma GCC unroll 7
        for (int j = 6; j >= 0; j--) {
            a = a * r + VD_SET (tail_c[j]);
            b = b * r + VD_SET (tail_d[j]);
        }
        VD_STORE (x + i, a / b);
    }
    VD_STORE (each, most);
    for (size_t k = 0; k < LANES; k++)
        largest = each[k] > largest ? each[k] : largest;
    return largest;
}

/* Put the values of the tails where they belong, with the sign of p - 1/2. */
TARGET static void NAME (scatter) (double *x, const double *p, const uint8_t *tails,
                                   const double *values, size_t n)
{
#ifdef VD_EXPAND
    for (size_t i = 0; i < n; i += 8) {
        VD v = VD_EXPAND (tails[i / 8], VD_LOAD (x + i), VD_LOAD (values));
        VD_STORE (x + i, VD_SIGNED (v, VD_LOAD (p + i) - VD_SET (0.5)));
        values += __builtin_popcount (tails[i / 8]);
    }
#else
    for (size_t i = 0; i < n; i += 64)
        for (uint64_t bits = word_of (tails + i / 8); bits; bits &= bits - 1) {
            size_t k = i + (size_t) __builtin_ctzll (bits);
            x[k] = copysign (*values++, p[k] - 0.5);
        }
#endif
}

/* out = x held within +-most, of any `n` values. */
TARGET static void NAME (clip) (double *out, const double *x, double most, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        VD v = VD_MIN (VD_LOAD (x + i), VD_SET (most));
        VD_STORE (out + i, VD_MAX (v, VD_SET (-most)));
    }
    for (; i < n; i++) {
        double v = x[i] < most ? x[i] : most;
        out[i] = v > -most ? v : -most;
    }
}
