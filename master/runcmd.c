/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/runcmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "master/cmd.h"
#include "master/follow.h"
#include "master/progress.h"
#include "master/resolve.h"
#include "master/resume.h"
#include "master/run.h"
#include "master/snapshot.h"
#include "proto/codec.h"

static int add_node (run_options_t *o, const char *endpoint)
{
    if (!cmd_endpoint (endpoint))
        return cmd_usage (o->command, "'%s' is not an endpoint, such as tcp://HOST:PORT",
                          endpoint);
    const char **grown = realloc (o->nodes, (o->nnodes + 1) * sizeof *grown);
    char *copy = strdup (endpoint);
    if (grown)
        o->nodes = grown;
    if (!grown || !copy) {
        free (copy);
        return cmd_usage (o->command, "out of memory");
    }
    o->nodes[o->nnodes++] = copy;
    return 0;
}

static int read_nodes (run_options_t *o, const char *path)
{
    char line[512];
    int status = 0;
    sluice_error_t err = {0};
    int fd = cmd_open (path, &err);
    FILE *f = fd >= 0 ? fdopen (fd, "r") : NULL;
    if (!f)
        return cmd_fail (o->command, &err);
    while (status == 0 && fgets (line, sizeof line, f)) {
        line[strcspn (line, "#\r\n")] = '\0';
        char *first = line + strspn (line, " \t");
        first[strcspn (first, " \t")] = '\0';
        if (*first)
            status = add_node (o, first);
    }
    fclose (f);
    if (status)
        return status;
    return o->nnodes ? 0 : cmd_usage (o->command, "%s: no endpoint in it", path);
}

static const char *name_of (int option)
{
    static const struct option options[] = {RUNCMD_OPTIONS{0}};
    const struct option *known = options;
    while (known->name && known->val != option)
        known++;
    return known->name;
}

int runcmd_take (run_options_t *o, int option, const char *value)
{
    uint64_t number = 0;
    bool good = true;
    switch (option) {
    case 'o':
        o->output = value;
        break;
    case 'q':
        o->quiet = true;
        break;
    case RUNCMD_FORCE:
        o->force = true;
        break;
    case RUNCMD_RESUME:
        o->resume = true;
        break;
    case RUNCMD_SERIAL:
        o->serial = true;
        break;
    case RUNCMD_NO_LOCAL:
        o->no_local = true;
        break;
    case RUNCMD_NO_NETWORK:
        o->no_network = true;
        break;
    case RUNCMD_COMPRESS:
        o->compress = value;
        break;
    case RUNCMD_CONFINE:
        o->confine = true;
        break;
    case RUNCMD_FAIL_FAST:
        o->fail_fast = true;
        break;
    case RUNCMD_NO_COPIES:
        o->no_copies = true;
        break;
    case RUNCMD_CURVE:
        o->curve = true;
        break;
    case RUNCMD_JSON:
        o->json = true;
        break;
    case RUNCMD_KEY:
        o->key = value;
        break;
    case RUNCMD_TRACE:
        o->trace = value;
        break;
    case RUNCMD_SEED:
        good = o->has_seed = cmd_number (value, &o->seed);
        break;
    case RUNCMD_CORES:
        good = cmd_number (value, &number) && number >= 1 &&
               number <= 4096; /* as nodes take */
        o->cores = (unsigned) number;
        break;
    case RUNCMD_DISK_WAIT:
        good = cmd_number (value, &number);
        o->disk_wait = (double) number;
        break;
    case RUNCMD_WINDOW:
        good = cmd_size (value, &o->window);
        break;
    case RUNCMD_OUTBOX:
        good = cmd_size (value, &o->outbox);
        break;
    case RUNCMD_MEMORY:
        good = cmd_size (value, &o->memory);
        break;
    case RUNCMD_RETRIES:
        good = o->has_retries = cmd_number (value, &number) && number <= RETRIES_MOST;
        o->retries = (unsigned) number;
        break;
    case RUNCMD_TIMEOUT:
        good = cmd_seconds (value, &o->timeout);
        break;
    case RUNCMD_CRASH_LIMIT:
        good = cmd_number (value, &number) && number >= 1 && number <= CRASH_LIMIT_MOST;
        o->crash_limit = (unsigned) number;
        break;
    case RUNCMD_RATE:
        good = cmd_size (value, &o->rate);
        break;
    case RUNCMD_NODE:
        return add_node (o, value);
    case RUNCMD_NODES:
        return read_nodes (o, value);
    default:
        return cmd_usage (o->command, "unknown option");
    }
    return good ? 0
                : cmd_usage (o->command, "--%s: '%s' is not a number that is right here",
                             name_of (option), value);
}

