/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/cmd.h"

#include <stdio.h>

#include "master/runcmd.h"

static const char HELP[] =
    "Usage: sluice run JOB [options]\n"
    "\n"
    "Run a job file on all nodes of its share and on this machine; without a\n"
    "share around it, on all cores of this machine. The result is one HDF5 file.\n"
    "\n"
    "  -o, --output FILE      the file to write (default: JOB-001.h5 here, "
    "numbered)\n" RUNCMD_HELP "\n" RUNCMD_STATUS;

static const struct option OPTIONS[] = {RUNCMD_OPTIONS{0}};

int cmd_run (int argc, char **argv)
{
    run_options_t o = {.command = "run", .disk_wait = 600};
    int option, status = 0;
    optind = 1;
    opterr = 0; /* the one line is ours */
    while (status == 0 &&
           (option = getopt_long (argc, argv, RUNCMD_LETTERS, OPTIONS, NULL)) != -1) {
        if (option == 'h') {
            fputs (HELP, stdout);
            goto done;
        }
        if (option == '?')
            status = cmd_bad_option ("run", argv);
        else
            status = runcmd_take (&o, option, optarg);
    }
    if (status == 0 && optind >= argc)
        status = cmd_usage ("run", "which job? Name a job file");
    if (status == 0 && optind + 1 < argc)
        status = cmd_usage ("run", "one job at a time: '%s' is one too many",
                            argv[optind + 1]);
    if (status == 0)
        status = runcmd_check (&o);
    if (status == 0) {
        o.path = argv[optind];
        o.argv = argv;
        o.own_words = (size_t) argc;
        status = runcmd_go (&o);
    }
done:
    runcmd_clear (&o);
    return status;
}
