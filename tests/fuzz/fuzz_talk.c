/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any bytes on the socket between a program and its master: messages, and then an end
 * or a refusal. */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/talk.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    int ends[2];
    sluice_error_t err = {0};
    if (n > 64 << 10) /* what the socket holds */
        return 0;
    if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) ||
        (n && send (ends[0], data, n, MSG_DONTWAIT) != (ssize_t) n))
        abort ();
    close (ends[0]);
    talk_t *talk = talk_new (ends[1], &err);
    if (!talk)
        abort ();
    for (int got = 1; got > 0;) {
        msg_t msg;
        int passed;
        got = talk_receive (talk, &msg, &passed, &err);
        if (got > 0)
            msg_clear (&msg);
        else if (got == 0 || msg.type != 0)
            abort (); /* the other end is gone: it must end */
    }
    talk_destroy (&talk);
    return 0;
}
