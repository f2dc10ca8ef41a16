#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""`sluice run --serial` dies at every change of a file in turn. What is left each
time opens in h5py, in a process that never had an HDF5 file open, and ledger,
tables and items agree; nothing that was in the file is lost again.

  killsweep.py [EVERY]     try only each so many places
"""
import atexit
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile

import libflow

DIED = 99


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


def die_at(job):
    """Run once, to die at the n-th change: (n, exit status, items or None)."""
    n, binary, ini, folder, preload, env = job
    output = os.path.join(folder, 'at%d.h5' % n)
    env = dict(env, LD_PRELOAD=preload, SLUICE_DIE_AT=str(n))
    env['ASAN_OPTIONS'] = env.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'
    status = subprocess.run([binary, 'run', ini, '-q', '--serial', '-o', output], env=env,
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, check=False)
    items = None
    try:
        if os.path.exists(output):
            items = look_apart(output)
    except AssertionError as e:
        return n, status.returncode, 'died at %d: %s' % (n, e)
    finally:
        for left in (output, output + '.lock', os.path.join(folder, '.at%d.h5.new' % n)):
            if os.path.exists(left):
                os.unlink(left)
    return n, status.returncode, items


def main():
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with libflow.Place() as place:
        if place.small:
            every *= 6
        preload = os.path.join(place.built, 'tests/preload/dieat.so')
        assert os.path.exists(preload), preload
        # About 1.5 s, for some snapshots; bulk makes extents of their own.
        ini = place.job('sweep.ini', items=36, rows=40, vary=1, bulk_kib=1800,
                        sleep_us=40000, items_per_task=3)
        folder = place.dir
        shm = '/dev/shm'
        if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 1 << 30:
            folder = tempfile.mkdtemp(prefix='flow-', dir=shm)      # spare the disk
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        jobs = ((n, place.binary, ini, folder, preload, place.env)
                for n in range(1, 2000, every))
        died = none = whole = ends = 0
        best = []
        with multiprocessing.get_context('fork').Pool(4) as pool:
            for n, status, items in pool.imap(die_at, jobs):
                assert not isinstance(items, str), items
                if status == 0:
                    assert items == 36, items
                    ends += 1
                    if ends == 4:       # there is no such place any more
                        break
                    continue
                assert status == DIED, 'place %d: exit status %d' % (n, status)
                died += 1
                if items is None:
                    assert not whole, 'place %d: the file is not there yet' % n
                    none += 1
                else:
                    whole += 1
                    best.append(items)
            pool.terminate()
        # The instants of snapshots differ a little from run to run.
        assert max(best) == 36 and best[0] == 0, best
        assert len(set(best)) >= 3, 'too few states: %s' % sorted(set(best))
        assert died * every >= 90, 'only %d places' % died
        print('died at %d places: no file yet %d, whole and right %d, with %s items' % (
            died, none, whole, sorted(set(best))))


if __name__ == '__main__':
    main()
