/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* within.h - what may hang, done with a deadline (invariant I10)
 *
 * A call into a file system whose server is gone comes back when the server does, and
 * nothing else ends it. So such calls are made in a thread, which is left behind when
 * it takes too long: it ends with the process at the latest.
 */
#ifndef PROTO_WITHIN_H
#define PROTO_WITHIN_H

#include <pthread.h>
#include <stdbool.h>

/* Join a thread that was told to end. False: it has not within `ms`, and is detached. */
bool join_within (pthread_t thread, unsigned ms);

/* Call fn (arg) and wait for it. False: it takes longer than `ms` (or no thread could be
 * made); then what `arg` points to is the thread's for good. */
bool call_within (unsigned ms, void (*fn) (void *arg), void *arg);

#endif
