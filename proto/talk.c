/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 4, READ_BYTES = 64 << 10 };

/* Bytes from `at` to `used` are there. */
typedef struct {
    uint8_t *bytes;
    size_t at, used, room;
} buffer_t;

struct talk {
    int fd;
    buffer_t in, out;
    int passed; /* came along, and nobody took it yet */
    bool gone;  /* nothing can be sent any more */
    bool eof;   /* nothing more comes */
};

/* Room for `n` more bytes behind what is there. */
static bool reserve (buffer_t *self, size_t n)
{
    if (self->at == self->used)
        self->at = self->used = 0;
    if (self->room - self->used >= n)
        return true;
    if (self->at > 0) {
        memmove (self->bytes, self->bytes + self->at, self->used - self->at);
        self->used -= self->at;
        self->at = 0;
    }
    if (self->room - self->used >= n)
        return true;
    size_t room = self->room ? self->room : READ_BYTES;
    while (room - self->used < n)
        room *= 2;
    uint8_t *grown = realloc (self->bytes, room);
    if (!grown)
        return false;
    self->bytes = grown;
    self->room = room;
    return true;
}

talk_t *talk_new (int fd, sluice_error_t *err)
{
    talk_t *self = calloc (1, sizeof *self);
    int flags = fcntl (fd, F_GETFL);
    if (self && !reserve (&self->in, READ_BYTES)) {
        free (self);
        self = NULL;
    }
    if (!self || flags < 0 || fcntl (fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl (fd, F_SETFD, FD_CLOEXEC) < 0) {
        sluice_fail (err, SLUICE_ESYSTEM, "a socket between processes: %s",
                     strerror (self ? errno : ENOMEM));
        close (fd);
        if (self)
            free (self->in.bytes);
        free (self);
        return NULL;
    }
    self->fd = fd;
    self->passed = -1;
    return self;
}

void talk_destroy (talk_t **self_p)
{
    talk_t *self = *self_p;
    if (!self)
        return;
    close (self->fd);
    if (self->passed >= 0)
        close (self->passed);
    free (self->in.bytes);
    free (self->out.bytes);
    free (self);
    *self_p = NULL;
}

int talk_fd (const talk_t *self)
{
    return self->fd;
}

size_t talk_queued (const talk_t *self)
{
    return self->out.used - self->out.at;
}

/* ---- out ---------------------------------------------------------------------- */

/* Send from the queue, with `pass` beside its first byte. False: that is all that
 * goes now. */
static bool send_some (talk_t *self, int pass)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE (sizeof (int))];
    } control = {0};
    struct iovec part = {.iov_base = self->out.bytes + self->out.at,
                         .iov_len = talk_queued (self)};
    struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
    if (pass >= 0) {
        msg.msg_control = control.room;
        msg.msg_controllen = sizeof control.room;
        struct cmsghdr *head = CMSG_FIRSTHDR (&msg);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN (sizeof pass);
        memcpy (CMSG_DATA (head), &pass, sizeof pass);
    }
    ssize_t n = sendmsg (self->fd, &msg, MSG_NOSIGNAL);
    if (n > 0) {
        self->out.at += (size_t) n;
        return true;
    }
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        self->gone = true;
        self->out.at = self->out.used = 0;
    }
    return false;
}

void talk_flush (talk_t *self)
{
    while (talk_queued (self) > 0 && send_some (self, -1))
        ;
}

int talk_send (talk_t *self, const msg_t *msg, int pass, sluice_error_t *err)
{
    void *data;
    size_t n;
    if (msg_encode (msg, &data, &n, err) < 0)
        return -1;
    if (self->gone) {
        free (data);
        return 0;
    }
    if (!reserve (&self->out, HEAD + n)) {
        free (data);
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a message");
    }
    uint8_t *to = self->out.bytes + self->out.used;
    for (unsigned i = 0; i < HEAD; i++)
        to[i] = (uint8_t) (n >> (8 * i));
    memcpy (to + HEAD, data, n);
    free (data);
    self->out.used += HEAD + n;
    if (pass >= 0)
        send_some (self, pass);
    talk_flush (self);
    return 0;
}

void talk_end (talk_t *self)
{
    shutdown (self->fd, SHUT_WR);
    self->gone = true;
    self->out.at = self->out.used = 0;
}

/* ---- in ----------------------------------------------------------------------- */

static void keep_passed (talk_t *self, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR (msg); c; c = CMSG_NXTHDR (msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        if (self->passed >= 0)
            close (self->passed);
        memcpy (&self->passed, CMSG_DATA (c), sizeof self->passed);
    }
}

/* Read once: 1; 0: nothing came. */
static int read_some (talk_t *self, sluice_error_t *err)
{
    char control[CMSG_SPACE (sizeof (int))];
    if (!reserve (&self->in, READ_BYTES))
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a message");
    struct iovec part = {.iov_base = self->in.bytes + self->in.used,
                         .iov_len = READ_BYTES};
    struct msghdr msg = {.msg_iov = &part,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof control};
    ssize_t n;
    while ((n = recvmsg (self->fd, &msg, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (n > 0) {
        keep_passed (self, &msg);
        self->in.used += (size_t) n;
        return 1;
    }
    self->eof = n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
    return 0;
}

int talk_receive (talk_t *self, msg_t *msg, int *passed, sluice_error_t *err)
{
    sluice_error_t why = {0};
    msg->type = 0;
    if (passed)
        *passed = -1;
    for (;;) {
        size_t there = self->in.used - self->in.at, n = 0;
        const uint8_t *at = self->in.bytes + self->in.at;
        for (unsigned i = 0; there >= HEAD && i < HEAD; i++)
            n |= (size_t) at[i] << (8 * i);
        if (n > MSG_MAX_BYTES)
            return sluice_fail (err, SLUICE_EPROTO, "a message of %zu bytes", n);
        if (there >= HEAD && there - HEAD >= n) {
            self->in.at += HEAD + n;
            if (msg_decode (at + HEAD, n, msg, err) < 0)
                return -1;
            if (passed) {
                *passed = self->passed;
                self->passed = -1;
            }
            return 1;
        }
        int got = self->eof ? 0 : read_some (self, &why);
        if (got == 0 && self->eof && err)
            err->code = SLUICE_OK;
        if (got < 0 && err)
            *err = why;
        if (got <= 0)
            return got < 0 || self->eof ? -1 : 0;
    }
}
