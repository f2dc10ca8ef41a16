/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/client.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/client_process.h"
#include "proto/key.h"
#include "proto/share.h"

static int no_memory (sluice_error_t *err)
{
    return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
}

/* A copy of a text that may be NULL, which is "". */
static char *copy (const char *text)
{
    return strdup (text ? text : "");
}

static bool is_given (const char *text)
{
    return text && *text;
}

/* ---- is it right? ----------------------------------------------------------------- */

/* As `sluice run` would find share and key, so that it is said at once. */
static int check_share (sluice_client_t *self, const sluice_client_options_t *o,
                        sluice_error_t *err)
{
    sluice_error_t why = {0};
    share_t *share = NULL;
    bool asked = o->nnodes > 0 || o->no_local || is_given (o->key);
    int rc = -1;
    if (o->no_network || o->serial) {
        self->share = copy ("");
        return self->share ? 0 : no_memory (err);
    }
    if (!(share = share_find (self->map.folder, &why)) && why.code != SLUICE_OK) {
        if (err)
            *err = why;
        return -1;
    }
    if (!share && asked)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: is not in a share, so nodes could not read its files; "
                            "make one with: sluice init DIR",
                            self->map.folder);
    self->share = copy (share ? share_root (share) : "");
    if (self->share && share) {
        const char *key = is_given (o->key) ? o->key : getenv ("SLUICE_KEY");
        cluster_t *cluster =
            cluster_new_from_file (is_given (key) ? key : share_key_path (share), err);
        rc = cluster ? 0 : -1;
        cluster_destroy (&cluster);
    } else {
        rc = self->share ? 0 : no_memory (err);
    }
    share_destroy (&share);
    return rc;
}

static int check_log (const char *log, sluice_error_t *err)
{
    if (!log)
        return 0;
    int fd = open (log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0)
        return sluice_fail (err, SLUICE_EINPUT, "log %s: %s", log, strerror (errno));
    close (fd);
    return 0;
}

static int check_numbers (const sluice_client_options_t *o, sluice_error_t *err)
{
    if (o->cores > 4096)
        return sluice_fail (err, SLUICE_EINPUT, "cores: %u are more than 4096", o->cores);
    if (!(o->node_wait >= 0) || o->node_wait > 1e9)
        return sluice_fail (err, SLUICE_EINPUT, "node_wait: %g is not a time",
                            o->node_wait);
    if (o->serial && (o->nnodes || o->no_local || o->cores))
        return sluice_fail (err, SLUICE_EINPUT, "serial uses neither nodes nor cores");
    return 0;
}

/* ---- making one -------------------------------------------------------------------- */

