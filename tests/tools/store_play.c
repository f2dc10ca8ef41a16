/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* store_play - things (tests/unit/thing.h) in a store, for h5py to look at
 *
 *   store_play make FILE N        a new file with things t/1 ... t/N of these seeds
 *   store_play check FILE N       they are these
 *   store_play copy FILE FROM TO  get FROM, and put it under TO
 *   store_play list FILE          KEY CLASS VERSION, a line each
 */
#include "../unit/thing.h"

static int fail (const sluice_error_t *err)
{
    fprintf (stderr, "store_play: %s\n", err->text);
    return 1;
}

static int make (sluice_store_t *store, uint64_t n, sluice_error_t *err)
{
    int rc = 0;
    for (uint64_t seed = 1; rc == 0 && seed <= n; seed++) {
        char key[40];
        thing_t thing;
        thing_make (seed, &thing);
        snprintf (key, sizeof key, "t/%d", (int) seed);
        rc = sluice_store_put (store, key, &thing_class, &thing, err);
        sluice_object_clear (&thing_class, &thing);
    }
    return rc;
}

static int check (sluice_store_t *store, uint64_t n, sluice_error_t *err)
{
    int rc = 0;
    for (uint64_t seed = 1; rc == 0 && seed <= n; seed++) {
        char key[40];
        thing_t thing, back;
        snprintf (key, sizeof key, "t/%d", (int) seed);
        if (sluice_store_get (store, key, &thing_class, &back, err))
            return -1;
        thing_make (seed, &thing);
        if (!same_thing (&thing, &back))
            rc = sluice_fail (err, SLUICE_EINPUT, "%s is another thing", key);
        sluice_object_clear (&thing_class, &thing);
        sluice_object_clear (&thing_class, &back);
    }
    return rc;
}

static int copy (sluice_store_t *store, const char *from, const char *to,
                 sluice_error_t *err)
{
    thing_t thing;
    if (sluice_store_get (store, from, &thing_class, &thing, err))
        return -1;
    int rc = sluice_store_put (store, to, &thing_class, &thing, err);
    sluice_object_clear (&thing_class, &thing);
    return rc;
}

static int list (sluice_store_t *store, sluice_error_t *err)
{
    size_t n;
    char **keys = sluice_store_list (store, &n, err);
    if (!keys)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        unsigned version;
        char *name = sluice_store_class (store, keys[i], &version, err);
        if (name)
            printf ("%s %s %u\n", keys[i], name, version);
        else
            rc = -1;
        free (name);
    }
    free (keys);
    return rc;
}

int main (int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    bool is_make = !strcmp (verb, "make") && argc == 4;
    bool is_copy = !strcmp (verb, "copy") && argc == 5;
    bool is_check = !strcmp (verb, "check") && argc == 4;
    if (!is_make && !is_copy && !is_check && !(!strcmp (verb, "list") && argc == 3)) {
        fputs ("usage: store_play make|check FILE N | copy FILE FROM TO | list FILE\n",
               stderr);
        return 2;
    }
    sluice_error_t err = {0}, closing = {0};
    sluice_store_t *store = is_make ? sluice_store_create (argv[2], &err)
                                    : sluice_store_open (argv[2], is_copy, &err);
    if (!store)
        return fail (&err);
    int rc = is_make    ? make (store, strtoull (argv[3], NULL, 10), &err)
             : is_check ? check (store, strtoull (argv[3], NULL, 10), &err)
             : is_copy  ? copy (store, argv[3], argv[4], &err)
                        : list (store, &err);
    if (sluice_store_close (&store, &closing) && rc == 0) {
        err = closing;
        rc = -1;
    }
    return rc ? fail (&err) : 0;
}
