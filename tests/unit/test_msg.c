/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include <criterion/criterion.h>
#include <msgpack.h>
#include <string.h>

#include "proto/msg.h"
#include "tests/unit/random_msg.h"

static sluice_error_t err;

/* Decode what may be anything: refused, or the same bytes again. */
static bool refused_or_same (const uint8_t *data, size_t n)
{
    msg_t msg;
    err.text[0] = 0;
    if (msg_decode (data, n, &msg, &err) == -1)
        return msg.type == 0 && err.code == SLUICE_EPROTO && err.text[0];
    void *again;
    size_t m;
    bool same = msg_encode (&msg, &again, &m, &err) == 0 && m == n &&
                memcmp (again, data, n) == 0;
    free (again);
    msg_clear (&msg);
    return same;
}

Test (msg, every_type_survives_the_way)
{
    random_t r = {20240601};
    for (unsigned type = MSG_HELLO; type < MSG_TYPES; type++)
        for (int i = 0; i < 200; i++) {
            msg_t msg, back;
            void *data, *again;
            size_t n, m;
            random_msg (&r, (msg_type_t) type, &msg);
            cr_assert_eq (msg_encode (&msg, &data, &n, &err), 0, "%s", err.text);
            cr_assert_eq (msg_decode (data, n, &back, &err), 0, "%s", err.text);
            cr_assert_eq (back.type, type);
            cr_assert_arr_eq (back.run, msg.run, RUN_BYTES);
            cr_assert_eq (msg_encode (&back, &again, &m, &err), 0, "%s", err.text);
            cr_assert_eq (n, m);
            cr_assert_arr_eq (data, again, n);
            /* An independent reader agrees that it is one msgpack array. */
            msgpack_unpacked tree;
            msgpack_unpacked_init (&tree);
            size_t end = 0;
            cr_assert_eq (msgpack_unpack_next (&tree, data, n, &end),
                          MSGPACK_UNPACK_SUCCESS);
            cr_assert_eq (end, n);
            cr_assert_eq (tree.data.type, MSGPACK_OBJECT_ARRAY);
            cr_assert_eq (tree.data.via.array.ptr[0].via.u64, type);
            msgpack_unpacked_destroy (&tree);
            free (data);
            free (again);
            msg_clear (&msg);
            msg_clear (&back);
        }
}

Test (msg, hello_arrives_field_by_field)
{
    table_t tables[] = {{"gmf_data", "{sid:<u4, eid:<u4}", 4096}};
    input_t files[] = {{"in/exposure.xml", 123, -5, {1, 2, 3}}};
    sluice_params_t *params = sluice_params_new ();
    sluice_params_set_file (params, "job.ini");
    sluice_params_set (params, "maximum_distance", "200", 17, NULL);
    msg_t msg = {.type = MSG_HELLO,
                 .hello = {.token = UINT64_MAX,
                           .owner = "ann@desk",
                           .kernel = "builtin:classical",
                           .seed = 42,
                           .items = 7,
                           .memory = 1 << 20,
                           .segment = 4 << 20,
                           .cores_per_task = 2,
                           .priority = -3,
                           .ntables = 1,
                           .tables = tables,
                           .nfiles = 1,
                           .files = files,
                           .params = params}};
    void *data;
    size_t n;
    msg_t back;
    cr_assert_eq (msg_encode (&msg, &data, &n, &err), 0, "%s", err.text);
    cr_assert_eq (msg_decode (data, n, &back, &err), 0, "%s", err.text);
    cr_expect_eq (back.hello.token, UINT64_MAX);
    cr_expect_str_eq (back.hello.owner, "ann@desk");
    cr_expect_str_eq (back.hello.job, "", "NULL travels as an empty text");
    cr_expect_eq (back.hello.priority, -3);
    cr_expect_eq (back.hello.cores_per_task, 2);
    cr_assert_eq (back.hello.ntables, 1);
    cr_expect_str_eq (back.hello.tables[0].dtype, "{sid:<u4, eid:<u4}");
    cr_expect_eq (back.hello.tables[0].chunk_rows, 4096);
    cr_assert_eq (back.hello.nfiles, 1);
    cr_expect_str_eq (back.hello.files[0].path, "in/exposure.xml");
    cr_expect_eq (back.hello.files[0].mtime_ns, -5);
    cr_expect_eq (back.hello.files[0].digest[2], 3);
    cr_expect_str_eq (sluice_params_get (back.hello.params, "maximum_distance"), "200");
    cr_expect_eq (sluice_params_line (back.hello.params, "maximum_distance"), 17);
    cr_expect_str_eq (sluice_params_file (back.hello.params), "job.ini");
    free (data);
    msg_clear (&back);
    cr_expect_eq (back.type, 0);
    msg_clear (&back); /* twice does no harm */
    sluice_params_destroy (&params);
}

