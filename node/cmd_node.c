/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* secure_getenv */
#include "node/cmd_node.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/emitter.h"
#include "node/agent.h"
#include "node/slots.h"

static const char help[] =
    "Usage: sluice node [OPTION]... [DIR]\n"
    "Offer this machine to the runs of a share, until stopped (Ctrl-C).\n"
    "DIR is the share, or a folder in it; default: the current folder.\n"
    "\n"
    "  --slots N          tasks at a time (default: the cores it may use)\n"
    "  --outbox SIZE      memory for results that wait to be fetched, such as 512M\n"
    "                     (default: an eighth of what is free, 64M to 1G)\n"
    "  --memory SIZE      the most that a worker may use\n"
    "  --ports A-B        use only these TCP ports\n"
    "  --interface IF     be reached through this network interface only\n"
    "  --key FILE         the cluster key (default: $SLUICE_KEY, then the share's)\n"
    "  --no-beacon        do not broadcast; the share tells masters about this node\n"
    "  --confine          keep workers from writing outside their scratch folder\n"
    "  --scratch DIR      where workers get their folders (default: $TMPDIR or /tmp)\n"
    "  --trace FILE       record every message, for: sluice trace FILE\n"
    "  --user NAME        work as this user (needed when started as root)\n"
    "  -h, --help         show this and end\n";

enum {
    OPT_SLOTS = 256,
    OPT_OUTBOX,
    OPT_MEMORY,
    OPT_PORTS,
    OPT_INTERFACE,
    OPT_KEY,
    OPT_NO_BEACON,
    OPT_CONFINE,
    OPT_SCRATCH,
    OPT_TRACE,
    OPT_USER,
    /* for an embedded node */
    OPT_EMBEDDED,
    OPT_READY,
    OPT_ENDPOINT
};

static const struct option options[] = {
    {"slots", required_argument, NULL, OPT_SLOTS},
    {"outbox", required_argument, NULL, OPT_OUTBOX},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"ports", required_argument, NULL, OPT_PORTS},
    {"interface", required_argument, NULL, OPT_INTERFACE},
    {"key", required_argument, NULL, OPT_KEY},
    {"no-beacon", no_argument, NULL, OPT_NO_BEACON},
    {"confine", no_argument, NULL, OPT_CONFINE},
    {"scratch", required_argument, NULL, OPT_SCRATCH},
    {"trace", required_argument, NULL, OPT_TRACE},
    {"user", required_argument, NULL, OPT_USER},
    {"help", no_argument, NULL, 'h'},
    {"embedded", required_argument, NULL, OPT_EMBEDDED},
    {"ready", required_argument, NULL, OPT_READY},
    {"endpoint", required_argument, NULL, OPT_ENDPOINT},
    {NULL, 0, NULL, 0}};

typedef struct {
    agent_options_t agent;
    const char *dir, *key, *user;
    bool help;
} args_t;

/* A whole number, perhaps with K, M, G or T (powers of 1024) behind it. */
static int parse_number (const char *name, const char *text, bool suffix, uint64_t most,
                         uint64_t *value, sluice_error_t *err)
{
    char *rest;
    errno = 0;
    unsigned long long n = strtoull (text, &rest, 10);
    bool good = *text >= '0' && *text <= '9' && errno == 0;
    if (suffix && good && *rest) {
        const char *letter = strchr ("KMGT", *rest);
        unsigned shift = letter ? 10 * (unsigned) (letter - "KMGT" + 1) : 0;
        good = letter && n <= UINT64_MAX >> shift;
        n <<= shift;
        rest++;
    }
    if (!good || *rest || n == 0 || n > most)
        return suffix
                   ? sluice_fail (err, SLUICE_EINPUT,
                                  "--%s %s: a size is needed, such as 512M", name, text)
                   : sluice_fail (err, SLUICE_EINPUT,
                                  "--%s %s: a number from 1 to %llu is needed", name,
                                  text, (unsigned long long) most);
    *value = n;
    return 0;
}

static int parse_small (const char *name, const char *text, unsigned most,
                        unsigned *value, sluice_error_t *err)
{
    uint64_t n;
    if (parse_number (name, text, false, most, &n, err) == -1)
        return -1;
    *value = (unsigned) n;
    return 0;
}

/* With room for less than two of the smallest pieces no run could be taken. */
static int parse_outbox (const char *text, uint64_t *outbox, sluice_error_t *err)
{
    uint64_t least = 2 * (uint64_t) segment_for (NULL, 0, err);
    if (parse_number ("outbox", text, true, UINT64_MAX, outbox, err) == -1)
        return -1;
    return *outbox >= least
               ? 0
               : sluice_fail (
                     err, SLUICE_EINPUT,
                     "--outbox %s: too little for any run; at least %llu is needed", text,
                     (unsigned long long) least);
}

static int parse_fd (const char *name, const char *text, int *fd, sluice_error_t *err)
{
    unsigned n;
    if (parse_small (name, text, 1 << 20, &n, err) == -1)
        return -1;
    *fd = (int) n;
    if (fcntl (*fd, F_SETFD, FD_CLOEXEC) == -1)
        return sluice_fail (err, SLUICE_EINPUT, "--%s %s: %s", name, text,
                            strerror (errno));
    return 0;
}

static int parse_ports (const char *text, agent_options_t *o, sluice_error_t *err)
{
    unsigned from, to;
    char rest;
    if (sscanf (text, "%u-%u%c", &from, &to, &rest) != 2 || from < 1 || from > to ||
        to > 65535)
        return sluice_fail (err, SLUICE_EINPUT,
                            "--ports %s: a range such as 5000-5020 is needed", text);
    if (to - from < 1)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "--ports %s: two ports are needed at least, one for control and one "
            "per run",
            text);
    o->port_from = from;
    o->port_to = to;
    return 0;
}

