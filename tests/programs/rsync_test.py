"""rsync -aHAX onto a volume and back.

Goal: a tree with everything that rsync can carry (hard links of all kinds, symlinks, devices, sockets, xattrs,
capabilities, ACLs, sparse files, odd names, times before 1970) is the same on the volume and after the way back, by a
walk of ours to the nanosecond. A snapshot volume of the instant between two synchronizations shows the first one exactly.
Method: the second synchronization is held in its middle. rsync replaces files by renaming, so each file is then as it
was before or as it is after, never mixed; and a clone of that instant can be synchronized to the end.
"""

import os
import random
import sys
import time
import unittest

import odd_tree
import tree
from program import HeldProgram, ProgramTest, run, wait_until

FILES = 2000
CHANGED_BYTES = 20_000
# Without a window of -1 rsync compares times by their seconds: it does not set back the time of a directory in which it
# removed something within the second of the directory's last change, on any filesystem.
EXACT = ("-aHAXS", "--numeric-ids", "--modify-window=-1")


class RsyncTest(ProgramTest):
    def sync(self, source, target, *more):
        return run("rsync", *EXACT, "--delete", *more, source + "/", target + "/", text=False)

    def change(self, source):
        """Another contents, size and time for every fourth of the many files; some go, some come, names move."""
        many = os.path.join(source, "many")
        for number in range(0, FILES, 4):
            path = os.path.join(many, f"part {number // 100}", f"file {number}")
            with open(path, "wb") as file:
                file.write(self.random.randbytes(CHANGED_BYTES))
            os.utime(path, ns=(-number, -number))
        for number in range(1, FILES, 40):
            os.remove(os.path.join(many, f"part {number // 100}", f"file {number}"))
        os.rename(os.path.join(source, "acls"), os.path.join(source, "acls of before"))
        os.remove(os.path.join(source, "links", "a-first"))
        os.chmod(os.path.join(source, "modes", "file 0400"), 0o2640)
        os.setxattr(os.path.join(source, "xattrs", "file"), "user.binary", b"changed")
        os.utime(source, ns=(7, -7))

    def test_round_trip(self):
        seed = int(os.environ.get("REWIND_SEED", time.time_ns() % 1_000_000))
        print(f"seed {seed}", file=sys.stderr)
        self.random = random.Random(seed)
        source = os.path.join(self.scratch, "source")
        os.mkdir(source)
        odd_tree.OddTree(source, seed, FILES).make()
        first = tree.walk(source)
        self.daemon.create("rsync")
        with self.mounted("rsync") as volume:
            self.sync(source, volume)
            self.assertEqual(tree.differences(first, tree.walk(volume)), [])
            self.assertEqual(self.sync(source, volume, "--itemize-changes", "--checksum", "--dry-run"), b"")
            self.check_way_back(volume, first)
            after_first = self.daemon.now("rsync")

            self.change(source)
            second = tree.walk(source)
            middle, before, after = self.sync_and_look(source, volume)
            self.assertEqual(tree.differences(second, tree.walk(volume)), [])
        with self.look("rsync", after_first) as past:
            self.assertEqual(tree.differences(first, tree.walk(past)), [])
            self.check_way_back(past, first)
        self.check_middle(middle, first, second, before, after)
        with self.copy("rsync", middle) as clone:
            self.sync(source, clone)
            self.assertEqual(tree.differences(second, tree.walk(clone)), [])

    def check_way_back(self, volume, expected):
        back = os.path.join(self.scratch, "back")
        self.sync(volume, back)
        self.assertEqual(tree.differences(expected, tree.walk(back)), [])
        sparse = os.stat(os.path.join(volume, "sparse", "ends"))
        self.assertLess(sparse.st_blocks * 512, sparse.st_size // 100, "sparse files stay sparse")

    def sync_and_look(self, source, volume):
        """Synchronizes; returns an instant of its middle, and what was surely and at most replaced by then."""
        program = HeldProgram("rsync", *EXACT, "--delete-after", "--out-format=%n", source + "/", volume + "/")
        self.addCleanup(program.close)
        program.read_lines(30)
        some = os.path.join(volume, "many", "part 1", "file 100")
        wait_until(lambda: os.stat(some).st_size == CHANGED_BYTES, "a file in its second version")
        before = self.replaced(volume)
        middle = self.daemon.now("rsync")
        after = self.replaced(volume)
        program.finish()
        return middle, before, after

    def replaced(self, volume):
        """Which of the changed files are there in their second version."""
        return {number for number in range(0, FILES, 4)
                if os.stat(os.path.join(volume, "many", f"part {number // 100}", f"file {number}")).st_size ==
                CHANGED_BYTES}

    def check_middle(self, middle, first, second, before, after):
        with self.look("rsync", middle) as past:
            found = tree.walk(past)
        replaced = set()
        for number in range(0, FILES, 4):
            name = f"many/part {number // 100}/file {number}".encode()
            if found[name] == second[name]:
                replaced.add(number)
            else:
                self.assertEqual(found[name], first[name], f"{name}: neither as before nor as after")
        print(f"rsync: {len(replaced)} of {FILES // 4} changed files replaced at the instant", file=sys.stderr)
        self.assertTrue(before <= replaced, before - replaced)
        self.assertTrue(replaced <= after, replaced - after)
        self.assertLess(len(replaced), FILES // 4, "this is the middle")
        missing = (first.keys() & second.keys()) - found.keys()
        self.assertEqual(missing, set(), "nothing that is in both is ever away")


if __name__ == "__main__":
    unittest.main(verbosity=2)
