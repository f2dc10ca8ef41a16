/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* first - from nothing to the first result, for a program
 *
 *   first KERNEL [NAME VALUE]...
 *
 * Begins a map on this machine and waits for its first result; prints microseconds from
 * before the start of the map until that result was there, and until all had ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <sluice/client.h>

static double now (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec * 1e-3;
}

static _Noreturn void die (const sluice_error_t *err)
{
    fprintf (stderr, "first: %s\n", err->text);
    exit (1);
}

int main (int argc, char **argv)
{
    sluice_error_t err = {0};
    sluice_result_t result;
    if (argc < 2 || argc % 2) {
        fputs ("usage: first KERNEL [NAME VALUE]...\n", stderr);
        return 2;
    }
    double start = now ();
    sluice_client_t *client =
        sluice_client_new (&(sluice_client_options_t){.no_network = true}, &err);
    if (!client)
        die (&err);
    sluice_map_t *map = sluice_client_map (
        client,
        &(sluice_map_options_t){.kernel = argv[1],
                                .params = (const char *const *) argv + 2},
        &err);
    if (!map || sluice_map_next (map, 1, 60, &result, &err) != SLUICE_MAP_RESULT)
        die (&err);
    double came = now ();
    sluice_map_close (&map);
    sluice_client_destroy (&client);
    printf ("{\"first_us\": %.1f, \"closed_us\": %.1f}\n", came - start, now () - start);
    return 0;
}
