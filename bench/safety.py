#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""safety.py - what snapshots and digests cost

32 items of 64 MiB (--size), embedded, into a file on tmpfs and on the disk: as always, without
snapshots but the last one, and without digests of pieces and items. No user can switch
these off; a build with --enable-faults can ($SLUICE_WITHOUT, proto/faults.h), and all
that is compared here is of one such build: that of --faults, or that of --build if it is
one, or one that is made for this (a minute).
"""
import os
import sys

from lib import Bench, MIB


def main():
    with Bench('safety', [('--faults', {'metavar': 'BUILD', 'help': 'with --enable-faults'}),
                          ('--size', {'type': int, 'default': 2048, 'metavar': 'MIB'})]) as bench:
        build = bench.faults_build()
        if not build:
            bench.skip('snapshots', 'this build is not one with --enable-faults')
            bench.skip('digests', 'this build is not one with --enable-faults')
            return
        bench.sluice = os.path.join(build, 'sluice')
        os.environ['SLUICE'] = bench.sluice
        items = 1 if bench.quick else max(1, bench.options.size // 64)
        job = bench.job('job.ini', items=items, item_bytes=64 * MIB)
        for place, folder in (('tmpfs', bench.ram), ('disk', bench.disk)):
            if folder:
                measure(bench, job, place, os.path.join(folder, 'out.h5'))


def measure(bench, job, place, output):
    def rate(without):
        def turn():
            said = bench.sluice_run(job, output, '--no-network',
                                    env={'SLUICE_WITHOUT': without})
            cpu[without].append(said['cpu'])
            digests[without] = said['digest']
            return said['bytes'] / said['wall'] / 1e9
        return turn

    cpu, digests = {'': [], 'snapshots': [], 'digests': []}, {}
    got = bench.turns(bench.runs(5), on=rate(''), snapshots=rate('snapshots'),
                      digests=rate('digests'))
    # Left out is what was to be, and nothing else.
    assert digests['snapshots'] == digests[''] != digests['digests'], digests
    for what, bound in (('snapshots', 0.97), ('digests', 0.90)):
        bench.figure('%s, %s' % (what, place), got['on'], 'GB/s', got[what], 'without',
                     'ratio >= %.2f' % bound)
        bench.figure('%s, CPU, %s' % (what, place), cpu[''], 's', cpu[what], 'without',
                     better='less', note='time of all processes of the run')


if __name__ == '__main__':
    sys.exit(main())
