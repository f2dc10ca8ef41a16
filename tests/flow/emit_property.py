#!/usr/bin/env python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

"""Rows of random dtypes, from C through sluice_emit to the file and by h5py back: the
same bits for each item, of tables that the plan declares and of those met late, and of
outputs with any dimensions; on two cores and serially. The seed is printed. What cannot
be a table is refused by its name.
"""

import os
import random
import struct
import sys

import h5py
import numpy as np

from libflow import Place
from randomtypes import PLAIN, fill, random_dtype, same

DECLARED, LATE, OUTPUT, SCALAR = range(4)
ROW_MOST = 20000
# Names and dtypes of the tables that a worker meets late: PIECE_LATE_BYTES.
LATE_MOST = 8 << 10


def text(dtype, offsets=False):
    """A dtype as sluice/dtype.h has it."""
    if dtype.subdtype:
        base, dims = dtype.subdtype
        return '(%s)%s' % (','.join(map(str, dims)), text(base, offsets))
    if not dtype.names:
        return dtype.str
    offsets = offsets or gaps_here(dtype)
    parts = []
    for name in dtype.names:
        field, at = dtype.fields[name][:2]
        escaped = ''.join('\\' + c if c in ':,@{}#()\\' or (c == ' ' and i == 0) else c
                          for i, c in enumerate(name))
        parts.append(escaped + ':' + text(field, offsets) + ('@%d' % at if offsets else ''))
    return '{%s}%s' % (', '.join(parts), '#%d' % dtype.itemsize if offsets else '')


def gaps_here(dtype):
    """Has this record bytes that no field covers, those of its fields not counted?"""
    return dtype.itemsize != sum(dtype[n].itemsize for n in dtype.names)


def plain(dtype):
    """All plain dtypes in this one; None for a record with gaps."""
    if dtype.subdtype:
        yield from plain(dtype.subdtype[0])
    elif dtype.names:
        if gaps_here(dtype):
            yield None
        for name in dtype.names:
            yield from plain(dtype[name])
    else:
        yield dtype


def random_row(rng, *args):
    while True:
        dtype = random_dtype(rng, *args)
        if rng.random() < 0.2:
            dtype = np.dtype((dtype, tuple(rng.randrange(1, 4)
                                           for _ in range(rng.randrange(1, 4)))))
        if dtype.itemsize <= ROW_MOST:
            return dtype


class Dataset:
    def __init__(self, rng, name, kind, dtype, counts):
        self.name, self.kind, self.dtype, self.counts = name, kind, dtype, counts
        self.text = text(dtype, rng.random() < 0.5)
        self.rows = fill(rng, dtype, (sum(counts),))

    def packed(self):
        out = [struct.pack('<Q', self.kind)]
        for word in self.name, self.text:
            word = word.encode() + b'\0'
            out += [struct.pack('<Q', len(word)), word]
        out += [struct.pack('<Q', self.dtype.itemsize),
                struct.pack('<%dQ' % len(self.counts), *self.counts), self.rows.tobytes()]
        return b''.join(out)

    def check(self, f, where):
        where += (self.name, self.text)
        if self.kind == LATE and not sum(self.counts):
            assert self.name not in f and self.name + '_index' not in f, where
            return
        got = f[self.name][()]
        if self.kind == SCALAR:
            # A sub-array of no dimensions is its own.
            assert got.shape == self.rows.shape[1:], where
            same(self.rows[0], np.atleast_1d(got), where)
            return
        if self.kind == OUTPUT:
            same(self.rows, got, where)
            return
        assert len(got) == len(self.rows), where
        slices = {}
        for item, start, stop in f[self.name + '_index'][:].tolist():
            slices.setdefault(item, []).append((start, stop))
        at = 0
        for item, n in enumerate(self.counts):
            mine = [i for a, b in slices.pop(item, []) for i in range(a, b)]
            assert len(mine) == n, (where, item)
            if n:
                same(self.rows[at:at + n], got[mine], where + (item,))
            at += n
        assert not slices, (where, slices)


def write(path, items, sets):
    with open(path, 'wb') as f:
        f.write(struct.pack('<QQ', items, len(sets)))
        for one in sets:
            f.write(one.packed())


