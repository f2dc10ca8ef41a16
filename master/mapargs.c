/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/mapargs.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/csv.h"

static bool is_list (const char *word)
{
    return strcmp (word, ":::") == 0;
}

static bool is_files (const char *word)
{
    return strcmp (word, "::::") == 0;
}

size_t mapargs_command (char **words, size_t n)
{
    size_t i = 0;
    while (i < n && strncmp (words[i], ":::", 3) != 0)
        i++;
    return i;
}

/* ---- files ---------------------------------------------------------------- */

/* A line is an argument, without the CR that Windows puts at its end. */
static int read_lines (arguments_t *to, const char *path, bool null, sluice_error_t *err)
{
    bool in = strcmp (path, "-") == 0;
    struct stat st;
    FILE *f = in ? stdin : fopen (path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    if (!f)
        return sluice_fail (err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
    int rc =
        fstat (fileno (f), &st) == 0 && S_ISDIR (st.st_mode)
            ? sluice_fail (err, SLUICE_EINPUT, "%s: a folder, not a file of lines", path)
            : arguments_source (to, 1, NULL, err);
    while (rc == 0 && (n = getdelim (&line, &room, null ? '\0' : '\n', f)) >= 0) {
        if (n > 0 && line[n - 1] == (null ? '\0' : '\n'))
            n--;
        if (!null && n > 0 && line[n - 1] == '\r')
            n--;
        rc = arguments_add (to, line, (size_t) n, err);
        if (rc)
            sluice_fail_at (err, "%s", in ? "standard input" : path);
    }
    if (rc == 0 && ferror (f))
        rc = sluice_fail (err, SLUICE_EINPUT, "%s: %s", path, strerror (errno));
    free (line);
    if (!in)
        fclose (f);
    return rc;
}

/* All of standard input. */
static char *slurp (size_t *n)
{
    char *text = NULL;
    size_t room = 0;
    *n = 0;
    do {
        if (*n + 1 >= room) {
            char *grown = realloc (text, room = room ? 2 * room : 1 << 16);
            if (!grown) {
                free (text);
                return NULL;
            }
            text = grown;
        }
        *n += fread (text + *n, 1, room - *n - 1, stdin);
    } while (!feof (stdin) && !ferror (stdin));
    text[*n] = '\0';
    return text;
}

static int read_csv (arguments_t *to, const char *path, sluice_error_t *err)
{
    const char *names[ARGUMENTS_MAX_COLUMNS];
    csv_t *csv;
    if (strcmp (path, "-") == 0) {
        size_t n;
        char *text = slurp (&n);
        csv = text ? csv_from_text (text, n, "standard input", err) : NULL;
        free (text);
    } else
        csv = csv_open (path, err);
    if (!csv)
        return -1;
    size_t columns = csv_columns (csv);
    int rc = columns > ARGUMENTS_MAX_COLUMNS
                 ? csv_fail (csv, err, "more than %d columns", ARGUMENTS_MAX_COLUMNS)
                 : 0;
    for (size_t i = 0; rc == 0 && i < columns; i++)
        names[i] = csv_name (csv, i);
    if (rc == 0)
        rc = arguments_source (to, columns, names, err);
    int got = 0;
    while (rc == 0 && (got = csv_next (csv, err)) > 0)
        for (size_t i = 0; rc == 0 && i < columns; i++) {
            const char *text = csv_text (csv, i);
            rc = arguments_add (to, text, strlen (text), err);
        }
    csv_destroy (&csv);
    return got < 0 ? -1 : rc;
}

static int read_file (arguments_t *to, const char *path, bool named, bool null,
                      sluice_error_t *err)
{
    size_t n = strlen (path);
    if (named && n > 4 && strcasecmp (path + n - 4, ".csv") == 0)
        return read_csv (to, path, err);
    return read_lines (to, path, null, err);
}

/* ---- words ----------------------------------------------------------------- */

/* A pattern that the shell did not expand, as it would have done; but one that
 * fits nothing is a slip. */
static int add_files (arguments_t *to, const char *pattern, sluice_error_t *err)
{
    glob_t found;
    int rc = 0, got = glob (pattern, 0, NULL, &found);
    if (got == GLOB_NOMATCH)
        rc = sluice_fail (err, SLUICE_EINPUT,
                          "no file is called '%s' (--no-glob takes it as it stands)",
                          pattern);
    else if (got)
        rc = sluice_fail (err, SLUICE_EINPUT, "%s: %s", pattern,
                          got == GLOB_NOSPACE ? "out of memory" : "cannot be read");
    for (size_t i = 0; got == 0 && rc == 0 && i < found.gl_pathc; i++)
        rc = arguments_add (to, found.gl_pathv[i], strlen (found.gl_pathv[i]), err);
    if (got == 0)
        globfree (&found);
    return rc;
}

static int add_word (arguments_t *to, const char *word, bool glob, sluice_error_t *err)
{
    if (glob && strpbrk (word, "*?[") && access (word, F_OK) < 0)
        return add_files (to, word, err);
    return arguments_add (to, word, strlen (word), err);
}

int mapargs_read (arguments_t *to, const source_order_t *orders, size_t norders,
                  char **words, size_t nwords, bool named, bool null, bool glob,
                  sluice_error_t *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < norders; i++)
        rc = orders[i].kind == SOURCE_RANGE
                 ? arguments_range_text (to, orders[i].text, err)
             : orders[i].kind == SOURCE_CSV
                 ? read_csv (to, orders[i].text, err)
                 : read_file (to, orders[i].text, named, null, err);
    for (size_t i = 0; rc == 0 && i < nwords;) {
        bool list = is_list (words[i]);
        if (!list && !is_files (words[i]))
            return sluice_fail (err, SLUICE_EINPUT, "'%s' is not known; ::: and :::: are",
                                words[i]);
        i++;
        if (list)
            rc = arguments_source (to, 1, NULL, err);
        for (; rc == 0 && i < nwords && strncmp (words[i], ":::", 3) != 0; i++)
            rc = list ? add_word (to, words[i], glob, err)
                      : read_file (to, words[i], named, null, err);
    }
    if (rc || norders || nwords)
        return rc;
    if (isatty (STDIN_FILENO))
        return sluice_fail (err, SLUICE_EINPUT,
                            "over what? Give arguments behind the command (::: A B C), "
                            "-a FILE, --range A:B, or lines on standard input");
    return read_lines (to, "-", null, err);
}
