/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/faults.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/msg.h"

enum {
    PIECE = MSG_TYPES, /* stands behind the types of messages */
    NAMES = MSG_TYPES + 1,
    MOST = 64,        /* faults in a list */
    LATE_MS = 15000,  /* past every deadline of the protocol */
    RANDOM_MS = 12000 /* a random delay is shorter */
};

typedef enum { PASS, DROP, DOUBLE, DELAY, DIE, STOP } action_t;
static const char *const actions[] = {"pass", "drop", "double", "delay", "die", "stop"};

typedef struct {
    action_t action;
    unsigned type;
    uint64_t n;
    int64_t ms;
} fault_t;

/* A message that is late: two frames, behind each other. */
typedef struct late {
    struct late *next;
    const void *owner; /* of a piece; NULL: a message, for `socket` */
    void *socket;
    int64_t due;
    size_t first, second;
    uint8_t bytes[];
} late_t;

static const char *me = "";
static fault_t faults[MOST];
static unsigned nfaults;
static uint64_t sent[NAMES], received[NAMES];
static double rate, speed = 1;
static char once[100];
static uint64_t chance = 1; /* state of splitmix64 */
static late_t *all_late;

/* ---- the list --------------------------------------------------------------- */

static const char *name_of (unsigned type)
{
    return type == PIECE ? "PIECE" : msg_type_name ((msg_type_t) type);
}

static unsigned type_of (const char *name)
{
    for (unsigned type = 1; type < NAMES; type++)
        if (strcmp (name_of (type), name) == 0)
            return type;
    return 0;
}

static action_t action_of (const char *name)
{
    for (action_t action = DROP; action <= STOP; action++)
        if (strcmp (actions[action], name) == 0)
            return action;
    return PASS;
}

/* One word of the list. False: it makes no sense. */
static bool take (const char *word)
{
    char action[16], type[32];
    unsigned long long n = 0, ms = LATE_MS;
    int end = 0;
    if (sscanf (word, "seed=%llu%n", &n, &end) == 1 && !word[end])
        return (chance = n), true;
    if (sscanf (word, "once=%99s%n", once, &end) == 1 && !word[end])
        return true;
    if (sscanf (word, "rate=%lf%n", &rate, &end) == 1 && !word[end])
        return rate >= 0 && rate <= 1;
    if (sscanf (word, "speed=%lf%n", &speed, &end) == 1 && !word[end])
        return speed >= 1;
    if ((sscanf (word, "%15[a-z]:%31[A-Za-z.]:%llu%n", action, type, &n, &end) != 3 ||
         word[end]) &&
        (sscanf (word, "%15[a-z]:%31[A-Za-z.]:%llu:%llu%n", action, type, &n, &ms,
                 &end) != 4 ||
         word[end]))
        return false;
    const char *dot = strchr (type, '.'), *name = dot ? dot + 1 : type;
    fault_t fault = {action_of (action), type_of (name), n, (int64_t) ms};
    if (fault.action == PASS || !fault.type || n == 0 || nfaults == MOST)
        return false;
    size_t length = dot ? (size_t) (dot - type) : 0;
    if (dot && strncmp (type, "master", length) && strncmp (type, "node", length))
        return false;
    if (!dot || (strncmp (type, me, length) == 0 && !me[length]))
        faults[nfaults++] = fault;
    return true;
}

void faults_begin (const char *who)
{
    const char *list = getenv ("SLUICE_FAULTS");
    me = who;
    while (list && *list) {
        char word[120];
        size_t n = strcspn (list, ",");
        snprintf (word, sizeof word, "%.*s", (int) n, list);
        if (*word && !take (word)) {
            fprintf (stderr,
                     "sluice: $SLUICE_FAULTS: '%s' is no fault; see "
                     "proto/faults.h\n",
                     word);
            exit (2);
        }
        list += n + (list[n] == ',');
    }
    for (const char *c = who; *c; c++) /* not the same chances in each process */
        chance = chance * 31 + (unsigned char) *c;
}

int64_t faults_ms (int64_t ms)
{
    return (int64_t) ((double) ms / speed);
}

/* ---- what strikes ------------------------------------------------------------ */

