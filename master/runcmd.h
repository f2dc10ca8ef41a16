/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* runcmd.h - what `sluice run` and `sluice map` have in common
 *
 * Both start a run: they take the same options about where and how, say the same while
 * it goes on, and end with the same summary.
 */
#ifndef MASTER_RUNCMD_H
#define MASTER_RUNCMD_H

#include <getopt.h>
#include "master/job.h"

/* The values of getopt_long for those without a letter. */
enum {
    RUNCMD_FORCE = 256,
    RUNCMD_RESUME,
    RUNCMD_SEED,
    RUNCMD_SERIAL,
    RUNCMD_CORES,
    RUNCMD_NO_LOCAL,
    RUNCMD_NO_NETWORK,
    RUNCMD_NODE,
    RUNCMD_NODES,
    RUNCMD_KEY,
    RUNCMD_WINDOW,
    RUNCMD_OUTBOX,
    RUNCMD_MEMORY,
    RUNCMD_RETRIES,
    RUNCMD_TIMEOUT,
    RUNCMD_CRASH_LIMIT,
    RUNCMD_COMPRESS,
    RUNCMD_CONFINE,
    RUNCMD_RATE,
    RUNCMD_DISK_WAIT,
    RUNCMD_FAIL_FAST,
    RUNCMD_NO_COPIES,
    RUNCMD_CURVE,
    RUNCMD_TRACE,
    RUNCMD_JSON,
    RUNCMD_MORE /* options of one command alone begin here */
};

#define RUNCMD_LETTERS "o:qh"
/* For a table of struct option. */
#define RUNCMD_OPTIONS                                                                   \
    {"output", required_argument, NULL, 'o'},                                            \
        {"force", no_argument, NULL, RUNCMD_FORCE},                                      \
        {"resume", no_argument, NULL, RUNCMD_RESUME},                                    \
        {"seed", required_argument, NULL, RUNCMD_SEED},                                  \
        {"serial", no_argument, NULL, RUNCMD_SERIAL},                                    \
        {"cores", required_argument, NULL, RUNCMD_CORES},                                \
        {"no-local", no_argument, NULL, RUNCMD_NO_LOCAL},                                \
        {"no-network", no_argument, NULL, RUNCMD_NO_NETWORK},                            \
        {"node", required_argument, NULL, RUNCMD_NODE},                                  \
        {"nodes", required_argument, NULL, RUNCMD_NODES},                                \
        {"key", required_argument, NULL, RUNCMD_KEY},                                    \
        {"window", required_argument, NULL, RUNCMD_WINDOW},                              \
        {"outbox", required_argument, NULL, RUNCMD_OUTBOX},                              \
        {"memory", required_argument, NULL, RUNCMD_MEMORY},                              \
        {"retries", required_argument, NULL, RUNCMD_RETRIES},                            \
        {"timeout", required_argument, NULL, RUNCMD_TIMEOUT},                            \
        {"crash-limit", required_argument, NULL, RUNCMD_CRASH_LIMIT},                    \
        {"compress", required_argument, NULL, RUNCMD_COMPRESS},                          \
        {"confine", no_argument, NULL, RUNCMD_CONFINE},                                  \
        {"write-rate", required_argument, NULL, RUNCMD_RATE},                            \
        {"disk-wait", required_argument, NULL, RUNCMD_DISK_WAIT},                        \
        {"fail-fast", no_argument, NULL, RUNCMD_FAIL_FAST},                              \
        {"no-copies", no_argument, NULL, RUNCMD_NO_COPIES},                              \
        {"curve", no_argument, NULL, RUNCMD_CURVE},                                      \
        {"trace", required_argument, NULL, RUNCMD_TRACE},                                \
        {"json", no_argument, NULL, RUNCMD_JSON}, {"quiet", no_argument, NULL, 'q'},     \
        {"help", no_argument, NULL, 'h'},

/* What --help says of them, and of exit statuses. */
#define RUNCMD_HELP                                                                      \
    "      --force            replace it if it exists\n"                                 \
    "      --resume           go on with it from its last state; without -o with the\n"  \
    "                         newest one; what failed is tried again\n"                  \
    "      --seed N           instead of the job's random_seed\n"                        \
    "      --serial           one process, no workers: for debuggers; same result\n"     \
    "      --cores N          slots of this machine (default: all cores)\n"              \
    "      --no-local         do not compute on this machine\n"                          \
    "      --no-network       only this machine, though there is a share\n"              \
    "      --node ENDPOINT    a node besides those found, as tcp://HOST:PORT; may\n"     \
    "                         be repeated; this machine does not compute then\n"         \
    "      --nodes FILE       the same, one ENDPOINT a line\n"                           \
    "      --key FILE         the cluster key, if not in the share\n"                    \
    "      --window SIZE      result bytes held in memory here (64M, 1G)\n"              \
    "      --outbox SIZE      result bytes held by this machine's workers\n"             \
    "      --memory SIZE      limit of a worker, or of a command and all it started\n"   \
    "      --retries N        run an item that failed again, N times (default: 2 in "    \
    "run,\n"                                                                             \
    "                         0 in map)\n"                                               \
    "      --timeout SEC      end what takes longer for an item (90, 5m, 2h)\n"          \
    "      --crash-limit N    give an item up when its worker died N times (default "    \
    "3)\n"                                                                               \
    "      --compress CODEC   deflate or deflate:LEVEL (1 to 9): workers compress the\n" \
    "                         chunks of tables; any HDF5 reads them (default: none)\n"   \
    "      --confine          keep workers from writing outside their scratch folder\n"  \
    "      --write-rate SIZE  bytes per second at most, to spare a file server\n"        \
    "      --disk-wait SEC    wait so long for space on a full disk (default 600)\n"     \
    "      --trace FILE       record every message, for: sluice trace FILE\n"            \
    "      --fail-fast        stop at the first item that failed for good\n"             \
    "      --no-copies        begin no task again elsewhere because it takes long\n"     \
    "      --curve            encrypt results by ZeroMQ's CURVE alone, which is "        \
    "slower\n"                                                                           \
    "      --json             end with one JSON object on stdout\n"                      \
    "  -q, --quiet            no progress\n"                                             \
    "  -h, --help\n"
#define RUNCMD_STATUS                                                                    \
    "Exit status: 0 all done; 1 some items failed (named); 2 bad usage or input,\n"      \
    "nothing was started; 3 no nodes; 4 the output could not be written; 130\n"          \
    "cancelled.\n"

/* Take one of these options into `o`, whose `command` is set. 0, or an exit status
 * after saying why. */
int runcmd_take (run_options_t *o, int option, const char *value);
/* What does not go together. The same. */
int runcmd_check (const run_options_t *o);
/* Run the job; its exit status. */
int runcmd_go (const run_options_t *o);
/* Free what runcmd_take made. */
void runcmd_clear (run_options_t *o);

#endif
