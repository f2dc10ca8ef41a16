/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* cmd.h - the subcommands that are not `sluice node`
 *
 * Each takes its own argv (argv[0] is its name) and returns an exit status.
 */
#ifndef MASTER_CMD_H
#define MASTER_CMD_H

#include <stdbool.h>
#include <stdint.h>
#include "proto/key.h"
#include "proto/share.h"
#include "sluice/error.h"

int cmd_init (int argc, char **argv);
int cmd_key (int argc, char **argv);
int cmd_run (int argc, char **argv);
int cmd_map (int argc, char **argv);
int cmd_get (int argc, char **argv);
int cmd_nodes (int argc, char **argv);
int cmd_runs (int argc, char **argv);
int cmd_explain (int argc, char **argv);
int cmd_trace (int argc, char **argv);
int cmd_cancel (int argc, char **argv);
int cmd_doctor (int argc, char **argv);
/* What include/sluice/client.h starts: serves one program. Not for people. */
int cmd_serve (int argc, char **argv);
int cmd_show (int argc, char **argv);
int cmd_verify (int argc, char **argv);
int cmd_diff (int argc, char **argv);
int cmd_plot (int argc, char **argv);

/* "sluice NAME: TEXT" on stderr; the exit status that goes with it. */
int cmd_fail (const char *name, const sluice_error_t *err);
/* A usage error: one line and where help is. */
int cmd_usage (const char *name, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

/* The same for what getopt_long (opterr 0) has just refused. */
int cmd_bad_option (const char *name, char **argv);

/* An option: with a value, or one that is there or not. */
typedef struct {
    const char *name; /* of --name */
    char letter;      /* -o for --output; 0: none */
    const char **value;
    bool *flag; /* if value is NULL */
} cmd_option_t;

/* Read a command line of these options, of which the last has no name; --help and -h
 * print `help`. -1: go on, with what is not an option from argv[optind] on. Else it
 * is over, with this exit status. */
int cmd_options (int argc, char **argv, const char *help, const cmd_option_t *options);

/* `hits` runs begin with `prefix`, and not one: what to say of it. */
int cmd_no_run (const char *prefix, size_t hits, const char *where, sluice_error_t *err);

/* The share around `where` and its cluster, with the key from `key`, $SLUICE_KEY or
 * the share. A share that hangs is waited for some seconds. -1: both NULL. */
int cmd_cluster (const char *where, const char *key, share_t **share, cluster_t **cluster,
                 sluice_error_t *err);

/* cmd_cluster has failed, and the command goes on with the runs of this machine: say so
 * if the share is there, but does not answer. */
void cmd_only_here (const char *name, const sluice_error_t *err);

/* Open a plain file for reading; nothing else, which could block for ever. */
int cmd_open (const char *path, sluice_error_t *err);

/* Sizes as on the command line: 64M, 1G (powers of 1024). */
bool cmd_size (const char *text, uint64_t *size);
bool cmd_number (const char *text, uint64_t *number);
/* Seconds, more than none: 90, 0.5, 5m, 2h. */
bool cmd_seconds (const char *text, double *seconds);
/* "tcp://HOST:PORT"? */
bool cmd_endpoint (const char *text);

#endif
