/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* client.c - the area of a circle, as precise as one wants, from a program
 *
 * Maps the kernel area.c over batches of darts, takes the hits of each batch as it
 * comes, and ends the run as soon as the error is small enough: what is not needed is
 * not computed. Built and run by
 *
 *   cc $(pkg-config --cflags libsluice) -O2 -o client client.c $(pkg-config --libs
 *       libsluice) -lm
 *   ./client ./area.so 0.001
 *
 * on this machine, or on all nodes of the share that the working folder is in.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <sluice/client.h>

/* A row of table `batches`, as area.c emits it. */
typedef struct {
    uint64_t batch, darts, hits;
} __attribute__ ((packed)) row_t;

typedef struct {
    double darts, hits;
    uint64_t batches, failed;
} tally_t;

static const double BOX = 4; /* area of the square around a circle of radius 1 */

static double area (const tally_t *t)
{
    return t->darts > 0 ? BOX * t->hits / t->darts : 0;
}

/* The standard error of that: darts hit or miss, a binomial distribution. */
static double error_of (const tally_t *t)
{
    double p = area (t) / BOX;
    return t->darts > 0 ? BOX * sqrt (p * (1 - p) / t->darts) : INFINITY;
}

static void show (void *arg, const sluice_progress_t *p)
{
    const tally_t *t = arg;
    fprintf (stderr, "%llu of %llu batches on %u cores: %.5f +- %.5f %s\n",
             (unsigned long long) p->done, (unsigned long long) p->items, p->cores,
             area (t), error_of (t), p->waiting);
}

/* Count the darts of one result. */
static int count (sluice_map_t *map, const sluice_result_t *result, tally_t *t,
                  sluice_error_t *err)
{
    uint64_t n;
    if (result->failed) {
        t->failed += result->stop - result->first;
        return 0;
    }
    const row_t *row = sluice_map_rows (map, 0, &n, err);
    if (!row)
        return -1;
    for (uint64_t i = 0; i < n; i++) {
        t->darts += (double) row[i].darts;
        t->hits += (double) row[i].hits;
        t->batches++;
    }
    return 0;
}

/* Take results until the error is small enough, and then those that are there. */
static int take_all (sluice_map_t *map, double wanted, tally_t *t, sluice_error_t *err)
{
    sluice_result_t result;
    bool enough = false;
    int rc;
    while ((rc = sluice_map_next (map, UINT64_MAX, -1, &result, err)) > 0) {
        if (rc == SLUICE_MAP_NOTHING)
            continue; /* a signal handler ran; we have none */
        if (count (map, &result, t, err) == -1)
            return -1;
        if (!enough && error_of (t) <= wanted) {
            enough = true;
            if (sluice_map_cancel_all (map, err) == -1)
                return -1;
        }
    }
    return rc;
}

int main (int argc, char **argv)
{
    static const char *const params[] = {"batches", "100000", "darts", "5000", NULL};
    sluice_error_t err;
    tally_t tally = {0};
    int rc = -1;
    double wanted = argc > 2 ? atof (argv[2]) : 0.001;
    sluice_client_t *client = sluice_client_new (NULL, &err);
    sluice_map_t *map = NULL;
    if (client)
        map = sluice_client_map (
            client,
            &(sluice_map_options_t){.kernel = argc > 1 ? argv[1] : "./area.so",
                                    .params = params,
                                    .name = "client",
                                    .progress = show,
                                    .arg = &tally},
            &err);
    if (map)
        rc = take_all (map, wanted, &tally, &err);
    if (rc == 0)
        printf ("area %.5f, error %.5f, from %llu batches\n", area (&tally),
                error_of (&tally), (unsigned long long) tally.batches);
    else
        fprintf (stderr, "client: %s\n", err.text);
    sluice_map_close (&map);
    sluice_client_destroy (&client);
    return rc == 0 ? 0 : 1;
}
