"""The manual page, as the tools that read it see it.

Goal: rewind(1) is a page that groff and mandoc have nothing to say about, and it has every command and option that the
help has.
Method: what the program prints is given to both, and the text that comes out is compared with --help.
"""

import re
import subprocess
import unittest

from program import daemon, run


def helped(*arguments):
    return run(daemon.BINARY, *arguments, "--help")


class ManualTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.page = run(daemon.BINARY, "man")

    def test_nothing_to_warn_of(self):
        result = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=self.page, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "", ""))
        # Without a date: the page is the same whenever it is made.
        result = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=self.page, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        warnings = [line for line in result.stdout.splitlines() if "missing date" not in line]
        self.assertEqual(warnings, [])

    def test_everything_that_the_help_has(self):
        result = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=500"], input=self.page, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=True)
        text = re.sub(".\b", "", result.stdout)
        commands = re.findall(r"^  ([a-z-]+) ", helped().split("Subcommands:")[1], re.MULTILINE)
        self.assertGreater(len(commands), 30)
        sections = re.split(r"^   rewind ", text, flags=re.MULTILINE)[1:]
        self.assertEqual([section.split()[0] for section in sections], commands)
        for command, section in zip(commands, sections):
            for option in re.findall(r"^  (?:-\w,)?(--[a-z-]+)", helped(command), re.MULTILINE):
                if option not in ("--help", "--socket"):
                    self.assertRegex(section, rf"(?m)^ +(-\w, )?{option}\b", command)
        for word in ("REWIND_RETENTION", "/etc/default/rewind", "snapshot-of=VOLUME", "EXIT STATUS"):
            self.assertIn(word, text)


if __name__ == "__main__":
    unittest.main()
