# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Where the runs of a soak take place: on hosts of a LAN in namespaces (tests/lan/lab),
on nodes of this machine that listen on its loopback, or with no node but the run's own.

Processes are found by a variable in their environment, SOAK_MARK, which their
descendants inherit, and by name; nothing else is ever signalled.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), '../..'))
LAB = os.path.join(TOP, 'tests/lan/lab')


def marked(mark, *names):
    """The ids of living processes with this mark whose name begins with one of these."""
    want = b'SOAK_MARK=' + mark.encode()
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/environ' % pid, 'rb') as f:
                if want not in f.read().split(b'\0'):
                    continue
            with open('/proc/%s/stat' % pid, encoding='latin-1') as f:
                name, state = f.read().split('(', 1)[1].rsplit(')', 1)
            if state.split()[0] not in 'ZX' and (not names or name.startswith(names)):
                found.append(int(pid))
        except (OSError, IndexError):
            pass
    return sorted(found)


def parent(pid):
    """Its parent's id; 0: it is gone."""
    try:
        with open('/proc/%d/stat' % pid, encoding='latin-1') as f:
            return int(f.read().rsplit(')', 1)[1].split()[1])
    except OSError:
        return 0


def send(pids, sig):
    sent = 0
    for pid in pids:
        try:
            os.kill(pid, sig)
            sent += 1
        except ProcessLookupError:
            pass
    return sent


def children(pid):
    try:
        with open('/proc/%d/task/%d/children' % (pid, pid), encoding='ascii') as f:
            return [int(c) for c in f.read().split()]
    except OSError:
        return []


def peak_rss(pid):
    """Bytes; 0: it is gone."""
    try:
        with open('/proc/%d/status' % pid, encoding='latin-1') as f:
            return max([int(line.split()[1]) << 10 for line in f
                        if line.startswith('VmHWM')] or [0])
    except OSError:
        return 0


class Alone:
    """Runs with their embedded node."""

    hosts = []
    kinds = ['worker-kill', 'worker-stop', 'zygote-kill', 'spawner-kill', 'agent-kill',
             'agent-stop', 'master-kill', 'master-stop', 'disk-full', 'cancel',
             'output-deleted']

    def __init__(self, name, binary, kernel, share=None):
        self.binary = binary
        self.mark = '%d-%s' % (os.getpid(), name)
        self.dir = tempfile.mkdtemp(prefix='soak-', dir='/tmp')
        for sub in ('run', 'tmp', 'slots', 'share', 'logs'):
            os.mkdir(os.path.join(self.dir, sub), 0o700)
        self.share = share or os.path.join(self.dir, 'share')
        shutil.copy(kernel, os.path.join(self.share, 'kernel.so'))
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.dir + '/run',
                        TMPDIR=self.dir + '/tmp', SLUICE_SLOTS_DIR=self.dir + '/slots')
        self.env.setdefault('ASAN_OPTIONS', 'detect_leaks=0')
        self.env.pop('SLUICE_KEY', None)
        self.args = ['--cores', '2']
        self.count = 0

    def close(self):
        send(marked(self.mark + '/master') + marked(self.mark + '/rival'), signal.SIGKILL)
        for host in self.hosts:
            send(marked(self.mark + '/' + host), signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self, what):
        self.count += 1
        return os.path.join(self.dir, 'logs', '%04d.%s' % (self.count, what))

    def plain(self, *args):
        """A command that no fault is to hit."""
        return subprocess.run([self.binary, *args], env=self.env, cwd=self.share,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)

    def master(self, args, who='master'):
        """Begin `sluice ARGS`: the process, with its .out and .err (paths)."""
        out = self.log(who)
        with open(out, 'wb') as o, open(out + '.err', 'wb') as e:
            p = subprocess.Popen(self.enter('h1') + [self.binary, *args], cwd=self.share,
                                 env=dict(self.env, SOAK_MARK=self.mark + '/' + who),
                                 stdin=subprocess.DEVNULL, stdout=o, stderr=e)
        p.out, p.err, p.who = out, out + '.err', who
        return p

    def master_pid(self, process):
        """Of the sluice itself."""
        return process.pid

    def woken(self, process):
        """nsenter stops with what it began, and has to be woken, too."""
        send([process.pid], signal.SIGCONT)

    def enter(self, _host):
        return []

    # -- who is to be hit

    def workers(self, host):
        """Not what they fork: a command has the name of its worker until it is begun."""
        found = marked(self.mark + '/' + (host or 'master'), 'sluice-w')
        return [pid for pid in found if parent(pid) not in found]

    def named(self, host, name):
        return marked(self.mark + '/' + (host or 'master'), name)

    def agent(self, _host, process):
        return children(process.pid)[:1]

    def mend(self):
        """Begin the nodes anew that have died."""

    def left(self):
        """What should not be there when no run goes on: a text, '' if nothing."""
        pids = marked(self.mark + '/master')
        return 'processes %s' % describe(pids) if pids else ''

    def scratch_left(self):
        found = [f for sub in ('tmp', 'run') for f in os.listdir(os.path.join(self.dir, sub))
                 if f.startswith('sluice-')]
        return found


