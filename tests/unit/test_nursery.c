/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I9: nothing of a run outlives it. */

#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "node/crew.h"
#include "proto/proctree.h"
#include "proto/segments.h"
#include "proto/clock.h"

/* What an item of tests/kernels/nursery_kernel.c does: see there. */
enum {
    ROWS,
    CRASH,
    LEAVE,
    HANG,
    FLOOD,
    ESCAPE,
    ESCAPE_CRASH,
    MEMORY,
    MEMORY_CRASH,
    ERROR,
    BIG,
    SLOW,
    PLACE
};
enum { WHAT = 1000000, SEGMENT = 1 << 20, PATIENCE_MS = 20000 };

#if defined __SANITIZE_ADDRESS__
#define HAVE_ASAN 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif

typedef struct {
    uint64_t item, x;
} row_t;

/* ---- a node without an agent ------------------------------------------------ */

static nursery_t *nursery;
static share_t *share;
static crew_t *crew;
static crew_event_t event;
static char scratch[64];
static char kernel_path[4096];
static table_t tables[2];
static msg_hello_t hello;
static crew_options_t options;
static sluice_error_t err;
static uint32_t attempt;

static int count_fds (void)
{
    int n = 0;
    DIR *dir = opendir ("/proc/self/fd");
    while (readdir (dir))
        n++;
    closedir (dir);
    return n;
}

static int count_entries (const char *path)
{
    int n = 0;
    DIR *dir = opendir (path);
    struct dirent *entry;
    while (dir && (entry = readdir (dir)))
        n += entry->d_name[0] != '.';
    if (dir)
        closedir (dir);
    return n;
}

static void find_kernel (void)
{
    const char *top = getenv ("top_builddir");
    snprintf (kernel_path, sizeof kernel_path, "%s/tests/kernels/nursery_kernel.so",
              top ? top : ".");
    char *full = realpath (kernel_path, NULL);
    cr_assert_not_null (full, "%s is not there", kernel_path);
    snprintf (kernel_path, sizeof kernel_path, "%s", full);
    free (full);
    int fd = open (kernel_path, O_RDONLY | O_CLOEXEC);
    input_t input = {0};
    cr_assert_eq (input_measure (fd, &input, &err), 0, "%s", err.text);
    memcpy (hello.kernel_hash, input.digest, sizeof hello.kernel_hash);
    close (fd);
}

static void set_up (void)
{
    strcpy (scratch, "/tmp/test_nursery_XXXXXX");
    cr_assert_not_null (mkdtemp (scratch));
    nursery = nursery_start (&err);
    cr_assert_not_null (nursery, "%s", err.text);
    share = share_new_open (&err);
    cr_assert_not_null (share, "%s", err.text);
    find_kernel ();
    static char name0[] = "values", name1[] = "thirds", dtype[] = "{item:<u8, x:<u8}";
    static char empty[] = "";
    tables[0] = (table_t){name0, dtype, SEGMENT / sizeof (row_t)};
    tables[1] = (table_t){name1, dtype, SEGMENT / sizeof (row_t)};
    hello.owner = hello.job = hello.inputs = empty;
    hello.kernel = kernel_path;
    hello.items = 20 * WHAT;
    hello.segment = SEGMENT;
    hello.cores_per_task = 3;
    hello.ntables = 2;
    hello.tables = tables;
    hello.params = sluice_params_new ();
    options = (crew_options_t){
        .hello = &hello, .share = share, .slots = 1, .segments = 4, .scratch = scratch};
}

static void tear_down (void)
{
    crew_destroy (&crew);
    nursery_destroy (&nursery);
    share_destroy (&share);
    sluice_params_destroy (&hello.params);
    cr_expect_eq (proctree_count (getpid (), NULL, 0), 0, "processes are left");
    cr_expect_eq (count_entries (scratch), 0, "scratch folders are left");
    rmdir (scratch);
}

/* Wait for the next event; CREW_NOTHING after `ms`. */
static crew_event_type_t next_within (crew_t *of, int64_t ms)
{
    int64_t deadline = clock_ms () + ms;
    for (;;) {
        crew_next (of, &event);
        int64_t left = deadline - clock_ms ();
        if (event.type != CREW_NOTHING || left <= 0)
            return event.type;
        struct pollfd fd = {.events = POLLIN};
        cr_assert_eq (crew_fds (of, &fd.fd, 1), 1);
        poll (&fd, 1, (int) left);
    }
}

