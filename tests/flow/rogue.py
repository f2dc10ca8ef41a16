#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Members gone wrong: programs that have the cluster's key, speak the protocol, and
break one of its rules (tests/tools/rogue_node.c, rogue_master.c).

Invariant I1, I3, I4, I7: nodes that push what they were not granted, results of tasks
they were not given, rows that do not fit, frames of another run. Invariant I8: masters
that name files outside the share, or a kernel of another content. Each is counted,
said once, and cut off; the digest of the run and the node are unharmed.
"""
import json
import os
import re
import shutil
import subprocess
import time

import libflow

PATIENCE = 120
# What each rogue node does, and why it is cut off.
NODES = {
    'welcome': 'its WELCOME cannot be right',
    'endpoint': 'its data endpoint cannot be used',
    'slots': 'it asks for more tasks than it has slots',
    'offer-absurd': 'does not fit the window',
    'offer-nothing': 'a piece of 0 bytes does not fit',
    'offer-many': 'more than 16384 pieces offered',
    'nonsense': 'it does not say what a node says',
    'as-master': 'it does not say what a node says',
    'unasked': 'it pushed more than it was granted',
    'beyond': 'it pushed more than it was granted',
    'uncut': 'a result of a task that it was not given',
    'others': 'a result of a task that it was not given',
    'range': 'a result for items it was not given',
    'table': 'a table that the job has not',
    'rows': 'a part of a wrong size',
    'many-rows': 'a part of a wrong size',
    'changed': 'rows that changed on the way',
    'deflated': 'a part that must not be compressed',
    'length': 'it pushed more than it was granted',
    'stale': 'it pushed more than it was granted',
    'garbage': 'it pushed more than it was granted',
    'huge': 'does not fit the window',
}


class Rogues(libflow.Place):
    def __init__(self):
        super().__init__()
        self.share = self.path('share')
        os.mkdir(self.share)
        self.command('init', self.share)
        self.key = self.share + '/.sluice/cluster.key'
        shutil.copy(self.kernel, self.share + '/kernel.so')
        self.env['ASAN_OPTIONS'] = self.env.get('ASAN_OPTIONS', '') + ':exitcode=99'

    def command(self, *args):
        done = self.sluice(*args)
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout

    def ini(self, name, **params):
        path = os.path.join(self.share, name)
        with open(path, 'w', encoding='ascii') as f:
            f.write('[general]\nkernel = kernel.so\n')
            f.writelines('%s = %s\n' % pair for pair in params.items())
        return path

    def tool(self, name, *args, **kwargs):
        return subprocess.Popen(
            [self.built + '/tests/tools/' + name, self.key, self.share, *args],
            env=self.env, stdin=subprocess.DEVNULL, text=True, **kwargs)

    def node(self, behaviour, times=1, file=None):
        """A rogue node that is ready, and the file with what it says."""
        log = self.path('rogue-%s-%d' % (behaviour, times))
        with open(log, 'w', encoding='utf-8') as out:
            process = self.tool('rogue_node', behaviour, str(times),
                                *([file] if file else []), stdout=out)
        wait_for(lambda: 'ready' in read(log) or process.poll() is not None, behaviour)
        assert process.poll() is None, behaviour + ' has ended'
        return process, log

    def master(self, endpoint, *args):
        process = self.tool('rogue_master', endpoint, *args, stdout=subprocess.PIPE)
        said = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 0, (args, process.returncode, said)
        return said


def read(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        return f.read()


def wait_for(condition, what):
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def rss(pid):
    with open('/proc/%d/status' % pid, encoding='ascii') as f:
        return int(re.search(r'VmHWM:\s*(\d+)', f.read()).group(1)) * 1024


# ---- nodes ---------------------------------------------------------------------------

def rogue_nodes(place):
    """One run of an honest node, that of this machine, and all rogues at once."""
    job = place.ini('job.ini', items=600, rows=20, vary=1, sleep_us=2000)
    plain = place.run(job, place.path('plain.h5'), '--no-network', '--cores', '1')
    rogues = {name: place.node(name) for name in NODES}
    # One that does it again and again, and one that keeps the run from ending.
    again, again_log = place.node('slots', 0)
    release = place.path('release')
    keeper, keeper_log = place.node('offer-nothing', 1, release)
    error = place.path('stderr')
    with open(error, 'w', encoding='utf-8') as err:
        master = subprocess.Popen(
            [place.binary, 'run', job, '-q', '--json', '-o', place.path('out.h5'),
             '--window', '16M', '--no-local', '--no-copies'],
            env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
            text=True)
    wait_for(lambda: 'task' in read(keeper_log), 'no task: ' + read(error))
    node = begin_node(place)[0]
    for name, (process, log) in rogues.items():
        wait_for(lambda p=process: p.poll() is not None,
                 '%s was not cut off: %s; %s' % (name, read(log), read(error)))
        assert process.returncode == 0, (name, process.returncode)
        assert NODES[name] in read(log), (name, read(log))
        assert read(log).count('cut: ') == 1, (name, read(log))
    wait_for(lambda: 'not asked again' in read(error), 'it is asked for ever')
    assert master.poll() is None, 'the run is over too early'
    open(release, 'w', encoding='ascii').close()
    out = master.communicate(timeout=PATIENCE)[0]
    said = read(error)
    assert master.returncode == 0, (master.returncode, said)
    assert keeper.wait(PATIENCE) == 0 and 'cut: ' in read(keeper_log)
    for process in again, node:
        process.terminate()
        process.wait()
    assert read(again_log).count('hello') == 3, read(again_log)
    summary = json.loads(out)
    assert summary['digest'] == plain['digest'], (summary, plain)
    libflow.look(place.path('out.h5'))
    verified = place.command('verify', place.path('out.h5'))
    assert plain['digest'] in verified, verified
    # Counted ...
    assert summary['cut_off'] == len(NODES) + 1 + 3, summary
    assert summary['malformed'] >= 2 * 64, summary
    assert summary['stale_frames'] >= 3, summary
    assert summary['unwanted'] >= 2, summary
    assert summary['peak_held'] <= 16 << 20, summary
    limit = (16 << 20) + (64 << 20) + 32 * (128 << 10)
    if not os.environ.get('SLUICE_TEST_SCALE'):         # shadow memory is not ours
        assert summary['peak_rss'] <= limit, summary
    # ... said once each, in lines that are all Sluice's own.
    lines = said.splitlines()
    assert len(lines) <= len(rogues) + 8, said
    assert all(line.startswith('sluice run: ') for line in lines), said
    assert not re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f]', said), said
    assert said.count('said once') == 1 and 'evil?[2J?sluice run: all is well??' in said, said
    print('%d rogue nodes: %d cut off, %d malformed, %d stale, %d unwanted; peak %d MiB' % (
        len(rogues) + 2, summary['cut_off'], summary['malformed'], summary['stale_frames'],
        summary['unwanted'], summary['peak_rss'] >> 20))


# ---- masters --------------------------------------------------------------------------

def begin_node(place):
    log = place.path('node')
    with open(log, 'w', encoding='utf-8') as out:
        process = subprocess.Popen(
            [place.binary, 'node', place.share, '--slots', '2', '--interface', 'lo',
             '--no-beacon', '--user', 'root'], env=place.env, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT)
    wait_for(lambda: 'waiting for runs' in read(log), 'node: ' + read(log))
    port = re.search(r'port (\d+)', read(log)).group(1)
    return process, log, 'tcp://127.0.0.1:' + port


def rogue_masters(place):
    job = place.ini('small.ini', items=200, rows=20, vary=1)
    plain = place.run(job, place.path('plain2.h5'), '--no-network', '--cores', '1')
    # What a path must not lead to, and what it may.
    outside = place.path('outside.so')
    shutil.copy(place.kernel, outside)
    os.symlink(outside, place.share + '/link.so')
    os.symlink('kernel.so', place.share + '/inner.so')
    os.symlink(place.dir, place.share + '/folder')
    node, log, endpoint = begin_node(place)

    def honest(name):
        out = place.path(name + '.h5')
        summary = place.run(job, out, '--node', endpoint)
        assert summary['digest'] == plain['digest'], (name, summary)
        assert node.poll() is None, read(log)

    def lacks(what, *args):
        said = place.master(endpoint, *args)
        assert said.startswith('lacks: ') and re.search(what, said), (args, said)

    assert place.master(endpoint, 'kernel', 'inner.so').startswith('ready')
    for path in ('../outside.so', outside, 'link.so', 'folder/outside.so',
                 'sub/../../outside.so', '/proc/self/exe', ''):
        lacks('outside|inside|leads|not|no such|empty', 'kernel', path)
    lacks('its content is not what the run was started with', 'hash')
    for kind in ('file', 'inputs'):
        for path in ('../outside.so', '/etc/passwd', 'link.so', 'folder/outside.so'):
            lacks('outside|leads|inside', kind, path)
    for rule, why in (('assign', 'more tasks came than there was credit'),
                      ('credit', 'the master has received'),
                      ('resync', 'is gone or was never pushed')):
        said = place.master(endpoint, rule)
        assert said.startswith('ready') and why in said, (rule, said)
    assert place.master(endpoint, 'data') == 'frames: 0 to others, some to us\n'
    status = json.loads(place.master(endpoint, 'nonsense', '1000').split(' ', 1)[1])
    assert status['malformed'] >= 1000 and status['refused'] >= 4, status
    before = rss(node.pid)
    flood = place.master(endpoint, 'flood', '300' if place.small else '2000')
    status = json.loads(re.search('status: (.*)', flood).group(1))
    # At leisure runs that lack memory are gone before their number tells.
    assert status['refused_runs'] > 0 or place.small, flood[:300]
    assert len(status['runs']) <= 64, flood[:300]
    assert int(re.search(r'(\d+) refused', flood).group(1)) > 0, flood[-300:]
    assert rss(node.pid) - before < (64 << 20) or place.small, (before, rss(node.pid))
    # It lets go of them (8 s without a word), and serves the next as before.
    wait_for(lambda: json.loads(place.master(endpoint, 'nonsense', '0').split(
        ' ', 1)[1])['runs'] == [], 'runs are left')
    honest('after')
    said = read(log)
    assert said.count('said once') <= 4 and len(said.splitlines()) <= 6, said
    node.terminate()
    assert node.wait(PATIENCE) == 0, said
    print('rogue masters: refused, counted, and the node serves on; flood: ' +
          flood.strip().splitlines()[-1])


def main():
    with Rogues() as place:
        rogue_nodes(place)
        rogue_masters(place)
        place.wait_gone(PATIENCE)


if __name__ == '__main__':
    main()
