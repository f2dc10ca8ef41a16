/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* xml.h - a small XML document as a tree
 *
 * Built on expat. What comes in may be hostile: a document type declaration is
 * refused (no entities, so none to expand), and text, depth and the number of
 * elements are limited. Names are without their namespace; the root's namespace
 * is kept. All errors are one line: "FILE:LINE: what".
 */
#ifndef CALC_XML_H
#define CALC_XML_H

#include <stddef.h>
#include "sluice/error.h"

enum { XML_MAX_DEPTH = 64, XML_MAX_ELEMENTS = 1000000 };

typedef struct xml xml_t;

typedef struct xml_node xml_node_t;
struct xml_node {
    char *name;
    char *text;        /* of this element alone, "" if none */
    size_t length;     /* of text */
    unsigned line;     /* of its start tag */
    char **attributes; /* name, value, ..., NULL */
    xml_node_t *parent;
    xml_node_t *first, *last; /* children */
    xml_node_t *next;         /* sibling */
};

/* Parse `length` bytes, called `name` in messages. NULL on error. */
xml_t *xml_parse (const char *text, size_t length, const char *name, sluice_error_t *err);
void xml_destroy (xml_t **self_p);

const xml_node_t *xml_root (const xml_t *self);
const char *xml_namespace (const xml_t *self); /* of the root, "" if none */

/* The first child of this name, or the next sibling of it; NULL if none. */
const xml_node_t *xml_child (const xml_node_t *node, const char *name);
const xml_node_t *xml_again (const xml_node_t *node);
/* An attribute's value, NULL if absent. */
const char *xml_attribute (const xml_node_t *node, const char *name);

/* An error about this element. Returns -1. */
int xml_fail (const xml_t *self, const xml_node_t *node, sluice_error_t *err,
              const char *format, ...) __attribute__ ((format (printf, 4, 5)));

#endif