static crew_event_type_t next (void)
{
    return next_within (crew, PATIENCE_MS);
}

static void start (void)
{
    crew = crew_start (nursery, &options, &err);
    cr_assert_not_null (crew, "%s", err.text);
}

static void start_ready (void)
{
    start ();
    cr_assert_eq (next (), CREW_READY, "%s", event.text);
}

static task_t assign (unsigned slot, uint64_t first, uint64_t n)
{
    task_t task = {
        .task = first, .attempt = ++attempt, .first = first, .stop = first + n};
    cr_assert_eq (crew_assign (crew, slot, &task, &err), 0, "%s", err.text);
    return task;
}

/* The next event that is no piece; pieces are released. */
static crew_event_type_t skip_pieces (void)
{
    while (next () == CREW_PIECE)
        crew_release (crew, event.segment);
    return event.type;
}

/* Run a task to its end, whatever its pieces; it must end well. */
static void run_well (unsigned slot, uint64_t first, uint64_t n)
{
    assign (slot, first, n);
    cr_assert_eq (skip_pieces (), CREW_IDLE, "%d %s", (int) event.type,
                  event.type == CREW_FAILED ? event.failed.reason : event.text);
}

static bool gone_within (pid_t pid, int ms)
{
    for (int i = 0; i < ms / 10; i++) {
        if (kill (pid, 0) < 0 && errno == ESRCH)
            return true;
        usleep (10000);
    }
    return false;
}

static bool crew_gone_within (int ms)
{
    for (int i = 0; i < ms / 10 && !crew_gone (crew); i++)
        usleep (10000);
    return crew_gone (crew);
}

static pid_t child_of (pid_t pid)
{
    pid_t child = 0;
    proctree_children (pid, &child, 1);
    return child;
}

