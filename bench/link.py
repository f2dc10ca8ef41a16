#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""link.py - a wire of 1 Gbit/s, and 300 nodes at once

`1 Gbit/s`: 64 items of 64 MiB from a node to a master on two hosts that tests/lan/lab
makes of namespaces, with `tc tbf` at both ends of the node's wire. The value is what
crossed it (all bytes of the frames, as tbf counts them) in the time of the run, against
the line rate; `results` is what of that were results. Needs root.

`300 nodes`: as many simulated ones (tests/tools/swarm.c) that push into one master,
against three that push as much in all.
"""
import json
import os
import shutil
import time

from lib import Bench, HERE, MIB, TOP, middle, run

LINE = 125e6        # bytes/s of 1 Gbit/s


class Lab:
    """Two hosts; the wire of the second is slow."""

    def __init__(self, bench):
        self.lab = os.path.join(TOP, 'tests/lan/lab')
        self.bench = bench
        self.share = bench.make_folder('/tmp')
        os.chmod(self.share, 0o755)
        self.state = bench.make_folder('/tmp')
        self.env = dict(os.environ, LAB=self.state, LAB_OWNER=str(os.getpid()),
                        SLUICE=bench.sluice, LAB_KEEP='%s:%s' % (bench.build, HERE))
        for name in ('XDG_RUNTIME_DIR', 'SLUICE_SLOTS_DIR'):
            self.env.pop(name)
        bench.undo.append(lambda: run([self.lab, 'down'], check=False, env=self.env))
        self('up', '2', self.share)
        run([bench.sluice, 'init', self.share])
        # A bucket of a timer's tick, as one who limits a wire sets it.
        shape = ['root', 'tbf', 'rate', '1gbit', 'burst', '256kb', 'latency', '50ms']
        self('in', 'h2', 'tc', 'qdisc', 'replace', 'dev', 'eth0', *shape)
        run(['nsenter', '-t', self.switch(), '-n', 'tc', 'qdisc', 'replace', 'dev', 'vh2', *shape])
        self('start', 'h2', 'node', bench.sluice, 'node', self.place('h2'), '--user', 'root')
        log = os.path.join(self.state, 'h2.node.log')
        until = time.monotonic() + 20
        while 'waiting for runs' not in open(log, encoding='utf-8').read():
            assert time.monotonic() < until, 'no node on h2'
            time.sleep(0.05)

    def __call__(self, *words, check=True):
        return run([self.lab, *words], env=self.env, check=check).out

    def place(self, host):
        return self('share', host).strip()

    def switch(self):
        with open(os.path.join(self.state, '.lab', 'switch.init'), encoding='ascii') as f:
            return f.read().split()[0]

    def sent(self):
        """Bytes that left h2 so far. The interface counts the headers of many segments,
        sent as one, once; tbf, which lets the bytes pass, counts all of them."""
        said = self('in', 'h2', 'tc', '-s', 'qdisc', 'show', 'dev', 'eth0')
        return int(said.split('Sent', 1)[1].split()[0])


def one_gigabit(bench):
    if os.geteuid() != 0 or not shutil.which('tc') or not shutil.which('unshare'):
        bench.skip('1 Gbit/s', 'needs root and tc (iproute2)')
        return
    lab = Lab(bench)
    items = 1 if bench.quick else 64
    bench.job('job.ini', lab.share, items=items, item_bytes=64 * MIB)
    on = lab.place('h1')
    with open(os.path.join(lab.share, 'job.ini'), 'w', encoding='utf-8') as f:
        f.write('kernel = bulk.so\nitems = %d\nitem_bytes = %d\n' % (items, 64 * MIB))
    before = lab.sent()
    # On the host's own tmpfs: the disk is not what is measured.
    said = json.loads(lab('in', 'h1', bench.sluice, 'run', on + '/job.ini', '-q', '--json',
                          '--no-local', '-o', '/dev/shm/out.h5'))
    crossed = lab.sent() - before
    lab('in', 'h1', 'rm', '-f', '/dev/shm/out.h5')
    assert said['bytes'] == items * 64 * MIB, said
    # What it waited for a node is no time of the wire.
    seconds = said['seconds']
    bench.figure('1 Gbit/s', crossed / seconds / 1e6, 'MB/s', LINE / 1e6, 'the line rate',
                 'ratio >= 0.95', note='until the file was closed')
    bench.figure('1 Gbit/s, results', said['bytes'] / seconds / 1e6, 'MB/s', LINE / 1e6,
                 'the line rate', note='TCP/IP over frames of 1514 bytes leaves 0.956')


def many_nodes(bench):
    nodes = 30 if bench.quick else 300
    items, kib = (60, 1025) if bench.quick else (1200, 2050)

    greeted = []

    def rate(n):
        def turn():
            # As much on offer in all, so that the master has the same to choose from.
            said, told = bench.swarm(n, items, kib, max(1, items // n // 2))
            if n == nodes:
                greeted.append(told['ready_seconds'])
            return said['bytes'] / said['seconds'] / 1e9
        return turn

    got = bench.turns(bench.runs(5), many=rate(nodes), few=rate(3))
    bench.figure('%d nodes' % nodes, got['many'], 'GB/s', got['few'], '3 nodes', 'ratio >= 0.95',
                 note='to greet them all took %.2f s of it' % middle(greeted))


def main():
    with Bench('link') as bench:
        many_nodes(bench)
        one_gigabit(bench)


if __name__ == '__main__':
    main()
