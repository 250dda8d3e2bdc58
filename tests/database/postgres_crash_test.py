"""PostgreSQL on a volume, stopped immediately under load: it recovers there, and on clones of instants before, and holds
what it had acknowledged.

Method: beside pgbench a client inserts 1, 2, 3, … and prints each number when its commit is acknowledged. What it has
printed is counted before an instant is taken or the server is stopped, and again after, so no clock is compared: the
rows must be 1…n without a gap, with n between the one count and one more than the other.
"""

import os
import subprocess
import time
import unittest

import daemon
from daemon import leftovers
from postgres_server import BIN, USER, Server, as_postgres

SCALE = 2
CLIENTS = 3
ROWS_BETWEEN_INSTANTS = 150
INSTANTS = 1
MOST_ROWS = 1_000_000


def setUpModule():
    global DAEMON
    DAEMON = daemon.for_module()


class Inserter:
    """Inserts numbers from `begin` on, each a transaction, until the server is gone."""

    def __init__(self, server, begin):
        self._begin = begin
        self._path = server.sockets + ".inserted"
        with open(self._path, "w") as output, open(server.sockets + ".errors", "w") as errors:
            numbers = subprocess.Popen(["seq", "-f", "INSERT INTO inserted VALUES (%.0f) RETURNING n;", str(begin),
                                        str(MOST_ROWS)], stdout=subprocess.PIPE)
            self._process = subprocess.Popen(
                [os.path.join(BIN, "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", server.sockets,
                 "postgres"], user=USER, cwd="/", stdin=numbers.stdout, stdout=output, stderr=errors,
                preexec_fn=leftovers.die_with_parent())
            numbers.stdout.close()
            self._numbers = numbers

    def acknowledged(self):
        with open(self._path) as output:
            return self._begin - 1 + output.read().count("\n")

    def wait_for(self, number):
        deadline = time.monotonic() + 120
        while self.acknowledged() < number:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no row after {self.acknowledged()}")
            time.sleep(0.01)

    def end(self):
        """Waits until it has noticed that the server is gone."""
        leftovers.stop(self._process)
        self._numbers.wait()


class PostgresCrashTest(unittest.TestCase):
    def start_load(self, server, begin):
        bench = subprocess.Popen(
            [os.path.join(BIN, "pgbench"), "-n", "-c", str(CLIENTS), "-T", "600", "-h", server.sockets, "postgres"],
            user=USER, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=leftovers.die_with_parent())
        self.addCleanup(leftovers.stop, bench)
        inserter = Inserter(server, begin)
        self.addCleanup(inserter.end)
        return bench, inserter

    def assert_recovered(self, server, least, most):
        self.assertIn("automatic recovery in progress", server.log())
        rows = int(server.sql("SELECT count(*) FROM inserted"))
        self.assertGreaterEqual(rows, least)
        self.assertLessEqual(rows, most)
        self.assertEqual(server.sql("SELECT min(n), max(n) FROM inserted"), f"1|{rows}")
        sums = server.sql("SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), "
                          "(SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history)").split("|")
        self.assertEqual(len(set(sums)), 1, f"balances do not add up: {sums}")
        server.sql("CREATE EXTENSION IF NOT EXISTS amcheck; SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN "
                   "pg_index i ON i.indexrelid = c.oid WHERE c.relname LIKE 'pgbench%' OR c.relname LIKE 'inserted%'")
        return rows

    def assert_checksums(self, server):
        """Stops it properly, and has PostgreSQL check every page."""
        server.stop()
        as_postgres("pg_checksums", "--check", "-D", server.data)

    def test_immediate_stop(self):
        DAEMON.create("pg")
        server = Server(DAEMON, "pg")
        self.addCleanup(server.close)
        server.make("--data-checksums")
        server.start()
        as_postgres("pgbench", "-i", "-q", "-s", str(SCALE), "-h", server.sockets, "postgres")
        server.sql("CREATE TABLE inserted (n integer PRIMARY KEY)")

        instants, rows = [], 0
        for crash in range(2):  # the second time it crashes that it has recovered
            bench, inserter = self.start_load(server, rows + 1)
            for number in range(INSTANTS):
                inserter.wait_for(rows + ROWS_BETWEEN_INSTANTS * (number + 1))
                least = inserter.acknowledged()
                then = DAEMON.now("pg")
                instants.append((then, least, inserter.acknowledged() + 1))
            least = inserter.acknowledged()
            server.stop_immediately()
            inserter.end()
            self.assertNotEqual(bench.wait(60), 0, "the server was stopped under it")
            stopped = DAEMON.now("pg")
            most = inserter.acknowledged() + 1
            instants.append((stopped, least, most))
            server.start()
            rows = self.assert_recovered(server, least, most)
        self.assert_checksums(server)

        for number, (then, least, most) in enumerate(instants):
            with self.subTest(at=then, least=least):
                self.check_instant(f"pg-{number}", then, least, most)

    def check_instant(self, name, then, least, most):
        DAEMON.create(name + "-look", snapshot_of="pg", at=then)
        path = DAEMON.mount(name + "-look")
        state = as_postgres("pg_controldata", os.path.join(path, "data"))
        self.assertRegex(state, "cluster state: +in production")
        DAEMON.unmount(name + "-look")
        DAEMON.create(name, clone_of="pg", at=then)
        second = Server(DAEMON, name)
        try:
            # As with every copy of a running server's files: its lock file names the first server.
            if os.path.exists(os.path.join(second.data, "postmaster.pid")):
                os.remove(os.path.join(second.data, "postmaster.pid"))
            second.start()
            rows = self.assert_recovered(second, least, most)
            print(f"{least} to {most} rows at the instant, found {rows}", flush=True)
            self.assert_checksums(second)
        finally:
            second.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