/* Option `c`, which stands as `text` on the command line. */
static int parse_option (args_t *args, int c, const char *text, sluice_error_t *err)
{
    agent_options_t *o = &args->agent;
    switch (c) {
    case OPT_SLOTS:
        return parse_small ("slots", optarg, SLOTS_MAX, &o->slots, err);
    case OPT_OUTBOX:
        return parse_outbox (text, &o->outbox, err);
    case OPT_MEMORY:
        return parse_number ("memory", optarg, true, UINT64_MAX, &o->memory, err);
    case OPT_PORTS:
        return parse_ports (optarg, o, err);
    case OPT_INTERFACE:
        o->interface = optarg;
        return 0;
    case OPT_KEY:
        args->key = optarg;
        return 0;
    case OPT_NO_BEACON:
        o->announce = false;
        return 0;
    case OPT_CONFINE:
        o->confine = true;
        return 0;
    case OPT_SCRATCH:
        o->scratch = optarg;
        return 0;
    case OPT_TRACE:
        o->trace = optarg;
        return 0;
    case OPT_USER:
        args->user = optarg;
        return 0;
    case 'h':
        args->help = true;
        return 0;
    case OPT_EMBEDDED:
        return parse_fd ("embedded", optarg, &o->lifetime_fd, err);
    case OPT_READY:
        return parse_fd ("ready", optarg, &o->ready_fd, err);
    case OPT_ENDPOINT:
        o->endpoint = optarg;
        return 0;
    default:
        return sluice_fail (err, SLUICE_EINPUT,
                            "'%s' is unknown, or lacks its value; see: sluice node "
                            "--help",
                            text);
    }
}

static int parse (int argc, char **argv, args_t *args, sluice_error_t *err)
{
    *args = (args_t){.agent = {.announce = true, .lifetime_fd = -1, .ready_fd = -1}};
    optind = 0;
    opterr = 0;
    int c;
    while ((c = getopt_long (argc, argv, "h", options, NULL)) != -1)
        if (parse_option (args, c, argv[optind - 1], err) == -1)
            return -1;
    if (optind < argc)
        args->dir = argv[optind++];
    if (optind < argc)
        return sluice_fail (err, SLUICE_EINPUT, "%s: one folder is enough", argv[optind]);
    const agent_options_t *o = &args->agent;
    if (!o->endpoint != (o->lifetime_fd < 0))
        return sluice_fail (err, SLUICE_EINPUT, "--embedded and --endpoint go together");
    return 0;
}

/* People's code is not to run as root unless that is what was asked for. */
static int become (const args_t *args, sluice_error_t *err)
{
    bool embedded = args->agent.lifetime_fd >= 0;
    if (!args->user) {
        if (geteuid () == 0 && !embedded)
            return sluice_fail (
                err, SLUICE_EINPUT,
                "as root it would run everybody's code as root: name a user with "
                "--user NAME (--user root if that is meant)");
        return 0;
    }
    const struct passwd *user = getpwnam (args->user);
    if (!user)
        return sluice_fail (err, SLUICE_EINPUT, "--user %s: there is no such user",
                            args->user);
    if (user->pw_uid == geteuid ())
        return 0;
    if (initgroups (user->pw_name, user->pw_gid) == -1 || setgid (user->pw_gid) == -1 ||
        setuid (user->pw_uid) == -1)
        return sluice_fail (err, SLUICE_EINPUT, "--user %s: %s", args->user,
                            strerror (errno));
    setenv ("HOME", user->pw_dir, 1);
    setenv ("USER", user->pw_name, 1);
    setenv ("LOGNAME", user->pw_name, 1);
    return 0;
}

static share_t *find_share (const args_t *args, sluice_error_t *err)
{
    const char *dir = args->dir ? args->dir : ".";
    if (args->agent.lifetime_fd >= 0)
        return args->dir ? share_open (dir, err) : share_new_open (err);
    share_t *share = share_find (dir, err);
    if (!share && err->code == SLUICE_OK)
        sluice_fail (
            err, SLUICE_EINPUT,
            "%s is not in a share; make one with `sluice init DIR' on a folder that all "
            "machines see",
            dir);
    return share;
}

static cluster_t *find_cluster (const args_t *args, const share_t *share,
                                sluice_error_t *err)
{
    const char *path = args->key;
    if (!path || !*path)
        path = secure_getenv ("SLUICE_KEY");
    if (!path || !*path)
        path = share_key_path (share);
    return cluster_new_from_file (path, err);
}

static int run (args_t *args, sluice_error_t *err)
{
    if (become (args, err) == -1)
        return -1;
    /* Not freed: a thread that hangs on the share may be left with it
     * until the process ends, which is next. */
    static share_t *share;
    cluster_t *cluster = NULL;
    share = find_share (args, err);
    if (!share)
        return -1;
    if (args->agent.lifetime_fd < 0) {
        cluster = find_cluster (args, share, err);
        if (!cluster)
            return -1;
    }
    args->agent.share = share;
    args->agent.cluster = cluster;
    args->agent.quiet = args->agent.lifetime_fd >= 0;
    int rc = agent_run (&args->agent, err);
    cluster_destroy (&cluster);
    return rc;
}

int cmd_node (int argc, char **argv)
{
    args_t args;
    sluice_error_t err = {0};
    if (parse (argc, argv, &args, &err) == 0) {
        if (args.help) {
            fputs (help, stdout);
            return 0;
        }
        if (run (&args, &err) == 0)
            return 0;
    }
    fprintf (stderr, "sluice node: %s\n", err.text);
    return sluice_exit_status (&err);
}
