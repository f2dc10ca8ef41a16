#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

"""stream.py - how fast results go from workers into the file

A kernel that does nothing but emit (bench/bulk.c) fills SIZE MiB through the
embedded node; the reference is one process that writes as many bytes to the
same folder in pieces of 1 MiB and syncs them. Both in turn, RUNS times, the
medians and their ratio as one JSON object on stdout.

usage: bench/stream.py [--sluice BINARY] [--mib SIZE] [--runs N] [--folder DIR] [--serial]
"""

import argparse, json, os, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname (os.path.realpath (__file__))
TOP = os.path.dirname (HERE)


def raw_write (path, mib):
    """Seconds to write and sync as many bytes."""
    piece = os.urandom (1 << 20)
    start = time.monotonic ()
    fd = os.open (path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for _ in range (mib):
        os.write (fd, piece)
    os.fdatasync (fd)
    os.close (fd)
    took = time.monotonic () - start
    os.unlink (path)
    return took


def sluice (binary, job, path, more):
    start = time.monotonic ()
    done = subprocess.run ([binary, 'run', job, '-q', '--json', '-o', path, *more],
                           stdout=subprocess.PIPE, check=True)
    took = time.monotonic () - start
    os.unlink (path)
    return took, json.loads (done.stdout)


def main ():
    parser = argparse.ArgumentParser ()
    parser.add_argument ('--sluice', default=os.path.join (TOP, 'build', 'sluice'))
    parser.add_argument ('--mib', type=int, default=1024)
    parser.add_argument ('--runs', type=int, default=5)
    parser.add_argument ('--folder', default=None)
    parser.add_argument ('--serial', action='store_true')
    o = parser.parse_args ()
    with tempfile.TemporaryDirectory (dir=o.folder) as folder:
        kernel = os.path.join (folder, 'bulk.so')
        job = os.path.join (folder, 'bulk.ini')
        subprocess.run ([os.environ.get ('CC', 'cc'), '-O2', '-shared', '-fPIC',
                         '-I' + os.path.join (TOP, 'include'), '-o', kernel,
                         os.path.join (HERE, 'bulk.c')], check=True)
        with open (job, 'w', encoding='utf-8') as f:
            f.write ('kernel = ./bulk.so\nmib = %d\n' % o.mib)
        raw, ours, last = [], [], {}
        for _ in range (o.runs):
            raw.append (raw_write (os.path.join (folder, 'raw'), o.mib))
            took, last = sluice (o.sluice, job, os.path.join (folder, 'out.h5'),
                                 ['--serial'] if o.serial else [])
            ours.append (took)
    a, b = statistics.median (ours), statistics.median (raw)
    json.dump ({'bench': 'stream', 'mib': o.mib, 'runs': o.runs, 'data_path': last['data_path'],
                'sluice_seconds': round (a, 3), 'raw_seconds': round (b, 3),
                'sluice_mb_per_s': round (o.mib * 1.048576 / a, 1),
                'raw_mb_per_s': round (o.mib * 1.048576 / b, 1),
                'ratio': round (b / a, 3)}, sys.stdout)
    print ()


main ()
