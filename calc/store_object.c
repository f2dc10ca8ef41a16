/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Whole structs by the tables of their members; see store_node.h. */

#include "calc/store_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/h5array.h"
#include "proto/text.h"

/* ---- members ------------------------------------------------------------------------
 */

static bool is_scalar (const sluice_member_t *m)
{
    return m->kind >= SLUICE_KIND_BOOL && m->kind <= SLUICE_KIND_FLOAT;
}

/* Is it an attribute of the group? Others are linked to. */
static bool is_attribute (const sluice_member_t *m)
{
    return is_scalar (m) || m->kind == SLUICE_KIND_TEXT;
}

static bool is_counted (const sluice_member_t *m)
{
    return m->kind == SLUICE_KIND_VECTOR || m->kind == SLUICE_KIND_LIST;
}

static void *at (const void *object, size_t offset)
{
    return (char *) (uintptr_t) object + offset;
}

/* What a pointer member holds, whatever it points to. */
static void *pointer_at (const void *object, const sluice_member_t *m)
{
    void *pointer;
    memcpy (&pointer, at (object, m->offset), sizeof pointer);
    return pointer;
}

static void set_pointer (void *object, const sluice_member_t *m, void *pointer)
{
    memcpy (at (object, m->offset), &pointer, sizeof pointer);
}

static size_t *count_at (const void *object, const sluice_member_t *m)
{
    return at (object, m->count);
}

static bool is_absent (const void *object, const sluice_member_t *m)
{
    if (m->has)
        return !*(bool *) at (object, m->has - sizeof (bool));
    if (!m->optional)
        return false;
    if (m->kind == SLUICE_KIND_ARRAY)
        return !((sluice_array_t *) at (object, m->offset))->dtype;
    if (m->kind == SLUICE_KIND_RAGGED)
        return !((sluice_ragged_t *) at (object, m->offset))->data.dtype;
    return !pointer_at (object, m);
}

/* ---- is a class well made? ------------------------------------------------------------
 */

static bool has_right_size (const sluice_member_t *m)
{
    size_t n = m->size;
    switch (m->kind) {
    case SLUICE_KIND_BOOL:
        return n == sizeof (bool);
    case SLUICE_KIND_INT:
    case SLUICE_KIND_UINT:
        return n == 1 || n == 2 || n == 4 || n == 8;
    case SLUICE_KIND_FLOAT:
        return n == 4 || n == 8;
    case SLUICE_KIND_TEXT:
        return n == sizeof (char *);
    case SLUICE_KIND_ARRAY:
        return n == sizeof (sluice_array_t);
    case SLUICE_KIND_RAGGED:
        return n == sizeof (sluice_ragged_t);
    case SLUICE_KIND_VECTOR:
        return m->dtype && n > 0;
    case SLUICE_KIND_OBJECT:
    case SLUICE_KIND_POINTER:
    case SLUICE_KIND_LIST:
        return m->of && n == m->of->size;
    default:
        return false;
    }
}

static bool lies_inside (const sluice_class_t *class, const sluice_member_t *m)
{
    bool pointer = is_counted (m) || m->kind == SLUICE_KIND_POINTER;
    size_t bytes = pointer ? sizeof (void *) : m->size;
    return m->offset <= class->size && bytes <= class->size - m->offset &&
           (!is_counted (m) || (class->size >= sizeof (size_t) &&
                                m->count <= class->size - sizeof (size_t)));
}

static int check_member (const sluice_class_t *class, const sluice_member_t *m,
                         sluice_error_t *err)
{
    if (store_check_name (m->name, err))
        return -1;
    if (!has_right_size (m) || !lies_inside (class, m) || m->has > class->size ||
        m->since > class->version)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: kind, size, place or version are wrong in the table",
                            m->name);
    if (m->optional && !m->has && (is_scalar (m) || m->kind == SLUICE_KIND_OBJECT))
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: something that is no pointer can be absent only with "
                            ".has",
                            m->name);
    if (!m->dtype)
        return 0;
    sluice_dtype_t *dtype = sluice_dtype_parse (m->dtype, strlen (m->dtype), err);
    if (!dtype)
        return sluice_fail_at (err, "%s", m->name);
    size_t bytes = sluice_dtype_size (dtype);
    sluice_dtype_destroy (&dtype);
    if (m->kind == SLUICE_KIND_VECTOR && bytes != m->size)
        return sluice_fail (err, SLUICE_EINPUT, "%s: %s has %zu bytes, its C type %zu",
                            m->name, m->dtype, bytes, m->size);
    return 0;
}

