#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Reads an output of the tests' kernel (tests/kernels/flow_kernel.c) with h5py
alone, and checks that all in it agrees: the ledger tiles each table, its tasks
are those of sluice/tasks, no item is there twice, and the rows are exactly those
that the finished items must have.

  libflow.py FILE [--items] [--status S] [--all N] [--but ITEM,ITEM...]

Prints `STATUS TASKS ITEMS ROWS`; with --items the number of items alone.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import h5py
import numpy as np

MIX = np.uint64(0x9e3779b97f4a7c15)
FILL = np.uint64(0x632be59bd9b4e019)
TABLES = ['samples', 'notes', 'bulk']


def counts_of(items, table, params):
    """Rows of each of these items in a table."""
    if table == 'samples':
        rows = int(params.get('rows', 1))
        if int(params.get('vary', 0)):
            return ((items * MIX) >> np.uint64(40)) % np.uint64(rows + 1)
        return np.full(len(items), rows, np.uint64)
    if table == 'notes':
        return (items % np.uint64(3) == 0).astype(np.uint64)
    return np.full(len(items), int(params.get('bulk_kib', 0)), np.uint64)


def check_samples(rows, k):
    assert (rows['k'] == k).all(), 'samples: k'
    assert (rows['x'] == rows['item'] * 0.5 + k).all(), 'samples: x'
    assert ((rows['u'] > 0) & (rows['u'] < 1)).all(), 'samples: u'


def check_notes(rows, _k):
    want = np.char.mod('%d', rows['item'] % np.uint64(1000)).astype('S8')
    assert (rows['what'] == want).all(), 'notes: what'


def check_bulk(rows, k):
    start = (rows['item'] + np.uint64(1)) * MIX + k * np.uint64(127) * FILL
    steps = np.arange(1, 128, dtype=np.uint64) * FILL
    assert (rows['fill'] == start[:, None] + steps).all(), 'bulk: fill'


CHECKS = {'samples': check_samples, 'notes': check_notes, 'bulk': check_bulk}


