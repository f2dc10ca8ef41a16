/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* wire.h - what agent, spawner, zygote and workers say to each other
 *
 * All of them are processes of one machine and one program, so a message is a
 * plain struct, with bytes behind it, over a Unix socket of type SEQPACKET:
 * messages keep their bounds, the death of a peer is an end of file, and file
 * descriptors ride along. The agent still believes nothing that a worker
 * says: people's code runs there and may have written anywhere.
 *
 * What has to pass quickly or while a worker is stopped goes by a page of
 * shared memory, one per slot.
 */
#ifndef NODE_WIRE_H
#define NODE_WIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/piece.h"
#include "proto/seal.h"

enum {
    TAIL_BYTES = 4 << 10,                                /* of stderr that are kept */
    WIRE_MAX_BYTES = sizeof (seal_t) + PIECE_MAX_HEADER, /* behind the struct */
    WIRE_MAX_FDS = 4,
    HAND_MAX = 64,          /* tasks that a worker may have at once */
    RING_BYTES = 64 << 10,  /* of small results that were not taken yet */
    RING_PAYLOAD = 4 << 10, /* a larger one goes in a segment */
    RING_HEADER = 1 << 10   /* and so does one with a larger header */
};

typedef enum {
    /* agent to spawner */
    WIRE_START =
        1,    /* a: crew; bytes: its scratch folder; fds: socket, order, pages, stderr */
    WIRE_END, /* a: crew; b: ms that it may take to end by itself */
    /* spawner to agent */
    WIRE_ENDED, /* a: crew; b: wait status of its zygote */
    WIRE_GONE,  /* a: crew: nothing of it lives */
    /* agent to zygote */
    WIRE_FORK,     /* slot; fd: the worker's socket */
    WIRE_KILL,     /* slot */
    WIRE_PAUSE,    /* slot; a: 1 stop, 0 go on */
    WIRE_ASK_TAIL, /* slot */
    /* zygote to agent */
    WIRE_OPEN,  /* the kernel is open; bytes: what is to be noted */
    WIRE_LACKS, /* it cannot be; bytes: why */
    WIRE_DEAD,  /* slot; a: wait status; b: peak bytes of memory; bytes: tail of stderr */
    WIRE_TAIL,  /* slot; bytes: tail of stderr */
    /* agent to worker */
    WIRE_TASK, /* tasks are in your page, if you sleep */
    WIRE_WAKE, /* a segment is free, if you waited */
    /* worker to agent */
    WIRE_BORN,    /* ready for a task; bytes: what is to be noted */
    WIRE_PIECE,   /* a: number of the segment; b: bytes of payload; bytes: seal_t if
                     results are sealed, header; fd: the segment, once */
    WIRE_LAST,    /* the same, the task's last piece: it is done, the worker free */
    WIRE_FAILED,  /* a: item; b: how a process of the task ended that failed it (exit
                     code + 1, signal << 16; 0: none did); bytes: why */
    WIRE_WAITING, /* for a segment */
    WIRE_RESULTS  /* results are in the page */
} wire_op_t;

typedef struct {
    uint32_t op;
    uint32_t slot;
    uint64_t a, b;
    uint64_t ring; /* of a worker: `put` of its ring when this was sent */
} wire_t;

/* Send a message. -1 with errno (EAGAIN: the peer does not read, if `wait` is
 * false; EPIPE: it is gone). Never raises SIGPIPE. */
int wire_send (int sock, const wire_t *wire, const void *data, size_t n, const int *fds,
               size_t nfds, bool wait);

typedef enum { WIRE_GOT, WIRE_NONE, WIRE_EOF } wire_result_t;

/* What a message brought. */
typedef struct {
    wire_t wire;
    size_t n;
    char data[WIRE_MAX_BYTES + 1]; /* a NUL is put behind the bytes */
    size_t nfds;
    int fds[WIRE_MAX_FDS]; /* the receiver's: wire_drop closes them */
} wire_mail_t;

