"""An unmanaged rewind daemon of the bench's own."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

from tools import resident_mib, run, unmount_below


class Daemon:
    """Its command line is called as a function."""

    def __init__(self, binary, work):
        self.binary, self.work = binary, work
        self.socket = os.path.join(work, "socket")
        self.root = os.path.join(work, "root")
        self.environment = {**os.environ, "REWIND_SOCKET": self.socket}
        self.process = None

    def start(self):
        with open(os.path.join(self.work, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--root", self.root, "--socket", self.socket, "--mounts",
                 os.path.join(self.work, "mounts")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(600):
            if subprocess.run([self.binary, "ls"], env=self.environment, capture_output=True,
                              check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError(f"the daemon did not start; see {self.work}/log")

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(120)
            self.process = None

    def __call__(self, *arguments):
        return run(self.binary, *arguments, env=self.environment).strip()

    def ask(self, endpoint, **body):
        """One request on the socket, as Docker sends it, without the start of a command."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.socket)
        connection.request("POST", "/" + endpoint, json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        if answer.get("Err"):
            raise RuntimeError(f"{endpoint}: {answer['Err']}")
        return answer

    def create(self, name, **options):
        self.ask("VolumeDriver.Create", Name=name, Opts={key.replace("_", "-"): value for key, value in options.items()})

    def mount(self, name):
        """As Docker does; returns the path."""
        return self.ask("VolumeDriver.Mount", Name=name, ID="bench")["Mountpoint"]

    def unmount(self, name):
        self.ask("VolumeDriver.Unmount", Name=name, ID="bench")

    @property
    def pid(self):
        """Of the process that does the work: the supervisor's child."""
        supervisor = self.process.pid
        with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as children:
            return int(children.read().split()[0])

    def memory_mib(self):
        return resident_mib(self.pid)

    def index_bytes(self):
        path = os.path.join(self.root, "index")
        return sum(os.path.getsize(os.path.join(path, name)) for name in os.listdir(path) if name.endswith(".sst"))


@contextlib.contextmanager
def daemon_of_its_own(binary, directory):
    """A daemon, not yet started, in a new directory under `directory`; in the end nothing is left of either."""
    work = tempfile.mkdtemp(prefix="rewind-bench-", dir=directory)
    os.chmod(work, 0o711)
    daemon = Daemon(os.path.abspath(binary), work)
    try:
        yield daemon
    finally:
        daemon.stop()
        unmount_below(work)
        shutil.rmtree(work, ignore_errors=True)
