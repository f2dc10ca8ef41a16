/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/zap.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* ZAP is https://rfc.zeromq.org/spec/27: a request is
 *
 *   (envelope) "" version request-id domain address identity mechanism credential...
 *
 * and its answer, behind the same envelope,
 *
 *   "" version request-id status-code status-text user-id metadata
 */
enum { MAX_FRAMES = 16 };

typedef struct {
    char *name;
    uint8_t key[KEY_BYTES];
    bool password;    /* it is one, not a key of CURVE */
    char address[64]; /* password: who was admitted; "" nobody yet */
} domain_t;

struct zap {
    void *socket;
    domain_t *domains; /* one for the node, one per run */
    size_t count, room;
    uint64_t refused;
};

zap_t *zap_new (void *context, sluice_error_t *err)
{
    zap_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the ZAP handler");
        return NULL;
    }
    int linger = 0;
    self->socket = zmq_socket (context, ZMQ_ROUTER);
    if (!self->socket ||
        zmq_setsockopt (self->socket, ZMQ_LINGER, &linger, sizeof linger) == -1 ||
        zmq_bind (self->socket, "inproc://zeromq.zap.01") == -1) {
        sluice_fail (err, SLUICE_ESYSTEM, "cannot start the ZAP handler: %s",
                     zmq_strerror (zmq_errno ()));
        zap_destroy (&self);
    }
    return self;
}

void zap_destroy (zap_t **self_p)
{
    zap_t *self = *self_p;
    if (!self)
        return;
    if (self->socket)
        zmq_close (self->socket);
    for (size_t i = 0; i < self->count; i++)
        free (self->domains[i].name);
    free (self->domains);
    free (self);
    *self_p = NULL;
}

void *zap_socket (const zap_t *self)
{
    return self->socket;
}

uint64_t zap_refused (const zap_t *self)
{
    return self->refused;
}

/* The place of this domain, or `count`. */
static size_t find (const zap_t *self, const void *name, size_t n)
{
    size_t i = 0;
    while (i < self->count && (strlen (self->domains[i].name) != n ||
                               memcmp (self->domains[i].name, name, n) != 0))
        i++;
    return i;
}

int zap_allow (zap_t *self, const char *domain, const uint8_t client_key[KEY_BYTES],
               sluice_error_t *err)
{
    size_t at = find (self, domain, strlen (domain));
    if (!client_key) {
        if (at < self->count) {
            free (self->domains[at].name);
            self->domains[at] = self->domains[--self->count];
        }
        return 0;
    }
    if (at == self->count) {
        if (self->count == self->room) {
            size_t room = self->room ? 2 * self->room : 8;
            domain_t *domains = realloc (self->domains, room * sizeof *domains);
            if (!domains)
                return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a domain");
            self->domains = domains;
            self->room = room;
        }
        char *name = strdup (domain);
        if (!name)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory for a domain");
        self->domains[self->count++].name = name;
    }
    domain_t *known = &self->domains[at];
    *known = (domain_t){.name = known->name};
    memcpy (known->key, client_key, KEY_BYTES);
    return 0;
}

int zap_allow_password (zap_t *self, const char *domain,
                        const uint8_t password[KEY_BYTES], sluice_error_t *err)
{
    if (zap_allow (self, domain, password, err) == -1)
        return -1;
    self->domains[find (self, domain, strlen (domain))].password = true;
    return 0;
}

/* ---- passwords ------------------------------------------------------------ */

static const char user[] = "sluice"; /* libzmq wants one */

int password_serve (void *socket, const char *domain, sluice_error_t *err)
{
    int yes = 1;
    if (zmq_setsockopt (socket, ZMQ_ZAP_DOMAIN, domain, strlen (domain)) == -1 ||
        zmq_setsockopt (socket, ZMQ_PLAIN_SERVER, &yes, sizeof yes) == -1)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot guard a socket: %s",
                            zmq_strerror (zmq_errno ()));
    return 0;
}

