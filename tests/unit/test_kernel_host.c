/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* Invariant I8: code is what its hash says. */

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/h5array.h"
#include "calc/kernel_host.h"

static char dir[100];
static share_t *share;
static sluice_params_t *params;

/* A share with a folder for the job, and nothing outside it. */
static void set_up (void)
{
    sluice_error_t err;
    char path[200];
    strcpy (dir, "/tmp/sluice-test-kernel-XXXXXX");
    cr_assert_not_null (mkdtemp (dir));
    snprintf (path, sizeof path, "%s/share", dir);
    cr_assert_eq (mkdir (path, 0700), 0);
    cr_assert_eq (share_create (path, &err), 0, "%s", err.text);
    share = share_open (path, &err);
    cr_assert_not_null (share, "%s", err.text);
    snprintf (path, sizeof path, "%s/share/job", dir);
    cr_assert_eq (mkdir (path, 0700), 0);
    params = sluice_params_new ();
}

static void tear_down (void)
{
    char command[200];
    share_destroy (&share);
    sluice_params_destroy (&params);
    snprintf (command, sizeof command, "rm -rf '%s'", dir);
    cr_assert_eq (system (command), 0);
}

TestSuite (kernel_host, .init = set_up, .fini = tear_down);

static const char *in_share (const char *name)
{
    static char path[4][300];
    static unsigned turn;
    turn = (turn + 1) % 4;
    snprintf (path[turn], sizeof path[turn], "%s/share/%s", dir, name);
    return path[turn];
}

static void write_file (const char *path, const char *text)
{
    FILE *file = fopen (path, "w");
    cr_assert_not_null (file);
    fputs (text, file);
    fclose (file);
}

static void set (const char *name, const char *value)
{
    cr_assert_eq (sluice_params_set (params, name, value, 0, NULL), 0);
}

/* Compile a kernel from its source. */
static void build (const char *name, const char *source)
{
    char path[300], command[1000];
    const char *cc = getenv ("CC"), *top = getenv ("top_srcdir");
    snprintf (path, sizeof path, "%s", in_share ("kernel.c"));
    write_file (path, source);
    snprintf (command, sizeof command, "%s -O1 -fPIC -shared -I'%s/include' -o '%s' '%s'",
              cc && *cc ? cc : "cc", top ? top : ".", in_share (name), path);
    cr_assert_eq (system (command), 0, "%s", command);
}

static kernel_t *try_load (const char *name, const uint8_t *hash, sluice_error_t *err)
{
    int fd = open (in_share (name), O_RDONLY | O_CLOEXEC);
    cr_assert_geq (fd, 0);
    memset (err, 0, sizeof *err);
    kernel_t *kernel = kernel_load (fd, name, hash, err);
    close (fd);
    return kernel;
}

static kernel_t *load (const char *name)
{
    sluice_error_t err;
    kernel_t *kernel = try_load (name, NULL, &err);
    cr_assert_not_null (kernel, "%s", err.text);
    return kernel;
}

#define HEAD                                                                             \
    "#include <sluice/kernel.h>\n#include <stdlib.h>\n#include <string.h>\n"             \
    "#define P(...) static int plan (sluice_plan_t *p, sluice_error_t *e) { "            \
    "__VA_ARGS__ }\n"                                                                    \
    "#define R(...) static int run (sluice_task_t *t, void *s, uint64_t first, "         \
    "uint64_t "                                                                          \
    "stop, sluice_error_t *e) { (void) s; (void) e; __VA_ARGS__ }\n"
#define TAIL(name, abi)                                                                  \
    "const sluice_kernel_t sluice_kernel = {.abi = " abi ", .name = " name               \
    ", .plan = plan, .run = run};\n"
#define DULL_PLAN                                                                        \
    "P (return sluice_plan_items (p, 10, e) || sluice_plan_table (p, \"t\", "            \
    "\"{i:<u8, u:<f8}\", e) ? -1 : 0;)\n"
#define DULL_RUN "R (return 0;)\n"

/* ---- loading ------------------------------------------------------------ */

