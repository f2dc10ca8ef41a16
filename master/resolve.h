/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* resolve.h - the addresses of nodes that a person names
 *
 * libzmq asks for the address of a host on its one I/O thread, at each try: a name
 * server that does not answer would stop the traffic of all nodes. So names are
 * turned into addresses before the start.
 */
#ifndef MASTER_RESOLVE_H
#define MASTER_RESOLVE_H

#include <stddef.h>
#include "sluice/error.h"

/* Put the (IPv4) address in place of the host's name in each of these endpoints,
 * tcp://HOST:PORT, each from malloc. Takes five seconds at most. SLUICE_EINPUT, with
 * the endpoint, if one has no address, or none in time. */
int resolve_endpoints (const char **endpoints, size_t n, sluice_error_t *err);

#endif
