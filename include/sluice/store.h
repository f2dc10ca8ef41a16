/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* store.h - C structs in HDF5 files, under a key, and back
 *
 * A struct is described once, by a table of its members:
 *
 *   typedef struct {
 *       double mag;
 *       char *name;                 // may be NULL
 *       size_t n;
 *       double *lon, *lat;          // n each
 *       sluice_array_t slip;
 *   } quake_t;
 *
 *   static const sluice_member_t quake_members[] = {
 *       SLUICE_MEMBER (quake_t, mag),
 *       SLUICE_MEMBER (quake_t, name, .optional = true),
 *       SLUICE_MEMBER_VECTOR (quake_t, lon, n, "<f8"),
 *       SLUICE_MEMBER_VECTOR (quake_t, lat, n, "<f8"),
 *       SLUICE_MEMBER (quake_t, slip, .dtype = "<f4", .since = 2),
 *   };
 *   static const sluice_class_t quake_class = {
 *       .name = "quake", .version = 2, .size = sizeof (quake_t),
 *       .members = quake_members, .nmembers = 5 };
 *
 * and can then be kept:
 *
 *   sluice_store_t *store = sluice_store_create ("quakes.h5", &err);
 *   sluice_store_put (store, "1994/northridge", &quake_class, &quake, &err);
 *   sluice_store_close (&store, &err);
 *
 * What a table cannot say, two functions of the class do: to_h5 and from_h5.
 *
 * In the file, for h5py and others, an object is a group with
 *
 *   attributes sluice_class (text) and sluice_version (integer)
 *   scalars          attributes; bool as h5py writes it
 *   texts            attributes, UTF-8 of variable length
 *   arrays, vectors  datasets, of the type that NumPy's dtype has in h5py
 *   ragged arrays    a group of the datasets data, with all rows behind each
 *                    other, and offsets (u8): row i is data[offsets[i]:offsets[i+1]]
 *   objects          groups like this one
 *   lists of objects a group with attribute `length` and groups 0, 1, ...
 *   what is absent   nothing at all; an h5py.Empty reads as absent, too
 *
 * Whatever else somebody wrote into the group is left alone and not read. Numbers
 * are read as long as their value fits: 7 may be an i1 or an u8 in the file; where
 * a float is wanted an integer will do. Arrays must have the dtype that the table
 * names. Soft and external links are not followed.
 *
 * Versions: a class counts up its version when its members change. An object of an
 * older version is read: members that came later (.since) get their default
 * (.missing), and then `migrate` may put the rest right. One of a newer version is
 * refused.
 *
 * Ownership: put takes nothing and copies all. get makes texts, arrays, vectors,
 * pointers and lists with malloc; sluice_object_clear frees them all. A failed get
 * leaves a zeroed struct, a failed put leaves the key as it was.
 *
 * A store that is open for writing is in one process's hands: others wait until it
 * is closed, and a file whose writer was killed may be lost. HDF5 is one for the
 * whole process: use stores from one thread at a time, and do not fork while one
 * is open.
 *
 * Limits: objects nest 32 deep; names of classes and members have 200 bytes at
 * most, keys 1,000.
 */
#ifndef SLUICE_STORE_H
#define SLUICE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "sluice/dtype.h"
#include "sluice/error.h"
#include "sluice/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_store sluice_store_t; /* an open file */
typedef struct sluice_node sluice_node_t;   /* an object in it, for to_h5 and from_h5 */
typedef struct sluice_class sluice_class_t;

/* ---- ragged arrays --------------------------------------------------------- */

/* Rows of different lengths. Row i is elements offsets[i] to offsets[i + 1] (not
 * included) along the first axis of `data`. */
typedef struct {
    size_t n;            /* rows */
    uint64_t *offsets;   /* n + 1: from 0, not decreasing, to data.shape[0] */
    sluice_array_t data; /* at least one dimension */
} sluice_ragged_t;

/* An owned ragged array of `n` rows of these lengths, zeroed, one-dimensional
 * elements. -1 if refused. */
