"""The Debian package: made, installed, removed and purged.

Goal: it holds what an operator needs, depends on what the program is linked with, installs and goes without a trace but
the data; it is not removed under somebody's feet, and no mount is left behind.
Method: cpack makes it of this build. It is installed by dpkg in a copy of this machine that is thrown away: an overlay
over its root file system, seen only by a process tree with mounts and processes of its own. Needs root.
"""

import glob
import os
import subprocess
import sys
import tempfile
import unittest

from program import daemon, leftovers, run

BUILD_DIR = os.path.dirname(os.path.abspath(daemon.BINARY))
FILES = ("./usr/bin/rewind", "./lib/systemd/system/rewind.service", "./etc/default/rewind",
         "./usr/share/man/man1/rewind.1.gz", "./usr/share/bash-completion/completions/rewind",
         "./usr/share/zsh/vendor-completions/_rewind", "./usr/share/fish/vendor_completions.d/rewind.fish",
         "./usr/share/doc/rewind/README.md", "./usr/share/doc/rewind/copyright", "./usr/share/doc/rewind/changelog.gz",
         "./usr/share/doc/rewind/contrib/prometheus-alerts.yml",
         "./usr/share/doc/rewind/examples/database/compose.yaml")

# Run in the copy; a line that begins with "is" says what is so.
STORY = r"""
set -eu
mount -t proc proc /proc
is() { echo "is $*"; }
mounts() { grep -c ' - fuse.rewind ' /proc/self/mountinfo || true; }
dpkg -i /tmp/rewind.deb
is version $(rewind version)
is owned $(stat -c %U:%a /usr/bin/rewind /etc/default/rewind | paste -sd' ')
systemd-analyze verify --man=no /lib/systemd/system/rewind.service 2>&1 | grep rewind.service || is unit good
rewind serve >/tmp/log 2>&1 &
until rewind ls >/dev/null 2>&1; do sleep 0.1; done
rewind create kept
mkdir '/tmp/a place'
rewind mount kept '/tmp/a place'
echo precious >'/tmp/a place/file'
sync '/tmp/a place/file'
dpkg -r rewind 2>/tmp/refusal && is removed while used
is refusal $(grep '^rewind:' /tmp/refusal)
is still $(dpkg-query -W -f '${db:Status-Status}' rewind) $(cat '/tmp/a place/file')
# The supervisor, then the daemon: nobody takes the mounts away.
kill -9 $! $(cat /proc/$!/task/$!/children)
until LC_ALL=C stat -f '/tmp/a place' 2>&1 | grep -q 'not connected'; do sleep 0.1; done
is dead $(test "$(mounts)" -gt 0 && echo mounts)
dpkg -r rewind
is mounts $(mounts)
is gone $(test -e /usr/bin/rewind || echo command)
is conffile $(ls /etc/default/rewind)
dpkg -P rewind 2>&1
is purged $(ls /etc/default/rewind 2>/dev/null || echo conffile)
is data $(test -d /var/lib/rewind/journal && echo kept)
"""


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        leftovers.exit_on_signals()
        cls.directory = tempfile.mkdtemp(prefix="rewind-package-")
        cls.addClassCleanup(leftovers.remove, cls.directory)
        run("cpack", "-G", "DEB", "-B", cls.directory, cwd=BUILD_DIR)
        [cls.package] = glob.glob(os.path.join(cls.directory, "*.deb"))

    def field(self, name):
        return run("dpkg-deb", "-f", self.package, name).strip()

    def test_what_it_says(self):
        self.assertEqual(self.field("Package"), "rewind")
        self.assertEqual(self.field("Version").split("-")[0], run(daemon.BINARY, "version").split()[1])
        self.assertEqual(self.field("Architecture"), run("dpkg", "--print-architecture").strip())
        # Of what is linked, with versions.
        for library in ("libspdlog", "libfuse3-3", "libc6 (>= "):
            self.assertIn(library, self.field("Depends"))
        self.assertIn("docker.io", self.field("Recommends"))
        control = os.path.join(self.directory, "control")
        run("dpkg-deb", "-e", self.package, control)
        with open(os.path.join(control, "conffiles"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "/etc/default/rewind\n")
        for script in ("postinst", "prerm", "postrm"):
            self.assertEqual(os.stat(os.path.join(control, script)).st_mode & 0o777, 0o755)
            run("sh", "-n", os.path.join(control, script))

    def test_what_is_in_it(self):
        lines = [line.split(None, 5) for line in run("dpkg-deb", "-c", self.package).splitlines()]
        paths = {line[5]: line for line in lines}
        for path in FILES:
            self.assertIn(path, paths)
        for path, line in paths.items():
            self.assertEqual(line[1], "root/root", path)
            self.assertNotIn("w", line[0][5] + line[0][8], path)
        tree = os.path.join(self.directory, "tree")
        run("dpkg-deb", "-x", self.package, tree)
        with open(f"{tree}/lib/systemd/system/rewind.service", encoding="utf-8") as file:
            unit = file.read()
        self.assertIn("ExecStart=/usr/bin/rewind serve", unit)
        self.assertNotIn("/usr/local", unit)
        self.assertEqual(run("gzip", "-dc", f"{tree}/usr/share/man/man1/rewind.1.gz"), run(daemon.BINARY, "man"))

    def test_installed_and_removed(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to install")
        copy = os.path.join(self.directory, "copy")
        os.mkdir(copy)
        script = f"""
            set -eu
            mount --make-rprivate /
            mount -t tmpfs tmpfs {copy}
            mkdir {copy}/upper {copy}/work {copy}/root
            mount -t overlay overlay -o lowerdir=/,upperdir={copy}/upper,workdir={copy}/work {copy}/root
            root={copy}/root
            mount -t tmpfs tmpfs $root/run
            mount -t tmpfs tmpfs $root/tmp
            mount --rbind /dev $root/dev
            rm -rf $root/var/lib/rewind $root/etc/default/rewind $root/usr/sbin/policy-rc.d
            rm -f $root/var/lib/man-db/auto-update  # takes long, and is not what is tried
            cp {self.package} $root/tmp/rewind.deb
            exec chroot $root /bin/sh -c "$STORY"
        """
        result = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
                                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "STORY": STORY},
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=500)
        self.assertEqual(result.returncode, 0, result.stdout[-4000:])
        told = [line.removeprefix("is ") for line in result.stdout.splitlines() if line.startswith("is ")]
        refusal = [line for line in told if line.startswith("refusal")]
        self.assertRegex(refusal[0], "not removed, since volumes are mounted: /run/rewind/mounts/.*; stop the containers")
        told.remove(refusal[0])
        self.assertEqual(told, [
            "version rewind " + self.field("Version").split("-")[0],
            "owned root:755 root:644",
            "unit good",
            "still installed precious",
            "dead mounts",
            "mounts 0",
            "gone command",
            "conffile /etc/default/rewind",
            "purged conffile",
            "data kept",
        ], result.stdout[-4000:])


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("package_test: needs root, to install")
    unittest.main()
