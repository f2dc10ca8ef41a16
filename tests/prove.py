#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Shows that the tests of the invariants can fail: breaks, in a copy of the tree,
the mechanism that each invariant rests on, one after the other, and runs a test
that is to notice it.

  tests/prove.py [--keep FOLDER] [I1 I2 ...]
  tests/prove.py --found      only whether each mechanism is found in the source

Takes about ten minutes; the tests on a LAN need root. Prints for each what was
broken and how the test failed; exits 1 if a test passed all the same, or if the
source has changed so that a mechanism is not found any more (mend BREAKS then).
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

# Invariant, what is broken, test, and in files: text, text instead.
BREAKS = [
    ('I1', 'the gate grants without looking at the window', 'flow/swarm.py',
     [('master/gate.c', 'return used + size <= (used == 0 ? self->window : open);',
       'return used + size + open > 0;')]),
    ('I2', "workers get segments without regard to the outbox", 'flow/bounded.sh',
     [('node/session.c', 'self->segments = each > MOST_SEGMENTS ? MOST_SEGMENTS : (unsigned) each;',
       'self->segments = each ? MOST_SEGMENTS : 2;')]),
    ('I3', 'the ledger takes a task that it has already', 'unit/test_writer',
     [('master/writer_pieces.c', 'if (attempts_finished (self->attempts, piece->task))',
       'if (false)')]),
    ('I3', 'what a lost node had delivered is computed again, and taken again',
     'unit/test_sched',
     [('master/sched.c', 'if (last->delivered && list_add (&self->orphans, *last) == 0) {',
       'if (last->delivered && false) {')]),
    ('I4', 'all runs have one id and one token', 'lan/test_stale.sh',
     [('master/job.c', 'random_bytes (self->run, sizeof self->run);',
       'memset (self->run, 7, sizeof self->run);'),
      ('master/link.c', 'l->token = random_name (self, l);',
       'l->token = (uint64_t) (l - self->links) << LINK_NUMBER_AT | 7;')]),
    ('I5', 'the superblock is written without waiting for the data', 'flow/writer_sweep.py',
     [('master/syncer.c', 'if (fdatasync (self->fd) < 0)', 'if (false)')]),
    ('I6', 'the digest depends on the order of tasks', 'flow/digest.sh',
     [('proto/digest.c', 'uint64_t low = get_u64 (sum) + get_u64 (value);',
       'uint64_t low = 3 * get_u64 (sum) + get_u64 (value);')]),
    ('I7', 'every key is admitted', 'unit/test_zap',
     [('proto/zap.c', 'bool admitted = is_admitted (self, &request);',
       'bool admitted = is_admitted (self, &request) || true;')]),
    ('I8', 'paths may lead out of the share', 'unit/test_share',
     [('proto/share.c', '.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,',
       '.resolve = RESOLVE_NO_MAGICLINKS,')]),
    ('I8', 'code is loaded whatever its hash', 'unit/test_kernel_host',
     [('calc/kernel_load.c', 'else if (hash && memcmp (hash, self->hash, FILE_HASH_BYTES) != 0)',
       'else if (hash && self->fd < 0)')]),
    ('I9', 'what a dead run leaves behind is not killed', 'unit/test_nursery',
     [('node/spawner.c', 'int left = proctree_kill (getpid (), false, spare, n);',
       'int left = 0;')]),
    ('I10', 'a share that hangs is waited for without a deadline', 'lan/test_hang.sh',
     [('proto/within.c', 'if (clock_ms () > end) {', 'if (clock_ms () > end && false) {')]),
    ('I10', 'a run told to end twice waits for its last state', 'flow/deaf_disk.sh',
     [('master/run.c', 'if (self->phase == PHASE_FINISH && now - last >= AGAIN_MS)',
       'if (self->phase == PHASE_FINISH && now < last)')]),
    ('I10', 'a silent master is waited for without a deadline', 'unit/test_agent',
     [('node/session.c', 'if (now - self->heard > faults_ms (SILENCE_MS)) {',
       'if (now - self->heard > faults_ms (SILENCE_MS) && false) {')]),
]
SECONDS = 300
# Programs that scripts run, and that hold what is broken.
TOOLS = ['tests/tools/writer_play', 'tests/tools/swarm']


