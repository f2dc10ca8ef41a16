/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/geodesy.h"
#include "calc/nrml.h"

#define HEAD                                                                             \
    "<?xml version='1.0'?>\n"                                                            \
    "<nrml xmlns:gml='http://www.opengis.net/gml'"                                       \
    " xmlns='http://openquake.org/xmlns/nrml/0.5'>\n"
#define BASICS                                                                           \
    "<magnitude>6.5</magnitude><rake>90</rake>"                                          \
    "<hypocenter lon='10' lat='45' depth='8'/>\n"
#define PLANE                                                                            \
    "<planarSurface><topLeft lon='10' lat='45' depth='2'/>"                              \
    "<topRight lon='10.1' lat='45' depth='2'/>"                                          \
    "<bottomLeft lon='10' lat='44.9' depth='12'/>"                                       \
    "<bottomRight lon='10.1' lat='44.9' depth='12'/></planarSurface>\n"

static rupture_t *from (const char *text, sluice_error_t *err)
{
    return rupture_from_xml (text, strlen (text), "r.xml", 1.0, err);
}

static void refuses (const char *text, const char *message)
{
    sluice_error_t err;
    cr_assert_null (from (text, &err));
    cr_assert_str_eq (err.text, message);
    cr_assert_eq (err.code, SLUICE_EINPUT);
}

static void refuses_csv (const char *text, const char *message)
{
    sluice_error_t err;
    cr_assert_null (rupture_from_csv (text, strlen (text), "r.csv", &err));
    cr_assert_str_eq (err.text, message);
}

Test (nrml, reads_a_plane)
{
    sluice_error_t err;
    rupture_t *r = from (
        HEAD "<singlePlaneRupture>" BASICS PLANE "</singlePlaneRupture></nrml>", &err);
    cr_assert (r, "%s", err.text);
    cr_assert_str_eq (r->kind, "singlePlaneRupture");
    cr_assert_eq (r->mag, 6.5);
    cr_assert_eq (r->rake, 90.0);
    cr_assert_eq (r->depth, 8.0);
    cr_assert_eq (r->npatches, 1);
    cr_assert (r->patches[0].plane);
    cr_assert_eq (r->patches[0].rows, 2);
    cr_assert_eq (r->patches[0].lon[1], 10.1);
    cr_assert_eq (r->patches[0].lat[2], 44.9);
    cr_assert_eq (r->patches[0].depth[3], 12.0);
    rupture_destroy (&r);
    cr_assert_null (r);
}

Test (nrml, reads_nrml_0_4_and_several_planes)
{
    sluice_error_t err;
    rupture_t *r =
        from ("<nrml xmlns='http://openquake.org/xmlns/nrml/0.4'>"
              "<multiPlanesRupture>" BASICS PLANE PLANE "</multiPlanesRupture></nrml>",
              &err);
    cr_assert (r, "%s", err.text);
    cr_assert_eq (r->npatches, 2);
    rupture_destroy (&r);
}

Test (nrml, makes_the_mesh_of_a_simple_fault)
{
    sluice_error_t err;
    rupture_t *r = from (
        HEAD "<simpleFaultRupture>" BASICS
             "<simpleFaultGeometry><gml:LineString><gml:posList>10 45\n10.2 45 10.4 45.1"
             "</gml:posList></gml:LineString><dip>30</dip>"
             "<upperSeismoDepth>2</upperSeismoDepth>"
             "<lowerSeismoDepth>12</lowerSeismoDepth></simpleFaultGeometry>"
             "</simpleFaultRupture></nrml>",
        &err);
    cr_assert (r, "%s", err.text);
    const patch_t *mesh = &r->patches[0];
    cr_assert_not (mesh->plane);
    cr_assert_eq (mesh->rows, 21); /* 10 km / sin 30 = 20 km */
    double along = geo_distance (10, 45, 10.2, 45) + geo_distance (10.2, 45, 10.4, 45.1);
    cr_assert_eq (mesh->cols, (size_t) lround (along) + 1);
    cr_assert_float_eq (mesh->depth[0], 2, 1e-12);
    cr_assert_float_eq (mesh->depth[20 * mesh->cols], 12, 1e-9);
    for (size_t i = 1; i < mesh->cols; i++)
        cr_assert_float_eq (
            geo_distance (mesh->lon[i - 1], mesh->lat[i - 1], mesh->lon[i], mesh->lat[i]),
            1.0, 1e-3);
    /* the top edge lies 2 km / tan 30 to the right of the trace */
    cr_assert_float_eq (geo_distance (10, 45, mesh->lon[0], mesh->lat[0]), 2 * sqrt (3),
                        1e-6);
    cr_assert (mesh->lat[0] < 45);
    rupture_destroy (&r);
}

