/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* The performance record of an output; see h5check.h. */

#include "master/h5check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "master/outpath.h"
#include "master/outread.h"
#include "master/progress.h"
#include "master/snapshot.h"

enum { BLOCK_ROWS = 256 }; /* records read at once */

/* What a node did. */
typedef struct {
    node_row_t said;
    uint64_t tasks, items, bytes, rss;
    double seconds, cpu;
} node_sum_t;

typedef struct {
    uint64_t tasks, items, bytes, rows, rss;
    double seconds, cpu;
    uint64_t disk_bytes; /* that the file takes on its disk */
    uint64_t stored;     /* that the rows take in the file */
    uint64_t *tables;    /* the same of each table, by its number */
    size_t nnodes;
    node_sum_t *nodes;
    size_t nslowest, most;
    task_row_t *slowest; /* slowest first */
} record_t;

static void record_clear (record_t *record)
{
    free (record->nodes);
    free (record->slowest);
    free (record->tables);
}

static int read_nodes (const output_t *output, record_t *record, sluice_error_t *err)
{
    if (output->nodes.row_bytes != sizeof (node_row_t) || output->nodes.rows > 1 << 24)
        return sluice_fail (err, SLUICE_EOUTPUT, "%s: sluice/nodes is damaged",
                            output->path);
    size_t n = (size_t) output->nodes.rows;
    node_row_t *rows = malloc ((n + 1) * sizeof *rows);
    record->nodes = calloc (n + 1, sizeof *record->nodes);
    int rc = rows && record->nodes ? rows_read (&output->nodes, 0, n, rows, err)
                                   : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (size_t i = 0; rc == 0 && i < n; i++)
        record->nodes[record->nnodes++].said = rows[i];
    free (rows);
    return rc;
}

static void keep_slowest (record_t *record, const task_row_t *task)
{
    size_t i = record->nslowest;
    if (i == record->most) {
        if (!i || record->slowest[i - 1].seconds >= task->seconds)
            return;
        i--;
    } else
        record->nslowest++;
    for (; i > 0 && record->slowest[i - 1].seconds < task->seconds; i--)
        record->slowest[i] = record->slowest[i - 1];
    record->slowest[i] = *task;
}

static void add_task (record_t *record, const task_row_t *task)
{
    record->tasks++;
    record->items += task->stop - task->first;
    record->bytes += task->bytes;
    record->seconds += task->seconds;
    record->cpu += task->cpu;
    if (task->rss > record->rss)
        record->rss = task->rss;
    keep_slowest (record, task);
    for (size_t i = 0; i < record->nnodes; i++) {
        node_sum_t *node = record->nodes + i;
        if (node->said.node != task->node)
            continue;
        node->tasks++;
        node->items += task->stop - task->first;
        node->bytes += task->bytes;
        node->seconds += task->seconds;
        node->cpu += task->cpu;
        if (task->rss > node->rss)
            node->rss = task->rss;
        return;
    }
}

/* How many bytes the rows of each table take in the file. */
static int read_stored (const output_t *output, record_t *record, sluice_error_t *err)
{
    index_row_t rows[BLOCK_ROWS];
    record->tables = calloc (output->nall, sizeof *record->tables);
    if (!record->tables)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    for (uint64_t i = 0; i < output->index.rows; i += BLOCK_ROWS) {
        uint64_t n = output->index.rows - i;
        if (n > BLOCK_ROWS)
            n = BLOCK_ROWS;
        if (rows_read (&output->index, i, n, rows, err) < 0)
            return -1;
        for (uint64_t j = 0; j < n; j++) {
            uint32_t number = rows[j].table;
            if (number >= output->nall || number == output->ntables)
                continue;
            const rows_t *table = output->tables + number;
            uint64_t bytes = rows[j].rows * table->row_bytes;
            if (table->filtered && rows[j].stored < table->chunk_bytes)
                bytes = rows[j].offset ? 0 : rows[j].stored; /* of the whole chunk */
            record->tables[number] += bytes;
            record->stored += bytes;
        }
    }
    return 0;
}

static int read_record (const output_t *output, unsigned limit, record_t *record,
                        sluice_error_t *err)
{
    struct stat st;
    *record = (record_t){.most = limit};
    record->slowest = calloc (limit + 1u, sizeof *record->slowest);
    if (!record->slowest)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    if (stat (output->path, &st) == 0)
        record->disk_bytes = (uint64_t) st.st_blocks * 512;
    if (read_nodes (output, record, err) < 0)
        return -1;
    task_row_t rows[BLOCK_ROWS];
    for (uint64_t i = 0; i < output->tasks.rows; i += BLOCK_ROWS) {
        uint64_t n = output->tasks.rows - i;
        if (n > BLOCK_ROWS)
            n = BLOCK_ROWS;
        if (rows_read (&output->tasks, i, n, rows, err) < 0)
            return -1;
        for (uint64_t j = 0; j < n; j++)
            add_task (record, rows + j);
    }
    for (size_t i = 0; i < output->nall; i++)
        if (i != output->ntables)
            record->rows += output->tables[i].rows;
    if (read_stored (output, record, err) < 0)
        return -1;
    if (output->failures.row_bytes != sizeof (failure_row_t))
        return sluice_fail (err, SLUICE_EOUTPUT, "%s: sluice/failures is damaged",
                            output->path);
    return 0;
}

