/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/text.h"

enum {
    MOST = 8 << 20,    /* bytes that wait to be written */
    ENOUGH = 64 << 10, /* so many are written at once */
    PAUSE_MS = 200,    /* and fewer after this time */
    HEAD_ROOM = 2 * TRACE_TEXT + 64
};

static const char MAGIC[] = "sluice trace";

typedef struct {
    uint8_t *data;
    size_t used, room;
} buffer_t;

struct trace {
    int fd;
    char *path;
    pthread_t thread;
    bool started;         /* of the owner's thread, as `path` and `thread` */
    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t wake;
    buffer_t front;
    uint64_t lost;
    bool ending, broken;
};

static uint64_t now_ns (void)
{
    struct timespec t;
    clock_gettime (CLOCK_REALTIME, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* ---- msgpack, as far as it is needed: numbers as uint 64, so that a record's
 * head has a known length ---------------------------------------------------- */

static size_t put (uint8_t *out, uint8_t code, uint64_t value, unsigned bytes)
{
    out[0] = code;
    for (unsigned i = 0; i < bytes; i++)
        out[1 + i] = (uint8_t) (value >> 8 * (bytes - 1 - i));
    return 1 + bytes;
}

static size_t put_number (uint8_t *out, uint64_t value)
{
    return value < 128 ? put (out, (uint8_t) value, 0, 0) : put (out, 0xcf, value, 8);
}

static size_t put_text (uint8_t *out, const char *text)
{
    char copy[TRACE_TEXT];
    snprintf (copy, sizeof copy, "%s", text);
    text_make_utf8 (copy); /* it may have been cut within a character */
    size_t n = strlen (copy), head = put (out, 0xd9, n, 1);
    memcpy (out + head, copy, n);
    return head + n;
}

static size_t put_head (uint8_t *out, const char *who)
{
    char host[65] = "";
    gethostname (host, sizeof host - 1);
    size_t n = put (out, 0x96, 0, 0);
    n += put (out + n, 0xa0 | (sizeof MAGIC - 1), 0, 0);
    memcpy (out + n, MAGIC, sizeof MAGIC - 1);
    n += sizeof MAGIC - 1;
    n += put_number (out + n, 1);
    n += put_text (out + n, who);
    n += put_text (out + n, host);
    n += put_number (out + n, (uint64_t) getpid ());
    return n + put_number (out + n, now_ns ());
}

static size_t put_record (uint8_t *out, trace_way_t way, const char *peer,
                          trace_kind_t kind, uint64_t payload, size_t bytes)
{
    size_t n = put (out, 0x96, 0, 0);
    n += put_number (out + n, now_ns ());
    n += put_number (out + n, way);
    n += put_text (out + n, peer);
    n += put_number (out + n, kind);
    n += put_number (out + n, payload);
    return n + put (out + n, 0xc6, bytes, 4);
}

/* ---- the file -------------------------------------------------------------- */

static int write_all (int fd, const uint8_t *data, size_t n)
{
    while (n > 0) {
        ssize_t written = write (fd, data, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        data += written;
        n -= (size_t) written;
    }
    return 0;
}

/* Empty, or a trace: it may be replaced. */
static bool is_ours (int fd)
{
    uint8_t begin[2 + sizeof MAGIC] = {0};
    ssize_t n = read (fd, begin, sizeof MAGIC + 1);
    return n == 0 || (n == (ssize_t) sizeof MAGIC + 1 && begin[0] == 0x96 &&
                      memcmp (begin + 2, MAGIC, sizeof MAGIC - 1) == 0);
}

static int open_file (const char *path, sluice_error_t *err)
{
    struct stat st;
    int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0 || fstat (fd, &st)) {
        sluice_fail (err, SLUICE_EINPUT, "--trace %s: %s", path, strerror (errno));
    } else if (!S_ISREG (st.st_mode) || !is_ours (fd)) {
        sluice_fail (err, SLUICE_EINPUT,
                     "--trace %s: there is something else under this name; nothing was "
                     "changed",
                     path);
    } else if (ftruncate (fd, 0) || lseek (fd, 0, SEEK_SET)) {
        sluice_fail (err, SLUICE_EINPUT, "--trace %s: %s", path, strerror (errno));
    } else {
        return fd;
    }
    if (fd >= 0)
        close (fd);
    return -1;
}

trace_t *trace_new (const char *path, const char *who, sluice_error_t *err)
{
    uint8_t head[HEAD_ROOM];
    int fd = open_file (path, err);
    if (fd < 0)
        return NULL;
    if (write_all (fd, head, put_head (head, who))) {
        sluice_fail (err, SLUICE_EINPUT, "--trace %s: %s", path, strerror (errno));
        close (fd);
        return NULL;
    }
    trace_t *self = calloc (1, sizeof *self);
    if (!self || !(self->path = strdup (path))) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        free (self);
        close (fd);
        return NULL;
    }
    self->fd = fd;
    pthread_mutex_init (&self->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init (&monotonic);
    pthread_condattr_setclock (&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init (&self->wake, &monotonic);
    pthread_condattr_destroy (&monotonic);
    return self;
}

/* ---- the thread ------------------------------------------------------------ */

static void wait_for_some (trace_t *self)
{
    struct timespec until;
    clock_gettime (CLOCK_MONOTONIC, &until);
    until.tv_nsec += PAUSE_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (self->front.used < ENOUGH && !self->ending)
        if (pthread_cond_timedwait (&self->wake, &self->lock, &until))
            break;
}

static void *write_out (void *arg)
{
    trace_t *self = arg;
    buffer_t back = {0};
    pthread_mutex_lock (&self->lock);
    while (!self->broken && !(self->ending && self->front.used == 0)) {
        wait_for_some (self);
        buffer_t full = self->front;
        self->front = back;
        self->front.used = 0;
        back = full;
        pthread_mutex_unlock (&self->lock);
        bool failed = write_all (self->fd, back.data, back.used) != 0;
        if (failed)
            fprintf (stderr, "sluice: %s: %s; the trace ends here\n", self->path,
                     strerror (errno));
        pthread_mutex_lock (&self->lock);
        self->broken |= failed;
    }
    pthread_mutex_unlock (&self->lock);
    free (back.data);
    return NULL;
}

/* Signals are for the thread that waits for them. */
static bool start (trace_t *self)
{
    sigset_t all, old;
    sigfillset (&all);
    pthread_sigmask (SIG_BLOCK, &all, &old);
    self->started = pthread_create (&self->thread, NULL, write_out, self) == 0;
    pthread_sigmask (SIG_SETMASK, &old, NULL);
    return self->started;
}

void trace_destroy (trace_t **self_p)
{
    trace_t *self = *self_p;
    if (!self)
        return;
    pthread_mutex_lock (&self->lock);
    self->ending = true;
    pthread_cond_signal (&self->wake);
    pthread_mutex_unlock (&self->lock);
    if (self->started)
        pthread_join (self->thread, NULL);
    close (self->fd);
    pthread_cond_destroy (&self->wake);
    pthread_mutex_destroy (&self->lock);
    free (self->front.data);
    free (self->path);
    free (self);
    *self_p = NULL;
}

/* ---- recording -------------------------------------------------------------- */

static bool reserve (buffer_t *buffer, size_t more)
{
    if (more > MOST - buffer->used)
        return false;
    if (more <= buffer->room - buffer->used)
        return true;
    size_t room = 2 * buffer->room + more + ENOUGH;
    uint8_t *grown = realloc (buffer->data, room);
    if (!grown)
        return false;
    buffer->data = grown;
    buffer->room = room;
    return true;
}

static void add (trace_t *self, trace_way_t way, const char *peer, trace_kind_t kind,
                 uint64_t payload, const void *bytes, size_t n)
{
    uint8_t head[HEAD_ROOM], note[HEAD_ROOM];
    size_t nhead = put_record (head, way, peer, kind, payload, n), nnote = 0;
    pthread_mutex_lock (&self->lock);
    buffer_t *front = &self->front;
    if (self->lost)
        nnote = put_record (note, TRACE_OUT, "", TRACE_LOST, self->lost, 0);
    if (self->broken || (!self->started && !start (self)) || n > TRACE_MAX_BYTES ||
        !reserve (front, nnote + nhead + n)) {
        self->lost++;
    } else {
        memcpy (front->data + front->used, note, nnote);
        memcpy (front->data + front->used + nnote, head, nhead);
        if (n > 0)
            memcpy (front->data + front->used + nnote + nhead, bytes, n);
        front->used += nnote + nhead + n;
        self->lost = 0;
        if (front->used >= ENOUGH)
            pthread_cond_signal (&self->wake);
    }
    pthread_mutex_unlock (&self->lock);
}

void trace_message (trace_t *self, trace_way_t way, const char *peer, const void *data,
                    size_t n)
{
    add (self, way, peer, TRACE_MESSAGE, 0, data, n);
}

void trace_piece (trace_t *self, trace_way_t way, const char *peer, const void *header,
                  size_t n, uint64_t payload)
{
    add (self, way, peer, TRACE_PIECE, payload, header, n);
}
