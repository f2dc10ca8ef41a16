/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* talk.h - messages over a stream socket between a program and its master
 *
 * A program that uses include/sluice/client.h starts the master of each of its maps as
 * a process of its own, with a socket between them that nobody else has. On it go
 * messages of proto/msg.h, each behind its length (4 bytes, little-endian). What does
 * not go out at once is queued here: look at talk_queued before making more of it.
 *
 * Single-threaded. The two ends trust each other no more than any peers do: lengths
 * are checked before memory is asked for.
 */
#ifndef PROTO_TALK_H
#define PROTO_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include "proto/msg.h"

typedef struct talk talk_t;

/* Over a connected stream socket, which it owns from now on, also when it fails. */
talk_t *talk_new (int fd, sluice_error_t *err);
void talk_destroy (talk_t **self_p);

int talk_fd (const talk_t *self);

/* Send, or queue. The descriptor `pass` goes along unless it is -1 (it stays the
 * caller's); only possible with the first message. -1: it cannot be sent
 * (SLUICE_EINPUT), out of memory. That the other end is gone is no error: the message
 * goes nowhere, and talk_receive says so. */
int talk_send (talk_t *self, const msg_t *msg, int pass, sluice_error_t *err);
/* Send what is queued, as far as it goes now. */
void talk_flush (talk_t *self);
/* Bytes that are queued. */
size_t talk_queued (const talk_t *self);

/* The next message: 1, and msg_clear is yours; 0: none is whole yet; -1: the other end
 * is gone (code SLUICE_OK), or what it says cannot be right (SLUICE_EPROTO). *passed
 * (may be NULL) is the descriptor that came along, or -1. */
int talk_receive (talk_t *self, msg_t *msg, int *passed, sluice_error_t *err);

/* Nothing more comes from us: the other end finds that we are gone. What it still
 * says can be received. */
void talk_end (talk_t *self);

#endif
