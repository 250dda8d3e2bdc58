"""Small Debian packages, made for a test."""

import hashlib
import os

from program import run

FILES = 300
TIME = 1_600_000_000


def _write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def contents(package, version, number):
    return f"{package} {version} {number}\n" * (number % 300 + 1)


def file_path(package, number):
    return f"usr/share/{package}/part {number % 7}/file{number}"


def make(directory, package, version):
    """Builds a package with many files, links, a setuid program, a configuration file and scripts; returns its path."""
    tree = os.path.join(directory, f"{package}-{version}")
    for number in range(FILES):
        _write(os.path.join(tree, file_path(package, number)), contents(package, version, number))
    base = os.path.join(tree, "usr", "share", package)
    # Which names are links of one file changes with the version.
    for number in range(version, version + 20):
        os.link(os.path.join(base, f"part {number % 7}", f"file{number}"), os.path.join(base, f"link{number - version}"))
    os.symlink(f"part {version}", os.path.join(base, "newest"))
    _write(os.path.join(base, f"only in {version}"), "x")
    _write(os.path.join(tree, "usr", "bin", package), f"#!/bin/sh\necho {package} {version}\n", 0o4755)
    _write(os.path.join(tree, "etc", package + ".conf"), f"setting = {version}\n")
    for parent, _, files in os.walk(tree):
        for name in files:
            os.utime(os.path.join(parent, name), (TIME + version, TIME + version), follow_symlinks=False)

    sums = []
    for parent, _, files in os.walk(tree):
        for name in files:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    sums.append(f"{hashlib.md5(file.read()).hexdigest()}  {os.path.relpath(path, tree)}\n")
    control = os.path.join(tree, "DEBIAN")
    _write(os.path.join(control, "md5sums"), "".join(sorted(sums)))
    _write(os.path.join(control, "conffiles"), f"/etc/{package}.conf\n")
    _write(os.path.join(control, "control"), f"Package: {package}\nVersion: {version}\nArchitecture: all\n"
           f"Maintainer: nobody <nobody@example>\nDescription: made for a test\n")
    _write(os.path.join(control, "postinst"), '#!/bin/sh\nset -e\n'
           f'echo "configured {version}" >"$DPKG_ROOT/var/{package}.configured"\n', 0o755)
    return run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, directory).split("'")[3]


def make_root(directory):
    """An empty system to install packages to."""
    for folder in ("updates", "info", "triggers", "alternatives"):
        os.makedirs(os.path.join(directory, "var", "lib", "dpkg", folder))
    _write(os.path.join(directory, "var", "lib", "dpkg", "status"), "")
