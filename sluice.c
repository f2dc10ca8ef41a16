/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* sluice - one binary, a subcommand for each thing to do */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "node/cmd_node.h"
#include "sluice/error.h"
#ifndef SLUICE_NODE_ONLY
#include "master/cmd.h"
#endif

static const struct {
    const char *name;
    int (*run) (int argc, char **argv);
    const char *what;
} commands[] = {
    {"node", cmd_node, "offer this machine to the runs of a share"},
#ifndef SLUICE_NODE_ONLY
    {"run", cmd_run, "run a job file"},
    {"map", cmd_map, "run a command over arguments, lines or a range"},
    {"get", cmd_get, "a table as .npy or CSV, or what a task printed"},
    {"init", cmd_init, "make a folder a share, with its cluster key"},
    {"key", cmd_key, "the fingerprint of a cluster key; a new key file"},
    {"nodes", cmd_nodes, "which nodes are there"},
    {"runs", cmd_runs, "which runs are going on"},
    {"doctor", cmd_doctor, "what is wrong with share, key, clocks, nodes; what to do"},
    {"explain", cmd_explain, "what a run, or a task of it, waits for"},
    {"cancel", cmd_cancel, "stop a run, some of its tasks, or all of one's runs"},
    {"trace", cmd_trace, "decode what --trace recorded"},
    {"serve", cmd_serve, NULL}, /* what programs start (client.h), not people */
    {"show", cmd_show, "what became of a run: times, nodes, failures"},
    {"verify", cmd_verify, "check a file against its digests"},
    {"diff", cmd_diff, "do two files hold the same content?"},
    {"plot", cmd_plot, "the map of a scenario"},
#endif
};

static void help (FILE *out)
{
    fputs ("Usage: sluice COMMAND [...]\n\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (commands[i].what)
            fprintf (out, "  %-8s %s\n", commands[i].name, commands[i].what);
    fputs ("\nsluice COMMAND --help says more; so does man sluice.\n", out);
}

/* Who closed a standard stream must not get our messages, or a summary, into the
 * file that would be opened as the next one with that number. */
static void fill_standard (void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl (fd, F_GETFD) == -1 && errno == EBADF &&
            open ("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
            _exit (1);
}

static int command (int argc, char **argv)
{
    if (argc < 2) {
        help (stderr);
        return 2;
    }
    if (!strcmp (argv[1], "--version") || !strcmp (argv[1], "-V")) {
        printf ("sluice %s\n", PACKAGE_VERSION);
        return 0;
    }
    if (!strcmp (argv[1], "--help") || !strcmp (argv[1], "-h") ||
        !strcmp (argv[1], "help")) {
        help (stdout);
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp (argv[1], commands[i].name) == 0)
            return commands[i].run (argc - 1, argv + 1);
    fprintf (stderr, "sluice: '%s' is not a command; see: sluice --help\n", argv[1]);
    return 2;
}

int main (int argc, char **argv)
{
    fill_standard ();
    signal (SIGXFSZ, SIG_IGN); /* a limit of file size is an error of write */
    int status = command (argc, argv);
    if (fflush (stdout) == 0 && !ferror (stdout))
        return status;
    fprintf (stderr, "sluice: what was to be printed could not be: %s\n",
             strerror (errno));
    return SLUICE_EOUTPUT;
}
