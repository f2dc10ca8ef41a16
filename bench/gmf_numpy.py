#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).

"""gmf_numpy.py - the ground-motion fields of bench/gmf.c, as one writes them in NumPy

Field after field: normals, of which those beyond 3 deviations are drawn again, the
exponential, rows of the same dtype in an array that is used again. Prints the CPU
seconds of the loop.

usage: bench/gmf_numpy.py MODEL MEASURES EVENTS

MODEL is what bench/gmf.c writes: the records of gmf_model (distances, median, tau and
phi of each measure at each site) as they lie in memory.
"""

import sys, time
import numpy as np

TRUNCATION = 3.0


def normals (rng, size):
    x = rng.standard_normal (size)
    while True:
        beyond = np.flatnonzero (np.abs (x) > TRUNCATION)
        if not beyond.size:
            return x
        x[beyond] = rng.standard_normal (beyond.size)


def main ():
    measures, events = int (sys.argv[2]), int (sys.argv[3])
    dtype = [('sid', '<u4'), ('rjb', '<f8'), ('rrup', '<f8')] + [
        (name, '<f8', (measures,)) for name in ('median', 'tau', 'phi')]
    model = np.fromfile (sys.argv[1], dtype)
    columns = [tuple (np.ascontiguousarray (model[name][:, k])
                      for name in ('median', 'tau', 'phi')) for k in range (measures)]
    columns = [(np.log (median), tau, phi) for median, tau, phi in columns]
    n = len (model)
    rows = np.zeros (n, np.dtype ([('sid', 'u4'), ('eid', 'u4')] +
                                  [('gmv_%d' % k, 'f4') for k in range (measures)]))
    rng = np.random.Generator (np.random.PCG64 (42))
    start = time.process_time ()
    rows['sid'] = np.arange (n)
    for event in range (events):
        rows['eid'] = event
        for k, (mean, tau, phi) in enumerate (columns):
            between = normals (rng, 1)[0]
            rows['gmv_%d' % k] = np.exp (mean + tau * between + phi * normals (rng, n))
    print (time.process_time () - start)


main ()
