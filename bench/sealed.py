#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""sealed.py - what it costs that results are encrypted and authenticated

32 items of 64 MiB (--size) over tcp into a file on tmpfs, as in results.py. No user can send
results in clear; a build with --enable-faults can ($SLUICE_WITHOUT, proto/faults.h), and
both runs of the first figure are of one such build (see safety.py). The others put a
sealed run beside the bare programs of `raw ideal`, in clear and with CURVE, beside
`sluice run --curve`, and beside an embedded run, where nothing has to be sealed.
"""
import os

from lib import Bench, MIB, remove


def main():
    with Bench('sealed', [('--faults', {'metavar': 'BUILD', 'help': 'with --enable-faults'}),
                          ('--size', {'type': int, 'default': 2048, 'metavar': 'MIB'})]) as bench:
        each = 64 * MIB
        items = 1 if bench.quick else max(1, bench.options.size * MIB // each)
        folder = bench.ram or bench.disk
        output, file = os.path.join(folder, 'out.h5'), os.path.join(folder, 'ideal')
        build = bench.faults_build()
        if build:
            bench.sluice = os.path.join(build, 'sluice')
        clear = {'SLUICE_WITHOUT': 'seals'}
        os.environ.update(clear)
        bare = bench.share()
        del os.environ['SLUICE_WITHOUT']
        share = bench.share()
        params = {'items': items, 'item_bytes': each}
        total = items * each
        jobs = {s: bench.job('far.ini', s.folder, **params) for s in (share, bare)}
        near = bench.job('near.ini', **params)

        def rate(seconds):
            return total / seconds / 1e9

        def sluice(of, *more, **settings):
            return lambda: rate(of.run(jobs[of], output, *more, **settings)['wall'])

        def ideal(*more):
            took = bench.raw('ideal', 'tcp', total, MIB, file, 'extent', *more)['seconds']
            remove(file)
            return rate(took)

        got = bench.turns(
            bench.runs(3), sealed=sluice(share), clear=sluice(bare, env=clear),
            curve=sluice(share, '--curve'), ideal=ideal, bare_curve=lambda: ideal('curve'),
            near=lambda: rate(bench.sluice_run(near, output, '--no-network')['wall']))
        if build:
            bench.figure('sealed', got['sealed'], 'GB/s', got['clear'], 'Sluice in clear',
                         'ratio >= 0.6')
        else:
            bench.skip('sealed', 'this build is not one with --enable-faults')
        bench.figure('sealed, of --curve', got['sealed'], 'GB/s', got['curve'],
                     'Sluice with --curve')
        bench.figure('sealed, of bare', got['sealed'], 'GB/s', got['ideal'],
                     'PUSH/PULL in clear and a plain extent')
        bench.figure('sealed, of bare CURVE', got['sealed'], 'GB/s', got['bare_curve'],
                     'the same with CURVE')
        bench.figure('sealed, of embedded', got['sealed'], 'GB/s', got['near'],
                     'Sluice embedded')


if __name__ == '__main__':
    main()
