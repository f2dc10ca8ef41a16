#!/usr/bin/env python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

"""Pieces as a node sends them, laid end to end, are one msgpack document after the other,
as proto/piece.h says: Python's msgpack decodes them to the end, and finds the fields and
the rows that tests/tools/piece_dump.c put in.
"""

import collections
import io
import os
import subprocess
import sys
import tempfile

import numpy as np

try:
    import msgpack
except ImportError:
    sys.exit('piece_msgpack: %s has no msgpack: apt-get install python3-msgpack'
             % sys.executable)

DUMP = os.path.join(os.environ.get('top_builddir', '.'), 'tests/tools/piece_dump')
SMALL = os.environ.get('SLUICE_TEST_SCALE') == 'small'
FIELDS = ('run token epoch position kind task attempt first stop parts late digest seconds '
          'cpu rss payload')
Piece = collections.namedtuple('Piece', FIELDS)
Part = collections.namedtuple('Part', 'table row rows bytes xxh3 deflated deflated_xxh3')
DATA, DONE, EMPTY = range(3)
TASK_ITEMS = 40

# What tests/unit/play.h says of its tables, and the table of row counts.
ROWS, SMALL_ONES, ITEMS, RARE = range(4)
DTYPES = [np.dtype([('item', '<u8'), ('k', '<u4'), ('v', '<f4')]),
          np.dtype([('item', '<u4'), ('b', '<u2', (3,))]),
          np.dtype([('table', '<u4'), ('first', '<u8'), ('stop', '<u8'), ('rows', '<u8')]),
          np.dtype([('n', '<u8')])]


def count(item, table):
    if table == ROWS:
        return 0 if item % 13 == 0 else 5 + item // 16 % 5 * 30
    if table == SMALL_ONES:
        return item % 7
    return 2 if item % 10 == 3 else 0


def row(item, table, k):
    if table == ROWS:
        return item, k, item / 2 + k
    if table == SMALL_ONES:
        return item, [x % 65536 for x in (k, item, item + k)]
    return (item * 1000 + k,)


def wanted(first, stop, table):
    """The bytes of a table's rows of these items."""
    return np.array([row(i, table, k) for i in range(first, stop)
                     for k in range(count(i, table))], DTYPES[table]).tobytes()


def counted(rows):
    """Rows of each item and table, as the table of row counts has them."""
    return {(table, item): n for table, first, stop, n in
            np.frombuffer(rows, DTYPES[ITEMS]).tolist() for item in range(first, stop)}


def decode(data):
    """All pieces in the file, and where each ends."""
    unpacker = msgpack.Unpacker(io.BytesIO(data), raw=False, max_buffer_size=len(data) + 1)
    for fields in unpacker:
        yield Piece(*fields), unpacker.tell()
    assert unpacker.tell() == len(data), 'bytes are left at %d' % unpacker.tell()


class Attempt:
    """What an attempt sent."""

    def __init__(self):
        self.rows = collections.defaultdict(bytes)
        self.late, self.done = {}, None

    def add(self, piece):
        assert self.done is None, 'a piece behind the last'
        for table, item, name, dtype in piece.late:
            assert (name, dtype) == ('rare\0', '{n:<u8}\0')
            assert table not in self.late and table > ITEMS
            assert item == next(i for i in range(piece.first, piece.stop) if count(i, RARE))
            self.late[table] = item
        at = 0
        for part in (Part(*p) for p in piece.parts):
            assert part.table <= ITEMS or part.table in self.late, 'a table of no name'
            number = min(part.table, RARE)
            size = DTYPES[number].itemsize
            assert part.row * size == len(self.rows[number])
            assert part.rows * size == part.bytes > 0
            assert part.deflated == part.deflated_xxh3 == 0
            self.rows[number] += piece.payload[at:at + part.bytes]
            at += part.bytes
        assert at == len(piece.payload)
        assert piece.kind == DONE or len(piece.parts) == 1
        if piece.kind == DONE:
            self.done = piece

    def check(self, task):
        first = task * TASK_ITEMS
        stop = first + (TASK_ITEMS // 2 if task % 5 == 4 else TASK_ITEMS)
        last = self.done
        assert (last.first, last.stop) == (first, stop), (task, last.first, last.stop)
        assert (last.seconds, last.cpu, last.rss) == (0.5, 0.25, 1 << 20)
        for table in ROWS, SMALL_ONES, RARE:
            assert self.rows[table] == wanted(first, stop, table), (task, table)
        counts = counted(self.rows[ITEMS])
        late = next(iter(self.late))
        assert counts == {(t if t != RARE else late, i): count(i, t)
                          for t in (ROWS, SMALL_ONES, RARE)
                          for i in range(first, stop) if count(i, t)}, task


def main():
    tasks = 20 if SMALL else 100
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'pieces')
        said = subprocess.run([DUMP, path, str(tasks)], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.split()
        with open(path, 'rb') as f:
            data = f.read()
    attempts = collections.defaultdict(Attempt)
    kinds, before, digests = collections.Counter(), 0, set()
    for piece, end in decode(data):
        kinds[piece.kind] += 1
        assert piece.run == bytes([0xab, 1, 2, 3, 4, 5, 6, 7]).ljust(len(piece.run), b'\0')
        assert (piece.token, piece.epoch, piece.position) == (77, 1, before)
        assert len(piece.digest) == 16 and type(piece.payload) is bytes
        before = end
        # Of the attempt that dies nothing but its size came.
        dead = piece.task % 4 == 2 and piece.attempt == 1
        assert (piece.kind == EMPTY) == dead, (piece.task, piece.attempt, piece.kind)
        if dead:
            assert not any(piece.payload)
            continue
        attempts[piece.task, piece.attempt].add(piece)
        if piece.kind == DONE:
            digests.add(piece.digest)
    assert [str(sum(kinds.values())), str(before)] == said, (kinds, before, said)
    assert sorted(attempts) == [(t, 2 if t % 4 == 2 else 1) for t in range(tasks)]
    for (task, _), attempt in attempts.items():
        attempt.check(task)
    assert len(digests) == tasks
    print('piece_msgpack: %d data, %d done, %d empty, all right'
          % (kinds[DATA], kinds[DONE], kinds[EMPTY]))


if __name__ == '__main__':
    sys.exit(main())
