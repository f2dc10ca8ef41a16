/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* cancel: end runs, or some tasks of one, from any host. */

#include "master/cmd.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/survey.h"
#include "proto/json.h"

enum {
    GRACE_MS = 400, /* a master that lives answers in its next turn; after this the
                       nodes are asked to end its run, so that it is gone within 2 s */
    LOOK_MS = 1100, /* nodes announce themselves each second */
    LAST_MS = 200,  /* for the answers of nodes that were found last */
    TASKS_MS = 2000
};

static const char HELP[] =
    "Usage: sluice cancel RUN [TASK]... [--share DIR] [--key FILE]\n"
    "       sluice cancel --all-mine [--share DIR] [--key FILE]\n"
    "\n"
    "Stop a run, from any host of its share. RUN is its id, or the first digits of it.\n"
    "Its workers are gone within two seconds; its file stays readable and holds what\n"
    "was done. If its master has died, its nodes are told, and its record is removed.\n"
    "\n"
    "With TASKs (numbers, as sluice explain names them) only these are stopped: their\n"
    "items are failed for good, the run goes on and ends with exit status 1.\n"
    "\n"
    "  --all-mine      all runs of this user, in the share and on this machine\n"
    "  --share DIR     the share (default: the one around this folder)\n"
    "  --key FILE      the cluster key, if not in the share\n"
    "\n"
    "Exit status: 0 all that was named is cancelled; 1 some tasks were not running;\n"
    "2 no such run, bad usage; 3 the master of the tasks' run does not answer.\n";

typedef struct {
    const char *prefix; /* NULL: all of `user` */
    const char *where;  /* for messages */
    char user[128];
} wanted_t;

static bool is_wanted (const wanted_t *self, const registered_t *run)
{
    if (self->prefix)
        return strncmp (run->run, self->prefix, strlen (self->prefix)) == 0;
    size_t n = strlen (self->user);
    return strncmp (run->owner, self->user, n) == 0 && run->owner[n] == '@';
}

/* How many runs are wanted; the last one of them in *run. */
static size_t count_wanted (const survey_t *survey, const wanted_t *wanted, size_t *run)
{
    size_t n = 0;
    for (size_t i = 0; i < survey_size (survey); i++)
        if (is_wanted (wanted, &survey_at (survey, i)->record)) {
            *run = i;
            n++;
        }
    return n;
}

/* ---- whole runs -------------------------------------------------------------- */

/* Tell nodes of those whose master did not answer. True: there are some. */
static bool end_silent (survey_t *survey, const wanted_t *wanted)
{
    bool any = false;
    for (size_t i = 0; i < survey_size (survey); i++) {
        const known_run_t *run = survey_at (survey, i);
        if (!is_wanted (wanted, &run->record) || run->answer)
            continue;
        survey_end (survey, i);
        any = true;
    }
    return any;
}

/* Say what became of a run, and forget it if its master does not answer. False: it
 * could not be ended from here. */
static bool report (const known_run_t *run)
{
    const registered_t *r = &run->record;
    printf ("run %.8s (%s, %s): ", r->run, r->job, r->owner);
    if (run->answer) {
        puts (run->answer);
        return true;
    }
    if (run->registered && !*r->endpoint && run->nodes == 0) {
        printf ("it is on %s alone; cancel it there\n", r->host);
        return false;
    }
    if (run->registered && !r->dead && run->nodes == 0) {
        /* Perhaps it lives and we are no members: its record is not ours to remove. */
        puts ("its master does not answer, and no node has it; nothing was done");
        return false;
    }
    if (run->registered)
        registry_forget (r);
    printf ("its master %s; ended at %u of %u node%s that had it%s\n",
            !run->registered ? "is not registered"
            : r->dead        ? "has died"
                             : "does not answer",
            run->ended, run->nodes, run->nodes == 1 ? "" : "s",
            run->registered ? "; its record is removed" : "");
    return run->ended == run->nodes;
}

static int cancel_runs (survey_t *survey, const wanted_t *wanted, sluice_error_t *err)
{
    size_t one = 0, known = count_wanted (survey, wanted, &one);
    if (wanted->prefix && known > 1)
        return cmd_no_run (wanted->prefix, known, wanted->where, err);
    for (size_t i = 0; i < survey_size (survey); i++)
        if (is_wanted (wanted, &survey_at (survey, i)->record))
            survey_ask (survey, i, &(msg_t){.type = MSG_CANCEL, .tasks = {.all = true}});
    survey_wait (survey, GRACE_MS, true);
    /* Some masters are silent, or there are runs that only nodes know. */
    bool silent = known > 0 && end_silent (survey, wanted);
    if ((silent || known == 0 || !wanted->prefix) && survey_nodes (survey, NULL) == 0) {
        survey_wait (survey, LOOK_MS, false);
        if (wanted->prefix && known == 0 &&
            (known = count_wanted (survey, wanted, &one)) != 1)
            return cmd_no_run (wanted->prefix, known, wanted->where, err);
        if (end_silent (survey, wanted))
            survey_wait (survey, LAST_MS, true);
    }
    bool good = true;
    known = count_wanted (survey, wanted, &one);
    for (size_t i = 0; i < survey_size (survey); i++)
        if (is_wanted (wanted, &survey_at (survey, i)->record))
            good &= report (survey_at (survey, i));
    if (known == 0 && wanted->prefix)
        return cmd_no_run (wanted->prefix, 0, wanted->where, err);
    if (known == 0)
        printf (
            "no run of %s is going on in the share around %s, nor outside all shares on "
            "this machine\n",
            wanted->user, strcmp (wanted->where, ".") ? wanted->where : "this folder");
    if (!good)
        return sluice_fail (err, SLUICE_ENONODES, "not all of it could be ended");
    return 0;
}

