/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <math.h>

#include "calc/geodesy.h"
#include "calc/vmath.h"
#include "csv_table.h"

/* The smaller way round between two angles in degrees. */
static double turn (double a, double b)
{
    double d = fmod (fabs (a - b), 360.0);
    return d > 180 ? 360 - d : d;
}

Test (geodesy, agrees_with_the_tables)
{
    csv_table_t t = csv_read ("geodesy.csv");
    for (size_t i = 0; i < t.rows; i++) {
        double lon1 = csv_get (&t, i, "lon1"), lat1 = csv_get (&t, i, "lat1");
        double lon2 = csv_get (&t, i, "lon2"), lat2 = csv_get (&t, i, "lat2");
        double dep1 = csv_get (&t, i, "dep1"), dep2 = csv_get (&t, i, "dep2");
        double want = csv_get (&t, i, "geodetic_distance_km");
        cr_assert_float_eq (geo_distance (lon1, lat1, lon2, lat2), want,
                            1e-9 + 1e-11 * want, "row %zu", i);
        double straight = csv_get (&t, i, "distance3d_km");
        cr_assert_float_eq (geo_distance_3d (lon1, lat1, dep1, lon2, lat2, dep2),
                            straight, 1e-9 + 1e-11 * straight, "row %zu", i);
        /* At the antipode every direction is right. */
        double azimuth = geo_azimuth (lon1, lat1, lon2, lat2);
        cr_assert (azimuth >= 0 && azimuth < 360);
        if (want < 20015)
            cr_assert_float_eq (turn (azimuth, csv_get (&t, i, "azimuth_1to2_deg")), 0,
                                1e-7 + 1e-8 / (want + 1e-9), "row %zu: %.12g", i,
                                azimuth);
        double along = csv_get (&t, i, "pa_azimuth"), lon, lat;
        geo_point_at (lon1, lat1, along, csv_get (&t, i, "pa_dist_km"), &lon, &lat);
        double off =
            geo_distance (lon, lat, csv_get (&t, i, "pa_lon"), csv_get (&t, i, "pa_lat"));
        cr_assert_leq (off, 1e-7, "row %zu: %g km off", i, off);
        cr_assert_float_eq (geo_distance_to_arc (lon1, lat1, along, lon2, lat2),
                            csv_get (&t, i, "distance_to_arc_km"), 2e-6, "row %zu", i);
        geo_vec_t v = geo_to_cartesian (lon1, lat1, dep1);
        cr_assert_float_eq (v.x, csv_get (&t, i, "x1"), 1e-8);
        cr_assert_float_eq (v.y, csv_get (&t, i, "y1"), 1e-8);
        cr_assert_float_eq (v.z, csv_get (&t, i, "z1"), 1e-8);
    }
    csv_free (&t);
}

Test (geodesy, over_the_date_line_and_the_pole)
{
    double degree = GEO_EARTH_RADIUS * geo_radians (1.0), lon, lat;
    cr_assert_float_eq (geo_distance (179.5, 0, -179.5, 0), degree, 1e-9);
    cr_assert_float_eq (geo_distance (179.5, 0, 180.5, 0), degree, 1e-9);
    cr_assert_float_eq (geo_azimuth (179.5, 0, -179.5, 0), 90, 1e-9);
    cr_assert_float_eq (geo_distance (0, 89.5, 180, 89.5), degree, 1e-9);
    geo_point_at (179.5, 0, 90, degree, &lon, &lat);
    cr_assert_float_eq (lon, -179.5, 1e-9);
    cr_assert_float_eq (lat, 0, 1e-9);
    geo_point_at (10, 89.5, 0, degree, &lon, &lat);
    cr_assert_float_eq (lon, -170, 1e-6);
    cr_assert_float_eq (lat, 89.5, 1e-9);
    geo_middle (179, 10, -179, 10, &lon, &lat);
    cr_assert_float_eq (turn (lon, 180), 0, 1e-9);
    geo_point_at (12.25, 41.5, 77, 0, &lon, &lat);
    cr_assert_float_eq (lon, 12.25, 1e-12);
    cr_assert_float_eq (lat, 41.5, 1e-12);
}

Test (geodesy, there_and_back)
{
    for (double lat = -90; lat <= 90; lat += 7.5)
        for (double lon = -180; lon <= 180; lon += 11) {
            double lon2, lat2, depth2;
            geo_from_cartesian (geo_to_cartesian (lon, lat, 12.5), &lon2, &lat2, &depth2);
            cr_assert_leq (geo_distance (lon, lat, lon2, lat2), 1e-9);
            cr_assert_float_eq (depth2, 12.5, 1e-9);
            geo_vec_t ahead = geo_heading (lon, lat, 33);
            cr_assert_float_eq (geo_norm (ahead), 1, 1e-14);
            cr_assert_float_eq (geo_dot (ahead, geo_unit (lon, lat)), 0, 1e-14);
            cr_assert_float_eq (geo_dot (ahead, geo_pole (lon, lat, 33)), 0, 1e-14);
        }
}

Test (geodesy, right_is_positive)
{
    cr_assert_gt (geo_distance_to_arc (10, 45, 0, 10.1, 45), 7);
    cr_assert_lt (geo_distance_to_arc (10, 45, 0, 9.9, 45), -7);
    cr_assert_lt (geo_distance_to_arc (10, 45, 180, 10.1, 45), -7);
}

Test (geodesy, points_agree_with_single_distances)
{
    enum { N = 37 };
    double lon[N], lat[N], depth[N], flat[N], deep[N];
    for (int i = 0; i < N; i++) {
        lon[i] = -180 + 10.0 * i;
        lat[i] = -90 + 5.0 * i;
        depth[i] = i - 3;
    }
    geo_points_t *points = geo_points_new (N, lon, lat, depth, NULL);
    cr_assert_not_null (points);
    geo_points_distance (points, 20, 30, flat);
    geo_points_distance_3d (points, 20, 30, 9, deep);
    for (int i = 0; i < N; i++) {
        cr_assert_float_eq (flat[i], geo_distance (20, 30, lon[i], lat[i]), 1e-8);
        cr_assert_float_eq (deep[i],
                            geo_distance_3d (20, 30, 9, lon[i], lat[i], depth[i]), 1e-8);
    }
    geo_points_t slice = geo_points_slice (points, 5, 4);
    double part[4];
    geo_points_distance (&slice, 20, 30, part);
    cr_assert_eq (memcmp (part, flat + 5, sizeof part), 0);
    geo_points_destroy (&points);
    cr_assert_null (points);
    geo_points_destroy (&points);
}

Test (geodesy, refuses_what_is_no_place)
{
    sluice_error_t err;
    const double bad[][3] = {{NAN, 0, 0},  {INFINITY, 0, 0}, {0, 90.001, 0},
                             {0, -91, 0},  {0, NAN, 0},      {0, 0, NAN},
                             {0, 0, 6371}, {0, 0, INFINITY}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_null (geo_points_new (1, &bad[i][0], &bad[i][1], &bad[i][2], &err));
        cr_assert_eq (err.code, SLUICE_EINPUT);
    }
    geo_points_t *none = geo_points_new (0, NULL, NULL, NULL, &err);
    cr_assert_not_null (none);
    geo_points_distance (none, 0, 0, NULL);
    geo_points_destroy (&none);
}
