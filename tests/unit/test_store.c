/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "store_place.h"

TestSuite (store, .init = make_store, .fini = remove_store);

static void reopen (bool write)
{
    cr_assert_eq (sluice_store_close (&store, &err), 0, "%s", err.text);
    store = sluice_store_open (path, write, &err);
    cr_assert_not_null (store, "%s", err.text);
}

/* ---- round trips ----------------------------------------------------------------------
 */

Test (store, things_come_back_bit_by_bit)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        char key[40];
        thing_t thing, back;
        thing_make (seed, &thing);
        snprintf (key, sizeof key, "a%d/t%d", (int) seed % 7, (int) seed);
        cr_assert_eq (sluice_store_put (store, key, &thing_class, &thing, &err), 0,
                      "seed %d: %s", (int) seed, err.text);
        cr_assert_eq (sluice_store_get (store, key, &thing_class, &back, &err), 0,
                      "seed %d: %s", (int) seed, err.text);
        cr_assert (same_thing (&thing, &back), "seed %d", (int) seed);
        sluice_object_clear (&thing_class, &thing);
        sluice_object_clear (&thing_class, &back);
        cr_assert (is_zero (&back, sizeof back));
    }
    reopen (false);
    for (uint64_t seed = 60; seed; seed--) {
        char key[40];
        thing_t thing, back;
        thing_make (seed, &thing);
        snprintf (key, sizeof key, "a%d/t%d", (int) seed % 7, (int) seed);
        cr_assert_eq (sluice_store_get (store, key, &thing_class, &back, &err), 0, "%s",
                      err.text);
        cr_assert (same_thing (&thing, &back), "seed %d", (int) seed);
        sluice_object_clear (&thing_class, &thing);
        sluice_object_clear (&thing_class, &back);
    }
}

Test (store, things_come_back_from_bytes)
{
    for (uint64_t seed = 100; seed < 120; seed++) {
        thing_t thing, back;
        sluice_array_t bytes;
        thing_make (seed, &thing);
        cr_assert_eq (sluice_object_pack (&thing_class, &thing, &bytes, &err), 0, "%s",
                      err.text);
        size_t size = sluice_array_bytes (&bytes, NULL);
        char *before = malloc (size);
        memcpy (before, bytes.data, size);
        cr_assert_eq (sluice_object_unpack (&thing_class, &bytes, &back, &err), 0, "%s",
                      err.text);
        cr_assert (same_thing (&thing, &back), "seed %d", (int) seed);
        cr_assert_arr_eq (before, bytes.data, size, "they are read where they lie");
        free (before);
        sluice_array_clear (&bytes);
        sluice_object_clear (&thing_class, &thing);
        sluice_object_clear (&thing_class, &back);
    }
}

Test (store, refuses_bytes_that_are_no_object)
{
    thing_t thing, back;
    sluice_array_t bytes, other;
    thing_make (5, &thing);
    cr_assert_eq (sluice_array_make (&other, "<f8", 1, (uint64_t[]){200}, &err), 0);
    says (sluice_object_unpack (&thing_class, &other, &back, &err), "packed object");
    sluice_array_clear (&other);
    cr_assert_eq (sluice_array_make (&other, "|u1", 1, (uint64_t[]){3000}, &err), 0);
    says (sluice_object_unpack (&thing_class, &other, &back, &err), "packed object");
    sluice_array_clear (&other);
    cr_assert_eq (sluice_object_pack (&thing_class, &thing, &bytes, &err), 0);
    says (sluice_object_unpack (&part_class, &bytes, &back, &err), "'thing', not 'part'");
    bytes.shape[0] /= 2; /* cut off */
    cr_assert_eq (sluice_object_unpack (&thing_class, &bytes, &back, &err), -1);
    sluice_array_clear (&bytes);
    sluice_object_clear (&thing_class, &thing);
}

/* ---- keys
 * --------------------------------------------------------------------------------- */

static void put_leaf (const char *key, int64_t value)
{
    leaf_t leaf = {.value = value};
    cr_assert_eq (sluice_store_put (store, key, &leaf_class, &leaf, &err), 0, "%s",
                  err.text);
}

static int64_t get_leaf (const char *key)
{
    leaf_t leaf;
    cr_assert_eq (sluice_store_get (store, key, &leaf_class, &leaf, &err), 0, "%s",
                  err.text);
    return leaf.value;
}

