"""What a directory holds, read with nothing but system calls: the judge of programs that copy trees."""

import hashlib
import os
import stat

BLOCK = 1 << 16
# Some filesystems do not list these, so they are asked for by name.
ACLS = ("system.posix_acl_access", "system.posix_acl_default")


def _xattrs(path):
    found = {}
    for name in {*os.listxattr(path, follow_symlinks=False), *ACLS}:
        try:
            found[name] = os.getxattr(path, name, follow_symlinks=False)
        except OSError:
            if name not in ACLS:
                raise
    return found


def _digest(path):
    """Over the blocks that are not zero and where they lie, so that holes may be skipped but need not be there."""
    digest = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY)
    try:
        end = os.fstat(fd).st_size
        position = 0
        while position < end:
            try:
                position = max(position, os.lseek(fd, position, os.SEEK_DATA) // BLOCK * BLOCK)
            except OSError:
                break  # a hole up to the end
            block = os.pread(fd, BLOCK, position)
            if block.strip(b"\0"):
                digest.update(b"%d %d " % (position, len(block)) + block)
            position += BLOCK
    finally:
        os.close(fd)
    return digest.hexdigest()


def _facts(path):
    info = os.lstat(path)
    facts = {"mode": oct(info.st_mode), "uid": info.st_uid, "gid": info.st_gid, "mtime": info.st_mtime_ns,
             "xattrs": _xattrs(path)}
    if not stat.S_ISDIR(info.st_mode):
        facts["links"] = info.st_nlink
        facts["size"] = info.st_size
    if stat.S_ISREG(info.st_mode):
        facts["contents"] = _digest(path)
    elif stat.S_ISLNK(info.st_mode):
        facts["target"] = os.readlink(path)
    elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        facts["device"] = (os.major(info.st_rdev), os.minor(info.st_rdev))
    return facts, info


def walk(directory, without=()):
    """Path -> facts, of everything in a directory and itself; `without` leaves facts out. Paths are bytes."""
    directory = os.fsencode(directory)
    found, first_names = {}, {}

    def add(path):
        facts, info = _facts(path)
        name = path[len(directory) + 1:]
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            facts["same as"] = first_names.setdefault((info.st_dev, info.st_ino), name)
        found[name] = {key: value for key, value in facts.items() if key not in without}
        if stat.S_ISDIR(info.st_mode):
            for entry in sorted(os.listdir(path)):
                add(os.path.join(path, entry))

    add(directory)
    return found


def differences(expected, found, limit=20):
    """What is different between two walks, in words; empty if nothing is."""
    text = [f"missing: {name!r}" for name in sorted(expected.keys() - found.keys())]
    text += [f"not expected: {name!r}" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        for key in sorted(expected[name].keys() | found[name].keys()):
            mine, others = expected[name].get(key), found[name].get(key)
            if mine != others:
                text.append(f"{name!r}: {key}: expected {mine!r}, found {others!r}")
    return text[:limit]