Test (msg, cut_anywhere_is_refused)
{
    random_t r = {7};
    for (unsigned type = MSG_HELLO; type < MSG_TYPES; type++) {
        msg_t msg, back;
        void *data;
        size_t n;
        random_msg (&r, (msg_type_t) type, &msg);
        cr_assert_eq (msg_encode (&msg, &data, &n, &err), 0);
        for (size_t cut = 0; cut < n; cut++) {
            /* A copy of this size, so that reading behind it is seen. */
            uint8_t *part = malloc (cut ? cut : 1);
            memcpy (part, data, cut);
            cr_assert_eq (msg_decode (part, cut, &back, &err), -1, "%s cut at %zu",
                          msg_type_name (type), cut);
            free (part);
        }
        free (data);
        msg_clear (&msg);
    }
}

Test (msg, any_changed_byte_is_refused_or_understood)
{
    random_t r = {99};
    for (unsigned type = MSG_HELLO; type < MSG_TYPES; type++) {
        msg_t msg;
        void *data;
        size_t n;
        random_msg (&r, (msg_type_t) type, &msg);
        cr_assert_eq (msg_encode (&msg, &data, &n, &err), 0);
        uint8_t *bytes = data;
        for (size_t i = 0; i < n; i++)
            for (unsigned bit = 0; bit < 8; bit++) {
                bytes[i] ^= (uint8_t) (1u << bit);
                cr_assert (refused_or_same (bytes, n), "%s byte %zu bit %u",
                           msg_type_name (type), i, bit);
                bytes[i] ^= (uint8_t) (1u << bit);
            }
        for (int i = 0; i < 2000; i++) {
            size_t at = (size_t) random_below (&r, n);
            uint8_t old = bytes[at];
            bytes[at] = (uint8_t) random_u64 (&r);
            cr_assert (refused_or_same (bytes, n));
            bytes[at] = old;
        }
        free (data);
        msg_clear (&msg);
    }
}

Test (msg, bytes_behind_are_refused)
{
    msg_t msg = {.type = MSG_SLOTS, .slots = {.tasks = 5}}, back;
    void *data;
    size_t n;
    cr_assert_eq (msg_encode (&msg, &data, &n, &err), 0);
    uint8_t longer[100];
    memcpy (longer, data, n);
    longer[n] = 0;
    cr_expect_eq (msg_decode (longer, n, &back, &err), 0);
    msg_clear (&back);
    cr_expect_eq (msg_decode (longer, n + 1, &back, &err), -1);
    free (data);
}

/* SLOTS is 94 TYPE VERSION c4 10 (16 bytes) TASKS. */
static size_t slots_bytes (uint8_t *out)
{
    memset (out, 0, 22);
    memcpy (out, "\x94\x03\x01\xc4\x10", 5);
    out[2] = MSG_VERSION;
    out[21] = 9;
    return 22;
}

Test (msg, wrong_version_type_and_arity_are_named)
{
    uint8_t data[40];
    msg_t msg;
    size_t n = slots_bytes (data);
    cr_assert_eq (msg_decode (data, n, &msg, &err), 0, "%s", err.text);
    cr_expect_eq (msg.slots.tasks, 9);

    data[2] = MSG_VERSION + 1;
    cr_expect_eq (msg_decode (data, n, &msg, &err), -1);
    cr_expect (strstr (err.text, "install the same"), "%s", err.text);
    slots_bytes (data);
    data[1] = 99;
    cr_expect_eq (msg_decode (data, n, &msg, &err), -1);
    cr_expect (strstr (err.text, "unknown type 99"), "%s", err.text);
    slots_bytes (data);
    data[1] = 0;
    cr_expect_eq (msg_decode (data, n, &msg, &err), -1);
    slots_bytes (data);
    data[0] = 0x95;
    data[n] = 1;
    cr_expect_eq (msg_decode (data, n + 1, &msg, &err), -1);
    cr_expect (strstr (err.text, "number of fields"), "%s", err.text);
    data[0] = 0x93;
    cr_expect_eq (msg_decode (data, n - 1, &msg, &err), -1);
}