int sluice_ragged_make (sluice_ragged_t *ragged, const char *dtype, size_t n,
                        const uint64_t *lengths, sluice_error_t *err);
/* Free what sluice_ragged_make or a reader made. Takes zeroed ones too. */
void sluice_ragged_clear (sluice_ragged_t *ragged);
/* The first element of row `i` < n, and how many there are. */
void *sluice_ragged_row (const sluice_ragged_t *ragged, size_t i, uint64_t *length);

/* ---- classes ----------------------------------------------------------------- */

typedef enum {
    SLUICE_KIND_NONE = 0,
    SLUICE_KIND_BOOL,    /* bool */
    SLUICE_KIND_INT,     /* signed integer of 1, 2, 4 or 8 bytes */
    SLUICE_KIND_UINT,    /* unsigned integer */
    SLUICE_KIND_FLOAT,   /* float, double */
    SLUICE_KIND_TEXT,    /* char *: UTF-8 */
    SLUICE_KIND_ARRAY,   /* sluice_array_t */
    SLUICE_KIND_RAGGED,  /* sluice_ragged_t */
    SLUICE_KIND_VECTOR,  /* T *, of as many T as a size_t of the struct says */
    SLUICE_KIND_OBJECT,  /* a struct of class `of` in this one */
    SLUICE_KIND_POINTER, /* a pointer to one */
    SLUICE_KIND_LIST     /* a pointer to as many as a size_t of the struct says */
} sluice_kind_t;

/* One member of a struct. Use the macros below, which get kind, offset and size
 * right; further fields are given behind. */
typedef struct {
    const char *name; /* UTF-8, no '/', not beginning with "sluice_" */
    sluice_kind_t kind;
    size_t offset;
    size_t size;              /* of the member; of one T for vectors and lists */
    size_t count;             /* vectors, lists: where the size_t lies */
    const char *dtype;        /* arrays, ragged: what they must be, NULL: any;
                                 vectors: what a T is */
    const sluice_class_t *of; /* objects, pointers, lists */
    unsigned since;           /* the version it came with; 0 is 1 */
    bool optional;            /* may be absent: NULL, or an array without dtype */
    size_t has;               /* SLUICE_HAS (type, member): a bool that says whether it
                                 is there, for scalars and structs */
    const void *missing;      /* scalars: points to what they are when absent; texts:
                                 the text (copied). NULL: 0, false, NULL */
} sluice_member_t;

struct sluice_class {
    const char *name;
    unsigned version; /* from 1 */
    size_t size;      /* of the struct */
    const sluice_member_t *members;
    size_t nmembers;

    /* Each may be NULL. They return 0, or -1 with `err` filled. */

    /* After the members were written: write more. */
    int (*to_h5) (const void *object, sluice_node_t *node, sluice_error_t *err);
    /* After the members were read: read what to_h5 wrote, of that version. */
    int (*from_h5) (void *object, sluice_node_t *node, unsigned version,
                    sluice_error_t *err);
    /* At the end of reading an older version: make it one of today. Members that the
     * table no longer has can be read from the node. */
    int (*migrate) (void *object, sluice_node_t *node, unsigned version,
                    sluice_error_t *err);
    /* Free what from_h5 and migrate made, if anything; the object may be zeroed or
     * half filled. Members of the table are freed afterwards. */
    void (*clear) (void *object);
};

#ifndef __cplusplus
#define SLUICE_KIND_OF(value)                                                            \
    _Generic ((value), bool                                                              \
              : SLUICE_KIND_BOOL, signed char                                            \
              : SLUICE_KIND_INT, short                                                   \
              : SLUICE_KIND_INT, int                                                     \
              : SLUICE_KIND_INT, long                                                    \
              : SLUICE_KIND_INT, long long                                               \
              : SLUICE_KIND_INT, unsigned char                                           \
              : SLUICE_KIND_UINT, unsigned short                                         \
              : SLUICE_KIND_UINT, unsigned                                               \
              : SLUICE_KIND_UINT, unsigned long                                          \
              : SLUICE_KIND_UINT, unsigned long long                                     \
              : SLUICE_KIND_UINT, float                                                  \
              : SLUICE_KIND_FLOAT, double                                                \
              : SLUICE_KIND_FLOAT, char *                                                \
              : SLUICE_KIND_TEXT, const char *                                           \
              : SLUICE_KIND_TEXT, sluice_array_t                                         \
              : SLUICE_KIND_ARRAY, sluice_ragged_t                                       \
              : SLUICE_KIND_RAGGED)

