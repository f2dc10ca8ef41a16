#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""What `--resume` promises: a run whose master is killed, again and again, goes on from
its file's last whole state and comes to the digest of a run that nobody disturbed.
What is damaged is computed again and never trusted; another job, kernel, seed or input
is refused by name; a full disk, an interrupt and items that failed are gone on from;
a second master is refused. On nodes and with --serial.

  resume.py [SEED [PART...]]
"""
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time

import h5py

import libflow

WAYS = {'nodes': ['--cores', '2'], 'serial': ['--serial']}
ITEMS = 90
DEADLINE = 120


def until(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def items_of(path):
    """How many items are done in it; 0 if it is not there."""
    try:
        with h5py.File(path, 'r') as f:
            tasks = f['sluice/tasks'][:]
    except OSError:             # not there yet, or the writer looks for readers
        return 0
    return int((tasks['stop'] - tasks['first']).sum())


def edit(path, **attributes):
    with h5py.File(path, 'r+') as f:
        for name, value in attributes.items():
            f['sluice'].attrs[name] = value


class Test:
    def __init__(self, place, dice):
        self.place, self.dice = place, dice
        self.checks = 0
        self.job = place.job('job.ini', **self.parameters())
        self.want = place.run(self.job, place.path('right.h5'), *WAYS['nodes'])['digest']

    def parameters(self, **more):
        return dict(dict(items=ITEMS, rows=40, vary=1, bulk_kib=500, sleep_us=25000,
                         items_per_task=3), **more)

    def equal(self, what, got, want):
        self.checks += 1
        assert got == want, '%s: %r, not %r' % (what, got, want)

    def has(self, what, text, pattern):
        self.checks += 1
        assert re.search(pattern, text), '%s: %r has no %r' % (what, text, pattern)

    def start(self, output, *args, job=None, command='run', **more):
        where = ['-o', output] if output else []
        return subprocess.Popen(
            [self.place.binary, command, *([job or self.job] if command == 'run' else []),
             *where, *args], env=self.place.env, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def end(self, process):
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, err

    def sluice_run(self, output, *args, **more):
        return self.end(self.start(output, *args, **more))

    def refused(self, what, status, pattern, output, *args, **more):
        before = open(output, 'rb').read() if os.path.isfile(output) else None
        got, _, err = self.sluice_run(output, '--resume', '-q', *args, **more)
        self.equal(what + ': ' + err, got, status)
        self.equal(what + ': one line: ' + err, err.count('\n'), 1)
        self.has(what, err, pattern)
        if before is not None:
            self.equal(what + ': untouched', open(output, 'rb').read() == before, True)

    def finished(self, what, output, want=None):
        """Complete, sound and the same."""
        verify = self.place.sluice('verify', output)
        self.equal(what + ': verify: ' + verify.stderr, verify.returncode, 0)
        self.has(what, verify.stdout, 'complete, .* digest %s$' % (want or self.want))
        if os.path.exists(output + '.lock'):
            raise AssertionError(what + ': a lock is left: ' + open(output + '.lock').read())

    def resume(self, what, output, *args, want=None, **more):
        status, out, err = self.sluice_run(output, '--resume', '-q', '--json', *args, **more)
        self.equal(what + ': ' + err, status, 0)
        summary = json.loads(out)
        self.equal(what + ': digest', summary['digest'], want or self.want)
        self.finished(what, output, want)
        return summary, err

    def killed(self, output, *args, least=12, rate=12, **more):
        """A file whose master was killed when so many items were in it, but not all: when
        the machine is too busy for that, more slowly."""
        while rate >= 1:
            process = self.start(output, '-q', '--write-rate', '%dM' % rate, *args, **more)
            until(lambda: items_of(output) >= least or process.poll() is not None,
                  'no items in ' + output)
            process.kill()
            _, _, err = self.end(process)
            assert os.path.exists(output), err
            with h5py.File(output, 'r') as f:
                if f['sluice'].attrs['status'] == 'running' and items_of(output) >= least:
                    return output
            os.unlink(output)
            rate /= 2
        raise AssertionError('%s: never killed before its end' % output)

    # ---- the master is killed

    def kills(self, way):
        """At random instants, several times in a row."""
        output = self.place.path('kills-%s.h5' % way)
        self.killed(output, *WAYS[way])
        best, legs = items_of(output), 1
        for _ in range(2 if self.place.small else 4):
            process = self.start(output, '-q', '--resume', *WAYS[way])
            time.sleep(self.dice.uniform(0.1, 0.9))
            process.kill()
            process.communicate()
            if process.returncode == 0:
                break
            now = items_of(output)
            assert now >= best, '%s: %d items after %d' % (way, now, best)
            with h5py.File(output, 'r') as f:
                self.equal(way, len(libflow.check(f)['items']), now)
            best, legs = now, legs + 1
        show = self.place.sluice('show', output).stdout
        if 'complete' not in show:
            self.has('show', show, r'\.h5: unfinished\n')
            self.has('show', show, 'sluice run --resume -o %s job.ini' % output)
        summary, _ = self.resume(way, output, *WAYS[way])
        self.equal(way + ': items', summary['done'], ITEMS)
        state = libflow.look(output)
        self.equal(way + ': items', len(state['items']), ITEMS)
        self.has('show', self.place.sluice('show', output).stdout, r'resumed \d+ time')
        print('%s: killed %d times, the last time with %d items' % (way, legs, best))
        return output

    def complete(self, output):
        before = os.stat(output).st_mtime_ns
        for args in ['--serial'], ['--cores', '1']:
            status, out, err = self.sluice_run(output, '--resume', '--json', *args)
            self.equal('complete: ' + err, status, 0)
            self.has('complete', err, 'is complete: nothing is left')
            summary = json.loads(out)
            self.equal('complete', (summary['status'], summary['digest'], summary['done']),
                       ('complete', self.want, ITEMS))
        self.equal('complete: untouched', os.stat(output).st_mtime_ns, before)

    def ways(self):
        for way in WAYS:
            output = self.kills(way)
            self.cancelled(way)
            self.failed(way)
            self.late_tables(way)
            self.map_default(way)
        self.complete(output)

    def first_state(self):
        """Killed as soon as it has gone on, with many small pieces in one chunk."""
        job = self.place.job('small.ini', **self.parameters(
            items=3000, bulk_kib=0, items_per_task=1, sleep_us=2000))
        want = self.place.run(job, self.place.path('small-right.h5'), '--serial')['digest']
        output = self.killed(self.place.path('small.h5'), *WAYS['nodes'], least=600, job=job)
        there = items_of(output)

        def superblock():
            with open(output, 'rb') as f:
                return f.read(48)
        before = superblock()
        process = self.start(output, '-q', '--resume', *WAYS['nodes'], job=job)
        until(lambda: superblock() != before or process.poll() is not None, 'no state')
        process.kill()
        process.communicate()
        verify = self.place.sluice('verify', output)
        self.equal('first state: ' + verify.stderr, verify.returncode, 0)
        summary, err = self.resume('first state', output, *WAYS['nodes'], job=job, want=want)
        self.equal('first state: ' + err, summary['damaged_items'], 0)
        assert summary['resumed_items'] >= there, summary

    # ---- refusals

    def refusals(self):
        output = self.killed(self.place.path('refused.h5'), '--serial')
        status, _, err = self.sluice_run(output, '-q')
        self.equal('plain run on it', status, 2)
        self.equal('one line', err.count('\n'), 1)
        self.has('plain run on it', err, '--resume.*--force')
        for name, value, pattern in [
                ('rows', 41, r'parameter rows was "40" and is "41"'),
                ('extra', 'x', r'parameter extra is new'),
                ('items', ITEMS + 1, r'parameter items was')]:
            job = self.place.job('other.ini', **self.parameters(**{name: value}))
            self.refused(name, 2, pattern, output, '--serial', job=job)
        fewer = self.parameters()
        del fewer['vary']
        self.refused('fewer', 2, 'parameter vary is gone', output, '--serial',
                     job=self.place.job('fewer.ini', **fewer))
        self.refused('seed', 2, 'the seed was 42 and is 43', output, '--seed', '43')
        # The same kernel, but for a byte behind its end.
        other = self.place.path('other_kernel.so')
        shutil.copy(self.place.kernel, other)
        with open(other, 'ab') as f:
            f.write(b'\0')
        mine, self.place.kernel = self.place.kernel, other
        job = self.place.job('kernel.ini', **self.parameters())
        self.refused('kernel', 2, 'kernel .*other_kernel.so is not what it was', output,
                     job=job)
        self.place.kernel = mine
        copy = self.place.path('version.h5')
        shutil.copy(output, copy)
        edit(copy, version='0.0.1')
        self.refused('version', 2, 'made by version 0.0.1', copy)
        # Not complete, but made of another job: not "complete" either.
        edit(copy, status='complete')
        self.refused('complete, but another', 2, 'made by version 0.0.1', copy)
        text = self.place.path('text.h5')
        with open(text, 'w', encoding='ascii') as f:
            f.write('no output at all\n')
        self.refused('a text', 2, 'not an HDF5 file', text)
        with h5py.File(self.place.path('plain.h5'), 'w') as f:
            f['x'] = 1
        self.refused('plain HDF5', 2, 'not an output of Sluice', self.place.path('plain.h5'))
        self.refused('a folder', 2, 'not an HDF5 file', self.place.path('run'))
        # How it is cut into tasks, and by which name, does not matter.
        moved = self.place.path('moved.h5')
        os.rename(output, moved)
        job = self.place.job('cut.ini', **self.parameters(items_per_task=7))
        self.resume('moved', moved, *WAYS['nodes'], '--window', '96M', job=job)
        # One that is not there is begun.
        status, _, err = self.sluice_run(self.place.path('none.h5'), '--resume', '--serial')
        self.equal('not there: ' + err, status, 0)
        self.has('not there', err, 'is not there yet: beginning')

    def input_changed(self):
        """An input that differs in one byte, which has no part in the plan."""
        def put(*values):
            return b''.join(struct.pack('<Q', v) if isinstance(v, int) else
                            struct.pack('<Q', len(v) + 1) + v + b'\0' for v in values)
        data = put(3, 1, 0, b'rows', b'<u8', 8, 1, 1, 1) + put(7, 8, 9)
        self.place.kernel, mine = os.path.join(self.place.built,
                                               'tests/kernels/rows_kernel.so'), self.place.kernel
        job = self.place.job('input.ini', file='input.bin')
        self.place.kernel = mine
        for value in (data, data[:-1] + b'\1'):
            with open(self.place.path('input.bin'), 'wb') as f:
                f.write(value)
            output = self.place.path('input.h5')
            if value == data:
                digest = self.place.run(job, output, '--serial')['digest']
                edit(output, status='running')
            else:
                self.refused('input', 2, 'the input .*input.bin is not what it was', output,
                             job=job)
        with open(self.place.path('input.bin'), 'wb') as f:
            f.write(data)
        summary, _ = self.resume('input', output, '--serial', job=job, want=digest)
        self.equal('all was there', summary['resumed_items'], 3)

    # ---- damage

    def flips(self):
        """Single bits of results, and one of the record of a task."""
        output = self.killed(self.place.path('flips.h5'), '--serial', least=40)
        with h5py.File(output, 'r') as f:
            index, tasks = f['sluice/index'][:], f['sluice/tasks'][:]
            sizes = [f[t].dtype.itemsize for t in libflow.TABLES + ['sluice/items']]
        there, hit = int((tasks['stop'] - tasks['first']).sum()), set()
        with open(output, 'r+b') as f:
            for row in self.dice.sample(list(index), 5):
                at = int(row['address'] + row['offset']) + self.dice.randrange(
                    int(row['rows']) * sizes[row['table']])
                f.seek(at)
                byte = f.read(1)[0] ^ 1 << self.dice.randrange(8)
                f.seek(at)
                f.write(bytes([byte]))
                hit.add(int(row['task']))
        with h5py.File(output, 'r+') as f:
            task = tasks[-1]
            hit.add(int(task['task']))
            task['stop'] += 1
            f['sluice/tasks'][-1] = task
        self.equal('verify finds it', self.place.sluice('verify', output).returncode, 4)
        summary, err = self.resume('flips', output, *WAYS['nodes'])
        self.has('flips', err, r'results of %d tasks .*are damaged and are computed again'
                 % len(hit))
        self.equal('flips: taken over', summary['resumed_items'],
                   there - 3 * len(hit))

    def lost(self):
        """Whole extents that became zeros, as after a disk lost them."""
        output = self.killed(self.place.path('lost.h5'), '--serial', least=40)
        with h5py.File(output, 'r') as f:
            index = f['sluice/index'][:]
        big = [row for row in index if row['rows'] * 1024 >= 1 << 20 and row['table'] == 2]
        assert len(big) >= 5, 'results in extents of their own: %d' % len(big)
        with open(output, 'r+b') as f:
            for row in big[:3]:
                f.seek(int(row['address']))
                f.write(bytes(1 << 20))
        _, err = self.resume('lost', output, *WAYS['nodes'])
        self.has('lost', err, 'are damaged and are computed again')

    def cut(self):
        """A file that was cut: goes on with what is there, or says that nothing can be
        done; never anything else."""
        output = self.killed(self.place.path('cut.h5'), '--serial', least=30)
        with open(output, 'rb') as f:
            end = struct.unpack('<Q', f.read(36)[28:])[0]
        with h5py.File(output, 'r') as f:
            index = f['sluice/index'][:]
        places = {int(r['address']) for r in index}
        healed = 0
        for at in [end] + sorted(places)[::-1][:2] + [end // 2, 3000]:
            copy = self.place.path('cut-copy.h5')
            shutil.copy(output, copy)
            os.truncate(copy, at)
            status, out, err = self.sluice_run(copy, '--resume', '-q', '--json', '--serial')
            if status:
                self.equal('cut at %d of %d: %s' % (at, end, err), status, 4)
                self.has('cut', err, 'begin anew with --force')
                self.equal('cut: size', os.stat(copy).st_size, at)
            else:
                self.equal('cut: digest', json.loads(out)['digest'], self.want)
                self.finished('cut', copy)
                healed += 1
        assert healed, 'cut behind its end it must go on'

    def reader(self):
        """Who has the file open all the while sees the state that it opened."""
        output = self.killed(self.place.path('reader.h5'), '--serial', least=30)
        with h5py.File(output, 'r') as f:
            before = libflow.check(f)
            summary, _ = self.resume('reader', output, *WAYS['nodes'])
            after = libflow.check(f)
        self.equal('reader', list(after['items']), list(before['items']))
        self.equal('reader', summary['resumed_items'], len(before['items']))

    # ---- ends that are no kills

    def cancelled(self, way):
        output = self.place.path('cancelled.h5')
        for rate in '12M', '6M', '3M', '1M':    # more slowly when it ended before
            process = self.start(output, '--write-rate', rate, *WAYS[way])
            until(lambda p=process: items_of(output) >= 6 or p.poll() is not None, 'no items')
            process.send_signal(signal.SIGINT)
            status, _, err = self.end(process)
            if status != 0:
                break
            os.unlink(output)
        self.equal('cancelled: ' + err, status, 130)
        line = err.splitlines()[-1]
        self.has('cancelled', line, 'to go on with it: sluice run --resume ')
        command = shlex.split(line.split('to go on with it: ')[1])
        again = subprocess.run([self.place.binary] + command[1:], env=self.place.env,
                               stderr=subprocess.PIPE, text=True, check=False)
        self.equal('as it said: ' + again.stderr, again.returncode, 0)
        self.finished('cancelled', output)
        os.unlink(output)

    def disk_full(self):
        output = self.place.path('full.h5')
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, resource.RLIM_INFINITY))
        status, _, err = self.sluice_run(output, '--serial', '--disk-wait', '1',
                                         '--write-rate', '30M', preexec_fn=limit)
        self.equal('disk full: ' + err, status, 4)
        self.has('disk full', err.splitlines()[-1], '--resume')
        there = items_of(output)
        summary, _ = self.resume('disk full', output, *WAYS['nodes'])
        self.equal('disk full: taken over', summary['resumed_items'], there)

    def failed(self, way):
        """What failed is tried again."""
        marker, output = self.place.path('marker'), self.place.path('failed.h5')
        job = self.place.job('failed.ini', **self.parameters(
            mode='first fail', at=31, marker=marker, retries=0, sleep_us=0,
            items_per_task=1))
        for left in (marker, output):
            if os.path.exists(left):
                os.unlink(left)
        status, _, err = self.sluice_run(output, '-q', *WAYS[way], job=job)
        self.equal('failed: ' + err, status, 1)
        self.equal('failed: items', items_of(output), ITEMS - 1)
        summary, _ = self.resume('failed', output, *WAYS[way], job=job)
        self.equal('failed: taken over', summary['resumed_items'], ITEMS - 1)
        state = libflow.look(output)
        self.equal('failed: on record', [int(x) for x in state['failures']['final']], [0])

    def second_master(self):
        output = self.killed(self.place.path('second.h5'), '--serial')
        first = self.start(output, '-q', '--resume', '--serial', '--write-rate', '2M')
        until(lambda: os.path.exists(output + '.lock') and
              open(output + '.lock', encoding='ascii').read().split()[1:2] ==
              [str(first.pid)], 'no lock')
        status, _, err = self.sluice_run(output, '-q', '--resume', '--serial')
        self.equal('second: ' + err, status, 4)
        self.equal('second: one line', err.count('\n'), 1)
        self.has('second', err, 'is being written by run .* process %d' % first.pid)
        _, _, err = self.sluice_run(output, '--resume', '--serial')
        self.equal('second: no advice to resume it: ' + err, '--resume' in err, False)
        self.has('show', self.place.sluice('show', output).stdout, r'\.h5: running\n')
        # By another name, too: the lock lies beside the file itself.
        link = self.place.path('second-link.h5')
        os.symlink(output, link)
        status, _, err = self.sluice_run(link, '-q', '--resume', '--serial')
        self.equal('by a link: ' + err, status, 4)
        self.has('by a link', err, 'is being written by run .* process %d' % first.pid)
        first.kill()
        first.communicate()
        self.resume('second', output, *WAYS['nodes'])

    # ---- other kinds of runs

    def late_tables(self, way):
        """Tables that are met with their rows."""
        mine = self.place.kernel
        self.place.kernel = os.path.join(self.place.built, 'tests/kernels/late_kernel.so')
        job = self.place.job('late.ini', items=1500, once=1200, bulk_kib=30,
                             items_per_task=40)
        self.place.kernel = mine
        want = self.place.run(job, self.place.path('late-right-%s.h5' % way),
                              '--serial')['digest']
        output = self.place.path('late-%s.h5' % way)
        self.killed(output, *WAYS[way], rate=6, job=job)
        self.resume('late', output, *WAYS[way], job=job, want=want)

    def map_default(self, way):
        """The newest output of this folder, with the same command."""
        here = self.place.path('map-' + way)
        os.mkdir(here)
        command = ['--', 'sh', '-c', 'sleep 0.1; echo $SLUICE_SEED {}', ':::'] + [
            str(i) for i in range(24)]
        right = self.start(None, *WAYS[way], '-q', '--json', *command, command='map', cwd=here)
        status, out, err = self.end(right)
        self.equal('map: ' + err, status, 0)
        want = json.loads(out)
        self.equal('map', want['output'], 'map-001.h5')
        first = self.start(None, *WAYS[way], '-q', *command, command='map', cwd=here)
        output = os.path.join(here, 'map-002.h5')
        until(lambda: items_of(output) >= 3, 'no items')
        first.kill()
        first.communicate()
        other = self.start(None, '-q', '--resume', *command[:-1], command='map', cwd=here)
        status, _, err = self.end(other)
        self.equal('map, fewer arguments: ' + err, status, 2)
        self.has('map', err, 'command or its arguments are not what they were')
        again = self.start(None, *WAYS[way], '-q', '--json', '--resume', *command,
                           command='map', cwd=here)
        status, out, err = self.end(again)
        self.equal('map: ' + err, status, 0)
        got = json.loads(out)
        self.equal('map', (got['output'], got['digest']), ('map-002.h5', want['digest']))
        assert got['resumed_items'] >= 3, got
        # What commands said on stderr is a record, and there is none of it here.
        self.finished('map', output, want['digest'])


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    print('seed', seed, flush=True)
    with libflow.Place() as place:
        test = Test(place, random.Random(seed))
        for what in (sys.argv[2:] or ['ways', 'first_state', 'refusals', 'input_changed', 'flips',
                                      'lost', 'cut', 'reader', 'disk_full',
                                      'second_master']):
            before = time.monotonic()
            getattr(test, what)()
            print('%s: %.1f s' % (what, time.monotonic() - before), flush=True)
        place.wait_gone(60)
        print('%d checks, all right' % test.checks)


if __name__ == '__main__':
    main()
