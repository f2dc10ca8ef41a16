/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* random_msg.h - messages of random content, for tests and fuzz corpora
 *
 * Numbers come from a seeded xorshift64*, so that a failure can be repeated.
 */
#ifndef TESTS_RANDOM_MSG_H
#define TESTS_RANDOM_MSG_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "proto/msg.h"

typedef struct {
    uint64_t state; /* not 0 */
} random_t;

static inline uint64_t random_u64 (random_t *self)
{
    self->state ^= self->state >> 12;
    self->state ^= self->state << 25;
    self->state ^= self->state >> 27;
    return self->state * 0x2545f4914f6cdd1dULL;
}

static inline uint64_t random_below (random_t *self, uint64_t limit)
{
    return random_u64 (self) % limit;
}

/* Of random width, so that short and long forms both come. */
static inline uint64_t random_number (random_t *self)
{
    return random_u64 (self) >> random_below (self, 64);
}

static inline void random_fill (random_t *self, void *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *) out)[i] = (uint8_t) (random_u64 (self) >> 56);
}

/* A malloc'd text of random length, now and then with wide characters. */
static inline char *random_text (random_t *self, size_t max)
{
    static const char *const wide[] = {"ä", "€", "𝄞", "ж"};
    size_t n = (size_t) random_below (self, max + 1), at = 0;
    char *text = malloc (n + 1);
    if (!text)
        abort ();
    while (at < n) {
        const char *w = wide[random_below (self, 4)];
        if (random_below (self, 8) == 0 && strlen (w) <= n - at) {
            memcpy (text + at, w, strlen (w));
            at += strlen (w);
        } else
            text[at++] = (char) (' ' + random_below (self, 95));
    }
    text[n] = 0;
    return text;
}

static inline char *random_name (random_t *self, const char *prefix)
{
    char *text = malloc (40);
    if (!text)
        abort ();
    snprintf (text, 40, "%s%llu", prefix, (unsigned long long) random_below (self, 1000));
    return text;
}

static inline void *random_array (size_t n, size_t bytes)
{
    void *array = n ? calloc (n, bytes) : NULL;
    if (n && !array)
        abort ();
    return array;
}

static inline void random_tables (random_t *r, table_t **tables, size_t *n)
{
    *n = (size_t) random_below (r, 4);
    *tables = random_array (*n, sizeof **tables);
    for (size_t i = 0; i < *n; i++)
        (*tables)[i] = (table_t){.name = random_name (r, "table"),
                                 .dtype = random_text (r, 50),
                                 .chunk_rows = 1 + random_below (r, 1000000)};
}

static inline void random_hello (random_t *r, msg_hello_t *hello)
{
    hello->token = random_u64 (r);
    hello->owner = random_text (r, 20);
    hello->job = random_text (r, 60);
    random_fill (r, hello->share, sizeof hello->share);
    random_fill (r, hello->data_key, sizeof hello->data_key);
    random_fill (r, hello->secret, sizeof hello->secret);
    hello->kernel = random_name (r, "builtin:k");
    random_fill (r, hello->kernel_hash, sizeof hello->kernel_hash);
    hello->inputs = random_text (r, 30);
    hello->seed = random_number (r);
    hello->items = random_number (r);
    hello->memory = random_number (r);
    hello->segment = (uint32_t) random_number (r);
    hello->cores_per_task = (uint32_t) random_number (r);
    hello->priority = (int32_t) random_number (r);
    random_tables (r, &hello->tables, &hello->ntables);
    hello->nfiles = (size_t) random_below (r, 4);
    hello->files = random_array (hello->nfiles, sizeof *hello->files);
    for (size_t i = 0; i < hello->nfiles; i++) {
        input_t *file = &hello->files[i];
        file->path = random_name (r, "input/");
        file->size = random_number (r);
        file->mtime_ns = (int64_t) random_u64 (r);
        random_fill (r, file->digest, sizeof file->digest);
    }
    hello->params = sluice_params_new ();
    sluice_params_set_file (hello->params, "job.ini");
    for (uint64_t i = random_below (r, 6); i > 0; i--) {
        char *name = random_name (r, "param_"), *value = random_text (r, 400);
        sluice_params_set (hello->params, name, value, (unsigned) random_number (r),
                           NULL);
        free (name);
        free (value);
    }
}

