#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""cores.py - how much of the cores the main job keeps busy

The main job (calc/demo/northridge) with so many events that it takes seconds, on all
cores. The value is the worker-core seconds that tasks took, as `sluice show` has them,
the reference those that there were: the run's time by its slots. A task that waits for
room in the outbox counts as busy there, so `on the CPU` has only the time that workers
computed, and `all processes` what master and node computed besides.
"""
import json
import os

from lib import Bench, middle, remove, run
from mainjob import main_job


def main():
    with Bench('cores') as bench:
        events = 100 if bench.quick else 10000
        job, output = main_job(bench, events), os.path.join(bench.disk, 'out.h5')
        got = {'busy': [], 'cpu': [], 'all': [], 'there': []}
        for _ in range(bench.runs(3)):
            ran = bench.sluice_run(job, output, '--no-network', keep=True)
            said = json.loads(run([bench.sluice, 'show', '--json', output]).out)
            remove(output)
            got['there'].append(said['seconds'] * sum(n['slots'] for n in said['nodes']))
            got['busy'].append(said['task_seconds'])
            got['cpu'].append(said['task_cpu'])
            got['all'].append(ran['cpu'])
        assert middle(got['there']) > 0
        bench.figure('busy', got['busy'], 's', got['there'], 'worker-core seconds there were',
                     'ratio >= 0.95')
        bench.figure('on the CPU', got['cpu'], 's', got['there'],
                     'worker-core seconds there were')
        bench.figure('all processes', got['all'], 's', got['there'],
                     'worker-core seconds there were')


if __name__ == '__main__':
    main()