static FILE *summary; /* what was standard output */

/* Bytes per second, of this run alone. */
static double rate_of (const run_result_t *r)
{
    uint64_t old = r->taken.bytes, all = r->totals.bytes;
    return r->seconds > 0 && all > old ? (double) (all - old) / r->seconds : 0;
}

static double seconds_of (const struct timeval *time)
{
    return (double) time->tv_sec + (double) time->tv_usec * 1e-6;
}

static int print_json (const job_t *job, const run_result_t *r, sluice_error_t *err)
{
    struct rusage usage;
    char digest[2 * DIGEST_BYTES + 1], compress[CODEC_TEXT];
    getrusage (RUSAGE_SELF, &usage);
    digest_text (r->totals.digest, digest);
    fprintf (
        summary,
        "{\"run\":\"%s\",\"status\":\"%s\",\"tasks\":%llu,\"done\":%llu,\"failed\":%llu,"
        "\"retried\":%llu,\"copies\":%llu,\"rows\":%llu,\"bytes\":%llu,\"stored\":%llu,"
        "\"seconds\":%.3f,"
        "\"mb_per_s\":%."
        "1f,"
        "\"nodes\":%u,\"cores\":%u,\"window\":%llu,\"peak_rss\":%llu,\"cpu\":%.3f,\"peak_"
        "held\":%llu,"
        "\"stale_frames\":%llu,\"malformed\":%llu,\"unwanted\":%llu,\"cut_off\":%llu,"
        "\"forged\":%llu,\"strangers\":%llu,\"lost_nodes\":%llu,"
        "\"resyncs\":%llu,\"unreceived\":%llu,\"unfinished\":%llu,"
        "\"resumed_items\":%llu,\"damaged_items\":%llu,\"isa\":",
        job->run_name, r->status, (unsigned long long) r->tasks,
        (unsigned long long) r->done, (unsigned long long) r->failed,
        (unsigned long long) r->retried, (unsigned long long) r->copies,
        (unsigned long long) r->totals.rows, (unsigned long long) r->totals.bytes,
        (unsigned long long) r->totals.stored, r->seconds, rate_of (r) * 1e-6, r->nodes,
        r->cores, (unsigned long long) r->window,
        (unsigned long long) usage.ru_maxrss * 1024,
        seconds_of (&usage.ru_utime) + seconds_of (&usage.ru_stime),
        (unsigned long long) r->peak_held, (unsigned long long) r->stale_frames,
        (unsigned long long) r->malformed, (unsigned long long) r->unwanted,
        (unsigned long long) r->cut_off, (unsigned long long) r->forged,
        (unsigned long long) r->strangers, (unsigned long long) r->lost,
        (unsigned long long) r->resyncs, (unsigned long long) r->unreceived,
        (unsigned long long) r->unfinished, (unsigned long long) r->taken.items,
        (unsigned long long) r->taken.damaged_items);
    json_text (summary, r->isa);
    codec_text (job->deflate, compress);
    fprintf (summary,
             ",\"data_path\":\"%s\",\"write_path\":\"%s\",\"compress\":\"%s\","
             "\"digest\":\"%s\",\"output\":",
             r->data_path, r->totals.direct ? "direct" : "buffered", compress, digest);
    json_text (summary, job->output);
    fputs ("}\n", summary);
    bool lost = ferror (summary);
    if (fclose (summary) || lost)
        return sluice_fail (err, SLUICE_EOUTPUT, "the summary could not be printed: %s",
                            strerror (errno));
    return 0;
}

