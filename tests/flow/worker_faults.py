#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""What workers do to a run, besides dying (crash.sh) and what commands do
(map_unruly.sh): they stand still, never end, leave children, print without end, fill
their scratch folder, and fail one in twenty. Each run ends with the documented status,
its digest is that of the items that can be computed, each that cannot is named on the
screen and in the file, memory is bounded and nothing is left.

  worker_faults.py [MIB]       that it prints; with it, it stands still for 30 s (3)
"""
import json
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np

import libflow

ITEMS, AT = 600, 437
MIB = 1 << 20


def again_with_mounts():
    """Our own mounts, which go away with us."""
    if os.environ.get('FLOW_MOUNTS'):
        return
    for way in ('-m', '-rm'):
        if subprocess.call(['unshare', way, 'true'], stderr=subprocess.DEVNULL) == 0:
            os.environ['FLOW_MOUNTS'] = 'yes'
            os.execvp('unshare', ['unshare', way, sys.executable, *sys.argv])
    os.environ['FLOW_MOUNTS'] = 'no'


class Faults(libflow.Place):
    def __init__(self):
        super().__init__()
        self.checks = 0
        with open(self.binary, 'rb') as f:
            self.asan = b'__asan_init' in f.read()

    def ok(self, what, true):
        self.checks += 1
        assert true, what

    def end(self, process):
        """Of a run: its status, summary, and what it said."""
        out, err = process.communicate(timeout=300)
        return process.returncode, json.loads(out), err

    def go(self, name, *args, **params):
        job = self.job(name + '.ini', **params)
        return self.end(self.start(job, self.path(name + '.h5'), '--cores', '2', *args))

    def right(self, name, digest, end, status, failed=()):
        """The end of a run is as it should be."""
        code, said, err = end
        output = self.path(name + '.h5')
        self.ok('%s: exit status %d: %s' % (name, code, err), code == status)
        self.ok('%s: digest %s, not %s' % (name, said['digest'], digest),
                said['digest'] == digest)
        self.ok('%s: failed %s' % (name, said['failed']), said['failed'] == len(failed))
        verify = self.sluice('verify', output)
        self.ok('%s: verify %s' % (name, verify.stdout + verify.stderr),
                verify.returncode == 0 and verify.stdout.rstrip().endswith(digest))
        bound = said['window'] + 64 * MIB + 128 * 1024 + 16 * 30000
        self.ok('%s: peak_rss %d' % (name, said['peak_rss']),
                said['peak_rss'] <= bound or self.asan)
        # One line for each failed item, the first ten.
        named = [line for line in err.splitlines() if ' failed on ' in line]
        self.ok('%s says: %s' % (name, err), len(named) == min(len(failed), 10))
        with h5py.File(output, 'r') as f:
            rows = f['sluice/failures'][:]
            final = rows[rows['final'] == 1]
            nodes = f['sluice/nodes'][:]
        self.ok(name + ': other items are named in the file',
                sorted(final['first'].tolist()) == sorted(failed))
        self.ok(name + ': a host of a failure is not known',
                set(final['node'].tolist()) <= set(nodes['node'].tolist()))
        libflow.look(output)
        self.wait_gone(60)
        left = [f for sub in ('tmp', 'run') for f in os.listdir(self.path(sub))
                if f != 'sluice']
        self.ok('%s: left: %s' % (name, left), not left)
        return final

    def named_processes(self, name):
        found = []
        for pid in self.processes():
            try:
                with open('/proc/%d/stat' % pid, encoding='latin-1') as f:
                    comm, rest = f.read().split('(', 1)[1].rsplit(')', 1)
                if comm.startswith(name):
                    found.append((pid, rest.split()[0]))
            except OSError:
                pass
        return found

    def wait_for(self, what, condition, seconds=120):
        until = time.monotonic() + seconds
        while True:
            got = condition()
            if got:
                self.checks += 1
                return got
            assert time.monotonic() < until, what
            time.sleep(0.02)


def stopped(p, all_items):
    """A worker stands still: nobody can tell it from a slow one. It is waited for; with
    a timeout it is ended, and its item tried anew."""
    params = dict(items=ITEMS, rows=20, vary=1, at=AT)
    job = p.job('stop.ini', mode='first stop', marker=p.path('stop.mark'), **params)
    run = p.start(job, p.path('stop.h5'), '--cores', '2')
    still = p.wait_for('no worker is stopped', lambda: [
        pid for pid, state in p.named_processes('sluice-w') if state == 'T'])
    # All the others are done, or given to the other worker, while it stands still.
    time.sleep(30 if len(sys.argv) > 1 else 1 if p.small else 3)
    p.ok('the run did not wait', run.poll() is None)
    for pid in still:
        os.kill(pid, signal.SIGCONT)
    p.right('stop', all_items, p.end(run), 0)
    end = p.go('stop-limit', '--timeout', '2', mode='first stop',
               marker=p.path('limit.mark'), **params)
    p.right('stop-limit', all_items, end, 0)
    p.ok('stop-limit: retried', end[1]['retried'] >= 1)


def endless(p, rest):
    """It never ends: the timeout of the job, and how often it is tried."""
    params = dict(items=ITEMS, rows=20, vary=1, at=AT, mode='spin')
    final = p.right('spin', rest, p.go('spin', '--timeout', '1.5', retries=0, **params), 1,
                    [AT])
    reason = final[0]['reason']
    p.ok(reason, b'out of time: ended after 1.5 s' in reason)
    # The job file says the same; the command line goes before it.
    end = p.go('spin2', '--retries', '1', items_per_task=1, retries=9, timeout='0.02m',
               **params)
    p.right('spin2', rest, end, 1, [AT])
    with h5py.File(p.path('spin2.h5'), 'r') as f:
        p.ok('two attempts of it', len(f['sluice/failures']) == 2)
    for bad in (dict(timeout='soon'), dict(timeout=-1), dict(retries=5000),
                dict(crash_limit=0)):
        name, = bad
        job = p.job('bad.ini', items=1, **bad)
        done = p.sluice('run', job, '-q', '-o', p.path('bad.h5'))
        p.ok('%s: %d %s' % (bad, done.returncode, done.stderr),
             done.returncode == 2 and name in done.stderr and
             len(done.stderr.splitlines()) == 1 and not os.path.exists(p.path('bad.h5')))


def crashes_and_failures(p, rest):
    """Deaths of the worker and errors of the kernel have limits of their own."""
    for mode, args, attempts in (
            ('abort', ['--crash-limit', '4', '--retries', '0'], 4),
            ('error', ['--crash-limit', '4', '--retries', '0'], 1),
            ('error', ['--crash-limit', '1', '--retries', '4'], 5)):
        name = 'limit-%s-%d' % (mode, attempts)
        end = p.go(name, *args, items=ITEMS, rows=20, vary=1, at=AT, mode=mode,
                   items_per_task=1)
        final = p.right(name, rest, end, 1, [AT])
        p.ok('%s: %s' % (name, final), final[0]['attempt'] == attempts)
        if mode == 'abort':
            p.ok('its last words: ' + end[2], 'about to abort' in end[2])


def children(p, all_items):
    """Processes that leave the worker's session, and ignore SIGTERM, end with the run."""
    end = p.go('escape', items=ITEMS, rows=20, vary=1, mode='escape')
    p.right('escape', all_items, end, 0)


