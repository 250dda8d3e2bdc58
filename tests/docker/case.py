"""What cases on a Docker engine have in common."""

import time
import unittest


class PatientCase(unittest.TestCase):
    patience = 60  # seconds

    def eventually(self, check):
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return check()
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


class NamedCase(PatientCase):
    """Names of volumes and containers begin with the case's own, and go when it ends."""

    docker = None  # the engine's function, as a staticmethod; set when there is an engine
    prefix_length = 30

    def setUp(self):
        self.prefix = self._testMethodName.removeprefix("test_").replace("_", "-")[:self.prefix_length]
        self.addCleanup(self.clean)

    def clean(self):
        containers = self.docker("ps", "-aq", "--filter", f"name={self.prefix}", check=False).stdout.split()
        if containers:
            self.docker("rm", "-f", *containers, check=False)
        for volume in self.docker("volume", "ls", "-q", check=False).stdout.split():
            if volume.startswith(self.prefix):
                self.docker("volume", "rm", volume, check=False)

    def name(self, suffix):
        return f"{self.prefix}-{suffix}"
