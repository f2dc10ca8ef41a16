/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* memfd_create */
#include "proto/machine.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void look_memory (machine_t *self)
{
    char line[128];
    unsigned long long kib, swap_free = 0;
    FILE *file = fopen ("/proc/meminfo", "re");
    while (file && fgets (line, sizeof line, file)) {
        if (sscanf (line, "MemTotal: %llu", &kib) == 1)
            self->memory = kib << 10;
        else if (sscanf (line, "MemAvailable: %llu", &kib) == 1)
            self->free = kib << 10;
        else if (sscanf (line, "SwapTotal: %llu", &kib) == 1)
            self->swap = kib << 10;
        else if (sscanf (line, "SwapFree: %llu", &kib) == 1)
            swap_free = kib << 10;
    }
    self->swapped = self->swap > swap_free ? self->swap - swap_free : 0;
    if (file)
        fclose (file);
}

static bool has_openat2 (void)
{
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    int root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = root < 0 ? -1 : (int) syscall (SYS_openat2, root, ".", &how, sizeof how);
    if (fd >= 0)
        close (fd);
    if (root >= 0)
        close (root);
    return fd >= 0;
}

static bool has_seals (void)
{
    int fd = memfd_create ("sluice-look", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool has = fd >= 0 && fcntl (fd, F_ADD_SEALS, F_SEAL_SEAL) == 0;
    if (fd >= 0)
        close (fd);
    return has;
}

static bool has_fma (void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports ("fma") && __builtin_cpu_supports ("avx2");
#else
    return true;
#endif
}

void machine_look (machine_t *self)
{
    struct utsname name;
    struct rlimit limit;
    struct timespec now;
    *self = (machine_t){.openat2 = has_openat2 (), .seals = has_seals ()};
    snprintf (self->version, sizeof self->version, "%s", PACKAGE_VERSION);
    if (uname (&name) == 0)
        snprintf (self->system, sizeof self->system, "%s", name.release);
    long abi =
        syscall (SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    self->landlock = abi > 0 ? (unsigned) abi : 0;
    self->fma = has_fma ();
    look_memory (self);
    if (getrlimit (RLIMIT_NOFILE, &limit) == 0)
        self->files = limit.rlim_max;
    clock_gettime (CLOCK_REALTIME, &now);
    self->clock = (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

void machine_write (const machine_t *self, json_out_t *out)
{
    json_add (out, "\"version\":");
    json_add_text (out, self->version);
    json_add (out, ",\"system\":");
    json_add_text (out, self->system);
    json_add (out,
              ",\"landlock\":%u,\"openat2\":%s,\"seals\":%s,\"fma\":%s,"
              "\"ram\":%" PRIu64 ",\"free\":%" PRIu64 ",\"swap\":%" PRIu64
              ",\"swapped\":%" PRIu64 ",\"files\":%" PRIu64 ",\"clock\":%.6f",
              self->landlock, self->openat2 ? "true" : "false",
              self->seals ? "true" : "false", self->fma ? "true" : "false", self->memory,
              self->free, self->swap, self->swapped, self->files, self->clock);
}

void machine_read (machine_t *self, const char *object)
{
    *self =
        (machine_t){.landlock = (unsigned) json_count (json_member (object, "landlock")),
                    .openat2 = json_is_true (json_member (object, "openat2")),
                    .seals = json_is_true (json_member (object, "seals")),
                    .fma = json_is_true (json_member (object, "fma")),
                    .memory = json_count (json_member (object, "ram")),
                    .free = json_count (json_member (object, "free")),
                    .swap = json_count (json_member (object, "swap")),
                    .swapped = json_count (json_member (object, "swapped")),
                    .files = json_count (json_member (object, "files")),
                    .clock = json_number (json_member (object, "clock"))};
    json_string (json_member (object, "version"), self->version, sizeof self->version);
    json_string (json_member (object, "system"), self->system, sizeof self->system);
}
