/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Any file: read as far as it is a trace, never past its end; what is read prints
 * as a line for people and as one JSON object. */

#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/trace_text.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n);

static void print (const trace_record_t *record, uint64_t since, bool json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream (&text, &size);
    if (!out)
        return;
    trace_print (record, since, json, out);
    fclose (out);
    if (size == 0 || strlen (text) != size || strchr (text, '\n') != text + size - 1 ||
        (json && !json_is_sound (text)))
        abort ();
    free (text);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t n)
{
    const uint8_t *at = data, *end = data + n;
    trace_head_t head;
    trace_record_t record;
    if (trace_read_head (&at, end, &head) != TRACE_GOOD) {
        if (at != data)
            abort ();
        at = data; /* records without a head */
        head.time = 0;
    }
    for (;;) {
        const uint8_t *before = at;
        trace_verdict_t verdict = trace_read (&at, end, &record);
        if (at > end || (verdict == TRACE_GOOD) != (at > before))
            abort ();
        if (verdict != TRACE_GOOD)
            return 0;
        if (record.bytes + record.n != at)
            abort ();
        print (&record, head.time, false);
        print (&record, head.time, true);
    }
}
