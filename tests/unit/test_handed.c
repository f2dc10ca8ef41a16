/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I1. */

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "master/handed.h"
#include "proto/segments.h"

enum { BYTES = 1 << 20 };

static int sock[2];
static handed_t *handed;
static sluice_error_t err;

static void start (void)
{
    cr_assert_eq (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock), 0);
    handed = handed_new (BYTES);
    cr_assert_not_null (handed);
    handed_begin (handed, sock[0]);
}

static void stop (void)
{
    handed_destroy (&handed);
    close (sock[0]);
    close (sock[1]);
}

TestSuite (handed, .init = start, .fini = stop);

/* A worker's segment full of `value`, handed over. */
static uint8_t *hand_over (uint32_t handle, int value)
{
    void *map = NULL;
    int fd = segment_make (BYTES, &map, &err);
    cr_assert_geq (fd, 0, "%s", err.text);
    memset (map, value, BYTES);
    cr_assert (segment_hand_over (sock[1], handle, fd));
    close (fd);
    return map;
}

static void refer (zmq_msg_t *frame, uint32_t handle)
{
    zmq_msg_init_size (frame, sizeof handle);
    memcpy (zmq_msg_data (frame), &handle, sizeof handle);
}

/* Of this process, in bytes. */
static size_t resident (void)
{
    unsigned long size = 0, pages = 0;
    FILE *file = fopen ("/proc/self/statm", "re");
    cr_assert_eq (fscanf (file, "%lu %lu", &size, &pages), 2);
    fclose (file);
    return pages * (size_t) sysconf (_SC_PAGESIZE);
}

Test (handed, a_reference_becomes_what_it_refers_to)
{
    zmq_msg_t frame;
    uint8_t *map = hand_over (3, 7);
    refer (&frame, 3);
    cr_expect (handed_is_reference (&frame, BYTES));
    cr_expect_not (handed_is_reference (&frame, SEGMENT_REF_BYTES), "it is its payload");
    cr_assert_eq (handed_resolve (handed, &frame, BYTES - 5), 0);
    cr_assert_eq (zmq_msg_size (&frame), BYTES - 5);
    const uint8_t *data = zmq_msg_data (&frame);
    cr_expect_eq (data[BYTES - 6], 7);
    map[9] = 8; /* the same memory */
    cr_expect_eq (data[9], 8);
    zmq_msg_close (&frame);
}

Test (handed, what_was_not_handed_over_cannot_be_referred_to)
{
    zmq_msg_t frame;
    hand_over (3, 7);
    refer (&frame, 4);
    cr_expect_eq (handed_resolve (handed, &frame, BYTES), -1);
    refer (&frame, UINT32_MAX);
    cr_expect_eq (handed_resolve (handed, &frame, BYTES), -1);
    refer (&frame, 3);
    cr_expect_eq (handed_resolve (handed, &frame, BYTES + 1), -1, "more than it has");
    cr_expect_eq (handed_resolve (handed, &frame, BYTES), 0);
    zmq_msg_close (&frame);
}

Test (handed, a_descriptor_that_is_no_segment_is_dropped)
{
    zmq_msg_t frame;
    int fd = memfd_create ("other", MFD_CLOEXEC);
    cr_assert_eq (ftruncate (fd, BYTES), 0);
    cr_assert (segment_hand_over (sock[1], 1, fd)); /* without seals */
    close (fd);
    refer (&frame, 1);
    cr_expect_eq (handed_resolve (handed, &frame, BYTES), -1);
    cr_assert_eq (write (sock[1], "x", 1), 1); /* and other things that are none */
    refer (&frame, 1);
    cr_expect_eq (handed_resolve (handed, &frame, BYTES), -1);
}

Test (handed, a_message_outlives_segment_node_and_table)
{
    zmq_msg_t one, two, three;
    hand_over (0, 1);
    refer (&one, 0);
    cr_assert_eq (handed_resolve (handed, &one, BYTES), 0);
    hand_over (0, 2); /* anew */
    refer (&two, 0);
    cr_assert_eq (handed_resolve (handed, &two, BYTES), 0);
    handed_begin (handed, sock[0]);
    refer (&three, 0);
    cr_expect_eq (handed_resolve (handed, &three, BYTES), -1, "of an earlier node");
    handed_destroy (&handed);
    cr_expect_eq (((uint8_t *) zmq_msg_data (&one))[0], 1);
    cr_expect_eq (((uint8_t *) zmq_msg_data (&two))[0], 2);
    zmq_msg_close (&one);
    zmq_msg_close (&two);
}

Test (handed, it_is_done_up_to_the_first_that_is_not_written)
{
    cr_expect_eq (handed_done (handed), 0);
    for (uint64_t i = 0; i < 1000; i++)
        cr_assert_eq (handed_came (handed, 10, i % 3 == 2), 0); /* of three two wait */
    cr_expect_eq (handed_done (handed), 0);
    handed_written (handed);
    cr_expect_eq (handed_done (handed), 10);
    handed_written (handed);
    cr_expect_eq (handed_done (handed), 30, "and what was not to be written");
    for (int i = 0; i < 665; i++)
        handed_written (handed);
    cr_expect_eq (handed_done (handed), 10000);
    handed_written (handed); /* too often: nothing */
    cr_expect_eq (handed_done (handed), 10000);
}

/* I1: there may be as many segments as the node's outbox has. */
Test (handed, segments_that_are_not_in_use_hardly_count_as_memory)
{
    enum { MANY = 200 };
    size_t before;
    unsigned sum = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        munmap (hand_over (i, (int) i + 1), BYTES);
        zmq_msg_t frame; /* or the socket is full */
        refer (&frame, i);
        cr_assert_eq (handed_resolve (handed, &frame, BYTES), 0);
        zmq_msg_close (&frame);
    }
    before = resident ();
    for (int round = 0; round < 3; round++)
        for (uint32_t i = 0; i < MANY; i++) {
            zmq_msg_t frame;
            refer (&frame, i);
            cr_assert_eq (handed_resolve (handed, &frame, BYTES), 0);
            const uint8_t *data = zmq_msg_data (&frame);
            for (size_t k = 0; k < BYTES; k += 4096)
                sum += data[k];
            cr_expect_eq (data[BYTES - 1], (uint8_t) (i + 1));
            zmq_msg_close (&frame);
        }
    cr_assert_gt (sum, 0);
    cr_expect_lt (resident (), before + (40u << 20));
}
