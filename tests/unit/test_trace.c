/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/json.h"
#include "proto/trace_text.h"
#include "tests/unit/random_piece.h"

static char path[] = "/tmp/test_trace-XXXXXX";
static uint8_t *file;
static size_t size;
static sluice_error_t err;

static void make_path (void)
{
    int fd = mkstemp (path);
    cr_assert_geq (fd, 0);
    close (fd);
}

static void load (void)
{
    struct stat st;
    int fd = open (path, O_RDONLY);
    cr_assert_eq (fstat (fd, &st), 0);
    size = (size_t) st.st_size;
    free (file);
    file = malloc (size + 1);
    cr_assert_eq (read (fd, file, size + 1), (ssize_t) size);
    close (fd);
    cr_assert_eq (st.st_mode & 0777, 0600);
}

static char *line_of (const trace_record_t *record, uint64_t since, bool json)
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream (&text, &n);
    trace_print (record, since, json, out);
    fclose (out);
    cr_assert_eq (strchr (text, '\n'), text + n - 1, "one line: %s", text);
    return text;
}

TestSuite (trace, .init = make_path);

Test (trace, what_was_recorded_is_read_and_printed)
{
    random_t r = {7};
    trace_t *trace = trace_new (path, "master", &err);
    cr_assert_not_null (trace, "%s", err.text);
    for (unsigned i = 0; i < 10; i++)
        for (unsigned type = MSG_HELLO; type < MSG_TYPES; type++) {
            msg_t msg;
            void *data;
            size_t n;
            random_msg (&r, (msg_type_t) type, &msg);
            cr_assert_eq (msg_encode (&msg, &data, &n, &err), 0);
            trace_message (trace, i % 2 ? TRACE_IN : TRACE_OUT, "tcp://h2:7000", data, n);
            free (data);
            msg_clear (&msg);
            piece_t piece;
            uint8_t header[PIECE_MAX_HEADER];
            random_piece (&r, &piece);
            n = piece_encode (&piece, header);
            trace_piece (trace, TRACE_IN, "peer", header, n, piece.payload);
        }
    trace_destroy (&trace);
    cr_assert_null (trace);
    load ();
    const uint8_t *at = file, *end = file + size;
    trace_head_t head;
    cr_assert_eq (trace_read_head (&at, end, &head), TRACE_GOOD);
    cr_assert_str_eq (head.who, "master");
    cr_assert_eq (head.pid, (uint64_t) getpid ());
    uint64_t last = head.time;
    trace_record_t record;
    for (unsigned i = 0; i < 10; i++)
        for (unsigned type = MSG_HELLO; type < MSG_TYPES; type++)
            for (int piece = 0; piece < 2; piece++) {
                cr_assert_eq (trace_read (&at, end, &record), TRACE_GOOD);
                cr_assert_geq (record.time, last);
                last = record.time;
                cr_assert_eq (record.kind, piece ? TRACE_PIECE : TRACE_MESSAGE);
                cr_assert_eq (record.way, piece || i % 2 ? TRACE_IN : TRACE_OUT);
                char *text = line_of (&record, head.time, false);
                const char *name = piece ? " PIECE " : msg_type_name ((msg_type_t) type);
                cr_assert (strstr (text, name), "%s", text);
                cr_assert_null (strstr (text, "MALFORMED"), "%s", text);
                cr_assert (strstr (text, "run="));
                free (text);
                text = line_of (&record, head.time, true);
                cr_assert (json_is_sound (text), "%s", text);
                free (text);
            }
    cr_assert_eq (at, end);
    cr_assert_eq (trace_read (&at, end, &record), TRACE_CUT);
    unlink (path);
}

Test (trace, fields_are_named)
{
    trace_t *trace = trace_new (path, "node", &err);
    task_t tasks[10] = {{.task = 3, .attempt = 2, .first = 10, .stop = 15}};
    msg_t msg = {.type = MSG_ASSIGN,
                 .tasks = {.before = 7, .ntasks = 10, .tasks = tasks}};
    void *data;
    size_t n;
    msg.run[0] = 0xab;
    cr_assert_eq (msg_encode (&msg, &data, &n, &err), 0);
    trace_message (trace, TRACE_IN, "me\nyou", data, n);
    trace_message (trace, TRACE_OUT, "", data, 5);
    free (data);
    trace_destroy (&trace);
    load ();
    const uint8_t *at = file, *end = file + size;
    trace_head_t head;
    trace_record_t record;
    cr_assert_eq (trace_read_head (&at, end, &head), TRACE_GOOD);
    cr_assert_eq (trace_read (&at, end, &record), TRACE_GOOD);
    record.time = head.time + 1234567890;
    char *text = line_of (&record, head.time, false);
    const char *want = "1.234567 <- me?you ASSIGN run=ab000000 before=7 all=false "
                       "tasks=[{task=3 attempt=2 first=10 stop=15} {task=0 ";
    cr_assert_eq (strncmp (text, want, strlen (want)), 0, "%s", text);
    cr_assert (strstr (text, "} ... 10 in all]\n"), "%s", text);
    free (text);
    record.time = head.time - 1500000000;
    text = line_of (&record, head.time, false);
    cr_assert_eq (strncmp (text, "-1.500000 <-", 12), 0, "a clock set back: %s", text);
    free (text);
    text = line_of (&record, head.time, true);
    char type[16];
    cr_assert (json_is_sound (text));
    cr_assert (json_string (json_member (text, "type"), type, sizeof type));
    cr_assert_str_eq (type, "ASSIGN");
    int count = 0;
    for (const char *e = json_first (json_member (text, "tasks")); e; e = json_after (e))
        count++;
    cr_assert_eq (count, 10, "JSON is whole");
    free (text);
    cr_assert_eq (trace_read (&at, end, &record), TRACE_GOOD);
    text = line_of (&record, head.time, false);
    cr_assert (strstr (text, "-> MALFORMED why=\""), "%s", text);
    free (text);
    unlink (path);
}

