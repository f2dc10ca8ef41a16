/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/gsim.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/gsim_model.h"
#include "calc/vmath.h"

static const gsim_t *const models[] = {&gsim_ba08, &gsim_bssa14};

#define MODELS (sizeof models / sizeof *models)

int imt_parse (const char *text, imt_t *imt, sluice_error_t *err)
{
    if (strcmp (text, "PGA") == 0) {
        *imt = (imt_t){IMT_PGA, 0};
        return 0;
    }
    if (strcmp (text, "PGV") == 0) {
        *imt = (imt_t){IMT_PGV, 0};
        return 0;
    }
    /* strtod knows more than decimal numbers: the first character tells them apart. */
    if (strncmp (text, "SA(", 3) == 0 &&
        (isdigit ((unsigned char) text[3]) || text[3] == '.') &&
        tolower (text[4]) != 'x') {
        char *end;
        double period = strtod (text + 3, &end);
        if (end[0] == ')' && end[1] == 0 && isfinite (period) && period > 0) {
            *imt = (imt_t){IMT_SA, period};
            return 0;
        }
    }
    return sluice_fail (err, SLUICE_EINPUT,
                        "intensity measure %.60s: not one of PGA, PGV, SA(period in s)",
                        text);
}

char *imt_name (const imt_t *imt, char text[32])
{
    if (imt->kind != IMT_SA) {
        snprintf (text, 32, "%s", imt->kind == IMT_PGA ? "PGA" : "PGV");
        return text;
    }
    for (int digits = 4; digits <= 17; digits++) {
        snprintf (text, 32, "%.*g", digits, imt->period);
        if (strtod (text, NULL) == imt->period)
            break;
    }
    char number[25];
    snprintf (number, sizeof number, "%.24s", text);
    snprintf (text, 32, "SA(%s%s)", number, strpbrk (number, ".e") ? "" : ".0");
    return text;
}

const gsim_t *gsim_at (size_t index)
{
    return index < MODELS ? models[index] : NULL;
}

const gsim_t *gsim_find (const char *name, sluice_error_t *err)
{
    const char *start = name + strspn (name, " \t\r\n");
    size_t size = strlen (start);
    while (size > 0 && isspace ((unsigned char) start[size - 1]))
        size--;
    if (size > 2 && start[0] == '[' && start[size - 1] == ']') {
        start++;
        size -= 2;
    }
    for (size_t i = 0; i < MODELS; i++)
        if (strlen (models[i]->name) == size &&
            memcmp (models[i]->name, start, size) == 0)
            return models[i];
    char known[200] = "";
    for (size_t i = 0, used = 0; i < MODELS && used < sizeof known; i++)
        used += (size_t) snprintf (known + used, sizeof known - used, "%s%s",
                                   i ? ", " : "", models[i]->name);
    sluice_fail (err, SLUICE_EINPUT, "ground motion model %.100s: known are %s", name,
                 known);
    return NULL;
}

const char *gsim_name (const gsim_t *self)
{
    return self->name;
}

uint32_t gsim_needs (const gsim_t *self)
{
    return self->needs;
}

int gsim_check (const gsim_t *self, const imt_t *imt, sluice_error_t *err)
{
    if (imt->kind == IMT_PGA || imt->kind == IMT_PGV)
        return 0;
    char text[32];
    if (imt->period >= self->low && imt->period <= self->high)
        return 0;
    return sluice_fail (err, SLUICE_EINPUT,
                        "%s has no %s: its periods go from %g to %g s, besides PGA and "
                        "PGV",
                        self->name, imt_name (imt, text), self->low, self->high);
}

void gsim_coefficients (const gsim_table_t *table, const imt_t *imt, double *out)
{
    size_t step = table->width + 1, k = 0;
    const double *exact = imt->kind == IMT_PGA   ? table->pga
                          : imt->kind == IMT_PGV ? table->pgv
                                                 : NULL;
    if (!exact) {
        while (k + 1 < table->sa_rows && table->sa[k * step] < imt->period)
            k++;
        if (table->sa[k * step] == imt->period || k == 0)
            exact = table->sa + k * step;
    }
    if (exact) {
        memcpy (out, exact + 1, table->width * sizeof *out);
        return;
    }
    const double *above = table->sa + k * step, *below = above - step;
    double from = vm_log (below[0]);
    double part = (vm_log (imt->period) - from) / (vm_log (above[0]) - from);
    for (size_t i = 0; i < table->width; i++)
        out[i] = below[i + 1] + (above[i + 1] - below[i + 1]) * part;
}

fault_t gsim_fault (double rake)
{
    if (isnan (rake))
        return FAULT_UNSPECIFIED;
    if (fabs (rake) <= 30.0 || 180.0 - fabs (rake) <= 30.0)
        return FAULT_STRIKE_SLIP;
    return rake > 0 ? FAULT_REVERSE : FAULT_NORMAL;
}

static int check_sites (const gsim_t *self, const gsim_sites_t *s, sluice_error_t *err)
{
    const struct {
        uint32_t bit;
        const char *name;
        const double *values;
    } arrays[] = {
        {GSIM_VS30, "vs30", s->vs30},    {GSIM_Z1PT0, "z1pt0", s->z1pt0},
        {GSIM_Z2PT5, "z2pt5", s->z2pt5}, {GSIM_RJB, "rjb", s->rjb},
        {GSIM_RRUP, "rrup", s->rrup},    {GSIM_RX, "rx", s->rx},
        {GSIM_RY0, "ry0", s->ry0},       {GSIM_RHYPO, "rhypo", s->rhypo},
        {GSIM_REPI, "repi", s->repi},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        if (self->needs & arrays[i].bit && !arrays[i].values)
            return sluice_fail (err, SLUICE_EINPUT, "%s needs %s of the sites",
                                self->name, arrays[i].name);
    return 0;
}

static const double *from (const double *values, size_t first)
{
    return values ? values + first : NULL;
}

static void keep (double *out, size_t first, const double *values, size_t n)
{
    if (out)
        memcpy (out + first, values, n * sizeof *values);
}

int gsim_compute (const gsim_t *self, const imt_t *imt, const gsim_rupture_t *rupture,
                  size_t n, const gsim_sites_t *sites, const gsim_result_t *result,
                  sluice_error_t *err)
{
    if (gsim_check (self, imt, err) == -1)
        return -1;
    if (!isfinite (rupture->mag))
        return sluice_fail (err, SLUICE_EINPUT, "a rupture has magnitude %g",
                            rupture->mag);
    if (n > 0 && check_sites (self, sites, err) == -1)
        return -1;
    double mean[GSIM_BLOCK], sigma[GSIM_BLOCK], tau[GSIM_BLOCK], phi[GSIM_BLOCK];
    const gsim_result_t block = {mean, sigma, tau, phi};
    for (size_t i = 0; i < n; i += GSIM_BLOCK) {
        size_t now = n - i < GSIM_BLOCK ? n - i : GSIM_BLOCK;
        gsim_sites_t part = {
            from (sites->vs30, i), from (sites->z1pt0, i), from (sites->z2pt5, i),
            from (sites->rjb, i),  from (sites->rrup, i),  from (sites->rx, i),
            from (sites->ry0, i),  from (sites->rhypo, i), from (sites->repi, i)};
        self->compute (imt, rupture, now, &part, &block);
        keep (result->mean, i, mean, now);
        keep (result->sigma, i, sigma, now);
        keep (result->tau, i, tau, now);
        keep (result->phi, i, phi, now);
    }
    return 0;
}
