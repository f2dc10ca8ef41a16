/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/msg_fields.h"

#include <stdlib.h>
#include <string.h>

#include "proto/text.h"

/* The type of each member is checked against its kind where the table is made. */
#define HAS_TYPE(type, member, wanted)                                                   \
    (0 * sizeof (char[_Generic(((type *) 0)->member, wanted : 1, default : -1)]))
#define FIELD(code, type, member, wanted, max)                                           \
    {                                                                                    \
        .name = #member, .kind = code,                                                   \
        .offset = offsetof (type, member) + HAS_TYPE (type, member, wanted),             \
        .limit = max                                                                     \
    }
#define U64(type, member) FIELD (FIELD_U64, type, member, uint64_t, 0)
#define U32(type, member) FIELD (FIELD_U32, type, member, uint32_t, 0)
#define I64(type, member) FIELD (FIELD_I64, type, member, int64_t, 0)
#define I32(type, member) FIELD (FIELD_I32, type, member, int32_t, 0)
#define BOOL(type, member) FIELD (FIELD_BOOL, type, member, bool, 0)
#define TEXT_OF(type, member, max) FIELD (FIELD_TEXT, type, member, char *, max)
#define TEXT(type, member) TEXT_OF (type, member, MSG_MAX_TEXT)
#define PARAMS(type, member)                                                             \
    FIELD (FIELD_PARAMS, type, member, sluice_params_t *, MSG_MAX_PARAMS)
#define BYTES(type, member)                                                              \
    {                                                                                    \
        .name = #member, .kind = FIELD_BYTES, .offset = offsetof (type, member),         \
        .limit = sizeof ((type *) 0)->member                                             \
    }
#define U32S(type, member, number, max)                                                  \
    {                                                                                    \
        .name = #member, .kind = FIELD_U32S,                                             \
        .offset = offsetof (type, member) + HAS_TYPE (type, member, uint32_t *),         \
        .limit = max, .count = offsetof (type, number) + HAS_TYPE (type, number, size_t) \
    }
#define LIST(type, member, number, max, fields, check)                                   \
    {                                                                                    \
        .name = #member, .kind = FIELD_LIST, .offset = offsetof (type, member),          \
        .limit = max,                                                                    \
        .count = offsetof (type, number) + HAS_TYPE (type, number, size_t),              \
        .element_bytes = sizeof *((type *) 0)->member, .element = fields, .wrong = check \
    }
#define END                                                                              \
    {                                                                                    \
        .kind = FIELD_END                                                                \
    }

/* ---- what lists are made of --------------------------------------------- */

static const char *wrong_table (const void *element)
{
    const table_t *table = element;
    if (!table->name || !table->name[0])
        return "a table without a name";
    return table->chunk_rows == 0 ? "chunk_rows of 0" : NULL;
}

static const field_t table_fields[] = {
    TEXT (table_t, name),
    TEXT (table_t, dtype),
    U64 (table_t, chunk_rows),
    END,
};

static const char *wrong_task (const void *element)
{
    const task_t *task = element;
    return task->first > task->stop ? "items that end before they begin" : NULL;
}

static const field_t task_fields[] = {
    U64 (task_t, task),
    U32 (task_t, attempt),
    U64 (task_t, first),
    U64 (task_t, stop),
    END,
};

static const char *wrong_input (const void *element)
{
    const input_t *input = element;
    return !input->path || !input->path[0] ? "an input without a path" : NULL;
}

static const field_t input_fields[] = {
    TEXT (input_t, path),
    U64 (input_t, size),
    I64 (input_t, mtime_ns),
    BYTES (input_t, digest),
    END,
};

static const field_t endpoint_fields[] = {
    TEXT (endpoint_t, endpoint),
    END,
};

static const char *wrong_extent (const void *element)
{
    const extent_t *extent = element;
    return extent->rows == 0 ? "an extent without rows" : NULL;
}

static const field_t extent_fields[] = {
    U32 (extent_t, table),
    U64 (extent_t, rows),
    U64 (extent_t, address),
    U64 (extent_t, deflated),
    END,
};

static const field_t met_late_fields[] = {
    U32 (met_late_t, number),
    TEXT (met_late_t, name),
    TEXT (met_late_t, dtype),
    END,
};

/* ---- messages ----------------------------------------------------------- */

