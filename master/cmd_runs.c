/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* runs: what goes on in the share and on this machine. */

#include "master/cmd.h"

#include <inttypes.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "master/survey.h"
#include "proto/json.h"

/* Nodes announce themselves each second; a master answers in its next turn. */
enum { LOOK_MS = 1500 };

static const char HELP[] =
    "Usage: sluice runs [DIR] [--key FILE] [--json]\n"
    "\n"
    "List the runs that go on in the share around DIR (default: this folder), and those\n"
    "without a share on this machine: id, owner, job, items done, MB/s of late, nodes,\n"
    "since when, and what they wait for. A run whose master has died is shown as such, "
    "with the nodes\n"
    "that still have it; sluice cancel ends it. With --json, one object per line.\n";

typedef enum { GOES_ON, NO_ANSWER, DEAD, NODES_ONLY, ELSEWHERE } state_t;

static state_t state_of (const known_run_t *run)
{
    if (json_is_sound (run->answer))
        return GOES_ON;
    if (!run->registered)
        return NODES_ONLY;
    if (run->record.dead)
        return DEAD;
    return *run->record.endpoint ? NO_ANSWER : ELSEWHERE;
}

/* What is not right with it, in words; "" nothing. */
static const char *trouble (const known_run_t *run, state_t state, char *out, size_t size)
{
    const char *at = run->nodes ? run->at : "no node";
    *out = '\0';
    if (state == DEAD)
        snprintf (out, size, "its master has died; still at %s", at);
    else if (state == NO_ANSWER)
        snprintf (out, size, "its master does not answer (dead? on %s); still at %s",
                  run->record.host, at);
    else if (state == NODES_ONLY)
        snprintf (out, size, "no master is registered; known at %s", at);
    else if (state == ELSEWHERE)
        snprintf (out, size, "on %s alone, which only that machine can ask",
                  run->record.host);
    return out;
}

/* "14:05", or "Mar 03 14:05" if it is not of today. */
static const char *clock_text (time_t since, char out[32])
{
    struct tm then, today;
    time_t now = time (NULL);
    localtime_r (&since, &then);
    localtime_r (&now, &today);
    bool same = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year;
    strftime (out, 32, same ? "%H:%M" : "%b %d %H:%M", &then);
    return out;
}

static void print_run (const known_run_t *run)
{
    const char *a = run->answer;
    state_t state = state_of (run);
    char items[48] = "?", rate[24] = "?", nodes[16] = "?", since[32] = "?", waits[400];
    if (state == GOES_ON) {
        snprintf (items, sizeof items, "%" PRIu64 "/%" PRIu64,
                  json_count (json_member (a, "done")),
                  json_count (json_member (a, "items")));
        snprintf (rate, sizeof rate, "%.1f", json_number (json_member (a, "mb_per_s")));
        snprintf (nodes, sizeof nodes, "%" PRIu64, json_count (json_member (a, "nodes")));
        clock_text ((time_t) json_count (json_member (a, "since")), since);
        json_string (json_member (a, "waiting"), waits, sizeof waits);
    } else {
        trouble (run, state, waits, sizeof waits);
    }
    printf ("%-8.8s  %-16s  %-20s  %15s  %7s  %5s  %-6s  %s\n", run->record.run,
            run->record.owner, run->record.job, items, rate, nodes, since, waits);
}

static void print_json (const known_run_t *run)
{
    static const char *const names[] = {"running", "no answer", "dead", "nodes only",
                                        "elsewhere"};
    state_t state = state_of (run);
    char waits[400];
    json_out_t out;
    json_begin (&out, 1 << 20);
    json_add (&out, "{\"run\":\"%s\",\"owner\":", run->record.run);
    json_add_text (&out, run->record.owner);
    json_add (&out, ",\"job\":");
    json_add_text (&out, run->record.job);
    json_add (&out, ",\"host\":");
    json_add_text (&out, run->record.host);
    json_add (&out, ",\"state\":\"%s\",\"trouble\":", names[state]);
    json_add_text (&out, trouble (run, state, waits, sizeof waits));
    json_add (&out, ",\"at\":");
    json_add_text (&out, run->at);
    json_add (&out, ",\"status\":%s}", state == GOES_ON ? run->answer : "null");
    char *text = json_end (&out);
    if (text)
        puts (text);
    free (text);
}

static void list (survey_t *survey, const share_t *share, bool json)
{
    for (size_t i = 0; i < survey_size (survey); i++)
        survey_ask (survey, i,
                    &(msg_t){.type = MSG_STATUS, .text = {.text = (char *) ""}});
    /* Without nodes to look for, answers are all there is to wait for. */
    bool early = survey_nodes (survey, NULL) != 0;
    survey_wait (survey, LOOK_MS, early);
    if (!json && survey_size (survey) == 0)
        printf ("no run is going on in %s, nor outside all shares on this machine\n",
                share ? share_root (share) : "a share around this folder");
    else if (!json)
        printf ("%-8s  %-16s  %-20s  %15s  %7s  %5s  %-6s  %s\n", "RUN", "OWNER", "JOB",
                "ITEMS", "MB/S", "NODES", "SINCE", "WAITS FOR");
    for (size_t i = 0; i < survey_size (survey); i++)
        (json ? print_json : print_run) (survey_at (survey, i));
}

int cmd_runs (int argc, char **argv)
{
    const char *key = NULL;
    bool json = false;
    int status = cmd_options (
        argc, argv, HELP,
        (cmd_option_t[]){{"key", .value = &key}, {"json", .flag = &json}, {0}});
    if (status >= 0)
        return status;
    if (optind + 1 < argc)
        return cmd_usage ("runs", "one folder is enough: '%s' is one too many",
                          argv[optind + 1]);
    sluice_error_t err = {0};
    share_t *share = NULL;
    cluster_t *cluster = NULL;
    /* Without a share runs of this machine are known; one that was named must be. */
    if (cmd_cluster (optind < argc ? argv[optind] : ".", key, &share, &cluster, &err)) {
        if ((optind < argc || key) && err.code != SLUICE_ESYSTEM)
            return cmd_fail ("runs", &err);
        cmd_only_here ("runs", &err);
    }
    err.code = SLUICE_OK;
    survey_t *survey = survey_new (share, cluster, &err);
    if (survey)
        list (survey, share, json);
    status = survey ? 0 : cmd_fail ("runs", &err);
    survey_destroy (&survey);
    cluster_destroy (&cluster);
    share_destroy (&share);
    return status;
}
