#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""A node's agent is killed (kill -9) at each type of message, and in the middle of a
piece that it sends; it is stopped until it is declared dead, and woken; it is started
again under the same address and port. The run ends with the same digest, no process
and no file is left.

  agents.py [PART-OF-A-NAME]

Deadlines are a fifth of those of everyday (speed=5, proto/faults.h).
"""
import os
import signal
import sys

import libflow
import libwire
from libwire import CONTENT, wait_for

PLAIN = dict(items_per_task=5, sleep_us=5000)
HANG = dict(PLAIN, mode='hang', at=31)
FAIL = dict(PLAIN, mode='first fail', at=31)

# When it dies, the job, what else goes wrong.
DEATHS = [
    ('HELLO:1', PLAIN, ''),
    ('WELCOME:1', PLAIN, ''),
    ('SLOTS:1', PLAIN, ''),
    ('SLOTS:3', PLAIN, ''),
    ('ASSIGN:1', PLAIN, ''),
    ('ASSIGN:4', PLAIN, ''),
    ('OFFER:1', PLAIN, ''),
    ('OFFER:4', PLAIN, ''),
    ('CREDIT:1', PLAIN, ''),
    ('CREDIT:4', PLAIN, ''),
    ('PIECE:1', PLAIN, ''),
    ('PIECE:5', PLAIN, ''),
    ('PIECE:12', PLAIN, ''),
    ('PING:1', PLAIN, ''),
    ('PONG:1', PLAIN, ''),
    ('FAILED:1', FAIL, ''),
    ('SHED:1', dict(mode='slow', at=8, sleep_us=5000), ''),
    ('REVOKE:1', HANG, ''),
    ('RESYNC:1', PLAIN, 'drop:PIECE:2'),
    ('WELCOME:2', PLAIN, 'drop:PIECE:2'),
    ('BYE:1', PLAIN, 'drop:ASSIGN:2'),      # which it says
]


def start(case, params, faults, tcp, slots=2):
    """Master and node. Over tcp the node has ports of its own; returns the first."""
    if params.get('mode', '').startswith('first'):
        params = dict(params, marker=case.dir + '/marker')
    if not tcp:
        case.start(case.job(**params), '--no-network', '--cores', str(slots), faults=faults)
        return 0
    case.make_share()
    port = case.start_node_somewhere(4, faults=faults, slots=slots)
    case.start(case.job(**params), '--node', 'tcp://127.0.0.1:%d' % port, faults=faults)
    return port


def only_master(case):
    """All that the agent began is gone, by itself."""
    wait_for('descendants of the agent end', lambda: case.processes() == [case.master.pid])


def again(case, port):
    """The same address and port."""
    case.node.wait(libwire.PATIENCE)
    wait_for('the port is free', lambda: case.start_node(ports=(port, port + 3)) == port)


def death(when, params, more, tcp, want):
    def function(case):
        faults = 'die:node.%s,%s,once=%s' % (when, more, case.dir + '/once')
        if more:    # which is no death, and must not use up the one
            faults = 'die:node.%s,%s' % (when, more)
        hangs = params is HANG
        port = start(case, params, faults, tcp, 1 if hangs else 2)
        if hangs:
            case.cancel_hanging()
        if tcp:
            wait_for('the agent dies', lambda: case.node.poll() is not None)
            assert case.node.returncode == -signal.SIGKILL
            only_master(case)
            again(case, port)
        summary = case.end('failed' if hangs else 'complete')
        assert summary['digest'] == want[hangs], 'digest'
        assert ' fault: die %s' % when.split(':')[0] in case.said(), 'it did not die'
    return 'die-%s-%s' % (when, 'tcp' if tcp else 'ipc'), function


def death_in_mid_frame(after, want):
    """A relay lets half of a piece through; then the agent dies."""
    def function(case):
        case.make_share()
        first, relay = libwire.relayed_node(case, 'silence', False, after)
        try:
            case.start(case.job(**PLAIN), '--node', 'tcp://127.0.0.2:%d' % first)
            relay.struck.wait(libwire.PATIENCE)
            case.node.kill()
            case.node.wait(libwire.PATIENCE)
            only_master(case)
            again(case, first)
            summary = case.end()
            assert relay.struck.is_set() and summary['digest'] == want[0], 'digest'
        finally:
            relay.close()
    return 'mid-frame-%d' % after, function


def sleep_of_death(when, tcp, want):
    """It stops itself, and is woken when the master has given it up."""
    def function(case):
        faults = 'stop:node.%s,once=%s' % (when, case.dir + '/once')
        start(case, PLAIN, faults, tcp)

        def sleeper():
            return [p for p in case.processes() if p != case.master.pid and
                    libwire.is_stopped(p)]
        wait_for('it stops', sleeper)
        pid = sleeper()[0]
        wait_for('it is given up', lambda: 'lost node' in case.said() or
                 'no answer' in case.said())
        os.kill(pid, signal.SIGCONT)
        summary = case.end()
        assert summary['digest'] == want[0], 'digest'
    return 'stop-%s-%s' % (when, 'tcp' if tcp else 'ipc'), function


def main():
    with libflow.Place() as place:
        libwire.require_faults(place)
        want = libwire.digests(place, HANG)
        cases = []
        for i, (when, params, more) in enumerate(DEATHS):
            for tcp in (False, True):
                # An embedded node that is begun again has the same faults, so one that
                # needs two of them is a node over tcp.
                if (tcp or not more) and (not place.small or more or i % 2 == tcp):
                    cases.append(death(when, params, more, tcp, want))
        for after in (2000, 30000, 200000):
            cases.append(death_in_mid_frame(after, want))
        for when in ('HELLO:1', 'ASSIGN:2', 'OFFER:2', 'CREDIT:2', 'PIECE:3', 'PONG:1'):
            for tcp in (False, True):
                cases.append(sleep_of_death(when, tcp, want))
        if len(sys.argv) > 1:
            cases = [c for c in cases if sys.argv[1] in c[0]]
        libwire.run_cases(place, cases, int(os.environ.get('WIRE_AT_ONCE', '6')))
        print('agents: %d cases, all right' % len(cases))


main()