/* ---- tasks -------------------------------------------------------------------- */

/* What the master said of one task. True: it was cancelled. */
static bool report_task (const char *task)
{
    char where[32], host[65], other[65];
    uint64_t first = json_count (json_member (task, "first"));
    uint64_t stop = json_count (json_member (task, "stop"));
    bool cancelled = json_is_true (json_member (task, "cancelled"));
    json_string (json_member (task, "where"), where, sizeof where);
    json_string (json_member (task, "host"), host, sizeof host);
    json_string (json_member (task, "other_host"), other, sizeof other);
    printf ("task %" PRIu64 ": ", json_count (json_member (task, "task")));
    if (cancelled)
        printf ("cancelled; items %" PRIu64 " to %" PRIu64 " are failed%s%s%s%s\n", first,
                stop - 1, *host ? "; it was at " : "", host, *other ? " and " : "",
                other);
    else if (strcmp (where, "delivered") == 0)
        puts ("not cancelled: its result is with the writer already");
    else
        printf ("not cancelled: it is %s\n", where);
    return cancelled;
}

static int cancel_tasks (survey_t *survey, const wanted_t *wanted, task_t *tasks,
                         size_t n, sluice_error_t *err)
{
    size_t run = 0, known = count_wanted (survey, wanted, &run);
    if (known != 1)
        return cmd_no_run (wanted->prefix, known, wanted->where, err);
    survey_ask (survey, run,
                &(msg_t){.type = MSG_CANCEL, .tasks = {.ntasks = n, .tasks = tasks}});
    survey_wait (survey, TASKS_MS, true);
    const known_run_t *k = survey_at (survey, run);
    if (!k->answer)
        return sluice_fail (err, SLUICE_ENONODES,
                            "run %.8s: its master does not answer; sluice cancel %.8s "
                            "ends all of it",
                            k->record.run, k->record.run);
    if (!json_is_sound (k->answer))
        return sluice_fail (err, SLUICE_EPROTO, "its master said: %.200s", k->answer);
    size_t cancelled = 0;
    for (const char *task = json_first (json_member (k->answer, "tasks")); task;
         task = json_after (task))
        cancelled += report_task (task);
    if (cancelled < n)
        return sluice_fail (err, SLUICE_EFAILED, "%zu of %zu tasks were cancelled",
                            cancelled, n);
    return 0;
}

/* ---- the command line ------------------------------------------------------------ */

typedef struct {
    const char *key, *where;
    bool all_mine;
    wanted_t wanted;
    task_t *tasks;
    size_t ntasks;
} args_t;

static int take_tasks (args_t *args, int argc, char **argv)
{
    size_t n = (size_t) (argc - optind);
    if (n > MSG_MAX_TASKS)
        return cmd_usage ("cancel", "at most %d tasks at a time", MSG_MAX_TASKS);
    args->tasks = calloc (n ? n : 1, sizeof *args->tasks);
    if (!args->tasks)
        return cmd_usage ("cancel", "out of memory");
    for (; args->ntasks < n; args->ntasks++)
        if (!cmd_number (argv[optind + (int) args->ntasks],
                         &args->tasks[args->ntasks].task))
            return cmd_usage ("cancel", "'%s' is not the number of a task",
                              argv[optind + (int) args->ntasks]);
    return -1;
}

static int take_user (args_t *args)
{
    const struct passwd *user = getpwuid (getuid ());
    if (user)
        snprintf (args->wanted.user, sizeof args->wanted.user, "%s", user->pw_name);
    else
        snprintf (args->wanted.user, sizeof args->wanted.user, "%u",
                  (unsigned) getuid ());
    return -1;
}

/* -1: go on; else an exit status. */
static int parse (args_t *args, int argc, char **argv)
{
    int status = cmd_options (argc, argv, HELP,
                              (cmd_option_t[]){{"key", .value = &args->key},
                                               {"share", .value = &args->where},
                                               {"all-mine", .flag = &args->all_mine},
                                               {0}});
    if (status >= 0)
        return status;
    args->wanted.where = args->where;
    if (args->all_mine)
        return optind < argc ? cmd_usage ("cancel", "--all-mine needs no run")
                             : take_user (args);
    const char *run = optind < argc ? argv[optind++] : "";
    if (!*run || strspn (run, "0123456789abcdef") != strlen (run))
        return cmd_usage ("cancel", "which run? Give the first digits of its id");
    args->wanted.prefix = run;
    return take_tasks (args, argc, argv);
}

int cmd_cancel (int argc, char **argv)
{
    args_t args = {.where = "."};
    int status = parse (&args, argc, argv);
    if (status >= 0) {
        free (args.tasks);
        return status;
    }
    sluice_error_t err = {0}, none = {0};
    share_t *share = NULL;
    cluster_t *cluster = NULL;
    if (cmd_cluster (args.where, args.key, &share, &cluster, &none))
        cmd_only_here ("cancel", &none);
    survey_t *survey = survey_new (share, cluster, &err);
    int rc = -1;
    if (survey && args.ntasks)
        rc = cancel_tasks (survey, &args.wanted, args.tasks, args.ntasks, &err);
    else if (survey)
        rc = cancel_runs (survey, &args.wanted, &err);
    fflush (stdout);
    status = rc != 0 ? cmd_fail ("cancel", &err) : 0;
    survey_destroy (&survey);
    cluster_destroy (&cluster);
    share_destroy (&share);
    free (args.tasks);
    return status;
}
