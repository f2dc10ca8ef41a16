#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""SIGUSR1 makes master and agent write how gate, scheduler and outbox stand, in lines
that agree with each other; it disturbs nothing, whoever gets it and though nobody
reads what they write."""
import os
import re
import signal
import subprocess
import time

import libflow

PATIENCE = 120
# Too many rows for the window, and a slow disk: everything waits for credit.
JOB = dict(items=40, rows=3, bulk_kib=512, items_per_task=2)
ARGS = ('--cores', '2', '--window', '3M', '--outbox', '8M', '--write-rate', '8M',
        '--no-network')


def wait_for(what, condition):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, 'in vain: ' + what
        time.sleep(0.02)


def name_of(pid):
    try:
        with open('/proc/%d/comm' % pid, encoding='ascii') as f:
            return f.read().strip()
    except OSError:
        return ''


def parent_of(pid):
    try:
        with open('/proc/%d/stat' % pid, encoding='ascii') as f:
            return int(f.read().rsplit(')', 1)[1].split()[1])
    except OSError:
        return 0


def number(pattern, text):
    found = re.findall(pattern, text)
    assert found, (pattern, text)
    return int(found[-1])


def main():
    with libflow.Place() as place:
        job = place.job('job.ini', **JOB)
        want = place.run(job, place.path('want.h5'), '--cores', '1')['digest']
        log = place.path('log')

        def said():
            with open(log, encoding='utf-8') as f:
                return f.read()

        with open(log, 'w', encoding='utf-8') as err:
            master = subprocess.Popen(
                [place.binary, 'run', job, '-q', '--json', '-o', place.path('out.h5'), *ARGS],
                env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
                text=True)
        agent = []

        def workers():
            agent[:] = [p for p in place.processes()
                        if parent_of(p) == master.pid]
            return len(agent) == 1 and any(name_of(p).startswith('sluice-w')
                                           for p in place.processes())
        wait_for('workers', workers)
        # Until bytes are granted both times: a grant may be on its way the first time.
        def asked():
            before = said().count('gate: window')
            os.kill(master.pid, signal.SIGUSR1)
            wait_for('the master writes', lambda: said().count('gate: window') > before)
            return number(r'bytes: (\d+) granted', said()) > 0
        wait_for('a grant', asked)
        os.kill(agent[0], signal.SIGUSR1)
        wait_for('the agent writes', lambda: 'sluice node: state: run' in said())
        text = said()
        print(text, end='')
        assert re.search(r'state: run \w{8}, [\d.]+ s; items: \d+ done', text)
        assert re.search(r'state: gate: window 3.0 MiB; ', text)
        assert re.search(r'state: task \d+, attempt 1: items \d+ to \d+, runs on', text)
        # What the agent knows of came from the master, and what it pushed was granted.
        assert number(r'; tasks: (\d+) asked for', text) > 0
        outbox = [number(r'(\d+) %s' % w, text.split('outbox: ')[-1])
                  for w in ('bytes offered', 'granted', 'pushed', 'received')]
        assert outbox == sorted(outbox, reverse=True) and outbox[1] > 0, outbox
        for pid in place.processes():   # spawner, zygote, workers: it is not for them
            os.kill(pid, signal.SIGUSR1)
        out, _ = master.communicate(timeout=PATIENCE)
        assert master.returncode == 0, said()
        assert '"digest":"%s"' % want in out and '"retried":0' in out, out

        # Nobody reads: the pipe gets full, and the run goes on to its end.
        ends = os.pipe()
        master = subprocess.Popen(
            [place.binary, 'run', job, '-q', '--json', '-o', place.path('deaf.h5'), *ARGS],
            env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=ends[1],
            text=True)
        os.set_blocking(ends[1], False)
        wait_for('workers', workers)
        os.write(ends[1], b'x' * (1 << 20))
        for _ in range(20):
            os.kill(master.pid, signal.SIGUSR1)
            os.kill(agent[0], signal.SIGUSR1)
            time.sleep(0.01)
        os.set_blocking(ends[1], True)
        out, _ = master.communicate(timeout=PATIENCE)
        assert master.returncode == 0 and '"digest":"%s"' % want in out, out
        os.close(ends[0])
        os.close(ends[1])
        place.wait_gone(PATIENCE)
        print('state: all right')


main()