/* Scalars, texts, arrays, ragged arrays: the kind is that of the C type. */
#define SLUICE_MEMBER(type, member, ...)                                                 \
    {                                                                                    \
        .name = #member, .kind = SLUICE_KIND_OF (((type *) 0)->member),                  \
        .offset = offsetof (type, member), .size = sizeof (((type *) 0)->member),        \
        __VA_ARGS__                                                                      \
    }
/* T *member, with `number` (a size_t) of them, each of this dtype. Several may have
 * the same number. */
#define SLUICE_MEMBER_VECTOR(type, member, number, text, ...)                            \
    {                                                                                    \
        .name = #member, .kind = SLUICE_KIND_VECTOR, .offset = offsetof (type, member),  \
        .size = sizeof (*((type *) 0)->member), .count = offsetof (type, number),        \
        .dtype = (text), __VA_ARGS__                                                     \
    }
/* A struct in the struct; `class_p` is where its class is. */
#define SLUICE_MEMBER_OBJECT(type, member, class_p, ...)                                 \
    {                                                                                    \
        .name = #member, .kind = SLUICE_KIND_OBJECT, .offset = offsetof (type, member),  \
        .size = sizeof (((type *) 0)->member), .of = (class_p), __VA_ARGS__              \
    }
/* A pointer to a struct. */
#define SLUICE_MEMBER_POINTER(type, member, class_p, ...)                                \
    {                                                                                    \
        .name = #member, .kind = SLUICE_KIND_POINTER, .offset = offsetof (type, member), \
        .size = sizeof (*((type *) 0)->member), .of = (class_p), __VA_ARGS__             \
    }
/* A pointer to `number` (a size_t) structs behind each other. */
#define SLUICE_MEMBER_LIST(type, member, number, class_p, ...)                           \
    {                                                                                    \
        .name = #member, .kind = SLUICE_KIND_LIST, .offset = offsetof (type, member),    \
        .size = sizeof (*((type *) 0)->member), .count = offsetof (type, number),        \
        .of = (class_p), __VA_ARGS__                                                     \
    }
/* For .has; of a bool. */
#define SLUICE_HAS(type, member) (offsetof (type, member) + sizeof (bool))
#endif

/* Free what a get made in `object`, and zero it. Takes a zeroed one, too. */
void sluice_object_clear (const sluice_class_t *class_p, void *object);

/* ---- stores -------------------------------------------------------------------- */

/* A new file; one that is there already is refused. NULL on error. */
sluice_store_t *sluice_store_create (const char *path, sluice_error_t *err);
/* A file that is there, of whoever's making; `write`: also to put and delete. */
sluice_store_t *sluice_store_open (const char *path, bool write, sluice_error_t *err);
/* Close it, also on failure: then not all may have reached the disk. 0 if NULL. */
int sluice_store_close (sluice_store_t **self_p, sluice_error_t *err);

/* Save `object` under `key`, names with '/' between them, and hand it to the
 * system. An object that was there is replaced; anything else there is refused. */
int sluice_store_put (sluice_store_t *self, const char *key,
                      const sluice_class_t *class_p, const void *object,
                      sluice_error_t *err);

/* Fill `object`, whatever was in it, from what is under `key`. */
int sluice_store_get (sluice_store_t *self, const char *key,
                      const sluice_class_t *class_p, void *object, sluice_error_t *err);

/* Is there an object under this key? False for a key that cannot be one. */
bool sluice_store_has (sluice_store_t *self, const char *key);

