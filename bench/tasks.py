#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""tasks.py - how many tasks that do nothing get done in a second

A C kernel whose items do nothing, on two workers: what the user calls a task is an item,
and the ranges that Sluice cuts are its own business. `one by one` has each item as a
task of its own, which is what the system bears when nothing can be cut in ranges. Times
are those of the whole command, from its start to the end of the process.

References: descriptors over a bare ROUTER and two DEALERs, in batches and one in a
message; Python's concurrent.futures; dask where it is installed.
"""
import concurrent.futures
import os
import time

from lib import Bench

WORKERS = 2
SECONDS = 3     # that one by one may take


def nothing(x):
    return x


def futures(n, chunk):
    def measure():
        with concurrent.futures.ProcessPoolExecutor(WORKERS) as pool:
            list(pool.map(nothing, range(WORKERS)))     # they are there
            start = time.monotonic()
            for _ in pool.map(nothing, range(n), chunksize=chunk):
                pass
            return n / (time.monotonic() - start)
    return measure


def dask(n):
    from dask.distributed import Client, LocalCluster
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None,
                      silence_logs=50) as cluster, Client(cluster) as client:
        client.gather(client.map(nothing, range(10)))
        start = time.monotonic()
        client.gather(client.map(nothing, range(10, 10 + n)))
        return n / (time.monotonic() - start)


def have_dask():
    try:
        import dask.distributed    # noqa: F401
        return True
    except ImportError:
        return False


def main():
    with Bench('tasks') as bench:
        quick = bench.quick
        output = os.path.join(bench.disk, 'out.h5')

        def sluice(n, *params):
            job = bench.job('job.ini', items=n, **dict(params))
            said = bench.sluice_run(job, output, '--cores', str(WORKERS), '--no-network')
            assert said['done'] == n, said
            return n / said['wall']

        def router(n, batch, ahead):
            said = bench.raw('router', WORKERS, n, batch, ahead)
            return said['tasks'] / said['seconds']

        n = 20000 if quick else 1000000
        single = ('items_per_task', 1)
        speed = sluice(1000, single)
        alone = 1000 if quick else int(min(1000000, max(10000, speed * SECONDS)))
        few, fewer = (500, 20) if quick else (20000, 1000)
        got = bench.turns(
            bench.runs(3), sluice=lambda: sluice(n), alone=lambda: sluice(alone, single),
            batches=lambda: router(n, 64, 20), messages=lambda: router(n, 1, 1000),
            futures=futures(few, 1))
        bench.figure('tasks', got['sluice'], 'tasks/s', got['batches'],
                     'ROUTER/DEALER, 64 descriptors in a message', 'value >= 500000')
        bench.figure('tasks, concurrent.futures', got['sluice'], 'tasks/s', got['futures'],
                     'concurrent.futures, %d tasks, default chunks of 1' % few, 'ratio >= 40')
        if have_dask():
            bench.figure('tasks, dask', got['sluice'], 'tasks/s', dask(fewer),
                         'dask.distributed, %d tasks' % fewer, 'ratio >= 800')
        else:
            bench.skip('tasks, dask', 'dask is not installed here')
        bench.figure('tasks one by one', got['alone'], 'tasks/s', got['messages'],
                     'ROUTER/DEALER, a descriptor in a message',
                     note='%d items, each a task of its own' % alone)
        bench.figure('tasks one by one, concurrent.futures', got['alone'], 'tasks/s',
                     got['futures'], 'concurrent.futures, default chunks of 1')


if __name__ == '__main__':
    main()
