/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* nodes and cancel: what is there, and stopping what runs. */

#include "master/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "master/registry.h"
#include "master/roster.h"

enum { LOOK_MS = 2500, ANSWER_MS = 2000, MAX_SHOWN = 1024, MAX_RUNS = 256 };

static int64_t now_ms (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The share around `where` and its cluster. `key` may be NULL. */
static int find_cluster (const char *where, const char *key, share_t **share,
                         cluster_t **cluster, sluice_error_t *err)
{
    *share = share_find (where, err);
    if (!*share)
        return err->code != SLUICE_OK
                   ? -1
                   : sluice_fail (
                         err, SLUICE_EINPUT,
                         "%s: no share here or above; make one with: sluice init DIR",
                         where);
    if (!key)
        key = getenv ("SLUICE_KEY");
    *cluster = cluster_new_from_file (key && *key ? key : share_key_path (*share), err);
    if (*cluster)
        return 0;
    share_destroy (share);
    return -1;
}

/* Collect what is seen within LOOK_MS, each node once. */
static size_t look (roster_t *roster, found_t *seen)
{
    size_t n = 0;
    for (int64_t end = now_ms () + LOOK_MS, left; (left = end - now_ms ()) > 0;) {
        zmq_pollitem_t item = {.socket = roster_socket (roster), .events = ZMQ_POLLIN};
        zmq_poll (&item, 1, (long) left);
        found_t found;
        while (roster_next (roster, &found)) {
            size_t i = 0;
            while (i < n && memcmp (seen[i].uuid, found.uuid, sizeof found.uuid))
                i++;
            if (i < MAX_SHOWN)
                seen[i] = found;
            if (i == n && n < MAX_SHOWN)
                n++;
        }
    }
    return n;
}

/* The string that follows `name` in a node's answer, at most `size` - 1 bytes of it. */
static const char *said (const char *text, const char *name, char *out, size_t size)
{
    const char *at = strstr (text, name);
    at = at ? at + strlen (name) : "";
    size_t n = strcspn (at, "\"");
    snprintf (out, size, "%.*s", (int) (n < size ? n : size - 1), at);
    return at;
}

/* What a node does, in words: its answer is JSON. */
static void print_doing (const char *text)
{
    char busy[12], run[9], owner[64], job[64];
    const char *at = strstr (text, "\"busy\": ");
    snprintf (busy, sizeof busy, "%u", at ? (unsigned) strtoul (at + 8, NULL, 10) : 0);
    at = strstr (text, "\"runs\": [");
    if (!at || !strstr (at, "\"run\": \""))
        fputs ("idle", stdout);
    else
        printf ("%s busy", busy);
    while (at && (at = strstr (at, "{\"run\": \""))) {
        at = said (at, "\"run\": \"", run, sizeof run);
        at = said (at, "\"owner\": \"", owner, sizeof owner);
        at = said (at, "\"job\": \"", job, sizeof job);
        printf (", run %s (%s, %s)", run, job, owner);
    }
}

int cmd_nodes (int argc, char **argv)
{
    static const struct option options[] = {{"key", required_argument, NULL, 'k'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *key = NULL;
    bool json = false;
    int option;
    optind = 1;
    opterr = 0; /* the one line is ours */
    while ((option = getopt_long (argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs ("Usage: sluice nodes [DIR] [--key FILE] [--json]\n\n"
                   "List the nodes of the share around DIR (default: this folder), how "
                   "they\n"
                   "were found (beacon or share), and what they do. --json: one object a "
                   "line.\n",
                   stdout);
            return 0;
        }
        if (option == 'k')
            key = optarg;
        else if (option == 'j')
            json = true;
        else
            return cmd_bad_option ("nodes", argv);
    }
    sluice_error_t err = {0};
    share_t *share = NULL;
    cluster_t *cluster = NULL;
    roster_t *roster = NULL;
    int answered = 0, status = 0;
    found_t *seen = calloc (MAX_SHOWN, sizeof *seen);
    if (!seen ||
        find_cluster (optind < argc ? argv[optind] : ".", key, &share, &cluster, &err) ||
        !(roster = roster_new (share, cluster, &err))) {
        status = cmd_fail ("nodes", &err);
        goto done;
    }
    size_t n = look (roster, seen);
    for (size_t i = 0; i < n; i++) {
        msg_t question = {.type = MSG_STATUS, .text = {.text = ""}};
        sluice_error_t why = {0};
        char *text = registry_ask (seen[i].endpoint, cluster,
                                   cluster_node_pair (cluster)->public_key, &question,
                                   ANSWER_MS, &why);
        answered += text != NULL;
        if (json && text)
            puts (text);
        else if (!json) {
            printf ("%-16s %-28s %3u slots  %s  ", seen[i].host, seen[i].endpoint,
                    seen[i].slots, seen[i].by_beacon ? "beacon" : "share ");
            if (text)
                print_doing (text);
            puts (text ? "" : "does not answer");
        }
        free (text);
    }
    if (!answered) {
        sluice_fail (&err, SLUICE_ENONODES,
                     "no node answers; start some with: sluice node %s",
                     share_root (share));
        status = cmd_fail ("nodes", &err);
    }
done:
    roster_destroy (&roster);
    cluster_destroy (&cluster);
    share_destroy (&share);
    free (seen);
    return status;
}

/* The one run whose id begins with `prefix`. */
static int find_run (const share_t *share, const char *where, const char *prefix,
                     registered_t *out, sluice_error_t *err)
{
    registered_t *runs = calloc (MAX_RUNS, sizeof *runs);
    size_t n = runs ? registry_list (share, runs, MAX_RUNS) : 0, hits = 0;
    for (size_t i = 0; i < n; i++)
        if (strncmp (runs[i].run, prefix, strlen (prefix)) == 0 && hits++ == 0)
            *out = runs[i];
    free (runs);
    if (hits == 1)
        return 0;
    return sluice_fail (err, SLUICE_EINPUT,
                        hits ? "%s: more than one run begins so"
                             : "%s: no such run is going on in the share around "
                               "%s, nor on this machine; name its share with --share",
                        prefix, strcmp (where, ".") ? where : "this folder");
}

int cmd_cancel (int argc, char **argv)
{
    static const struct option options[] = {{"key", required_argument, NULL, 'k'},
                                            {"share", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *key = NULL, *where = ".";
    int option;
    optind = 1;
    opterr = 0; /* the one line is ours */
    while ((option = getopt_long (argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs ("Usage: sluice cancel RUN [--share DIR] [--key FILE]\n\n"
                   "Stop a run, from any host of its share. RUN is its id, or the first "
                   "digits\n"
                   "of it. Its workers are gone within two seconds; its file stays "
                   "readable\n"
                   "and holds what was done.\n",
                   stdout);
            return 0;
        }
        if (option == 'k')
            key = optarg;
        else if (option == 's')
            where = optarg;
        else
            return cmd_bad_option ("cancel", argv);
    }
    if (optind + 1 != argc ||
        strspn (argv[optind], "0123456789abcdef") != strlen (argv[optind]) ||
        !*argv[optind])
        return cmd_usage ("cancel", "which run? Give the first digits of its id");
    sluice_error_t err = {0}, none = {0};
    share_t *share = NULL;
    cluster_t *cluster = NULL;
    registered_t run = {0};
    char *text = NULL;
    int status = 0;
    if (find_cluster (where, key, &share, &cluster, &none))
        share = NULL; /* then only runs of this machine are known */
    if (find_run (share, where, argv[optind], &run, &err) == 0) {
        msg_t question = {.type = MSG_CANCEL, .tasks = {.all = true}};
        run_parse (run.run, question.run);
        text = registry_ask (run.endpoint, cluster,
                             run.local ? NULL : cluster_master_pair (cluster)->public_key,
                             &question, ANSWER_MS, &err);
    }
    if (text)
        printf ("run %.8s (%s, %s): %s\n", run.run, run.job, run.owner, text);
    else
        status = cmd_fail ("cancel", &err);
    free (text);
    cluster_destroy (&cluster);
    share_destroy (&share);
    return status;
}