Test (store, keys)
{
    static const char *const want[] = {"a.b", "a/b", "a/c/d", "größe/漢", "z"};
    size_t n = 9;
    unsigned version;
    char **keys = sluice_store_list (store, &n, &err);
    cr_assert (keys && n == 0 && !keys[0]);
    free (keys);
    put_leaf ("z", 1);
    put_leaf ("größe/漢", 2);
    put_leaf ("a/c/d", 3);
    put_leaf ("a/b", 4);
    part_t part = {.weight = 1};
    cr_assert_eq (sluice_store_put (store, "a.b", &part_class, &part, &err), 0);
    keys = sluice_store_list (store, &n, &err);
    cr_assert_not_null (keys, "%s", err.text);
    cr_assert_eq (n, 5);
    for (size_t i = 0; i < n; i++)
        cr_assert_str_eq (keys[i], want[i]);
    cr_assert_null (keys[n]);
    free (keys);
    char *name = sluice_store_class (store, "a.b", &version, &err);
    cr_assert_str_eq (name, "part");
    cr_assert_eq (version, 3);
    free (name);
    free (sluice_store_class (store, "a/b", NULL, &err));
    cr_assert (sluice_store_has (store, "a/b") && !sluice_store_has (store, "a"));
    cr_assert (!sluice_store_has (store, "a.b/leaf/x") && !sluice_store_has (store, ""));

    put_leaf ("a/b", 44);
    cr_assert_eq (get_leaf ("a/b"), 44, "replaced");
    cr_assert_eq (sluice_store_delete (store, "a/b", &err), 0);
    cr_assert (!sluice_store_has (store, "a/b"));
    says (sluice_store_delete (store, "a/b", &err), "nothing is under the key 'a/b'");
    leaf_t leaf;
    says (sluice_store_get (store, "a/b", &leaf_class, &leaf, &err), "nothing is under");
    says (sluice_store_get (store, "a", &leaf_class, &leaf, &err), "not an object");
    says (sluice_store_delete (store, "a", &err), "not an object");
    cr_assert_null (sluice_store_class (store, "none", NULL, &err));
    cr_assert_eq (get_leaf ("a/c/d"), 3);
}

Test (store, refuses_keys_that_cannot_be)
{
    static char longest[1002];
    memset (longest, 'x', 1001);
    const char *bad[] = {"",     "/a",  "a/",        "a//b", ".",     "a/..",
                         "\xff", "../", "sluice_me", NULL,   longest, "a/sluice_x"};
    leaf_t leaf = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        says (sluice_store_put (store, bad[i], &leaf_class, &leaf, &err),
              "cannot be a key");
        says (sluice_store_get (store, bad[i], &leaf_class, &leaf, &err),
              "cannot be a key");
        cr_assert (!sluice_store_has (store, bad[i]));
    }
    put_leaf (longest + 1, 1);
    put_leaf ("a", 1);
    says (sluice_store_put (store, "a/b", &leaf_class, &leaf, &err), "folder of keys");
    says (sluice_store_put (store, "a/b/c", &leaf_class, &leaf, &err), "folder of keys");
}

