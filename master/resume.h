/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* resume.h - going on with an unfinished output, as the user sees it
 *
 * What writer_resume does, with words around it: which file `--resume` without -o means,
 * what becomes of one that is complete, how a long check of what is there shows itself,
 * and which command goes on with a run that has ended early.
 */
#ifndef MASTER_RESUME_H
#define MASTER_RESUME_H

#include "master/job.h"
#include "master/run.h"

/* The newest STEM-NNN.h5 of the present folder; the caller's to free (). NULL if there is
 * none, or with an error if that cannot be known. */
char *resume_newest (const char *stem, size_t n, sluice_error_t *err);

/* Look at the output that job->resume says is there. 1: it is complete, and `result` is
 * what its run came to; 0: it can be gone on with; -1: it cannot, and why. */
int resume_look (const job_t *job, run_result_t *result, sluice_error_t *err);

/* The writer that goes on with it; says what was found. */
writer_t *resume_open (job_t *job, writer_options_t *options, sluice_error_t *err);

/* A new output was refused with this error: if what stands there is an unfinished one,
 * name --resume. */
void resume_advise (const job_t *job, sluice_error_t *err);

/* After a run that ended early: how to go on with its output, in a line, if that is
 * there. */
void resume_tell (const job_t *job);

#endif
