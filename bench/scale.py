#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""scale.py - what a task costs the master, by the number of nodes

Simulated nodes (tests/tools/swarm.c), each with 64 tasks at a time, do a million tasks of
one item and no result, over the real wire. The value is the master's own processor time
for a task (of its process, less that of a run of one task), the reference the same with
10 nodes. `RSS` is what the master took at most.
"""
from lib import Bench, middle

AT_ONCE = 64


def main():
    with Bench('scale') as bench:
        counts = (2, 5) if bench.quick else (10, 100, 1000)
        items = 2000 if bench.quick else 1000000
        cost = {n: [] for n in counts}
        rss = {n: [] for n in counts}
        for _ in range(bench.runs(3)):
            for n in counts:
                none, _ = bench.swarm(n, n, 0, AT_ONCE, every=False)
                said, _ = bench.swarm(n, items, 0, AT_ONCE)
                cost[n].append((said['cpu'] - none['cpu']) / (items - n) * 1e6)
                rss[n].append(said['peak_rss'] / 1e6)
        few = counts[0]
        bench.figure('%d nodes' % few, cost[few], 'us a task', 5, 'the target',
                     'value <= 5')
        for n in counts[1:]:
            bench.figure('%d nodes' % n, cost[n], 'us a task', middle(cost[few]),
                         'with %d nodes' % few, 'ratio <= 1.3')
        bench.figure('%d nodes, RSS' % counts[-1], rss[counts[-1]], 'MB', 200, 'the target',
                     'value <= 200')


if __name__ == '__main__':
    main()