TestSuite (nursery, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- tasks -------------------------------------------------------------------- */

Test (nursery, rows_of_a_task_arrive)
{
    start_ready ();
    task_t task = assign (0, 10, 100);
    uint64_t n[2] = {0, 0}, want[2] = {0, 0};
    bool done = false;
    while (next () == CREW_PIECE) {
        cr_assert_not (done, "a piece after the last");
        const piece_t *piece = &event.piece;
        cr_assert_eq (piece->task, task.task);
        cr_assert_eq (piece->attempt, task.attempt);
        const row_t *row = event.payload;
        for (size_t k = 0; k < piece->nparts; k++) {
            const part_t *part = &piece->parts[k];
            if (part->table > 1)
                continue;
            cr_assert_eq (part->row, n[part->table]);
            n[part->table] += part->rows;
            for (uint64_t i = 0; i < part->rows; i++, row++) {
                cr_assert (row->item >= 10 && row->item < 110);
                if (part->table == 1)
                    cr_assert_eq (row->x, 3 * row->item);
            }
        }
        done = piece->kind == PIECE_DONE;
        if (done)
            cr_assert_eq (piece->stop, 110);
        crew_release (crew, event.segment);
    }
    cr_assert_eq (event.type, CREW_IDLE);
    cr_assert (done);
    for (uint64_t item = 10; item < 110; item++) {
        want[0] += item % 7;
        want[1] += item % 3 == 0;
    }
    cr_assert_eq (n[0], want[0]);
    cr_assert_eq (n[1], want[1]);
}

Test (nursery, all_slots_work_at_once)
{
    options.slots = 5;
    start_ready ();
    for (unsigned i = 0; i < 5; i++)
        assign (i, 100 * i, 50);
    unsigned idle = 0;
    while (idle != 31) {
        cr_assert_eq (skip_pieces (), CREW_IDLE);
        cr_assert_eq (idle & 1u << event.slot, 0);
        idle |= 1u << event.slot;
    }
    cr_assert_eq (next_within (crew, 100), CREW_NOTHING);
}

Test (nursery, a_slot_takes_one_task_at_a_time)
{
    start ();
    task_t task = {.task = 1, .attempt = 1, .stop = 10};
    cr_assert_lt (crew_assign (crew, 0, &task, &err), 0, "not ready");
    cr_assert_eq (next (), CREW_READY);
    assign (0, 0, 10);
    cr_assert_lt (crew_assign (crew, 0, &task, &err), 0, "busy");
    cr_assert_lt (crew_assign (crew, 1, &task, &err), 0, "no such slot");
    cr_assert_eq (skip_pieces (), CREW_IDLE);
    run_well (0, 0, 10);
}

Test (nursery, nonsense_in_the_options_is_refused)
{
    options.segments = 1;
    cr_assert_null (crew_start (nursery, &options, &err));
    options.segments = 2;
    options.slots = 0;
    cr_assert_null (crew_start (nursery, &options, &err));
    options.slots = 1;
    options.scratch = "/nonexistent/folder";
    cr_assert_null (crew_start (nursery, &options, &err));
    cr_assert_not_null (strstr (err.text, "/nonexistent/folder"));
}

Test (nursery, the_rest_of_a_range_is_given_back)
{
    start_ready ();
    task_t task = assign (0, SLOW * WHAT, 100000);
    usleep (50000);
    crew_shed (crew, 0);
    uint64_t stop = 0;
    while (next () == CREW_PIECE) {
        if (event.piece.kind == PIECE_DONE)
            stop = event.piece.stop;
        crew_release (crew, event.segment);
    }
    cr_assert_eq (event.type, CREW_IDLE);
    cr_assert (stop > task.first && stop < task.first + 10000, "stopped at %llu",
               (unsigned long long) stop);
    /* The next task is not shed. */
    assign (0, SLOW * WHAT, 20);
    while (next () == CREW_PIECE) {
        stop = event.piece.stop;
        crew_release (crew, event.segment);
    }
    cr_assert_eq (stop, SLOW * WHAT + 20);
}

Test (nursery, a_paused_slot_stands_still)
{
    start_ready ();
    assign (0, SLOW * WHAT, 100);
    crew_pause (crew, 0, true);
    cr_assert_eq (next_within (crew, 1000), CREW_NOTHING);
    crew_pause (crew, 0, false);
    cr_assert_eq (skip_pieces (), CREW_IDLE);
    crew_pause (crew, 0, true);
    crew_revoke (crew, 0);
    cr_assert_eq (next_within (crew, 500), CREW_NOTHING, "the new worker is paused too");
    crew_pause (crew, 0, false);
    cr_assert_eq (next (), CREW_IDLE);
    run_well (0, 0, 10);
}

/* ---- memory --------------------------------------------------------------------- */

Test (nursery, a_worker_waits_while_its_segments_are_held)
{
    options.segments = 3;
    start_ready ();
    assign (0, BIG * WHAT + 20, 1);
    uint32_t held[3];
    for (int i = 0; i < 3; i++) {
        cr_assert_eq (next (), CREW_PIECE);
        held[i] = event.segment;
        for (int k = 0; k < i; k++)
            cr_assert_neq (held[i], held[k]);
    }
    cr_assert_eq (next_within (crew, 300), CREW_NOTHING, "more than its segments");
    cr_assert (crew_waiting (crew, 0));
    int pieces = 3;
    bool done = false;
    for (int i = 0; !done; i++) {
        crew_release (crew, held[i % 3]);
        crew_release (crew, held[i % 3]); /* twice is once */
        if (next () == CREW_IDLE)
            break;
        cr_assert_eq (event.type, CREW_PIECE);
        held[i % 3] = event.segment;
        pieces++;
        done = event.piece.kind == PIECE_DONE;
    }
    cr_assert_geq (pieces, 20);
    cr_assert_not (crew_waiting (crew, 0));
    cr_assert_eq (next (), CREW_IDLE);
}

Test (nursery, pieces_outlive_their_worker)
{
    options.segments = 3;
    start_ready ();
    assign (0, BIG * WHAT + 20, 1);
    uint32_t held[3];
    const row_t *rows[3];
    for (int i = 0; i < 3; i++) {
        cr_assert_eq (next (), CREW_PIECE);
        held[i] = event.segment;
        rows[i] = event.payload;
    }
    crew_revoke (crew, 0);
    cr_assert_eq (next (), CREW_IDLE);
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < 60000; k++)
            cr_assert_eq (rows[i][k].item + rows[i][k].x, 0);
    /* The new worker may not have a segment before one of those is back. */
    assign (0, BIG * WHAT + 20, 1);
    cr_assert_eq (next_within (crew, 300), CREW_NOTHING);
    cr_assert (crew_waiting (crew, 0));
    crew_release (crew, held[1]);
    cr_assert_eq (next (), CREW_PIECE);
    cr_assert_eq (next_within (crew, 300), CREW_NOTHING);
    crew_release (crew, event.segment);
    crew_release (crew, held[0]);
    crew_release (crew, held[2]);
    crew_kill (crew);
}

