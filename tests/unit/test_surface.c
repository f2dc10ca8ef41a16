/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>

#include "calc/surface.h"
#include "csv_table.h"

/* 1e-6 of the value, or a centimetre. */
static double tolerance (double want)
{
    return fmax (1e-5, 1e-6 * fabs (want));
}

/* The corners of a row of the table. */
static void corners (const csv_table_t *t, size_t row, double lon[4], double lat[4],
                     double depth[4])
{
    static const char *const names[4] = {"tl", "tr", "bl", "br"};
    for (int k = 0; k < 4; k++) {
        char name[16];
        snprintf (name, sizeof name, "%s_lon", names[k]);
        lon[k] = csv_get (t, row, name);
        snprintf (name, sizeof name, "%s_lat", names[k]);
        lat[k] = csv_get (t, row, name);
        snprintf (name, sizeof name, "%s_dep", names[k]);
        depth[k] = csv_get (t, row, name);
    }
}

static surface_t *row_surface (const csv_table_t *t, size_t row)
{
    double lon[4], lat[4], depth[4];
    sluice_error_t err = {0};
    corners (t, row, lon, lat, depth);
    surface_t *s = surface_new_planar (lon, lat, depth, csv_get (t, row, "strike"),
                                       csv_get (t, row, "dip"), &err);
    cr_assert_not_null (s, "row %zu: %s", row, err.text);
    return s;
}

static geo_points_t *row_site (const csv_table_t *t, size_t row)
{
    double lon = csv_get (t, row, "site_lon"), lat = csv_get (t, row, "site_lat");
    double depth = csv_get (t, row, "site_dep");
    return geo_points_new (1, &lon, &lat, &depth, NULL);
}

#define CLOSE(got, column)                                                               \
    cr_assert_float_eq (got, csv_get (&t, i, column),                                    \
                        tolerance (csv_get (&t, i, column)),                             \
                        "row %zu, " column ": %.9g, not %.9g", i, (double) (got),        \
                        csv_get (&t, i, column))

Test (surface, planar_agrees_with_the_table)
{
    csv_table_t t = csv_read ("distances.csv");
    for (size_t i = 0; i < t.rows; i++) {
        surface_t *s = row_surface (&t, i);
        geo_points_t *site = row_site (&t, i);
        double d;
        surface_rjb (s, site, &d);
        CLOSE (d, "rjb_km");
        surface_rrup (s, site, &d);
        CLOSE (d, "rrup_km");
        surface_rx (s, site, &d);
        CLOSE (d, "rx_km");
        surface_ry0 (s, site, &d);
        CLOSE (d, "ry0_km");
        CLOSE (surface_ztor (s), "ztor_km");
        CLOSE (surface_length (s), "length_km");
        CLOSE (surface_width (s), "width_km");
        CLOSE (surface_strike (s), "strike");
        CLOSE (surface_dip (s), "dip");
        double lon, lat, depth;
        surface_middle (s, &lon, &lat, &depth);
        cr_assert_leq (geo_distance (lon, lat, csv_get (&t, i, "hypo_lon"),
                                     csv_get (&t, i, "hypo_lat")),
                       1e-3);
        CLOSE (depth, "hypo_dep");
        geo_points_distance (site, lon, lat, &d);
        CLOSE (d, "repi_km");
        geo_points_distance_3d (site, lon, lat, depth, &d);
        CLOSE (d, "rhypo_km");
        geo_points_destroy (&site);
        surface_destroy (&s);
    }
    csv_free (&t);
}

/* The rectangle of four corners as rows x columns nodes, laid out in space. */
static surface_t *as_mesh (const double lon[4], const double lat[4],
                           const double depth[4], size_t rows, size_t columns)
{
    size_t n = rows * columns;
    double *p = malloc (3 * n * sizeof *p);
    geo_vec_t c[4];
    for (int k = 0; k < 4; k++)
        c[k] = geo_to_cartesian (lon[k], lat[k], depth[k]);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < columns; k++) {
            double x = (double) k / (double) (columns - 1);
            double y = (double) r / (double) (rows - 1);
            geo_vec_t top = geo_plus (geo_times (1 - x, c[0]), geo_times (x, c[1]));
            geo_vec_t low = geo_plus (geo_times (1 - x, c[2]), geo_times (x, c[3]));
            size_t i = r * columns + k;
            geo_from_cartesian (geo_plus (geo_times (1 - y, top), geo_times (y, low)),
                                p + i, p + n + i, p + 2 * n + i);
        }
    sluice_error_t err = {0};
    surface_t *s = surface_new_mesh (rows, columns, p, p + n, p + 2 * n, &err);
    cr_assert_not_null (s, "%s", err.text);
    free (p);
    return s;
}

