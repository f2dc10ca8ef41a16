/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1
#include "proto/segments.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

int segment_make (uint32_t bytes, void **map, sluice_error_t *err)
{
    int fd = memfd_create ("sluice-segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot make a result segment: %s",
                            strerror (errno));
    if (ftruncate (fd, (off_t) bytes) < 0 || fcntl (fd, F_ADD_SEALS, seals) < 0) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot make a result segment of %u bytes: %s",
                     bytes, strerror (errno));
        close (fd);
        return -1;
    }
    void *at = mmap (NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot map a result segment of %u bytes: %s",
                     bytes, strerror (errno));
        close (fd);
        return -1;
    }
    *map = at;
    return fd;
}

const void *segment_map (int fd, uint32_t bytes, sluice_error_t *err)
{
    struct stat st;
    const void *map = NULL;
    int has = fcntl (fd, F_GET_SEALS);
    if (has < 0 || (has & seals) != seals || fstat (fd, &st) < 0)
        sluice_fail (err, SLUICE_EPROTO, "a worker sent a descriptor that is no segment");
    else if ((uint64_t) st.st_size != bytes)
        sluice_fail (err, SLUICE_EPROTO, "a worker sent a segment of %lld bytes, not %u",
                     (long long) st.st_size, bytes);
    else {
        void *at = mmap (NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED)
            sluice_fail (err, SLUICE_ESYSTEM, "cannot map a result segment: %s",
                         strerror (errno));
        else
            map = at;
    }
    close (fd);
    return map;
}

void segment_unmap (const void *map, uint32_t bytes)
{
    if (map)
        munmap ((void *) (uintptr_t) map, bytes);
}

/* ---- handing over ------------------------------------------------------- */

typedef union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE (sizeof (int))];
} ancillary_t;

bool segment_hand_over (int sock, uint32_t handle, int fd)
{
    struct iovec part = {&handle, sizeof handle};
    ancillary_t extra = {0};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = extra.bytes,
                         .msg_controllen = sizeof extra.bytes};
    struct cmsghdr *rights = CMSG_FIRSTHDR (&msg);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN (sizeof fd);
    memcpy (CMSG_DATA (rights), &fd, sizeof fd);
    ssize_t sent;
    do
        sent = sendmsg (sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t) sizeof handle;
}

bool segment_take_over (int sock, uint32_t *handle, int *fd)
{
    struct iovec part = {handle, sizeof *handle};
    ancillary_t extra;
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = extra.bytes,
                         .msg_controllen = sizeof extra.bytes};
    ssize_t got;
    do
        got = recvmsg (sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    struct cmsghdr *rights = got > 0 ? CMSG_FIRSTHDR (&msg) : NULL;
    if (!rights || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS)
        return false;
    memcpy (fd, CMSG_DATA (rights), sizeof *fd);
    if (got == (ssize_t) sizeof *handle && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return true;
    close (*fd);
    return false;
}
