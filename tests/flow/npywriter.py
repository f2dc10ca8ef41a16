# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Writes .npy files for the thousand items of some tests: to load NumPy takes five
times as long as all the rest of such an item."""
import os
import struct


def save(name, descr, shape, data):
    head = repr({'descr': descr, 'fortran_order': False, 'shape': shape}).encode()
    head += b' ' * (-(len(head) + 11) % 64) + b'\n'
    with open(os.environ['SLUICE_OUT'] + '/' + name, 'wb') as f:
        f.write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(head)) + head + data)


def text(s):
    """A string of type U6."""
    return s.encode('utf-32-le').ljust(24, b'\0')
