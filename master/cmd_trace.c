/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* trace: what --trace recorded, message by message. */

#include "master/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/trace_text.h"

enum { AT_ONCE = 1 << 20 };

static const char HELP[] =
    "Usage: sluice trace FILE [--json]\n"
    "\n"
    "Decode what sluice run --trace FILE or sluice node --trace FILE recorded: each\n"
    "control message and each piece's header, one line each, with the seconds since\n"
    "the start, its direction (-> sent, <- received), the peer, and all its fields;\n"
    "long texts and lists are shortened. With --json, one object per line, whole.\n"
    "A trace that is still being written, or was cut off, is shown as far as it goes.\n";

/* The part of the file that is in memory. */
typedef struct {
    const char *path;
    int fd;
    uint8_t *data;
    size_t at, n, room;
    uint64_t offset; /* in the file, of data[0] */
    bool ended;
} reader_t;

/* Have more bytes behind those that are not used yet. -1: it cannot be read. */
static int read_more (reader_t *self, sluice_error_t *err)
{
    if (self->at > 0) {
        memmove (self->data, self->data + self->at, self->n - self->at);
        self->offset += self->at;
        self->n -= self->at;
        self->at = 0;
    }
    if (self->room - self->n < AT_ONCE) {
        uint8_t *grown = realloc (self->data, self->n + AT_ONCE);
        if (!grown)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        self->data = grown;
        self->room = self->n + AT_ONCE;
    }
    ssize_t got = read (self->fd, self->data + self->n, AT_ONCE);
    if (got < 0)
        return sluice_fail (err, SLUICE_EINPUT, "%s: %s", self->path, strerror (errno));
    self->ended = got == 0;
    self->n += (size_t) got;
    return 0;
}

/* The head, or with `record` the next record. TRACE_CUT: the file ends within it,
 * or before it. */
static int next (reader_t *self, trace_head_t *head, trace_record_t *record,
                 trace_verdict_t *verdict, sluice_error_t *err)
{
    for (;;) {
        *verdict = TRACE_CUT;
        if (self->n > self->at) {
            const uint8_t *at = self->data + self->at, *end = self->data + self->n;
            *verdict =
                record ? trace_read (&at, end, record) : trace_read_head (&at, end, head);
            self->at = (size_t) (at - self->data); /* moved if it is good */
        }
        if (*verdict != TRACE_CUT || self->ended)
            return 0;
        if (read_more (self, err))
            return -1;
    }
}

static void print_head (const trace_head_t *head)
{
    char when[64] = "";
    struct tm t;
    time_t seconds = (time_t) (head->time / 1000000000u);
    if (gmtime_r (&seconds, &t))
        strftime (when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &t);
    printf ("# trace of the %s on %s, process %llu, from %s\n", head->who, head->host,
            (unsigned long long) head->pid, when);
}

static int decode (reader_t *self, bool json, sluice_error_t *err)
{
    trace_head_t head;
    trace_record_t record;
    trace_verdict_t verdict;
    if (next (self, &head, NULL, &verdict, err))
        return -1;
    if (verdict != TRACE_GOOD)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: not a trace; sluice run --trace FILE makes one",
                            self->path);
    if (!json)
        print_head (&head);
    while (next (self, NULL, &record, &verdict, err) == 0) {
        if (verdict == TRACE_GOOD) {
            trace_print (&record, head.time, json, stdout);
            if (ferror (stdout))
                return sluice_fail (err, SLUICE_ESYSTEM, "cannot write: %s",
                                    strerror (errno));
            continue;
        }
        if (verdict == TRACE_WRONG)
            return sluice_fail (err, SLUICE_EINPUT,
                                "%s: damaged at byte %llu; what was before it is above",
                                self->path,
                                (unsigned long long) (self->offset + self->at));
        if (self->n > self->at) {
            fflush (stdout);
            fprintf (stderr, "sluice trace: %s: the last record is cut off (%zu bytes)\n",
                     self->path, self->n - self->at);
        }
        return 0;
    }
    return -1;
}

int cmd_trace (int argc, char **argv)
{
    bool json = false;
    int status =
        cmd_options (argc, argv, HELP, (cmd_option_t[]){{"json", .flag = &json}, {0}});
    if (status >= 0)
        return status;
    if (optind + 1 != argc)
        return cmd_usage ("trace", "which file? Name one");
    sluice_error_t err = {0};
    reader_t reader = {.path = argv[optind]};
    reader.fd = cmd_open (reader.path, &err);
    int rc = reader.fd < 0 ? -1 : decode (&reader, json, &err);
    if (reader.fd >= 0)
        close (reader.fd);
    free (reader.data);
    if (fflush (stdout) && rc == 0)
        rc = sluice_fail (&err, SLUICE_ESYSTEM, "cannot write: %s", strerror (errno));
    return rc == 0 ? 0 : cmd_fail ("trace", &err);
}
