#!/usr/bin/python3
# This Source Code Form is subject to the terms of the Mozilla Public License,
# v. 2.0 (LICENSE).
"""slowfs - a folder as a slow file server gives it, by the system's FUSE.

  slowfs.py FOLDER DELAY_MS

Mounts FOLDER's own content over it, each request answered so much later. Stopped
(SIGSTOP) it is a server that does not answer: whoever touches the folder waits. Killed,
it is one that is gone: every access is an error. Needs root and /dev/fuse; nothing of
libfuse. Speaks FUSE 7.31 (linux/fuse.h); made for tests, one request at a time.
"""
import ctypes
import errno
import os
import stat
import struct
import sys
import time

LOOKUP, FORGET, GETATTR, SETATTR, READLINK = 1, 2, 3, 4, 5
MKDIR, UNLINK, RMDIR, RENAME, OPEN, READ, WRITE, STATFS, RELEASE = 9, 10, 11, 12, 14, 15, \
    16, 17, 18
FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 20, 25, 26, 27, 28, 29
CREATE, INTERRUPT, DESTROY, BATCH_FORGET, RENAME2 = 35, 36, 38, 42, 45
MAX_WRITE = 128 << 10


def attributes(st):
    return struct.pack('<6Q10I', st.st_ino, st.st_size, st.st_blocks, int(st.st_atime),
                       int(st.st_mtime), int(st.st_ctime), st.st_atime_ns % 10**9,
                       st.st_mtime_ns % 10**9, st.st_ctime_ns % 10**9, st.st_mode,
                       st.st_nlink, st.st_uid, st.st_gid, 0, 4096, 0)


def text(data):
    return os.fsdecode(data.split(b'\0')[0])


class Server:
    def __init__(self, folder, delay):
        self.root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.delay = delay
        self.paths = {1: '.'}
        self.ids = {'.': 1}
        self.device = os.open('/dev/fuse', os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = 'fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other' % self.device
        if libc.mount(b'slowfs', os.fsencode(folder), b'fuse', 0, options.encode()):
            sys.exit('mount: ' + os.strerror(ctypes.get_errno()))

    def path(self, parent, name):
        above = self.paths[parent]
        return name if above == '.' else above + '/' + name

    def stat(self, path):
        return os.stat(path, dir_fd=self.root, follow_symlinks=False)

    def entry(self, path):
        st = self.stat(path)
        if path not in self.ids:
            self.ids[path] = len(self.paths) + 1
            self.paths[self.ids[path]] = path
        # Nothing is kept by the system: every look is a request.
        return struct.pack('<4Q2I', self.ids[path], 0, 0, 0, 0, 0) + attributes(st)

    def open(self, path, flags, mode=0):
        flags &= ~(os.O_NOFOLLOW | os.O_EXCL | os.O_CREAT) if not mode else ~0
        return struct.pack('<Q2I', os.open(path, flags, mode, dir_fd=self.root), 0, 0)

    def list(self, fd, offset, size):
        out = b''
        names = ['.', '..'] + sorted(os.listdir(fd))
        for i, name in enumerate(names[offset:], offset + 1):
            raw = os.fsencode(name)
            one = struct.pack('<2Q2I', i, i, len(raw), 0) + raw
            one += bytes(-len(one) % 8)
            if len(out) + len(one) > size:
                break
            out += one
        return out

    def rename(self, parent, data):
        to, = struct.unpack_from('<Q', data)
        old, new = data[8:].split(b'\0')[:2]
        old, new = self.path(parent, os.fsdecode(old)), self.path(to, os.fsdecode(new))
        os.rename(old, new, src_dir_fd=self.root, dst_dir_fd=self.root)
        if old in self.ids:
            self.paths[self.ids[old]] = new
            self.ids[new] = self.ids.pop(old)

    def set(self, path, data):
        valid, = struct.unpack_from('<I', data)
        if valid & 8:
            fd = os.open(path, os.O_WRONLY, dir_fd=self.root)
            os.ftruncate(fd, struct.unpack_from('<Q', data, 16)[0])
            os.close(fd)
        if valid & 1:
            os.chmod(path, struct.unpack_from('<I', data, 68)[0] & 0o7777, dir_fd=self.root)
        return struct.pack('<Q2I', 0, 0, 0) + attributes(self.stat(path))

    def answer(self, op, node, data):
        if op == INIT:
            return struct.pack('<4I2H2I2HI7I', 7, 31, MAX_WRITE, 0, 12, 9, MAX_WRITE, 1, 0,
                               0, 0, *[0] * 7)
        if op == LOOKUP:
            return self.entry(self.path(node, text(data)))
        if op == GETATTR:
            return struct.pack('<Q2I', 0, 0, 0) + attributes(self.stat(self.paths[node]))
        if op == SETATTR:
            return self.set(self.paths[node], data)
        if op == READLINK:
            return os.fsencode(os.readlink(self.paths[node], dir_fd=self.root))
        if op in (OPEN, OPENDIR):
            return self.open(self.paths[node], struct.unpack_from('<I', data)[0])
        if op == CREATE:
            flags, mode, umask, _ = struct.unpack_from('<4I', data)
            path = self.path(node, text(data[16:]))
            opened = self.open(path, flags | os.O_CREAT, stat.S_IMODE(mode) & ~umask)
            return self.entry(path) + opened
        if op in (READ, READDIR):
            fd, offset, size = struct.unpack_from('<2QI', data)
            return os.pread(fd, size, offset) if op == READ else self.list(fd, offset, size)
        if op == WRITE:
            fd, offset, size = struct.unpack_from('<2QI', data)
            return struct.pack('<2I', os.pwrite(fd, data[40:40 + size], offset), 0)
        if op in (RELEASE, RELEASEDIR):
            os.close(struct.unpack_from('<Q', data)[0])
            return b''
        if op == MKDIR:
            path = self.path(node, text(data[8:]))
            os.mkdir(path, struct.unpack_from('<I', data)[0] & 0o7777, dir_fd=self.root)
            return self.entry(path)
        if op == UNLINK:
            path = self.path(node, text(data))
            os.unlink(path, dir_fd=self.root)
            self.ids.pop(path, None)
            return b''
        if op == RMDIR:
            os.rmdir(self.path(node, text(data)), dir_fd=self.root)
            return b''
        if op in (RENAME, RENAME2):
            self.rename(node, data if op == RENAME else data[:8] + data[16:])
            return b''
        if op in (FSYNC, FLUSH):
            return b''
        if op == STATFS:
            return struct.pack('<5Q4I6I', 1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096,
                               255, 4096, 0, *[0] * 6)
        raise OSError(errno.ENOSYS, 'not here')

    def serve(self):
        while True:
            try:
                request = os.read(self.device, MAX_WRITE + 4096)
            except OSError as e:
                if e.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return                          # unmounted
            _, op, unique, node = struct.unpack_from('<2I2Q', request)
            if op in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            if op == DESTROY:
                return
            if op != INIT:
                time.sleep(self.delay)
            error, out = 0, b''
            try:
                out = self.answer(op, node, request[40:])
            except OSError as e:
                error = -e.errno
            except KeyError:
                error = -errno.ESTALE
            try:
                os.write(self.device, struct.pack('<IiQ', 16 + len(out), error, unique) + out)
            except OSError:
                pass                            # who asked is gone


def main():
    server = Server(sys.argv[1], float(sys.argv[2]) / 1000)
    print('mounted', flush=True)
    server.serve()


if __name__ == '__main__':
    main()