def check_rows(data, table, items, params):
    """The rows of a table are those of these items (in any order), each item's
    in the order in which it made them."""
    counts = counts_of(items, table, params).astype(np.int64)
    total = int(counts.sum())
    assert len(data) == total, '%s: %d rows, not %d' % (table, len(data), total)
    step = max(1, (64 << 20) // data.dtype.itemsize)
    where = np.zeros(len(items), np.int64)      # rows seen of each item
    for at in range(0, total, step):
        rows = data[at:at + step]
        place = np.searchsorted(items, rows['item'])
        assert (place < len(items)).all() and (items[place] == rows['item']).all(), \
            table + ': a row of an item that is not done'
        order = np.argsort(place, kind='stable')
        mine = place[order]
        first = np.concatenate([[0], np.flatnonzero(np.diff(mine)) + 1])
        length = np.diff(np.concatenate([first, [len(mine)]]))
        k = np.empty(len(mine), np.uint64)
        k[order] = (np.arange(len(mine)) - np.repeat(first, length) + where[mine])
        where[mine[first]] += length
        CHECKS[table](rows, k)
    assert (where == counts).all(), table + ': an item has not its rows'


def ranges_to_items(ranges):
    """The items of [first, stop) pairs, sorted; none may be there twice."""
    ranges = sorted((int(a), int(b)) for a, b in ranges)
    for (_, stop), (first, _) in zip(ranges, ranges[1:]):
        assert stop <= first, 'item %d is done twice' % first
    if not ranges:
        return np.zeros(0, np.uint64)
    return np.concatenate([np.arange(a, b, dtype=np.uint64) for a, b in ranges])


def check_index(f, table, items, counts):
    """table_index tiles the table and gives each item its rows."""
    index = f[table + '_index'][:]
    order = np.argsort(index['start'], kind='stable')
    start, stop = index['start'][order], index['stop'][order]
    assert (start < stop).all(), table + '_index: an empty slice'
    assert (stop[:-1] == start[1:]).all() and (not len(start) or start[0] == 0) and \
        (int(stop[-1]) if len(stop) else 0) == len(f[table]), table + '_index does not tile'
    sums = np.zeros(len(items), np.int64)
    place = np.searchsorted(items, index['item'])
    assert (items[place] == index['item']).all(), table + '_index: unknown item'
    np.add.at(sums, place, (index['stop'] - index['start']).astype(np.int64))
    assert (sums == counts).all(), table + '_index: wrong number of rows'


def check(f, rows=True):
    """All agrees. Returns a dict of status, tasks, items (sorted) and rows."""
    about = f['sluice'].attrs
    params = json.loads(about['parameters'])
    tables = [t for t in TABLES if t != 'bulk' or int(params.get('bulk_kib', 0))]
    index, tasks = f['sluice/index'][:], f['sluice/tasks'][:]
    assert len(set(tasks['task'].tolist())) == len(tasks), 'a task is there twice'
    items = ranges_to_items(zip(tasks['first'], tasks['stop']))
    assert not len(items) or items[-1] < int(params['items'])
    assert set(index['task'].tolist()) <= set(tasks['task'].tolist()), \
        'the ledger has a task that is not done'
    counted = f['sluice/items'][:]
    total = 0
    for number, table in enumerate(tables + ['sluice/items']):
        mine = index[index['table'] == number]
        mine = mine[np.argsort(mine['start'], kind='stable')]
        stop = mine['start'] + mine['rows']
        assert len(f[table]) == (int(stop[-1]) if len(mine) else 0), \
            '%s: %d rows, the ledger has another number' % (table, len(f[table]))
        assert (mine['start'][1:] == stop[:-1]).all() and \
            (not len(mine) or mine['start'][0] == 0), table + ': ledger does not tile'
        if number == len(tables):
            continue
        total += len(f[table])
        counts = counts_of(items, table, params).astype(np.int64)
        here = counted[counted['table'] == number]
        assert int(((here['stop'] - here['first']) * here['rows']).sum()) == \
            int(counts.sum()) == len(f[table]), table + ': sluice/items has another number'
        if rows:
            check_rows(f[table], table, items, params)
        if about['status'] == 'complete':
            check_index(f, table, items, counts)
    status = about['status']
    return {'status': status.decode() if isinstance(status, bytes) else status,
            'tasks': len(tasks), 'items': items, 'rows': total,
            'failures': f['sluice/failures'][:], 'params': params}


def look(path, rows=True):
    with h5py.File(path, 'r') as f:
        return check(f, rows)


# ---- for the tests that are written in Python ------------------------------------

def marked(text):
    """The ids of all processes with this NAME=VALUE in their environment: those that were
    begun with it, and their descendants."""
    mark, found = text.encode(), []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/environ' % pid, 'rb') as f:
                if mark in f.read().split(b'\0'):
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Place:
    """A folder of the test's own, and sluice run in it."""

    def __init__(self):
        top = os.environ.get('top_srcdir', os.path.join(os.path.dirname(__file__), '../..'))
        self.built = os.environ.get('top_builddir', top)
        self.binary = os.path.realpath(os.environ.get('SLUICE', self.built + '/sluice'))
        self.kernel = os.path.join(self.built, 'tests/kernels/flow_kernel.so')
        self.small = bool(os.environ.get('SLUICE_TEST_SCALE'))
        self.folder = tempfile.TemporaryDirectory(prefix='flow-', dir='/tmp')
        self.dir = self.folder.name
        for sub in ('run', 'tmp', 'slots'):
            os.mkdir(os.path.join(self.dir, sub), 0o700)
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.dir + '/run',
                        TMPDIR=self.dir + '/tmp', SLUICE_SLOTS_DIR=self.dir + '/slots',
                        FLOW_MARK=self.dir)
        self.env.setdefault('ASAN_OPTIONS', 'detect_leaks=0')
        # Told to end: tidy up all the same (but not in children).
        mine = os.getpid()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)
                          if os.getpid() == mine else os._exit(143))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.processes():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
        self.folder.cleanup()

    def path(self, name):
        return os.path.join(self.dir, name)

    def processes(self):
        """The ids of all processes that were started here, and their descendants."""
        return marked('FLOW_MARK=' + self.dir)

    def wait_gone(self, seconds):
        until = time.monotonic() + seconds
        while self.processes():
            assert time.monotonic() < until, 'processes are left: %s' % self.processes()
            time.sleep(0.02)

    def job(self, name, **params):
        path = self.path(name)
        with open(path, 'w', encoding='ascii') as f:
            f.write('[general]\nkernel = %s\n' % self.kernel)
            for key, value in params.items():
                f.write('%s = %s\n' % (key, value))
        return path

    def start(self, job, output, *args, **env):
        return subprocess.Popen(
            [self.binary, 'run', job, '-q', '--json', '-o', output, *args],
            env=dict(self.env, **env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def sluice(self, *args):
        """Any command, to its end."""
        return subprocess.run([self.binary, *args], env=self.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)

    def run(self, job, output, *args, **env):
        process = self.start(job, output, *args, **env)
        out, err = process.communicate()
        assert process.returncode == 0, (process.returncode, err)
        return json.loads(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('file')
    parser.add_argument('--items', action='store_true')
    parser.add_argument('--status')
    parser.add_argument('--all', type=int)
    parser.add_argument('--but', default='')
    args = parser.parse_args()
    state = look(args.file, rows=not args.items)
    if args.items:
        print(len(state['items']))
        return
    if args.status:
        assert state['status'] == args.status, state['status']
    if args.all is not None:
        but = [int(i) for i in args.but.split(',') if i]
        want = np.setdiff1d(np.arange(args.all, dtype=np.uint64), np.array(but, np.uint64))
        assert np.array_equal(state['items'], want), 'other items: %d of %d, missing %s' % (
            len(state['items']), args.all, np.setdiff1d(want, state['items'])[:10])
    print(state['status'], state['tasks'], len(state['items']), state['rows'])


if __name__ == '__main__':
    try:
        main()
    except (AssertionError, OSError, KeyError) as e:
        sys.exit('%s: %s: %s' % (sys.argv[1], type(e).__name__, e))
