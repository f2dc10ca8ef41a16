/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "calc/kernel_host.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calc/map.h"
#include "calc/scenario.h"
#include "calc/vmath.h"

struct kernel {
    const sluice_kernel_t *api;
    void *handle; /* of dlopen; NULL if built in */
    /* The copy. It stays open while it is loaded: the loader knows a shared object
     * by its name, here /proc/self/fd/N, and would give the old one for the next
     * file that gets the same number. */
    int fd;
    uint8_t hash[FILE_HASH_BYTES];
};

static const struct {
    const char *name;
    const sluice_kernel_t *api;
} builtins[] = {
    {"scenario", &scenario_kernel},
    {"map", &map_kernel},
};

enum { BUILTINS = sizeof builtins / sizeof *builtins };

kernel_t *kernel_builtin (const char *name, sluice_error_t *err)
{
    char known[200] = "";
    if (vm_init (err))
        return NULL;
    for (size_t i = 0; i < BUILTINS; i++) {
        if (strcmp (builtins[i].name, name) == 0) {
            kernel_t *self = calloc (1, sizeof *self);
            if (self) {
                self->api = builtins[i].api;
                self->fd = -1;
            } else
                sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
            return self;
        }
        size_t used = strlen (known);
        snprintf (known + used, sizeof known - used, "%s%s", i ? ", " : "",
                  builtins[i].name);
    }
    sluice_fail (err, SLUICE_EINPUT, "'%s' is not a calculation known here; known: %s",
                 name, known);
    return NULL;
}

static int write_all (int fd, const uint8_t *data, size_t n)
{
    while (n > 0) {
        ssize_t written = write (fd, data, n);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            data += written;
            n -= (size_t) written;
        }
    }
    return 0;
}

/* Copy the file into a memfd, hash it on the way, and seal the copy. */
static int copy_and_hash (int fd, uint8_t hash[FILE_HASH_BYTES], sluice_error_t *err)
{
    static const unsigned seals =
        F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    crypto_generichash_state state;
    uint8_t buffer[65536];
    ssize_t n;
    off_t at = 0;
    struct stat st;
    if (fstat (fd, &st) == 0 && !S_ISREG (st.st_mode))
        return sluice_fail (err, SLUICE_EINPUT, "not a regular file");
    if (sodium_init () < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "libsodium cannot be used");
    int copy = memfd_create ("sluice-kernel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (copy < 0)
        return sluice_fail (err, SLUICE_ESYSTEM, "no memory file for it: %s",
                            strerror (errno));
    (void) crypto_generichash_init (&state, NULL, 0, FILE_HASH_BYTES);
    while ((n = pread (fd, buffer, sizeof buffer, at)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || write_all (copy, buffer, (size_t) n) < 0)
            goto error;
        (void) crypto_generichash_update (&state, buffer, (size_t) n);
        at += n;
    }
    (void) crypto_generichash_final (&state, hash, FILE_HASH_BYTES);
    /* Where seals are not to be had (valgrind) nobody else has the descriptor. */
    if (fcntl (copy, F_ADD_SEALS, seals) && errno != EINVAL && errno != ENOSYS)
        goto error;
    return copy;
error:
    sluice_fail (err, SLUICE_EINPUT, "cannot be copied: %s", strerror (errno));
    close (copy);
    return -1;
}

static int check_api (const kernel_t *self, const char *name, sluice_error_t *err)
{
    const sluice_kernel_t *api = self->api;
    if (!api)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "%s: it does not define 'const sluice_kernel_t sluice_kernel', so "
            "it is not a kernel",
            name);
    if (api->abi != SLUICE_KERNEL_ABI)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "%s: built for kernel interface %u, this is %u: build it anew", name,
            api->abi, SLUICE_KERNEL_ABI);
    if (!api->name || !api->plan || !api->run)
        return sluice_fail (
            err, SLUICE_EINPUT,
            "%s: its sluice_kernel lacks a name, a plan or a run function", name);
    return 0;
}

static void path_of (int fd, char path[32])
{
    snprintf (path, 32, "/proc/self/fd/%d", fd);
}

static int load (kernel_t *self, const char *name, sluice_error_t *err)
{
    char path[32];
    path_of (self->fd, path);
    self->handle = dlopen (path, RTLD_NOW | RTLD_LOCAL);
    if (!self->handle) {
        const char *why = dlerror ();
        if (why && strncmp (why, path, strlen (path)) == 0)
            why += strlen (path) + strspn (why + strlen (path), ": ");
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s: not a shared object that can be loaded here: %s", name,
                            why ? why : "");
    }
    self->api = dlsym (self->handle, "sluice_kernel");
    return check_api (self, name, err);
}

kernel_t *kernel_load (int fd, const char *name, const uint8_t *hash, sluice_error_t *err)
{
    if (vm_init (err)) /* sluice_random is faster for it */
        return NULL;
    kernel_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->fd = copy_and_hash (fd, self->hash, err);
    if (self->fd < 0)
        sluice_fail_at (err, "%s", name);
    else if (hash && memcmp (hash, self->hash, FILE_HASH_BYTES) != 0)
        sluice_fail (err, SLUICE_EINPUT,
                     "%s: its content is not what the run was started with", name);
    else if (load (self, name, err) == 0)
        return self;
    kernel_destroy (&self);
    return NULL;
}

void kernel_destroy (kernel_t **self_p)
{
    kernel_t *self = *self_p;
    if (!self)
        return;
    bool resident = false;
    if (self->handle) {
        char path[32];
        path_of (self->fd, path);
        dlclose (self->handle);
        void *again = dlopen (path, RTLD_LAZY | RTLD_NOLOAD);
        resident = again != NULL; /* for good: keep its name from being used again */
        if (again)
            dlclose (again);
    }
    if (self->fd >= 0 && !resident)
        close (self->fd);
    free (self);
    *self_p = NULL;
}

const sluice_kernel_t *kernel_api (const kernel_t *self)
{
    return self->api;
}

const uint8_t *kernel_hash (const kernel_t *self)
{
    return self->hash;
}