static const field_t hello_fields[] = {
    U64 (msg_t, hello.token),
    TEXT (msg_t, hello.owner),
    TEXT (msg_t, hello.job),
    BYTES (msg_t, hello.share),
    BYTES (msg_t, hello.data_key),
    BYTES (msg_t, hello.secret),
    TEXT (msg_t, hello.kernel),
    BYTES (msg_t, hello.kernel_hash),
    TEXT (msg_t, hello.inputs),
    U64 (msg_t, hello.seed),
    U64 (msg_t, hello.items),
    U64 (msg_t, hello.memory),
    U32 (msg_t, hello.segment),
    U32 (msg_t, hello.deflate),
    U32 (msg_t, hello.cores_per_task),
    I32 (msg_t, hello.priority),
    LIST (msg_t, hello.tables, hello.ntables, MSG_MAX_TABLES, table_fields, wrong_table),
    LIST (msg_t, hello.files, hello.nfiles, MSG_MAX_INPUTS, input_fields, wrong_input),
    PARAMS (msg_t, hello.params),
    END,
};

static const field_t welcome_fields[] = {
    U64 (msg_t, welcome.token),
    TEXT (msg_t, welcome.host),
    BYTES (msg_t, welcome.uuid),
    U32 (msg_t, welcome.cores),
    U32 (msg_t, welcome.slots),
    U64 (msg_t, welcome.memory),
    U64 (msg_t, welcome.outbox),
    U32 (msg_t, welcome.epoch),
    TEXT (msg_t, welcome.endpoint),
    BYTES (msg_t, welcome.data_key),
    BYTES (msg_t, welcome.salt),
    TEXT (msg_t, welcome.isa),
    TEXT (msg_t, welcome.lacks),
    END,
};

static const field_t slots_fields[] = {
    U64 (msg_t, slots.tasks),
    END,
};

static const field_t tasks_fields[] = {
    U64 (msg_t, tasks.before),
    BOOL (msg_t, tasks.all),
    LIST (msg_t, tasks.tasks, tasks.ntasks, MSG_MAX_TASKS, task_fields, wrong_task),
    END,
};

static const field_t offer_fields[] = {
    U32 (msg_t, offer.epoch),
    U64 (msg_t, offer.from),
    U32S (msg_t, offer.sizes, offer.nsizes, MSG_MAX_SIZES),
    END,
};

static const field_t credit_fields[] = {
    U32 (msg_t, credit.epoch),
    U64 (msg_t, credit.granted),
    U64 (msg_t, credit.received),
    END,
};

static const field_t failed_fields[] = {
    U64 (msg_t, failed.task),
    U32 (msg_t, failed.attempt),
    U64 (msg_t, failed.item),
    TEXT (msg_t, failed.reason),
    I32 (msg_t, failed.sig),
    I32 (msg_t, failed.exit_code),
    BOOL (msg_t, failed.crashed),
    TEXT_OF (msg_t, failed.stderr_tail, MSG_MAX_STDERR),
    END,
};

static const field_t ping_fields[] = {
    U64 (msg_t, ping.seq),
    U64 (msg_t, ping.assigned),
    U64 (msg_t, ping.held),
    U32 (msg_t, ping.running),
    END,
};

static const field_t text_fields[] = {
    TEXT (msg_t, text.text),
    END,
};

static const field_t map_fields[] = {
    U32 (msg_t, map.pid),
    TEXT (msg_t, map.folder),
    TEXT (msg_t, map.name),
    TEXT (msg_t, map.key),
    TEXT (msg_t, map.output),
    BOOL (msg_t, map.force),
    BOOL (msg_t, map.has_seed),
    BOOL (msg_t, map.no_local),
    BOOL (msg_t, map.no_network),
    BOOL (msg_t, map.serial),
    BOOL (msg_t, map.confine),
    BOOL (msg_t, map.fail_fast),
    U64 (msg_t, map.seed),
    U64 (msg_t, map.window),
    U64 (msg_t, map.outbox),
    U64 (msg_t, map.memory),
    U64 (msg_t, map.node_wait),
    U32 (msg_t, map.cores),
    LIST (msg_t, map.nodes, map.nnodes, MSG_MAX_NODES, endpoint_fields, NULL),
    PARAMS (msg_t, map.params),
    END,
};

static const field_t begun_fields[] = {
    U64 (msg_t, begun.items),
    TEXT (msg_t, begun.output),
    LIST (msg_t, begun.tables, begun.ntables, MSG_MAX_TABLES, table_fields, wrong_table),
    END,
};

static const field_t result_fields[] = {
    U64 (msg_t, result.task),
    U32 (msg_t, result.attempt),
    U64 (msg_t, result.first),
    U64 (msg_t, result.stop),
    BOOL (msg_t, result.more),
    LIST (msg_t, result.tables, result.ntables, MSG_MAX_TABLES, met_late_fields, NULL),
    LIST (msg_t, result.extents, result.nextents, MSG_MAX_EXTENTS, extent_fields,
          wrong_extent),
    END,
};