Test (nrml, makes_the_mesh_of_a_complex_fault)
{
    sluice_error_t err;
#define EDGE(name, list)                                                                 \
    "<" name "><gml:LineString><gml:posList>" list                                       \
    "</gml:posList></gml:LineString></" name ">"
    rupture_t *r = from (
        HEAD "<complexFaultRupture>" BASICS
             "<complexFaultGeometry>" EDGE ("faultTopEdge", "10 45 1 10.1 45 1 10.3 45 2")
                 EDGE ("intermediateEdge", "10 44.95 5 10.3 44.95 6")
                     EDGE ("faultBottomEdge",
                           "10 44.9 10 10.3 44.9 12") "</complexFaultGeometry></"
                                                      "complexFaultRupture></nrml>",
        &err);
    cr_assert (r, "%s", err.text);
    const patch_t *mesh = &r->patches[0];
    size_t last = mesh->cols - 1, bottom = (mesh->rows - 1) * mesh->cols;
    cr_assert_eq (mesh->cols, 25); /* 23.6 km */
    cr_assert (mesh->rows >= 15 && mesh->rows <= 16, "%zu", mesh->rows);
    cr_assert_float_eq (mesh->lon[0], 10, 1e-12);
    cr_assert_float_eq (mesh->lon[last], 10.3, 1e-9);
    cr_assert_float_eq (mesh->depth[last], 2, 1e-9);
    cr_assert_float_eq (mesh->lat[bottom], 44.9, 1e-6);
    cr_assert_float_eq (mesh->depth[bottom + last], 12, 1e-6);
    rupture_destroy (&r);
}

Test (nrml, names_line_of_what_is_wrong)
{
    refuses ("", "r.xml:1: no element found");
    refuses (HEAD "<singlePlaneRupture>\n</nrml>", "r.xml:4: mismatched tag");
    refuses ("<nrml/>", "r.xml:1: the root is <nrml> of '': want <nrml> of "
                        "http://openquake.org/xmlns/nrml/0.5 or 0.4");
    refuses (HEAD "</nrml>",
             "r.xml:2: no rupture: known are singlePlaneRupture, "
             "multiPlanesRupture, simpleFaultRupture and complexFaultRupture");
    refuses (
        HEAD "<sourceModel/></nrml>",
        "r.xml:3: no rupture that is known: sourceModel: known are singlePlaneRupture, "
        "multiPlanesRupture, simpleFaultRupture and complexFaultRupture");
    refuses (HEAD "<singlePlaneRupture>" BASICS "</singlePlaneRupture></nrml>",
             "r.xml:3: <singlePlaneRupture> has no <planarSurface>");
    refuses (HEAD "<singlePlaneRupture>\n<hypocenter lon='1' lat='2' depth='3'/>"
                  "<magnitude>big</magnitude></singlePlaneRupture></nrml>",
             "r.xml:4: magnitude: 'big' is not a number");
    refuses (HEAD "<singlePlaneRupture><magnitude>6</magnitude><rake>0</rake>"
                  "<hypocenter lon='1' lat='200' depth='3'/></singlePlaneRupture></nrml>",
             "r.xml:3: <hypocenter>: latitude is not between -90 and 90");
    refuses (HEAD "<singlePlaneRupture>" BASICS
                  "<planarSurface>\n<topLeft lon='1' lat='2'/>"
                  "</planarSurface></singlePlaneRupture></nrml>",
             "r.xml:5: <topLeft> has no depth");
    refuses (HEAD "<singlePlaneRupture>" BASICS
                  "\n<magnitude>7</magnitude></singlePlaneRupture></nrml>",
             "r.xml:5: <magnitude> comes twice in <singlePlaneRupture>");
    refuses (HEAD
             "<simpleFaultRupture>" BASICS
             "<simpleFaultGeometry><gml:LineString>\n<gml:posList>1 2 3</gml:posList>"
             "</gml:LineString><dip>30</dip><upperSeismoDepth>2</upperSeismoDepth>"
             "<lowerSeismoDepth>12</lowerSeismoDepth></simpleFaultGeometry>"
             "</simpleFaultRupture></nrml>",
             "r.xml:5: posList: 3 numbers: want at least two points of 2 each");
}