/* The class of the object under `key`, and its version (may be NULL). free () it.
 * NULL on error. */
char *sluice_store_class (sluice_store_t *self, const char *key, unsigned *version,
                          sluice_error_t *err);

/* All keys, in order of their bytes, *n of them; those of objects within objects
 * are not among them. One block: free () it. NULL on error. */
char **sluice_store_list (sluice_store_t *self, size_t *n, sluice_error_t *err);

/* Remove an object. Its space in the file is used again only until the file is
 * closed. */
int sluice_store_delete (sluice_store_t *self, const char *key, sluice_error_t *err);

/* ---- without a file --------------------------------------------------------------- */

/* The object as bytes: an owned array of u1, which is an HDF5 file with the object
 * under the key "object". */
int sluice_object_pack (const sluice_class_t *class_p, const void *object,
                        sluice_array_t *bytes, sluice_error_t *err);
int sluice_object_unpack (const sluice_class_t *class_p, const sluice_array_t *bytes,
                          void *object, sluice_error_t *err);

/* For kernels: sluice_share_put and sluice_inputs_get of an object. The latter fills
 * `object`, which is the caller's to clear. */
int sluice_share_put_object (sluice_plan_t *plan, const char *key,
                             const sluice_class_t *class_p, const void *object,
                             sluice_error_t *err);
int sluice_inputs_get_object (const sluice_inputs_t *inputs, const char *key,
                              const sluice_class_t *class_p, void *object,
                              sluice_error_t *err);

/* ---- in to_h5, from_h5 and migrate --------------------------------------------------
 */

/* Names are those of members, and each can be put once. Objects are as above. */
int sluice_node_put_bool (sluice_node_t *self, const char *name, bool value,
                          sluice_error_t *err);
int sluice_node_put_i64 (sluice_node_t *self, const char *name, int64_t value,
                         sluice_error_t *err);
int sluice_node_put_u64 (sluice_node_t *self, const char *name, uint64_t value,
                         sluice_error_t *err);
int sluice_node_put_f64 (sluice_node_t *self, const char *name, double value,
                         sluice_error_t *err);
int sluice_node_put_text (sluice_node_t *self, const char *name, const char *text,
                          sluice_error_t *err);
int sluice_node_put_array (sluice_node_t *self, const char *name,
                           const sluice_array_t *array, sluice_error_t *err);
int sluice_node_put_ragged (sluice_node_t *self, const char *name,
                            const sluice_ragged_t *ragged, sluice_error_t *err);
int sluice_node_put_object (sluice_node_t *self, const char *name,
                            const sluice_class_t *class_p, const void *object,
                            sluice_error_t *err);

/* Is anything there under this name? */
bool sluice_node_has (sluice_node_t *self, const char *name);

/* What is not there is an error; texts, arrays and objects are the caller's. */
int sluice_node_get_bool (sluice_node_t *self, const char *name, bool *value,
                          sluice_error_t *err);
int sluice_node_get_i64 (sluice_node_t *self, const char *name, int64_t *value,
                         sluice_error_t *err);
int sluice_node_get_u64 (sluice_node_t *self, const char *name, uint64_t *value,
                         sluice_error_t *err);
int sluice_node_get_f64 (sluice_node_t *self, const char *name, double *value,
                         sluice_error_t *err);
/* free () it; NULL on error. */
char *sluice_node_get_text (sluice_node_t *self, const char *name, sluice_error_t *err);
/* `dtype` (may be NULL) is what it must be. */
int sluice_node_get_array (sluice_node_t *self, const char *name, const char *dtype,
                           sluice_array_t *array, sluice_error_t *err);
int sluice_node_get_ragged (sluice_node_t *self, const char *name, const char *dtype,
                            sluice_ragged_t *ragged, sluice_error_t *err);
int sluice_node_get_object (sluice_node_t *self, const char *name,
                            const sluice_class_t *class_p, void *object,
                            sluice_error_t *err);

#ifdef __cplusplus
}
#endif
#endif
