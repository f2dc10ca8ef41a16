/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/beacon.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <string.h>

#include "proto/text.h"

static const uint8_t magic[4] = {'S', 'L', 'U', 1};

enum { FLAGS = 0, MAX_HOST = BEACON_HOST - 1 };

_Static_assert(sizeof magic + 1 + 16 + 8 + SHARE_ID_BYTES + 2 + 4 + 1 + MAX_HOST + 1 +
                       BEACON_ADDRESSES * 17 + KEY_MAC_BYTES <=
                   BEACON_MAX,
               "the longest record fits");

/* A name of a host: 1 to 64 bytes of printable UTF-8. */
static bool is_host (const char *host, size_t n)
{
    if (n == 0 || n > MAX_HOST || !text_is_utf8 (host, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char) host[i] <= ' ' || host[i] == 0x7f)
            return false;
    return true;
}

/* ---- encode ------------------------------------------------------------- */

static uint8_t *put (uint8_t *at, const void *bytes, size_t n)
{
    memcpy (at, bytes, n);
    return at + n;
}

static uint8_t *put_number (uint8_t *at, unsigned width, uint64_t value)
{
    for (unsigned i = width; i-- > 0;)
        *at++ = (uint8_t) (value >> (8 * i));
    return at;
}

/* NULL if the text is no address. */
static uint8_t *put_address (uint8_t *at, const char *text)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton (AF_INET, text, &v4) == 1)
        return put (put_number (at, 1, 4), &v4, 4);
    if (inet_pton (AF_INET6, text, &v6) == 1)
        return put (put_number (at, 1, 6), &v6, 16);
    return NULL;
}

size_t beacon_encode (const beacon_t *beacon, const cluster_t *cluster,
                      uint8_t out[BEACON_MAX])
{
    size_t host = strnlen (beacon->host, BEACON_HOST);
    if (!is_host (beacon->host, host) || beacon->port == 0 ||
        beacon->naddresses > BEACON_ADDRESSES)
        return 0;
    uint8_t *at = put (out, magic, sizeof magic);
    at = put_number (at, 1, FLAGS);
    at = put (at, beacon->uuid, sizeof beacon->uuid);
    at = put_number (at, 8, beacon->boot);
    at = put (at, beacon->share, SHARE_ID_BYTES);
    at = put_number (at, 2, beacon->port);
    at = put_number (at, 4, beacon->slots);
    at = put_number (at, 1, host);
    at = put (at, beacon->host, host);
    at = put_number (at, 1, beacon->naddresses);
    for (unsigned i = 0; i < beacon->naddresses; i++)
        if (!(at = put_address (at, beacon->address[i])))
            return 0;
    cluster_mac (cluster, out, (size_t) (at - out), at);
    return (size_t) (at - out) + KEY_MAC_BYTES;
}

/* ---- decode ------------------------------------------------------------- */

typedef struct {
    const uint8_t *at, *end;
} reader_t;

/* NULL if there are not `n` bytes. */
static const uint8_t *take (reader_t *in, size_t n)
{
    if ((size_t) (in->end - in->at) < n)
        return NULL;
    in->at += n;
    return in->at - n;
}

static bool take_bytes (reader_t *in, void *out, size_t n)
{
    const uint8_t *bytes = take (in, n);
    if (bytes)
        memcpy (out, bytes, n);
    return bytes != NULL;
}

static bool take_number (reader_t *in, unsigned width, uint64_t *value)
{
    const uint8_t *bytes = take (in, width);
    *value = 0;
    for (unsigned i = 0; bytes && i < width; i++)
        *value = *value << 8 | bytes[i];
    return bytes != NULL;
}

static bool take_host (reader_t *in, char host[BEACON_HOST])
{
    uint64_t n;
    if (!take_number (in, 1, &n) || n > MAX_HOST || !take_bytes (in, host, (size_t) n))
        return false;
    host[n] = 0;
    return is_host (host, (size_t) n);
}

static bool take_address (reader_t *in, char text[46])
{
    uint64_t family;
    if (!take_number (in, 1, &family) || (family != 4 && family != 6))
        return false;
    const uint8_t *bytes = take (in, family == 4 ? 4 : 16);
    return bytes && inet_ntop (family == 4 ? AF_INET : AF_INET6, bytes, text, 46);
}

static bool take_fields (reader_t *in, beacon_t *beacon)
{
    uint64_t flags, port, slots, naddresses;
    if (!take_number (in, 1, &flags) || flags != FLAGS ||
        !take_bytes (in, beacon->uuid, sizeof beacon->uuid) ||
        !take_number (in, 8, &beacon->boot) ||
        !take_bytes (in, beacon->share, SHARE_ID_BYTES) || !take_number (in, 2, &port) ||
        port == 0 || !take_number (in, 4, &slots) || !take_host (in, beacon->host) ||
        !take_number (in, 1, &naddresses) || naddresses > BEACON_ADDRESSES)
        return false;
    beacon->port = (uint16_t) port;
    beacon->slots = (uint32_t) slots;
    beacon->naddresses = (unsigned) naddresses;
    for (unsigned i = 0; i < beacon->naddresses; i++)
        if (!take_address (in, beacon->address[i]))
            return false;
    return true;
}

static beacon_verdict_t decode (const uint8_t *data, size_t n, const cluster_t *cluster,
                                const uint8_t *share, beacon_t *beacon)
{
    if (n < sizeof magic || memcmp (data, magic, sizeof magic) != 0)
        return BEACON_FOREIGN;
    if (n > BEACON_MAX)
        return BEACON_MALFORMED;
    reader_t in = {.at = data + sizeof magic, .end = data + n};
    if (!take_fields (&in, beacon) || in.end - in.at != KEY_MAC_BYTES)
        return BEACON_MALFORMED;
    /* First whose it is: a neighbour with a key of his own is not a forger. */
    if (share && memcmp (beacon->share, share, SHARE_ID_BYTES) != 0)
        return BEACON_FOREIGN;
    uint8_t mac[KEY_MAC_BYTES];
    cluster_mac (cluster, data, (size_t) (in.at - data), mac);
    return sodium_memcmp (mac, in.at, KEY_MAC_BYTES) == 0 ? BEACON_OK : BEACON_FORGED;
}

beacon_verdict_t beacon_decode (const uint8_t *data, size_t n, const cluster_t *cluster,
                                const uint8_t *share, beacon_t *beacon)
{
    memset (beacon, 0, sizeof *beacon);
    beacon_verdict_t verdict = decode (data, n, cluster, share, beacon);
    if (verdict != BEACON_OK)
        memset (beacon, 0, sizeof *beacon); /* nobody shall use what is not proven */
    return verdict;
}
