/* This Source Code Form is subject to the terms of the Mozilla Public License,
 * v. 2.0 (LICENSE). */

#include "master/h5driver.h"

#include <stdlib.h>
#include <string.h>
#include "calc/h5array.h"

enum {
    ARENA_BYTES = 64 << 10, /* a small run's snapshot fits one */
    ALIGN = 8               /* HDF5's metadata wants no more */
};

typedef struct {
    uint64_t address, bytes, used;
    uint8_t *content;
} arena_t;

struct h5driver {
    space_t *space;
    hid_t class_id;
    arena_t *arenas;
    size_t narenas, room;
    uint64_t end; /* of allocated space, as HDF5 sees it */
    uint64_t adopt_at, adopt_bytes;
    bool adopt_next; /* not taken yet */
    bool begun;      /* the superblock has its place */
    bool taken;      /* opened for good */
    uint8_t super[SPACE_PAGE];
    size_t super_bytes;
};

/* What HDF5 holds while the file is open. */
typedef struct {
    H5FD_t base; /* HDF5 wants it first */
    h5driver_t *driver;
} handle_t;

static h5driver_t *of (const H5FD_t *file)
{
    return ((const handle_t *) file)->driver;
}

/* ---- arenas --------------------------------------------------------------- */

static arena_t *arena_of (h5driver_t *self, haddr_t address, size_t n)
{
    /* the last one is the likeliest */
    for (size_t i = self->narenas; i-- > 0;) {
        arena_t *arena = self->arenas + i;
        if (arena->content && address >= arena->address &&
            address + n <= arena->address + arena->bytes)
            return arena;
    }
    return NULL;
}

static arena_t *arena_add (h5driver_t *self, uint64_t bytes)
{
    if (self->narenas == self->room) {
        size_t room = self->room ? 2 * self->room : 8;
        arena_t *arenas = realloc (self->arenas, room * sizeof *arenas);
        if (!arenas)
            return NULL;
        self->arenas = arenas;
        self->room = room;
    }
    uint64_t least = ARENA_BYTES;
    if (self->narenas) /* few arenas however large it gets */
        least = 2 * self->arenas[self->narenas - 1].bytes;
    if (least > 16 << 20)
        least = 16 << 20;
    if (bytes < least)
        bytes = least;
    bytes = (bytes + SPACE_PAGE - 1) & ~(uint64_t) (SPACE_PAGE - 1);
    uint8_t *content = calloc (1, bytes);
    if (!content)
        return NULL;
    arena_t *arena = self->arenas + self->narenas++;
    *arena = (arena_t){space_alloc (self->space, bytes), bytes, 0, content};
    return arena;
}

static void raise_end (h5driver_t *self, uint64_t end)
{
    if (end > self->end)
        self->end = end;
}

/* ---- what HDF5 calls ------------------------------------------------------- */

static H5FD_t *drv_open (const char *name, unsigned flags, hid_t fapl, haddr_t max)
{
    (void) name;
    (void) flags;
    (void) max;
    h5driver_t *const *driver = H5Pget_driver_info (fapl);
    handle_t *handle = driver ? calloc (1, sizeof *handle) : NULL;
    if (!handle)
        return NULL;
    handle->driver = *driver;
    return &handle->base;
}

static herr_t drv_close (H5FD_t *file)
{
    free (file);
    return 0;
}

static int drv_cmp (const H5FD_t *a, const H5FD_t *b)
{
    const h5driver_t *one = of (a), *other = of (b);
    return one < other ? -1 : one > other;
}

static herr_t drv_query (const H5FD_t *file, unsigned long *flags)
{
    (void) file;
    *flags = H5FD_FEAT_DEFAULT_VFD_COMPATIBLE; /* and no aggregation */
    return 0;
}

static haddr_t drv_alloc (H5FD_t *file, H5FD_mem_t type, hid_t dxpl, hsize_t size)
{
    (void) dxpl;
    h5driver_t *self = of (file);
    if (type == H5FD_MEM_SUPER && !self->begun) {
        self->begun = true;
        raise_end (self, SPACE_PAGE);
        return 0;
    }
    if (type == H5FD_MEM_DRAW && self->adopt_next) {
        if (size != self->adopt_bytes)
            return HADDR_UNDEF;
        self->adopt_next = false;
        raise_end (self, self->adopt_at + size);
        return self->adopt_at;
    }
    arena_t *arena = self->narenas ? self->arenas + self->narenas - 1 : NULL;
    if (!arena || arena->bytes - arena->used < size)
        arena = arena_add (self, size);
    if (!arena)
        return HADDR_UNDEF;
    haddr_t address = arena->address + arena->used;
    arena->used += (size + ALIGN - 1) & ~(uint64_t) (ALIGN - 1);
    if (arena->used > arena->bytes)
        arena->used = arena->bytes;
    raise_end (self, arena->address + arena->bytes);
    return address;
}

static herr_t drv_free (H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t at, hsize_t n)
{
    (void) file;
    (void) type;
    (void) dxpl;
    (void) at;
    (void) n;
    return 0; /* the arena goes as a whole */
}

static haddr_t drv_get_eoa (const H5FD_t *file, H5FD_mem_t type)
{
    (void) type;
    return of (file)->begun ? of (file)->end : 0;
}

static herr_t drv_set_eoa (H5FD_t *file, H5FD_mem_t type, haddr_t end)
{
    (void) type;
    raise_end (of (file), end);
    return 0;
}

static haddr_t drv_get_eof (const H5FD_t *file, H5FD_mem_t type)
{
    return drv_get_eoa (file, type); /* 0 at first: HDF5 makes a new superblock */
}

