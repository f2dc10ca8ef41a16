#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""flat.py - whether a task costs the same in a run of ten million, and a byte in 100 GB

`per task`: items that do nothing, each a task of its own (items_per_task = 1), from 1e4 to
1e7 of them, embedded, on two workers. What a run of one item takes is taken away, here and
below, as that is paid once. A decade that would take more than --seconds is left out, and said so.

`per item`: the same with tasks as Sluice cuts them, up to 1e8 items.

`per byte`: items of 64 MiB, embedded, 1 to 100 GB into one file on the disk. From 16 GB on
another process punches holes into the file, a GiB behind the writer, where there are rows:
all is written, at the addresses of a file of that size, but the disk need not hold it all.
16 GB unless --most says 100, for which there have to be 100 GB: the holes do not keep up
with direct writes.

The reference of each is the smallest; the target is 1.3 times that at most, by the wall
clock and by the time of all processes of the run.
"""
import ctypes
import os
import struct
import threading

from lib import Bench, GIB, MIB, middle, remove

BLOCK = 64 << 10
BEHIND = GIB
ROW = struct.Struct('<QQdd')


class Puncher(threading.Thread):
    """Frees the blocks of a file that hold rows of bench/bulk.c, and no others: what
    else lies there (ledger, indexes) is read again."""

    def __init__(self, path):
        super().__init__()
        self.path, self.ended, self.punched = path, threading.Event(), 0
        self.at = 0
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]

    def run(self):
        while not os.path.exists(self.path):
            if self.ended.wait(0.05):
                return
        fd = os.open(self.path, os.O_RDWR)
        try:
            while not self.ended.wait(0.2):
                # Its size runs ahead of what is written: go by what is allocated.
                allocated = os.fstat(fd).st_blocks * 512 + self.punched
                while self.at + BEHIND < allocated:
                    self.punch(fd, self.at)
                    self.at += MIB
        finally:
            os.close(fd)

    def punch(self, fd, at):
        start = None
        for block in range(at, at + MIB + BLOCK, BLOCK):
            ours = block < at + MIB and self.holds_rows(fd, block) and \
                self.holds_rows(fd, block + BLOCK - 4096) and \
                self.holds_rows(fd, block + BLOCK // 2)
            if ours and start is None:
                start = block
            elif not ours and start is not None:
                # KEEP_SIZE and PUNCH_HOLE
                if self.libc.fallocate(fd, 3, start, block - start) != 0:
                    raise OSError(ctypes.get_errno(), 'no holes can be punched here')
                self.punched += block - start
                start = None

    @staticmethod
    def holds_rows(fd, at):
        page = os.pread(fd, 4096, at)
        if len(page) < 4096:
            return False
        _, k, x, y = ROW.unpack_from(page, 0)
        _, k2, x2, y2 = ROW.unpack_from(page, 4096 - ROW.size)
        return k2 == k + 127 and (x, y, x2, y2) == (k * 0.5, k * 0.25, k2 * 0.5, k2 * 0.25)


def per_task(bench, name, sizes, params):
    output = os.path.join(bench.disk, 'out.h5')

    def cost(n):
        job = bench.job('job.ini', items=n, **params)
        said = bench.sluice_run(job, output, '--no-network', '--cores', '2', timeout=900)
        assert said['done'] == n, said
        return said['wall'], said['cpu']

    turns = bench.runs(3)
    once = [middle([cost(1)[i] for _ in range(turns)]) for i in (0, 1)]
    first = None
    for n in sizes:
        if first:
            expected = n * first['wall'][0] * 1e-6
            if expected > bench.options.seconds:
                bench.skip('%s, %.0e' % (name, n), 'would take about %.0f s' % expected)
                continue
            turns = 1 if expected > 10 else turns
        # Medians of each: with few tasks a turn says little.
        took = [cost(n) for _ in range(turns)]
        each = {'wall': [max(t[0] - once[0], 1e-9) / n * 1e6 for t in took],
                'cpu': [max(t[1] - once[1], 1e-9) / n * 1e6 for t in took]}
        said(bench, '%s, %.0e' % (name, n), each, first, 'us', '%.0e tasks' % sizes[0])
        first = first or {k: [middle(v)] for k, v in each.items()}


def said(bench, name, each, first, unit, against):
    for clock in ('wall', 'cpu'):
        if first:
            bench.figure('%s, %s' % (name, clock), each[clock], unit, first[clock][0], against,
                         'ratio <= 1.3', better='less')
        else:
            bench.figure('%s, %s' % (name, clock), each[clock], unit, better='less')


def per_byte(bench, sizes):
    output = os.path.join(bench.disk, 'out.h5')
    empty = bench.job('empty.ini', items=1, item_bytes=32)
    ran = [bench.sluice_run(empty, output, '--no-network') for _ in range(bench.runs(3))]
    once = {clock: middle([got[clock] for got in ran]) for clock in ('wall', 'cpu')}
    first = None
    for gb in sizes:
        items = max(1, round(gb * 1e9 / (64 * MIB)))
        job = bench.job('job.ini', items=items, item_bytes=64 * MIB)
        each = {'wall': [], 'cpu': []}
        note = ''
        for _ in range(1 if gb > 4 else bench.runs(3)):
            puncher = Puncher(output) if gb > 16 else None
            if puncher:
                puncher.start()
            try:
                got = bench.sluice_run(job, output, '--no-network', timeout=900)
            finally:
                if puncher:
                    puncher.ended.set()
                    puncher.join()
                remove(output)
            assert got['done'] == items, got
            if puncher:
                note = 'of which %.0f GB were freed while it ran' % (puncher.punched / 1e9)
            size = items * 64 * MIB / 1e9
            for clock, took in each.items():
                took.append(max(got[clock] - once[clock], 1e-9) / size)
        for clock in ('wall', 'cpu'):
            bench.figure('per byte, %g GB, %s' % (gb, clock), each[clock], 's/GB',
                         first[clock][0] if first else None, '%g GB' % sizes[0],
                         'ratio <= 1.3' if first else '', note=note,
                         better='less')
        first = first or {k: [middle(v)] for k, v in each.items()}


def main():
    with Bench('flat', [('--seconds', {'type': float, 'default': 60}),
                        ('--most', {'type': float, 'default': 16, 'metavar': 'GB'})]) as bench:
        if bench.quick:
            per_task(bench, 'per task', [100, 1000], {'items_per_task': 1})
            per_byte(bench, [0.1, 0.2])
            return
        per_task(bench, 'per task', [10 ** k for k in range(4, 8)], {'items_per_task': 1})
        per_task(bench, 'per item', [10 ** 7, 10 ** 8], {})
        per_byte(bench, [gb for gb in (1, 4, 16, 100) if gb <= bench.options.most])


if __name__ == '__main__':
    main()