Test (trace, a_tail_that_was_cut_off_and_what_cannot_be)
{
    trace_t *trace = trace_new (path, "node", &err);
    uint8_t bytes[300] = {1};
    trace_message (trace, TRACE_IN, "peer", bytes, sizeof bytes);
    trace_destroy (&trace);
    load ();
    trace_head_t head;
    trace_record_t record;
    const uint8_t *at = file;
    cr_assert_eq (trace_read_head (&at, file + size, &head), TRACE_GOOD);
    size_t first = (size_t) (at - file);
    for (size_t n = 0; n < size; n++) {
        uint8_t *copy = malloc (n + 1); /* of its very size, for ASan */
        memcpy (copy, file, n);
        at = copy;
        if (n < first) {
            cr_assert_eq (trace_read_head (&at, copy + n, &head), TRACE_CUT, "%zu", n);
            cr_assert_eq (at, copy);
        } else {
            at = copy + first;
            cr_assert_eq (trace_read (&at, copy + n, &record), TRACE_CUT, "%zu", n);
            cr_assert_eq (at, copy + first);
        }
        free (copy);
    }
    /* both begin with an array of six: any other first byte is wrong */
    file[0] = file[first] = 0x95;
    at = file;
    cr_assert_eq (trace_read_head (&at, file + size, &head), TRACE_WRONG);
    at = file + first;
    cr_assert_eq (trace_read (&at, file + size, &record), TRACE_WRONG);
    /* bytes of 4 GiB are not waited for */
    static const uint8_t huge[] = {0x96, 1, 0, 0xa0, 0, 0, 0xc6, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t way[] = {0x96, 1, 2, 0xa0, 0, 0, 0xc4, 0};
    static const uint8_t text[] = {0x96, 1, 0, 0xa1, 0xff, 0, 0, 0xc4, 0};
    at = huge;
    cr_assert_eq (trace_read (&at, huge + sizeof huge, &record), TRACE_WRONG);
    at = way;
    cr_assert_eq (trace_read (&at, way + sizeof way, &record), TRACE_WRONG);
    at = text;
    cr_assert_eq (trace_read (&at, text + sizeof text, &record), TRACE_WRONG);
    unlink (path);
}

Test (trace, replaces_traces_and_nothing_else)
{
    trace_t *trace = trace_new (path, "node", &err);
    trace_message (trace, TRACE_IN, "peer", "x", 1);
    trace_destroy (&trace);
    load ();
    size_t before = size;
    trace = trace_new (path, "node", &err);
    cr_assert_not_null (trace, "%s", err.text);
    trace_destroy (&trace);
    load ();
    cr_assert_lt (size, before);
    FILE *f = fopen (path, "w");
    fputs ("[general]\n", f);
    fclose (f);
    cr_assert_null (trace_new (path, "node", &err));
    cr_assert_eq (err.code, SLUICE_EINPUT);
    load ();
    cr_assert_eq (size, 10, "untouched");
    unlink (path);
    cr_assert_null (trace_new ("/dev/null", "node", &err));
    cr_assert_null (trace_new ("/nowhere/at/all", "node", &err));
}

/* More than the buffer holds, while nobody can write it out: the owner is not
 * held up, and the trace says that records are missing. */
Test (trace, a_slow_disk_costs_records_and_not_time)
{
    static uint8_t bytes[1 << 20], large[TRACE_MAX_BYTES + 1];
    trace_t *trace = trace_new (path, "node", &err);
    for (int i = 0; i < 200; i++)
        trace_message (trace, TRACE_IN, "peer", bytes, sizeof bytes);
    trace_message (trace, TRACE_IN, "last", "x", 1);
    usleep (500000);
    trace_message (trace, TRACE_IN, "end", "x", 1);
    trace_message (trace, TRACE_IN, "too large", large, TRACE_MAX_BYTES + 1u);
    trace_message (trace, TRACE_IN, "end", "x", 1);
    trace_destroy (&trace);
    load ();
    const uint8_t *at = file, *end = file + size;
    trace_head_t head;
    trace_record_t record;
    uint64_t seen = 0, lost = 0;
    cr_assert_eq (trace_read_head (&at, end, &head), TRACE_GOOD);
    while (trace_read (&at, end, &record) == TRACE_GOOD)
        if (record.kind == TRACE_LOST)
            lost += record.payload;
        else
            seen++;
    cr_assert_eq (at, end);
    cr_assert_eq (seen + lost, 204);
    cr_assert_geq (lost, 1);
    unlink (path);
}