/* A plane's rjb, rx and ry0 are measured from circles that keep the azimuth at the
 * top left corner, a mesh's from its edges and mean strike: where meridians
 * converge they part by a few thousandths, whatever the spacing of the nodes. */
Test (surface, mesh_agrees_with_plane)
{
    csv_table_t t = csv_read ("distances.csv");
    double off_rjb = 0, off_rx = 0, off_rrup = 0;
    for (size_t i = 0; i < t.rows; i++) {
        double lon[4], lat[4], depth[4], want, got, rrup;
        corners (&t, i, lon, lat, depth);
        surface_t *s = surface_new_planar (lon, lat, depth, NAN, NAN, NULL);
        surface_t *m = as_mesh (lon, lat, depth, 7, 12);
        /* On the ground: a plane's rjb from corners counts the depth of the site. */
        double site_lon = csv_get (&t, i, "site_lon"),
               site_lat = csv_get (&t, i, "site_lat");
        geo_points_t *site = geo_points_new (1, &site_lon, &site_lat, NULL, NULL);
        surface_rrup (s, site, &rrup);
        surface_rrup (m, site, &got);
        off_rrup = fmax (off_rrup, fabs (got - rrup) / fmax (rrup, 10));
        surface_rjb (s, site, &want);
        surface_rjb (m, site, &got);
        off_rjb = fmax (off_rjb, fabs (got - want) / fmax (want, 10));
        surface_rx (s, site, &want);
        surface_rx (m, site, &got);
        off_rx = fmax (off_rx, fabs (got - want) / fmax (fabs (want), 10));
        surface_ry0 (s, site, &want);
        surface_ry0 (m, site, &got);
        cr_assert_float_eq (got, want, 0.02 + 5e-3 * rrup, "row %zu ry0: %g %g", i, got,
                            want);
        cr_assert_float_eq (surface_area (m) / surface_area (s), 1, 2e-3);
        cr_assert_float_eq (surface_length (m) / surface_length (s), 1, 2e-3);
        cr_assert_float_eq (surface_width (m) / surface_width (s), 1, 2e-3);
        cr_assert_float_eq (surface_ztor (m), surface_ztor (s), 0.15, "row %zu: %g %g", i,
                            surface_ztor (m), surface_ztor (s));
        cr_assert_float_eq (surface_dip (m), surface_dip (s), 0.5);
        double a[3], b[3];
        surface_middle (s, a, a + 1, a + 2);
        surface_middle (m, b, b + 1, b + 2);
        /* The middle of the straight rectangle lies below that of the arc. */
        double across = surface_length (s) + surface_width (s);
        cr_assert_leq (geo_distance_3d (a[0], a[1], a[2], b[0], b[1], b[2]),
                       0.05 + across * across / (8 * GEO_EARTH_RADIUS));
        geo_points_destroy (&site);
        surface_destroy (&s);
        surface_destroy (&m);
    }
    /* The bottom corners lie closer together than the top ones by up to 0.7 %, as
     * the earth is round; a plane's rrup takes the mean rectangle. */
    cr_assert_leq (off_rrup, 5e-3, "rrup %g", off_rrup);
    cr_assert_leq (off_rjb, 3e-3, "rjb %g", off_rjb);
    cr_assert_leq (off_rx, 3e-3, "rx %g", off_rx);
    csv_free (&t);
}

Test (surface, spacing_of_the_nodes_does_not_matter)
{
    const double lon[4] = {10, 10.3, 10, 10.3}, lat[4] = {45, 45, 44.9, 44.9};
    const double depth[4] = {2, 2, 14, 14};
    surface_t *coarse = as_mesh (lon, lat, depth, 2, 2);
    surface_t *fine = as_mesh (lon, lat, depth, 31, 47);
    for (double x = 9.5; x < 10.8; x += 0.11)
        for (double y = 44.5; y < 45.5; y += 0.09) {
            geo_points_t *site = geo_points_new (1, &x, &y, NULL, NULL);
            double a, b;
            surface_rrup (coarse, site, &a);
            surface_rrup (fine, site, &b);
            cr_assert_float_eq (a, b, 1e-6);
            surface_rjb (coarse, site, &a);
            surface_rjb (fine, site, &b);
            cr_assert_float_eq (a, b, 1e-6);
            surface_rx (coarse, site, &a);
            surface_rx (fine, site, &b);
            cr_assert_float_eq (a, b, 1e-6);
            geo_points_destroy (&site);
        }
    surface_destroy (&coarse);
    surface_destroy (&fine);
}

