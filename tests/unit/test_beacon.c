/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "proto/beacon.h"
#include "tests/unit/random_msg.h"

static cluster_t *cluster, *stranger;
static const beacon_t sample = {
    .uuid = {1, 2, 3},
    .boot = 0x0102030405060708,
    .share = {9, 8, 7},
    .port = 40123,
    .slots = 64,
    .host = "desk-7.lab",
    .naddresses = 3,
    .address = {"192.168.1.7", "fe80::1", "2001:db8::ff00:42:8329"},
};

static void start (void)
{
    uint8_t key[KEY_BYTES] = {5};
    cluster = cluster_new (key, NULL);
    key[0] = 6;
    stranger = cluster_new (key, NULL);
    cr_assert (cluster && stranger);
}

static void stop (void)
{
    cluster_destroy (&cluster);
    cluster_destroy (&stranger);
}

TestSuite (beacon, .init = start, .fini = stop);

Test (beacon, survives_the_way)
{
    uint8_t data[BEACON_MAX];
    beacon_t back;
    size_t n = beacon_encode (&sample, cluster, data);
    cr_assert_gt (n, 0);
    cr_assert_eq (beacon_decode (data, n, cluster, sample.share, &back), BEACON_OK);
    cr_expect_eq (memcmp (&sample, &back, sizeof back), 0);
    cr_expect_eq (beacon_decode (data, n, cluster, NULL, &back), BEACON_OK);
    /* magic flags uuid boot share port slots host addresses mac */
    cr_expect_eq (n, 4 + 1 + 16 + 8 + 16 + 2 + 4 + 11 + 1 + 5 + 17 + 17 + 32);
    cr_expect_arr_eq (data, "SLU\x01\0", 5);
    cr_expect_arr_eq (data + 21, "\1\2\3\4\5\6\7\x08", 8, "big-endian");
}

Test (beacon, the_longest_one_fits)
{
    beacon_t beacon = sample;
    memset (beacon.host, 'h', BEACON_HOST - 1);
    beacon.host[BEACON_HOST - 1] = 0;
    beacon.naddresses = BEACON_ADDRESSES;
    for (int i = 0; i < BEACON_ADDRESSES; i++)
        strcpy (beacon.address[i], "2001:db8:1111:2222:3333:4444:5555:6666");
    uint8_t data[BEACON_MAX];
    beacon_t back;
    size_t n = beacon_encode (&beacon, cluster, data);
    cr_assert_gt (n, 0);
    cr_expect_eq (beacon_decode (data, n, cluster, NULL, &back), BEACON_OK);
    cr_expect_eq (memcmp (&beacon, &back, sizeof back), 0);
}

Test (beacon, what_cannot_be_said_is_not)
{
    uint8_t data[BEACON_MAX];
    beacon_t beacon = sample;
    beacon.host[0] = 0;
    cr_expect_eq (beacon_encode (&beacon, cluster, data), 0, "no name");
    beacon = sample;
    memset (beacon.host, 'h', BEACON_HOST);
    cr_expect_eq (beacon_encode (&beacon, cluster, data), 0, "a name without end");
    beacon = sample;
    strcpy (beacon.host, "a b");
    cr_expect_eq (beacon_encode (&beacon, cluster, data), 0, "a blank");
    beacon = sample;
    beacon.port = 0;
    cr_expect_eq (beacon_encode (&beacon, cluster, data), 0, "no port");
    beacon = sample;
    beacon.naddresses = BEACON_ADDRESSES + 1;
    cr_expect_eq (beacon_encode (&beacon, cluster, data), 0, "too many addresses");
    beacon = sample;
    strcpy (beacon.address[1], "desk-7");
    cr_expect_eq (beacon_encode (&beacon, cluster, data), 0, "a name for an address");
}

Test (beacon, strangers_and_neighbours)
{
    uint8_t data[BEACON_MAX], other[SHARE_ID_BYTES] = {1};
    beacon_t back, zero = {0};
    size_t n = beacon_encode (&sample, stranger, data);
    cr_expect_eq (beacon_decode (data, n, cluster, sample.share, &back), BEACON_FORGED);
    cr_expect_eq (memcmp (&back, &zero, sizeof back), 0, "nothing of it is shown");
    cr_expect_eq (beacon_decode (data, n, cluster, other, &back), BEACON_FOREIGN);
    n = beacon_encode (&sample, cluster, data);
    cr_expect_eq (beacon_decode (data, n, cluster, other, &back), BEACON_FOREIGN);
    cr_expect_eq (beacon_decode ((const uint8_t *) "ZRE\x01xyz", 7, cluster, NULL, &back),
                  BEACON_FOREIGN);
    cr_expect_eq (beacon_decode (NULL, 0, cluster, NULL, &back), BEACON_FOREIGN);
    data[3] = 2;
    cr_expect_eq (beacon_decode (data, n, cluster, NULL, &back), BEACON_FOREIGN);
}

Test (beacon, cut_or_changed_is_never_taken)
{
    uint8_t data[BEACON_MAX];
    beacon_t back;
    size_t n = beacon_encode (&sample, cluster, data);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *part = malloc (cut ? cut : 1);
        memcpy (part, data, cut);
        beacon_verdict_t verdict = beacon_decode (part, cut, cluster, NULL, &back);
        cr_assert_eq (verdict, cut < 4 ? BEACON_FOREIGN : BEACON_MALFORMED);
        free (part);
    }
    uint8_t longer[BEACON_MAX + 100] = {0};
    memcpy (longer, data, n);
    cr_expect_eq (beacon_decode (longer, n + 1, cluster, NULL, &back), BEACON_MALFORMED);
    cr_expect_eq (beacon_decode (longer, sizeof longer, cluster, NULL, &back),
                  BEACON_MALFORMED);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        cr_assert_neq (beacon_decode (data, n, cluster, NULL, &back), BEACON_OK);
        data[bit / 8] ^= (uint8_t) (1u << bit % 8);
    }
    random_t r = {3};
    for (int i = 0; i < 20000; i++) {
        uint8_t noise[BEACON_MAX];
        random_fill (&r, noise, sizeof noise);
        memcpy (noise, data, 5 + (size_t) random_below (&r, 50));
        cr_assert_neq (beacon_decode (noise, (size_t) random_below (&r, sizeof noise + 1),
                                      cluster, NULL, &back),
                       BEACON_OK);
    }
}
