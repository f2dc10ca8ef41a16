/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/template.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { PART_TEXT, PART_NUMBER, PART_ALL, PART_COLUMN } part_kind_t;
typedef enum {
    FORM_WHOLE,
    FORM_STEM,   /* {.} */
    FORM_BASE,   /* {/} */
    FORM_FOLDER, /* {//} */
    FORM_BASE_STEM
} form_t;

typedef struct {
    part_kind_t kind;
    form_t form;
    size_t column;
    const char *text; /* in the word */
    size_t length;
} part_t;

typedef struct {
    char *text;
    part_t *parts;
    size_t nparts;
    bool spreads; /* {} alone: a word for each column */
} word_t;

struct template
{
    word_t *words;
    size_t nwords, columns;
    bool shell;
};

/* ---- reading ------------------------------------------------------------- */

static bool is_name (const char *text, size_t n)
{
    if (n == 0 || !(isalpha ((unsigned char) text[0]) || text[0] == '_'))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!isalnum ((unsigned char) text[i]) && !strchr ("_-", text[i]))
            return false;
    return true;
}

/* Take the form off the end of what stands between braces. */
static form_t take_form (const char *text, size_t *n)
{
    static const struct {
        const char *end;
        form_t form;
    } forms[] = {
        {"/.", FORM_BASE_STEM}, {"//", FORM_FOLDER}, {"/", FORM_BASE}, {".", FORM_STEM}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t length = strlen (forms[i].end);
        if (*n >= length && !memcmp (text + *n - length, forms[i].end, length)) {
            *n -= length;
            return forms[i].form;
        }
    }
    return FORM_WHOLE;
}

static int find_column (const char *text, size_t n, const char *const *names,
                        size_t columns)
{
    for (size_t i = 0; names && i < columns; i++)
        if (strlen (names[i]) == n && !memcmp (names[i], text, n))
            return (int) i;
    return -1;
}

/* What stands between braces: 1 a placeholder, 0 none, -1 one that cannot be. */
static int read_placeholder (const char *text, size_t n, const char *const *names,
                             size_t columns, part_t *part, sluice_error_t *err)
{
    *part = (part_t){.kind = PART_ALL};
    if (n == 1 && text[0] == '#') {
        part->kind = PART_NUMBER;
        return 1;
    }
    int column = find_column (text, n, names, columns);
    size_t all = n;
    if (column < 0) {
        part->form = take_form (text, &n);
        column = find_column (text, n, names, columns);
    }
    if (column >= 0) {
        part->kind = PART_COLUMN;
        part->column = (size_t) column;
        return 1;
    }
    if (n == 0)
        return 1;
    part->kind = PART_COLUMN;
    if (strspn (text, "0123456789") >= n && n < 6) {
        part->column = strtoul (text, NULL, 10);
        if (part->column < 1 || part->column > columns)
            return sluice_fail (err, SLUICE_EINPUT,
                                "{%.*s}: there %s %zu source%s of arguments", (int) all,
                                text, columns == 1 ? "is" : "are", columns,
                                columns == 1 ? "" : "s");
        part->column--;
        return 1;
    }
    if (!names || !is_name (text, n))
        return 0;
    char known[400] = "";
    for (size_t i = 0; i < columns && strlen (known) < 300; i++) {
        size_t used = strlen (known);
        snprintf (known + used, sizeof known - used, "%s%.40s", i ? ", " : "", names[i]);
    }
    return sluice_fail (err, SLUICE_EINPUT,
                        "{%.*s}: no column is called so; there are %s", (int) all, text,
                        known);
}

static int add_part (word_t *word, const part_t *part, sluice_error_t *err)
{
    part_t *grown = realloc (word->parts, (word->nparts + 1) * sizeof *grown);
    if (!grown)
        return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    word->parts = grown;
    word->parts[word->nparts++] = *part;
    return 0;
}

static int read_word (word_t *word, const char *const *names, size_t columns,
                      sluice_error_t *err)
{
    const char *from = word->text, *at = from;
    part_t part;
    while (*at) {
        const char *close = *at == '{' ? strchr (at, '}') : NULL;
        int got = close ? read_placeholder (at + 1, (size_t) (close - at - 1), names,
                                            columns, &part, err)
                        : 0;
        if (got < 0)
            return -1;
        if (got == 0) {
            at++;
            continue;
        }
        part_t text = {.text = from, .length = (size_t) (at - from)};
        if (at > from && add_part (word, &text, err))
            return -1;
        if (add_part (word, &part, err))
            return -1;
        from = at = close + 1;
    }
    part_t text = {.text = from, .length = (size_t) (at - from)};
    if (at > from && add_part (word, &text, err))
        return -1;
    word->spreads = word->nparts == 1 && word->parts[0].kind == PART_ALL;
    return 0;
}

