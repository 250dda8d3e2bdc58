"""Images for tests, made of this machine's busybox: nothing is pulled."""

import io
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"

# What the image `seeded` holds in /seed, for copy-up: path, type, mode, owner, group, contents or target, xattrs.
SEED = [
    ("seed", "dir", 0o2750, 1234, 2345, None, {}),
    ("seed/plain", "file", 0o640, 1234, 2345, b"plain\n", {"user.colour": "blue"}),
    ("seed/setuid", "file", 0o4755, 0, 0, b"#!/bin/sh\n", {}),
    ("seed/linked", "hard", 0o640, 1234, 2345, "seed/plain", {}),
    ("seed/deep", "dir", 0o1777, 77, 88, None, {"user.kind": "deep"}),
    ("seed/deep/big", "file", 0o600, 77, 88, bytes(range(256)) * 4096 * 3, {}),
    ("seed/deep/empty", "file", 0o000, 0, 0, b"", {}),
    ("seed/pointer", "symlink", 0o777, 5, 6, "deep/big", {}),
    ("seed/dangling", "symlink", 0o777, 0, 0, "/no/such/place", {}),
    ("seed/pipe", "fifo", 0o622, 9, 9, None, {}),
    ("seed/name with spaces ☃", "file", 0o444, 1, 1, b"snow\n", {}),
]
_TYPES = {"dir": tarfile.DIRTYPE, "file": tarfile.REGTYPE, "hard": tarfile.LNKTYPE,
          "symlink": tarfile.SYMTYPE, "fifo": tarfile.FIFOTYPE}


def _add(archive, path, kind, mode, uid, gid, contents, xattrs):
    info = tarfile.TarInfo(path)
    info.type = _TYPES[kind]
    info.mode, info.uid, info.gid, info.mtime = mode, uid, gid, 1_600_000_000
    info.pax_headers = {"SCHILY.xattr." + name: value for name, value in xattrs.items()}
    if kind in ("hard", "symlink"):
        info.linkname = contents
    if kind == "file":
        info.size = len(contents)
        archive.addfile(info, io.BytesIO(contents))
    else:
        archive.addfile(info)


def _base(archive):
    with open(BUSYBOX, "rb") as busybox:
        _add(archive, "bin", "dir", 0o755, 0, 0, None, {})
        _add(archive, "bin/busybox", "file", 0o755, 0, 0, busybox.read(), {})
    for applet in subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split():
        if applet != "busybox":
            _add(archive, "bin/" + applet, "symlink", 0o777, 0, 0, "busybox", {})
    # What this busybox does not have.
    needed = set()
    for program in ("/usr/bin/flock", "/usr/bin/perl"):
        listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
        needed |= {program, *(word for word in listed.split() if word.startswith("/"))}
    for path in sorted(needed):
        with open(path, "rb") as file:
            _add(archive, path[1:], "file", 0o755, 0, 0, file.read(), {})
    _add(archive, "tmp", "dir", 0o1777, 0, 0, None, {})
    _add(archive, "etc", "dir", 0o755, 0, 0, None, {})
    _add(archive, "etc/passwd", "file", 0o644, 0, 0, b"root:x:0:0:root:/:/bin/sh\n", {})


def _import(engine, name, entries):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _base(archive)
        for entry in entries:
            _add(archive, *entry)
    engine.docker("import", "-", name, input=tar.getvalue(), text=False)


def make(engine):
    """`box`: busybox; `seeded`: the same with SEED."""
    _import(engine, "box", [])
    _import(engine, "seeded", SEED)
