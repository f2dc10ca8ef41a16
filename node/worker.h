/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* worker.h - the process that runs a kernel, one task at a time
 *
 * It ends when its socket closes: without an agent there is no work.
 */
#ifndef NODE_WORKER_H
#define NODE_WORKER_H

#include "calc/kernel_host.h"
#include "node/wire.h"

typedef struct {
    unsigned slot;
    int sock; /* to the agent */
    int err;  /* what it prints goes there */
    const msg_hello_t *hello;
    const kernel_t *kernel;
    void *state; /* of the kernel's open */
    slot_page_t *page;
    unsigned segments;
    uint64_t memory;
    const char *scratch; /* its own folder, made anew */
    bool confine;
    bool sealed;      /* its pieces: proto/seal.h */
    bool small;       /* small results may go in the ring */
    const char *root; /* what may be read, if confined */
} worker_t;

/* The life of a worker, in a process forked for it. Never returns. */
_Noreturn void worker_main (const worker_t *self);

#endif
