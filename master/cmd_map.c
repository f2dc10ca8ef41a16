/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* map: any command over arguments, lines, columns, files or a range. */

#include "master/cmd.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calc/template.h"
#include "master/again.h"
#include "master/mapargs.h"
#include "master/runcmd.h"
#include "master/tofile.h"

static const char HELP[] =
    "Usage: sluice map [options] [--] COMMAND [WORD...] [::: ARGUMENT...]...\n"
    "       sluice map [options] --only-failed FILE\n"
    "\n"
    "Run a command once for each argument, on all nodes of the share around this\n"
    "folder and on this machine; without a share, on all cores of this machine. What\n"
    "commands print, and the arrays they leave, go to one HDF5 file.\n"
    "\n"
    "Arguments:\n"
    "  ::: A B C              these; '*.xml' (quoted) stands for the files of that name\n"
    "  :::: FILE, -a FILE     the lines of a file; of a CSV file, if the command has\n"
    "                         names of columns in it, as in: ./sim {lon} {lat}\n"
    "      --csv FILE         the rows of a CSV file with a header\n"
    "      --range A:B[:STEP] the numbers A, A + 1, ... B - 1\n"
    "                         none of these: the lines of standard input\n"
    "  -0, --null             lines end in a NUL\n"
    "      --no-glob          take '*.xml' as it stands\n"
    "Several sources give all combinations, the last one changing fastest.\n"
    "\n"
    "In the command:\n"
    "  {}  {.}  {/}  {//}  {/.}   the argument; without its extension; without its\n"
    "                         folder; its folder; without folder and extension\n"
    "  {#}                    the number of the item, from 1\n"
    "  {2} {2.} {lon} ...     the same of a source or column. No {} at all: it is added\n"
    "A command of one word with blanks in it is for the shell (--shell: any one word).\n"
    "\n"
    "It finds SLUICE_TASK (the item's number, from 0), SLUICE_SEED, SLUICE_SCRATCH (a\n"
    "folder of its own) and SLUICE_OUT: of what it leaves there NAME.npy becomes rows "
    "of\n"
    "table NAME, and any other file is kept under its name.\n"
    "\n"
    "      --cores-per-task N cores that each one takes (default 1)\n"
    "      --max-row SIZE     largest row of an array (default 1M)\n"
    "      --env NAME         give it this variable of mine; may be repeated\n"
    "      --tee              show what tasks print on stdout, in order, whole tasks\n"
    "  -k, --keep-order       the same, under the name GNU parallel has for it\n"
    "      --dry-run          show the commands, run nothing\n"
    "      --only-failed FILE what failed there, or was not begun; COMMAND and\n"
    "                         arguments are those of FILE if not given\n"
    "  -o, --output FILE      the file to write (default: map-001.h5 here, "
    "numbered)\n" RUNCMD_HELP "\n" RUNCMD_STATUS;

enum {
    OPT_CSV = RUNCMD_MORE,
    OPT_RANGE,
    OPT_NO_GLOB,
    OPT_SHELL,
    OPT_CORES_PER_TASK,
    OPT_MAX_ROW,
    OPT_ENV,
    OPT_TEE,
    OPT_DRY_RUN,
    OPT_ONLY_FAILED
};

static const struct option OPTIONS[] = {
    RUNCMD_OPTIONS{"arg-file", required_argument, NULL, 'a'},
    {"csv", required_argument, NULL, OPT_CSV},
    {"range", required_argument, NULL, OPT_RANGE},
    {"null", no_argument, NULL, '0'},
    {"no-glob", no_argument, NULL, OPT_NO_GLOB},
    {"shell", no_argument, NULL, OPT_SHELL},
    {"cores-per-task", required_argument, NULL, OPT_CORES_PER_TASK},
    {"max-row", required_argument, NULL, OPT_MAX_ROW},
    {"env", required_argument, NULL, OPT_ENV},
    {"tee", no_argument, NULL, OPT_TEE},
    {"keep-order", no_argument, NULL, 'k'},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"only-failed", required_argument, NULL, OPT_ONLY_FAILED},
    {0},
};

enum { MAX_SOURCES = 100, MAX_ENVIRONMENT = 200 };

typedef struct {
    run_options_t run;
    map_job_t job;
    source_order_t orders[MAX_SOURCES];
    size_t norders;
    char *environment[MAX_ENVIRONMENT];
    size_t nenvironment;
    const char *only_failed;
    bool null, no_glob, shell, dry_run;
    again_t again;
    arguments_t *arguments; /* of the command line */
    char label[200];
} map_t;

/* ---- the command line ------------------------------------------------------- */

static int add_source (map_t *self, source_kind_t kind, const char *text)
{
    if (self->norders == MAX_SOURCES)
        return cmd_usage ("map", "more than %d sources", MAX_SOURCES);
    self->orders[self->norders++] = (source_order_t){kind, text};
    return 0;
}

