/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* explain: what a run, or a task of it, waits for. */

#include "master/cmd.h"

#include <inttypes.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/progress.h"
#include "master/survey.h"
#include "proto/json.h"

enum { ANSWER_MS = 3000, SHOWN_TASKS = 20, SHOWN_NODES = 20 };

static const char HELP[] =
    "Usage: sluice explain RUN [TASK] [--share DIR] [--key FILE] [--json]\n"
    "\n"
    "Say what everything in a run that waits is waiting for: items that no node has\n"
    "taken, tasks that run (where, for how long, how long is expected by that node's\n"
    "pace), results that wait for credit or for the writer, nodes that are opening\n"
    "their inputs or are silent. With TASK, what this task waits for.\n"
    "RUN is its id, or the first digits of it. --json prints all that its master\n"
    "said, as one object.\n";

static void print_task (const char *task)
{
    char where[32], host[65];
    double expected = json_number (json_member (task, "expected"));
    json_string (json_member (task, "where"), where, sizeof where);
    json_string (json_member (task, "host"), host, sizeof host);
    printf ("  task %-8" PRIu64 " %-10s items %" PRIu64 " to %" PRIu64
            ", at %s, for %.1f s",
            json_count (json_member (task, "task")), where,
            json_count (json_member (task, "first")),
            json_count (json_member (task, "stop")) - 1, *host ? host : "a node now gone",
            json_number (json_member (task, "seconds")));
    if (expected > 0)
        printf (", expected %.1f s", expected);
    uint64_t attempt = json_count (json_member (task, "attempt"));
    if (attempt > 1)
        printf (", attempt %" PRIu64, attempt);
    putchar ('\n');
}

static void print_node (const char *node)
{
    char host[65], endpoint[128], state[32], waits[200], held[16];
    json_string (json_member (node, "host"), host, sizeof host);
    json_string (json_member (node, "endpoint"), endpoint, sizeof endpoint);
    json_string (json_member (node, "state"), state, sizeof state);
    json_string (json_member (node, "waits"), waits, sizeof waits);
    human_bytes ((double) json_count (json_member (node, "held")), held);
    printf ("  %-16s %-13s %" PRIu64 " slots, %" PRIu64 " free, %s of results%s%s\n",
            *host ? host : endpoint, state, json_count (json_member (node, "slots")),
            json_count (json_member (node, "free")), held, *waits ? "; " : "", waits);
}

/* A list, its first `most`; `left_out` are those its master left out. */
static void print_list (const char *title, const char *list, size_t most,
                        uint64_t left_out, void (*print) (const char *element))
{
    size_t n = 0;
    for (const char *e = json_first (list); e; e = json_after (e), n++) {
        if (n == 0)
            puts (title);
        if (n < most)
            print (e);
    }
    if (n > most)
        left_out += n - most;
    if (left_out)
        printf ("  and %" PRIu64 " more\n", left_out);
}

static void print_waits (const char *answer, const char *prefix)
{
    char text[1300];
    bool any = false;
    for (const char *e = json_first (json_member (answer, "waits")); e;
         e = json_after (e)) {
        json_string (e, text, sizeof text);
        printf ("%s%s\n", prefix, text);
        any = true;
    }
    if (!any)
        printf ("%snothing waits\n", prefix);
}

static void print_one (const char *answer)
{
    char where[32];
    uint64_t task = json_count (json_member (answer, "task"));
    json_string (json_member (answer, "where"), where, sizeof where);
    if (strcmp (where, "running") == 0 || strcmp (where, "delivered") == 0)
        print_task (answer);
    else if (strcmp (where, "pending") == 0)
        printf ("  task %" PRIu64 " pending, items %" PRIu64 " to %" PRIu64 "\n", task,
                json_count (json_member (answer, "first")),
                json_count (json_member (answer, "stop")) - 1);
    else
        printf ("  task %" PRIu64 " is %s\n", task, where);
    print_waits (answer, "  waits ");
}

