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
#include "master/tofile.h"

int cmd_show (int argc, char **argv)
{
    sluice_error_t err = {0};
    bool json = false;
    int status = cmd_options (
        argc, argv,
        "Usage: sluice show FILE [--json]\n\n"
        "What became of a run: status, totals, nodes, slowest tasks, failures.\n",
        (cmd_option_t[]){{"json", .flag = &json}, {0}});
    if (status >= 0)
        return status;
    if (optind + 1 != argc)
        return cmd_usage ("show", "which file?");
    const char *path = argv[optind];
    if (json ? check_show_json (path, stdout, &err) : check_show (path, stdout, 10, &err))
        return cmd_fail ("show", &err);
    return 0;
}

int cmd_verify (int argc, char **argv)
{
    sluice_error_t err = {0};
    check_report_t r;
    char digest[2 * DIGEST_BYTES + 1];
    int status = cmd_options (
        argc, argv,
        "Usage: sluice verify FILE\n\n"
        "Recompute every digest from the rows; check that the ledger tiles each\n"
        "table, that no item is there twice, and that the index agrees.\n",
        (cmd_option_t[]){{0}});
    if (status >= 0)
        return status;
    if (optind + 1 != argc)
        return cmd_usage ("verify", "which file?");
    const char *path = argv[optind];
    if (check_file (path, &r, &err))
        return cmd_fail ("verify", &err);
    digest_text (r.digest, digest);
    printf ("%s: sound; %s, %llu tasks, %llu items, %llu rows, %llu bytes, digest %s\n",
            path, r.status, (unsigned long long) r.tasks, (unsigned long long) r.items,
            (unsigned long long) r.rows, (unsigned long long) r.bytes, digest);
    return 0;
}

int cmd_diff (int argc, char **argv)
{
    sluice_error_t err = {0};
    bool equal = false;
    char why[500] = "";
    int status = cmd_options (
        argc, argv,
        "Usage: sluice diff A B\n\n"
        "Do two files hold the same content, whatever the order? Exit status 0 if\n"
        "so, 1 if not (the first difference is named).\n",
        (cmd_option_t[]){{0}});
    if (status >= 0)
        return status;
    if (optind + 2 != argc)
        return cmd_usage ("diff", "which two files?");
    if (check_diff (argv[optind], argv[optind + 1], &equal, why, &err))
        return cmd_fail ("diff", &err);
    puts (equal ? "equal" : why);
    return equal ? 0 : 1;
}

int cmd_plot (int argc, char **argv)
{
    const char *png = NULL, *imt = NULL;
    char *made = NULL;
    sluice_error_t err = {0};
    int status = cmd_options (
        argc, argv,
        "Usage: sluice plot FILE [-o PNG] [--imt IMT]\n\n"
        "Draw the map of a scenario's median ground motion: a PNG beside FILE.\n\n"
        "  -o, --output PNG   write it here\n"
        "      --imt IMT      PGA, SA(1.0), ...; the first of the file if absent\n",
        (cmd_option_t[]){{"output", 'o', .value = &png}, {"imt", .value = &imt}, {0}});
    if (status >= 0)
        return status;
    if (optind + 1 != argc)
        return cmd_usage ("plot", "which file?");
    const char *path = argv[optind], *dot = strrchr (path, '.');
    if (!png) {
        int stem = dot && !strchr (dot, '/') ? (int) (dot - path) : (int) strlen (path);
        if (asprintf (&made, "%.*s.png", stem, path) < 0)
            return 1;
        png = made;
    }
    status = 0;
    if (tofile_spare (png, &err) || plot_map (path, png, imt, &err))
        status = cmd_fail ("plot", &err);
    else
        printf ("%s\n", png);
    free (made);
    return status;
}
