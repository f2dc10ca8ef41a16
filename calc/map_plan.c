/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/map_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calc/command.h"
#include "calc/kernel_host.h"
#include "calc/map.h"
#include "calc/template.h"

/* Texts to every node. */
static int share_texts (sluice_plan_t *plan, const char *key, const char *const *list,
                        size_t n, sluice_error_t *err)
{
    uint64_t bytes = 0;
    sluice_array_t array = {0};
    for (size_t i = 0; i < n; i++)
        bytes += strlen (list[i]) + 1;
    if (bytes == 0)
        return 0;
    if (sluice_array_make (&array, "|u1", 1, &bytes, err))
        return -1;
    char *at = array.data;
    for (size_t i = 0; i < n; i++)
        at = stpcpy (at, list[i]) + 1;
    int rc = sluice_share_put (plan, key, &array, err);
    sluice_array_clear (&array);
    return rc;
}

/* The words of the command, as strings of one length. */
static int output_words (sluice_plan_t *plan, const map_spec_t *spec, sluice_error_t *err)
{
    size_t longest = 1;
    char dtype[32];
    uint64_t n = spec->nwords;
    sluice_array_t array = {0};
    for (size_t i = 0; i < spec->nwords; i++)
        if (strlen (spec->words[i]) > longest)
            longest = strlen (spec->words[i]);
    snprintf (dtype, sizeof dtype, "|S%zu", longest);
    if (sluice_array_make (&array, dtype, 1, &n, err))
        return -1;
    for (size_t i = 0; i < spec->nwords; i++)
        memcpy ((char *) array.data + i * longest, spec->words[i],
                strlen (spec->words[i]));
    int rc = sluice_plan_output (plan, "command", &array, err);
    sluice_array_clear (&array);
    return rc;
}

/* What can be known to be wrong with the command is said before the start. */
static int check_command (const sluice_plan_t *plan, const map_spec_t *spec,
                          sluice_error_t *err)
{
    template_t *command = template_new (spec->words, spec->nwords, spec->shell,
                                        arguments_names (spec->arguments),
                                        arguments_columns (spec->arguments), err);
    if (!command)
        return -1;
    const char *program = template_program (command);
    int rc = program && spec->look_here ? command_check (program, getenv ("PATH"),
                                                         sluice_plan_folder (plan), err)
                                        : 0;
    template_destroy (&command);
    return rc;
}

int map_plan (sluice_plan_t *plan, sluice_error_t *err)
{
    const map_spec_t *spec = plan->context;
    if (!spec)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "commands are run by sluice map, not by a job file; see: sluice "
            "map --help");
    uint64_t items = arguments_items (spec->arguments);
    if (items == 0)
        return sluice_fail (err, SLUICE_EINPUT,
                            "there are no arguments, so nothing is to be run");
    if (check_command (plan, spec, err) || sluice_plan_items (plan, items, err) ||
        sluice_plan_table (plan, MAP_STDOUT, "|u1", err) ||
        plan_record (plan, MAP_STDERR, "|u1", err) || output_words (plan, spec, err) ||
        arguments_output (spec->arguments, plan, err) ||
        arguments_share (spec->arguments, plan, err) ||
        share_texts (plan, MAP_WORDS, spec->words, spec->nwords, err))
        return -1;
    return share_texts (plan, MAP_ENVIRONMENT, spec->environment, spec->nenvironment,
                        err);
}