int store_check_class (const sluice_class_t *class, sluice_error_t *err)
{
    size_t n = class->name ? strlen (class->name) : 0;
    if (n == 0 || n > STORE_MAX_NAME || !text_is_utf8 (class->name, n) ||
        class->version == 0 || class->size == 0 || (class->nmembers && !class->members))
        return sluice_fail (err, SLUICE_EINPUT,
                            "class '%.200s': a name of 1 to %d bytes, a version from 1 "
                            "on, a size and members are needed",
                            n ? class->name : "", STORE_MAX_NAME);
    for (size_t i = 0; i < class->nmembers; i++) {
        if (check_member (class, &class->members[i], err))
            return sluice_fail_at (err, "class %s", class->name);
        for (size_t k = 0; k < i; k++)
            if (strcmp (class->members[i].name, class->members[k].name) == 0)
                return sluice_fail (err, SLUICE_EINPUT, "class %s: %s is there twice",
                                    class->name, class->members[k].name);
    }
    return 0;
}

static int check_depth (unsigned depth, sluice_error_t *err)
{
    return depth < STORE_MAX_DEPTH
               ? 0
               : sluice_fail (err, SLUICE_EINPUT, "objects nest more than %d deep",
                              STORE_MAX_DEPTH);
}

/* ---- writing
 * ---------------------------------------------------------------------------- */

static int write_vector (hid_t group, const void *object, const sluice_member_t *m,
                         sluice_error_t *err)
{
    sluice_array_t array = {
        .ndim = 1, .shape = {*count_at (object, m)}, .data = pointer_at (object, m)};
    array.dtype = sluice_dtype_parse (m->dtype, strlen (m->dtype), err);
    int rc = array.dtype ? store_put_array (group, m->name, &array, NULL, err) : -1;
    sluice_dtype_destroy (&array.dtype);
    return rc;
}

static int write_list (hid_t group, const void *object, const sluice_member_t *m,
                       unsigned depth, sluice_error_t *err)
{
    const char *items = pointer_at (object, m);
    size_t n = *count_at (object, m);
    if (n && !items)
        return sluice_fail (err, SLUICE_EINPUT, "%s is NULL, and should have %zu",
                            m->name, n);
    sluice_node_t node = {.depth = depth};
    node.group = store_make_group (group, m->name, err);
    if (node.group < 0)
        return -1;
    int rc = sluice_node_put_u64 (&node, "length", n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char name[24];
        snprintf (name, sizeof name, "%zu", i);
        rc = sluice_node_put_object (&node, name, m->of, items + i * m->size, err);
    }
    H5Gclose (node.group);
    return rc ? sluice_fail_at (err, "%s", m->name) : 0;
}

static int write_member (sluice_node_t *node, const void *object,
                         const sluice_member_t *m, sluice_error_t *err)
{
    hid_t group = node->group;
    const void *value = at (object, m->offset);
    switch (m->kind) {
    case SLUICE_KIND_TEXT:
        return store_put_text (group, m->name, pointer_at (object, m), err);
    case SLUICE_KIND_ARRAY:
        return store_put_array (group, m->name, value, m->dtype, err);
    case SLUICE_KIND_RAGGED:
        return store_put_ragged (group, m->name, value, m->dtype, err);
    case SLUICE_KIND_VECTOR:
        return write_vector (group, object, m, err);
    case SLUICE_KIND_OBJECT:
        return sluice_node_put_object (node, m->name, m->of, value, err);
    case SLUICE_KIND_POINTER:
        value = pointer_at (object, m);
        if (!value)
            return sluice_fail (err, SLUICE_EINPUT, "%s is NULL, and not optional",
                                m->name);
        return sluice_node_put_object (node, m->name, m->of, value, err);
    case SLUICE_KIND_LIST:
        return write_list (group, object, m, node->depth, err);
    default:
        return store_put_scalar (group, m->name, m->kind, m->size, value, err);
    }
}

int store_write_object (hid_t group, const sluice_class_t *class, const void *object,
                        unsigned depth, sluice_error_t *err)
{
    sluice_node_t node = {group, depth};
    if (check_depth (depth, err) || store_check_class (class, err) ||
        h5_write_text (group, STORE_CLASS, class->name, err) ||
        h5_write_u64 (group, STORE_VERSION, class->version, err))
        return -1;
    for (size_t i = 0; i < class->nmembers; i++)
        if (!is_absent (object, &class->members[i]) &&
            write_member (&node, object, &class->members[i], err))
            return -1;
    sluice_error_t why = {0};
    if (class->to_h5 && class->to_h5 (object, &node, &why)) {
        if (why.code == SLUICE_OK)
            sluice_fail (&why, SLUICE_EINPUT, "to_h5 of %s failed and did not say why",
                         class->name);
        if (err)
            *err = why;
        return -1;
    }
    return 0;
}