Test (nursery, pieces_outlive_the_crew_until_released)
{
    start_ready ();
    assign (0, BIG * WHAT + 20, 1);
    cr_assert_eq (next (), CREW_PIECE);
    const row_t *rows = event.payload;
    uint32_t segment = event.segment;
    crew_kill (crew);
    cr_assert (crew_gone_within (5000));
    cr_assert_eq (rows[60000].x, 0);
    crew_release (crew, segment);
    crew_next (crew, &event);
    cr_assert_eq (event.type, CREW_NOTHING);
}

/* ---- failures ------------------------------------------------------------------- */

Test (nursery, a_crash_costs_one_worker)
{
    start_ready ();
    task_t task = assign (0, CRASH * WHAT, 10);
    cr_assert_eq (skip_pieces (), CREW_FAILED);
    cr_assert_eq (event.failed.task, task.task);
    cr_assert_eq (event.failed.attempt, task.attempt);
    cr_assert_eq (event.failed.sig, SIGSEGV);
    cr_assert_eq (event.failed.exit_code, -1);
    cr_assert (event.failed.crashed);
    cr_assert_eq (event.failed.item, task.first + 5);
#ifndef HAVE_ASAN
    cr_assert_str_eq (event.failed.reason, "killed by signal 11 (Segmentation fault)");
#endif
    run_well (0, 0, 10);
    /* Again and again: it is the agent who decides when it is too often. */
    for (int i = 0; i < 5; i++) {
        assign (0, CRASH * WHAT, 10);
        cr_assert_eq (skip_pieces (), CREW_FAILED);
    }
    run_well (0, 0, 10);
}

Test (nursery, an_early_exit_is_a_failure)
{
    start_ready ();
    assign (0, LEAVE * WHAT, 1);
    cr_assert_eq (skip_pieces (), CREW_FAILED);
    cr_assert_eq (event.failed.sig, 0);
#ifndef HAVE_ASAN /* it looks for leaks at exit, and may change the status */
    cr_assert_str_eq (event.failed.reason,
                      "exited with status 0 before its task was done");
    cr_assert_eq (event.failed.exit_code, 0);
#endif
    run_well (0, 0, 10);
}

Test (nursery, an_error_of_the_kernel_comes_with_its_stderr)
{
    start_ready ();
    for (int i = 3; i < 6; i++) {
        task_t task = assign (0, (uint64_t) (ERROR * WHAT + i), 1);
        cr_assert_eq (skip_pieces (), CREW_FAILED);
        char want[100];
        snprintf (want, sizeof want, "item %d is bad", i);
        cr_assert_not_null (strstr (event.failed.reason, want), "%s",
                            event.failed.reason);
        snprintf (want, sizeof want, "before the error %d\n", i);
        cr_assert_str_eq (event.failed.stderr_tail, want);
        cr_assert_eq (event.failed.item, task.first);
        cr_assert_eq (event.failed.sig, 0);
        cr_assert_eq (event.failed.exit_code, -1);
        cr_assert_not (event.failed.crashed);
    }
    run_well (0, 0, 10);
}

Test (nursery, a_flood_on_stderr_leaves_its_tail)
{
    start_ready ();
    assign (0, FLOOD * WHAT + 64, 1);
    cr_assert_eq (skip_pieces (), CREW_FAILED);
    cr_assert_not_null (strstr (event.failed.reason, "flooded"));
    const char *tail = event.failed.stderr_tail;
    size_t n = strlen (tail);
    cr_assert (n > 2000 && n <= TAIL_BYTES, "%zu", n);
    cr_assert_not_null (strstr (tail, "?[31mthe very last line\n"));
    run_well (0, 0, 10);
}

Test (nursery, memory_is_limited)
{
    options.memory = 64 << 20;
    start_ready ();
#ifndef HAVE_ASAN
    assign (0, MEMORY * WHAT, 1);
    cr_assert_eq (skip_pieces (), CREW_FAILED);
    cr_assert_not_null (strstr (event.failed.reason, "out of memory (limit 64 MiB)"),
                        "%s", event.failed.reason);
    assign (0, MEMORY_CRASH * WHAT, 1);
    cr_assert_eq (skip_pieces (), CREW_FAILED);
    cr_assert_eq (event.failed.sig, SIGABRT);
    cr_assert_not_null (strstr (event.failed.reason, "out of memory (limit 64 MiB)"),
                        "%s", event.failed.reason);
#endif
    run_well (0, BIG * WHAT + 100, 1); /* results do not count */
}

