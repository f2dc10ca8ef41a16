/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* gsim_model.h - what a ground motion model gives gsim.c
 *
 * gsim.c has checked everything and calls `compute` with at most GSIM_BLOCK sites at
 * a time, all four results wanted. To add a model, write its file and put it into
 * the list in gsim.c.
 */
#ifndef CALC_GSIM_MODEL_H
#define CALC_GSIM_MODEL_H

#include "calc/gsim.h"

#define GSIM_BLOCK 256 /* so that temporary arrays lie on the stack and in the cache */

/* Coefficients by period. A row is the period (0 of PGA and PGV), then `width`
 * coefficients; the rows of `sa` go up in period. */
typedef struct {
    const double *pga, *pgv, *sa;
    size_t sa_rows, width;
} gsim_table_t;

/* The `width` coefficients for `imt`, interpolated. The table knows it. */
void gsim_coefficients (const gsim_table_t *table, const imt_t *imt, double *out);

/* Classes of faulting by rake: within 30 degrees of horizontal strike-slip, else
 * reverse or normal. */
typedef enum {
    FAULT_UNSPECIFIED,
    FAULT_STRIKE_SLIP,
    FAULT_NORMAL,
    FAULT_REVERSE
} fault_t;
fault_t gsim_fault (double rake);

struct gsim {
    const char *name;
    uint32_t needs;
    double low, high; /* periods, s */
    void (*compute) (const imt_t *imt, const gsim_rupture_t *rupture, size_t n,
                     const gsim_sites_t *sites, const gsim_result_t *result);
};

extern const gsim_t gsim_ba08;
extern const gsim_t gsim_bssa14;

#endif
