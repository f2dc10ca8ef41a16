/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I1. */

#include <criterion/criterion.h>
#include <stdlib.h>

#include "master/gate.h"

/* Play a node that pushes as far as it is granted; every size is known. */
static void deliver_all (gate_t *gate, unsigned node, const uint32_t *sizes, size_t n,
                         uint64_t *next)
{
    uint64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        end += sizes[i];
        if (end > gate_granted (gate, node))
            return;
        if (i < *next)
            continue;
        cr_assert (gate_received (gate, node, sizes[i]));
        (*next)++;
    }
}

Test (gate, grants_whole_pieces_within_the_window)
{
    gate_t *gate = gate_new (100);
    uint32_t sizes[] = {40, 40, 40};
    unsigned node;
    uint64_t granted;
    cr_assert_eq (gate_join (gate, 7), 0);
    cr_assert_eq (gate_offer (gate, 7, 0, sizes, 3, NULL), 0);
    cr_assert (gate_next (gate, &node, &granted));
    cr_assert_eq (node, 7);
    cr_assert_eq (granted, 80);
    cr_assert_not (gate_next (gate, &node, &granted));
    cr_assert (gate_received (gate, 7, 40));
    cr_assert_not (gate_next (gate, &node, &granted), "held bytes still count");
    gate_written (gate, 40);
    cr_assert (gate_next (gate, &node, &granted));
    cr_assert_eq (granted, 120);
    cr_assert_eq (gate_peak (gate), 80);
    gate_destroy (&gate);
    cr_assert_null (gate);
}

Test (gate, the_first_node_does_not_fill_the_window_of_those_that_come)
{
    gate_t *gate = gate_new (100);
    uint32_t sizes[20];
    unsigned node;
    uint64_t granted;
    for (int i = 0; i < 20; i++)
        sizes[i] = 10;
    gate_expect (gate, 5);
    gate_join (gate, 0);
    gate_offer (gate, 0, 0, sizes, 20, NULL);
    cr_assert (gate_next (gate, &node, &granted));
    cr_assert_eq (granted, 20, "its even part");
    gate_join (gate, 1);
    gate_offer (gate, 1, 0, sizes, 20, NULL);
    while (gate_next (gate, &node, &granted))
        ;
    cr_assert_eq (gate_in_use (gate), 40, "the parts of two");
    cr_assert_eq (gate_granted (gate, 1), 10, "in turn");
    gate_expect (gate, 0);
    while (gate_next (gate, &node, &granted))
        ;
    cr_assert_eq (gate_in_use (gate), 100);
    cr_assert_eq (gate_granted (gate, 1), 40);
    gate_destroy (&gate);

    gate = gate_new (100); /* a part smaller than a piece */
    gate_expect (gate, 50);
    gate_join (gate, 0);
    gate_offer (gate, 0, 0, sizes, 20, NULL);
    cr_assert (gate_next (gate, &node, &granted));
    cr_assert_eq (granted, 10);
    gate_destroy (&gate);
}

Test (gate, a_repeated_offer_changes_nothing)
{
    gate_t *gate = gate_new (1000);
    uint32_t sizes[] = {10, 20, 30};
    unsigned node;
    uint64_t granted = 0;
    gate_join (gate, 0);
    cr_assert_eq (gate_offer (gate, 0, 0, sizes, 2, NULL), 0);
    cr_assert_eq (gate_offer (gate, 0, 0, sizes, 3, NULL), 0);
    cr_assert_eq (gate_offer (gate, 0, 10, sizes + 1, 2, NULL), 0);
    cr_assert (gate_next (gate, &node, &granted));
    cr_assert_eq (granted, 60);
    cr_assert_not (gate_wants (gate, 0));
    gate_destroy (&gate);
}

Test (gate, refuses_what_cannot_be)
{
    gate_t *gate = gate_new (100);
    sluice_error_t err = {0};
    uint32_t large[] = {101}, zero[] = {0}, fine[] = {5};
    gate_join (gate, 0);
    cr_assert_eq (gate_offer (gate, 0, 0, large, 1, &err), -1);
    cr_assert_eq (err.code, SLUICE_EPROTO);
    cr_assert_eq (gate_offer (gate, 0, 0, zero, 1, &err), -1);
    cr_assert_eq (gate_offer (gate, 3, 0, fine, 1, &err), -1, "an unknown node");
    cr_assert_not (gate_received (gate, 0, 1), "nothing was granted");
    cr_assert_not (gate_received (gate, 9, 1));
    gate_destroy (&gate);
}

