"""A Redis server on a directory, and a client that speaks just enough of its protocol."""

import os
import signal
import socket
import subprocess
import time

from program import end_group, leftovers


class RedisError(Exception):
    pass


class Client:
    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._input = self._socket.makefile("rb")

    def close(self):
        self._input.close()
        self._socket.close()

    def call(self, *arguments):
        return self.pipeline([arguments])[0]

    def pipeline(self, commands):
        """Sends all commands at once; an error among the replies is raised."""
        text = b""
        for arguments in commands:
            text += b"*%d\r\n" % len(arguments)
            for argument in arguments:
                data = argument if isinstance(argument, bytes) else str(argument).encode()
                text += b"$%d\r\n%s\r\n" % (len(data), data)
        self._socket.sendall(text)
        return [self._reply() for _ in commands]

    def _reply(self):
        line = self._input.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server is gone")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._input.read(int(rest) + 2)[:-2]
        return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]

    def info(self, section):
        lines = self.call("INFO", section).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)


class Server:
    def __init__(self, directory, socket_path, *options):
        self.socket_path = socket_path
        self._directory = directory
        self._log_path = socket_path + ".log"
        self._options = options
        self._process = None

    def start(self):
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", "--port", "0", "--unixsocket", self.socket_path, "--dir", self._directory, "--daemonize",
                 "no", *self._options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=leftovers.die_with_parent())
        deadline = time.monotonic() + 60
        while True:
            try:
                return self._client()
            except (OSError, RedisError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    with open(self._log_path, errors="replace") as log:
                        raise RuntimeError("redis-server does not start:\n" + log.read()[-4000:]) from None
                time.sleep(0.05)

    def _client(self):
        client = Client(self.socket_path)
        try:
            client.call("PING")  # answered LOADING until it has read its files
            return client
        except (OSError, RedisError):
            client.close()
            raise

    def kill(self):
        """SIGKILL for the server and for a child of it that may be writing a file."""
        if self._process is not None and self._process.poll() is None:
            end_group(self._process, signal.SIGKILL)
        if os.path.exists(self.socket_path):
            os.remove(self.socket_path)
