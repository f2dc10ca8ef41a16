/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/attempts.h"

#include <stdlib.h>
#include <string.h>

enum {
    PAGE_TASKS = 4096, /* finished tasks per page of bits: 512 bytes */
    FIRST_BUCKETS = 256
};

/* A task with attempts. */
typedef struct entry {
    struct entry *next;
    uint64_t task;
    attempt_t *attempts;
} entry_t;

/* One bit for each of PAGE_TASKS tasks with numbers side by side. */
typedef struct page {
    struct page *next;
    uint64_t number;
    uint64_t bits[PAGE_TASKS / 64];
} page_t;

struct attempts {
    size_t nstreams;
    entry_t **buckets;
    size_t nbuckets, nentries;
    page_t **pages;
    size_t npage_buckets, npages;
};

static size_t bucket (uint64_t key, size_t n)
{
    key *= UINT64_C (0x9e3779b97f4a7c15); /* 2^64 / golden ratio (Knuth 6.4) */
    return (size_t) (key >> 32) & (n - 1);
}

attempts_t *attempts_new (size_t nstreams)
{
    attempts_t *self = calloc (1, sizeof *self);
    if (!self)
        return NULL;
    self->nstreams = nstreams;
    self->nbuckets = self->npage_buckets = FIRST_BUCKETS;
    self->buckets = calloc (self->nbuckets, sizeof *self->buckets);
    self->pages = calloc (self->npage_buckets, sizeof *self->pages);
    if (!self->buckets || !self->pages)
        attempts_destroy (&self);
    return self;
}

static void attempt_clear (attempt_t *attempt)
{
    for (size_t i = 0; attempt->met && i < PIECE_MAX_LATE; i++) {
        free (attempt->met[i].name);
        free (attempt->met[i].dtype);
    }
    free (attempt->met);
    free (attempt->held);
    free (attempt->streams);
    attempt->met = NULL;
    attempt->held = NULL;
    attempt->streams = NULL;
    attempt->nheld = attempt->room = 0;
}

static void attempt_free (attempt_t *attempt)
{
    while (attempt) {
        attempt_t *next = attempt->next;
        attempt_clear (attempt);
        free (attempt);
        attempt = next;
    }
}

void attempts_destroy (attempts_t **self_p)
{
    attempts_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; self->buckets && i < self->nbuckets; i++)
        for (entry_t *entry = self->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            attempt_free (entry->attempts);
            free (entry);
        }
    for (size_t i = 0; self->pages && i < self->npage_buckets; i++)
        for (page_t *page = self->pages[i], *next; page; page = next) {
            next = page->next;
            free (page);
        }
    free (self->buckets);
    free (self->pages);
    free (self);
    *self_p = NULL;
}

static entry_t **entry_at (attempts_t *self, uint64_t task)
{
    entry_t **at = self->buckets + bucket (task, self->nbuckets);
    while (*at && (*at)->task != task)
        at = &(*at)->next;
    return at;
}

attempt_t *attempts_of (attempts_t *self, uint64_t task)
{
    entry_t *entry = *entry_at (self, task);
    return entry ? entry->attempts : NULL;
}

attempt_t *attempts_find (attempts_t *self, uint64_t task, uint32_t number)
{
    attempt_t *attempt = attempts_of (self, task);
    while (attempt && attempt->number != number)
        attempt = attempt->next;
    return attempt;
}

/* A larger table when the lists get long; if memory is short they stay long. */
static void grow (attempts_t *self)
{
    size_t n = 2 * self->nbuckets;
    entry_t **buckets = calloc (n, sizeof *buckets);
    if (!buckets)
        return;
    for (size_t i = 0; i < self->nbuckets; i++)
        for (entry_t *entry = self->buckets[i], *next; entry; entry = next) {
            next = entry->next;
            entry_t **to = buckets + bucket (entry->task, n);
            entry->next = *to;
            *to = entry;
        }
    free (self->buckets);
    self->buckets = buckets;
    self->nbuckets = n;
}

