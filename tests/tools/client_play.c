/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* client_play - a program that uses client.h, as the flow tests want it
 *
 * usage: client_play [options] [NAME VALUE]...
 * with the parameters of the map behind the options. Prints a line for each thing that
 * happens: `begun ITEMS RUN`, `result FIRST STOP ROWS...`, `failed FIRST STOP REASON`,
 * `end STATUS DONE FAILED DIGEST`, `error CODE TEXT`, `closed SECONDS`.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sluice/client.h>

typedef struct {
    sluice_client_options_t client;
    sluice_map_options_t map;
    const char *node;
    const char *dump;    /* rows of table T go to DUMP.T */
    uint64_t most, part; /* items at a time; rows at a time, 0: all */
    uint64_t after;      /* results until the next happens; 0: it does not */
    uint64_t cancel_first, cancel_stop; /* items */
    uint64_t pause_ms;                  /* for each result */
    bool cancel_all, close, hang, fork, progress;
    bool two;    /* of these at the same time, each in a thread */
    bool ignore; /* SIGCHLD */
    bool reap;   /* wait for any child in the meantime */
    int number;  /* of two: 0 or 1 */
} play_t;

static double seconds (void)
{
    struct timespec now;
    clock_gettime (CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

static void on_progress (void *arg, const sluice_progress_t *p)
{
    const play_t *play = arg;
    if (play->progress)
        printf ("progress %llu %llu %llu %s\n", (unsigned long long) p->items,
                (unsigned long long) p->done, (unsigned long long) p->failed, p->waiting);
}

static int fail (const sluice_error_t *err)
{
    printf ("error %d %s\n", (int) err->code, err->text);
    fflush (stdout);
    return -1;
}

/* ---- rows ---------------------------------------------------------------------- */

static int dump_rows (const play_t *play, const char *name, const void *rows, size_t n)
{
    char path[600];
    snprintf (path, sizeof path, "%s.%s", play->dump, name);
    FILE *f = fopen (path, "ab");
    if (!f || fwrite (rows, 1, n, f) != n) {
        perror (path);
        exit (3);
    }
    return fclose (f);
}

static int take_rows (const play_t *play, sluice_map_t *map, unsigned table)
{
    sluice_error_t err;
    uint64_t n, count = sluice_map_count (map, table);
    size_t row_bytes = sluice_map_row_bytes (map, table);
    const char *name = sluice_map_table_name (map, table);
    if (!play->part) {
        const void *rows = sluice_map_rows (map, table, &n, &err);
        if (!rows || n != count)
            return fail (&err);
        return play->dump && n ? dump_rows (play, name, rows, n * row_bytes) : 0;
    }
    char *part = malloc (play->part * row_bytes);
    for (uint64_t from = 0; from < count; from += n) {
        n = count - from < play->part ? count - from : play->part;
        if (!part || sluice_map_read (map, table, from, n, part, &err)) {
            free (part);
            return fail (&err);
        }
        if (play->dump)
            dump_rows (play, name, part, n * row_bytes);
    }
    free (part);
    return 0;
}

static int show (const play_t *play, sluice_map_t *map, const sluice_result_t *r)
{
    printf ("%s %llu %llu", r->failed ? "failed" : "result",
            (unsigned long long) r->first, (unsigned long long) r->stop);
    if (r->failed)
        printf (" %d %d %s", r->signal, r->exit_code, r->reason);
    for (unsigned i = 0; i < sluice_map_tables (map); i++) {
        if (!r->failed)
            printf (" %s=%llu", sluice_map_table_name (map, i),
                    (unsigned long long) sluice_map_count (map, i));
        if (take_rows (play, map, i))
            return -1;
    }
    printf ("\n");
    fflush (stdout);
    return 0;
}

/* ---- a map ----------------------------------------------------------------------- */

static void nap (uint64_t ms)
{
    struct timespec ts = {(time_t) (ms / 1000), (long) (ms % 1000) * 1000000};
    nanosleep (&ts, NULL);
}

static void hang (const play_t *play)
{
    fflush (stdout);
    if (play->fork && fork () == 0) /* it holds our socket, too */
        nap (3600000);
    printf ("hangs\n"); /* and is there: who reads this may kill us */
    fflush (stdout);
    for (;;)
        pause ();
}

/* What is to happen after so many results. 1: no more of them. */
static int happen (const play_t *play, sluice_map_t *map)
{
    sluice_error_t err;
    if (play->hang)
        hang (play);
    if (play->cancel_stop &&
        sluice_map_cancel (map, play->cancel_first, play->cancel_stop, &err))
        return fail (&err);
    if (play->cancel_all && sluice_map_cancel_all (map, &err))
        return fail (&err);
    return play->close;
}

static int take_results (const play_t *play, sluice_map_t *map)
{
    sluice_error_t err;
    sluice_result_t r;
    uint64_t n = 0;
    int rc, what = play->after ? 0 : happen (play, map);
    while (what == 0 && (rc = sluice_map_next (map, play->most, -1, &r, &err)) > 0) {
        if (rc == SLUICE_MAP_NOTHING)
            continue;
        if (show (play, map, &r))
            return -1;
        if (play->pause_ms)
            nap (play->pause_ms);
        if (play->reap)
            while (waitpid (-1, NULL, WNOHANG) > 0)
                printf ("reaped\n");
        if (++n == play->after)
            what = happen (play, map);
    }
    if (what)
        return what < 0 ? -1 : 0;
    if (rc < 0)
        fail (&err);
    sluice_summary_t s;
    sluice_map_summary (map, &s);
    printf ("end %s %llu %llu %s\n", s.status, (unsigned long long) s.done,
            (unsigned long long) s.failed, s.digest);
    return rc;
}

static void *run (void *arg)
{
    play_t *play = arg;
    sluice_error_t err;
    char dump[500];
    if (play->two && play->dump) {
        snprintf (dump, sizeof dump, "%s%d", play->dump, play->number);
        play->dump = dump;
    }
    sluice_client_t *client = sluice_client_new (&play->client, &err);
    if (!client) {
        fail (&err);
        return play;
    }
    play->map.arg = play;
    sluice_map_t *map = sluice_client_map (client, &play->map, &err);
    sluice_client_destroy (&client); /* maps go on */
    if (!map) {
        fail (&err);
        return play;
    }
    printf ("begun %llu %s\n", (unsigned long long) sluice_map_items (map),
            sluice_map_run (map));
    int rc = take_results (play, map);
    double before = seconds ();
    sluice_map_close (&map);
    printf ("closed %.2f\n", seconds () - before);
    return rc ? play : NULL;
}

/* ---- arguments ------------------------------------------------------------------- */

enum { FIRST = 256 };
static const char *const flags[] = {
    "force", "fail-fast", "no-local", "no-network", "serial", "cancel-all", "close",
    "hang",  "fork",      "progress", "two",        "reap",   "ignore"};
static const char *const values[] = {"kernel", "output", "seed",  "name",    "folder",
                                     "key",    "node",   "cores", "window",  "outbox",
                                     "memory", "wait",   "log",   "command", "dump",
                                     "most",   "part",   "after", "cancel",  "pause"};

static bool is (const char *name, const char *wanted)
{
    return strcmp (name, wanted) == 0;
}

static void set_flag (play_t *p, const char *name)
{
    p->map.force |= is (name, "force");
    p->map.fail_fast |= is (name, "fail-fast");
    p->client.no_local |= is (name, "no-local");
    p->client.no_network |= is (name, "no-network");
    p->client.serial |= is (name, "serial");
    p->cancel_all |= is (name, "cancel-all");
    p->close |= is (name, "close");
    p->hang |= is (name, "hang") || is (name, "fork");
    p->fork |= is (name, "fork");
    p->progress |= is (name, "progress");
    p->two |= is (name, "two");
    p->reap |= is (name, "reap");
    p->ignore |= is (name, "ignore");
}

static void set_value (play_t *p, const char *name, const char *value)
{
    const struct {
        const char *name, **text;
    } texts[] = {{"kernel", &p->map.kernel}, {"output", &p->map.output},
                 {"name", &p->map.name},     {"folder", &p->client.folder},
                 {"key", &p->client.key},    {"node", &p->node},
                 {"log", &p->client.log},    {"command", &p->client.command},
                 {"dump", &p->dump}};
    const struct {
        const char *name;
        uint64_t *number;
    } numbers[] = {{"seed", &p->map.seed},
                   {"window", &p->client.window},
                   {"outbox", &p->client.outbox},
                   {"memory", &p->client.memory},
                   {"most", &p->most},
                   {"part", &p->part},
                   {"after", &p->after},
                   {"pause", &p->pause_ms}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (is (name, texts[i].name))
            *texts[i].text = value;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (is (name, numbers[i].name))
            *numbers[i].number = strtoull (value, NULL, 10);
    p->map.has_seed |= is (name, "seed");
    if (is (name, "cores"))
        p->client.cores = (unsigned) strtoul (value, NULL, 10);
    if (is (name, "wait"))
        p->client.node_wait = strtod (value, NULL);
    if (is (name, "cancel"))
        sscanf (value, "%lu:%lu", &p->cancel_first, &p->cancel_stop);
}

static int read_options (play_t *p, int argc, char **argv)
{
    enum {
        FLAGS = sizeof flags / sizeof *flags,
        VALUES = sizeof values / sizeof *values
    };
    struct option options[FLAGS + VALUES + 1] = {{0}};
    int option;
    for (int i = 0; i < FLAGS + VALUES; i++)
        options[i] =
            (struct option){.name = i < FLAGS ? flags[i] : values[i - FLAGS],
                            .has_arg = i < FLAGS ? no_argument : required_argument,
                            .val = FIRST + i};
    while ((option = getopt_long (argc, argv, "+", options, NULL)) != -1) {
        if (option == '?')
            return -1;
        if (option - FIRST < FLAGS)
            set_flag (p, flags[option - FIRST]);
        else
            set_value (p, values[option - FIRST - FLAGS], optarg);
    }
    return 0;
}

int main (int argc, char **argv)
{
    play_t play = {.most = 1, .map.progress = on_progress}, other;
    pthread_t thread;
    void *bad[2] = {NULL, NULL};
    if (read_options (&play, argc, argv))
        return 2;
    play.map.params = (const char *const *) (argv + optind);
    if (play.ignore)
        signal (SIGCHLD, SIG_IGN);
    if (play.node) {
        play.client.nodes = &play.node;
        play.client.nnodes = 1;
    }
    other = play;
    other.number = 1;
    other.map.seed++;
    if (play.two && pthread_create (&thread, NULL, run, &other))
        return 3;
    bad[0] = run (&play);
    if (play.two)
        pthread_join (thread, &bad[1]);
    struct rusage usage;
    getrusage (RUSAGE_SELF, &usage);
    printf ("rss_kib %ld\n", usage.ru_maxrss);
    /* Is a child left, dead or alive? */
    printf ("children %s\n",
            waitpid (-1, NULL, WNOHANG) == -1 && errno == ECHILD ? "none" : "some");
    return bad[0] || bad[1];
}
