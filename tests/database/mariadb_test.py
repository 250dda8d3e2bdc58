"""MariaDB (InnoDB) on a volume, under concurrent transactions: clones of instants from the middle of the run start as
second servers, the server survives being killed, and a rollback brings a dropped table back.

Method: each client moves money between accounts and writes a numbered line about it in one transaction. What it had been
told of before an instant was taken must be in a server started on a clone of that instant, and nothing that it had not yet
asked for afterwards; its lines have no gap, and balances are what the lines say.
"""

import contextlib
import os
import pwd
import subprocess
import threading
import time
import unittest

import daemon
from daemon import leftovers

USER = "nobody"
CLIENTS = 3
ACCOUNTS = 200
SECONDS_BETWEEN_INSTANTS = 2
INSTANTS = 3


def setUpModule():
    global DAEMON
    DAEMON = daemon.for_module()


class Server:
    """A server on a mounted volume, reached through a Unix socket of its own."""

    def __init__(self, volume):
        self.volume = volume
        self.directory = DAEMON.mount(volume)
        self.data = os.path.join(self.directory, "data")
        self.sockets = os.path.join(DAEMON.directory, "s-" + volume)
        os.makedirs(self.sockets, exist_ok=True)
        os.chown(self.sockets, pwd.getpwnam(USER).pw_uid, -1)
        self.log_path = self.sockets + ".log"
        self._environment = dict(os.environ, TMPDIR=self.sockets)  # that of the tests is root's
        self._process = None

    def make(self):
        user = pwd.getpwnam(USER)
        os.chown(self.directory, user.pw_uid, user.pw_gid)
        subprocess.run(["mariadb-install-db", "--no-defaults", "--basedir=/usr", f"--datadir={self.data}", "--force",
                        "--auth-root-authentication-method=normal", "--skip-test-db"],
                       user=USER, cwd="/", env=self._environment, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def start(self):
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self.data}", "--skip-networking",
                 f"--socket={self.sockets}/socket", f"--pid-file={self.sockets}/pid", "--innodb-buffer-pool-size=32M",
                 "--innodb-log-file-size=16M"],
                user=USER, cwd="/", env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=leftovers.die_with_parent())
        return daemon.first_answer(self._process, self)

    def client(self):
        return ["mariadb", "--no-defaults", f"--socket={self.sockets}/socket", "--user=root", "--batch",
                "--skip-column-names", "--unbuffered"]

    def sql(self, statement):
        result = subprocess.run([*self.client(), "-e", statement], text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if result.returncode != 0:
            raise AssertionError(f"{statement}: {result.stderr}")
        return result.stdout.strip()

    def kill(self):
        self._process.kill()
        self._process.wait()

    def close(self):
        """Stops the server and unmounts the volume."""
        if self._process is not None:
            leftovers.stop(self._process)
        DAEMON.unmount(self.volume)

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()


class Client(threading.Thread):
    """Makes transactions, one after the other, until it is told to stop or its server ends."""

    def __init__(self, server, number):
        super().__init__()
        self._process = subprocess.Popen([*server.client(), "shop"], text=True, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                         preexec_fn=leftovers.die_with_parent())
        self._number = number
        self._stopping = False
        self.asked = self.told = 0
        self.start()

    def run(self):
        try:
            while not self._stopping:
                self.asked += 1
                giver = (self.asked * 7 + self._number) % ACCOUNTS
                taker = (giver + 1) % ACCOUNTS
                # In the order of accounts, or two clients wait for each other.
                moves = [f"UPDATE account SET balance = balance + {amount} WHERE id = {account};"
                         for account, amount in sorted([(giver, -1), (taker, 1)])]
                print("BEGIN;", *moves, f"INSERT INTO line VALUES ({self._number}, {self.asked}, {giver}, {taker}, "
                      f"REPEAT('x', 200)); COMMIT; SELECT {self.asked};", file=self._process.stdin, flush=True)
                if self._process.stdout.readline().strip() != str(self.asked):
                    return
                self.told = self.asked
        except BrokenPipeError:
            pass

    def stop(self):
        self._stopping = True
        self.join()
        with contextlib.suppress(BrokenPipeError), self._process:
            leftovers.stop(self._process)


class MariadbTest(unittest.TestCase):
    def lines(self, server):
        """How many lines each client has."""
        counts = []
        for number in range(CLIENTS):
            count, last = server.sql("SELECT COUNT(*), COALESCE(MAX(number), 0) FROM shop.line "
                                     f"WHERE client = {number}").split()
            self.assertEqual(count, last, f"client {number}: a transaction is missing before one that is there")
            counts.append(int(count))
        return counts

    def assert_whole(self, server):
        """By the server's own check of all rows and indexes, and by balances."""
        for answer in server.sql("CHECK TABLE shop.account, shop.line EXTENDED").splitlines():
            self.assertTrue(answer.endswith("status\tOK"), answer)
        count = "(SELECT COUNT(*) FROM shop.line WHERE {} = id)"
        self.assertEqual(server.sql("SELECT id, balance FROM shop.account WHERE balance <> 100 + "
                                    f"{count.format('taker')} - {count.format('giver')}"), "")
        self.assertEqual(server.sql("SELECT COUNT(*), SUM(balance) FROM shop.account"), f"{ACCOUNTS}\t{100 * ACCOUNTS}")

    def assert_between(self, server, told, asked):
        has = self.lines(server)
        for number in range(CLIENTS):
            self.assertTrue(told[number] <= has[number] <= asked[number],
                            f"client {number}: {told[number]} <= {has[number]} <= {asked[number]}")
        self.assert_whole(server)

    def second_server(self, clone):
        server = Server(clone)
        self.addCleanup(server.close)
        server.start()
        return server

    def test_history_of_a_running_server(self):
        DAEMON.create("shop")
        first = Server("shop")
        first.make()
        first.start()
        first.sql("CREATE DATABASE shop; USE shop; CREATE TABLE account (id INT PRIMARY KEY, balance INT NOT NULL); "
                  "CREATE TABLE line (client INT, number INT, giver INT, taker INT, text VARCHAR(255), "
                  "PRIMARY KEY (client, number), KEY (giver), KEY (taker)); "
                  f"INSERT INTO account SELECT seq, 100 FROM seq_0_to_{ACCOUNTS - 1}")
        clients = [Client(first, number) for number in range(CLIENTS)]
        self.addCleanup(lambda: [client.stop() for client in clients])
        instants = []
        for _ in range(INSTANTS):
            time.sleep(SECONDS_BETWEEN_INSTANTS)
            told = [client.told for client in clients]
            then = DAEMON.now("shop")
            instants.append((then, told, [client.asked for client in clients]))
        self.assertGreater(min(instants[-1][1]), max(instants[0][2]), "there is a run to be in the middle of")

        first.kill()
        for client in clients:
            client.stop()
        first.start()
        self.assert_between(first, [client.told for client in clients], [client.asked for client in clients])

        for number, (then, told, asked) in enumerate(instants):
            DAEMON.create(f"shop-{number}", clone_of="shop", at=then)
            second = self.second_server(f"shop-{number}")
            self.assertIn("crash recovery", second.log(), "it starts from the middle of a run")
            self.assert_between(second, told, asked)
        self.check_dropped_table(first)

    def check_dropped_table(self, first):
        lines = self.lines(first)
        before = DAEMON.now("shop")
        first.sql("DROP TABLE shop.line")
        first.close()
        DAEMON.create("shop-dropped", rollback="shop", at=before)
        again = self.second_server("shop")
        self.assertEqual(self.lines(again), lines)
        self.assert_whole(again)

        # The volume that the rollback made still shows the mistake.
        DAEMON.create("shop-mistake", clone_of="shop-dropped")
        mistake = self.second_server("shop-mistake")
        self.assertEqual(mistake.sql("SHOW TABLES FROM shop"), "account")


if __name__ == "__main__":
    unittest.main(verbosity=2)
