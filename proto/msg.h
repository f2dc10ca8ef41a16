/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* msg.h - every message between master, node, commands and programs
 *
 * A message is one ZeroMQ frame: a msgpack array
 *
 *   [type, version, run, field, field, ...]
 *
 * with the fields of `struct` below in the order they stand there. This
 * header is the only definition. Encoding a decoded message gives the same
 * bytes. Decoding takes bytes from anybody: nesting, counts and lengths are
 * checked against the bytes that are there before msgpack-c sees them, every
 * text is checked to be UTF-8 without NUL, and nothing is allocated that is
 * not paid for by bytes received (five bytes can ask msgpack-c for 4 GB).
 * Numbers and lengths must stand in their shortest form, as the encoder writes
 * them. Texts that are NULL are sent as "".
 */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/key.h"
#include "proto/share.h"
#include "sluice/error.h"
#include "sluice/params.h"

enum {
    MSG_VERSION = 2,
    RUN_BYTES = 16,
    MSG_MAX_BYTES = 4 << 20,    /* of one control message */
    MSG_MAX_REPORT = 256 << 10, /* of one from a node to a master */
    MSG_TASKS_AHEAD = 4096,     /* that a node may ask for beyond 4 per slot */
    MSG_MAX_TASKS = 4096,       /* in one ASSIGN or REVOKE */
    MSG_MAX_SIZES = 1024,       /* in one OFFER */
    MSG_MAX_TABLES = 64,
    MSG_MAX_INPUTS = 4096,
    MSG_MAX_PARAMS = 4096,
    MSG_MAX_TEXT = 64 << 10,  /* of one text */
    MSG_MAX_VALUE = 1 << 20,  /* of one parameter's value */
    MSG_MAX_STDERR = 4 << 10, /* of stderr_tail */
    MSG_MAX_NODES = 4096,     /* that a program names */
    MSG_MAX_EXTENTS = 4096    /* in one RESULT */
};

typedef enum {
    MSG_HELLO = 1, /* M>N  here is a run: prepare for it */
    MSG_WELCOME,   /* N>M  prepared (or not: `lacks`); where results come from */
    MSG_SLOTS,     /* N>M  task credit */
    MSG_ASSIGN,    /* M>N  tasks */
    MSG_SHED,      /* M>N  end this task after the present item */
    MSG_OFFER,     /* N>M  bytes ready to be pushed */
    MSG_CREDIT,    /* M>N  bytes that may be pushed; bytes received */
    MSG_FAILED,    /* N>M  an attempt ended without a result */
    MSG_REVOKE,    /* M>N  stop these tasks, or all */
    MSG_RESYNC,    /* M>N  new PUSH, go on after byte `received` */
    MSG_PING,      /* both ways */
    MSG_PONG,
    MSG_BYE,     /* both ways: ordered end of a run */
    MSG_STATUS,  /* command > M or N: how is it going? */
    MSG_EXPLAIN, /* command > M: what does it wait for? */
    MSG_CANCEL,  /* command > M: cancel the run, or tasks; P>M: items */
    MSG_REPLY,   /* M or N > command: JSON or text */
    /* Between a program and the master it started (include/sluice/client.h); they never
     * come over a network (proto/talk.h). */
    MSG_MAP,      /* P>M  run this */
    MSG_BEGUN,    /* M>P  the output is there, and this is what it will hold */
    MSG_RESULT,   /* M>P  where the rows of a finished task lie */
    MSG_LOST,     /* M>P  items failed for good, or were cancelled */
    MSG_PROGRESS, /* M>P */
    MSG_OVER,     /* M>P  the last: how it ended */
    MSG_TYPES
} msg_type_t;

typedef struct {
    char *name;
    char *dtype;         /* canonical text */
    uint64_t chunk_rows; /* rows of one chunk, >= 1 */
} table_t;

typedef struct {
    uint64_t task;        /* number of the task within the run */
    uint32_t attempt;     /* 1, 2, ... */
    uint64_t first, stop; /* items first <= i < stop */
} task_t;

