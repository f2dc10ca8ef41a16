/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* signals.h - the signals that a master or a node hears of */
#ifndef PROTO_SIGNALS_H
#define PROTO_SIGNALS_H

#include <signal.h>

/* Block SIGINT, SIGTERM, SIGHUP and SIGUSR1, and make a descriptor to read them from
 * (signalfd); the old mask in *old. A SIGHUP that was ignored when this process began
 * (nohup) stays ignored. -1: errno. */
int signals_open (sigset_t *old);

#endif
