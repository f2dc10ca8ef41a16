/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* show, verify, diff and plot: what is in a finished or unfinished file. */

#include "master/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/plot.h"
#include "master/h5check.h"

static bool asks_help (int argc, char **argv, const char *help)
{
    if (argc < 2 || (strcmp (argv[1], "--help") && strcmp (argv[1], "-h")))
        return false;
    fputs (help, stdout);
    return true;
}

int cmd_show (int argc, char **argv)
{
    sluice_error_t err = {0};
    bool first = argc == 3 && strcmp (argv[1], "--json") == 0;
    bool json = first || (argc == 3 && strcmp (argv[2], "--json") == 0);
    if (asks_help (
            argc, argv,
            "Usage: sluice show FILE [--json]\n\n"
            "What became of a run: status, totals, nodes, slowest tasks, failures.\n"))
        return 0;
    const char *path = argc > 1 ? argv[first ? 2 : 1] : "-";
    if ((argc != 2 && !json) || path[0] == '-')
        return cmd_usage ("show", "which file?");
    if (json ? check_show_json (path, stdout, &err) : check_show (path, stdout, 10, &err))
        return cmd_fail ("show", &err);
    return 0;
}

int cmd_verify (int argc, char **argv)
{
    sluice_error_t err = {0};
    check_report_t r;
    char digest[2 * DIGEST_BYTES + 1];
    if (asks_help (
            argc, argv,
            "Usage: sluice verify FILE\n\n"
            "Recompute every digest from the rows; check that the ledger tiles each\n"
            "table, that no item is there twice, and that the index agrees.\n"))
        return 0;
    if (argc != 2 || argv[1][0] == '-')
        return cmd_usage ("verify", "which file?");
    if (check_file (argv[1], &r, &err))
        return cmd_fail ("verify", &err);
    digest_text (r.digest, digest);
    printf ("%s: sound; %s, %llu tasks, %llu items, %llu rows, %llu bytes, digest %s\n",
            argv[1], r.status, (unsigned long long) r.tasks, (unsigned long long) r.items,
            (unsigned long long) r.rows, (unsigned long long) r.bytes, digest);
    return 0;
}

int cmd_diff (int argc, char **argv)
{
    sluice_error_t err = {0};
    bool equal = false;
    char why[500] = "";
    if (asks_help (
            argc, argv,
            "Usage: sluice diff A B\n\n"
            "Do two files hold the same content, whatever the order? Exit status 0 if\n"
            "so, 1 if not (the first difference is named).\n"))
        return 0;
    if (argc != 3 || argv[1][0] == '-' || argv[2][0] == '-')
        return cmd_usage ("diff", "which two files?");
    if (check_diff (argv[1], argv[2], &equal, why, &err))
        return cmd_fail ("diff", &err);
    puts (equal ? "equal" : why);
    return equal ? 0 : 1;
}

int cmd_plot (int argc, char **argv)
{
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"imt", required_argument, NULL, 'i'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *png = NULL, *imt = NULL;
    char *made = NULL;
    sluice_error_t err = {0};
    int option, status = 0;
    optind = 1;
    opterr = 0; /* the one line is ours */
    while ((option = getopt_long (argc, argv, "o:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs ("Usage: sluice plot FILE [-o PNG] [--imt IMT]\n\n"
                   "Draw the map of a scenario's median ground motion: a PNG beside "
                   "FILE.\n\n"
                   "  -o, --output PNG   write it here\n"
                   "      --imt IMT      PGA, SA(1.0), ...; the first of the file if "
                   "absent\n",
                   stdout);
            return 0;
        }
        if (option == 'o')
            png = optarg;
        else if (option == 'i')
            imt = optarg;
        else
            return cmd_bad_option ("plot", argv);
    }
    if (optind + 1 != argc)
        return cmd_usage ("plot", "which file?");
    const char *path = argv[optind], *dot = strrchr (path, '.');
    if (!png) {
        int stem = dot && !strchr (dot, '/') ? (int) (dot - path) : (int) strlen (path);
        if (asprintf (&made, "%.*s.png", stem, path) < 0)
            return 1;
        png = made;
    }
    if (plot_map (path, png, imt, &err))
        status = cmd_fail ("plot", &err);
    else
        printf ("%s\n", png);
    free (made);
    return status;
}
