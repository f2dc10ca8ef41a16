#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""`compress = deflate`: workers compress whole chunks, and everything reads them.

The content is the same with and without (invariant I6), on nodes and with --serial; h5py (and h5dump,
where it is installed) open it plainly; verify, diff, get, show and the client library read
it; what was killed is gone on with, also with another compression; what is damaged is
found; rows that do not get smaller are stored as they are.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np

import libflow

ITEMS = 60
SIZES = dict(items=ITEMS, rows=20000, bulk_kib=1100, items_per_task=6)


def until(condition, what):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def done_items(path):
    try:
        with h5py.File(path, 'r') as f:
            tasks = f['sluice/tasks'][:]
    except OSError:
        return 0
    return int((tasks['stop'] - tasks['first']).sum())


def chunks_of(table):
    """(filter mask, bytes) of each chunk, as HDF5 has them."""
    info = [table.id.get_chunk_info(i) for i in range(table.id.get_num_chunks())]
    return [(c.filter_mask, c.size) for c in info]


class Test:
    def __init__(self, place):
        self.place = place
        self.job = place.job('job.ini', **SIZES)
        self.plain = place.path('plain.h5')
        self.summary = place.run(self.job, self.plain)
        assert self.summary['compress'] == 'none'
        assert self.summary['stored'] == self.summary['bytes']

    def fine(self, *args):
        done = self.place.sluice(*args)
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout

    def sound(self, path):
        said = self.fine('verify', path)
        assert said.strip().endswith(self.summary['digest']), said

    # ---- the file

    def content(self):
        for number, args in enumerate((['--compress', 'deflate'],
                                       ['--compress', 'deflate:4', '--serial'],
                                       ['--compress', 'deflate:9', '--cores', '1'],
                                       ['--compress', 'none'])):
            path = self.place.path('out-%d.h5' % number)
            summary = self.place.run(self.job, path, *args)
            assert summary['digest'] == self.summary['digest'], args
            level = {'deflate': 1, 'deflate:4': 4, 'deflate:9': 9, 'none': 0}[args[1]]
            assert summary['compress'] == ('deflate:%d' % level if level else 'none')
            assert (summary['stored'] < summary['bytes']) == (level > 0), summary
            self.sound(path)
            self.fine('diff', self.plain, path)
            assert libflow.look(path)['status'] == 'complete'
            with h5py.File(path, 'r') as f:
                self.filters(f, level)
            self.show(path, summary, level)
            if level in (0, 9):
                os.unlink(path)

    def filters(self, f, level):
        samples, bulk = f['samples'], f['bulk']
        for table in samples, bulk:
            assert (table.compression, table.shuffle) == \
                (('gzip', True) if level else (None, False)), table
            assert not level or table.compression_opts == level
        for name in 'index', 'items', 'tasks', 'nodes', 'failures':
            assert f['sluice/' + name].compression is None, name
        if not level:
            return
        whole = samples.chunks[0] * samples.dtype.itemsize
        masks = chunks_of(samples)
        deflated = [size for mask, size in masks if mask == 0]
        assert len(deflated) > 10 and max(deflated) < whole, masks
        # What was packed from tails is as it was.
        assert all(size == whole for mask, size in masks if mask == 3), masks
        assert {mask for mask, _ in masks} == {0, 3}, masks
        about = f['sluice'].attrs['compress']
        assert about in ('deflate:%d' % level, b'deflate:%d' % level), about

    def show(self, path, summary, level):
        text, facts = self.fine('show', path), json.loads(self.fine('show', '--json', path))
        assert facts['stored'] == summary['stored'], (facts['stored'], summary['stored'])
        assert facts['stored'] == sum(t['stored'] for t in facts['tables'])
        assert facts['compress'] == summary['compress']
        said = '(%s)' % summary['compress']
        assert text.count(', compressed to ') == text.count(said) == (3 if level else 0), text

    def tools(self):
        """h5dump reads the same rows, and says which filters there are."""
        dump = shutil.which('h5dump')
        if not dump:
            print('no h5dump here: not tried')
            return
        said = subprocess.run([dump, '-p', '-H', '-d', 'samples', self.place.path('out-0.h5')],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
        assert 'SHUFFLE' in said and 'COMPRESSION DEFLATE { LEVEL 1 }' in said, said
        subprocess.run([dump, '-d', 'samples', '-b', 'FILE', '-o', self.place.path('dump'),
                        self.place.path('out-0.h5')], check=True, stdout=subprocess.DEVNULL)
        with h5py.File(self.place.path('out-0.h5'), 'r') as f, \
                open(self.place.path('dump'), 'rb') as dumped:
            assert dumped.read() == f['samples'][:].tobytes()

    def get(self):
        arrays = []
        for path in self.plain, self.place.path('out-0.h5'):
            out = path + '.npy'
            self.fine('get', path, 'samples', '-o', out)
            arrays.append(np.load(out))
        assert arrays[0].tobytes() == arrays[1].tobytes() and len(arrays[0]) == 20000 * ITEMS

    # ---- rows that do not get smaller, rows that are large, .npy files of commands

    def commands(self):
        script = self.place.path('rows.py')
        with open(script, 'w', encoding='ascii') as f:
            f.write('import os, sys, numpy as np\n'
                    'i = int(sys.argv[1])\n'
                    'out = os.environ["SLUICE_OUT"]\n'
                    'noise = np.random.default_rng(i).bytes(3 << 20)\n'
                    'np.save(out + "/noise.npy", np.frombuffer(noise, "u1"))\n'
                    'np.save(out + "/ramp.npy", np.arange(i, i + 400000, dtype="i8"))\n'
                    'np.save(out + "/wide.npy", np.full((2, 1200000), i, "f4"))\n'
                    'print("x" * 3000000)\n')
        digests = set()
        for args in [], ['--compress', 'deflate']:
            path = self.place.path('map.h5')
            done = self.place.sluice('map', '-q', '--json', '--force', '-o', path, *args,
                                     '--cores', '2', '--range', '0:6', '--max-row', '5M',
                                     '--', sys.executable, script, '{}')
            assert done.returncode == 0, done.stderr
            digests.add(json.loads(done.stdout)['digest'])
            self.fine('verify', path)
        assert len(digests) == 1, digests
        with h5py.File(path, 'r') as f:
            assert {mask for mask, _ in chunks_of(f['noise'])} == {3}, 'noise got smaller'
            for name in 'ramp', 'wide', 'stdout':
                masks = [mask for mask, _ in chunks_of(f[name])]
                assert masks.count(0) >= 6, (name, masks)
            assert f['sluice/stderr'].compression is None if 'sluice/stderr' in f else True
            assert sorted(np.unique(f['wide'][:])) == list(range(6))
        assert self.fine('get', path, 'stdout', '--item', '3') == 'x' * 3000000 + '\n'

    # ---- killed, gone on with, damaged

    def killed(self, *args, job=None, least=12, rate=24 << 10):
        """A run that was killed when so many items were in its file, but not all."""
        path = self.place.path('killed.h5')
        while rate >= 64:
            process = self.place.start(job or self.job, path, '--write-rate', '%dK' % rate,
                                       *args)
            until(lambda: done_items(path) >= least or process.poll() is not None, 'no items')
            process.kill()
            process.communicate()
            with h5py.File(path, 'r') as f:
                items = len(libflow.check(f)['items'])
                if f['sluice'].attrs['status'] == 'running' and items >= least:
                    return path
            os.unlink(path)
            rate //= 2
        raise AssertionError('never killed before its end')

    def resume(self):
        ways = [(['--compress', 'deflate'], ['--compress', 'deflate', '--serial']),
                (['--compress', 'deflate:5'], []),
                ([], ['--compress', 'deflate']),
                (['--compress', 'deflate', '--serial'], ['--compress', 'deflate:2'])]
        for before, after in ways[:2] if self.place.small else ways:
            path = self.killed(*before)
            there = done_items(path)
            summary = self.place.run(self.job, path, '--resume', *after)
            assert summary['digest'] == self.summary['digest'], (before, after)
            assert summary['resumed_items'] == there, (summary['resumed_items'], there)
            assert summary['damaged_items'] == 0
            self.sound(path)
            assert libflow.look(path)['status'] == 'complete'
            with h5py.File(path, 'r') as f:
                assert 0 in {mask for mask, _ in chunks_of(f['samples'])}
            os.unlink(path)

    def damage(self, dice):
        path = self.killed('--compress', 'deflate')
        with h5py.File(path, 'r') as f:
            index, row = f['sluice/index'][:], f['samples'].dtype.itemsize
        deflated = [r for r in index if r['table'] == 0 and r['stored'] < r['rows'] * row]
        hit = {int(r['task']) for r in dice.sample(deflated, 2)}
        with open(path, 'r+b') as f:
            for r in deflated:
                if int(r['task']) in hit:
                    f.seek(int(r['address']) + dice.randrange(int(r['stored'])))
                    byte = f.read(1)[0] ^ 1 << dice.randrange(8)
                    f.seek(-1, 1)
                    f.write(bytes([byte]))
        assert self.place.sluice('verify', path).returncode == 4
        summary = self.place.run(self.job, path, '--resume', '--compress', 'deflate')
        assert summary['digest'] == self.summary['digest']
        assert summary['damaged_items'] == 6 * len(hit), (summary['damaged_items'], hit)
        self.sound(path)
        os.unlink(path)

    def small(self):
        """Results of a few rows each, packed and compressed by the master. A task of which
        the record is damaged costs its neighbours in the same chunk nothing."""
        job = self.place.job('few.ini', items=600, rows=700, items_per_task=2, sleep_us=5000)
        want = self.place.run(job, self.place.path('few-plain.h5'))['digest']
        path = self.killed('--compress', 'deflate', job=job, least=250, rate=2 << 10)
        there, bad = done_items(path), 0
        with h5py.File(path, 'r+') as f:
            masks = [mask for mask, _ in chunks_of(f['samples'])]
            assert masks.count(0) >= 3 and masks.count(3) <= 2, masks
            for i in 1, 40, len(f['sluice/tasks']) // 2:
                task = f['sluice/tasks'][i]
                task['rss'] += 1
                f['sluice/tasks'][i] = task
                bad += int(task['stop'] - task['first'])
        assert self.place.sluice('verify', path).returncode == 4
        summary = self.place.run(job, path, '--resume', '--compress', 'deflate:3')
        assert summary['digest'] == want
        assert summary['resumed_items'] == there - bad, (summary['resumed_items'], there, bad)
        self.fine('verify', path)
        # (Rows of an item in two chunks, one of which was packed anew, change places.)
        assert libflow.look(path, rows=False)['status'] == 'complete'
        assert summary['stored'] < summary['bytes'] / 1.1, summary
        facts = json.loads(self.fine('show', '--json', path))
        assert facts['stored'] == summary['stored'], (facts['stored'], summary['stored'])
        self.fine('diff', self.place.path('few-plain.h5'), path)

    # ---- nodes on a network

    def network(self):
        share = self.place.path('share')
        os.mkdir(share)
        self.fine('init', share)
        shutil.copy(self.place.kernel, share + '/kernel.so')
        job = os.path.join(share, 'job.ini')
        with open(job, 'w', encoding='ascii') as f:
            f.write('[general]\nkernel = kernel.so\ncompress = deflate:2\n')
            f.writelines('%s = %s\n' % pair for pair in SIZES.items())
        with open(self.place.path('node.log'), 'w', encoding='utf-8') as log:
            user = ['--user', 'root'] if os.getuid() == 0 else []
            node = subprocess.Popen([self.place.binary, 'node', '--slots', '2', '--no-beacon',
                                     '--interface', 'lo', *user, share],
                                    env=self.place.env, stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log)
        path = self.place.path('network.h5')
        summary = self.place.run(job, path, '--no-local', '--window', '16M')
        node.terminate()
        node.wait()
        assert summary['data_path'] == 'tcp+aes256gcm' and summary['compress'] == 'deflate:2'
        assert summary['digest'] == self.summary['digest']
        assert summary['stored'] < summary['bytes'] and summary['malformed'] == 0, summary
        self.sound(path)
        os.unlink(path)

    # ---- a program

    def client(self):
        """Rows by the library, item by item, while the run goes on."""
        library = os.path.join(self.place.built, '.libs/libsluice.so.0')
        env = dict(self.place.env, LIBSLUICE=os.path.realpath(library))
        loads = subprocess.run([sys.executable, '-c', 'import ctypes, os\n'
                                'ctypes.CDLL(os.environ["LIBSLUICE"])'], env=env,
                               stderr=subprocess.DEVNULL, check=False)
        if loads.returncode:        # with a sanitizer in it; see client.sh
            print('the library cannot be loaded here: not tried')
            return
        examples = os.path.join(os.environ.get('top_srcdir', '.'), 'calc/examples')
        code = ('import sys, numpy as np\n'
                'sys.path.insert(0, %r)\n'
                'import client\n'
                'c = client.Client(cores=2, command=%r)\n'
                'params = dict(items=12, rows=20000, bulk_kib=1100, items_per_task=3,\n'
                '              compress="deflate")\n'
                'n = 0\n'
                'with c.map(%r, **params) as run:\n'
                '    for r in run:\n'
                '        assert not r.failed, r.reason\n'
                '        rows = r.rows("samples")\n'
                '        assert len(rows) == 20000, len(rows)\n'
                '        assert (rows["item"] == r.first).all()\n'
                '        assert (rows["k"] == np.arange(20000)).all()\n'
                '        assert len(r.rows("bulk")) == 1100\n'
                '        n += 1\n'
                'assert n == 12, n\n'
                % (examples, self.place.binary, self.place.kernel))
        done = subprocess.run([sys.executable, '-c', code], env=env, text=True,
                              cwd=self.place.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr

    # ---- what is refused

    def refusals(self):
        for text in 'gzip', 'deflate:0', 'deflate:10', 'zstd:3', '':
            for command in (['run', self.job], ['map']):
                done = self.place.sluice(*command, '--compress', text, '-o',
                                         self.place.path('none.h5'),
                                         *(['--', 'true'] if command[0] == 'map' else []))
                assert done.returncode == 2 and done.stderr.count('\n') == 1, done.stderr
        job = self.place.job('wrong.ini', compress='lzma', **SIZES)
        done = self.place.sluice('run', job)
        assert done.returncode == 2 and done.stderr.count('\n') == 1, done.stderr
        assert 'wrong.ini:3: compress: ' in done.stderr and 'lzma' in done.stderr, done.stderr
        assert not os.path.exists(self.place.path('none.h5'))
        # In a job file, which the command line overrides.
        job = self.place.job('small.ini', compress='deflate:2', **dict(SIZES, items=6))
        path = self.place.path('small.h5')
        assert self.place.run(job, path)['compress'] == 'deflate:2'
        assert self.place.run(job, path, '--force', '--compress', 'none')['compress'] == 'none'


def main():
    dice = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    with libflow.Place() as place:
        test = Test(place)
        for part in (test.content, test.tools, test.get, test.commands, test.resume,
                     lambda: test.damage(dice), test.small, test.network, test.client, test.refusals):
            part()
    print('compress: all right')


if __name__ == '__main__':
    main()
