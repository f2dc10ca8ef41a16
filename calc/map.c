/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/map.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/collect.h"
#include "calc/command.h"
#include "calc/kernel_host.h"
#include "calc/map_plan.h"
#include "calc/template.h"
#include "proto/folder.h"
#include "proto/text.h"

enum {
    STDOUT_TABLE = 0,
    STDERR_TABLE = 1,
    TAIL_KEPT = 4000,    /* of stderr, for the record of a failure */
    SEED_STREAM = 0x5eed /* of sluice_random */
};

typedef struct {
    arguments_t *arguments;
    template_t *command;
    char *folder;    /* here */
    char *from, *to; /* where the share lies there, and here; NULL: the same */
    double timeout;
    uint64_t memory, max_row;
} map_t;

/* ---- open ------------------------------------------------------------------ */

/* Texts one behind the other, each with its NUL. */
static const char **split (const sluice_array_t *array, size_t *n)
{
    const char *text = array->data, *end = text + array->shape[0];
    const char **list = NULL;
    *n = 0;
    if (array->ndim != 1 || sluice_dtype_size (array->dtype) != 1 ||
        array->shape[0] == 0 || end[-1] != '\0')
        return NULL;
    for (const char *at = text; at < end; at += strlen (at) + 1)
        ++*n;
    list = calloc (*n + 1, sizeof *list);
    for (size_t i = 0; list && i < *n; i++, text += strlen (text) + 1)
        list[i] = text;
    return list;
}

/* Does a path begin at `text + at`? Not in the middle of one. */
static bool begins_path (const char *text, size_t at)
{
    return at == 0 || strchr ("=:,;'\" ", text[at - 1]);
}

/* The text with paths into the share as they are here; malloc'd. */
static char *moved (const map_t *self, const char *text)
{
    size_t from = self->from ? strlen (self->from) : 0, to = from ? strlen (self->to) : 0;
    size_t hits = 0;
    for (const char *at = text; from && (at = strstr (at, self->from)); at += from)
        hits++;
    char *out = malloc (strlen (text) + hits * to + 1), *end = out;
    for (size_t i = 0; out && text[i];) {
        if (hits && strncmp (text + i, self->from, from) == 0 && begins_path (text, i) &&
            (text[i + from] == '/' || text[i + from] == '\0' || text[i + from] == ':')) {
            end = mempcpy (end, self->to, to);
            i += from;
        } else
            *end++ = text[i++];
    }
    if (out)
        *end = '\0';
    return out;
}