bool template_wants_shell (const char *word)
{
    return strpbrk (word, " \t\n|&;<>()$`\\\"'*?~") != NULL;
}

bool template_has_name (const char *word)
{
    for (const char *at = word; (at = strchr (at, '{')); at++) {
        size_t n = strcspn (at + 1, "}");
        if (at[1 + n] == '}') {
            (void) take_form (at + 1, &n);
            if (is_name (at + 1, n))
                return true;
        }
    }
    return false;
}

static bool has_placeholder (const template_t *self)
{
    for (size_t i = 0; i < self->nwords; i++)
        for (size_t k = 0; k < self->words[i].nparts; k++)
            if (self->words[i].parts[k].kind != PART_TEXT)
                return true;
    return false;
}

static int read_words (template_t *self, const char *const *words, size_t nwords,
                       const char *const *names, sluice_error_t *err)
{
    for (size_t i = 0; i < nwords; i++) {
        word_t *word = &self->words[self->nwords++];
        word->text = strdup (words[i]);
        if (!word->text)
            return sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        if (read_word (word, names, self->columns, err))
            return -1;
    }
    if (has_placeholder (self))
        return 0;
    if (!self->shell) {
        word_t *word = &self->words[self->nwords++];
        word->text = strdup ("{}");
        return word->text ? read_word (word, NULL, self->columns, err)
                          : sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
    }
    part_t blank = {.text = " ", .length = 1}, all = {.kind = PART_ALL};
    return add_part (&self->words[0], &blank, err) ||
                   add_part (&self->words[0], &all, err)
               ? -1
               : 0;
}

template_t *template_new (const char *const *words, size_t nwords, bool shell,
                          const char *const *names, size_t columns, sluice_error_t *err)
{
    template_t *self = calloc (1, sizeof *self);
    if (self)
        self->words = calloc (nwords + 1, sizeof *self->words);
    if (!self || !self->words) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        template_destroy (&self);
        return NULL;
    }
    self->columns = columns;
    self->shell = shell;
    if (nwords == 0 || !words[0][0])
        sluice_fail (err, SLUICE_EINPUT, "a command without a name");
    else if (read_words (self, words, nwords, names, err) == 0)
        return self;
    template_destroy (&self);
    return NULL;
}

void template_destroy (template_t **self_p)
{
    template_t *self = *self_p;
    if (!self)
        return;
    for (size_t i = 0; self->words && i < self->nwords; i++) {
        free (self->words[i].text);
        free (self->words[i].parts);
    }
    free (self->words);
    free (self);
    *self_p = NULL;
}

const char *template_program (const template_t *self)
{
    const word_t *word = &self->words[0];
    return !self->shell && word->nparts == 1 && word->parts[0].kind == PART_TEXT
               ? word->text
               : NULL;
}

/* ---- expanding ----------------------------------------------------------- */

/* Text that is counted first (`at` NULL) and then written. */
typedef struct {
    char *at;
    size_t n;
} out_t;

static void put (out_t *out, const char *text, size_t n)
{
    if (out->at)
        memcpy (out->at + out->n, text, n);
    out->n += n;
}

/* Quoted for a shell, if anything in it needs that. */
static void put_quoted (out_t *out, const char *text, size_t n)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_-+=./,:@%^";
    size_t good = 0;
    bool braces = !memchr (text, ',', n); /* else some shells expand them */
    while (good < n && (memchr (plain, text[good], sizeof plain - 1) ||
                        (braces && strchr ("{}", text[good]) && text[good])))
        good++;
    if (good == n && n > 0) {
        put (out, text, n);
        return;
    }
    put (out, "'", 1);
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\'')
            put (out, "'\\''", 4);
        else
            put (out, text + i, 1);
    put (out, "'", 1);
}

