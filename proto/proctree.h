/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* proctree.h - a process with all its descendants
 *
 * A process group or a session is left by `setsid`; parentage is not, as long
 * as an ancestor is a child subreaper: an orphan becomes the child of the
 * nearest one. So whoever walks down from a subreaper by parent finds
 * everything (invariant I9).
 */
#ifndef PROTO_PROCTREE_H
#define PROTO_PROCTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Kill all living descendants of `root`, and `root` too if asked. They are
 * stopped first, so that none forks away meanwhile; no number is used after
 * it was given to another process. The processes in `spare`, and theirs, are
 * left alone. Returns how many were alive: killed processes take a moment to
 * go, and one in an uninterruptible wait takes longer, so call until it is 0.
 * -1: the process table could not be read. */
int proctree_kill (pid_t root, bool with_root, const pid_t *spare, size_t nspare);

/* Send `root` and all its descendants a signal, such as SIGSTOP or SIGCONT. */
void proctree_signal (pid_t root, int sig);

/* Bytes that `root` and its descendants have in memory; what several share is counted
 * once if the system can tell (it takes longer, so only above `enough`). Their number
 * in *n. */
uint64_t proctree_memory (pid_t root, uint64_t enough, unsigned *n);

/* How many descendants of `root` live; zombies do not count. -1 as above. */
int proctree_count (pid_t root, const pid_t *spare, size_t nspare);

/* The children of `root`, up to `max`; returns their number. */
size_t proctree_children (pid_t root, pid_t *children, size_t max);

#endif
