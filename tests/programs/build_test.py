"""A CMake build of a part of this project, inside a volume.

Goal: sources and build directory on a volume build; a second run finds nothing to do; and the build is at every instant
one that can be gone on with: on a clone of its middle only what was not done is done, and the results are the same bytes.
Method: ninja is held in its middle. What its log then calls built is there as it is in the end, to the nanosecond of
its times, for ninja compares these. Clone and volume are mounted at the same place, for compilers note paths.
"""

import os
import re
import shutil
import sys
import unittest

import tree
from program import SOURCE_DIR, HeldProgram, ProgramTest, run

TARGET = "rewind_metadata"
LIBRARY = f"lib{TARGET}.a"
FINISHED_EDGES = 4
# A line of ninja's fills a third of the pipe, so that it does not get far ahead of the reader.
ENVIRONMENT = {**os.environ, "CCACHE_DISABLE": "1", "LC_ALL": "C", "NINJA_STATUS": "[%f/%t]" + " " * 1500}


def built_by(log_path):
    """What ninja's log calls built: objects and libraries."""
    with open(log_path) as log:
        return {line.split("\t")[3] for line in log if line.count("\t") == 4 and
                line.split("\t")[3].endswith((".o", ".a"))}


def finished(lines):
    """The highest count of finished edges that ninja has printed, and of how many."""
    counts = [tuple(map(int, match.groups())) for match in (re.match(rb"\[(\d+)/(\d+)\]", line) for line in lines) if match]
    return counts[-1]


class BuildTest(ProgramTest):
    def mount(self, name):
        os.makedirs(self.place, exist_ok=True)
        self.daemon.rewind("mount", name, self.place)

    def unmount(self):
        self.daemon.rewind("umount", self.place)

    def results(self):
        return {name: facts for name, facts in tree.walk(self.build).items() if name.endswith((b".o", b".a"))}

    def test_build_and_going_on_with_it(self):
        self.place = os.path.join(self.scratch, "place")
        self.build = os.path.join(self.place, "build")
        self.daemon.create("build")
        self.mount("build")
        try:
            for folder in ("metadata", "fs", "plugin"):
                shutil.copytree(os.path.join(SOURCE_DIR, folder), os.path.join(self.place, "sources", folder))
            shutil.copy2(os.path.join(SOURCE_DIR, "CMakeLists.txt"), os.path.join(self.place, "sources"))
            run("cmake", "-S", os.path.join(self.place, "sources"), "-B", self.build, "-G", "Ninja", "-DREWIND_TESTS=OFF",
                "-DREWIND_PACKAGE=OFF", "-DCCACHE=OFF", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0",
                env=ENVIRONMENT)
            middle, least = self.build_and_look()
            final = self.results()
            self.assertIn("no work to do", self.ninja())
            members = run("ar", "t", os.path.join(self.build, LIBRARY)).split()
            self.assertEqual(len(members), len(os.listdir(os.path.join(self.build, f"CMakeFiles/{TARGET}.dir/metadata"))))
        finally:
            self.unmount()
        built = self.check_snapshot(middle, least, final)
        self.check_clone(middle, built, final)

    def ninja(self):
        return run("ninja", "-C", self.build, TARGET, env=ENVIRONMENT)

    def build_and_look(self):
        """Builds. Returns an instant of the middle and how much was surely built by then."""
        program = HeldProgram("ninja", "-C", self.build, "-j2", TARGET, env=ENVIRONMENT)
        self.addCleanup(program.close)
        count = 1
        while True:
            program.read_lines(count)
            lines = program.lines()
            if any(line.startswith(b"[%d/" % FINISHED_EDGES) for line in lines):
                break
            count = len(lines) + 1
        # It prints that an edge is finished just before it writes that down.
        least = finished(lines)[0] - 1
        middle = self.daemon.now("build")
        done, total = finished(program.lines())
        self.assertLess(done, total, "this is the middle")
        program.finish()
        return middle, least

    def check_snapshot(self, middle, least, final):
        with self.look("build", middle) as volume:
            directory = os.path.join(volume, "build")
            built = built_by(os.path.join(directory, ".ninja_log"))
            self.assertGreaterEqual(len(built), least)
            self.assertFalse(os.path.exists(os.path.join(directory, LIBRARY)), "what had not begun")
            found = tree.walk(directory)
            names = {name.encode() for name in built}
            self.assertEqual(tree.differences({name: final[name] for name in names},
                                              {name: found[name] for name in names}), [])
        print(f"build: {len(built)} of {len(final)} built at the instant", file=sys.stderr)
        return built

    def check_clone(self, middle, built, final):
        self.daemon.create("build-clone", clone_of="build", at=middle)
        self.mount("build-clone")
        try:
            lines = [line for line in self.ninja().splitlines() if re.match(r"\[[1-9]", line)]
            # An instant between two writes of ninja's, of its log and of what it knows of headers, costs one more.
            again = [name for name in built if any(line.endswith(name) for line in lines)]
            self.assertLessEqual(len(again), 1, again)
            self.assertEqual(len(lines), len(final) - len(built) + len(again))
            for name, facts in self.results().items():
                self.assertEqual(facts["contents"], final[name]["contents"], name)
                if name.decode() in built.difference(again):
                    self.assertEqual(facts, final[name], name)
            self.assertIn("no work to do", self.ninja())
        finally:
            self.unmount()


if __name__ == "__main__":
    unittest.main(verbosity=2)
