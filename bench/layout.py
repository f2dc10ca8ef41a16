#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""layout.py - how rows of ground motion should lie in a file

1e8 rows of {sid, eid, two motions} (--rows), 20,000 sites an event, on the disk:

  vlen      a structured table, and an index of variable length: a list of (start, stop)
            for each event
  flat      the same with a flat index of (item, start, stop), as Sluice writes
  columnar  a dataset for each column, and the flat index

each written by h5py in blocks of an event, then read by h5py: the rows of events picked
at random, one after the other, through the index; the rows of one site, by looking at all
`sid`; everything. Then `flat` with other chunks, and what `sluice run` writes of the main
job with as many rows, read in the same way: the reference is h5py's `flat` file. Files are
in the page cache when they are read, so the time of a read is the reader's on the CPU.
Rates are of the bytes that were asked for (of a site: of the whole table). Both files of
a comparison lie there at once and are read in turn.
"""
import os
import time

import h5py
import numpy as np

from lib import Bench, MIB, remove
from mainjob import main_job

SITES = 20000
DTYPE = np.dtype([('sid', '<u4'), ('eid', '<u4'), ('gmv_PGA', '<f4'), ('gmv_SA(1.0)', '<f4')])
INDEX = np.dtype([('item', '<u8'), ('start', '<u8'), ('stop', '<u8')])
PAIR = np.dtype([('start', '<u4'), ('stop', '<u4')])


def timed(function, *args, clock=time.process_time):
    start = clock()
    got = function(*args)
    return clock() - start, got


def intervals(events):
    index = np.zeros(events, INDEX)
    index['item'] = np.arange(events)
    index['start'] = index['item'] * SITES
    index['stop'] = index['start'] + SITES
    return index


def write(path, layout, events, chunk):
    """As a careful user of h5py would; durable at the end, as Sluice's file is."""
    block = np.zeros(SITES, DTYPE)
    block['sid'] = np.arange(SITES)
    block['gmv_PGA'] = np.linspace(0, 1, SITES)
    block['gmv_SA(1.0)'] = np.linspace(1, 2, SITES)
    shape, chunks = (events * SITES,), (min(chunk // DTYPE.itemsize, events * SITES),)
    with h5py.File(path, 'w', libver='latest') as f:
        if layout == 'columnar':
            sets = [f.create_dataset('gmf_data/' + n, shape, DTYPE[n], chunks=chunks)
                    for n in DTYPE.names]
            columns = [np.ascontiguousarray(block[n]) for n in DTYPE.names]
        else:
            table = f.create_dataset('gmf_data', shape, DTYPE, chunks=chunks)
        for e in range(events):
            at = slice(e * SITES, (e + 1) * SITES)
            if layout == 'columnar':
                columns[1][:] = e
                for data, column in zip(sets, columns):
                    data[at] = column
            else:
                block['eid'] = e
                table[at] = block
        index = intervals(events)
        if layout == 'vlen':
            lists = f.create_dataset('gmf_data_index', (events,), h5py.vlen_dtype(PAIR))
            for e in range(events):
                lists[e] = np.array([(index['start'][e], index['stop'][e])], PAIR)
        else:
            f['gmf_data_index'] = index
    fd = os.open(path, os.O_RDONLY)
    os.fdatasync(fd)
    os.close(fd)


class Reader:
    """The same three questions to any of the files."""

    def __init__(self, path):
        self.f = h5py.File(path, 'r')
        self.data = self.f['gmf_data']
        self.columnar = isinstance(self.data, h5py.Group)
        self.vlen = h5py.check_vlen_dtype(self.f['gmf_data_index'].dtype) is not None
        self.rows = len(self.data['sid'] if self.columnar else self.data)

    def slice(self, start, stop):
        if self.columnar:
            return [self.data[n][start:stop] for n in DTYPE.names]
        return self.data[start:stop]

    def index_of(self):
        """For each event its first interval of rows."""
        index = self.f['gmf_data_index'][:]
        if self.vlen:
            return {e: (int(pairs[0]['start']), int(pairs[0]['stop']))
                    for e, pairs in enumerate(index)}
        found = {}
        for item, start, stop in index.tolist():
            found.setdefault(item, (start, stop))
        return found

    def events(self, which):
        index, rows = self.index_of(), 0
        for e in which:
            start, stop = index[e]
            self.slice(start, stop)
            rows += stop - start
        return rows

    def site(self, sid):
        step, found = 4 * MIB, 0
        for start in range(0, self.rows, step):
            stop = min(self.rows, start + step)
            if self.columnar:
                mine = np.flatnonzero(self.data['sid'][start:stop] == sid)
                if len(mine):
                    for n in ('gmv_PGA', 'gmv_SA(1.0)'):
                        found += len(self.data[n][start:stop][mine])
            else:
                rows = self.data[start:stop]
                found += len(rows[rows['sid'] == sid])
        return found

    def whole(self):
        step = 4 * MIB
        for start in range(0, self.rows, step):
            self.slice(start, min(self.rows, start + step))


def read(path, events):
    """GB/s by question."""
    which = np.random.default_rng(1).permutation(events)[:max(1, min(500, events // 2))]
    reader = Reader(path)
    table = reader.rows * DTYPE.itemsize / 1e9
    seconds, rows = timed(reader.events, which.tolist())
    said = {'event': rows * DTYPE.itemsize / 1e9 / seconds,
            'site': table / timed(reader.site, 777)[0],
            'whole': table / timed(reader.whole)[0]}
    reader.f.close()
    return said


def warm(path):
    with open(path, 'rb') as f:
        while f.read(16 * MIB):
            pass


class Layouts:
    """Compares files with one that h5py made, `flat` in chunks of a MiB."""

    def __init__(self, bench, events):
        self.bench, self.events = bench, events
        self.flat, self.path = (os.path.join(bench.disk, n) for n in ('flat.h5', 'out.h5'))
        self.size = events * SITES * DTYPE.itemsize / 1e9

    def write(self, path, layout, chunk):
        remove(path)
        return self.size / timed(write, path, layout, self.events, chunk,
                                 clock=time.monotonic)[0]

    def compare(self, name, make, targets=('', ''), note=''):
        """`make` writes the other file and says at what rate."""
        bench, turns = self.bench, self.bench.runs(2)
        # Into new files each: one is not written over what the other has freed.
        got = bench.turns(turns, mine=make, flat=lambda: self.write(self.flat, 'flat', MIB))
        bench.figure(name + ', write', got['mine'], 'GB/s', got['flat'], 'h5py, flat',
                     targets[0], note=note)
        warm(self.path)
        warm(self.flat)
        got = bench.turns(bench.runs(3), mine=lambda: read(self.path, self.events),
                          flat=lambda: read(self.flat, self.events))
        for what in ('event', 'site', 'whole'):
            bench.figure('%s, %s' % (name, what), [said[what] for said in got['mine']], 'GB/s',
                         [said[what] for said in got['flat']], 'h5py, flat', targets[1])
        remove(self.path)


def main():
    with Bench('layout', [('--rows', {'type': float, 'default': 1e8})]) as bench:
        events = 10 if bench.quick else max(1, int(bench.options.rows) // SITES)
        layouts = Layouts(bench, events)
        job = main_job(bench, events)

        def sluice():
            remove(layouts.path)
            said = bench.sluice_run(job, layouts.path, '--no-network', keep=True)
            return said['bytes'] / said['wall'] / 1e9

        for name, layout, chunk in (('vlen', 'vlen', MIB), ('columnar', 'columnar', MIB),
                                    ('chunks of 64 KiB', 'flat', 64 << 10),
                                    ('chunks of 1 MiB and a row', 'flat', MIB + DTYPE.itemsize),
                                    ('chunks of 2 MiB', 'flat', 2 * MIB),
                                    ('chunks of 4 MiB', 'flat', 4 * MIB)):
            layouts.compare(name, lambda: layouts.write(layouts.path, layout, chunk))
        layouts.compare('sluice', sluice, ('ratio >= 1', 'ratio >= 0.95'),
                        'with what it computes')


if __name__ == '__main__':
    main()
