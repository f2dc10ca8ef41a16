/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <stdint.h>
#include <stdlib.h>

#include "calc/surface_kinds.h"
#include "calc/vmath.h"

#define NO_LENGTH 1e-6 /* km: what is shorter is no edge */

/* A ball around a cell: whatever is farther than the best so far from all of it
 * need not be looked at. */
typedef struct {
    geo_vec_t centre;
    double radius;
} ball_t;

struct mesh {
    size_t rows, columns;
    geo_vec_t *unit; /* of the nodes, by rows */
    geo_vec_t *km;
    double *depth;
    ball_t *ball;     /* of the cells, in space (km) */
    ball_t *shadow;   /* and of their projections on the unit sphere */
    double strike;    /* mean, degrees */
    geo_vec_t end[2]; /* poles of the circles for ry0 */
};

static size_t cells (const mesh_t *self)
{
    return (self->rows - 1) * (self->columns - 1);
}

/* The node at the top left of a cell. */
static size_t cell_node (const mesh_t *self, size_t cell)
{
    size_t wide = self->columns - 1;
    return cell / wide * self->columns + cell % wide;
}

static ball_t ball_around (const geo_vec_t *nodes, size_t at, size_t columns)
{
    const geo_vec_t corner[4] = {nodes[at], nodes[at + 1], nodes[at + columns],
                                 nodes[at + columns + 1]};
    ball_t ball = {geo_times (0.25, geo_plus (geo_plus (corner[0], corner[1]),
                                              geo_plus (corner[2], corner[3]))),
                   0};
    for (int k = 0; k < 4; k++) {
        double d = geo_norm (geo_minus (corner[k], ball.centre));
        ball.radius = d > ball.radius ? d : ball.radius;
    }
    return ball;
}

/* Strike: the mean direction of the top edge, weighted by length. */
static int find_strike (mesh_t *self, const double *lon, const double *lat,
                        sluice_error_t *err)
{
    double east = 0, north = 0, length = 0;
    for (size_t k = 0; k + 1 < self->columns; k++) {
        double step = geo_distance (lon[k], lat[k], lon[k + 1], lat[k + 1]);
        if (step <= NO_LENGTH)
            continue;
        double a = geo_radians (geo_azimuth (lon[k], lat[k], lon[k + 1], lat[k + 1]));
        length += step;
        east += step * vm_sin (a);
        north += step * vm_cos (a);
    }
    if (length <= NO_LENGTH || vm_hypot (east, north) <= NO_LENGTH)
        return sluice_fail (err, SLUICE_EINPUT, "the mesh's top edge has no direction");
    double strike = geo_degrees (vm_atan2 (east, north));
    self->strike = strike < 0 ? strike + 360.0 : strike;
    size_t last = self->columns - 1;
    self->end[0] = geo_pole (lon[0], lat[0], self->strike + 90.0);
    self->end[1] = geo_pole (lon[last], lat[last], self->strike + 90.0);
    return 0;
}

static double triangle_area (geo_vec_t a, geo_vec_t b, geo_vec_t c)
{
    return 0.5 * geo_norm (geo_cross (geo_minus (b, a), geo_minus (c, a)));
}

static double mesh_area (const mesh_t *self)
{
    double area = 0;
    for (size_t k = 0; k < cells (self); k++) {
        const geo_vec_t *a = self->km + cell_node (self, k), *c = a + self->columns;
        area += triangle_area (a[0], a[1], c[0]) + triangle_area (a[1], c[1], c[0]);
    }
    return area;
}

mesh_t *mesh_new (size_t rows, size_t columns, const double *lon, const double *lat,
                  const double *depth, sluice_error_t *err)
{
    if (rows < 2 || columns < 2 || rows > SIZE_MAX / sizeof (ball_t) / 4 / columns) {
        sluice_fail (err, SLUICE_EINPUT, "a mesh of %zu x %zu nodes is none", rows,
                     columns);
        return NULL;
    }
    size_t n = rows * columns;
    for (size_t i = 0; i < n; i++)
        if (!is_place (lon[i], lat[i], depth[i])) {
            sluice_fail (err, SLUICE_EINPUT,
                         "node %zu of row %zu (%g, %g, %g km) is no place on earth",
                         i % columns, i / columns, lon[i], lat[i], depth[i]);
            return NULL;
        }
    mesh_t *self = calloc (1, sizeof *self);
    if (!self)
        goto memory;
    self->rows = rows;
    self->columns = columns;
    self->unit = malloc (n * sizeof *self->unit);
    self->km = malloc (n * sizeof *self->km);
    self->depth = malloc (n * sizeof *self->depth);
    self->ball = malloc (n * sizeof *self->ball);
    self->shadow = malloc (n * sizeof *self->shadow);
    if (!self->unit || !self->km || !self->depth || !self->ball || !self->shadow)
        goto memory;
    for (size_t i = 0; i < n; i++) {
        self->unit[i] = geo_unit (lon[i], lat[i]);
        self->km[i] = geo_times (GEO_EARTH_RADIUS - depth[i], self->unit[i]);
        self->depth[i] = depth[i];
    }
    for (size_t k = 0; k < cells (self); k++) {
        self->ball[k] = ball_around (self->km, cell_node (self, k), columns);
        self->shadow[k] = ball_around (self->unit, cell_node (self, k), columns);
    }
    if (find_strike (self, lon, lat, err) == -1) {
        mesh_destroy (&self);
        return NULL;
    }
    if (!(mesh_area (self) > NO_LENGTH * NO_LENGTH)) {
        mesh_destroy (&self);
        sluice_fail (err, SLUICE_EINPUT, "the mesh has no area");
        return NULL;
    }
    return self;
memory:
    mesh_destroy (&self);
    sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a mesh of %zu nodes", n);
    return NULL;
}

