"""SQLite on a volume: every instant of its history is a database that SQLite opens, and holds what it should.

Method: a process, or two that write to one database at once, inserts 1, 2, 3, … one transaction each, and prints each
number when it is committed, with the times when that began and ended. Clones of random instants are opened with SQLite:
the integrity check passes, the rows of each process are 1…n without a gap, everything acknowledged before the instant is
there, and nothing that began after it.
"""

import os
import random
import sqlite3
import subprocess
import sys
import time
import unittest

import daemon
from daemon import leftovers

SECONDS_OF_WRITING = 4
CLONES = 15
CLONES_OF_TWO = 8
LEAST_ROWS = 20

# Run with the database's path, the journal mode, the writer's number, and how long it rests between transactions.
WRITER = """
import sqlite3, sys, time
path, mode, writer, rest = sys.argv[1:]
connection = sqlite3.connect(path, isolation_level=None, timeout=300)
connection.execute("PRAGMA journal_mode=" + mode)
connection.execute("PRAGMA synchronous=FULL")
n = 0
while True:
    n += 1
    began = time.time_ns()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (?, ?, randomblob(300))", (writer, n))
    if n % 7 == 0:
        connection.execute("UPDATE t SET filler = randomblob(900) WHERE n % 13 = ?", (n % 13,))
    connection.execute("COMMIT")
    print(n, began, time.time_ns(), flush=True)
    time.sleep(float(rest))
"""


def setUpModule():
    global DAEMON
    DAEMON = daemon.for_module()


class SqliteTest(unittest.TestCase):
    def write_for_a_while(self, volume, mode, writers):
        """Returns what each writer did: (number, began, ended)…"""
        directory = DAEMON.mount(volume)
        # Before they begin: who changes the journal's mode does not wait for others.
        connection = sqlite3.connect(f"{directory}/db")
        connection.execute("PRAGMA journal_mode=" + mode)
        connection.execute("CREATE TABLE t (writer INTEGER, n INTEGER, filler BLOB, PRIMARY KEY (writer, n))")
        connection.close()
        logs = [os.path.join(DAEMON.directory, f"{volume}.{writer}.log") for writer in range(writers)]
        # SQLite's locks know no turns: who never rests may keep the other from ever writing.
        rest = "0.003" if writers > 1 else "0"
        processes = []
        try:
            for writer, log in enumerate(logs):
                with open(log, "w") as output:
                    processes.append(subprocess.Popen(
                        [sys.executable, "-c", WRITER, f"{directory}/db", mode, str(writer), rest], stdout=output,
                        preexec_fn=leftovers.die_with_parent()))
            end = time.monotonic() + SECONDS_OF_WRITING
            while time.monotonic() < end or not self.enough([self.done(log) for log in logs]):
                self.assertEqual([process.poll() for process in processes], [None] * writers, "a writer failed")
                self.assertLess(time.monotonic(), end + 200, "a writer got nowhere")
                time.sleep(0.1)
        finally:
            for process in processes:
                process.kill()  # the last transaction may be half done, as after any crash
                process.wait()
        DAEMON.unmount(volume)
        return [self.done(log) for log in logs]

    def enough(self, work):
        """Whether all have written since all had begun to."""
        if not all(work):
            return False
        all_began = max(done[0][2] for done in work)
        return all(sum(ended > all_began for _, _, ended in done) >= LEAST_ROWS for done in work)

    def done(self, log):
        with open(log) as lines:
            return [tuple(map(int, line.split())) for line in lines if line.endswith("\n")]

    def rows_at(self, volume, then, name):
        """The numbers of each writer's rows."""
        DAEMON.create(name, clone_of=volume, at=f"@{then // 10**9}.{then % 10**9:09d}")
        directory = DAEMON.mount(name)
        try:
            connection = sqlite3.connect(f"{directory}/db")
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            rows = connection.execute("SELECT writer, n FROM t ORDER BY writer, n").fetchall()
            connection.close()
            checked = subprocess.run(["sqlite3", f"{directory}/db", "PRAGMA integrity_check"], text=True,
                                     stdout=subprocess.PIPE, check=True)
            self.assertEqual(checked.stdout.strip(), "ok")
        finally:
            DAEMON.unmount(name)
            DAEMON.rewind("rm", name)
        return rows

    def check_mode(self, mode, writers=1, clones=CLONES):
        seed = int(os.environ.get("REWIND_SEED", time.time_ns() % 1_000_000))
        print(f"seed {seed}", file=sys.stderr)
        volume = f"sqlite-{mode}-{writers}"
        DAEMON.create(volume)
        work = self.write_for_a_while(volume, mode, writers)
        pick = random.Random(seed)
        first, last = max(done[0][2] for done in work), min(done[-1][2] for done in work)
        for number in range(clones):
            then = pick.randrange(first, last)
            with self.subTest(at=then, seed=seed):
                rows = self.rows_at(volume, then, f"{volume}-{number}")
                self.assertEqual({writer for writer, _ in rows}, set(range(writers)))
                for writer, done in enumerate(work):
                    self.check_rows([n for of, n in rows if of == writer], done, then)
        self.check_rollback(volume, pick.randrange(first, last))

    def check_rows(self, rows, done, then):
        acknowledged = max((n for n, _, ended in done if ended < then), default=0)
        begun = max((n for n, began, _ in done if began <= then), default=0)
        self.assertEqual(rows, list(range(1, len(rows) + 1)))
        self.assertGreaterEqual(len(rows), acknowledged)
        self.assertLessEqual(len(rows), begun)

    def check_rollback(self, volume, then):
        expected = self.rows_at(volume, then, volume + "-expected")
        DAEMON.create(volume + "-before", rollback=volume, at=f"@{then // 10**9}.{then % 10**9:09d}")
        directory = DAEMON.mount(volume)
        try:
            connection = sqlite3.connect(f"{directory}/db")
            self.assertEqual(connection.execute("SELECT writer, n FROM t ORDER BY writer, n").fetchall(), expected)
            connection.execute("INSERT INTO t VALUES (-1, -1, '')")
            connection.commit()
            connection.close()
        finally:
            DAEMON.unmount(volume)

    def test_rollback_journal(self):
        self.check_mode("delete")

    def test_write_ahead_log(self):
        # Its index is a file mapped and shared: writes that the kernel, not the application, times.
        self.check_mode("wal")

    def test_two_processes_with_a_rollback_journal(self):
        self.check_mode("delete", 2, CLONES_OF_TWO)

    def test_two_processes_with_a_write_ahead_log(self):
        self.check_mode("wal", 2, CLONES_OF_TWO)


if __name__ == "__main__":
    unittest.main(verbosity=2)