Test (msg, wrong_types_are_refused)
{
    static const uint8_t others[] = {0xc0, 0xc3, 0xff, 0xa0, 0x90, 0x80, 0xc1};
    uint8_t data[40];
    msg_t msg;
    for (size_t i = 0; i < sizeof others; i++) {
        size_t n = slots_bytes (data);
        data[21] = others[i];
        cr_expect_eq (msg_decode (data, n, &msg, &err), -1, "byte %02x", others[i]);
        n = slots_bytes (data);
        data[1] = others[i];
        cr_expect_eq (msg_decode (data, n, &msg, &err), -1, "type %02x", others[i]);
    }
    /* 9 as cc 09: right, but not as the encoder writes it. */
    size_t n = slots_bytes (data);
    data[21] = 0xcc;
    data[22] = 9;
    cr_expect_eq (msg_decode (data, n + 1, &msg, &err), -1);
    cr_expect (strstr (err.text, "shortest"), "%s", err.text);
}

Test (msg, nasty_msgpack_is_refused_at_once)
{
    msg_t msg;
    static const uint8_t array[] = {0xdd, 0x06, 0, 0, 0};
    static const uint8_t map[] = {0xdf, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t text[] = {0xdb, 0xff, 0xff, 0xff, 0xff, 'a'};
    static const uint8_t bin[] = {0xc6, 0x7f, 0xff, 0xff, 0xff, 'a'};
    static const uint8_t ext[] = {0xc9, 0xff, 0xff, 0xff, 0xff, 1, 'a'};
    cr_expect_not (msgpack_is_safe (array, sizeof array, 8));
    cr_expect_not (msgpack_is_safe (map, sizeof map, 8));
    cr_expect_not (msgpack_is_safe (text, sizeof text, 8));
    cr_expect_not (msgpack_is_safe (bin, sizeof bin, 8));
    cr_expect_not (msgpack_is_safe (ext, sizeof ext, 8));
    cr_expect_not (msgpack_is_safe (NULL, 0, 8));
    cr_expect_not (msgpack_is_safe ("", 0, 8));
    cr_expect_not (msgpack_is_safe ("\xc1", 1, 8));
    cr_expect_eq (msg_decode (array, sizeof array, &msg, &err), -1);
    cr_expect_eq (msg_decode (NULL, 0, &msg, &err), -1);

    size_t n = 3 << 20;
    uint8_t *deep = malloc (n);
    memset (deep, 0x91, n);
    deep[n - 1] = 0xc0;
    cr_expect_not (msgpack_is_safe (deep, n, 8));
    cr_expect_not (msgpack_is_safe (deep, n, UINT32_MAX));
    cr_expect_eq (msg_decode (deep, n, &msg, &err), -1);
    cr_expect (msgpack_is_safe (deep + n - 9, 9, 8), "eight arrays and a nil");
    cr_expect_not (msgpack_is_safe (deep + n - 9, 9, 7));
    free (deep);
}

Test (msg, safe_agrees_with_msgpack_c)
{
    /* Random short bytes: what is safe, msgpack-c reads to the end. */
    random_t r = {4};
    unsigned safe = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t data[12];
        size_t n = 1 + (size_t) random_below (&r, sizeof data);
        random_fill (&r, data, n);
        if (!msgpack_is_safe (data, n, 8))
            continue;
        safe++;
        msgpack_unpacked tree;
        msgpack_unpacked_init (&tree);
        size_t end = 0;
        cr_assert_eq (msgpack_unpack_next (&tree, (char *) data, n, &end),
                      MSGPACK_UNPACK_SUCCESS);
        cr_assert_eq (end, n);
        msgpack_unpacked_destroy (&tree);
    }
    cr_expect_gt (safe, 1000);
}

static int encodes (const msg_t *msg)
{
    void *data;
    size_t n;
    int result = msg_encode (msg, &data, &n, &err);
    if (result == -1)
        cr_expect (!data && n == 0);
    free (data);
    return result;
}

