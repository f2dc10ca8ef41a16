#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""The output opens plainly at any time (invariant I5): again and again while the
run goes on, by several readers, never going backwards; and after kill -9 of the
master at random instants. Each time ledger, tables and items agree."""
import os
import random
import sys
import time

import h5py
import libflow

SEED = int(os.environ.get('SLUICE_TEST_SEED', '1994'))
KILLS = 20


def read_on(path, out, parent):
    """A reader, in a process of its own: to the end of the run, or of the test."""
    last, opens, missed, items = -1, 0, 0, 0
    while True:
        assert os.getppid() == parent, 'the test is gone'
        try:
            f = h5py.File(path, 'r')
        except FileNotFoundError:
            assert last < 0, 'the file is gone again'
            time.sleep(0.01)
            continue
        except BlockingIOError:
            # The instant at which the writer looks whether there are readers.
            missed += 1
            assert missed < 5 + opens // 10, 'the writer keeps readers out'
            continue
        with f:
            state = libflow.check(f)
        items = len(state['items'])
        assert items >= last, '%d items after %d' % (items, last)
        last, opens = items, opens + 1
        if state['status'] != 'running':
            break
        time.sleep(0.02)
    with open(out, 'w', encoding='ascii') as f:
        f.write('%s %d %d %d' % (state['status'], opens, missed, items))


def beside(place):
    items = 800 if place.small else 6000
    job = place.job('read.ini', items=items, rows=60, vary=1, sleep_us=1000,
                    items_per_task=25)
    output = place.path('read.h5')
    readers, parent = [], os.getpid()
    for i in range(2):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                read_on(output, place.path('reader.%d' % i), parent)
                status = 0
            except BaseException as e:          # the parent must hear of any
                print('reader %d: %s: %s' % (i, type(e).__name__, e), file=sys.stderr)
            os._exit(status)
        readers.append(pid)
    # One that opens the file once and keeps that state open to the end.
    summary = place.start(job, output, '--cores', '2')
    held = None
    while held is None and summary.poll() is None:
        try:
            held = h5py.File(output, 'r')
            if len(libflow.check(held)['items']) < items // 10:
                held.close()
                held = None
        except OSError:
            pass
        time.sleep(0.01)
    assert held, 'no state could be kept open'
    before = len(libflow.check(held)['items'])
    out, err = summary.communicate()
    assert summary.returncode == 0, err
    for i, pid in enumerate(readers):
        _, status = os.waitpid(pid, 0)
        assert status == 0, 'reader %d' % i
        with open(place.path('reader.%d' % i), encoding='ascii') as f:
            said = f.read().split()
        assert said[0] == 'complete' and int(said[3]) == items, said
        assert int(said[1]) >= 10, 'only %s opens' % said[1]
        print('reader %d: opened %s times while it grew, all whole; %s to try again'
              % (i, said[1], said[2]))
    # What was open all the time still shows its old state.
    assert len(libflow.check(held)['items']) == before
    held.close()
    print('a state with %d items was kept open to the end' % before)


def killed(place):
    rng = random.Random(SEED)
    job = place.job('kill.ini', items=4000, rows=60, vary=1, sleep_us=1000,
                    items_per_task=25)
    kills = 6 if place.small else KILLS
    counts = []
    for n in range(kills):
        output = place.path('kill.h5')
        if os.path.exists(output):
            os.unlink(output)
        process = place.start(job, output, '--cores', '2')
        after = rng.uniform(0.02, 0.3 if n % 4 == 0 else 1.8)
        time.sleep(after)
        process.kill()
        process.communicate()
        if os.path.exists(output):
            state = libflow.look(output)
            counts.append(len(state['items']))
            assert state['status'] in ('running', 'complete'), state['status']
        else:
            assert n % 4 == 0 or after < 1 or place.small, 'no file after %.2f s' % after
        place.wait_gone(10)
    print('killed at %d instants (seed %d): files with %s items, all whole' % (
        kills, SEED, sorted(counts)))
    assert len(counts) >= kills // 2, 'hardly any file was there'
    place.run(place.job('after.ini', items=50), output, '--force')
    assert len(libflow.look(output)['items']) == 50


def main():
    with libflow.Place() as place:
        beside(place)
        killed(place)


if __name__ == '__main__':
    main()