/* ---- clearing
 * --------------------------------------------------------------------------- */

static void clear_member (void *object, const sluice_member_t *m)
{
    char *pointer = NULL;
    switch (m->kind) {
    case SLUICE_KIND_ARRAY:
        sluice_array_clear (at (object, m->offset));
        break;
    case SLUICE_KIND_RAGGED:
        sluice_ragged_clear (at (object, m->offset));
        break;
    case SLUICE_KIND_OBJECT:
        sluice_object_clear (m->of, at (object, m->offset));
        break;
    case SLUICE_KIND_TEXT:
    case SLUICE_KIND_VECTOR:
        free (pointer_at (object, m));
        break;
    case SLUICE_KIND_POINTER:
        pointer = pointer_at (object, m);
        if (pointer)
            sluice_object_clear (m->of, pointer);
        free (pointer);
        break;
    case SLUICE_KIND_LIST:
        pointer = pointer_at (object, m);
        for (size_t i = 0; pointer && i < *count_at (object, m); i++)
            sluice_object_clear (m->of, pointer + i * m->size);
        free (pointer);
        break;
    default:
        break;
    }
}

void sluice_object_clear (const sluice_class_t *class, void *object)
{
    if (class->clear)
        class->clear (object);
    for (size_t i = 0; i < class->nmembers; i++)
        clear_member (object, &class->members[i]);
    memset (object, 0, class->size);
}

/* ---- reading
 * ---------------------------------------------------------------------------- */

/* Set the count of a vector or list, which earlier members may share. */
static int set_count (const sluice_class_t *class, void *object, const sluice_member_t *m,
                      uint64_t n, sluice_error_t *err)
{
    for (const sluice_member_t *other = class->members; other < m; other++)
        if (is_counted (other) && other->count == m->count &&
            pointer_at (object, other) && *count_at (object, m) != n)
            return sluice_fail (err, SLUICE_EINPUT, "%s has %llu elements, %s %zu",
                                m->name, (unsigned long long) n, other->name,
                                *count_at (object, m));
    *count_at (object, m) = (size_t) n;
    return 0;
}

static int read_vector (hid_t group, const sluice_class_t *class, void *object,
                        const sluice_member_t *m, sluice_error_t *err)
{
    sluice_array_t array;
    if (store_get_array (group, m->name, m->dtype, &array, err))
        return -1;
    int rc = array.ndim == 1
                 ? set_count (class, object, m, array.shape[0], err)
                 : sluice_fail (err, SLUICE_EINPUT, "%s has %u dimensions, not one",
                                m->name, array.ndim);
    if (rc == 0) {
        set_pointer (object, m, array.data);
        array.data = NULL;
    }
    sluice_array_clear (&array);
    return rc;
}

static int read_list (sluice_node_t *node, const sluice_class_t *class, void *object,
                      const sluice_member_t *m, sluice_error_t *err)
{
    uint64_t n = 0;
    H5G_info_t info;
    char *items = NULL;
    sluice_node_t list = {store_open_group (node->group, m->name, err), node->depth};
    if (list.group < 0)
        return -1;
    int rc = sluice_node_get_u64 (&list, "length", &n, err);
    if (rc == 0 && (H5Gget_info (list.group, &info) < 0 || n > info.nlinks))
        rc = sluice_fail (err, SLUICE_EINPUT, "its length is %llu, and it is shorter",
                          (unsigned long long) n);
    if (rc == 0 && !(items = calloc (n ? (size_t) n : 1, m->size)))
        rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (rc == 0 && (rc = set_count (class, object, m, n, err)) == 0)
        set_pointer (object, m, items); /* zeroed: can be cleared from now on */
    else
        free (items);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char name[24];
        snprintf (name, sizeof name, "%zu", i);
        rc = sluice_node_get_object (&list, name, m->of, items + i * m->size, err);
    }
    H5Gclose (list.group);
    return rc ? sluice_fail_at (err, "%s", m->name) : 0;
}

static int read_pointer (sluice_node_t *node, void *object, const sluice_member_t *m,
                         sluice_error_t *err)
{
    void *pointer = calloc (1, m->size);
    if (!pointer)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (sluice_node_get_object (node, m->name, m->of, pointer, err)) {
        free (pointer);
        return -1;
    }
    set_pointer (object, m, pointer);
    return 0;
}

