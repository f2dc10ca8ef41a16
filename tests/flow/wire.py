#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Nothing lost on the wire: each type of message, and each piece of results, is lost
once, comes twice, comes late and comes after every deadline; connections are reset
in the middle of a piece, fall silent, and change a byte. The run goes on, with the same digest;
nothing that was granted is missing at the end, no task is waited for, no process
and no file is left.

  wire.py [PART-OF-A-NAME]

With SLUICE_TEST_SCALE=small each fault meets one kind of node, embedded or over tcp,
else both; deadlines are a fifth of those of everyday (speed=5, proto/faults.h).
WIRE_TIMES=1 prints how long each took.
"""
import os
import signal
import sys
import time

import libflow
import libwire
from libwire import CONTENT, SPEED, wait_for

ACTIONS = {'drop': 'drop', 'double': 'double', 'late': 'delay', 'delay': 'delay'}
LATE = {'late': ':1000', 'delay': ''}
PLAIN = dict(items_per_task=5, sleep_us=5000)
HANG = dict(PLAIN, mode='hang', at=31)
LONG = dict(items_per_task=5, sleep_us=40000)

# The message, which one of its type, the job, what else goes wrong, what is done
# meanwhile.
FAULTS = [
    ('HELLO', 1, PLAIN, '', None),
    ('WELCOME', 1, PLAIN, '', None),
    ('SLOTS', 1, PLAIN, '', None),
    ('ASSIGN', 1, PLAIN, '', None),
    ('ASSIGN', 3, PLAIN, '', None),
    ('OFFER', 1, PLAIN, '', None),
    ('OFFER', 3, PLAIN, '', None),
    ('CREDIT', 1, PLAIN, '', None),
    ('CREDIT', 3, PLAIN, '', None),
    ('PIECE', 1, PLAIN, '', None),
    ('PIECE', 12, PLAIN, '', None),         # the last
    ('master.PING', 2, LONG, '', None),
    ('node.PONG', 2, LONG, '', None),
    ('master.BYE', 1, PLAIN, '', None),
    ('FAILED', 1, dict(PLAIN, mode='first fail', at=31), '', None),
    ('SHED', 1, dict(mode='slow', at=8, sleep_us=5000), '', None),
    ('REVOKE', 1, HANG, '', 'cancel'),
    ('RESYNC', 1, PLAIN, 'drop:PIECE:2', None),
    ('WELCOME', 2, PLAIN, 'drop:PIECE:2', None),
    ('node.BYE', 1, PLAIN, 'drop:ASSIGN:2', None),
    ('node.PING', 1, LONG, 'stop:master.ASSIGN:3', 'stop'),
    ('master.PONG', 1, LONG, 'stop:master.ASSIGN:3', 'stop'),
]


def start(case, params, faults, tcp, slots):
    """Master and node, with the same list of faults."""
    if params.get('mode', '').startswith('first'):
        params = dict(params, marker=case.dir + '/marker')
    if not tcp:
        case.start(case.job(**params), '--no-network', '--cores', str(slots), faults=faults)
        return
    case.make_share()
    port = case.start_node(faults, slots)
    case.start(case.job(**params), '--node', 'tcp://127.0.0.1:%d' % port, faults=faults)


def stop_master(case):
    """It stopped itself: silent for so long that its node asks, and no longer."""
    wait_for('it stops', lambda: libwire.is_stopped(case.master.pid))
    time.sleep(4.5 / SPEED)
    case.master.send_signal(signal.SIGCONT)


MEANWHILE = {'cancel': libwire.Case.cancel_hanging, 'stop': stop_master, None: lambda _: None}


def one_fault(fault, action, tcp, want):
    kind, n, params, more, meanwhile = fault
    word = '%s:%s:%d%s' % (ACTIONS[action], kind, n, LATE.get(action, ''))
    slots = {'REVOKE': 1}.get(kind, 2)

    def function(case):
        start(case, params, word + ',' + more, tcp, slots)
        MEANWHILE[meanwhile](case)
        summary = case.end('failed' if kind == 'REVOKE' else 'complete')
        assert summary['digest'] == want[kind == 'REVOKE'], 'digest'
        told = ' fault: %s %s %d' % (ACTIONS[action], kind.split('.')[-1], n)
        assert told in case.said(), 'the fault did not strike'
    return '%s-%s-%s' % (word, action, 'tcp' if tcp else 'ipc'), function


def broken_connection(action, control, after, want):
    """A relay in between breaks a connection after so many bytes."""
    def function(case):
        case.make_share()
        first, relay = libwire.relayed_node(case, action, control, after)
        try:
            case.start(case.job(**(LONG if control else PLAIN)), '--node',
                       'tcp://127.0.0.2:%d' % first)
            summary = case.end()
            assert summary['digest'] == want[0], 'digest'
            assert relay.struck.is_set(), 'nothing was broken'
        finally:
            relay.close()
    return '%s-%s-%d' % (action, 'control' if control else 'data', after), function


def at_random(seed, tcp, want, struck):
    def function(case):
        start(case, LONG, 'seed=%d,rate=0.1' % seed, tcp, 2)
        summary = case.end()
        assert summary['digest'] == want[0], 'digest'
        struck[seed] = case.said().count(' fault: ')
    return 'seed-%d-%s' % (seed, 'tcp' if tcp else 'ipc'), function


def main():
    with libflow.Place() as place:
        libwire.require_faults(place)
        want = libwire.digests(place, HANG)
        cases, struck = [], {}
        for i, fault in enumerate(FAULTS):
            for j, action in enumerate(ACTIONS):
                for tcp in (False, True):
                    if not place.small or (i + j) % 2 == tcp:
                        cases.append(one_fault(fault, action, tcp, want))
        for after in (3000, 200000):
            for action in ('reset', 'silence'):
                cases.append(broken_connection(action, False, after, want))
        # Anywhere in a piece: its framing, header or payload (invariant I7).
        for after in (300, 1000, 3000, 40000, 200000, 300000):
            cases.append(broken_connection('flip', False, after, want))
        for after in (500, 1500):   # in the middle of WELCOME, and later
            for action in ('reset', 'silence'):
                cases.append(broken_connection(action, True, after, want))
        for seed in range(1, 3 if place.small else 11):
            cases.append(at_random(seed, seed % 2 == 0, want, struck))
        if len(sys.argv) > 1:
            cases = [c for c in cases if sys.argv[1] in c[0]]
        # Most of the time they wait.
        libwire.run_cases(place, cases, int(os.environ.get('WIRE_AT_ONCE', '6')))
        assert len(sys.argv) > 1 or sum(struck.values()) >= len(struck), struck
        print('wire: %d cases, all right' % len(cases))


main()
