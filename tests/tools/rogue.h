/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* rogue.h - what the two members gone wrong have in common (rogue_node.c, rogue_master.c)
 *
 * Both have the cluster's key, speak the protocol, and break one of its rules. What
 * happens to them they print, one line each, for the test that started them.
 */
#ifndef TESTS_ROGUE_H
#define TESTS_ROGUE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>
#include "proto/key.h"
#include "proto/share.h"
#include "../unit/random_msg.h"

static inline _Noreturn void die (const char *what, const char *why)
{
    fprintf (stderr, "rogue: %s: %s\n", what, why);
    exit (1);
}

static inline void print (const char *format, ...)
    __attribute__ ((format (printf, 1, 2)));
static inline void print (const char *format, ...)
{
    va_list args;
    va_start (args, format);
    vprintf (format, args);
    va_end (args);
    putchar ('\n');
    fflush (stdout);
}

/* The bytes of a message; free () them. */
static inline void *encode (const msg_t *msg, size_t *n)
{
    void *data;
    sluice_error_t err = {0};
    if (msg_encode (msg, &data, n, &err))
        die ("encode", err.text);
    return data;
}

/* Bytes that no decoder may take: a whole message of a random type that is cut off, or
 * random bytes, or one that claims more than is there, or nests deeply; free () them. */
static inline uint8_t *nonsense (random_t *r, size_t *n)
{
    static const uint8_t claims[] = {0x93, 0x01, 0xdd, 0xff, 0xff, 0xff, 0xff};
    uint8_t *data = NULL;
    switch (random_below (r, 4)) {
    case 0: {
        msg_t msg;
        random_msg (r, (msg_type_t) (1 + random_below (r, MSG_TYPES - 1)), &msg);
        data = encode (&msg, n);
        *n = (size_t) random_below (r, *n);
        msg_clear (&msg);
        break;
    }
    case 1:
        *n = (size_t) random_below (r, 300);
        data = malloc (*n + 1);
        random_fill (r, data, *n);
        data[0] = 0xc1; /* that no msgpack begins with */
        break;
    case 2:
        *n = sizeof claims;
        data = malloc (*n);
        memcpy (data, claims, *n);
        break;
    default:
        *n = 100000;
        data = malloc (*n);
        memset (data, 0x91, *n);
    }
    return data;
}

#endif