/* The value goes along as it is here; with `real` without links, so that a path into
 * the share can be told as such. */
static int add_variable (map_t *self, const char *name, bool real)
{
    char buffer[PATH_MAX];
    const char *value = getenv (name);
    if (!value)
        return 0;
    if (self->nenvironment == MAX_ENVIRONMENT)
        return cmd_usage ("map", "more than %d variables", MAX_ENVIRONMENT);
    if (real && realpath (value, buffer))
        value = buffer;
    if (asprintf (&self->environment[self->nenvironment], "%s=%s", name, value) < 0)
        return cmd_usage ("map", "out of memory");
    self->nenvironment++;
    return 0;
}

/* PATH, each folder of it without links. */
static int add_path (map_t *self)
{
    const char *path = getenv ("PATH");
    char *copy = path ? strdup (path) : NULL, *rest = copy, *part, real[PATH_MAX];
    char *text = NULL;
    size_t n = 0;
    FILE *out = copy ? open_memstream (&text, &n) : NULL;
    if (!out) {
        free (copy);
        return path ? cmd_usage ("map", "out of memory") : 0;
    }
    fputs ("PATH=", out);
    for (const char *between = ""; (part = strsep (&rest, ":")); between = ":")
        fprintf (out, "%s%s", between,
                 part[0] == '/' && realpath (part, real) ? real : part);
    fclose (out);
    free (copy);
    self->environment[self->nenvironment++] = text;
    return 0;
}

static int take (map_t *self, int option, const char *value)
{
    uint64_t number = 0;
    bool good = true;
    switch (option) {
    case 'a':
        return add_source (self, SOURCE_LINES, value);
    case OPT_CSV:
        return add_source (self, SOURCE_CSV, value);
    case OPT_RANGE:
        return add_source (self, SOURCE_RANGE, value);
    case '0':
        self->null = true;
        break;
    case OPT_NO_GLOB:
        self->no_glob = true;
        break;
    case OPT_SHELL:
        self->shell = true;
        break;
    case 'k':
    case OPT_TEE:
        self->run.tee = true;
        break;
    case OPT_DRY_RUN:
        self->dry_run = true;
        break;
    case OPT_ONLY_FAILED:
        self->only_failed = value;
        break;
    case OPT_CORES_PER_TASK:
        good = cmd_number (value, &number) && number >= 1 && number <= 4096;
        self->job.cores_per_task = (unsigned) number;
        break;
    case OPT_MAX_ROW:
        good = cmd_size (value, &self->job.max_row) && self->job.max_row <= ROW_MAX_BYTES;
        break;
    case OPT_ENV:
        if (!getenv (value))
            return cmd_usage ("map", "--env %s: it is not set here", value);
        return add_variable (self, value, false);
    default:
        return runcmd_take (&self->run, option, value);
    }
    const struct option *known = OPTIONS;
    while (known->name && known->val != option)
        known++;
    return good ? 0
                : cmd_usage ("map", "--%s: '%s' is not a number that is right here",
                             known->name, value);
}

/* ---- what is to be run -------------------------------------------------------- */

static bool any_named (char **words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (template_has_name (words[i]))
            return true;
    return false;
}

/* Of an earlier file: what is not given here is as it was there. */
static int take_again (map_t *self, bool command, sluice_error_t *err)
{
    again_t *again = &self->again;
    char here[PATH_MAX];
    if (again_read (self->only_failed, self->arguments, again, err))
        return -1;
    size_t n = again->folder ? strlen (again->folder) : 0, m;
    if (!command && n && realpath (".", here) &&
        ((m = strlen (here)) < n || strcmp (here + m - n, again->folder) != 0) &&
        strcmp (again->folder, ".") != 0)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "%s: its commands were started in %s; run it again from there",
            self->only_failed, again->folder);
    if (!self->run.has_seed) {
        self->run.has_seed = true;
        self->run.seed = again->seed;
    }
    if (self->run.timeout <= 0)
        self->run.timeout = again->timeout;
    if (!self->job.max_row)
        self->job.max_row = again->max_row;
    if (!self->run.memory)
        self->run.memory = again->memory;
    self->job.spec.arguments = again->arguments;
    if (!command) {
        self->job.spec.words = (const char *const *) again->words;
        self->job.spec.nwords = again->nwords;
        self->job.spec.shell = again->shell;
    }
    return 0;
}

