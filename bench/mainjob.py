#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""mainjob.py - the main job from its start to the closed file

Ground motion of calc/demo/northridge at 20,082 sites in 10,000 events (--events), two
intensity measures, into a file on the disk: 2e8 rows. The reference writes as many bytes,
a MiB at a time, and syncs them.
"""
import os
import shutil

from lib import Bench, TOP, remove

EVENTS = 10000


def main_job(bench, events, **more):
    """The main job with so many events, and other parameters."""
    demo = os.path.join(TOP, 'calc/demo/northridge')
    shutil.copy(os.path.join(demo, 'rupture.xml'), bench.disk)
    with open(os.path.join(demo, 'job.ini'), encoding='utf-8') as f:
        text = f.read()
    text = text.replace('number_of_ground_motion_fields = 1000',
                        'number_of_ground_motion_fields = %d' % events)
    job = os.path.join(bench.disk, 'northridge.ini')
    with open(job, 'w', encoding='utf-8') as f:
        f.write(text)
        for name, value in more.items():
            f.write('%s = %s\n' % (name, value))
    return job


def main():
    with Bench('mainjob', [('--events', {'type': int, 'default': EVENTS})]) as bench:
        events = 100 if bench.quick else bench.options.events
        job = main_job(bench, events)
        output, file = (os.path.join(bench.disk, n) for n in ('out.h5', 'raw'))
        size = []

        def sluice():
            said = bench.sluice_run(job, output, '--no-network')
            assert said['done'] == events, said
            size.append(said['bytes'])
            return said['bytes'] / said['wall'] / 1e9

        def write():
            took = bench.raw('write', size[0], file)['seconds']
            remove(file)
            return size[0] / took / 1e9

        sluice()    # the inputs are in the cache, and the size is known
        got = bench.turns(bench.runs(3), sluice=sluice, write=write)
        bench.figure('mainjob', got['sluice'], 'GB/s', got['write'], 'write and fdatasync',
                     'ratio >= 0.6', note='%.3g rows' % (size[0] / 16))
        bench.figure('mainjob, a minute', [60 * v for v in got['sluice']], 'GB/min',
                     target='value >= 90')


if __name__ == '__main__':
    main()
