/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/job.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/jobfile.h"
#include "calc/scenario.h"
#include "proto/codec.h"
#include "master/cmd.h"
#include "master/resume.h"
#include "proto/text.h"

uint64_t default_buffer (void)
{
    const uint64_t least = 64ull << 20, most = 1ull << 30;
    uint64_t free_kib = 0;
    char line[128];
    FILE *f = fopen ("/proc/meminfo", "re");
    while (f && fgets (line, sizeof line, f))
        if (sscanf (line, "MemAvailable: %lu", &free_kib) == 1)
            break;
    if (f)
        fclose (f);
    uint64_t part = free_kib * 1024 / 8;
    return part < least ? least : part > most ? most : part;
}

static char *owner_name (void)
{
    char host[65] = "localhost", *text = NULL;
    gethostname (host, sizeof host - 1);
    const struct passwd *user = getpwuid (getuid ());
    char number[16];
    snprintf (number, sizeof number, "%u", (unsigned) getuid ());
    return asprintf (&text, "%s@%s", user ? user->pw_name : number, host) < 0 ? NULL
                                                                              : text;
}

/* Both go into messages and into the output, which are UTF-8. */
static int check_names (const job_t *self, sluice_error_t *err)
{
    if (!self->folder || !self->name)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (!text_is_utf8 (self->folder, strlen (self->folder)) ||
        !text_is_utf8 (self->name, strlen (self->name)))
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: its path is not UTF-8; rename what is not",
                            self->options.path ? self->options.path : self->folder);
    return 0;
}

