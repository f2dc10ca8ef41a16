/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "master/feed.h"
#include "master/resolve.h"
#include "master/run.h"
#include "proto/folder.h"

/* sluice serve [WHAT]: run one map for the program at the other end of descriptor 3.
 * WHAT is for those who look at lists of processes. */

enum { SOCKET = 3 };

typedef struct {
    feed_t *feed;
    msg_t map;
    char *path;         /* of a job file that is not there, in the folder of the map */
    char *folder;       /* of an output without a name, until it is there */
    const char **nodes; /* as many as the map has, each from malloc */
} serve_t;

/* A program that opens files without O_CLOEXEC does not mean them for us. */
static void close_others (void)
{
#ifdef SYS_close_range
    if (syscall (SYS_close_range, SOCKET + 1u, ~0u, 0u) == 0)
        return;
#endif
    for (int fd = SOCKET + 1; fd < 1024; fd++)
        close (fd);
}

static const char *given (const char *text)
{
    return text && *text ? text : NULL;
}

static int fill_options (serve_t *self, run_options_t *o, sluice_error_t *err)
{
    msg_map_t *map = &self->map.map;
    self->nodes = calloc (map->nnodes + 1, sizeof *self->nodes);
    if (!self->nodes ||
        asprintf (&self->path, "%s/%s", map->folder, *map->name ? map->name : "map") < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (size_t i = 0; i < map->nnodes; i++) {
        const char *endpoint = map->nodes[i].endpoint;
        if (!cmd_endpoint (endpoint))
            return sluice_fail (err, SLUICE_EINPUT,
                                "'%s' is not an endpoint, such as tcp://HOST:PORT",
                                endpoint);
        if (!(self->nodes[i] = strdup (endpoint)))
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    if (resolve_endpoints (self->nodes, map->nnodes, err))
        return -1;
    *o = (run_options_t){.command = "run",
                         .path = self->path,
                         .params = map->params,
                         .output = map->output,
                         .nameless = !*map->output,
                         .key = given (map->key),
                         .force = map->force,
                         .has_seed = map->has_seed,
                         .seed = map->seed,
                         .no_local = map->no_local,
                         .no_network = map->no_network,
                         .serial = map->serial,
                         .confine = map->confine,
                         .fail_fast = map->fail_fast,
                         .window = map->window,
                         .outbox = map->outbox,
                         .memory = map->memory,
                         .cores = map->cores,
                         .node_wait = map->node_wait,
                         .nodes = self->nodes,
                         .nnodes = map->nnodes,
                         .disk_wait = 600,
                         .feed = self->feed};
    map->params = NULL; /* the job's from now on */
    return 0;
}

/* An output without a name has one until it is whole, in a folder of its own. */
static int find_place (serve_t *self, job_t *job, sluice_error_t *err)
{
    const char *base = getenv ("TMPDIR");
    if (!base || !*base)
        base = "/var/tmp"; /* may be large, and is on a disk */
    free (job->output);
    job->output = NULL;
    int lock; /* this process's to its end */
    self->folder = folder_make (base, "sluice-map-", &lock);
    if (!self->folder)
        return sluice_fail (err, SLUICE_EOUTPUT,
                            "cannot make a folder in %s: %s; name an output", base,
                            strerror (errno));
    if (asprintf (&job->output, "%s/map.h5", self->folder) < 0) {
        job->output = NULL;
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    return 0;
}

static char *folder_to_leave; /* job->begun has no argument of ours */

static void begun (const job_t *job)
{
    (void) job;
    if (folder_to_leave)
        rmdir (folder_to_leave);
}

static int serve (serve_t *self, run_result_t *result, bool *ran, sluice_error_t *err)
{
    run_options_t o;
    if (fill_options (self, &o, err))
        return -1;
    /* A plan may take its time, and nobody looks meanwhile. */
    feed_guard (self->feed, NULL, NULL);
    job_t *job = job_open (&o, err);
    feed_unguard (self->feed);
    if (!job)
        return -1;
    int rc = o.nameless ? find_place (self, job, err) : 0;
    folder_to_leave = self->folder;
    job->begun = begun;
    if (rc == 0) {
        rc = (o.serial ? run_serial : run_cluster) (job, result, err);
        *ran = true;
        if (rc != 0)
            run_discard (job, result, err);
    }
    if (self->folder)
        rmdir (self->folder); /* it was not begun, or this is the second time */
    job_destroy (&job);
    return rc;
}

int cmd_serve (int argc, char **argv)
{
    serve_t self = {0};
    sluice_error_t err = {0};
    run_result_t result;
    bool ran = false;
    (void) argv;
    if (argc > 2 || fcntl (SOCKET, F_GETFD) < 0)
        return cmd_usage ("serve", "is started by programs that use sluice/client.h");
    close_others ();
    signal (SIGPIPE, SIG_IGN);
    self.feed = feed_new (SOCKET, &self.map, &err);
    if (!self.feed)
        return cmd_fail ("serve", &err);
    int rc = serve (&self, &result, &ran, &err);
    if (rc == 0)
        err.code = SLUICE_OK;
    else
        cmd_fail ("serve", &err);
    feed_over (self.feed, ran ? &result : NULL, &err);
    feed_drain (self.feed);
    run_leave (rc == 0 ? 0 : sluice_exit_status (&err));
    feed_destroy (&self.feed);
    for (size_t i = 0; self.nodes && i < self.map.map.nnodes; i++)
        free ((char *) (uintptr_t) self.nodes[i]);
    msg_clear (&self.map);
    free (self.path);
    free (self.folder);
    free (self.nodes);
    return rc == 0 ? 0 : sluice_exit_status (&err);
}
