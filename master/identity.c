/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* asprintf */
#include "master/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "calc/h5array.h"
#include "calc/map_plan.h"
#include "master/job.h"
#include "proto/xxh3.h"
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

enum { HEX = 2 * DIGEST_BYTES + 1, HASH_HEX = 2 * FILE_HASH_BYTES + 1 };

struct identity {
    const sluice_plan_t *plan;
    const char *kernel, *parameters;
    char kernel_hash[HASH_HEX];
    char inputs[HEX], tables[HEX], outputs[HEX], given[HEX];
};

/* ---- digests ------------------------------------------------------------------ */

static void hash_text (XXH3_state_t *hash, const char *text)
{
    (void) XXH3_128bits_update (hash, text, strlen (text) + 1);
}

static void hash_number (XXH3_state_t *hash, uint64_t number)
{
    (void) XXH3_128bits_update (hash, &number, sizeof number);
}

static void hash_end (XXH3_state_t *hash, char text[HEX])
{
    XXH128_hash_t sum = XXH3_128bits_digest (hash);
    snprintf (text, HEX, "%016llx%016llx", (unsigned long long) sum.high64,
              (unsigned long long) sum.low64);
}

static void hex (const uint8_t *bytes, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++)
        sprintf (text + 2 * i, "%02x", bytes[i]);
}

static void hash_inputs (identity_t *self, XXH3_state_t *hash)
{
    (void) XXH3_128bits_reset (hash);
    for (size_t i = 0; i < self->plan->nfiles; i++) {
        const input_t *input = self->plan->files + i;
        hash_text (hash, input->path);
        hash_number (hash, input->size);
        (void) XXH3_128bits_update (hash, input->digest, sizeof input->digest);
    }
    hash_end (hash, self->inputs);
}

static void hash_tables (identity_t *self, XXH3_state_t *hash)
{
    (void) XXH3_128bits_reset (hash);
    hash_number (hash, self->plan->items);
    for (size_t i = 0; i < self->plan->ntables; i++) {
        const table_t *table = self->plan->tables + i;
        hash_text (hash, table->name);
        hash_text (hash, table->dtype);
        hash_number (hash, table->chunk_rows - plan_is_lengthened (self->plan, table));
    }
    hash_end (hash, self->tables);
}

static int hash_arrays (const named_array_t *arrays, size_t n, const char *but,
                        XXH3_state_t *hash, char text[HEX], sluice_error_t *err)
{
    (void) XXH3_128bits_reset (hash);
    for (size_t i = 0; i < n; i++) {
        uint8_t digest[DIGEST_BYTES];
        if (but && strcmp (arrays[i].name, but) == 0)
            continue;
        if (array_digest (arrays[i].name, &arrays[i].array, digest, err) < 0)
            return -1;
        (void) XXH3_128bits_update (hash, digest, sizeof digest);
    }
    hash_end (hash, text);
    return 0;
}

identity_t *identity_new (const sluice_plan_t *plan, const char *kernel,
                          const uint8_t *kernel_hash, const char *parameters,
                          sluice_error_t *err)
{
    static const uint8_t none[FILE_HASH_BYTES];
    identity_t *self = calloc (1, sizeof *self);
    XXH3_state_t *hash = XXH3_createState ();
    /* Other kernels work out what they share from what is compared here anyway. */
    size_t nshared = plan->context ? plan->nshared : 0;
    int rc = 0;
    if (!self || !hash)
        rc = sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    else {
        self->plan = plan;
        self->kernel = kernel;
        self->parameters = parameters;
        if (kernel_hash && memcmp (kernel_hash, none, sizeof none) != 0)
            hex (kernel_hash, FILE_HASH_BYTES, self->kernel_hash);
        else
            strcpy (self->kernel_hash, "built in");
        hash_inputs (self, hash);
        hash_tables (self, hash);
        rc = hash_arrays (plan->outputs, plan->noutputs, NULL, hash, self->outputs, err);
        if (rc == 0)
            rc = hash_arrays (plan->shared, nshared, MAP_ENVIRONMENT, hash, self->given,
                              err);
    }
    XXH3_freeState (hash);
    if (rc < 0)
        identity_destroy (&self);
    return self;
}

