/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* doctor_share.h - a share and its key, looked at without being caught
 *
 * All that touches the share happens in a process of its own, which is killed when it
 * takes too long: nothing in a file system whose server is gone can be interrupted
 * otherwise.
 */
#ifndef MASTER_DOCTOR_SHARE_H
#define MASTER_DOCTOR_SHARE_H

#include <limits.h>
#include <sys/types.h>
#include "proto/key.h"
#include "proto/share.h"

typedef struct {
    /* where it got to: what it was about to do, for people; "" when it is done */
    char step[64];
    sluice_error_t err; /* it is no share, or the key cannot be read */
    bool found, key_read;
    char root[PATH_MAX], key_path[PATH_MAX];
    uint8_t id[SHARE_ID_BYTES];
    uint8_t key[KEY_BYTES];
    mode_t key_mode;
    double seconds;  /* until all was done */
    bool written;    /* a file could be made where nodes write theirs... */
    int write_errno; /* ...or why not */
    double ahead;    /* seconds that the file server's clock is ahead of this one */
    /* where share and key lie: type of the file system, source, options */
    char type[32], source[256], options[512];
    char key_type[32], key_options[512];
} share_report_t;

/* Look at the share around `where`; the key is at `key` (NULL: in the share). False:
 * it took longer than `ms`; the report says at which step. */
bool doctor_share (const char *where, const char *key, unsigned ms,
                   share_report_t *report);

#endif