static inline void random_welcome (random_t *r, msg_welcome_t *welcome)
{
    welcome->token = random_u64 (r);
    welcome->host = random_text (r, 30);
    random_fill (r, welcome->uuid, sizeof welcome->uuid);
    welcome->cores = (uint32_t) random_number (r);
    welcome->slots = (uint32_t) random_number (r);
    welcome->memory = random_number (r);
    welcome->outbox = random_number (r);
    welcome->epoch = (uint32_t) random_number (r);
    welcome->endpoint = random_text (r, 40);
    random_fill (r, welcome->data_key, sizeof welcome->data_key);
    random_fill (r, welcome->salt, sizeof welcome->salt);
    welcome->isa = random_text (r, 8);
    welcome->lacks = random_text (r, 80);
}

static inline void random_tasks (random_t *r, msg_tasks_t *tasks)
{
    tasks->before = random_number (r);
    tasks->all = random_below (r, 2);
    tasks->ntasks = (size_t) random_below (r, 20);
    tasks->tasks = random_array (tasks->ntasks, sizeof *tasks->tasks);
    for (size_t i = 0; i < tasks->ntasks; i++) {
        uint64_t first = random_number (r) / 2;
        tasks->tasks[i] = (task_t){.task = random_number (r),
                                   .attempt = (uint32_t) random_number (r),
                                   .first = first,
                                   .stop = first + random_number (r) / 2};
    }
}

static inline void random_map (random_t *r, msg_map_t *map)
{
    map->pid = (uint32_t) random_number (r);
    map->folder = random_text (r, 60);
    map->name = random_text (r, 20);
    map->key = random_text (r, 60);
    map->output = random_text (r, 60);
    map->has_seed = random_below (r, 2);
    map->serial = random_below (r, 2);
    map->fail_fast = random_below (r, 2);
    map->seed = random_number (r);
    map->window = random_number (r);
    map->node_wait = random_number (r);
    map->cores = (uint32_t) random_number (r);
    map->nnodes = (size_t) random_below (r, 4);
    map->nodes = random_array (map->nnodes, sizeof *map->nodes);
    for (size_t i = 0; i < map->nnodes; i++)
        map->nodes[i].endpoint = random_text (r, 30);
    map->params = sluice_params_new ();
    sluice_params_set (map->params, "kernel", "./mine.so", 0, NULL);
}

static inline void random_result (random_t *r, msg_result_t *result)
{
    result->task = random_number (r);
    result->attempt = (uint32_t) random_number (r);
    result->first = random_number (r);
    result->stop = random_number (r);
    result->more = random_below (r, 2);
    result->ntables = (size_t) random_below (r, 3);
    result->tables = random_array (result->ntables, sizeof *result->tables);
    for (size_t i = 0; i < result->ntables; i++)
        result->tables[i] = (met_late_t){.number = (uint32_t) random_number (r),
                                         .name = random_name (r, "late"),
                                         .dtype = random_text (r, 20)};
    result->nextents = (size_t) random_below (r, 20);
    result->extents = random_array (result->nextents, sizeof *result->extents);
    for (size_t i = 0; i < result->nextents; i++)
        result->extents[i] = (extent_t){.table = (uint32_t) random_number (r),
                                        .rows = 1 + random_number (r) / 2,
                                        .address = random_number (r)};
}

