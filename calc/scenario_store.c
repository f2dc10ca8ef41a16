/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/scenario_store.h"

#include <stdlib.h>
#include <string.h>

#include "calc/fault.h"

#define COUNT(array) (sizeof (array) / sizeof *(array))

/* ---- sites ---------------------------------------------------------------------- */

static const sluice_member_t sites_members[] = {
    SLUICE_MEMBER_VECTOR (sites_t, lon, n, "<f8"),
    SLUICE_MEMBER_VECTOR (sites_t, lat, n, "<f8"),
    SLUICE_MEMBER_VECTOR (sites_t, depth, n, "<f8"),
    SLUICE_MEMBER_VECTOR (sites_t, vs30, n, "<f8"),
    SLUICE_MEMBER_VECTOR (sites_t, z1pt0, n, "<f8"),
    SLUICE_MEMBER_VECTOR (sites_t, z2pt5, n, "<f8"),
};
const sluice_class_t sites_class = {.name = "sites",
                                    .version = 1,
                                    .size = sizeof (sites_t),
                                    .members = sites_members,
                                    .nmembers = COUNT (sites_members)};

/* ---- ruptures ------------------------------------------------------------------- */

/* Coordinates of a patch are arrays of rows and columns, which a table cannot say. */
static int patch_to_h5 (const void *object, sluice_node_t *node, sluice_error_t *err)
{
    const patch_t *patch = object;
    sluice_dtype_t *f8 = sluice_dtype_parse ("<f8", 3, err);
    if (!f8)
        return -1;
    sluice_array_t array = {.dtype = f8, .ndim = 2, .shape = {patch->rows, patch->cols}};
    const char *const names[] = {"lon", "lat", "depth"};
    double *const places[] = {patch->lon, patch->lat, patch->depth};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < 3; i++) {
        array.data = places[i];
        rc = sluice_node_put_array (node, names[i], &array, err);
    }
    sluice_dtype_destroy (&f8);
    return rc;
}

static int patch_from_h5 (void *object, sluice_node_t *node, unsigned version,
                          sluice_error_t *err)
{
    (void) version;
    patch_t *patch = object;
    const char *const names[] = {"lon", "lat", "depth"};
    double **const places[] = {&patch->lon, &patch->lat, &patch->depth};
    for (size_t i = 0; i < 3; i++) {
        sluice_array_t array;
        if (sluice_node_get_array (node, names[i], "<f8", &array, err))
            return -1;
        bool good =
            array.ndim == 2 && array.shape[0] > 0 && array.shape[1] > 0 &&
            (i == 0 || (array.shape[0] == patch->rows && array.shape[1] == patch->cols));
        if (good) {
            patch->rows = (size_t) array.shape[0];
            patch->cols = (size_t) array.shape[1];
            *places[i] = array.data;
            array.data = NULL;
        }
        sluice_array_clear (&array);
        if (!good)
            return sluice_fail (err, SLUICE_EINPUT, "%s is no mesh like the others",
                                names[i]);
    }
    if (patch->plane && (patch->rows != 2 || patch->cols != 2))
        return sluice_fail (err, SLUICE_EINPUT, "a plane has 2 x 2 corners");
    return 0;
}

static void patch_free (void *object)
{
    patch_clear (object);
}

static const sluice_member_t patch_members[] = {SLUICE_MEMBER (patch_t, plane)};
static const sluice_class_t patch_class = {.name = "patch",
                                           .version = 1,
                                           .size = sizeof (patch_t),
                                           .members = patch_members,
                                           .nmembers = COUNT (patch_members),
                                           .to_h5 = patch_to_h5,
                                           .from_h5 = patch_from_h5,
                                           .clear = patch_free};

static const sluice_member_t rupture_members[] = {
    SLUICE_MEMBER (rupture_t, kind),
    SLUICE_MEMBER (rupture_t, mag),
    SLUICE_MEMBER (rupture_t, rake),
    SLUICE_MEMBER (rupture_t, lon),
    SLUICE_MEMBER (rupture_t, lat),
    SLUICE_MEMBER (rupture_t, depth),
    SLUICE_MEMBER_LIST (rupture_t, patches, npatches, &patch_class),
    SLUICE_MEMBER (rupture_t, line),
};
const sluice_class_t rupture_class = {.name = "rupture",
                                      .version = 1,
                                      .size = sizeof (rupture_t),
                                      .members = rupture_members,
                                      .nmembers = COUNT (rupture_members)};

