#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""What befalls a master, besides its death (killsweep.py), a full disk (diskfull.sh) and
the loss of its nodes (lan/test_loss.sh): it is stopped for longer than its nodes wait,
its output is deleted or renamed under it, the clock jumps by an hour. All at the same
time, each run in a place of its own.
"""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

import libflow

ITEMS = 900
checks = 0


def ok(what, true):
    global checks
    checks += 1
    assert true, what


def wait_for(what, condition, seconds=120):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)
    ok(what, True)


def begun(p, run, output):
    """Something is in the file."""
    def some():
        assert run.poll() is None, run.communicate()
        try:
            return len(libflow.look(output, rows=False)['items']) > 20
        except OSError:
            return False
    wait_for('nothing is done', some)


def start(p, name, ahead=None, **params):
    params = {'items': ITEMS, 'rows': 20, 'vary': 1, 'bulk_kib': 4, 'sleep_us': 8000,
              'items_per_task': 10, **params}
    job = p.job(name + '.ini', **params)
    output = p.path(name + '.h5')
    env = {}
    if ahead:
        env = {'LD_PRELOAD': os.path.join(p.built, 'tests/preload/clockjump.so'),
               'SLUICE_CLOCK': ahead}
        assert os.path.exists(env['LD_PRELOAD'])
        env['ASAN_OPTIONS'] = p.env['ASAN_OPTIONS'] + ':verify_asan_link_order=0'
    run = p.start(job, output, '--cores', '2', **env)
    begun(p, run, output)
    return run, output


def complete(p, run, output, digest):
    out, err = run.communicate(timeout=300)
    ok('exit status %d: %s' % (run.returncode, err), run.returncode == 0)
    said = json.loads(out)
    ok('digest %s, not %s' % (said['digest'], digest), said['digest'] == digest)
    ok('status', libflow.look(output)['status'] == 'complete')
    verify = p.sluice('verify', output)
    ok(verify.stderr, verify.returncode == 0)
    nothing_left(p)
    return said, err


def nothing_left(p):
    p.wait_gone(60)
    left = [f for sub in ('tmp', 'run') for f in os.listdir(p.path(sub)) if f != 'sluice']
    ok('left: %s' % left, not left)


def held(p, name):
    """A run that is stopped in its midst, however busy the machine is."""
    for factor in (1, 2, 4, 8, 16):
        run, output = start(p, name, sleep_us=8000 * factor)
        os.kill(run.pid, signal.SIGSTOP)
        if len(libflow.look(output, rows=False)['items']) < 0.7 * ITEMS:
            return run, output
        os.kill(run.pid, signal.SIGCONT)
        run.communicate(timeout=300)
        os.unlink(output)
    raise AssertionError('a run is always over before it can be stopped')


# Longer than its nodes wait (8 s), longer than it waits for them (10 s), and longer
# than a run may be without nodes (30 s: only with `master_faults.py 32`).
STOPPED = float(sys.argv[1]) if len(sys.argv) > 1 else 12


def stopped(p, digest):
    """It stands still: its nodes end its run, and begin it anew when it is back."""
    run, output = held(p, 'stopped')
    began = time.monotonic()
    def alone():                            # master, agent, spawner
        return len(p.processes()) <= 3
    wait_for('its workers live on', alone)
    took = time.monotonic() - began
    time.sleep(max(0, STOPPED - took))
    os.kill(run.pid, signal.SIGCONT)
    said, err = complete(p, run, output, digest)
    ok('it says so: ' + err, 'stood still for' in err)
    ok('retried', said['retried'] >= 1)
    print('workers of a stopped master were gone after %.1f s' % took)


def deleted(p, _digest):
    """Its output is removed, renamed, replaced: nothing that nobody finds is computed."""
    os.mkdir(p.path('folder'))
    for how in ('removed', 'renamed', 'replaced', 'with its folder'):
        run, output = held(p, os.path.join('folder', 'moved') if 'folder' in how else how)
        if how == 'removed':
            os.unlink(output)
            gone = time.monotonic()
        elif 'folder' in how:
            os.rename(os.path.dirname(output), p.path('elsewhere'))
        else:
            os.rename(output, p.path('elsewhere.h5'))
        if how == 'replaced':
            with open(output, 'w', encoding='ascii') as f:
                f.write('mine')
        os.kill(run.pid, signal.SIGCONT)
        out, err = run.communicate(timeout=300)
        lines = [line for line in err.splitlines() if 'stood still' not in line]
        ok('%s: exit status %d: %s' % (how, run.returncode, err), run.returncode == 4)
        ok('%s: one line: %s' % (how, err), len(lines) == 1)
        if how == 'removed':
            took = time.monotonic() - gone
            print('a removed output was noticed after %.1f s' % took)
        ok(err, ('removed it' if how == 'removed' else 'renamed or replaced it') in err)
        if how != 'removed':
            now = p.path('elsewhere/moved.h5' if 'folder' in how else 'elsewhere.h5')
            ok(err, now in err)
            verify = p.sluice('verify', now)
            ok(verify.stderr, verify.returncode == 0)
            os.unlink(now)
        if how == 'replaced':
            with open(output, encoding='ascii') as f:
                ok('what is there now is not touched', f.read() == 'mine')
        ok('a lock is left', not os.path.exists(output + '.lock'))
        nothing_left(p)


def clock(p, digest):
    """The wall clock of all processes jumps, forward and back."""
    ahead = p.path('ahead')
    run, output = start(p, 'clock', ahead, sleep_us=20000)
    jumps = 0
    for seconds in (3600, -3600, 0):
        with open(ahead + '.new', 'w', encoding='ascii') as f:
            f.write('%d' % seconds)
        os.rename(ahead + '.new', ahead)
        at = len(libflow.look(output, rows=False)['items'])
        jumps += run.poll() is None
        wait_for('nothing is done after a jump', lambda: run.poll() is not None or len(
            libflow.look(output, rows=False)['items']) > at)
    ok('it was over before the clock jumped', jumps >= 1)
    said, err = complete(p, run, output, digest)
    ok('seconds: %s' % said['seconds'], 0 < said['seconds'] < 1000)
    ok('it says nothing: ' + err, err == '')
    # The preload is not just ignored.
    env = dict(p.env, LD_PRELOAD=os.path.join(p.built, 'tests/preload/clockjump.so'),
               SLUICE_CLOCK=ahead)
    with open(ahead, 'w', encoding='ascii') as f:
        f.write('7200')
    now = int(subprocess.run(['date', '+%s'], env=env, check=True, text=True,
                             stdout=subprocess.PIPE).stdout)
    ok('the clock did not jump', 7100 < now - time.time() < 7300)


def main():
    began = time.monotonic()
    wrong = []
    with libflow.Place() as first:
        params = dict(items=ITEMS, rows=20, vary=1, bulk_kib=4)
        digest = first.run(first.job('right.ini', **params), first.path('right.h5'),
                           '--serial')['digest']

        def one(what):
            try:
                with libflow.Place() as p:
                    what(p, digest)
            except BaseException:
                wrong.append('%s: %s' % (what.__name__, traceback.format_exc()))
        # signal handlers are set by the main thread alone: Place does that
        threads = [threading.Thread(target=one, args=(what,))
                   for what in (stopped, deleted, clock)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong, '\n'.join(wrong)
    print('master_faults: %d checks, all right, in %.0f s' % (
        checks, time.monotonic() - began))


if __name__ == '__main__':
    main()
