/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* store.c - earthquakes in an object store: a program of its own
 *
 *   cc -o store store.c $(pkg-config --cflags --libs libsluice)
 *   ./store quakes.h5
 *
 * Makes the file, if there is none, with one earthquake of today and one as an
 * older version of this program wrote it; then prints all that the file has. In
 * Python it is
 *
 *   f = h5py.File ('quakes.h5')
 *   f['socal/northridge'].attrs['mag'], f['socal/northridge/slip'][:]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/store.h>

/* ---- what is kept --------------------------------------------------------- */

typedef struct {
    double mag, days; /* after the main shock */
} shock_t;

typedef struct {
    double mag;
    double depth;  /* km; came with version 2 */
    char *comment; /* may be NULL */
    size_t nafter;
    shock_t *after;       /* aftershocks */
    sluice_array_t slip;  /* m, on the fault; may be absent */
    sluice_ragged_t felt; /* intensities reported, a row for each town */
} quake_t;

static const sluice_member_t shock_members[] = {
    SLUICE_MEMBER (shock_t, mag),
    SLUICE_MEMBER (shock_t, days),
};
static const sluice_class_t shock_class = {.name = "shock",
                                           .version = 1,
                                           .size = sizeof (shock_t),
                                           .members = shock_members,
                                           .nmembers = 2};

static const sluice_member_t quake_members[] = {
    SLUICE_MEMBER (quake_t, mag),
    SLUICE_MEMBER (quake_t, depth, .since = 2, .missing = &(const double){10}),
    SLUICE_MEMBER (quake_t, comment, .optional = true),
    SLUICE_MEMBER_LIST (quake_t, after, nafter, &shock_class),
    SLUICE_MEMBER (quake_t, slip, .optional = true, .dtype = "<f4"),
    SLUICE_MEMBER (quake_t, felt, .since = 2, .dtype = "|u1"),
};
static const sluice_class_t quake_class = {.name = "quake",
                                           .version = 2,
                                           .size = sizeof (quake_t),
                                           .members = quake_members,
                                           .nmembers = 6};

/* The same struct as version 1 had it: without depth and felt. */
static const sluice_member_t old_members[] = {
    SLUICE_MEMBER (quake_t, mag),
    SLUICE_MEMBER_LIST (quake_t, after, nafter, &shock_class),
};
static const sluice_class_t old_class = {.name = "quake",
                                         .version = 1,
                                         .size = sizeof (quake_t),
                                         .members = old_members,
                                         .nmembers = 2};

/* ---- putting --------------------------------------------------------------- */

static int put_northridge (sluice_store_t *store, sluice_error_t *err)
{
    /* put takes nothing: what it is given may lie on the stack, or be constant. */
    shock_t after[] = {{5.9, 0.0005}, {5.6, 0.5}, {5.3, 63}};
    char comment[] = "blind thrust";
    quake_t quake = {
        .mag = 6.7, .depth = 17.5, .comment = comment, .nafter = 3, .after = after};
    const float slip[6] = {0.5f, 1.5f, 3.0f, 0.25f, 1.0f, 2.0f};
    const uint8_t felt[3] = {9, 8, 5};
    int rc = -1;
    if (sluice_array_make (&quake.slip, "<f4", 2, (uint64_t[]){2, 3}, err) == 0 &&
        sluice_ragged_make (&quake.felt, "|u1", 3, (uint64_t[]){2, 0, 1}, err) == 0) {
        memcpy (quake.slip.data, slip, sizeof slip);
        memcpy (quake.felt.data.data, felt, sizeof felt);
        rc = sluice_store_put (store, "socal/northridge", &quake_class, &quake, err);
    }
    sluice_array_clear (&quake.slip);
    sluice_ragged_clear (&quake.felt);
    return rc;
}

static int make_file (const char *path, sluice_error_t *err)
{
    const quake_t long_beach = {.mag = 6.4};
    sluice_error_t ignored;
    sluice_store_t *store = sluice_store_create (path, err);
    if (!store)
        return -1;
    if (put_northridge (store, err) == -1 ||
        sluice_store_put (store, "old/long_beach", &old_class, &long_beach, err) == -1) {
        sluice_store_close (&store, &ignored); /* the first error is what matters */
        return -1;
    }
    return sluice_store_close (&store, err);
}

/* ---- getting ---------------------------------------------------------------- */

static void print (const char *key, const quake_t *quake)
{
    printf ("%s: M %.1f, depth %.1f km, %s, %zu aftershocks, slip ", key, quake->mag,
            quake->depth, quake->comment ? quake->comment : "no comment", quake->nafter);
    if (quake->slip.ndim == 2)
        printf ("%d x %d\n", (int) quake->slip.shape[0], (int) quake->slip.shape[1]);
    else
        printf ("(unknown)\n");
}

static int print_file (const char *path, sluice_error_t *err)
{
    sluice_store_t *store = sluice_store_open (path, false, err);
    if (!store)
        return -1;
    size_t n = 0;
    char **keys = sluice_store_list (store, &n, err);
    int rc = keys ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        quake_t quake;
        rc = sluice_store_get (store, keys[i], &quake_class, &quake, err);
        if (rc == 0) {
            print (keys[i], &quake);
            sluice_object_clear (&quake_class, &quake); /* what get made */
        }
    }
    free (keys);
    return sluice_store_close (&store, rc ? NULL : err) ? -1 : rc;
}

int main (int argc, char **argv)
{
    sluice_error_t err = {0};
    if (argc != 2) {
        fprintf (stderr, "usage: store FILE\n");
        return 2;
    }
    if ((access (argv[1], F_OK) == -1 && make_file (argv[1], &err) == -1) ||
        print_file (argv[1], &err) == -1) {
        fprintf (stderr, "store: %s\n", err.text);
        return 1;
    }
    return 0;
}
