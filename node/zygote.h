/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* zygote.h - the process that opens a run's inputs and forks its workers
 *
 * What a kernel reads in `open` exists once per machine: the workers are
 * forked from the process that read it and share its memory until they write.
 * No HDF5 file may be open by then (handles inherited over fork read
 * garbage).
 *
 * Afterwards it watches: reads what workers say on stderr and keeps the tail,
 * reaps those that die and kills whatever they leave behind, kills, stops and
 * continues them when told.
 */
#ifndef NODE_ZYGOTE_H
#define NODE_ZYGOTE_H

/* Never returns. `sock` leads to the agent, `order` holds a wire_order_t,
 * `pages` the slots' shared pages, `err` takes what people's code prints
 * while the kernel is opened. */
_Noreturn void zygote_main (int sock, int order, int pages, int err);

#endif
