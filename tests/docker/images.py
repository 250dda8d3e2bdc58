"""Images for tests, made of this machine's busybox: nothing is pulled."""

import glob
import io
import json
import os
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


def _with_libraries(*programs):
    """These files of this machine and what the loader needs for them."""
    needed = set(programs)
    for program in programs:
        listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
        needed |= {word for word in listed.split() if word.startswith("/")}
    return sorted(needed)


def _copied(paths):
    """Entries for files of this machine."""
    for path in paths:
        with open(path, "rb") as file:
            yield path.lstrip("/"), "file", 0o755, 0, 0, file.read(), {}


def _tree(directory, leave_out):
    """All files below a directory of this machine but those whose names begin so; what symlinks lead to."""
    for parent, _, names in os.walk(directory, followlinks=True):
        yield from _copied(os.path.join(parent, name) for name in sorted(names) if not name.startswith(leave_out))


def _base():
    with open(BUSYBOX, "rb") as busybox:
        yield "bin", "dir", 0o755, 0, 0, None, {}
        yield "bin/busybox", "file", 0o755, 0, 0, busybox.read(), {}
    for applet in subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split():
        if applet != "busybox":
            yield "bin/" + applet, "symlink", 0o777, 0, 0, "busybox", {}
    # What this busybox does not have.
    yield from _copied(_with_libraries("/usr/bin/flock", "/usr/bin/perl"))
    yield "tmp", "dir", 0o1777, 0, 0, None, {}
    yield "etc", "dir", 0o755, 0, 0, None, {}
    yield "etc/passwd", "file", 0o644, 0, 0, b"root:x:0:0:root:/:/bin/sh\n", {}


def _import(engine, name, entries):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        # The engine refuses an archive that has a path twice.
        for entry in {entry[0]: entry for entry in (*_base(), *entries)}.values():
            _add(archive, *entry)
    engine.docker("import", "-", name, input=tar.getvalue(), text=False)


def make(engine):
    """`box`: busybox; `seeded`: the same with SEED."""
    _import(engine, "box", [])
    _import(engine, "seeded", SEED)


# The user of `postgres` and `redis`.
SERVER_USER = 999
_PASSWD = ("etc/passwd", "file", 0o644, 0, 0, f"server:x:{SERVER_USER}:{SERVER_USER}::/:/bin/sh\n".encode(), {})


def make_postgres(engine):
    """`postgres`: this machine's PostgreSQL. Returns where its programs are."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    libraries = programs.removesuffix("bin") + "lib"
    # The just-in-time compiler needs a hundred megabytes of LLVM.
    loaded = [path for path in glob.glob(f"{libraries}/*.so") if "llvmjit" not in path]
    used = [os.path.join(programs, name) for name in ("initdb", "postgres", "psql", "pgbench", "pg_isready")]
    entries = [*_copied(_with_libraries("/usr/bin/setpriv", *used, *loaded)),
               *_tree("/usr/share/postgresql/" + programs.split("/")[-2], ("man",)), _PASSWD]
    _import(engine, "postgres", entries)
    return programs


def make_mariadb(engine):
    """`mariadb`: this machine's MariaDB."""
    programs = ("/usr/sbin/mariadbd", "/usr/bin/mariadb", "/usr/bin/my_print_defaults", "/usr/bin/resolveip")
    files = [*_with_libraries(*programs), "/usr/bin/mariadb-install-db"]
    _import(engine, "mariadb", [*_copied(files), *_tree("/usr/share/mysql", ("mini-benchmark",)), _PASSWD,
                                ("usr/bin/mysql", "symlink", 0o777, 0, 0, "mariadb", {})])


def make_redis(engine):
    """`redis`: this machine's Redis."""
    _import(engine, "redis", [*_copied(_with_libraries("/usr/bin/redis-server", "/usr/bin/redis-cli")), _PASSWD])


# As root: makes the volume its user's, a database if there is none, and serves it as that user.
_SERVE = (f'mkdir -p "$PGDATA"; chown {SERVER_USER}:{SERVER_USER} "$PGDATA"; chmod 700 "$PGDATA"; '
          f"exec /usr/bin/setpriv --reuid {SERVER_USER} --regid {SERVER_USER} --clear-groups sh -c '"
          '[ -e "$PGDATA/PG_VERSION" ] || initdb -U postgres -A trust -E UTF8 --locale=C; '
          "exec postgres -k /tmp -c listen_addresses=127.0.0.1'")


def make_postgres_server(engine):
    """`postgres` as the one that people pull, as far as the examples need it: it serves where that has its data."""
    programs = make_postgres(engine)
    environment = {"PATH": f"{programs}:/bin:/usr/bin", "PGDATA": "/var/lib/postgresql/data", "PGHOST": "/tmp",
                   "PGUSER": "postgres"}
    changes = [f"ENV {key}={value}" for key, value in environment.items()]
    changes.append(f"CMD {json.dumps(['/bin/sh', '-c', _SERVE])}")
    container = engine.docker("create", "--network", "none", "postgres", "/bin/true").stdout.strip()
    engine.docker("commit", *[word for change in changes for word in ("--change", change)], container, "postgres")
    engine.docker("rm", container)
