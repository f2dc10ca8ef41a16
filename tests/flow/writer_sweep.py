#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Kills the writer at every change of a file in turn, and reads what is left.

Whatever the place: once the output has its name, h5py opens it plainly, and
ledger, tables, items and tasks agree with each other and with what the rows
must be; nothing that was durable is lost again. The same when the power fails,
and any sector written since the last sync may be lost; such files are gone on with, to the
digest of a run that nobody disturbed. Then the disk is full at every write in turn, and
the writer gets over it. Then readers run beside the writer. Invariant I5.

  writer_sweep.py [TASKS [EVERY]]     EVERY: try only each so many places (1; 5 when
                                      SLUICE_TEST_SCALE is small)
"""
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib

import h5py
import numpy as np

TOP = os.environ.get('top_builddir', '.')
PLAY = os.environ.get('WRITER_PLAY', os.path.join(TOP, 'tests/tools/writer_play'))
DIEAT = os.environ.get('WRITER_DIEAT', os.path.join(TOP, 'tests/preload/dieat.so'))
NAMES = ['play/rows', 'small', 'rare', 'sluice/items']
ITEMS = 40                          # of each task
DIED = 99


def rows_of(item, table):
    """How many rows items have: play_rows in tests/unit/play.h."""
    if table == 0:
        return np.where(item % 13 == 0, 0, 5 + item // 16 % 5 * 30)
    if table == 1:
        return item % 7
    return np.where(item % 10 == 3, 2, 0)


def expected(first, stop, table):
    """Item and number within the item of each row of a task's stream."""
    items = np.arange(first, stop, dtype=np.uint64)
    counts = rows_of(items, table).astype(int)
    item = np.repeat(items, counts)
    k = np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)
    return item, k.astype(np.uint64)


def check_rows(rows, item, k, table):
    if table == 0:
        assert (rows['item'] == item).all() and (rows['k'] == k).all()
        assert (rows['v'] == (item / 2 + k).astype('f4')).all()
    elif table == 1:
        assert (rows['item'] == item).all()
        b = np.stack([k, item, item + k], axis=1).astype('u2')
        assert (rows['b'] == b).all()
    else:
        assert (rows['n'] == item * 1000 + k).all()


def check_index(f, name, table, tasks):
    """The index of a finished table tiles it and names the right items."""
    index, rows = f[name + '_index'][:], f[name][:]
    order = np.argsort(index['start'])
    starts, stops = index['start'][order], index['stop'][order]
    assert (starts < stops).all()
    assert len(rows) == (stops[-1] if len(stops) else 0)
    assert (starts[1:] == stops[:-1]).all() and (not len(starts) or starts[0] == 0)
    assert (np.diff(index['item'].astype('i8')) >= 0).all()
    seen = collections.Counter()
    for item, start, stop in index.tolist():
        n = stop - start
        k = np.arange(seen[item], seen[item] + n, dtype=np.uint64)
        check_rows(rows[start:stop], np.full(n, item, np.uint64), k, table)
        seen[item] += n
    for task in tasks:
        for item in range(int(task['first']), int(task['stop'])):
            assert seen[item] == int(rows_of(np.array(item), table))


def check(f, every=1):
    """Look at all (each so many tasks); returns (tasks, is it finished)."""
    about = dict(f['sluice'].attrs)
    tasks, index = f['sluice/tasks'][:], f['sluice/index'][:]
    assert len(set(tasks['task'].tolist())) == len(tasks), 'a task is there twice'
    by_task = {int(t['task']): t for t in tasks}
    assert set(index['task'].tolist()) <= set(by_task), 'rows of a task that is not done'
    tables = [f[name][:] for name in NAMES]
    np.testing.assert_array_equal(f['sites/lonlat'][:].ravel(), np.arange(30) / 7.0)
    assert f['answer'][()] == 1.0
    extents = {}
    for number, name in enumerate(NAMES):
        mine = index[index['table'] == number]
        mine = mine[np.argsort(mine['start'])]
        stops = mine['start'] + mine['rows']
        assert len(tables[number]) == (stops[-1] if len(mine) else 0), name
        if len(mine):
            assert mine['start'][0] == 0 and (mine['start'][1:] == stops[:-1]).all(), name
        for entry in mine:
            extents.setdefault((int(entry['address']), int(entry['stored'])), []).append(
                (int(entry['offset']), int(entry['rows'])))
    places = sorted(extents)
    for (address, stored), (after, _) in zip(places, places[1:]):
        assert address + stored <= after, 'extents overlap'
    for number, task in list(by_task.items())[::every]:
        first, stop = int(task['first']), int(task['stop'])
        assert stop - first == ITEMS and first % ITEMS == 0
        assert first == number * ITEMS or about['resumed']
        mine = index[index['task'] == number]
        assert (mine['attempt'] == task['attempt']).all()
        counts = collections.Counter()
        for table in range(4):
            pieces = mine[mine['table'] == table]
            pieces = pieces[np.argsort(pieces['row'])]
            stream = [tables[table][int(p['start']):int(p['start'] + p['rows'])]
                      for p in pieces]
            stream = np.concatenate(stream) if stream else tables[table][:0]
            if table < 3:
                item, k = expected(first, stop, table)
                assert len(stream) == len(item), (number, table)
                check_rows(stream, item, k, table)
                counts[table] = len(stream)
            else:
                for row in stream.tolist():
                    counts[row[0]] -= (row[2] - row[1]) * row[3]
        assert not any(counts.values()), 'items and rows do not agree'
    done = about['status'] == 'complete'
    if done and every == 1:
        for table, name in enumerate(NAMES[:3]):
            check_index(f, name, table, tasks)
    return len(tasks), done