void mesh_destroy (mesh_t **self_p)
{
    mesh_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    free (self->unit);
    free (self->km);
    free (self->depth);
    free (self->ball);
    free (self->shadow);
    free (self);
    *self_p = NULL;
}

/* Angle of a triangle's plane against the ground there, degrees. */
static double triangle_dip (geo_vec_t a, geo_vec_t b, geo_vec_t c)
{
    geo_vec_t normal = geo_normalized (geo_cross (geo_minus (b, a), geo_minus (c, a)));
    geo_vec_t up = geo_normalized (geo_plus (a, geo_plus (b, c)));
    double level = fabs (geo_dot (normal, up));
    return geo_degrees (vm_acos (level < 1.0 ? level : 1.0));
}

void mesh_describe (const mesh_t *self, double *strike, double *dip, double *length,
                    double *area, double *ztor, geo_vec_t *middle)
{
    *strike = self->strike;
    *area = mesh_area (self);
    double dips = 0;
    for (size_t k = 0; k < cells (self); k++) {
        const geo_vec_t *a = self->km + cell_node (self, k), *c = a + self->columns;
        dips += triangle_area (a[0], a[1], c[0]) * triangle_dip (a[0], a[1], c[0]);
        dips += triangle_area (a[1], c[1], c[0]) * triangle_dip (a[1], c[1], c[0]);
    }
    *dip = dips / *area;
    double sum = 0;
    for (size_t i = 0; i + 1 < self->rows * self->columns; i++)
        if ((i + 1) % self->columns != 0)
            sum += geo_norm (geo_minus (self->km[i + 1], self->km[i]));
    *length = sum / (double) self->rows;
    *ztor = self->depth[0];
    for (size_t i = 1; i < self->columns; i++)
        *ztor = self->depth[i] < *ztor ? self->depth[i] : *ztor;
    size_t r0 = (self->rows - 1) / 2, r1 = self->rows / 2;
    size_t c0 = (self->columns - 1) / 2, c1 = self->columns / 2;
    const geo_vec_t *upper = self->km + r0 * self->columns;
    const geo_vec_t *lower = self->km + r1 * self->columns;
    *middle = geo_times (0.25, geo_plus (geo_plus (upper[c0], upper[c1]),
                                         geo_plus (lower[c0], lower[c1])));
}

/* Squared distance of `p` from the segment ab. */
static double segment2 (geo_vec_t p, geo_vec_t a, geo_vec_t b)
{
    geo_vec_t ab = geo_minus (b, a), ap = geo_minus (p, a);
    double full = geo_dot (ab, ab), t = geo_dot (ap, ab);
    if (t > 0 && full > 0) {
        t = t < full ? t / full : 1.0;
        ap = geo_minus (ap, geo_times (t, ab));
    }
    return geo_dot (ap, ap);
}

/* Squared distance of `p` from the triangle abc in space: to its plane where the
 * foot lies inside, to the nearest edge otherwise. */
static double triangle2 (geo_vec_t p, geo_vec_t a, geo_vec_t b, geo_vec_t c)
{
    geo_vec_t n = geo_cross (geo_minus (b, a), geo_minus (c, a));
    double n2 = geo_dot (n, n);
    geo_vec_t pa = geo_minus (p, a), pb = geo_minus (p, b), pc = geo_minus (p, c);
    if (n2 > 0 && geo_dot (geo_cross (pa, pb), n) >= 0 &&
        geo_dot (geo_cross (pb, pc), n) >= 0 && geo_dot (geo_cross (pc, pa), n) >= 0) {
        double off = geo_dot (pa, n);
        return off * off / n2;
    }
    double d = segment2 (p, a, b), e = segment2 (p, b, c), f = segment2 (p, c, a);
    d = e < d ? e : d;
    return f < d ? f : d;
}

/* Squared half chord from `u` to the arc ab of a great circle. */
static double arc2 (geo_vec_t u, geo_vec_t a, geo_vec_t b)
{
    geo_vec_t n = geo_cross (a, b);
    double n2 = geo_dot (n, n);
    if (n2 > 0 && geo_dot (geo_cross (n, a), u) >= 0 &&
        geo_dot (geo_cross (b, n), u) >= 0)
        return half_chord2 (geo_dot (n, u) / sqrt (n2));
    double d = between2 (u, a), e = between2 (u, b);
    return e < d ? e : d;
}