Test (kernel_host, loads_a_kernel_and_tells_its_hash)
{
    build ("a.so", HEAD DULL_PLAN DULL_RUN TAIL ("\"a\"", "SLUICE_KERNEL_ABI"));
    kernel_t *kernel = load ("a.so");
    cr_assert_str_eq (kernel_api (kernel)->name, "a");
    uint8_t hash[FILE_HASH_BYTES];
    static uint8_t content[1 << 20];
    FILE *file = fopen (in_share ("a.so"), "r");
    size_t n = fread (content, 1, sizeof content, file);
    fclose (file);
    crypto_generichash (hash, sizeof hash, content, n, NULL, 0);
    cr_assert_arr_eq (kernel_hash (kernel), hash, sizeof hash);

    sluice_error_t err;
    kernel_t *again = try_load ("a.so", hash, &err);
    cr_assert_not_null (again, "%s", err.text);
    kernel_destroy (&again);
    hash[0] ^= 1;
    cr_assert_null (try_load ("a.so", hash, &err));
    cr_assert_not_null (strstr (err.text, "a.so: its content"), "%s", err.text);
    kernel_destroy (&kernel);
    cr_assert_null (kernel);
}

Test (kernel_host, what_was_hashed_is_what_runs)
{
    /* The file may change after it was loaded; the copy does not. */
    build ("a.so", HEAD DULL_PLAN DULL_RUN TAIL ("\"a\"", "SLUICE_KERNEL_ABI"));
    kernel_t *kernel = load ("a.so");
    cr_assert_eq (truncate (in_share ("a.so"), 0), 0);
    cr_assert_str_eq (kernel_api (kernel)->name, "a");
    sluice_error_t err = {0};
    sluice_plan_t *plan = plan_run (kernel, params, dir, share, 1, &err);
    cr_assert_not_null (plan, "%s", err.text);
    plan_destroy (&plan);
    kernel_destroy (&kernel);
}

/* Stands before the C library's: between hashing and loading, the file `swap_to` gets
 * the content of `swap_from`, in place. */
static char swap_from[300], swap_to[300];

void *dlopen (const char *file, int mode)
{
    static void *(*real) (const char *, int);
    if (!real)
        *(void **) &real = dlsym (RTLD_NEXT, "dlopen");
    if (*swap_to) {
        char byte[4096];
        size_t n;
        FILE *from = fopen (swap_from, "r"), *to = fopen (swap_to, "w");
        cr_assert (from && to);
        while ((n = fread (byte, 1, sizeof byte, from)) > 0)
            cr_assert_eq (fwrite (byte, 1, n, to), n);
        fclose (from);
        fclose (to);
        *swap_to = '\0';
    }
    return real (file, mode);
}

/* Invariant I8 (inside the share): no code but what was named by its content. */
Test (kernel_host, a_file_swapped_between_hashing_and_loading)
{
    build ("a.so", HEAD DULL_PLAN DULL_RUN TAIL ("\"a\"", "SLUICE_KERNEL_ABI"));
    build ("b.so", HEAD DULL_PLAN DULL_RUN TAIL ("\"b\"", "SLUICE_KERNEL_ABI"));
    kernel_t *kernel = load ("a.so");
    uint8_t hash[FILE_HASH_BYTES];
    memcpy (hash, kernel_hash (kernel), sizeof hash);
    kernel_destroy (&kernel);

    snprintf (swap_from, sizeof swap_from, "%s", in_share ("b.so"));
    snprintf (swap_to, sizeof swap_to, "%s", in_share ("a.so"));
    sluice_error_t err;
    kernel = try_load ("a.so", hash, &err);
    cr_assert_eq (*swap_to, '\0', "it was not swapped");
    cr_assert_not_null (kernel, "%s", err.text);
    cr_assert_str_eq (kernel_api (kernel)->name, "a");
    kernel_destroy (&kernel);
    /* And now it is the other. */
    cr_assert_null (try_load ("a.so", hash, &err));
    cr_assert_not_null (strstr (err.text, "its content"), "%s", err.text);
}

Test (kernel_host, kernels_are_not_mistaken_for_each_other)
{
    build ("a.so", HEAD DULL_PLAN DULL_RUN TAIL ("\"a\"", "SLUICE_KERNEL_ABI"));
    build ("b.so", HEAD DULL_PLAN DULL_RUN TAIL ("\"b\"", "SLUICE_KERNEL_ABI"));
    kernel_t *a = load ("a.so"), *b = load ("b.so");
    cr_assert_str_eq (kernel_api (a)->name, "a");
    cr_assert_str_eq (kernel_api (b)->name, "b");
    kernel_destroy (&a);
    a = load ("b.so");
    cr_assert_str_eq (kernel_api (a)->name, "b");
    kernel_destroy (&a);
    kernel_destroy (&b);

    /* One that cannot be unloaded keeps its place. */
    build ("stay.so", HEAD DULL_PLAN DULL_RUN TAIL ("\"stay\"", "SLUICE_KERNEL_ABI"));
    char command[700];
    snprintf (command, sizeof command,
              "%s -shared -fPIC -Wl,-z,nodelete -I'%s/include' "
              "-o '%s' '%s'",
              "cc", getenv ("top_srcdir") ? getenv ("top_srcdir") : ".",
              in_share ("stay.so"), in_share ("kernel.c"));
    cr_assert_eq (system (command), 0);
    a = load ("stay.so");
    kernel_destroy (&a);
    b = load ("b.so");
    cr_assert_str_eq (kernel_api (b)->name, "b");
    kernel_destroy (&b);
}

