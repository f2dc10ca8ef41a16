/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* trace_text.h - a record of a trace, as a line for people or for programs
 *
 * Field names and order are those of msg_fields.h, so that what is printed
 * cannot fall behind what travels.
 */
#ifndef PROTO_TRACE_TEXT_H
#define PROTO_TRACE_TEXT_H

#include <stdbool.h>
#include <stdio.h>
#include "proto/trace.h"

/* One line. For people: seconds after `since` (ns), an arrow, the peer, the
 * message with its fields, long ones shortened. With `json` an object, whole. */
void trace_print (const trace_record_t *record, uint64_t since, bool json, FILE *out);

#endif
