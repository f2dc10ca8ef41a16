/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/xml.h"

#include <expat.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Between a name and its namespace; cannot be in either. */
#define SEPARATOR ' '

/* expat takes an int. */
#define MAX_TEXT ((size_t) 1 << 30)

struct xml {
    char *file;
    char *ns;
    xml_node_t *root;
    xml_node_t *open; /* while parsing: the innermost open element */
    unsigned depth, elements;
    XML_Parser parser;
    sluice_error_t error; /* of a handler; code SLUICE_OK if none */
};

static void destroy_node (xml_node_t *node)
{
    /* Without recursion: unlink the first leaf again and again. */
    while (node) {
        if (node->first) {
            xml_node_t *child = node->first;
            node->first = child->next;
            child->parent = node;
            node = child;
            continue;
        }
        xml_node_t *parent = node->parent;
        free (node->name);
        free (node->text);
        for (char **p = node->attributes; p && *p; p++)
            free (*p);
        free (node->attributes);
        free (node);
        node = parent;
    }
}

void xml_destroy (xml_t **self_p)
{
    xml_t *self = *self_p;
    if (!self)
        return;
    destroy_node (self->root);
    free (self->file);
    free (self->ns);
    free (self);
    *self_p = NULL;
}

static void stop_at (xml_t *self, sluice_code_t code, const char *what)
{
    if (self->error.code == SLUICE_OK)
        sluice_fail (&self->error, code, "%s:%lu: %s", self->file,
                     (unsigned long) XML_GetCurrentLineNumber (self->parser), what);
    XML_StopParser (self->parser, XML_FALSE);
}

static char **copy_attributes (const char **attributes)
{
    size_t n = 0;
    while (attributes[n])
        n++;
    char **copy = calloc (n + 1, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++) {
        const char *local = i % 2 ? NULL : strrchr (attributes[i], SEPARATOR);
        if (!(copy[i] = strdup (local ? local + 1 : attributes[i]))) {
            while (i > 0)
                free (copy[--i]);
            free (copy);
            return NULL;
        }
    }
    return copy;
}

static xml_node_t *make_node (const char *name, const char **attributes)
{
    xml_node_t *node = calloc (1, sizeof *node);
    if (!node)
        return NULL;
    const char *local = strrchr (name, SEPARATOR);
    node->name = strdup (local ? local + 1 : name);
    node->text = strdup ("");
    node->attributes = copy_attributes (attributes);
    if (node->name && node->text && node->attributes)
        return node;
    destroy_node (node);
    return NULL;
}

static void on_start (void *arg, const char *name, const char **attributes)
{
    xml_t *self = arg;
    if (self->error.code != SLUICE_OK)
        return;
    if (++self->depth > XML_MAX_DEPTH) {
        stop_at (self, SLUICE_EINPUT, "elements are nested too deep");
        return;
    }
    if (++self->elements > XML_MAX_ELEMENTS) {
        stop_at (self, SLUICE_EINPUT, "too many elements");
        return;
    }
    xml_node_t *node = make_node (name, attributes);
    if (!node) {
        stop_at (self, SLUICE_ESYSTEM, "out of memory");
        return;
    }
    node->line = (unsigned) XML_GetCurrentLineNumber (self->parser);
    node->parent = self->open;
    if (!self->open) {
        const char *local = strrchr (name, SEPARATOR);
        self->ns = local ? strndup (name, (size_t) (local - name)) : strdup ("");
        self->root = node;
    } else if (self->open->last)
        self->open->last->next = node;
    else
        self->open->first = node;
    if (self->open)
        self->open->last = node;
    self->open = node;
}

static void on_end (void *arg, const char *name)
{
    (void) name;
    xml_t *self = arg;
    if (self->error.code != SLUICE_OK)
        return;
    self->depth--;
    self->open = self->open->parent;
}

static void on_text (void *arg, const char *text, int length)
{
    xml_t *self = arg;
    xml_node_t *node = self->open;
    if (self->error.code != SLUICE_OK || !node)
        return;
    /* Room is a power of two, so that a long list of numbers costs no more. */
    size_t used = node->length, want = used + (size_t) length + 1, room = 1;
    while (room < used + 1)
        room *= 2;
    if (want > room) {
        while (room < want)
            room *= 2;
        char *wider = realloc (node->text, room);
        if (!wider) {
            stop_at (self, SLUICE_ESYSTEM, "out of memory");
            return;
        }
        node->text = wider;
    }
    memcpy (node->text + used, text, (size_t) length);
    node->length += (size_t) length;
    node->text[node->length] = '\0';
}

static void on_doctype (void *arg, const char *name, const char *system_id,
                        const char *public_id, int internal)
{
    (void) name, (void) system_id, (void) public_id, (void) internal;
    stop_at (arg, SLUICE_EINPUT, "a document type declaration is not allowed here");
}

xml_t *xml_parse (const char *text, size_t length, const char *name, sluice_error_t *err)
{
    xml_t *self = calloc (1, sizeof *self);
    if (!self || !(self->file = strdup (name)) ||
        !(self->parser = XML_ParserCreateNS (NULL, SEPARATOR))) {
        sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", name);
        xml_destroy (&self);
        return NULL;
    }
    XML_SetUserData (self->parser, self);
    XML_SetElementHandler (self->parser, on_start, on_end);
    XML_SetCharacterDataHandler (self->parser, on_text);
    XML_SetStartDoctypeDeclHandler (self->parser, on_doctype);
    bool good = length <= MAX_TEXT &&
                XML_Parse (self->parser, text, (int) length, 1) == XML_STATUS_OK;
    if (length > MAX_TEXT)
        sluice_fail (err, SLUICE_EINPUT, "%s: is too large", name);
    else if (self->error.code != SLUICE_OK) {
        if (err)
            *err = self->error;
        good = false;
    } else if (!good)
        sluice_fail (err, SLUICE_EINPUT, "%s:%lu: %s", name,
                     (unsigned long) XML_GetCurrentLineNumber (self->parser),
                     XML_ErrorString (XML_GetErrorCode (self->parser)));
    XML_ParserFree (self->parser);
    self->parser = NULL;
    if (good && !self->ns) {
        sluice_fail (err, SLUICE_ESYSTEM, "%s: out of memory", name);
        good = false;
    }
    if (!good)
        xml_destroy (&self);
    return self;
}

const xml_node_t *xml_root (const xml_t *self)
{
    return self->root;
}

const char *xml_namespace (const xml_t *self)
{
    return self->ns;
}

static const xml_node_t *find (const xml_node_t *node, const char *name)
{
    while (node && strcmp (node->name, name) != 0)
        node = node->next;
    return node;
}

const xml_node_t *xml_child (const xml_node_t *node, const char *name)
{
    return find (node->first, name);
}

const xml_node_t *xml_again (const xml_node_t *node)
{
    return find (node->next, node->name);
}

const char *xml_attribute (const xml_node_t *node, const char *name)
{
    for (char **p = node->attributes; *p; p += 2)
        if (!strcmp (p[0], name))
            return p[1];
    return NULL;
}

int xml_fail (const xml_t *self, const xml_node_t *node, sluice_error_t *err,
              const char *format, ...)
{
    char text[600];
    va_list args;
    va_start (args, format);
    vsnprintf (text, sizeof text, format, args);
    va_end (args);
    return sluice_fail (err, SLUICE_EINPUT, "%s:%u: %s", self->file, node->line, text);
}
