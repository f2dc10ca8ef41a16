/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "master/progress.h"
#include "master/resolve.h"
#include "master/run.h"
#include "master/snapshot.h"

static const char HELP[] =
    "Usage: sluice run JOB [options]\n"
    "\n"
    "Run a job file on all nodes of its share and on this machine; without a\n"
    "share around it, on all cores of this machine. The result is one HDF5 file.\n"
    "\n"
    "  -o, --output FILE      the file to write (default: JOB-001.h5 here, numbered)\n"
    "      --force            replace it if it exists\n"
    "      --seed N           instead of the job's random_seed\n"
    "      --serial           one process, no workers: for debuggers; same result\n"
    "      --cores N          slots of this machine (default: all cores)\n"
    "      --no-local         do not compute on this machine\n"
    "      --no-network       only this machine, though there is a share\n"
    "      --node ENDPOINT    a node besides those found, as tcp://HOST:PORT; may\n"
    "                         be repeated; this machine does not compute then\n"
    "      --nodes FILE       the same, one ENDPOINT a line\n"
    "      --key FILE         the cluster key, if not in the share\n"
    "      --window SIZE      result bytes held in memory here (64M, 1G)\n"
    "      --outbox SIZE      result bytes held by this machine's workers\n"
    "      --memory SIZE      limit of a worker\n"
    "      --confine          keep workers from writing outside their scratch folder\n"
    "      --write-rate SIZE  bytes per second at most, to spare a file server\n"
    "      --disk-wait SEC    wait so long for space on a full disk (default 600)\n"
    "      --trace FILE       record every message, for: sluice trace FILE\n"
    "      --fail-fast        stop at the first item that failed for good\n"
    "      --json             end with one JSON object on stdout\n"
    "  -q, --quiet            no progress\n"
    "  -h, --help\n"
    "\n"
    "Exit status: 0 all done; 1 some items failed (named); 2 bad usage or input,\n"
    "nothing was started; 3 no nodes; 4 the output could not be written; 130\n"
    "cancelled.\n";

enum {
    OPT_FORCE = 256,
    OPT_SEED,
    OPT_SERIAL,
    OPT_CORES,
    OPT_NO_LOCAL,
    OPT_NO_NETWORK,
    OPT_NODE,
    OPT_NODES,
    OPT_KEY,
    OPT_WINDOW,
    OPT_OUTBOX,
    OPT_MEMORY,
    OPT_CONFINE,
    OPT_RATE,
    OPT_DISK_WAIT,
    OPT_FAIL_FAST,
    OPT_TRACE,
    OPT_JSON
};

