"""What the tests of real programs share: a daemon, its volumes, and ways to run a program and to hold it in its middle."""

import contextlib
import ctypes
import fcntl
import os
import struct
import subprocess
import sys
import termios
import time
import unittest

_PR_SET_CHILD_SUBREAPER = 36
SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE_DIR, "tests", "database"))
import daemon  # noqa: E402
from daemon import leftovers  # noqa: E402


def run(*command, status=0, **options):
    """Runs a program to its end and returns what it printed, as text unless text=False."""
    options = {"text": True, "stdin": subprocess.DEVNULL, "timeout": 300, **options}
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    if result.returncode != status:
        errors = result.stderr if options["text"] else result.stderr.decode(errors="replace")
        output = result.stdout if options["text"] else result.stdout.decode(errors="replace")
        raise AssertionError(f"{command}: exit status {result.returncode}: {errors[-4000:]}\n{output[-4000:]}")
    return result.stdout


def wait_until(condition, what, seconds=120):
    """Waits for a condition that is sure to come; the limit is only for when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never came: {what}")
        time.sleep(0.005)


def adopt_orphans():
    """What children leave behind when they end becomes ours to wait for."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_group(process, how):
    """Signals a process that was started with start_new_session, and its children; returns when all have ended."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        pass
    process.wait()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-process.pid, 0)


class HeldProgram:
    """A program that prints what it does and is held in its middle by not reading that: the pipe takes a page, no more.

    Read some lines, look at the volume, read on. No timing is involved.
    """

    def __init__(self, *command, **options):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.STDOUT,
                                         preexec_fn=leftovers.die_with_parent(), **options)
        os.close(writer)
        self._reader = reader
        self._output = b""

    def read_lines(self, count):
        """Reads until `count` lines have come; the program must have that many, and more than a page beyond them."""
        while self._output.count(b"\n") < count:
            data = os.read(self._reader, 256)
            if not data:
                raise AssertionError(f"ended too early: {self._output[-4000:].decode(errors='replace')}")
            self._output += data

    def lines(self):
        """What it has printed until now, whole lines."""
        waiting = struct.unpack("i", fcntl.ioctl(self._reader, termios.FIONREAD, b"\0" * 4))[0]
        while waiting > 0:
            data = os.read(self._reader, waiting)
            self._output += data
            waiting -= len(data)
        return self._output.split(b"\n")[:-1]

    def finish(self):
        """Lets it run to its end, which must be a success. Returns all lines."""
        while data := os.read(self._reader, 1 << 16):
            self._output += data
        if self._process.wait() != 0:
            raise AssertionError(f"{self._process.args}: exit status {self._process.returncode}: "
                                 f"{self._output[-4000:].decode(errors='replace')}")
        return self._output.split(b"\n")[:-1]

    def close(self):
        """Ends it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._reader)


class ProgramTest(unittest.TestCase):
    """A test with a daemon of its own, which lives as long as the class."""

    @classmethod
    def setUpClass(cls):
        leftovers.exit_on_signals()
        adopt_orphans()
        cls.daemon = daemon.Daemon()
        cls.addClassCleanup(cls.daemon.close)
        cls.daemon.start()
        cls.scratch = os.path.join(cls.daemon.directory, "scratch")
        os.mkdir(cls.scratch)

    @contextlib.contextmanager
    def mounted(self, name):
        path = self.daemon.mount(name)
        try:
            yield path
        finally:
            self.daemon.unmount(name)

    @contextlib.contextmanager
    def look(self, volume, at, name=None):
        """The volume as it was at an instant, read-only."""
        name = name or f"{volume}-snapshot"
        self.daemon.create(name, snapshot_of=volume, at=at)
        with self.mounted(name) as path:
            with self.assertRaises(OSError):
                os.mkdir(os.path.join(path, "written"))
            yield path
        self.daemon.rewind("rm", name)

    @contextlib.contextmanager
    def copy(self, volume, at, name=None):
        """The volume as it was at an instant, to be written."""
        name = name or f"{volume}-clone"
        self.daemon.create(name, clone_of=volume, at=at)
        with self.mounted(name) as path:
            yield path
        self.daemon.rewind("rm", name)
