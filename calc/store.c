/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Files of objects and their keys; see sluice/store.h. */

#include "calc/store_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/h5array.h"
#include "proto/text.h"

/* Groups that are looked into for keys, at most: links may lead in circles. */
enum { MAX_GROUPS = 1 << 20 };

/* ---- files --------------------------------------------------------------------------
 */

sluice_store_t *store_of (hid_t file, const char *path, bool writable,
                          sluice_error_t *err)
{
    sluice_store_t *self = calloc (1, sizeof *self);
    if (self)
        self->path = strdup (path);
    if (!self || !self->path) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        free (self);
        H5Fclose (file);
        return NULL;
    }
    self->file = file;
    self->writable = writable;
    return self;
}

static hid_t file_access (void)
{
    hid_t access = H5Pcreate (H5P_FILE_ACCESS);
    h5_quiet ();
    /* Closing the file closes all in it; NFS may not have locks. */
    if (access >= 0 &&
        (H5Pset_libver_bounds (access, H5F_LIBVER_V18, H5F_LIBVER_LATEST) < 0 ||
         H5Pset_fclose_degree (access, H5F_CLOSE_STRONG) < 0 ||
         H5Pset_file_locking (access, true, true) < 0)) {
        H5Pclose (access);
        return -1;
    }
    return access;
}

sluice_store_t *sluice_store_create (const char *path, sluice_error_t *err)
{
    if (access (path, F_OK) == 0) {
        sluice_fail (err, SLUICE_EOUTPUT, "%s is there already", path);
        return NULL;
    }
    h5_quiet ();
    hid_t access = file_access ();
    hid_t file = access >= 0 ? H5Fcreate (path, H5F_ACC_EXCL, H5P_DEFAULT, access) : -1;
    if (file < 0)
        h5_fail (err, SLUICE_EOUTPUT, "%s cannot be made", path);
    if (access >= 0)
        H5Pclose (access);
    return file < 0 ? NULL : store_of (file, path, true, err);
}

sluice_store_t *sluice_store_open (const char *path, bool write, sluice_error_t *err)
{
    h5_quiet ();
    if (access (path, R_OK) != 0) {
        sluice_fail (err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
        return NULL;
    }
    if (H5Fis_hdf5 (path) == 0) {
        sluice_fail (err, SLUICE_EINPUT, "%s is not an HDF5 file", path);
        return NULL;
    }
    hid_t access = file_access ();
    hid_t file =
        access >= 0 ? H5Fopen (path, write ? H5F_ACC_RDWR : H5F_ACC_RDONLY, access) : -1;
    if (file < 0)
        h5_fail (err, SLUICE_EINPUT, "%s cannot be opened", path);
    if (access >= 0)
        H5Pclose (access);
    return file < 0 ? NULL : store_of (file, path, write, err);
}

int sluice_store_close (sluice_store_t **self_p, sluice_error_t *err)
{
    sluice_store_t *self = *self_p;
    if (!self)
        return 0;
    h5_quiet ();
    int rc = 0;
    if (H5Fclose (self->file) < 0)
        rc = h5_fail (err, SLUICE_EOUTPUT, "%s cannot be written", self->path);
    free (self->path);
    free (self);
    *self_p = NULL;
    return rc;
}

/* ---- keys ----------------------------------------------------------------------------
 */

static int check_key (const char *key, sluice_error_t *err)
{
    size_t n = key ? strlen (key) : 0;
    bool good = n > 0 && n <= STORE_MAX_KEY && text_is_utf8 (key, n);
    for (const char *part = key; good && part; part = strchr (part, '/')) {
        part += part != key;
        size_t length = strcspn (part, "/");
        good = length > 0 && !(length == 1 && part[0] == '.') &&
               !(length == 2 && part[0] == '.' && part[1] == '.') &&
               strncmp (part, STORE_OWN, strlen (STORE_OWN)) != 0;
    }
    return good ? 0
                : sluice_fail (err, SLUICE_EINPUT,
                               "'%.200s' cannot be a key: want names, 1 to %d bytes of "
                               "UTF-8 with '/' between them",
                               key ? key : "", STORE_MAX_KEY);
}

static bool is_object (hid_t group)
{
    return H5Iget_type (group) == H5I_GROUP && H5Aexists (group, STORE_CLASS) > 0;
}

/* Open what is under a key, component by component: -1 without an error if nothing is
 * there, and with one where something is in the way; *broken tells them apart. */
static hid_t walk (sluice_store_t *self, const char *key, bool *broken,
                   sluice_error_t *err)
{
    *broken = true;
    h5_quiet ();
    if (check_key (key, err))
        return -1;
    hid_t object = H5Gopen2 (self->file, "/", H5P_DEFAULT);
    for (const char *part = key; object >= 0 && part; part = strchr (part, '/')) {
        part += part != key;
        char name[STORE_MAX_KEY + 1];
        size_t length = strcspn (part, "/");
        memcpy (name, part, length);
        name[length] = '\0';
        if (part != key && (H5Iget_type (object) != H5I_GROUP || is_object (object))) {
            sluice_fail (err, SLUICE_EINPUT,
                         "%s: what is under '%.*s' is not a folder of keys", key,
                         (int) (part - key - 1), key);
            H5Oclose (object);
            return -1;
        }
        bool there;
        hid_t next = store_open_link (object, name, &there, err);
        if (next < 0)
            *broken = there;
        H5Oclose (object);
        object = next;
    }
    return object;
}

/* Open the object under a key. */
static hid_t open_object (sluice_store_t *self, const char *key, sluice_error_t *err)
{
    bool broken;
    hid_t object = walk (self, key, &broken, err);
    if (object < 0 && !broken)
        return sluice_fail (err, SLUICE_EINPUT, "%s: nothing is under the key '%s'",
                            self->path, key);
    if (object >= 0 && !is_object (object)) {
        H5Oclose (object);
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: what is under the key '%s' is not an object", self->path,
                            key);
    }
    return object;
}