/* Standard output is for the summary alone: what a kernel prints in this process
 * goes where messages go. */
static int keep_stdout (sluice_error_t *err)
{
    int fd = fcntl (STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    summary = fd < 0 ? NULL : fdopen (fd, "w");
    if (summary && dup2 (STDERR_FILENO, STDOUT_FILENO) == STDOUT_FILENO)
        return 0;
    return sluice_fail (err, SLUICE_ESYSTEM, "standard output: %s", strerror (errno));
}

static void announce (const job_t *job)
{
    const run_options_t *o = &job->options;
    char window[16];
    if (o->quiet)
        return;
    if (o->map && !o->no_network && !o->serial && !share_confined (job->share))
        fprintf (stderr,
                 "sluice map: %s is in no share, so only this machine computes; sluice "
                 "init DIR makes one\n",
                 job->folder);
    fprintf (stderr, "sluice %s: %s, %llu items, run %.8s; window %s; writing %s\n",
             o->command, job->name, (unsigned long long) job->plan->items, job->run_name,
             human_bytes ((double) job->options.window, window), job->output);
}

static int by_number (const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *) a, other = *(const uint64_t *) b;
    return one < other ? -1 : one > other;
}

/* Which items failed, and how to run just these again. */
static void name_failed (const job_t *job, run_result_t *r)
{
    const run_options_t *o = &job->options;
    fprintf (stderr, "sluice %s: %llu item%s failed", o->command,
             (unsigned long long) r->failed, r->failed == 1 ? "" : "s");
    qsort (r->failed_items, r->nfailed_items, sizeof *r->failed_items, by_number);
    for (unsigned i = 0; i < r->nfailed_items; i++)
        fprintf (stderr, "%s%llu", i ? ", " : ": ",
                 (unsigned long long) r->failed_items[i]);
    fprintf (stderr,
             r->failed > r->nfailed_items ? ", ...; see: sluice show %s\n"
                                          : "; see: sluice show %s\n",
             job->output);
    if (o->map)
        fprintf (stderr,
                 "sluice map: to run just %s again: sluice map --only-failed %s\n",
                 r->failed == 1 ? "it" : "these", job->output);
}

static void summarise (const job_t *job, run_result_t *r)
{
    char bytes[16], rate[16], digest[2 * DIGEST_BYTES + 1], stored[40] = "";
    if (job->options.quiet)
        return;
    if (job->deflate)
        snprintf (stored, sizeof stored, ", compressed to %s",
                  human_bytes ((double) r->totals.stored, bytes));
    digest_text (r->totals.digest, digest);
    fprintf (stderr,
             "sluice %s: %s: %llu of %llu items, %llu rows, %s%s in %.1f s (%s/s) on %u "
             "node%s, "
             "%u core%s\nsluice %s: digest %s, written to %s\n",
             job->options.command, r->status, (unsigned long long) r->done,
             (unsigned long long) job->plan->items, (unsigned long long) r->totals.rows,
             human_bytes ((double) r->totals.bytes, bytes), stored, r->seconds,
             human_bytes (rate_of (r), rate), r->nodes, r->nodes == 1 ? "" : "s",
             r->cores, r->cores == 1 ? "" : "s", job->options.command, digest,
             job->output);
    if (r->failed)
        name_failed (job, r);
}

static follow_t follower;

