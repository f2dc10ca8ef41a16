# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""What the tests of faults on the wire share: one run among many that go on side by
side, by this machine's embedded node or by a node reached over tcp; and a relay
between master and node that breaks connections.

Needs a build made with --enable-faults (proto/faults.h).
"""
import asyncio
import concurrent.futures
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

import libflow

SPEED = int(os.environ.get('WIRE_SPEED', '5'))  # deadlines are so many times shorter
PATIENCE = int(os.environ.get('WIRE_PATIENCE', '120'))  # seconds: then something hangs
CONTENT = {'items': 60, 'rows': 3, 'bulk_kib': 8}


def wait_for(what, condition, seconds=PATIENCE):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, 'in vain: ' + what
        time.sleep(0.02)


def is_stopped(pid):
    with open('/proc/%d/stat' % pid, encoding='ascii') as f:
        return f.read().rsplit(')', 1)[1].split()[0] == 'T'


def require_faults(place):
    with open(place.binary, 'rb') as f:
        if b'SLUICE_FAULTS' not in f.read():
            sys.exit('this build has no faults: configure --enable-faults')


def free_ports(count, address='127.0.0.1'):
    """So many ports in a row that nobody has, below those the kernel gives away."""
    while True:
        first = random.randrange(10000, 32000)
        try:
            for port in range(first, first + count):
                with socket.socket() as s:
                    s.bind((address, port))
            return first
        except OSError:
            pass


class Case:
    """One run, with folders and processes of its own."""

    def __init__(self, place, name):
        self.place, self.name = place, name
        self.dir = place.path('c' + re.sub('[^A-Za-z0-9]+', '-', name))
        for sub in ('', '/run', '/tmp', '/slots'):
            os.mkdir(self.dir + sub, 0o700)
        self.env = dict(place.env, XDG_RUNTIME_DIR=self.dir + '/run',
                        TMPDIR=self.dir + '/tmp', SLUICE_SLOTS_DIR=self.dir + '/slots',
                        WIRE_CASE=self.dir)
        self.env.pop('SLUICE_FAULTS', None)
        self.output = self.dir + '/out.h5'
        self.share = None
        self.master = self.node = None
        self.log = open(self.dir + '/log', 'ab+')

    def said(self):
        with open(self.dir + '/log', encoding='utf-8', errors='replace') as f:
            return f.read()

    def processes(self):
        return libflow.marked('WIRE_CASE=' + self.dir)

    def job(self, **params):
        path = (self.share or self.dir) + '/job.ini'
        kernel = self.place.kernel
        if self.share:
            kernel = 'kernel.so'
        with open(path, 'w', encoding='ascii') as f:
            f.write('[general]\nkernel = %s\n' % kernel)
            for key, value in dict(CONTENT, **params).items():
                f.write('%s = %s\n' % (key, value))
        return path

    # ---- a node over tcp. It has a copy of the share of its own, so that the master
    # knows it by its endpoint alone.

    def make_share(self):
        self.share = self.dir + '/share'
        os.mkdir(self.share)
        self.place.sluice('init', self.share)
        shutil.copy(self.place.kernel, self.share + '/kernel.so')
        shutil.copytree(self.share, self.dir + '/theirs')

    def start_node(self, faults='', slots=2, ports=None):
        self.log.flush()
        before = self.said().count('waiting for runs')
        env = dict(self.env, SLUICE_FAULTS='speed=%d,%s' % (SPEED, faults))
        args = ['--ports', '%d-%d' % ports] if ports else []
        self.node = subprocess.Popen(
            [self.place.binary, 'node', '--no-beacon', '--interface', 'lo', '--user', 'root',
             '--slots', str(slots), '--outbox', '64M', *args, self.dir + '/theirs'],
            env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for('a node', lambda: self.node.poll() is not None or
                 self.said().count('waiting for runs') > before)
        if self.node.poll() is not None:
            return None
        return int(re.findall(r'port (\d+), waiting', self.said())[-1])

    def start_node_somewhere(self, count, **args):
        """On one of `count` ports of its own; the first of them."""
        for _ in range(20):
            first = free_ports(count)
            if self.start_node(ports=(first, first + count - 1), **args) == first:
                return first
            self.stop_node()
        raise OSError('no node on ports of its own')

    def stop_node(self):
        if self.node:
            if self.node.poll() is None:
                self.node.send_signal(signal.SIGCONT)
                self.node.terminate()
            self.node.wait(PATIENCE)
            self.node = None

    # ---- the run

    def start(self, job, *args, faults=''):
        env = dict(self.env, SLUICE_FAULTS='speed=%d,%s' % (SPEED, faults))
        with open(self.dir + '/json', 'wb') as out:
            self.master = subprocess.Popen(
                [self.place.binary, 'run', job, '-q', '--json', '--force', '-o', self.output,
                 '--window', '64M', *args],
                env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=self.log)

    def items_done(self):
        try:
            return len(libflow.look(self.output, rows=False)['items'])
        except (OSError, KeyError):
            return 0

    def command(self, *args):
        return subprocess.run([self.place.binary, *args], env=self.env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)

    def cancel_hanging(self):
        """The one slot computes item 31, which hangs: its task is cancelled."""
        wait_for('30 items', lambda: self.items_done() >= 30)
        where = [self.share] if self.share else []
        run = self.command('runs', *where).stdout.split('\n')[1].split()[0]
        said = self.command('cancel', *(['--share'] + where if where else []), run, '7')
        assert said.returncode == 0, said.stdout

    def end(self, status='complete'):
        """Wait for it, look at all that it left, and return its summary."""
        code = self.master.wait(PATIENCE)
        assert code == {'complete': 0, 'failed': 1}[status], 'exit status %d' % code
        with open(self.dir + '/json', encoding='utf-8') as f:
            summary = json.load(f)
        assert summary['status'] == status, summary
        # What a copy of a slow task made in vain may still be on its way.
        assert summary['unreceived'] == 0 or summary['copies'] > 0, \
            'granted and not received: %s' % summary
        assert summary['unfinished'] == 0, 'still waited for: %s' % summary
        state = libflow.look(self.output)
        assert state['status'] == status
        if status == 'complete':
            assert len(state['items']) == CONTENT['items'], 'items are missing'
        return summary

    def close(self):
        """Nothing may be left: no worker at the node, then no process and no file."""
        if self.node and self.node.poll() is None:
            wait_for('workers end: %s' % self.processes(),
                     lambda: len(self.processes()) == 2)    # agent and spawner
        self.stop_node()
        wait_for('processes end: %s' % self.processes(), lambda: not self.processes())
        for sub in ('run', 'tmp'):
            left = [os.path.join(d, n) for d, dirs, files in os.walk(self.dir + '/' + sub)
                    for n in files + [x for x in dirs if x != 'sluice']]
            assert not left, 'left behind: %s' % left
        self.log.close()
        shutil.rmtree(self.dir)


def run_cases(place, cases, at_once):
    """`cases`: name, function of a Case. All are run; the first that went wrong ends
    the test with what it said."""
    bad = []

    def one(name, function):
        case = Case(place, name)
        began = time.monotonic()
        try:
            function(case)
            case.close()
        except Exception:       # told below, for all cases alike
            bad.append('%s, after %.1f s: %s\n%s' % (
                name, time.monotonic() - began, traceback.format_exc(), case.said()[-3000:]))
        if os.environ.get('WIRE_TIMES'):
            print('%-32s %6.2f s' % (name, time.monotonic() - began), flush=True)

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda c: one(*c), cases))
    if bad:
        print('\n'.join(bad), file=sys.stderr)
        print('%d of %d cases went wrong' % (len(bad), len(cases)), file=sys.stderr)
        sys.exit(1)


def digests(place, hang):
    """Without a fault: of all items, and of all but those of the task that hangs."""
    whole = place.run(place.job('whole.ini', **CONTENT), place.path('whole.h5'),
                      '--cores', '1')
    want = [whole['digest']]

    def learn(case):
        case.start(case.job(**hang), '--no-network', '--cores', '1')
        case.cancel_hanging()
        want.append(case.end('failed')['digest'])
    run_cases(place, [('cancelled', learn)], 1)
    assert want[0] != want[1]
    return want


class Relay:
    """Listens on 127.0.0.2 at each of a node's ports and carries bytes to and from
    127.0.0.1. Once, after so many bytes from the node, it breaks a connection: the one
    for messages (`control`, the first port) or one for results. `reset`: RST on both
    sides in the middle of what flows. `silence`: it stays open and nothing comes
    through any more. `flip`: one byte is changed. `struck` is set then."""

    def __init__(self, first, count, action, control, after):
        self.first, self.count = first, count
        self.action, self.control, self.after = action, control, after
        self.struck = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.ready.wait(PATIENCE)
        if self.error:
            raise self.error

    def run(self):
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self.listen())
        except OSError as error:
            self.error = error
            self.ready.set()
            return
        self.ready.set()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    async def listen(self):
        for port in range(self.first, self.first + self.count):
            await asyncio.start_server(lambda r, w, p=port: self.serve(r, w, p),
                                       '127.0.0.2', port)

    async def serve(self, reader, writer, port):
        try:
            theirs, to_node = await asyncio.open_connection('127.0.0.1', port)
        except OSError:
            writer.transport.abort()
            return
        mine = (port == self.first) == self.control and not self.struck.is_set()
        state = {'silent': False}
        await asyncio.gather(
            self.carry(reader, to_node, state, None, ()),
            self.carry(theirs, writer, state, self.after if mine else None,
                       (writer, to_node)), return_exceptions=True)

    async def carry(self, reader, writer, state, left, both):
        try:
            while True:
                data = await reader.read(4096)
                if not data:
                    break
                if state['silent']:
                    continue
                if left is not None:
                    left -= len(data)
                    if left <= 0 and not self.struck.is_set() and self.action == 'flip':
                        self.struck.set()
                        data = data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + \
                            data[len(data) // 2 + 1:]
                    elif left <= 0 and not self.struck.is_set():
                        writer.write(data[:len(data) // 2])
                        self.struck.set()
                        if self.action == 'reset':
                            for w in both:
                                w.get_extra_info('socket').setsockopt(
                                    socket.SOL_SOCKET, socket.SO_LINGER,
                                    struct.pack('ii', 1, 0))
                                w.transport.abort()
                            return
                        state['silent'] = True
                        continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)


def relayed_node(case, action, control, after):
    """A node, and a relay to it; its first port."""
    for _ in range(20):
        first = case.start_node_somewhere(8)
        try:
            return first, Relay(first, 8, action, control, after)
        except OSError:
            case.stop_node()
    raise OSError('no ports for a relay')
