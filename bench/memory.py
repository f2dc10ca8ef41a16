#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""memory.py - a writer of 100 MB/s, and workers that make results much faster

Items of 64 MiB with the writer held back (--write-rate), for two windows, embedded and
from a node over tcp. The master's memory must stay below the window and 64 MiB (and
128 KiB for each node), and the file must grow at the rate of the writer.
"""
import os

from lib import Bench, MIB

RATE = 100000000


def main():
    with Bench('memory') as bench:
        items = 2 if bench.quick else 16
        rate = 10 * RATE if bench.quick else RATE
        output = os.path.join(bench.disk, 'out.h5')
        share = bench.share()
        params = {'items': items, 'item_bytes': 64 * MIB}
        job, far = bench.job('job.ini', **params), bench.job('far.ini', share.folder, **params)
        more = ('--write-rate', str(rate))
        for window, way in ((64, 'ipc'), (256, 'ipc'), (256, 'tcp')):
            room = ('--window', '%dM' % window, *more)
            said = share.run(far, output, *room) if way == 'tcp' else \
                bench.sluice_run(job, output, '--no-network', *room)
            name = 'window %d MiB, %s' % (window, way)
            bench.figure(name + ', memory', said['peak_rss'] / MIB, 'MiB',
                         window + 64 + 1 / 8, 'the bound: window + 64 MiB + 128 KiB a node',
                         'ratio <= 1', note='held at most %.0f MiB' % (said['peak_held'] / MIB),
                         better='less')
            bench.figure(name + ', throughput', said['bytes'] / said['seconds'] / 1e6, 'MB/s',
                         rate / 1e6, 'the writer', 'ratio >= 0.95')


if __name__ == '__main__':
    main()
