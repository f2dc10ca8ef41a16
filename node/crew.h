/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* crew.h - what nursery.c, crew.c and crew_events.c share
 *
 * nursery.c holds the spawner and hands its reports to the crews; crew.c
 * starts and ends a crew and gives it orders; crew_events.c hears what its
 * processes say and makes events of it. The public side is nursery.h.
 */
#ifndef NODE_CREW_H
#define NODE_CREW_H

#include "node/nursery.h"
#include "node/wire.h"

/* ---- nursery.c ------------------------------------------------------------ */

struct nursery {
    pid_t spawner;
    int control;  /* to the spawner */
    int lifeline; /* readable when the spawner is dead */
    bool dead;
    uint64_t last_id;
    crew_t **crews;
    size_t ncrews;
};

int nursery_enlist (nursery_t *self, crew_t *crew, sluice_error_t *err);
void nursery_strike (nursery_t *self, const crew_t *crew);
/* Hear the spawner's reports, for all crews. Does not wait. */
void nursery_listen (nursery_t *self);

/* ---- crew.c --------------------------------------------------------------- */

enum { NO_SEGMENT = UINT32_MAX };

/* Orders to the zygote that are still to be sent: its socket may be full. */
enum { DUE_FORK = 1, DUE_PAUSE = 2, DUE_TAIL = 4, DUE_KILL = 8 };

/* After this many workers of a slot that died before they were ready, in a
 * row, there is no point in making more. */
enum { CREW_EARLY_DEATHS = 3 };

typedef struct {
    int sock;            /* to the worker; -1 none */
    int child;           /* its end, until the zygote has it; else -1 */
    uint32_t generation; /* of the worker */
    unsigned due;
    bool queued;    /* something may be there to be read */
    bool born;      /* it is ready */
    bool busy;      /* it has a task */
    bool done;      /* and has sent its last piece: CREW_IDLE is next */
    bool failed;    /* the kernel said no; stderr is on its way */
    bool broke;     /* it said what cannot be, or took too long, and is to die */
    bool expired;   /* the latter */
    bool revoked;   /* it is to die, its task being unwanted */
    bool idle_owed; /* CREW_IDLE when the new worker is there */
    bool dead;      /* what it said before is still to be read */
    bool paused;
    unsigned early; /* deaths before birth, in a row */
    int status;
    uint64_t peak;         /* bytes of memory */
    task_t task;           /* the one that it is at: the first in hand */
    task_t hand[HAND_MAX]; /* a ring */
    unsigned first, nhand;
    uint32_t finished; /* tasks of this worker: the number of `task`, as begun */
    double seconds;    /* that the last one took */
    uint64_t taken;    /* bytes of its ring of results */
    uint32_t heard;    /* messages */
    wire_mail_t *mail; /* a message that comes after results in the ring */
    bool mailed;       /* there is one */
    bool muted;        /* and its socket is not listened to */
    uint64_t named;    /* late tables that its pieces have named, a bit each */
    uint64_t item;
    uint64_t end;       /* of the process that failed the task: WIRE_FAILED */
    uint32_t *segments; /* of this worker, by its numbers: handle or NO_SEGMENT */
    unsigned own;       /* how many those are */
    unsigned foreign;   /* of earlier workers, still held */
    char reason[1000];
    char tail[TAIL_BYTES + 1];
} slot_t;

typedef struct {
    const void *map; /* NULL: the handle is free */
    uint32_t slot, generation, number;
    bool held;   /* between CREW_PIECE and crew_release */
    bool handed; /* the master has it, too */
} segment_t;

struct crew {
    nursery_t *nursery; /* NULL: it is no more */
    uint64_t id;
    int zygote;      /* socket; -1: closed */
    int err;         /* what is printed while the kernel opens */
    int epoll, bell; /* the bell rings when the spawner reported */
    uint64_t memory;
    int handover; /* to the master; 0: none */
    bool sealed;
    seal_t seal;               /* of the event that was given last */
    unsigned nslots, segments; /* segments per slot */
    uint32_t segment_bytes;
    size_t ntables;
    uint8_t *pages;
    size_t page_bytes;
    slot_t *slots;
    uint32_t *queue; /* slots to be read, in turn: a ring */
    unsigned queue_first, queue_n;
    segment_t *held; /* by handle */
    size_t nheld;
    bool zygote_heard; /* its socket may have something */
    bool zygote_full;  /* and takes nothing just now */
    bool ready;        /* CREW_READY was given */
    bool over;         /* killed, or the last event was given */
    bool end_due;      /* the spawner could not be told yet */
    uint64_t grace_ms;
    bool ended, gone; /* the spawner's reports */
    int status;       /* of the zygote */
    char *scratch;
    int lock;      /* of scratch: see folder_make */
    bool deserted; /* the spawner died: its duties are ours */
    char note[400];
    char reason[1100]; /* of the event that was given last */
    char tail[TAIL_BYTES + 1];
    bool held_back;                            /* no small results are taken just now */
    wire_mail_t mail;                          /* of the zygote */
    uint8_t small[RING_HEADER + RING_PAYLOAD]; /* a small result: the last event's piece
                                                  points into it, or into a slot's mail */
};

slot_page_t *crew_page (const crew_t *self, unsigned slot);
/* The spawner reported on this crew; op 0: the spawner is dead. */
void crew_told (crew_t *self, const wire_t *wire);
/* Send the zygote what is due. */
void crew_flush (crew_t *self);
/* Put the slot in line to be read. */
void crew_queue (crew_t *self, unsigned slot);
/* Make a new worker for the slot. */
int crew_spawn (crew_t *self, unsigned slot, sluice_error_t *err);
/* The slot's worker is dead: close its socket, keep what is held of it. */
void crew_bury (crew_t *self, unsigned slot);
/* The worker's task is done, it goes on with the next in hand. False: there is none. */
bool crew_next_task (crew_t *self, unsigned slot);
/* Small results of the slot wait to be taken. */
bool crew_has_results (const crew_t *self, unsigned slot);
/* Map a segment that the slot's worker sent as `number`, of which it has none
 * yet. Takes the descriptor over. */
int crew_adopt (crew_t *self, unsigned slot, uint32_t number, int fd,
                sluice_error_t *err);
void crew_watch (crew_t *self, int fd, uint32_t tag, uint32_t events, int op);

/* What epoll says where something happened; smaller numbers are slots. */
enum { TAG_ZYGOTE = UINT32_MAX, TAG_CONTROL = UINT32_MAX - 1, TAG_BELL = UINT32_MAX - 2 };

#endif
