#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""wire - a long and lossy wire, where the kernel has no netem.

  wire.py INTERFACE OTHER DELAY_MS LOSS_PERCENT SEED

Carries every frame that comes in at one interface to the other and back, so much later,
and loses some. `wire.py plain INTERFACE` makes the interface send whole packets with
their checksums, as a network card would: frames that are carried must have them.
"""
import collections
import ctypes
import fcntl
import random
import select
import socket
import struct
import sys
import time

SIOCETHTOOL = 0x8946
# ETHTOOL_STXCSUM, _STSO, _SGSO: checksums and segments that the card would make.
OFFLOADS = (0x17, 0x1f, 0x24)
ALL, OUTGOING = 3, 4                    # ETH_P_ALL, PACKET_OUTGOING
MOST = 1000                             # frames under way; a longer queue drops


def plain(interface):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for command in OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack('II', command, 0))
            request = struct.pack('16sP', interface.encode(), ctypes.addressof(value))
            fcntl.ioctl(s, SIOCETHTOOL, request)


def port(interface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
    s.bind((interface, ALL))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    s.setblocking(False)
    return s


def carry(one, other, delay, loss, rng):
    ports = (port(one), port(other))
    print('carrying', flush=True)
    under_way = collections.deque()     # (when, to, frame), in order: one delay for all
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, to, frame = under_way.popleft()
            try:
                to.send(frame)
            except OSError:
                pass                    # too long, or no room: lost
        wait = under_way[0][0] - now if under_way else 1
        for s in select.select(ports, [], [], max(wait, 0))[0]:
            for _ in range(64):
                try:
                    frame, where = s.recvfrom(1 << 16)
                except BlockingIOError:
                    break
                if where[2] == OUTGOING or len(under_way) >= MOST or rng.random() < loss:
                    continue
                under_way.append((time.monotonic() + delay,
                                  ports[1] if s is ports[0] else ports[0], frame))


if __name__ == '__main__':
    if sys.argv[1] == 'plain':
        plain(sys.argv[2])
    else:
        carry(sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000,
              float(sys.argv[4]) / 100, random.Random(int(sys.argv[5])))