/* Against a search over points of a bent mesh, as dense as they need be. */
Test (surface, bent_mesh_by_brute_force)
{
    enum { R = 3, C = 4, FINE = 60 };
    double lon[R * C], lat[R * C], depth[R * C];
    for (int r = 0; r < R; r++)
        for (int c = 0; c < C; c++) {
            lon[r * C + c] = 179.9 + 0.08 * c + 0.01 * r;
            lat[r * C + c] = -38 + 0.03 * c * c - 0.05 * r;
            depth[r * C + c] = 1 + 5 * r + 0.3 * c;
        }
    surface_t *s = surface_new_mesh (R, C, lon, lat, depth, NULL);
    cr_assert_not_null (s);
    for (double x = 179.6; x < 180.6; x += 0.17)
        for (double y = -38.4; y < -37.4; y += 0.13) {
            geo_points_t *site = geo_points_new (1, &x, &y, NULL, NULL);
            geo_vec_t at = geo_to_cartesian (x, y, 0);
            double rrup = INFINITY, got, rjb = INFINITY, rjb_got;
            for (int r = 0; r + 1 < R; r++)
                for (int c = 0; c + 1 < C; c++) {
                    int k[4] = {r * C + c, r * C + c + 1, r * C + C + c,
                                r * C + C + c + 1};
                    geo_vec_t v[4];
                    for (int j = 0; j < 4; j++)
                        v[j] = geo_to_cartesian (lon[k[j]], lat[k[j]], depth[k[j]]);
                    for (int half = 0; half < 2; half++)
                        for (int i = 0; i <= FINE; i++)
                            for (int j = 0; i + j <= FINE; j++) {
                                double p = (double) i / FINE, q = (double) j / FINE;
                                geo_vec_t w = geo_plus (
                                    geo_plus (geo_times (1 - p - q, v[half ? 3 : 0]),
                                              geo_times (p, v[1])),
                                    geo_times (q, v[2]));
                                rrup = fmin (rrup, geo_norm (geo_minus (w, at)));
                                double l, f, d;
                                geo_from_cartesian (w, &l, &f, &d);
                                rjb = fmin (rjb, geo_distance (l, f, x, y));
                            }
                }
            surface_rrup (s, site, &got);
            cr_assert (got <= rrup + 1e-9 && got > rrup - 0.05, "rrup %g, not %g", got,
                       rrup);
            surface_rjb (s, site, &rjb_got);
            cr_assert (rjb_got <= rjb + 1e-3 && rjb_got > rjb - 0.15, "rjb %g, not %g",
                       rjb_got, rjb);
            geo_points_destroy (&site);
        }
    surface_destroy (&s);
}

Test (surface, rx_of_a_bent_edge)
{
    /* East, then north-east; the second row is south of the first. */
    const double lon[6] = {0, 1, 2, 0, 1, 2}, lat[6] = {0, 0, 1, -0.1, -0.1, 0.9};
    const double depth[6] = {0, 0, 0, 10, 10, 10};
    surface_t *s = surface_new_mesh (2, 3, lon, lat, depth, NULL);
    cr_assert_not_null (s);
    const double x[] = {0.5, 0.5, -3, 4, 1.05}, y[] = {-0.5, 0.5, -0.5, 2, -0.5};
    geo_points_t *sites = geo_points_new (5, x, y, NULL, NULL);
    double rx[5], degree = GEO_EARTH_RADIUS * geo_radians (1);
    surface_rx (s, sites, rx);
    cr_assert_float_eq (rx[0], 0.5 * degree, 1e-3); /* south: right of strike */
    cr_assert_lt (rx[1], 0);                        /* north: left */
    cr_assert_float_eq (rx[2], 0.5 * degree, 0.1);  /* the first arc goes on west */
    cr_assert_gt (rx[3], 0.65 * degree);            /* right of the last, gone on */
    cr_assert_float_eq (rx[4], geo_distance (1, 0, 1.05, -0.5), 1e-6); /* at the bend */
    geo_points_destroy (&sites);
    surface_destroy (&s);
}

