/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/nrml.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calc/csv.h"
#include "calc/fault.h"
#include "calc/xml.h"

/* A rupture file is a few KB; a large CSV mesh tens of MB. */
#define MAX_FILE ((size_t) 256 << 20)

enum { MAX_PATCHES = 1000, MAX_EDGES = 1000 };

void rupture_destroy (rupture_t **self_p)
{
    rupture_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; i < self->npatches; i++)
        patch_clear (&self->patches[i]);
    free (self->patches);
    free (self->kind);
    free (self);
    *self_p = NULL;
}

static rupture_t *rupture_new (const char *kind, sluice_error_t *err)
{
    rupture_t *self = calloc (1, sizeof *self);
    if (self && (self->kind = strdup (kind)))
        return self;
    rupture_destroy (&self);
    sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the rupture");
    return NULL;
}

/* Room for `n` patches, none made yet. */
static int rupture_room (rupture_t *self, size_t n, sluice_error_t *err)
{
    self->patches = calloc (n, sizeof *self->patches);
    if (!self->patches)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the rupture");
    self->npatches = n;
    return 0;
}

/* What cannot be in any rupture; NULL if all is well. */
static const char *wrong_numbers (const rupture_t *self)
{
    if (!(self->mag > -2 && self->mag < 12))
        return "magnitude is not between -2 and 12";
    if (!(self->rake >= -180 && self->rake <= 180))
        return "rake is not between -180 and 180 degrees";
    if (!(fabs (self->lon) <= 180 && fabs (self->lat) <= 90))
        return "the hypocentre is no place on Earth";
    if (!(self->depth >= 0 && self->depth <= 700))
        return "the hypocentre's depth is not between 0 and 700 km";
    return NULL;
}

static const char *wrong_place (double lon, double lat, double depth)
{
    if (!(fabs (lon) <= 180))
        return "longitude is not between -180 and 180";
    if (!(fabs (lat) <= 90))
        return "latitude is not between -90 and 90";
    if (!(depth >= 0 && depth <= 700))
        return "depth is not between 0 and 700 km";
    return NULL;
}

/* ---- numbers in XML ------------------------------------------------------ */

static int only_number (const xml_t *xml, const xml_node_t *node, const char *what,
                        const char *text, double *value, sluice_error_t *err)
{
    const char *end;
    if (!text)
        return xml_fail (xml, node, err, "<%s> has no %s", node->name, what);
    if (csv_number (text, &end, value)) {
        while (isspace ((unsigned char) *end))
            end++;
        if (!*end)
            return 0;
    }
    return xml_fail (xml, node, err, "%s: '%.40s' is not a number", what, text);
}

/* The child of this name, which must be there once. */
static int child_in (const xml_t *xml, const xml_node_t *node, const char *name,
                     const xml_node_t **child, sluice_error_t *err)
{
    *child = xml_child (node, name);
    if (!*child)
        return xml_fail (xml, node, err, "<%s> has no <%s>", node->name, name);
    const xml_node_t *again = xml_again (*child);
    return again
               ? xml_fail (xml, again, err, "<%s> comes twice in <%s>", name, node->name)
               : 0;
}

static int number_in (const xml_t *xml, const xml_node_t *node, const char *name,
                      double *value, sluice_error_t *err)
{
    const xml_node_t *child;
    if (child_in (xml, node, name, &child, err) != 0)
        return -1;
    return only_number (xml, child, name, child->text, value, err);
}

static int place_of (const xml_t *xml, const xml_node_t *node, double *lon, double *lat,
                     double *depth, sluice_error_t *err)
{
    if (only_number (xml, node, "lon", xml_attribute (node, "lon"), lon, err) != 0 ||
        only_number (xml, node, "lat", xml_attribute (node, "lat"), lat, err) != 0 ||
        only_number (xml, node, "depth", xml_attribute (node, "depth"), depth, err) != 0)
        return -1;
    const char *wrong = wrong_place (*lon, *lat, *depth);
    return wrong ? xml_fail (xml, node, err, "<%s>: %s", node->name, wrong) : 0;
}