/* Where the job file stands, absolute, links of the folder resolved. */
static int find_folder (job_t *self, sluice_error_t *err)
{
    const char *path = self->options.path;
    char *copy = strdup (path), real[PATH_MAX];
    if (!copy || !realpath (dirname (copy), real)) {
        free (copy);
        return sluice_fail (err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
    }
    free (copy);
    self->folder = strdup (real);
    copy = strdup (path);
    self->name = copy ? strdup (basename (copy)) : NULL;
    free (copy);
    return check_names (self, err);
}

/* Commands start in the present folder. */
static int find_present_folder (job_t *self, sluice_error_t *err)
{
    char real[PATH_MAX];
    if (!realpath (".", real))
        return sluice_fail (err, SLUICE_EINPUT, "the present folder: %s",
                            strerror (errno));
    self->folder = strdup (real);
    self->name = strdup (self->options.map->label);
    if (self->name)
        text_make_utf8 (self->name);
    return check_names (self, err);
}

/* Share and key. Without a share around the job file the run is embedded and
 * takes any path; a share without a key we may read is an error only when
 * the network is asked for. */
static int find_share (job_t *self, sluice_error_t *err)
{
    const run_options_t *o = &self->options;
    sluice_error_t why = {0};
    if (o->no_local && o->no_network && o->nnodes == 0 && !o->serial)
        return sluice_fail (err, SLUICE_EINPUT,
                            "--no-local and --no-network together leave nothing to "
                            "compute on; leave out one of them");
    if (!o->serial && !o->no_network) {
        self->share = share_find (self->folder, &why);
        if (!self->share && why.code != SLUICE_OK) {
            *err = why;
            return -1;
        }
    }
    bool asked = o->nnodes > 0 || o->no_local || o->key;
    if (!self->share) {
        if (asked && !o->serial && !o->no_network)
            return sluice_fail (
                err, SLUICE_EINPUT,
                "%s: no folder above it is a share, so nodes could not read "
                "its files; make one with: sluice init DIR",
                o->path ? o->path : self->folder);
        self->share = share_new_open (err);
        return self->share ? 0 : -1;
    }
    const char *key = o->key ? o->key : getenv ("SLUICE_KEY");
    if (!key || !*key)
        key = share_key_path (self->share);
    self->cluster = cluster_new_from_file (key, err);
    return self->cluster ? 0 : -1;
}

static int set (sluice_params_t *params, const char *name, sluice_error_t *err,
                const char *format, ...) __attribute__ ((format (printf, 4, 5)));
static int set (sluice_params_t *params, const char *name, sluice_error_t *err,
                const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start (args, format);
    int rc = vasprintf (&text, format, args);
    va_end (args);
    if (rc < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    rc = sluice_params_set (params, name, text, 0, err);
    free (text);
    return rc;
}

/* The parameters of a run of commands (calc/map.h), once its share is known. */
static int set_map (job_t *self, sluice_error_t *err)
{
    const run_options_t *o = &self->options;
    char *inside = share_confined (self->share)
                       ? share_relative (self->share, self->folder, err)
                       : strdup (self->folder);
    if (!inside)
        return -1;
    sluice_params_t *p = self->params;
    int rc =
        set (p, "calculation_mode", err, "map") ||
        set (p, "command", err, "%s", self->name) ||
        set (p, "folder", err, "%s", inside) ||
        set (p, "share_root", err, "%s", share_root (self->share)) ||
        set (p, "items_per_task", err, "1") ||
        (o->memory && set (p, "memory", err, "%llu", (unsigned long long) o->memory)) ||
        (o->map->max_row &&
         set (p, "max_row", err, "%llu", (unsigned long long) o->map->max_row)) ||
        (o->map->spec.shell && set (p, "shell", err, "1"));
    free (inside);
    return rc ? -1 : 0;
}

/* `kernel = FILE` or `calculation_mode = NAME`. */
static int find_kernel (job_t *self, sluice_error_t *err)
{
    const char *file = sluice_params_get (self->params, "kernel");
    const char *mode = sluice_params_get (self->params, "calculation_mode");
    if (file && mode)
        return sluice_params_fail (self->params, "kernel", err,
                                   "a job has either a kernel or a calculation_mode");
    if (!file && !mode)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "%s: neither kernel nor calculation_mode is given: what is to "
            "be computed?",
            self->options.path);
    if (mode) {
        self->kernel = kernel_builtin (mode, err);
        if (!self->kernel)
            return sluice_params_fail (self->params, "calculation_mode", err, "%s",
                                       err ? err->text : "");
        if (asprintf (&self->kernel_name, "builtin:%s", mode) < 0 ||
            !(self->kernel_label = strdup (self->kernel_name)))
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return 0;
    }
    char *path = NULL;
    if (asprintf (&path, "%s%s%s", file[0] == '/' ? "" : self->folder,
                  file[0] == '/' ? "" : "/", file) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    sluice_error_t why = {0};
    self->kernel_name = share_relative (self->share, path, &why);
    int fd = self->kernel_name ? share_openat (self->share, self->kernel_name,
                                               O_RDONLY | O_NONBLOCK, 0, &why)
                               : -1;
    if (fd >= 0) {
        self->kernel = kernel_load (fd, path, NULL, &why);
        close (fd);
    }
    free (path);
    if (!self->kernel)
        return sluice_params_fail (self->params, "kernel", err, "%s", why.text);
    /* Without a share paths start from the root. */
    if (asprintf (&self->kernel_label, "%s%s", share_confined (self->share) ? "" : "/",
                  self->kernel_name) < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    return 0;
}

bool job_is_policy (const char *name)
{
    static const char *const names[] = {"compress", "crash_limit", "items_per_task",
                                        "memory",   "retries",     "timeout"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp (name, names[i]) == 0)
            return true;
    return false;
}

/* A name that nothing reads is a slip of the pen as a rule. Kernels in C say
 * nothing of what they read. */
static void warn_of_unknown (const job_t *self)
{
    if (kernel_api (self->kernel) != &scenario_kernel)
        return;
    for (size_t i = 0; i < sluice_params_count (self->params); i++) {
        const char *name = sluice_params_name_at (self->params, i);
        if (!scenario_knows (name) && !job_is_policy (name))
            fprintf (stderr, "sluice run: %s:%u: %s: no such parameter here; ignored\n",
                     sluice_params_file (self->params),
                     sluice_params_line (self->params, name), name);
    }
}

static int find_seed (job_t *self, sluice_error_t *err)
{
    self->seed = 42; /* OpenQuake's default for random_seed */
    if (sluice_params_u64 (self->params, "random_seed", &self->seed, err) ||
        sluice_params_u64 (self->params, "ses_seed", &self->seed, err))
        return -1;
    if (self->options.has_seed)
        self->seed = self->options.seed;
    return 0;
}

static bool is_free (const char *path)
{
    char *lock = NULL;
    bool yes = access (path, F_OK) != 0 && asprintf (&lock, "%s.lock", path) > 0 &&
               access (lock, F_OK) != 0;
    free (lock);
    return yes;
}

/* What default names begin with, and its length. */
static const char *output_stem (const job_t *self, int *n)
{
    const char *name = self->options.map ? "map" : self->name, *dot = strrchr (name, '.');
    *n = dot && dot > name ? (int) (dot - name) : (int) strlen (name);
    return name;
}

/* JOB-001.h5 in this folder, or a later number: the first that is free. */
static int next_output (job_t *self, sluice_error_t *err)
{
    int stem;
    const char *name = output_stem (self, &stem);
    for (unsigned i = 1; i < 1000000; i++) {
        free (self->output);
        if (asprintf (&self->output, "%.*s-%03u.h5", stem, name, i) < 0) {
            self->output = NULL;
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        }
        if (is_free (self->output))
            return 0;
    }
    return sluice_fail (err, SLUICE_EINPUT, "no free name for the output; use -o");
}

/* The output asked for, or a numbered one; to go on with the newest one. */
static int find_output (job_t *self, sluice_error_t *err)
{
    struct stat st;
    if (self->options.output) {
        self->output = strdup (self->options.output);
        if (!self->output)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    } else if (self->options.resume) {
        int stem;
        const char *name = output_stem (self, &stem);
        sluice_error_t why = {0};
        self->output = resume_newest (name, (size_t) stem, &why);
        if (why.code) {
            if (err)
                *err = why;
            return -1;
        }
    }
    self->resume = self->options.resume && self->output &&
                   (lstat (self->output, &st) == 0 || errno != ENOENT);
    return self->output ? 0 : next_output (self, err);
}

bool job_renumber (job_t *self, sluice_error_t *err)
{
    return !self->options.output && !self->resume && !is_free (self->output) &&
           next_output (self, err) == 0;
}

/* The writer refuses inputs that the kernel named; these two it does not know. */
static int spare_inputs (const job_t *self, sluice_error_t *err)
{
    struct stat output, input;
    const char *kernel = sluice_params_get (self->params, "kernel");
    if (stat (self->output, &output))
        return 0;
    bool is_job = self->options.path && !self->options.params &&
                  stat (self->options.path, &input) == 0 &&
                  input.st_dev == output.st_dev && input.st_ino == output.st_ino;
    bool is_kernel =
        kernel && fstatat (share_fd (self->share), self->kernel_name, &input, 0) == 0 &&
        input.st_dev == output.st_dev && input.st_ino == output.st_ino;
    if (!is_job && !is_kernel)
        return 0;
    return sluice_fail (err, SLUICE_EINPUT, "output %s: is the input %s; use another -o",
                        self->output, is_job ? self->options.path : kernel);
}

/* The nodes read `timeout` where the kernel's parameters are: in seconds. */
static int read_timeout (job_t *self, sluice_error_t *err)
{
    const char *text = sluice_params_get (self->params, "timeout");
    double timeout = self->options.timeout;
    if (timeout <= 0 && !text)
        return 0;
    if (timeout <= 0 && !cmd_seconds (text, &timeout))
        return sluice_params_fail (self->params, "timeout", err,
                                   "expected seconds, or 5m or 2h, got '%.100s'", text);
    return set (self->params, "timeout", err, "%.17g", timeout);
}

static int read_compress (job_t *self, sluice_error_t *err)
{
    const char *text = sluice_params_get (self->params, "compress");
    sluice_error_t why = {0};
    if (self->options.compress)
        return codec_parse (self->options.compress, &self->deflate, err);
    if (text && codec_parse (text, &self->deflate, &why))
        return sluice_params_fail (self->params, "compress", err, "%s", why.text);
    return 0;
}

/* How items are tried: the command line goes before the job file. */
static int read_policy (job_t *self, sluice_error_t *err)
{
    const run_options_t *o = &self->options;
    uint64_t crash_limit = 3, memory = o->memory, retries = o->map ? 0 : 2;
    if (sluice_params_u64 (self->params, "items_per_task", &self->items_per_task, err) ||
        sluice_params_u64 (self->params, "crash_limit", &crash_limit, err) ||
        sluice_params_u64 (self->params, "retries", &retries, err) ||
        sluice_params_size (self->params, "memory", &memory, err) ||
        read_timeout (self, err) || read_compress (self, err))
        return -1;
    if (crash_limit < 1 || crash_limit > CRASH_LIMIT_MOST)
        return sluice_params_fail (self->params, "crash_limit", err,
                                   "must be between 1 and %d", CRASH_LIMIT_MOST);
    if (retries > RETRIES_MOST)
        return sluice_params_fail (self->params, "retries", err, "must be at most %d",
                                   RETRIES_MOST);
    self->retries = o->has_retries ? o->retries : (unsigned) retries;
    self->crash_limit = o->crash_limit ? o->crash_limit : (unsigned) crash_limit;
    self->cores_per_task = 1;
    if (self->options.map && self->options.map->cores_per_task)
        self->cores_per_task = self->options.map->cores_per_task;
    if (!self->options.memory)
        self->options.memory = memory;
    return 0;
}

/* Chunks that are not compressed are longer; pieces may be of these in any case, as a
 * file that is gone on with has what it has. */
static void choose_chunks (job_t *self, sluice_error_t *err)
{
    plan_lengthen (self->plan, true);
    self->segment = segment_for (self->plan->tables, self->plan->ntables, err);
    plan_lengthen (self->plan, !self->deflate);
}

static int check_window (job_t *self, sluice_error_t *err)
{
    if (!self->options.window)
        self->options.window = default_buffer ();
    /* Two pieces: one on its way while one is written. */
    uint64_t least = 2 * ((uint64_t) self->segment + PIECE_MAX_HEADER);
    if (self->options.window < least)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "a window of %llu bytes is too small: this job's pieces need at "
            "least %llu; use --window %lluM",
            (unsigned long long) self->options.window, (unsigned long long) least,
            (unsigned long long) ((least >> 20) + 1));
    if (self->options.outbox && self->options.outbox < 2ull * self->segment)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "an outbox of %llu bytes is too small: two pieces of this job "
            "take %llu; use --outbox %lluM",
            (unsigned long long) self->options.outbox,
            (unsigned long long) self->segment * 2,
            (unsigned long long) ((self->segment >> 19) + 1));
    return 0;
}

/* When this machine alone computes, what it cannot do is known now. */
static int check_cores (const job_t *self, sluice_error_t *err)
{
    const run_options_t *o = &self->options;
    cpu_set_t set;
    unsigned cores = o->cores;
    if (o->serial || self->cluster)
        return 0;
    if (!cores && sched_getaffinity (0, sizeof set, &set) == 0)
        cores = (unsigned) CPU_COUNT (&set);
    if (!cores || self->cores_per_task <= cores)
        return 0;
    return sluice_fail (err, SLUICE_EINPUT,
                        "a task takes %u cores, and this machine offers %u; use --cores "
                        "%u if it is to be so",
                        self->cores_per_task, cores, self->cores_per_task);
}

job_t *job_open (const run_options_t *options, sluice_error_t *err)
{
    job_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_params_t *params = options->params;
        sluice_params_destroy (&params);
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->options = *options;
    self->params = options->params;
    random_bytes (self->run, sizeof self->run);
    run_text (self->run, self->run_name);
    self->owner = owner_name ();
    if (!self->owner) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        goto error;
    }
    const map_job_t *map = options->map;
    if (!self->params)
        self->params = map ? sluice_params_new () : jobfile_read (options->path, err);
    if (!self->params ||
        (map ? find_present_folder (self, err) : find_folder (self, err)) ||
        find_share (self, err) || (map && set_map (self, err)) ||
        find_kernel (self, err) || find_seed (self, err) || read_policy (self, err) ||
        find_output (self, err) || spare_inputs (self, err))
        goto error;
    self->plan = plan_run_with (self->kernel, self->params, self->folder, self->share,
                                self->seed, map ? &map->spec : NULL, err);
    if (!self->plan)
        goto error;
    warn_of_unknown (self);
    choose_chunks (self, err);
    if (self->segment && map && map->max_row > self->segment)
        self->segment = (uint32_t) (map->max_row + 4095) & ~4095u; /* it is mapped */
    if (!self->segment || check_window (self, err) || check_cores (self, err))
        goto error;
    return self;
error:
    job_destroy (&self);
    return NULL;
}

void job_destroy (job_t **self_p)
{
    job_t *self = *self_p;
    if (!self)
        return;
    plan_destroy (&self->plan);
    kernel_destroy (&self->kernel);
    cluster_destroy (&self->cluster);
    share_destroy (&self->share);
    sluice_params_destroy (&self->params);
    free (self->kernel_name);
    free (self->kernel_label);
    free (self->owner);
    free (self->output);
    free (self->folder);
    free (self->name);
    free (self);
    *self_p = NULL;
}
