/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* pthread_tryjoin_np */
#include "proto/within.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "proto/clock.h"

/* Until a thread is looked at again. pthread_timedjoin_np goes by the clock of the day,
 * which may jump. */
enum { LOOK_NS = 2000000 };

bool join_within (pthread_t thread, unsigned ms)
{
    const struct timespec step = {.tv_nsec = LOOK_NS};
    for (int64_t end = clock_ms () + ms; pthread_tryjoin_np (thread, NULL) != 0;
         nanosleep (&step, NULL))
        if (clock_ms () > end) {
            pthread_detach (thread);
            return false;
        }
    return true;
}

typedef struct {
    void (*fn) (void *arg);
    void *arg;
} call_t;

static void *call_main (void *arg)
{
    call_t call = *(call_t *) arg;
    free (arg);
    call.fn (call.arg);
    return NULL;
}

bool call_within (unsigned ms, void (*fn) (void *arg), void *arg)
{
    pthread_t thread;
    sigset_t all, old;
    call_t *call = malloc (sizeof *call);
    if (!call)
        return false;
    *call = (call_t){fn, arg};
    sigfillset (&all); /* signals are for those who wait for them */
    pthread_sigmask (SIG_SETMASK, &all, &old);
    int rc = pthread_create (&thread, NULL, call_main, call);
    pthread_sigmask (SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        free (call);
        return false;
    }
    return join_within (thread, ms);
}
