/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* init and key: making a cluster, and naming it. */

#include "master/cmd.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/key.h"
#include "proto/share.h"

int cmd_init (int argc, char **argv)
{
    sluice_error_t err = {0};
    if (argc == 2 && (!strcmp (argv[1], "--help") || !strcmp (argv[1], "-h"))) {
        fputs (
            "Usage: sluice init DIR\n\n"
            "Make DIR a share: the folder that all machines of the cluster see. It gets\n"
            "DIR/.sluice with the share's name and the cluster's key; who can read the\n"
            "key is a member. Then, on each machine: sluice node DIR\n",
            stdout);
        return 0;
    }
    if (argc != 2 || argv[1][0] == '-')
        return cmd_usage ("init", "which folder? Name one that all machines see");
    /* Jobs below a share inside another would miss the nodes of the outer one. */
    share_t *around = share_find (argv[1], NULL);
    char here[PATH_MAX];
    if (around && !(realpath (argv[1], here) && !strcmp (here, share_root (around)))) {
        sluice_fail (&err, SLUICE_EINPUT, "%s lies in the share %s already; use that",
                     argv[1], share_root (around));
        share_destroy (&around);
        return cmd_fail ("init", &err);
    }
    share_destroy (&around);
    if (share_create (argv[1], &err))
        return cmd_fail ("init", &err);
    printf ("%s is a share now. On each machine: sluice node %s\n"
            "Then, from any of them: sluice run %s/JOB.ini\n",
            argv[1], argv[1], argv[1]);
    return 0;
}

int cmd_key (int argc, char **argv)
{
    sluice_error_t err = {0};
    if (argc == 2 && (!strcmp (argv[1], "--help") || !strcmp (argv[1], "-h"))) {
        fputs (
            "Usage: sluice key [DIR | FILE]\n"
            "       sluice key --new FILE\n\n"
            "Print the fingerprint of the cluster key of a share (default: the share\n"
            "around this folder) or of a key file: equal on all machines of a cluster,\n"
            "and nothing that must be kept secret. --new makes a key file.\n",
            stdout);
        return 0;
    }
    if (argc == 3 && strcmp (argv[1], "--new") == 0) {
        if (key_create (argv[2], &err))
            return cmd_fail ("key", &err);
        printf ("%s holds a new cluster key; use it with --key or $SLUICE_KEY\n",
                argv[2]);
        return 0;
    }
    if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
        return cmd_usage ("key", "name a share or a key file");
    const char *where = argc == 2 ? argv[1] : ".";
    share_t *share = share_find (where, &err);
    if (!share && err.code != SLUICE_OK)
        return cmd_fail ("key", &err);
    if (!share && argc < 2) {
        sluice_fail (&err, SLUICE_EINPUT,
                     "no share around this folder; make one with: "
                     "sluice init DIR");
        return cmd_fail ("key", &err);
    }
    /* A file outside any share, or one that is not the share's key. */
    const char *path = share ? share_key_path (share) : where;
    cluster_t *cluster = cluster_new_from_file (path, &err);
    if (!cluster) {
        share_destroy (&share);
        return cmd_fail ("key", &err);
    }
    printf ("%s  %s\n", cluster_fingerprint (cluster), path);
    cluster_destroy (&cluster);
    share_destroy (&share);
    return 0;
}