/* Text of fixed length as it stands in a record. */
static const char *fixed (const char *text, size_t n, char out[1001])
{
    size_t length = strnlen (text, n);
    memcpy (out, text, length);
    out[length] = '\0';
    for (char *c = out; *c; c++)
        if ((unsigned char) *c < 0x20 || *c == 0x7f)
            *c = *c == '\n' || *c == '\t' ? ' ' : '?';
    return out;
}

/* "item 7", or "items 7 to 9" of first <= i < stop. */
static const char *items_text (uint64_t first, uint64_t stop, char out[64])
{
    if (stop <= first + 1)
        snprintf (out, 64, "item %llu", (unsigned long long) first);
    else
        snprintf (out, 64, "items %llu to %llu", (unsigned long long) first,
                  (unsigned long long) stop - 1);
    return out;
}

/* Its status; "unfinished" when nobody writes it any more. */
static const char *status_of (const output_t *output)
{
    return !output_finished (output) && outpath_locked (output->path) == 0
               ? "unfinished"
               : output->status;
}

/* ---- for a person ------------------------------------------------------------------ */

/* How to go on with it, if that is what one may want. */
static void print_advice (const output_t *output, FILE *out)
{
    const char *status = status_of (output);
    bool map = strcmp (output->kernel, "builtin:map") == 0;
    if (strcmp (status, "running") == 0 || strcmp (status, "complete") == 0)
        return;
    fprintf (out, "  go on with: sluice %s --resume -o %s %s\n", map ? "map" : "run",
             output->path,
             map            ? "(command and arguments as before)"
             : *output->job ? output->job
                            : "JOB");
}

/* The part of the time of all slots that tasks took, but for what they waited; 0: it is
 * not known, because several runs worked on the file. */
static double busy_of (const output_t *output, const record_t *record)
{
    unsigned slots = 0;
    for (size_t i = 0; i < record->nnodes; i++)
        slots += record->nodes[i].said.slots;
    return output->resumed || !slots || output->seconds <= 0
               ? 0
               : record->seconds / (output->seconds * slots);
}

static void print_totals (const output_t *output, const record_t *record, FILE *out)
{
    char a[16], b[16], c[16];
    fprintf (out, "%s: %s\n", output->path, status_of (output));
    print_advice (output, out);
    fprintf (out, "  job %s, kernel %s, seed %llu, run %s\n",
             *output->job ? output->job : "-", *output->kernel ? output->kernel : "-",
             (unsigned long long) output->seed, output->run);
    fprintf (out, "  started %s, %.1f s", output->started, output->seconds);
    if (output->seconds > 0)
        fprintf (out, ", %s/s",
                 human_bytes ((double) record->bytes / output->seconds, a));
    if (output->resumed)
        fprintf (out, ", resumed %llu time%s", (unsigned long long) output->resumed,
                 output->resumed == 1 ? "" : "s");
    fprintf (out,
             "\n  %llu of %llu items in %llu tasks, %llu rows, %s; file %s, on disk %s\n",
             (unsigned long long) record->items, (unsigned long long) output->items,
             (unsigned long long) record->tasks, (unsigned long long) record->rows,
             human_bytes ((double) record->bytes, a),
             human_bytes ((double) output->file_bytes, b),
             human_bytes ((double) record->disk_bytes, c));
    fprintf (out, "  tasks took %.1f s", record->seconds);
    if (busy_of (output, record) > 0)
        fprintf (out, " (%.0f %% of the slots' time)", 100 * busy_of (output, record));
    fprintf (out, ", %.1f s of it on the CPU; at most %s of memory\n", record->cpu,
             human_bytes ((double) record->rss, a));
    if (*output->digest)
        fprintf (out, "  digest %s\n", output->digest);
    char *compress = output_text (output, "compress");
    for (size_t i = 0; i < output->nall; i++) {
        const rows_t *table = output->tables + i;
        if (i == output->ntables)
            continue;
        fprintf (out, "  table %s: %llu rows, %s", table->name,
                 (unsigned long long) table->rows,
                 human_bytes ((double) (table->rows * table->row_bytes), a));
        if (table->filtered)
            fprintf (out, ", compressed to %s (%s)",
                     human_bytes ((double) record->tables[i], a),
                     compress ? compress : "deflate");
        fputc ('\n', out);
    }
    free (compress);
}