static const field_t lost_fields[] = {
    U64 (msg_t, lost.first),
    U64 (msg_t, lost.stop),
    TEXT (msg_t, lost.reason),
    I32 (msg_t, lost.sig),
    I32 (msg_t, lost.exit_code),
    TEXT_OF (msg_t, lost.stderr_tail, MSG_MAX_STDERR),
    TEXT (msg_t, lost.host),
    END,
};

static const field_t progress_fields[] = {
    U64 (msg_t, progress.items),
    U64 (msg_t, progress.done),
    U64 (msg_t, progress.failed),
    U64 (msg_t, progress.running),
    U64 (msg_t, progress.bytes),
    U64 (msg_t, progress.milliseconds),
    U32 (msg_t, progress.nodes),
    U32 (msg_t, progress.cores),
    TEXT (msg_t, progress.waiting),
    END,
};

static const field_t over_fields[] = {
    U32 (msg_t, over.code),
    TEXT (msg_t, over.text),
    TEXT (msg_t, over.status),
    U64 (msg_t, over.done),
    U64 (msg_t, over.failed),
    U64 (msg_t, over.retried),
    U64 (msg_t, over.rows),
    U64 (msg_t, over.bytes),
    U64 (msg_t, over.milliseconds),
    U32 (msg_t, over.nodes),
    U32 (msg_t, over.cores),
    BYTES (msg_t, over.digest),
    END,
};

static const struct {
    const char *name;
    const field_t *fields;
} types[MSG_TYPES] = {
    [MSG_HELLO] = {"HELLO", hello_fields},    [MSG_WELCOME] = {"WELCOME", welcome_fields},
    [MSG_SLOTS] = {"SLOTS", slots_fields},    [MSG_ASSIGN] = {"ASSIGN", tasks_fields},
    [MSG_SHED] = {"SHED", tasks_fields},      [MSG_OFFER] = {"OFFER", offer_fields},
    [MSG_CREDIT] = {"CREDIT", credit_fields}, [MSG_FAILED] = {"FAILED", failed_fields},
    [MSG_REVOKE] = {"REVOKE", tasks_fields},  [MSG_RESYNC] = {"RESYNC", credit_fields},
    [MSG_PING] = {"PING", ping_fields},       [MSG_PONG] = {"PONG", ping_fields},
    [MSG_BYE] = {"BYE", text_fields},         [MSG_STATUS] = {"STATUS", text_fields},
    [MSG_EXPLAIN] = {"EXPLAIN", text_fields}, [MSG_CANCEL] = {"CANCEL", tasks_fields},
    [MSG_REPLY] = {"REPLY", text_fields},     [MSG_MAP] = {"MAP", map_fields},
    [MSG_BEGUN] = {"BEGUN", begun_fields},    [MSG_RESULT] = {"RESULT", result_fields},
    [MSG_LOST] = {"LOST", lost_fields},       [MSG_PROGRESS] = {"PROGRESS", progress_fields},
    [MSG_OVER] = {"OVER", over_fields},
};

const field_t *msg_fields (msg_type_t type)
{
    return (unsigned) type < MSG_TYPES ? types[type].fields : NULL;
}

const char *msg_type_name (msg_type_t type)
{
    return msg_fields (type) ? types[type].name : "unknown";
}

void msg_fields_clear (const field_t *fields, void *base)
{
    for (const field_t *field = fields; field->kind != FIELD_END; field++) {
        char *at = (char *) base + field->offset;
        if (field->kind == FIELD_PARAMS)
            sluice_params_destroy ((sluice_params_t **) at);
        if (field->kind == FIELD_LIST) {
            size_t count = *(size_t *) ((char *) base + field->count);
            char *elements = *(char **) at;
            for (size_t i = 0; elements && i < count; i++)
                msg_fields_clear (field->element, elements + i * field->element_bytes);
        }
        if (field->kind == FIELD_TEXT || field->kind == FIELD_U32S ||
            field->kind == FIELD_LIST)
            free (*(void **) at);
    }
}

void msg_clear (msg_t *msg)
{
    const field_t *fields = msg_fields (msg->type);
    if (fields)
        msg_fields_clear (fields, msg);
    memset (msg, 0, sizeof *msg);
}

void run_text (const uint8_t run[RUN_BYTES], char text[2 * RUN_BYTES + 1])
{
    text_hex (run, RUN_BYTES, text);
}

bool run_parse (const char *text, uint8_t run[RUN_BYTES])
{
    uint8_t parsed[RUN_BYTES];
    if (strlen (text) != 2 * RUN_BYTES || !text_unhex (text, RUN_BYTES, parsed))
        return false;
    memcpy (run, parsed, RUN_BYTES);
    return true;
}
