"""What operators are shown: the README's scenario of deleted orders, and the Compose files in examples/.

Goal: what the README says brings all rows back that were there at two o'clock, keeps those that have come since, and
takes fewer than six commands. The Compose files do what their first lines say.
Method: commands and files are taken as they are, but for the time, the image and the network, and run against a private
engine with the managed plugin, where the image `postgres` is this machine's PostgreSQL. Needs root.
"""

import json
import os
import re
import subprocess
import sys
import time
import unittest

import images
import leftovers
from engine import BINARY, Engine, SOURCE_DIR, say

HEADING = "### Somebody deleted the orders"
README_TIME = "2026-11-27T14:00:00Z"
# What differs here from the machine of somebody who uses the examples.
DATABASE = {"image": "postgres", "network_mode": "none"}
HERE = {"database": {"services": {"db": DATABASE}},
        "restore-drill": {"services": {"db": DATABASE, "check": {"image": "postgres"}}},
        "test-copy": {"services": {"db": DATABASE}}}
ENGINE: Engine = None


def commands():
    """Of the README's first block below the heading: each may have several lines."""
    with open(os.path.join(SOURCE_DIR, "README.md"), encoding="utf-8") as file:
        text = file.read().split(HEADING)[1]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL).group(1)
    return [command for command in re.split(r"\n(?! )", block.strip()) if command]


def setUpModule():
    global ENGINE
    leftovers.exit_on_signals()
    ENGINE = Engine()
    unittest.addModuleCleanup(ENGINE.close)
    ENGINE.start()
    images.make_postgres_server(ENGINE)
    ENGINE.create_plugin()
    programs = os.path.join(ENGINE.directory, "bin")
    os.mkdir(programs)
    os.symlink(BINARY, os.path.join(programs, "rewind"))
    ENGINE.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    for example, here in HERE.items():
        # JSON is YAML.
        with open(os.path.join(ENGINE.directory, f"{example}.yaml"), "w", encoding="utf-8") as file:
            json.dump(here, file)
    ENGINE.environment["REWIND_SOCKET"] = ENGINE.plugin_socket()


def sql(text, container="db"):
    return ENGINE.docker("exec", container, "psql", "-XAtc", text).stdout.strip()


def rewind(*arguments):
    """On the host, where it finds the engine by DOCKER_HOST."""
    return subprocess.run([BINARY, *arguments], env=ENGINE.environment, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=True, timeout=120).stdout


def wait_for(container):
    deadline = time.monotonic() + 120
    while ENGINE.docker("exec", container, "pg_isready", check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise AssertionError(ENGINE.docker("logs", container, check=False).stderr)
        time.sleep(0.1)


class ReadmeTest(unittest.TestCase):
    def test_rows_are_back(self):
        given = commands()
        self.assertLess(len(given), 6)
        ENGINE.docker("volume", "create", "-d", "rewind", "pgdata")
        ENGINE.docker("run", "-d", "--network", "none", "--name", "db", "-v", "pgdata:/var/lib/postgresql/data",
                      "postgres")
        wait_for("db")
        sql("CREATE TABLE orders (id int PRIMARY KEY, item text)")
        sql("INSERT INTO orders SELECT n, 'item ' || n FROM generate_series(1, 1000) n")
        at_two = ENGINE.rewind("now", "pgdata").stdout.strip()
        sql("INSERT INTO orders VALUES (1001, 'placed after two')")
        sql("DELETE FROM orders WHERE id BETWEEN 200 AND 900")
        sql("INSERT INTO orders VALUES (1002, 'placed after the mistake')")
        self.assertEqual(sql("SELECT count(*) FROM orders"), "301")
        # None of them has a network here.
        for command in given:
            command = command.replace(README_TIME, at_two).replace("docker run ", "docker run --network none ")
            began = time.monotonic()
            result = subprocess.run(["bash", "-euc", command], env=ENGINE.environment, text=True,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                    timeout=120)
            self.assertEqual(result.returncode, 0, f"{command}: {result.stdout}")
            say(f"{time.monotonic() - began:.1f} s: {command}")
        self.assertEqual(sql("SELECT count(*), min(id), max(id) FROM orders"), "1002|1|1002")
        self.assertEqual(sql("SELECT item FROM orders WHERE id = 555"), "item 555")


class ComposeTest(unittest.TestCase):
    def compose(self, example, project, *arguments, status=0, **environment):
        files = (os.path.join(SOURCE_DIR, "examples", example, "compose.yaml"),
                 os.path.join(ENGINE.directory, f"{example}.yaml"))
        command = ["docker-compose", *[word for file in files for word in ("-f", file)], "-p", project, *arguments]
        result = subprocess.run(command, env={**ENGINE.environment, **environment}, text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=240)
        self.assertEqual(result.returncode, status, f"{command}: {result.stdout}")
        return result.stdout

    def volumes(self):
        return set(ENGINE.docker("volume", "ls", "-q").stdout.split())

    def test_examples(self):
        """A database with history; a drill on it; a copy of it."""
        before = self.volumes()
        self.compose("database", "shop", "up", "-d")
        wait_for("shop_db_1")
        self.assertEqual(self.volumes() - before, {"shop_data"})
        facts = json.loads(ENGINE.rewind("inspect", "shop_data", "--json").stdout)
        self.assertEqual(facts["retention"], "3d")
        sql("CREATE TABLE orders (id int)", "shop_db_1")
        sql("INSERT INTO orders SELECT generate_series(1, 77)", "shop_db_1")
        rewind("mark", "--project", "shop", "before-migration", "--consistent")
        sql("DELETE FROM orders", "shop_db_1")

        drill = {"VOLUME": "shop_data", "AT": "before-migration", "QUERY": "SELECT count(*) AS n FROM orders"}
        output = self.compose("restore-drill", "drill", "up", "--exit-code-from", "check", **drill)
        self.assertRegex(output, r"\b77\b")
        self.compose("restore-drill", "drill", "down", "-v", **drill)
        # What fails, fails: a table that there never was.
        drill["QUERY"] = "SELECT count(*) FROM no_orders"
        output = self.compose("restore-drill", "drill", "up", "--exit-code-from", "check", status=1, **drill)
        self.assertIn("no_orders", output)
        self.compose("restore-drill", "drill", "down", "-v", **drill)

        copy = {"VOLUME": "shop_data", "AT": "before-migration"}
        self.compose("test-copy", "shop-test", "up", "-d", **copy)
        wait_for("shop-test_db_1")
        self.assertEqual(sql("SELECT count(*) FROM orders", "shop-test_db_1"), "77")
        sql("DROP TABLE orders", "shop-test_db_1")
        self.compose("test-copy", "shop-test", "down", "-v", **copy)

        rewind("rollback", "--project", "shop", "--at", "before-migration", "--restart")
        wait_for("shop_db_1")
        self.assertEqual(sql("SELECT count(*) FROM orders", "shop_db_1"), "77")
        self.compose("database", "shop", "down", "-v")
        self.assertEqual(self.volumes(), before)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("examples_test: needs root, to start an engine")
    unittest.main(verbosity=2)