/* The part of a value that a form names. */
static void cut (form_t form, const char **value, size_t *n)
{
    const char *slash = strrchr (*value, '/'), *base = slash ? slash + 1 : *value;
    const char *dot = strrchr (base, '.'), *end = *value + *n;
    switch (form) {
    case FORM_WHOLE:
        return;
    case FORM_FOLDER:
        if (!slash) {
            *value = ".";
            *n = 1;
        } else
            *n = slash > *value ? (size_t) (slash - *value) : 1;
        return;
    case FORM_BASE:
        *value = base;
        *n = (size_t) (end - base);
        return;
    case FORM_STEM:
        if (dot && dot > base)
            *n = (size_t) (dot - *value);
        return;
    case FORM_BASE_STEM:
        *value = base;
        *n = (size_t) ((dot && dot > base ? dot : end) - base);
        return;
    }
}

static void put_value (const template_t *self, out_t *out, form_t form, const char *value)
{
    size_t n = strlen (value);
    cut (form, &value, &n);
    if (self->shell)
        put_quoted (out, value, n);
    else
        put (out, value, n);
}

static void put_part (const template_t *self, out_t *out, const part_t *part,
                      const char *const *values, uint64_t number)
{
    char digits[24];
    switch (part->kind) {
    case PART_TEXT:
        put (out, part->text, part->length);
        return;
    case PART_NUMBER:
        put (out, digits,
             (size_t) snprintf (digits, sizeof digits, "%llu",
                                (unsigned long long) number + 1));
        return;
    case PART_COLUMN:
        put_value (self, out, part->form, values[part->column]);
        return;
    case PART_ALL:
        for (size_t i = 0; i < self->columns; i++) {
            if (i)
                put (out, " ", 1);
            put_value (self, out, part->form, values[i]);
        }
        return;
    }
}

/* Write the texts of all words, and where each begins, if it is not NULL. */
static size_t write_words (const template_t *self, out_t *out, char **starts,
                           const char *const *values, uint64_t number)
{
    size_t n = 0;
    for (size_t i = 0; i < self->nwords; i++) {
        const word_t *word = &self->words[i];
        bool spreads = word->spreads && !self->shell;
        for (size_t k = 0; k < (spreads ? self->columns : 1); k++) {
            if (starts)
                starts[n] = out->at + out->n;
            n++;
            if (spreads)
                put_value (self, out, word->parts[0].form, values[k]);
            else
                for (size_t p = 0; p < word->nparts; p++)
                    put_part (self, out, &word->parts[p], values, number);
            put (out, "", 1);
        }
    }
    return n;
}

char **template_expand (const template_t *self, const char *const *values,
                        uint64_t number)
{
    static char *const shell[] = {(char *) (uintptr_t) "/bin/sh",
                                  (char *) (uintptr_t) "-c"};
    size_t before = self->shell ? 2 : 0;
    out_t count = {0};
    size_t n = write_words (self, &count, NULL, values, number);
    size_t head = (before + n + 1) * sizeof (char *);
    char *block = malloc (head + count.n + 1);
    if (!block)
        return NULL;
    char **words = (char **) (void *) block;
    for (size_t i = 0; i < before; i++)
        words[i] = shell[i];
    out_t out = {.at = block + head};
    write_words (self, &out, words + before, values, number);
    words[before + n] = NULL;
    return words;
}

void template_print (char *const *words, char *text, size_t size)
{
    size_t n = 0;
    bool more = false;
    for (size_t i = 0; words[i] && !more; i++) {
        out_t count = {0};
        put_quoted (&count, words[i], strlen (words[i]));
        more = n + count.n + 5 > size; /* a blank, "...", a NUL */
        if (more)
            break;
        if (i)
            text[n++] = ' ';
        out_t out = {.at = text + n};
        put_quoted (&out, words[i], strlen (words[i]));
        n += out.n;
    }
    snprintf (text + n, size - n, "%s", more ? "..." : "");
}

bool template_put (char *const *words, bool raw, FILE *out)
{
    for (size_t i = 0; words[i]; i++) {
        size_t n = strlen (words[i]);
        out_t text = {.at = malloc (4 * n + 3)};
        if (!text.at)
            return false;
        if (raw)
            put (&text, words[i], n);
        else
            put_quoted (&text, words[i], n);
        fprintf (out, "%s", i ? " " : "");
        fwrite (text.at, 1, text.n, out);
        free (text.at);
    }
    fputc ('\n', out);
    return true;
}