Test (msg, limits_hold_on_the_sending_side)
{
    char *text = malloc (MSG_MAX_VALUE + 2);
    memset (text, 'x', MSG_MAX_VALUE + 1);
    text[MSG_MAX_VALUE + 1] = 0;
    msg_t msg = {.type = MSG_BYE, .text = {.text = text}};
    cr_expect_eq (encodes (&msg), -1);
    text[MSG_MAX_TEXT] = 0;
    cr_expect_eq (encodes (&msg), 0);
    msg = (msg_t){.type = MSG_FAILED, .failed = {.stderr_tail = text}};
    cr_expect_eq (encodes (&msg), -1);
    text[MSG_MAX_STDERR] = 0;
    cr_expect_eq (encodes (&msg), 0);
    msg = (msg_t){.type = MSG_REPLY, .text = {.text = "\xff"}};
    cr_expect_eq (encodes (&msg), -1);
    cr_expect (strstr (err.text, "UTF-8"));
    msg = (msg_t){.type = 0};
    cr_expect_eq (encodes (&msg), -1);
    msg = (msg_t){.type = MSG_TYPES};
    cr_expect_eq (encodes (&msg), -1);

    task_t *tasks = calloc (MSG_MAX_TASKS + 1, sizeof *tasks);
    msg = (msg_t){.type = MSG_ASSIGN, .tasks = {.ntasks = MSG_MAX_TASKS, .tasks = tasks}};
    cr_expect_eq (encodes (&msg), 0);
    msg.tasks.ntasks++;
    cr_expect_eq (encodes (&msg), -1);
    msg.tasks.ntasks = 1;
    tasks[0].first = 1;
    cr_expect_eq (encodes (&msg), -1, "stop before first");
    free (tasks);
    free (text);
}

Test (msg, parameters_may_be_long_but_not_the_message)
{
    char *value = malloc (MSG_MAX_VALUE + 1);
    memset (value, 'v', MSG_MAX_VALUE);
    value[MSG_MAX_VALUE] = 0;
    sluice_params_t *params = sluice_params_new ();
    msg_t msg = {.type = MSG_HELLO, .hello = {.params = params}}, back;
    sluice_params_set (params, "a", value, 1, NULL);
    void *data;
    size_t n;
    cr_assert_eq (msg_encode (&msg, &data, &n, &err), 0, "%s", err.text);
    cr_assert_eq (msg_decode (data, n, &back, &err), 0, "%s", err.text);
    cr_expect_str_eq (sluice_params_get (back.hello.params, "a"), value);
    msg_clear (&back);
    free (data);
    sluice_params_set (params, "b", value, 1, NULL);
    sluice_params_set (params, "c", value, 1, NULL);
    cr_expect_eq (encodes (&msg), 0);
    sluice_params_set (params, "d", value, 1, NULL);
    cr_expect_eq (encodes (&msg), -1);
    cr_expect (strstr (err.text, "larger than"), "%s", err.text);
    sluice_params_destroy (&params);
    free (value);
}

Test (msg, run_ids_are_hex)
{
    uint8_t run[RUN_BYTES], back[RUN_BYTES];
    char text[2 * RUN_BYTES + 1];
    for (unsigned i = 0; i < RUN_BYTES; i++)
        run[i] = (uint8_t) (i * 17);
    run_text (run, text);
    cr_expect_str_eq (text, "00112233445566778899aabbccddeeff");
    cr_expect (run_parse (text, back));
    cr_expect_arr_eq (run, back, RUN_BYTES);
    cr_expect (run_parse ("00112233445566778899AABBCCDDEEFF", back));
    cr_expect_not (run_parse ("0011", back));
    cr_expect_not (run_parse ("00112233445566778899aabbccddeefg", back));
    cr_expect_not (run_parse ("00112233445566778899aabbccddeeff0", back));
    cr_expect_not (run_parse ("", back));
}

Test (msg, types_have_names)
{
    cr_expect_str_eq (msg_type_name (MSG_HELLO), "HELLO");
    cr_expect_str_eq (msg_type_name (MSG_REPLY), "REPLY");
    cr_expect_str_eq (msg_type_name (0), "unknown");
    cr_expect_str_eq (msg_type_name (MSG_TYPES), "unknown");
}