static void print_nodes (const record_t *record, unsigned limit, FILE *out)
{
    char host[1001], isa[1001], a[24], b[24];
    if (record->nnodes)
        fprintf (out, "nodes\n");
    for (size_t i = 0; i < record->nnodes && i < limit; i++) {
        const node_sum_t *node = record->nodes + i;
        fprintf (out,
                 "  %s (%u slots of %u cores, %s): %llu tasks, %.1f s, %s, at most %s of "
                 "memory\n",
                 fixed (node->said.host, sizeof node->said.host, host), node->said.slots,
                 node->said.cores, fixed (node->said.isa, sizeof node->said.isa, isa),
                 (unsigned long long) node->tasks, node->seconds,
                 human_bytes ((double) node->bytes, a),
                 human_bytes ((double) node->rss, b));
    }
    if (record->nnodes > limit)
        fprintf (out, "  and %zu more\n", record->nnodes - limit);
}

static void print_slowest (const record_t *record, FILE *out)
{
    char a[24];
    if (record->nslowest)
        fprintf (out, "slowest tasks\n");
    for (size_t i = 0; i < record->nslowest; i++) {
        const task_row_t *task = record->slowest + i;
        char items[64];
        fprintf (out, "  task %llu, %s: %.2f s on node %u, %s\n",
                 (unsigned long long) task->task,
                 items_text (task->first, task->stop, items), task->seconds, task->node,
                 human_bytes ((double) task->bytes, a));
    }
}

/* Failures, the last first. */
static int print_failures (const output_t *output, uint64_t done, unsigned limit,
                           FILE *out, sluice_error_t *err)
{
    uint64_t n = output->failures.rows;
    if (n)
        fprintf (out, "failed attempts: %llu\n", (unsigned long long) n);
    for (uint64_t i = n; i-- > 0 && n - i <= limit;) {
        failure_row_t row;
        char reason[1001], items[64];
        if (rows_read (&output->failures, i, 1, &row, err) < 0)
            return -1;
        fprintf (out, "  task %llu, attempt %u, %s, node %u%s: %s\n",
                 (unsigned long long) row.task, row.attempt,
                 items_text (row.first, row.stop, items), row.node,
                 row.final ? ", given up" : ", tried again",
                 fixed (row.reason, sizeof row.reason, reason));
    }
    if (n > limit)
        fprintf (out, "  and %llu more: sluice show --json %s\n",
                 (unsigned long long) (n - limit), output->path);
    if (n && done < output->items && strcmp (output->kernel, "builtin:map") == 0)
        fprintf (out,
                 "  to run just those that failed again: sluice map --only-failed %s\n",
                 output->path);
    return 0;
}

int check_show (const char *path, FILE *out, unsigned limit, sluice_error_t *err)
{
    output_t *output = output_open (path, err);
    if (!output)
        return -1;
    record_t record;
    int rc = read_record (output, limit, &record, err);
    if (rc == 0) {
        print_totals (output, &record, out);
        print_nodes (&record, limit, out);
        print_slowest (&record, out);
        rc = print_failures (output, record.items, limit, out, err);
    }
    record_clear (&record);
    output_close (&output);
    return rc;
}

/* ---- JSON ---------------------------------------------------------------------------
 */

static void json_pair (FILE *out, const char *name, const char *text)
{
    fprintf (out, "\"%s\": ", name);
    json_text (out, text);
    fputs (", ", out);
}

