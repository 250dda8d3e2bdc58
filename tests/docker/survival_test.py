"""Containers do not notice that the plugin's daemon was killed.

Goal: a container that writes all the time sees no error, the engine's counts of who uses a volume stay right, and the
plugin leaves nothing behind when it is disabled.
Method: a managed plugin on a real engine; its daemon, not its supervisor, gets SIGKILL while containers run, start and
stop.
"""

import os
import signal
import sys
import time
import unittest

import images
import leftovers
from engine import Engine

# Appends 1, 2, 3, …; says so when that fails.
WRITER = """
i=1
while [ ! -e /v/stop ]; do
  echo $i >>/v/log || echo failed
  mkdir /v/d && rmdir /v/d || echo failed
  i=$((i+1))
done
"""


class SurvivalTest(unittest.TestCase):
    def setUp(self):
        leftovers.exit_on_signals()
        self.engine = Engine()
        self.addCleanup(self.engine.close)
        self.engine.start()
        images.make(self.engine)
        self.engine.create_plugin()
        self.docker = self.engine.docker

    def daemon(self):
        """The process that the plugin's first one has started."""
        plugin, processes = self.engine.plugin_id(), {}
        for pid in leftovers.processes_about("/usr/bin/rewind"):
            with open(f"/proc/{pid}/cgroup") as cgroup:
                if plugin not in cgroup.read():
                    continue
            with open(f"/proc/{pid}/stat") as stat:
                processes[pid] = int(stat.read().rpartition(")")[2].split()[1])
        children = [pid for pid, parent in processes.items() if parent in processes]
        self.assertEqual(len(children), 1, processes)
        return children[0]

    def kill(self):
        pid = self.daemon()
        os.kill(pid, signal.SIGKILL)
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.01)

    def start(self, name, script):
        self.docker("run", "-d", "--network", "none", "--name", name, "-v", "data:/v", "box", "/bin/sh", "-c", script)

    def test_containers_do_not_notice(self):
        self.docker("volume", "create", "-d", "rewind", "data")
        self.start("writer", WRITER)
        for i in range(4):
            time.sleep(1.2)
            self.kill()
            self.start(f"sleeper-{i}", "exec sleep 1000")  # the engine's request waits for the next daemon
        self.docker("rm", "-f", "sleeper-0", "sleeper-1")
        self.kill()
        self.docker("rm", "-f", "sleeper-2", "sleeper-3")
        self.assertNotEqual(self.engine.volume_mounts(), [], "the writer still uses it")
        self.docker("exec", "writer", "/bin/touch", "/v/stop")
        self.assertEqual(self.docker("wait", "writer").stdout.strip(), "0")
        output = self.docker("logs", "writer")
        self.assertEqual(output.stdout + output.stderr, "")
        refusal = self.docker("volume", "rm", "data", check=False)
        self.assertNotEqual(refusal.returncode, 0, "a stopped container uses it, too")
        self.docker("rm", "-f", "writer")
        self.assertEqual(self.engine.volume_mounts(), [])
        log = self.docker("run", "--rm", "--network", "none", "-v", "data:/v", "box", "/bin/cat", "/v/log").stdout.split()
        self.assertEqual(log, [str(i + 1) for i in range(len(log))])
        self.assertGreater(len(log), 100)
        self.docker("volume", "rm", "data")
        self.docker("plugin", "disable", "rewind")
        self.assertEqual(self.engine.volume_mounts(), [])


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("survival_test: needs root, to start an engine")
    unittest.main(verbosity=2)