/* Squared half chord from `u` to the spherical triangle abc. */
static double shadow2 (geo_vec_t u, geo_vec_t a, geo_vec_t b, geo_vec_t c)
{
    double x = geo_dot (geo_cross (a, b), u), y = geo_dot (geo_cross (b, c), u);
    double z = geo_dot (geo_cross (c, a), u);
    if (((x >= 0 && y >= 0 && z >= 0) || (x <= 0 && y <= 0 && z <= 0)) &&
        geo_dot (a, u) > 0 && x + y + z != 0)
        return 0;
    double d = arc2 (u, a, b), e = arc2 (u, b, c), f = arc2 (u, c, a);
    d = e < d ? e : d;
    return f < d ? f : d;
}

typedef double triangle_t (geo_vec_t, geo_vec_t, geo_vec_t, geo_vec_t);

/* The least of `measure` (a square) over all triangles; `scale` times its root is
 * a distance in the space of `nodes` and `balls`. */
static double least (const mesh_t *self, const geo_vec_t *nodes, const ball_t *balls,
                     triangle_t *measure, double scale, geo_vec_t p)
{
    size_t first = 0;
    double near = INFINITY;
    for (size_t k = 0; k < cells (self); k++) {
        geo_vec_t d = geo_minus (p, balls[k].centre);
        double d2 = geo_dot (d, d);
        if (d2 < near) {
            near = d2;
            first = k;
        }
    }
    double best = INFINITY, reach = INFINITY;
    for (size_t i = 0; i < cells (self); i++) {
        size_t k = i == 0 ? first : i <= first ? i - 1 : i; /* the nearest first */
        double limit = reach + balls[k].radius;
        geo_vec_t d = geo_minus (p, balls[k].centre);
        if (geo_dot (d, d) > limit * limit)
            continue;
        const geo_vec_t *a = nodes + cell_node (self, k), *c = a + self->columns;
        double m = measure (p, a[0], a[1], c[0]), m2 = measure (p, a[1], c[1], c[0]);
        m = m2 < m ? m2 : m;
        if (m < best) {
            best = m;
            reach = scale * sqrt (best);
        }
    }
    return sqrt (best);
}

void mesh_rjb (const mesh_t *self, const geo_points_t *points, double *out)
{
    /* A ball cuts a cap out of the unit sphere, and a cap that holds the corners
     * holds the arcs between them and what they enclose. */
    for (size_t i = 0; i < points->n; i++)
        out[i] =
            least (self, self->unit, self->shadow, shadow2, 2.0, point_unit (points, i));
}

void mesh_rrup (const mesh_t *self, const geo_points_t *points, double *out)
{
    for (size_t i = 0; i < points->n; i++)
        out[i] = least (self, self->km, self->ball, triangle2, 1.0, point_km (points, i));
}

/* Half the chord to one arc of the top edge, with sign; an end that is open goes
 * on for ever. */
static double edge_rx (geo_vec_t u, geo_vec_t a, geo_vec_t b, int open_a, int open_b)
{
    geo_vec_t right = geo_normalized (geo_cross (b, a));
    double side = geo_dot (right, u);
    double past_a = geo_dot (geo_cross (a, right), u);
    double past_b = geo_dot (geo_cross (b, right), u);
    double square;
    if (past_a < 0 && !open_a)
        square = between2 (u, a);
    else if (past_b > 0 && !open_b)
        square = between2 (u, b);
    else
        square = half_chord2 (side);
    return side < 0 ? -sqrt (square) : sqrt (square);
}

void mesh_rx (const mesh_t *self, const geo_points_t *points, double *out)
{
    const geo_vec_t *edge = self->unit;
    size_t last = self->columns - 1, first = 0;
    /* Nodes that lie on each other make no arc. */
    while (between2 (edge[first], edge[first + 1]) == 0)
        first++;
    while (between2 (edge[last - 1], edge[last]) == 0)
        last--;
    for (size_t i = 0; i < points->n; i++) {
        geo_vec_t u = point_unit (points, i);
        double best = INFINITY;
        for (size_t k = first; k < last; k++) {
            if (between2 (edge[k], edge[k + 1]) == 0)
                continue;
            double d = edge_rx (u, edge[k], edge[k + 1], k == first, k + 1 == last);
            best = fabs (d) < fabs (best) ? d : best;
        }
        out[i] = best;
    }
}

void mesh_ry0 (const mesh_t *self, const geo_points_t *points, double *out)
{
    for (size_t i = 0; i < points->n; i++) {
        geo_vec_t u = point_unit (points, i);
        out[i] = outside (geo_dot (self->end[0], u), geo_dot (self->end[1], u));
    }
}
