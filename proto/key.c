/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#define _GNU_SOURCE 1 /* secure_getenv */
#include "proto/key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "proto/text.h"

_Static_assert(crypto_kdf_KEYBYTES == KEY_BYTES, "size of a key");
_Static_assert(crypto_box_SEEDBYTES == KEY_BYTES, "size of a seed");
_Static_assert(crypto_box_PUBLICKEYBYTES == KEY_BYTES, "size of a public key");
_Static_assert(crypto_box_SECRETKEYBYTES == KEY_BYTES, "size of a secret key");

enum { FINGERPRINT_BYTES = 8 };

enum { SUBKEY_NODE = 1, SUBKEY_MEMBER, SUBKEY_BEACON, SUBKEY_MASTER, SUBKEY_FINGERPRINT };

struct cluster {
    curve_pair_t node, member, master;
    uint8_t mac_key[KEY_BYTES];
    char fingerprint[2 * FINGERPRINT_BYTES + 1];
};

static int start_sodium (sluice_error_t *err)
{
    if (sodium_init () == -1)
        return sluice_fail (err, SLUICE_ESYSTEM, "libsodium cannot start");
    return 0;
}

void random_bytes (void *out, size_t n)
{
    /* randombytes_buf needs no sodium_init to be safe, only to be fast. */
    randombytes_buf (out, n);
}

/* ---- the key file ------------------------------------------------------- */

/* Make the entry of `path` in its folder durable. */
static int sync_folder (const char *path)
{
    const char *slash = strrchr (path, '/');
    char *folder = slash ? strndup (path, slash == path ? 1 : (size_t) (slash - path))
                         : strdup (".");
    if (!folder)
        return -1;
    int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free (folder);
    if (fd == -1)
        return -1;
    int result = fsync (fd);
    close (fd);
    return result;
}

int key_create (const char *path, sluice_error_t *err)
{
    if (start_sodium (err) == -1)
        return -1;
    int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd == -1 && errno == EEXIST)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s is there already: a key is never overwritten", path);
    if (fd == -1)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot make the key %s: %s", path,
                            strerror (errno));
    uint8_t key[KEY_BYTES];
    random_bytes (key, sizeof key);
    /* 0600 also where the file system or an ACL gave something else. */
    bool written = fchmod (fd, 0600) == 0 &&
                   write (fd, key, sizeof key) == (ssize_t) sizeof key && fsync (fd) == 0;
    int why = errno;
    sodium_memzero (key, sizeof key);
    if (close (fd) == -1 && written) {
        why = errno;
        written = false;
    }
    if (written && sync_folder (path) == -1) {
        why = errno;
        written = false;
    }
    if (written)
        return 0;
    unlink (path);
    return sluice_fail (err, SLUICE_ESYSTEM, "cannot write the key %s: %s", path,
                        strerror (why));
}

/* A credential that systemd hands to a service lies in a folder of the
 * service's own, but may show group bits: they are the mask of an ACL. */
static bool is_credential (const char *path)
{
    const char *folder = secure_getenv ("CREDENTIALS_DIRECTORY");
    size_t n = folder ? strlen (folder) : 0;
    return n > 1 && strncmp (path, folder, n) == 0 && path[n] == '/' &&
           !strchr (path + n + 1, '/');
}

static int check_key_file (int fd, const char *path, sluice_error_t *err)
{
    struct stat info;
    if (fstat (fd, &info) == -1)
        return sluice_fail (err, SLUICE_ESYSTEM, "cannot read the key %s: %s", path,
                            strerror (errno));
    if (!S_ISREG (info.st_mode) || info.st_size != KEY_BYTES)
        return sluice_fail (err, SLUICE_EINPUT,
                            "%s is not a key: it must be a file of %d bytes, as "
                            "`sluice init` makes it",
                            path, KEY_BYTES);
    mode_t others = is_credential (path) ? S_IRWXO : S_IRWXG | S_IRWXO;
    if (info.st_mode & others)
        return sluice_fail (err, SLUICE_EINPUT,
                            "the key %s is open to others than its owner (mode %04o): "
                            "run `chmod 600 '%s'`",
                            path, (unsigned) info.st_mode & 07777, path);
    return 0;
}

cluster_t *cluster_new_from_file (const char *path, sluice_error_t *err)
{
    /* O_NONBLOCK: a FIFO of this name must not hold us up. */
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd == -1) {
        sluice_fail (err, SLUICE_EINPUT, "cannot read the key %s: %s", path,
                     strerror (errno));
        return NULL;
    }
    cluster_t *self = NULL;
    uint8_t key[KEY_BYTES];
    if (check_key_file (fd, path, err) == -1)
        ;
    else if (read (fd, key, sizeof key) != (ssize_t) sizeof key)
        sluice_fail (err, SLUICE_ESYSTEM, "cannot read the key %s: it ends early", path);
    else
        self = cluster_new (key, err);
    sodium_memzero (key, sizeof key);
    close (fd);
    return self;
}

