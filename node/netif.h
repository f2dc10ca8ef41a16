/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* netif.h - which network interface a node announces itself on
 *
 * zbeacon takes the first interface it meets, which may be one of docker's.
 * Here the choice follows the route to the machines that serve or
 * share the folder; without any, the route that leads out; else the first
 * interface that is up, can broadcast, has an IPv4 address and does not belong
 * to containers or virtual machines of this host.
 */
#ifndef NODE_NETIF_H
#define NODE_NETIF_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include "proto/share.h"

enum { NETIF_TEXT = 46 }; /* a numeric address, as inet_ntop writes it */

/* Is this a name that container and virtual machine managers give to the
 * bridges of a host? Nobody else is reached through them. */
bool netif_is_internal (const char *name);

/* Choose the interface to broadcast on. `peers` are numeric addresses to be
 * reached, best first. False, with `name` "", if there is none. */
bool netif_choose (const char *const *peers, size_t npeers, char name[IF_NAMESIZE]);

/* The interface that a packet to this numeric address leaves by; false if
 * there is no route or it stays on this host. */
bool netif_towards (const char *address, char name[IF_NAMESIZE]);

/* Is there an interface of this name, up and able to broadcast over IPv4? */
bool netif_can_broadcast (const char *name);

/* Numeric addresses by which others reach this host, those of interface
 * `first` (may be "") before others, IPv4 before IPv6; link-local ones are
 * left out. With `only`, those of `first` alone. 127.0.0.1 if there is nothing
 * else. Returns how many. */
unsigned netif_addresses (const char *first, bool only, char (*address)[NETIF_TEXT],
                          unsigned max);

/* Address of the server that the file system at `path` is mounted from (NFS),
 * as /proc/self/mountinfo tells; false if it is local. */
bool netif_share_server (const char *path, char address[NETIF_TEXT]);

#endif
