#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

"""client.py - sluice/client.h from Python, through ctypes

Maps a kernel over its items and takes the results as NumPy arrays, as they come:

    client = Client (cores=2)
    with client.map ('./area.so', batches=500, darts=5000) as run:
        for result in run:                  # item by item, in the order they are done
            print (result.first, result.rows ('batches'))
    print (run.summary.status)

As a program it computes the area of a circle: client.py [KERNEL [BATCHES]]. The
library is found as libsluice.so.0 by the system, or where $LIBSLUICE says.
"""

import ctypes as C
import os
import sys

import numpy as np

lib = C.CDLL (os.environ.get ('LIBSLUICE', 'libsluice.so.0'))
END, RESULT, NOTHING = 0, 1, 2


class Error (C.Structure):
    _fields_ = [('code', C.c_int), ('text', C.c_char * 1000)]


class ClientOptions (C.Structure):
    _fields_ = [('folder', C.c_char_p), ('key', C.c_char_p),
                ('nodes', C.POINTER (C.c_char_p)), ('nnodes', C.c_size_t),
                ('no_local', C.c_bool), ('no_network', C.c_bool), ('serial', C.c_bool),
                ('confine', C.c_bool), ('cores', C.c_uint), ('window', C.c_uint64),
                ('outbox', C.c_uint64), ('memory', C.c_uint64),
                ('node_wait', C.c_double), ('log', C.c_char_p), ('command', C.c_char_p)]


class Progress (C.Structure):
    _fields_ = [('items', C.c_uint64), ('done', C.c_uint64), ('failed', C.c_uint64),
                ('running', C.c_uint64), ('bytes', C.c_uint64), ('seconds', C.c_double),
                ('nodes', C.c_uint), ('cores', C.c_uint), ('waiting', C.c_char_p)]


ProgressFn = C.CFUNCTYPE (None, C.c_void_p, C.POINTER (Progress))


class MapOptions (C.Structure):
    _fields_ = [('kernel', C.c_char_p), ('params', C.POINTER (C.c_char_p)),
                ('output', C.c_char_p), ('force', C.c_bool), ('has_seed', C.c_bool),
                ('seed', C.c_uint64), ('fail_fast', C.c_bool), ('name', C.c_char_p),
                ('progress', ProgressFn), ('arg', C.c_void_p)]


class RawResult (C.Structure):
    _fields_ = [('first', C.c_uint64), ('stop', C.c_uint64), ('failed', C.c_bool),
                ('signal', C.c_int), ('exit_code', C.c_int), ('reason', C.c_char_p),
                ('messages', C.c_char_p), ('host', C.c_char_p)]


class Summary (C.Structure):
    _fields_ = [('status', C.c_char_p), ('done', C.c_uint64), ('failed', C.c_uint64),
                ('rows', C.c_uint64), ('bytes', C.c_uint64), ('seconds', C.c_double),
                ('nodes', C.c_uint), ('cores', C.c_uint), ('digest', C.c_char * 33)]


def declare (name, result, *arguments):
    function = getattr (lib, 'sluice_' + name)
    function.restype, function.argtypes = result, arguments
    return function


P, E = C.c_void_p, C.POINTER (Error)
client_new = declare ('client_new', P, C.POINTER (ClientOptions), E)
client_destroy = declare ('client_destroy', None, C.POINTER (P))
client_map = declare ('client_map', P, P, C.POINTER (MapOptions), E)
map_close = declare ('map_close', None, C.POINTER (P))
map_next = declare ('map_next', C.c_int, P, C.c_uint64, C.c_double,
                    C.POINTER (RawResult), E)
map_rows = declare ('map_rows', P, P, C.c_uint, C.POINTER (C.c_uint64), E)
map_find = declare ('map_find', C.c_int, P, C.c_char_p)
map_table_dtype = declare ('map_table_dtype', C.c_char_p, P, C.c_uint)
map_row_bytes = declare ('map_row_bytes', C.c_size_t, P, C.c_uint)
map_cancel = declare ('map_cancel', C.c_int, P, C.c_uint64, C.c_uint64, E)
map_cancel_all = declare ('map_cancel_all', C.c_int, P, E)
map_summary = declare ('map_summary', None, P, C.POINTER (Summary))
dtype_parse = declare ('dtype_parse', P, C.c_char_p, C.c_size_t, E)
dtype_destroy = declare ('dtype_destroy', None, C.POINTER (P))


class SluiceError (Exception):
    pass


def fill (options, values):
    for name, value in values.items ():
        setattr (options, name, value.encode () if isinstance (value, str) else value)
    return options


# ---- dtypes: what sluice/dtype.h says, as NumPy's --------------------------------

class Dtype (C.Structure):
    pass


class Field (C.Structure):
    _fields_ = [('name', C.c_char_p), ('offset', C.c_size_t),
                ('type', C.POINTER (Dtype))]


Dtype._fields_ = [('kind', C.c_char), ('order', C.c_char), ('itemsize', C.c_size_t),
                  ('unit', C.c_char * 16), ('ndim', C.c_uint), ('dims', C.c_uint64 * 8),
                  ('nfields', C.c_size_t), ('fields', C.POINTER (Field)),
                  ('packed', C.c_bool)]


