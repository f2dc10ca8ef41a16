/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "calc/geodesy.h"
#include "calc/sites.h"

/* Parameters from name, value, ..., NULL. */
static sluice_params_t *params_of (const char *name, ...)
{
    sluice_params_t *params = sluice_params_new ();
    sluice_params_set_file (params, "job.ini");
    va_list args;
    va_start (args, name);
    for (unsigned line = 1; name; line++, name = va_arg (args, const char *))
        sluice_params_set (params, name, va_arg (args, const char *), line, NULL);
    va_end (args);
    return params;
}

static sites_t *from_csv (const char *text, sluice_params_t *params, bool need_vs30,
                          sluice_error_t *err)
{
    csv_t *csv = csv_from_text (text, strlen (text), "sites.csv", err);
    cr_assert (csv, "%s", err->text);
    sites_t *sites = sites_from_csv (csv, params, need_vs30, err);
    csv_destroy (&csv);
    return sites;
}

static void refuses_csv (const char *text, const char *message)
{
    sluice_error_t err;
    cr_assert_null (from_csv (text, NULL, true, &err));
    cr_assert_str_eq (err.text, message);
    cr_assert_eq (err.code, SLUICE_EINPUT);
}

static void refuses_params (sluice_params_t *params, const char *message)
{
    sluice_error_t err;
    cr_assert_null (sites_from_params (params, NULL, true, &err));
    cr_assert_str_eq (err.text, message);
    cr_assert_eq (err.code, SLUICE_EINPUT);
    sluice_params_destroy (&params);
}

Test (sites, reads_a_site_model_in_any_order_of_columns)
{
    sluice_error_t err;
    sites_t *sites = from_csv ("vs30,z2pt5,lat,lon,z1pt0,custom_site_id\n"
                               "400,-999,34.1,-118.5,50,aa\n"
                               "760,1.5,34.2,-118.4,,bb\n",
                               NULL, true, &err);
    cr_assert (sites, "%s", err.text);
    cr_assert_eq (sites->n, 2);
    cr_assert_eq (sites->lon[0], -118.5);
    cr_assert_eq (sites->lat[1], 34.2);
    cr_assert_eq (sites->vs30[1], 760.0);
    cr_assert_eq (sites->z1pt0[0], 50.0);
    cr_assert (isnan (sites->z1pt0[1]));
    cr_assert (isnan (sites->z2pt5[0]));
    cr_assert_eq (sites->depth[0], 0.0);
    sites_destroy (&sites);
}

Test (sites, refuses_bad_site_models_by_line)
{
    refuses_csv ("lon,lat\n1,2\n", "sites.csv:1: no column 'vs30' in the header, and the "
                                   "job has no reference_vs30_value");
    refuses_csv ("lon,vs30\n1,2\n", "sites.csv:1: no column 'lat' in the header");
    refuses_csv ("lon,lat,vs30\n", "sites.csv:1: no sites behind the header");
    refuses_csv ("lon,lat,vs30\n1,2,400\n1,3,\n",
                 "sites.csv:3: the site has no vs30: give it one, or the job a "
                 "reference_vs30_value");
    refuses_csv ("lon,lat,vs30\n1,2,-400\n",
                 "sites.csv:2: vs30: -400 is not from 10 to 10000 m/s");
    refuses_csv ("lon,lat,vs30\n1,2,1e300\n",
                 "sites.csv:2: vs30: 1e+300 is not from 10 to 10000 m/s");
    refuses_csv ("lon,lat,vs30,z1pt0\n1,2,400,1e9\n",
                 "sites.csv:2: z1pt0: 1e+09 is not from 0 to 50000");
    refuses_csv ("lon,lat,vs30\n1,95,400\n",
                 "sites.csv:2: latitude is not between -90 and 90");
    refuses_csv ("lon,lat,vs30\n1181,9,400\n",
                 "sites.csv:2: longitude is not between -180 and 180");
    refuses_csv ("lon,lat,vs30\n1,2,400\n3,4,400\n1.000001,2,300\n",
                 "sites.csv:4: the same site as in line 2 (to 5 decimals)");
}

Test (sites, takes_reference_values_for_what_a_model_lacks)
{
    sluice_error_t err;
    sluice_params_t *params = params_of (
        "reference_vs30_value", "500", "reference_depth_to_1pt0km_per_sec", "120", NULL);
    sites_t *sites = from_csv ("lon,lat,vs30\n1,2,\n3,4,900\n", params, true, &err);
    cr_assert (sites, "%s", err.text);
    cr_assert_eq (sites->vs30[0], 500.0);
    cr_assert_eq (sites->vs30[1], 900.0);
    cr_assert_eq (sites->z1pt0[0], 120.0);
    sites_destroy (&sites);
    sluice_params_destroy (&params);
}

Test (sites, does_not_ask_for_vs30_where_it_is_not_needed)
{
    sluice_error_t err;
    sites_t *sites = from_csv ("lon,lat\n1,2\n", NULL, false, &err);
    cr_assert (sites);
    cr_assert (isnan (sites->vs30[0]));
    sites_destroy (&sites);
}

Test (sites, reads_a_list)
{
    sluice_error_t err;
    sluice_params_t *params = params_of ("sites", " 9.15 45.16, 9.2 45.2 0.5 ,-1 2",
                                         "reference_vs30_value", "760", NULL);
    sites_t *sites = sites_from_params (params, NULL, true, &err);
    cr_assert (sites, "%s", err.text);
    cr_assert_eq (sites->n, 3);
    cr_assert_eq (sites->lat[0], 45.16);
    cr_assert_eq (sites->depth[1], 0.5);
    cr_assert_eq (sites->vs30[2], 760.0);
    sites_destroy (&sites);
    sluice_params_destroy (&params);
}

