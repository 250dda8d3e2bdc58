"""An unmanaged `rewind serve` for tests: its own data root, socket and mounts, gone when the test ends."""

import os
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE_DIR, "tests", "docker"))
import leftovers  # noqa: E402

BINARY = os.environ.get("REWIND_BINARY", os.path.join(SOURCE_DIR, "build", "rewind"))


def for_module():
    """A daemon that runs, for all tests of the module that is being set up."""
    leftovers.exit_on_signals()
    daemon = Daemon()
    unittest.addModuleCleanup(daemon.close)
    daemon.start()
    return daemon


def first_answer(process, server):
    """What `server` answers when it is ready; `process` is its own."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return server.sql("SELECT 1")
        except AssertionError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{server.volume} does not start: {error}\n{server.log()[-4000:]}") from None
            time.sleep(0.1)


class Daemon:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="rewind-database-")
        os.chmod(self.directory, 0o711)  # the database's own user has to get to its mount
        self._environment = dict(os.environ, REWIND_SOCKET=f"{self.directory}/socket")
        self._log = open(f"{self.directory}/daemon.log", "ab")
        self._process = None

    def start(self):
        base = self.directory
        self._process = subprocess.Popen(
            [BINARY, "serve", "--root", f"{base}/root", "--socket", f"{base}/socket", "--mounts", f"{base}/mounts"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, preexec_fn=leftovers.die_with_parent())
        deadline = time.monotonic() + 30
        while self.rewind("ls", check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                with open(f"{base}/daemon.log", errors="replace") as log:
                    raise RuntimeError("rewind serve does not start:\n" + log.read()[-4000:])
            time.sleep(0.05)

    def close(self):
        if self._process is not None:
            leftovers.stop(self._process)
        self._log.close()
        leftovers.remove(self.directory)

    def rewind(self, *arguments, check=True):
        result = subprocess.run([BINARY, *arguments], env=self._environment, text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        if check and result.returncode != 0:
            raise AssertionError(f"rewind {' '.join(arguments)}: {result.stderr}")
        return result

    def create(self, name, **options):
        arguments = []
        for key, value in options.items():
            arguments += ["-o", f"{key.replace('_', '-')}={value}"]
        self.rewind("create", name, *arguments)

    def mount(self, name):
        path = os.path.join(self.directory, "on", name)
        os.makedirs(path, exist_ok=True)
        self.rewind("mount", name, path)
        return path

    def unmount(self, name):
        self.rewind("umount", os.path.join(self.directory, "on", name))

    def now(self, name):
        return self.rewind("now", name).stdout.strip()
