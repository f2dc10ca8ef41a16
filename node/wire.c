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

/* ---- shared memory ------------------------------------------------------- */

uint64_t hand_pack (hand_t hand)
{
    return (uint64_t) (hand.begun & HAND_COUNT) |
           (uint64_t) (hand.put & HAND_COUNT) << 31 | (uint64_t) hand.asleep << 62 |
           (uint64_t) hand.closed << 63;
}

hand_t hand_unpack (uint64_t word)
{
    return (hand_t){.begun = (uint32_t) (word & HAND_COUNT),
                    .put = (uint32_t) (word >> 31 & HAND_COUNT),
                    .asleep = word >> 62 & 1,
                    .closed = word >> 63};
}

bool ring_put (slot_page_t *page, uint64_t *put, uint32_t messages, const void *header,
               size_t nheader, const void *payload, size_t npayload)
{
    size_t bytes = (sizeof (ring_head_t) + nheader + npayload + 15) / 16 * 16;
    uint64_t taken = atomic_load_explicit (&page->taken, memory_order_acquire);
    size_t at = *put % RING_BYTES, skip = at + bytes > RING_BYTES ? RING_BYTES - at : 0;
    if (nheader > RING_HEADER || npayload > RING_PAYLOAD ||
        *put - taken + skip + bytes > RING_BYTES)
        return false;
    ring_head_t head = {.bytes = (uint32_t) bytes,
                        .header = (uint32_t) nheader,
                        .payload = (uint32_t) npayload,
                        .messages = messages};
    if (skip)
        memset (page->ring + at, 0, sizeof head);
    uint8_t *to = page->ring + (at + skip) % RING_BYTES;
    memcpy (to, &head, sizeof head);
    memcpy (to + sizeof head, header, nheader);
    if (npayload)
        memcpy (to + sizeof head + nheader, payload, npayload);
    *put += skip + bytes;
    atomic_store_explicit (&page->put, *put, memory_order_release);
    return true;
}

ring_result_t ring_take (slot_page_t *page, uint64_t *taken, uint32_t messages,
                         ring_head_t *head, uint8_t *out)
{
    uint64_t put = atomic_load_explicit (&page->put, memory_order_acquire);
    if (put == *taken)
        return RING_NONE;
    if (put - *taken > RING_BYTES || put % 16)
        return RING_BROKEN;
    size_t at = *taken % RING_BYTES;
    memcpy (head, page->ring + at, sizeof *head);
    uint64_t skip = 0;
    if (head->bytes == 0) {
        skip = RING_BYTES - at;
        memcpy (head, page->ring, sizeof *head);
        at = 0;
    }
    if (head->header > RING_HEADER || head->payload > RING_PAYLOAD ||
        head->bytes != (sizeof *head + head->header + head->payload + 15) / 16 * 16 ||
        skip + head->bytes > put - *taken || at + head->bytes > RING_BYTES)
        return RING_BROKEN;
    if (head->messages != messages)
        return RING_LATER;
    memcpy (out, page->ring + at + sizeof *head, head->header + head->payload);
    *taken += skip + head->bytes;
    atomic_store_explicit (&page->taken, *taken, memory_order_release);
    return RING_GOT;
}

size_t slot_page_bytes (unsigned segments)
{
    size_t page = (size_t) sysconf (_SC_PAGESIZE);
    return (sizeof (slot_page_t) + segments + page - 1) / page * page;
}
