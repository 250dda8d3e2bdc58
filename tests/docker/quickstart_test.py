"""scripts/quickstart.sh tells its story twice on one engine, and leaves the plugin enabled and its clean-up complete."""

import os
import sys
import time
import unittest

import leftovers
from engine import BINARY, Engine, say


class QuickstartTest(unittest.TestCase):
    def setUp(self):
        leftovers.exit_on_signals()
        self.engine = Engine()
        self.addCleanup(self.engine.close)
        self.engine.environment["REWIND_BINARY"] = BINARY
        self.engine.start()

    def tell(self):
        began = time.monotonic()
        output = self.engine.script("quickstart.sh").stdout
        say(f"quickstart.sh took {time.monotonic() - began:.1f} s")
        for words in ("== What was proven", "the rollback brought all", "still shows the mistake",
                      "cannot be written", " ms  roll the volume back"):
            self.assertIn(words, output)
        enabled = self.engine.docker("plugin", "inspect", "--format", "{{.Enabled}}", "rewind").stdout.strip()
        self.assertEqual(enabled, "true")

    def test_twice(self):
        self.tell()
        self.engine.docker("volume", "create", "-d", "rewind", "of-the-user")
        plugin = self.engine.plugin_id()
        self.tell()
        self.assertEqual(self.engine.plugin_id(), plugin, "the same build is not installed again")
        volumes = self.engine.docker("volume", "ls", "-q").stdout.split()
        self.assertIn("of-the-user", volumes)
        self.engine.script("quickstart.sh", "--clean")
        self.assertEqual(self.engine.docker("volume", "ls", "-q").stdout.split(), ["of-the-user"])
        self.assertEqual(self.engine.docker("ps", "-aq").stdout, "")
        self.assertEqual(self.engine.volume_mounts(), [])


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("quickstart_test: needs root, to start an engine")
    unittest.main(verbosity=2)
