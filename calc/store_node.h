/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* store_node.h - what the parts of the object store know of each other
 *
 * A node is the HDF5 group of an object that is being written or read. store_value.c
 * and store_ragged.c have single values, store_object.c whole structs, store_node.c what
 * their functions may call, store.c files and keys, store_image.c objects as bytes.
 */
#ifndef CALC_STORE_NODE_H
#define CALC_STORE_NODE_H

#include <hdf5.h>
#include "sluice/store.h"

#define STORE_CLASS "sluice_class"
#define STORE_VERSION "sluice_version"
#define STORE_OWN "sluice_" /* how names of ours begin */

enum { STORE_MAX_DEPTH = 32, STORE_MAX_NAME = 200, STORE_MAX_KEY = 1000 };

struct sluice_node {
    hid_t group;
    unsigned depth; /* of objects within objects */
};

struct sluice_store {
    hid_t file;
    bool writable;
    char *path; /* for messages */
};

/* A store of this file, which is closed with it or on error; `path` is copied. */
sluice_store_t *store_of (hid_t file, const char *path, bool writable,
                          sluice_error_t *err);

/* Can this name a member? */
int store_check_name (const char *name, sluice_error_t *err);

/* A new group, with intermediate ones, or one that is there. -1 with an error. */
hid_t store_make_group (hid_t at, const char *name, sluice_error_t *err);
hid_t store_open_group (hid_t at, const char *name, sluice_error_t *err);

/* Open what is linked to under this name itself, which may not be a soft or external
 * link. *there says whether anything is. -1 if not, or on error; H5Oclose it. */
hid_t store_open_link (hid_t at, const char *name, bool *there, sluice_error_t *err);

/* Is there a value for this member, as an attribute or as a link? An error, -1, if it
 * is there as the other. */
int store_find (hid_t group, const char *name, bool attribute, bool *there,
                sluice_error_t *err);

/* May something be put under this name: is it one, and not there yet? */
int store_check_free (hid_t group, const char *name, sluice_error_t *err);
/* Does this array have data of its shape, and that dtype (NULL: any)? */
int store_check_array (const char *name, const sluice_array_t *array, const char *dtype,
                       sluice_error_t *err);

/* A scalar of this kind and size at `value`. */
int store_put_scalar (hid_t group, const char *name, sluice_kind_t kind, size_t size,
                      const void *value, sluice_error_t *err);
int store_get_scalar (hid_t group, const char *name, sluice_kind_t kind, size_t size,
                      void *value, sluice_error_t *err);
int store_put_text (hid_t group, const char *name, const char *text, sluice_error_t *err);
char *store_get_text (hid_t group, const char *name, sluice_error_t *err);
int store_put_array (hid_t group, const char *name, const sluice_array_t *array,
                     const char *dtype, sluice_error_t *err);
int store_get_array (hid_t group, const char *name, const char *dtype,
                     sluice_array_t *array, sluice_error_t *err);
int store_put_ragged (hid_t group, const char *name, const sluice_ragged_t *ragged,
                      const char *dtype, sluice_error_t *err);
int store_get_ragged (hid_t group, const char *name, const char *dtype,
                      sluice_ragged_t *ragged, sluice_error_t *err);

/* A whole object, into and from its group. */
int store_write_object (hid_t group, const sluice_class_t *class, const void *object,
                        unsigned depth, sluice_error_t *err);
int store_read_object (hid_t group, const sluice_class_t *class, void *object,
                       unsigned depth, sluice_error_t *err);
/* Is a class well made? -1 names what is wrong. */
int store_check_class (const sluice_class_t *class, sluice_error_t *err);

#endif