attempt_t *attempts_add (attempts_t *self, uint64_t task, uint32_t number)
{
    attempt_t *attempt = calloc (1, sizeof *attempt);
    if (!attempt)
        return NULL;
    attempt->number = number;
    attempt->streams = calloc (self->nstreams, sizeof *attempt->streams);
    if (!attempt->streams) {
        free (attempt);
        return NULL;
    }
    entry_t **at = entry_at (self, task);
    if (!*at) {
        entry_t *entry = calloc (1, sizeof *entry);
        if (!entry) {
            attempt_free (attempt);
            return NULL;
        }
        entry->task = task;
        *at = entry;
        if (++self->nentries > 2 * self->nbuckets) {
            grow (self);
            at = entry_at (self, task);
        }
    }
    attempt->next = (*at)->attempts;
    (*at)->attempts = attempt;
    return attempt;
}

bool attempt_reserve (attempt_t *attempt)
{
    if (attempt->nheld < attempt->room)
        return true;
    size_t room = attempt->room ? 2 * attempt->room : 4;
    held_t *held = realloc (attempt->held, room * sizeof *held);
    if (!held)
        return false;
    attempt->held = held;
    attempt->room = room;
    return true;
}

void attempt_drop (attempt_t *attempt)
{
    attempt->dropped = true;
    attempt_clear (attempt);
}

bool attempt_keep_met (attempt_t *attempt, const met_t *met)
{
    for (size_t i = 0; i < PIECE_MAX_LATE; i++) {
        if (!met[i].name || (attempt->met && attempt->met[i].name))
            continue;
        if (!attempt->met)
            attempt->met = calloc (PIECE_MAX_LATE, sizeof *attempt->met);
        if (!attempt->met)
            return false;
        met_t copy = met[i];
        copy.name = strdup (met[i].name);
        copy.dtype = strdup (met[i].dtype);
        if (!copy.name || !copy.dtype) {
            free (copy.name);
            free (copy.dtype);
            return false;
        }
        attempt->met[i] = copy;
    }
    return true;
}

void attempts_forget (attempts_t *self, uint64_t task)
{
    entry_t **at = entry_at (self, task), *entry = *at;
    if (!entry)
        return;
    *at = entry->next;
    attempt_free (entry->attempts);
    free (entry);
    self->nentries--;
}

/* ---- finished tasks ---------------------------------------------------------- */

static page_t *page_of (const attempts_t *self, uint64_t task)
{
    uint64_t number = task / PAGE_TASKS;
    page_t *page = self->pages[bucket (number, self->npage_buckets)];
    while (page && page->number != number)
        page = page->next;
    return page;
}

bool attempts_finished (const attempts_t *self, uint64_t task)
{
    const page_t *page = page_of (self, task);
    return page && page->bits[task % PAGE_TASKS / 64] >> task % 64 & 1;
}

static void grow_pages (attempts_t *self)
{
    size_t n = 2 * self->npage_buckets;
    page_t **pages = calloc (n, sizeof *pages);
    if (!pages)
        return;
    for (size_t i = 0; i < self->npage_buckets; i++)
        for (page_t *page = self->pages[i], *next; page; page = next) {
            next = page->next;
            page_t **to = pages + bucket (page->number, n);
            page->next = *to;
            *to = page;
        }
    free (self->pages);
    self->pages = pages;
    self->npage_buckets = n;
}

bool attempts_reserve_finished (attempts_t *self, uint64_t task)
{
    if (page_of (self, task))
        return true;
    page_t *page = calloc (1, sizeof *page);
    if (!page)
        return false;
    if (++self->npages > 2 * self->npage_buckets)
        grow_pages (self);
    page->number = task / PAGE_TASKS;
    page_t **at = self->pages + bucket (page->number, self->npage_buckets);
    page->next = *at;
    *at = page;
    return true;
}

void attempts_add_finished (attempts_t *self, uint64_t task)
{
    page_of (self, task)->bits[task % PAGE_TASKS / 64] |= UINT64_C (1) << task % 64;
}