Test (gate, an_offer_behind_a_lost_one_waits_for_its_repeat)
{
    gate_t *gate = gate_new (100);
    uint32_t sizes[] = {5, 7};
    unsigned node;
    uint64_t granted;
    gate_join (gate, 0);
    cr_assert_eq (gate_offer (gate, 0, 5, sizes + 1, 1, NULL), 0);
    cr_assert_not (gate_wants (gate, 0));
    cr_assert_not (gate_next (gate, &node, &granted));
    cr_assert_eq (gate_offer (gate, 0, 0, sizes, 2, NULL), 0);
    cr_assert (gate_next (gate, &node, &granted));
    cr_assert_eq (granted, 12);
    gate_destroy (&gate);
}

Test (gate, too_many_offers_of_one_node_are_refused)
{
    gate_t *gate = gate_new (10);
    uint32_t one[] = {10};
    int rc = 0;
    unsigned i;
    gate_join (gate, 0);
    for (i = 0; rc == 0 && i < 10 * GATE_MAX_OFFERED; i++)
        rc = gate_offer (gate, 0, (uint64_t) i * 10, one, 1, NULL);
    cr_assert_eq (rc, -1);
    cr_assert_eq (i, GATE_MAX_OFFERED + 1);
    gate_destroy (&gate);
}

Test (gate, a_node_that_leaves_gives_back_what_it_was_granted)
{
    gate_t *gate = gate_new (100);
    uint32_t sizes[] = {60};
    unsigned node;
    uint64_t granted;
    gate_join (gate, 0);
    gate_join (gate, 1);
    gate_offer (gate, 0, 0, sizes, 1, NULL);
    gate_offer (gate, 1, 0, sizes, 1, NULL);
    cr_assert (gate_next (gate, &node, &granted));
    cr_assert_not (gate_next (gate, &node, &granted));
    gate_leave (gate, node);
    unsigned other;
    cr_assert (gate_next (gate, &other, &granted));
    cr_assert_neq (other, node);
    cr_assert_eq (gate_in_use (gate), 60);
    gate_destroy (&gate);
}

/* Invariant I1, and nobody starves: 200 nodes with pieces of many sizes
 * through a window that holds a few of them. */
Test (gate, the_window_holds_and_nobody_starves)
{
    enum { NODES = 200, PIECES = 40 };
    static uint32_t sizes[NODES][PIECES];
    uint64_t done[NODES] = {0}, total = 0, served_min = UINT64_MAX, served_max = 0;
    const uint64_t window = 4000;
    unsigned seed = 1;
    gate_t *gate = gate_new (window);
    for (unsigned i = 0; i < NODES; i++) {
        gate_join (gate, i);
        for (unsigned k = 0; k < PIECES; k++)
            sizes[i][k] = 1 + (uint32_t) rand_r (&seed) % 1000;
        cr_assert_eq (gate_offer (gate, i, 0, sizes[i], PIECES, NULL), 0);
    }
    for (unsigned turn = 0; total < (uint64_t) NODES * PIECES && turn < 1000000; turn++) {
        unsigned node;
        uint64_t granted;
        while (gate_next (gate, &node, &granted))
            ;
        cr_assert_leq (gate_in_use (gate), window);
        node = turn % NODES;
        uint64_t before = done[node], held = gate_held (gate);
        deliver_all (gate, node, sizes[node], PIECES, &done[node]);
        total += done[node] - before;
        gate_written (gate, gate_held (gate) - held);
        if (total >= NODES * PIECES / 2 && served_max == 0)
            for (unsigned i = 0; i < NODES; i++) {
                served_min = done[i] < served_min ? done[i] : served_min;
                served_max = done[i] > served_max ? done[i] : served_max;
            }
    }
    cr_assert_eq (total, NODES * PIECES, "everything arrives");
    cr_assert_gt (served_max, 0);
    cr_assert_leq (served_max - served_min, 3, "%lu to %lu", served_min, served_max);
    cr_assert_eq (gate_in_use (gate), 0);
    cr_assert_leq (gate_peak (gate), window);
    gate_destroy (&gate);
}