typedef struct {    /* MSG_HELLO */
    uint64_t token; /* of this run on this node; in every frame */
    char *owner;    /* user@host */
    char *job;      /* name of the job, for people */
    uint8_t share[SHARE_ID_BYTES];
    uint8_t
        data_key[KEY_BYTES]; /* public: the master's data socket; zeros: no CURVE (ipc) */
    uint8_t secret[KEY_BYTES]; /* seal.h: of this link; zeros: results come by CURVE */
    char *kernel;              /* "builtin:NAME" or a path in the share */
    uint8_t kernel_hash[FILE_HASH_BYTES]; /* BLAKE2b-256 of the file; zeros if built in */
    char *inputs; /* path of the HDF5 file with share_put arrays; "" none */
    uint64_t seed, items;
    uint64_t memory;  /* bytes per worker; 0: the node's default */
    uint32_t segment; /* bytes of a segment: the largest payload of a piece */
    uint32_t deflate; /* workers compress chunks of tables: the level; 0: they do not */
    uint32_t cores_per_task;
    int32_t priority;
    size_t ntables;
    table_t *tables;
    size_t nfiles;
    input_t *files;
    sluice_params_t *params;
} msg_hello_t;

typedef struct { /* MSG_WELCOME; sent again after RESYNC */
    uint64_t token;
    char *host;
    uint8_t uuid[16];
    uint32_t cores, slots;
    uint64_t memory, outbox; /* bytes */
    uint32_t epoch;          /* of the PUSH socket */
    char *endpoint;          /* ipc://... or tcp, host "*" and a port, the host being the
                                one that the master reached the node by */
    uint8_t data_key[KEY_BYTES]; /* public: the node's PUSH; zeros: no CURVE */
    uint8_t salt[KEY_BYTES];     /* seal.h: of this session; zeros: they are not sealed */
    char *isa;                   /* instruction set that built-in kernels use there */
    char *lacks;                 /* "": ready. Else why it cannot take part */
} msg_welcome_t;

typedef struct {    /* MSG_SLOTS */
    uint64_t tasks; /* cumulative: tasks it can take in all */
} msg_slots_t;

typedef struct {     /* MSG_ASSIGN, MSG_REVOKE, MSG_SHED, MSG_CANCEL (a program's:
                        the items of `tasks`, whatever task they are in) */
    uint64_t before; /* ASSIGN: tasks sent to this node before these */
    bool all;        /* REVOKE, CANCEL: everything of the run */
    size_t ntasks;
    task_t *tasks;
} msg_tasks_t;

typedef struct { /* MSG_OFFER */
    uint32_t epoch;
    uint64_t from; /* cumulative bytes before the first of `sizes` */
    size_t nsizes;
    uint32_t *sizes; /* of the next pieces, header and payload */
} msg_offer_t;

typedef struct { /* MSG_CREDIT; MSG_RESYNC uses epoch (new) and received */
    uint32_t epoch;
    uint64_t granted, received; /* cumulative bytes */
} msg_credit_t;

typedef struct { /* MSG_FAILED */
    uint64_t task;
    uint32_t attempt;
    uint64_t item;     /* where it was, if known; else the task's first */
    char *reason;      /* one line: "killed by signal 11 (SIGSEGV)" */
    int32_t sig;       /* 0: none */
    int32_t exit_code; /* -1: none */
    bool crashed;      /* its worker died of it: counts as a crash */
    char *stderr_tail; /* last lines, at most 4 KiB */
} msg_failed_t;

typedef struct { /* MSG_PING, MSG_PONG */
    uint64_t seq;
    uint64_t assigned; /* PING: tasks sent so far; PONG: tasks seen */
    uint64_t held;     /* PONG: result bytes at the node */
    uint32_t running;  /* PONG: tasks being computed */
} msg_ping_t;

typedef struct { /* MSG_BYE, MSG_REPLY, MSG_STATUS, MSG_EXPLAIN */
    char *text;  /* why; the answer; the question */
} msg_text_t;

typedef struct {
    char *endpoint; /* tcp://HOST:PORT */
} endpoint_t;