static void json_totals (const output_t *output, const record_t *record, FILE *out)
{
    json_pair (out, "file", output->path);
    json_pair (out, "status", status_of (output));
    json_pair (out, "run", output->run);
    json_pair (out, "job", output->job);
    json_pair (out, "kernel", output->kernel);
    json_pair (out, "started", output->started);
    json_pair (out, "digest", output->digest);
    /* what it was made of: identity.h */
    static const char *const parts[] = {"version",     "kernel_hash",    "inputs_digest",
                                        "plan_digest", "outputs_digest", "given_digest",
                                        "compress"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char *text = output_text (output, parts[i]);
        json_pair (out, parts[i], text ? text : "");
        free (text);
    }
    fprintf (out, "\"resumed\": %llu, ", (unsigned long long) output->resumed);
    fprintf (out,
             "\"seed\": %llu, \"seconds\": %.6f, \"items\": %llu, \"items_done\": %llu, "
             "\"tasks\": %llu, \"rows\": %llu, \"bytes\": %llu, \"stored\": %llu, "
             "\"file_bytes\": %llu, "
             "\"disk_bytes\": %llu, \"task_seconds\": %.6f, \"task_cpu\": %.6f, "
             "\"busy\": %.4f, \"rss\": %llu, \"tables\": [",
             (unsigned long long) output->seed, output->seconds,
             (unsigned long long) output->items, (unsigned long long) record->items,
             (unsigned long long) record->tasks, (unsigned long long) record->rows,
             (unsigned long long) record->bytes, (unsigned long long) record->stored,
             (unsigned long long) output->file_bytes,
             (unsigned long long) record->disk_bytes, record->seconds, record->cpu,
             busy_of (output, record), (unsigned long long) record->rss);
    const char *before = "";
    for (size_t i = 0; i < output->nall; i++) {
        if (i == output->ntables)
            continue;
        fprintf (out, "%s{\"name\": ", before);
        before = ", ";
        json_text (out, output->tables[i].name);
        fputs (", \"dtype\": ", out);
        json_text (out, output->tables[i].dtype);
        fprintf (
            out, ", \"rows\": %llu, \"bytes\": %llu, \"stored\": %llu}",
            (unsigned long long) output->tables[i].rows,
            (unsigned long long) (output->tables[i].rows * output->tables[i].row_bytes),
            (unsigned long long) record->tables[i]);
    }
    fputs ("], ", out);
}

static void json_nodes (const record_t *record, FILE *out)
{
    char text[1001];
    fputs ("\"nodes\": [", out);
    for (size_t i = 0; i < record->nnodes; i++) {
        const node_sum_t *node = record->nodes + i;
        fprintf (out, "%s{\"node\": %u, ", i ? ", " : "", node->said.node);
        json_pair (out, "host", fixed (node->said.host, sizeof node->said.host, text));
        json_pair (out, "uuid", fixed (node->said.uuid, sizeof node->said.uuid, text));
        json_pair (out, "isa", fixed (node->said.isa, sizeof node->said.isa, text));
        fprintf (out,
                 "\"cores\": %u, \"slots\": %u, \"tasks\": %llu, \"items\": %llu, "
                 "\"bytes\": %llu, \"seconds\": %.6f, \"cpu\": %.6f, \"rss\": %llu}",
                 node->said.cores, node->said.slots, (unsigned long long) node->tasks,
                 (unsigned long long) node->items, (unsigned long long) node->bytes,
                 node->seconds, node->cpu, (unsigned long long) node->rss);
    }
    fputs ("], \"slowest\": [", out);
    for (size_t i = 0; i < record->nslowest; i++) {
        const task_row_t *task = record->slowest + i;
        fprintf (out,
                 "%s{\"task\": %llu, \"attempt\": %u, \"node\": %u, \"first\": %llu, "
                 "\"stop\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"cpu\": %.6f, "
                 "\"rss\": %llu, \"received\": %.6f}",
                 i ? ", " : "", (unsigned long long) task->task, task->attempt,
                 task->node, (unsigned long long) task->first,
                 (unsigned long long) task->stop, (unsigned long long) task->bytes,
                 task->seconds, task->cpu, (unsigned long long) task->rss,
                 task->received);
    }
    fputs ("], ", out);
}

static int json_failures (const output_t *output, FILE *out, sluice_error_t *err)
{
    char text[1001];
    fputs ("\"failures\": [", out);
    for (uint64_t i = 0; i < output->failures.rows; i++) {
        failure_row_t row;
        if (rows_read (&output->failures, i, 1, &row, err) < 0)
            return -1;
        fprintf (out,
                 "%s{\"task\": %llu, \"attempt\": %u, \"first\": %llu, \"stop\": %llu, "
                 "\"node\": %u, \"final\": %s, \"signal\": %d, \"exit_code\": %d, ",
                 i ? ", " : "", (unsigned long long) row.task, row.attempt,
                 (unsigned long long) row.first, (unsigned long long) row.stop, row.node,
                 row.final ? "true" : "false", row.sig, row.exit_code);
        json_pair (out, "reason", fixed (row.reason, sizeof row.reason, text));
        fputs ("\"stderr\": ", out);
        json_text (out, fixed (row.stderr_tail, sizeof row.stderr_tail, text));
        fputs ("}", out);
    }
    fputs ("]", out);
    return 0;
}

int check_show_json (const char *path, FILE *out, sluice_error_t *err)
{
    enum { SLOWEST = 10 };
    output_t *output = output_open (path, err);
    if (!output)
        return -1;
    record_t record;
    int rc = read_record (output, SLOWEST, &record, err);
    if (rc == 0) {
        fputs ("{", out);
        json_totals (output, &record, out);
        json_nodes (&record, out);
        rc = json_failures (output, out, err);
        fputs ("}\n", out);
    }
    record_clear (&record);
    output_close (&output);
    return rc;
}