static const struct option OPTIONS[] = {
    {"output", required_argument, NULL, 'o'},
    {"force", no_argument, NULL, OPT_FORCE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"serial", no_argument, NULL, OPT_SERIAL},
    {"cores", required_argument, NULL, OPT_CORES},
    {"no-local", no_argument, NULL, OPT_NO_LOCAL},
    {"no-network", no_argument, NULL, OPT_NO_NETWORK},
    {"node", required_argument, NULL, OPT_NODE},
    {"nodes", required_argument, NULL, OPT_NODES},
    {"key", required_argument, NULL, OPT_KEY},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"outbox", required_argument, NULL, OPT_OUTBOX},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"confine", no_argument, NULL, OPT_CONFINE},
    {"write-rate", required_argument, NULL, OPT_RATE},
    {"disk-wait", required_argument, NULL, OPT_DISK_WAIT},
    {"fail-fast", no_argument, NULL, OPT_FAIL_FAST},
    {"trace", required_argument, NULL, OPT_TRACE},
    {"json", no_argument, NULL, OPT_JSON},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static int add_node (run_options_t *o, const char *endpoint)
{
    if (!cmd_endpoint (endpoint))
        return cmd_usage ("run", "'%s' is not an endpoint, such as tcp://HOST:PORT",
                          endpoint);
    const char **grown = realloc (o->nodes, (o->nnodes + 1) * sizeof *grown);
    char *copy = strdup (endpoint);
    if (grown)
        o->nodes = grown;
    if (!grown || !copy) {
        free (copy);
        return cmd_usage ("run", "out of memory");
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
        return cmd_fail ("run", &err);
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
    return o->nnodes ? 0 : cmd_usage ("run", "%s: no endpoint in it", path);
}

static const char *name_of (int option)
{
    const struct option *known = OPTIONS;
    while (known->name && known->val != option)
        known++;
    return known->name;
}

/* One option; 0, or an exit status. */
static int take (run_options_t *o, int option, const char *value)
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
    case OPT_FORCE:
        o->force = true;
        break;
    case OPT_SERIAL:
        o->serial = true;
        break;
    case OPT_NO_LOCAL:
        o->no_local = true;
        break;
    case OPT_NO_NETWORK:
        o->no_network = true;
        break;
    case OPT_CONFINE:
        o->confine = true;
        break;
    case OPT_FAIL_FAST:
        o->fail_fast = true;
        break;
    case OPT_JSON:
        o->json = true;
        break;
    case OPT_KEY:
        o->key = value;
        break;
    case OPT_TRACE:
        o->trace = value;
        break;
    case OPT_SEED:
        good = o->has_seed = cmd_number (value, &o->seed);
        break;
    case OPT_CORES:
        good = cmd_number (value, &number) && number >= 1 &&
               number <= 4096; /* as nodes take */
        o->cores = (unsigned) number;
        break;
    case OPT_DISK_WAIT:
        good = cmd_number (value, &number);
        o->disk_wait = (double) number;
        break;
    case OPT_WINDOW:
        good = cmd_size (value, &o->window);
        break;
    case OPT_OUTBOX:
        good = cmd_size (value, &o->outbox);
        break;
    case OPT_MEMORY:
        good = cmd_size (value, &o->memory);
        break;
    case OPT_RATE:
        good = cmd_size (value, &o->rate);
        break;
    case OPT_NODE:
        return add_node (o, value);
    case OPT_NODES:
        return read_nodes (o, value);
    default:
        return cmd_usage ("run", "unknown option");
    }
    return good ? 0
                : cmd_usage ("run", "--%s: '%s' is not a number that is right here",
                             name_of (option), value);
}

static FILE *summary; /* what was standard output */

static int print_json (const job_t *job, const run_result_t *r, sluice_error_t *err)
{
    struct rusage usage;
    char digest[2 * DIGEST_BYTES + 1];
    getrusage (RUSAGE_SELF, &usage);
    digest_text (r->totals.digest, digest);
    fprintf (
        summary,
        "{\"run\":\"%s\",\"status\":\"%s\",\"tasks\":%llu,\"done\":%llu,\"failed\":%llu,"
        "\"retried\":%llu,\"rows\":%llu,\"bytes\":%llu,\"seconds\":%.3f,\"mb_per_s\":%."
        "1f,"
        "\"nodes\":%u,\"cores\":%u,\"window\":%llu,\"peak_rss\":%llu,\"peak_held\":%llu,"
        "\"stale_frames\":%llu,\"malformed\":%llu,\"refused\":%llu,\"isa\":",
        job->run_name, r->status, (unsigned long long) r->tasks,
        (unsigned long long) r->done, (unsigned long long) r->failed,
        (unsigned long long) r->retried, (unsigned long long) r->totals.rows,
        (unsigned long long) r->totals.bytes, r->seconds,
        r->seconds > 0 ? (double) r->totals.bytes / r->seconds * 1e-6 : 0.0, r->nodes,
        r->cores, (unsigned long long) r->window,
        (unsigned long long) usage.ru_maxrss * 1024, (unsigned long long) r->peak_held,
        (unsigned long long) r->stale_frames, (unsigned long long) r->malformed,
        (unsigned long long) r->zap_refused);
    json_text (summary, r->isa);
    fprintf (summary, ",\"data_path\":\"%s\",\"digest\":\"%s\",\"output\":", r->data_path,
             digest);
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
    char window[16];
    if (job->options.quiet)
        return;
    fprintf (stderr, "sluice run: %s, %llu items, run %.8s; window %s; writing %s\n",
             job->name, (unsigned long long) job->plan->items, job->run_name,
             human_bytes ((double) job->options.window, window), job->output);
}

