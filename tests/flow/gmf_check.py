#!/usr/bin/env python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Check a scenario's output from outside: gmf_check.py FILE

With h5py and numpy alone, knowing nothing of Sluice's code:
 * gmf_data has sites x realisations rows, each event's all sites in order;
 * the slices of gmf_data_index tile gmf_data, one event each;
 * at five sites the mean and the standard deviation of ln PGA over the
   realisations agree with the model's, worked out here anew from the paper,
   within BOUND standard errors of the sample;
 * the same holds between and within events, over all sites and events.
"""
import json
import sys

import h5py
import numpy as np

BOUND = 4.0  # standard errors; 20 such checks fail once in 800 right runs


class BSSA14:
    """PGA of Boore, Stewart, Seyhan and Atkinson (2014), Earthquake Spectra 30(3),
    1057-1085: equations 2 to 17, coefficients of its electronic supplement (row
    PGA), no regional or basin terms. Natural logarithms of g."""
    e0, e1, e2, e3, e4, e5, e6, Mh = (
        0.4473, 0.4856, 0.2459, 0.4539, 1.431, 0.05053, -0.1662, 5.5)
    c1, c2, c3, Mref, Rref, h = -1.134, 0.1917, -0.008088, 4.5, 1.0, 4.5
    c, Vc, Vref, f1, f3, f4, f5 = -0.6, 1500.0, 760.0, 0.0, 0.1, -0.15, -0.00701
    R1, R2, dphiR, dphiV, V1, V2 = 110.0, 270.0, 0.1, 0.07, 225.0, 300.0
    phi1, phi2, tau1, tau2 = 0.695, 0.495, 0.398, 0.348

    @classmethod
    def rock(cls, mag, rake, rjb):
        if -30 <= rake <= 30 or abs(rake) >= 150:
            style = cls.e1
        else:
            style = cls.e3 if 30 < rake < 150 else cls.e2
        d = mag - cls.Mh
        fe = style + (cls.e4 * d + cls.e5 * d * d if mag <= cls.Mh else cls.e6 * d)
        r = np.sqrt(rjb ** 2 + cls.h ** 2)
        return (fe + (cls.c1 + cls.c2 * (mag - cls.Mref)) * np.log(r / cls.Rref)
                + cls.c3 * (r - cls.Rref))

    @classmethod
    def moments(cls, mag, rake, rjb, vs30):
        """Mean, tau and phi at each site."""
        rock = cls.rock(mag, rake, rjb)
        linear = cls.c * np.log(np.minimum(vs30, cls.Vc) / cls.Vref)
        f2 = cls.f4 * (np.exp(cls.f5 * (np.minimum(vs30, 760.0) - 360.0))
                       - np.exp(cls.f5 * (760.0 - 360.0)))
        mean = rock + linear + cls.f1 + f2 * np.log((np.exp(rock) + cls.f3) / cls.f3)
        part = min(max(mag - 4.5, 0.0), 1.0)
        tau = np.full_like(mean, cls.tau1 + (cls.tau2 - cls.tau1) * part)
        phi = cls.phi1 + (cls.phi2 - cls.phi1) * part
        far = np.clip(np.log(np.maximum(rjb, 1e-9) / cls.R1) / np.log(cls.R2 / cls.R1),
                      0, 1)
        soft = np.clip(np.log(cls.V2 / vs30) / np.log(cls.V2 / cls.V1), 0, 1)
        return mean, tau, phi + cls.dphiR * far - cls.dphiV * soft


def truncated(t):
    """Variance and fourth moment of a standard normal truncated at +-t."""
    if t == 0:
        return 0.0, 0.0
    if not np.isfinite(t) or t > 37:
        return 1.0, 3.0
    x = np.linspace(-t, t, 200001)  # Simpson's rule
    w = np.ones_like(x)
    w[1:-1:2], w[2:-1:2] = 4, 2
    w *= np.exp(-x * x / 2)
    return (w * x ** 2).sum() / w.sum(), (w * x ** 4).sum() / w.sum()


def index_slices(f):
    """(item, start, stop) of the intervals, by event and place in its stream."""
    index = f['gmf_data_index'][:]
    return np.array([index[n] for n in ('item', 'start', 'stop')], np.int64).T


def say(what, got, want, error):
    off = abs(got - want) / error if error > 0 else (0.0 if got == want else np.inf)
    print('  %-34s %10.5f want %10.5f  %5.2f standard errors' % (what, got, want, off))
    assert off <= BOUND, what


def main(path, truncation=None):
    f = h5py.File(path, 'r')
    sites, rupture = f['sitecol'][:], f['rupture'][0]
    data, events = f['gmf_data'], f['events'][:]
    N, E = len(sites), len(events)
    assert len(data) == N * E, 'rows: %d, not %d x %d' % (len(data), N, E)

    slices = index_slices(f)
    order = slices[np.argsort(slices[:, 1], kind='stable')]
    assert order[0, 1] == 0 and order[-1, 2] == len(data), 'index does not cover'
    assert (order[1:, 1] == order[:-1, 2]).all(), 'index leaves a gap or overlaps'
    assert (order[:, 2] > order[:, 1]).all(), 'index has an empty slice'
    assert (np.diff(slices[:, 0]) >= 0).all(), 'index is not sorted by event'
    sums = np.bincount(slices[:, 0], slices[:, 2] - slices[:, 1], E)
    assert len(sums) == E and (sums == N).all(), 'an event has not one row per site'

    if truncation is None:
        parameters = json.loads(f['sluice'].attrs['parameters'])
        truncation = parameters.get('truncation_level', 'inf')
    t = float(truncation)
    ln_pga = np.empty((E, N), np.float64)
    bounds = np.searchsorted(slices[:, 0], np.arange(E + 1))
    for item in range(E):
        group = slices[bounds[item]:bounds[item + 1]]
        rows = np.concatenate([data[a:b] for _, a, b in group])
        assert (rows['eid'] == events['id'][item]).all(), 'event %d: other eid' % item
        assert (rows['sid'] == np.arange(N)).all(), 'event %d: sites not in order' % item
        ln_pga[item] = np.log(rows['gmv_PGA'].astype(np.float64))
    print('%d rows: %d sites x %d events, tiled by %d slices' % (N * E, N, E,
                                                                 len(slices)))

    model = f['gmf_model'][:]
    mean, tau, phi = BSSA14.moments(rupture['mag'], rupture['rake'], model['rjb'],
                                    sites['vs30'])
    for name, here, there in (('median', mean, np.log(model['median_PGA'])),
                              ('tau', tau, model['tau_PGA']),
                              ('phi', phi, model['phi_PGA'])):
        worst = np.abs(here - there).max()
        print('gmf_model %s of PGA: off by at most %.1e' % (name, worst))
        assert worst < 1e-6, name

    v, m4 = truncated(t)
    kurtosis = m4 / v ** 2 - 3 if v else 0.0
    for i in np.unique(np.linspace(0, N - 1, 5).astype(int)):
        x = ln_pga[:, i]
        print('site %d (%.3f, %.3f), rjb %.1f km' % (i, sites['lon'][i], sites['lat'][i],
                                                     model['rjb'][i]))
        sigma = np.sqrt((tau[i] ** 2 + phi[i] ** 2) * v)
        excess = kurtosis * (tau[i] ** 4 + phi[i] ** 4) * v ** 2 / sigma ** 4
        say('mean of ln PGA', x.mean(), mean[i], sigma / np.sqrt(E))
        if E > 1:
            say('standard deviation of ln PGA', x.std(ddof=1), sigma,
                sigma * np.sqrt((2 + excess) / E) / 2)

    residual = ln_pga - mean
    limit = t * (tau + phi) + 1e-6
    assert (np.abs(residual) <= limit).all(), 'a value beyond the truncation'
    if E > 1 and N > 1:
        within = (residual - residual.mean(axis=1, keepdims=True)) / phi
        print('all sites')
        say('variance within events / phi^2', within.var() * N / (N - 1), v,
            v * np.sqrt((kurtosis + 2) / (N * E)) * 1.5)
        between = residual.mean(axis=1)
        # tau is the same everywhere in this model
        want = tau[0] ** 2 * v + (phi ** 2).mean() / N * v
        say('variance between events', between.var(ddof=1), want,
            want * np.sqrt((kurtosis + 2) / E))
    print('ok')


if __name__ == '__main__':
    if len(sys.argv) not in (2, 3):
        sys.exit('usage: gmf_check.py FILE [TRUNCATION]')
    main(*sys.argv[1:])