def look(path):
    with h5py.File(path, 'r') as f:
        return check(f)


def play(path, tasks, mode, *half_way, what='sweep', **settings):
    env = dict(os.environ, LD_PRELOAD=os.environ.get('WRITER_PRELOAD_FIRST', '') + ' ' + DIEAT,
               **{k: str(v) for k, v in settings.items()})
    return subprocess.run([PLAY, what, path, str(tasks), mode, *half_way], env=env,
                          stdout=subprocess.PIPE, text=True, check=False)


def count(path, tasks, mode):
    where = path + '.count'
    out = play(path, tasks, mode, SLUICE_COUNT=where)
    assert out.returncode == 0, out
    with open(where, encoding='ascii') as f:
        return int(f.read()), json.loads(out.stdout)


def resume(path, tasks, mode, before, digest, what):
    """Go on with what is left: nothing of it is lost, nothing is wrong in the end. The
    first time the power fails again, somewhere."""
    again = 1 + zlib.crc32(what.encode()) % 120
    rc = play(path, tasks, mode, what='resume', SLUICE_DIE_AT=again, SLUICE_LOSE=again).returncode
    assert rc in (0, DIED), f'{what}: gone on with: status {rc}'
    try:
        state, done = look(path)
    except Exception as e:
        raise AssertionError(f'{what}, and again at {again}: {e!r}') from e
    assert state >= before, f'{what}, and again at {again}: {state} tasks after {before}'
    if done:
        return
    before = state
    out = subprocess.run([PLAY, 'resume', path, str(tasks), mode], stdout=subprocess.PIPE,
                         text=True, check=False)
    assert out.returncode == 0, f'{what}: cannot be gone on with'
    summary = json.loads(out.stdout)
    assert (summary['taken'], summary['damaged']) == (before, 0), (what, before, summary)
    assert summary['digest'] == digest, f'{what}: another digest when gone on with'
    assert look(path) == (tasks, True), what


