/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* share.h - the folder that all machines see, and paths that stay inside it
 *
 * A share is a folder with `.sluice/share` (32 hex digits that name it, on
 * every machine wherever it is mounted) and usually `.sluice/cluster.key`.
 * Paths in messages are relative to it and are opened with openat2
 * (RESOLVE_BENEATH): `..`, absolute paths and links that lead out fail, also
 * while somebody renames folders under us. Where the kernel lacks openat2
 * the walk is done component by component with O_NOFOLLOW.
 *
 * An embedded run has no share: share_new_open gives one rooted at "/" that
 * takes any path ("unconfined").
 */
#ifndef PROTO_SHARE_H
#define PROTO_SHARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "sluice/error.h"

enum { SHARE_ID_BYTES = 16, DIGEST_BYTES = 16, FILE_HASH_BYTES = 32 };

typedef struct share share_t;

/* Make `dir` a share: .sluice with share id and key, nodes/ and runs/ (0700
 * key 0600). Making it again is an error that says it is one already. */
int share_create (const char *dir, sluice_error_t *err);

/* Open the share `dir` itself. */
share_t *share_open (const char *dir, sluice_error_t *err);
/* The nearest folder above `path` that is a share; NULL with err->code
 * SLUICE_OK if there is none, with an error if one is broken. A `path` that is
 * a folder counts itself; one that does not exist counts from its folder. */
share_t *share_find (const char *path, sluice_error_t *err);
/* The unconfined share of an embedded run, rooted at "/". */
share_t *share_new_open (sluice_error_t *err);
void share_destroy (share_t **self_p);

const char *share_root (const share_t *self);              /* absolute path here */
const uint8_t *share_id (const share_t *self);             /* SHARE_ID_BYTES */
bool share_confined (const share_t *self);
int share_fd (const share_t *self);
/* `.sluice/cluster.key` of this share; a path here. "" if unconfined. */
const char *share_key_path (const share_t *self);

/* The path of `path` (any path here, existing) relative to the share, links
 * resolved; free () it. Error "outside the share" otherwise. */
char *share_relative (const share_t *self, const char *path, sluice_error_t *err);

/* Open a relative path inside the share with open(2) flags (O_CLOEXEC is
 * added). -1 with an error and errno: absolute, leads outside, not there. Links
 * are followed while they stay inside (relative ones); none are where the
 * kernel lacks openat2. In an unconfined share any path and link will do. */
int share_openat (const share_t *self, const char *relative, int flags, mode_t mode,
                  sluice_error_t *err);
/* Make a folder (and its parents) inside the share. One that is there is fine. */
int share_mkdir (const share_t *self, const char *relative, sluice_error_t *err);

/* Do without openat2, as on an old kernel (for tests). */
void share_set_walk (share_t *self, bool walk);

/* What identifies the content of an input. */
typedef struct {
    char *path;                        /* relative to the share; owned */
    uint64_t size;
    int64_t mtime_ns;
    uint8_t digest[FILE_HASH_BYTES];   /* BLAKE2b-256 of the content */
} input_t;

/* Fill size, mtime and digest from an open descriptor. */
int input_measure (int fd, input_t *input, sluice_error_t *err);
/* Open input `expected` and check its size and content; waits up to
 * `patience_ms`, opening it anew, while it is an older version (NFS attribute
 * cache), then fails with "stale input". Returns a descriptor. */
int input_open (const share_t *self, const input_t *expected, unsigned patience_ms,
                sluice_error_t *err);
void input_clear (input_t *input);

#endif