def from_struct (d):
    kind = d.kind.decode ()
    if kind == 'V':
        fields = [d.fields[i] for i in range (d.nfields)]
        base = np.dtype ({'names': [f.name.decode () for f in fields],
                          'formats': [from_struct (f.type.contents) for f in fields],
                          'offsets': [f.offset for f in fields],
                          'itemsize': d.itemsize})
    else:
        size = d.itemsize // 4 if kind == 'U' else d.itemsize
        unit = '[%s]' % d.unit.decode () if d.unit else ''
        base = np.dtype ('%s%s%d%s' % (d.order.decode (), kind, size, unit))
    return np.dtype ((base, tuple (d.dims[:d.ndim]))) if d.ndim else base


def numpy_dtype (text):
    err = Error ()
    parsed = P (dtype_parse (text, len (text), err))
    if not parsed:
        raise SluiceError (err.text.decode ())
    try:
        return from_struct (C.cast (parsed, C.POINTER (Dtype)).contents)
    finally:
        dtype_destroy (parsed)


# ---- the interface ------------------------------------------------------------------

class Client:
    """Where to compute; the options of sluice_client_options_t by name."""

    def __init__ (self, nodes=(), **options):
        err = Error ()
        names = (C.c_char_p * (len (nodes) + 1)) (*[n.encode () for n in nodes])
        o = fill (ClientOptions (nodes=names, nnodes=len (nodes)), options)
        self.handle = P (client_new (o, err))
        if not self.handle:
            raise SluiceError (err.text.decode ())

    def __del__ (self):
        if getattr (self, 'handle', None):
            client_destroy (self.handle)

    def map (self, kernel, progress=None, options=None, **params):
        """Start a map: parameters by name, sluice_map_options_t as a dict."""
        return Map (self, kernel, progress, options or {}, params)


class Result:
    """Items first <= i < stop, done or failed; rows until the next one is taken."""

    def __init__ (self, run, raw):
        self.run, self.first, self.stop = run, raw.first, raw.stop
        self.failed, self.reason = raw.failed, (raw.reason or b'').decode ()

    def rows (self, table):
        run, err, n = self.run, Error (), C.c_uint64 ()
        number = map_find (run.handle, table.encode ())
        if number < 0: # met late, and not yet
            return None
        at = map_rows (run.handle, number, n, err)
        if not at:
            raise SluiceError (err.text.decode ())
        if number not in run.dtypes:
            run.dtypes[number] = numpy_dtype (map_table_dtype (run.handle, number))
        size = n.value * map_row_bytes (run.handle, number)
        # A copy: the memory is used again.
        return np.frombuffer (C.string_at (at, size), run.dtypes[number])


class Map:
    def __init__ (self, client, kernel, progress, options, params):
        err, self.dtypes = Error (), {}
        pairs = [str (x).encode () for pair in params.items () for x in pair]
        names = (C.c_char_p * (len (pairs) + 1)) (*pairs)
        # Kept, so that they live as long as the map may call it.
        self.callback = ProgressFn (
            lambda arg, p: progress (p.contents) if progress else None)
        o = fill (MapOptions (kernel=kernel.encode (), params=names,
                              progress=self.callback), options)
        self.handle = P (client_map (client.handle, o, err))
        if not self.handle:
            raise SluiceError (err.text.decode ())

    def __iter__ (self, most=1):
        raw, err = RawResult (), Error ()
        while True:
            rc = map_next (self.handle, most, -1, raw, err)
            if rc == RESULT:
                yield Result (self, raw)
            elif rc == END:
                return
            elif rc < 0:
                raise SluiceError (err.text.decode ())
            # NOTHING: a signal came, and Python has looked at it by now.

    def cancel (self, first=None, stop=None):
        """Cancel these items, or everything."""
        err = Error ()
        rc = (map_cancel_all (self.handle, err) if first is None
              else map_cancel (self.handle, first, stop, err))
        if rc < 0:
            raise SluiceError (err.text.decode ())

    @property
    def summary (self):
        summary = self.__dict__.get ('last') or Summary ()
        if self.handle:
            map_summary (self.handle, summary)
        return summary

    def close (self):
        if self.handle:
            self.last = self.summary
            map_close (self.handle)

    def __enter__ (self):
        return self

    def __exit__ (self, *exception):
        self.close ()

    __del__ = close


def main (kernel='./area.so', batches='500'):
    darts = hits = 0
    with Client ().map (kernel, batches=batches, darts=5000) as run:
        for result in run:
            if result.failed:
                print ('item %d: %s' % (result.first, result.reason), file=sys.stderr)
                continue
            rows = result.rows ('batches')
            darts += int (rows['darts'].sum ())
            hits += int (rows['hits'].sum ())
    summary = run.summary
    print ('area %.4f from %d darts, %s, digest %s' % (
        4 * hits / darts, darts, summary.status.decode (), summary.digest.decode ()))


if __name__ == '__main__':
    try:
        main (*sys.argv[1:])
    except SluiceError as e:
        sys.exit ('client.py: %s' % e)