void identity_destroy (identity_t **self_p)
{
    free (*self_p);
    *self_p = NULL;
}

/* ---- writing -------------------------------------------------------------------- */

/* As it stands in the file; free () it. */
static char *input_text (const input_t *input)
{
    char digest[HASH_HEX], *text = NULL;
    hex (input->digest, FILE_HASH_BYTES, digest);
    return asprintf (&text, "%s %s", digest, input->path) < 0 ? NULL : text;
}

int identity_write (const identity_t *self, hid_t group, sluice_error_t *err)
{
    if (h5_write_text (group, "kernel_hash", self->kernel_hash, err) < 0 ||
        h5_write_u64 (group, "inputs", self->plan->nfiles, err) < 0 ||
        h5_write_text (group, "inputs_digest", self->inputs, err) < 0 ||
        h5_write_text (group, "plan_digest", self->tables, err) < 0 ||
        h5_write_u64 (group, "longer_chunks", self->plan->longer, err) < 0 ||
        h5_write_text (group, "outputs_digest", self->outputs, err) < 0 ||
        h5_write_text (group, "given_digest", self->given, err) < 0)
        return -1;
    for (size_t i = 0; i < self->plan->nfiles && i < IDENTITY_INPUTS; i++) {
        char name[40], *text = input_text (self->plan->files + i);
        if (!text)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        snprintf (name, sizeof name, "input_%zu", i);
        int rc = h5_write_text (group, name, text, err);
        free (text);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* ---- comparing -------------------------------------------------------------------- */

static char *read_text (hid_t group, const char *name)
{
    sluice_error_t why = {0};
    return H5Aexists (group, name) > 0 ? h5_read_text (group, name, &why) : NULL;
}

/* Is this attribute another text? */
static bool differs (hid_t group, const char *name, const char *text)
{
    char *there = read_text (group, name);
    bool yes = !there || strcmp (there, text) != 0;
    free (there);
    return yes;
}

/* A member of the JSON object of texts that parameters_json makes. */
typedef struct {
    const char *name, *value; /* with their quotes */
    size_t nname, nvalue;
} member_t;

static size_t string_length (const char *at)
{
    size_t n = 1;
    if (*at != '"')
        return 0;
    while (at[n] && at[n] != '"')
        n += at[n] == '\\' && at[n + 1] ? 2 : 1;
    return at[n] ? n + 1 : 0;
}

/* The next one; `at` begins at the brace. */
static bool next_member (const char **at, member_t *member)
{
    *at += strspn (*at, "{, ");
    member->name = *at;
    member->nname = string_length (*at);
    if (!member->nname)
        return false;
    *at += member->nname;
    *at += strspn (*at, ": ");
    member->value = *at;
    member->nvalue = string_length (*at);
    *at += member->nvalue;
    return member->nvalue > 0;
}

static bool find_member (const char *text, const member_t *sought, member_t *found)
{
    while (next_member (&text, found))
        if (found->nname == sought->nname &&
            memcmp (found->name, sought->name, sought->nname) == 0)
            return true;
    return false;
}

/* It says where something lies or how it is to be run, not what is computed. */
static bool no_matter (const member_t *member)
{
    char name[64] = ""; /* a longer one is the job's own */
    if (member->nname >= 2 && member->nname < sizeof name)
        memcpy (name, member->name + 1, member->nname - 2);
    return strcmp (name, "kernel") == 0 || strcmp (name, "share_root") == 0 ||
           job_is_policy (name);
}

/* At most so much of a value is shown. */
static int shown (size_t n)
{
    return n > 60 ? 60 : (int) n;
}

static int check_parameters (const identity_t *self, hid_t group, sluice_error_t *err)
{
    char *there = read_text (group, "parameters");
    const char *at = self->parameters;
    member_t ours, theirs;
    int rc = 0;
    while (rc == 0 && there && next_member (&at, &ours)) {
        if (no_matter (&ours))
            continue;
        if (!find_member (there, &ours, &theirs))
            rc = sluice_fail (err, SLUICE_EINPUT, "the parameter %.*s is new",
                              (int) ours.nname - 2, ours.name + 1);
        else if (ours.nvalue != theirs.nvalue ||
                 memcmp (ours.value, theirs.value, ours.nvalue) != 0)
            rc = sluice_fail (err, SLUICE_EINPUT,
                              "the parameter %.*s was %.*s and is %.*s",
                              (int) ours.nname - 2, ours.name + 1, shown (theirs.nvalue),
                              theirs.value, shown (ours.nvalue), ours.value);
    }
    for (at = there; rc == 0 && there && next_member (&at, &theirs);)
        if (!no_matter (&theirs) && !find_member (self->parameters, &theirs, &ours))
            rc = sluice_fail (err, SLUICE_EINPUT, "the parameter %.*s is gone",
                              (int) theirs.nname - 2, theirs.name + 1);
    if (!there)
        rc = sluice_fail (err, SLUICE_EINPUT, "it does not say its parameters");
    free (there);
    return rc;
}

static int check_inputs (const identity_t *self, hid_t group, sluice_error_t *err)
{
    uint64_t n = 0;
    sluice_error_t why = {0};
    if (!differs (group, "inputs_digest", self->inputs))
        return 0;
    if (H5Aexists (group, "inputs") > 0 && h5_read_u64 (group, "inputs", &n, &why) == 0 &&
        n != self->plan->nfiles)
        return sluice_fail (err, SLUICE_EINPUT, "it was made of %llu inputs, not %zu",
                            (unsigned long long) n, self->plan->nfiles);
    for (size_t i = 0; i < self->plan->nfiles && i < IDENTITY_INPUTS; i++) {
        char name[40], *text = input_text (self->plan->files + i);
        snprintf (name, sizeof name, "input_%zu", i);
        bool other = text && differs (group, name, text);
        free (text);
        if (other)
            return sluice_fail (err, SLUICE_EINPUT, "the input %s is not what it was",
                                self->plan->files[i].path);
    }
    return sluice_fail (err, SLUICE_EINPUT, "an input is not what it was");
}

int identity_check (const identity_t *self, hid_t group, sluice_error_t *err)
{
    uint64_t seed = 0;
    char *version = read_text (group, "version");
    int rc = 0;
    if (!version || H5Aexists (group, "kernel_hash") <= 0)
        rc = sluice_fail (err, SLUICE_EINPUT,
                          "it was made by a version of Sluice that knew no --resume");
    else if (strcmp (version, PACKAGE_VERSION) != 0)
        rc = sluice_fail (err, SLUICE_EINPUT, "it was made by version %.40s, this is %s",
                          version, PACKAGE_VERSION);
    free (version);
    if (rc < 0)
        return -1;
    if (differs (group, "kernel_hash", self->kernel_hash) ||
        (strcmp (self->kernel_hash, "built in") == 0 &&
         differs (group, "kernel", self->kernel)))
        return sluice_fail (err, SLUICE_EINPUT, "the kernel %s is not what it was",
                            self->kernel);
    if (h5_read_u64 (group, "seed", &seed, err) < 0)
        return -1;
    if (seed != self->plan->seed)
        return sluice_fail (err, SLUICE_EINPUT, "the seed was %llu and is %llu",
                            (unsigned long long) seed,
                            (unsigned long long) self->plan->seed);
    if (differs (group, "given_digest", self->given))
        return sluice_fail (err, SLUICE_EINPUT,
                            "the command or its arguments are not what they were");
    if (check_parameters (self, group, err) < 0 || check_inputs (self, group, err) < 0)
        return -1;
    if (differs (group, "plan_digest", self->tables))
        return sluice_fail (err, SLUICE_EINPUT,
                            "the job has other items or tables than it had");
    if (differs (group, "outputs_digest", self->outputs))
        return sluice_fail (err, SLUICE_EINPUT,
                            "an output that the plan makes is not what it was");
    return 0;
}