/* A path that stays what it is when the program goes elsewhere. */
static char *absolute (const char *path, sluice_error_t *err)
{
    char *real = realpath (path, NULL);
    if (!real)
        sluice_fail (err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
    return real;
}

static int copy_nodes (msg_map_t *map, const char *const *nodes, size_t n,
                       sluice_error_t *err)
{
    if (n > MSG_MAX_NODES)
        return sluice_fail (err, SLUICE_EINPUT, "more than %d nodes are named",
                            MSG_MAX_NODES);
    map->nodes = calloc (n + 1, sizeof *map->nodes);
    if (!map->nodes)
        return no_memory (err);
    for (size_t i = 0; i < n; i++) {
        if (!(map->nodes[i].endpoint = copy (nodes[i])))
            return no_memory (err);
        map->nnodes = i + 1;
    }
    return 0;
}

static int copy_options (sluice_client_t *self, const sluice_client_options_t *o,
                         sluice_error_t *err)
{
    msg_map_t *map = &self->map;
    map->no_local = o->no_local;
    map->no_network = o->no_network;
    map->serial = o->serial;
    map->confine = o->confine;
    map->cores = o->cores;
    map->window = o->window;
    map->outbox = o->outbox;
    map->memory = o->memory;
    map->node_wait = (uint64_t) ceil (o->node_wait * 1e3);
    if (!(map->folder = absolute (is_given (o->folder) ? o->folder : ".", err)) ||
        !(map->key = is_given (o->key) ? absolute (o->key, err) : copy ("")))
        return -1;
    if (o->log && !(self->log = strdup (o->log)))
        return no_memory (err);
    return copy_nodes (map, o->nodes, o->nnodes, err);
}

sluice_client_t *sluice_client_new (const sluice_client_options_t *options,
                                    sluice_error_t *err)
{
    static const sluice_client_options_t none;
    const sluice_client_options_t *o = options ? options : &none;
    sluice_error_t why = {0};
    sluice_client_t *self = calloc (1, sizeof *self);
    if (!self) {
        no_memory (err);
        return NULL;
    }
    if (check_numbers (o, &why) < 0 || copy_options (self, o, &why) < 0 ||
        check_log (self->log, &why) < 0 || check_share (self, o, &why) < 0 ||
        !(self->command = process_find (o->command, &why))) {
        sluice_client_destroy (&self);
        if (err)
            *err = why;
    }
    return self;
}

void sluice_client_destroy (sluice_client_t **self_p)
{
    sluice_client_t *self = *self_p;
    if (!self)
        return;
    msg_clear (&(msg_t){.type = MSG_MAP, .map = self->map});
    free (self->command);
    free (self->log);
    free (self->share);
    free (self);
    *self_p = NULL;
}

const char *sluice_client_share (const sluice_client_t *self)
{
    return self->share;
}

/* ---- what a map is to be -------------------------------------------------------------
 */

static int fill_params (msg_map_t *map, const sluice_map_options_t *o,
                        sluice_error_t *err)
{
    if (!(map->params = sluice_params_new ()))
        return no_memory (err);
    if (o->kernel && sluice_params_set (map->params, "kernel", o->kernel, 0, err) < 0)
        return -1;
    for (const char *const *p = o->params; p && *p; p += 2) {
        if (!p[1])
            return sluice_fail (err, SLUICE_EINPUT, "%s: a parameter without a value",
                                *p);
        if (sluice_params_get (map->params, *p))
            return sluice_fail (err, SLUICE_EINPUT, "%s: is given twice", *p);
        if (sluice_params_set (map->params, *p, p[1], 0, err) < 0)
            return -1;
    }
    if (!sluice_params_count (map->params))
        return sluice_fail (err, SLUICE_EINPUT, "no kernel: what is to be computed?");
    return 0;
}

int client_fill (const sluice_client_t *self, const sluice_map_options_t *o, msg_t *msg,
                 sluice_error_t *err)
{
    memset (msg, 0, sizeof *msg);
    msg->type = MSG_MAP;
    msg_map_t *map = &msg->map;
    *map = self->map;
    map->folder = map->key = NULL; /* not those: copies */
    map->nodes = NULL;
    map->nnodes = 0;
    map->pid = (uint32_t) getpid ();
    map->force = o->force;
    map->has_seed = o->has_seed;
    map->seed = o->seed;
    map->fail_fast = o->fail_fast;
    map->folder = copy (self->map.folder);
    map->key = copy (self->map.key);
    map->name = copy (o->name);
    map->output = copy (o->output);
    size_t n = self->map.nnodes;
    const char **nodes = calloc (n + 1, sizeof *nodes);
    for (size_t i = 0; nodes && i < n; i++)
        nodes[i] = self->map.nodes[i].endpoint;
    int rc = -1;
    if (!map->folder || !map->key || !map->name || !map->output || !nodes)
        no_memory (err);
    else if (strchr (map->name, '/'))
        sluice_fail (err, SLUICE_EINPUT, "name %s: has a '/' in it", map->name);
    else
        rc = copy_nodes (map, nodes, n, err) < 0 ? -1 : fill_params (map, o, err);
    free (nodes);
    if (rc < 0)
        msg_clear (msg);
    return rc;
}
