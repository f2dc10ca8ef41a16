/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* client.h - what a map needs of its client
 *
 * The interface is include/sluice/client.h.
 */
#ifndef MASTER_CLIENT_H
#define MASTER_CLIENT_H

#include "proto/msg.h"
#include "sluice/client.h"

struct sluice_client {
    char *command, *log;
    char *share;   /* "": none */
    msg_map_t map; /* what all its maps have in common */
};

/* Fill a MSG_MAP for these options; cleared by msg_clear. `msg` is empty on error. */
int client_fill (const sluice_client_t *self, const sluice_map_options_t *options,
                 msg_t *msg, sluice_error_t *err);

#endif
