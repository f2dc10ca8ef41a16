/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/resume.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/template.h"
#include "master/identity.h"
#include "master/outpath.h"
#include "master/outread.h"
#include "master/progress.h"
#include "master/snapshot.h"
#include "proto/clock.h"

/* ---- which file ------------------------------------------------------------------- */

/* STEM-NNN.h5? */
static bool is_numbered (const char *name, const char *stem, size_t n)
{
    if (strncmp (name, stem, n) != 0 || name[n] != '-' ||
        !isdigit ((unsigned char) name[n + 1]))
        return false;
    name += n + 1;
    while (isdigit ((unsigned char) *name))
        name++;
    return strcmp (name, ".h5") == 0;
}

static bool is_newer (const struct stat *a, const struct stat *b)
{
    if (a->st_mtim.tv_sec != b->st_mtim.tv_sec)
        return a->st_mtim.tv_sec > b->st_mtim.tv_sec;
    return a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

char *resume_newest (const char *stem, size_t n, sluice_error_t *err)
{
    DIR *folder = opendir (".");
    char *newest = NULL;
    struct stat best = {0}, st;
    if (!folder) {
        sluice_fail (err, SLUICE_EINPUT, "this folder: %s", strerror (errno));
        return NULL;
    }
    for (const struct dirent *entry; (entry = readdir (folder));) {
        if (!is_numbered (entry->d_name, stem, n) || stat (entry->d_name, &st) < 0 ||
            !S_ISREG (st.st_mode) || (newest && !is_newer (&st, &best)))
            continue;
        free (newest);
        newest = strdup (entry->d_name);
        best = st;
        if (!newest) {
            sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
            break;
        }
    }
    closedir (folder);
    return newest;
}

/* ---- what is there -------------------------------------------------------------------
 */

static unsigned hex_digit (char c)
{
    return (unsigned) (c <= '9' ? c - '0' : (c | 32) - 'a' + 10) & 15;
}

/* What digest_text has made of it. */
static void read_digest (const char *text, uint8_t digest[DIGEST_BYTES])
{
    memset (digest, 0, DIGEST_BYTES);
    if (strlen (text) != 2 * DIGEST_BYTES)
        return;
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        digest[DIGEST_BYTES - 1 - i] =
            (uint8_t) (hex_digit (text[2 * i]) << 4 | hex_digit (text[2 * i + 1]));
}

static void fill_result (const output_t *output, run_result_t *result)
{
    *result = (run_result_t){.status = "complete",
                             .done = output->items,
                             .data_path = "none",
                             .totals = {.tasks = output->tasks.rows,
                                        .items = output->items,
                                        .file_bytes = output->file_bytes}};
    for (size_t i = 0; i < output->nall; i++) {
        const rows_t *table = output->tables + i;
        if (i == output->ntables)
            continue;
        result->totals.rows += table->rows;
        result->totals.bytes += table->rows * table->row_bytes;
    }
    result->taken =
        (writer_taken_t){.items = output->items, .bytes = result->totals.bytes};
    read_digest (output->digest, result->totals.digest);
}

int resume_look (const job_t *job, run_result_t *result, sluice_error_t *err)
{
    char *parameters = parameters_json (job->params);
    identity_t *identity = NULL;
    output_t *output = NULL;
    int rc = -1;
    if (!parameters)
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    else
        identity = identity_new (job->plan, job->kernel_label, kernel_hash (job->kernel),
                                 parameters, err);
    if (identity)
        output = output_open (job->output, err);
    if (identity && !output && err->code == SLUICE_EOUTPUT)
        rc = 0; /* it may have been cut, which the writer sees to */
    if (output) {
        rc = identity_check (identity, output->group, err);
        if (rc == 0) /* that the job would have others now does not matter */
            plan_lengthen (job->plan, output->longer);
        if (rc < 0)
            sluice_fail_at (err, "output %s: cannot go on with it", job->output);
        else if (strcmp (output->status, "complete") == 0) {
            fill_result (output, result);
            outpath_tidy (job->output);
            rc = 1;
        }
    }
    output_close (&output);
    identity_destroy (&identity);
    free (parameters);
    return rc;
}

/* ---- going on ---------------------------------------------------------------------- */

typedef struct {
    const job_t *job;
    progress_t progress;
    double began, last;
    bool terminal, shown;
} check_t;

static int checking (void *arg, uint64_t bytes, uint64_t of, sluice_error_t *err)
{
    check_t *self = arg;
    const job_t *job = self->job;
    double now = clock_seconds ();
    char done[16], all[16];
    if (job->stopped && job->stopped ())
        return sluice_fail (err, SLUICE_ECANCELLED, "cancelled");
    if (job->options.quiet || now - self->last < (self->terminal ? 0.2 : 10))
        return 0;
    self->last = now;
    self->shown = self->terminal;
    fprintf (stderr,
             self->terminal ? "\r\033[Ksluice %s: checking %s: %s of %s"
                            : "sluice %s: checking %s: %s of %s\n",
             job->options.command, job->output, human_bytes ((double) bytes, done),
             human_bytes ((double) of, all));
    return 0;
}

writer_t *resume_open (job_t *job, writer_options_t *options, sluice_error_t *err)
{
    check_t check = {.job = job, .terminal = isatty (STDERR_FILENO)};
    check.last = clock_seconds ();
    options->checking = checking;
    options->checking_arg = &check;
    writer_t *writer = writer_resume (options, err);
    if (check.shown)
        fputs ("\r\033[K", stderr);
    if (!writer)
        return NULL;
    writer_taken_t taken;
    writer_taken (writer, &taken);
    if (taken.damaged_tasks)
        fprintf (stderr,
                 "sluice %s: %s: the results of %llu task%s (%llu items) are damaged and "
                 "are computed again\n",
                 job->options.command, job->output,
                 (unsigned long long) taken.damaged_tasks,
                 taken.damaged_tasks == 1 ? "" : "s",
                 (unsigned long long) taken.damaged_items);
    if (!job->options.quiet)
        fprintf (stderr, "sluice %s: going on with %s: %llu of %llu items are there\n",
                 job->options.command, job->output, (unsigned long long) taken.items,
                 (unsigned long long) job->plan->items);
    return writer;
}

/* ---- advice ---------------------------------------------------------------------------
 */

void resume_advise (const job_t *job, sluice_error_t *err)
{
    sluice_error_t why = {0};
    if (job->options.force || err->code != SLUICE_EINPUT ||
        access (job->output, F_OK) != 0)
        return;
    output_t *output = output_open (job->output, &why);
    if (output && strcmp (output->status, "complete") != 0)
        sluice_fail (err, SLUICE_EINPUT,
                     "output %s: exists and is not complete; go on with it by --resume, "
                     "or replace it by --force",
                     job->output);
    output_close (&output);
}

/* A command line longer than this is not worth showing again. */
enum { LONG_COMMAND = 400 };

/* Is this one of the options that the new command line has anyway, or must not have? */
static bool is_ours (const char *word)
{
    return strcmp (word, "--resume") == 0 || strcmp (word, "--force") == 0;
}

/* The command line as it was, with --resume, and the output if it was not named. */
static bool command_text (const job_t *job, char text[LONG_COMMAND])
{
    const run_options_t *o = &job->options;
    size_t n = 0, most = 0, bytes = 0;
    while (o->argv && o->argv[most])
        bytes += strlen (o->argv[most++]) + 1;
    char **words = calloc (most + 6, sizeof *words);
    bool fits = words && most && bytes + strlen (job->output) + 20 < LONG_COMMAND / 2;
    if (fits) {
        words[n++] = (char *) (uintptr_t) "sluice";
        words[n++] = o->argv[0];
        words[n++] = (char *) (uintptr_t) "--resume";
        if (!o->output) {
            words[n++] = (char *) (uintptr_t) "-o";
            words[n++] = job->output;
        }
        for (size_t i = 1; i < most; i++)
            if (i >= o->own_words || !is_ours (o->argv[i]))
                words[n++] = o->argv[i];
        template_print (words, text, LONG_COMMAND);
    }
    free (words);
    return fits;
}

void resume_tell (const job_t *job)
{
    char text[LONG_COMMAND];
    if (job->options.quiet || job->options.nameless || job->options.feed ||
        access (job->output, F_OK) != 0)
        return;
    if (command_text (job, text))
        fprintf (stderr, "sluice %s: to go on with it: %s\n", job->options.command, text);
    else
        fprintf (stderr,
                 "sluice %s: to go on with it: the same command with --resume -o %s\n",
                 job->options.command, job->output);
}
