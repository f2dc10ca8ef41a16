/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

/* error.h - what went wrong, as a value
 *
 * Functions of Sluice return 0 on success and -1 on failure (or a pointer and
 * NULL) and fill a sluice_error_t that the caller owns. The text is one line
 * for a person: what is wrong, where, and what to do. A failed call leaves no
 * trace: what it had made is undone.
 */
#ifndef SLUICE_ERROR_H
#define SLUICE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Also the exit status of the commands, where it is below 200. */
typedef enum {
    SLUICE_OK = 0,
    SLUICE_EFAILED = 1,       /* some tasks failed; they are named */
    SLUICE_EINPUT = 2,        /* bad usage or input; nothing was started */
    SLUICE_ENONODES = 3,      /* no node could be reached */
    SLUICE_EOUTPUT = 4,       /* the output could not be written */
    SLUICE_ECANCELLED = 130,  /* cancelled by the user */
    SLUICE_ESYSTEM = 200,     /* the system refused: memory, sockets, ... (exit 1) */
    SLUICE_EPROTO = 201       /* a peer sent what cannot be right (exit 1) */
} sluice_code_t;

typedef struct {
    sluice_code_t code;
    char text[1000];
} sluice_error_t;

/* Fill `err` (may be NULL) with `code` and a printf-like text, and return -1,
 * so that `return sluice_fail (err, ...)` reads well. Line breaks and control
 * characters in the text are replaced by '?': it may hold what a peer sent. */
int sluice_fail (sluice_error_t *err, sluice_code_t code, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));

/* Put "PREFIX: " before the text that `err` already has. Returns -1. */
int sluice_fail_at (sluice_error_t *err, const char *format, ...)
    __attribute__ ((format (printf, 2, 3)));

/* The exit status of a command that ended with this error. */
int sluice_exit_status (const sluice_error_t *err);

#ifdef __cplusplus
}
#endif
#endif
