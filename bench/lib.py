# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""What the benches share.

A bench makes a Bench, measures what it compares in turns (`turns`), and says each
figure with `figure`: a line of JSON with

  bench, name, value, unit   Sluice's, median of `runs`; `low` and `high` of them
  reference, against         the same of what it is measured against, and what that is
  ratio                      value / reference: median over the turns
  target, met                "ratio >= 0.85", "value <= 60"; whether it holds (quick: null)
  note                       what one has to know

or, with `skip`, a line with `skipped`: why a figure is not there. Every bench takes
--quick (small sizes, one turn: it shows that the bench works, and measures nothing),
--runs N, --build FOLDER and --folder DIR (where on a disk files are made).

All that was made is removed at the end, and every process started here is gone.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(HERE)
MIB = 1 << 20
GIB = 1 << 30
HOLDS = {'>=': lambda a, b: a >= b, '<=': lambda a, b: a <= b, '<': lambda a, b: a < b}


class Done:
    """What a process printed, and what it took."""

    def __init__(self, out, err, seconds, cpu, status):
        self.out, self.err, self.seconds, self.cpu, self.status = out, err, seconds, cpu, status

    def json(self):
        return json.loads(self.out)


def run(command, timeout=600, check=True, env=None, cwd=None):
    """Run it to its end. Times are of the whole process; cpu with its children."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   env=env, cwd=cwd)
        deadline = signal.setitimer(signal.ITIMER_REAL, timeout)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, *deadline)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        done = Done(out.read().decode(errors='replace'), err.read().decode(errors='replace'),
                    seconds, used.ru_utime + used.ru_stime, process.returncode)
    if check and done.status != 0:
        raise RuntimeError('%s: exit status %d: %s' % (' '.join(map(str, command)), done.status,
                                                       done.err[-2000:]))
    return done


def out_of_time(_signal, _frame):
    raise TimeoutError('a bench took too long')


def ended(_signal, _frame):
    sys.exit(143)


def middle(values):
    return statistics.median(values)


def rounded(value):
    """Four digits that count."""
    return value if value is None or value == 0 else float('%.4g' % value)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Bench:
    def __init__(self, name, options=()):
        parser = argparse.ArgumentParser(description=sys.modules['__main__'].__doc__,
                                         formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument('--quick', action='store_true', help='small sizes, one turn')
        parser.add_argument('--runs', type=int, default=0, help='turns')
        parser.add_argument('--build', default=os.environ.get('top_builddir') or
                            os.path.join(TOP, 'build'))
        parser.add_argument('--folder', default=os.environ.get('TMPDIR') or '/var/tmp',
                            help='on a disk')
        for option, settings in options:
            parser.add_argument(option, **settings)
        self.options = parser.parse_args()
        self.name, self.quick = name, self.options.quick
        self.build = os.path.realpath(self.options.build)
        self.sluice = os.environ.get('SLUICE') or os.path.join(self.build, 'sluice')
        self.undo = []
        self.ram = None

    def __enter__(self):
        signal.signal(signal.SIGALRM, out_of_time)
        signal.signal(signal.SIGTERM, ended)
        self.disk = self.make_folder(self.options.folder)
        if os.path.isdir('/dev/shm'):
            self.ram = self.make_folder('/dev/shm')
        # Nothing outside matters: runs, slots and keys are of this bench alone.
        os.environ['XDG_RUNTIME_DIR'] = os.path.join(self.disk, 'run')
        os.environ['SLUICE_SLOTS_DIR'] = os.path.join(self.disk, 'slots')
        os.environ['SLUICE'] = self.sluice
        os.environ.pop('SLUICE_KEY', None)
        for folder in ('run', 'slots'):
            os.mkdir(os.path.join(self.disk, folder), 0o700)
        return self

    def __exit__(self, *_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for action in reversed(self.undo):
            action()

    def make_folder(self, within):
        folder = tempfile.mkdtemp(prefix='bench-', dir=within)
        self.undo.append(lambda: shutil.rmtree(folder, ignore_errors=True))
        return folder

    def runs(self, usual):
        return self.options.runs or (1 if self.quick else usual)

    def built(self, name):
        path = os.path.join(self.build, name)
        if not os.path.exists(path):
            sys.exit('%s: %s is missing: make bench-programs' % (self.name, path))
        return path

    # ---- what is measured

    def raw(self, *words, timeout=600):
        """One of bench/raw.c; its JSON."""
        return run([self.built('bench/raw'), *map(str, words)], timeout).json()

    def job(self, name, folder=None, kernel=None, **params):
        """A job file for bench/bulk.c or another kernel. With a folder (a share) the
        kernel is copied there."""
        kernel = kernel or self.built('bench/bulk.so')
        if folder:
            kernel = shutil.copy(kernel, folder)
        path = os.path.join(folder or self.disk, name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write('kernel = %s\n' % kernel)
            for key, value in params.items():
                f.write('%s = %s\n' % (key, value))
        return path

    def sluice_run(self, job, output, *more, timeout=600, keep=False, env=None, check=True,
                   before=()):
        """A run to its end; the output is removed. Its summary, with `wall` and `cpu`."""
        try:
            done = run([*before, self.sluice, 'run', job, '-q', '--json', '-o', output, *more],
                       timeout, check, dict(os.environ, **(env or {})))
        finally:
            if not keep:
                remove(output)
        said = done.json()
        said.update(wall=done.seconds, cpu=done.cpu, err=done.err)
        return said

    def faults_build(self):
        """The folder of a build with --enable-faults: that of --faults, or --build if it is
        one, or one that is made for this (a minute); None if it was not to be made."""
        made = os.path.join(self.build, 'bench-faults')
        for build in (self.options.faults, self.build, made):
            if build and has_faults(build) and os.path.exists(os.path.join(build, 'sluice')):
                if build == made:
                    run(['make', '-s', '-j2', 'sluice'], cwd=build)
                return build
        if self.quick:
            return None
        os.makedirs(made, exist_ok=True)
        run([os.path.join(TOP, 'configure'), '--enable-faults'], cwd=made)
        run(['make', '-s', '-j2', 'sluice'], cwd=made)
        return made

    def swarm(self, nodes, items, kib, at_once, every=True, timeout=300):
        """A run of `items` of so many KiB each over simulated nodes with `at_once` tasks at a
        time (tests/tools/swarm.c): its summary, and what the swarm says."""
        folder = self.make_folder(self.ram or self.disk)
        share, endpoints = os.path.join(folder, 'share'), os.path.join(folder, 'nodes')
        os.mkdir(share, 0o755)
        run([self.sluice, 'init', share])
        job = self.job('job.ini', share, self.built('tests/kernels/swarm_kernel.so'),
                       items=items, item_kib=kib, items_per_task=1)
        played = subprocess.Popen(
            [self.built('tests/tools/swarm'), share + '/.sluice/cluster.key', endpoints,
             str(nodes), str(at_once)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        try:
            assert played.stdout.readline() == 'listening\n'
            said = self.sluice_run(job, os.path.join(folder, 'out.h5'), '--nodes', endpoints,
                                   '--no-local', timeout=timeout)
            told = json.loads(played.communicate(timeout=30)[0])
        finally:
            if played.poll() is None:
                played.kill()
                played.wait()
        assert told['nodes'] == nodes or not every, told
        assert said['done'] == items, said
        return said, told

    def share(self, *more, slots=2):
        """A share in which a node runs on this machine, reached over tcp."""
        return Share(self, slots, more)

    @staticmethod
    def turns(runs, **measured):
        """Call each in turn, `runs` times; what they returned, as lists by name."""
        got = {name: [] for name in measured}
        for turn in range(runs):
            order = list(measured)
            for name in order if turn % 2 == 0 else reversed(order):
                got[name].append(measured[name]())
        return got

    # ---- what is said

    def figure(self, name, values, unit, references=None, against='', target='', note='',
               better='more', spread=None):
        values = values if isinstance(values, list) else [values]
        value = middle(values)
        line = {'bench': self.name, 'name': name, 'value': rounded(value), 'unit': unit,
                'low': rounded(min(values)), 'high': rounded(max(values)), 'runs': len(values),
                'reference': None, 'against': against, 'ratio': None, 'target': target,
                'met': None, 'better': better}
        if spread:  # lowest, highest and number of what was a median already
            line.update(low=rounded(spread[0]), high=rounded(spread[1]), runs=spread[2])
        ratio = None
        if references is not None:
            references = references if isinstance(references, list) else [references]
            if len(references) == len(values):
                ratio = middle([a / b for a, b in zip(values, references)])
            else:
                ratio = value / middle(references)
            line.update(reference=rounded(middle(references)), ratio=rounded(ratio),
                        reference_low=rounded(min(references)),
                        reference_high=rounded(max(references)))
        if target and not self.quick:
            what, relation, bound = target.split()
            line['met'] = HOLDS[relation](ratio if what == 'ratio' else value, float(bound))
        if note:
            line['note'] = note
        if self.quick:
            line['quick'] = True
        print(json.dumps(line), flush=True)

    def skip(self, name, why):
        print(json.dumps({'bench': self.name, 'name': name, 'skipped': why}), flush=True)


def remove(path):
    for name in (path, path + '.lock'):
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass


def has_faults(build):
    try:
        with open(os.path.join(build, 'config.h'), encoding='utf-8') as f:
            return '#define ENABLE_FAULTS 1' in f.read()
    except OSError:
        return False


class Share:
    """A folder with a key, and a node of it on 127.0.0.1."""

    def __init__(self, bench, slots, more):
        self.bench = bench
        self.folder = bench.make_folder(bench.options.folder)
        os.chmod(self.folder, 0o755)
        run([bench.sluice, 'init', self.folder])
        port = free_port()
        self.endpoint = 'tcp://127.0.0.1:%d' % port
        self.log = os.path.join(self.folder, 'node.log')
        who = ['--user', 'root'] if os.geteuid() == 0 else []
        with open(self.log, 'wb') as log:
            self.node = subprocess.Popen(
                [bench.sluice, 'node', self.folder, '--no-beacon', '--interface', 'lo',
                 '--slots', str(slots), '--ports', '%d-%d' % (port, port + 200), *who, *more],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        bench.undo.append(self.end)
        until = time.monotonic() + 20
        while 'waiting for runs' not in self.said():
            if self.node.poll() is not None or time.monotonic() > until:
                raise RuntimeError('no node: ' + self.said())
            time.sleep(0.02)

    def said(self):
        with open(self.log, encoding='utf-8', errors='replace') as f:
            return f.read()

    def run(self, job, output, *more, **settings):
        return self.bench.sluice_run(job, output, '--node', self.endpoint, *more, **settings)

    def end(self):
        if self.node.poll() is None:
            self.node.send_signal(signal.SIGINT)
            try:
                self.node.wait(15)
            except subprocess.TimeoutExpired:
                self.node.kill()
                self.node.wait()
