/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* slots.h - the cores of a host, shared by all agents on it
 *
 * A machine may run a daemon node for the lab, one of another user, and the
 * embedded node of a run started right there. Each would use all cores. So an
 * agent runs a task only while it holds the lock of a core: byte i of one file
 * per host, locked with open file description locks (F_OFD_SETLK), which the
 * system drops when the agent ends, however it ends.
 *
 * The same file tells agents of each other, so that they share evenly without
 * talking: byte 4096 + a is locked by an agent that has work, byte 8192 + a by
 * one that wants a core and got none. Who holds at least its even share
 * (cores / agents with work, rounded up) takes no further core while somebody
 * else wants one; as tasks end the cores move over. Who is alone has them all.
 *
 * The file is /dev/shm/sluice-slots, open to all users of the host (mode 0666:
 * a user of the host can hold cores back from Sluice by locking it, and can do
 * nothing else with it), or, where that cannot be had, /tmp/sluice-slots-UID,
 * which is one user's only. $SLUICE_SLOTS_DIR names another folder, for
 * several simulated hosts on one machine.
 *
 * With more slots than cores the locks beyond the cores are used first, and
 * such an agent oversubscribes the machine, as was asked for.
 *
 * Nothing here blocks. Owned by the agent's thread.
 */
#ifndef NODE_SLOTS_H
#define NODE_SLOTS_H

#include <stdbool.h>
#include <stdint.h>
#include "sluice/error.h"

enum { SLOTS_MAX = 4096 };

typedef struct slots slots_t;

/* Share `cores` of this host (1 to SLOTS_MAX), to hold at most `slots` of
 * their locks at once. `slots` may exceed `cores`. */
slots_t *slots_new (unsigned slots, unsigned cores, sluice_error_t *err);
void slots_destroy (slots_t **self_p);

/* Say whether this agent has work at all (it counts in the even shares), and
 * whether it lacks a core for it. Cheap when nothing changes. */
void slots_working (slots_t *self, bool working);
void slots_wanting (slots_t *self, bool wanting);

/* Lock `n` cores: true, or false with none taken. */
bool slots_take (slots_t *self, unsigned n);
/* Give `n` back (those taken last). */
void slots_give (slots_t *self, unsigned n);

/* Does another agent want a core? Asked of the system at most once a millisecond. */
bool slots_wanted (slots_t *self, int64_t now);

unsigned slots_held (const slots_t *self);
/* Path of the file, for people. */
const char *slots_path (const slots_t *self);

#endif