Test (kernel_host, refuses_what_is_no_kernel)
{
    sluice_error_t err;
    write_file (in_share ("text.so"), "int main () { return 0; }\n");
    write_file (in_share ("empty.so"), "");
    build ("bare.so", "int x;\n");
    build ("old.so", HEAD DULL_PLAN DULL_RUN TAIL ("\"old\"", "77"));
    build ("less.so", HEAD DULL_RUN "const sluice_kernel_t sluice_kernel = {.abi = "
                                    "SLUICE_KERNEL_ABI, .name = \"x\", .run = run};\n");
    build ("anon.so", HEAD DULL_PLAN DULL_RUN TAIL ("0", "SLUICE_KERNEL_ABI"));
    build ("lost.so", HEAD "int nowhere (void);\nP (return nowhere ();)\n" DULL_RUN TAIL (
                          "\"lost\"", "SLUICE_KERNEL_ABI"));
    static const struct {
        const char *file, *says;
    } bad[] = {{"text.so", "not a shared object"},
               {"empty.so", "not a shared object"},
               {"bare.so", "sluice_kernel"},
               {"old.so", "interface 77, this is 1"},
               {"less.so", "lacks"},
               {"anon.so", "lacks"},
               {"lost.so", "nowhere"},
               {"job", "not a regular file"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_null (try_load (bad[i].file, NULL, &err), "%s", bad[i].file);
        cr_assert_eq (strncmp (err.text, bad[i].file, strlen (bad[i].file)), 0, "%s",
                      err.text);
        cr_assert_not_null (strstr (err.text, bad[i].says), "%s", err.text);
        cr_assert_null (strstr (err.text, "/proc"), "%s", err.text);
    }
}

Test (kernel_host, builtins_are_known_by_name)
{
    sluice_error_t err;
    kernel_t *kernel = kernel_builtin ("scenario", &err);
    static const uint8_t zeros[FILE_HASH_BYTES];
    cr_assert_not_null (kernel, "%s", err.text);
    cr_assert_arr_eq (kernel_hash (kernel), zeros, sizeof zeros);
    kernel_destroy (&kernel);
    cr_assert_null (kernel_builtin ("disaggregation", &err));
    cr_assert_not_null (strstr (err.text, "scenario"), "%s", err.text);
}

/* ---- plan ---------------------------------------------------------------- */

static sluice_plan_t *empty_plan (void)
{
    sluice_plan_t *plan = calloc (1, sizeof *plan);
    plan->params = params;
    plan->share = share;
    plan->folder = strdup (in_share ("job"));
    return plan;
}

Test (kernel_host, names_of_tables_and_outputs)
{
    static const char *const good[] = {"a",   "b/c",     "b/d/e",   "größe",
                                       "a b", "sluice2", "x_index", "x"};
    static const char *const bad[] = {
        "",       "/a",        "a/", "b//c", ".",     "..",      "b/./c",       "b/../c",
        "sluice", "sluice/x",  "a",  "b",    "b/c/d", "a_index", "b/d/e_index", "b/d",
        "\xff",   "a_index/x", "xx", "yy/z"};
    sluice_error_t err;
    sluice_plan_t *plan = empty_plan ();
    for (size_t i = 0; i < sizeof good / sizeof *good - 2; i++)
        cr_assert_eq (sluice_plan_table (plan, good[i], "{a:<u4}", &err), 0, "%s",
                      err.text);
    /* An output that a table's index would be. */
    sluice_array_t one;
    cr_assert_eq (sluice_array_make (&one, "<f8", 0, NULL, &err), 0);
    cr_assert_eq (sluice_plan_output (plan, "xx", &one, &err), 0, "%s", err.text);
    cr_assert_eq (sluice_plan_output (plan, "y_index", &one, &err), 0, "%s", err.text);
    cr_assert_eq (sluice_plan_output (plan, "yy", &one, &err), 0, "%s", err.text);
    cr_assert_eq (sluice_plan_table (plan, "y", "{a:<u4}", &err), -1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = 0;
        cr_assert_eq (sluice_plan_table (plan, bad[i], "{a:<u4}", &err), -1, "%s",
                      bad[i]);
        cr_assert_neq (err.text[0], 0);
        cr_assert_eq (sluice_plan_output (plan, bad[i], &one, &err), -1, "%s", bad[i]);
    }
    cr_assert_eq (plan->ntables, 6);
    cr_assert_eq (plan->noutputs, 3);
    sluice_array_clear (&one);
    plan_destroy (&plan);
    cr_assert_null (plan);
}

Test (kernel_host, rows_of_tables)
{
    sluice_error_t err;
    sluice_plan_t *plan = empty_plan ();
    cr_assert_eq (sluice_plan_table (plan, "t", "{ a:u4,b:(3)<f8 }", &err), 0, "%s",
                  err.text);
    cr_assert_str_eq (plan->tables[0].dtype, "{a:<u4, b:(3)<f8}");
    cr_assert_eq (plan->tables[0].chunk_rows, CHUNK_BYTES / 28);

    static const struct {
        const char *dtype, *says;
    } bad[] = {{"{a:|u1@0, b:<f8@8}#16", "packed"},
               {"{a:{x:|u1}#8, b:<f8}", "packed"},
               {"{a:(9000000)<f8}", "72000000 bytes"},
               {"{a:<U5}", "use S"},
               {"{a:<f9}", "table bad: dtype"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq (sluice_plan_table (plan, "bad", bad[i].dtype, &err), -1);
        cr_assert_not_null (strstr (err.text, bad[i].says), "%s", err.text);
        cr_assert_not_null (strstr (err.text, "bad"), "%s", err.text);
    }
    cr_assert_eq (plan->ntables, 1);
    static const char *const other[] = {"|u1", "<f8", "(3)<f8", "(2){a:<f8}", "|S5"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        char name[8];
        snprintf (name, sizeof name, "o%zu", i);
        cr_assert_eq (sluice_plan_table (plan, name, other[i], &err), 0, "%s", err.text);
        cr_assert_str_eq (plan->tables[1 + i].dtype, other[i]);
    }
    plan_destroy (&plan);
}

Test (kernel_host, a_type_that_hdf5_cannot_hold_is_refused_in_time)
{
    sluice_error_t err;
    sluice_plan_t *plan = empty_plan ();
    char *dtype = malloc (100000);
    for (int length = 10; length <= 55; length += 45) {
        size_t n = 0;
        for (int i = 0; i < 1000; i++)
            n += (size_t) sprintf (dtype + n, "%s%0*d:<f8", i ? "," : "{", length, i);
        strcpy (dtype + n, "}");
        int rc = sluice_plan_table (plan, length == 10 ? "short" : "long", dtype, &err);
        cr_assert_eq (rc, length == 10 ? 0 : -1, "%s", err.text);
    }
    cr_assert_not_null (strstr (err.text, "HDF5"), "%s", err.text);
    free (dtype);
    plan_destroy (&plan);
}

Test (kernel_host, at_most_64_tables)
{
    sluice_error_t err;
    sluice_plan_t *plan = empty_plan ();
    for (int i = 0; i < 65; i++) {
        char name[20];
        snprintf (name, sizeof name, "t%d", i);
        cr_assert_eq (sluice_plan_table (plan, name, "{a:<u4}", &err), i < 64 ? 0 : -1);
    }
    plan_destroy (&plan);
}

Test (kernel_host, arrays_are_copied_and_checked)
{
    sluice_error_t err;
    sluice_plan_t *plan = empty_plan ();
    sluice_array_t array;
    cr_assert_eq (sluice_array_make (&array, "<u4", 1, (uint64_t[]){2}, &err), 0);
    ((uint32_t *) array.data)[1] = 9;
    cr_assert_eq (sluice_share_put (plan, "k", &array, &err), 0, "%s", err.text);
    cr_assert_eq (sluice_plan_output (plan, "o", &array, &err), 0, "%s", err.text);
    ((uint32_t *) array.data)[1] = 1;
    cr_assert_eq (((uint32_t *) plan->shared[0].array.data)[1], 9);
    cr_assert_eq (((uint32_t *) plan->outputs[0].array.data)[1], 9);
    cr_assert_eq (sluice_share_put (plan, "k", &array, &err), -1, "put twice");
    static const char *const bad[] = {"", "a/b", ".", "..", ".inputs", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq (sluice_share_put (plan, bad[i], &array, &err), -1, "%s", bad[i]);

    sluice_array_t none = array;
    none.data = NULL;
    cr_assert_eq (sluice_share_put (plan, "x", &none, &err), -1);
    none = array;
    none.dtype = NULL;
    cr_assert_eq (sluice_share_put (plan, "x", &none, &err), -1);
    none = array;
    none.ndim = 2;
    none.shape[0] = none.shape[1] = UINT64_MAX / 2;
    cr_assert_eq (sluice_plan_output (plan, "x", &none, &err), -1);
    cr_assert_eq (plan->nshared, 1);
    cr_assert_eq (plan->noutputs, 1);
    sluice_array_clear (&array);
    plan_destroy (&plan);
}

static void plan_refused (const char *body, const char *says)
{
    static char source[4000];
    snprintf (source, sizeof source, "%sP (%s)\n%s%s", HEAD, body, DULL_RUN,
              TAIL ("\"bad\"", "SLUICE_KERNEL_ABI"));
    build ("bad.so", source);
    kernel_t *kernel = load ("bad.so");
    sluice_error_t err = {0};
    cr_assert_null (plan_run (kernel, params, dir, share, 1, &err));
    cr_assert_not_null (strstr (err.text, says), "said: %s", err.text);
    cr_assert_neq (err.code, SLUICE_OK);
    kernel_destroy (&kernel);
}

Test (kernel_host, plans_must_be_complete)
{
    plan_refused ("(void) e; return sluice_plan_table (p, \"t\", \"{a:<u4}\", e);",
                  "no items");
    plan_refused ("return sluice_plan_items (p, 0, e);", "0 items");
    plan_refused ("(void) p; (void) e; return -1;", "did not say why");
    plan_refused ("(void) p; return sluice_fail (e, SLUICE_EINPUT, \"because\");",
                  "because");
    plan_refused ("return sluice_plan_input (p, \"not there\", e);", "not there");
}

Test (kernel_host, plan_knows_the_job)
{
    build ("a.so", HEAD
           "P (if (sluice_plan_seed (p) != 99 || strcmp (sluice_plan_folder (p), "
           "\"/here\") || strcmp (sluice_params_get (sluice_plan_params (p), \"n\"), "
           "\"5\")) return sluice_fail (e, SLUICE_EINPUT, \"%s\", \"wrong\");"
           "uint64_t n = 0; if (sluice_params_u64 (sluice_plan_params (p), \"n\", &n, "
           "e) || sluice_plan_items (p, n, e)) return -1;"
           "return sluice_plan_table (p, \"t\", \"{a:<u4}\", e);)\n" DULL_RUN TAIL (
               "\"a\"", "SLUICE_KERNEL_ABI"));
    set ("n", "5");
    kernel_t *kernel = load ("a.so");
    sluice_error_t err = {0};
    sluice_plan_t *plan = plan_run (kernel, params, "/here", share, 99, &err);
    cr_assert_not_null (plan, "%s", err.text);
    cr_assert_eq (plan->items, 5);
    cr_assert_eq (plan->nshared, 0);
    plan_destroy (&plan);
    kernel_destroy (&kernel);
}

/* ---- inputs -------------------------------------------------------------- */

static void read_is (int fd, const char *text)
{
    char got[100] = "";
    cr_assert_geq (fd, 0);
    cr_assert_geq (read (fd, got, sizeof got - 1), 0);
    cr_assert_str_eq (got, text);
    close (fd);
}

#define INPUT_PLAN                                                                       \
    "P (uint64_t three = 3; sluice_array_t a;"                                           \
    "if (sluice_plan_items (p, 10, e) || sluice_plan_table (p, \"t\", \"{a:<u4}\", e) "  \
    "|| sluice_plan_input (p, \"x.csv\", e) || sluice_plan_input (p, \"sub/x.csv\", e) " \
    "|| sluice_plan_input (p, \"./x.csv\", e) "                                          \
    "|| sluice_plan_input (p, \"../top.csv\", e) || sluice_plan_input (p, \"link\", e) " \
    "|| sluice_array_make (&a, \"{x:<f8, y:|b1}\", 1, &three, e)) return -1;"            \
    "memset (a.data, 1, 27); int rc = sluice_share_put (p, \"sites\", &a, e);"           \
    "sluice_array_clear (&a); return rc;)\n"

Test (kernel_host, open_gets_arrays_and_files)
{
    sluice_error_t err = {0};
    cr_assert_eq (mkdir (in_share ("job/sub"), 0700), 0);
    write_file (in_share ("job/x.csv"), "job");
    write_file (in_share ("job/sub/x.csv"), "sub");
    write_file (in_share ("top.csv"), "top");
    write_file (in_share ("elsewhere"), "linked");
    cr_assert_eq (symlink ("../elsewhere", in_share ("job/link")), 0);
    build ("a.so", HEAD INPUT_PLAN DULL_RUN TAIL ("\"a\"", "SLUICE_KERNEL_ABI"));
    kernel_t *kernel = load ("a.so");
    sluice_plan_t *plan = plan_run (kernel, params, in_share ("job"), share, 7, &err);
    cr_assert_not_null (plan, "%s", err.text);
    cr_assert_eq (plan->nfiles, 4, "one file under two names is one");
    cr_assert_str_eq (plan->files[1].path, "job/sub/x.csv");
    cr_assert_eq (plan_write_shared (plan, in_share ("shared.h5"), &err), 0, "%s",
                  err.text);
    cr_assert_eq (plan_write_shared (plan, in_share ("shared.h5"), &err), -1,
                  "never over another file");
    cr_assert_eq (access (in_share ("shared.h5"), F_OK), 0, "which stays");

    sluice_inputs_t *inputs =
        inputs_new (share, params, 7, 10, "shared.h5", plan->files, plan->nfiles, &err);
    cr_assert_not_null (inputs, "%s", err.text);
    cr_assert_str_eq (h5_still_open (), "");
    cr_assert_eq (sluice_inputs_seed (inputs), 7);
    cr_assert_eq (sluice_inputs_items (inputs), 10);
    cr_assert_eq (sluice_inputs_params (inputs), params);
    const sluice_array_t *sites = sluice_inputs_get (inputs, "sites", &err);
    cr_assert_not_null (sites, "%s", err.text);
    cr_assert (sluice_dtype_equal (sites->dtype, plan->shared[0].array.dtype));
    cr_assert_arr_eq (sites->data, plan->shared[0].array.data, 27);
    cr_assert_null (sluice_inputs_get (inputs, "none", &err));
    cr_assert_not_null (strstr (err.text, "none"));

    read_is (sluice_inputs_file (inputs, "x.csv", &err), "job");
    read_is (sluice_inputs_file (inputs, "./x.csv", &err), "job");
    read_is (sluice_inputs_file (inputs, "sub/x.csv", &err), "sub");
    read_is (sluice_inputs_file (inputs, "../top.csv", &err), "top");
    read_is (sluice_inputs_file (inputs, "link", &err), "linked");
    cr_assert_eq (sluice_inputs_file (inputs, "elsewhere", &err), -1);
    cr_assert_eq (sluice_inputs_file (inputs, "kernel.c", &err), -1);
    cr_assert_not_null (strstr (err.text, "kernel.c"));
    inputs_destroy (&inputs);
    cr_assert_null (inputs);
    plan_destroy (&plan);
    kernel_destroy (&kernel);
}

Test (kernel_host, inputs_stay_inside_the_share)
{
    sluice_error_t err = {0};
    char outside[200];
    snprintf (outside, sizeof outside, "%s/outside", dir);
    write_file (outside, "x");
    cr_assert_eq (symlink (outside, in_share ("job/out")), 0);
    sluice_plan_t *plan = empty_plan ();
    cr_assert_eq (sluice_plan_input (plan, "../../outside", &err), -1);
    cr_assert_not_null (strstr (err.text, "outside the share"), "%s", err.text);
    cr_assert_eq (sluice_plan_input (plan, outside, &err), -1);
    cr_assert_eq (sluice_plan_input (plan, "out", &err), -1);
    cr_assert_eq (sluice_plan_input (plan, "sub", &err), -1);
    cr_assert_eq (sluice_plan_input (plan, "", &err), -1);
    cr_assert_eq (plan->nfiles, 0);
    cr_assert_eq (plan->nnames, 0);
    plan_destroy (&plan);

    /* An embedded run takes any. */
    share_destroy (&share);
    share = share_new_open (&err);
    plan = empty_plan ();
    cr_assert_eq (sluice_plan_input (plan, outside, &err), 0, "%s", err.text);
    cr_assert_eq (sluice_plan_input (plan, "out", &err), 0, "%s", err.text);
    cr_assert_eq (plan->nfiles, 1);
    plan_destroy (&plan);
}

Test (kernel_host, inputs_must_be_there)
{
    sluice_error_t err = {0};
    cr_assert_null (inputs_new (share, params, 1, 1, "none.h5", NULL, 0, &err));
    cr_assert_not_null (strstr (err.text, "none.h5"), "%s", err.text);
    write_file (in_share ("text.h5"), "this is no HDF5 file");
    cr_assert_null (inputs_new (share, params, 1, 1, "text.h5", NULL, 0, &err));
    cr_assert_not_null (strstr (err.text, "text.h5"), "%s", err.text);
    cr_assert_null (inputs_new (share, params, 1, 1, "../text.h5", NULL, 0, &err));
    sluice_inputs_t *inputs = inputs_new (share, params, 1, 1, "", NULL, 0, &err);
    cr_assert_not_null (inputs);
    cr_assert_eq (sluice_inputs_file (inputs, "x", &err), -1);
    inputs_destroy (&inputs);
}

Test (kernel_host, what_is_left_open_of_hdf5_is_named)
{
    cr_assert_str_eq (h5_still_open (), "");
    hid_t file = H5Fcreate (in_share ("open.h5"), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert_not_null (strstr (h5_still_open (), "open.h5"));
    hid_t group = H5Gcreate2 (file, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose (file);
    cr_assert_not_null (strstr (h5_still_open (), "open.h5"), "a group keeps it open");
    H5Gclose (group);
    cr_assert_str_eq (h5_still_open (), "");
}

/* ---- run ----------------------------------------------------------------- */

typedef struct {
    uint8_t *segment;
    uint32_t bytes;
    bool taken;
    unsigned puts, refuse;
    uint64_t take_back;
    uint64_t rows;
    piece_t last;
} box_t;

static void *box_get (void *arg, bool wait, uint32_t *handle)
{
    box_t *box = arg;
    if (box->taken) {
        cr_assert_not (wait);
        return NULL;
    }
    box->taken = true;
    *handle = 0;
    return box->segment;
}

static int box_put (void *arg, uint32_t handle, const piece_t *piece)
{
    box_t *box = arg;
    cr_assert_eq (handle, 0);
    box->taken = false;
    box->last = *piece;
    for (size_t i = 0; i < piece->nparts; i++)
        if (piece->parts[i].table == 0)
            box->rows += piece->parts[i].rows;
    return ++box->puts == box->refuse ? -1 : 0;
}

static void box_give_back (void *arg, uint32_t handle)
{
    cr_assert_eq (handle, 0);
    ((box_t *) arg)->taken = false;
}

static bool box_yield (void *arg, uint64_t next)
{
    return next >= ((box_t *) arg)->take_back;
}

typedef struct {
    kernel_t *kernel;
    sluice_plan_t *plan;
    emitter_t *emitter;
    sluice_task_t *task;
    box_t box;
} host_t;

static host_t *host_new (const char *run)
{
    static char source[5000];
    snprintf (source, sizeof source, "%s#include <unistd.h>\n%sR (%s)\n%s", HEAD,
              DULL_PLAN, run, TAIL ("\"k\"", "SLUICE_KERNEL_ABI"));
    build ("k.so", source);
    host_t *host = calloc (1, sizeof *host);
    sluice_error_t err = {0};
    host->kernel = load ("k.so");
    host->plan = plan_run (host->kernel, params, in_share ("job"), share, 42, &err);
    cr_assert_not_null (host->plan, "%s", err.text);
    box_t *box = &host->box;
    box->bytes = segment_for (host->plan->tables, 1, &err);
    box->segment = malloc (box->bytes);
    box->take_back = UINT64_MAX;
    emitter_sink_t sink = {box, box_get, box_put, box_give_back, box_yield};
    host->emitter = emitter_new (host->plan->tables, 1, box->bytes, &sink, &err);
    cr_assert_not_null (host->emitter, "%s", err.text);
    host->task = task_new (host->emitter, 42, "/scratch/of/mine");
    return host;
}

static void host_destroy (host_t *host)
{
    task_destroy (&host->task);
    emitter_destroy (&host->emitter);
    plan_destroy (&host->plan);
    kernel_destroy (&host->kernel);
    free (host->box.segment);
    free (host);
}

static int host_run (host_t *host, uint64_t first, uint64_t stop, bool *stopped,
                     sluice_error_t *err)
{
    task_t task = {.task = 3, .attempt = 1, .first = first, .stop = stop};
    memset (err, 0, sizeof *err);
    return task_run (host->task, host->kernel, NULL, &task, stopped, err);
}

/* Three rows an item: its number and a draw. */
#define DRAW                                                                             \
    "for (uint64_t i = first; i < stop; i++) { double u[3];"                             \
    "if (sluice_yield (t, i)) return 0;"                                                 \
    "sluice_random (t, i, 5, 2, u, 3);"                                                  \
    "for (int k = 0; k < 3; k++) {"                                                      \
    "struct { uint64_t i; double u; } row = {i, u[k]};"                                  \
    "if (sluice_emit (t, i, 0, &row, 1)) return -1; } } return 0;"

Test (kernel_host, runs_tasks_whose_digest_is_the_same_however_cut)
{
    host_t *host = host_new (DRAW);
    bool stopped = true;
    sluice_error_t err;
    cr_assert_eq (host_run (host, 0, 10, &stopped, &err), 0, "%s", err.text);
    cr_assert_not (stopped);
    cr_assert_eq (host->box.rows, 30);
    cr_assert_eq (host->box.last.kind, PIECE_DONE);
    cr_assert_geq (host->box.last.seconds, 0);
    cr_assert_lt (host->box.last.seconds, 60);
    cr_assert_gt (host->box.last.rss, 1 << 20);
    uint8_t whole[DIGEST_BYTES], sum[DIGEST_BYTES] = {0};
    memcpy (whole, host->box.last.digest, sizeof whole);
    const double *row = (const double *) (void *) host->box.segment;
    cr_assert (row[1] > 0 && row[1] < 1);
    static const uint64_t cuts[] = {0, 1, 4, 9, 10};
    for (int i = 3; i >= 0; i--) {
        cr_assert_eq (host_run (host, cuts[i], cuts[i + 1], &stopped, &err), 0);
        digest_add (sum, host->box.last.digest);
    }
    cr_assert_arr_eq (whole, sum, sizeof sum);
    host_destroy (host);
}

Test (kernel_host, gives_items_back)
{
    host_t *host = host_new (DRAW);
    bool stopped = true;
    sluice_error_t err;
    host->box.take_back = 6;
    cr_assert_eq (host_run (host, 2, 10, &stopped, &err), 0, "%s", err.text);
    cr_assert_eq (host->box.last.stop, 6);
    cr_assert_eq (host->box.rows, 12);
    host_destroy (host);
}

Test (kernel_host, failures_say_why)
{
    static const struct {
        const char *run, *says;
    } bad[] = {{"return sluice_fail (e, SLUICE_EFAILED, \"no good\");", "no good"},
               {"return -1;", "did not say why"},
               {"return sluice_emit (t, 99, 0, \"\", 1);", "item 99"},
               {"sluice_emit (t, 2, 7, \"\", 1); return 0;", "table 7"},
               {"uint64_t r[2] = {0}; sluice_emit (t, 5, 0, r, 1);"
                "sluice_emit (t, 4, 0, r, 1); sluice_emit (t, 6, 0, r, 1); return 0;",
                "must not decrease"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        host_t *host = host_new (bad[i].run);
        bool stopped = true;
        sluice_error_t err;
        cr_assert_eq (host_run (host, 2, 10, &stopped, &err), -1);
        cr_assert_not (stopped);
        cr_assert_eq (err.code, SLUICE_EFAILED);
        cr_assert_not_null (strstr (err.text, bad[i].says), "%s", err.text);
        cr_assert_not (host->box.taken, "its segment was given back");
        cr_assert_eq (host->box.puts, 0);
        host_destroy (host);
    }
}

Test (kernel_host, a_task_that_the_sink_ends_has_stopped)
{
    /* It goes on after the refusal, and must not be done all the same. */
    host_t *host = host_new ("static uint64_t rows[200000];"
                             "for (int k = 0; k < 3; k++)"
                             "sluice_emit (t, first, 0, rows, 100000); return 0;");
    bool stopped = false;
    sluice_error_t err;
    host->box.refuse = 2;
    cr_assert_eq (host_run (host, 2, 10, &stopped, &err), -1);
    cr_assert (stopped);
    cr_assert_eq (host->box.puts, 2);
    cr_assert_neq (host->box.last.kind, PIECE_DONE);

    /* The DONE piece may be what is refused. */
    host->box.puts = 0;
    host->box.refuse = 5;
    stopped = false;
    cr_assert_eq (host_run (host, 2, 10, &stopped, &err), -1);
    cr_assert (stopped);
    host->box.refuse = 0;
    cr_assert_eq (host_run (host, 2, 10, &stopped, &err), 0, "%s", err.text);
    cr_assert_not (stopped);
    host_destroy (host);
}

Test (kernel_host, tells_its_scratch_folder)
{
    host_t *host =
        host_new ("return strcmp (sluice_scratch (t), \"/scratch/of/mine\") ? -1 : 0;");
    bool stopped;
    sluice_error_t err;
    cr_assert_eq (host_run (host, 2, 10, &stopped, &err), 0, "%s", err.text);
    host_destroy (host);
}