static int prepare (map_t *self, char **words, size_t n, sluice_error_t *err)
{
    map_spec_t *spec = &self->job.spec;
    size_t ncommand = mapargs_command (words, n);
    bool command = ncommand > 0, given = self->norders || ncommand < n;
    if (!command && !self->only_failed)
        return sluice_fail (err, SLUICE_EINPUT, "which command? See: sluice map --help");
    if (given || !self->only_failed) {
        self->arguments = arguments_new (err);
        if (!self->arguments ||
            mapargs_read (self->arguments, self->orders, self->norders, words + ncommand,
                          n - ncommand, any_named (words, ncommand), self->null,
                          !self->no_glob, err))
            return -1;
    }
    spec->arguments = self->arguments;
    spec->words = (const char *const *) words;
    spec->nwords = ncommand;
    if (command)
        spec->shell = ncommand == 1 && (self->shell || (template_wants_shell (words[0]) &&
                                                        access (words[0], F_OK) < 0));
    if (self->shell && command && ncommand != 1)
        return sluice_fail (err, SLUICE_EINPUT,
                            "--shell takes a command of one word: quote it");
    if (self->only_failed && take_again (self, command, err))
        return -1;
    spec->environment = (const char *const *) self->environment;
    spec->nenvironment = self->nenvironment;
    spec->look_here = !self->run.no_local && self->run.nnodes == 0;
    if (spec->shell)
        snprintf (self->label, sizeof self->label, "%s", spec->words[0]);
    else
        template_print ((char *const *) spec->words, self->label, sizeof self->label);
    self->job.label = self->label;
    self->run.map = &self->job;
    return 0;
}

static int show_commands (const map_t *self, sluice_error_t *err)
{
    static arguments_row_t row;
    const map_spec_t *spec = &self->job.spec;
    const arguments_t *arguments = spec->arguments;
    template_t *command =
        template_new (spec->words, spec->nwords, spec->shell, arguments_names (arguments),
                      arguments_columns (arguments), err);
    uint64_t items = command ? arguments_items (arguments) : 0;
    bool good = command != NULL;
    if (good && items == 0)
        good = sluice_fail (err, SLUICE_EINPUT,
                            "there are no arguments, so nothing is to be run") == 0;
    for (uint64_t i = 0; good && i < items && !ferror (stdout); i++) {
        arguments_get (arguments, i, &row);
        char **words =
            template_expand (command, row.values, arguments_number (arguments, i));
        good = words && template_put (words + (spec->shell ? 2 : 0), spec->shell, stdout);
        if (!good)
            sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        free (words);
    }
    template_destroy (&command);
    return good ? 0 : -1;
}

/* --force is about an output, not about what its arguments come from. */
static int spare_inputs (const map_t *self, sluice_error_t *err)
{
    const char *output = self->run.output, *input = NULL;
    for (size_t i = 0; output && i < self->norders; i++)
        if (self->orders[i].kind != SOURCE_RANGE &&
            tofile_same (self->orders[i].text, output))
            input = self->orders[i].text;
    if (output && self->only_failed && tofile_same (self->only_failed, output))
        input = self->only_failed;
    return input
               ? sluice_fail (err, SLUICE_EINPUT,
                              "output %s: is the input %s; use another -o", output, input)
               : 0;
}

static int go (map_t *self, char **words, size_t n)
{
    sluice_error_t err = {0};
    int status = add_path (self);
    if (status == 0)
        status = add_variable (self, "VIRTUAL_ENV", true);
    if (status == 0)
        status = runcmd_check (&self->run);
    if (status)
        return status;
    if (prepare (self, words, n, &err))
        return cmd_fail ("map", &err);
    if (self->only_failed && !self->again.arguments) {
        if (!self->run.quiet)
            fprintf (stderr, "sluice map: %s: all its %llu items are done\n",
                     self->only_failed, (unsigned long long) self->again.items);
        return 0;
    }
    if (self->dry_run)
        return show_commands (self, &err) ? cmd_fail ("map", &err) : 0;
    if (spare_inputs (self, &err))
        return cmd_fail ("map", &err);
    return runcmd_go (&self->run);
}

int cmd_map (int argc, char **argv)
{
    static map_t self; /* large */
    int option, status = 0;
    self.run = (run_options_t){.command = "map", .disk_wait = 600};
    optind = 1;
    opterr = 0; /* the one line is ours */
    while (status == 0 && (option = getopt_long (argc, argv, "+a:0k" RUNCMD_LETTERS,
                                                 OPTIONS, NULL)) != -1) {
        if (option == 'h') {
            fputs (HELP, stdout);
            goto done;
        }
        status =
            option == '?' ? cmd_bad_option ("map", argv) : take (&self, option, optarg);
    }
    self.run.argv = argv;
    self.run.own_words = (size_t) optind;
    if (status == 0)
        status = go (&self, argv + optind, (size_t) (argc - optind));
done:
    again_clear (&self.again);
    arguments_destroy (&self.arguments);
    for (size_t i = 0; i < self.nenvironment; i++)
        free (self.environment[i]);
    runcmd_clear (&self.run);
    return status;
}