def flood(p, rest):
    """It prints without end: the last 4 KiB are kept,
    and no process of ours grows."""
    mib = int(sys.argv[1]) if len(sys.argv) > 1 else 64 if p.small else 256
    job = p.job('flood.ini', items=ITEMS, rows=20, vary=1, at=AT, mode='flood',
                flood_mib=mib, retries=0, items_per_task=1)
    run = p.start(job, p.path('flood.h5'), '--cores', '2')
    peak = 0
    while run.poll() is None:
        for pid, _ in p.named_processes(('sluice', 'exe')):
            try:
                with open('/proc/%d/status' % pid, encoding='latin-1') as f:
                    peak = max([peak] + [int(line.split()[1]) for line in f
                                         if line.startswith('VmHWM')])
            except OSError:
                pass
        time.sleep(0.05)
    final = p.right('flood', rest, p.end(run), 1, [AT])
    tail = final[0]['stderr']
    p.ok('%d bytes of stderr are kept' % len(tail), 1000 <= len(tail) <= 4096)
    p.ok('its last line', tail.rstrip().endswith(b'the last line'))
    p.ok('a process of ours had %d KiB' % peak, 0 < peak < 100 * 1024 or p.asan)
    return mib, peak


def full_scratch(p, rest):
    """It fills the scratch folder: that is what its item fails of, and whatever the
    worker does next finds room."""
    assert os.environ['FLOW_MOUNTS'] == 'yes', 'no mount can be made here (unshare -rm)'
    disk = p.path('disk')
    os.mkdir(disk)
    subprocess.check_call(['mount', '-t', 'tmpfs', '-o', 'size=24M', 'none', disk])
    try:
        p.env['TMPDIR'] = disk
        end = p.go('fill', items=ITEMS, rows=20, vary=1, at=AT, mode='fill')
        final = p.right('fill', rest, end, 1, [AT])
        p.ok(final[0]['reason'], b'No space left on device' in final[0]['reason'])
        attempts = end[1]['retried'] + 1
        p.ok('attempts: %d' % attempts, attempts >= 3)
        with h5py.File(p.path('fill.h5'), 'r') as f:
            for row in f['sluice/failures'][:]:
                # Each time there was room again: more than half of the disk.
                kib = int(row['reason'].split()[-2])
                p.ok('room for %d KiB' % kib, kib > 12 << 10)
        p.ok('left: %s' % os.listdir(disk), not os.listdir(disk))
    finally:
        p.env['TMPDIR'] = p.path('tmp')
        subprocess.check_call(['umount', '-l', disk])