int password_connect_as (void *socket, const uint8_t password[KEY_BYTES],
                         sluice_error_t *err)
{
    if (zmq_setsockopt (socket, ZMQ_PLAIN_USERNAME, user, sizeof user - 1) == -1 ||
        zmq_setsockopt (socket, ZMQ_PLAIN_PASSWORD, password, KEY_BYTES) == -1)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot name a password: %s",
                            zmq_strerror (zmq_errno ()));
    return 0;
}

/* ---- answering ---------------------------------------------------------- */

typedef struct {
    zmq_msg_t frames[MAX_FRAMES]; /* the first is the ROUTER's envelope */
    size_t count;
    bool whole; /* not more than MAX_FRAMES */
} request_t;

static bool frame_is (request_t *request, size_t i, const char *text)
{
    zmq_msg_t *frame = &request->frames[i];
    size_t n = strlen (text);
    return zmq_msg_size (frame) == n && memcmp (zmq_msg_data (frame), text, n) == 0;
}

/* False if nobody waits. */
static bool receive (void *socket, request_t *request)
{
    request->count = 0;
    request->whole = true;
    for (int more = 1; more;) {
        zmq_msg_t frame;
        zmq_msg_init (&frame);
        /* The frames of one message come together. */
        if (zmq_msg_recv (&frame, socket, ZMQ_DONTWAIT) == -1) {
            zmq_msg_close (&frame);
            return request->count > 0;
        }
        more = zmq_msg_more (&frame);
        if (request->count < MAX_FRAMES) {
            zmq_msg_init (&request->frames[request->count]);
            zmq_msg_move (&request->frames[request->count++], &frame);
        } else
            request->whole = false;
        zmq_msg_close (&frame);
    }
    return true;
}

/* Is this the address of who was admitted before? The first one's is kept. */
static bool is_same_address (domain_t *domain, zmq_msg_t *address)
{
    size_t n = zmq_msg_size (address);
    if (n == 0 || n >= sizeof domain->address)
        return false;
    if (!domain->address[0])
        memcpy (domain->address, zmq_msg_data (address), n);
    return strlen (domain->address) == n &&
           memcmp (domain->address, zmq_msg_data (address), n) == 0;
}

static bool is_admitted (const zap_t *self, request_t *request)
{
    /* 0 envelope, 1 empty, 2 version, 3 id, 4 domain, 5 address, 6 identity,
     * 7 mechanism, then 8 the client's key, or 8 a name and 9 the password */
    if (!request->whole || request->count < 9 || !frame_is (request, 2, "1.0"))
        return false;
    zmq_msg_t *name = &request->frames[4];
    size_t at = find (self, zmq_msg_data (name), zmq_msg_size (name));
    if (at == self->count)
        return false;
    domain_t *domain = &self->domains[at];
    size_t frames = domain->password ? 10 : 9;
    zmq_msg_t *key = &request->frames[frames - 1];
    return request->count == frames &&
           frame_is (request, 7, domain->password ? "PLAIN" : "CURVE") &&
           zmq_msg_size (key) == KEY_BYTES &&
           sodium_memcmp (zmq_msg_data (key), domain->key, KEY_BYTES) == 0 &&
           (!domain->password || is_same_address (domain, &request->frames[5]));
}

/* Errors are of no interest: who asked has gone away. */
static void answer (const zap_t *self, request_t *request, bool admitted)
{
    zmq_msg_send (&request->frames[0], self->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (self->socket, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (self->socket, "1.0", 3, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_msg_send (&request->frames[3], self->socket, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (self->socket, admitted ? "200" : "400", 3, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    const char *text = admitted ? "OK" : "not a member";
    zmq_send (self->socket, text, strlen (text), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (self->socket, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq_send (self->socket, "", 0, ZMQ_DONTWAIT);
}

void zap_answer (zap_t *self)
{
    request_t request;
    while (receive (self->socket, &request)) {
        bool admitted = is_admitted (self, &request);
        self->refused += !admitted;
        if (request.count > 3)
            answer (self, &request, admitted);
        for (size_t i = 0; i < request.count; i++)
            zmq_msg_close (&request.frames[i]);
    }
}
