"""tar on a volume: what it extracts there and archives from there is what was in the source.

Goal: a tree with everything that tar can carry (hard links, symlinks, devices, xattrs, capabilities, ACLs, sparse
files, odd names, times before 1970) comes through a volume unchanged, by tar's own comparison and by a walk of ours.
Method: the extraction is held in its middle. A snapshot volume of that instant has whole what tar had gone on from, and
nothing of what it had not come to; on a clone of it the extraction is done again and completes the tree.
"""

import os
import sys
import time
import unittest

import odd_tree
import tree
from program import HeldProgram, ProgramTest, run

EVERYTHING = ("--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--warning=no-timestamp")
# tar sets these when it has all else; until then directories can be written to.
AT_THE_END = ("mode", "uid", "gid", "mtime", "xattrs")


class TarTest(ProgramTest):
    def make_source(self):
        seed = int(os.environ.get("REWIND_SEED", time.time_ns() % 1_000_000))
        print(f"seed {seed}", file=sys.stderr)
        source = os.path.join(self.scratch, "source")
        os.mkdir(source)
        odd_tree.OddTree(source, seed).make()
        # tar has no word for these: it skips sockets, and makes each name of a fifo a fifo.
        for name in ("special/socket", "links/a-fifo", "links/other/z-fifo"):
            os.remove(os.path.join(source, name))
        return source

    def archive(self, directory, name):
        path = os.path.join(self.scratch, name)
        run("tar", "--format=posix", "--sparse", "--sort=name", *EVERYTHING, "-C", directory, "-cf", path, ".")
        return path

    def extraction(self, archive, directory):
        return ("tar", *EVERYTHING, "--quoting-style=literal", "-C", directory, "-xpvf", archive)

    def test_extracts_compares_and_archives(self):
        source = self.make_source()
        expected = tree.walk(source)
        self.directories = {name for name, facts in expected.items() if facts["mode"].startswith("0o4")}
        archive = self.archive(source, "source.tar")
        self.daemon.create("tar")
        with self.mounted("tar") as volume:
            program = HeldProgram(*self.extraction(archive, volume))
            self.addCleanup(program.close)
            program.read_lines(len(expected) // 2)
            done = program.lines()[:len(expected) // 2]
            middle = self.daemon.now("tar")
            begun = program.lines()
            program.finish()

            self.assertEqual(tree.differences(expected, tree.walk(volume)), [])
            self.assertEqual(run("tar", *EVERYTHING, "-C", volume, "-df", archive), "")
            again = self.archive(volume, "again.tar")
            self.assertEqual(run("tar", *EVERYTHING, "-C", source, "-df", again), "")
            sparse = os.stat(os.path.join(volume, "sparse", "ends"))
            self.assertLess(sparse.st_blocks * 512, sparse.st_size // 100, "sparse files stay sparse")
        self.check_middle(middle, expected, done, begun)
        self.check_resumed(middle, expected, archive)

    def check_middle(self, middle, expected, done, begun):
        # Names with newlines take several lines, and do not matter here.
        done, begun = ({line.rstrip(b"/")[2:] for line in lines if line.startswith(b"./")} for lines in (done[:-1], begun))
        with self.look("tar", middle) as volume:
            found = tree.walk(volume)
            # Symlinks out of the tree are placeholders until tar has all else.
            final = {name for name in done & expected.keys() if "target" not in expected[name]}
            self.assertEqual(tree.differences(self.shape(expected, final), self.shape(found, final)), [])
            begun |= {name for name in expected if b"\n" in name or name == b""}
            self.assertEqual(sorted(found.keys() - begun), [], "what tar had not come to")
            self.assertGreater(len(expected.keys() - found.keys()), 100, "this is the middle")
            print(f"tar: {len(found)} of {len(expected)} entries in the middle", file=sys.stderr)

    def shape(self, entries, names):
        """What must be final of these entries while tar goes on: files but for their link counts, less of directories."""
        return {name: {key: value for key, value in entries[name].items() if key not in ("links", "same as") and
                       not (name in self.directories and key in AT_THE_END)} for name in names & entries.keys()}

    def check_resumed(self, middle, expected, archive):
        with self.copy("tar", middle) as volume:
            run(*self.extraction(archive, volume), text=False)
            self.assertEqual(tree.differences(expected, tree.walk(volume)), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
