#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""`sluice run --serial` dies at every change of a file in turn. What is left each
time opens in h5py, in a process that never had an HDF5 file open, and ledger,
tables and items agree; nothing that was in the file is lost again (invariant I5). Some
are gone on with, to the digest of a run that nobody disturbed; of these some die a second
time.

  killsweep.py [EVERY]     try only each so many places
"""
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile

import libflow

DIED = 99
LANES = 4                           # places that are tried at once


def look_apart(path):
    """libflow.look in a child; the number of items. What is wrong is raised."""
    get, put = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(get)
        status = 1
        try:
            said = '%d' % len(libflow.look(path)['items'])
            status = 0
        except BaseException as e:              # said by the parent
            said = '%s: %s' % (type(e).__name__, e)
        os.write(put, said.encode()[:4000])
        os._exit(status)
    os.close(put)
    with os.fdopen(get) as f:
        said = f.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, said
    return int(said)


def run(binary, ini, output, env, *args):
    """Its exit status, and the digest that it came to, or None."""
    done = subprocess.run([binary, 'run', ini, '-q', '--json', '--serial', '-o', output, *args],
                          env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    return done.returncode, json.loads(done.stdout)['digest'] if done.stdout else None


def resume(n, twice, items, digest, binary, ini, output, env):
    """To the end; before that it may die again."""
    if twice:
        status, _ = run(binary, ini, output, dict(env, SLUICE_DIE_AT=str(1 + n % 50)),
                        '--resume')
        again = look_apart(output)
        assert status == DIED or status == 0 and again == 36, 'status %d' % status
        assert again >= items, 'died twice: %d items after %d' % (again, items)
    got = run(binary, ini, output, dict(env, SLUICE_DIE_AT='0'), '--resume')
    assert got == (0, digest), 'gone on with: %s, not %s' % (got, digest)
    assert look_apart(output) == 36, 'gone on with: items are missing'


def die_at(n, place, often, digest, binary, ini, folder, env):
    """Run once, to die at the n-th change: (exit status, items or None or what is
    wrong, was it gone on with). That is done at each so many places."""
    output = os.path.join(folder, 'at%d.h5' % n)
    compress = ['--compress', 'deflate'] if place % 2 else []
    status, _ = run(binary, ini, output, dict(env, SLUICE_DIE_AT=str(n)), *compress)
    items, resumed = None, False
    try:
        if os.path.exists(output):
            items = look_apart(output)
            resumed = status == DIED and place % often == often - 1
            if resumed:
                resume(n, place // often % 2, items, digest, binary, ini, output, env)
    except AssertionError as e:
        items = 'died at %d: %s' % (n, e)
    for left in (output, output + '.lock', os.path.join(folder, '.at%d.h5.new' % n)):
        if os.path.exists(left):
            os.unlink(left)
    return status, items, resumed


def one_of(lane, every, out, *how):
    """The work of one of LANES processes: its places, one by one."""
    parent, ends = os.getppid(), 0
    for n in range(1 + lane * every, 4000, LANES * every):
        status, items, resumed = die_at(n, n // every, *how)
        os.write(out, json.dumps([n, status, items, resumed]).encode() + b'\n')
        ends += status == 0
        # Once it ran to its end there is no such place any more, or hardly.
        if ends == 2 or isinstance(items, str) or os.getppid() != parent:
            break


def sweep(every, *how):
    """All places: (n, exit status, items, was it gone on with), in order."""
    get, put = os.pipe()
    lanes = []
    for lane in range(LANES):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(get)
                one_of(lane, every, put, *how)
                status = 0
            finally:
                os._exit(status)
        lanes.append(pid)
    os.close(put)
    with os.fdopen(get) as f:
        found = sorted(json.loads(line) for line in f)
    for pid in lanes:
        assert os.waitpid(pid, 0)[1] == 0, 'a lane of the sweep failed'
    return found


def main():
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with libflow.Place() as place:
        if place.small:
            every *= 6
        preload = os.path.join(place.built, 'tests/preload/dieat.so')
        assert os.path.exists(preload), preload
        # About 1.5 s, for some snapshots; bulk makes extents of their own.
        ini = place.job('sweep.ini', items=36, rows=50000, vary=1, bulk_kib=900,
                        sleep_us=40000, items_per_task=3)
        folder = place.dir
        shm = '/dev/shm'
        if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 1 << 30:
            folder = tempfile.mkdtemp(prefix='flow-', dir=shm)      # spare the disk
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        env = dict(place.env, LD_PRELOAD=preload)
        env['ASAN_OPTIONS'] += ':verify_asan_link_order=0'
        status, digest = run(place.binary, ini, os.path.join(folder, 'right.h5'), env)
        assert status == 0, status
        often = 7 if every == 1 else 3  # each so many is gone on with
        died = none = whole = resumed = 0
        best = []
        for n, status, items, again in sweep(every, often, digest, place.binary, ini, folder, env):
            assert not isinstance(items, str), items
            resumed += again
            if status == 0:
                assert items == 36, items
                continue
            assert status == DIED, 'place %d: exit status %d' % (n, status)
            died += 1
            if items is None:
                assert not whole, 'place %d: the file is not there yet' % n
                none += 1
            else:
                whole += 1
                best.append(items)
        # The instants of snapshots differ a little from run to run, and places
        # left out may be those after the last one.
        assert max(best) == 36 or every > 1, best
        assert best[0] < 36, best
        assert len(set(best)) >= 3, 'too few states: %s' % sorted(set(best))
        assert died * every >= 90, 'only %d places' % died
        assert resumed >= 2, resumed
        print('died at %d places: no file yet %d, whole and right %d, with %s items; '
              '%d gone on with' % (died, none, whole, sorted(set(best)), resumed))


if __name__ == '__main__':
    main()
