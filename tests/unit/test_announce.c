/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node/announce.h"
#include "node/netif.h"

static char dir[] = "/tmp/sluice-test-announce-XXXXXX";
static sluice_error_t err;

static share_t *make_share (void)
{
    cr_assert_not_null (mkdtemp (dir));
    cr_assert_eq (share_create (dir, &err), 0, "%s", err.text);
    share_t *share = share_open (dir, &err);
    cr_assert_not_null (share, "%s", err.text);
    return share;
}

static void remove_share (share_t **share)
{
    char command[200];
    share_destroy (share);
    snprintf (command, sizeof command, "rm -rf %s", dir);
    cr_assert_eq (system (command), 0);
}

/* What is in the node's file; -1: there is none. */
static ssize_t read_record (const char *name, uint8_t *data, size_t size)
{
    char path[200];
    snprintf (path, sizeof path, "%s/.sluice/nodes/%s", dir, name);
    int fd = open (path, O_RDONLY);
    if (fd < 0)
        return -1;
    ssize_t n = read (fd, data, size);
    close (fd);
    return n;
}

static void nap (void)
{
    const struct timespec step = {.tv_nsec = 10000000};
    nanosleep (&step, NULL);
}

Test (announce, writes_the_record_to_the_share_and_takes_it_away)
{
    share_t *share = make_share ();
    uint8_t record[] = "a record", back[100];
    char warning[200];
    announce_t *announce =
        announce_start (record, sizeof record, share, "abc", "", warning, &err);
    cr_assert_not_null (announce, "%s", err.text);
    cr_assert_str_empty (warning);
    for (int i = 0; i < 500 && read_record ("abc", back, sizeof back) < 0; i++)
        nap ();
    cr_assert_eq (read_record ("abc", back, sizeof back), (ssize_t) sizeof record);
    cr_assert_arr_eq (back, record, sizeof record);
    char text[200];
    cr_assert_not (announce_trouble (announce, text));
    announce_stop (&announce);
    cr_assert_null (announce);
    cr_assert_eq (read_record ("abc", back, sizeof back), -1);
    announce_stop (&announce);
    remove_share (&share);
}

Test (announce, a_record_is_replaced_whole)
{
    share_t *share = make_share ();
    uint8_t back[100];
    cr_assert_eq (announce_write (share, "abc", "first", 5, &err), 0, "%s", err.text);
    cr_assert_eq (announce_write (share, "abc", "2nd", 3, &err), 0, "%s", err.text);
    cr_assert_eq (read_record ("abc", back, sizeof back), 3);
    cr_assert_eq (read_record (".abc.new", back, sizeof back), -1);
    remove_share (&share);
}

Test (announce, says_once_why_the_share_does_not_take_it)
{
    share_t *share = make_share ();
    char path[200], text[200];
    snprintf (path, sizeof path, "%s/.sluice/nodes", dir);
    cr_assert_eq (rmdir (path), 0);
    announce_t *announce =
        announce_start ((const uint8_t *) "x", 1, share, "abc", "", text, &err);
    cr_assert_not_null (announce);
    int told = 0;
    for (int i = 0; i < 50; i++, nap ())
        told += announce_trouble (announce, text);
    cr_assert_eq (told, 1);
    cr_assert (strstr (text, "nodes"), "%s", text);
    announce_stop (&announce);
    remove_share (&share);
}

Test (announce, too_long_a_record)
{
    static uint8_t record[BEACON_MAX + 1];
    char warning[200];
    cr_assert_null (
        announce_start (record, sizeof record, NULL, "abc", "", warning, &err));
}

Test (announce, broadcasts_where_there_is_a_network)
{
    char interface[IF_NAMESIZE], warning[200];
    if (!netif_choose (NULL, 0, interface)) {
        cr_assert_str_empty (interface);
        return; /* a host without a network: nothing to be heard */
    }
    cr_assert (netif_can_broadcast (interface));
    int fd = socket (AF_INET, SOCK_DGRAM, 0), on = 1;
    struct timeval patience = {.tv_sec = 5};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons (BEACON_PORT)};
    setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt (fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    cr_assert_eq (bind (fd, (struct sockaddr *) &any, sizeof any), 0);
    const char text[] = "not a record, but 21 bytes";
    announce_t *announce = announce_start ((const uint8_t *) text, sizeof text, NULL,
                                           "abc", interface, warning, &err);
    cr_assert_not_null (announce);
    cr_assert_str_empty (warning);
    char got[300];
    ssize_t n;
    do
        n = recv (fd, got, sizeof got, 0);
    while (n >= 0 && (n != sizeof text || memcmp (got, text, sizeof text) != 0));
    cr_assert_eq (n, (ssize_t) sizeof text);
    announce_stop (&announce);
    close (fd);
}

Test (netif, bridges_of_containers_are_internal)
{
    cr_assert (netif_is_internal ("docker0"));
    cr_assert (netif_is_internal ("br-0123456789ab"));
    cr_assert (netif_is_internal ("virbr0"));
    cr_assert_not (netif_is_internal ("eth0"));
    cr_assert_not (netif_is_internal ("enp3s0"));
    cr_assert_not (netif_is_internal ("veth1"), "how hosts of a test network are joined");
}

Test (netif, the_loopback_is_never_chosen)
{
    char name[IF_NAMESIZE];
    const char *peers[] = {"127.0.0.1", "::1", "nonsense", ""};
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
        cr_assert_not (netif_towards (peers[i], name));
    if (netif_choose (peers, 4, name))
        cr_assert_str_neq (name, "lo");
    cr_assert_not (netif_can_broadcast ("lo"));
    cr_assert_not (netif_can_broadcast ("no-such-if"));
}

Test (netif, there_is_always_an_address)
{
    char address[4][NETIF_TEXT];
    unsigned n = netif_addresses ("", false, address, 4);
    cr_assert (n >= 1 && n <= 4);
    for (unsigned i = 0; i < n; i++) {
        struct in6_addr out;
        cr_assert (inet_pton (AF_INET, address[i], &out) == 1 ||
                   inet_pton (AF_INET6, address[i], &out) == 1);
    }
    cr_assert_eq (netif_addresses ("no-such-if", true, address, 4), 1);
    cr_assert_str_eq (address[0], "127.0.0.1");
    cr_assert_eq (netif_addresses ("", false, address, 0), 0);
}

Test (netif, a_local_folder_has_no_server)
{
    char address[NETIF_TEXT];
    cr_assert_not (netif_share_server ("/proc", address));
    cr_assert_not (netif_share_server ("/no/such/folder", address));
}
