/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/key.h"

static sluice_error_t err;
static char folder[] = "/tmp/sluice-test-key-XXXXXX";
static char path[64];

static void make_folder (void)
{
    cr_assert (mkdtemp (folder));
    snprintf (path, sizeof path, "%s/cluster.key", folder);
}

static void remove_folder (void)
{
    unlink (path);
    rmdir (folder);
}

TestSuite (key, .init = make_folder, .fini = remove_folder);

Test (key, file_is_made_and_read)
{
    cr_assert_eq (key_create (path, &err), 0, "%s", err.text);
    struct stat info;
    cr_assert_eq (stat (path, &info), 0);
    cr_expect_eq (info.st_size, KEY_BYTES);
    cr_expect_eq (info.st_mode & 07777, 0600);
    cluster_t *one = cluster_new_from_file (path, &err);
    cr_assert (one, "%s", err.text);
    cluster_t *two = cluster_new_from_file (path, &err);
    cr_assert (two);
    cr_expect_str_eq (cluster_fingerprint (one), cluster_fingerprint (two));
    cr_expect_eq (strlen (cluster_fingerprint (one)), 16);
    cr_expect_arr_eq (cluster_node_pair (one), cluster_node_pair (two),
                      sizeof (curve_pair_t));
    cluster_destroy (&one);
    cluster_destroy (&two);
    cr_expect_null (one);
}

Test (key, is_never_overwritten)
{
    cr_assert_eq (key_create (path, &err), 0);
    cluster_t *before = cluster_new_from_file (path, &err);
    cr_expect_eq (key_create (path, &err), -1);
    cr_expect_eq (err.code, SLUICE_EINPUT);
    cluster_t *after = cluster_new_from_file (path, &err);
    cr_assert (before && after);
    cr_expect_str_eq (cluster_fingerprint (before), cluster_fingerprint (after));
    cluster_destroy (&before);
    cluster_destroy (&after);
    cr_expect_eq (key_create ("/nonexistent/folder/key", &err), -1);
    cr_expect_eq (key_create ("/proc/key", &err), -1);
}

Test (key, open_to_others_is_refused_with_the_remedy)
{
    cr_assert_eq (key_create (path, &err), 0);
    static const mode_t bad[] = {0640, 0604, 0660, 0610, 0601, 0644};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        chmod (path, bad[i]);
        cr_expect_null (cluster_new_from_file (path, &err), "mode %o", bad[i]);
        char remedy[100];
        snprintf (remedy, sizeof remedy, "chmod 600 '%s'", path);
        cr_expect (strstr (err.text, remedy), "%s", err.text);
    }
    chmod (path, 0400);
    cluster_t *cluster = cluster_new_from_file (path, &err);
    cr_expect (cluster, "%s", err.text);
    cluster_destroy (&cluster);

    chmod (path, 0440);
    setenv ("CREDENTIALS_DIRECTORY", folder, 1);
    cluster = cluster_new_from_file (path, &err);
    cr_expect (cluster, "a systemd credential: %s", err.text);
    cluster_destroy (&cluster);
    chmod (path, 0444);
    cr_expect_null (cluster_new_from_file (path, &err));
    unsetenv ("CREDENTIALS_DIRECTORY");
}

Test (key, what_is_no_key_is_refused)
{
    cr_expect_null (cluster_new_from_file (path, &err), "not there");
    cr_expect_null (cluster_new_from_file ("", &err));
    cr_expect_null (cluster_new_from_file (folder, &err), "a folder");
    int fd = open (path, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq (write (fd, "0123456789012345678901234567890", 31), 31);
    cr_expect_null (cluster_new_from_file (path, &err), "31 bytes");
    cr_assert_eq (write (fd, "12", 2), 2);
    cr_expect_null (cluster_new_from_file (path, &err), "33 bytes");
    close (fd);
    unlink (path);
    cr_assert_eq (mkfifo (path, 0600), 0);
    cr_expect_null (cluster_new_from_file (path, &err), "a FIFO does not hold us up");
}

Test (key, everything_derives_from_it_and_nothing_is_the_same)
{
    uint8_t key[KEY_BYTES] = {1};
    cluster_t *a = cluster_new (key, &err);
    key[31] = 1;
    cluster_t *b = cluster_new (key, &err);
    cr_assert (a && b);
    const curve_pair_t *pairs[] = {cluster_node_pair (a),   cluster_member_pair (a),
                                   cluster_master_pair (a), cluster_node_pair (b),
                                   cluster_member_pair (b), cluster_master_pair (b)};
    for (int i = 0; i < 6; i++) {
        uint8_t public_key[KEY_BYTES];
        crypto_scalarmult_base (public_key, pairs[i]->secret_key);
        cr_expect_arr_eq (public_key, pairs[i]->public_key, KEY_BYTES);
        for (int k = 0; k < i; k++)
            cr_expect_neq (memcmp (pairs[i], pairs[k], sizeof *pairs[i]), 0);
    }
    cr_expect_str_neq (cluster_fingerprint (a), cluster_fingerprint (b));
    uint8_t mac_a[KEY_MAC_BYTES], mac_b[KEY_MAC_BYTES], mac_c[KEY_MAC_BYTES];
    cluster_mac (a, "hello", 5, mac_a);
    cluster_mac (b, "hello", 5, mac_b);
    cluster_mac (a, "hellp", 5, mac_c);
    cr_expect_neq (memcmp (mac_a, mac_b, sizeof mac_a), 0);
    cr_expect_neq (memcmp (mac_a, mac_c, sizeof mac_a), 0);
    cluster_destroy (&a);
    cluster_destroy (&b);
}

/* The derivation is part of the protocol: this must never change. */
Test (key, derivation_is_fixed)
{
    uint8_t key[KEY_BYTES], seed[KEY_BYTES], wanted[KEY_BYTES], secret[KEY_BYTES];
    for (int i = 0; i < KEY_BYTES; i++)
        key[i] = (uint8_t) i;
    cluster_t *cluster = cluster_new (key, &err);
    crypto_kdf_derive_from_key (seed, sizeof seed, 2, "sluice_1", key);
    crypto_box_seed_keypair (wanted, secret, seed);
    cr_expect_arr_eq (cluster_member_pair (cluster)->public_key, wanted, KEY_BYTES);
    crypto_kdf_derive_from_key (seed, sizeof seed, 3, "sluice_1", key);
    uint8_t mac[KEY_MAC_BYTES];
    crypto_generichash (wanted, sizeof wanted, (const uint8_t *) "x", 1, seed,
                        sizeof seed);
    cluster_mac (cluster, "x", 1, mac);
    cr_expect_arr_eq (mac, wanted, KEY_MAC_BYTES);
    cluster_destroy (&cluster);
}

Test (key, random_pairs)
{
    curve_pair_t a, b, zero = {0};
    cr_assert_eq (curve_pair_random (&a, &err), 0);
    cr_assert_eq (curve_pair_random (&b, &err), 0);
    cr_expect_neq (memcmp (&a, &b, sizeof a), 0);
    curve_pair_wipe (&a);
    cr_expect_eq (memcmp (&a, &zero, sizeof a), 0);
}
