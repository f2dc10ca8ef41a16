/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/within.h"

enum { WAIT_MS = 5000, MOST_THREADS = 16 };

typedef struct {
    char *host;
    struct in_addr address;
    int error; /* of getaddrinfo */
    atomic_bool answered;
} question_t;

/* Threads work through them, each taking the next. (Not getaddrinfo_a: its gai_suspend
 * may return before what it left on its stack was looked at.) */
typedef struct {
    question_t *questions;
    size_t n;
    atomic_size_t next;
} questions_t;

static void forget (questions_t *self)
{
    for (size_t i = 0; self->questions && i < self->n; i++)
        free (self->questions[i].host);
    free (self->questions);
    free (self);
}

static questions_t *gather (const char **endpoints, size_t n)
{
    questions_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->n = n;
    bool good = (self->questions = calloc (n, sizeof *self->questions)) != NULL;
    for (size_t i = 0; i < n && good; i++) {
        question_t *q = &self->questions[i];
        const char *host = endpoints[i] + strlen ("tcp://"), *colon = strrchr (host, ':');
        good = (q->host = strndup (host, (size_t) (colon - host))) != NULL;
        q->answered = good && inet_pton (AF_INET, q->host, &q->address) == 1;
    }
    if (good)
        return self;
    forget (self);
    return NULL;
}

static void *ask (void *arg)
{
    questions_t *self = arg;
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    for (size_t i; (i = atomic_fetch_add (&self->next, 1)) < self->n;) {
        question_t *q = &self->questions[i];
        struct addrinfo *found = NULL;
        if (q->answered)
            continue;
        q->error = getaddrinfo (q->host, NULL, &hints, &found);
        if (q->error == 0) {
            q->address =
                ((const struct sockaddr_in *) (const void *) found->ai_addr)->sin_addr;
            freeaddrinfo (found);
        }
        q->answered = true;
    }
    return NULL;
}

/* False: some thread still works on them, and they are its own for good. */
static bool ask_all (questions_t *self)
{
    pthread_t threads[MOST_THREADS];
    size_t open = 0, started = 0;
    bool ended = true;
    for (size_t i = 0; i < self->n; i++)
        open += !self->questions[i].answered;
    while (started < MOST_THREADS && started < open &&
           pthread_create (&threads[started], NULL, ask, self) == 0)
        started++;
    int64_t end = clock_ms () + WAIT_MS;
    for (size_t i = 0; i < started; i++) {
        int64_t left = end - clock_ms ();
        ended &= join_within (threads[i], left > 0 ? (unsigned) left : 0);
    }
    return ended;
}

static int take (const char **endpoint, const question_t *q, sluice_error_t *err)
{
    if (!q->answered || q->error)
        return sluice_fail (
            err, SLUICE_EINPUT, "%s: %s has no address: %s", *endpoint, q->host,
            q->answered ? gai_strerror (q->error) : "no name server answers");
    char address[INET_ADDRSTRLEN], *resolved = NULL;
    inet_ntop (AF_INET, &q->address, address, sizeof address);
    if (asprintf (&resolved, "tcp://%s%s", address, strrchr (*endpoint, ':')) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    free ((char *) *endpoint);
    *endpoint = resolved;
    return 0;
}

int resolve_endpoints (const char **endpoints, size_t n, sluice_error_t *err)
{
    questions_t *questions = n ? gather (endpoints, n) : NULL;
    if (!questions)
        return n ? sluice_fail (err, SLUICE_ESYSTEM, "out of memory") : 0;
    bool ended = ask_all (questions);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = take (&endpoints[i], &questions->questions[i], err);
    if (ended)
        forget (questions);
    return rc;
}
