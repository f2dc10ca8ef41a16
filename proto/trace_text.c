/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "proto/trace_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/msg_fields.h"
#include "proto/piece.h"
#include "proto/text.h"

/* What people are shown of a long text, and of a long list. */
enum { SHOWN_TEXT = 60, SHOWN_ELEMENTS = 8, SHOWN_BYTES = 8 };

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"

typedef struct {
    FILE *out;
    bool json;
    bool first; /* in the object that is open */
} printer_t;

static void print_text (const printer_t *self, const char *text, size_t n)
{
    size_t shown = !self->json && n > SHOWN_TEXT ? SHOWN_TEXT : n;
    /* not within a character */
    while (shown < n && shown > 0 && ((unsigned char) text[shown] & 0xc0) == 0x80)
        shown--;
    fputc ('"', self->out);
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char) text[i];
        if (c == '"' || c == '\\')
            fprintf (self->out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf (self->out, "\\u%04x", c);
        else
            fputc (c, self->out);
    }
    fputc ('"', self->out);
    if (shown < n)
        fputs ("...", self->out);
}

static void print_bytes (const printer_t *self, const uint8_t *bytes, size_t n)
{
    size_t shown = !self->json && n > SHOWN_BYTES ? SHOWN_BYTES : n;
    if (self->json)
        fputc ('"', self->out);
    for (size_t i = 0; i < shown; i++)
        fprintf (self->out, "%02x", bytes[i]);
    fputs (self->json ? "\"" : shown < n ? "..." : "", self->out);
}

static void begin_field (printer_t *self, const char *name)
{
    if (self->json) {
        fprintf (self->out, "%s\"%s\":", self->first ? "" : ",", name);
    } else {
        fprintf (self->out, "%s%s=", self->first ? "" : " ", name);
    }
    self->first = false;
}

static void print_number (printer_t *self, const char *name, uint64_t value)
{
    begin_field (self, name);
    fprintf (self->out, "%" PRIu64, value);
}

static void print_fields (printer_t *self, const field_t *fields, const void *base);

/* How many elements are shown; says how many there are if not all are. */
static size_t begin_list (const printer_t *self, size_t count)
{
    fputc ('[', self->out);
    return !self->json && count > SHOWN_ELEMENTS ? SHOWN_ELEMENTS : count;
}

static void end_list (const printer_t *self, size_t shown, size_t count)
{
    if (shown < count)
        fprintf (self->out, " ... %zu in all", count);
    fputc (']', self->out);
}

static void between (const printer_t *self, size_t i)
{
    if (i > 0)
        fputc (self->json ? ',' : ' ', self->out);
}

static void print_list (printer_t *self, const field_t *field, const void *base)
{
    size_t count = *(const size_t *) ((const char *) base + field->count);
    const char *elements = *(char *const *) ((const char *) base + field->offset);
    size_t shown = begin_list (self, count);
    for (size_t i = 0; i < shown; i++) {
        between (self, i);
        fputc ('{', self->out);
        self->first = true;
        print_fields (self, field->element, elements + i * field->element_bytes);
        fputc ('}', self->out);
    }
    self->first = false;
    end_list (self, shown, count);
}

static void print_params (const printer_t *self, const sluice_params_t *params)
{
    size_t count = params ? sluice_params_count (params) : 0;
    size_t shown = !self->json && count > SHOWN_ELEMENTS ? SHOWN_ELEMENTS : count;
    fputc ('{', self->out);
    for (size_t i = 0; i < shown; i++) {
        const char *name = sluice_params_name_at (params, i);
        const char *value = sluice_params_value_at (params, i);
        between (self, i);
        /* As people write them, plainly; but a peer may have sent anything. */
        if (!self->json && name[strspn (name, LETTERS)] == '\0')
            fputs (name, self->out);
        else
            print_text (self, name, strlen (name));
        fputc (self->json ? ':' : '=', self->out);
        print_text (self, value, strlen (value));
    }
    if (shown < count)
        fprintf (self->out, " ... %zu in all", count);
    fputc ('}', self->out);
}

static void print_field (printer_t *self, const field_t *field, const void *base)
{
    const void *at = (const char *) base + field->offset;
    const char *text;
    size_t count, shown;
    const char *dot = strrchr (field->name, '.'); /* "hello.token" */
    begin_field (self, dot ? dot + 1 : field->name);
    switch (field->kind) {
    case FIELD_U64:
        fprintf (self->out, "%" PRIu64, *(const uint64_t *) at);
        break;
    case FIELD_U32:
        fprintf (self->out, "%" PRIu32, *(const uint32_t *) at);
        break;
    case FIELD_I64:
        fprintf (self->out, "%" PRId64, *(const int64_t *) at);
        break;
    case FIELD_I32:
        fprintf (self->out, "%" PRId32, *(const int32_t *) at);
        break;
    case FIELD_BOOL:
        fputs (*(const bool *) at ? "true" : "false", self->out);
        break;
    case FIELD_BYTES:
        print_bytes (self, at, field->limit);
        break;
    case FIELD_TEXT:
        text = *(char *const *) at;
        print_text (self, text ? text : "", text ? strlen (text) : 0);
        break;
    case FIELD_U32S:
        count = *(const size_t *) ((const char *) base + field->count);
        shown = begin_list (self, count);
        for (size_t i = 0; i < shown; i++) {
            between (self, i);
            fprintf (self->out, "%" PRIu32, (*(uint32_t *const *) at)[i]);
        }
        end_list (self, shown, count);
        break;
    case FIELD_LIST:
        print_list (self, field, base);
        break;
    case FIELD_PARAMS:
        print_params (self, *(sluice_params_t *const *) at);
        break;
    case FIELD_END:
        break;
    }
}