/* ---- what derives from it ----------------------------------------------- */

static void derive (uint8_t *out, size_t n, unsigned subkey, const uint8_t key[KEY_BYTES])
{
    /* Fails only for lengths outside 16 to 64. */
    (void) crypto_kdf_derive_from_key (out, n, subkey, "sluice_1", key);
}

static void derive_pair (curve_pair_t *pair, unsigned subkey,
                         const uint8_t key[KEY_BYTES])
{
    uint8_t seed[KEY_BYTES];
    derive (seed, sizeof seed, subkey, key);
    crypto_box_seed_keypair (pair->public_key, pair->secret_key, seed);
    sodium_memzero (seed, sizeof seed);
}

cluster_t *cluster_new (const uint8_t key[KEY_BYTES], sluice_error_t *err)
{
    if (start_sodium (err) == -1)
        return NULL;
    cluster_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory for the key");
        return NULL;
    }
    derive_pair (&self->node, SUBKEY_NODE, key);
    derive_pair (&self->member, SUBKEY_MEMBER, key);
    derive_pair (&self->master, SUBKEY_MASTER, key);
    derive (self->mac_key, sizeof self->mac_key, SUBKEY_BEACON, key);
    uint8_t print[crypto_kdf_BYTES_MIN];
    derive (print, sizeof print, SUBKEY_FINGERPRINT, key);
    text_hex (print, FINGERPRINT_BYTES, self->fingerprint);
    return self;
}

void cluster_destroy (cluster_t **self_p)
{
    cluster_t *self = *self_p;
    if (!self)
        return;
    sodium_memzero (self, sizeof *self);
    free (self);
    *self_p = NULL;
}

const curve_pair_t *cluster_node_pair (const cluster_t *self)
{
    return &self->node;
}

const curve_pair_t *cluster_member_pair (const cluster_t *self)
{
    return &self->member;
}

const curve_pair_t *cluster_master_pair (const cluster_t *self)
{
    return &self->master;
}

const char *cluster_fingerprint (const cluster_t *self)
{
    return self->fingerprint;
}

void cluster_mac (const cluster_t *self, const void *data, size_t n,
                  uint8_t mac[KEY_MAC_BYTES])
{
    (void) crypto_generichash (mac, KEY_MAC_BYTES, data, n, self->mac_key,
                               sizeof self->mac_key);
}

/* ---- CURVE -------------------------------------------------------------- */

int curve_pair_random (curve_pair_t *pair, sluice_error_t *err)
{
    if (start_sodium (err) == -1)
        return -1;
    crypto_box_keypair (pair->public_key, pair->secret_key);
    return 0;
}

void curve_pair_wipe (curve_pair_t *pair)
{
    sodium_memzero (pair, sizeof *pair);
}

static int curve_error (sluice_error_t *err)
{
    return sluice_fail (err, SLUICE_ESYSTEM, "cannot set up encryption: %s%s",
                        zmq_strerror (zmq_errno ()),
                        zmq_has ("curve") ? "" : " (this libzmq has no CURVE)");
}

static bool set_key (void *socket, int option, const uint8_t key[KEY_BYTES])
{
    return zmq_setsockopt (socket, option, key, KEY_BYTES) == 0;
}

int curve_serve (void *socket, const curve_pair_t *self, const char *domain,
                 sluice_error_t *err)
{
    int server = 1;
    if (zmq_setsockopt (socket, ZMQ_ZAP_DOMAIN, domain, strlen (domain)) == -1 ||
        zmq_setsockopt (socket, ZMQ_CURVE_SERVER, &server, sizeof server) == -1 ||
        !set_key (socket, ZMQ_CURVE_SECRETKEY, self->secret_key))
        return curve_error (err);
    return 0;
}

int curve_connect_as (void *socket, const curve_pair_t *self,
                      const uint8_t server_key[KEY_BYTES], sluice_error_t *err)
{
    if (!set_key (socket, ZMQ_CURVE_SERVERKEY, server_key) ||
        !set_key (socket, ZMQ_CURVE_PUBLICKEY, self->public_key) ||
        !set_key (socket, ZMQ_CURVE_SECRETKEY, self->secret_key))
        return curve_error (err);
    return 0;
}
