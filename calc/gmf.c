/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/gmf.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "calc/fault.h"
#include "calc/h5array.h"

/* Rows that are read at a time. */
#define BLOCK ((hsize_t) 1 << 18)

typedef struct {
    uint32_t sid;
    float value;
} row_t;

void gmf_map_destroy (gmf_map_t **self_p)
{
    gmf_map_t *self = *self_p;
    if (!self)
        return;
    free (self->description);
    free (self->imt);
    free (self->lon);
    free (self->lat);
    free (self->value);
    rupture_destroy (&self->rupture);
    free (self);
    *self_p = NULL;
}

/* ---- records ------------------------------------------------------------- */

/* A number from field `name` of record `i`; false if there is no such field. */
static bool field (const sluice_array_t *array, const char *name, size_t i, double *value)
{
    const sluice_dtype_t *type = array->dtype;
    for (size_t k = 0; k < type->nfields; k++) {
        const sluice_field_t *f = &type->fields[k];
        if (strcmp (f->name, name) != 0 || f->type->ndim)
            continue;
        const char *at = (const char *) array->data + i * type->itemsize + f->offset;
        uint32_t u4;
        if (f->type->kind == 'f' && f->type->itemsize == 8)
            memcpy (value, at, 8);
        else if (f->type->kind == 'u' && f->type->itemsize == 4) {
            memcpy (&u4, at, 4);
            *value = u4;
        } else
            return false;
        return true;
    }
    return false;
}

/* Read a dataset of records, one-dimensional. */
static int read_records (hid_t file, const char *path, const char *name,
                         sluice_array_t *array, sluice_error_t *err)
{
    if (h5_read_array (file, name, array, err) != 0)
        return sluice_fail_at (err, "%s", path);
    if (array->ndim == 1 && array->dtype->kind == 'V')
        return 0;
    sluice_array_clear (array);
    return sluice_fail (err, SLUICE_EINPUT, "%s: %s is no table", path, name);
}

static int read_sites (hid_t file, const char *path, gmf_map_t *map, sluice_error_t *err)
{
    sluice_array_t sites = {0};
    if (read_records (file, path, "sitecol", &sites, err) != 0)
        return -1;
    map->n = (size_t) sites.shape[0];
    map->lon = calloc (map->n + 1, sizeof (double));
    map->lat = calloc (map->n + 1, sizeof (double));
    map->value = calloc (map->n + 1, sizeof (double));
    int rc = 0;
    if (!map->lon || !map->lat || !map->value)
        rc = sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", path);
    for (size_t i = 0; rc == 0 && i < map->n; i++)
        if (!field (&sites, "lon", i, &map->lon[i]) ||
            !field (&sites, "lat", i, &map->lat[i]) || !isfinite (map->lon[i]) ||
            !isfinite (map->lat[i]))
            rc = sluice_fail (err, SLUICE_EINPUT, "%s: sitecol has no lon and lat", path);
    if (rc == 0 && !map->n)
        rc = sluice_fail (err, SLUICE_EINPUT, "%s: no sites in it", path);
    sluice_array_clear (&sites);
    return rc;
}

/* ---- rupture -------------------------------------------------------------- */

/* Take the patches from the rows {patch, row, col, lon, lat, depth}. */
static int take_mesh (const sluice_array_t *mesh, const char *path, rupture_t *rupture,
                      sluice_error_t *err)
{
    size_t n = (size_t) mesh->shape[0], start = 0;
    rupture->patches = calloc (n + 1, sizeof *rupture->patches);
    if (!rupture->patches)
        return sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", path);
    while (start < n) {
        double number, other, row = 0, col = 0;
        size_t stop = start;
        bool good = field (mesh, "patch", start, &number);
        for (; good && stop < n && field (mesh, "patch", stop, &other) && other == number;
             stop++)
            good = field (mesh, "row", stop, &row) && field (mesh, "col", stop, &col);
        size_t rows = (size_t) row + 1, cols = (size_t) col + 1;
        if (!good || stop == start || rows > n || cols > n || rows * cols != stop - start)
            return sluice_fail (err, SLUICE_EINPUT, "%s: rupture_mesh is no mesh", path);
        patch_t *patch = &rupture->patches[rupture->npatches];
        if (patch_make (patch, rows, cols, err) != 0)
            return -1;
        rupture->npatches++;
        for (size_t i = 0; i < rows * cols; i++)
            if (!field (mesh, "lon", start + i, &patch->lon[i]) ||
                !field (mesh, "lat", start + i, &patch->lat[i]) ||
                !field (mesh, "depth", start + i, &patch->depth[i]))
                return sluice_fail (err, SLUICE_EINPUT, "%s: rupture_mesh has no places",
                                    path);
        start = stop;
    }
    return 0;
}