Test (nursery, a_hanging_task_is_revoked)
{
    start_ready ();
    for (int i = 0; i < 5; i++) {
        assign (0, HANG * WHAT, 1);
        int64_t began = clock_ms ();
        crew_revoke (crew, 0);
        crew_revoke (crew, 0);
        cr_assert_eq (next (), CREW_IDLE, "%d", (int) event.type);
        cr_assert_lt (clock_ms () - began, 2000);
    }
    run_well (0, 0, 10);
    cr_assert_eq (next_within (crew, 100), CREW_NOTHING);
}

Test (nursery, a_task_that_takes_too_long_fails)
{
    start_ready ();
    assign (0, HANG * WHAT, 1);
    crew_expire (crew, 0, "out of time");
    crew_expire (crew, 0, "again");
    cr_assert_eq (next (), CREW_FAILED, "%d", (int) event.type);
    cr_assert_str_eq (event.failed.reason, "out of time");
    cr_assert_not (event.failed.crashed, "its worker did not die of itself");
    cr_assert_eq (event.failed.item, HANG * WHAT);
    run_well (0, 0, 10);
    crew_expire (crew, 0, "it is idle: nothing happens");
    cr_assert_eq (next_within (crew, 100), CREW_NOTHING);
}

/* ---- places ----------------------------------------------------------------------- */

static void read_place (uint64_t values[5])
{
    assign (0, PLACE * WHAT, 1);
    size_t n = 0;
    while (next () == CREW_PIECE) {
        const row_t *row = event.payload;
        for (size_t k = 0; k < event.piece.nparts; k++)
            for (uint64_t i = 0; event.piece.parts[k].table == 0 &&
                                 i < event.piece.parts[k].rows && n < 5;
                 i++)
                values[n++] = (row++)->x;
        crew_release (crew, event.segment);
    }
    cr_assert_eq (event.type, CREW_IDLE, "%s", event.failed.reason);
    cr_assert_eq (n, 5);
}

Test (nursery, a_worker_has_its_place)
{
    start_ready ();
    cr_assert_str_eq (event.text, "");
    uint64_t values[5];
    read_place (values);
    cr_assert_eq (values[0], 0, "scratch: %s", strerror ((int) values[0]));
    cr_assert_eq (values[1], 0, "/var/tmp: %s", strerror ((int) values[1]));
    unlink ("/var/tmp/sluice_nursery_kernel_was_here");
    cr_assert_eq (values[2], 1, "a process group of its own");
    cr_assert_eq (values[3], 3, "OMP_NUM_THREADS");
    cr_assert_eq (values[4], 0);
}

Test (nursery, a_confined_worker_writes_to_scratch_only)
{
    options.confine = true;
    start_ready ();
    uint64_t values[5];
    read_place (values);
    cr_assert_eq (values[0], 0, "scratch: %s", strerror ((int) values[0]));
    if (event.text[0] == '\0')
        cr_assert_eq (values[1], EACCES);
    cr_assert_eq (values[4], 0, "the system can be read");
}

Test (nursery, scratch_is_removed_when_the_run_ends)
{
    start_ready ();
    uint64_t values[5];
    read_place (values);
    unlink ("/var/tmp/sluice_nursery_kernel_was_here");
    cr_assert_eq (count_entries (scratch), 1);
    crew_kill (crew);
    cr_assert (crew_gone_within (5000));
    for (int i = 0; i < 200 && count_entries (scratch) > 0; i++)
        usleep (10000);
    cr_assert_eq (count_entries (scratch), 0);
}

/* ---- opening ---------------------------------------------------------------------- */

static void lacks (const char *what)
{
    start ();
    cr_assert_eq (next (), CREW_LACKS);
    cr_assert_not_null (strstr (event.text, what), "'%s' does not say '%s'", event.text,
                        what);
    crew_next (crew, &event);
    cr_assert_eq (event.type, CREW_NOTHING, "it is said once");
    cr_assert (crew_gone_within (5000));
}

static void open_how (const char *how)
{
    sluice_params_set (hello.params, "open", how, 0, NULL);
}

Test (nursery, a_kernel_that_is_not_there)
{
    static char path[] = "/nonexistent/libmine.so";
    hello.kernel = path;
    lacks ("libmine.so");
}

