#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""A setting may make a run slow, never wrong and never stuck: runs with random
settings (windows of one byte to a TiB, ten thousand slots, an outbox smaller than a
piece, ...) give the same digest, or one line that says what cannot be, with exit
status 2. Nothing hangs, nothing is left.

  settings.py [N [SEED]]

N runs (25; the full test is 200) with seeds SEED (1), SEED + 1, ...; the same seed
gives the same settings. A few extreme ones come first.
"""
import concurrent.futures
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import libflow

PATIENCE = 300
CONTENT = {'items': 200, 'rows': 3, 'bulk_kib': 4}
ITEMS = 40      # of map


def size(r, least=21, most=40):
    """Bytes, of any magnitude but mostly such as will do, said in one of the ways in
    which sizes are."""
    n = int(2 ** r.uniform(0 if r.random() < 0.15 else least, most))
    unit, letter = r.choice([(1, ''), (1 << 10, 'K'), (1 << 20, 'M'), (1 << 30, 'G')])
    return '%d%s' % (n // unit, letter) if n >= unit else str(n)


def number(r, least, most):
    return str(round(least * (most / least) ** r.random()))


def one_of(r, *draws):
    return r.choice(draws)()


def common(r):
    """Options of run and map."""
    return {
        '--window': lambda: size(r),
        '--outbox': lambda: size(r),
        '--memory': lambda: size(r),
        '--cores': lambda: number(r, 1, 10000),
        '--write-rate': lambda: str(int(2 ** r.uniform(20, 40))),
        '--disk-wait': lambda: number(r, 1, 1e12),
        '--confine': lambda: None,
        '--fail-fast': lambda: None,
        '--serial': lambda: None,
        '--no-network': lambda: None,
        '--trace': lambda: 'trace',
    }


def of_map(r):
    return {
        '--retries': lambda: number(r, 1, 1e6),
        '--timeout': lambda: number(r, 60, 1e9),
        '--cores-per-task': lambda: number(r, 1, 10000),
        '--max-row': lambda: size(r),
        '--env': lambda: 'HOME',
        '--shell': lambda: None,
        '--no-glob': lambda: None,
    }


def of_job(r):
    return {
        'items_per_task': lambda: one_of(r, lambda: '0', lambda: number(r, 1, 1e18)),
        'crash_limit': lambda: number(r, 1, 1200),
        'memory': lambda: size(r),
        'yield': lambda: '0',
    }


def ports(r):
    first = int(number(r, 1024, 70000))
    return '%d-%d' % (first, first + r.choice([-1, 0, 1, 2, 5, 100]))


def of_node(r):
    return {
        '--slots': lambda: number(r, 1, 10000),
        '--outbox': lambda: size(r),
        '--memory': lambda: size(r),
        '--ports': lambda: ports(r),
        '--scratch': lambda: '.',
        '--confine': lambda: None,
    }


# What cannot be; a few trials have one of these.
WRONG = {
    'run': [('--key', '/nowhere/key'), ('--no-local', None), ('--trace', '/nowhere/trace'),
            ('--seed', 'x'), ('--nodes', '/nowhere'), ('--node', 'tcp://nowhere'),
            ('--disk-wait', '-1')],
    'map': [('--timeout', '-1'), ('--timeout', 'nan'), ('--retries', '-1'),
            ('--cores-per-task', '0'), ('--env', 'A=B'), ('--csv', '/nowhere')],
    'node': [('--interface', 'nowhere0'), ('--scratch', '/nowhere'), ('--ports', '0-0'),
             ('--user', 'nobody-at-all'), ('--key', '/nowhere/key'), ('--slots', '0')],
}


def wrong(r, kind):
    return [w for w in r.choice(WRONG[kind]) if w] if r.random() < 0.12 else []


# Of these each is tried, in full and in small.
EXTREMES = [['--window', '1'], ['--window', '1T'], ['--outbox', '1'], ['--outbox', '1T'],
            ['--outbox', '2M', '--window', '3M'], ['--cores', '4096'], ['--cores', '10000'],
            ['--memory', '1'], ['--window', '0'], ['--cores', '0']]


def draw(r, table, most):
    names = r.sample(sorted(table), r.randint(0, min(most, len(table))))
    return {name: table[name]() for name in names}


def words(options):
    return [w for name, value in options.items() for w in ([name] if value is None
                                                           else [name, value])]


class Trial:
    def __init__(self, place, seed, want):
        self.place, self.seed, self.want = place, seed, want
        self.r = random.Random(seed)
        self.dir = place.path('s%d' % seed)
        for sub in ('', '/run', '/tmp', '/slots'):
            os.mkdir(self.dir + sub, 0o700)
        self.env = dict(place.env, XDG_RUNTIME_DIR=self.dir + '/run',
                        TMPDIR=self.dir + '/tmp', SLUICE_SLOTS_DIR=self.dir + '/slots',
                        SETTINGS=self.dir)
        self.what = ''
        self.node = None

    def job(self, folder, kernel):
        with open(folder + '/job.ini', 'w', encoding='ascii') as f:
            f.write('[general]\nkernel = %s\n' % kernel)
            params = draw(self.r, of_job(self.r), 2)
            for name, value in dict(CONTENT, **params).items():
                f.write('%s = %s\n' % (name, value))
        self.what += ' %s' % params
        return folder + '/job.ini'

    def call(self, args):
        self.what = '%s%s' % (' '.join(args), self.what)
        process = subprocess.Popen([self.place.binary, *args], env=self.env, cwd=self.dir,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise AssertionError('it hangs') from None
        return process.returncode, out, err

    def judge(self, code, out, err, want):
        lines = err.strip().split('\n')
        if code == 2:
            assert len(lines) == 1 and re.match('sluice (run|map|node): .', lines[0]), \
                'not one line: ' + err
            return lines[0]
        assert code == 0, 'exit status %d: %s' % (code, err)
        summary = json.loads(out)
        assert summary['digest'] == want, 'another digest'
        assert summary['unreceived'] == 0 or summary['copies'] > 0, summary
        assert summary['unfinished'] == 0, summary
        return 'the same digest'

    def extreme(self):
        job = self.job(self.dir, self.place.kernel)
        return self.judge(*self.call(['run', job, '-q', '--json', '-o', 'out.h5',
                                      *EXTREMES[-self.seed]]), self.want['run'])

    def run(self):
        args = words(draw(self.r, common(self.r), 4)) + wrong(self.r, 'run')
        job = self.job(self.dir, self.place.kernel)
        return self.judge(*self.call(['run', job, '-q', '--json', '-o', 'out.h5', *args]),
                          self.want['run'])

    def map(self):
        args = words(draw(self.r, dict(common(self.r), **of_map(self.r)), 5)) + \
            wrong(self.r, 'map')
        return self.judge(*self.call(
            ['map', '-q', '--json', '-o', 'out.h5', *args, '--range', '0:%d' % ITEMS, '--',
             'echo']), self.want['map'])

    def with_node(self):
        """A node with settings of its own, reached over tcp."""
        share = self.dir + '/share'
        os.mkdir(share)
        self.place.sluice('init', share)
        shutil.copy(self.place.kernel, share + '/kernel.so')
        options = draw(self.r, of_node(self.r), 4)
        base = {'--user': 'root', '--interface': 'lo'}
        command = ['node', '--no-beacon', *words(dict(base, **options)), *wrong(self.r, 'node'),
                   share]
        log = open(self.dir + '/log', 'w+', encoding='utf-8', errors='replace')
        self.node = subprocess.Popen([self.place.binary, *command], env=self.env,
                                     cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=log)
        self.what = ' '.join(command)
        until = time.monotonic() + PATIENCE

        def said():
            with open(self.dir + '/log', encoding='utf-8', errors='replace') as f:
                return f.read()
        while self.node.poll() is None and 'waiting for runs' not in said():
            assert time.monotonic() < until, 'the node hangs'
            time.sleep(0.02)
        log.close()
        if self.node.poll() is not None:
            return self.judge(self.node.returncode, '', said(), None)
        port = re.findall(r'port (\d+), waiting', said())[-1]
        job = self.job(share, 'kernel.so')
        self.what = ' # ' + self.what
        code, out, err = self.call(['run', job, '-q', '--json', '-o', 'out.h5', '--node',
                                    'tcp://127.0.0.1:' + port])
        if code == 3:   # the node said why: nobody else could know
            assert 'no node can take part: ' in err, err
            return err.strip().split('\n')[-1]
        return self.judge(code, out, err, self.want['run'])

    def close(self):
        if self.node and self.node.poll() is None:
            self.node.send_signal(signal.SIGTERM)
            self.node.wait(PATIENCE)
        until = time.monotonic() + PATIENCE
        while self.left():
            assert time.monotonic() < until, 'processes are left: %s' % self.left()
            time.sleep(0.02)
        for sub in ('/run', '/tmp'):
            left = [n for n in os.listdir(self.dir + sub) if n != 'sluice']
            assert not left, 'left behind: %s' % left
        shutil.rmtree(self.dir)

    def left(self):
        return libflow.marked('SETTINGS=' + self.dir)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    bad, same = [], []
    with libflow.Place() as place:
        whole = place.run(place.job('job.ini', **CONTENT), place.path('whole.h5'),
                          '--cores', '1')
        mapped = place.sluice('map', '-q', '--json', '-o', place.path('map.h5'), '--range',
                              '0:%d' % ITEMS, '--', 'echo')
        want = {'run': whole['digest'], 'map': json.loads(mapped.stdout)['digest']}

        def one(seed):
            trial = Trial(place, seed, want)
            kind = 'extreme' if seed <= 0 else trial.r.choice(['run', 'run', 'map',
                                                               'with_node'])
            began = time.monotonic()
            try:
                verdict = getattr(trial, kind)()
                trial.close()
                same.append(verdict == 'the same digest')
            except Exception as error:      # told below
                verdict = 'WRONG: %s' % error
                bad.append('seed %d: %s\n   %s' % (seed, trial.what, verdict))
            print('%d: %.1f s: %s\n   %s' % (seed, time.monotonic() - began,
                                             trial.what.replace(place.dir, ''),
                                             verdict.replace(place.dir, '')), flush=True)

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            list(pool.map(one, [*range(0, -len(EXTREMES), -1),
                                *range(first, first + count)]))
    if bad:
        print('\n'.join(bad), file=sys.stderr)
        sys.exit(1)
    assert 0 < sum(same) < len(same), 'only one kind of end'
    print('settings: %d runs, %d with the same digest, %d refused' % (
        len(same), sum(same), len(same) - sum(same)))


main()