static int read_rupture (hid_t file, const char *path, gmf_map_t *map,
                         sluice_error_t *err)
{
    if (H5Lexists (file, "rupture", H5P_DEFAULT) <= 0 ||
        H5Lexists (file, "rupture_mesh", H5P_DEFAULT) <= 0)
        return 0;
    sluice_array_t facts = {0}, mesh = {0};
    if (read_records (file, path, "rupture", &facts, err) != 0)
        return -1;
    rupture_t *rupture = map->rupture = calloc (1, sizeof *rupture);
    int rc = 0;
    if (!rupture)
        rc = sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", path);
    else if (facts.shape[0] < 1 || !field (&facts, "mag", 0, &rupture->mag) ||
             !field (&facts, "hypo_lon", 0, &rupture->lon) ||
             !field (&facts, "hypo_lat", 0, &rupture->lat))
        rc = sluice_fail (err, SLUICE_EINPUT, "%s: rupture has no mag and hypocentre",
                          path);
    if (rc == 0)
        rc = read_records (file, path, "rupture_mesh", &mesh, err);
    if (rc == 0)
        rc = take_mesh (&mesh, path, rupture, err);
    sluice_array_clear (&facts);
    sluice_array_clear (&mesh);
    return rc;
}

static void read_description (hid_t file, gmf_map_t *map)
{
    sluice_array_t text = {0};
    if (H5Lexists (file, "description", H5P_DEFAULT) <= 0 ||
        h5_read_array (file, "description", &text, NULL) != 0)
        return;
    if (text.dtype->kind == 'S' && text.ndim == 0)
        map->description = strndup (text.data, text.dtype->itemsize);
    sluice_array_clear (&text);
}

/* ---- ground motion --------------------------------------------------------- */

/* The measure to show, from the fields "gmv_..." of the table. */
static int choose_imt (hid_t dataset, const char *path, const char *imt, gmf_map_t *map,
                       sluice_error_t *err)
{
    hid_t type = H5Dget_type (dataset);
    int members =
        type >= 0 && H5Tget_class (type) == H5T_COMPOUND ? H5Tget_nmembers (type) : 0;
    char known[300] = "";
    for (int i = 0; i < members && !map->imt; i++) {
        char *name = H5Tget_member_name (type, (unsigned) i);
        if (name && !strncmp (name, "gmv_", 4)) {
            if (!imt || !strcmp (name + 4, imt))
                map->imt = strdup (name + 4);
            size_t used = strlen (known);
            if (used + strlen (name) + 3 < sizeof known) {
                strcpy (known + used, used ? ", " : "");
                strcat (known, name + 4);
            }
        }
        H5free_memory (name);
    }
    if (type >= 0)
        H5Tclose (type);
    if (map->imt)
        return 0;
    return sluice_fail (err, SLUICE_EINPUT, "%s: gmf_data has no %s (it has %s)", path,
                        imt ? imt : "ground motion", *known ? known : "none");
}

typedef struct {
    hid_t dataset, space, type;
    hsize_t rows;
    row_t *block;
} reader_t;

static int reader_open (reader_t *self, hid_t dataset, const char *imt)
{
    char name[300];
    snprintf (name, sizeof name, "gmv_%s", imt);
    *self = (reader_t){dataset, H5Dget_space (dataset),
                       H5Tcreate (H5T_COMPOUND, sizeof (row_t)), 0, NULL};
    if (self->space < 0 || self->type < 0 ||
        H5Sget_simple_extent_ndims (self->space) != 1 ||
        H5Tinsert (self->type, "sid", offsetof (row_t, sid), H5T_NATIVE_UINT32) < 0 ||
        H5Tinsert (self->type, name, offsetof (row_t, value), H5T_NATIVE_FLOAT) < 0)
        return -1;
    H5Sget_simple_extent_dims (self->space, &self->rows, NULL);
    self->block = malloc (BLOCK * sizeof *self->block);
    return self->block ? 0 : -1;
}

static void reader_close (reader_t *self)
{
    if (self->space >= 0)
        H5Sclose (self->space);
    if (self->type >= 0)
        H5Tclose (self->type);
    free (self->block);
}

/* Read rows from `first` on; how many, or -1. */
static long reader_next (reader_t *self, hsize_t first)
{
    hsize_t n = self->rows - first < BLOCK ? self->rows - first : BLOCK;
    hid_t memory = H5Screate_simple (1, &n, NULL);
    bool good =
        memory >= 0 &&
        H5Sselect_hyperslab (self->space, H5S_SELECT_SET, &first, NULL, &n, NULL) >= 0 &&
        H5Dread (self->dataset, self->type, memory, self->space, H5P_DEFAULT,
                 self->block) >= 0;
    if (memory >= 0)
        H5Sclose (memory);
    return good ? (long) n : -1;
}

/* The k-th smallest (from 0) of n values, which are rearranged (Hoare). */
static float select_kth (float *v, size_t n, size_t k)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        float pivot = v[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (v[i] < pivot)
                i++;
            while (pivot < v[j])
                j--;
            if (i >= j)
                break;
            float t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        /* v[low..j] <= pivot <= v[j + 1..high], and j < high */
        if (k <= j)
            high = j;
        else
            low = j + 1;
    }
    return v[k];
}

