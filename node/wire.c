/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "node/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE (WIRE_MAX_FDS * sizeof (int))];
} ancillary_t;

int wire_send (int sock, const wire_t *wire, const void *data, size_t n, const int *fds,
               size_t nfds, bool wait)
{
    if (n > WIRE_MAX_BYTES || nfds > WIRE_MAX_FDS) {
        errno = EMSGSIZE;
        return -1;
    }
    wire_t head = *wire;
    struct iovec parts[2] = {{&head, sizeof head}, {(void *) (uintptr_t) data, n}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = n ? 2 : 1};
    ancillary_t extra;
    if (nfds) {
        memset (&extra, 0, sizeof extra);
        msg.msg_control = extra.bytes;
        msg.msg_controllen = CMSG_SPACE (nfds * sizeof (int));
        struct cmsghdr *rights = CMSG_FIRSTHDR (&msg);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN (nfds * sizeof (int));
        memcpy (CMSG_DATA (rights), fds, nfds * sizeof (int));
    }
    int flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);
    ssize_t sent;
    do
        sent = sendmsg (sock, &msg, flags);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

wire_result_t wire_recv (int sock, wire_mail_t *mail, bool wait)
{
    struct iovec parts[2] = {{&mail->wire, sizeof mail->wire},
                             {mail->data, WIRE_MAX_BYTES}};
    ancillary_t extra;
    struct msghdr msg = {.msg_iov = parts,
                         .msg_iovlen = 2,
                         .msg_control = extra.bytes,
                         .msg_controllen = sizeof extra.bytes};
    mail->n = mail->nfds = 0;
    int flags = MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT);
    ssize_t got;
    do
        got = recvmsg (sock, &msg, flags);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? WIRE_NONE : WIRE_EOF;
    for (struct cmsghdr *c = CMSG_FIRSTHDR (&msg); c; c = CMSG_NXTHDR (&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN (0)) / sizeof (int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy (&fd, CMSG_DATA (c) + i * sizeof (int), sizeof fd);
            if (mail->nfds < WIRE_MAX_FDS)
                mail->fds[mail->nfds++] = fd;
            else
                close (fd);
        }
    }
    if ((size_t) got < sizeof mail->wire || msg.msg_flags & MSG_TRUNC) {
        wire_drop (mail);
        return WIRE_EOF;
    }
    mail->n = (size_t) got - sizeof mail->wire;
    mail->data[mail->n] = '\0';
    return WIRE_GOT;
}

void wire_drop (wire_mail_t *mail)
{
    for (size_t i = 0; i < mail->nfds; i++)
        if (mail->fds[i] >= 0)
            close (mail->fds[i]);
    mail->nfds = 0;
}

size_t slot_page_bytes (unsigned segments)
{
    size_t page = (size_t) sysconf (_SC_PAGESIZE);
    return (sizeof (slot_page_t) + segments + page - 1) / page * page;
}
