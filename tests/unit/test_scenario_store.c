/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/scenario_store.h"

static sluice_error_t err;

/* Pack and unpack. */
static void through (const sluice_class_t *class, const void *object, void *back)
{
    sluice_array_t bytes;
    cr_assert_eq (sluice_object_pack (class, object, &bytes, &err), 0, "%s", err.text);
    cr_assert_eq (sluice_object_unpack (class, &bytes, back, &err), 0, "%s", err.text);
    sluice_array_clear (&bytes);
}

static sites_t *some_sites (void)
{
    static const char text[] = "lon,lat,vs30,z1pt0\n"
                               "-118.5,34.1,400,50\n"
                               "-118.4,34.2,760,-999\n"
                               "179.99,-89,10.1,3\n";
    csv_t *csv = csv_from_text (text, strlen (text), "sites.csv", &err);
    sites_t *sites = sites_from_csv (csv, NULL, true, &err);
    cr_assert (sites, "%s", err.text);
    csv_destroy (&csv);
    return sites;
}

static rupture_t *demo_rupture (void)
{
    char path[500];
    snprintf (path, sizeof path, "%s/calc/demo/northridge/rupture.xml",
              getenv ("top_srcdir"));
    rupture_t *rupture = rupture_read (path, 1, &err);
    cr_assert (rupture, "%s", err.text);
    return rupture;
}

static const char two_planes[] =
    "<nrml xmlns=\"http://openquake.org/xmlns/nrml/0.5\"><multiPlanesRupture>"
    "<magnitude>7</magnitude><rake>90</rake>"
    "<hypocenter lon=\"0.1\" lat=\"0.1\" depth=\"5\"/>"
    "<planarSurface><topLeft lon=\"0\" lat=\"0\" depth=\"0\"/>"
    "<topRight lon=\"0\" lat=\"0.2\" depth=\"0\"/>"
    "<bottomLeft lon=\"0\" lat=\"0\" depth=\"10\"/>"
    "<bottomRight lon=\"0\" lat=\"0.2\" depth=\"10\"/></planarSurface>"
    "<planarSurface><topLeft lon=\"0\" lat=\"0.2\" depth=\"0\"/>"
    "<topRight lon=\"0\" lat=\"0.4\" depth=\"0\"/>"
    "<bottomLeft lon=\"0\" lat=\"0.2\" depth=\"10\"/>"
    "<bottomRight lon=\"0\" lat=\"0.4\" depth=\"10\"/></planarSurface>"
    "</multiPlanesRupture></nrml>";

static void same_doubles (const double *a, const double *b, size_t n)
{
    cr_assert_arr_eq (a, b, n * sizeof (double));
}

static void same_sites (const sites_t *a, const sites_t *b)
{
    cr_assert_eq (a->n, b->n);
    same_doubles (a->lon, b->lon, a->n);
    same_doubles (a->lat, b->lat, a->n);
    same_doubles (a->depth, b->depth, a->n);
    same_doubles (a->vs30, b->vs30, a->n);
    same_doubles (a->z1pt0, b->z1pt0, a->n);
    same_doubles (a->z2pt5, b->z2pt5, a->n);
}

static void same_rupture (const rupture_t *a, const rupture_t *b)
{
    cr_assert_str_eq (a->kind, b->kind);
    cr_assert (a->mag == b->mag && a->rake == b->rake && a->lon == b->lon &&
               a->lat == b->lat && a->depth == b->depth && a->line == b->line);
    cr_assert_eq (a->npatches, b->npatches);
    for (size_t i = 0; i < a->npatches; i++) {
        const patch_t *p = &a->patches[i], *q = &b->patches[i];
        cr_assert (p->plane == q->plane && p->rows == q->rows && p->cols == q->cols);
        same_doubles (p->lon, q->lon, p->rows * p->cols);
        same_doubles (p->lat, q->lat, p->rows * p->cols);
        same_doubles (p->depth, q->depth, p->rows * p->cols);
    }
}

Test (scenario_store, sites_come_back)
{
    sites_t *sites = some_sites (), back;
    cr_assert (isnan (sites->z1pt0[1]));
    through (&sites_class, sites, &back);
    same_sites (sites, &back);
    sluice_object_clear (&sites_class, &back);
    sites_destroy (&sites);
}

Test (scenario_store, ruptures_come_back)
{
    rupture_t *ruptures[2] = {
        demo_rupture (),
        rupture_from_xml (two_planes, strlen (two_planes), "two.xml", 0, &err)};
    cr_assert (ruptures[1], "%s", err.text);
    for (size_t i = 0; i < 2; i++) {
        rupture_t back;
        through (&rupture_class, ruptures[i], &back);
        same_rupture (ruptures[i], &back);
        surface_t *surface = surface_of (&back, &err);
        cr_assert (surface, "%s", err.text);
        surface_destroy (&surface);
        sluice_object_clear (&rupture_class, &back);
        rupture_destroy (&ruptures[i]);
    }
}