static void print_all (const char *answer)
{
    char owner[128], job[256];
    json_string (json_member (answer, "owner"), owner, sizeof owner);
    json_string (json_member (answer, "job"), job, sizeof job);
    printf ("%s, of %s, for %.0f s: %" PRIu64 " of %" PRIu64 " items done, %" PRIu64
            " failed, %" PRIu64 " running, %" PRIu64 " pending; %.1f MB/s\n",
            job, owner, json_number (json_member (answer, "seconds")),
            json_count (json_member (answer, "done")),
            json_count (json_member (answer, "items")),
            json_count (json_member (answer, "failed")),
            json_count (json_member (answer, "running")),
            json_count (json_member (answer, "pending")),
            json_number (json_member (answer, "mb_per_s")));
    print_waits (answer, "  ");
    print_list ("tasks that run or were delivered, the longest first:",
                json_member (answer, "tasks"), SHOWN_TASKS,
                json_count (json_member (answer, "tasks_left_out")), print_task);
    print_list ("nodes:", json_member (answer, "node_states"), SHOWN_NODES,
                json_count (json_member (answer, "nodes_left_out")), print_node);
}

/* The one run whose id begins with `prefix`. */
static int find (const survey_t *survey, const char *where, const char *prefix,
                 size_t *run, sluice_error_t *err)
{
    size_t hits = 0;
    for (size_t i = 0; i < survey_size (survey); i++)
        if (strncmp (survey_at (survey, i)->record.run, prefix, strlen (prefix)) == 0) {
            *run = i;
            hits++;
        }
    if (hits == 1)
        return 0;
    return cmd_no_run (prefix, hits, where, err);
}

static int explain (survey_t *survey, const char *where, const char *prefix,
                    const char *task, bool json, sluice_error_t *err)
{
    size_t i = 0;
    if (find (survey, where, prefix, &i, err))
        return -1;
    if (survey_ask (survey, i,
                    &(msg_t){.type = MSG_EXPLAIN, .text = {.text = (char *) task}}) == 0)
        survey_wait (survey, ANSWER_MS, true);
    const known_run_t *run = survey_at (survey, i);
    if (!run->answer)
        return sluice_fail (err, SLUICE_ENONODES,
                            "run %.8s: its master on %s %s; see: sluice runs",
                            run->record.run, run->record.host,
                            run->record.dead        ? "has died"
                            : *run->record.endpoint ? "does not answer"
                                                    : "can be asked there only");
    if (!json_is_sound (run->answer))
        return sluice_fail (err, SLUICE_EPROTO, "run %.8s: its master said: %.200s",
                            run->record.run, run->answer);
    if (json) {
        puts (run->answer);
        return 0;
    }
    printf ("run %.8s: ", run->record.run);
    if (*task) {
        puts (run->record.job);
        print_one (run->answer);
    } else {
        print_all (run->answer);
    }
    return 0;
}

int cmd_explain (int argc, char **argv)
{
    const char *key = NULL, *where = ".";
    bool json = false;
    int status = cmd_options (argc, argv, HELP,
                              (cmd_option_t[]){{"key", .value = &key},
                                               {"share", .value = &where},
                                               {"json", .flag = &json},
                                               {0}});
    if (status >= 0)
        return status;
    const char *run = optind < argc ? argv[optind] : "";
    const char *task = optind + 1 < argc ? argv[optind + 1] : "";
    uint64_t number;
    if (!*run || strspn (run, "0123456789abcdef") != strlen (run))
        return cmd_usage ("explain", "which run? Give the first digits of its id");
    if (optind + 2 < argc || (*task && !cmd_number (task, &number)))
        return cmd_usage ("explain", "'%s' is not the number of a task",
                          argv[optind + 2 < argc ? optind + 2 : optind + 1]);
    sluice_error_t err = {0}, none = {0};
    share_t *share = NULL;
    cluster_t *cluster = NULL;
    if (cmd_cluster (where, key, &share, &cluster, &none))
        cmd_only_here ("explain", &none);
    survey_t *survey = survey_new (share, cluster, &err);
    status = 0;
    if (!survey || explain (survey, where, run, task, json, &err))
        status = cmd_fail ("explain", &err);
    survey_destroy (&survey);
    cluster_destroy (&cluster);
    share_destroy (&share);
    return status;
}