Test (sites, refuses_bad_lists)
{
    refuses_params (
        params_of ("sites", "1 2", NULL),
        "job.ini:1: sites: these sites have no vs30: give reference_vs30_value");
    refuses_params (params_of ("reference_vs30_value", "760", "sites", "1 2, 3", NULL),
                    "job.ini:2: sites: place 2: want 'LON LAT' or 'LON LAT DEPTH'");
    refuses_params (params_of ("reference_vs30_value", "760", "sites", "1 2, 3 x", NULL),
                    "job.ini:2: sites: place 2: want 'LON LAT' or 'LON LAT DEPTH'");
    refuses_params (
        params_of ("reference_vs30_value", "760", "sites", "1 2, 3 100", NULL),
        "job.ini:2: sites: place 2: latitude is not between -90 and 90");
    refuses_params (
        params_of ("reference_vs30_value", "760", "sites", "1 2,3 4,1 2", NULL),
        "job.ini:2: sites: places 1 and 3 are the same (to 5 decimals)");
    refuses_params (params_of ("reference_vs30_value", "760", "sites", " ", NULL),
                    "job.ini:2: sites: no sites in it");
    refuses_params (params_of ("sites", "1 2", "region", "1 2", NULL),
                    "job.ini:2: region: give one of site_model_file, sites and region");
    refuses_params (params_of ("gsim", "x", NULL),
                    "job.ini: no sites: give site_model_file, sites, or region and "
                    "region_grid_spacing");
}

Test (sites, fills_a_region)
{
    sluice_error_t err;
    sluice_params_t *params =
        params_of ("region", "-119 34, -118 34, -118 35, -119 35", "region_grid_spacing",
                   "10", "reference_vs30_value", "400", NULL);
    sites_t *sites = sites_from_params (params, NULL, true, &err);
    cr_assert (sites, "%s", err.text);
    cr_assert_eq (sites->lon[0], -119.0);
    cr_assert_eq (sites->lat[0], 35.0);
    cr_assert_float_eq (
        geo_distance (sites->lon[0], sites->lat[0], sites->lon[1], sites->lat[1]), 10,
        1e-4);
    size_t row = 1;
    while (sites->lat[row] == sites->lat[0])
        row++;
    cr_assert_eq (row, 10); /* 91.1 km wide at 35 N */
    cr_assert_float_eq (
        geo_distance (sites->lon[0], sites->lat[0], sites->lon[row], sites->lat[row]), 10,
        1e-4);
    cr_assert_eq (sites->n, 12 * 10); /* 111.2 km high, 92.2 km at 34 N */
    sites_destroy (&sites);
    sluice_params_destroy (&params);
}

Test (sites, keeps_to_the_polygon)
{
    sluice_error_t err;
    sluice_params_t *params = params_of ("region", "0 0, 1 0, 0 1", "region_grid_spacing",
                                         "1", "reference_vs30_value", "400", NULL);
    sites_t *sites = sites_from_params (params, NULL, true, &err);
    cr_assert (sites, "%s", err.text);
    for (size_t i = 0; i < sites->n; i++)
        cr_assert (sites->lon[i] + sites->lat[i] <= 1 + 1e-8);
    cr_assert (sites->n > 6100 && sites->n < 6400, "%zu", sites->n);
    sites_destroy (&sites);
    sluice_params_destroy (&params);
}

Test (sites, refuses_bad_regions)
{
    refuses_params (
        params_of ("reference_vs30_value", "760", "region", "0 0, 1 0, 1 1", NULL),
        "job.ini:2: region: needs region_grid_spacing, in km");
    refuses_params (params_of ("reference_vs30_value", "760", "region", "0 0, 1 0",
                               "region_grid_spacing", "5", NULL),
                    "job.ini:2: region: 2 corners: a region needs at least 3");
    static const char *const flat[] = {"0 0, 0 0, 0 0", "0 0, 1 1, 2 2",
                                       "0 0, 1 1, 1 0, 0 1"};
    for (int i = 0; i < 3; i++)
        refuses_params (params_of ("reference_vs30_value", "760", "region", flat[i],
                                   "region_grid_spacing", "5", NULL),
                        "job.ini:2: region: has no area: its corners lie in a line, or "
                        "its sides cross");
    refuses_params (params_of ("reference_vs30_value", "760", "region", "0 0, 1 0, 1 1",
                               "region_grid_spacing", "-5", NULL),
                    "job.ini:3: region_grid_spacing: must be from 0.001 to 1000 km");
    refuses_params (params_of ("reference_vs30_value", "760", "region",
                               "-180 -90, 180 -90, 180 90, -180 90",
                               "region_grid_spacing", "0.001", NULL),
                    "region_grid_spacing: 0.001 km is too fine for this region");
}

Test (sites, drops_those_that_are_not_kept)
{
    sluice_error_t err;
    sites_t *sites =
        from_csv ("lon,lat,vs30\n1,2,300\n4,5,600\n7,8,900\n", NULL, true, &err);
    const bool keep[3] = {true, false, true};
    sites_keep (sites, keep);
    cr_assert_eq (sites->n, 2);
    cr_assert_eq (sites->lon[1], 7.0);
    cr_assert_eq (sites->vs30[1], 900.0);
    sites_destroy (&sites);
}