static void summarise (const job_t *job, const run_result_t *r)
{
    char bytes[16], rate[16], digest[2 * DIGEST_BYTES + 1];
    if (job->options.quiet)
        return;
    digest_text (r->totals.digest, digest);
    fprintf (
        stderr,
        "sluice run: %s: %llu of %llu items, %llu rows, %s in %.1f s (%s/s) on %u "
        "node%s, "
        "%u core%s\nsluice run: digest %s, written to %s\n",
        r->status, (unsigned long long) r->done, (unsigned long long) job->plan->items,
        (unsigned long long) r->totals.rows,
        human_bytes ((double) r->totals.bytes, bytes), r->seconds,
        human_bytes (r->seconds > 0 ? (double) r->totals.bytes / r->seconds : 0, rate),
        r->nodes, r->nodes == 1 ? "" : "s", r->cores, r->cores == 1 ? "" : "s", digest,
        job->output);
    if (r->failed)
        fprintf (stderr, "sluice run: %llu item%s failed; see: sluice show %s\n",
                 (unsigned long long) r->failed, r->failed == 1 ? "" : "s", job->output);
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

static int run_job (const run_options_t *o)
{
    sluice_error_t err = {0};
    run_result_t result;
    if (o->json && keep_stdout (&err))
        return cmd_fail ("run", &err);
    job_t *job = job_open (o, &err);
    if (!job)
        return cmd_fail ("run", &err);
    job->begun = announce;
    int rc = (o->serial ? run_serial : run_cluster) (job, &result, &err);
    int status =
        rc == 0 ? result.failed ? SLUICE_EFAILED : SLUICE_OK : sluice_exit_status (&err);
    if (rc != 0 && (err.code != SLUICE_ECANCELLED || o->quiet)) /* the summary says it */
        cmd_fail ("run", &err);
    if (rc == 0 || err.code == SLUICE_ECANCELLED)
        summarise (job, &result);
    else
        run_discard (job, &result, &err);
    if (o->json && print_json (job, &result, &err)) {
        cmd_fail ("run", &err);
        status = status ? status : SLUICE_EOUTPUT;
    }
    job_destroy (&job);
    return status;
}

int cmd_run (int argc, char **argv)
{
    run_options_t o = {.disk_wait = 600};
    int option, status = 0;
    optind = 1;
    opterr = 0; /* the one line is ours */
    while (status == 0 &&
           (option = getopt_long (argc, argv, "o:qh", OPTIONS, NULL)) != -1) {
        if (option == 'h') {
            fputs (HELP, stdout);
            goto done;
        }
        if (option == '?')
            status = cmd_bad_option ("run", argv);
        else
            status = take (&o, option, optarg);
    }
    if (status == 0 && optind >= argc)
        status = cmd_usage ("run", "which job? Name a job file");
    if (status == 0 && optind + 1 < argc)
        status = cmd_usage ("run", "one job at a time: '%s' is one too many",
                            argv[optind + 1]);
    if (status == 0 && o.serial && (o.nnodes || o.no_local || o.cores))
        status = cmd_usage ("run", "--serial uses neither nodes nor cores");
    if (status == 0 && o.serial && o.trace)
        status = cmd_usage ("run", "--serial sends no message that --trace could record");
    sluice_error_t err = {0};
    if (status == 0 && resolve_endpoints (o.nodes, o.nnodes, &err))
        status = cmd_fail ("run", &err);
    if (status == 0) {
        o.path = argv[optind];
        running = getpid ();
        on_exit (on_early_exit, NULL);
        status = run_job (&o);
        running = 0;
    }
done:
    for (size_t i = 0; i < o.nnodes; i++)
        free ((char *) o.nodes[i]);
    free (o.nodes);
    return status;
}