def run(folder, *words, **env):
    return subprocess.run(words, cwd=folder, env=dict(os.environ, **env), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)


def must(folder, *words):
    done = run(folder, *words)
    if done.returncode:
        sys.exit('%s: %s' % (' '.join(words), done.stdout[-2000:]))


def copy_tree(top, to):
    files = run(top, 'git', 'ls-files', '-z').stdout.split('\0')
    for name in filter(None, files):
        path = os.path.join(to, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy2(os.path.join(top, name), path)
    must(to, 'autoreconf', '-fi')
    os.mkdir(to + '/build')
    must(to + '/build', '../configure', 'CFLAGS=-O1')
    must(to + '/build', 'make', '-s', '-j2')
    must(to + '/build', 'make', '-s', 'check', 'TESTS=')


def swap(tree, edits):
    """Apply the edits; returns what undoes them, or None."""
    undo = []
    for name, old, new in edits:
        path = os.path.join(tree, name)
        with open(path, encoding='utf-8') as f:
            text = f.read()
        undo.append((path, text))
        if text.count(old) != 1:
            return undo, False
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text.replace(old, new))
    return undo, True


def run_test(tree, test):
    """Its exit status and output; killed with all its children when it hangs."""
    build = tree + '/build'
    env = dict(os.environ, SLUICE=build + '/sluice', top_srcdir=tree, top_builddir=build,
               PYTHON=sys.executable, SLUICE_TEST_DATA=tree + '/tests/data',
               SLUICE_TEST_SCALE='small', PYTHONDONTWRITEBYTECODE='1')
    path = tree + '/tests/' + test
    words = {'.py': [sys.executable, path], '.sh': ['bash', path]}.get(
        os.path.splitext(test)[1], [build + '/tests/' + test])
    process = subprocess.Popen(words, cwd=build, env=env, text=True, errors='replace',
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            out, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
        out += '\nit hung for %d s' % SECONDS
    return process.returncode, out


def why(out):
    """The line of its output that says how it failed."""
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    for words in ('FAILED', 'AssertionError: ', '[FAIL]', 'Error', 'hung'):
        for line in lines:
            if words in line:
                return line[:160]
    return lines[-1][:160] if lines else 'no word'


def prove(tree, invariant, what, test, edits):
    undo, found = swap(tree, edits)
    try:
        if not found:
            return 'NOT FOUND in the source: mend BREAKS'
        must(tree + '/build', 'make', '-s', '-j2')
        targets = ['tests/' + test] if test.startswith('unit/') else TOOLS
        must(tree + '/build', 'make', '-s', *targets)
        status, out = run_test(tree, test)
        return None if status not in (0, 77, 99) else \
            'PASSED all the same (status %d)' % status, why(out)
    finally:
        for path, text in undo:
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)


def lost(top):
    """What BREAKS cannot break any more, since the source has changed."""
    for invariant, what, _, edits in BREAKS:
        for name, old, _ in edits:
            with open(os.path.join(top, name), encoding='utf-8') as f:
                if f.read().count(old) != 1:
                    yield '%-4s %s: not found in %s: mend BREAKS' % (invariant, what, name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--keep', help='work in this folder, and leave it')
    parser.add_argument('--found', action='store_true')
    parser.add_argument('invariants', nargs='*')
    args = parser.parse_args()
    top = os.path.realpath(os.path.join(os.path.dirname(__file__), '..'))
    if args.found:
        missing = list(lost(top))
        print(*missing, sep='\n')
        return 1 if missing else 0
    tree = args.keep or tempfile.mkdtemp(prefix='prove-')
    bad = 0
    try:
        if not os.path.exists(tree + '/build/sluice'):
            copy_tree(top, tree)
        for invariant, what, test, edits in BREAKS:
            if args.invariants and invariant not in args.invariants:
                continue
            result = prove(tree, invariant, what, test, edits)
            failed = isinstance(result, str) or result[0]
            bad += bool(failed)
            print('%-4s %s\n     %s: %s' % (invariant, what, test,
                  result if isinstance(result, str) else result[0] or result[1]), flush=True)
    finally:
        if not args.keep:
            shutil.rmtree(tree, ignore_errors=True)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
