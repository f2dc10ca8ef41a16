/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* machine.h - what a machine has that Sluice makes use of
 *
 * Each of these has a fall-back that is slower or fences less, and is taken without
 * asking; `sluice doctor` says where, for this machine and for all nodes, which answer
 * STATUS with it. Looks at the system only: nothing here touches a share.
 */
#ifndef PROTO_MACHINE_H
#define PROTO_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include "proto/json.h"

typedef struct {
    char version[32];  /* of Sluice */
    char system[65];   /* release of the kernel */
    unsigned landlock; /* its ABI; 0: none */
    bool openat2, seals;
    bool fma;               /* and AVX2 or better; true where it does not apply */
    uint64_t memory, swap;  /* bytes in all */
    uint64_t free, swapped; /* bytes: available; of swap, in use */
    uint64_t files;         /* descriptors that a process may have */
    double clock;           /* seconds since 1970, now */
} machine_t;

void machine_look (machine_t *self);

/* As members of a JSON object, without its braces; and back. What is not there is
 * zero, as an older node's answer has it. */
void machine_write (const machine_t *self, json_out_t *out);
void machine_read (machine_t *self, const char *object);

#endif
