"""dpkg and apt with their root on a volume.

Goal: packages unpack, are upgraded and configured there, dpkg's own verification finds them right, and an upgrade that
was in its middle at an instant is, on a clone of it, one that dpkg repairs.
Method: the packages are made here. dpkg is held while it says what it does with each file. It replaces files by renaming:
in a snapshot volume each file is of the old or the new version, whole; packages that it was done with are new, and one
that it had not come to is not there.
"""

import os
import sys
import unittest

import packages
import tree
from program import HeldProgram, ProgramTest, run

# What dpkg may say of files, and where in it the instants lie.
EACH_FILE = "-D10"
PARTS = (0.45, 0.6, 0.75, 0.9)
ENVIRONMENT = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def dpkg(root, *arguments):
    return ("dpkg", f"--root={root}", "--force-script-chrootless", "--force-confnew", *arguments)


class DpkgTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.packages = {(name, version): packages.make(cls.scratch, name, version)
                        for name, version in (("alpha", 1), ("alpha", 2), ("beta", 1), ("beta", 2), ("gamma", 1))}

    def versions(self, root):
        lines = run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package} ${Version} ${Status}\n")
        return dict(line.split(" ", 1) for line in lines.splitlines())

    def files(self, root):
        """The files of packages, without times of directories, which dpkg leaves to chance."""
        found = tree.walk(root)
        for facts in found.values():
            if "size" not in facts:
                del facts["mtime"]
        return {name: facts for name, facts in found.items() if not name.startswith(b"var")}

    def check_complete(self, root, expected):
        self.assertEqual(self.versions(root), {"alpha": "2 install ok installed", "beta": "2 install ok installed",
                                               "gamma": "1 install ok installed"})
        self.assertEqual(run(*dpkg(root, "--audit")), "")
        self.assertEqual(run(*dpkg(root, "--verify")), "")
        self.assertEqual(run(os.path.join(root, "usr/bin/beta")), "beta 2\n")
        if expected is not None:
            self.assertEqual(tree.differences(expected, self.files(root)), [])

    def test_upgrade(self):
        self.daemon.create("dpkg")
        with self.mounted("dpkg") as volume:
            packages.make_root(volume)
            run(*dpkg(volume, "--install", self.packages["alpha", 1], self.packages["beta", 1]), env=ENVIRONMENT)
            self.assertEqual(run(*dpkg(volume, "--verify")), "")
            old = self.files(volume)
            rehearsal = self.rehearse()
            upgrade = (self.packages["alpha", 2], self.packages["beta", 2], self.packages["gamma", 1])
            program = HeldProgram(*dpkg(volume, EACH_FILE, "--unpack", *upgrade), env=ENVIRONMENT)
            self.addCleanup(program.close)
            instants = []
            for part in PARTS:
                program.read_lines(int(rehearsal * part))
                before = self.progress(program.lines())
                instants.append((self.daemon.now("dpkg"), before, self.progress(program.lines())))
            program.finish()
            run(*dpkg(volume, "--configure", "--pending"), env=ENVIRONMENT)
            self.check_complete(volume, None)
            new = self.files(volume)
        for number, (instant, before, after) in enumerate(instants):
            with self.subTest(instant=instant, before=before):
                with self.look("dpkg", instant, f"dpkg-{number}-look") as root:
                    self.check_middle(root, old, new, before, after)
                with self.copy("dpkg", instant, f"dpkg-{number}") as root:
                    run(*dpkg(root, "--install", *upgrade), env=ENVIRONMENT)
                    self.check_complete(root, new)

    def rehearse(self):
        root = os.path.join(self.scratch, "rehearsal")
        packages.make_root(root)
        run(*dpkg(root, "--install", self.packages["alpha", 1], self.packages["beta", 1]), env=ENVIRONMENT)
        program = HeldProgram(*dpkg(root, EACH_FILE, "--unpack", self.packages["alpha", 2], self.packages["beta", 2]),
                              env=ENVIRONMENT)
        self.addCleanup(program.close)
        return len(program.finish())

    def progress(self, lines):
        """The packages that dpkg has begun to unpack, in order."""
        return [line.split()[1].decode() for line in lines if line.startswith(b"Unpacking ")]

    def check_middle(self, root, old, new, before, after):
        found = self.files(root)
        versions = self.versions(root)
        state = {"old": 0, "new": 0}
        for package in ("alpha", "beta"):
            for number in range(packages.FILES):
                name = packages.file_path(package, number).encode()
                keys = ("contents", "mode", "uid", "gid", "mtime")  # links come one by one
                facts = [{key: entries[name][key] for key in keys} for entries in (found, old, new)]
                self.assertIn(facts[0], facts[1:], name)
                is_new = facts[0] == facts[2]
                if package in before[:-1]:
                    self.assertTrue(is_new, f"{name}: dpkg was done with it")
                if package not in after:
                    self.assertFalse(is_new, f"{name}: dpkg had not come to it")
                state["new" if is_new else "old"] += package == "beta"
        if "gamma" not in after:
            self.assertFalse(os.path.exists(os.path.join(root, "usr/share/gamma")))
        if "beta" in before:
            self.assertEqual(versions["alpha"], "2 install ok unpacked")
        print(f"dpkg: beta is {versions['beta']}, its files {state}", file=sys.stderr)

    def test_apt_installs(self):
        """apt keeps its cache in a file that it maps."""
        self.daemon.create("apt")
        with self.mounted("apt") as root:
            packages.make_root(root)
            for folder in ("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "var/cache/apt/archives",
                           "var/lib/apt/lists", "var/log/apt", "repository"):
                os.makedirs(os.path.join(root, folder))
            for path in self.packages.values():
                run("cp", path, os.path.join(root, "repository"))
            with open(os.path.join(root, "repository/Packages"), "w") as file:
                file.write(run("dpkg-scanpackages", "--multiversion", ".", cwd=os.path.join(root, "repository")))
            with open(os.path.join(root, "etc/apt/sources.list"), "w") as file:
                file.write(f"deb [trusted=yes] file:{root}/repository ./\n")
            self.apt(root, "update")
            self.apt(root, "install", "alpha=1", "beta=1")
            self.assertEqual(self.versions(root), {"alpha": "1 install ok installed", "beta": "1 install ok installed"})
            before = self.daemon.now("apt")
            old = self.files(root)
            self.apt(root, "install", "gamma")
            self.apt(root, "upgrade")
            self.check_complete(root, None)
        with self.look("apt", before) as root:
            self.assertEqual(tree.differences(old, self.files(root)), [])
            self.assertEqual(self.versions(root), {"alpha": "1 install ok installed", "beta": "1 install ok installed"})

    def apt(self, root, *arguments):
        run("apt-get", "-q", "-y", "-o", f"Dir={root}", "-o", f"Dir::State::status={root}/var/lib/dpkg/status", "-o",
            "APT::Sandbox::User=root", "-o", f"DPkg::Options::=--root={root}", "-o",
            "DPkg::Options::=--force-script-chrootless", "-o", "DPkg::Options::=--force-confnew", "-o",
            "Dir::Bin::dpkg=/usr/bin/dpkg", *arguments, env=ENVIRONMENT)


if __name__ == "__main__":
    unittest.main(verbosity=2)
