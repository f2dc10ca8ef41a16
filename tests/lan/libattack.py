#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""What somebody on the LAN can do who has no key: plain sockets, and what can be heard.

  libattack.py capture FILE            write the first beacon that is heard to FILE
  libattack.py beacons FILE            forged, cut, foreign ones; those of FILE again
  libattack.py replay FILE SECONDS     the beacon of FILE again and again
  libattack.py tcp HALF_OPEN HOST:PORT...   all that a TCP port can be sent

Prints what was done. `tcp` prints `open` while it holds its connections, and goes on
when a line comes on standard input.
"""
import random
import resource
import socket
import sys
import threading
import time

BROADCAST = ('10.77.0.255', 5677)
RNG = random.Random(11)


def greeting(mechanism, version=3):
    return b'\xff' + b'\0' * 8 + b'\x7f' + bytes([version, 0]) + \
        mechanism.ljust(20, b'\0') + b'\0' * 32


def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return s


def capture(path):
    s = udp()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(('', BROADCAST[1]))
    s.settimeout(60)
    with open(path, 'wb') as f:
        f.write(s.recv(300))
    print('captured')


def load(path):
    with open(path, 'rb') as f:
        return f.read()


def beacons(path):
    """Every one of these must be dropped; those of the record itself lead nowhere."""
    s, record = udp(), load(path)
    sent = 0

    def send(data):
        nonlocal sent
        s.sendto(data, BROADCAST)
        sent += 1
        if sent % 50 == 0:
            time.sleep(0.002)
    for _ in range(3):
        for n in range(len(record)):                    # cut anywhere
            send(record[:n])
        for n in range(len(record)):                    # changed anywhere
            send(record[:n] + bytes([record[n] ^ (1 << RNG.randrange(8))]) + record[n + 1:])
        for _ in range(200):
            send(RNG.randbytes(RNG.randrange(256)))
            send(record[:4] + RNG.randbytes(RNG.randrange(252)))
            send(record + RNG.randbytes(1))
        for _ in range(500):                            # as it was
            send(record)
    print('beacons', sent)


def replay(path, seconds):
    s, record = udp(), load(path)
    until = time.monotonic() + seconds
    sent = 0
    while time.monotonic() < until:
        s.sendto(record, BROADCAST)
        sent += 1
        if sent % 10 == 0:
            time.sleep(0.002)
    print('replayed', sent)


# ---- TCP -----------------------------------------------------------------------------

def connect(address):
    try:
        return socket.create_connection(address, 5)
    except OSError:
        return None


def send(tcp, data):
    """As much as the other end takes; it may hang up at any time."""
    try:
        tcp.settimeout(1)
        tcp.sendall(data)
    except OSError:
        pass


def garbage(address):
    curve = greeting(b'CURVE')
    claims = [b'\x02' + (2 << 30).to_bytes(8, 'big'),       # a message of 2 GiB
              b'\x06' + (2 << 30).to_bytes(8, 'big'),       # a command of as much
              b'\x03' + (2 ** 63 - 1).to_bytes(8, 'big'),
              b'\x06' + (2 ** 64 - 1).to_bytes(8, 'big'),
              b'\x04\xff', b'\x07\xff', b'\xff' * 9]
    nested = b'\x02' + (100000).to_bytes(8, 'big') + b'\x91' * 100000
    hello = b'\x04\xc8\x05HELLO\x01\x00' + b'\0' * 72 + RNG.randbytes(32 + 8 + 80)
    starts = [b'', b'GET / HTTP/1.0\r\n\r\n', b'\xff', b'\x01\x00', b'\0' * 64,
              b'SSH-2.0-x\r\n', b'\x16\x03\x01\x02\x00\x01', curve, greeting(b'NULL'),
              greeting(b'PLAIN'), greeting(b'GSSAPI'), greeting(b'CURVE', 1),
              greeting(b'PLAIN') + b'\x04\x2e\x05HELLO\x06sluice\x20' + b'x' * 32,
              greeting(b'CURVE', 2), greeting(b'CURVE', 200), curve + hello,
              curve + hello[:50], curve + hello + hello, curve + nested,
              greeting(b'NULL') + b'\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x06DEALER',
              greeting(b'NULL') + nested]
    starts += [curve + c + RNG.randbytes(100) for c in claims]
    starts += [curve + RNG.randbytes(RNG.randrange(4000)) for _ in range(40)]
    starts += [RNG.randbytes(RNG.randrange(4000)) for _ in range(40)]
    done = 0
    for data in starts:
        tcp = connect(address)
        if tcp:
            send(tcp, data)
            tcp.close()
            done += 1
    # Frames as large as one may be, before the handshake: what they cost is bounded.
    held = []
    large = curve + b'\x02' + (4 << 20).to_bytes(8, 'big') + b'\x91' * (3 << 20)
    for _ in range(24):
        tcp = connect(address)
        if tcp:
            send(tcp, large)
            held.append(tcp)
            done += 1
    for tcp in held:
        tcp.close()
    return done


class Loris(threading.Thread):
    """Holds connections that get on by a byte at a time."""

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.addresses = addresses
        self.stop = threading.Event()
        self.opened = 0

    def run(self):
        data = greeting(b'CURVE') + b'\x04\xc8\x05HELLO' + b'\0' * 200
        live = []
        while not self.stop.wait(0.1):
            while len(live) < 10 * len(self.addresses):
                tcp = connect(self.addresses[len(live) % len(self.addresses)])
                if not tcp:
                    break
                self.opened += 1
                live.append([tcp, 0])
            for entry in list(live):
                try:
                    entry[0].send(data[entry[1]:entry[1] + 1] or b'\0')
                    entry[1] += 1
                except OSError:
                    entry[0].close()
                    live.remove(entry)


def half_open(addresses, count):
    held = []
    for i in range(count):
        tcp = connect(addresses[i % len(addresses)])
        if tcp:
            held.append(tcp)
            if i % 3 == 0:
                send(tcp, greeting(b'CURVE'))
    return held


def attack_tcp(count, addresses):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(count, hard - 200)
    loris = Loris(addresses)
    loris.start()
    done = sum(garbage(address) for address in addresses)
    held = half_open(addresses, count)
    print('open', len(held), flush=True)
    sys.stdin.readline()
    loris.stop.set()
    loris.join()
    print('garbage', done, 'half open', len(held), 'slow', loris.opened, flush=True)


def main():
    what, args = sys.argv[1], sys.argv[2:]
    if what == 'capture':
        capture(args[0])
    elif what == 'beacons':
        beacons(args[0])
    elif what == 'replay':
        replay(args[0], float(args[1]))
    else:
        attack_tcp(int(args[0]), [(a.rsplit(':', 1)[0], int(a.rsplit(':', 1)[1]))
                                  for a in args[1:]])


if __name__ == '__main__':
    main()
