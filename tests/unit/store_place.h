/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* store_place.h - an object store in a folder of its own, for the tests of it */
#ifndef TESTS_STORE_PLACE_H
#define TESTS_STORE_PLACE_H

#include <criterion/criterion.h>
#include <hdf5.h>
#include <unistd.h>

#include "calc/h5array.h"
#include "thing.h"

static char dir[] = "/tmp/sluice-test-store-XXXXXX";
static char path[100];
static sluice_store_t *store;
static sluice_error_t err;

static void make_store (void)
{
    cr_assert_not_null (mkdtemp (dir));
    snprintf (path, sizeof path, "%s/s.h5", dir);
    store = sluice_store_create (path, &err);
    cr_assert_not_null (store, "%s", err.text);
}

static void remove_store (void)
{
    cr_assert_eq (sluice_store_close (&store, &err), 0, "%s", err.text);
    cr_assert_null (store);
    cr_assert_eq (sluice_store_close (&store, &err), 0, "closed twice");
    cr_assert_eq (H5Fget_obj_count ((hid_t) H5F_OBJ_ALL, H5F_OBJ_ALL), 0,
                  "something of HDF5 is open");
    unlink (path);
    rmdir (dir);
}

/* Change the file behind the store's back. */
static hid_t raw_open (void)
{
    cr_assert_eq (sluice_store_close (&store, &err), 0, "%s", err.text);
    h5_quiet ();
    hid_t file = H5Fopen (path, H5F_ACC_RDWR, H5P_DEFAULT);
    cr_assert_geq (file, 0);
    return file;
}

static void raw_close (hid_t file)
{
    H5Fclose (file);
    store = sluice_store_open (path, true, &err);
    cr_assert_not_null (store, "%s", err.text);
}

/* `text` stands in the error of the call that failed. */
#define says(call, part)                                                                 \
    do {                                                                                 \
        memset (&err, 0, sizeof err);                                                    \
        cr_assert_eq (call, -1);                                                         \
        cr_assert (strstr (err.text, part), "%s", err.text);                             \
        cr_assert_neq (err.code, SLUICE_OK);                                             \
    } while (0)

static bool is_zero (const void *object, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((const char *) object)[i])
            return false;
    return true;
}

#endif