static herr_t drv_read (H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t at, size_t n,
                        void *out)
{
    (void) type;
    (void) dxpl;
    h5driver_t *self = of (file);
    arena_t *arena = arena_of (self, at, n);
    if (arena)
        memcpy (out, arena->content + (at - arena->address), n);
    else if (at + n <= SPACE_PAGE)
        memcpy (out, self->super + at, n);
    else
        return -1;
    return 0;
}

static herr_t drv_write (H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t at, size_t n,
                         const void *data)
{
    (void) dxpl;
    h5driver_t *self = of (file);
    arena_t *arena = arena_of (self, at, n);
    if (arena)
        memcpy (arena->content + (at - arena->address), data, n);
    else if (at + n <= SPACE_PAGE) {
        memcpy (self->super + at, data, n);
        if (at + n > self->super_bytes)
            self->super_bytes = at + n;
    } else if (type != H5FD_MEM_DRAW || at != self->adopt_at || n != self->adopt_bytes)
        return -1;
    return 0;
}

static herr_t drv_truncate (H5FD_t *file, hid_t dxpl, hbool_t closing)
{
    (void) file;
    (void) dxpl;
    (void) closing;
    return 0; /* the writer sees to the size */
}

static const H5FD_class_t driver_class = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t) 0x51c, /* above HDF5's own */
#endif
    .name = "sluice",
    .maxaddr = (haddr_t) 1 << 62,
    .fc_degree = H5F_CLOSE_STRONG,
    .fapl_size = sizeof (h5driver_t *),
    .open = drv_open,
    .close = drv_close,
    .cmp = drv_cmp,
    .query = drv_query,
    .alloc = drv_alloc,
    .free = drv_free,
    .get_eoa = drv_get_eoa,
    .set_eoa = drv_set_eoa,
    .get_eof = drv_get_eof,
    .read = drv_read,
    .write = drv_write,
    .truncate = drv_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

/* ---- what the writer calls --------------------------------------------------- */

h5driver_t *h5driver_new (space_t *space, sluice_error_t *err)
{
    h5_quiet ();
    h5driver_t *self = calloc (1, sizeof *self);
    if (!self) {
        sluice_fail (err, SLUICE_ESYSTEM, "out of memory");
        return NULL;
    }
    self->space = space;
    self->class_id = H5FDregister (&driver_class);
    if (self->class_id < 0) {
        h5_fail (err, SLUICE_ESYSTEM, "HDF5 refuses the file driver");
        free (self);
        return NULL;
    }
    return self;
}

void h5driver_destroy (h5driver_t **self_p)
{
    h5driver_t *self = *self_p;
    if (!self)
        return;
    h5driver_forget (self);
    H5FDunregister (self->class_id);
    free (self->arenas);
    free (self);
    *self_p = NULL;
}

hid_t h5driver_create (h5driver_t *self, sluice_error_t *err)
{
    hid_t fapl = H5Pcreate (H5P_FILE_ACCESS), fcpl = H5Pcreate (H5P_FILE_CREATE),
          file = -1;
    if (!self->taken && fapl >= 0 && fcpl >= 0 &&
        H5Pset_driver (fapl, self->class_id, &self) >= 0 &&
        H5Pset_meta_block_size (fapl, 0) >= 0 &&
        H5Pset_small_data_block_size (fapl, 0) >= 0 &&
        H5Pset_libver_bounds (fapl, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
        H5Pset_fclose_degree (fapl, H5F_CLOSE_STRONG) >= 0 &&

        H5Pset_link_phase_change (fcpl, 64, 32) >= 0)
        file = H5Fcreate ("snapshot", H5F_ACC_TRUNC, fcpl, fapl);
    self->taken = true;
    if (file < 0)
        h5_fail (err, SLUICE_EOUTPUT, "HDF5 cannot make a snapshot");
    H5Pclose (fcpl);
    H5Pclose (fapl);
    return file;
}

void h5driver_adopt (h5driver_t *self, uint64_t address, uint64_t bytes)
{
    self->adopt_at = address;
    self->adopt_bytes = bytes;
    self->adopt_next = true;
}

bool h5driver_adopted (const h5driver_t *self)
{
    return !self->adopt_next;
}

int h5driver_write (h5driver_t *self, outfile_t *file, sluice_error_t *err)
{
    for (size_t i = 0; i < self->narenas; i++) {
        const arena_t *arena = self->arenas + i;
        if (arena->used &&
            outfile_write (file, arena->content, arena->used, arena->address, err) < 0)
            return -1;
    }
    return 0;
}

const void *h5driver_super (const h5driver_t *self, size_t *n)
{
    *n = self->super_bytes;
    return self->super;
}

uint64_t h5driver_end (const h5driver_t *self)
{
    return self->end;
}

uint64_t h5driver_bytes (const h5driver_t *self)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < self->narenas; i++)
        sum += self->arenas[i].bytes;
    return sum;
}

void h5driver_free (h5driver_t *self)
{
    for (size_t i = 0; i < self->narenas; i++)
        space_free (self->space, self->arenas[i].address, self->arenas[i].bytes);
    h5driver_forget (self);
    self->narenas = 0;
}

void h5driver_retire (h5driver_t *self)
{
    for (size_t i = 0; i < self->narenas; i++)
        space_retire (self->space, self->arenas[i].address, self->arenas[i].bytes);
    h5driver_forget (self);
    self->narenas = 0;
}

void h5driver_forget (h5driver_t *self)
{
    for (size_t i = 0; i < self->narenas; i++) {
        free (self->arenas[i].content);
        self->arenas[i].content = NULL;
    }
}
