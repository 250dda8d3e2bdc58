"""Redis on a volume: append-only file (fsync always and every second), RDB files, kill -9 and instants of the middle.

Goal: a server that was killed, or that is started on a clone of an instant of a running one, holds what it had promised
to keep by then, and nothing that was asked for later. redis-check-aof and redis-check-rdb find its files sound.
Method: a client sends transactions 1, 2, 3, … and counts those that it sent and those that were answered; the counts are
read before and after an instant is taken, so no clock is compared. Each transaction changes several keys, so a part of
one would show.
"""

import glob
import os
import sys
import threading
import unittest

from program import ProgramTest, run, wait_until
from redis_server import Client, Server

INSTANTS = 3
TRANSACTIONS_BETWEEN_INSTANTS = 150
# Small enough that the file is rewritten several times in a run.
APPEND_ONLY = ("--save", "", "--appendonly", "yes", "--auto-aof-rewrite-min-size", "64kb", "--auto-aof-rewrite-percentage",
               "20", "--appendfsync")


def value(number):
    return b"%d," % number * (number * 37 % 1500)


class Writer:
    """Sends transactions one after the other until it is stopped or the server is gone."""

    def __init__(self, socket_path, begin=0):
        self.begun = self.done = begin
        self._client = Client(socket_path)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            while not self._stop.is_set():
                self.begun += 1
                n = self.begun
                self._client.pipeline([("MULTI",), ("RPUSH", "log", n), ("SET", f"value:{n}", value(n)),
                                       ("ZADD", "scores", n, n), ("INCR", "count"), ("EXEC",)])
                self.done = n
        except OSError:
            pass  # killed

    def wait_for(self, transactions):
        wait_until(lambda: self.done >= transactions or not self._thread.is_alive(), f"transaction {transactions}")
        if self.done < transactions:
            raise AssertionError(f"the server failed after transaction {self.done}")

    def stop(self):
        self._stop.set()
        self._thread.join()
        self._client.close()


class RedisTest(ProgramTest):
    def server(self, name, directory, *options):
        server = Server(directory, os.path.join(self.scratch, name), *options)
        self.addCleanup(server.kill)
        return server

    def assert_holds(self, client, least, most):
        """The state after one of the transactions least to most, whole."""
        count = int(client.call("GET", "count") or 0)
        self.assertGreaterEqual(count, least)
        self.assertLessEqual(count, most)
        numbers = [b"%d" % n for n in range(1, count + 1)]
        self.assertEqual(client.call("LRANGE", "log", 0, -1), numbers)
        self.assertEqual(client.call("ZRANGE", "scores", 0, -1), numbers)
        self.assertEqual(client.call("DBSIZE"), count + 3)
        for n, found in enumerate(client.pipeline([("GET", f"value:{n}") for n in range(1, count + 1)]), 1):
            self.assertEqual(found, value(n))
        return count

    def check_starts(self, name, directory, options, least, most):
        server = self.server(name, directory, *options)
        client = server.start()
        count = self.assert_holds(client, least, most)
        print(f"{name}: {least} to {most} transactions, found {count}", file=sys.stderr)
        client.call("SET", "value:0", "it goes on")
        client.close()
        server.kill()
        return count

    def check_append_only(self, fsync):
        name = "redis-" + fsync
        options = (*APPEND_ONLY, fsync)
        self.daemon.create(name)
        instants = []
        with self.mounted(name) as volume:
            server = self.server(name, volume, *options)
            client = server.start()
            writer = Writer(server.socket_path)
            self.addCleanup(writer.stop)

            def promised():
                """What is in the file for sure. With everysec an answer may come before the write, while a sync runs."""
                while True:
                    done = writer.done
                    if fsync == "always" or client.info("persistence")["aof_buffer_length"] == "0":
                        return done

            for number in range(INSTANTS):
                writer.wait_for(TRANSACTIONS_BETWEEN_INSTANTS * (number + 1))
                wait_until(lambda: int(client.info("persistence")["aof_rewrites"]) > number, "the file rewritten")
                least = promised()
                instant = self.daemon.now(name)
                instants.append((instant, least, writer.begun))
            least = promised()
            server.kill()
            writer.stop()
            client.close()
            self.check_append_only_file(volume)
            count = self.check_starts(name, volume, options, least, writer.begun)
            self.assertGreaterEqual(count, instants[-1][1])
        for number, (instant, least, most) in enumerate(instants):
            with self.subTest(instant=instant):
                self.check_append_only_instant(name, number, options, instant, least, most)

    def check_append_only_file(self, volume):
        """Whether it is sound, but for its last transaction: of that a part may be there, when the kernel made two writes
        of one. Redis 7.0 by itself would leave the whole commands of that part, and with them a MULTI without EXEC."""
        manifest = os.path.join(volume, "appendonlydir", "appendonly.aof.manifest")
        run("redis-check-aof", "--fix", manifest, stdin=None, input="y\n")
        self.assertIn("All AOF files and manifest are valid", run("redis-check-aof", manifest))

    def check_append_only_instant(self, name, number, options, instant, least, most):
        with self.look(name, instant, f"{name}-{number}-look") as volume:
            for base in glob.glob(os.path.join(volume, "appendonlydir", "*.base.rdb")):
                self.assertIn("RDB looks OK", run("redis-check-rdb", base))
        with self.copy(name, instant, f"{name}-{number}") as volume:
            self.check_append_only_file(volume)
            self.check_starts(f"{name}-{number}", volume, options, least, most)

    def test_append_only_file_synced_always(self):
        self.check_append_only("always")

    def test_append_only_file_synced_every_second(self):
        self.check_append_only("everysec")

    def test_saved_file(self):
        options = ("--save", "", "--appendonly", "no")
        self.daemon.create("redis-rdb")
        instants = []
        with self.mounted("redis-rdb") as volume:
            server = self.server("redis-rdb", volume, *options)
            client = server.start()
            writer = Writer(server.socket_path)
            self.addCleanup(writer.stop)
            for number in range(INSTANTS):
                writer.wait_for(TRANSACTIONS_BETWEEN_INSTANTS * (number + 1))
                saved = writer.done
                self.assertEqual(client.call("SAVE"), "OK")
                writer.wait_for(saved + 20)
                client.call("BGSAVE")  # the instant may lie before, in or after it
                instants.append((self.daemon.now("redis-rdb"), saved, writer.begun))
                wait_until(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == "0", "the end of BGSAVE")
                self.assertEqual(client.info("persistence")["rdb_last_bgsave_status"], "ok")
            saved = writer.done
            client.call("SAVE")
            most = writer.begun
            writer.wait_for(most + 100)
            server.kill()
            writer.stop()
            client.close()
            self.check_starts("redis-rdb", volume, options, saved, most)
        for number, (instant, least, most) in enumerate(instants):
            with self.subTest(instant=instant):
                with self.look("redis-rdb", instant, f"redis-rdb-{number}-look") as volume:
                    self.assertIn("RDB looks OK", run("redis-check-rdb", os.path.join(volume, "dump.rdb")))
                with self.copy("redis-rdb", instant, f"redis-rdb-{number}") as volume:
                    self.check_starts(f"redis-rdb-{number}", volume, options, least, most)


if __name__ == "__main__":
    unittest.main(verbosity=2)
