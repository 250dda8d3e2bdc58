"""The shells' completion, in the shells.

Goal: bash, zsh and fish put what is meant in the place of what was typed, quoted as they need it.
Method: bash and zsh on a terminal of their own, which gets the keys; what they then run as `rewind` notes its words. fish
says itself what it would offer. All run the scripts that the program prints, against a daemon of their own.
"""

import os
import pty
import subprocess
import unittest

from program import ProgramTest, daemon, leftovers, run

# Stands for the program: completes as it does, and notes any other words instead of doing what they say.
NOTING = """#!/bin/sh
[ "$1" = complete ] && exec {program} "$@"
printf '%s\\0' "$@" >"$NOTES"
"""
READY = "completion-is-ready"
HOSTILE = "x$(exit)`exit`'\"!y"  # would end the shell, were it not quoted


class CompletionTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("shop", "two words", "depot", HOSTILE):
            cls.daemon.create(name)
        cls.daemon.rewind("mark", "shop", "before:noon")
        cls.daemon.rewind("mark", "shop", "after")
        programs = os.path.join(cls.scratch, "bin")
        os.mkdir(programs)
        program = os.path.join(programs, "rewind")
        with open(program, "w", encoding="utf-8") as file:
            file.write(NOTING.format(program=daemon.BINARY))
        os.chmod(program, 0o755)
        cls.notes = os.path.join(cls.scratch, "notes")
        cls.environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": cls.scratch, "TERM": "dumb",
                           "LC_ALL": "C.UTF-8", "NOTES": cls.notes,
                           "REWIND_SOCKET": f"{cls.daemon.directory}/socket",
                           "REWIND_COMPLETION_SECONDS": "100"}  # however busy the machine is
        for shell, name in (("bash", "rewind.bash"), ("zsh", "_rewind"), ("fish", "rewind.fish")):
            with open(os.path.join(cls.scratch, name), "w", encoding="utf-8") as file:
                file.write(run(daemon.BINARY, "completion", shell))

    def read_until(self, terminal, text):
        """Returns when it has come; None: when the shell has ended."""
        output = b""
        while text is None or text.encode() not in output:
            try:
                data = os.read(terminal, 4096)
            except OSError:  # nobody has the other side
                data = b""
            if not data:
                if text is None:
                    return
                raise AssertionError(f"the shell ended: {output.decode(errors='replace')}")
            output += data

    def words(self, shell, setup, line):
        """The words of the program that an interactive shell runs after these keys."""
        terminal, other_side = pty.openpty()
        process = subprocess.Popen(shell, env=self.environment, cwd=self.scratch, stdin=other_side, stdout=other_side,
                                   stderr=other_side, start_new_session=True,
                                   preexec_fn=leftovers.die_with_parent())
        os.close(other_side)
        try:
            # Quoted, so that the echo of this line is not taken for its output.
            os.write(terminal, f"{setup}; echo '{READY[0]}'{READY[1:]}\n".encode())
            self.read_until(terminal, READY)
            os.write(terminal, f"{line}\nexit\n".encode())
            self.read_until(terminal, None)
        finally:
            os.close(terminal)
            process.kill()
            process.wait()
        with open(self.notes, encoding="utf-8") as file:
            words = file.read().split("\0")[:-1]
        os.remove(self.notes)
        return words

    def check(self, shell, setup):
        for line, words in (
                ("colle\t", ["collect"]),
                ("log sh\t --js\t", ["log", "shop", "--json"]),
                ("rm two\t", ["rm", "two words"]),
                ("rm x\t", ["rm", HOSTILE]),
                ("rm \"x\t", ["rm", HOSTILE]),
                ("rm 'x\t", ["rm", HOSTILE]),
                ("rollback shop --at bef\t", ["rollback", "shop", "--at", "before:noon"]),
                ("rollback shop --at before:n\t", ["rollback", "shop", "--at", "before:noon"]),
                ("rollback shop --at=aft\t", ["rollback", "shop", "--at=after"]),
                ("create v -o clone\td\t", ["create", "v", "-o", "clone-of=depot"]),
                ("mount shop bi\t", ["mount", "shop", "bin"])):
            with self.subTest(line=line):
                # zsh takes the slash after a directory away again.
                self.assertEqual([word.rstrip("/") for word in self.words(shell, setup, f"rewind {line}")], words)

    def test_bash(self):
        self.check(["bash", "--norc", "--noprofile", "-i"], f"source {self.scratch}/rewind.bash")

    def test_zsh(self):
        self.check(["zsh", "-f", "-i"],
                   f"autoload -Uz compinit; compinit -u -d {self.scratch}/dump; source {self.scratch}/_rewind")

    def test_zsh_finds_it_by_its_name(self):
        self.check(["zsh", "-f", "-i"],
                   f"fpath=({self.scratch} $fpath); autoload -Uz compinit; compinit -u -d {self.scratch}/dump-2")

    def test_fish(self):
        def offered(line):
            return run("fish", "--no-config", "-c", f"source {self.scratch}/rewind.fish; complete -C '{line}'",
                       env=self.environment, cwd=self.scratch).splitlines()
        self.assertEqual(offered("rewind colle"), ["collect\tFree now what is no longer kept of any volume"])
        self.assertEqual(offered("rewind log sh"), ["shop\tvolume"])
        self.assertEqual([each.split("\t")[0] for each in offered("rewind rm t")], ["two words"])
        self.assertEqual([each.split("\t")[0] for each in offered("rewind unmark shop ")], ["after", "before:noon"])
        self.assertEqual([each.split("\t")[0] for each in offered("rewind rollback shop --at=b")], ["--at=before:noon"])
        self.assertEqual([each.split("\t")[0] for each in offered("rewind create v -o clone-of=d")], ["clone-of=depot"])
        self.assertEqual([each.split("\t")[0] for each in offered("rewind mount shop bi")], ["bin/"])


if __name__ == "__main__":
    unittest.main()
