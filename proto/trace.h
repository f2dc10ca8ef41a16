/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* trace.h - every message sent and received, recorded in a file
 *
 * `--trace FILE` makes master or node write down each control message, whole,
 * and each piece's header (not its rows), with time, direction and peer. The
 * file is a sequence of msgpack documents:
 *
 *   ["sluice trace", version, who, host, pid, time]          once, first
 *   [time, direction, peer, kind, payload, bytes]            each record
 *
 * time in ns since 1970, direction 0 out, 1 in; `bytes` (bin) as they travelled,
 * at most 4 MiB; `payload` the length of a piece's second frame.
 *
 * Recording never blocks who records: records go to a buffer of at most 8 MiB
 * that a thread of its own writes out, several times a second. When the disk is
 * slower than that records are lost, and a record of kind TRACE_LOST says how
 * many; when it fails, recording ends with a line on stderr.
 */
#ifndef PROTO_TRACE_H
#define PROTO_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include "sluice/error.h"

typedef struct trace trace_t;

typedef enum { TRACE_OUT = 0, TRACE_IN = 1 } trace_way_t;
typedef enum {
    TRACE_MESSAGE = 0, /* bytes: a message of msg.h */
    TRACE_PIECE = 1,   /* bytes: a header of piece.h */
    TRACE_LOST = 2     /* payload: so many records are missing here */
} trace_kind_t;

/* Begin a file, for `who` ("master", "node"). What is there is replaced if it is
 * a trace or empty, and refused otherwise. The thread starts with the first
 * record, so that the caller may fork until then. */
trace_t *trace_new (const char *path, const char *who, sluice_error_t *err);
/* Write out what is left, and close. */
void trace_destroy (trace_t **self_p);

void trace_message (trace_t *self, trace_way_t way, const char *peer, const void *data,
                    size_t n);
void trace_piece (trace_t *self, trace_way_t way, const char *peer, const void *header,
                  size_t n, uint64_t payload);

/* ---- reading: from bytes of any origin; nothing is allocated */

enum { TRACE_TEXT = 128, TRACE_MAX_BYTES = 4 << 20 };

typedef struct {
    char who[TRACE_TEXT], host[TRACE_TEXT];
    uint64_t pid, time; /* ns since 1970 */
} trace_head_t;

typedef struct {
    uint64_t time;
    trace_way_t way;
    char peer[TRACE_TEXT];
    trace_kind_t kind;
    uint64_t payload;
    const uint8_t *bytes; /* where they lie */
    size_t n;
} trace_record_t;

typedef enum {
    TRACE_GOOD, /* read; *at is behind it */
    TRACE_CUT,  /* it goes on after `end`: more bytes are needed, or it was cut off */
    TRACE_WRONG /* this cannot be */
} trace_verdict_t;

trace_verdict_t trace_read_head (const uint8_t **at, const uint8_t *end,
                                 trace_head_t *head);
trace_verdict_t trace_read (const uint8_t **at, const uint8_t *end,
                            trace_record_t *record);

#endif
