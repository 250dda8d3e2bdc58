"""A source tree, unpacked, removed, checked out; and databases."""

import contextlib
import glob
import io
import os
import pwd
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import time

from tools import drop_caches, run, timed

GIT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_AUTHOR_NAME": "a",
       "GIT_AUTHOR_EMAIL": "a@example", "GIT_COMMITTER_NAME": "c", "GIT_COMMITTER_EMAIL": "c@example"}
FILES_A_DIRECTORY = 20
INSERTS_A_LOOK = 20  # between looks at the clock
PG_SCALE = 10


class Tree:
    """A tree like a program's sources, as an archive and as a bare repository, made once."""

    def __init__(self, work, files):
        self.files = files
        self.archive = os.path.join(work, "tree.tar")
        self.repository = os.path.join(work, "tree.git")
        self.write_archive()
        unpacked = os.path.join(work, "tree")
        os.mkdir(unpacked)
        run("tar", "-xf", self.archive, "-C", unpacked)
        git(unpacked, "init", "-q")
        git(unpacked, "add", "-A")
        git(unpacked, "commit", "-q", "-m", "tree")
        run("git", "clone", "-q", "--bare", unpacked, self.repository, env=GIT)
        shutil.rmtree(unpacked)

    def write_archive(self):
        chance = random.Random(1)
        with tarfile.open(self.archive, "w") as archive:
            for number in range(self.files):
                directory = number // FILES_A_DIRECTORY
                info = tarfile.TarInfo(f"part{directory % 17}/module{directory}/file{number}.cc")
                info.size = min(int(chance.expovariate(1 / 6000)) + 1, 60_000)
                archive.addfile(info, io.BytesIO(chance.randbytes(info.size // 2).hex().encode().ljust(info.size)))


def git(repository, *arguments):
    return run("git", "-C", repository, *arguments, env=GIT)


def tree(peer, settings):
    made = settings.tree()
    peer.settle()
    directory = peer.fresh("tree")
    with open(made.archive, "rb") as archive:
        while archive.read(1 << 20):
            pass  # it is read from memory
    figures = {"untar": made.files * 1000 / timed(lambda: run("tar", "-xf", made.archive, "-C", directory)),
               "rm": made.files * 1000 / timed(lambda: run("rm", "-r", directory))}
    peer.settle()
    clone = os.path.join(peer.path, "clone")
    run("git", "clone", "-q", "--no-checkout", "--shared", made.repository, clone, env=GIT)
    figures["git-checkout"] = made.files * 1000 / timed(lambda: git(clone, "checkout", "-q", "-f", "HEAD"))
    git(clone, "status", "--porcelain")
    figures["git-status"] = made.files * 1000 / timed(lambda: git(clone, "status", "--porcelain"))
    shutil.rmtree(clone)
    return figures


def sqlite(peer, settings):
    figures = {}
    for name, mode in (("sqlite-wal", "WAL"), ("sqlite-rollback", "DELETE")):
        peer.settle()
        path = os.path.join(peer.fresh(name), "database")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        began, done = time.monotonic(), 0
        while time.monotonic() - began < settings.seconds:
            for _ in range(INSERTS_A_LOOK):
                connection.execute("INSERT INTO t (text) VALUES (?)", ("x" * 100,))
            done += INSERTS_A_LOOK
        figures[name] = done / (time.monotonic() - began)
        connection.close()
        shutil.rmtree(os.path.dirname(path))
    return figures


def redis(peer, settings):
    figures = {}
    for name, policy, requests in (("redis-everysec", "everysec", 50_000), ("redis-always", "always", 15_000)):
        peer.settle()
        directory = peer.fresh(name)
        socket = os.path.join(peer.work, "redis")
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", socket, "--dir", directory, "--save", "", "--appendonly", "yes",
             "--appendfsync", policy, "--daemonize", "no"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        try:
            wait_for(socket, server)
            text = run("redis-benchmark", "-s", socket, "-t", "set", "-n", str(requests * settings.seconds), "-r", "100000",
                       "-d", "100", "--csv")
            figures[name] = float(re.search(r'^"SET","([\d.]+)"', text, re.M).group(1))
        finally:
            stop(server)
        shutil.rmtree(directory)
    return figures


def wait_for(path, server):
    deadline = time.monotonic() + 30
    while not os.path.exists(path):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server does not start: " + str(server.args))
        time.sleep(0.02)


def stop(server):
    server.send_signal(signal.SIGTERM)
    server.wait(60)


class Postgres:
    """A database cluster made once, which each peer gets a copy of."""

    def __init__(self, work):
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.user = pwd.getpwnam("postgres")
        self.template = os.path.join(work, "postgres")
        os.mkdir(self.template, 0o700)
        os.chown(self.template, self.user.pw_uid, self.user.pw_gid)
        self.program("initdb", "-D", self.template, "-A", "trust", "-E", "UTF8", "--locale=C")
        with self.serving(self.template, work):
            self.program("pgbench", "-h", work, "-i", "-q", "-s", str(PG_SCALE), "postgres")

    def as_user(self):
        return {"user": "postgres", "group": self.user.pw_gid, "extra_groups": [], "cwd": "/"}

    def program(self, name, *arguments):
        return run(os.path.join(self.bin, name), *arguments, **self.as_user())

    @contextlib.contextmanager
    def serving(self, data, sockets):
        os.chown(sockets, self.user.pw_uid, -1)
        with open(os.path.join(sockets, "postgres.log"), "ab") as log:
            server = subprocess.Popen(
                [os.path.join(self.bin, "postgres"), "-D", data, "-k", sockets, "-c", "listen_addresses="],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.as_user())
        try:
            for _ in range(600):
                if subprocess.run([os.path.join(self.bin, "pg_isready"), "-q", "-h", sockets], check=False).returncode == 0:
                    break
                time.sleep(0.1)
            yield
        finally:
            stop(server)

    def measure(self, peer, settings):
        peer.settle()
        data = os.path.join(peer.path, "postgres")
        run("cp", "-a", self.template, data)
        drop_caches()
        with self.serving(data, peer.work):
            self.program("psql", "-q", "-h", peer.work, "-c", "CHECKPOINT", "postgres")
            text = self.program("pgbench", "-h", peer.work, "-c", "4", "-j", "2", "-T", str(settings.seconds * 4), "postgres")
        shutil.rmtree(data)
        return {"pgbench": float(re.search(r"^tps = ([\d.]+)", text, re.M).group(1))}


def pgbench(peer, settings):
    return settings.postgres().measure(peer, settings)