static settings_t some_settings (void)
{
    static const char *const imts[] = {"PGA", "SA(0.1)", "SA(1.0)", "PGV"};
    settings_t settings = {
        .gsim = gsim_find ("BooreEtAl2014", &err), .truncation = INFINITY, .events = 123};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq (imt_parse (imts[i], &settings.imts[settings.nimts++], &err), 0);
    return settings;
}

static void same_settings (const settings_t *a, const settings_t *b)
{
    cr_assert (a->gsim == b->gsim && a->truncation == b->truncation &&
               a->events == b->events && a->nimts == b->nimts);
    for (size_t i = 0; i < a->nimts; i++)
        cr_assert (a->imts[i].kind == b->imts[i].kind &&
                   a->imts[i].period == b->imts[i].period);
}

Test (scenario_store, a_scenario_in_a_file)
{
    char dir[] = "/tmp/sluice-test-scenario-store-XXXXXX", path[100];
    cr_assert_not_null (mkdtemp (dir));
    snprintf (path, sizeof path, "%s/s.h5", dir);
    rupture_t *rupture = demo_rupture ();
    sites_t *sites = some_sites ();
    const scenario_t scenario = {.settings = some_settings (),
                                 .facts = {6.7, NAN, 40, 5, 20, 17.5},
                                 .rupture = *rupture,
                                 .sites = *sites};
    scenario_t back;
    sluice_store_t *store = sluice_store_create (path, &err);
    cr_assert (store, "%s", err.text);
    cr_assert_eq (sluice_store_put (store, "s", &scenario_class, &scenario, &err), 0,
                  "%s", err.text);
    cr_assert_eq (sluice_store_get (store, "s", &scenario_class, &back, &err), 0, "%s",
                  err.text);
    same_settings (&scenario.settings, &back.settings);
    same_doubles (&scenario.facts.mag, &back.facts.mag, 6);
    same_rupture (rupture, &back.rupture);
    same_sites (sites, &back.sites);
    sluice_object_clear (&scenario_class, &back);
    cr_assert_eq (sluice_store_close (&store, &err), 0);
    rupture_destroy (&rupture);
    sites_destroy (&sites);
    unlink (path);
    rmdir (dir);
}

/* ---- settings that cannot be ------------------------------------------------------- */

static const char *gsim_text = "BooreEtAl2014", *imt_text = "PGA";

static int odd_settings (const void *object, sluice_node_t *node, sluice_error_t *e)
{
    (void) object;
    sluice_array_t imts;
    if (sluice_node_put_text (node, "gsim", gsim_text, e) ||
        sluice_array_make (&imts, "|S32", 1, (uint64_t[]){1}, e))
        return -1;
    strcpy (imts.data, imt_text);
    int rc = sluice_node_put_array (node, "imts", &imts, e);
    sluice_array_clear (&imts);
    return rc;
}

static void refuses_settings (const char *part)
{
    sluice_class_t class = settings_class;
    class.to_h5 = odd_settings;
    settings_t settings = some_settings (), back;
    sluice_array_t bytes;
    cr_assert_eq (sluice_object_pack (&class, &settings, &bytes, &err), 0, "%s",
                  err.text);
    cr_assert_eq (sluice_object_unpack (&settings_class, &bytes, &back, &err), -1);
    cr_assert (strstr (err.text, part), "%s", err.text);
    sluice_array_clear (&bytes);
}

Test (scenario_store, refuses_settings_that_cannot_be)
{
    gsim_text = "Nobody1900";
    refuses_settings ("Nobody1900");
    gsim_text = "BooreEtAl2014";
    imt_text = "SA(1000)";
    refuses_settings ("SA(1000");
    imt_text = "MMI";
    refuses_settings ("MMI");
}

Test (scenario_store, refuses_a_mesh_without_form)
{
    double four[4] = {0}, two[2] = {0};
    patch_t patch = {
        .plane = true, .rows = 1, .cols = 2, .lon = two, .lat = two, .depth = four};
    rupture_t rupture = {.kind = (char *) "x", .npatches = 1, .patches = &patch}, back;
    sluice_array_t bytes;
    cr_assert_eq (sluice_object_pack (&rupture_class, &rupture, &bytes, &err), 0);
    cr_assert_eq (sluice_object_unpack (&rupture_class, &bytes, &back, &err), -1);
    cr_assert (strstr (err.text, "patches: 0: a plane has 2 x 2"), "%s", err.text);
    sluice_array_clear (&bytes);
    patch.rows = 0;
    cr_assert_eq (sluice_object_pack (&rupture_class, &rupture, &bytes, &err), 0);
    cr_assert_eq (sluice_object_unpack (&rupture_class, &bytes, &back, &err), -1);
    cr_assert (strstr (err.text, "no mesh"), "%s", err.text);
    sluice_array_clear (&bytes);
}
