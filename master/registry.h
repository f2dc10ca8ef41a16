/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* registry.h - how other commands find a run, and ask it
 *
 * A running master writes $XDG_RUNTIME_DIR/sluice/RUN (or /tmp/sluice-UID/RUN) for
 * this user on this machine, and SHARE/.sluice/runs/RUN/master for all others:
 * `name = value` lines with owner, host, pid, job and the endpoints of its query
 * sockets. A command finds it by the run's first digits and asks with one message. On
 * its own machine neither share nor key are needed for that, so that a run can be asked
 * what it waits for while its share hangs.
 */
#ifndef MASTER_REGISTRY_H
#define MASTER_REGISTRY_H

#include "master/job.h"

typedef struct registry registry_t;

/* Register this run. `endpoints`: where its query socket is bound. */
registry_t *registry_enter (const job_t *job, const char *tcp, const char *ipc,
                            sluice_error_t *err);
/* Take it out again. A share that hangs is not waited for (a line says so). */
void registry_leave (registry_t **self_p);

typedef struct {
    char run[2 * RUN_BYTES + 1];
    char owner[128], job[256], host[65];
    char endpoint[256]; /* "": reached on its own host only, which is another */
    bool local;         /* endpoint is ipc, on this machine */
    bool dead;          /* on this machine, and there is no such process or socket */
    char path[1024];    /* of the record; "": none */
} registered_t;

/* The runs known to this share (may be NULL) and on this machine, each once; at most
 * `max` are stored, the number is returned. A share that hangs is waited for
 * REGISTRY_WAIT_MS; then *hangs is set. */
enum { REGISTRY_WAIT_MS = 3000 };
size_t registry_list (const share_t *share, registered_t *runs, size_t max, bool *hangs);

/* Remove the record of a run whose master has died, and what it left beside it:
 * inputs, the folder of its sockets. */
void registry_forget (const registered_t *run);

/* Ask a master or node: send `question`, wait for MSG_REPLY. free () the text.
 * `server` NULL: no CURVE (ipc). */
char *registry_ask (const char *endpoint, const cluster_t *cluster, const uint8_t *server,
                    const msg_t *question, unsigned wait_ms, sluice_error_t *err);

#endif