/* The points of the gml:LineString in `node`, `dims` numbers each. */
static int line_of (const xml_t *xml, const xml_node_t *node, int dims, line_t *line,
                    sluice_error_t *err)
{
    const xml_node_t *string = xml_child (node, "LineString");
    const xml_node_t *list = string ? xml_child (string, "posList") : NULL;
    if (!list)
        return xml_fail (xml, node, err,
                         "<%s> has no <gml:LineString> with a "
                         "<gml:posList>",
                         node->name);
    size_t most = list->length / 2 + 1, n = 0;
    double *numbers = calloc (most, sizeof *numbers);
    line->lon = calloc (most, sizeof (double));
    line->lat = calloc (most, sizeof (double));
    line->depth = calloc (most, sizeof (double));
    int rc = 0;
    if (!numbers || !line->lon || !line->lat || !line->depth)
        rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the rupture");
    for (const char *p = list->text; rc == 0;) {
        while (isspace ((unsigned char) *p))
            p++;
        if (!*p)
            break;
        const char *word = p;
        if (n == most || !csv_number (p, &p, &numbers[n++]) ||
            (*p && !isspace ((unsigned char) *p)))
            rc = xml_fail (xml, list, err, "posList: '%.20s' is not a number", word);
    }
    if (rc == 0 && (n % (size_t) dims || n / (size_t) dims < 2))
        rc = xml_fail (xml, list, err,
                       "posList: %zu numbers: want at least two points of %d each", n,
                       dims);
    for (size_t i = 0; rc == 0 && i < n / (size_t) dims; i++) {
        const double *place = numbers + i * (size_t) dims;
        line->lon[i] = place[0];
        line->lat[i] = place[1];
        line->depth[i] = dims == 3 ? place[2] : 0;
        const char *wrong = wrong_place (line->lon[i], line->lat[i], line->depth[i]);
        if (wrong)
            rc = xml_fail (xml, list, err, "posList: point %zu: %s", i + 1, wrong);
        else if (i && line->lon[i] == line->lon[i - 1] &&
                 line->lat[i] == line->lat[i - 1] && line->depth[i] == line->depth[i - 1])
            rc = xml_fail (xml, list, err, "posList: points %zu and %zu are the same", i,
                           i + 1);
    }
    line->n = n / (size_t) dims;
    free (numbers);
    if (rc != 0)
        line_clear (line);
    return rc;
}

/* ---- geometries ---------------------------------------------------------- */

static int read_plane (const xml_t *xml, const xml_node_t *node, patch_t *patch,
                       sluice_error_t *err)
{
    static const char *const corners[4] = {"topLeft", "topRight", "bottomLeft",
                                           "bottomRight"};
    if (patch_make (patch, 2, 2, err) != 0)
        return -1;
    patch->plane = true;
    for (int i = 0; i < 4; i++) {
        const xml_node_t *corner;
        if (child_in (xml, node, corners[i], &corner, err) != 0 ||
            place_of (xml, corner, &patch->lon[i], &patch->lat[i], &patch->depth[i],
                      err) != 0)
            return -1;
    }
    return 0;
}

static int read_planes (const xml_t *xml, const xml_node_t *node, rupture_t *rupture,
                        sluice_error_t *err)
{
    const xml_node_t *plane = xml_child (node, "planarSurface");
    if (!plane)
        return xml_fail (xml, node, err, "<%s> has no <planarSurface>", node->name);
    size_t n = 0;
    for (const xml_node_t *p = plane; p; p = xml_again (p))
        n++;
    if (n > MAX_PATCHES)
        return xml_fail (xml, node, err, "more than %d planes", MAX_PATCHES);
    if (n > 1 && !strcmp (node->name, "singlePlaneRupture"))
        return xml_fail (xml, xml_again (plane), err,
                         "a second <planarSurface> in a singlePlaneRupture");
    if (rupture_room (rupture, n, err) != 0)
        return -1;
    rupture->line = plane->line;
    for (size_t i = 0; i < n; i++, plane = xml_again (plane))
        if (read_plane (xml, plane, &rupture->patches[i], err) != 0)
            return -1;
    return 0;
}

static int need_spacing (const xml_t *xml, const xml_node_t *node, double spacing,
                         sluice_error_t *err)
{
    if (spacing > 0)
        return 0;
    return xml_fail (xml, node, err,
                     "a %s needs rupture_mesh_spacing (km) in the job file", node->name);
}

