/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/plot.h"

#ifndef HAVE_CAIRO

int plot_map (const char *h5_path, const char *png_path, const char *imt,
              sluice_error_t *err)
{
    (void) h5_path, (void) imt;
    return sluice_fail (err, SLUICE_EINPUT,
                        "%s: no picture: this Sluice was built without cairo "
                        "(apt-get install libcairo2-dev, then build again)",
                        png_path);
}

#else

#include <cairo.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/gmf.h"

/* The picture, in pixels. */
#define MAP_SIDE 900.0  /* the longer side of the map */
#define MAP_LEAST 320.0 /* the shorter side, at least */
#define LEFT 92.0
#define TOP 84.0
#define RIGHT 150.0
#define BOTTOM 64.0
#define BAR_GAP 26.0
#define BAR_WIDTH 22.0

#define KM_PER_DEGREE (6371.0 * M_PI / 180)

typedef struct {
    const gmf_map_t *data;
    cairo_t *cr;
    double west, east, south, north; /* degrees, of the frame */
    double width, height;            /* pixels, of the frame */
    double per_lon, per_lat;         /* pixels per degree */
    double spacing;                  /* degrees of latitude between sites */
    double low, high;                /* values at the ends of the colour bar */
} map_t;

/* ---- colours --------------------------------------------------------------- */

typedef struct {
    double r, g, b;
} colour_t;

static double gamma_of (double linear)
{
    linear = fmin (fmax (linear, 0), 1);
    return linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow (linear, 1 / 2.4) - 0.055;
}

