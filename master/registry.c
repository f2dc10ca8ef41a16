/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "calc/jobfile.h"
#include "master/local.h"
#include "proto/within.h"

struct registry {
    char *mine;   /* path of the record for this machine; NULL: none */
    char *path;   /* of that in the share; NULL: none */
    char *folder; /* to be removed with it */
};

/* Is it a folder of this user's own, after making it if need be? Somebody else's
 * is not trusted. */
static bool make_private (const char *path)
{
    struct stat st;
    return (mkdir (path, 0700) == 0 || errno == EEXIST) && lstat (path, &st) == 0 &&
           S_ISDIR (st.st_mode) && st.st_uid == getuid () && !(st.st_mode & 077);
}

/* Where runs without a share are found: a folder of this user's own. Some
 * sessions (su, cron) name a run folder that is not there or another's. */
static char *private_folder (sluice_error_t *err)
{
    const char *base = getenv ("XDG_RUNTIME_DIR");
    char *path = NULL;
    if (base && *base) {
        if (asprintf (&path, "%s/sluice", base) < 0)
            path = NULL;
        else if (make_private (path))
            return path;
        free (path);
    }
    if (asprintf (&path, "/tmp/sluice-%u", (unsigned) getuid ()) < 0) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    if (make_private (path))
        return path;
    sluice_fail (err, SLUICE_ESYSTEM,
                 "cannot register the run: %s is not a folder for this user alone; set "
                 "XDG_RUNTIME_DIR to one that is",
                 path);
    free (path);
    return NULL;
}

/* The text of `name = TEXT` in a record. */
static const char *in_record (const sluice_params_t *p, const char *name)
{
    const char *text = p ? sluice_params_get (p, name) : NULL;
    return text ? text : "";
}

/* Does nobody listen at this Unix socket any more? */
static bool is_dead (const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (snprintf (at.sun_path, sizeof at.sun_path, "%s", path) >=
        (int) sizeof at.sun_path)
        return false;
    int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool dead = fd >= 0 && connect (fd, (struct sockaddr *) &at, sizeof at) &&
                (errno == ECONNREFUSED || errno == ENOENT);
    if (fd >= 0)
        close (fd);
    return dead;
}

/* Remove what runs of this machine left that were killed: the record, and the
 * folder of their sockets. */
static void forget_dead (const char *folder)
{
    char here[65] = "";
    gethostname (here, sizeof here - 1);
    DIR *dir = opendir (folder);
    for (struct dirent *e; dir && (e = readdir (dir)) != NULL;) {
        char *path = NULL;
        if (e->d_name[0] == '.' || asprintf (&path, "%s/%s", folder, e->d_name) < 0)
            continue;
        sluice_params_t *p = jobfile_read (path, NULL);
        const char *ipc = in_record (p, "ipc"), *end = strrchr (ipc, '/');
        if (strcmp (in_record (p, "host"), here) == 0 &&
            strncmp (ipc, "ipc:///", 7) == 0 && end > ipc + 7 && is_dead (ipc + 6)) {
            char *sockets = NULL;
            if (asprintf (&sockets, "%.*s", (int) (end - ipc - 6), ipc + 6) >= 0)
                local_folder_remove (&sockets);
            unlink (path);
        }
        sluice_params_destroy (&p);
        free (path);
    }
    if (dir)
        closedir (dir);
}

/* What others need to find this run. */
static int write_record (const char *path, const job_t *job, const char *tcp,
                         const char *ipc)
{
    char host[65] = "";
    gethostname (host, sizeof host - 1);
    int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen (fd, "w") : NULL;
    if (!f)
        return -1;
    fprintf (f,
             "run = %s\nowner = %s\nhost = %s\npid = %d\njob = %s\ntcp = %s\nipc = %s\n",
             job->run_name, job->owner, host, (int) getpid (), job->name, tcp, ipc);
    return fclose (f);
}

static int enter_here (registry_t *self, const job_t *job, const char *ipc,
                       sluice_error_t *err)
{
    char *folder = private_folder (err);
    if (!folder)
        return -1;
    forget_dead (folder);
    if (asprintf (&self->mine, "%s/%s", folder, job->run_name) < 0)
        self->mine = NULL;
    free (folder);
    return self->mine && write_record (self->mine, job, "", ipc) == 0
               ? 0
               : sluice_fail (err, SLUICE_ESYSTEM, "cannot register the run: %s",
                              strerror (errno));
}

