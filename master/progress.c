/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 24, LEAST_BAR = 6 };

void progress_init (progress_t *self, bool quiet)
{
    memset (self, 0, sizeof *self);
    self->quiet = quiet;
    self->terminal = isatty (STDERR_FILENO);
}

void progress_from (progress_t *self, uint64_t items, uint64_t done, uint64_t bytes)
{
    self->before = self->part = items ? (double) done / (double) items : 0;
    self->last_bytes = bytes;
}

const char *human_bytes (double bytes, char out[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int i = 0;
    for (; bytes >= 1023.5 && i < 5; i++)
        bytes /= 1024;
    snprintf (out, 16, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
    return out;
}

static const char *human_time (double seconds, char out[24])
{
    long s = (long) (seconds + 0.5);
    if (s >= 3600)
        snprintf (out, 24, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf (out, 24, "%ld:%02ld", s / 60, s % 60);
    return out;
}

/* The columns that a line may take: one that wraps could not be written over. */
static int room_for (bool terminal)
{
    struct winsize window = {0};
    if (!terminal)
        return 1000;
    return ioctl (STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1
               ? window.ws_col - 1
               : 79;
}

/* "[###...] " of at most `room` columns, or nothing. */
static const char *bar_text (double part, int room, char out[BAR + 4])
{
    int n = room - 3 < BAR ? room - 3 : BAR, at = 0;
    if (n >= LEAST_BAR) {
        out[at++] = '[';
        for (int i = 0; i < n; i++)
            out[at++] = i < (int) (part * n) ? '#' : '.';
        out[at++] = ']';
        out[at++] = ' ';
    }
    out[at] = '\0';
    return out;
}

void progress_show (progress_t *self, const progress_state_t *state)
{
    if (self->quiet || state->seconds - self->last < (self->terminal ? 0.2 : 10.0))
        return;
    double span = state->seconds - self->last_bytes_at;
    double rate = span > 0 ? (double) (state->bytes - self->last_bytes) / span : 0;
    self->rate = self->last_bytes_at > 0 ? 0.7 * self->rate + 0.3 * rate : rate;
    self->last = self->last_bytes_at = state->seconds;
    self->last_bytes = state->bytes;
    double part =
        state->items ? (double) (state->done + state->failed) / (double) state->items : 0;
    char bytes[16], speed[16], eta[24], bar[BAR + 4];
    char line[256];
    int n = snprintf (
        line, sizeof line, "%3d %%  %llu/%llu items  %s  %s/s  %u node%s %u core%s",
        (int) (100 * part), (unsigned long long) state->done,
        (unsigned long long) state->items, human_bytes ((double) state->bytes, bytes),
        human_bytes (self->rate, speed), state->nodes, state->nodes == 1 ? "" : "s",
        state->cores, state->cores == 1 ? "" : "s");
    if (part > self->part) { /* between two results time goes on, and the guess stays */
        self->part = part;
        self->end = state->seconds * (1 - self->before) / (part - self->before);
    }
    if (part > 0.001 && self->end > state->seconds && n < (int) sizeof line)
        n += snprintf (line + n, sizeof line - (size_t) n, "  ETA %s",
                       human_time (self->end - state->seconds, eta));
    if (state->failed && n < (int) sizeof line)
        n += snprintf (line + n, sizeof line - (size_t) n, "  %llu FAILED",
                       (unsigned long long) state->failed);
    if (state->waiting && n < (int) sizeof line)
        snprintf (line + n, sizeof line - (size_t) n, "  (%s)", state->waiting);
    int room = room_for (self->terminal);
    bar_text (part, room - (int) strlen (line), bar);
    fprintf (stderr, self->terminal ? "\r\033[K%s%.*s" : "%s%.*s\n", bar, room, line);
    self->shown = self->terminal;
    fflush (stderr);
}

void progress_end (progress_t *self)
{
    if (self->shown)
        fputc ('\n', stderr);
    self->shown = false;
}
