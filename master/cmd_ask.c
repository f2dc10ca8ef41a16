/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* nodes: what is there. */

#include "master/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/survey.h"
#include "proto/json.h"

static const char HELP[] =
    "Usage: sluice nodes [DIR] [--key FILE] [--json]\n\n"
    "List the nodes of the share around DIR (default: this folder), how they\n"
    "were found (beacon or share), and what they do. --json: one object a line.\n";

enum { LOOK_MS = 3000 };

/* What a node does, in words: its answer is JSON. */
static void print_doing (const char *text)
{
    char run[9], owner[64], job[64];
    if (!json_is_sound (text)) {
        fputs ("its answer is not understood", stdout);
        return;
    }
    const char *at = json_first (json_member (text, "runs"));
    if (!at)
        fputs ("idle", stdout);
    else
        printf ("%u busy", (unsigned) json_count (json_member (text, "busy")));
    for (; at; at = json_after (at)) {
        json_string (json_member (at, "run"), run, sizeof run);
        json_string (json_member (at, "owner"), owner, sizeof owner);
        json_string (json_member (at, "job"), job, sizeof job);
        printf (", run %s (%s, %s)", run, job, owner);
    }
}

static void print_json (const found_t *node, const char *status)
{
    json_out_t out;
    json_begin (&out, 2 * MSG_MAX_TEXT);
    json_add (&out, "{\"host\":");
    json_add_text (&out, node->host);
    json_add (&out, ",\"endpoint\":");
    json_add_text (&out, node->endpoint);
    json_add (&out, ",\"slots\":%u,\"found\":\"%s\",\"status\":%s}", node->slots,
              node->by_beacon ? "beacon" : "share",
              status && json_is_sound (status) ? status : "null");
    char *text = json_end (&out);
    if (text)
        puts (text);
    free (text);
}

int cmd_nodes (int argc, char **argv)
{
    const char *key = NULL;
    bool json = false;
    int status = cmd_options (
        argc, argv, HELP,
        (cmd_option_t[]){{"key", .value = &key}, {"json", .flag = &json}, {0}});
    if (status >= 0)
        return status;
    if (optind + 1 < argc)
        return cmd_usage ("nodes", "one folder is enough: '%s' is one too many",
                          argv[optind + 1]);
    sluice_error_t err = {0};
    share_t *share = NULL;
    cluster_t *cluster = NULL;
    survey_t *survey = NULL;
    int answered = 0;
    status = 0;
    if (cmd_cluster (optind < argc ? argv[optind] : ".", key, &share, &cluster, &err) ||
        !(survey = survey_new (share, cluster, &err)) || survey_nodes (survey, &err)) {
        status = cmd_fail ("nodes", &err);
        goto done;
    }
    survey_wait (survey, LOOK_MS, false);
    for (size_t i = 0; i < survey_node_count (survey); i++) {
        const surveyed_node_t *node = survey_node (survey, i);
        answered += node->answer != NULL;
        if (json) {
            print_json (&node->found, node->answer);
            continue;
        }
        printf ("%-16s %-28s %3u slots  %s  ", node->found.host, node->found.endpoint,
                node->found.slots, node->found.by_beacon ? "beacon" : "share ");
        if (node->answer)
            print_doing (node->answer);
        puts (node->answer ? "" : "does not answer");
    }
    if (!answered) {
        sluice_fail (&err, SLUICE_ENONODES,
                     "no node answers; start some with: sluice node %s",
                     share_root (share));
        status = cmd_fail ("nodes", &err);
    }
done:
    survey_destroy (&survey);
    cluster_destroy (&cluster);
    share_destroy (&share);
    return status;
}
