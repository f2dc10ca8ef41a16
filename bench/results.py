#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""results.py - how fast results go from kernels into the closed file

64 items of 64 MiB, then 20,000 items of 64 KiB, of rows that cost nothing (bench/bulk.c),
into a file on tmpfs and on the disk: embedded (memory handed over, headers by ipc), and
from a node reached over tcp, encrypted as it always is. Times are those of the whole
command, until the file is closed and durable.

The reference is the least that must be done (`raw ideal`): one process pushes as many
bytes in pieces of a MiB to another over ipc or tcp, not encrypted, and that writes them,
the faster of H5Dwrite_chunk and a plain extent. Nothing fills the pieces there, nobody
computes a digest, and there is no ledger.

--size MIB changes the bytes in all; --place and --way choose some.
"""
import os

from lib import Bench, GIB, MIB, middle, remove


SHAPES = (('64 x 64 MiB', 64, 64 * MIB), ('20000 x 64 KiB', 20000, 64 << 10))
# What Work Queue and dask made of 64 x 64 MiB on another machine of two cores.
WORK_QUEUE, DASK = 0.804, 0.407


def main():
    with Bench('results', [('--place', {'default': 'tmpfs,disk'}),
                           ('--way', {'default': 'ipc,tcp'}),
                           ('--size', {'type': int, 'default': 0, 'metavar': 'MIB'})]) as bench:
        options = bench.options
        size = (64 if bench.quick else options.size) * MIB
        share = bench.share() if 'tcp' in options.way else None
        places = {'tmpfs': bench.ram, 'disk': bench.disk}
        for place in options.place.split(','):
            for way in options.way.split(','):
                for name, items, each in SHAPES:
                    if not places[place]:
                        bench.skip('%s, %s, %s' % (name, way, place), 'there is no /dev/shm')
                        continue
                    if size:
                        each = min(each, size)
                        items = max(1, min(items, size // each))
                    measure(bench, share, places[place], place, way, name, items, each)


def measure(bench, share, folder, place, way, name, items, each):
    output, file = os.path.join(folder, 'out.h5'), os.path.join(folder, 'ideal')
    params = {'items': items, 'item_bytes': each}
    total = items * each
    job = bench.job('job.ini', share.folder if way == 'tcp' else None, **params)

    def sluice():
        said = share.run(job, output) if way == 'tcp' else \
            bench.sluice_run(job, output, '--no-network')
        assert said['bytes'] == total, said
        paths.add(said['data_path'])
        return total / said['wall'] / 1e9

    def ideal(how):
        def turn():
            took = bench.raw('ideal', way, total, MIB, file, how)['seconds']
            remove(file)
            return total / took / 1e9
        return turn

    paths = set()
    # Once each; the better one stays the reference.
    first = {how: ideal(how)() for how in ('chunk', 'extent')}
    how = max(first, key=first.get)
    got = bench.turns(bench.runs(3), sluice=sluice, ideal=ideal(how))
    what = '%s, %s, %s' % (name, way, place)
    bench.figure(what, got['sluice'], 'GB/s', got['ideal'],
                 'PUSH/PULL and %s, nothing else' %
                 {'chunk': 'H5Dwrite_chunk', 'extent': 'a plain extent'}[how],
                 'ratio >= 1.0' if way == 'ipc' else 'ratio >= 0.85',
                 note='%.3g GB, data path %s' % (total / 1e9, ', '.join(sorted(paths))))
    if way == 'ipc' and place == 'disk':
        bench.figure(what + ', a minute', [60 * v for v in got['sluice']], 'GB/min',
                     target='value >= 90')
    if way == 'tcp' and place == 'disk' and name == SHAPES[0][0]:
        bench.figure('64 x 64 MiB, Work Queue', middle(got['sluice']), 'GB/s', WORK_QUEUE,
                     'Work Queue on another machine, see below', 'ratio >= 1.5')
        bench.figure('64 x 64 MiB, dask', middle(got['sluice']), 'GB/s', DASK,
                     'dask on another machine, see below', 'ratio >= 3')
    assert total < 40 * GIB


if __name__ == '__main__':
    main()