typedef struct {         /* MSG_MAP; 0 and "" mean: as it is by default */
    uint32_t pid;        /* of the program */
    char *folder, *name; /* the folder that relative paths start from */
    char *key;
    char *output; /* "": one without a name, for the program alone */
    bool force, has_seed, no_local, no_network, serial, confine, fail_fast;
    uint64_t seed, window, outbox, memory;
    uint64_t node_wait; /* ms that there may be no node */
    uint32_t cores;
    size_t nnodes;
    endpoint_t *nodes;
    sluice_params_t *params;
} msg_map_t;

typedef struct { /* MSG_BEGUN; a descriptor of the output comes along */
    uint64_t items;
    char *output;
    size_t ntables;
    table_t *tables; /* numbers 0 to n - 1; n is sluice/items */
} msg_begun_t;

typedef struct { /* rows of a table that lie behind each other */
    uint32_t table;
    uint64_t rows, address;
    uint64_t deflated; /* they are compressed to so many bytes (proto/codec.h); 0: not */
} extent_t;

typedef struct { /* a table that the plan does not declare */
    uint32_t number;
    char *name, *dtype;
} met_late_t;

typedef struct { /* MSG_RESULT */
    uint64_t task;
    uint32_t attempt;
    uint64_t first, stop; /* its items */
    bool more;            /* further extents of it follow */
    size_t ntables;
    met_late_t *tables; /* met first in this task */
    size_t nextents;
    extent_t *extents; /* in the order of the task's rows */
} msg_result_t;

typedef struct { /* MSG_LOST */
    uint64_t first, stop;
    char *reason;
    int32_t sig, exit_code; /* as in MSG_FAILED */
    char *stderr_tail, *host;
} msg_lost_t;

typedef struct { /* MSG_PROGRESS */
    uint64_t items, done, failed, running;
    uint64_t bytes, milliseconds;
    uint32_t nodes, cores;
    char *waiting; /* what it waits for, if for anything */
} msg_progress_t;

typedef struct {                    /* MSG_OVER */
    uint32_t code;                  /* sluice_code_t */
    char *text;                     /* of the error */
    char *status;                   /* complete, failed, cancelled, stopped */
    uint64_t done, failed, retried; /* items; attempts that were repeated */
    uint64_t rows, bytes, milliseconds;
    uint32_t nodes, cores;
    uint8_t digest[DIGEST_BYTES];
} msg_over_t;

typedef struct {
    msg_type_t type;
    uint8_t run[RUN_BYTES]; /* zeros: no run (PING to an agent, STATUS) */
    union {
        msg_hello_t hello;
        msg_welcome_t welcome;
        msg_slots_t slots;
        msg_tasks_t tasks;
        msg_offer_t offer;
        msg_credit_t credit;
        msg_failed_t failed;
        msg_ping_t ping;
        msg_text_t text;
        msg_map_t map;
        msg_begun_t begun;
        msg_result_t result;
        msg_lost_t lost;
        msg_progress_t progress;
        msg_over_t over;
    };
} msg_t;

/* Encode; *data is malloc'd (free () it). -1 when out of memory or past a limit. */
int msg_encode (const msg_t *msg, void **data, size_t *n, sluice_error_t *err);

/* Decode into `msg`, which then owns its parts (msg_clear). -1: cannot be right
 * (SLUICE_EPROTO); `msg` is then empty. */
int msg_decode (const void *data, size_t n, msg_t *msg, sluice_error_t *err);
void msg_clear (msg_t *msg);

const char *msg_type_name (msg_type_t type);

/* 32 hex digits of a run id. */
void run_text (const uint8_t run[RUN_BYTES], char text[2 * RUN_BYTES + 1]);
/* Back from hex; false if it is not 32 hex digits. */
bool run_parse (const char *text, uint8_t run[RUN_BYTES]);

/* Check that `n` bytes are exactly one well-formed msgpack object whose
 * nesting is at most `depth` (64 at most) and whose announced counts fit in the bytes.
 * Allocates nothing. Used before every msgpack-c call on foreign bytes. */
bool msgpack_is_safe (const void *data, size_t n, unsigned depth);

#endif