static void print_fields (printer_t *self, const field_t *fields, const void *base)
{
    for (const field_t *field = fields; field->kind != FIELD_END; field++)
        print_field (self, field, base);
}

/* ---- a record ------------------------------------------------------------ */

/* What all lines begin with. */
static void print_begin (printer_t *self, const trace_record_t *record, uint64_t since,
                         const char *type)
{
    bool in = record->way == TRACE_IN;
    size_t n = strlen (record->peer);
    if (self->json) {
        fprintf (self->out, "{\"time\":%" PRIu64 ".%09u,\"direction\":\"%s\",\"peer\":",
                 record->time / 1000000000u, (unsigned) (record->time % 1000000000u),
                 in ? "in" : "out");
        print_text (self, record->peer, n);
        fprintf (self->out, ",\"type\":\"%s\",\"bytes\":%zu", type, record->n);
        self->first = false;
        return;
    }
    /* A clock that was set back shows as what it is. */
    int64_t us = (int64_t) (record->time - since) / 1000;
    fprintf (self->out, "%s%" PRId64 ".%06d %s ", us < 0 ? "-" : "",
             (us < 0 ? -us : us) / 1000000, (int) ((us < 0 ? -us : us) % 1000000),
             in ? "<-" : "->");
    for (size_t i = 0; i < n; i++)
        fputc ((unsigned char) record->peer[i] <= ' ' || record->peer[i] == 0x7f
                   ? '?'
                   : record->peer[i],
               self->out);
    fprintf (self->out, "%s%s ", n ? " " : "", type);
    self->first = true;
}

static void print_run (printer_t *self, const uint8_t run[RUN_BYTES])
{
    begin_field (self, "run");
    print_bytes (self, run, self->json ? RUN_BYTES : 4);
}

static void print_wrong (printer_t *self, const trace_record_t *record, uint64_t since,
                         const sluice_error_t *err)
{
    print_begin (self, record, since, "MALFORMED");
    begin_field (self, "why");
    print_text (self, err->text, strlen (err->text));
}

static void print_message (printer_t *self, const trace_record_t *record, uint64_t since)
{
    msg_t msg;
    sluice_error_t err = {0};
    if (msg_decode (record->bytes, record->n, &msg, &err) == -1) {
        print_wrong (self, record, since, &err);
        return;
    }
    print_begin (self, record, since, msg_type_name (msg.type));
    print_run (self, msg.run);
    print_fields (self, msg_fields (msg.type), &msg);
    msg_clear (&msg);
}

static void print_part (printer_t *self, const part_t *part)
{
    fputc ('{', self->out);
    self->first = true;
    print_number (self, "table", part->table);
    print_number (self, "row", part->row);
    print_number (self, "rows", part->rows);
    print_number (self, "bytes", part->bytes);
    if (part->deflated)
        print_number (self, "deflated", part->deflated);
    begin_field (self, "xxh3");
    fprintf (self->out, self->json ? "\"%016" PRIx64 "\"" : "%016" PRIx64, part->xxh3);
    fputc ('}', self->out);
}

static void print_piece (printer_t *self, const trace_record_t *record, uint64_t since)
{
    static const char *const kinds[] = {"DATA", "DONE", "EMPTY"};
    piece_t *piece = malloc (sizeof *piece);
    sluice_error_t err = {0};
    if (!piece || piece_decode (record->bytes, record->n, record->payload, piece, &err)) {
        print_wrong (self, record, since, &err);
        free (piece);
        return;
    }
    print_begin (self, record, since, "PIECE");
    begin_field (self, "kind");
    fprintf (self->out, self->json ? "\"%s\"" : "%s",
             (unsigned) piece->kind < 3 ? kinds[piece->kind] : "?");
    print_run (self, piece->run);
    print_number (self, "token", piece->token);
    print_number (self, "epoch", piece->epoch);
    print_number (self, "position", piece->position);
    print_number (self, "task", piece->task);
    print_number (self, "attempt", piece->attempt);
    print_number (self, "first", piece->first);
    print_number (self, "stop", piece->stop);
    begin_field (self, "parts");
    size_t shown = begin_list (self, piece->nparts);
    for (size_t i = 0; i < shown; i++) {
        between (self, i);
        print_part (self, &piece->parts[i]);
    }
    self->first = false;
    end_list (self, shown, piece->nparts);
    begin_field (self, "digest");
    print_bytes (self, piece->digest, sizeof piece->digest);
    begin_field (self, "seconds");
    fprintf (self->out, "%.6f", piece->seconds);
    begin_field (self, "cpu");
    fprintf (self->out, "%.6f", piece->cpu);
    print_number (self, "rss", piece->rss);
    print_number (self, "payload", record->payload);
    free (piece);
}

void trace_print (const trace_record_t *record, uint64_t since, bool json, FILE *out)
{
    printer_t self = {.out = out, .json = json};
    switch (record->kind) {
    case TRACE_MESSAGE:
        print_message (&self, record, since);
        break;
    case TRACE_PIECE:
        print_piece (&self, record, since);
        break;
    case TRACE_LOST:
        print_begin (&self, record, since, "LOST");
        print_number (&self, "records", record->payload);
        break;
    }
    fputs (json ? "}\n" : "\n", out);
}
