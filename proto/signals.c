/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/signals.h"

#include <stdlib.h>
#include <sys/signalfd.h>

int signals_open (sigset_t *old)
{
    sigset_t mask;
    struct sigaction hup;
    sigemptyset (&mask);
    sigaddset (&mask, SIGINT);
    sigaddset (&mask, SIGTERM);
    sigaddset (&mask, SIGUSR1);
    /* Blocked, it would be queued though it is ignored. */
    if (sigaction (SIGHUP, NULL, &hup) < 0 || hup.sa_handler != SIG_IGN)
        sigaddset (&mask, SIGHUP);
    sigprocmask (SIG_BLOCK, &mask, old);
    return signalfd (-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}