static double median_of (float *v, size_t n)
{
    double upper = select_kth (v, n, n / 2);
    if (n % 2)
        return upper;
    double lower = -INFINITY;
    for (size_t i = 0; i < n / 2; i++)
        lower = fmax (lower, v[i]);
    return (lower + upper) / 2;
}

/* The pass over the table that counts each site's rows, or, if `place` is not
 * NULL, also puts their values to place[sid]++; if `sum` is not NULL it adds
 * their logarithms. */
static int pass (reader_t *reader, const char *path, size_t nsites, uint64_t *count,
                 uint64_t *place, float *values, double *sum, sluice_error_t *err)
{
    for (hsize_t first = 0; first < reader->rows;) {
        long n = reader_next (reader, first);
        if (n <= 0)
            return sluice_fail (err, SLUICE_EINPUT, "%s: gmf_data cannot be read", path);
        for (long i = 0; i < n; i++) {
            row_t row = reader->block[i];
            if (row.sid >= nsites)
                return sluice_fail (err, SLUICE_EINPUT,
                                    "%s: gmf_data has a site that sitecol has not", path);
            if (place)
                values[place[row.sid]++] = row.value;
            else
                count[row.sid]++;
            if (sum)
                sum[row.sid] += log (row.value);
        }
        first += (hsize_t) n;
    }
    return 0;
}

static int exact_medians (reader_t *reader, const char *path, gmf_map_t *map,
                          const uint64_t *count, sluice_error_t *err)
{
    float *values = malloc (reader->rows * sizeof *values + 1);
    uint64_t *place = calloc (map->n, sizeof *place);
    int rc = 0;
    if (!values || !place)
        rc = sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", path);
    for (size_t i = 1; rc == 0 && i < map->n; i++)
        place[i] = place[i - 1] + count[i - 1];
    if (rc == 0)
        rc = pass (reader, path, map->n, NULL, place, values, NULL, err);
    for (size_t i = 0; rc == 0 && i < map->n; i++)
        map->value[i] =
            count[i] ? median_of (values + (place[i] - count[i]), count[i]) : NAN;
    free (values);
    free (place);
    return rc;
}

static int reduce (reader_t *reader, const char *path, gmf_map_t *map,
                   sluice_error_t *err)
{
    uint64_t *count = calloc (map->n, sizeof *count);
    if (!count)
        return sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", path);
    map->median = reader->rows <= GMF_MEDIAN_BYTES / sizeof (float);
    int rc = pass (reader, path, map->n, count, NULL, NULL,
                   map->median ? NULL : map->value, err);
    for (size_t i = 0; i < map->n; i++)
        map->events = count[i] > map->events ? count[i] : map->events;
    if (rc == 0 && map->median)
        rc = exact_medians (reader, path, map, count, err);
    for (size_t i = 0; rc == 0 && !map->median && i < map->n; i++)
        map->value[i] = count[i] ? exp (map->value[i] / (double) count[i]) : NAN;
    free (count);
    return rc;
}

static int read_motion (hid_t file, const char *path, const char *imt, gmf_map_t *map,
                        sluice_error_t *err)
{
    hid_t dataset = H5Lexists (file, "gmf_data", H5P_DEFAULT) > 0
                        ? H5Dopen2 (file, "gmf_data", H5P_DEFAULT)
                        : -1;
    if (dataset < 0)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: no ground motion (gmf_data) in it to draw", path);
    int rc = choose_imt (dataset, path, imt, map, err);
    if (rc == 0) {
        reader_t reader;
        if (reader_open (&reader, dataset, map->imt) == 0)
            rc = reduce (&reader, path, map, err);
        else
            rc = h5_fail (err, SLUICE_EINPUT, "%s: gmf_data", path);
        reader_close (&reader);
    }
    H5Dclose (dataset);
    return rc;
}

gmf_map_t *gmf_map_read (const char *path, const char *imt, sluice_error_t *err)
{
    gmf_map_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", path);
        return NULL;
    }
    h5_quiet ();
    struct stat st;
    errno = 0;
    bool plain = stat (path, &st) == 0 && S_ISREG (st.st_mode);
    hid_t file = plain ? H5Fopen (path, H5F_ACC_RDONLY, H5P_DEFAULT) : -1;
    int rc;
    if (!plain)
        rc = sluice_fail (err, SLUICE_EINPUT, "%s: %s", path,
                          errno ? strerror (errno) : "is not a plain file");
    else if (file < 0)
        rc = h5_fail (err, SLUICE_EINPUT, "%s: cannot be opened as HDF5", path);
    else {
        read_description (file, self);
        rc = H5Lexists (file, "sitecol", H5P_DEFAULT) > 0
                 ? read_sites (file, path, self, err)
                 : sluice_fail (err, SLUICE_EINPUT, "%s: no sites (sitecol) in it", path);
        if (rc == 0)
            rc = read_rupture (file, path, self, err);
        if (rc == 0)
            rc = read_motion (file, path, imt, self, err);
        H5Fclose (file);
    }
    if (rc != 0)
        gmf_map_destroy (&self);
    return self;
}
