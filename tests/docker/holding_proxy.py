"""Between a command and a real engine: passes everything on, but can hold a request until it is told to go on, so that
a test does something at exactly that moment."""

import os
import re
import socket
import threading


class HoldingProxy:
    def __init__(self, path, engine_path):
        self.path, self._engine_path = path, engine_path
        self._pattern = None
        self.held, self._go_on = threading.Event(), threading.Event()
        self._dropping = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def hold(self, pattern):
        """Holds the next request whose line matches; `held` is set when it has come."""
        self.held.clear()
        self._go_on.clear()
        self._dropping = False
        self._pattern = re.compile(pattern)

    def go_on(self):
        self._go_on.set()

    def drop(self):
        """The held request never comes to the engine."""
        self._dropping = True
        self._go_on.set()

    def close(self):
        self.drop()
        self._listener.close()
        os.unlink(self.path)

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection):
        with connection:
            request = b""
            while b"\r\n" not in request:
                data = connection.recv(65536)
                if not data:
                    return
                request += data
            line = request.partition(b"\r\n")[0].decode()
            if self._pattern is not None and self._pattern.search(line):
                self._pattern = None
                self.held.set()
                self._go_on.wait()
                if self._dropping:
                    return
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(self._engine_path)
                engine.sendall(request)
                back = threading.Thread(target=self._pump, args=(engine, connection), daemon=True)
                back.start()
                # One request a connection: what follows is its body.
                self._pump(connection, engine, end=False)
                back.join()

    @staticmethod
    def _pump(source, target, end=True):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        if end:  # the answer is whole
            for side in (target, source):
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
