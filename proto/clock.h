/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* clock.h - the time that only goes on
 *
 * CLOCK_MONOTONIC: no clock of the day is compared anywhere, so that setting it
 * changes nothing. The agent alone measures silence by CLOCK_BOOTTIME, which goes
 * on while the machine sleeps. Never fails; from any thread.
 */
#ifndef PROTO_CLOCK_H
#define PROTO_CLOCK_H

#include <stdint.h>

int64_t clock_ms (void);
double clock_seconds (void);

#endif
