"""A tree with everything that programs which copy trees are known to lose."""

import os
import random
import stat
import struct
import subprocess

_CAP_NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
_SIZES = (0, 1, 4095, 4096, 4097, (128 << 10) - 1, (128 << 10) + 1, (1 << 20) + 3)
_ODD_NAMES = (b"-n", b"--", b" ", b"  trailing ", b"new\nline", b"tab\t", b"*", b"?[a]", b"back\\slash", b"'", b'"quoted"',
              b"$(x)", b"`x`", b";|&", b"#", b"~", b"...", "ünïcödé–名前".encode(), b"\xff\xfe\xc3", b"n" * 255, b"\xf0" * 255,
              bytes(range(1, 47)), bytes(range(48, 256)))
# Seconds and nanoseconds: before 1970, around it, after 2038, near the ends of what ext4 keeps.
_TIMES = (-1, -10**9, -2**31 * 10**9 + 123456789, 0, 1, 2**31 * 10**9 + 1, 999_999_999, 1_700_000_000_123_456_789,
          15_000_000_000 * 10**9 + 7)


def _write(path, data):
    with open(path, "wb") as file:
        file.write(data)


class OddTree:
    """Makes the tree in an empty directory. One seed makes one tree."""

    def __init__(self, directory, seed, files=1000):
        self._base = os.fsencode(directory)
        self._random = random.Random(seed)
        self._files = files

    def make(self):
        for part in (self._contents, self._names, self._links, self._special, self._sparse, self._xattrs, self._acls,
                     self._modes, self._many, self._deep):
            part(self._folder(part.__name__.strip("_").encode()))
        self._set_times()

    def _folder(self, name):
        path = os.path.join(self._base, name)
        os.mkdir(path)
        return path

    def _bytes(self, count):
        return self._random.randbytes(count)

    def _contents(self, folder):
        for size in _SIZES:
            _write(os.path.join(folder, b"%d" % size), self._bytes(size))

    def _names(self, folder):
        for name in _ODD_NAMES:
            _write(os.path.join(folder, name), name)
            os.symlink(name, os.path.join(folder, b"l" + name[:200]))

    def _links(self, folder):
        other = os.path.join(folder, b"other")
        os.mkdir(other)
        _write(os.path.join(folder, b"first"), b"one inode")
        os.symlink(b"nowhere", os.path.join(folder, b"symlink"))
        os.mkfifo(os.path.join(folder, b"fifo"))
        for name in (b"first", b"symlink", b"fifo"):
            for place in (os.path.join(other, b"z-" + name), os.path.join(folder, b"a-" + name)):
                os.link(os.path.join(folder, name), place, follow_symlinks=False)
        os.symlink(b"/absolute/\xff", os.path.join(folder, b"absolute"))
        os.symlink(b"long/" * 800, os.path.join(folder, b"long"))
        os.symlink(b".", os.path.join(folder, b"self"))

    def _special(self, folder):
        os.mknod(os.path.join(folder, b"null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.mknod(os.path.join(folder, b"block"), stat.S_IFBLK | 0o660, os.makedev(7, 200))
        os.mknod(os.path.join(folder, b"large"), stat.S_IFCHR | 0o600, os.makedev(4095, 1048575))
        os.mknod(os.path.join(folder, b"socket"), stat.S_IFSOCK | 0o755)

    def _sparse(self, folder):
        with open(os.path.join(folder, b"ends"), "wb") as file:
            file.write(b"begin")
            file.seek(1 << 26)
            file.write(b"end")
        with open(os.path.join(folder, b"hole"), "wb") as file:
            file.truncate((1 << 26) + 1)

    def _xattrs(self, folder):
        path = os.path.join(folder, b"file")
        _write(path, b"x")
        os.setxattr(path, "user.binary", bytes(range(256)))
        os.setxattr(path, "user.empty", b"")
        os.setxattr(path, "user." + "n" * 250, b"longest name")
        os.setxattr(path, "trusted.t", b"trusted")
        os.setxattr(path, "security.s", b"security")
        path = os.path.join(folder, b"capable")
        _write(path, b"x")
        os.setxattr(path, "security.capability", _CAP_NET_RAW)
        path = os.path.join(folder, b"directory")
        os.mkdir(path)
        os.setxattr(path, "user.large", self._bytes(2000))
        path = os.path.join(folder, b"symlink")
        os.symlink(b"file", path)
        os.setxattr(path, "trusted.of.symlink", b"1", follow_symlinks=False)

    def _acls(self, folder):
        def setfacl(*arguments):
            subprocess.run(["setfacl", *arguments], check=True)
        path = os.path.join(folder, b"file")
        _write(path, b"x")
        setfacl("-m", "u:12345:rw,g:54321:r,m::rx", path)
        path = os.path.join(folder, b"directory")
        os.mkdir(path)
        setfacl("-m", "u:12345:rwx,d:u:12345:rx,d:g:7:-,d:o::-", path)
        _write(os.path.join(path, b"heir"), b"x")
        os.mkdir(os.path.join(path, b"heirs"))

    def _modes(self, folder):
        for mode in (0o000, 0o400, 0o777, 0o4755, 0o2755, 0o6711, 0o1777):
            path = os.path.join(folder, b"file %04o" % mode)
            _write(path, b"x")
            os.chown(path, 12345, 3_000_000_000)
            os.chmod(path, mode)
            path = os.path.join(folder, b"directory %04o" % mode)
            os.mkdir(path)
            os.chown(path, 2_999_999_999, 1)
            os.chmod(path, mode)
        os.symlink(b"x", os.path.join(folder, b"symlink"))
        os.lchown(os.path.join(folder, b"symlink"), 5, 6)

    def _many(self, folder):
        for number in range(self._files):
            if number % 100 == 0:
                part = os.path.join(folder, b"part %d" % (number // 100))
                os.mkdir(part)
            _write(os.path.join(part, b"file %d" % number), self._bytes(self._random.randrange(6000)))

    def _deep(self, folder):
        path = os.path.join(folder, *[b"d" * 40] * 60)
        os.makedirs(path)
        _write(os.path.join(path, b"bottom"), b"x")

    def _set_times(self):
        number = 0
        for parent, directories, files in os.walk(self._base, topdown=False):
            for name in sorted(directories + files):
                time = _TIMES[number % len(_TIMES)] + number // len(_TIMES) % 1000
                number += 1
                os.utime(os.path.join(parent, name), ns=(time, time), follow_symlinks=False)
        os.utime(self._base, ns=(-5, -5))
