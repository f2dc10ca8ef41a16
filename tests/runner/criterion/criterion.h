/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* criterion.h - stands for Criterion where that cannot be used: under ThreadSanitizer
 *
 * Criterion forks a process for each test from one that has threads, and all of them
 * fail there. Here a process runs the one test that its argument names, without fork;
 * the first check that does not hold ends it. It has what the tests named in
 * tests/tsan need. `main` is in it: one source is one program.
 */
#ifndef TESTS_RUNNER_CRITERION_H
#define TESTS_RUNNER_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    void (*init) (void), (*fini) (void);
    double timeout;
    int signal, exit_code;
    bool disabled;
    const char *description;
} runner_options_t;

typedef struct runner_test {
    const char *name;
    void (*body) (void);
    const runner_options_t *suite, *own;
    struct runner_test *next;
} runner_test_t;

static runner_test_t *runner_first, **runner_end = &runner_first;

/* A suite need not be declared. */
#pragma GCC diagnostic ignored "-Wignored-attributes"
#define TestSuite(s, ...)                                                                \
    extern runner_options_t runner_suite_##s __attribute__ ((weak));                     \
    runner_options_t runner_suite_##s = {__VA_ARGS__}
#define Test(s, n, ...)                                                                  \
    extern runner_options_t runner_suite_##s __attribute__ ((weak));                     \
    static void runner_##s##_##n (void);                                                 \
    __attribute__ ((constructor)) static void runner_add_##s##_##n (void)                \
    {                                                                                    \
        static const runner_options_t own = {.timeout = 0, ##__VA_ARGS__};               \
        static runner_test_t test = {#s "." #n, runner_##s##_##n, NULL, &own, NULL};     \
        test.suite = &runner_suite_##s;                                                  \
        *runner_end = &test;                                                             \
        runner_end = &test.next;                                                         \
    }                                                                                    \
    static void runner_##s##_##n (void)

static inline void runner_check (bool right, const char *what, const char *file, int line)
{
    if (right)
        return;
    fprintf (stderr, "%s:%d: %s\n", file, line, what);
    _Exit (1);
}

#define RUNNER(c) runner_check ((c), #c, __FILE__, __LINE__)
#define cr_assert(c, ...) RUNNER (c)
#define cr_assert_not(c, ...) RUNNER (!(c))
#define cr_assert_null(a, ...) RUNNER ((a) == NULL)
#define cr_assert_not_null(a, ...) RUNNER ((a) != NULL)
#define cr_assert_eq(a, b, ...) RUNNER ((a) == (b))
#define cr_assert_neq(a, b, ...) RUNNER ((a) != (b))
#define cr_assert_lt(a, b, ...) RUNNER ((a) < (b))
#define cr_assert_leq(a, b, ...) RUNNER ((a) <= (b))
#define cr_assert_gt(a, b, ...) RUNNER ((a) > (b))
#define cr_assert_geq(a, b, ...) RUNNER ((a) >= (b))
#define cr_assert_str_eq(a, b, ...) RUNNER (strcmp ((a), (b)) == 0)
#define cr_assert_str_neq(a, b, ...) RUNNER (strcmp ((a), (b)) != 0)
#define cr_assert_str_empty(a, ...) RUNNER (!*(a))
#define cr_assert_str_not_empty(a, ...) RUNNER (*(a))
#define cr_assert_arr_eq(a, b, n, ...) RUNNER (memcmp ((a), (b), (n)) == 0)
#define cr_assert_fail(...) RUNNER (false)
#define cr_expect cr_assert
#define cr_expect_not cr_assert_not
#define cr_expect_null cr_assert_null
#define cr_expect_not_null cr_assert_not_null
#define cr_expect_eq cr_assert_eq
#define cr_expect_neq cr_assert_neq
#define cr_expect_lt cr_assert_lt
#define cr_expect_leq cr_assert_leq
#define cr_expect_gt cr_assert_gt
#define cr_expect_geq cr_assert_geq
#define cr_expect_str_eq cr_assert_str_eq
#define cr_expect_arr_eq cr_assert_arr_eq

/* Without arguments the names of the tests, else the one that is named. */
int main (int argc, char **argv)
{
    for (runner_test_t *t = runner_first; t; t = t->next) {
        if (t->own->disabled)
            continue;
        if (argc < 2) {
            puts (t->name);
            continue;
        }
        if (strcmp (t->name, argv[1]) != 0)
            continue;
        if (t->suite && t->suite->init)
            t->suite->init ();
        if (t->own->init)
            t->own->init ();
        t->body ();
        if (t->own->fini)
            t->own->fini ();
        if (t->suite && t->suite->fini)
            t->suite->fini ();
        return 0;
    }
    return argc < 2 ? 0 : 2;
}

#endif