static int check_writable (const sluice_store_t *self, sluice_error_t *err)
{
    return self->writable ? 0
                          : sluice_fail (err, SLUICE_EOUTPUT,
                                         "%s was opened for reading only", self->path);
}

/* ---- put
 * -------------------------------------------------------------------------------- */

static herr_t link_object (sluice_store_t *self, hid_t object, const char *key)
{
    hid_t links = H5Pcreate (H5P_LINK_CREATE);
    herr_t rc = -1;
    if (links >= 0 && H5Pset_char_encoding (links, H5T_CSET_UTF8) >= 0 &&
        H5Pset_create_intermediate_group (links, 1) >= 0)
        rc = H5Olink (object, self->file, key, links, H5P_DEFAULT);
    if (links >= 0)
        H5Pclose (links);
    return rc;
}

/* Put `object`, which is complete, in the place of `old` (negative: none), which is
 * held open and so can be put back. */
static int replace (sluice_store_t *self, const char *key, hid_t old, hid_t object,
                    sluice_error_t *err)
{
    if (old >= 0 && H5Ldelete (self->file, key, H5P_DEFAULT) < 0)
        return h5_fail (err, SLUICE_EOUTPUT, "%s: '%s' cannot be replaced", self->path,
                        key);
    herr_t linked = link_object (self, object, key);
    if (linked >= 0 && H5Fflush (self->file, H5F_SCOPE_GLOBAL) >= 0)
        return 0;
    h5_fail (err, SLUICE_EOUTPUT, "%s: '%s' cannot be written", self->path, key);
    if (linked >= 0)
        H5Ldelete (self->file, key, H5P_DEFAULT);
    if (old >= 0)
        link_object (self, old, key);
    return -1;
}

int sluice_store_put (sluice_store_t *self, const char *key, const sluice_class_t *class,
                      const void *object, sluice_error_t *err)
{
    bool broken;
    if (check_writable (self, err))
        return -1;
    hid_t old = walk (self, key, &broken, err);
    if (old < 0 && broken)
        return -1;
    if (old >= 0 && !is_object (old)) {
        H5Oclose (old);
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: what is under the key '%s' is not an object, and is not "
                            "replaced",
                            self->path, key);
    }
    /* Without a name until it is complete: until then nobody can find it, and if
     * it is closed before, it is gone. */
    hid_t group = H5Gcreate_anon (self->file, H5P_DEFAULT, H5P_DEFAULT);
    int rc = 0;
    if (group < 0)
        rc = h5_fail (err, SLUICE_EOUTPUT, "%s cannot be written", self->path);
    else if (store_write_object (group, class, object, 0, err))
        rc = sluice_fail_at (err, "%s", key);
    else
        rc = replace (self, key, old, group, err);
    if (group >= 0)
        H5Gclose (group);
    if (old >= 0)
        H5Oclose (old);
    return rc;
}

/* ---- get, delete and what is there
 * --------------------------------------------------------- */

int sluice_store_get (sluice_store_t *self, const char *key, const sluice_class_t *class,
                      void *object, sluice_error_t *err)
{
    memset (object, 0, class->size);
    hid_t group = open_object (self, key, err);
    if (group < 0)
        return -1;
    int rc = store_read_object (group, class, object, 0, err);
    H5Oclose (group);
    return rc ? sluice_fail_at (err, "%s: %s", self->path, key) : 0;
}

bool sluice_store_has (sluice_store_t *self, const char *key)
{
    hid_t group = open_object (self, key, NULL);
    if (group >= 0)
        H5Oclose (group);
    return group >= 0;
}