/* Receive a message. WIRE_NONE: nothing is there now. A message of the wrong
 * size counts as end of file: whoever sent it is not to be talked to. */
wire_result_t wire_recv (int sock, wire_mail_t *mail, bool wait);
void wire_drop (wire_mail_t *mail);

/* ---- shared memory ------------------------------------------------------- */

/* What a worker has been handed and what it has begun, in one word, so that both sides
 * change it in one step: tasks are begun in order, and those that are not begun can be
 * taken back at any time, whatever the worker is at. Counts are modulo 2^31. */
typedef struct {
    uint32_t begun, put;
    bool asleep; /* the worker waits for WIRE_TASK, which is due when tasks are put */
    bool closed; /* it begins nothing more: its task failed */
} hand_t;

enum { HAND_COUNT = 0x7fffffff };
uint64_t hand_pack (hand_t hand);
hand_t hand_unpack (uint64_t word);

/* Each slot's page: what agent and worker tell each other without a message. The agent
 * believes what it reads there no more than what comes in messages; only this worker
 * has it mapped.
 *
 * Small results need no segment and no message: they are laid in `ring`, each a
 * ring_head_t, the piece's header and its payload, one behind the other (a head of no
 * bytes: go on at the beginning). Both ways, ring and socket, are one stream: a head
 * says how many messages were sent before it, and a message how much had been laid in
 * the ring. */
typedef struct {
    _Atomic uint64_t hand;    /* hand_t */
    _Atomic uint64_t put;     /* worker: bytes laid in the ring so far */
    _Atomic uint64_t taken;   /* agent: of these */
    task_t tasks[HAND_MAX];   /* agent: the i-th that was put is at i mod HAND_MAX */
    _Atomic uint32_t shed;    /* agent: give the rest of the range back; the number of
                                 the task that is meant, as begun, and 1 */
    _Atomic uint32_t waiting; /* worker: 1 while it waits for a segment; whoever
                                 sets it to 0 sees that it was 1 */
    _Atomic uint32_t allowed; /* agent: segments that the worker may have */
    _Atomic uint32_t pad;
    _Atomic uint64_t item; /* worker: where it is */
    _Alignas(16) uint8_t ring[RING_BYTES];
    _Atomic uint8_t released[]; /* per segment; worker: 0 on sending; agent: 1 */
} slot_page_t;

typedef struct {
    uint32_t bytes;           /* with what follows, a multiple of 16; 0: go on at 0 */
    uint32_t header, payload; /* bytes */
    uint32_t messages;        /* that the worker sent before, modulo 2^32 */
} ring_head_t;

/* Worker: lay a result in the ring, behind `*put` bytes. False: there is no room now. */
bool ring_put (slot_page_t *page, uint64_t *put, uint32_t messages, const void *header,
               size_t nheader, const void *payload, size_t npayload);

typedef enum { RING_NONE, RING_GOT, RING_LATER, RING_BROKEN } ring_result_t;
/* Agent: copy the result that is behind `*taken` bytes, if `messages` is what it says:
 * RING_LATER if not. `out` has room for RING_HEADER + RING_PAYLOAD bytes. */
ring_result_t ring_take (slot_page_t *page, uint64_t *taken, uint32_t messages,
                         ring_head_t *head, uint8_t *out);

/* Bytes from one slot's page to the next: whole pages of memory. */
size_t slot_page_bytes (unsigned segments);

/* ---- what a zygote is told ----------------------------------------------- */

/* The order for a run: this struct, then the share's root with its NUL, the
 * scratch folder with its NUL, and MSG_HELLO. It comes in a memfd, as it may
 * be larger than a socket takes. */
typedef struct {
    uint32_t slots;
    uint32_t segments;
    uint64_t memory;
    uint32_t confine;
    uint32_t share_confined;
    uint32_t sealed;
    uint32_t small; /* small results may go in the ring */
    uint64_t root_bytes, scratch_bytes, hello_bytes;
} wire_order_t;

#endif
