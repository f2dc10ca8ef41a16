#!/usr/bin/env python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

"""Arrays of every dtype that NumPy has, as .npy through `sluice map` to the file and
back by h5py and by `sluice get`: the same bits. Random records of them, too; the seed
is printed. Python objects are refused by name.
"""

import os
import random
import subprocess
import sys
import tempfile

import h5py
import numpy as np

from randomtypes import PLAIN, fill, random_dtype, same

SLUICE = os.environ.get('SLUICE') or os.path.join(os.environ['top_builddir'], 'sluice')
SMALL = os.environ.get('SLUICE_TEST_SCALE') == 'small'

def arrays(rng):
    for text in PLAIN:
        yield fill(rng, np.dtype(text), (5,))
    some = np.dtype([('a', '<u1'), ('b', '>f8', (2, 3)), ('c', [('d', '<U4'), ('e', '|S3')])])
    yield fill(rng, some, (4,))
    yield fill(rng, np.dtype(some.descr, align=True), (4,))
    yield np.array(3.25)                                   # 0-d
    yield fill(rng, np.dtype('<f4'), (0,))                 # no rows
    yield fill(rng, np.dtype('<i4'), (3, 2, 4))
    yield np.asfortranarray(fill(rng, np.dtype('<i4'), (3, 2, 4)))
    yield np.asfortranarray(fill(rng, some, (3, 5)))
    yield fill(rng, np.dtype('<f8'), (70000,))             # several pieces
    yield np.array([np.nan, -0.0, np.inf, 5e-324])
    yield np.zeros(2, np.dtype({'names': ['p'], 'formats': ['<i2'], 'offsets': [6],
                                'itemsize': 16}))
    yield fill(rng, np.dtype('V8'), (3,))
    for _ in range(30 if SMALL else 150):
        shape = tuple(rng.randrange(1, 4) for _ in range(rng.randrange(1, 3)))
        a = fill(rng, random_dtype(rng), shape)
        yield np.asfortranarray(a) if rng.random() < 0.2 else a


def run(*args):
    return subprocess.run([SLUICE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, errors='replace')


def main():
    seed = int(os.environ.get('SLUICE_TEST_SEED') or random.randrange(1 << 30))
    print('seed', seed)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.mkdir('in')
        all_of_it = list(arrays(rng))
        # Not more than 64 tables in a run: some runs.
        for part in range(0, len(all_of_it), 30):
            some = all_of_it[part:part + 30]
            for i, a in enumerate(some):
                np.save('in/t%02d' % i, a)
            # Each item leaves one, and the first of all leaves them a second time.
            script = 'cp in/t$1.npy "$SLUICE_OUT"'
            done = run('map', '-q', '--cores', '2', '--force', '-o', 'out.h5', '--', 'sh', '-c',
                       script, 'x', ':::', *['%02d' % i for i in range(len(some))])
            assert done.returncode == 0, done.stderr
            assert run('verify', 'out.h5').returncode == 0
            with h5py.File('out.h5', 'r') as f:
                for i, a in enumerate(some):
                    name = 't%02d' % i
                    if np.atleast_1d(a).shape[0] == 0:
                        assert name not in f
                        continue
                    same(a, f[name][()], (seed, part, i))
                    assert f[name + '_index'][:].tolist() == [(i, 0, len(f[name]))]
            for i, a in enumerate(some):
                if np.atleast_1d(a).shape[0] and i % 3 == 0:
                    got = run('get', 'out.h5', 't%02d' % i, '-o', 'back.npy')
                    assert got.returncode == 0, got.stderr
                    same(a, np.load('back.npy'), (seed, part, i, 'get'))
                    assert run('get', 'out.h5', 't%02d' % i).returncode == 0
            for name in os.listdir('in'):
                os.remove('in/' + name)

        # Ragged: a column of as many rows for each item as it likes.
        rows = [fill(rng, np.dtype([('i', '<i4'), ('s', '<U3')]), (rng.randrange(5),))
                for _ in range(40)]
        for i, a in enumerate(rows):
            np.save('in/%d' % i, a)
        done = run('map', '-q', '-o', 'ragged.h5', '--range', '0:40', '--', 'sh', '-c',
                   'cp in/$1.npy "$SLUICE_OUT/ragged.npy"', 'x')
        assert done.returncode == 0, done.stderr
        with h5py.File('ragged.h5', 'r') as f:
            data, index = f['ragged'][:], f['ragged_index'][:].tolist()
            at = {i: (a, b) for i, a, b in index}
            for i, a in enumerate(rows):
                start, stop = at.get(i, (0, 0))
                same(a, data[start:stop], (seed, 'ragged', i))

        # What is no data is refused by its name, and so is what was cut short.
        np.save('in/object', np.array([{}, 1], object), allow_pickle=True)
        np.save('in/nested', np.zeros(2, [('fine', 'i4'), ('worse', 'O')]), allow_pickle=True)
        np.save('in/empty', np.zeros((3, 0)))
        np.save('in/cut', np.zeros(100))
        with open('in/cut.npy', 'r+b') as f:
            f.truncate(500)
        with open('in/text.npy', 'w') as f:
            f.write('no array')
        with open('in/surrogate.npy', 'wb') as f:
            np.save(f, np.array([0xd800], '<u4').view('<U1'))
        for name, why in [('object', 'Python objects'), ('nested', 'worse'), ('empty', '0'),
                          ('cut', 'cut short'), ('text', 'not a .npy'),
                          ('surrogate', 'Unicode')]:
            done = run('map', '-q', '--force', '-o', 'bad.h5', '--', 'sh', '-c',
                       'cp in/$1.npy "$SLUICE_OUT"', 'x', ':::', name)
            assert done.returncode == 1, (name, done)
            assert name + '.npy' in done.stderr and why in done.stderr, (name, done.stderr)
    print('npy_property: %d arrays, all right' % len(all_of_it))


if __name__ == '__main__':
    sys.exit(main())