/* Put the place of `node` before an error of the mesh. */
static int at_node (const xml_t *xml, const xml_node_t *node, sluice_error_t *err)
{
    sluice_error_t inner = *err;
    xml_fail (xml, node, err, "%s", inner.text);
    err->code = inner.code;
    return -1;
}

static int read_simple (const xml_t *xml, const xml_node_t *node, double spacing,
                        rupture_t *rupture, sluice_error_t *err)
{
    const xml_node_t *geometry;
    double dip, upper, lower;
    line_t trace = {0};
    if (child_in (xml, node, "simpleFaultGeometry", &geometry, err) != 0)
        return -1;
    rupture->line = geometry->line;
    if (need_spacing (xml, node, spacing, err) != 0 ||
        number_in (xml, geometry, "dip", &dip, err) != 0 ||
        number_in (xml, geometry, "upperSeismoDepth", &upper, err) != 0 ||
        number_in (xml, geometry, "lowerSeismoDepth", &lower, err) != 0 ||
        rupture_room (rupture, 1, err) != 0 ||
        line_of (xml, geometry, 2, &trace, err) != 0)
        return -1;
    int rc = fault_simple (&trace, dip, upper, lower, spacing, &rupture->patches[0], err);
    line_clear (&trace);
    return rc == 0 ? 0 : at_node (xml, geometry, err);
}

static bool is_edge (const xml_node_t *node)
{
    return !strcmp (node->name, "faultTopEdge") ||
           !strcmp (node->name, "intermediateEdge") ||
           !strcmp (node->name, "faultBottomEdge");
}

static int read_edges (const xml_t *xml, const xml_node_t *geometry, line_t *edges,
                       size_t *n, sluice_error_t *err)
{
    const xml_node_t *node = geometry->first;
    for (; node; node = node->next) {
        if (!is_edge (node))
            continue;
        if (*n == MAX_EDGES)
            return xml_fail (xml, node, err, "more than %d edges", MAX_EDGES);
        if ((*n == 0) != !strcmp (node->name, "faultTopEdge"))
            return xml_fail (xml, node, err,
                             "<%s> here: want faultTopEdge, "
                             "intermediateEdge ..., faultBottomEdge",
                             node->name);
        if (line_of (xml, node, 3, &edges[*n], err) != 0)
            return -1;
        ++*n;
        if (!strcmp (node->name, "faultBottomEdge"))
            return 0;
    }
    return xml_fail (xml, geometry, err, "<%s> has no <%s>", geometry->name,
                     *n ? "faultBottomEdge" : "faultTopEdge");
}

static int read_complex (const xml_t *xml, const xml_node_t *node, double spacing,
                         rupture_t *rupture, sluice_error_t *err)
{
    const xml_node_t *geometry;
    if (child_in (xml, node, "complexFaultGeometry", &geometry, err) != 0)
        return -1;
    rupture->line = geometry->line;
    if (need_spacing (xml, node, spacing, err) != 0 ||
        rupture_room (rupture, 1, err) != 0)
        return -1;
    line_t *edges = calloc (MAX_EDGES, sizeof *edges);
    if (!edges)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the rupture");
    size_t n = 0;
    int rc = read_edges (xml, geometry, edges, &n, err);
    if (rc == 0 && fault_complex (edges, n, spacing, &rupture->patches[0], err) != 0)
        rc = at_node (xml, geometry, err);
    for (size_t i = 0; i < n; i++)
        line_clear (&edges[i]);
    free (edges);
    return rc;
}

/* ---- ruptures in XML ----------------------------------------------------- */

static int read_node (const xml_t *xml, const xml_node_t *node, double spacing,
                      rupture_t *rupture, sluice_error_t *err)
{
    const xml_node_t *hypocentre;
    if (child_in (xml, node, "hypocenter", &hypocentre, err) != 0 ||
        number_in (xml, node, "magnitude", &rupture->mag, err) != 0 ||
        number_in (xml, node, "rake", &rupture->rake, err) != 0 ||
        place_of (xml, hypocentre, &rupture->lon, &rupture->lat, &rupture->depth, err) !=
            0)
        return -1;
    const char *wrong = wrong_numbers (rupture);
    if (wrong)
        return xml_fail (xml, node, err, "%s", wrong);
    if (!strcmp (node->name, "simpleFaultRupture"))
        return read_simple (xml, node, spacing, rupture, err);
    if (!strcmp (node->name, "complexFaultRupture"))
        return read_complex (xml, node, spacing, rupture, err);
    return read_planes (xml, node, rupture, err);
}

