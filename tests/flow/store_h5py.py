#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""The object store between C and h5py, both ways: what tests/tools/store_play
writes is read by h5py and written anew by h5py alone, and the tool takes it for
what it had made; things that h5py makes at random go through C and come back
the same; what h5py makes wrongly is refused by name. Then the example of the
store in calc/examples is run. Some of it all runs again under valgrind: no error
and no leak."""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

BUILT = os.environ.get('top_builddir', '.')
PLAY = os.path.join(BUILT, 'tests/tools/store_play')
EXAMPLE = os.path.join(BUILT, 'calc/examples/store')
THINGS = 40
RANDOM = 60
UNDER = []
VALGRIND = ['valgrind', '-q', '--trace-children=yes', '--leak-check=full',
            '--errors-for-leak-kinds=definite,possible', '--error-exitcode=9']


def play(*args, status=0):
    run = subprocess.run(UNDER + [PLAY, *map(str, args)], capture_output=True, text=True,
                         timeout=300)
    assert run.returncode == status, (args, run.returncode, run.stderr)
    return run.stdout if status == 0 else run.stderr


def same_value(a, b):
    """Attributes: the same value, whatever the width of a number."""
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a == b
    assert np.shape(a) == np.shape(b) == ()
    if np.isreal(a) and np.isnan(a):
        return bool(np.isnan(b))
    return bool(a == b) and bool(np.signbit(a) == np.signbit(b)) and \
        (np.asarray(a).dtype == bool) == (np.asarray(b).dtype == bool)


def raw(dataset):
    """The bytes of a dataset, as they lie in the file."""
    out = np.empty(dataset.shape, 'V%d' % dataset.id.get_type().get_size())
    dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, out, dataset.id.get_type())
    return out.tobytes()


def same_tree(a, b, where=''):
    keys, other = sorted(a.attrs), sorted(b.attrs)
    assert keys == other, (where, keys, other)
    for key in keys:
        assert same_value(a.attrs[key], b.attrs[key]), (where, key, a.attrs[key],
                                                       b.attrs[key])
    assert sorted(a) == sorted(b), (where, sorted(a), sorted(b))
    for key in a:
        if isinstance(a[key], h5py.Group):
            same_tree(a[key], b[key], where + '/' + key)
        else:
            assert a[key].dtype == b[key].dtype, (where, key, a[key].dtype, b[key].dtype)
            assert a[key].shape == b[key].shape, (where, key)
            assert raw(a[key]) == raw(b[key]), (where, key)


def rewrite(a, b):
    """Write with h5py what h5py read: attributes and arrays as Python has them."""
    for key, value in a.attrs.items():
        b.attrs[key] = value
    for key, item in a.items():
        if isinstance(item, h5py.Group):
            rewrite(item, b.create_group(key))
        else:
            new = b.create_dataset(key, item.shape, item.dtype)
            if item.size:
                new[()] = item[()]


# ---- what h5py makes at random -------------------------------------------------------

TEXTS = ['', 'a', 'Größe', '漢字 ' * 20, 'x\ny', '𝄞', '{"json": 1}', 'z' * 100000]
DTYPES = ['?', 'i1', '>i2', '<u4', '<i8', '<f2', '<f4', '>f8', '<c8', '<c16', 'S5',
          [('a', '<u4'), ('b', '?'), ('c', '>f4', (2, 3))],
          np.dtype([('a', 'u1'), ('b', '<f8')], align=True),
          [('SA(1.0)', '<f4'), ('größe', [('x', 'S2'), ('y', '<i2')])]]
TYPED = np.dtype([('sid', '<u4'), ('v', '<f8', (2,))])


def array(rng, dtype=None, shape=None):
    dtype = np.dtype(dtype if dtype is not None else DTYPES[rng.integers(len(DTYPES))])
    if shape is None:
        shape = tuple(rng.integers(0, 4, rng.integers(0, 4)))
    n = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(rng.integers(0, 2, n, dtype='u1').tobytes(), dtype).reshape(shape)


def ragged(rng, group, name, dtype=None):
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 4, rng.integers(0, 6)))])
    sub = group.create_group(name)
    sub['data'] = array(rng, dtype, (int(offsets[-1]),))
    sub['offsets'] = offsets.astype('<u8')


def number(rng):
    return float(rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 0.1, -1e300]))


def stamp(group, name, version):
    group.attrs['sluice_class'] = name
    group.attrs['sluice_version'] = version


def part(rng, group):
    stamp(group, 'part', 3)
    group.attrs['weight'] = number(rng)
    if rng.integers(2):
        group.attrs['name'] = TEXTS[rng.integers(len(TEXTS))]
    leaf = group.create_group('leaf')
    stamp(leaf, 'leaf', 1)
    leaf.attrs['value'] = int(rng.integers(-2**63, 2**63 - 1))
    if rng.integers(2):
        leaf['data'] = array(rng)


def thing(rng, group):
    stamp(group, 'thing', 7)
    attrs = group.attrs
    attrs['flag'] = bool(rng.integers(2))
    for bits in 8, 16, 32, 64:
        name = 'i%d' % (bits // 8)
        attrs[name] = [-2**(bits - 1), -1, 0, 2**(bits - 1) - 1][rng.integers(4)]
        attrs['u' + name[1:]] = np.uint64([0, 7, 2**bits - 1][rng.integers(3)])
    attrs['f4'] = np.float32(rng.normal())
    attrs['f8'] = number(rng)
    attrs['title'] = TEXTS[rng.integers(len(TEXTS))]
    if rng.integers(2):
        attrs['extra'] = number(rng)
    if rng.integers(2):
        attrs['note'] = TEXTS[rng.integers(len(TEXTS))]
    group['any'] = array(rng)
    if rng.integers(2):
        group['maybe'] = array(rng)
    group['typed'] = array(rng, TYPED)
    ragged(rng, group, 'rows', '<f4')
    if rng.integers(2):
        ragged(rng, group, 'holes')
    n = int(rng.integers(5))
    group['lon'] = rng.normal(size=n)
    if rng.integers(2):
        group.create_dataset('lat', data=rng.normal(size=n), **({'chunks': (2,),
                             'compression': 'gzip'} if n > 2 else {}))
    part(rng, group.create_group('part'))
    for name in 'box', 'next':
        if rng.integers(2):
            part(rng, group.create_group(name))
    parts = group.create_group('parts')
    parts.attrs['length'] = int(rng.integers(12))
    for i in range(int(parts.attrs['length'])):
        part(rng, parts.create_group(str(i)))


# ---- tests ----------------------------------------------------------------------------

def c_to_h5py_to_c(path, other):
    play('make', path, THINGS)
    play('check', path, THINGS)
    assert play('list', path).splitlines()[0] == 't/1 thing 7'
    with h5py.File(path) as f:
        first = f['t/1']
        assert first.attrs['sluice_class'] == 'thing' and first.attrs['sluice_version'] == 7
        assert isinstance(first.attrs['title'], str)
        assert isinstance(first.attrs['flag'], np.bool_)
        assert first.attrs['u2'].dtype == '<u2' and first.attrs['f4'].dtype == '<f4'
        assert first['typed'].dtype == TYPED
        for name in f['t']:
            rows = f['t'][name]['rows']
            data, at = rows['data'][:], rows['offsets'][:]
            assert data.dtype == '<f4' and at.dtype == '<u8'
            assert sum(len(data[a:b]) for a, b in zip(at, at[1:])) == len(data)
            parts = f['t'][name]['parts']
            assert sorted(map(int, parts)) == list(range(parts.attrs['length']))
        with h5py.File(other, 'w') as g:
            rewrite(f, g)
    play('check', other, THINGS)
    assert play('list', other) == play('list', path)


def h5py_to_c_to_h5py(path):
    rng = np.random.default_rng(4)
    with h5py.File(path, 'w') as f:
        for i in range(RANDOM):
            thing(rng, f.create_group('from/%d' % i))
    for i in range(RANDOM):
        play('copy', path, 'from/%d' % i, 'to/%d' % i)
    with h5py.File(path) as f:
        same_tree(f['from'], f['to'])


def absent_and_annotated(path):
    """An Empty is absent; what somebody added is no matter."""
    rng = np.random.default_rng(5)
    with h5py.File(path, 'w') as f:
        group = f.create_group('a')
        thing(rng, group)
        for name in 'extra', 'note':
            group.attrs[name] = h5py.Empty('f8')
        if 'maybe' in group:
            del group['maybe']
        group['maybe'] = h5py.Empty('f4')
        group.attrs['comment'] = 'by hand'
        group['more/data'] = [1, 2]
    play('copy', path, 'a', 'b')
    with h5py.File(path) as f:
        assert not {'extra', 'note', 'comment'} & set(f['b'].attrs)
        assert not {'maybe', 'more'} & set(f['b'])


def refused(path):
    """(what h5py does to a thing, what is said)"""
    def set_attr(name, value):
        def change(group):
            group.attrs[name] = value
        return change

    def set_data(name, value):
        def change(group):
            if name in group:
                del group[name]
            group[name] = value
        return change

    cases = [
        (set_attr('sluice_version', 8), 'version 8 of class \'thing\''),
        (set_attr('sluice_class', 'ding'), "of class 'ding', not 'thing'"),
        (set_attr('i1', 200), 'i1 is not a whole number of 1 bytes'),
        (set_attr('u8', -1), 'u8 is not a whole number, not negative'),
        (set_attr('i4', 1.0), 'i4 is not a whole number'),
        (set_attr('flag', 3), 'flag is not a truth value'),
        (set_attr('f8', [1.0, 2.0]), 'f8 is not a single number'),
        (set_attr('f8', 'one'), 'f8 is not a single number'),
        (set_attr('title', np.bytes_(b'\xff\xfe')), 'title is not UTF-8'),
        (set_attr('title', ['a', 'b']), 'title: there is no single value'),
        (set_data('typed', np.zeros(2)), 'typed has the dtype <f8, not'),
        (set_data('any', ['a', 'bb']), 'any: its HDF5 type is none'),
        (set_data('any', h5py.Empty('f4')), 'any is missing'),
        (set_data('lon', np.zeros(2, '>f8')), 'lon has the dtype >f8, not <f8'),
        (set_data('rows/offsets', np.array([0, 5], '<i8')), 'offsets has the dtype <i8'),
        (set_data('part', h5py.SoftLink('/t')), 'part is a soft or external link'),
        (set_data('part', h5py.ExternalLink('x.h5', '/t')), 'part is a soft or external'),
    ]
    for change, said in cases:
        with h5py.File(path, 'w') as f:
            thing(np.random.default_rng(6), f.create_group('t'))
            change(f['t'])
        text = play('copy', path, 't', 'u', status=1)
        assert said in text and 't: ' in text, (said, text)
        with h5py.File(path) as f:
            assert list(f) == ['t'], 'a trace is left'


def example(folder):
    for _ in range(2):          # makes the file, then finds it
        run = subprocess.run(UNDER + [EXAMPLE, 'quakes.h5'], cwd=folder,
                             capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        'old/long_beach: M 6.4, depth 10.0 km, no comment, 0 aftershocks, slip (unknown)',
        'socal/northridge: M 6.7, depth 17.5 km, blind thrust, 3 aftershocks, slip 2 x 3',
    ], run.stdout
    with h5py.File(os.path.join(folder, 'quakes.h5')) as f:
        quake = f['socal/northridge']
        assert quake.attrs['mag'] == 6.7 and quake.attrs['comment'] == 'blind thrust'
        assert quake['slip'].shape == (2, 3) and quake['slip'].dtype == '<f4'
        assert f['old/long_beach'].attrs['sluice_version'] == 1
        at, mag = quake['felt/offsets'][:], quake['felt/data'][:]
        assert [mag[a:b].tolist() for a, b in zip(at, at[1:])] == [[9, 8], [], [5]]


def round_trips():
    with tempfile.TemporaryDirectory(prefix='flow-store-') as folder:
        def path(name):
            return os.path.join(folder, name)
        c_to_h5py_to_c(path('a.h5'), path('b.h5'))
        h5py_to_c_to_h5py(path('c.h5'))
        absent_and_annotated(path('d.h5'))
        if not UNDER:
            refused(path('e.h5'))
        example(folder)
    print('store_h5py: %d things from C, %d from h5py, all right%s' % (
        THINGS, RANDOM, ' under valgrind' if UNDER else ''))


def main():
    global THINGS, RANDOM, UNDER
    with open(PLAY, 'rb') as f:
        asan = b'__asan_init' in f.read()
    if os.environ.get('SLUICE_TEST_SCALE') == 'small':
        THINGS, RANDOM = 10, 10
    round_trips()
    if not asan:                # which does the same, and goes with no valgrind
        THINGS, RANDOM, UNDER = 10, 4, VALGRIND
        round_trips()


if __name__ == '__main__':
    sys.exit(main())