def datasets(rng, items, tables):
    """As many tables, and half as many outputs, of each plain dtype now and then."""
    able = [t for t in PLAIN if t[1] != 'U']
    late = 0
    for i in range(tables):
        # The first one is large, and so goes through several pieces and chunks.
        dtype = random_row(rng, able, 0)
        most = rng.choice([1, 2, 8]) if i else (3 << 20) // dtype.itemsize // items
        counts = [rng.randrange(most + 1) if rng.random() < 0.6 else 0
                  for _ in range(items)]
        if i == 1:
            counts = [0] * items
        kind = rng.choice([DECLARED, LATE])
        one = Dataset(rng, ('deep/t%02d' if i % 3 else 't%02d') % i, kind, dtype, counts)
        late += len(one.name) + len(one.text.encode()) + 32 if kind == LATE else 0
        if late > LATE_MOST:
            one.kind = DECLARED
        yield one
    for i in range(tables // 2):
        # An output may have gaps: it comes with all of its bytes.
        dtype = random_row(rng, able, 0.5)
        kind = rng.choice([OUTPUT, SCALAR])
        counts = [0] * items
        counts[0] = 1 if kind == SCALAR else rng.choice([0, 1, 5])
        yield Dataset(rng, 'out/%02d' % i, kind, dtype, counts)


def main():
    seed = int(os.environ.get('SLUICE_TEST_SEED') or random.randrange(1 << 30))
    print('seed', seed)
    rng = random.Random(seed)
    total = 0
    with Place() as place:
        place.kernel = os.path.join(place.built, 'tests/kernels/rows_kernel.so')
        rounds, tables = (2, 12) if place.small else (8, 24)
        for part in range(rounds):
            items = rng.choice([1, 7, 40])
            sets = list(datasets(rng, items, tables))
            rng.shuffle(sets)
            total += len(sets)
            write(place.path('rows'), items, sets)
            job = place.job('job.ini', file='rows', items_per_task=rng.choice([1, 3, 100]))
            digests = set()
            for args in (['--cores', '2'], ['--serial']):
                done = place.run(job, place.path('out.h5'), '--force', *args)
                digests.add(done['digest'])
                with h5py.File(place.path('out.h5'), 'r') as f:
                    for one in sets:
                        one.check(f, (seed, part, args[0]))
            assert len(digests) == 1, (seed, part, digests)
            verify = place.sluice('verify', place.path('out.h5'))
            assert verify.returncode == 0, (seed, part, verify.stderr)

        refused = 0
        cases = [(np.dtype(t), None, why) for t, why in [
            ('<U5', 'dtype <U5 has no HDF5 type'), ('>f16', 'dtype >f16 has no HDF5 type'),
            ([('fine', '<i4'), ('worse', '>U5')], 'field worse: dtype >U5 has no HDF5 type'),
            (np.dtype([('a', 'u1'), ('b', '<f8')], align=True), 'no field covers')]]
        cases += [(np.dtype('<u8'), t, why) for t, why in [
            ('|O', "dtype '|O': expected a type"),
            ('{fine:<i4, worse:|O8}', "worse:|O8}': expected a type"),
            ('|V8', "dtype '|V8': expected a type")]]
        while len(cases) < (12 if place.small else 40):
            dtype = random_row(rng)
            kinds = list(plain(dtype))
            if any(k is None for k in kinds):    # == takes None for float64
                cases.append((dtype, None, 'no field covers'))
            elif any(k.kind == 'U' for k in kinds):
                cases.append((dtype, None, 'has no HDF5 type'))
        for dtype, as_text, why in cases:
            bad = Dataset(rng, 'bad', rng.choice([DECLARED, LATE]), dtype, [1, 0])
            bad.text = as_text or bad.text
            write(place.path('rows'), 2, [bad])
            done = place.sluice('run', place.job('job.ini', file='rows'), '-q', '--serial',
                                '--force', '-o', place.path('bad.h5'))
            said = (seed, bad.kind, why, bad.text, done.returncode, done.stderr)
            assert done.returncode == 1 or bad.kind == DECLARED and done.returncode, said
            assert 'table bad' in done.stderr and why in done.stderr, said
            refused += 1
    print('emit_property: %d datasets, all right; %d refused' % (total, refused))


if __name__ == '__main__':
    sys.exit(main())
