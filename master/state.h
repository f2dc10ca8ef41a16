/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* state.h - what SIGUSR1 makes a master write: gate, links and scheduler in lines
 *
 * For whoever asks why a run does not move and cannot ask it by `sluice explain`:
 * plain numbers, a line each for the run, the window, every node and the tasks that
 * are waited for. It only looks.
 */
#ifndef MASTER_STATE_H
#define MASTER_STATE_H

#include "master/explain.h"

/* The lines, to be freed; each begins with "sluice COMMAND: state: ". NULL: out of
 * memory. */
char *state_text (const view_t *view);

#endif
