/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "node/netif.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool netif_is_internal (const char *name)
{
    static const char *const prefixes[] = {"docker", "br-",    "virbr", "lxcbr",
                                           "lxdbr",  "podman", "cni",   "flannel",
                                           "vmnet",  "vboxnet"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp (name, prefixes[i], strlen (prefixes[i])) == 0)
            return true;
    return false;
}

static bool broadcasts (const struct ifaddrs *ifa)
{
    return ifa->ifa_addr && ifa->ifa_addr->sa_family == AF_INET &&
           (ifa->ifa_flags & IFF_UP) && (ifa->ifa_flags & IFF_BROADCAST) &&
           !(ifa->ifa_flags & (IFF_LOOPBACK | IFF_POINTOPOINT));
}

bool netif_can_broadcast (const char *name)
{
    struct ifaddrs *list;
    if (getifaddrs (&list) < 0)
        return false;
    bool found = false;
    for (struct ifaddrs *ifa = list; ifa && !found; ifa = ifa->ifa_next)
        found = broadcasts (ifa) && strcmp (ifa->ifa_name, name) == 0;
    freeifaddrs (list);
    return found;
}

static bool numeric (const char *text, struct sockaddr_storage *to, socklen_t *size)
{
    memset (to, 0, sizeof *to);
    struct sockaddr_in *v4 = (struct sockaddr_in *) to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) to;
    if (inet_pton (AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons (9);
        *size = sizeof *v4;
        return true;
    }
    if (inet_pton (AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons (9);
        *size = sizeof *v6;
        return true;
    }
    return false;
}

static bool same_host (const struct sockaddr *a, const struct sockaddr *b)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *) a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *) b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 &&
           memcmp (&((const struct sockaddr_in6 *) a)->sin6_addr,
                   &((const struct sockaddr_in6 *) b)->sin6_addr,
                   sizeof (struct in6_addr)) == 0;
}

bool netif_towards (const char *address, char name[IF_NAMESIZE])
{
    struct sockaddr_storage to, from;
    socklen_t size, from_size = sizeof from;
    name[0] = 0;
    if (!numeric (address, &to, &size))
        return false;
    /* Connecting a datagram socket sends nothing; it makes the system choose. */
    int fd = socket (to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool routed = connect (fd, (struct sockaddr *) &to, size) == 0 &&
                  getsockname (fd, (struct sockaddr *) &from, &from_size) == 0;
    close (fd);
    struct ifaddrs *list;
    if (!routed || getifaddrs (&list) < 0)
        return false;
    for (struct ifaddrs *ifa = list; ifa && !name[0]; ifa = ifa->ifa_next)
        if (ifa->ifa_addr && !(ifa->ifa_flags & IFF_LOOPBACK) &&
            same_host (ifa->ifa_addr, (struct sockaddr *) &from))
            snprintf (name, IF_NAMESIZE, "%s", ifa->ifa_name);
    freeifaddrs (list);
    /* An address of our own is reached over the loopback, whatever its name. */
    if (name[0] && same_host ((struct sockaddr *) &from, (struct sockaddr *) &to))
        name[0] = 0;
    return name[0] != 0;
}

static bool usable (const char *name)
{
    return netif_can_broadcast (name) && !netif_is_internal (name);
}

bool netif_choose (const char *const *peers, size_t npeers, char name[IF_NAMESIZE])
{
    for (size_t i = 0; i < npeers; i++)
        if (netif_towards (peers[i], name) && usable (name))
            return true;
    if (netif_towards ("192.0.2.1", name) && usable (name)) /* RFC 5737: nobody's */
        return true;
    name[0] = 0;
    struct ifaddrs *list;
    if (getifaddrs (&list) < 0)
        return false;
    for (struct ifaddrs *ifa = list; ifa && !name[0]; ifa = ifa->ifa_next)
        if (broadcasts (ifa) && !netif_is_internal (ifa->ifa_name))
            snprintf (name, IF_NAMESIZE, "%s", ifa->ifa_name);
    freeifaddrs (list);
    return name[0] != 0;
}

/* May others reach us by this address? */
static bool reachable (const struct ifaddrs *ifa, int family)
{
    if (!ifa->ifa_addr || ifa->ifa_addr->sa_family != family ||
        !(ifa->ifa_flags & IFF_UP) || (ifa->ifa_flags & IFF_LOOPBACK))
        return false;
    if (family == AF_INET6)
        return !IN6_IS_ADDR_LINKLOCAL (
            &((const struct sockaddr_in6 *) ifa->ifa_addr)->sin6_addr);
    return true;
}

unsigned netif_addresses (const char *first, bool only, char (*address)[NETIF_TEXT],
                          unsigned max)
{
    struct ifaddrs *list;
    unsigned n = 0;
    if (max > 0 && getifaddrs (&list) == 0) {
        /* rounds: IPv4 of `first`, of others, then IPv6 likewise */
        for (int round = 0; round < 4; round++)
            for (struct ifaddrs *ifa = list; ifa && n < max; ifa = ifa->ifa_next) {
                bool of_first = strcmp (ifa->ifa_name, first) == 0;
                if (of_first != (round % 2 == 0) || (only && !of_first) ||
                    !reachable (ifa, round < 2 ? AF_INET : AF_INET6) ||
                    (!of_first && netif_is_internal (ifa->ifa_name)))
                    continue;
                const void *raw =
                    round < 2
                        ? (const void *) &((struct sockaddr_in *) ifa->ifa_addr)->sin_addr
                        : (const void *) &((struct sockaddr_in6 *) ifa->ifa_addr)
                              ->sin6_addr;
                if (inet_ntop (ifa->ifa_addr->sa_family, raw, address[n], NETIF_TEXT))
                    n++;
            }
        freeifaddrs (list);
    }
    if (n == 0 && max > 0)
        snprintf (address[n++], NETIF_TEXT, "127.0.0.1");
    return n;
}

bool netif_share_server (const char *path, char address[NETIF_TEXT])
{
    address[0] = 0;
    struct stat st;
    FILE *file = fopen ("/proc/self/mountinfo", "re");
    if (!file || stat (path, &st) < 0) {
        if (file)
            fclose (file);
        return false;
    }
    char *line = NULL;
    size_t size = 0;
    while (!address[0] && getline (&line, &size, file) > 0) {
        unsigned major_no, minor_no;
        if (sscanf (line, "%*d %*d %u:%u", &major_no, &minor_no) != 2 ||
            makedev (major_no, minor_no) != st.st_dev)
            continue;
        const char *found = strstr (line, ",addr=");
        if (!found)
            continue;
        found += strlen (",addr=");
        size_t n = strcspn (found, ", \n");
        struct sockaddr_storage to;
        socklen_t to_size;
        if (n >= NETIF_TEXT)
            continue;
        memcpy (address, found, n);
        address[n] = 0;
        if (!numeric (address, &to, &to_size))
            address[0] = 0;
    }
    free (line);
    fclose (file);
    return address[0] != 0;
}