def sweep(folder, tasks, mode, every):
    path = os.path.join(folder, mode + '.h5')
    calls, summary = count(path, tasks, mode)
    assert look(path) == (tasks, True)
    last, seen = -1, collections.Counter()
    often = max(3, 12 // every)         # each so many is gone on with
    for n in range(1, calls + 1, every):
        if os.path.exists(path):
            os.unlink(path)
        rc = play(path, tasks, mode, SLUICE_DIE_AT=n).returncode
        assert rc == DIED or mode == 'later' and rc == 0, f'place {n}: status {rc}'
        if not os.path.exists(path):
            assert last < 0 or mode == 'later', f'place {n}: there was a file before'
            seen['no file yet'] += 1
            continue
        try:
            state, done = look(path)
        except Exception as e:
            raise AssertionError(f'{mode}: died at {n} of {calls}: {e!r}') from e
        state += done
        assert state >= last or mode == 'later', f'place {n}: {state} tasks after {last}'
        last = max(state, last)
        seen['whole and right'] += 1
        if not done and seen['whole and right'] % often == 0:
            resume(path, tasks, mode, state, summary['digest'], f'{mode}: died at {n}')
            seen['gone on with'] += 1
    assert seen['gone on with'] > 3, seen
    print(f'{mode}: died at {calls // every} of {calls} places: {dict(seen)}, '
          f'{summary["snapshots"]} snapshots', flush=True)
    return summary


def power(folder, tasks, mode, every, seeds):
    """As sweep, but of what was written since the last sync anything may be lost."""
    path = os.path.join(folder, 'power.h5')
    calls, summary = count(path, tasks, mode)
    tried = nothing = resumed = 0
    for n in range(1, calls + 1, every):
        for seed in range(seeds):
            if os.path.exists(path):
                os.unlink(path)
            rc = play(path, tasks, mode, SLUICE_DIE_AT=n, SLUICE_LOSE=seed).returncode
            assert rc == DIED or mode == 'later' and rc == 0, f'place {n}: status {rc}'
            if not os.path.exists(path):
                nothing += 1
                continue
            what = f'{mode}: power lost at {n} of {calls}, seed {seed}'
            try:
                state, done = look(path)
            except Exception as e:
                raise AssertionError(f'{what}: {e!r}') from e
            tried += 1
            if not done and tried % max(3, 7 // every) == 1:
                resume(path, tasks, mode, state, summary['digest'], what)
                resumed += 1
    assert resumed > 3, resumed
    print(f'{mode}: power lost {tried + nothing} times: {tried} whole and right, '
          f'{nothing} no file yet; {resumed} gone on with', flush=True)


def full(folder, tasks, every, digest):
    path = os.path.join(folder, 'full.h5')
    calls, _ = count(path, tasks, 'now')
    os.unlink(path)
    tried = 0
    first = None
    for n in range(1, calls + 1, every):
        out = play(path, tasks, 'now', SLUICE_FULL_AT=n, SLUICE_FULL_FOR=1 + n % 3)
        if out.returncode != 0 and first is None:
            assert not os.path.exists(path), f'full at {n}: gave up'
            continue                    # nothing was begun yet: refused in a line
        first = first or n
        assert out.returncode == 0, f'full at {n}: status {out.returncode}'
        assert json.loads(out.stdout)['digest'] == digest, f'full at {n}: other digest'
        assert look(path) == (tasks, True)
        tried += 1
        os.unlink(path)
    print(f'full disk at {tried} places (from the {first}th call on), all got over', flush=True)


READER = '''
import os, sys, time, h5py
sys.path.insert(0, sys.argv[1])
import writer_sweep as w
path, held = sys.argv[2], sys.argv[3]
last, opens, missed, end = 0, 0, 0, time.monotonic() + 120
while time.monotonic() < end:
    try:
        f = h5py.File(path, 'r')
    except BlockingIOError:      # the instant at which the writer looks for readers
        missed += 1
        continue
    except FileNotFoundError:
        continue
    n, done = w.check(f, 50)
    assert n + done >= last, (n, last)
    last, opens = n + done, opens + 1
    if held and n > 3:           # keep an old state open to the end
        open(held, 'w').close()  # the writer waits half-way for this
        while os.path.exists(path + '.lock'):
            assert w.check(f, 10)[0] == n
            opens += 1
        assert not done and w.check(f, 10)[0] == n
        break
    f.close()
    if done:
        break
else:
    sys.exit('the writer did not finish')
print(opens, missed)
'''


def readers(folder, tasks):
    path = os.path.join(folder, 'read.h5')
    here = os.path.dirname(os.path.abspath(__file__))
    held = os.path.join(folder, 'held')
    some = [subprocess.Popen([sys.executable, '-c', READER, here, path, mode],
                             stdout=subprocess.PIPE, text=True) for mode in ('', held)]
    out = play(path, tasks, 'later', held)
    if out.returncode != 0:
        for one in some:
            one.kill()
        raise AssertionError('the writer failed')
    opens = missed = 0
    for one in some:
        said = one.communicate(timeout=200)[0].split()
        assert one.returncode == 0, 'a reader saw what is wrong'
        opens, missed = opens + int(said[0]), missed + int(said[1])
    print(f'readers beside the writer: {opens} looks, all whole; {missed} to try again',
          flush=True)


def main():
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    small = os.environ.get('SLUICE_TEST_SCALE') == 'small'
    every = int(sys.argv[2]) if len(sys.argv) > 2 else 5 if small else 1
    shm = '/dev/shm'                    # spare the disk
    if not os.access(shm, os.W_OK) or shutil.disk_usage(shm).free < 1 << 28:
        shm = None
    with tempfile.TemporaryDirectory(prefix='flow-', dir=shm) as folder:
        summary = sweep(folder, tasks, 'now', every)
        assert sweep(folder, tasks, 'later', every)['digest'] == summary['digest']
        for mode in 'now', 'later':
            power(folder, tasks, mode, every, 2)
        full(folder, tasks, every, summary['digest'])
        readers(folder, 70 * tasks + 9)     # not a multiple of 7


if __name__ == '__main__':
    main()