class Loop(Alone):
    """Nodes on this machine, reached through its loopback."""

    hosts = ['n2', 'n3']
    kinds = [k for k in Alone.kinds] + ['rival']

    def __init__(self, name, binary, kernel, share=None):
        super().__init__(name, binary, kernel, share)
        self.plain('init', self.share)
        self.ports, self.nodes = {}, {}
        self.choose_ports()
        try:
            self.mend()
        except BaseException:
            self.close()
            raise

    def choose_ports(self):
        for host in self.hosts:
            s = socket.socket()
            s.bind(('127.0.0.1', 0))
            self.ports[host] = s.getsockname()[1]
            s.close()
        self.args = [a for h in self.hosts
                     for a in ('--node', 'tcp://127.0.0.1:%d' % self.ports[h])]

    def node_args(self, host):
        port = self.ports[host]
        return ['node', self.share, '--ports', '%d-%d' % (port, port + 20), '--no-beacon',
                '--interface', 'lo', '--slots', '2', '--outbox', '64M',
                *(['--user', 'root'] if os.geteuid() == 0 else [])]

    def mend(self):
        fresh = []
        for host in self.hosts:
            old = self.nodes.get(host)
            if old and old.poll() is None:
                continue
            log = self.log(host)
            with open(log, 'wb') as o:
                p = subprocess.Popen(
                    self.enter(host) + [self.binary, *self.node_args(host)],
                    env=dict(self.env, SOAK_MARK=self.mark + '/' + host),
                    stdin=subprocess.DEVNULL, stdout=o, stderr=o)
            p.log = log
            self.nodes[host] = p
            fresh.append(p)
        until = time.monotonic() + 60
        for p in fresh:
            while b'waiting for runs' not in open(p.log, 'rb').read():
                if p.poll() is not None or time.monotonic() > until:
                    raise RuntimeError('a node does not start: %s' % open(p.log).read())
                time.sleep(0.02)

    def woken(self, process):
        super().woken(process)
        send([p.pid for p in self.nodes.values()], signal.SIGCONT)

    def agent(self, host, _process):
        found = []
        for pid in marked(self.mark + '/' + host, 'sluice'):
            try:
                with open('/proc/%d/comm' % pid, encoding='latin-1') as f:
                    found += [pid] if f.read().strip() == 'sluice' else []
            except OSError:
                pass
        return found[:1]

    def left(self):
        said = super().left()
        for host in self.hosts:
            more = marked(self.mark + '/' + host, 'sluice-w', 'sluice-zygote')
            if more:
                said += ' on %s: %s' % (host, describe(more))
        return said

    def close(self):
        for host in self.hosts:
            send(marked(self.mark + '/' + host, 'sluice'), signal.SIGKILL)
        super().close()


class Lan(Loop):
    """Three hosts in namespaces: the master's and two with a node each."""

    hosts = ['h2', 'h3']
    kinds = Loop.kinds + ['cut', 'one-way']

    def __init__(self, name, binary, kernel):
        self.state = tempfile.mkdtemp(prefix='soak-lab-', dir='/tmp')
        share = os.path.join(self.state, 'share')
        os.mkdir(share, 0o755)
        self.labenv = dict(os.environ, LAB=self.state, LAB_OWNER=str(os.getpid()),
                           SLUICE=binary)
        self.lab('up', '3', share)
        self.pids = {h: self.lab('pid', h).strip() for h in ('h1', 'h2', 'h3')}
        self.places = {h: self.lab('share', h).rstrip('\n') for h in self.pids}
        self.addresses = {h: self.lab('address', h).strip() for h in self.pids}
        super().__init__(name, binary, kernel, share)

    def choose_ports(self):
        self.args = ['--no-local']

    def lab(self, *args):
        return subprocess.run(['bash', LAB, *args], env=self.labenv, check=True, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout

    def enter(self, host):
        # Each has a /tmp and a /run of its own.
        return ['nsenter', '-t', self.pids[host], '-m', '-u', '-i', '-n', '-p', '--', 'env',
                '-u', 'SLUICE_SLOTS_DIR', 'XDG_RUNTIME_DIR=/run/lab', 'TMPDIR=/tmp', 'sh',
                '-c', 'cd "$0" && exec "$@"', self.places[host]]

    def node_args(self, host):
        return ['node', self.places[host], '--slots', '2', '--outbox', '64M', '--user',
                'root']

    def master_pid(self, process):
        for pid in marked(self.mark + '/' + process.who, 'sluice'):
            if parent(pid) == process.pid:
                return pid
        return None

    def route(self, on, to, verb):
        subprocess.run(['nsenter', '-t', self.pids[on], '-n', 'ip', 'route', verb,
                        'blackhole', self.addresses[to] + '/32'], check=False,
                       stderr=subprocess.DEVNULL)

    def scratch_left(self):
        return []

    def close(self):
        super().close()
        self.lab('down')
        shutil.rmtree(self.state, ignore_errors=True)


def describe(pids):
    said = []
    for pid in pids:
        try:
            with open('/proc/%d/comm' % pid, encoding='latin-1') as f:
                said.append('%d %s' % (pid, f.read().strip()))
        except OSError:
            pass
    return ', '.join(said)


def summary(path):
    """The JSON object that a run ended with; None: none."""
    try:
        with open(path, encoding='utf-8') as f:
            return json.loads(f.read().strip().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return None
