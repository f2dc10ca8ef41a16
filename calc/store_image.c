/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Objects as bytes, and between a kernel's plan and open; see sluice/store.h. */

#include "calc/store_node.h"

#include <string.h>

#include "calc/h5array.h"

#define KEY "object"

/* A file in memory grows by so much. */
enum { GROWTH = 1 << 20 };

/* Of HDF5's oldest format: in images of later ones, H5Fget_file_image (1.10) leaves a
 * superblock whose checksum is wrong. */
static hid_t memory_access (void)
{
    hid_t access = H5Pcreate (H5P_FILE_ACCESS);
    h5_quiet ();
    if (access >= 0 && (H5Pset_fclose_degree (access, H5F_CLOSE_STRONG) < 0 ||
                        H5Pset_fapl_core (access, GROWTH, false) < 0)) {
        H5Pclose (access);
        return -1;
    }
    return access;
}

/* The bytes of a file in memory, as an owned array. */
static int copy_image (hid_t file, sluice_array_t *bytes, sluice_error_t *err)
{
    ssize_t size = H5Fget_file_image (file, NULL, 0);
    if (size <= 0)
        return h5_fail (err, SLUICE_ESYSTEM, "an object cannot be packed");
    if (sluice_array_make (bytes, "|u1", 1, (uint64_t[]){(uint64_t) size}, err))
        return -1;
    if (H5Fget_file_image (file, bytes->data, (size_t) size) == size)
        return 0;
    sluice_array_clear (bytes);
    return h5_fail (err, SLUICE_ESYSTEM, "an object cannot be packed");
}

int sluice_object_pack (const sluice_class_t *class, const void *object,
                        sluice_array_t *bytes, sluice_error_t *err)
{
    memset (bytes, 0, sizeof *bytes);
    h5_quiet ();
    hid_t access = memory_access (), file = -1;
    if (access >= 0)
        file = H5Fcreate ("sluice-object", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    if (file < 0)
        h5_fail (err, SLUICE_ESYSTEM, "an object cannot be packed");
    if (access >= 0)
        H5Pclose (access);
    sluice_store_t *store = file < 0 ? NULL : store_of (file, "packed object", true, err);
    if (!store)
        return -1;
    int rc = sluice_store_put (store, KEY, class, object, err);
    if (rc == 0)
        rc = copy_image (file, bytes, err);
    if (sluice_store_close (&store, rc ? NULL : err)) {
        sluice_array_clear (bytes);
        rc = -1;
    }
    return rc;
}

/* ---- reading bytes where they lie
 * --------------------------------------------------------- */

/* HDF5 would copy the image twice. It is asked to take the one that there is: each
 * place that is to get a copy gets these bytes themselves, which a file opened for
 * reading does not change. */
typedef struct {
    void *data;
    size_t size;
} image_t;

static void *image_malloc (size_t size, H5FD_file_image_op_t op, void *arg)
{
    const image_t *image = arg;
    (void) op;
    return size == image->size ? image->data : NULL;
}

static void *image_memcpy (void *to, const void *from, size_t size,
                           H5FD_file_image_op_t op, void *arg)
{
    (void) size, (void) op, (void) arg;
    return to == from ? to : NULL;
}

static void *image_realloc (void *data, size_t size, H5FD_file_image_op_t op, void *arg)
{
    (void) data, (void) size, (void) op, (void) arg;
    return NULL;
}

static herr_t image_free (void *data, H5FD_file_image_op_t op, void *arg)
{
    (void) data, (void) op, (void) arg;
    return 0;
}

static void *image_same (void *arg)
{
    return arg;
}

static herr_t image_forget (void *arg)
{
    (void) arg;
    return 0;
}

int sluice_object_unpack (const sluice_class_t *class, const sluice_array_t *bytes,
                          void *object, sluice_error_t *err)
{
    memset (object, 0, class->size);
    bool overflow;
    if (!bytes->dtype || bytes->dtype->kind != 'u' || bytes->ndim != 1 ||
        sluice_dtype_size (bytes->dtype) != 1 ||
        sluice_array_bytes (bytes, &overflow) == 0)
        return sluice_fail (err, SLUICE_EINPUT, "this is not a packed object");
    image_t image = {bytes->data, sluice_array_bytes (bytes, &overflow)};
    H5FD_file_image_callbacks_t callbacks = {image_malloc, image_memcpy, image_realloc,
                                             image_free,   image_same,   image_forget,
                                             &image};
    hid_t access = memory_access (), file = -1;
    if (access >= 0 && H5Pset_file_image_callbacks (access, &callbacks) >= 0 &&
        H5Pset_file_image (access, image.data, image.size) >= 0)
        file = H5Fopen ("sluice-object", H5F_ACC_RDONLY, access);
    if (file < 0)
        h5_fail (err, SLUICE_EINPUT, "this is not a packed object");
    if (access >= 0)
        H5Pclose (access);
    sluice_store_t *store =
        file < 0 ? NULL : store_of (file, "packed object", false, err);
    if (!store)
        return -1;
    int rc = sluice_store_get (store, KEY, class, object, err);
    if (sluice_store_close (&store, rc ? NULL : err)) {
        sluice_object_clear (class, object);
        rc = -1;
    }
    return rc;
}

/* ---- kernels
 * --------------------------------------------------------------------------------- */

int sluice_share_put_object (sluice_plan_t *plan, const char *key,
                             const sluice_class_t *class, const void *object,
                             sluice_error_t *err)
{
    sluice_array_t bytes;
    if (sluice_object_pack (class, object, &bytes, err))
        return sluice_fail_at (err, "%s", key);
    int rc = sluice_share_put (plan, key, &bytes, err);
    sluice_array_clear (&bytes);
    return rc;
}

int sluice_inputs_get_object (const sluice_inputs_t *inputs, const char *key,
                              const sluice_class_t *class, void *object,
                              sluice_error_t *err)
{
    memset (object, 0, class->size);
    const sluice_array_t *bytes = sluice_inputs_get (inputs, key, err);
    if (!bytes)
        return -1;
    return sluice_object_unpack (class, bytes, object, err)
               ? sluice_fail_at (err, "%s", key)
               : 0;
}
