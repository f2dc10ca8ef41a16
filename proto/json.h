/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* json.h - the JSON in which masters and nodes answer commands
 *
 * Written into text that grows up to a limit, and read where it lies: an
 * answer came from a peer, so it is checked once as a whole (json_is_sound)
 * and then walked without copies. What it takes is RFC 8259, nested at most
 * JSON_DEPTH deep.
 */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH = 16 };

/* ---- writing */

typedef struct {
    char *text;
    size_t used, room, most; /* most: bytes, without the NUL */
    bool full;               /* past `most`, or out of memory */
} json_out_t;

void json_begin (json_out_t *self, size_t most);
/* Append as it stands. */
void json_add (json_out_t *self, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));
/* Append a text in its quotes; bytes that are not UTF-8 become '?'. */
void json_add_text (json_out_t *self, const char *text);
/* Take everything after byte `used` away again: what was too much. */
void json_cut (json_out_t *self, size_t used);
/* The text, the caller's to free (); NULL if it became too large. */
char *json_end (json_out_t *self);

/* ---- reading: `value` points into a text that json_is_sound; NULL is a value
 * that is not there, and all of these take it */

bool json_is_sound (const char *text);
/* The member of an object; NULL if it has none, or is no object. */
const char *json_member (const char *value, const char *name);
/* The elements of an array, one after the other; NULL at its end. */
const char *json_first (const char *value);
const char *json_after (const char *element);
/* The text of a string, cut to `size`, with '?' for control characters: fit for
 * a terminal. "" and false if it is none. */
bool json_string (const char *value, char *out, size_t size);
/* A number, or 0. */
double json_number (const char *value);
/* A whole number >= 0, or 0. */
uint64_t json_count (const char *value);
bool json_is_true (const char *value);

#endif