/* What a program and its master say. */
static inline void random_program_msg (random_t *r, msg_t *msg)
{
    switch (msg->type) {
    case MSG_MAP:
        random_map (r, &msg->map);
        break;
    case MSG_BEGUN:
        msg->begun.items = random_number (r);
        msg->begun.output = random_text (r, 60);
        random_tables (r, &msg->begun.tables, &msg->begun.ntables);
        break;
    case MSG_RESULT:
        random_result (r, &msg->result);
        break;
    case MSG_LOST:
        msg->lost = (msg_lost_t){.first = random_number (r),
                                 .stop = random_number (r),
                                 .reason = random_text (r, 60),
                                 .sig = (int32_t) random_below (r, 64),
                                 .exit_code = (int32_t) random_below (r, 300) - 150,
                                 .stderr_tail = random_text (r, 4096),
                                 .host = random_text (r, 30)};
        break;
    case MSG_PROGRESS:
        msg->progress = (msg_progress_t){.items = random_number (r),
                                         .done = random_number (r),
                                         .bytes = random_number (r),
                                         .nodes = (uint32_t) random_number (r),
                                         .waiting = random_text (r, 30)};
        break;
    default: /* OVER */
        msg->over = (msg_over_t){.code = (uint32_t) random_below (r, 300),
                                 .text = random_text (r, 100),
                                 .status = random_text (r, 10),
                                 .done = random_number (r),
                                 .rows = random_number (r)};
        random_fill (r, msg->over.digest, sizeof msg->over.digest);
        break;
    }
}

/* Fill `msg`; msg_clear frees it. */
static inline void random_msg (random_t *r, msg_type_t type, msg_t *msg)
{
    memset (msg, 0, sizeof *msg);
    msg->type = type;
    random_fill (r, msg->run, sizeof msg->run);
    switch (type) {
    case MSG_HELLO:
        random_hello (r, &msg->hello);
        break;
    case MSG_WELCOME:
        random_welcome (r, &msg->welcome);
        break;
    case MSG_SLOTS:
        msg->slots.tasks = random_number (r);
        break;
    case MSG_ASSIGN:
    case MSG_SHED:
    case MSG_REVOKE:
    case MSG_CANCEL:
        random_tasks (r, &msg->tasks);
        break;
    case MSG_OFFER:
        msg->offer.epoch = (uint32_t) random_number (r);
        msg->offer.from = random_number (r);
        msg->offer.nsizes = (size_t) random_below (r, 40);
        msg->offer.sizes = random_array (msg->offer.nsizes, sizeof *msg->offer.sizes);
        for (size_t i = 0; i < msg->offer.nsizes; i++)
            msg->offer.sizes[i] = (uint32_t) random_number (r);
        break;
    case MSG_CREDIT:
    case MSG_RESYNC:
        msg->credit = (msg_credit_t){.epoch = (uint32_t) random_number (r),
                                     .granted = random_number (r),
                                     .received = random_number (r)};
        break;
    case MSG_FAILED:
        msg->failed = (msg_failed_t){.task = random_number (r),
                                     .attempt = (uint32_t) random_number (r),
                                     .item = random_number (r),
                                     .reason = random_text (r, 60),
                                     .sig = (int32_t) random_below (r, 64),
                                     .exit_code = (int32_t) random_below (r, 300) - 150,
                                     .crashed = random_below (r, 2),
                                     .stderr_tail = random_text (r, 4096)};
        break;
    case MSG_PING:
    case MSG_PONG:
        msg->ping = (msg_ping_t){.seq = random_number (r),
                                 .assigned = random_number (r),
                                 .held = random_number (r),
                                 .running = (uint32_t) random_number (r)};
        break;
    case MSG_MAP:
    case MSG_BEGUN:
    case MSG_RESULT:
    case MSG_LOST:
    case MSG_PROGRESS:
    case MSG_OVER:
        random_program_msg (r, msg);
        break;
    default: /* BYE, STATUS, EXPLAIN, REPLY */
        msg->text.text = random_text (r, 300);
        break;
    }
}

#endif