static const sluice_member_t gsim_rupture_members[] = {
    SLUICE_MEMBER (gsim_rupture_t, mag),   SLUICE_MEMBER (gsim_rupture_t, rake),
    SLUICE_MEMBER (gsim_rupture_t, dip),   SLUICE_MEMBER (gsim_rupture_t, ztor),
    SLUICE_MEMBER (gsim_rupture_t, width), SLUICE_MEMBER (gsim_rupture_t, hypo_depth),
};
const sluice_class_t gsim_rupture_class = {.name = "gsim_rupture",
                                           .version = 1,
                                           .size = sizeof (gsim_rupture_t),
                                           .members = gsim_rupture_members,
                                           .nmembers = COUNT (gsim_rupture_members)};

/* ---- settings --------------------------------------------------------------------- */

enum { IMT_TEXT = 32 }; /* as imt_name has it */

/* Models and measures go by name. */
static int settings_to_h5 (const void *object, sluice_node_t *node, sluice_error_t *err)
{
    const settings_t *settings = object;
    sluice_array_t names;
    if (sluice_node_put_text (node, "gsim", gsim_name (settings->gsim), err) ||
        sluice_array_make (&names, "|S32", 1, (uint64_t[]){settings->nimts}, err))
        return -1;
    for (size_t i = 0; i < settings->nimts; i++)
        imt_name (&settings->imts[i], (char *) names.data + i * IMT_TEXT);
    int rc = sluice_node_put_array (node, "imts", &names, err);
    sluice_array_clear (&names);
    return rc;
}

static int settings_from_h5 (void *object, sluice_node_t *node, unsigned version,
                             sluice_error_t *err)
{
    (void) version;
    settings_t *settings = object;
    sluice_array_t names;
    char *gsim = sluice_node_get_text (node, "gsim", err);
    if (!gsim)
        return -1;
    settings->gsim = gsim_find (gsim, err);
    free (gsim);
    if (!settings->gsim || sluice_node_get_array (node, "imts", "|S32", &names, err))
        return -1;
    int rc = 0;
    if (names.ndim != 1 || names.shape[0] > SCENARIO_MAX_IMTS)
        rc = sluice_fail (err, SLUICE_EINPUT, "imts: at most %d measures in one row",
                          SCENARIO_MAX_IMTS);
    for (size_t i = 0; rc == 0 && i < names.shape[0]; i++) {
        char text[IMT_TEXT + 1] = "";
        memcpy (text, (char *) names.data + i * IMT_TEXT, IMT_TEXT);
        imt_t *imt = &settings->imts[i];
        if (imt_parse (text, imt, err) || gsim_check (settings->gsim, imt, err))
            rc = -1;
        settings->nimts = i + 1;
    }
    sluice_array_clear (&names);
    return rc;
}

static const sluice_member_t settings_members[] = {
    SLUICE_MEMBER (settings_t, truncation),
    SLUICE_MEMBER (settings_t, events),
};
const sluice_class_t settings_class = {.name = "settings",
                                       .version = 1,
                                       .size = sizeof (settings_t),
                                       .members = settings_members,
                                       .nmembers = COUNT (settings_members),
                                       .to_h5 = settings_to_h5,
                                       .from_h5 = settings_from_h5};

/* ---- all together ------------------------------------------------------------------ */

static const sluice_member_t scenario_members[] = {
    SLUICE_MEMBER_OBJECT (scenario_t, settings, &settings_class),
    SLUICE_MEMBER_OBJECT (scenario_t, facts, &gsim_rupture_class),
    SLUICE_MEMBER_OBJECT (scenario_t, rupture, &rupture_class),
    SLUICE_MEMBER_OBJECT (scenario_t, sites, &sites_class),
};
const sluice_class_t scenario_class = {.name = "scenario",
                                       .version = 1,
                                       .size = sizeof (scenario_t),
                                       .members = scenario_members,
                                       .nmembers = COUNT (scenario_members)};