/* OKLab (Ottosson 2020, "A perceptual color space for image processing") to sRGB. */
static colour_t from_oklab (double lightness, double a, double b)
{
    double l = lightness + 0.3963377774 * a + 0.2158037573 * b;
    double m = lightness - 0.1055613458 * a - 0.0638541728 * b;
    double s = lightness - 0.0894841775 * a - 1.2914855480 * b;
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    return (colour_t){gamma_of (4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
                      gamma_of (-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
                      gamma_of (-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

/* From pale yellow through orange and crimson to a dark violet, for t in [0, 1].
 * Lightness falls in a straight line, so equal steps look equal, in grey too; hue
 * and chroma are interpolated between the knots. */
static colour_t colour_at (double t)
{
    static const double hue[6] = {104, 84, 56, 26, -6, -56}; /* degrees */
    static const double chroma[6] = {.07, .125, .16, .175, .15, .1};
    t = fmin (fmax (t, 0), 1);
    double x = t * 5, part = x - floor (fmin (x, 4));
    int k = (int) fmin (x, 4);
    double h = (hue[k] + (hue[k + 1] - hue[k]) * part) * M_PI / 180;
    double c = chroma[k] + (chroma[k + 1] - chroma[k]) * part;
    return from_oklab (0.975 - 0.70 * t, c * cos (h), c * sin (h));
}

static void set_grey (cairo_t *cr, double grey)
{
    cairo_set_source_rgb (cr, grey, grey, grey);
}

/* ---- text -------------------------------------------------------------------- */

/* Text at (x, y): `align` 0 begins there, 0.5 is centred, 1 ends there. */
static void put_text (cairo_t *cr, double x, double y, double align, double size,
                      bool bold, const char *text)
{
    cairo_text_extents_t extents;
    cairo_select_font_face (cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                            bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size (cr, size);
    cairo_text_extents (cr, text, &extents);
    cairo_move_to (cr, x - align * extents.x_advance, y);
    cairo_show_text (cr, text);
}

/* The same with a light edge, readable on any colour. */
static void put_label (cairo_t *cr, double x, double y, double align, double size,
                       const char *text)
{
    cairo_text_extents_t extents;
    cairo_select_font_face (cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                            CAIRO_FONT_WEIGHT_BOLD);
    cairo_set_font_size (cr, size);
    cairo_text_extents (cr, text, &extents);
    cairo_move_to (cr, x - align * extents.x_advance, y);
    cairo_text_path (cr, text);
    cairo_set_source_rgba (cr, 1, 1, 1, 0.85);
    cairo_set_line_width (cr, 3.5);
    cairo_set_line_join (cr, CAIRO_LINE_JOIN_ROUND);
    cairo_stroke_preserve (cr);
    set_grey (cr, 0.05);
    cairo_fill (cr);
}

/* A number with commas between the thousands. */
static const char *with_commas (unsigned long long number, char text[32])
{
    char plain[24];
    int length = snprintf (plain, sizeof plain, "%llu", number);
    char *out = text;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            *out++ = ',';
        *out++ = plain[i];
    }
    *out = '\0';
    return text;
}

/* A step of 1, 2, 2.5 or 5 times a power of ten with about `count` of them in `span`. */
static double nice_step (double span, double count)
{
    static const double steps[] = {1, 2, 2.5, 5, 10};
    double power = pow (10, floor (log10 (span / count)));
    for (int i = 0; i < 4; i++)
        if (steps[i] * power * count >= span)
            return steps[i] * power;
    return 10 * power;
}

/* Decimals that show a multiple of `step` in full. */
static int decimals_of (double step)
{
    int n = 0;
    while (n < 8 && fabs (step - round (step)) > 1e-6 * step) {
        step *= 10;
        n++;
    }
    return n;
}

/* ---- the frame ---------------------------------------------------------------- */

static double x_of (const map_t *map, double lon)
{
    return LEFT + (lon - map->west) * map->per_lon;
}

static double y_of (const map_t *map, double lat)
{
    return TOP + (map->north - lat) * map->per_lat;
}

static int by_size (const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return x < y ? -1 : x > y;
}

/* A bucket grid of the sites, to find the nearest one of a place. */
typedef struct {
    size_t across, down;
    double cell;    /* degrees of latitude */
    double squeeze; /* degrees of latitude for one of longitude */
    double west, north;
    uint32_t *start; /* first entry of each cell, one more at the end */
    uint32_t *site;
} buckets_t;

static size_t bucket_of (const buckets_t *self, double lon, double lat)
{
    double x = (lon - self->west) * self->squeeze / self->cell;
    double y = (self->north - lat) / self->cell;
    size_t column = x > 0 ? (size_t) x : 0, row = y > 0 ? (size_t) y : 0;
    if (column >= self->across)
        column = self->across - 1;
    if (row >= self->down)
        row = self->down - 1;
    return row * self->across + column;
}

static void buckets_clear (buckets_t *self)
{
    free (self->start);
    free (self->site);
}

/* About one site in a cell. */
static int buckets_make (buckets_t *self, const map_t *map)
{
    const gmf_map_t *data = map->data;
    double middle = (map->south + map->north) / 2;
    self->squeeze = cos (middle * M_PI / 180);
    double width = (map->east - map->west) * self->squeeze;
    double height = map->north - map->south;
    self->cell = sqrt (width * height / (double) data->n);
    self->west = map->west;
    self->north = map->north;
    self->across = (size_t) (width / self->cell) + 1;
    self->down = (size_t) (height / self->cell) + 1;
    size_t cells = self->across * self->down;
    self->start = calloc (cells + 2, sizeof *self->start);
    self->site = calloc (data->n + 1, sizeof *self->site);
    if (!self->start || !self->site)
        return -1;
    uint32_t *next = self->start + 1; /* counts, then where to put the next one */
    for (size_t i = 0; i < data->n; i++)
        next[bucket_of (self, data->lon[i], data->lat[i]) + 1]++;
    for (size_t c = 1; c <= cells; c++)
        next[c] += next[c - 1];
    for (size_t i = 0; i < data->n; i++)
        self->site[next[bucket_of (self, data->lon[i], data->lat[i])]++] = (uint32_t) i;
    return 0;
}

/* The site nearest to a place, but for `except`, and its distance in degrees of
 * latitude; -1 if none lies within three cells. */
static long nearest (const buckets_t *self, const gmf_map_t *data, double lon, double lat,
                     long except, double *distance)
{
    long column = (long) floor ((lon - self->west) * self->squeeze / self->cell);
    long row = (long) floor ((self->north - lat) / self->cell), found = -1;
    double best = INFINITY;
    for (long ring = 0; ring <= 3; ring++) {
        for (long r = row - ring; r <= row + ring; r++)
            for (long c = column - ring; c <= column + ring; c++) {
                if (r < 0 || c < 0 || r >= (long) self->down ||
                    c >= (long) self->across ||
                    (labs (r - row) < ring && labs (c - column) < ring))
                    continue;
                size_t cell = (size_t) r * self->across + (size_t) c;
                for (uint32_t k = self->start[cell]; k < self->start[cell + 1]; k++) {
                    long i = (long) self->site[k];
                    double dx = (data->lon[i] - lon) * self->squeeze;
                    double dy = data->lat[i] - lat, d = dx * dx + dy * dy;
                    if (i != except && d < best) {
                        best = d;
                        found = i;
                    }
                }
            }
        /* what a further ring holds is at least this far */
        if (found >= 0 && best <= (double) ring * self->cell * (double) ring * self->cell)
            break;
    }
    *distance = sqrt (best);
    return found;
}

/* The median distance of sites to their nearest neighbours, of at most 2,000. */
static double typical_spacing (const buckets_t *buckets, const gmf_map_t *data)
{
    double distances[2000];
    size_t n = 0, step = data->n / 2000 + 1;
    for (size_t i = 0; i < data->n; i += step) {
        double d;
        if (nearest (buckets, data, data->lon[i], data->lat[i], (long) i, &d) >= 0 &&
            d > 0)
            distances[n++] = d;
    }
    if (!n)
        return buckets->cell;
    qsort (distances, n, sizeof *distances, by_size);
    return distances[n / 2];
}

/* Make the frame hold this place too. */
static void widen (map_t *map, double lon, double lat)
{
    map->west = fmin (map->west, lon);
    map->east = fmax (map->east, lon);
    map->south = fmin (map->south, lat);
    map->north = fmax (map->north, lat);
}

/* The same with the rupture, unless it is so far off that sites would be a speck. */
static void widen_to_rupture (map_t *map, const rupture_t *rupture)
{
    map_t wider = *map;
    widen (&wider, rupture->lon, rupture->lat);
    for (size_t k = 0; k < rupture->npatches; k++) {
        const patch_t *p = &rupture->patches[k];
        for (size_t i = 0; i < p->rows * p->cols; i++)
            widen (&wider, p->lon[i], p->lat[i]);
    }
    double before = fmax (map->east - map->west, map->north - map->south);
    double after = fmax (wider.east - wider.west, wider.north - wider.south);
    if (after <= 3 * fmax (before, 0.3))
        *map = wider;
}

/* Sites on both sides of 180 degrees: count eastwards from there. */
static void unwrap (gmf_map_t *data)
{
    double west = INFINITY, east = -INFINITY;
    for (size_t i = 0; i < data->n; i++) {
        west = fmin (west, data->lon[i]);
        east = fmax (east, data->lon[i]);
    }
    if (east - west <= 180)
        return;
    for (size_t i = 0; i < data->n; i++)
        data->lon[i] += data->lon[i] < 0 ? 360 : 0;
    rupture_t *rupture = data->rupture;
    if (!rupture)
        return;
    rupture->lon += rupture->lon < 0 ? 360 : 0;
    for (size_t k = 0; k < rupture->npatches; k++) {
        patch_t *p = &rupture->patches[k];
        for (size_t i = 0; i < p->rows * p->cols; i++)
            p->lon[i] += p->lon[i] < 0 ? 360 : 0;
    }
}

static void frame_map (map_t *map, const gmf_map_t *data)
{
    map->data = data;
    map->west = map->south = INFINITY;
    map->east = map->north = -INFINITY;
    for (size_t i = 0; i < data->n; i++)
        widen (map, data->lon[i], data->lat[i]);
    if (data->rupture)
        widen_to_rupture (map, data->rupture);
    /* half a cell of the grid around it; a single site gets a tenth of a degree */
    double squeeze = fmax (cos ((map->south + map->north) / 2 * M_PI / 180), 0.02);
    double span = fmax ((map->east - map->west) * squeeze, map->north - map->south);
    double margin = span > 0 ? fmax (span / sqrt ((double) data->n) / 2, 0.005) : 0.1;
    margin = fmax (margin, 0.02 * span / sqrt (sqrt ((double) data->n)));
    map->west -= margin / squeeze;
    map->east += margin / squeeze;
    map->south -= margin;
    map->north += margin;
    /* as many km to a pixel in both directions, and no map too narrow */
    double width = (map->east - map->west) * squeeze, height = map->north - map->south;
    double scale = MAP_SIDE / fmax (width, height);
    if (width * scale < MAP_LEAST) {
        double more = (MAP_LEAST / scale - width) / squeeze / 2;
        map->west -= more;
        map->east += more;
    }
    if (height * scale < MAP_LEAST) {
        double more = (MAP_LEAST / scale - height) / 2;
        map->south -= more;
        map->north += more;
    }
    map->width = floor ((map->east - map->west) * squeeze * scale);
    map->height = floor ((map->north - map->south) * scale);
    map->per_lon = map->width / (map->east - map->west);
    map->per_lat = map->height / (map->north - map->south);
}

/* Ends of the colour bar: from 0 to where all but one in a thousand lie. */
static int choose_range (map_t *map)
{
    const gmf_map_t *data = map->data;
    double *sorted = malloc (data->n * sizeof *sorted);
    size_t n = 0;
    if (!sorted)
        return -1;
    for (size_t i = 0; i < data->n; i++)
        if (isfinite (data->value[i]))
            sorted[n++] = data->value[i];
    qsort (sorted, n, sizeof *sorted, by_size);
    double top = n ? sorted[n - 1 - n / 1000] : 1;
    free (sorted);
    if (!(top > 0))
        top = 1;
    double step = nice_step (top, 6);
    map->low = 0;
    map->high = step * ceil (top / step - 1e-9);
    return 0;
}

/* ---- what is drawn -------------------------------------------------------------- */

static int draw_cells (map_t *map)
{
    const gmf_map_t *data = map->data;
    int width = (int) map->width, height = (int) map->height;
    buckets_t buckets = {0};
    cairo_surface_t *image =
        cairo_image_surface_create (CAIRO_FORMAT_ARGB32, width, height);
    int rc = buckets_make (&buckets, map);
    if (rc == 0 && cairo_surface_status (image) == CAIRO_STATUS_SUCCESS) {
        map->spacing = typical_spacing (&buckets, data);
        /* past the corner of a square cell; where sites are few, a disc to be seen */
        double reach = fmax (1.5 * map->spacing, 3 / map->per_lat);
        reach = fmin (reach, 3 * buckets.cell);
        if (data->n < 30)
            reach = 6 / map->per_lat;
        unsigned char *bytes = cairo_image_surface_get_data (image);
        size_t stride = (size_t) cairo_image_surface_get_stride (image);
        for (int row = 0; row < height; row++) {
            uint32_t *pixels = (uint32_t *) (void *) (bytes + (size_t) row * stride);
            double lat = map->north - (row + 0.5) / map->per_lat;
            for (int column = 0; column < width; column++) {
                double far, lon = map->west + (column + 0.5) / map->per_lon;
                long i = nearest (&buckets, data, lon, lat, -1, &far);
                pixels[column] = 0;
                if (i < 0 || far > reach || !isfinite (data->value[i]))
                    continue;
                colour_t c =
                    colour_at ((data->value[i] - map->low) / (map->high - map->low));
                pixels[column] = 0xff000000u | (uint32_t) lround (255 * c.r) << 16 |
                                 (uint32_t) lround (255 * c.g) << 8 |
                                 (uint32_t) lround (255 * c.b);
            }
        }
        cairo_surface_mark_dirty (image);
        cairo_set_source_surface (map->cr, image, LEFT, TOP);
        cairo_paint (map->cr);
    }
    cairo_surface_destroy (image);
    buckets_clear (&buckets);
    return rc;
}

/* Go along row or column of a mesh's border. */
static void trace_edge (const map_t *map, const patch_t *p, size_t first, size_t last,
                        size_t step, bool back)
{
    for (size_t k = 0; k <= (last - first) / step; k++) {
        size_t i = back ? last - k * step : first + k * step;
        cairo_line_to (map->cr, x_of (map, p->lon[i]), y_of (map, p->lat[i]));
    }
}

static void draw_rupture (const map_t *map)
{
    cairo_t *cr = map->cr;
    const rupture_t *rupture = map->data->rupture;
    cairo_set_line_join (cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap (cr, CAIRO_LINE_CAP_ROUND);
    for (size_t k = 0; k < rupture->npatches; k++) {
        const patch_t *p = &rupture->patches[k];
        size_t right = p->cols - 1, last = p->rows * p->cols - 1;
        for (int halo = 1; halo >= 0; halo--) {
            cairo_new_path (cr);
            trace_edge (map, p, 0, right, 1, false);
            trace_edge (map, p, right, last, p->cols, false);
            trace_edge (map, p, last - right, last, 1, true);
            trace_edge (map, p, 0, last - right, p->cols, true);
            cairo_close_path (cr);
            if (halo)
                cairo_set_source_rgba (cr, 1, 1, 1, 0.75);
            else
                set_grey (cr, 0.05);
            cairo_set_line_width (cr, halo ? 4.2 : 1.6);
            cairo_stroke (cr);
            trace_edge (map, p, 0, right, 1, false);
            cairo_set_line_width (cr, halo ? 7.5 : 4.6);
            cairo_stroke (cr);
        }
    }
    double x = x_of (map, rupture->lon), y = y_of (map, rupture->lat);
    cairo_new_path (cr);
    for (int i = 0; i < 10; i++) {
        double angle = M_PI * i / 5, radius = i % 2 ? 5.8 : 14;
        cairo_line_to (cr, x + radius * sin (angle), y - radius * cos (angle));
    }
    cairo_close_path (cr);
    cairo_set_source_rgb (cr, 1, 1, 1);
    cairo_fill_preserve (cr);
    set_grey (cr, 0.05);
    cairo_set_line_width (cr, 1.8);
    cairo_stroke (cr);
}

static void draw_tick (const map_t *map, double value, int decimals, bool is_lon)
{
    cairo_t *cr = map->cr;
    char text[60];
    double shown = is_lon && value > 180 ? value - 360 : value;
    const char *side = shown == 0 ? ""
                       : is_lon   ? (shown < 0 ? "W" : "E")
                                  : (shown < 0 ? "S" : "N");
    snprintf (text, sizeof text, "%.*f\302\260%s", decimals, fabs (shown), side);
    double x = is_lon ? x_of (map, value) : LEFT, y = is_lon ? TOP : y_of (map, value);
    cairo_set_source_rgba (cr, 0, 0, 0, 0.13);
    cairo_set_line_width (cr, 1);
    cairo_move_to (cr, floor (x) + 0.5, floor (y) + 0.5);
    if (is_lon)
        cairo_rel_line_to (cr, 0, map->height);
    else
        cairo_rel_line_to (cr, map->width, 0);
    cairo_stroke (cr);
    set_grey (cr, 0.15);
    if (is_lon) {
        cairo_move_to (cr, floor (x) + 0.5, TOP + map->height);
        cairo_rel_line_to (cr, 0, 6);
    } else {
        cairo_move_to (cr, LEFT, floor (y) + 0.5);
        cairo_rel_line_to (cr, -6, 0);
    }
    cairo_stroke (cr);
    if (is_lon)
        put_text (cr, x, TOP + map->height + 24, 0.5, 14, false, text);
    else
        put_text (cr, LEFT - 11, y + 5, 1, 14, false, text);
}

static void draw_axes (const map_t *map)
{
    cairo_t *cr = map->cr;
    double step_lon = nice_step (map->east - map->west, map->width / 130);
    double step_lat = nice_step (map->north - map->south, map->height / 110);
    for (double k = ceil (map->west / step_lon); k * step_lon <= map->east; k++)
        draw_tick (map, k * step_lon, decimals_of (step_lon), true);
    for (double k = ceil (map->south / step_lat); k * step_lat <= map->north; k++)
        draw_tick (map, k * step_lat, decimals_of (step_lat), false);
    set_grey (cr, 0.15);
    cairo_set_line_width (cr, 1.5);
    cairo_rectangle (cr, LEFT, TOP, map->width, map->height);
    cairo_stroke (cr);
}

static void draw_scale (const map_t *map)
{
    cairo_t *cr = map->cr;
    double per_km = map->per_lat / KM_PER_DEGREE;
    double km = nice_step (map->width / per_km, 5), length = km * per_km;
    double x = LEFT + 26, y = TOP + map->height - 28;
    char text[40];
    snprintf (text, sizeof text, "%g km", km);
    cairo_rectangle (cr, x - 14, y - 27, length + 28, 45);
    cairo_set_source_rgba (cr, 1, 1, 1, 0.82);
    cairo_fill (cr);
    for (int part = 0; part < 4; part++) {
        cairo_rectangle (cr, x + part * length / 4, y, length / 4, 7);
        set_grey (cr, part % 2 ? 1 : 0.1);
        cairo_fill (cr);
    }
    set_grey (cr, 0.1);
    cairo_set_line_width (cr, 1);
    cairo_rectangle (cr, x, y, length, 7);
    cairo_stroke (cr);
    put_text (cr, x + length / 2, y - 8, 0.5, 14, false, text);
}

static const char *unit_of (const char *imt)
{
    return !strcmp (imt, "PGV") ? "cm/s" : "g";
}

static void draw_bar (const map_t *map)
{
    cairo_t *cr = map->cr;
    double x = LEFT + map->width + BAR_GAP, step = nice_step (map->high, 6);
    for (int row = 0; row < (int) map->height; row++) {
        colour_t c = colour_at (1 - (row + 0.5) / map->height);
        cairo_set_source_rgb (cr, c.r, c.g, c.b);
        cairo_rectangle (cr, x, TOP + row, BAR_WIDTH, 1.5);
        cairo_fill (cr);
    }
    set_grey (cr, 0.15);
    cairo_set_line_width (cr, 1.2);
    cairo_rectangle (cr, x, TOP, BAR_WIDTH, map->height);
    cairo_stroke (cr);
    for (double k = 0; k * step <= map->high * (1 + 1e-9); k++) {
        char text[40];
        double y = TOP + map->height * (1 - k * step / map->high);
        snprintf (text, sizeof text, "%.*f", decimals_of (step), k * step);
        cairo_move_to (cr, x + BAR_WIDTH, y);
        cairo_rel_line_to (cr, 6, 0);
        cairo_stroke (cr);
        put_text (cr, x + BAR_WIDTH + 11, y + 5, 0, 14, false, text);
    }
    char label[100];
    snprintf (label, sizeof label, "%s %s (%s)",
              map->data->median ? "median" : "geometric mean of", map->data->imt,
              unit_of (map->data->imt));
    cairo_save (cr);
    cairo_translate (cr, x + BAR_WIDTH + 72, TOP + map->height / 2);
    cairo_rotate (cr, -M_PI / 2);
    put_text (cr, 0, 5, 0.5, 16, false, label);
    cairo_restore (cr);
}

/* The job's description, as large as fits, and what is shown. */
static void draw_title (const map_t *map)
{
    cairo_t *cr = map->cr;
    const gmf_map_t *data = map->data;
    char title[300], under[200];
    if (data->description && *data->description)
        snprintf (title, sizeof title, "%s", data->description);
    else if (data->rupture)
        snprintf (title, sizeof title, "Scenario, Mw %.1f", data->rupture->mag);
    else
        snprintf (title, sizeof title, "Scenario");
    double size = 20;
    for (; size > 11; size--) {
        cairo_text_extents_t extents;
        cairo_select_font_face (cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                                CAIRO_FONT_WEIGHT_BOLD);
        cairo_set_font_size (cr, size);
        cairo_text_extents (cr, title, &extents);
        if (extents.x_advance <= map->width + RIGHT - 20)
            break;
    }
    char events[32], sites[32];
    snprintf (under, sizeof under, "%s %s of %s realisation%s at %s site%s",
              data->median ? "Median" : "Geometric mean of", data->imt,
              with_commas (data->events, events), data->events == 1 ? "" : "s",
              with_commas (data->n, sites), data->n == 1 ? "" : "s");
    set_grey (cr, 0.05);
    put_text (cr, LEFT, 40, 0, size, true, title);
    set_grey (cr, 0.35);
    put_text (cr, LEFT, 66, 0, 15, false, under);
}

static int draw (map_t *map)
{
    cairo_t *cr = map->cr;
    cairo_set_source_rgb (cr, 1, 1, 1);
    cairo_paint (cr);
    cairo_rectangle (cr, LEFT, TOP, map->width, map->height);
    set_grey (cr, 0.93);
    cairo_fill (cr);
    if (choose_range (map) != 0 || draw_cells (map) != 0)
        return -1;
    draw_axes (map);
    cairo_save (cr);
    cairo_rectangle (cr, LEFT, TOP, map->width, map->height);
    cairo_clip (cr);
    if (map->data->rupture) {
        draw_rupture (map);
        put_label (cr, x_of (map, map->data->rupture->lon),
                   y_of (map, map->data->rupture->lat) + 32, 0.5, 13, "epicentre");
    }
    draw_scale (map);
    cairo_restore (cr);
    draw_bar (map);
    draw_title (map);
    return 0;
}

static cairo_status_t write_some (void *file, const unsigned char *data, unsigned n)
{
    return fwrite (data, 1, n, file) == n ? CAIRO_STATUS_SUCCESS
                                          : CAIRO_STATUS_WRITE_ERROR;
}

static int write_png (cairo_surface_t *surface, const char *path, sluice_error_t *err)
{
    FILE *file = fopen (path, "we");
    cairo_status_t status = CAIRO_STATUS_SUCCESS;
    bool good = file != NULL;
    if (file) {
        status = cairo_surface_write_to_png_stream (surface, write_some, file);
        good = !ferror (file);
        good = fclose (file) == 0 && good;
    }
    if (!good)
        return sluice_fail (err, SLUICE_EOUTPUT, "%s: %s", path, strerror (errno));
    return status == CAIRO_STATUS_SUCCESS
               ? 0
               : sluice_fail (err, SLUICE_EOUTPUT, "%s: %s", path,
                              cairo_status_to_string (status));
}

int plot_map (const char *h5_path, const char *png_path, const char *imt,
              sluice_error_t *err)
{
    gmf_map_t *data = gmf_map_read (h5_path, imt, err);
    if (!data)
        return -1;
    map_t map = {0};
    unwrap (data);
    frame_map (&map, data);
    cairo_surface_t *surface =
        cairo_image_surface_create (CAIRO_FORMAT_RGB24, (int) (LEFT + map.width + RIGHT),
                                    (int) (TOP + map.height + BOTTOM));
    map.cr = cairo_create (surface);
    int rc = draw (&map);
    if (rc != 0)
        sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", png_path);
    cairo_status_t status = cairo_status (map.cr);
    cairo_destroy (map.cr);
    if (rc == 0 && status != CAIRO_STATUS_SUCCESS)
        rc = sluice_fail (err, SLUICE_ESYSTEM, "%s: %s", png_path,
                          cairo_status_to_string (status));
    if (rc == 0)
        rc = write_png (surface, png_path, err);
    cairo_surface_destroy (surface);
    gmf_map_destroy (&data);
    return rc;
}

#endif
