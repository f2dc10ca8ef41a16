#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""commands.py - how many commands are run in a second

`sluice map -- true` over a range, on two workers, to the closed file with what every
command printed and took. References: a loop of posix_spawn with two children and nothing
else; GNU parallel where it is installed, on fewer.
"""
import os
import shutil

from lib import Bench, remove, run


def main():
    with Bench('commands') as bench:
        n, few = (200, 50) if bench.quick else (5000, 1000)
        output = os.path.join(bench.disk, 'out.h5')

        def sluice():
            done = run([bench.sluice, 'map', '-q', '--json', '--no-network', '--cores', '2',
                        '-o', output, '--range', '0:%d' % n, '--', 'true'], cwd=bench.disk)
            remove(output)
            assert done.json()['done'] == n
            return n / done.seconds

        def spawn():
            return n / bench.raw('spawn', n, 2, 'true')['seconds']

        def parallel():
            words = [str(i) for i in range(few)]
            return few / run(['parallel', '-j2', 'true', ':::', *words]).seconds

        measured = {'sluice': sluice, 'spawn': spawn}
        if shutil.which('parallel'):
            measured['parallel'] = parallel
        got = bench.turns(bench.runs(3), **measured)
        bench.figure('commands', got['sluice'], 'commands/s', got['spawn'],
                     'posix_spawn, 2 children', 'ratio >= 0.8')
        if 'parallel' in got:
            bench.figure('commands, GNU parallel', got['sluice'], 'commands/s',
                         got['parallel'], 'GNU parallel -j2, %d commands' % few, 'ratio >= 10')
        else:
            bench.skip('commands, GNU parallel', 'GNU parallel is not installed here')


if __name__ == '__main__':
    main()