Test (store, does_not_replace_what_is_not_its_own)
{
    leaf_t leaf = {0};
    put_leaf ("g/a", 1);
    says (sluice_store_put (store, "g", &leaf_class, &leaf, &err), "is not replaced");
    hid_t file = raw_open ();
    sluice_array_t array;
    sluice_array_make (&array, "<f8", 1, (uint64_t[]){2}, &err);
    h5_write_array (file, "data", &array, &err);
    sluice_array_clear (&array);
    H5Lcreate_soft ("/g/a", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external ("other.h5", "/a", file, "external", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard (file, "/", file, "g/circle", H5P_DEFAULT, H5P_DEFAULT);
    raw_close (file);
    says (sluice_store_put (store, "data", &leaf_class, &leaf, &err), "is not replaced");
    says (sluice_store_put (store, "data/x", &leaf_class, &leaf, &err), "folder of keys");
    says (sluice_store_get (store, "data", &leaf_class, &leaf, &err), "not an object");
    says (sluice_store_get (store, "soft", &leaf_class, &leaf, &err), "not followed");
    says (sluice_store_put (store, "soft", &leaf_class, &leaf, &err), "not followed");
    says (sluice_store_get (store, "external", &leaf_class, &leaf, &err), "not followed");
    says (sluice_store_put (store, "external/x", &leaf_class, &leaf, &err),
          "not followed");
    size_t n;
    char **keys = sluice_store_list (store, &n, &err); /* the circle ends */
    cr_assert (keys && n >= 1 && !strcmp (keys[0], "g/a"));
    free (keys);
}

Test (store, refuses_files_that_it_cannot_use)
{
    char other[120];
    leaf_t leaf = {0};
    snprintf (other, sizeof other, "%s/other", dir);
    cr_assert_null (sluice_store_open (other, false, &err));
    cr_assert (strstr (err.text, "No such file"), "%s", err.text);
    cr_assert_null (sluice_store_create (path, &err));
    cr_assert (strstr (err.text, "is there already"), "%s", err.text);
    FILE *out = fopen (other, "w");
    fputs ("hello", out);
    fclose (out);
    cr_assert_null (sluice_store_open (other, false, &err));
    cr_assert (strstr (err.text, "not an HDF5 file"), "%s", err.text);
    unlink (other);
    snprintf (other, sizeof other, "%s/none/x.h5", dir);
    cr_assert_null (sluice_store_create (other, &err));
    cr_assert_eq (err.code, SLUICE_EOUTPUT);
    put_leaf ("a", 1);
    reopen (false);
    says (sluice_store_put (store, "b", &leaf_class, &leaf, &err), "reading only");
    says (sluice_store_delete (store, "a", &err), "reading only");
    cr_assert_eq (get_leaf ("a"), 1);
    /* Cut short: an error, and no crash. */
    cr_assert_eq (sluice_store_close (&store, &err), 0);
    cr_assert_eq (truncate (path, 600), 0);
    cr_assert_null (sluice_store_open (path, false, &err));
    cr_assert (strstr (err.text, "HDF5: "), "the reason of HDF5: %s", err.text);
}

/* ---- failed puts
 * ---------------------------------------------------------------------------- */

static void nothing_changed (void)
{
    size_t n;
    char **keys = sluice_store_list (store, &n, &err);
    cr_assert (keys && n == 1 && !strcmp (keys[0], "good"));
    free (keys);
    thing_t good, back;
    thing_make (3, &good);
    cr_assert_eq (sluice_store_get (store, "good", &thing_class, &back, &err), 0);
    cr_assert (same_thing (&good, &back));
    sluice_object_clear (&thing_class, &good);
    sluice_object_clear (&thing_class, &back);
}

Test (store, a_failed_put_leaves_no_trace)
{
    thing_t thing;
    thing_make (3, &thing);
    cr_assert_eq (sluice_store_put (store, "good", &thing_class, &thing, &err), 0);
    const char *const keys[] = {"good", "new", "x/y/new"};
    for (size_t i = 0; i < 3; i++) {
        char *title = thing.title;
        thing.title = NULL;
        says (sluice_store_put (store, keys[i], &thing_class, &thing, &err),
              "title is NULL");
        thing.title = (char *) "\xc3(";
        says (sluice_store_put (store, keys[i], &thing_class, &thing, &err),
              "title is not UTF-8");
        thing.title = title;

        sluice_array_t any = thing.any;
        cr_assert_eq (sluice_array_make (&thing.any, "<U3", 1, (uint64_t[]){2}, &err), 0);
        says (sluice_store_put (store, keys[i], &thing_class, &thing, &err), "use S");
        sluice_array_clear (&thing.any);
        says (sluice_store_put (store, keys[i], &thing_class, &thing, &err),
              "any has no dtype");
        thing.any = any;

        sluice_array_t typed = thing.typed;
        cr_assert_eq (sluice_array_make (&thing.typed, "<f8", 0, NULL, &err), 0);
        says (sluice_store_put (store, keys[i], &thing_class, &thing, &err),
              "typed has the dtype <f8, not " THING_DTYPE);
        sluice_array_clear (&thing.typed);
        thing.typed = typed;

        uint64_t last = thing.rows.offsets[thing.rows.n];
        thing.rows.offsets[thing.rows.n] = last + 1;
        says (sluice_store_put (store, keys[i], &thing_class, &thing, &err),
              "rows: its offsets");
        thing.rows.offsets[thing.rows.n] = last;

        part_t *parts = thing.parts; /* the last member: all else is written */
        thing.parts = NULL;
        thing.nparts++;
        says (sluice_store_put (store, keys[i], &thing_class, &thing, &err),
              "parts is NULL");
        thing.parts = parts;
        thing.nparts--;
        nothing_changed ();
        reopen (true);
        nothing_changed ();
    }
    sluice_object_clear (&thing_class, &thing);
}

Test (store, a_put_that_finds_no_space_leaves_no_trace)
{
    thing_t thing;
    thing_make (3, &thing);
    cr_assert_eq (sluice_store_put (store, "good", &thing_class, &thing, &err), 0);
    sluice_array_clear (&thing.any);
    cr_assert_eq (sluice_array_make (&thing.any, "<f8", 1, (uint64_t[]){1 << 20}, &err),
                  0);
    signal (SIGXFSZ, SIG_IGN);
    struct rlimit old, small = {1 << 20, RLIM_INFINITY};
    getrlimit (RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    setrlimit (RLIMIT_FSIZE, &small);
    says (sluice_store_put (store, "new", &thing_class, &thing, &err), "new");
    says (sluice_store_put (store, "good", &thing_class, &thing, &err), "good");
    nothing_changed ();
    setrlimit (RLIMIT_FSIZE, &old);
    nothing_changed ();
    reopen (true);
    nothing_changed ();
    sluice_object_clear (&thing_class, &thing);
}

/* ---- versions
 * ----------------------------------------------------------------------------------- */

typedef struct {
    double mag, dip_radians;
    int64_t gone;
} quake1_t;
static const sluice_member_t quake1_members[] = {
    SLUICE_MEMBER (quake1_t, mag),
    SLUICE_MEMBER (quake1_t, dip_radians),
    SLUICE_MEMBER (quake1_t, gone),
};
static const sluice_class_t quake1_class = {
    "quake", 1, sizeof (quake1_t), quake1_members, 3, 0, 0, 0, 0};

typedef struct {
    double mag, dip, vs30;
    char *agency, *comment;
    bool has_code;
    uint32_t code;
    sluice_array_t slip;
    size_t n;
    double *lon;
    part_t part;
    part_t *next;
    char *made; /* by migrate alone */
} quake2_t;

static int dips;

static int quake2_migrate (void *object, sluice_node_t *node, unsigned version,
                           sluice_error_t *e)
{
    quake2_t *quake = object;
    double radians;
    int64_t gone;
    cr_assert_eq (version, 1);
    dips++;
    if (sluice_node_get_f64 (node, "dip_radians", &radians, e) ||
        sluice_node_get_i64 (node, "gone", &gone, e))
        return -1;
    quake->dip = radians * 180;
    quake->made = strdup ("from version 1");
    return gone == 666 ? sluice_fail (e, SLUICE_EINPUT, "cannot be migrated") : 0;
}

static void quake2_clear (void *object)
{
    free (((quake2_t *) object)->made);
}

static const sluice_member_t quake2_members[] = {
    SLUICE_MEMBER (quake2_t, mag),
    SLUICE_MEMBER (quake2_t, dip, .since = 2),
    SLUICE_MEMBER (quake2_t, vs30, .since = 2, .missing = &(const double){600}),
    SLUICE_MEMBER (quake2_t, agency, .since = 2, .missing = "unbekannt, für alle"),
    SLUICE_MEMBER (quake2_t, comment, .since = 2),
    SLUICE_MEMBER (quake2_t, code, .since = 2, .has = SLUICE_HAS (quake2_t, has_code),
                   .missing = &(const uint32_t){77}),
    SLUICE_MEMBER (quake2_t, slip, .since = 2),
    SLUICE_MEMBER_VECTOR (quake2_t, lon, n, "<f8", .since = 2),
    SLUICE_MEMBER_OBJECT (quake2_t, part, &part_class, .since = 2),
    SLUICE_MEMBER_POINTER (quake2_t, next, &part_class, .since = 2),
};
static const sluice_class_t quake2_class = {.name = "quake",
                                            .version = 2,
                                            .size = sizeof (quake2_t),
                                            .members = quake2_members,
                                            .nmembers = 10,
                                            .migrate = quake2_migrate,
                                            .clear = quake2_clear};

Test (store, an_older_version_is_read)
{
    const quake1_t old = {.mag = 6.7, .dip_radians = 0.25, .gone = 5};
    quake2_t quake;
    cr_assert_eq (sluice_store_put (store, "q", &quake1_class, &old, &err), 0, "%s",
                  err.text);
    reopen (false);
    cr_assert_eq (sluice_store_get (store, "q", &quake2_class, &quake, &err), 0, "%s",
                  err.text);
    cr_assert (quake.mag == 6.7 && quake.dip == 45 && quake.vs30 == 600);
    cr_assert_str_eq (quake.agency, "unbekannt, für alle");
    cr_assert_str_eq (quake.made, "from version 1");
    cr_assert (!quake.comment && !quake.has_code && quake.code == 77);
    cr_assert (!quake.slip.dtype && !quake.lon && quake.n == 0 && !quake.next &&
               !quake.part.name);
    cr_assert_eq (dips, 1);
    sluice_object_clear (&quake2_class, &quake);

    /* One of today is not migrated, and its members must be there. */
    reopen (true);
    sluice_array_make (&quake.slip, "<f4", 0, NULL, &err);
    quake.agency = strdup ("x");
    quake.comment = strdup ("");
    quake.next = calloc (1, sizeof (part_t));
    cr_assert_eq (sluice_store_put (store, "q2", &quake2_class, &quake, &err), 0, "%s",
                  err.text);
    sluice_object_clear (&quake2_class, &quake);
    cr_assert_eq (sluice_store_get (store, "q2", &quake2_class, &quake, &err), 0, "%s",
                  err.text);
    cr_assert_eq (dips, 1);
    cr_assert_str_eq (quake.comment, "");
    sluice_object_clear (&quake2_class, &quake);
    hid_t file = raw_open (), group = H5Gopen2 (file, "q2", H5P_DEFAULT);
    H5Adelete (group, "vs30");
    H5Gclose (group);
    raw_close (file);
    says (sluice_store_get (store, "q2", &quake2_class, &quake, &err), "vs30 is missing");
    cr_assert (is_zero (&quake, sizeof quake));
}

Test (store, a_newer_version_is_refused)
{
    quake1_t quake;
    sluice_class_t newer = quake1_class;
    newer.version = 12;
    cr_assert_eq (sluice_store_put (store, "q", &newer, &(quake1_t){0}, &err), 0);
    says (sluice_store_get (store, "q", &quake1_class, &quake, &err),
          "version 12 of class 'quake', and this program knows 1 at most: use a newer");
    cr_assert (strstr (err.text, "s.h5: q: "), "%s", err.text);
}

Test (store, a_failed_migration_is_a_failed_get)
{
    const quake1_t old = {.gone = 666};
    quake2_t quake;
    cr_assert_eq (sluice_store_put (store, "q", &quake1_class, &old, &err), 0);
    says (sluice_store_get (store, "q", &quake2_class, &quake, &err),
          "q: cannot be migrated");
    cr_assert (is_zero (&quake, sizeof quake));
}

Test (store, a_class_must_be_well_made)
{
    static const sluice_member_t members[][2] = {
        {SLUICE_MEMBER (leaf_t, value), SLUICE_MEMBER (leaf_t, value)},
        {SLUICE_MEMBER (leaf_t, value), {.name = "a/b", SLUICE_KIND_INT, 0, 8}},
        {SLUICE_MEMBER (leaf_t, value), {.name = "sluice_x", SLUICE_KIND_INT, 0, 8}},
        {SLUICE_MEMBER (leaf_t, value), {.name = NULL, SLUICE_KIND_INT, 0, 8}},
        {SLUICE_MEMBER (leaf_t, value), {.name = "x", SLUICE_KIND_INT, 0, 3}},
        {SLUICE_MEMBER (leaf_t, value), {.name = "x", SLUICE_KIND_NONE, 0, 8}},
        {SLUICE_MEMBER (leaf_t, value), {.name = "x", SLUICE_KIND_INT, 100000, 8}},
        {SLUICE_MEMBER (leaf_t, value, .since = 2)},
        {SLUICE_MEMBER (leaf_t, value, .optional = true)},
        {SLUICE_MEMBER (leaf_t, data, .dtype = "<f7")},
        {{.name = "v", SLUICE_KIND_VECTOR, 0, 4, .count = 8, .dtype = "<f8"}},
        {{.name = "v", SLUICE_KIND_VECTOR, 0, 8, .count = 99999, .dtype = "<f8"}},
        {{.name = "o", SLUICE_KIND_OBJECT, 0, 8, .of = &leaf_class}},
        {{.name = "o", SLUICE_KIND_OBJECT, 0, sizeof (leaf_t)}},
    };
    leaf_t leaf = {0};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        sluice_class_t class = leaf_class;
        class.members = members[i];
        class.nmembers = i < 7 ? 2 : 1;
        says (sluice_store_put (store, "x", &class, &leaf, &err), "class leaf: ");
        cr_assert (!sluice_store_has (store, "x"));
    }
    sluice_class_t class = leaf_class;
    class.version = 0;
    says (sluice_store_put (store, "x", &class, &leaf, &err), "a version from 1");
    class = leaf_class;
    class.name = "";
    says (sluice_store_put (store, "x", &class, &leaf, &err), "a name of");
}

/* ---- functions of a class
 * --------------------------------------------------------------------- */

/* A tree, whose class is part of itself. */
typedef struct tree {
    int number;
    struct tree *left;
} tree_t;
extern const sluice_class_t tree_class;
static const sluice_member_t tree_members[] = {
    SLUICE_MEMBER (tree_t, number),
    SLUICE_MEMBER_POINTER (tree_t, left, &tree_class, .optional = true),
};
const sluice_class_t tree_class = {.name = "tree",
                                   .version = 1,
                                   .size = sizeof (tree_t),
                                   .members = tree_members,
                                   .nmembers = 2};

Test (store, nests_to_a_depth_and_no_deeper)
{
    tree_t trees[33] = {0}, back;
    for (int i = 0; i < 33; i++) {
        trees[i].number = i;
        trees[i].left = i < 32 ? &trees[i + 1] : NULL;
    }
    says (sluice_store_put (store, "t", &tree_class, trees, &err), "nest more than 32");
    cr_assert_eq (sluice_store_put (store, "t", &tree_class, trees + 1, &err), 0, "%s",
                  err.text);
    cr_assert_eq (sluice_store_get (store, "t", &tree_class, &back, &err), 0, "%s",
                  err.text);
    int n = 0;
    for (tree_t *t = &back; t; t = t->left)
        n++;
    cr_assert_eq (n, 32);
    sluice_object_clear (&tree_class, &back);
    trees[5].left = &trees[3]; /* in a circle */
    says (sluice_store_put (store, "c", &tree_class, trees, &err), "nest more than 32");
    hid_t file = raw_open ();
    H5Ldelete (file, "t/left/left", H5P_DEFAULT);
    H5Lcreate_hard (file, "t", file, "t/left/left", H5P_DEFAULT, H5P_DEFAULT);
    raw_close (file);
    says (sluice_store_get (store, "t", &tree_class, &back, &err), "nest more than 32");
    cr_assert (is_zero (&back, sizeof back));
}

/* Writes and reads all that functions can. */
typedef struct {
    bool fail_put, fail_get, silent;
    char *text;
    part_t part;
    sluice_array_t array;
    sluice_ragged_t ragged;
} custom_t;

static int custom_to_h5 (const void *object, sluice_node_t *node, sluice_error_t *e)
{
    const custom_t *self = object;
    if (sluice_node_put_bool (node, "yes", true, e) ||
        sluice_node_put_i64 (node, "below", -5, e) ||
        sluice_node_put_u64 (node, "above", UINT64_MAX, e) ||
        sluice_node_put_f64 (node, "real", 0.5, e) ||
        sluice_node_put_text (node, "text", self->text, e) ||
        sluice_node_put_array (node, "array", &self->array, e) ||
        sluice_node_put_ragged (node, "ragged", &self->ragged, e) ||
        sluice_node_put_object (node, "part", &part_class, &self->part, e))
        return -1;
    sluice_error_t twice;
    cr_assert_eq (sluice_node_put_f64 (node, "real", 1, &twice), -1);
    cr_assert (strstr (twice.text, "there twice"));
    cr_assert_eq (sluice_node_put_text (node, "array", "x", &twice), -1);
    cr_assert_eq (sluice_node_put_text (node, "sluice_class", "x", &twice), -1);
    if (self->fail_put && self->silent)
        return -1;
    return self->fail_put ? sluice_fail (e, SLUICE_EINPUT, "I will not") : 0;
}

static bool fail_get, silent;

static int custom_from_h5 (void *object, sluice_node_t *node, unsigned version,
                           sluice_error_t *e)
{
    custom_t *self = object;
    bool yes;
    int64_t below;
    uint64_t above;
    double real;
    cr_assert_eq (version, 1);
    cr_assert (sluice_node_has (node, "yes") && sluice_node_has (node, "part") &&
               !sluice_node_has (node, "no") && !sluice_node_has (node, "a/b"));
    self->text = sluice_node_get_text (node, "text", e);
    if (!self->text || sluice_node_get_bool (node, "yes", &yes, e) ||
        sluice_node_get_i64 (node, "below", &below, e) ||
        sluice_node_get_u64 (node, "above", &above, e) ||
        sluice_node_get_f64 (node, "real", &real, e) ||
        sluice_node_get_array (node, "array", "<f8", &self->array, e) ||
        sluice_node_get_ragged (node, "ragged", NULL, &self->ragged, e) ||
        sluice_node_get_object (node, "part", &part_class, &self->part, e))
        return -1;
    cr_assert (yes && below == -5 && above == UINT64_MAX && real == 0.5);
    cr_assert_eq (sluice_node_get_u64 (node, "below", &above, NULL), -1);
    cr_assert_eq (sluice_node_get_i64 (node, "above", &below, NULL), -1);
    cr_assert_null (sluice_node_get_text (node, "none", NULL));
    if (fail_get && silent)
        return -1;
    return fail_get ? sluice_fail (e, SLUICE_EINPUT, "I cannot") : 0;
}

static void custom_clear (void *object)
{
    custom_t *self = object;
    free (self->text);
    sluice_object_clear (&part_class, &self->part);
    sluice_array_clear (&self->array);
    sluice_ragged_clear (&self->ragged);
}

static const sluice_class_t custom_class = {.name = "custom",
                                            .version = 1,
                                            .size = sizeof (custom_t),
                                            .to_h5 = custom_to_h5,
                                            .from_h5 = custom_from_h5,
                                            .clear = custom_clear};

Test (store, functions_write_and_read)
{
    custom_t custom = {.text = strdup ("Größe")}, back;
    sluice_array_make (&custom.array, "<f8", 1, (uint64_t[]){3}, &err);
    sluice_ragged_make (&custom.ragged, "<i4", 2, (uint64_t[]){0, 3}, &err);
    ((int32_t *) custom.ragged.data.data)[1] = 9;
    uint64_t length = 0;
    cr_assert_eq (((int32_t *) sluice_ragged_row (&custom.ragged, 1, &length))[1], 9);
    cr_assert_eq (length, 3);
    uint64_t seed = 9;
    thing_part (&seed, &custom.part);
    cr_assert_eq (sluice_store_put (store, "c", &custom_class, &custom, &err), 0, "%s",
                  err.text);
    cr_assert_eq (sluice_store_get (store, "c", &custom_class, &back, &err), 0, "%s",
                  err.text);
    cr_assert (same_part (&custom.part, &back.part) &&
               same_ragged (&custom.ragged, &back.ragged) &&
               same_array (&custom.array, &back.array));
    cr_assert_str_eq (back.text, "Größe");
    sluice_object_clear (&custom_class, &back);
    fail_get = true;
    says (sluice_store_get (store, "c", &custom_class, &back, &err), "c: I cannot");
    cr_assert (is_zero (&back, sizeof back));
    silent = true;
    says (sluice_store_get (store, "c", &custom_class, &back, &err), "did not say why");
    custom.fail_put = true;
    says (sluice_store_put (store, "d", &custom_class, &custom, &err), "d: I will not");
    cr_assert (!sluice_store_has (store, "d"));
    custom.silent = true;
    says (sluice_store_put (store, "d", &custom_class, &custom, &err), "did not say why");
    sluice_object_clear (&custom_class, &custom);
}

Test (store, refuses_rows_larger_than_memory)
{
    sluice_ragged_t ragged;
    says (sluice_ragged_make (&ragged, "<f8", 2, (uint64_t[]){UINT64_MAX, 2}, &err),
          "larger than any memory");
    says (sluice_ragged_make (&ragged, "<f8", 1, (uint64_t[]){UINT64_MAX / 2}, &err), "");
    says (sluice_ragged_make (&ragged, "nonsense", 0, NULL, &err), "");
    cr_assert (is_zero (&ragged, sizeof ragged));
}
