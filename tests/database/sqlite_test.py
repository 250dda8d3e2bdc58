"""SQLite on a volume: every instant of its history is a database that SQLite opens, and holds what it should.

Method: a process inserts 1, 2, 3, … one transaction each, and prints each number before it begins and after it is
committed, with the time. Clones of random instants are opened with SQLite: the integrity check passes, the rows are
1…n without a gap, everything acknowledged before the instant is there, and nothing that began after it.
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

# Run with the database's path and the journal mode.
WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=" + sys.argv[2])
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, filler BLOB)")
n = 0
while True:
    n += 1
    began = time.time_ns()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (?, randomblob(300))", (n,))
    if n % 7 == 0:
        connection.execute("UPDATE t SET filler = randomblob(900) WHERE n % 13 = ?", (n % 13,))
    connection.execute("COMMIT")
    print(n, began, time.time_ns(), flush=True)
"""


def setUpModule():
    global DAEMON
    leftovers.exit_on_signals()
    DAEMON = daemon.Daemon()
    unittest.addModuleCleanup(DAEMON.close)
    DAEMON.start()


class SqliteTest(unittest.TestCase):
    def write_for_a_while(self, volume, mode):
        directory = DAEMON.mount(volume)
        log = os.path.join(DAEMON.directory, volume + ".log")
        with open(log, "w") as output:
            writer = subprocess.Popen([sys.executable, "-c", WRITER, f"{directory}/db", mode], stdout=output,
                                      preexec_fn=leftovers.die_with_parent())
            time.sleep(SECONDS_OF_WRITING)
            self.assertIsNone(writer.poll(), "the writer failed")
            writer.kill()  # the last transaction may be half done, as after any crash
            writer.wait()
        DAEMON.unmount(volume)
        with open(log) as lines:
            done = [tuple(map(int, line.split())) for line in lines if line.endswith("\n")]
        self.assertGreater(len(done), 20, "the writer got nowhere")
        return done

    def rows_at(self, volume, then, name):
        DAEMON.create(name, clone_of=volume, at=f"@{then // 10**9}.{then % 10**9:09d}")
        directory = DAEMON.mount(name)
        try:
            connection = sqlite3.connect(f"{directory}/db")
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            rows = [n for n, in connection.execute("SELECT n FROM t ORDER BY n")]
            connection.close()
            checked = subprocess.run(["sqlite3", f"{directory}/db", "PRAGMA integrity_check"], text=True,
                                     stdout=subprocess.PIPE, check=True)
            self.assertEqual(checked.stdout.strip(), "ok")
        finally:
            DAEMON.unmount(name)
            DAEMON.rewind("rm", name)
        return rows

    def check_mode(self, mode):
        seed = int(os.environ.get("REWIND_SEED", time.time_ns() % 1_000_000))
        print(f"seed {seed}", file=sys.stderr)
        volume = "sqlite-" + mode
        DAEMON.create(volume)
        done = self.write_for_a_while(volume, mode)
        pick = random.Random(seed)
        for number in range(CLONES):
            then = pick.randrange(done[0][2], done[-1][2])
            with self.subTest(at=then, seed=seed):
                rows = self.rows_at(volume, then, f"{volume}-{number}")
                acknowledged = max((n for n, _, ended in done if ended < then), default=0)
                begun = max((n for n, began, _ in done if began <= then), default=0)
                self.assertEqual(rows, list(range(1, len(rows) + 1)))
                self.assertGreaterEqual(len(rows), acknowledged)
                self.assertLessEqual(len(rows), begun)
        self.check_rollback(volume, done, pick)

    def check_rollback(self, volume, done, pick):
        then = pick.randrange(done[0][2], done[-1][2])
        expected = self.rows_at(volume, then, volume + "-expected")
        DAEMON.create(volume + "-before", rollback=volume, at=f"@{then // 10**9}.{then % 10**9:09d}")
        directory = DAEMON.mount(volume)
        try:
            connection = sqlite3.connect(f"{directory}/db")
            self.assertEqual([n for n, in connection.execute("SELECT n FROM t ORDER BY n")], expected)
            connection.execute("INSERT INTO t VALUES (-1, '')")
            connection.commit()
            connection.close()
        finally:
            DAEMON.unmount(volume)

    def test_rollback_journal(self):
        self.check_mode("delete")

    def test_write_ahead_log(self):
        # Its index is a file mapped and shared: writes that the kernel, not the application, times.
        self.check_mode("wal")


if __name__ == "__main__":
    unittest.main(verbosity=2)
