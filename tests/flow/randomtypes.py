# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

"""Random dtypes and arrays of NumPy, and whether what came back is the same bits:
what the property tests share.
"""

import numpy as np

PLAIN = ['<i1', '<i2', '<i4', '<i8', '<u1', '<u2', '<u4', '<u8', '>i2', '>i4', '>i8',
         '>u2', '>u4', '>u8', '<f2', '<f4', '<f8', '>f2', '>f4', '>f8', '<f16', '|b1',
         '<c8', '<c16', '>c8', '>c16', '|S1', '|S7', '<U1', '<U5', '>U3', '<M8[us]',
         '<M8[D]', '<M8[25s]', '>M8[ns]', '<m8[ms]', '<m8[h]', '>m8[25us]', '<M8',
         '<c32']
NAMES = ['x', 'y', 'gmv_SA(1.0)', 'a:b', 'Köln', 'it\'s', 'with space', '{}', '#', '地震',
         ' in front', 'behind ', '\\', 'a\\:b', ',@', '"both\'"']


def is_long(dtype):
    """Of long doubles, of which 10 bytes are the value on x86."""
    return dtype.kind + str(dtype.itemsize) in ('f16', 'c32')


def fill(rng, dtype, shape):
    """Any bits that a value of this dtype can have."""
    if dtype.subdtype:
        base, inner = dtype.subdtype
        return fill(rng, base, shape + inner)
    a = np.zeros(shape, dtype)
    if dtype.names:
        for name in dtype.names:
            a[name] = fill(rng, dtype[name], shape)
        return a
    n = a.size
    if dtype.kind == 'U':
        chars = [chr(c) for c in (0x41, 0xe9, 0x7ff, 0x20ac, 0xffff, 0x10000, 0x10ffff, 0x20)]
        width = dtype.itemsize // 4
        for i in np.ndindex(a.shape):
            a[i] = ''.join(rng.choice(chars) for _ in range(rng.randrange(width + 1)))
    elif dtype.kind == 'b':
        a[...] = (np.frombuffer(rng.randbytes(n), 'u1') & 1).astype(bool).reshape(shape)
    elif is_long(dtype):  # 6 bytes of it are no value, and not all bits of the others
        a[...] = np.array([rng.uniform(-1, 1) for _ in range(n)]).reshape(shape)
        if dtype.kind == 'c':
            a.imag = np.array([rng.uniform(-1, 1) for _ in range(n)]).reshape(shape)
    else:
        a[...] = np.frombuffer(rng.randbytes(n * dtype.itemsize), dtype, n).reshape(shape)
    return a


def random_dtype(rng, plain=tuple(PLAIN), aligned=0.5, depth=0):
    """A record of records, or of what is in `plain`; each is aligned with this chance."""
    if depth < 3 and rng.random() < 0.5:
        names = rng.sample(NAMES, rng.randrange(1, 5))
        fields = [(name, random_dtype(rng, plain, aligned, depth + 1)) for name in names]
        fields = [f if rng.random() < 0.7 else f + ((rng.randrange(1, 4), 2)[:rng.randrange(1, 3)],)
                  for f in fields]
        return np.dtype(fields, align=rng.random() < aligned)
    return np.dtype(rng.choice(plain))


def leaves(a, path=()):
    """All that lies in an array, without the gaps between fields."""
    if a.dtype.names:
        for name in a.dtype.names:
            yield from leaves(a[name], path + (name,))
    else:
        yield path, a


def as_bytes(a):
    """Little or big as it is; of a long double the bytes that are its value."""
    if is_long(a.dtype):
        return [b[:10] for b in np.ascontiguousarray(a).reshape(-1).view('V16').tolist()]
    return np.ascontiguousarray(a).tobytes()


def same(want, got, where):
    """U comes back as UTF-8, what was one value as one row, and V as bytes; all else as
    it was, bit for bit."""
    want = np.atleast_1d(want)
    w, g = list(leaves(want)), list(leaves(got))
    assert [p for p, _ in w] == [p for p, _ in g], (where, want.dtype, got.dtype)
    for (path, a), (_, b) in zip(w, g):
        if a.dtype.kind == 'U':
            assert b.dtype.kind == 'S', (where, path, b.dtype)
        elif a.dtype.kind == 'V':
            b = np.ascontiguousarray(b).view('V%d' % a.dtype.itemsize)[..., 0]
        else:
            assert a.dtype == b.dtype, (where, path, a.dtype, b.dtype)
        assert a.shape == b.shape, (where, path, a.shape, b.shape)
        if a.dtype.kind == 'U':
            assert [s.encode() for s in a.ravel().tolist()] == b.ravel().tolist(), \
                (where, path, a, b)
        else:
            assert as_bytes(a) == as_bytes(b), (where, path, a, b)