def bad_luck(p):
    """Ten thousand tasks, of which one in twenty fails."""
    n = 2000 if p.small else 10000
    params = dict(items=n, rows=3, vary=1, fails=50, retries=0, items_per_task=1)
    items = np.arange(n, dtype=np.uint64)
    bad = items[(items * libflow.MIX >> np.uint64(33)) % np.uint64(1000) < np.uint64(50)]
    p.ok('%d have bad luck' % len(bad), n // 25 < len(bad) < n // 15)
    alone = p.end(p.start(p.job('serial.ini', **params), p.path('serial.h5'), '--serial'))
    p.ok('serial: %d' % alone[0], alone[0] == 1)
    end = p.go('luck', **params)
    p.right('luck', alone[1]['digest'], end, 1, bad.tolist())
    p.ok(end[2], 'more items failed; they are named in sluice/failures' in end[2])
    state = libflow.look(p.path('luck.h5'))
    p.ok('all the others are done', len(state['items']) == n - len(bad))
    # Some at a time, and again after each failure: the same set.
    params.update(items_per_task=0, retries=1)
    p.right('luck2', alone[1]['digest'], p.go('luck2', **params), 1, bad.tolist())
    return n, len(bad)


def main():
    again_with_mounts()
    began = time.monotonic()
    with Faults() as p:
        params = dict(items=ITEMS, rows=20, vary=1)
        all_items = p.end(p.start(p.job('all.ini', **params), p.path('all.h5'),
                                  '--serial'))[1]['digest']
        rest = p.end(p.start(p.job('rest.ini', mode='error', at=AT, **params),
                             p.path('rest.h5'), '--serial'))[1]['digest']
        assert all_items != rest
        stopped(p, all_items)
        endless(p, rest)
        crashes_and_failures(p, rest)
        children(p, all_items)
        mib, peak = flood(p, rest)
        full_scratch(p, rest)
        n, bad = bad_luck(p)
        print('worker_faults: %d checks, all right, in %.0f s; %d MiB printed, the largest '
              'process had %d MiB; %d of %d tasks failed' % (
                  p.checks, time.monotonic() - began, mib, peak >> 10, bad, n))


if __name__ == '__main__':
    main()