char *sluice_store_class (sluice_store_t *self, const char *key, unsigned *version,
                          sluice_error_t *err)
{
    hid_t group = open_object (self, key, err);
    if (group < 0)
        return NULL;
    unsigned ignored;
    char *name = store_get_text (group, STORE_CLASS, err);
    if (name && store_get_scalar (group, STORE_VERSION, SLUICE_KIND_UINT, sizeof *version,
                                  version ? version : &ignored, err)) {
        free (name);
        name = NULL;
    }
    H5Oclose (group);
    if (!name)
        sluice_fail_at (err, "%s: %s", self->path, key);
    return name;
}

int sluice_store_delete (sluice_store_t *self, const char *key, sluice_error_t *err)
{
    if (check_writable (self, err))
        return -1;
    hid_t group = open_object (self, key, err);
    if (group < 0)
        return -1;
    H5Oclose (group);
    if (H5Ldelete (self->file, key, H5P_DEFAULT) < 0 ||
        H5Fflush (self->file, H5F_SCOPE_GLOBAL) < 0)
        return h5_fail (err, SLUICE_EOUTPUT, "%s: '%s' cannot be deleted", self->path,
                        key);
    return 0;
}

/* ---- list
 * ----------------------------------------------------------------------------------- */

typedef struct {
    char **keys; /* each with malloc */
    size_t n, room, bytes, groups;
    char prefix[STORE_MAX_KEY + 1];
    unsigned depth;
    sluice_error_t *err;
} list_t;

static int add_key (list_t *self, const char *key)
{
    if (self->n == self->room) {
        size_t room = self->room ? 2 * self->room : 64;
        char **grown = realloc (self->keys, room * sizeof *grown);
        if (!grown)
            return sluice_fail (self->err, SLUICE_ESYSTEM, "out of memory");
        self->keys = grown;
        self->room = room;
    }
    self->keys[self->n] = strdup (key);
    if (!self->keys[self->n])
        return sluice_fail (self->err, SLUICE_ESYSTEM, "out of memory");
    self->n++;
    self->bytes += strlen (key) + 1;
    return 0;
}

static herr_t list_one (hid_t at, const char *name, const H5L_info_t *info, void *arg)
{
    list_t *self = arg;
    size_t used = strlen (self->prefix), length = strlen (name);
    /* What could not be a key is none. */
    if (info->type != H5L_TYPE_HARD || used + length + 2 > sizeof self->prefix ||
        strncmp (name, STORE_OWN, strlen (STORE_OWN)) == 0 ||
        !text_is_utf8 (name, length))
        return 0;
    hid_t object = H5Oopen (at, name, H5P_DEFAULT);
    if (object < 0)
        return h5_fail (self->err, SLUICE_EINPUT, "%s%s cannot be read", self->prefix,
                        name);
    herr_t rc = 0;
    memcpy (self->prefix + used, name, length + 1);
    if (is_object (object))
        rc = add_key (self, self->prefix);
    else if (H5Iget_type (object) == H5I_GROUP && self->depth < STORE_MAX_DEPTH) {
        strcpy (self->prefix + used + length, "/");
        self->depth++;
        if (self->groups++ == MAX_GROUPS)
            rc = sluice_fail (self->err, SLUICE_EINPUT, "it has too many groups");
        else
            rc = H5Literate (object, H5_INDEX_NAME, H5_ITER_INC, NULL, list_one, self);
        self->depth--;
    }
    self->prefix[used] = '\0';
    H5Oclose (object);
    return rc;
}

static int by_bytes (const void *a, const void *b)
{
    return strcmp (*(char *const *) a, *(char *const *) b);
}

char **sluice_store_list (sluice_store_t *self, size_t *n, sluice_error_t *err)
{
    sluice_error_t why = {0};
    list_t list = {.err = &why};
    h5_quiet ();
    herr_t rc =
        H5Literate (self->file, H5_INDEX_NAME, H5_ITER_INC, NULL, list_one, &list);
    if (rc < 0 && why.code == SLUICE_OK)
        h5_fail (&why, SLUICE_EINPUT, "its keys cannot be read");
    char **block = rc < 0 ? NULL : malloc ((list.n + 1) * sizeof *block + list.bytes);
    if (rc >= 0 && !block)
        sluice_fail (&why, SLUICE_ESYSTEM, "out of memory");
    if (block) {
        if (list.n)
            qsort (list.keys, list.n, sizeof *list.keys, by_bytes);
        char *text = (char *) (block + list.n + 1);
        for (size_t i = 0; i < list.n; i++) {
            block[i] = strcpy (text, list.keys[i]);
            text += strlen (text) + 1;
        }
        block[list.n] = NULL;
        *n = list.n;
    } else {
        sluice_fail_at (&why, "%s", self->path);
        if (err)
            *err = why;
    }
    for (size_t i = 0; i < list.n; i++)
        free (list.keys[i]);
    free (list.keys);
    return block;
}
