"""PostgreSQL on a volume, under pgbench: instants from the middle of the run start as second servers, and a rollback
brings a dropped table back.

Method: the server notes the time of each commit (track_commit_timestamp). A server started on a clone of instant T must
recover and hold every transaction that committed well before T and none that committed after it: the rows of a state
that the first server was in. TPC-B's own invariant (all balances add up to the history's deltas) must hold as well.
"""

import hashlib
import os
import subprocess
import time
import unittest

import daemon
from daemon import leftovers
from postgres_server import BIN, USER, Server, as_postgres

SCALE = 4
CLIENTS = 4
SECONDS_BETWEEN_INSTANTS = 4
INSTANTS = 3
# A commit is on its way to the log for less than this after its time was noted.
SECONDS_OF_COMMIT = 2


def setUpModule():
    global DAEMON
    DAEMON = daemon.for_module()


def tree_digest(directory):
    """One digest over names, types, sizes, owners, modes and contents."""
    digest = hashlib.sha256()
    for parent, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted(directories + files):
            path = os.path.join(parent, name)
            info = os.lstat(path)
            digest.update(f"{path[len(directory):]} {info.st_mode} {info.st_uid} {info.st_size}\n".encode())
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    while chunk := file.read(1 << 20):
                        digest.update(chunk)
    return digest.hexdigest()


class PostgresTest(unittest.TestCase):
    def assert_invariant(self, server):
        sums = server.sql("SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM "
                          "pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), "
                          "0) FROM pgbench_history)").split("|")
        self.assertEqual(len(set(sums)), 1, f"balances do not add up: {sums}")

    def committed(self, server, condition="true"):
        """Transactions that wrote history, by their numbers, which a clone keeps."""
        return set(server.sql(f"SELECT xmin FROM pgbench_history WHERE {condition}").split())

    def assert_state_of(self, first, then, second):
        """`second`, started on a copy of instant `then`, is in a state that `first` was in at that instant."""
        surely = self.committed(first, f"pg_xact_commit_timestamp(xmin) < timestamptz '{then[:26]}Z' - interval "
                                       f"'{SECONDS_OF_COMMIT} s'")
        at_most = self.committed(first, f"pg_xact_commit_timestamp(xmin) <= timestamptz '{then[:26]}Z' + interval '1 us'")
        has = self.committed(second)
        self.assertTrue(surely <= has, f"lost {len(surely - has)} transactions from before {then}")
        self.assertTrue(has <= at_most, f"has {len(has - at_most)} transactions from after {then}")
        self.assert_invariant(second)
        self.assertEqual(second.sql("SELECT count(*) FROM pgbench_accounts"), str(SCALE * 100_000))
        # Reads every row and index through the checks that PostgreSQL has.
        second.sql("CREATE EXTENSION IF NOT EXISTS amcheck; SELECT bt_index_check(c.oid, true) FROM pg_class c JOIN "
                   "pg_index i ON i.indexrelid = c.oid WHERE c.relname LIKE 'pgbench%'")
        return len(has)

    def second_server(self, clone):
        server = Server(DAEMON, clone)
        self.addCleanup(server.close)
        # As with every copy of a running server's files: its lock file names the first server, which still runs.
        lock = os.path.join(server.data, "postmaster.pid")
        if os.path.exists(lock):
            os.remove(lock)
        server.start()
        return server

    def test_history_of_a_running_server(self):
        DAEMON.create("pg")
        first = Server(DAEMON, "pg")
        first.make()
        first.start()
        as_postgres("pgbench", "-i", "-q", "-s", str(SCALE), "-h", first.sockets, "postgres")

        bench = subprocess.Popen(
            [os.path.join(BIN, "pgbench"), "-n", "-c", str(CLIENTS), "-T",
             str(SECONDS_BETWEEN_INSTANTS * (INSTANTS + 1)), "-h", first.sockets, "postgres"],
            user=USER, cwd="/", text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=leftovers.die_with_parent())
        instants = []
        for _ in range(INSTANTS):
            time.sleep(SECONDS_BETWEEN_INSTANTS)
            instants.append(DAEMON.now("pg"))
        # The first is looked at while the benchmark runs on, the others after it.
        DAEMON.create("pg-running", snapshot_of="pg", at=instants[0])
        DAEMON.create("pg-running-clone", clone_of="pg", at=instants[0])
        digest = tree_digest(DAEMON.mount("pg-running"))
        self.assertEqual(tree_digest(DAEMON.mount("pg-running-clone")), digest,
                         "a snapshot and a clone of one instant read the same")
        DAEMON.unmount("pg-running-clone")
        output, errors = bench.communicate()
        self.assertEqual(bench.returncode, 0, errors)
        print(next(line for line in output.splitlines() if line.startswith("tps")), flush=True)
        self.assertEqual(tree_digest(f"{DAEMON.directory}/on/pg-running"), digest, "a snapshot does not change")
        DAEMON.unmount("pg-running")
        self.assert_invariant(first)

        counts = []
        for number, then in enumerate(instants):
            clone = "pg-running-clone" if number == 0 else f"pg-{number}"
            if number > 0:
                DAEMON.create(clone, clone_of="pg", at=then)
            second = self.second_server(clone)
            self.assertIn("automatic recovery", second.log(), "it starts from the middle of a run")
            counts.append(self.assert_state_of(first, then, second))
        self.assertEqual(counts, sorted(counts))
        self.assertGreater(counts[-1], counts[0])

        self.check_dropped_table(first)

    def check_dropped_table(self, first):
        rows = first.sql("SELECT count(*), sum(abalance) FROM pgbench_accounts")
        before = DAEMON.now("pg")
        first.sql("DROP TABLE pgbench_accounts")
        first.sql("CHECKPOINT")
        first.close()
        DAEMON.create("pg-dropped", rollback="pg", at=before)

        again = Server(DAEMON, "pg")
        self.addCleanup(again.close)
        again.start()
        self.assertEqual(again.sql("SELECT count(*), sum(abalance) FROM pgbench_accounts"), rows)
        self.assert_invariant(again)
        as_postgres("pgbench", "-n", "-c", str(CLIENTS), "-t", "100", "-h", again.sockets, "postgres")
        self.assert_invariant(again)

        # The volume that the rollback made still shows the mistake.
        DAEMON.create("pg-mistake", clone_of="pg-dropped")
        mistake = self.second_server("pg-mistake")
        self.assertEqual(mistake.sql("SELECT count(*) FROM pg_class WHERE relname = 'pgbench_accounts'"), "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