static uint64_t draw (void)
{
    uint64_t x = chance += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void say (const char *action, unsigned type, uint64_t n)
{
    fprintf (stderr, "sluice %s: fault: %s %s %llu\n", me, action, name_of (type),
             (unsigned long long) n);
}

static bool make_once (void)
{
    int fd = open (once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
        close (fd);
    return fd >= 0;
}

/* What happens to the next message of this type; *ms if it is delayed. */
static action_t strike (unsigned type, bool out, int64_t *ms)
{
    uint64_t n = out ? ++sent[type] : ++received[type];
    action_t action = PASS;
    for (unsigned i = 0; i < nfaults; i++)
        if (faults[i].type == type && faults[i].n == n &&
            (out || faults[i].action >= DIE)) {
            action = faults[i].action;
            *ms = faults[i].ms;
        }
    if (action == PASS && out && rate > 0 && (double) (draw () >> 11) * 0x1p-53 < rate) {
        action = DROP + (action_t) (draw () % 3);
        *ms = (int64_t) (draw () % RANDOM_MS);
    }
    if (action == PASS || (*once && !make_once ()))
        return PASS;
    say (actions[action], type, n);
    if (action == DIE)
        kill (getpid (), SIGKILL);
    if (action == STOP)
        kill (getpid (), SIGSTOP);
    return action;
}

/* The type of a message of msg.h: what follows the head of the array, which takes
 * three bytes when there are more than 15 fields. */
static unsigned type_in (const void *data, size_t n)
{
    const uint8_t *bytes = data;
    size_t at = n > 0 && bytes[0] == 0xdc ? 3 : 1;
    return n > at && bytes[at] < MSG_TYPES ? bytes[at] : 0;
}

/* ---- being late --------------------------------------------------------------- */

static void keep (const void *owner, void *socket, const void *first, size_t nfirst,
                  const void *second, size_t nsecond, int64_t ms)
{
    late_t *late = malloc (sizeof *late + nfirst + nsecond);
    if (!late)
        return; /* very late */
    *late = (late_t){.owner = owner,
                     .socket = socket,
                     .due = clock_ms () + faults_ms (ms),
                     .first = nfirst,
                     .second = nsecond};
    memcpy (late->bytes, first, nfirst);
    memcpy (late->bytes + nfirst, second, nsecond);
    late_t **tail = &all_late;
    while (*tail)
        tail = &(*tail)->next;
    *tail = late;
}

static void send_frames (void *socket, const void *first, size_t nfirst,
                         const void *second, size_t nsecond)
{
    if (zmq_send (socket, first, nfirst, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        zmq_send (socket, second, nsecond, ZMQ_DONTWAIT);
}

/* Send what is due of this owner, through `socket` if it is a stream; or drop all. */
static void send_due (const void *owner, void *socket, bool drop)
{
    for (late_t **at = &all_late; *at;) {
        late_t *late = *at;
        if (late->owner != owner || (!drop && late->due > clock_ms ())) {
            at = &late->next;
            continue;
        }
        *at = late->next;
        if (!drop)
            send_frames (socket ? socket : late->socket, late->bytes, late->first,
                         late->bytes + late->first, late->second);
        free (late);
    }
}

void faults_turn (void)
{
    send_due (NULL, NULL, false);
}

void faults_end (void)
{
    send_due (NULL, NULL, true);
}

void faults_push_late (const void *owner, void *socket)
{
    send_due (owner, socket, false);
}

void faults_push_end (const void *owner)
{
    send_due (owner, NULL, true);
}

/* ---- sending ------------------------------------------------------------------- */

void faults_send (void *socket, const void *route, size_t nroute, const void *data,
                  size_t n)
{
    int64_t ms = 0;
    action_t action = strike (type_in (data, n), true, &ms);
    if (action == DELAY)
        keep (NULL, socket, route, nroute, data, n, ms);
    if (action == DROP || action == DELAY)
        return;
    send_frames (socket, route, nroute, data, n);
    if (action == DOUBLE)
        send_frames (socket, route, nroute, data, n);
}

void faults_received (const void *data, size_t n)
{
    int64_t ms = 0;
    strike (type_in (data, n), false, &ms);
}

int faults_push (const void *owner, void *socket, const void *header, size_t n,
                 zmq_msg_t *payload)
{
    int64_t ms = 0;
    size_t size = zmq_msg_size (payload);
    int events;
    size_t length = sizeof events;
    /* What the socket does not take is tried again, and is to count once. */
    if (zmq_getsockopt (socket, ZMQ_EVENTS, &events, &length) == -1 ||
        !(events & ZMQ_POLLOUT))
        return -1;
    action_t action = strike (PIECE, true, &ms);
    if (action == DELAY)
        keep (owner, NULL, header, n, zmq_msg_data (payload), size, ms);
    if (action == DROP || action == DELAY) {
        zmq_msg_close (payload);
        return 0;
    }
    if (action == DOUBLE) {
        zmq_msg_t copy;
        if (zmq_msg_init_size (&copy, size) == 0) {
            memcpy (zmq_msg_data (&copy), zmq_msg_data (payload), size);
            if (zmq_send (socket, header, n, ZMQ_SNDMORE | ZMQ_DONTWAIT) == -1 ||
                zmq_msg_send (&copy, socket, ZMQ_DONTWAIT) == -1)
                zmq_msg_close (&copy);
        }
    }
    if (zmq_send (socket, header, n, ZMQ_SNDMORE | ZMQ_DONTWAIT) == -1)
        return -1;
    return zmq_msg_send (payload, socket, ZMQ_DONTWAIT) == -1 ? -1 : 0;
}

/* ---- what is left out ---------------------------------------------------------- */

bool faults_without (without_t what)
{
    static _Atomic int known = -1;
    int list = known;
    if (list < 0) {
        const char *text = getenv ("SLUICE_WITHOUT");
        list = 0;
        if (text && strstr (text, "digests"))
            list |= WITHOUT_DIGESTS;
        if (text && strstr (text, "snapshots"))
            list |= WITHOUT_SNAPSHOTS;
        if (text && strstr (text, "seals"))
            list |= WITHOUT_SEALS;
        known = list;
    }
    return list & (int) what;
}
