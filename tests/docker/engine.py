"""A Docker engine for tests: its own data, its own socket, no network, gone when the test ends."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time

import leftovers

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("REWIND_BINARY", os.path.join(SOURCE_DIR, "build", "rewind"))


class Engine:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="rewind-docker-")
        self.host = f"unix://{self.directory}/docker.sock"
        self.data = os.path.join(self.directory, "volumes")  # the plugin's data root
        self.environment = dict(os.environ, DOCKER_HOST=self.host, REWIND_DATA=self.data,
                                DOCKER_CONFIG=os.path.join(self.directory, "config"))
        self.environment.pop("DOCKER_CONTEXT", None)
        os.mkdir(self.data)
        self._process = None
        self._log = open(os.path.join(self.directory, "engine.log"), "ab")

    def start(self, *flags):
        # Plugins start before the engine answers, so its answer is the sign for both.
        base = self.directory
        self._process = subprocess.Popen(
            ["dockerd", "--data-root", f"{base}/data", "--exec-root", f"{base}/exec",
             "--pidfile", f"{base}/pid", "-H", self.host, "--iptables=false", "--bridge=none",
             "--shutdown-timeout", "5", *flags],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            preexec_fn=leftovers.die_with_parent())
        deadline = time.monotonic() + 60
        while self.docker("version", check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the engine does not start:\n" + self.log_tail())
            time.sleep(0.1)

    def stop(self):
        leftovers.stop(self._process, 60)

    def restart(self, *flags):
        self.stop()
        self.start(*flags)

    def kill(self):
        """SIGKILL to dockerd alone, as when it crashes. Its containerd ends with it, and is waited for here: the next
        dockerd takes a zombie for a containerd that it may go on with."""
        leftovers.adopt_orphans()
        with open(f"{self.directory}/exec/containerd/containerd.pid") as file:
            containerd = int(file.read())
        self._process.kill()
        self._process.wait()
        leftovers.wait_for_orphan(containerd)

    def close(self):
        """Ends everything that the engine ran, then the engine, then its directory."""
        if self._process is not None and self._process.poll() is None:
            containers = self.docker("ps", "-aq", check=False).stdout.split()
            if containers:
                self.docker("rm", "-f", *containers, check=False)
            for plugin in self.docker("plugin", "ls", "-q", check=False).stdout.split():
                self.docker("plugin", "disable", "-f", plugin, check=False)
                self.docker("plugin", "rm", "-f", plugin, check=False)
            self.stop()
        self._log.close()
        leftovers.remove(self.directory)

    def docker(self, *arguments, check=True, input=None, text=True, timeout=120):
        """Runs `docker …`; a failure that is not expected shows what was said."""
        result = subprocess.run(["docker", *arguments], env=self.environment, input=input, text=text,
                                stdin=subprocess.DEVNULL if input is None else None,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        if check and result.returncode != 0:
            raise AssertionError(f"docker {' '.join(arguments)}: {result.stderr or result.stdout}")
        return result

    def script(self, name, *arguments, check=True, timeout=600):
        """Runs one of scripts/ against this engine."""
        result = subprocess.run([os.path.join(SOURCE_DIR, "scripts", name), *arguments],
                                env=self.environment, text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        if check and result.returncode != 0:
            raise AssertionError(f"{name} failed ({result.returncode}):\n{result.stdout}")
        return result

    def create_plugin(self):
        self.script("plugin-create.sh", "--binary", BINARY, "--data", self.data, "--set",
                    "REWIND_LOG_LEVEL=debug")

    def plugin_id(self):
        return json.loads(self.docker("plugin", "inspect", "rewind").stdout)[0]["Id"]

    def plugin_socket(self):
        return f"/run/docker/plugins/{self.plugin_id()}/rewind.sock"

    def ask(self, endpoint, body):
        """The plugin's answer to a request of the engine's with this text for a body."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.plugin_socket())
            data = body.encode()
            connection.sendall(f"POST {endpoint} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
                               f"{len(data)}\r\n\r\n".encode() + data)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return json.loads(answer.partition(b"\r\n\r\n")[2])

    def rewind(self, *arguments, check=True):
        """The command line, talking to this engine's plugin."""
        result = subprocess.run([BINARY, *arguments], env=dict(os.environ, REWIND_SOCKET=self.plugin_socket()),
                                text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=60)
        if check and result.returncode != 0:
            raise AssertionError(f"rewind {' '.join(arguments)}: {result.stderr}")
        return result

    def volume_mounts(self):
        """FUSE mounts of rewind's below this engine's directory."""
        return [path for path in leftovers.mounts_below(self.directory) if "/propagated-mount/" in path]

    def log_tail(self, lines=40):
        with open(os.path.join(self.directory, "engine.log"), errors="replace") as log:
            return "".join(log.readlines()[-lines:])


def say(text):
    print(text, file=sys.stderr, flush=True)
