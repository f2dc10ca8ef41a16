/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/plane.h"

#include <zmq.h>

static void set_int (void *socket, int option, int value)
{
    zmq_setsockopt (socket, option, &value, sizeof value);
}

int plane_open (plane_t *plane, void *context, const job_t *job, bool curve,
                sluice_error_t *err)
{
    plane->router = zmq_socket (context, ZMQ_ROUTER);
    plane->pull = zmq_socket (context, ZMQ_PULL);
    if (!plane->router || !plane->pull)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot open sockets: %s",
                            zmq_strerror (zmq_errno ()));
    int64_t control_max = MSG_MAX_REPORT,
            piece_max = (int64_t) job->segment + PIECE_MAX_BATCH;
    zmq_setsockopt (plane->router, ZMQ_MAXMSGSIZE, &control_max, sizeof control_max);
    zmq_setsockopt (plane->pull, ZMQ_MAXMSGSIZE, &piece_max, sizeof piece_max);
    set_int (plane->pull, ZMQ_RCVHWM, 4);
    set_int (plane->pull, ZMQ_LINGER, 0);
    set_int (plane->router, ZMQ_LINGER, 500); /* the BYE should still go out */
    set_int (plane->router, ZMQ_RECONNECT_IVL, 200);
    set_int (plane->router, ZMQ_RECONNECT_IVL_MAX, 2000);
    set_int (plane->router, ZMQ_IPV6, 1);
    set_int (plane->pull, ZMQ_IPV6, 1);
    if (!curve)
        return 0;
    return curve_pair_random (&plane->data_pair, err);
}

void plane_close (plane_t *plane)
{
    if (plane->router)
        zmq_close (plane->router);
    if (plane->pull)
        zmq_close (plane->pull);
    curve_pair_wipe (&plane->data_pair);
}

bool plane_receive (void *socket, zmq_msg_t frame[2], bool *whole)
{
    *whole = false;
    if (zmq_msg_recv (&frame[0], socket, ZMQ_DONTWAIT) < 0)
        return false;
    if (!zmq_msg_more (&frame[0]))
        return true;
    zmq_msg_recv (&frame[1], socket, ZMQ_DONTWAIT);
    *whole = !zmq_msg_more (&frame[1]);
    for (bool more = !*whole; more;) {
        zmq_msg_t rest;
        zmq_msg_init (&rest);
        zmq_msg_recv (&rest, socket, ZMQ_DONTWAIT);
        more = zmq_msg_more (&rest);
        zmq_msg_close (&rest);
    }
    return true;
}
