/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/gmf.h"
#include "calc/h5array.h"
#include "calc/plot.h"

#define SIDE 10
#define SITES (SIDE * SIDE)

static char h5[64], png[64];

static void names (void)
{
    snprintf (h5, sizeof h5, "/tmp/test_plot.%d.h5", (int) getpid ());
    snprintf (png, sizeof png, "/tmp/test_plot.%d.png", (int) getpid ());
}

static void clean (void)
{
    unlink (h5);
    unlink (png);
}

TestSuite (plot, .init = names, .fini = clean);

static void put (hid_t file, const char *name, const char *dtype, uint64_t n,
                 const void *data)
{
    sluice_error_t err;
    sluice_array_t array;
    bool overflow;
    cr_assert_eq (sluice_array_make (&array, dtype, 1, &n, &err), 0, "%s", err.text);
    memcpy (array.data, data, sluice_array_bytes (&array, &overflow));
    cr_assert_eq (h5_write_array (file, name, &array, &err), 0, "%s", err.text);
    sluice_array_clear (&array);
}

/* A grid of sites with `events` values each: those of site i are 0.1 (i + 1) times
 * 1, 2, ..., events, in an order that is not sorted. */
static void make_file (uint32_t events, uint32_t wrong_sid)
{
    struct {
        uint32_t sids;
        double lon, lat;
    } __attribute__ ((packed)) sites[SITES];
    for (uint32_t i = 0; i < SITES; i++) {
        sites[i].sids = i;
        sites[i].lon = 10 + 0.1 * (i % SIDE);
        sites[i].lat = 45 - 0.1 * (i / SIDE);
    }
    typedef struct {
        uint32_t sid, eid;
        float pga, sa;
    } __attribute__ ((packed)) row_t;
    row_t *rows = calloc (events * SITES + 1, sizeof *rows);
    for (uint32_t e = 0; e < events; e++)
        for (uint32_t i = 0; i < SITES; i++) {
            float factor = (float) ((e * 13 + i) % events + 1);
            rows[e * SITES + i] =
                (row_t){i + wrong_sid, e, 0.1f * (float) (i + 1) * factor, 1};
        }
    const double facts[3] = {6.7, 10.5, 44.5};
    struct {
        uint32_t patch, row, col;
        double lon, lat, depth;
    } __attribute__ ((packed)) nodes[4] = {{0, 0, 0, 10.3, 44.7, 1},
                                           {0, 0, 1, 10.6, 44.7, 1},
                                           {0, 1, 0, 10.3, 44.5, 9},
                                           {0, 1, 1, 10.6, 44.5, 9}};
    hid_t file = H5Fcreate (h5, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert (file >= 0);
    put (file, "sitecol", "{sids:<u4, lon:<f8, lat:<f8}", SITES, sites);
    put (file, "rupture", "{mag:<f8, hypo_lon:<f8, hypo_lat:<f8}", 1, facts);
    put (file, "rupture_mesh",
         "{patch:<u4, row:<u4, col:<u4, lon:<f8, lat:<f8, depth:<f8}", 4, nodes);
    put (file, "gmf_data", "{sid:<u4, eid:<u4, gmv_PGA:<f4, gmv_SA\\(1.0\\):<f4}",
         events * SITES, rows);
    H5Fclose (file);
    free (rows);
}

Test (plot, finds_exact_medians)
{
    for (uint32_t events = 1; events <= 12; events++) {
        sluice_error_t err;
        make_file (events, 0);
        gmf_map_t *map = gmf_map_read (h5, NULL, &err);
        cr_assert (map, "%s", err.text);
        cr_assert_eq (map->n, SITES);
        cr_assert_eq (map->events, events);
        cr_assert (map->median);
        cr_assert_str_eq (map->imt, "PGA");
        for (size_t i = 0; i < SITES; i++)
            cr_assert_float_eq (map->value[i], 0.1 * (double) (i + 1) * (1 + events) / 2,
                                1e-6 * map->value[i]);
        cr_assert (map->rupture);
        cr_assert_eq (map->rupture->npatches, 1);
        cr_assert_eq (map->rupture->patches[0].lat[3], 44.5);
        cr_assert_eq (map->rupture->mag, 6.7);
        gmf_map_destroy (&map);
    }
}

Test (plot, takes_the_measure_asked_for)
{
    sluice_error_t err;
    make_file (3, 0);
    gmf_map_t *map = gmf_map_read (h5, "SA(1.0)", &err);
    cr_assert (map, "%s", err.text);
    cr_assert_eq (map->value[5], 1.0);
    gmf_map_destroy (&map);
    cr_assert_null (gmf_map_read (h5, "PGV", &err));
    cr_assert (strstr (err.text, "gmf_data has no PGV (it has PGA, SA(1.0))"), "%s",
               err.text);
    cr_assert_eq (err.code, SLUICE_EINPUT);
}

Test (plot, refuses_files_that_are_not_its_own)
{
    sluice_error_t err;
    cr_assert_null (gmf_map_read ("/nonexistent.h5", NULL, &err));
    cr_assert_eq (err.code, SLUICE_EINPUT);
    FILE *f = fopen (h5, "w");
    fputs ("not HDF5", f);
    fclose (f);
    cr_assert_null (gmf_map_read (h5, NULL, &err));
    hid_t file = H5Fcreate (h5, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose (file);
    cr_assert_null (gmf_map_read (h5, NULL, &err));
    cr_assert (strstr (err.text, "no sites (sitecol) in it"), "%s", err.text);
    make_file (2, 1);
    cr_assert_null (gmf_map_read (h5, NULL, &err));
    cr_assert (strstr (err.text, "a site that sitecol has not"), "%s", err.text);
}

#ifdef HAVE_CAIRO

#include <cairo.h>

/* Lightness of the pixel of a site: rows and columns of the grid. */
static double lightness (cairo_surface_t *image, double lon, double lat)
{
    /* the map begins at (92, 84); its west and east, north and south lie half a
     * cell from the outer sites */
    double width = cairo_image_surface_get_width (image) - 92 - 150;
    double height = cairo_image_surface_get_height (image) - 84 - 64;
    double x = 92 + width * (0.5 + (lon - 10.45) / 1.0);
    double y = 84 + height * (0.5 - (lat - 44.55) / 1.0);
    const unsigned char *data = cairo_image_surface_get_data (image);
    uint32_t pixel;
    memcpy (&pixel,
            data + (long) y * cairo_image_surface_get_stride (image) + 4 * (long) x, 4);
    return (double) ((pixel >> 16 & 255) + (pixel >> 8 & 255) + (pixel & 255)) / 765;
}

Test (plot, draws_strong_motion_darker)
{
    sluice_error_t err;
    make_file (3, 0);
    cr_assert_eq (plot_map (h5, png, NULL, &err), 0, "%s", err.text);
    cairo_surface_t *image = cairo_image_surface_create_from_png (png);
    cr_assert_eq (cairo_surface_status (image), CAIRO_STATUS_SUCCESS);
    cr_assert_eq (fmax (cairo_image_surface_get_width (image) - 92 - 150,
                        cairo_image_surface_get_height (image) - 84 - 64),
                  900);
    /* values grow from the north to the south; off the outline and the lines */
    double last = 1;
    for (int row = 0; row < SIDE; row++) {
        double now = lightness (image, 10.77, 45 - 0.1 * row + 0.02);
        cr_assert_lt (now, last, "row %d", row);
        last = now;
    }
    cr_assert_lt (last, 0.35);
    cairo_surface_destroy (image);
}

Test (plot, says_when_the_picture_cannot_be_written)
{
    sluice_error_t err;
    make_file (1, 0);
    cr_assert_eq (plot_map (h5, "/nonexistent/map.png", NULL, &err), -1);
    cr_assert_eq (err.code, SLUICE_EOUTPUT);
    cr_assert (strstr (err.text, "/nonexistent/map.png: "));
}

#else

Test (plot, says_that_it_was_built_without_cairo)
{
    sluice_error_t err;
    cr_assert_eq (plot_map (h5, png, NULL, &err), -1);
    cr_assert_eq (err.code, SLUICE_EINPUT);
    cr_assert (strstr (err.text, "without cairo"));
}

#endif