Test (nursery, a_kernel_that_nobody_built_in)
{
    static char name[] = "builtin:nothing";
    hello.kernel = name;
    lacks ("nothing");
}

Test (nursery, another_kernel_than_was_named)
{
    hello.kernel_hash[7] ^= 1;
    lacks ("nursery_kernel.so");
}

Test (nursery, an_open_that_fails)
{
    open_how ("fail");
    lacks ("no such site model");
}

Test (nursery, an_open_that_crashes)
{
    open_how ("crash");
    lacks ("killed by signal 6");
}

Test (nursery, an_open_that_leaves_an_hdf5_file_open)
{
    char how[200];
    snprintf (how, sizeof how, "hold %s/held.h5", scratch);
    open_how (how);
    lacks ("held.h5");
    snprintf (how, sizeof how, "%s/held.h5", scratch);
    unlink (how);
}

Test (nursery, an_open_that_prints_much_does_not_wait)
{
    open_how ("print");
    start_ready ();
    run_well (0, 0, 10);
}

Test (nursery, an_open_that_hangs_can_be_killed)
{
    open_how ("hang");
    start ();
    cr_assert_eq (next_within (crew, 200), CREW_NOTHING);
    crew_kill (crew);
    cr_assert (crew_gone_within (2000));
}

Test (nursery, several_runs_live_side_by_side)
{
    start_ready ();
    crew_t *first = crew;
    sluice_params_set (hello.params, "open", "fail", 0, NULL);
    start ();
    crew_t *second = crew;
    cr_assert_eq (next (), CREW_LACKS);
    sluice_params_set (hello.params, "open", "", 0, NULL);
    start_ready ();
    crew_t *third = crew;
    run_well (0, 0, 10);
    crew = first;
    run_well (0, 0, 10);
    crew_destroy (&second);
    crew_destroy (&first);
    crew = third;
    run_well (0, 0, 10);
}

/* ---- ends ---------------------------------------------------------------------------
 */

/* A task whose grandchild left worker, group and session; its pid. */
static pid_t let_escape (uint64_t what)
{
    assign (0, what * WHAT, 1);
    pid_t pid = 0;
    while (!pid && next () == CREW_PIECE) {
        const row_t *row = event.payload;
        for (size_t k = 0; k < event.piece.nparts; k++) {
            if (event.piece.parts[k].table == 1 && event.piece.parts[k].row == 0)
                pid = (pid_t) row->x;
            row += event.piece.parts[k].rows;
        }
        crew_release (crew, event.segment);
    }
    cr_assert_gt (pid, 1);
    return pid;
}

Test (nursery, a_daemon_dies_with_its_revoked_worker)
{
    start_ready ();
    pid_t pid = let_escape (ESCAPE);
    cr_assert_eq (kill (pid, 0), 0);
    crew_revoke (crew, 0);
    cr_assert (gone_within (pid, 2000));
    cr_assert_eq (skip_pieces (), CREW_IDLE);
    run_well (0, 0, 10);
}

Test (nursery, a_daemon_dies_with_its_crashed_worker)
{
    options.slots = 2;
    start_ready ();
    pid_t pid = let_escape (ESCAPE_CRASH);
    cr_assert_eq (skip_pieces (), CREW_FAILED);
    cr_assert_eq (event.failed.sig, SIGKILL);
    cr_assert (gone_within (pid, 2000));
    run_well (0, 0, 10);
}

Test (nursery, the_daemon_of_another_worker_lives_on)
{
    options.slots = 2;
    start_ready ();
    pid_t pid = let_escape (ESCAPE);
    task_t task = {
        .task = 1, .attempt = 1, .first = CRASH * WHAT, .stop = CRASH * WHAT + 9};
    cr_assert_eq (crew_assign (crew, 1, &task, &err), 0);
    cr_assert_eq (skip_pieces (), CREW_FAILED);
    usleep (200000);
    cr_assert_eq (kill (pid, 0), 0);
    crew_kill (crew);
    cr_assert (gone_within (pid, 2000));
}

Test (nursery, stopped_processes_die_with_the_run)
{
    start_ready ();
    pid_t pid = let_escape (ESCAPE);
    kill (pid, SIGSTOP);
    kill (child_of (nursery->spawner), SIGSTOP);
    crew_pause (crew, 0, true);
    crew_kill (crew);
    cr_assert (crew_gone_within (2000));
    cr_assert (gone_within (pid, 100));
}

