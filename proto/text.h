/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* text.h - small things about text that several modules need
 *
 * None of these looks at the locale: what a file or a peer says means the same
 * on every machine.
 */
#ifndef PROTO_TEXT_H
#define PROTO_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `n` bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates) without NUL. */
bool text_is_utf8 (const char *text, size_t n);

/* Replace what is not UTF-8 by '?', in place: for what a program or a peer said
 * and is to be sent on. */
void text_make_utf8 (char *text);

/* Replace control characters by '?', in place: what a peer said may reach a terminal,
 * and shall neither move its cursor nor look like another line. */
void text_make_plain (char *text);

/* 2 * n lower-case hex digits and a NUL. */
void text_hex (const uint8_t *bytes, size_t n, char *text);
/* Back from exactly 2 * n hex digits of either case; does not look behind them. */
bool text_unhex (const char *text, size_t n, uint8_t *bytes);

/* Decimal digits from text[0] on. Returns how many there are; 0 if there are
 * none or the number is larger than `max`. */
size_t text_number (const char *text, size_t n, uint64_t max, uint64_t *value);

/* Write to stderr as much as it takes without waiting: who reads it may have stopped. */
void text_to_stderr (const char *text);

#endif
