/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* map_plan.h - the master's half of the kernel of `sluice map`
 *
 * See map.h. The command and its environment travel as shared arrays of bytes, texts
 * with their NULs one behind the other.
 */
#ifndef CALC_MAP_PLAN_H
#define CALC_MAP_PLAN_H

#include "sluice/kernel.h"

#define MAP_WORDS "command"
#define MAP_ENVIRONMENT "environment"

int map_plan (sluice_plan_t *plan, sluice_error_t *err);

#endif