static int read_member (sluice_node_t *node, const sluice_class_t *class, void *object,
                        const sluice_member_t *m, sluice_error_t *err)
{
    hid_t group = node->group;
    void *value = at (object, m->offset);
    char *text;
    switch (m->kind) {
    case SLUICE_KIND_TEXT:
        text = store_get_text (group, m->name, err);
        set_pointer (object, m, text);
        return text ? 0 : -1;
    case SLUICE_KIND_ARRAY:
        return store_get_array (group, m->name, m->dtype, value, err);
    case SLUICE_KIND_RAGGED:
        return store_get_ragged (group, m->name, m->dtype, value, err);
    case SLUICE_KIND_VECTOR:
        return read_vector (group, class, object, m, err);
    case SLUICE_KIND_OBJECT:
        return sluice_node_get_object (node, m->name, m->of, value, err);
    case SLUICE_KIND_POINTER:
        return read_pointer (node, object, m, err);
    case SLUICE_KIND_LIST:
        return read_list (node, class, object, m, err);
    default:
        return store_get_scalar (group, m->name, m->kind, m->size, value, err);
    }
}

/* What a member is that the file does not have; all else is zero already. */
static int set_missing (void *object, const sluice_member_t *m, sluice_error_t *err)
{
    if (!m->missing)
        return 0;
    if (is_scalar (m))
        memcpy (at (object, m->offset), m->missing, m->size);
    else if (m->kind == SLUICE_KIND_TEXT) {
        char *copy = strdup (m->missing);
        if (!copy)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        set_pointer (object, m, copy);
    }
    return 0;
}

static int read_members (sluice_node_t *node, const sluice_class_t *class, void *object,
                         unsigned version, sluice_error_t *err)
{
    for (size_t i = 0; i < class->nmembers; i++) {
        const sluice_member_t *m = &class->members[i];
        bool there = false, later = m->since > version;
        if (!later && store_find (node->group, m->name, is_attribute (m), &there, err))
            return -1;
        if (!later && !there && !m->optional && !m->has)
            return sluice_fail (err, SLUICE_EINPUT, "%s is missing", m->name);
        if (there ? read_member (node, class, object, m, err)
                  : set_missing (object, m, err))
            return -1;
        if (m->has)
            *(bool *) at (object, m->has - sizeof (bool)) = there;
    }
    return 0;
}

/* Is it of this class, and not newer? Its version; 0 with an error. */
static unsigned check_version (hid_t group, const sluice_class_t *class,
                               sluice_error_t *err)
{
    uint64_t version = 0;
    if (H5Aexists (group, STORE_CLASS) <= 0) {
        sluice_fail (err, SLUICE_EINPUT, "it is not an object: there is no " STORE_CLASS);
        return 0;
    }
    char *name = store_get_text (group, STORE_CLASS, err);
    if (!name)
        return 0;
    if (strcmp (name, class->name) != 0)
        sluice_fail (err, SLUICE_EINPUT, "it is of class '%.200s', not '%s'", name,
                     class->name);
    else if (store_get_scalar (group, STORE_VERSION, SLUICE_KIND_UINT, sizeof version,
                               &version, err))
        version = 0;
    else if (version == 0)
        sluice_fail (err, SLUICE_EINPUT, "%s is 0", STORE_VERSION);
    else if (version > class->version) {
        sluice_fail (err, SLUICE_EINPUT,
                     "it is version %llu of class '%s', and this program knows %u at "
                     "most: use a newer one",
                     (unsigned long long) version, class->name, class->version);
        version = 0;
    }
    free (name);
    return (unsigned) version;
}

/* Call from_h5 or migrate. */
static int call (int (*function) (void *, sluice_node_t *, unsigned, sluice_error_t *),
                 const char *which, const sluice_class_t *class, void *object,
                 sluice_node_t *node, unsigned version, sluice_error_t *err)
{
    sluice_error_t why = {0};
    if (!function || function (object, node, version, &why) == 0)
        return 0;
    if (why.code == SLUICE_OK)
        sluice_fail (&why, SLUICE_EINPUT, "%s of %s failed and did not say why", which,
                     class->name);
    if (err)
        *err = why;
    return -1;
}

int store_read_object (hid_t group, const sluice_class_t *class, void *object,
                       unsigned depth, sluice_error_t *err)
{
    sluice_node_t node = {group, depth};
    memset (object, 0, class->size);
    if (check_depth (depth, err) || store_check_class (class, err))
        return -1;
    unsigned version = check_version (group, class, err);
    if (!version)
        return -1;
    if (read_members (&node, class, object, version, err) ||
        call (class->from_h5, "from_h5", class, object, &node, version, err) ||
        (version < class->version &&
         call (class->migrate, "migrate", class, object, &node, version, err))) {
        sluice_object_clear (class, object);
        return -1;
    }
    return 0;
}