Test (nursery, a_dead_zygote_ends_the_run)
{
    start_ready ();
    pid_t pid = let_escape (ESCAPE);
    kill (child_of (nursery->spawner), SIGKILL);
    cr_assert_eq (skip_pieces (), CREW_DIED);
    cr_assert_not_null (strstr (event.text, "killed by signal 9"), "%s", event.text);
    cr_assert (gone_within (pid, 2000));
    cr_assert (crew_gone_within (2000));
}

Test (nursery, a_dead_spawner_is_noticed)
{
    start_ready ();
    struct pollfd end = {.fd = nursery_fd (nursery), .events = POLLIN};
    cr_assert_eq (poll (&end, 1, 0), 0);
    pid_t zygote = child_of (nursery->spawner);
    kill (nursery->spawner, SIGKILL);
    cr_assert_eq (poll (&end, 1, 2000), 1);
    cr_assert (end.revents & POLLIN);
    cr_assert_eq (skip_pieces (), CREW_DIED);
    cr_assert (crew_gone (crew));
    cr_assert (gone_within (zygote, 2000));
    crew_destroy (&crew);
    cr_assert_eq (count_entries (scratch), 0);
}

/* The end of its control socket may come later than that of the lifeline. */
Test (nursery, a_dead_spawner_is_noticed_by_its_lifeline)
{
    start_ready ();
    struct pollfd end = {.fd = nursery_fd (nursery), .events = POLLIN};
    int silent[2];
    cr_assert_eq (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, silent), 0);
    cr_assert_eq (dup3 (silent[0], nursery->control, O_CLOEXEC), nursery->control);
    kill (nursery->spawner, SIGKILL);
    cr_assert_eq (poll (&end, 1, 2000), 1);
    crew_destroy (&crew);
    cr_assert_eq (count_entries (scratch), 0);
    close (silent[0]);
    close (silent[1]);
}

Test (nursery, nothing_outlives_the_agent)
{
    prctl (PR_SET_CHILD_SUBREAPER, 1);
    int ends[2];
    cr_assert_eq (pipe2 (ends, O_CLOEXEC), 0);
    pid_t agent = fork ();
    if (agent == 0) {
        nursery = nursery_start (&err);
        options.slots = 3;
        start_ready ();
        pid_t pid = let_escape (ESCAPE);
        assign (1, HANG * WHAT, 1);
        if (write (ends[1], &pid, sizeof pid) < 0)
            _exit (1);
        kill (getpid (), SIGKILL);
    }
    pid_t pid = 0;
    cr_assert_eq (read (ends[0], &pid, sizeof pid), sizeof pid);
    waitpid (agent, NULL, 0);
    int64_t began = clock_ms ();
    /* What is left below us: the orphaned spawner and its tree, and our own. */
    pid_t own = nursery->spawner;
    while (proctree_count (getpid (), &own, 1) > 0 && clock_ms () - began < 10000) {
        usleep (10000);
        while (waitpid (-1, NULL, WNOHANG) > 0)
            ;
    }
    cr_assert_lt (clock_ms () - began, 5000);
    cr_assert (gone_within (pid, 100));
    close (ends[0]);
    close (ends[1]);
}

Test (nursery, no_descriptor_is_lost)
{
    int before = count_fds ();
    for (int i = 0; i < 3; i++) {
        start_ready ();
        run_well (0, BIG * WHAT + 10, 1);
        assign (0, CRASH * WHAT, 10);
        cr_assert_eq (skip_pieces (), CREW_FAILED);
        run_well (0, 0, 10);
        crew_destroy (&crew);
    }
    cr_assert_eq (count_fds (), before);
}

/* ---- a worker that says what cannot be ------------------------------------------------
 */

/* Speak for the worker: over its end of a socket that takes the place of the
 * real one, whose worker goes. */
