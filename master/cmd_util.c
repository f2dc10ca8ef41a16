/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/within.h"
#include "sluice/params.h"

/* A share that is there answers within this, be it busy. */
enum { SHARE_WAIT_MS = 5000 };

int cmd_fail (const char *name, const sluice_error_t *err)
{
    fprintf (stderr, "sluice %s: %s\n", name, err->text);
    return sluice_exit_status (err);
}

int cmd_usage (const char *name, const char *format, ...)
{
    va_list args;
    va_start (args, format);
    fprintf (stderr, "sluice %s: ", name);
    vfprintf (stderr, format, args);
    fprintf (stderr, "; see: sluice %s --help\n", name);
    va_end (args);
    return SLUICE_EINPUT;
}

int cmd_bad_option (const char *name, char **argv)
{
    return cmd_usage (name, "'%s' is unknown, or lacks its value", argv[optind - 1]);
}

enum { MAX_OPTIONS = 8 };

int cmd_options (int argc, char **argv, const char *help, const cmd_option_t *options)
{
    struct option known[MAX_OPTIONS + 2] = {{"help", no_argument, NULL, 'h'}};
    char letters[2 * MAX_OPTIONS + 2] = "h", *end = letters + 1;
    for (int i = 0; options[i].name; i++) {
        const cmd_option_t *o = &options[i];
        known[i + 1] =
            (struct option){o->name, o->value ? required_argument : no_argument, NULL,
                            o->letter ? o->letter : 256 + i};
        if (o->letter)
            end += sprintf (end, "%c%s", o->letter, o->value ? ":" : "");
    }
    optind = 1;
    opterr = 0; /* the one line is ours */
    for (int got, i; (got = getopt_long (argc, argv, letters, known, &i)) != -1;) {
        if (got == 'h') {
            fputs (help, stdout);
            return 0;
        }
        if (got == '?')
            return cmd_bad_option (argv[0], argv);
        for (i = 0; options[i].letter != got && 256 + i != got; i++)
            ;
        if (options[i].value)
            *options[i].value = optarg;
        else
            *options[i].flag = true;
    }
    return -1;
}

/* The parsers of job files serve the command line too. */
static bool parse (const char *text, uint64_t *value, bool size)
{
    sluice_params_t *p = sluice_params_new ();
    bool good = p && text && *text && sluice_params_set (p, "x", text, 0, NULL) == 0 &&
                (size ? sluice_params_size (p, "x", value, NULL)
                      : sluice_params_u64 (p, "x", value, NULL)) == 0;
    sluice_params_destroy (&p);
    return good;
}

bool cmd_size (const char *text, uint64_t *size)
{
    return parse (text, size, true) && *size > 0;
}

bool cmd_number (const char *text, uint64_t *number)
{
    return parse (text, number, false);
}

bool cmd_seconds (const char *text, double *seconds)
{
    char *end;
    *seconds = strtod (text, &end);
    double unit = *end == 'm' ? 60 : *end == 'h' ? 3600 : 1;
    if (*end && strchr ("smh", *end))
        end++;
    *seconds *= unit;
    return end > text && *end == '\0' && isfinite (*seconds) && *seconds > 0;
}

int cmd_open (const char *path, sluice_error_t *err)
{
    struct stat st;
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && fstat (fd, &st) == 0 && S_ISREG (st.st_mode))
        return fd;
    sluice_fail (err, SLUICE_EINPUT, "%s: %s", path,
                 fd < 0 ? strerror (errno) : "is not a plain file");
    if (fd >= 0)
        close (fd);
    return -1;
}

/* What cmd_cluster asks of the share, which may hang. */
typedef struct {
    char *where, *key;
    share_t *share;
    cluster_t *cluster;
    sluice_error_t err;
} finding_t;

static void find_cluster (void *arg)
{
    finding_t *f = arg;
    f->share = share_find (f->where, &f->err);
    if (!f->share && f->err.code == SLUICE_OK)
        sluice_fail (&f->err, SLUICE_EINPUT,
                     "%s: no share here or above; make one with: sluice init DIR",
                     f->where);
    if (f->share)
        f->cluster =
            cluster_new_from_file (f->key ? f->key : share_key_path (f->share), &f->err);
}

int cmd_cluster (const char *where, const char *key, share_t **share, cluster_t **cluster,
                 sluice_error_t *err)
{
    *share = NULL;
    *cluster = NULL;
    if (!key)
        key = getenv ("SLUICE_KEY");
    finding_t *f = calloc (1, sizeof *f);
    if (f) {
        f->where = strdup (where);
        f->key = key && *key ? strdup (key) : NULL;
    }
    if (!f || !f->where || (key && *key && !f->key))
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (!call_within (SHARE_WAIT_MS, find_cluster, f))
        return sluice_fail (err, SLUICE_ESYSTEM,
                            "the share around %s does not answer within %d s; is its "
                            "file server up?",
                            where, SHARE_WAIT_MS / 1000);
    *share = f->share;
    *cluster = f->cluster;
    if (!f->cluster) {
        share_destroy (share);
        *err = f->err;
    }
    int rc = f->cluster ? 0 : -1;
    free (f->where);
    free (f->key);
    free (f);
    return rc;
}

void cmd_only_here (const char *name, const sluice_error_t *err)
{
    if (err->code == SLUICE_ESYSTEM)
        fprintf (stderr, "sluice %s: %s Only runs of this machine are known.\n", name,
                 err->text);
}

int cmd_no_run (const char *prefix, size_t hits, const char *where, sluice_error_t *err)
{
    return sluice_fail (err, SLUICE_EINPUT,
                        hits ? "%s: more than one run begins so"
                             : "%s: no such run is going on in the share around %s, nor "
                               "outside all shares on this machine; if it is in another "
                               "share, name that with --share",
                        prefix, strcmp (where, ".") ? where : "this folder");
}

bool cmd_endpoint (const char *text)
{
    const char *colon = strrchr (text, ':');
    uint64_t port;
    return strncmp (text, "tcp://", 6) == 0 && colon > text + 6 && strlen (text) < 120 &&
           cmd_number (colon + 1, &port) && port >= 1 && port <= 65535;
}
