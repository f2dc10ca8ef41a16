#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""sealed.py - what it costs that results are encrypted and authenticated

32 items of 64 MiB (--size) over tcp into a file on tmpfs, as in results.py. Sluice has no way to
send results in clear, so the plain run is `raw ideal` over tcp; the other reference is
the same with CURVE. `of embedded` puts the sealed run beside one without a network, where
nothing has to be sealed.
"""
import os

from lib import Bench, MIB, remove


def main():
    with Bench('sealed', [('--size', {'type': int, 'default': 2048, 'metavar': 'MIB'})]) as bench:
        each = 64 * MIB
        items = 1 if bench.quick else max(1, bench.options.size * MIB // each)
        folder = bench.ram or bench.disk
        output, file = os.path.join(folder, 'out.h5'), os.path.join(folder, 'ideal')
        share = bench.share()
        params = {'items': items, 'item_bytes': each}
        total = items * each
        far, near = bench.job('far.ini', share.folder, **params), bench.job('near.ini', **params)

        def rate(seconds):
            return total / seconds / 1e9

        def ideal(*more):
            took = bench.raw('ideal', 'tcp', total, MIB, file, 'extent', *more)['seconds']
            remove(file)
            return rate(took)

        got = bench.turns(
            bench.runs(3), sealed=lambda: rate(share.run(far, output)['wall']),
            plain=ideal, curve=lambda: ideal('curve'),
            near=lambda: rate(bench.sluice_run(near, output, '--no-network')['wall']))
        bench.figure('sealed', got['sealed'], 'GB/s', got['plain'],
                     'PUSH/PULL in clear and a plain extent', 'ratio >= 0.6')
        bench.figure('sealed, CURVE', got['sealed'], 'GB/s', got['curve'],
                     'the same with CURVE')
        bench.figure('sealed, of embedded', got['sealed'], 'GB/s', got['near'],
                     'Sluice embedded')


if __name__ == '__main__':
    main()