static int impersonate (void)
{
    slot_t *slot = &crew->slots[0];
    int pair[2];
    cr_assert_eq (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    crew_watch (crew, slot->sock, 0, 0, EPOLL_CTL_DEL);
    cr_assert_eq (dup2 (pair[0], slot->sock), slot->sock);
    close (pair[0]);
    crew_watch (crew, slot->sock, 0, EPOLLIN, EPOLL_CTL_ADD);
    return pair[1];
}

static void expect_broken (const wire_t *wire, const void *data, size_t n, int fd)
{
    start_ready ();
    task_t task = assign (0, HANG * WHAT, 10);
    usleep (20000); /* the real worker has its task, and hangs in it */
    int sock = impersonate ();
    cr_assert_eq (wire_send (sock, wire, data, n, &fd, fd >= 0, true), 0);
    close (sock);
    cr_assert_eq (next (), CREW_FAILED);
    cr_assert_eq (event.failed.task, task.task);
    const char *reason = event.failed.reason;
    cr_assert_not_null (strstr (reason, "memory is damaged"), "%s", reason);
    cr_assert_eq (reason[strlen (reason) - 1], ')', "%s", reason);
    run_well (0, 0, 10);
    crew_destroy (&crew);
}

static piece_t good_piece (void)
{
    return (piece_t){.kind = PIECE_DONE,
                     .task = HANG * WHAT,
                     .attempt = attempt + 1,
                     .first = HANG * WHAT,
                     .stop = HANG * WHAT + 10};
}

static void expect_bad_piece (const piece_t *piece)
{
    uint8_t header[PIECE_MAX_HEADER];
    size_t n = piece_encode (piece, header);
    void *map;
    int fd = segment_make (SEGMENT, &map, &err);
    wire_t wire = {.op = WIRE_LAST, .b = piece->payload};
    expect_broken (&wire, header, n, fd);
    munmap (map, SEGMENT);
    close (fd);
}

Test (nursery, messages_that_cannot_be_cost_the_worker)
{
    expect_broken (&(wire_t){.op = WIRE_LAST}, "", 0, -1);
    expect_broken (&(wire_t){.op = WIRE_BORN}, "", 0, -1);
    expect_broken (&(wire_t){.op = 4711}, "x", 1, -1);
    expect_broken (&(wire_t){.op = WIRE_PIECE, .a = 99}, "x", 1, -1);
    expect_broken (&(wire_t){.op = WIRE_PIECE, .b = SEGMENT + 1}, "x", 1, -1);
    expect_broken (&(wire_t){.op = WIRE_PIECE}, "x", 1, -1);
    int fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
    expect_broken (&(wire_t){.op = WIRE_PIECE}, "x", 1, fd);
    close (fd);
}

Test (nursery, pieces_that_cannot_be_cost_the_worker)
{
    piece_t piece = good_piece ();
    piece.kind = PIECE_EMPTY;
    expect_bad_piece (&piece);
    piece = good_piece ();
    piece.task++;
    expect_bad_piece (&piece);
    piece = good_piece ();
    piece.attempt++;
    expect_bad_piece (&piece);
    piece = good_piece ();
    piece.stop++;
    expect_bad_piece (&piece);
    piece = good_piece ();
    piece.nparts = 1;
    piece.payload = piece.parts[0].bytes = 16;
    piece.parts[0].rows = 1;
    piece.parts[0].table = 3;
    expect_bad_piece (&piece);
    piece.nlate = 1;
    piece.late[0] = (late_t){.table = 4, .name = "t", .dtype = "<f8"};
    expect_bad_piece (&piece);
    piece.late[0].table = 2;
    piece.parts[0].table = 1;
    expect_bad_piece (&piece);
    piece = good_piece ();
    piece.payload = 16;
    expect_bad_piece (&piece);
}

Test (nursery, segments_of_a_dead_worker_count)
{
    start_ready ();
    assign (0, BIG * WHAT + 20, 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq (next (), CREW_PIECE);
    crew_revoke (crew, 0);
    cr_assert_eq (next (), CREW_IDLE);
    task_t task = assign (0, HANG * WHAT, 10);
    usleep (20000);
    int sock = impersonate ();
    piece_t piece = good_piece ();
    piece.kind = PIECE_DATA;
    piece.attempt = task.attempt;
    piece.nparts = 1;
    piece.payload = piece.parts[0].bytes = 16;
    piece.parts[0].rows = 1;
    uint8_t header[PIECE_MAX_HEADER];
    size_t n = piece_encode (&piece, header);
    void *map;
    int fd = segment_make (SEGMENT, &map, &err);
    for (unsigned i = 0; i < 2; i++)
        wire_send (sock, &(wire_t){.op = WIRE_PIECE, .a = i, .b = 16}, header, n, &fd, 1,
                   true);
    close (fd);
    close (sock);
    cr_assert_eq (next (), CREW_PIECE, "the fourth: %s", event.failed.reason);
    cr_assert_eq (next (), CREW_FAILED, "the fifth");
    munmap (map, SEGMENT);
}
