#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""gmf.py - how fast one core computes ground-motion fields

Runs bench/gmf (see there): BSSA14 at 10,000 sites in 2,000 events, for 1 and 3 intensity
measures, in one thread, to finished pieces. References: a loop that does nothing but
write the same rows, and the same in NumPy.
"""
import os

from lib import Bench, run


def main():
    with Bench('gmf') as bench:
        program = os.path.join(bench.build, 'bench/gmf')
        if not os.path.exists(program):
            bench.skip('gmf', 'bench/gmf is not built')
            return
        more = ['--events', '20', '--runs', '1'] if bench.quick else []
        if bench.options.runs:
            more += ['--runs', str(bench.options.runs)]
        said = run([program, *more]).json()
        for row in said['rows']:
            name = 'gmf, %d IMT%s' % (row['imts'], '' if row['imts'] == 1 else 's')
            runs = said['runs']
            value, (low, high) = row['values_per_s'], row['spread']
            bench.figure(name, [value / 1e6], 'million values/s',
                         row['reference_values_per_s'] / 1e6, 'a loop that only writes the rows',
                         'value >= 100', spread=(low / 1e6, high / 1e6, runs),
                         note='one core, %s' % said['isa'])
            if 'numpy_values_per_s' in row:
                bench.figure(name + ', NumPy', [value / 1e6], 'million values/s',
                             row['numpy_values_per_s'] / 1e6, 'NumPy, one thread')


if __name__ == '__main__':
    main()