Test (surface, several_planes_are_the_nearest_of_them)
{
    const double lon[8] = {10, 10.2, 10, 10.2, 10.2, 10.4, 10.2, 10.4};
    const double lat[8] = {45, 45, 44.9, 44.9, 45, 45.1, 44.9, 45};
    const double depth[8] = {1, 1, 9, 9, 0.5, 0.5, 8, 8};
    surface_t *both = surface_new_multi (2, lon, lat, depth, NULL);
    surface_t *one = surface_new_planar (lon, lat, depth, NAN, NAN, NULL);
    surface_t *two = surface_new_planar (lon + 4, lat + 4, depth + 4, NAN, NAN, NULL);
    cr_assert (both && one && two);
    const double x[3] = {9.9, 10.5, 10.2}, y[3] = {45, 45, 45.2};
    geo_points_t *sites = geo_points_new (3, x, y, NULL, NULL);
    double a[3], b[3], c[3];
    surface_rrup (both, sites, a);
    surface_rrup (one, sites, b);
    surface_rrup (two, sites, c);
    for (int i = 0; i < 3; i++)
        cr_assert_eq (a[i], fmin (b[i], c[i]));
    surface_rjb (both, sites, a);
    surface_rjb (one, sites, b);
    surface_rjb (two, sites, c);
    for (int i = 0; i < 3; i++)
        cr_assert_eq (a[i], fmin (b[i], c[i]));
    surface_rx (both, sites, a);
    surface_rx (one, sites, b);
    surface_rx (two, sites, c);
    cr_assert_eq (a[0], b[0]);
    cr_assert_eq (a[1], c[1]);
    surface_ry0 (both, sites, a);
    cr_assert_gt (a[0], 5);
    cr_assert_eq (surface_ztor (both), 0.5);
    cr_assert_float_eq (surface_area (both), surface_area (one) + surface_area (two),
                        1e-9);
    geo_points_destroy (&sites);
    surface_destroy (&both);
    surface_destroy (&one);
    surface_destroy (&two);
}

Test (surface, on_and_over_the_rupture)
{
    /* Vertical, on the equator, over the date line. */
    const double lon[4] = {179.9, -179.9, 179.9, -179.9}, lat[4] = {0};
    const double depth[4] = {0, 0, 10, 10};
    surface_t *s = surface_new_planar (lon, lat, depth, NAN, NAN, NULL);
    surface_t *m = as_mesh (lon, lat, depth, 3, 5);
    const double x[3] = {180, -179.95, 180}, y[3] = {0, 0, 0.1};
    geo_points_t *sites = geo_points_new (3, x, y, NULL, NULL);
    const surface_t *const kinds[] = {s, m};
    for (int k = 0; k < 2; k++) {
        double d[3];
        surface_rjb (kinds[k], sites, d);
        cr_assert_float_eq (d[0], 0, 1e-6);
        cr_assert_float_eq (d[1], 0, 1e-6);
        cr_assert_float_eq (d[2], GEO_EARTH_RADIUS * geo_radians (0.1), 1e-6);
        surface_rrup (kinds[k], sites, d);
        /* The straight top edge of 22 km runs 10 m below the ground. */
        cr_assert_float_eq (d[0], 0, 0.011);
        surface_ry0 (kinds[k], sites, d);
        cr_assert_eq (d[0], 0.0);
    }
    cr_assert_float_eq (surface_strike (s), 90, 1e-9);
    cr_assert_float_eq (surface_dip (s), 90, 1e-6);
    cr_assert_float_eq (surface_dip (m), 90, 1e-6);
    geo_points_destroy (&sites);
    surface_destroy (&s);
    surface_destroy (&m);
}

Test (surface, refuses_what_is_no_surface)
{
    sluice_error_t err = {0};
    double lon[4] = {0, 1, 0, 1}, lat[4] = {0, 0, -0.1, -0.1}, depth[4] = {0, 0, 9, 9};
    const double upside[4] = {9, 9, 0, 0}, nowhere[4] = {0, 0, NAN, 9};
    const double same[4] = {0, 0, 0, 0}, deep[4] = {0, 0, 7000, 9};
    cr_assert_null (surface_new_planar (lon, lat, upside, 90, 45, &err));
    cr_assert_eq (err.code, SLUICE_EINPUT);
    cr_assert_null (surface_new_planar (lon, lat, nowhere, 90, 45, &err));
    cr_assert_null (surface_new_planar (lon, lat, deep, 90, 45, &err));
    cr_assert_null (surface_new_planar (same, same, same, 90, 45, &err));
    cr_assert_null (surface_new_planar (same, lat, depth, 90, 45, &err));
    cr_assert_null (surface_new_mesh (1, 4, lon, lat, depth, &err));
    cr_assert_null (surface_new_mesh (4, 1, lon, lat, depth, &err));
    cr_assert_null (surface_new_mesh (2, (size_t) -1 / 2, lon, lat, depth, &err));
    cr_assert_null (surface_new_mesh (2, 2, lon, lat, nowhere, &err));
    cr_assert_null (surface_new_mesh (2, 2, same, same, same, &err));
    cr_assert_null (surface_new_mesh (2, 2, lon, same, same, &err), "a line");
    cr_assert_eq (err.code, SLUICE_EINPUT);
    cr_assert_null (surface_new_multi (0, lon, lat, depth, &err));
    cr_assert_null (surface_new_multi (1, lon, lat, upside, &err));
    cr_assert_not_null (strstr (err.text, "plane 0"));
    surface_t *s = NULL;
    surface_destroy (&s);
}