static int set_environment (const map_t *self, const char *const *list, size_t n,
                            sluice_error_t *err)
{
    for (size_t i = 0; i < n; i++) {
        char *text = moved (self, list[i]), *equals = text ? strchr (text, '=') : NULL;
        int rc = -1;
        if (equals) {
            *equals = '\0';
            rc = setenv (text, equals + 1, 1);
        }
        free (text);
        if (rc)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    return 0;
}

/* Where the submitter's folder and share are here. */
static int find_folder (map_t *self, const sluice_inputs_t *inputs, sluice_error_t *err)
{
    const share_t *share = inputs_share (inputs);
    const char *folder = sluice_params_get (sluice_inputs_params (inputs), "folder");
    const char *root = sluice_params_get (sluice_inputs_params (inputs), "share_root");
    if (!folder || !root)
        return sluice_fail (err, SLUICE_EINPUT, "a run of commands without a folder");
    int n = share_confined (share)
                ? asprintf (&self->folder, "%s/%s", share_root (share), folder)
                : asprintf (&self->folder, "%s", folder);
    if (n < 0) {
        self->folder = NULL;
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    if (share_confined (share) && strcmp (root, share_root (share)) != 0) {
        self->from = strdup (root);
        self->to = strdup (share_root (share));
        if (!self->from || !self->to)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    return 0;
}

static void close_map (void *state)
{
    map_t *self = state;
    arguments_destroy (&self->arguments);
    template_destroy (&self->command);
    free (self->folder);
    free (self->from);
    free (self->to);
    free (self);
}

static int open_command (map_t *self, const sluice_inputs_t *inputs, sluice_error_t *err)
{
    const sluice_params_t *params = sluice_inputs_params (inputs);
    const sluice_array_t *words = sluice_inputs_get (inputs, MAP_WORDS, err);
    const sluice_array_t *env = sluice_inputs_get (inputs, MAP_ENVIRONMENT, NULL);
    size_t n = 0, nenv = 0;
    const char **list = words ? split (words, &n) : NULL;
    const char **envlist = env ? split (env, &nenv) : NULL;
    int rc = list && (envlist || !env)
                 ? 0
                 : sluice_fail (err, SLUICE_EINPUT, "the command of the run is damaged");
    if (rc == 0)
        rc = set_environment (self, envlist, nenv, err);
    if (rc == 0) {
        self->command = template_new (
            list, n, sluice_params_get (params, "shell") != NULL,
            arguments_names (self->arguments), arguments_columns (self->arguments), err);
        rc = self->command ? 0 : -1;
    }
    free (list);
    free (envlist);
    if (rc)
        return -1;
    const char *program = template_program (self->command);
    char *here = program ? moved (self, program) : NULL;
    if (here)
        rc = command_check (here, getenv ("PATH"), self->folder, err);
    else if (access (self->folder, X_OK) < 0)
        rc = sluice_fail (err, SLUICE_EINPUT, "the folder %s: %s", self->folder,
                          strerror (errno));
    free (here);
    return rc;
}

static int open_map (sluice_inputs_t *inputs, void **state, sluice_error_t *err)
{
    const sluice_params_t *params = sluice_inputs_params (inputs);
    map_t *self = calloc (1, sizeof *self);
    if (!self)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    self->max_row = CHUNK_BYTES;
    self->arguments = arguments_open (inputs, err);
    if (self->arguments && find_folder (self, inputs, err) == 0 &&
        open_command (self, inputs, err) == 0 &&
        sluice_params_f64 (params, "timeout", &self->timeout, err) == 0 &&
        sluice_params_size (params, "memory", &self->memory, err) == 0 &&
        sluice_params_size (params, "max_row", &self->max_row, err) == 0) {
        *state = self;
        return 0;
    }
    close_map (self);
    return -1;
}

/* ---- run ------------------------------------------------------------------- */

typedef struct {
    const map_t *map;
    sluice_task_t *task;
    uint64_t item;
    char **words; /* as they are run */
    char *scratch, *out;
    char tail[TAIL_KEPT], out_tail[1000];
    size_t ntail, nout_tail;
} item_t;

static void keep_tail (char *tail, size_t *have, size_t most, const char *data, size_t n)
{
    if (n > most) {
        data += n - most;
        n = most;
    }
    size_t keep = *have < most - n ? *have : most - n;
    memmove (tail, tail + *have - keep, keep);
    memcpy (tail + keep, data, n);
    *have = keep + n;
}

static int take_output (void *arg, bool is_stderr, const void *data, size_t n)
{
    item_t *self = arg;
    if (is_stderr)
        keep_tail (self->tail, &self->ntail, sizeof self->tail, data, n);
    else
        keep_tail (self->out_tail, &self->nout_tail, sizeof self->out_tail, data, n);
    return sluice_emit (self->task, self->item, is_stderr ? STDERR_TABLE : STDOUT_TABLE,
                        data, n);
}

/* Is this an empty folder as we make them? One that is, is as good as new, and costs a
 * file system less. */
static bool is_fresh (const char *path)
{
    struct stat st;
    unsigned n = 0;
    DIR *dir = opendir (path);
    if (!dir)
        return false;
    while (n <= 2 && readdir (dir))
        n++;
    bool fresh = n == 2 && fstat (dirfd (dir), &st) == 0 && st.st_uid == geteuid () &&
                 (st.st_mode & 07777) == 0700;
    closedir (dir);
    return fresh && lstat (path, &st) == 0 && S_ISDIR (st.st_mode);
}

static int make_folder (const char *path)
{
    if (is_fresh (path))
        return 0;
    folder_remove (path);
    return mkdir (path, 0700);
}

static int make_folders (item_t *self, sluice_error_t *err)
{
    const char *scratch = sluice_scratch (self->task);
    if (asprintf (&self->scratch, "%s/task", scratch) < 0)
        self->scratch = NULL;
    if (asprintf (&self->out, "%s/out", scratch) < 0)
        self->out = NULL;
    if (!self->scratch || !self->out)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (make_folder (self->scratch) < 0 || make_folder (self->out) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "no scratch folder in %s: %s", scratch,
                            strerror (errno));
    return 0;
}

/* The words for this item; with paths as they are here each is a block of its own. */
static int make_words (item_t *self, sluice_error_t *err)
{
    static arguments_row_t row; /* large; a worker has one thread */
    const map_t *map = self->map;
    arguments_get (map->arguments, self->item, &row);
    self->words = template_expand (map->command, row.values,
                                   arguments_number (map->arguments, self->item));
    if (!self->words)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a command's words");
    for (size_t i = 0; map->from && self->words[i]; i++)
        if (!(self->words[i] = moved (map, self->words[i])))
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    return 0;
}

static void clear_item (item_t *self)
{
    if (self->scratch && !is_fresh (self->scratch))
        folder_remove (self->scratch);
    if (self->out && !is_fresh (self->out))
        folder_remove (self->out);
    for (size_t i = 0; self->map->from && self->words && self->words[i]; i++)
        free (self->words[i]);
    free (self->words);
    free (self->scratch);
    free (self->out);
}

/* Ours, which replace what the worker may have of them. */
enum { OWN = 5 };

static char **make_environment (const item_t *self, uint64_t number)
{
    static const char *const names[OWN] = {"SLUICE_TASK", "SLUICE_SEED", "SLUICE_SCRATCH",
                                           "SLUICE_OUT", "TMPDIR"};
    double u;
    size_t n = 0, k = 0;
    char task[24], seed[24];
    const char *values[OWN] = {task, seed, self->scratch, self->out, self->scratch};
    sluice_random (self->task, number, SEED_STREAM, 0, &u, 1);
    snprintf (task, sizeof task, "%llu", (unsigned long long) number);
    snprintf (seed, sizeof seed, "%llu", (unsigned long long) (u * 2147483648.0));
    while (environ[n])
        n++;
    char **list = calloc (n + OWN + 1, sizeof *list);
    for (int i = 0; list && i < OWN; i++)
        if (asprintf (&list[k++], "%s=%s", names[i], values[i]) < 0) {
            while (--k > 0)
                free (list[k - 1]);
            free (list);
            return NULL;
        }
    for (size_t i = 0; list && i < n; i++) {
        bool ours = false;
        for (int j = 0; j < OWN; j++)
            ours |= strncmp (environ[i], names[j], strlen (names[j])) == 0 &&
                    environ[i][strlen (names[j])] == '=';
        if (!ours)
            list[k++] = environ[i];
    }
    return list;
}

static void free_environment (char **list)
{
    for (int i = 0; list && i < OWN; i++)
        free (list[i]);
    free (list);
}

/* The last line of what was said, fit to be shown. */
static void last_line (const char *tail, size_t n, char *out, size_t size)
{
    while (n > 0 && strchr (" \t\r\n", tail[n - 1]) && tail[n - 1])
        n--;
    size_t from = n;
    while (from > 0 && tail[from - 1] != '\n')
        from--;
    size_t length = n - from < size - 1 ? n - from : size - 1;
    memcpy (out, tail + from, length);
    out[length] = '\0';
    for (size_t i = 0; i < length; i++)
        if ((unsigned char) out[i] < 0x20 || out[i] == 0x7f)
            out[i] = ' ';
    text_make_utf8 (out);
}

static void describe (const item_t *self, const command_result_t *r, char *text, size_t n)
{
    double mib = 1 << 20;
    switch (r->how) {
    case COMMAND_NOT_BEGUN:
        if (r->in_folder)
            snprintf (text, n, "the folder %s: %s", self->map->folder,
                      strerror (r->trouble));
        else if (r->trouble == EACCES)
            snprintf (text, n, "%.200s: not executable", self->words[0]);
        else if (r->trouble == ENOENT)
            snprintf (text, n, "%.200s: command not found, or its interpreter",
                      self->words[0]);
        else
            snprintf (text, n, "%.200s: %s", self->words[0], strerror (r->trouble));
        return;
    case COMMAND_TIMEOUT:
        snprintf (text, n, "out of time: ended after %g s (--timeout)",
                  self->map->timeout);
        return;
    case COMMAND_MEMORY:
        snprintf (
            text, n,
            "out of memory: killed with %.0f MiB in %u process%s, its limit is %.0f "
            "MiB (--memory)",
            (double) r->tree / mib, r->processes, r->processes == 1 ? "" : "es",
            (double) self->map->memory / mib);
        return;
    case COMMAND_STOPPED:
        snprintf (text, n, "the task was ended");
        return;
    case COMMAND_ENDED:
        if (r->sig)
            snprintf (text, n, "killed by signal %d (%s)", r->sig, strsignal (r->sig));
        else
            snprintf (text, n, "exit status %d", r->exit_code);
        return;
    }
}

/* Why it failed, what it said last, and what it was; all that it said goes where a
 * worker's stderr is kept. */
static int fail (const item_t *self, const command_result_t *r, sluice_error_t *err)
{
    char how[400], said[200], was[300];
    describe (self, r, how, sizeof how);
    bool silent = self->ntail == 0;
    last_line (silent ? self->out_tail : self->tail,
               silent ? self->nout_tail : self->ntail, said, sizeof said);
    template_print (self->words, was, sizeof was);
    text_make_utf8 (was);
    fwrite (self->out_tail, 1, self->nout_tail, stderr);
    if (self->nout_tail && self->out_tail[self->nout_tail - 1] != '\n')
        fputc ('\n', stderr);
    fwrite (self->tail, 1, self->ntail, stderr);
    fflush (stderr);
    task_set_end (self->task, r->exit_code, r->sig);
    return sluice_fail (err, SLUICE_EFAILED, "%s%s%s [%s]", how, *said ? ": " : "", said,
                        was);
}

static int run_item (item_t *self, sluice_error_t *err)
{
    uint64_t number = arguments_number (self->map->arguments, self->item);
    command_result_t result;
    if (make_folders (self, err) || make_words (self, err))
        return -1;
    char **environment = make_environment (self, number);
    if (!environment)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    command_t command = {.words = self->words,
                         .environment = environment,
                         .folder = self->map->folder,
                         .timeout = self->map->timeout,
                         .memory = self->map->memory,
                         .arg = self,
                         .output = take_output};
    int rc = command_run (&command, &result, err);
    free_environment (environment);
    if (rc)
        return -1;
    if (result.how == COMMAND_STOPPED)
        return -1;
    task_set_usage (self->task, result.cpu, result.rss);
    if (result.how != COMMAND_ENDED || result.sig || result.exit_code)
        return fail (self, &result, err);
    return collect (self->task, self->item, self->out, self->map->max_row, err);
}

static int run_map (sluice_task_t *task, void *state, uint64_t first, uint64_t stop,
                    sluice_error_t *err)
{
    for (uint64_t i = first; i < stop; i++) {
        if (sluice_yield (task, i))
            return 0;
        item_t item = {.map = state, .task = task, .item = i};
        int rc = run_item (&item, err);
        clear_item (&item);
        if (rc)
            return -1;
    }
    return 0;
}

const sluice_kernel_t map_kernel = {.abi = SLUICE_KERNEL_ABI,
                                    .name = "map",
                                    .plan = map_plan,
                                    .open = open_map,
                                    .run = run_map,
                                    .close = close_map};
