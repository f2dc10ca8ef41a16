#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""latency.py - how long one task takes when nothing else is to be done

`round trip`: the time between ASSIGN and the last piece of a task at the master, as --trace
records both, less the 60 ms that the task computes (a shorter one would be there ahead):
master, agent, worker and back, where the reference is a bare ROUTER and a DEALER that
computes as long, with no worker behind. `first round trip`: of the only task of a run, when nothing has
been used yet on that way.

`first result`: from before a program calls sluice_client_map until it has the first
result (bench/first.c): a master begins, an output is made, a node and its workers begin.
`first command`: `sluice map -- true` of one item, begun from nothing to its end, with
the file closed and safe on the disk; reference is GNU parallel where it is installed,
and a bare posix_spawn.
"""
import json
import os
import shutil

from lib import Bench, middle, remove, run

SPIN_US = 60000         # more than a task that a node asks for ahead takes


def main():
    with Bench('latency') as bench:
        runs = bench.runs(21)
        output, trace = (os.path.join(bench.disk, n) for n in ('out.h5', 'trace'))
        job = bench.job('job.ini', items=1)
        warm = bench.job('warm.ini', items=12, items_per_task=1, spin_us=SPIN_US)

        def trips(job, *more):
            """Of each task, in us."""
            bench.sluice_run(job, output, '--no-network', '--trace', trace, *more)
            lines = map(json.loads, run([bench.sluice, 'trace', trace, '--json']).out.splitlines())
            sent, took = {}, []
            for line in lines:
                if line['type'] == 'ASSIGN':
                    sent.update((t['task'], line['time']) for t in line['tasks'])
                elif line['type'] == 'PIECE' and line['kind'] == 'DONE':
                    took.append((line['time'] - sent[line['task']]) * 1e6)
            remove(trace)
            return took

        def round_trip():
            return middle(trips(warm, '--cores', '1')[2:]) - SPIN_US

        def first_trip():
            return trips(job)[0]

        def bare():
            return bench.raw('trip', 'ipc', 12, SPIN_US)['median_us']

        def hot():
            return bench.raw('trip', 'ipc', 200 if bench.quick else 2000)['median_us']

        def first():
            done = run([bench.built('bench/first'), bench.built('bench/bulk.so'), 'items', '1'])
            return done.json()['first_us'] / 1000

        def command():
            took = run([bench.sluice, 'map', '-q', '--no-network', '-o', output, '--range',
                        '0:1', '--', 'true'], cwd=bench.disk).seconds
            remove(output)
            return took * 1000

        def parallel():
            return run(['parallel', 'true', ':::', '0']).seconds * 1000

        def spawn():
            return bench.raw('spawn', 1, 1, 'true')['seconds'] * 1000

        measured = {'trip': round_trip, 'cold': first_trip, 'bare': bare, 'hot': hot, 'first': first, 'command': command,
                    'spawn': spawn}
        if shutil.which('parallel'):
            measured['parallel'] = parallel
        got = bench.turns(runs, **measured)
        bench.figure('round trip', got['trip'], 'us', got['bare'],
                     'ROUTER/DEALER over ipc, computing as long', 'ratio <= 4', better='less')
        bench.figure('first round trip', got['cold'], 'us', got['hot'],
                     'ROUTER/DEALER over ipc, one at a time', better='less')
        bench.figure('first result', got['first'], 'ms', got['spawn'], 'posix_spawn of true',
                     'value <= 60', better='less')
        if 'parallel' in got:
            bench.figure('first command', got['command'], 'ms', got['parallel'],
                         'GNU parallel, one command', better='less')
        else:
            bench.figure('first command', got['command'], 'ms', got['spawn'],
                         'posix_spawn of true', note='GNU parallel is not installed here',
                         better='less')
        assert middle(got['trip']) > 0


if __name__ == '__main__':
    main()
