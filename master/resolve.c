/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/clock.h"

enum { WAIT_MS = 5000 };

/* What is asked must outlive the asking, which cannot always be stopped. */
typedef struct {
    struct addrinfo hints;
    struct gaicb *list; /* as many as there are endpoints */
    struct gaicb **asked;
    char **hosts;
} question_t;

static void forget (question_t *self, size_t n)
{
    if (!self)
        return;
    for (size_t i = 0; i < n; i++) {
        if (self->list && self->list[i].ar_result)
            freeaddrinfo (self->list[i].ar_result);
        if (self->hosts)
            free (self->hosts[i]);
    }
    free (self->list);
    free (self->asked);
    free (self->hosts);
    free (self);
}

static question_t *ask (const char **endpoints, size_t n, sluice_error_t *err)
{
    question_t *self = calloc (1, sizeof *self);
    bool good = self && (self->list = calloc (n, sizeof *self->list)) &&
                (self->asked = calloc (n, sizeof (struct gaicb *))) &&
                (self->hosts = calloc (n, sizeof (char *)));
    if (good)
        self->hints = (struct addrinfo){.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    for (size_t i = 0; i < n && good; i++) {
        const char *host = endpoints[i] + strlen ("tcp://"), *colon = strrchr (host, ':');
        good = (self->hosts[i] = strndup (host, (size_t) (colon - host))) != NULL;
        self->list[i] =
            (struct gaicb){.ar_name = self->hosts[i], .ar_request = &self->hints};
        self->asked[i] = &self->list[i];
    }
    if (good && getaddrinfo_a (GAI_NOWAIT, self->asked, (int) n, NULL) == 0)
        return self;
    forget (self, n);
    sluice_fail (err, SLUICE_ESYSTEM, "cannot ask for the addresses of nodes");
    return NULL;
}

static bool is_open (const question_t *self, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (gai_error (self->asked[i]) == EAI_INPROGRESS)
            return true;
    return false;
}

static int take (const char **endpoint, struct gaicb *answer, sluice_error_t *err)
{
    int error = gai_error (answer);
    if (error)
        return sluice_fail (
            err, SLUICE_EINPUT, "%s: %s has no address: %s", *endpoint, answer->ar_name,
            error == EAI_INPROGRESS ? "no name server answers" : gai_strerror (error));
    char address[INET_ADDRSTRLEN], *resolved = NULL;
    const struct sockaddr_in *found = (const void *) answer->ar_result->ai_addr;
    inet_ntop (AF_INET, &found->sin_addr, address, sizeof address);
    if (asprintf (&resolved, "tcp://%s%s", address, strrchr (*endpoint, ':')) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    free ((char *) *endpoint);
    *endpoint = resolved;
    return 0;
}

int resolve_endpoints (const char **endpoints, size_t n, sluice_error_t *err)
{
    question_t *question = n ? ask (endpoints, n, err) : NULL;
    if (!question)
        return n ? -1 : 0;
    int64_t end = clock_ms () + WAIT_MS;
    for (int64_t left; is_open (question, n) && (left = end - clock_ms ()) > 0;)
        gai_suspend ((const struct gaicb *const *) question->asked, (int) n,
                     &(struct timespec){left / 1000, left % 1000 * 1000000});
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = take (&endpoints[i], question->asked[i], err);
    if (!is_open (question, n)) /* else a thread still works on it: left alone */
        forget (question, n);
    return rc;
}
