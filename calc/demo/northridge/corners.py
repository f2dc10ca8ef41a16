#!/usr/bin/env python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""Compute the corners in rupture.xml from the published numbers (README.md)."""
from math import asin, atan2, cos, degrees, radians, sin

R = 6371.0  # km
TOP_CENTRE = (-118.515, 34.344)
LENGTH, WIDTH, TOP = 20.0, 25.0, 5.0  # km
STRIKE, DIP = 122.0, 40.0
HYPO_ALONG, HYPO_DOWN = 6.0, 19.4  # km from the middle of the top edge


def point_at(lon, lat, azimuth, distance):
    d, a, phi = distance / R, radians(azimuth), radians(lat)
    lat2 = asin(sin(phi) * cos(d) + cos(phi) * sin(d) * cos(a))
    dlon = atan2(sin(a) * sin(d) * cos(phi), cos(d) - sin(phi) * sin(lat2))
    return lon + degrees(dlon), degrees(lat2)


def on_plane(along, down):
    """`along` km from the middle in the direction of strike, `down` km of dip."""
    lon, lat = point_at(*TOP_CENTRE, STRIKE if along >= 0 else STRIKE + 180, abs(along))
    lon, lat = point_at(lon, lat, STRIKE + 90, down * cos(radians(DIP)))
    return lon, lat, TOP + down * sin(radians(DIP))


for name, along, down in (("topLeft", -LENGTH / 2, 0), ("topRight", LENGTH / 2, 0),
                          ("bottomLeft", -LENGTH / 2, WIDTH),
                          ("bottomRight", LENGTH / 2, WIDTH),
                          ("hypocenter", HYPO_ALONG, HYPO_DOWN)):
    print('<%s lon="%.5f" lat="%.5f" depth="%.4f"/>' % ((name,) + on_plane(along, down)))
