#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

"""compressed.py - ground-motion fields, shuffled and deflated: by workers or by HDF5

`sluice run --compress deflate:LEVEL` computes the demonstration's fields on all cores of
this machine; the reference is h5py writing the same rows, which lie in its memory already,
in one process through HDF5's own shuffle and deflate filters at the same level, in chunks
of the same length. Both in turn, RUNS times; medians. One line of JSON a figure:

    wall         MB of rows a second
    master_cpu   seconds of CPU in the master's process, and in the reference's; this is
                 what is left for the one process that writes
    size         bytes of the table in the file

usage: bench/compressed.py [--sluice BINARY] [--level N] [--events N] [--runs N]
                           [--folder DIR]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import h5py

HERE = os.path.dirname (os.path.realpath (__file__))
TOP = os.path.dirname (HERE)
TABLE = 'gmf_data'


def make_job (folder, events):
    demo = os.path.join (TOP, 'calc', 'demo', 'northridge')
    for name in os.listdir (demo):
        if not name.startswith ('job.'):
            os.symlink (os.path.join (demo, name), os.path.join (folder, name))
    with open (os.path.join (demo, 'job.ini'), encoding='utf-8') as f:
        lines = [line for line in f if not line.startswith ('number_of_ground_motion_fields')]
    path = os.path.join (folder, 'job.ini')
    with open (path, 'w', encoding='utf-8') as f:
        f.writelines (lines)
        f.write ('number_of_ground_motion_fields = %d\n' % events)
    return path


def sluice (binary, job, path, *more):
    """The summary of a run, and how long the command took."""
    start = time.monotonic ()
    done = subprocess.run ([binary, 'run', job, '-q', '--json', '--no-network', '--force',
                            '-o', path, *more], stdout=subprocess.PIPE, check=True)
    return json.loads (done.stdout), time.monotonic () - start


def h5py_writes (rows, path, chunk, level):
    """Seconds, and seconds of CPU, of one process that makes the file."""
    before, start = resource.getrusage (resource.RUSAGE_SELF), time.monotonic ()
    with h5py.File (path, 'w', libver='latest') as f:
        table = f.create_dataset (TABLE, rows.shape, rows.dtype, chunks=(chunk,),
                                  shuffle=True, compression='gzip', compression_opts=level)
        for at in range (0, len (rows), chunk):
            table[at:at + chunk] = rows[at:at + chunk]
    fd = os.open (path, os.O_RDWR)
    os.fdatasync (fd)
    os.close (fd)
    took, after = time.monotonic () - start, resource.getrusage (resource.RUSAGE_SELF)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def stored (path):
    with h5py.File (path, 'r') as f:
        return f[TABLE].id.get_storage_size ()


def say (name, value, unit, reference, ratio, target, met):
    print (json.dumps ({'bench': 'compressed', 'name': name, 'value': round (value, 3),
                        'unit': unit, 'reference': round (reference, 3),
                        'ratio': round (ratio, 3), 'target': target, 'met': bool (met)}),
           flush=True)


def main ():
    parser = argparse.ArgumentParser ()
    parser.add_argument ('--sluice', default=os.path.join (TOP, 'build', 'sluice'))
    parser.add_argument ('--level', type=int, default=1)
    parser.add_argument ('--events', type=int, default=1000)
    parser.add_argument ('--runs', type=int, default=5)
    parser.add_argument ('--folder', default=None)
    o = parser.parse_args ()
    with tempfile.TemporaryDirectory (dir=o.folder) as folder:
        job, path = make_job (folder, o.events), os.path.join (folder, 'out.h5')
        plain, _ = sluice (o.sluice, job, path)
        with h5py.File (path, 'r') as f:
            rows, chunk = f[TABLE][:], f[TABLE].chunks[0]
        ours, cpu, theirs, their_cpu = [], [], [], []
        other = os.path.join (folder, 'h5py.h5')
        for _ in range (o.runs):
            summary, took = sluice (o.sluice, job, path, '--compress',
                                    'deflate:%d' % o.level)
            assert summary['digest'] == plain['digest']
            ours.append (took)
            cpu.append (summary['cpu'])
            took, used = h5py_writes (rows, other, chunk, o.level)
            theirs.append (took)
            their_cpu.append (used)
        size, their_size = stored (path), stored (other)
    mb = rows.nbytes * 1e-6
    wall, reference = mb / statistics.median (ours), mb / statistics.median (theirs)
    say ('wall', wall, 'MB/s', reference, wall / reference, 1.8, wall >= 1.8 * reference)
    used, reference = statistics.median (cpu), statistics.median (their_cpu)
    say ('master_cpu', used, 's', reference, used / reference, 0.1, used < 0.1 * reference)
    say ('size', size * 1e-6, 'MB', their_size * 1e-6, size / their_size, 1.1,
         size <= 1.1 * their_size)


sys.exit (main ())