static int enter_share (registry_t *self, const job_t *job, const char *tcp,
                        sluice_error_t *err)
{
    char relative[80];
    snprintf (relative, sizeof relative, ".sluice/runs/%s", job->run_name);
    if (share_mkdir (job->share, relative, err))
        return -1;
    if (asprintf (&self->folder, "%s/%s", share_root (job->share), relative) < 0) {
        self->folder = NULL;
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    if (asprintf (&self->path, "%s/master", self->folder) < 0) {
        self->path = NULL;
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    return write_record (self->path, job, tcp, "") == 0
               ? 0
               : sluice_fail (err, SLUICE_ESYSTEM, "cannot register the run: %s: %s",
                              self->path, strerror (errno));
}

registry_t *registry_enter (const job_t *job, const char *tcp, const char *ipc,
                            sluice_error_t *err)
{
    registry_t *self = calloc (1, sizeof *self);
    bool shared = share_confined (job->share);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    /* In a share, that will do. */
    if (enter_here (self, job, ipc, shared ? NULL : err) && !shared)
        registry_leave (&self);
    else if (shared && enter_share (self, job, tcp, err))
        registry_leave (&self);
    return self;
}

/* In the share, which may hang. */
static void leave_share (void *arg)
{
    registry_t *self = arg;
    if (self->path)
        unlink (self->path);
    rmdir (self->folder);
    free (self->path);
    free (self->folder);
    free (self);
}

void registry_leave (registry_t **self_p)
{
    registry_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    if (self->mine)
        unlink (self->mine);
    free (self->mine);
    if (!self->folder)
        free (self);
    else if (!call_within (REGISTRY_WAIT_MS, leave_share, self))
        fprintf (stderr,
                 "sluice: the share does not answer; its record of this run stays there "
                 "until: sluice cancel\n");
}

static bool read_record (const char *path, registered_t *out)
{
    sluice_params_t *p = jobfile_read (path, NULL);
    uint8_t bytes[RUN_BYTES];
    uint64_t pid = 0;
    char here[65] = "";
    memset (out, 0, sizeof *out);
    bool good =
        run_parse (in_record (p, "run"), bytes) &&
        snprintf (out->path, sizeof out->path, "%s", path) < (int) sizeof out->path;
    if (good) {
        const char *ipc = in_record (p, "ipc");
        gethostname (here, sizeof here - 1);
        bool mine = strcmp (in_record (p, "host"), here) == 0;
        out->local = mine && strncmp (ipc, "ipc:///", 7) == 0;
        if (out->local)
            out->dead = is_dead (ipc + 6);
        else if (mine && sluice_params_u64 (p, "pid", &pid, NULL) == 0 && pid > 0 &&
                 pid < INT_MAX)
            out->dead = kill ((pid_t) pid, 0) && errno == ESRCH;
        snprintf (out->run, sizeof out->run, "%s", in_record (p, "run"));
        snprintf (out->owner, sizeof out->owner, "%s", in_record (p, "owner"));
        snprintf (out->job, sizeof out->job, "%s", in_record (p, "job"));
        snprintf (out->host, sizeof out->host, "%s", in_record (p, "host"));
        snprintf (out->endpoint, sizeof out->endpoint, "%s",
                  out->local ? ipc : in_record (p, "tcp"));
    }
    sluice_params_destroy (&p);
    return good;
}

/* The folder of a dead run's sockets. A record in a share may say anything: only
 * what can be such a folder, and is this user's, is removed. */
static void remove_sockets (const char *ipc)
{
    char folder[256], own[32]; /* not the folder of records: private_folder */
    snprintf (own, sizeof own, "sluice-%u", (unsigned) getuid ());
    const char *base = getenv ("XDG_RUNTIME_DIR");
    const char *bases[] = {"/tmp", base && *base ? base : "/tmp"};
    const char *end = strrchr (ipc, '/');
    struct stat st;
    if (!end || end - ipc >= (int) sizeof folder)
        return;
    snprintf (folder, sizeof folder, "%.*s", (int) (end - ipc), ipc);
    for (int i = 0; i < 2; i++) {
        size_t n = strlen (bases[i]);
        const char *name = folder + n + 1;
        if (strncmp (folder, bases[i], n) || folder[n] != '/' ||
            strncmp (name, "sluice-", 7) || strchr (name, '/') ||
            strcmp (name, own) == 0 || lstat (folder, &st) || !S_ISDIR (st.st_mode) ||
            st.st_uid != getuid ())
            continue;
        char *copy = strdup (folder);
        local_folder_remove (&copy);
        return;
    }
}

void registry_forget (const registered_t *run)
{
    char path[sizeof run->path + 16], *end;
    if (run->local && run->dead)
        remove_sockets (run->endpoint + strlen ("ipc://"));
    if (!*run->path)
        return;
    unlink (run->path);
    char *folder = private_folder (NULL); /* the one for its own machine */
    if (folder &&
        snprintf (path, sizeof path, "%s/%s", folder, run->run) < (int) sizeof path)
        unlink (path);
    free (folder);
    snprintf (path, sizeof path, "%s", run->path);
    end = strrchr (path, '/');
    if (!end || strcmp (end, "/master") != 0)
        return;
    strcpy (end, "/inputs.h5"); /* in the folder of the run's own, in the share */
    unlink (path);
    *end = '\0';
    rmdir (path);
}

static size_t list_folder (const char *folder, const char *suffix, registered_t *runs,
                           size_t max)
{
    size_t n = 0;
    DIR *dir = opendir (folder);
    for (struct dirent *e; dir && n < max && (e = readdir (dir)) != NULL;) {
        char *path = NULL;
        if (e->d_name[0] == '.' ||
            asprintf (&path, "%s/%s%s", folder, e->d_name, suffix) < 0)
            continue;
        if (access (path, R_OK) == 0 && read_record (path, &runs[n]))
            n++;
        free (path);
    }
    if (dir)
        closedir (dir);
    return n;
}

typedef struct {
    char *folder;
    registered_t *runs;
    size_t n, max;
} listing_t;

static void list_share (void *arg)
{
    listing_t *listing = arg;
    listing->n = list_folder (listing->folder, "/master", listing->runs, listing->max);
}

/* The runs of a share; it may hang, and then what was made for it is the thread's. */
static size_t list_within (const share_t *share, registered_t *runs, size_t max,
                           bool *hangs)
{
    size_t n = 0;
    listing_t *listing = calloc (1, sizeof *listing);
    if (!listing)
        return 0;
    listing->max = max;
    listing->runs = calloc (max, sizeof *runs);
    if (asprintf (&listing->folder, "%s/.sluice/runs", share_root (share)) < 0)
        listing->folder = NULL;
    if (listing->runs && listing->folder) {
        if (!call_within (REGISTRY_WAIT_MS, list_share, listing)) {
            *hangs = true;
            return 0;
        }
        n = listing->n;
        memcpy (runs, listing->runs, n * sizeof *runs);
    }
    free (listing->runs);
    free (listing->folder);
    free (listing);
    return n;
}

size_t registry_list (const share_t *share, registered_t *runs, size_t max, bool *hangs)
{
    size_t n = share ? list_within (share, runs, max, hangs) : 0;
    char *folder = private_folder (NULL);
    size_t mine = folder ? list_folder (folder, "", runs + n, max - n) : 0, kept = n;
    free (folder);
    for (size_t i = n; i < n + mine; i++) {
        size_t k = 0;
        while (k < n && strcmp (runs[k].run, runs[i].run) != 0)
            k++;
        if (k == n) {
            runs[kept++] = runs[i];
        } else if (!runs[i].dead) { /* the same one, and nearer so */
            runs[k].local = true;
            memcpy (runs[k].endpoint, runs[i].endpoint, sizeof runs[k].endpoint);
        }
    }
    return kept;
}

char *registry_ask (const char *endpoint, const cluster_t *cluster, const uint8_t *server,
                    const msg_t *question, unsigned wait_ms, sluice_error_t *err)
{
    void *context = zmq_ctx_new ();
    void *socket = context ? zmq_socket (context, ZMQ_DEALER) : NULL;
    void *data = NULL;
    size_t n = 0;
    char *text = NULL;
    zmq_msg_t frame;
    zmq_msg_init (&frame);
    int linger = 0, wait = (int) wait_ms;
    int64_t most = MSG_MAX_BYTES;
    if (!socket || msg_encode (question, &data, &n, err))
        goto done;
    zmq_setsockopt (socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt (socket, ZMQ_RCVTIMEO, &wait, sizeof wait);
    zmq_setsockopt (socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    if (server && (!cluster ||
                   curve_connect_as (socket, cluster_member_pair (cluster), server, err)))
        goto done;
    if (zmq_connect (socket, endpoint) || zmq_send (socket, data, n, 0) < 0 ||
        zmq_msg_recv (&frame, socket, 0) < 0) {
        sluice_fail (err, SLUICE_ENONODES, "%s: no answer within %u ms", endpoint,
                     wait_ms);
        goto done;
    }
    msg_t reply;
    if (msg_decode (zmq_msg_data (&frame), zmq_msg_size (&frame), &reply, err))
        goto done;
    if (reply.type == MSG_REPLY)
        text = strdup (reply.text.text);
    else
        sluice_fail (err, SLUICE_EPROTO, "%s: answered with %s", endpoint,
                     msg_type_name (reply.type));
    msg_clear (&reply);
done:
    zmq_msg_close (&frame);
    free (data);
    if (socket)
        zmq_close (socket);
    if (context)
        zmq_ctx_term (context);
    return text;
}