/* The output is open: say what goes on, and show what tasks print. */
static void begun (const job_t *job)
{
    sluice_error_t err = {0};
    announce (job);
    if (job->options.tee &&
        follow_start (&follower, job->output, summary ? fileno (summary) : STDOUT_FILENO,
                      &err))
        cmd_fail (job->options.command, &err);
}

static pid_t running; /* this process, while a job runs in it; else 0 */

/* A kernel's function called exit: that must not look like success. */
static void on_early_exit (int status, void *arg)
{
    (void) arg;
    if (getpid () != running)
        return;
    fprintf (stderr,
             "sluice run: the kernel called exit (%d) in the master; its functions must "
             "return\n",
             status);
    _exit (SLUICE_EFAILED);
}

/* With --resume: 1 if nothing is left to be done, -1 if it cannot be. */
static int look_before (const job_t *job, run_result_t *result, sluice_error_t *err)
{
    const char *command = job->options.command;
    if (!job->resume) {
        if (!job->options.quiet)
            fprintf (stderr, "sluice %s: %s is not there yet: beginning\n", command,
                     job->output);
        return 0;
    }
    int rc = resume_look (job, result, err);
    if (rc > 0)
        fprintf (stderr, "sluice %s: %s is complete: nothing is left to be done\n",
                 command, job->output);
    return rc;
}

static int run_job (const run_options_t *o)
{
    sluice_error_t err = {0};
    run_result_t result = {0};
    if (o->json && keep_stdout (&err))
        return cmd_fail (o->command, &err);
    job_t *job = job_open (o, &err);
    if (!job)
        return cmd_fail (o->command, &err);
    job->begun = begun;
    int over = o->resume ? look_before (job, &result, &err) : 0;
    if (over < 0 || (over > 0 && o->json && print_json (job, &result, &err)))
        over = -1;
    if (over) {
        job_destroy (&job);
        return over < 0 ? cmd_fail (o->command, &err) : SLUICE_OK;
    }
    int rc = (o->serial ? run_serial : run_cluster) (job, &result, &err);
    follow_end (&follower);
    int status =
        rc == 0 ? result.failed ? SLUICE_EFAILED : SLUICE_OK : sluice_exit_status (&err);
    if (rc != 0 && (err.code != SLUICE_ECANCELLED || o->quiet)) /* the summary says it */
        cmd_fail (o->command, &err);
    if (rc == 0 || err.code == SLUICE_ECANCELLED)
        summarise (job, &result);
    else
        run_discard (job, &result, &err);
    /* Interrupted while it was being checked, or later. */
    if (rc != 0 && err.code != SLUICE_EINPUT &&
        (job->opened || (job->resume && err.code == SLUICE_ECANCELLED)))
        resume_tell (job);
    if (o->json && print_json (job, &result, &err)) {
        cmd_fail (o->command, &err);
        status = status ? status : SLUICE_EOUTPUT;
    }
    run_leave (status);
    job_destroy (&job);
    return status;
}

int runcmd_go (const run_options_t *o)
{
    running = getpid ();
    on_exit (on_early_exit, NULL);
    int status = run_job (o);
    running = 0;
    return status;
}

int runcmd_check (const run_options_t *o)
{
    if (o->serial && (o->nnodes || o->no_local || o->cores))
        return cmd_usage (o->command, "--serial uses neither nodes nor cores");
    if (o->force && o->resume)
        return cmd_usage (o->command,
                          "--resume goes on with the output, --force replaces "
                          "it: one of them only");
    if (o->serial && o->trace)
        return cmd_usage (o->command,
                          "--serial sends no message that --trace could record");
    sluice_error_t err = {0};
    return resolve_endpoints (o->nodes, o->nnodes, &err) ? cmd_fail (o->command, &err)
                                                         : 0;
}

void runcmd_clear (run_options_t *o)
{
    for (size_t i = 0; i < o->nnodes; i++)
        free ((char *) (uintptr_t) o->nodes[i]);
    free (o->nodes);
}