Test (nrml, refuses_document_types_and_their_entities)
{
    refuses ("<?xml version='1.0'?>\n<!DOCTYPE lolz [<!ENTITY a 'ha'>"
             "<!ENTITY b '&a;&a;&a;'>]>\n<nrml>&b;</nrml>",
             "r.xml:2: a document type declaration is not allowed here");
}

Test (nrml, refuses_deep_nesting)
{
    char text[5000] = "";
    for (int i = 0; i < 1000; i++)
        strcat (text, "<a>");
    refuses (text, "r.xml:1: elements are nested too deep");
}

Test (nrml, wants_a_mesh_spacing_for_traces)
{
    sluice_error_t err;
    const char *text = HEAD "<simpleFaultRupture>" BASICS "<simpleFaultGeometry/>"
                            "</simpleFaultRupture></nrml>";
    cr_assert_null (rupture_from_xml (text, strlen (text), "r.xml", 0, &err));
    cr_assert_str_eq (err.text,
                      "r.xml:3: a simpleFaultRupture needs rupture_mesh_spacing "
                      "(km) in the job file");
}

#define COLUMNS                                                                          \
    "#,,\"trts=['x']\"\nseed,mag,rake,lon,lat,dep,multiplicity,trt,kind,mesh,extra\n"
#define PLANAR "ParametricProbabilisticRupture PlanarSurface"

Test (nrml, reads_csv)
{
    sluice_error_t err;
    const char *text = COLUMNS "42,6.5,90,10,45,8,1,x," PLANAR
                               ",\"[[[[10, 10.1, 10, 10.1]], [[45, 45, 44.9, 44.9]], "
                               "[[2, 2, 12, 12]]]]\",\"{}\"\n";
    rupture_t *r = rupture_from_csv (text, strlen (text), "r.csv", &err);
    cr_assert (r, "%s", err.text);
    cr_assert_eq (r->npatches, 1);
    cr_assert (r->patches[0].plane);
    cr_assert_eq (r->patches[0].lat[2], 44.9);
    cr_assert_eq (r->mag, 6.5);
    rupture_destroy (&r);
    text =
        COLUMNS "42,6.5,90,10,45,8,1,x,ParametricProbabilisticRupture SimpleFaultSurface,"
                "\"[[[[10, 10.1], [10, 10.1], [10, 10.1]], [[45, 45], [44.9, 44.9],"
                "[44.8, 44.8]], [[2, 2], [12, 12], [14, 14]]]]\",\"{}\"\n";
    r = rupture_from_csv (text, strlen (text), "r.csv", &err);
    cr_assert (r, "%s", err.text);
    cr_assert_eq (r->patches[0].rows, 3);
    cr_assert_eq (r->patches[0].cols, 2);
    cr_assert_not (r->patches[0].plane);
    rupture_destroy (&r);
}

Test (nrml, refuses_bad_csv)
{
    refuses_csv ("a,b\n1,2\n",
                 "r.csv:1: no column 'mag': want OpenQuake's exported ruptures");
    refuses_csv (COLUMNS, "r.csv:2: no rupture behind the header");
    refuses_csv (
        COLUMNS "42,6.5,90,10,45,8,1,x," PLANAR ",[[[[10]]],x\n",
        "r.csv:3: mesh: want [[[lons], [lats], [depths]], ...] of rows of numbers");
    refuses_csv (COLUMNS "42,6.5,90,10,45,8,1,x," PLANAR
                         ",\"[[[[10,11]],[[1,2]],[[3,4]]]]\",{}\n",
                 "r.csv:3: mesh: a planar surface has 4 corners");
    refuses_csv (COLUMNS "42,big,90,10,45,8,1,x," PLANAR ",[],{}\n",
                 "r.csv:3: mag: 'big' is not a number");
}

Test (nrml, reads_the_demonstration)
{
    sluice_error_t err;
    char path[500];
    snprintf (path, sizeof path, "%s/calc/demo/northridge/rupture.xml",
              getenv ("top_srcdir"));
    rupture_t *r = rupture_read (path, 1, &err);
    cr_assert (r, "%s", err.text);
    const patch_t *p = &r->patches[0];
    cr_assert_eq (r->mag, 6.7);
    cr_assert_float_eq (geo_distance (p->lon[0], p->lat[0], p->lon[1], p->lat[1]), 20,
                        0.01);
    cr_assert_float_eq (geo_distance_3d (p->lon[0], p->lat[0], p->depth[0], p->lon[2],
                                         p->lat[2], p->depth[2]),
                        25, 0.01);
    cr_assert_float_eq (geo_azimuth (p->lon[0], p->lat[0], p->lon[1], p->lat[1]), 122,
                        0.1);
    rupture_destroy (&r);
}
