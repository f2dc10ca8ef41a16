#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Invariant I1 with many nodes: a real `sluice run` against a swarm of simulated
ones (tests/tools/swarm.c), each of which offers far more than the window holds,
and a writer that is held back. What the master holds and its memory stay within
the bound, no node is given up, and none starves.

  swarm.py [--nodes N] [--window SIZE] [--rate BYTES] [--each SIZE] [--bytes SIZE]

Without options it is small, as a test: the run ends by itself, and its digest is
that of one process. With --bytes the run is interrupted when so much was received.
At full size, 1 GiB from each of 1,000 nodes into 256 MiB and a disk of 50 MB/s:

  tests/flow/swarm.py --nodes 1000 --window 256M --rate 50000000 --each 1G --bytes 6G

Prints a line of JSON.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time

from libflow import Place

ITEM = 4100 << 10         # four chunks: of 1,025 rows of a KiB
RATIO = 1.5


def size(text):
    shift = 'KMGT'.find(text[-1].upper()) + 1
    return int(text[:-1] if shift else text) << 10 * shift


def memory(pid):
    """Resident bytes of a process, now and at most."""
    found = {}
    with open('/proc/%d/status' % pid, encoding='ascii') as f:
        for line in f:
            name, _, rest = line.partition(':')
            if name in ('VmRSS', 'VmHWM'):
                found[name] = int(rest.split()[0]) << 10
    return found.get('VmRSS', 0), found.get('VmHWM', 0)


def bound(window, nodes):
    """Of the master's memory, as invariant I1 has it."""
    return window + (64 << 20) + nodes * (128 << 10)


def arguments(small):
    parser = argparse.ArgumentParser()
    parser.add_argument('--nodes', type=int, default=30 if small else 60)
    parser.add_argument('--window', type=size, default=16 << 20)
    parser.add_argument('--rate', type=size, default=100 << 20)
    parser.add_argument('--each', type=size, default=2 * ITEM)
    parser.add_argument('--bytes', type=size, default=0)
    return parser.parse_args()


def main():
    with Place() as place:
        args = arguments(place.small)
        tasks = args.each // ITEM
        items = args.nodes * tasks * (16 if args.bytes else 1)
        place.kernel = os.path.join(place.built, 'tests/kernels/swarm_kernel.so')
        share = place.path('share')
        os.mkdir(share)
        assert place.sluice('init', share).returncode == 0
        job = place.job('share/job.ini', items=items, item_kib=ITEM >> 10, items_per_task=1)
        # The kernel has to lie in the share.
        kernel = place.path('share/kernel.so')
        with open(place.kernel, 'rb') as f, open(kernel, 'wb') as to:
            to.write(f.read())
        with open(job, encoding='ascii') as f:
            text = f.read().replace(place.kernel, kernel)
        with open(job, 'w', encoding='ascii') as f:
            f.write(text)
        half = args.bytes or items * ITEM // 2
        nodes = place.path('nodes')
        swarm = subprocess.Popen(
            [os.path.join(place.built, 'tests/tools/swarm'),
             share + '/.sluice/cluster.key', nodes, str(args.nodes), str(tasks), str(half)],
            env=place.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert swarm.stdout.readline() == 'listening\n'
        began = time.monotonic()
        output = place.path('out.h5')
        run = place.start(job, output, '--nodes', nodes, '--window', str(args.window),
                          '--write-rate', str(args.rate))
        peak = 0
        while run.poll() is None:
            peak = max(peak, memory(run.pid)[1])
            if args.bytes and os.path.exists(output) and \
                    os.stat(output).st_blocks * 512 >= args.bytes:
                run.send_signal(signal.SIGINT)
                args.bytes = 1 << 62
            assert swarm.poll() is None or run.wait(30) is not None, 'the swarm has died'
            time.sleep(0.05)
        out, err = run.communicate()
        seconds = time.monotonic() - began
        whole = args.bytes == 0
        assert run.returncode == (0 if whole else 130), (run.returncode, err)
        said = json.loads(out)
        played = json.loads(swarm.communicate()[0])
        assert swarm.returncode == 0
        most = bound(args.window, args.nodes)
        played.update(window=args.window, peak_held=said['peak_held'], seconds=round(seconds, 1),
                      peak_rss=max(peak, said['peak_rss']), bound=most, written=said['bytes'])
        print(json.dumps(played))
        assert played['nodes'] == args.nodes, 'not all nodes took part'
        assert said['peak_held'] <= args.window, 'more was held than the window'
        # At small sizes there are sanitizers, whose memory is not the master's.
        assert place.small or played['peak_rss'] <= most, \
            'the master took more memory than its bound'
        # Who comes first on a busy machine may have more; nobody may have much less.
        assert played['least'] * RATIO > half / args.nodes, 'a node starved'
        assert whole or played['ratio'] < RATIO, 'some nodes had more than others'
        assert said['malformed'] == 0 and 'lost node' not in err, err
        if whole:
            assert said['done'] == items and said['bytes'] >= items * ITEM
            serial = place.run(job, place.path('serial.h5'), '--serial')
            assert serial['digest'] == said['digest'], 'another digest than of one process'
            verify = place.sluice('verify', output)
            assert verify.returncode == 0 and said['digest'] in verify.stdout + verify.stderr


if __name__ == '__main__':
    sys.exit(main())