static bool is_rupture (const xml_node_t *node)
{
    return !strcmp (node->name, "singlePlaneRupture") ||
           !strcmp (node->name, "multiPlanesRupture") ||
           !strcmp (node->name, "simpleFaultRupture") ||
           !strcmp (node->name, "complexFaultRupture");
}

static const xml_node_t *find_rupture (const xml_t *xml, sluice_error_t *err)
{
    const xml_node_t *root = xml_root (xml);
    const char *ns = xml_namespace (xml);
    if (strcmp (root->name, "nrml") != 0 ||
        (strcmp (ns, "http://openquake.org/xmlns/nrml/0.4") != 0 &&
         strcmp (ns, "http://openquake.org/xmlns/nrml/0.5") != 0)) {
        xml_fail (xml, root, err,
                  "the root is <%s> of '%.60s': want <nrml> of "
                  "http://openquake.org/xmlns/nrml/0.5 or 0.4",
                  root->name, ns);
        return NULL;
    }
    const xml_node_t *node = root->first;
    if (!node || !is_rupture (node)) {
        xml_fail (xml, node ? node : root, err,
                  "%s%.60s: known are singlePlaneRupture, multiPlanesRupture, "
                  "simpleFaultRupture and complexFaultRupture",
                  node ? "no rupture that is known: " : "no rupture",
                  node ? node->name : "");
        return NULL;
    }
    if (node->next) {
        xml_fail (xml, node->next, err, "a second element <%s>: one rupture is wanted",
                  node->next->name);
        return NULL;
    }
    return node;
}

rupture_t *rupture_from_xml (const char *text, size_t length, const char *name,
                             double spacing, sluice_error_t *err)
{
    sluice_error_t unused;
    if (!err)
        err = &unused;
    xml_t *xml = xml_parse (text, length, name, err);
    if (!xml)
        return NULL;
    rupture_t *self = NULL;
    const xml_node_t *node = find_rupture (xml, err);
    if (node && (self = rupture_new (node->name, err)) &&
        read_node (xml, node, spacing, self, err) != 0)
        rupture_destroy (&self);
    xml_destroy (&xml);
    return self;
}

/* ---- ruptures in CSV ----------------------------------------------------- */

/* The mesh is JSON: surfaces of [lons, lats, depths], each of rows of numbers. */
static void skip_space (const char **p)
{
    while (isspace ((unsigned char) **p))
        ++*p;
}

static bool take (const char **p, char c)
{
    skip_space (p);
    if (**p != c)
        return false;
    ++*p;
    return true;
}

/* Rows of numbers, all of one length, into *values (grown). */
static bool read_json_rows (const char **p, double **values, size_t *rows, size_t *cols)
{
    size_t room = 0, n = 0;
    *rows = *cols = 0;
    if (!take (p, '['))
        return false;
    do {
        size_t row = 0;
        if (!take (p, '['))
            return false;
        do {
            if (n == room) {
                room = room ? 2 * room : 64;
                double *wider = room > RUPTURE_MAX_POINTS
                                    ? NULL
                                    : realloc (*values, room * sizeof *wider);
                if (!wider)
                    return false;
                *values = wider;
            }
            if (!csv_number (*p, p, &(*values)[n++]))
                return false;
            row++;
        } while (take (p, ','));
        if (!take (p, ']') || (*rows && row != *cols))
            return false;
        *cols = row;
        ++*rows;
    } while (take (p, ','));
    return take (p, ']');
}

