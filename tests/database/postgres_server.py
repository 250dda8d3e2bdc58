"""A PostgreSQL server on a volume."""

import glob
import os
import pwd
import subprocess

from daemon import first_answer, leftovers

USER = "postgres"
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]


def as_postgres(program, *arguments, **options):
    """Runs a program of PostgreSQL's as its user and returns what it printed."""
    result = subprocess.run([os.path.join(BIN, program), *arguments], user=USER, group=pwd.getpwnam(USER).pw_gid,
                            extra_groups=[], cwd="/", text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **options)
    if result.returncode != 0:
        raise AssertionError(f"{program} {' '.join(arguments)}: {result.stderr}")
    return result.stdout


class Server:
    """A server on a mounted volume, reached through a Unix socket of its own."""

    def __init__(self, daemon, volume):
        self._daemon = daemon
        self.volume = volume
        self.directory = daemon.mount(volume)
        self.data = os.path.join(self.directory, "data")
        self.sockets = os.path.join(daemon.directory, "s-" + volume)
        os.makedirs(self.sockets, exist_ok=True)
        os.chown(self.sockets, pwd.getpwnam(USER).pw_uid, -1)
        self.log_path = self.sockets + ".log"
        self._process = None

    def make(self, *options):
        os.chown(self.directory, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
        as_postgres("initdb", "-D", self.data, "-A", "trust", "-E", "UTF8", "--locale=C", *options)

    def start(self):
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [os.path.join(BIN, "postgres"), "-D", self.data, "-k", self.sockets, "-c", "listen_addresses=", "-c",
                 "track_commit_timestamp=on", "-c", "max_wal_size=256MB", "-c", "checkpoint_timeout=30s"],
                user=USER, group=pwd.getpwnam(USER).pw_gid, extra_groups=[], cwd="/", stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=leftovers.die_with_parent())
        return first_answer(self._process, self)

    def stop(self):
        leftovers.stop(self._process)  # SIGTERM waits for clients; there are none

    def stop_immediately(self):
        """As a crash: processes end without writing anything more."""
        as_postgres("pg_ctl", "stop", "-D", self.data, "-m", "immediate")
        self._process.wait()

    def close(self):
        """Stops the server and unmounts the volume."""
        if self._process is not None:
            self.stop()
        self._daemon.unmount(self.volume)

    def sql(self, statement):
        return as_postgres("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-c",
                           statement, "postgres").strip()

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()
