/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* nursery.h - workers: born, fed, buried
 *
 * The agent's side of section 8 of the design. A *spawner* process is forked
 * before the agent makes its ZeroMQ context (nursery_start); it is a child
 * subreaper. For each run it forks a *zygote*, which loads the kernel, calls
 * its open, closes every HDF5 file and forks one worker per slot. A worker's
 * results come as memfd segments over a Unix socket (SCM_RIGHTS, once per
 * segment: they are recycled), sealed against resizing and mapped read-only
 * here, so that they outlive the worker.
 *
 * When the agent dies its sockets close: workers and zygotes end by
 * themselves, and the spawner kills every descendant, `setsid` or not, and
 * ends (invariant I9).
 *
 * Owned by the agent's thread; nothing here blocks for longer than a message.
 */
#ifndef NODE_NURSERY_H
#define NODE_NURSERY_H

#include "proto/msg.h"
#include "proto/piece.h"
#include "proto/seal.h"
#include "proto/share.h"

typedef struct nursery nursery_t;      /* the spawner, one per agent */
typedef struct crew crew_t;            /* zygote and workers of one run */

/* Fork the spawner. Call before any thread or ZeroMQ context exists. */
nursery_t *nursery_start (sluice_error_t *err);
/* Ends the spawner, and with it every worker and all their descendants;
 * returns when they are gone (10 s at most). */
void nursery_destroy (nursery_t **self_p);
/* Readable when the spawner has died: the agent cannot go on then. */
int nursery_fd (const nursery_t *self);

typedef struct {
    const msg_hello_t *hello;          /* copied as needed */
    const share_t *share;
    unsigned slots;                    /* workers */
    uint64_t memory;                   /* bytes, limit of a worker; 0: none */
    unsigned segments;                 /* per worker, at least 2; together they are the
                                          run's part of the outbox */
    const char *scratch;               /* folder under which workers get theirs */
    bool confine;                      /* Landlock */
    bool sealed;                       /* workers seal their pieces (proto/seal.h) */
    int handover;                      /* socket by which the master on this machine gets
                                          the segments (proto/segments.h); 0: none */
    bool small;                        /* small results need no segment: there is room
                                          for RING_BYTES of them per worker besides */
} crew_options_t;

/* Begin a run: the zygote is forked and opens its inputs in the background.
 * CREW_READY or CREW_LACKS tells how that went. */
crew_t *crew_start (nursery_t *nursery, const crew_options_t *options,
                    sluice_error_t *err);
/* Kill zygote, workers and all descendants. Returns at once; segments that
 * are still held (crew_release not called) stay mapped until they are
 * released or the crew is destroyed. crew_gone says when all are dead. */
void crew_kill (crew_t *self);
bool crew_gone (crew_t *self);
/* Unmaps everything. Kills first if need be. */
void crew_destroy (crew_t **self_p);

typedef enum {
    CREW_NOTHING = 0,
    CREW_READY,          /* kernel open; all workers are there. `text`: what is to be
                            noted ("not confined: ..."), "" if nothing */
    CREW_LACKS,          /* the run cannot take place here: `text` */
    CREW_PIECE,          /* a worker finished a piece */
    CREW_NEXT,           /* a worker ended its task well (after its DONE piece) and is at
                            the next one in its hand */
    CREW_IDLE,           /* the same, and is free */
    CREW_FAILED,         /* an attempt failed; its worker (a new one, if it died) is free.
                            What else it had in hand was not begun, or that does not count */
    CREW_DIED            /* the zygote died: the run is over here, `text` */
} crew_event_type_t;

enum { CREW_SMALL = UINT32_MAX };

typedef struct {
    crew_event_type_t type;
    unsigned slot;
    char text[1000];
    /* CREW_PIECE */
    piece_t piece;                     /* run, token, epoch, position not set; its texts
                                          are valid until the next call */
    const void *payload;               /* valid until crew_release */
    uint32_t segment;                  /* handle for crew_release; CREW_SMALL: there is
                                          none, the payload is valid until the next call */
    const seal_t *seal;                /* how the payload is sealed; NULL: it is not */
    bool handed;                       /* the master has the segment under that handle */
    /* CREW_NEXT and CREW_IDLE, after DONE */
    double seconds;                    /* that the task took */
    /* CREW_FAILED (strings belong to the event until the next call) */
    msg_failed_t failed;
} crew_event_t;

/* Descriptors to poll for input; up to `max` are stored (one, which stands for
 * all sockets of the crew). */
size_t crew_fds (const crew_t *self, int *fds, size_t max);
/* The next thing that happened, without waiting. Loop until CREW_NOTHING. */
void crew_next (crew_t *self, crew_event_t *event);

/* Hand a task to an idle worker. -1 if the slot is not free, or the run not
 * ready or over. A worker that dies before it reads the task fails it. */
int crew_assign (crew_t *self, unsigned slot, const task_t *task, sluice_error_t *err);
/* Hand one more task to a worker that is at one, to begin when it comes to it. False: it
 * takes no more now. */
bool crew_hand (crew_t *self, unsigned slot, const task_t *task);
/* Take back what is in its hand and not begun, however long its present task takes: the
 * last so many that were handed, or none. */
unsigned crew_take_back (crew_t *self, unsigned slot);
/* Take no small results from now on (their workers wait, sooner or later), or again. */
void crew_hold_back (crew_t *self, bool hold);
/* Ask for the rest of the range back (sluice_yield says true from now on). */
void crew_shed (crew_t *self, unsigned slot);
/* Stop what the worker does: it and its descendants are killed and a new one
 * is made. No CREW_FAILED comes; CREW_IDLE does, when the new one is there. */
void crew_revoke (crew_t *self, unsigned slot);
/* Its task takes too long: the worker and its descendants are killed and a new one is
 * made. CREW_FAILED comes, with this reason, unless the task has just ended. */
void crew_expire (crew_t *self, unsigned slot, const char *reason);
/* The item that the worker is at, as far as it says: it does so between items. */
uint64_t crew_item (const crew_t *self, unsigned slot);
/* The slot's core is taken away or given back (SIGSTOP and SIGCONT to its
 * group), for sharing cores between runs. */
void crew_pause (crew_t *self, unsigned slot, bool pause);

/* The piece's segment is not needed any more: the worker may fill it anew. */
void crew_release (crew_t *self, uint32_t segment);

/* Is this worker waiting for a free segment? (Its core can be lent.) */
bool crew_waiting (const crew_t *self, unsigned slot);

#endif