static const char *read_json_patch (const char **p, patch_t *patch)
{
    static const char *const shape = "mesh: want [[[lons], [lats], [depths]], ...] of "
                                     "rows of numbers";
    size_t rows, cols;
    if (!take (p, '[') || !read_json_rows (p, &patch->lon, &patch->rows, &patch->cols))
        return shape;
    if (!take (p, ',') || !read_json_rows (p, &patch->lat, &rows, &cols) ||
        rows != patch->rows || cols != patch->cols)
        return shape;
    if (!take (p, ',') || !read_json_rows (p, &patch->depth, &rows, &cols) ||
        rows != patch->rows || cols != patch->cols || !take (p, ']'))
        return shape;
    for (size_t i = 0; i < rows * cols; i++) {
        const char *wrong = wrong_place (patch->lon[i], patch->lat[i], patch->depth[i]);
        if (wrong)
            return wrong;
    }
    return NULL;
}

static const char *read_json (const char *text, bool planes, rupture_t *self)
{
    const char *p = text, *wrong = NULL;
    if (!take (&p, '['))
        return "mesh: is no list";
    do {
        if (self->npatches == MAX_PATCHES)
            return "mesh: too many surfaces";
        patch_t *patch = &self->patches[self->npatches++];
        wrong = read_json_patch (&p, patch);
        if (!wrong && planes && patch->rows * patch->cols != 4)
            wrong = "mesh: a planar surface has 4 corners";
        if (planes) {
            patch->plane = true;
            patch->rows = patch->cols = 2;
        }
    } while (!wrong && take (&p, ','));
    if (!wrong && (!take (&p, ']') || (skip_space (&p), *p)))
        wrong = "mesh: text behind the list";
    return wrong;
}

static int read_csv (csv_t *csv, rupture_t **self_p, sluice_error_t *err)
{
    static const char *const names[] = {"mag", "rake", "lon", "lat",
                                        "dep", "kind", "mesh"};
    size_t at[7];
    for (int i = 0; i < 7; i++) {
        int column = csv_column (csv, names[i]);
        if (column < 0)
            return csv_fail (csv, err,
                             "no column '%s': want OpenQuake's exported "
                             "ruptures",
                             names[i]);
        at[i] = (size_t) column;
    }
    int more = csv_next (csv, err);
    if (more != 1)
        return more < 0 ? -1 : csv_fail (csv, err, "no rupture behind the header");
    const char *kind = csv_text (csv, at[5]);
    rupture_t *self = *self_p = rupture_new (kind, err);
    if (!self || rupture_room (self, MAX_PATCHES, err) != 0)
        return -1;
    self->npatches = 0;
    self->line = csv_line (csv);
    if (csv_f64 (csv, at[0], &self->mag, err) != 0 ||
        csv_f64 (csv, at[1], &self->rake, err) != 0 ||
        csv_f64 (csv, at[2], &self->lon, err) != 0 ||
        csv_f64 (csv, at[3], &self->lat, err) != 0 ||
        csv_f64 (csv, at[4], &self->depth, err) != 0)
        return -1;
    const char *wrong = wrong_numbers (self);
    bool planes = strstr (kind, "PlanarSurface") || strstr (kind, "MultiSurface");
    if (!wrong)
        wrong = read_json (csv_text (csv, at[6]), planes, self);
    if (wrong)
        return csv_fail (csv, err, "%s", wrong);
    more = csv_next (csv, err);
    return more == 0  ? 0
           : more < 0 ? -1
                      : csv_fail (csv, err, "a second rupture: one is wanted");
}

static rupture_t *from_csv (csv_t *csv, sluice_error_t *err)
{
    rupture_t *self = NULL;
    if (csv && read_csv (csv, &self, err) != 0)
        rupture_destroy (&self);
    csv_destroy (&csv);
    return self;
}

rupture_t *rupture_from_csv (const char *text, size_t length, const char *name,
                             sluice_error_t *err)
{
    return from_csv (csv_from_text (text, length, name, err), err);
}

rupture_t *rupture_read (const char *path, double spacing, sluice_error_t *err)
{
    size_t length, path_length = strlen (path);
    if (path_length > 4 && !strcmp (path + path_length - 4, ".csv"))
        return from_csv (csv_open (path, err), err);
    char *text = csv_load (path, MAX_FILE, &length, err);
    if (!text)
        return NULL;
    rupture_t *self = rupture_from_xml (text, length, path, spacing, err);
    free (text);
    return self;
}
